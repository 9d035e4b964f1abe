//! `sunup init`: a first configuration, written from what servers the account has, or from what the command names.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::exit::Exit;
use super::{Common, load, show, world};
use crate::adapters::clock::SystemClock;
use crate::adapters::environment;
use crate::domain::name::GroupName;
use crate::ports::clock::Clock;
use crate::ports::cloud::{Scope, ServerView};
use crate::settings::Settings;

/// How long the list may take.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// Servers whose name tells no group.
const REST: &str = "others";
/// So many servers are named beside their numbers in one group.
const NAMED_MAX: usize = 40;

#[derive(Args)]
pub(super) struct Options {
    /// Print it instead of writing the configuration file
    #[arg(long)]
    print: bool,
    /// Ask nobody: take the servers named with --server
    #[arg(long, requires = "server")]
    offline: bool,
    /// A server's number, instead of those of the account; may be given again, or several with commas
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    server: Vec<String>,
    /// The region of the account
    #[arg(long, default_value = "KR")]
    region: String,
    /// The site of the account
    #[arg(long, default_value = "public", conflicts_with = "endpoint")]
    site: String,
    /// Another address of the API, such as the sandbox's
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Where the keys are [default: credentials of the unit, or the provider's variables where they are set]
    #[arg(long)]
    keys: Option<KeyPlace>,
    /// The time zone of the rules
    #[arg(long, default_value = "Asia/Seoul", value_name = "ZONE")]
    timezone: String,
    /// When the servers are meant to be up
    #[arg(long, default_value = "WORKDAYS 08:50-19:30", value_name = "HOURS")]
    hours: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeyPlace {
    /// Credentials of the unit: ncloud-access-key and ncloud-secret-key
    Credential,
    /// The provider's variables: NCLOUD_ACCESS_KEY_ID and NCLOUD_SECRET_KEY
    Env,
    /// The server role of the machine
    Role,
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let path = load::path(common);
    if !options.print && path.exists() {
        return Err(Exit::Usage.with(format!(
            "`{}` is there already and is not written over; --print shows what would be written",
            path.display()
        )));
    }
    let has_variables = environment::variable("NCLOUD_ACCESS_KEY_ID").is_some()
        || environment::variable("NCLOUD_ACCESS_KEY").is_some();
    let keys = options.keys.unwrap_or(if has_variables { KeyPlace::Env } else { KeyPlace::Credential });
    let head = head(options, keys);
    let groups = match options.server.as_slice() {
        [] => by_name(&listed(&head)?),
        numbers => {
            BTreeMap::from([("servers".to_owned(), numbers.iter().map(|no| (no.clone(), None)).collect())])
        }
    };
    if groups.is_empty() {
        return Err(Exit::Unavailable
            .with("the account has no server there: look at the region, or name servers with --server"));
    }
    let text = format!("{head}{}", body(options, &groups));
    if let Err(problems) = Settings::read(&text) {
        return Err(Exit::Usage.with(load::rendered(&problems, &text, &path)));
    }
    if options.print {
        show::raw(&text);
    } else {
        write(&path, &text)?;
        show::line(&format!("{} is written: {}", path.display(), show::count(groups.len(), "group")));
        show::word(
            "its rule is disabled: look at the groups, then `sunup check` and `sunup plan`, and set `enabled = true`",
        );
    }
    Ok(Exit::Done)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "; run it with sudo, or name another file with --config",
            std::io::ErrorKind::NotFound => "; make its folder first, or name another file with --config",
            _ => "",
        };
        Exit::Usage.with(format!("`{}` cannot be written: {error}{remedy}", path.display()))
    })
}

/// Text as a string of TOML.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

/// All of the file that is needed to ask the cloud.
fn head(options: &Options, keys: KeyPlace) -> String {
    let place = match &options.endpoint {
        Some(url) => format!("endpoint = {}", quoted(url)),
        None => format!("site = {}", quoted(&options.site)),
    };
    let keys = match keys {
        KeyPlace::Credential => {
            "access_key = { credential = \"ncloud-access-key\" }\nsecret_key = { credential = \"ncloud-secret-key\" }\n"
        }
        KeyPlace::Env => "# Keys: the variables NCLOUD_ACCESS_KEY_ID and NCLOUD_SECRET_KEY.\n",
        KeyPlace::Role => "role = true\n",
    };
    format!(
        "# Written by `sunup init`. `sunup check` tells what is wrong, `sunup plan` what it means; every key: docs/configuration.md.\n\
         timezone = {}\ncalendar = \"holidays\"\n\n[accounts.main]\n{place}\nregion = {}\n{keys}\n[calendars.holidays]\nbuiltin = \"kr\"\n",
        quoted(&options.timezone),
        quoted(&options.region)
    )
}

type Members = Vec<(String, Option<String>)>;

fn body(options: &Options, groups: &BTreeMap<String, Members>) -> String {
    let mut text = String::new();
    for (name, members) in groups {
        text.push_str(&format!("\n[groups.{}]\n", quoted(name)));
        let named =
            members.iter().filter_map(|(no, name)| Some(format!("# {no}: {}\n", plain(name.as_ref()?))));
        text.extend(named.take(NAMED_MAX));
        let numbers: Vec<String> = members.iter().map(|(no, _)| quoted(no)).collect();
        text.push_str(&format!("servers = [{}]\n", numbers.join(", ")));
    }
    let names: Vec<String> = groups.keys().map(|name| quoted(name)).collect();
    text.push_str(&format!(
        "\n# Servers that are never stopped, whatever rules and people want: numbers, names with * and ?, or group:NAME.\n\
         [limits]\nnever_stop = []\n\n[rules.office]\nhours = {}\nrun = [{}]\nenabled = false   # true once the groups are as you want them\n",
        quoted(&options.hours),
        names.join(", ")
    ));
    text
}

/// A name without what would end a comment.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

/// The servers of the account.
fn listed(head: &str) -> anyhow::Result<Vec<ServerView>> {
    let settings = Settings::read(head).map_err(|problems| {
        let words: Vec<String> =
            problems.iter().map(|problem| format!("{}: {}", problem.title, problem.remedy)).collect();
        Exit::Usage.with(words.join("\n"))
    });
    let settings = settings?.settings;
    world::choose_tls();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lines = world::accounts(&settings, &clock);
    let Some(line) = lines.into_values().next() else { return Ok(Vec::new()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let read = runtime.block_on(async { line.cloud.list(&Scope::default(), LIST_LIMIT).await });
    runtime.shutdown_timeout(Duration::from_secs(1));
    match read.result {
        Ok(inventory) => Ok(inventory.servers),
        Err(error) => Err(Exit::Unavailable.with(format!(
            "the servers of the account cannot be read: {error}; put that right, or name servers with --offline --server N"
        ))),
    }
}

/// Groups by what the names have in common: `web-1` and `web-2` are `web`.
fn by_name(servers: &[ServerView]) -> BTreeMap<String, Members> {
    let mut groups: BTreeMap<String, Members> = BTreeMap::new();
    for server in servers {
        let name = server.traits.name.as_deref();
        let group = name.and_then(stem).unwrap_or_else(|| REST.to_owned());
        groups.entry(group).or_default().push((server.no.to_string(), name.map(str::to_owned)));
    }
    groups.values_mut().for_each(|members| members.sort_by_key(|(no, _)| (no.len(), no.clone())));
    groups
}

/// A name without the number at its end, where what is left can be the name of a group.
fn stem(name: &str) -> Option<String> {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let bare = bare.trim_end_matches(['-', '_', '.']);
    GroupName::new(if bare.is_empty() { name } else { bare }).ok().map(|group| group.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_differ_by_a_number_at_the_end_are_a_group() {
        let table = [
            ("web-1", Some("web")),
            ("web-02", Some("web")),
            ("db_3", Some("db")),
            ("batch", Some("batch")),
            ("app-v2-10", Some("app-v2")),
            ("42", Some("42")),
            ("사무실-1", Some("사무실")),
            ("a b-1", None),
            ("", None),
        ];

        for (name, want) in table {
            assert_eq!(stem(name).as_deref(), want, "{name}");
        }
    }
}
