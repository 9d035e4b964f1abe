//! What a turn has many of, written many rows to a statement: each statement costs a change of threads, and nine o'clock has thousands of
//! rows. The rows travel as one JSON text, which `jsonb_each` reads once: `json_each` would write each row as text again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::record::{Failure, Tx, micros, names};
use super::row;
use crate::domain::name::{RunId, ServerId};
use crate::ports::store::{AttemptResult, Change, Claim, CoveredMark, End, Intent, Origin, Target};

/// How many rows go to one statement.
const ROWS_MAX: usize = 1000;

/// Runs a statement over rows that it takes from `jsonb_each(?1)`; returns how many rows it touched.
async fn each(tx: &mut Tx<'_>, sql: &'static str, rows: &[impl Serialize]) -> Result<u64, Failure> {
    let mut touched = 0;
    for some in rows.chunks(ROWS_MAX) {
        let done = sqlx::query(sql).bind(serde_json::to_string(some)?).execute(&mut **tx).await?;
        touched += done.rows_affected();
    }
    Ok(touched)
}

/// Refuses what touched fewer rows than it was about.
fn all_rows(touched: u64, wanted: usize, what: impl FnOnce() -> String) -> Result<(), Failure> {
    if usize::try_from(touched) == Ok(wanted) { Ok(()) } else { Err(Failure::Conflict(what())) }
}

/// The columns of a run, in the order of [`ADD_RUNS`].
#[derive(Serialize)]
struct RunRow<'a>(
    i64,
    Option<&'a str>,
    Option<&'a str>,
    Option<i64>,
    &'static str,
    String,
    i64,
    i64,
    i64,
    i64,
    String,
    String,
    String,
    Option<&'static str>,
    Option<&'a str>,
    Option<i64>,
);

// One row for each occurrence, ever: the index refuses the second.
const ADD_RUNS: &str = "INSERT INTO runs (id, rule, who, keep, action, groups, planned, due, window_end, claimed, waived, pending, \
     empty, outcome, reason, ended) SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, \
     value->>8, value->>9, value->>10, value->>11, value->>12, value->>13, value->>14, value->>15 FROM jsonb_each(?1)";

impl<'a> RunRow<'a> {
    fn new(claim: &'a Claim) -> Result<Self, Failure> {
        let head = &claim.head;
        let waived: Vec<&str> = head.waived.iter().map(|waiver| waiver.word()).collect();
        let (rule, who, keep) = match &head.origin {
            Origin::Rule(rule) => (Some(rule.as_str()), None, None),
            Origin::Person(who) => (None, Some(who.as_str()), None),
            Origin::Keep { id, who } => (None, Some(who.as_str()), Some(id.0)),
        };
        let ended = claim.ended.as_ref();
        Ok(Self(
            claim.run.0,
            rule,
            who,
            keep,
            head.action.word(),
            names(&head.groups)?,
            micros(head.planned),
            micros(head.due),
            micros(head.window_end),
            micros(head.claimed),
            serde_json::to_string(&waived)?,
            names(&claim.resolution.pending)?,
            names(&claim.resolution.empty)?,
            ended.map(|(outcome, _)| outcome.word()),
            ended.map(|(_, reason)| reason.as_str()).filter(|reason| !reason.is_empty()),
            ended.map(|_| micros(head.claimed)),
        ))
    }
}

pub(super) async fn add_runs(tx: &mut Tx<'_>, claims: &[Claim]) -> Result<(), Failure> {
    let rows: Vec<RunRow<'_>> = claims.iter().map(RunRow::new).collect::<Result<_, _>>()?;
    each(tx, ADD_RUNS, &rows).await?;
    Ok(())
}

pub(super) async fn add_targets(tx: &mut Tx<'_>, targets: &[(RunId, &Target)]) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for (run, target) in targets {
        let outcome = target.progress.outcome();
        rows.push((
            run.0,
            target.server.account.as_str(),
            target.server.no.as_str(),
            target.name.as_deref(),
            names(&target.groups)?,
            i64::try_from(target.limit.as_millis()).unwrap_or(i64::MAX),
            target.progress.state.word(),
            row::to_json(&target.progress)?,
            target.revision,
            outcome.map(|outcome| outcome.word()),
            outcome.and_then(|outcome| outcome.reason()).map(|reason| reason.to_string()),
        ));
    }
    let sql = "INSERT INTO targets (run, account, server, name, groups, limit_ms, state, progress, revision, outcome, reason) \
         SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8, value->>9, value->>10 \
         FROM jsonb_each(?1)";
    each(tx, sql, &rows).await?;
    Ok(())
}

/// Each change rests on the revision that the engine knows: whoever changed a row in between is not written over.
pub(super) async fn change_targets(tx: &mut Tx<'_>, changes: &[Change]) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for change in changes {
        let outcome = change.progress.outcome();
        rows.push((
            change.name.as_deref(),
            change.progress.state.word(),
            row::to_json(&change.progress)?,
            outcome.map(|outcome| outcome.word()),
            outcome.and_then(|outcome| outcome.reason()).map(|reason| reason.to_string()),
            change.run.0,
            change.server.account.as_str(),
            change.server.no.as_str(),
            change.revision,
        ));
    }
    let sql = "UPDATE targets SET name = coalesce(value->>0, name), state = value->>1, progress = value->>2, revision = revision + 1, \
         outcome = value->>3, reason = value->>4 FROM jsonb_each(?1) WHERE targets.run = value->>5 AND targets.account = value->>6 \
         AND targets.server = value->>7 AND targets.revision = value->>8 AND targets.outcome IS NULL";
    let (changed, wanted) = (each(tx, sql, &rows).await?, rows.len());
    all_rows(changed, wanted, || {
        let about: Vec<String> =
            changes.iter().take(3).map(|c| format!("{} of run {}", c.server, c.run)).collect();
        let about = about.join(", ");
        format!(
            "of {wanted} servers ({about} among them) only {changed} were as they had been left: somebody else changed the others"
        )
    })
}

pub(super) async fn add_intents(tx: &mut Tx<'_>, intents: &[Intent], now: i64) -> Result<(), Failure> {
    let attempts: Vec<_> =
        intents.iter().map(|intent| (intent.attempt.0, intent.action.word(), now)).collect();
    let (mut targets, mut open) = (Vec::new(), Vec::new());
    for intent in intents {
        let mut servers: Vec<&ServerId> = Vec::new();
        for (run, server) in &intent.targets {
            targets.push((intent.attempt.0, run.0, server.account.as_str(), server.no.as_str()));
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        let attempt = intent.attempt.0;
        open.extend(servers.iter().map(|server| (server.account.as_str(), server.no.as_str(), attempt)));
    }
    let sql = "INSERT INTO attempts (id, action, intended) SELECT value->>0, value->>1, value->>2 FROM jsonb_each(?1)";
    each(tx, sql, &attempts).await?;
    let sql = "INSERT INTO attempt_targets (attempt, run, account, server) \
         SELECT value->>0, value->>1, value->>2, value->>3 FROM jsonb_each(?1)";
    each(tx, sql, &targets).await?;
    // The primary key refuses a second open request for a server.
    let sql = "INSERT INTO open_attempts (account, server, attempt) SELECT value->>0, value->>1, value->>2 FROM jsonb_each(?1)";
    each(tx, sql, &open).await?;
    Ok(())
}

fn result_rows<'a>(results: &[&'a AttemptResult], now: i64) -> Vec<impl Serialize + 'a> {
    let row = |of: &&'a AttemptResult| {
        let (code, text, id) = (of.code.as_deref(), of.text.as_deref(), of.request_id.as_deref());
        (of.attempt.0, now, of.result, of.status, code, text, id)
    };
    results.iter().map(row).collect()
}

pub(super) async fn end_attempts(
    tx: &mut Tx<'_>,
    results: &[AttemptResult],
    now: i64,
) -> Result<(), Failure> {
    let (interrupted, heard): (Vec<_>, Vec<_>) =
        results.iter().partition(|result| result.result == AttemptResult::INTERRUPTED);
    let sql = "UPDATE attempts SET answered = value->>1, result = value->>2, status = value->>3, code = value->>4, text = value->>5, \
         request_id = value->>6 FROM jsonb_each(?1) WHERE attempts.id = value->>0 AND attempts.answered IS NULL";
    let ended = each(tx, sql, &result_rows(&heard, now)).await?;
    all_rows(ended, heard.len(), || {
        let attempts: Vec<String> = heard.iter().map(|result| result.attempt.to_string()).collect();
        format!(
            "only {ended} of the attempts {} were open: the others have a result already",
            attempts.join(", ")
        )
    })?;
    // An attempt found open by its target may have been answered in another run's name.
    each(tx, sql, &result_rows(&interrupted, now)).await?;
    let ended: Vec<i64> = results.iter().map(|result| result.attempt.0).collect();
    let sql = "DELETE FROM open_attempts WHERE attempt IN (SELECT value FROM json_each(?1))";
    each(tx, sql, &ended).await?;
    Ok(())
}

pub(super) async fn end_runs(tx: &mut Tx<'_>, ends: &[End], now: i64) -> Result<(), Failure> {
    let row = |end: &End| {
        let reason = Some(end.reason.clone()).filter(|reason| !reason.is_empty());
        (end.outcome.word(), reason, now, end.run.0)
    };
    let rows: Vec<_> = ends.iter().map(row).collect();
    let sql = "UPDATE runs SET outcome = value->>0, reason = value->>1, ended = value->>2 FROM jsonb_each(?1) \
         WHERE runs.id = value->>3 AND runs.outcome IS NULL";
    let ended = each(tx, sql, &rows).await?;
    all_rows(ended, rows.len(), || {
        let runs: Vec<String> = ends.iter().map(|end| end.run.to_string()).collect();
        format!("only {ended} of the runs {} were open: the others had ended before", runs.join(", "))
    })
}

pub(super) async fn note_left_running(
    tx: &mut Tx<'_>,
    servers: &[(ServerId, Option<Timestamp>)],
) -> Result<(), Failure> {
    // One that stands here twice is as it was noted last.
    let last: BTreeMap<&ServerId, Option<Timestamp>> =
        servers.iter().map(|(server, since)| (server, *since)).collect();
    let row = |(server, since): (&&ServerId, &Option<Timestamp>)| {
        (server.account.to_string(), server.no.to_string(), since.map(micros))
    };
    let (left, gone): (Vec<_>, Vec<_>) = last.iter().map(row).partition(|(_, _, since)| since.is_some());
    let sql = "INSERT INTO left_running (account, server, since) SELECT value->>0, value->>1, value->>2 FROM jsonb_each(?1) \
         WHERE true ON CONFLICT (account, server) DO UPDATE SET since = excluded.since";
    each(tx, sql, &left).await?;
    let sql = "DELETE FROM left_running WHERE (account, server) IN (SELECT value->>0, value->>1 FROM jsonb_each(?1))";
    each(tx, sql, &gone).await?;
    Ok(())
}

pub(super) async fn set_marks(tx: &mut Tx<'_>, marks: &[CoveredMark]) -> Result<(), Failure> {
    let row = |mark: &CoveredMark| {
        (mark.rule.to_string(), mark.fingerprint.clone(), micros(mark.until), mark.closes.map(micros))
    };
    let rows: Vec<_> = marks.iter().map(row).collect();
    let sql = "INSERT INTO marks (rule, fingerprint, until, closes) SELECT value->>0, value->>1, value->>2, value->>3 FROM jsonb_each(?1) \
         WHERE true ON CONFLICT (rule) DO UPDATE SET fingerprint = excluded.fingerprint, until = excluded.until, \
         closes = excluded.closes";
    each(tx, sql, &rows).await?;
    Ok(())
}
