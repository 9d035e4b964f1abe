//! Why nothing was decided for a while: what is recorded as the cause of a miss.

use jiff::Timestamp;

use crate::domain::outcome::{Reason, ReasonKind};

/// Reasons, each from a moment on, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Absence {
    first: Reason,
    later: Vec<(Timestamp, Reason)>,
}

impl Absence {
    /// One reason for all of the time.
    pub(super) fn of(reason: Reason) -> Self {
        Self { first: reason, later: Vec::new() }
    }

    /// Nobody ran until a moment.
    pub(super) fn down_until(now: Timestamp) -> Self {
        Self::of(Reason::new(ReasonKind::Down, format!("sunup was not running until {now}")))
    }

    /// What explains that something is claimed late although nothing is known to have gone wrong.
    pub(super) fn stalled() -> Self {
        Self::of(Reason::new(ReasonKind::Stalled, "sunup or its machine stood still"))
    }

    /// Another reason from a moment on.
    pub(super) fn then(&mut self, from: Timestamp, reason: Reason) {
        self.later.retain(|(since, _)| *since < from);
        self.later.push((from, reason));
    }

    /// The reason that was in force at a moment.
    pub(super) fn at(&self, moment: Timestamp) -> &Reason {
        let later = self.later.iter().rev().find(|(since, _)| *since <= moment);
        later.map_or(&self.first, |(_, reason)| reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_moment_has_the_reason_that_was_in_force() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut absence = Absence::down_until(at(100));
        absence.then(at(100), Reason::new(ReasonKind::Unreachable, "connection refused"));

        let words = [50, 99, 100, 200].map(|second| absence.at(at(second)).kind.word());

        assert_eq!(words, ["down", "down", "unreachable", "unreachable"]);
    }
}
