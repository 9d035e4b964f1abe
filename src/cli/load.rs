//! Finding and reading the configuration, and showing what is wrong with it.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use super::Common;
use super::exit::Exit;
use super::show;
use crate::adapters::environment;
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

/// The text of the configuration file.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    read_limited(path, Settings::TEXT_BYTES_MAX).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "; name one with --config, or write one after the example in config/sunup.toml"
            }
            std::io::ErrorKind::PermissionDenied => {
                "; run the command as root or as a member of the group `sunup`"
            }
            _ => "",
        };
        Exit::Config.with(format!("the configuration `{}` cannot be read: {error}{remedy}", path.display()))
    })
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
    let folder = path.parent().unwrap_or(Path::new("."));
    let read = |file: &str| calendar_file(&folder.join(file));
    Settings::read_with(text, &Fresh { read: &read, last_good })
}

/// The text of a calendar file. Only plain files are opened: anything else might never end.
fn calendar_file(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err("it is no plain file".into());
    }
    read_limited(path, ics::FILE_BYTES_MAX).map_err(failed)
}

/// Reads the configuration, or fails with every problem shown.
pub(super) fn settings(common: &Common) -> anyhow::Result<Settings> {
    let path = path(common);
    let text = text(&path)?;
    match parse(&text, &path, None) {
        Ok(Loaded { settings, warnings, .. }) => {
            if !warnings.is_empty() {
                show::word(&rendered(&warnings, &text, &path));
            }
            Ok(settings)
        }
        Err(problems) => Err(not_valid(&problems, &text, &path)),
    }
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
