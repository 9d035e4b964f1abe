//! How progress stands in the journal: JSON shapes of their own, so that the domain stays free of formats.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::name::AttemptId;
use crate::domain::outcome::{Asked, Outcome, Reason, ReasonKind};
use crate::domain::retry::{Then, Wait};
use crate::domain::target::{Mark, Progress, State};

#[derive(Serialize, Deserialize)]
struct ReasonRow {
    kind: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ThenRow {
    Fail,
    Backoff { batch_max: usize },
    Wait { ms: u64, batch_max: usize },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StateRow {
    Waiting { until: Timestamp, why: Option<ReasonRow> },
    Asking { attempt: i64, since: Timestamp },
    Looking { attempt: i64, not_before: Timestamp, then: ThenRow },
    Moving { attempt: Option<i64>, since: Timestamp, fell_back: Option<Timestamp> },
    Ended { outcome: String, reason: Option<ReasonRow>, asked: bool, by: Option<String>, at: Timestamp },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MarkRow {
    Superseded(String),
    Withdrawn(ReasonRow),
}

#[derive(Serialize, Deserialize)]
struct ProgressRow {
    state: StateRow,
    asked: bool,
    attempts: u32,
    tries: u32,
    trouble: Option<ReasonRow>,
    mark: Option<MarkRow>,
    batch_max: Option<usize>,
    in_failure_state: bool,
    tried_failure_state: bool,
    look_by: Option<Timestamp>,
    absent_since: Option<Timestamp>,
    seen: Option<Timestamp>,
    askable: Option<Timestamp>,
    first_asked: Option<Timestamp>,
}

pub(super) fn to_json(progress: &Progress) -> Result<String, serde_json::Error> {
    serde_json::to_string(&ProgressRow {
        state: state_row(&progress.state),
        asked: progress.asked == Asked::Yes,
        attempts: progress.attempts,
        tries: progress.tries,
        trouble: progress.trouble.as_ref().map(reason_row),
        mark: progress.mark.as_ref().map(|mark| match mark {
            Mark::Superseded(by) => MarkRow::Superseded(by.clone()),
            Mark::Withdrawn(reason) => MarkRow::Withdrawn(reason_row(reason)),
        }),
        batch_max: progress.batch_max,
        in_failure_state: progress.in_failure_state,
        tried_failure_state: progress.tried_failure_state,
        look_by: progress.look_by,
        absent_since: progress.absent_since,
        seen: progress.seen,
        askable: progress.askable,
        first_asked: progress.first_asked,
    })
}

/// `None` for a text that this version does not understand.
pub(super) fn from_json(text: &str) -> Option<Progress> {
    let row: ProgressRow = serde_json::from_str(text).ok()?;
    Some(Progress {
        state: state(row.state)?,
        asked: asked(row.asked),
        attempts: row.attempts,
        tries: row.tries,
        trouble: match row.trouble {
            Some(row) => Some(reason(row)?),
            None => None,
        },
        mark: match row.mark {
            Some(MarkRow::Superseded(by)) => Some(Mark::Superseded(by)),
            Some(MarkRow::Withdrawn(row)) => Some(Mark::Withdrawn(reason(row)?)),
            None => None,
        },
        batch_max: row.batch_max,
        in_failure_state: row.in_failure_state,
        tried_failure_state: row.tried_failure_state,
        look_by: row.look_by,
        absent_since: row.absent_since,
        seen: row.seen,
        askable: row.askable,
        first_asked: row.first_asked,
    })
}

fn asked(asked: bool) -> Asked {
    if asked { Asked::Yes } else { Asked::No }
}

fn reason_row(reason: &Reason) -> ReasonRow {
    ReasonRow { kind: reason.kind.word().to_owned(), text: reason.text.clone() }
}

fn reason(row: ReasonRow) -> Option<Reason> {
    ReasonKind::from_word(&row.kind).map(|kind| Reason { kind, text: row.text })
}

fn state_row(state: &State) -> StateRow {
    match state {
        State::Waiting { until, why } => {
            StateRow::Waiting { until: *until, why: why.as_ref().map(reason_row) }
        }
        State::Asking { attempt, since } => StateRow::Asking { attempt: attempt.0, since: *since },
        State::Looking { attempt, not_before, then } => {
            let then = match then {
                Then::Fail => ThenRow::Fail,
                Then::Retry { wait: Wait::Backoff, batch_max } => ThenRow::Backoff { batch_max: *batch_max },
                Then::Retry { wait: Wait::Fixed(wait), batch_max } => ThenRow::Wait {
                    ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                    batch_max: *batch_max,
                },
            };
            StateRow::Looking { attempt: attempt.0, not_before: *not_before, then }
        }
        State::Moving { attempt, since, fell_back } => {
            StateRow::Moving { attempt: attempt.map(|a| a.0), since: *since, fell_back: *fell_back }
        }
        State::Ended { outcome, at } => {
            let (reason, asked, by) = match outcome {
                Outcome::Superseded { asked, by } => (None, *asked == Asked::Yes, Some(by.clone())),
                other => (other.reason().as_ref().map(reason_row), false, None),
            };
            StateRow::Ended { outcome: outcome.word().to_owned(), reason, asked, by, at: *at }
        }
    }
}

fn state(row: StateRow) -> Option<State> {
    Some(match row {
        StateRow::Waiting { until, why } => State::Waiting {
            until,
            why: match why {
                Some(row) => Some(reason(row)?),
                None => None,
            },
        },
        StateRow::Asking { attempt, since } => State::Asking { attempt: AttemptId(attempt), since },
        StateRow::Looking { attempt, not_before, then } => {
            let then = match then {
                ThenRow::Fail => Then::Fail,
                ThenRow::Backoff { batch_max } => Then::Retry { wait: Wait::Backoff, batch_max },
                ThenRow::Wait { ms, batch_max } => {
                    Then::Retry { wait: Wait::Fixed(std::time::Duration::from_millis(ms)), batch_max }
                }
            };
            State::Looking { attempt: AttemptId(attempt), not_before, then }
        }
        StateRow::Moving { attempt, since, fell_back } => {
            State::Moving { attempt: attempt.map(AttemptId), since, fell_back }
        }
        StateRow::Ended { outcome, reason: row, asked: sent, by, at } => {
            let with = || row.and_then(reason);
            let outcome = match outcome.as_str() {
                "started" => Outcome::Started,
                "stopped" => Outcome::Stopped,
                "already" => Outcome::Already,
                "failed" => Outcome::Failed(with()?),
                "unknown" => Outcome::Unknown(with()?),
                "skipped" => Outcome::Skipped(with()?),
                "missed" => Outcome::Missed(with()?),
                "superseded" => Outcome::Superseded { asked: asked(sent), by: by? },
                _ => return None,
            };
            State::Ended { outcome, at }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_progress_comes_back_as_it_was_stored() {
        let at: Timestamp = "2026-11-23T08:50:00.123456Z".parse().unwrap();
        let reason = || Reason::new(ReasonKind::Api, "HTTP 400: 서버");
        let retry = |wait| Then::Retry { wait, batch_max: usize::MAX };
        let attempt = AttemptId(7);
        let ended = |outcome| State::Ended { outcome, at };
        let states = [
            State::Waiting { until: at, why: None },
            State::Waiting { until: at, why: Some(reason()) },
            State::Asking { attempt, since: at },
            State::Looking { attempt, not_before: at, then: Then::Fail },
            State::Looking { attempt, not_before: at, then: retry(Wait::Backoff) },
            State::Looking { attempt, not_before: at, then: retry(Wait::Fixed(Duration::from_millis(1500))) },
            State::Moving { attempt: None, since: at, fell_back: None },
            State::Moving { attempt: Some(attempt), since: at, fell_back: Some(at) },
            ended(Outcome::Started),
            ended(Outcome::Stopped),
            ended(Outcome::Already),
            ended(Outcome::Failed(reason())),
            ended(Outcome::Unknown(reason())),
            ended(Outcome::Skipped(reason())),
            ended(Outcome::Missed(reason())),
            ended(Outcome::Superseded { asked: Asked::Yes, by: "night".into() }),
        ];

        for state in states {
            for mark in [None, Some(Mark::Superseded("night".into())), Some(Mark::Withdrawn(reason()))] {
                let progress = Progress {
                    state: state.clone(),
                    mark,
                    asked: Asked::Yes,
                    attempts: 3,
                    tries: 2,
                    trouble: Some(reason()),
                    batch_max: Some(5),
                    in_failure_state: true,
                    tried_failure_state: true,
                    look_by: Some(at),
                    absent_since: Some(at),
                    seen: Some(at),
                    askable: Some(at),
                    first_asked: Some(at),
                };
                let json = to_json(&progress).unwrap();
                assert_eq!(from_json(&json), Some(progress), "{json}");
            }
        }
    }
}
