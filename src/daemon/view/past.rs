//! The past, as `history` shows it.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::super::overrides::Shown;
use super::{extend, group_names, moment, run_head, why, zone_of};
use crate::domain::name::{RuleName, RunId};
use crate::domain::outcome::ReasonKind;
use crate::domain::overrides::Override;
use crate::domain::target::State;
use crate::ports::store::{
    AttemptRecord, ConfigEntry, Entry, MissedRange, RunRecord, Store, StoreError, TargetRecord,
};
use crate::settings::Settings;

/// One entry of the past, as `history --json` shows it.
#[must_use]
pub fn entry(entry: &Entry, settings: Option<&Settings>) -> Value {
    match entry {
        Entry::Run(record) => run(record, settings),
        Entry::Missed(missed) => missed_range(missed, settings),
        Entry::Override(one) => an_override(one, settings),
        Entry::Config(config) => {
            let mut value = json!({ "entry": "configuration", "run": null });
            extend(&mut value, configuration(config, settings));
            value
        }
    }
}

fn an_override(one: &Override, settings: Option<&Settings>) -> Value {
    let shown = Shown::new(one, &zone_of(settings, None));
    let mut value = json!({ "entry": "override", "run": null });
    // A structure of texts and numbers always has a JSON form.
    extend(&mut value, serde_json::to_value(shown).unwrap_or_default());
    value
}

fn configuration(config: &ConfigEntry, settings: Option<&Settings>) -> Value {
    let zone = zone_of(settings, None);
    json!({
        "hash": config.hash,
        "since": moment(config.since, &zone),
        "until": config.until.map(|at| moment(at, &zone)),
        "text": config.text,
    })
}

fn missed_range(missed: &MissedRange, settings: Option<&Settings>) -> Value {
    let zone = zone_of(settings, Some(missed.rule.as_str()));
    json!({
        "entry": "missed",
        "run": null,
        "rule": missed.rule.as_str(),
        "planned": moment(missed.first, &zone),
        "due": moment(missed.first, &zone),
        "last": moment(missed.last, &zone),
        "occurrences": missed.count,
        "action": missed.action.word(),
        // What a pause held back while nobody ran was left undone on purpose.
        "outcome": if missed.cause.kind == ReasonKind::Paused { "skipped" } else { "missed" },
        "reason": missed.cause.to_string(),
        "withdrawn": missed.withdrawn.map(|at| moment(at, &zone)),
        "targets": [],
    })
}

/// One run, without its attempts.
#[must_use]
pub fn run(record: &RunRecord, settings: Option<&Settings>) -> Value {
    let zone = zone_of(settings, record.head.origin.rule().map(RuleName::as_str));
    let targets: Vec<Value> = record.targets.iter().map(|target| target_line(target, &zone)).collect();
    let mut value = run_head(record.id.0, &record.head, settings);
    extend(
        &mut value,
        json!({
            "entry": "run",
            "outcome": record.ended.map(|(outcome, _)| outcome.word()),
            "ended": record.ended.map(|(_, at)| moment(at, &zone)),
            "reason": record.reason,
            "withdrawn": record.withdrawn.map(|at| moment(at, &zone)),
            "pending": group_names(&record.resolution.pending),
            "targets": targets,
        }),
    );
    value
}

fn target_line(record: &TargetRecord, zone: &TimeZone) -> Value {
    let progress = &record.target.progress;
    let confirmed = match &progress.state {
        State::Ended { outcome, at } if matches!(outcome.word(), "started" | "stopped" | "already") => {
            Some(*at)
        }
        _ => None,
    };
    json!({
        "server": record.target.server.no.as_str(),
        "account": record.target.server.account.as_str(),
        "name": record.target.name,
        "state": progress.state.word(),
        "why": why(&progress.state),
        "outcome": progress.outcome().map(|outcome| outcome.word()),
        "reason": progress.outcome().and_then(|outcome| outcome.reason()).map(|reason| reason.to_string()),
        "attempts": progress.attempts,
        "requested_at": progress.first_asked.map(|at| moment(at, zone)),
        "confirmed_at": confirmed.map(|at| moment(at, zone)),
        "remark": record.remark,
    })
}

/// One run whole, with its attempts and the configuration that was in force when it was claimed; `None` if there is no such run.
///
/// # Errors
///
/// Where the journal cannot be read.
pub async fn story_of(
    store: &dyn Store,
    id: RunId,
    settings: Option<&Settings>,
) -> Result<Option<Value>, StoreError> {
    let Some((record, attempts)) = store.run(id).await? else { return Ok(None) };
    let config = store.config_at(record.head.claimed).await?;
    let mut value = story(&record, &attempts, settings);
    let config = config.map(|config| configuration(&config, settings));
    extend(&mut value, json!({ "configuration": config }));
    Ok(Some(value))
}

fn story(record: &RunRecord, attempts: &[AttemptRecord], settings: Option<&Settings>) -> Value {
    let zone = zone_of(settings, None);
    let attempts: Vec<Value> = attempts
        .iter()
        .map(|attempt| {
            json!({
                "attempt": attempt.id.0,
                "action": attempt.action.word(),
                "servers": attempt.servers.iter().map(|server| server.no.as_str()).collect::<Vec<_>>(),
                "intended_at": moment(attempt.intended, &zone),
                "answered_at": attempt.answered.map(|at| moment(at, &zone)),
                "result": attempt.result,
                "http_status": attempt.status,
                "code": attempt.code,
                "text": attempt.text,
                "request_id": attempt.request_id,
            })
        })
        .collect();
    let mut value = run(record, settings);
    extend(&mut value, json!({ "attempt_list": attempts }));
    value
}
