//! Whether the wall clock can be believed: at start, and after a jump that the time since boot does not explain.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::outcome::{Reason, ReasonKind};
use crate::ports::clock::Reading;
use crate::ports::cloud::ClockVerdict;

/// A jump, or a difference from the cloud's clock, that is too large to act on.
pub(super) const DIFFERENCE_MAX: SignedDuration = SignedDuration::from_secs(60);
/// How long until the cloud's clock is asked again.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// What is believed of the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// It can be acted on.
    Trusted,
    /// Nothing is claimed, asked or recorded.
    Held {
        /// Why, for the record of what is missed meanwhile.
        why: Reason,
        /// When the cloud's clock is asked next, in time since boot.
        ask_at: Duration,
    },
}

/// A step of the clock that was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step(pub(super) SignedDuration);

/// The watch over the clock.
#[derive(Debug)]
pub(super) struct ClockWatch {
    last: Reading,
    trust: Trust,
    epoch: u64,
}

impl ClockWatch {
    /// A watch that believes nothing yet.
    pub(super) fn new(now: Reading) -> Self {
        let why = Reason::new(ReasonKind::Clock, "the clock has not been compared with the cloud's yet");
        Self { last: now, trust: Trust::Held { why, ask_at: now.boot }, epoch: 0 }
    }

    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Counts the jumps: what was asked in one epoch says nothing in another.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.trust == Trust::Trusted
    }

    /// Takes a reading; a jump over [`DIFFERENCE_MAX`] that the time since boot does not explain ends the trust.
    pub(super) fn read(&mut self, now: Reading) -> Option<Step> {
        let passed =
            SignedDuration::try_from(now.boot.saturating_sub(self.last.boot)).unwrap_or(SignedDuration::MAX);
        let jump = now.wall.duration_since(self.last.wall).saturating_sub(passed);
        self.last = now;
        if jump.abs() <= DIFFERENCE_MAX {
            return None;
        }
        self.epoch += 1;
        let words = format!("the clock jumped by {}s", jump.as_secs());
        self.trust = Trust::Held { why: Reason::new(ReasonKind::Clock, words), ask_at: now.boot };
        Some(Step(jump))
    }

    /// Whether the cloud's clock is to be asked now; notes that it was.
    pub(super) fn wants_to_ask(&mut self, now: Reading) -> bool {
        match &mut self.trust {
            Trust::Held { ask_at, .. } if *ask_at <= now.boot => {
                *ask_at = now.boot + ASK_EVERY;
                true
            }
            Trust::Held { .. } | Trust::Trusted => false,
        }
    }

    /// When it wants to be called again, on the wall clock as it stands.
    pub(super) fn wakes_at(&self, now: Reading) -> Option<Timestamp> {
        match &self.trust {
            Trust::Held { ask_at, .. } => now.wall.saturating_add(ask_at.saturating_sub(now.boot)).ok(),
            Trust::Trusted => None,
        }
    }

    /// Takes what an exchange told. Returns whether the trust is new.
    ///
    /// No date counts as agreement: the clock cannot be compared with what does not tell it.
    pub(super) fn hear(&mut self, verdict: ClockVerdict, failed: Option<&Reason>) -> bool {
        let Trust::Held { why, .. } = &mut self.trust else {
            return false;
        };
        match verdict {
            ClockVerdict::Undated => {}
            ClockVerdict::Differs(difference) if difference.abs() <= DIFFERENCE_MAX => {}
            ClockVerdict::Differs(difference) => {
                let words =
                    format!("this machine's clock differs from the cloud's by {}s", difference.as_secs());
                *why = Reason::new(ReasonKind::Clock, words);
                return false;
            }
            ClockVerdict::Unheard => {
                if let Some(reason) = failed {
                    *why = reason.clone();
                }
                return false;
            }
        }
        self.trust = Trust::Trusted;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(wall: &str, boot: u64) -> Reading {
        Reading { wall: wall.parse().unwrap(), boot: Duration::from_secs(boot) }
    }

    const EIGHT: &str = "2026-11-23T08:00:00Z";

    #[test]
    fn nothing_is_believed_until_the_cloud_agrees_within_a_minute() {
        let mut watch = ClockWatch::new(reading(EIGHT, 100));
        assert!(!watch.is_trusted());
        assert!(watch.wants_to_ask(reading(EIGHT, 100)) && !watch.wants_to_ask(reading(EIGHT, 101)));

        assert!(!watch.hear(ClockVerdict::Unheard, None));
        assert!(!watch.hear(ClockVerdict::Differs(SignedDuration::from_secs(-61)), None));
        assert!(!watch.is_trusted());

        assert!(watch.hear(ClockVerdict::Differs(SignedDuration::from_secs(59)), None));
        assert!(watch.is_trusted());
    }

    #[test]
    fn no_date_counts_as_agreement() {
        assert!(ClockWatch::new(reading(EIGHT, 0)).hear(ClockVerdict::Undated, None));
    }

    #[test]
    fn a_jump_that_time_since_boot_does_not_explain_ends_the_trust_and_suspension_does_not() {
        let trusted = || {
            let mut watch = ClockWatch::new(reading(EIGHT, 0));
            watch.hear(ClockVerdict::Undated, None);
            watch
        };

        let mut slept = trusted();
        assert_eq!(slept.read(reading("2026-11-23T10:00:00Z", 7200)), None);
        assert!(slept.is_trusted());
        for stepped in ["2026-11-23T08:02:00Z", "2026-11-23T07:58:00Z", "2027-11-23T08:00:00Z"] {
            let mut watch = trusted();
            assert!(watch.read(reading(stepped, 1)).is_some(), "{stepped}");
            assert!(!watch.is_trusted(), "{stepped}");
        }
        let mut nudged = trusted();
        assert_eq!(nudged.read(reading("2026-11-23T08:00:50Z", 1)), None);
        assert!(nudged.is_trusted());
    }
}
