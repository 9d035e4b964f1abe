//! The breaker of an account: after several failures in a row nothing is asked until one read came back well.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How many connect or 5xx failures in a row open the breaker.
pub const FAILURES_TO_OPEN: u32 = 5;
/// How long the one read that tries an open breaker is held back each time.
pub const PROBE_EVERY: Duration = Duration::from_secs(5);

/// How an account's requests have gone lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Breaker {
    /// Requests may go.
    #[default]
    Closed,
    /// This many failures in a row; requests may still go.
    Shaken(u32),
    /// Only one read at a time, from this moment on.
    Open {
        /// When the next read may begin.
        probe_at: Timestamp,
    },
}

impl Breaker {
    /// The breaker after a connect failure or a 5xx.
    #[must_use]
    pub fn failed(self, now: Timestamp) -> Self {
        let open = Self::Open { probe_at: now.saturating_add(PROBE_EVERY).unwrap_or(Timestamp::MAX) };
        match self {
            Self::Closed => Self::Shaken(1),
            Self::Shaken(failures) if failures + 1 < FAILURES_TO_OPEN => Self::Shaken(failures + 1),
            Self::Shaken(_) | Self::Open { .. } => open,
        }
    }

    /// The same on a clock that was set by so much.
    #[must_use]
    pub fn shifted(self, by: SignedDuration) -> Self {
        match self {
            Self::Open { probe_at } => {
                Self::Open { probe_at: probe_at.saturating_add(by).unwrap_or(probe_at) }
            }
            other => other,
        }
    }

    /// Whether mutating requests may go.
    #[must_use]
    pub fn lets_ask(self) -> bool {
        !matches!(self, Self::Open { .. })
    }

    /// From when a read may go: now unless the breaker is open.
    #[must_use]
    pub fn lets_look_from(self) -> Option<Timestamp> {
        match self {
            Self::Open { probe_at } => Some(probe_at),
            Self::Closed | Self::Shaken(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_open_it_and_each_further_one_puts_the_next_look_off() {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let mut breaker = Breaker::Closed;

        for _ in 0..FAILURES_TO_OPEN - 1 {
            breaker = breaker.failed(now);
            assert!(breaker.lets_ask());
        }
        breaker = breaker.failed(now);

        assert!(!breaker.lets_ask());
        assert_eq!(breaker.lets_look_from(), Some(now + PROBE_EVERY));
        assert_eq!(breaker.failed(now + PROBE_EVERY).lets_look_from(), Some(now + PROBE_EVERY * 2));
    }
}
