//! Finding and reading the configuration, and showing what is wrong with it.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use super::Common;
use super::client::{Client, Daemon};
use super::exit::Exit;
use super::show;
use crate::adapters::environment;
use crate::adapters::store::SqliteStore;
use crate::ports::store::{Store, StoredConfig};
use crate::settings::bundle;
use crate::settings::diagnostics::{Problem, Style, render};
use crate::settings::ics;
use crate::settings::sources::{Fresh, Sources};
use crate::settings::{Loaded, Settings, StoreLocation};

/// Where the configuration is, if nobody says otherwise.
const CONFIG_DEFAULT: &str = "/etc/sunup/sunup.toml";

/// The path of the configuration file.
pub(super) fn path(common: &Common) -> PathBuf {
    let named = common.config.clone().or_else(|| environment::variable("SUNUP_CONFIG").map(PathBuf::from));
    named.unwrap_or_else(|| PathBuf::from(CONFIG_DEFAULT))
}

/// The path of the control socket.
pub(super) fn socket(common: &Common) -> PathBuf {
    let named = common.socket.clone().or_else(|| environment::variable("SUNUP_SOCKET").map(PathBuf::from));
    named.unwrap_or_else(|| environment::runtime_directory().join("control.sock"))
}

/// The path of the journal.
pub(super) fn journal(location: &StoreLocation) -> PathBuf {
    match location {
        StoreLocation::File(path) => path.clone(),
        StoreLocation::Default => environment::state_directory().join("sunup.db"),
    }
}

/// The text of the configuration file, with the files that it includes.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    let main = own_text(path)?;
    // What `history --configuration` printed is whole already.
    if bundle::parts(&main).len() > 1 {
        return Ok(main);
    }
    let mut included = Vec::new();
    for folder in Settings::includes_of(&main) {
        included.extend(files_of(path, &folder)?);
    }
    bundle::join(&main, &included).map_err(|name| {
        let at = if name.is_empty() { path.to_path_buf() } else { beside(path, name) };
        Exit::Config.with(format!(
            "`{}` has a line, or a name, by which sunup tells included files apart: take out lines that begin with `## sunup: included \
             from`",
            at.display()
        ))
    })
}

/// The files that a whole rests on, by the path of the one that includes the others.
pub(super) fn files(path: &Path, whole: &str) -> Vec<PathBuf> {
    let parts = bundle::parts(whole).into_iter();
    parts.map(|part| part.name.map_or_else(|| path.to_path_buf(), |name| beside(path, name))).collect()
}

/// The text of the configuration file alone: what it says of the journal does not hang on what it includes.
pub(super) fn own_text(path: &Path) -> anyhow::Result<String> {
    read_limited(path, Settings::TEXT_BYTES_MAX).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound if path == Path::new(CONFIG_DEFAULT) => {
                "; name one with --config, or write one after the example in config/sunup.toml"
            }
            std::io::ErrorKind::NotFound => "; is the path right?",
            std::io::ErrorKind::PermissionDenied => {
                "; run the command as root or as a member of the group `sunup`"
            }
            _ => "",
        };
        Exit::Config.with(format!("the configuration `{}` cannot be read: {error}{remedy}", path.display()))
    })
}

/// A path that a configuration names, which counts from its folder.
fn beside(configuration: &Path, name: impl AsRef<Path>) -> PathBuf {
    configuration.parent().unwrap_or(Path::new(".")).join(name)
}

/// The plain files `*.toml` of a folder that `include` names, by name, hidden ones left out: each its path and text.
fn files_of(configuration: &Path, folder: &str) -> anyhow::Result<Vec<(String, String)>> {
    let failed = |path: &Path, error: &std::io::Error| {
        let (path, file) = (path.display(), configuration.display());
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("make that folder, or take it out of `include` in `{file}`")
            }
            std::io::ErrorKind::PermissionDenied => {
                format!(
                    "run `chgrp sunup` and `chmod g+r` on it, or move it out of the folders in `include` of `{file}`"
                )
            }
            _ => format!("mend it, or move it out of the folders in `include` of `{file}`"),
        };
        Exit::Config.with(format!("`{path}` is included and cannot be read: {error}; {remedy}"))
    };
    let odd = |words: &str| std::io::Error::other(words.to_owned());
    let at = beside(configuration, folder);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&at).map_err(|error| failed(&at, &error))? {
        let name = entry.map_err(|error| failed(&at, &error))?.file_name();
        let name = name
            .into_string()
            .map_err(|name| failed(&at.join(name), &odd("its name is no text in UTF-8")))?;
        if !name.starts_with('.') && Path::new(&name).extension().is_some_and(|end| end == "toml") {
            names.push(name);
        }
    }
    names.sort();
    let (mut files, mut total) = (Vec::new(), 0);
    for name in names {
        let path = at.join(&name);
        // Anything but a plain file might never end.
        if !std::fs::metadata(&path).map_err(|error| failed(&path, &error))?.is_file() {
            return Err(failed(&path, &odd("it is no plain file")));
        }
        let text = read_limited(&path, Settings::TEXT_BYTES_MAX).map_err(|error| failed(&path, &error))?;
        total += text.len();
        if total > Settings::TEXT_BYTES_MAX {
            return Err(failed(&at, &odd("its files are larger together than a configuration may be")));
        }
        files.push((Path::new(folder).join(name).display().to_string(), text));
    }
    Ok(files)
}

/// More than the most is not read; the reader of the text then says that it is too large.
fn read_limited(path: &Path, bytes_max: usize) -> std::io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX) + 1;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// Understands the text of a configuration file, with the calendar files that it names.
pub(super) fn parse(text: &str, path: &Path, last_good: Option<&Sources>) -> Result<Loaded, Vec<Problem>> {
    let read = |file: &str| calendar_file(path, file);
    Settings::read_with(text, &Fresh { read: &read, last_good })
}

/// The text of a calendar file beside a configuration. Only plain files are opened: anything else might never end.
pub(super) fn calendar_file(configuration: &Path, file: &str) -> Result<String, String> {
    let path = beside(configuration, file);
    let failed = |error: std::io::Error| error.to_string();
    if !std::fs::metadata(&path).map_err(failed)?.is_file() {
        return Err("it is no plain file".into());
    }
    read_limited(&path, ics::FILE_BYTES_MAX).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => "it is no text in UTF-8".into(),
        _ => failed(error),
    })
}

/// Reads the configuration, or fails with every problem shown. A calendar file that is broken is as it was last good for
/// the daemon, so that a plan says what the daemon does.
pub(super) fn settings(common: &Common) -> anyhow::Result<Settings> {
    let path = path(common);
    let text = text(&path)?;
    let read = parse(&text, &path, None).or_else(|problems| match last_good(&text) {
        Some(sources) => parse(&text, &path, Some(&sources)),
        None => Err(problems),
    });
    match read {
        Ok(Loaded { settings, warnings, .. }) => {
            if !warnings.is_empty() {
                show::word(&rendered(&warnings, &text, &path));
            }
            Ok(settings)
        }
        Err(problems) => Err(not_valid(&problems, &text, &path)),
    }
}

/// The configuration that the daemon goes by: the file's, or while the file is broken the one that stays in force, which is said.
/// A file that the command line names is meant itself, good or bad.
pub(super) fn in_force(common: &Common) -> anyhow::Result<Settings> {
    let broken = match settings(common) {
        Err(broken) if common.config.is_none() => broken,
        read => return read,
    };
    let Some(last_good) = running(common).or_else(|| stored_settings(common)) else { return Err(broken) };
    show::problem(&broken);
    show::word(
        "warning: that file is not in force; what follows is of the configuration that is (`sunup history --configuration` shows it)\n",
    );
    Ok(last_good)
}

/// What the daemon has in force, if one runs.
fn running(common: &Common) -> Option<Settings> {
    let socket = socket(common);
    apart(async move {
        match Client::find(&socket).await.ok()? {
            Daemon::There(client) => client.settings().await.ok(),
            Daemon::Absent => None,
        }
    })
}

/// What a daemon that started now would go by while the file is broken.
fn stored_settings(common: &Common) -> Option<Settings> {
    let text = own_text(&path(common)).unwrap_or_default();
    let config = stored(&text)?.config;
    Some(Settings::read_with(&config.text, &Sources::from_json(&config.sources)).ok()?.settings)
}

/// What calendars rested on when a configuration last came into force, if the journal can be read.
fn last_good(text: &str) -> Option<Sources> {
    let stored = stored(text)?;
    Some(Sources::from_json(&stored.config.sources)).filter(|sources| !sources.files.is_empty())
}

/// The configuration that last came into force, if the journal can be read.
fn stored(text: &str) -> Option<StoredConfig> {
    let path = journal(&Settings::store_of(text));
    apart(async move { SqliteStore::open_to_read(&path).await.ok()?.last_config().await.ok()? })
}

/// What a task gives, on a thread of its own: some commands are inside a runtime already, and one does not stand in another.
fn apart<T: Send + 'static>(task: impl Future<Output = Option<T>> + Send + 'static) -> Option<T> {
    let done = std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?.block_on(task)
    });
    done.join().ok()?
}

/// An error that shows every problem.
pub(super) fn not_valid(problems: &[Problem], text: &str, path: &Path) -> anyhow::Error {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    Exit::Config.with(format!(
        "the configuration `{}` has {count}\n\n{}",
        path.display(),
        rendered(problems, text, path)
    ))
}

/// Problems as text, coloured on a terminal.
pub(super) fn rendered(problems: &[Problem], text: &str, path: &Path) -> String {
    let style = if std::io::stderr().is_terminal() { Style::Colored } else { Style::Plain };
    render(problems, text, &path.display().to_string(), style)
}
