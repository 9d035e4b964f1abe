//! `sunup status`: what runs now, what comes next, what failed last.

use serde_json::{Value, json};

use super::client::{Client, Daemon};
use super::exit::Exit;
use super::value::{list, text};
use super::{Common, load, pause, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::store::{SqliteStore, holder};
use crate::daemon::control::HISTORY_MAX;
use crate::daemon::overrides::Shown;
use crate::daemon::view;
use crate::domain::plan::occurrences;
use crate::ports::clock::Clock;
use crate::ports::store::{Entry, HistoryQuery, Store};

pub(super) fn main(common: &Common) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match Client::find(&load::socket(common)).await? {
            Daemon::There(client) => {
                let status = client.get("/v1/status").await?;
                if common.json {
                    show::line(&status.to_string());
                } else {
                    print(&status);
                }
                Ok(Exit::Done)
            }
            Daemon::Absent => without_daemon(common).await,
        }
    })
}

/// Without a daemon the journal and the plan still tell something.
async fn without_daemon(common: &Common) -> anyhow::Result<Exit> {
    let settings = load::in_force(common)?;
    let now = SystemClock.now();
    let overrides = pause::known(common, &settings).await;
    let zone = view::zone_of(Some(&settings), None);
    let in_force: Vec<Shown> = overrides.in_force().map(|one| Shown::new(one, &zone)).collect();
    let next: Vec<Value> = occurrences(settings.rules.values(), now, jiff::Timestamp::MAX)
        .take(10)
        .map(|occurrence| view::coming(&occurrence, &settings, &overrides))
        .collect();
    let store = SqliteStore::open_to_read(&load::journal(&settings.store)).await;
    let (mut failed, mut open) = (vec![], vec![]);
    if let Ok(store) = &store {
        failed = store.history(&HistoryQuery { failed: true, limit: 1, ..HistoryQuery::default() }).await?;
        let at_work = HistoryQuery { at: Some(now), limit: HISTORY_MAX, ..HistoryQuery::default() };
        open = store.history(&at_work).await?;
        open.retain(|entry| matches!(entry, Entry::Run(run) if run.ended.is_none()));
    }
    let open: Vec<Value> = open.iter().map(|entry| view::entry(entry, Some(&settings))).collect();
    let status = json!({
        "state": "not running",
        "zone_data": view::zone_data(),
        "overrides": in_force,
        "next": next,
        "open_runs": open,
        "last_failed": failed.first().map(|entry| view::entry(entry, Some(&settings))),
    });
    if common.json {
        show::line(&status.to_string());
        return Ok(Exit::Done);
    }
    let path = load::socket(common);
    match holder(&load::journal(&settings.store)) {
        Some(holder) => show::line(&format!(
            "process {holder} holds the journal, but nobody answers at `{}`; name its socket with --socket or SUNUP_SOCKET",
            path.display()
        )),
        None => show::line(
            "no daemon is running: nothing will be started or stopped; start it with `systemctl start sunup`",
        ),
    }
    print_overrides(&status);
    show::line(&format!("zone data: {}", view::zone_data()));
    if !list(&status, "open_runs").is_empty() {
        show::line("left open, and gone on with by the next daemon:");
        print_open(&status);
    }
    print_next(&status);
    if let Some(Entry::Run(run)) = failed.first() {
        show::line(&format!("\nlast failed: {}", view::failed_words(run)));
    }
    Ok(Exit::Done)
}

fn print(status: &Value) {
    let pid = status.get("pid").and_then(Value::as_u64).unwrap_or(0);
    show::line(&format!(
        "running since {} as process {pid}, sunup {}",
        text(status, "started"),
        text(status, "version")
    ));
    if !text(status, "config_problem").is_empty() {
        show::line(&format!("the configuration file is not in force: {}", text(status, "config_problem")));
    }
    if !text(status, "calendar_problem").is_empty() {
        show::line(text(status, "calendar_problem"));
    }
    if !text(status, "held").is_empty() {
        show::line(&format!("holding, so nothing is started or stopped: {}", text(status, "held")));
    }
    for account in list(status, "accounts") {
        show::line(&account_words(account));
    }
    print_overrides(status);
    show::line(&format!("zone data: {}", text(status, "zone_data")));
    if list(status, "open_runs").is_empty() {
        show::line("no run is open");
    }
    print_open(status);
    print_next(status);
    if let Some(failed) = status.get("last_failed").filter(|failed| !failed.is_null()) {
        show::line(&format!("\nlast failed: {}", text(failed, "text")));
    }
}

fn print_open(status: &Value) {
    for run in list(status, "open_runs") {
        let origin = if text(run, "rule").is_empty() { text(run, "who") } else { text(run, "rule") };
        let id = run.get("run").and_then(Value::as_i64).unwrap_or(0);
        show::line(&format!("run {id} ({origin}): {} due at {}", text(run, "action"), text(run, "due")));
        let mut table = show::table(&["", "SERVER", "NAME", "STATE", "WHY"]);
        for target in list(run, "targets") {
            let state = if text(target, "outcome").is_empty() {
                text(target, "state")
            } else {
                text(target, "outcome")
            };
            table.add_row(vec!["", text(target, "server"), text(target, "name"), state, text(target, "why")]);
        }
        show::line(&show::trimmed(&table));
    }
}

/// Which keys an account uses, when they were last taken, and what is wrong with it.
fn account_words(account: &Value) -> String {
    let mut words = format!("account {}", text(account, "account"));
    if !text(account, "key").is_empty() {
        words.push_str(&format!(", key {}", text(account, "key")));
    }
    match text(account, "accepted_at") {
        "" => words.push_str(", not yet accepted"),
        at => words.push_str(&format!(", accepted at {at}")),
    }
    match text(account, "trouble") {
        "" => words,
        trouble => format!("{words}: {trouble}"),
    }
}

fn print_overrides(status: &Value) {
    for one in list(status, "overrides") {
        show::line(text(one, "words"));
    }
}

fn print_next(status: &Value) {
    let next = list(status, "next");
    if next.is_empty() {
        show::line("\nnothing is planned");
        return;
    }
    let mut table = show::table(&["NEXT", "ACTION", "GROUPS", "RULE"]);
    for occurrence in next {
        let groups: Vec<&str> = list(occurrence, "groups").iter().filter_map(Value::as_str).collect();
        table.add_row(vec![
            text(occurrence, "due"),
            text(occurrence, "action"),
            &groups.join(", "),
            &match text(occurrence, "skipped") {
                "" => text(occurrence, "rule").to_owned(),
                // Who paused it, and why, stands above.
                _ => format!("{}  (paused)", text(occurrence, "rule")),
            },
        ]);
    }
    show::line(&format!("\n{}", show::trimmed(&table)));
}
