//! Counting what happens, for those who watch many machines.

use jiff::{SignedDuration, Timestamp};

use crate::domain::name::{Action, RuleName};
use crate::domain::outcome::{Outcome, ReasonKind, RunOutcome};

/// Something that is counted, once it is durable.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// A run began.
    RunBegan {
        /// What it does.
        action: Action,
        /// How long after due it was claimed.
        late: SignedDuration,
    },
    /// A run ended.
    RunEnded {
        /// Its rule; `None` for a command, and for what follows a keep.
        rule: Option<&'a RuleName>,
        /// What it did.
        action: Action,
        /// How it ended.
        outcome: RunOutcome,
        /// When.
        ended: Timestamp,
    },
    /// Occurrences passed without a deed.
    Missed {
        /// Their rule.
        rule: &'a RuleName,
        /// What they would have done.
        action: Action,
        /// Why.
        cause: ReasonKind,
        /// How many.
        count: u64,
    },
    /// A target ended.
    TargetEnded {
        /// What was wanted of its server.
        action: Action,
        /// How it ended.
        outcome: &'a Outcome,
        /// From the first request to its end, where it got to its goal by one.
        took: Option<SignedDuration>,
    },
    /// A read came back.
    Read {
        /// `look` (some servers), `list` (all), `find-own` (this machine's server) or `greet` (keys and clock).
        operation: &'static str,
        /// `good`, `keys`, `throttled`, `down` or `odd`.
        result: &'static str,
    },
    /// A mutating request is about to leave.
    Asked {
        /// What it asks.
        action: Action,
    },
    /// What came of one.
    Answered {
        /// `accepted`, `refused`, `not-sent`, `unanswered` or `interrupted`.
        result: &'static str,
        /// The HTTP status, where there was an answer.
        status: Option<u16>,
    },
}

/// Somebody who counts. Returns at once.
pub trait Meter: Send + Sync {
    /// Counts.
    fn note(&self, happening: Happening<'_>);
}

/// Nobody counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uncounted;

impl Meter for Uncounted {
    fn note(&self, _: Happening<'_>) {}
}
