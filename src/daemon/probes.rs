//! Probes that are wanted and what came of them: whether a group is ready for others, whether a server is busy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::dispatch::{Act, Alarm};
use crate::domain::name::GroupName;
use crate::domain::probe::{Probe, Probed};
use crate::domain::target::shifted;

/// How long one probe may take.
pub(super) const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// How long after an answer the same is asked again, while somebody waits for it.
const PROBE_EVERY: Duration = Duration::from_secs(3);
/// An answer to whether a server is busy says nothing after so long.
pub(super) const BUSY_ANSWER_AGE_MAX: Duration = Duration::from_secs(10);
/// How long it is remembered since when a group is up while nobody asks: a short retry of what waits for it may lie between.
const UP_KEPT: Duration = Duration::from_mins(1);
/// The most probes that are open at once.
const OPEN_MAX: usize = 64;

/// One answer.
#[derive(Debug, Clone)]
struct Heard {
    began: Timestamp,
    at: Timestamp,
    answer: Probed,
}

/// What is wanted, and what was heard.
#[derive(Debug, Default)]
pub(super) struct Probes {
    open: BTreeMap<Probe, Timestamp>,
    heard: BTreeMap<Probe, Heard>,
    wanted: BTreeSet<Probe>,
    /// Since when the servers of a group are where those that wait for it want them.
    up_since: BTreeMap<View, Up>,
}

/// A group as servers of one knot see it: those of another may wait for other members of it.
type View = (GroupName, Option<usize>);

/// Since when a group is up, and when somebody last asked.
#[derive(Debug, Clone, Copy)]
struct Up {
    since: Timestamp,
    judged: Timestamp,
}

impl Probes {
    /// The clock was set: the past moves with it.
    pub(super) fn shift(&mut self, by: SignedDuration) {
        self.open.values_mut().for_each(|at| *at = shifted(*at, by));
        for heard in self.heard.values_mut() {
            (heard.began, heard.at) = (shifted(heard.began, by), shifted(heard.at, by));
        }
        for up in self.up_since.values_mut() {
            *up = Up { since: shifted(up.since, by), judged: shifted(up.judged, by) };
        }
    }

    /// A turn begins: nobody wants anything yet.
    pub(super) fn begin(&mut self) {
        self.wanted.clear();
    }

    /// A group is not up: what was heard of it before says nothing once it is.
    pub(super) fn not_up(&mut self, view: &View) {
        self.up_since.remove(view);
    }

    /// The newest answer of a question that was asked at or after a moment. Wants it asked.
    pub(super) fn answer(&mut self, probe: Probe, since: Timestamp) -> Option<Probed> {
        let heard = self.heard.get(&probe).filter(|heard| heard.began >= since);
        let answer = heard.map(|heard| heard.answer.clone());
        self.wanted.insert(probe);
        answer
    }

    /// Since when a group is up, as those that wait for it see it. Its time begins anew where nobody asked for a while.
    pub(super) fn up_since(&mut self, view: &View, now: Timestamp) -> Timestamp {
        let fresh = Up { since: now, judged: now };
        let up = self.up_since.entry(view.clone()).or_insert(fresh);
        let is_kept = up.judged.saturating_add(UP_KEPT).is_ok_and(|until| until > now);
        *up = if is_kept { Up { judged: now, ..*up } } else { fresh };
        up.since
    }

    /// An answer has come.
    pub(super) fn heard(&mut self, probe: Probe, answer: Probed, now: Timestamp) {
        let began = self.open.remove(&probe).unwrap_or(now);
        self.heard.insert(probe, Heard { began, at: now, answer });
    }

    /// The probes that are to be sent now. What nobody wants any more is forgotten.
    pub(super) fn due(&mut self, now: Timestamp, alarm: &mut Alarm) -> Vec<Act> {
        self.heard.retain(|probe, _| self.wanted.contains(probe));
        let kept = |up: &Up| up.judged.saturating_add(UP_KEPT).is_ok_and(|until| until > now);
        self.up_since.retain(|_, up| kept(up));
        let mut acts = Vec::new();
        // Those that were asked longest ago first, so that none waits for ever behind others.
        let next = |probe: &Probe| match self.heard.get(probe) {
            Some(heard) => heard.at.saturating_add(PROBE_EVERY).unwrap_or(Timestamp::MAX),
            None => Timestamp::MIN,
        };
        let mut wanted: Vec<(Timestamp, &Probe)> =
            self.wanted.iter().map(|probe| (next(probe), probe)).collect();
        wanted.sort_by_key(|(next, _)| *next);
        for (next, probe) in wanted {
            if self.open.contains_key(probe) || self.open.len() >= OPEN_MAX {
                continue;
            }
            if next > now {
                alarm.at(next);
                continue;
            }
            self.open.insert(probe.clone(), now);
            acts.push(Act::Probe { probe: probe.clone() });
        }
        acts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{at, group};

    #[test]
    fn when_the_clock_is_set_what_was_heard_stays_as_old_as_it_was() {
        let probe = Probe::Tcp("10.0.0.1:22".into());
        let (began, heard) = (at("08:50:00"), at("08:50:02"));
        let mut probes = Probes::default();
        probes.open.insert(probe.clone(), began);
        probes.heard.insert(probe.clone(), Heard { began, at: heard, answer: Probed::Yes });
        probes.up_since.insert((group("db"), None), Up { since: began, judged: heard });

        probes.shift(SignedDuration::from_hours(-1));

        let (began, heard) = (at("07:50:00"), at("07:50:02"));
        let (open, known) = (probes.open[&probe], &probes.heard[&probe]);
        let up = probes.up_since[&(group("db"), None)];
        assert_eq!((open, known.began, known.at), (began, began, heard));
        assert_eq!((up.since, up.judged), (began, heard));
    }
}
