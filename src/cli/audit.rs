//! `sunup audit`: judges a journal, and a log of the cloud if there is one, by the checker's rules.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::exit::Exit;
use super::{Common, load, show};
use crate::audit::history::{Deed, History, Micros, Owed, SECOND, Sure};
use crate::audit::journal::{Configuration, Covered};
use crate::audit::{Verdict, cloud, journal, judge};
use crate::domain::name::Action;
use crate::domain::plan;
use crate::domain::rule::Rule;
use crate::domain::target::ATTEMPT_LIMIT;
use crate::settings::sources::Sources;
use crate::settings::{Settings, StoreLocation};

/// Around a change of the configuration, a planned moment may belong to either.
const CHANGE: Micros = 120 * SECOND;

#[derive(Args)]
pub(super) struct Options {
    /// The journal [default: the one of the configuration]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// A log of the cloud, as `sunup sandbox --log` writes it
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The accounts in the log, in the order of their numbers
    #[arg(long, value_name = "NAME", default_value = "main", requires = "log")]
    account: Vec<String>,
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let path = options.journal.clone().unwrap_or_else(|| {
        let path = load::path(common);
        let text = load::text(&path).or_else(|_| load::own_text(&path)).ok();
        load::journal(&text.as_deref().map_or(StoreLocation::Default, Settings::store_of))
    });
    if !path.exists() {
        let what = format!("there is no journal at {}; name one with --journal", path.display());
        return Err(Exit::Unavailable.with(what));
    }
    let busy = show::Busy::new("reading the journal and judging it");
    let (records, configurations, covered) = runtime
        .block_on(async {
            let records = journal::read(&path).await?;
            Ok((records, journal::configurations(&path).await?, journal::covered(&path).await?))
        })
        .map_err(|error: journal::ReadError| Exit::Unavailable.with(error.to_string()))?;
    let mut history =
        History { owed: owed(&configurations, &covered), journal: records, ..History::default() };
    history.attempt_limit = i64::try_from(ATTEMPT_LIMIT.as_micros()).unwrap_or(Micros::MAX);
    history.until = last_moment(&history);
    if let Some(log) = &options.log {
        let text = std::fs::read_to_string(log)
            .map_err(|error| Exit::Usage.with(format!("the log {}: {error}", log.display())))?;
        let log =
            cloud::read(&text, &options.account).map_err(|error| Exit::Usage.with(error.to_string()))?;
        history.cloud_known = true;
        (history.requests, history.reads, history.states) = (log.requests, log.reads, log.states);
        history.faults = log.faults;
    }
    let verdict = judge(&history);
    drop(busy);
    print(common, &verdict);
    Ok(if verdict.violations.is_empty() { Exit::Done } else { Exit::NotDone })
}

/// The last moment that the journal tells of: what came after is not judged.
fn last_moment(history: &History) -> Micros {
    let runs = history
        .journal
        .runs
        .iter()
        .flat_map(|run| [Some(run.claimed), run.ended.as_ref().map(|(_, at)| *at)]);
    let attempts = history.journal.attempts.iter();
    let attempts = attempts.flat_map(|one| [Some(one.intended), one.answered.as_ref().map(|(at, _)| *at)]);
    runs.chain(attempts).flatten().max().unwrap_or(0)
}

/// What the rules of each configuration planned while it was in force.
fn owed(configurations: &[Configuration], covered: &[Covered]) -> Vec<Owed> {
    let covered: BTreeMap<&str, Micros> = covered.iter().map(|one| (one.rule.as_str(), one.until)).collect();
    let mut owed = Vec::new();
    for (index, configuration) in configurations.iter().enumerate() {
        let sources = Sources::from_json(&configuration.sources);
        let Ok(loaded) = Settings::read_with(&configuration.text, &sources) else { continue };
        let next = configurations.get(index + 1).map(|next| next.since);
        for rule in loaded.settings.rules.values() {
            let until =
                next.or_else(|| covered.get(rule.name.as_str()).copied()).unwrap_or(configuration.since);
            owed.extend(owed_by(rule, configuration.since, until));
        }
    }
    owed
}

fn owed_by(rule: &Rule, since: Micros, until: Micros) -> Vec<Owed> {
    let at = |micros: Micros| Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX);
    let length = |length: std::time::Duration| i64::try_from(length.as_micros()).unwrap_or(Micros::MAX);
    let planned = plan::of_rule(rule, at(since - CHANGE), at(until.saturating_add(CHANGE)));
    planned
        .map(|occurrence| {
            let due = occurrence.due.as_microsecond();
            let is_edge = due < since + CHANGE || due + CHANGE > until;
            Owed {
                rule: rule.name.to_string(),
                deed: match occurrence.action {
                    Action::Start => Deed::Start,
                    Action::Stop => Deed::Stop,
                },
                planned: occurrence.planned.as_microsecond(),
                latest: due,
                window: length(rule.window(occurrence.action)),
                servers: None,
                sure: if is_edge && due != until { Sure::Perhaps } else { Sure::Yes },
            }
        })
        .collect()
}

fn print(common: &Common, verdict: &Verdict) {
    for violation in &verdict.violations {
        if common.json {
            let (rule, trace) = (violation.rule.word(), &violation.trace);
            show::line(&json!({"rule": rule, "what": violation.what, "trace": trace}).to_string());
        } else {
            show::line(&format!("{}: {}", violation.rule.word(), violation.what));
            violation.trace.iter().for_each(|line| show::line(&format!("  {line}")));
        }
    }
    let judged = verdict.judged;
    show::word(&format!(
        "judged {}, {} and {}: {}",
        show::count(judged.occurrences, "planned moment"),
        show::count(judged.targets, "target"),
        show::count(judged.requests, "request"),
        match verdict.violations.len() {
            0 => "every record is as it must be".to_owned(),
            broken => show::count(broken, "broken promise"),
        }
    ));
    if let Some(why) = &verdict.void {
        show::word(&format!("it proves little: {why}"));
    }
}
