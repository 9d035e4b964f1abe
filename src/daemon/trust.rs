//! Whether the wall clock can be believed: at start, and after a jump that the time since boot does not explain.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::outcome::{Reason, ReasonKind};
use crate::planted::{Bug, is_planted};
use crate::ports::clock::Reading;
use crate::ports::cloud::ClockVerdict;

/// A jump, or a difference from the cloud's clock, that is too large to act on.
pub(super) const DIFFERENCE_MAX: SignedDuration = SignedDuration::from_secs(60);
/// The smallest difference from the time since boot that counts as a step: slewing makes less between two readings.
const STEP_MIN: SignedDuration = SignedDuration::from_millis(500);
/// When this release was made, 2026-11-23: a clock that shows an earlier moment is wrong, whatever the cloud says.
pub const RELEASED: Timestamp = Timestamp::constant(1_795_392_000, 0);
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
pub(super) enum Step {
    /// Small enough to go on.
    Nudge(SignedDuration),
    /// So large that nothing is done until the cloud's clock agrees.
    Jump(SignedDuration),
}

/// The watch over the clock.
#[derive(Debug)]
pub(super) struct ClockWatch {
    /// Time since boot when there was a watch first.
    began: Duration,
    last: Reading,
    released: Timestamp,
    trust: Trust,
    epoch: u64,
}

impl ClockWatch {
    /// A watch that believes nothing yet.
    ///
    /// `released` is a moment before which no right clock can be.
    pub(super) fn new(now: Reading, released: Timestamp) -> Self {
        let why = Reason::new(ReasonKind::Clock, "the clock has not been compared with the cloud's yet");
        let trust = Trust::Held { why, ask_at: now.boot };
        Self { began: now.boot, last: now, released, trust, epoch: 0 }
    }

    /// For how long there has been a watch, which is as long as the program runs; no clock that is set changes it.
    pub(super) fn age(&self) -> Duration {
        self.last.boot.saturating_sub(self.began)
    }

    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Counts the steps: what was asked in one epoch says nothing in another.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.trust == Trust::Trusted
    }

    /// How far the wall clock went beyond the time since boot since the last reading that was taken.
    fn moved(&self, now: Reading) -> SignedDuration {
        let passed =
            SignedDuration::try_from(now.boot.saturating_sub(self.last.boot)).unwrap_or(SignedDuration::MAX);
        now.wall.duration_since(self.last.wall).saturating_sub(passed)
    }

    /// Whether somebody set the clock since the last reading that was taken.
    pub(super) fn has_stepped(&self, now: Reading) -> bool {
        self.moved(now).abs() >= STEP_MIN
    }

    /// For how long the machine was suspended since the last reading that was taken.
    pub(super) fn suspended(&self, now: Reading) -> Duration {
        let awake = now.awake.saturating_sub(self.last.awake);
        now.boot.saturating_sub(self.last.boot).saturating_sub(awake)
    }

    /// Takes a reading; a jump over [`DIFFERENCE_MAX`] that the time since boot does not explain ends the trust.
    pub(super) fn read(&mut self, now: Reading) -> Option<Step> {
        let jump = self.moved(now);
        self.last = now;
        if jump.abs() < STEP_MIN {
            return None;
        }
        self.epoch += 1;
        if jump.abs() <= DIFFERENCE_MAX || is_planted(Bug::ClockBelieved) {
            return Some(Step::Nudge(jump));
        }
        let words = format!("the clock jumped by {}s", jump.as_secs());
        self.trust = Trust::Held { why: Reason::new(ReasonKind::Clock, words), ask_at: now.boot };
        Some(Step::Jump(jump))
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

    /// Takes what an exchange told. Returns why everything was held, if it no longer is.
    ///
    /// No date counts as agreement: the clock cannot be compared with what does not tell it.
    pub(super) fn hear(&mut self, verdict: ClockVerdict, failed: Option<&Reason>) -> Option<Reason> {
        let Trust::Held { why, .. } = &mut self.trust else {
            return None;
        };
        match verdict {
            ClockVerdict::Undated | ClockVerdict::Differs(_) if self.last.wall < self.released => {
                let words = format!(
                    "this machine's clock shows {}, which is before this release of sunup was made; set the clock",
                    self.last.wall
                );
                *why = Reason::new(ReasonKind::Clock, words);
                return None;
            }
            ClockVerdict::Undated => {}
            ClockVerdict::Differs(difference) if difference.abs() <= DIFFERENCE_MAX => {}
            ClockVerdict::Differs(difference) => {
                let words =
                    format!("this machine's clock differs from the cloud's by {}s", difference.as_secs());
                *why = Reason::new(ReasonKind::Clock, words);
                return None;
            }
            ClockVerdict::Unheard => {
                if let Some(reason) = failed {
                    *why = reason.clone();
                }
                return None;
            }
        }
        let why = why.clone();
        self.trust = Trust::Trusted;
        Some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(wall: &str, boot: u64) -> Reading {
        Reading {
            wall: wall.parse().unwrap(),
            boot: Duration::from_secs(boot),
            awake: Duration::from_secs(boot),
        }
    }

    const EIGHT: &str = "2026-11-23T08:00:00Z";

    #[test]
    fn nothing_is_believed_until_the_cloud_agrees_within_a_minute() {
        let mut watch = ClockWatch::new(reading(EIGHT, 100), RELEASED);
        assert!(!watch.is_trusted());
        assert!(watch.wants_to_ask(reading(EIGHT, 100)) && !watch.wants_to_ask(reading(EIGHT, 101)));

        assert_eq!(watch.hear(ClockVerdict::Unheard, None), None);
        assert_eq!(watch.hear(ClockVerdict::Differs(SignedDuration::from_secs(-61)), None), None);
        assert!(!watch.is_trusted());

        assert!(watch.hear(ClockVerdict::Differs(SignedDuration::from_secs(59)), None).is_some());
        assert!(watch.is_trusted());
    }

    #[test]
    fn no_date_counts_as_agreement() {
        assert!(ClockWatch::new(reading(EIGHT, 0), RELEASED).hear(ClockVerdict::Undated, None).is_some());
    }

    #[test]
    fn a_jump_that_time_since_boot_does_not_explain_ends_the_trust_and_suspension_does_not() {
        let trusted = || {
            let mut watch = ClockWatch::new(reading(EIGHT, 0), RELEASED);
            watch.hear(ClockVerdict::Undated, None);
            watch
        };

        let mut slept = trusted();
        assert_eq!(slept.read(reading("2026-11-23T10:00:00Z", 7200)), None);
        assert!(slept.is_trusted());
        for stepped in ["2026-11-23T08:02:00Z", "2026-11-23T07:58:00Z", "2027-11-23T08:00:00Z"] {
            let mut watch = trusted();
            assert!(matches!(watch.read(reading(stepped, 1)), Some(Step::Jump(_))), "{stepped}");
            assert!(!watch.is_trusted(), "{stepped}");
        }
        for stepped in ["2026-11-23T08:00:02Z", "2026-11-23T08:00:52Z", "2026-11-23T07:59:53Z"] {
            let mut nudged = trusted();
            assert!(nudged.has_stepped(reading(stepped, 1)), "{stepped}");
            assert!(matches!(nudged.read(reading(stepped, 1)), Some(Step::Nudge(_))), "{stepped}");
            assert!(nudged.is_trusted(), "{stepped}");
        }
    }

    #[test]
    fn a_clock_before_this_release_is_not_believed_whatever_the_cloud_says() {
        let mut watch = ClockWatch::new(reading("2026-11-22T23:59:59Z", 0), RELEASED);

        assert_eq!(watch.hear(ClockVerdict::Differs(SignedDuration::ZERO), None), None);
        assert_eq!(watch.hear(ClockVerdict::Undated, None), None);

        let Trust::Held { why, .. } = watch.trust() else { panic!("it is trusted") };
        assert!(why.text.contains("before this release"), "{why}");
    }

    #[test]
    fn time_asleep_is_told_from_time_awake() {
        let watch = ClockWatch::new(reading(EIGHT, 0), RELEASED);
        let mut later = reading("2026-11-23T10:00:00Z", 7200);
        later.awake = Duration::from_secs(60);

        assert_eq!(watch.suspended(later), Duration::from_secs(7140));
    }
}
