//! The engine and its clocks: what is done when one was set, when the machine slept, and when the second clock falls silent.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Engine, Mode, Phase, SWEEP_MISSING_AFTER};
use crate::daemon::absence::Absence;
use crate::daemon::draft::Draft;
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::target::Event;
use crate::ports::clock::Reading;
use crate::ports::notifier::{NoticeKind, Told, Urgency};

/// A machine that was suspended for less did not miss anything because of it.
const SUSPENDED_MIN: Duration = Duration::from_secs(1);

/// A turn that comes so much later than it was wanted follows a pause in which nothing was seen.
const PAUSE_MIN: SignedDuration = SignedDuration::from_secs(10);

impl Engine {
    /// A machine that was suspended says so where something is late because of it.
    pub(super) fn note_suspension(&mut self, reading: Reading) {
        let asleep = self.watch.suspended(reading);
        if asleep >= SUSPENDED_MIN && matches!(self.phase, Phase::AtWork) {
            let words = format!("the machine was suspended for {}s", asleep.as_secs());
            tracing::info!("{words}");
            self.absence = Absence::of(Reason::new(ReasonKind::Suspended, words));
        }
    }

    pub(super) fn clock_jumped(&mut self, seconds: i64, now: Timestamp) {
        self.held_since = now;
        (self.parts.rebuild)();
        if matches!(self.phase, Phase::AtWork) {
            self.phase = Phase::Resuming;
        }
        self.absence = Absence::of(Reason::new(ReasonKind::Clock, format!("the clock jumped by {seconds}s")));
        self.tell(
            NoticeKind::Trouble,
            Urgency::NeedsAPerson,
            Told::new(
                format!(
                    "the clock jumped by {seconds}s: nothing is started or stopped until the cloud's clock agrees."
                ),
                format!("시계가 {seconds}초 건너뛰었습니다. 클라우드의 시계와 맞을 때까지 아무것도 시작하거나 정지하지 않습니다."),
            ),
        );
    }

    /// Whoever was asleep, or stood still, looks before time alone ends anything.
    pub(super) fn look_after_a_pause(&mut self, draft: &mut Draft) {
        let late = draft.now.duration_since(self.wake_by);
        if matches!(self.phase, Phase::AtWork) && late > PAUSE_MIN {
            for (run, server) in self.book.all_open() {
                self.book.happen(draft, run, &server, &Event::Resumed);
            }
        }
    }

    /// What is measured in time goes by the time since boot: a clock that was set moves it along.
    pub(super) fn follow_the_clock(&mut self, draft: &mut Draft) {
        let by = std::mem::take(&mut self.shift);
        // What the journal tells of the time before the start stands as it is.
        if !by.is_zero() && !matches!(self.phase, Phase::Starting(_)) {
            self.book.shift(draft, by);
        }
    }

    pub(super) fn check_sweep(&mut self, boot: Duration) {
        if self.parts.mode == Mode::Daemon && boot.saturating_sub(self.last_sweep) > SWEEP_MISSING_AFTER {
            tracing::error!(
                "the housekeeping has been silent for {}s: it is built again",
                SWEEP_MISSING_AFTER.as_secs()
            );
            self.last_sweep = boot;
            (self.parts.rebuild)();
        }
    }
}
