//! What a failed start has left: the servers that did not come up, and the groups that never became known.

use serde_json::Value;

use super::client::{Client, Daemon};
use super::exit::Exit;
use super::value::{list, text};
use super::{Common, load};
use crate::adapters::store::SqliteStore;
use crate::daemon::control::HistoryRequest;
use crate::daemon::view;
use crate::domain::name::RunId;
use crate::ports::store::Store;

/// So many runs of the past are looked at for the last start that failed.
const LOOKED_AT_MAX: u32 = 200;

/// What is to be asked for again.
pub(super) struct Left {
    pub(super) groups: Vec<String>,
    /// As `ACCOUNT/NUMBER`.
    pub(super) servers: Vec<String>,
    /// The same for people.
    pub(super) words: String,
}

/// What a run has left, or the last start that ended other than well.
pub(super) async fn left(common: &Common, run: Option<i64>) -> anyhow::Result<Left> {
    let found = match (Client::find(&load::socket(common)).await?, run) {
        (Daemon::There(client), Some(id)) => Some(client.get(&format!("/v1/runs/{id}")).await?),
        (Daemon::There(client), None) => {
            let entries = client.post("/v1/history", &wanted()).await?;
            newest(entries.as_array().map(Vec::as_slice).unwrap_or_default())
        }
        (Daemon::Absent, run) => of_journal(common, run).await?,
    };
    let Some(found) = found else {
        return Err(Exit::Usage.with("no start has failed lately; `sunup history` shows what there was"));
    };
    of_run(&found)
}

fn wanted() -> HistoryRequest {
    HistoryRequest { failed: true, limit: Some(LOOKED_AT_MAX), ..HistoryRequest::default() }
}

async fn of_journal(common: &Common, run: Option<i64>) -> anyhow::Result<Option<Value>> {
    let settings = load::in_force(common)?;
    let store = SqliteStore::open_to_read(&load::journal(&settings.store)).await?;
    match run {
        Some(id) => match store.run(RunId(id)).await? {
            Some((record, _)) => Ok(Some(view::run(&record, Some(&settings)))),
            None => Err(Exit::Usage.with(format!("there is no run {id}"))),
        },
        None => {
            let entries = store.history(&wanted().query()).await?;
            let entries: Vec<Value> =
                entries.iter().map(|entry| view::entry(entry, Some(&settings))).collect();
            Ok(newest(&entries))
        }
    }
}

/// The start that failed last, among entries of the past in any order.
fn newest(entries: &[Value]) -> Option<Value> {
    let id = |entry: &&Value| entry.get("run").and_then(Value::as_i64);
    let is_meant = |entry: &&Value| {
        let has_failed = matches!(text(entry, "outcome"), "failed" | "partial" | "missed");
        id(entry).is_some()
            && text(entry, "action") == "start"
            && has_failed
            && text(entry, "withdrawn").is_empty()
    };
    entries
        .iter()
        .filter(is_meant)
        .max_by_key(|entry| (text(entry, "due").parse::<jiff::Timestamp>().ok(), id(entry)))
        .cloned()
}

fn of_run(run: &Value) -> anyhow::Result<Left> {
    let id = run.get("run").and_then(Value::as_i64).unwrap_or(0);
    if text(run, "action") != "start" {
        return Err(Exit::Usage.with(format!("run {id} was a stop: --failed asks again for starts alone")));
    }
    if text(run, "outcome").is_empty() {
        return Err(Exit::Usage.with(format!("run {id} has not ended yet: it still tries by itself")));
    }
    let is_left =
        |target: &&Value| !matches!(text(target, "outcome"), "started" | "already") && !is_gone(target);
    let left: Vec<&Value> = list(run, "targets").iter().filter(is_left).collect();
    let servers =
        left.iter().map(|target| format!("{}/{}", text(target, "account"), text(target, "server"))).collect();
    let groups: Vec<String> =
        list(run, "pending").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let shown: Vec<String> = left
        .iter()
        .map(|target| match text(target, "name") {
            "" => text(target, "server").to_owned(),
            name => format!("{} ({name})", text(target, "server")),
        })
        .chain(groups.iter().map(|group| format!("group {group}")))
        .collect();
    let words = match shown.is_empty() {
        true => format!("run {id} has left nothing: all of its servers came up"),
        false => format!("of run {id} these did not come up: {}", shown.join(", ")),
    };
    Ok(Left { groups, servers, words })
}

/// A server that no longer exists is not asked for again.
fn is_gone(target: &Value) -> bool {
    text(target, "reason").starts_with("gone: ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(id: i64, due: &str, action: &str, outcome: &str) -> Value {
        json!({"run": id, "due": format!("2026-11-23T{due}Z"), "action": action, "outcome": outcome, "withdrawn": null, "pending": [], "targets": []})
    }

    #[test]
    fn the_start_that_failed_last_is_meant() {
        let entries = [
            run(1, "08:50:00", "start", "failed"),
            run(2, "09:00:00", "start", "partial"),
            run(3, "20:00:00", "stop", "failed"),
            run(4, "20:30:00", "start", "skipped"),
            json!({"run": null, "due": "2026-11-23T21:00:00Z", "action": "start", "outcome": "missed"}),
        ];

        assert_eq!(newest(&entries).unwrap()["run"], 2);
        assert!(newest(&entries[2..]).is_none());
    }

    #[test]
    fn what_did_not_come_up_is_asked_for_again_and_what_is_gone_is_not() {
        let target = |no: &str, outcome: &str, reason: &str| json!({"account": "main", "server": no, "name": if no == "1" { json!("web-1") } else { Value::Null }, "outcome": outcome, "reason": reason});
        let mut failed = run(7, "08:50:00", "start", "partial");
        failed["targets"] = json!([
            target("1", "failed", "capacity: no room"),
            target("2", "started", ""),
            target("3", "already", ""),
            target("4", "skipped", "dependency: db did not come up"),
            target("5", "skipped", "gone: it no longer exists"),
            target("6", "unknown", "no-answer: x"),
        ]);
        failed["pending"] = json!(["late"]);

        let left = of_run(&failed).unwrap();

        assert_eq!(left.servers, ["main/1", "main/4", "main/6"]);
        assert_eq!(left.groups, ["late"]);
        assert_eq!(left.words, "of run 7 these did not come up: 1 (web-1), 4, 6, group late");
        assert!(of_run(&run(8, "08:50:00", "start", "done")).unwrap().words.contains("has left nothing"));
        assert!(of_run(&run(9, "08:50:00", "stop", "failed")).is_err());
    }
}
