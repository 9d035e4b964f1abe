//! A clock that was set: what has passed stays as long ago, and what is put off stays put off for as long. Only what the
//! configuration planned stands on the clock itself.

use jiff::SignedDuration;

use super::book::Book;
use super::draft::Draft;
use crate::domain::target::{Event, shifted};

impl Book {
    /// Moves all that is measured in time, not planned on the clock.
    pub(super) fn shift(&mut self, draft: &mut Draft, by: SignedDuration) {
        for (run, server) in self.all_open() {
            self.happen(draft, run, &server, &Event::ClockSet(by));
        }
        self.accounts.values_mut().for_each(|account| account.shift(by));
        self.probes.shift(by);
        for (sight, _) in self.sights.values_mut() {
            sight.began = shifted(sight.began, by);
        }
        for resolved in self.resolved.values_mut() {
            resolved.began = shifted(resolved.began, by);
        }
        for watch in &mut self.afterwatch {
            (watch.until, watch.next) = (shifted(watch.until, by), shifted(watch.next, by));
        }
        let asked = self.unanswered.values_mut().map(|(_, at)| at);
        let moments = asked.chain(self.touched.values_mut()).chain(self.staggered.values_mut());
        let moments =
            moments.chain(&mut self.recent_asks).chain(&mut self.hour_told).chain(&mut self.wanted_lists);
        moments.for_each(|at| *at = shifted(*at, by));
        self.regroup();
    }
}
