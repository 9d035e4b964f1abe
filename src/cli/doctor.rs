//! `sunup doctor`: what is wrong on this machine and how to mend it, line by line. It changes nothing.

mod cloud;
mod news;
mod unit;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, Daemon};
use super::exit::Exit;
use super::value::{list, text};
use super::{Common, load, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::store::{SqliteStore, free_bytes};
use crate::daemon::view;
use crate::ports::clock::Clock;
use crate::settings::{Loaded, Settings, StoreLocation, advice};

/// With less room than this the journal soon cannot be written.
const ROOM_BYTES_LOW: u64 = 50 * 1024 * 1024;
/// With less room than this somebody should look.
const ROOM_BYTES_ODD: u64 = 500 * 1024 * 1024;
/// How long the journal is looked through.
const JOURNAL_LIMIT: Duration = Duration::from_secs(5);
/// So many pieces of advice about the configuration are shown.
const ADVICE_SHOWN: usize = 5;

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Good,
    /// It works, and somebody should know; or it could not be looked at.
    Odd,
    /// It keeps servers from being started or stopped.
    Bad,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Odd => "odd",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
struct Finding {
    verdict: Verdict,
    check: &'static str,
    text: String,
    /// What would mend it.
    remedy: Option<String>,
}

impl Finding {
    fn good(check: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, check, text: text.into(), remedy: None }
    }

    fn odd(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Odd, check, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn bad(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, check, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn print(&self, common: &Common) {
        if common.json {
            let (verdict, remedy) = (self.verdict.word(), &self.remedy);
            let line = json!({"check": self.check, "verdict": verdict, "text": self.text, "remedy": remedy});
            show::line(&line.to_string());
            return;
        }
        show::line(&format!("{:<5} {:<14} {}", self.verdict.word(), self.check, self.text));
        if let Some(remedy) = &self.remedy {
            show::line(&format!("{:<5} {:<14} to mend it: {remedy}", "", ""));
        }
    }
}

pub(super) fn main(common: &Common) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let busy = show::Busy::new("looking at keys, clock, journal, unit and network");
    let (configured, found) = runtime.block_on(examine(common));
    drop(busy);
    for finding in &found {
        finding.print(common);
    }
    let count = |verdict| found.iter().filter(|finding| finding.verdict == verdict).count();
    let (odd, bad) = (count(Verdict::Odd), count(Verdict::Bad));
    show::word(&format!("{} looked at: {odd} odd, {bad} bad", show::count(found.len(), "thing")));
    Ok(match (bad, configured) {
        (0, _) => Exit::Done,
        (_, false) => Exit::Config,
        (_, true) => Exit::Unavailable,
    })
}

/// Everything that can be looked at, and whether the configuration is good.
async fn examine(common: &Common) -> (bool, Vec<Finding>) {
    let path = load::path(common);
    let mut found = Vec::new();
    let settings = configuration(&path, &mut found);
    found.push(Finding::good("zone data", view::zone_data()));
    let location = settings.as_ref().map_or(StoreLocation::Default, |settings| settings.store.clone());
    found.extend(journal(&load::journal(&location)).await);
    let (daemon, status) = daemon(common).await;
    found.push(daemon);
    if let Some(settings) = &settings {
        found.extend(unit::look(settings));
        found.extend(news::look(settings).await);
        found.extend(cloud::look(settings, &path, status.as_ref()).await);
    }
    (settings.is_some(), found)
}

fn configuration(path: &Path, found: &mut Vec<Finding>) -> Option<Settings> {
    const CHECK: &str = "configuration";
    let text = match load::text(path) {
        Ok(text) => text,
        Err(error) => {
            found.push(Finding::bad(CHECK, error.to_string(), "look at its path, its owner and its mode"));
            return None;
        }
    };
    let shown = path.display();
    let open_to_others = |file: &PathBuf| std::fs::metadata(file).is_ok_and(|meta| meta.mode() & 0o022 != 0);
    let open: Vec<PathBuf> = load::files(path, &text).into_iter().filter(open_to_others).collect();
    found.extend(open.iter().map(|file| {
        let file = file.display();
        let text = format!("others may write {file}");
        Finding::bad("file modes", text, format!("run `chmod 640 {file}`"))
    }));
    if open.is_empty() {
        let text = format!("nobody but their owners may write {shown} and what it includes");
        found.push(Finding::good("file modes", text));
    }
    match load::parse(&text, path, None) {
        Ok(Loaded { settings, warnings, .. }) => {
            let rules = show::count(settings.rules.len(), "rule");
            match warnings.len() {
                0 => found.push(Finding::good(CHECK, format!("{shown} is good: {rules}"))),
                count => found.push(Finding::odd(
                    CHECK,
                    format!("{shown} is valid: {rules}, {}", show::count(count, "warning")),
                    "`sunup check` shows each",
                )),
            }
            let advice = advice::of(&settings, SystemClock.now());
            let advice = advice.into_iter().take(ADVICE_SHOWN);
            found.extend(advice.map(|words| Finding::odd("calendars", words, "see `sunup check`")));
            Some(settings)
        }
        Err(problems) => {
            let count = show::count(problems.len(), "problem");
            found.push(Finding::bad(
                CHECK,
                format!("{shown} has {count}"),
                "`sunup check` shows each with its place",
            ));
            None
        }
    }
}

async fn journal(path: &Path) -> Vec<Finding> {
    const CHECK: &str = "journal";
    let shown = path.display();
    let mut found = Vec::new();
    if let Some(free) = path.parent().and_then(|folder| free_bytes(folder).ok()) {
        let room = format!("{} MiB free beside {shown}", free / 1024 / 1024);
        found.push(match free {
            _ if free < ROOM_BYTES_LOW => Finding::bad("room", room, "make room on that disk"),
            _ if free < ROOM_BYTES_ODD => Finding::odd("room", room, "make room on that disk soon"),
            _ => Finding::good("room", room),
        });
    }
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            found.push(Finding::odd(
                CHECK,
                format!("there is no journal at {shown} yet"),
                "the first start makes it",
            ));
            return found;
        }
        Err(error) => {
            let remedy = "run this as root, or as the user of the daemon";
            found.push(Finding::odd(CHECK, format!("{shown} cannot be looked at: {error}"), remedy));
            return found;
        }
        Ok(meta) if meta.mode() & 0o007 != 0 => {
            let text = format!("everybody can reach {shown} (mode {:03o})", meta.mode() & 0o777);
            found.push(Finding::bad("file modes", text, format!("run `chmod 600 {shown}`")));
        }
        Ok(_) => {}
    }
    let checked = async { SqliteStore::open_to_read(path).await?.examine().await };
    let Ok(checked) = tokio::time::timeout(JOURNAL_LIMIT, checked).await else {
        let text = format!("{shown} is too large to be looked through in {}s", JOURNAL_LIMIT.as_secs());
        found.push(Finding::odd(CHECK, text, "`sqlite3 FILE 'PRAGMA quick_check'` takes its time"));
        return found;
    };
    found.push(match checked {
        Ok(version) => Finding::good(CHECK, format!("{shown} is sound, version {version}")),
        Err(error) => Finding::bad(
            CHECK,
            error.to_string(),
            "stop the daemon, move the journal away and keep it, then start: a new one is begun",
        ),
    });
    found
}

/// How the daemon is, and its status if there is one.
async fn daemon(common: &Common) -> (Finding, Option<Value>) {
    const CHECK: &str = "daemon";
    let status = match Client::find(&load::socket(common)).await {
        Ok(Daemon::There(client)) => client.get("/v1/status").await,
        Ok(Daemon::Absent) => {
            let socket = load::socket(common);
            let text =
                format!("nobody listens at {}: nothing is started or stopped by rules", socket.display());
            let remedy = "`systemctl start sunup`, or name its socket with --socket";
            return (Finding::odd(CHECK, text, remedy), None);
        }
        Err(error) => Err(error),
    };
    match status {
        Ok(status) => (of_status(&status), Some(status)),
        Err(error) => (Finding::odd(CHECK, error.to_string(), "run this with sudo"), None),
    }
}

/// What a running daemon says of itself.
fn of_status(status: &Value) -> Finding {
    const CHECK: &str = "daemon";
    let mut troubles: Vec<String> = ["held", "config_problem", "calendar_problem"]
        .iter()
        .map(|field| text(status, field))
        .filter(|words| !words.is_empty())
        .map(str::to_owned)
        .collect();
    let accounts = list(status, "accounts").iter().filter(|account| !text(account, "trouble").is_empty());
    troubles.extend(
        accounts.map(|account| format!("{}: {}", text(account, "account"), text(account, "trouble"))),
    );
    match troubles.is_empty() {
        true => Finding::good(CHECK, format!("running since {}", text(status, "started"))),
        false => Finding::bad(CHECK, troubles.join("; "), "see the lines below, and `sunup status`"),
    }
}
