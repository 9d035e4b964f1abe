//! `sunup history`: past runs, or one run whole.

use clap::Args;
use serde_json::Value;

use super::client::{Client, Daemon};
use super::exit::Exit;
use super::value::{list, text};
use super::{Common, ask, load, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::store::SqliteStore;
use crate::daemon::control::{HISTORY_MAX, HistoryRequest};
use crate::daemon::view;
use crate::domain::name::RunId;
use crate::ports::clock::Clock;
use crate::ports::store::Store;
use crate::settings::{Settings, StoreLocation};

#[derive(Args)]
pub(super) struct Options {
    /// The number of one run, to see it whole
    #[arg(conflicts_with_all = ["rule", "server", "from", "to", "at", "failed"])]
    run: Option<i64>,
    /// Only of this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only with this server, by number or name
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Only due at or after this moment
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only due before this moment
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only what was at work or in force at this moment
    #[arg(long, value_name = "TIME", conflicts_with_all = ["from", "to"])]
    at: Option<String>,
    /// Show the configuration that was in force then, and nothing else
    #[arg(long)]
    configuration: bool,
    /// Only those that ended other than done
    #[arg(long)]
    failed: bool,
    /// At most so many, the newest ones
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(HISTORY_MAX)))]
    limit: u32,
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // A file that is broken must not hide the past.
        let path = load::path(common);
        let read = load::text(&path).or_else(|_| load::own_text(&path)).ok();
        let settings = read.as_deref().and_then(|text| load::parse(text, &path, None).ok());
        let settings = settings.map(|loaded| loaded.settings);
        let request = request(options, settings.as_ref())?;
        let location = read.as_deref().map_or(StoreLocation::Default, Settings::store_of);
        let found = match options.run {
            Some(run) => vec![one_run(common, &location, settings.as_ref(), run).await?],
            None => entries(common, &location, settings.as_ref(), request).await?,
        };
        if options.configuration {
            return print_configuration(&found, options);
        }
        match (common.json, options.run) {
            (true, _) => found.iter().rev().for_each(|entry| show::line(&entry.to_string())),
            (false, Some(_)) => found.iter().for_each(print_run),
            (false, None) => print_list(&found),
        }
        Ok(Exit::Done)
    })
}

fn as_list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        other => vec![other],
    }
}

fn request(options: &Options, settings: Option<&Settings>) -> anyhow::Result<HistoryRequest> {
    let zone = view::zone_of(settings, None);
    let now = SystemClock.now();
    let moment =
        |text: &Option<String>| text.as_deref().map(|text| ask::past_moment(text, &zone, now)).transpose();
    let at = moment(&options.at)?;
    if let Some(at) = at {
        let shown = view::moment(at, &zone);
        if at > now {
            return Err(Exit::Usage.with(format!("{shown} is still to come; `sunup plan` shows what comes")));
        }
        show::word(&format!("at work or in force at {shown}:"));
    }
    Ok(HistoryRequest {
        rule: options.rule.clone(),
        server: options.server.clone(),
        from: moment(&options.from)?,
        to: moment(&options.to)?,
        at: at.or((options.run.is_none() && options.configuration).then_some(now)),
        failed: options.failed,
        whole: true,
        // The configuration is one entry among all that was in force.
        limit: Some(if options.configuration { HISTORY_MAX } else { options.limit }),
    })
}

/// The entries that a request asks for: the daemon's word, or the journal's own where none runs.
pub(super) async fn entries(
    common: &Common,
    location: &StoreLocation,
    settings: Option<&Settings>,
    request: HistoryRequest,
) -> anyhow::Result<Vec<Value>> {
    if let Daemon::There(client) = Client::find(&load::socket(common)).await? {
        return Ok(as_list(client.post("/v1/history", &request).await?));
    }
    let store = SqliteStore::open_to_read(&load::journal(location)).await?;
    let entries = store.history(&request.query()).await?;
    Ok(entries.iter().map(|entry| view::entry(entry, settings)).collect())
}

async fn one_run(
    common: &Common,
    location: &StoreLocation,
    settings: Option<&Settings>,
    run: i64,
) -> anyhow::Result<Value> {
    if let Daemon::There(client) = Client::find(&load::socket(common)).await? {
        return client.get(&format!("/v1/runs/{run}")).await;
    }
    let store = SqliteStore::open_to_read(&load::journal(location)).await?;
    let story = view::story_of(&store, RunId(run), settings).await?;
    story.ok_or_else(|| Exit::Usage.with(format!("there is no run {run}")))
}

fn number(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_i64).map(|n| n.to_string()).unwrap_or_default()
}

fn origin(entry: &Value) -> String {
    if text(entry, "rule").is_empty() {
        format!("by {}", text(entry, "who"))
    } else {
        text(entry, "rule").to_owned()
    }
}

/// `2 started, 1 failed` from the lines of targets.
fn counts(entry: &Value) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for target in list(entry, "targets") {
        let word =
            if text(target, "outcome").is_empty() { text(target, "state") } else { text(target, "outcome") };
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let parts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    if parts.is_empty() { text(entry, "reason").to_owned() } else { parts.join(", ") }
}

fn print_list(found: &[Value]) {
    if found.is_empty() {
        show::word("there is nothing of that kind in the journal");
        return;
    }
    let mut table = show::table(&["RUN", "TIME", "WHAT", "OF", "OUTCOME", "SERVERS"]);
    for entry in found.iter().rev() {
        if let Some(row) = other_row(entry) {
            table.add_row(row);
            continue;
        }
        let times = number(entry, "occurrences");
        let due = if times.is_empty() || times == "1" {
            text(entry, "due").to_owned()
        } else {
            format!("{} and on, {times} times to {}", text(entry, "due"), text(entry, "last"))
        };
        table.add_row(vec![
            number(entry, "run"),
            due,
            text(entry, "action").to_owned(),
            origin(entry),
            outcome(entry),
            counts(entry),
        ]);
    }
    show::line(&show::trimmed(&table));
}

/// The row of an entry that is neither a run nor a miss.
fn other_row(entry: &Value) -> Option<Vec<String>> {
    let row = match text(entry, "entry") {
        "override" => {
            let kind = match text(entry, "stays") {
                "" => text(entry, "kind").to_owned(),
                stays => format!("{} {stays}", text(entry, "kind")),
            };
            let whom = format!("{} {} by {}", text(entry, "scope"), text(entry, "name"), text(entry, "who"));
            let end = match (text(entry, "ended"), text(entry, "lifted_by")) {
                ("", _) => format!("until {}", text(entry, "until")),
                (ended, "") => format!("until {ended}"),
                (ended, who) => format!("ended at {ended} by {who}"),
            };
            [text(entry, "from").to_owned(), kind, whom, end, text(entry, "reason").to_owned()]
        }
        "configuration" => {
            let short = short_hash(entry);
            let end = match text(entry, "until") {
                "" => "in force".to_owned(),
                until => format!("until {until}"),
            };
            [text(entry, "since").to_owned(), "configuration".to_owned(), short, end, String::new()]
        }
        _ => return None,
    };
    Some([String::new()].into_iter().chain(row).collect())
}

/// How much of a configuration's hash is shown.
const HASH_SHOWN: usize = 12;

fn short_hash(config: &Value) -> String {
    text(config, "hash").chars().take(HASH_SHOWN).collect()
}

/// The configuration of one run, or that of a moment, as it was written.
fn print_configuration(found: &[Value], options: &Options) -> anyhow::Result<Exit> {
    let config = match options.run {
        Some(_) => found.first().and_then(|run| run.get("configuration")).filter(|config| !config.is_null()),
        None => found.iter().find(|entry| text(entry, "entry") == "configuration"),
    };
    let Some(config) = config else {
        return Err(Exit::Usage.with("the journal holds no configuration of that time"));
    };
    let until = match text(config, "until") {
        "" => "now".to_owned(),
        until => until.to_owned(),
    };
    show::word(&format!("in force from {} to {until}:", text(config, "since")));
    show::raw(text(config, "text"));
    Ok(Exit::Done)
}

/// How an entry ended; what a wrong clock made says so.
fn outcome(entry: &Value) -> String {
    let outcome = if text(entry, "outcome").is_empty() { "open" } else { text(entry, "outcome") };
    match text(entry, "withdrawn") {
        "" => outcome.to_owned(),
        at => format!("{outcome}, taken back at {at}: a wrong clock had made it"),
    }
}

fn print_run(run: &Value) {
    let outcome = outcome(run);
    let groups: Vec<&str> = list(run, "groups").iter().filter_map(Value::as_str).collect();
    let whom = match (text(run, "rule"), groups.is_empty()) {
        ("", true) => origin(run),
        ("", false) => format!("{} {}", groups.join(", "), origin(run)),
        (rule, _) => format!("for {rule}"),
    };
    show::line(&format!(
        "run {}: {} {whom}, due at {}, claimed at {}: {outcome}",
        number(run, "run"),
        text(run, "action"),
        text(run, "due"),
        text(run, "claimed")
    ));
    let mut table = show::table(&["SERVER", "NAME", "OUTCOME", "ATTEMPTS", "ASKED", "CONFIRMED", "REASON"]);
    for target in list(run, "targets") {
        let outcome =
            if text(target, "outcome").is_empty() { text(target, "state") } else { text(target, "outcome") };
        let waits = if text(target, "outcome").is_empty() { text(target, "why") } else { "" };
        let reason = [text(target, "reason"), text(target, "remark"), waits].join(" ");
        table.add_row(vec![
            text(target, "server").to_owned(),
            text(target, "name").to_owned(),
            outcome.to_owned(),
            number(target, "attempts"),
            text(target, "requested_at").to_owned(),
            text(target, "confirmed_at").to_owned(),
            reason.trim().to_owned(),
        ]);
    }
    show::line(&show::trimmed(&table));
    print_attempts(run);
    if let Some(config) = run.get("configuration").filter(|config| !config.is_null()) {
        let short = short_hash(config);
        show::line(&format!(
            "configuration {short} was in force, since {}; see it with: sunup history {} --configuration",
            text(config, "since"),
            number(run, "run")
        ));
    }
}

fn print_attempts(run: &Value) {
    for attempt in list(run, "attempt_list") {
        let servers: Vec<&str> = list(attempt, "servers").iter().filter_map(Value::as_str).collect();
        let status = number(attempt, "http_status");
        let details: Vec<String> = [
            (!status.is_empty()).then(|| format!("HTTP {status}")),
            Some(text(attempt, "code")).filter(|code| !code.is_empty()).map(|code| format!("code {code}")),
            Some(text(attempt, "text")).filter(|text| !text.is_empty()).map(ToOwned::to_owned),
            Some(text(attempt, "request_id")).filter(|id| !id.is_empty()).map(|id| format!("request {id}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        show::line(&format!(
            "attempt {} at {}: {} {}: {}{}",
            number(attempt, "attempt"),
            text(attempt, "intended_at"),
            text(attempt, "action"),
            servers.join(" "),
            if text(attempt, "result").is_empty() { "open" } else { text(attempt, "result") },
            if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) }
        ));
    }
}
