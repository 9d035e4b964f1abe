//! A target's way through its run: the stored progress is the state, everything else is an argument.

mod step;
#[cfg(test)]
mod walks;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::name::{Action, AttemptId};
use super::outcome::{Asked, Outcome, Reason};
use super::retry::{Aftermath, Then};
use super::server::Sight;

pub use step::{deadline, is_moved_by_time, step, wish};

/// The longest that one mutating request may take, from connect to the last byte of the answer.
pub const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// A read that justifies a repeat begins at least this long after an answer that left the deed open.
pub const SETTLE_AFTER_ANSWER: Duration = Duration::from_secs(3);
/// The same where no answer came: the request may still be travelling.
pub const SETTLE_AFTER_SILENCE: Duration = Duration::from_secs(10);
/// Two reads that together prove an absence or a fall back lie at least this far apart.
pub const PROOF_APART: Duration = Duration::from_secs(10);
/// The shortest time between two looks at a moving server.
pub const POLL_MIN: Duration = Duration::from_secs(3);
/// The longest time between two looks at a moving server.
pub const POLL_MAX: Duration = Duration::from_secs(10);
/// A sight older than this no longer shows that a server can be asked.
pub const SIGHT_AGE_MAX: Duration = Duration::from_secs(120);
/// How long the gateway honours a signature: an unanswered opposite request may still arrive that late.
pub const SIGNATURE_AGE_MAX: Duration = Duration::from_mins(5);
/// How long a look is still tried for after the window, where the last request went out just before its end.
pub const LAST_LOOK_GRACE: Duration = Duration::from_mins(1);

/// A moment and a length after it; the last moment of all where there is none.
#[must_use]
pub fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// A moment on a clock that was set by so much. What stands for "never" stays.
#[must_use]
pub fn shifted(at: Timestamp, by: SignedDuration) -> Timestamp {
    if at == Timestamp::MAX || at == Timestamp::UNIX_EPOCH || at == Timestamp::MIN {
        return at;
    }
    at.saturating_add(by).unwrap_or(at)
}

/// What is fixed for a target while its run lasts, and what the engine knows around it now.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// What the run does.
    pub action: Action,
    /// When the run is due: no request goes out before it, whatever a clock showed that has been set back since.
    pub due: Timestamp,
    /// The end of the run's window: no request goes out after it.
    pub window_end: Timestamp,
    /// How long the server may take from accepted to its goal.
    pub limit: Duration,
    /// When a request of the opposite action went out for this server and was never answered.
    pub opposite_unanswered: Option<Timestamp>,
}

/// Where a target stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing is on the wire.
    Waiting {
        /// Not before this moment.
        until: Timestamp,
        /// Why it waits, where that is not just its turn.
        why: Option<Reason>,
    },
    /// The intent is durable; the request may be on the wire.
    Asking {
        /// The attempt.
        attempt: AttemptId,
        /// When the intent was decided.
        since: Timestamp,
    },
    /// A read must show the server before anything else.
    Looking {
        /// The attempt that left it open.
        attempt: AttemptId,
        /// Only a read that begins at or after this moment counts.
        not_before: Timestamp,
        /// What follows if the read shows that nothing was done.
        then: Then,
    },
    /// Accepted, or seen on its way.
    Moving {
        /// The attempt that set it moving, if one of ours did.
        attempt: Option<AttemptId>,
        /// Since when.
        since: Timestamp,
        /// The begin of the first read that showed it back where it was.
        fell_back: Option<Timestamp>,
    },
    /// It has its outcome, for ever.
    Ended {
        /// The outcome.
        outcome: Outcome,
        /// When it was reached.
        at: Timestamp,
    },
}

impl State {
    /// The word in logs, the journal and JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Asking { .. } => "asking",
            Self::Looking { .. } => "looking",
            Self::Moving { .. } => "moving",
            Self::Ended { .. } => "ended",
        }
    }
}

/// What ends a target early once nothing of it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// A newer opposite occurrence took over; in words.
    Superseded(String),
    /// Its rule is gone or its server is now protected.
    Withdrawn(Reason),
}

/// All that is stored of a target's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub state: State,
    /// Whether a request may have had an effect so far.
    pub asked: Asked,
    /// How many attempts named it.
    pub attempts: u32,
    /// How many of them in a row led nowhere.
    pub tries: u32,
    /// The last trouble, kept for the window's end.
    pub trouble: Option<Reason>,
    /// What ends it once the wire is free.
    pub mark: Option<Mark>,
    /// How many servers the next request that names it may name.
    pub batch_max: Option<usize>,
    /// Whether the newest read showed it in a failure state.
    pub in_failure_state: bool,
    /// Whether it was asked out of a failure state and the request may have arrived, which is done once.
    pub tried_failure_state: bool,
    /// After a restart or a hold: until when a read is waited for before time may end it.
    pub look_by: Option<Timestamp>,
    /// The begin of the first complete read that lacked it.
    pub absent_since: Option<Timestamp>,
    /// The begin of the newest read that showed it.
    pub seen: Option<Timestamp>,
    /// The begin of the newest read that showed that it can be asked.
    pub askable: Option<Timestamp>,
    /// When the first request that it asked, or that was asked for it too, was decided; `None` while all it has is an older run's.
    pub first_asked: Option<Timestamp>,
}

impl Progress {
    /// A fresh target, free to be asked from `from` on.
    #[must_use]
    pub fn fresh(from: Timestamp) -> Self {
        Self {
            state: State::Waiting { until: from, why: None },
            asked: Asked::No,
            attempts: 0,
            tries: 0,
            trouble: None,
            mark: None,
            batch_max: None,
            in_failure_state: false,
            tried_failure_state: false,
            look_by: None,
            absent_since: None,
            seen: None,
            askable: None,
            first_asked: None,
        }
    }

    /// What was asked was not sent: neither a try nor a trouble, so that nothing that ends it later is blamed on this.
    fn undecided(self, now: Timestamp) -> Self {
        let state = State::Waiting { until: now, why: self.trouble.clone() };
        Self { state, askable: None, ..self }
    }

    /// A target that ends where it begins.
    #[must_use]
    pub fn ended(outcome: Outcome, at: Timestamp) -> Self {
        Self { state: State::Ended { outcome, at }, ..Self::fresh(at) }
    }

    /// A fresh target that shares the attempt of `other`, an open target of the same server and action.
    #[must_use]
    pub fn joining(other: &Self, from: Timestamp) -> Self {
        let shared =
            matches!(other.state, State::Asking { .. } | State::Looking { .. } | State::Moving { .. });
        if shared { Self { mark: None, first_asked: None, ..other.clone() } } else { Self::fresh(from) }
    }

    /// The outcome, once it has ended.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            State::Ended { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    /// What the end of a target tells of its server: when it was left running, or that it was not, or that this is not known any more
    /// (`Some(None)`); `None` where nothing was done to it.
    #[must_use]
    pub fn left_running(&self, action: Action) -> Option<Option<Timestamp>> {
        let State::Ended { outcome, at } = &self.state else { return None };
        match (outcome, action) {
            (Outcome::Started, _) | (Outcome::Already, Action::Start) => Some(Some(*at)),
            (Outcome::Stopped, _) => Some(None),
            // A stop that finds it down did not stop it: somebody else did.
            (Outcome::Already, Action::Stop) => None,
            _ => (self.attempts > 0).then_some(None),
        }
    }

    /// The same moments on a clock that was set by so much. The end of an ended target stays as it was recorded.
    #[must_use]
    pub fn shifted(mut self, by: SignedDuration) -> Self {
        let shift = |at: &mut Timestamp| *at = shifted(*at, by);
        match &mut self.state {
            State::Waiting { until, .. } => shift(until),
            State::Asking { since, .. } => shift(since),
            State::Looking { not_before, .. } => shift(not_before),
            State::Moving { since, fell_back, .. } => {
                shift(since);
                fell_back.iter_mut().for_each(shift);
            }
            State::Ended { .. } => return self,
        }
        let moments = [&mut self.look_by, &mut self.absent_since, &mut self.seen, &mut self.askable];
        moments.into_iter().flatten().for_each(shift);
        self
    }

    /// Whether all that was asked so far was asked by an older run, before this one was claimed.
    #[must_use]
    pub fn has_only_joined(&self) -> bool {
        self.asked == Asked::Yes && self.first_asked.is_none()
    }

    /// The same once a read that began at a moment showed that what an older run had asked was not done.
    #[must_use]
    pub(crate) fn on_its_own(self, until: Timestamp, seen: Timestamp) -> Self {
        let state = State::Waiting { until, why: None };
        Self { state, asked: Asked::No, trouble: None, askable: Some(seen), ..self }
    }

    /// Whether a request for it may be on the wire or may have worked without our knowing.
    #[must_use]
    pub fn holds_the_wire(&self) -> bool {
        matches!(self.state, State::Asking { .. } | State::Looking { .. })
    }
}

/// What can happen to a target.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// Time passed.
    Time,
    /// Its turn to be asked has come: the intent is recorded with this step.
    Asked(AttemptId),
    /// The attempt was answered, or is known to have no answer.
    Answered(AttemptId, &'a Aftermath),
    /// A read showed its server.
    Seen(&'a Sight),
    /// Another target of the same server and action has a request out or is on its way: they share it.
    Shared(&'a Progress),
    /// The engine acts again after it held everything.
    Resumed,
    /// The clock was set by so much: what has passed, and what is left of a wait, stays as long as it was.
    ClockSet(SignedDuration),
    /// A limit or the state of the account holds it back until a moment.
    Held(&'a Reason, Timestamp),
    /// What it was held back for is there.
    Freed,
    /// The program found it unfinished when it started.
    Restarted,
    /// A newer opposite occurrence is due.
    Superseded(&'a str),
    /// Its rule was removed or disabled, or its server is now protected.
    Withdrawn(&'a Reason),
}

/// What a target wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A request, now.
    Ask,
    /// A read that begins at or after this moment.
    Look(Timestamp),
    /// Nothing before this moment.
    Rest(Timestamp),
    /// Nothing, ever.
    Done,
}
