//! Within one group of a run: the canary goes first, and after too many failures the rest are left alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Gate, Gates};
use crate::daemon::book::Run;
use crate::domain::name::{GroupName, RunId, ServerId};
use crate::domain::outcome::{Outcome, Reason, ReasonKind};
use crate::domain::target::State;
use crate::ports::store::Target;

/// How far a group has got within a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    failed: usize,
    /// A server that was asked and failed.
    failed_try: Option<ServerId>,
    /// Servers that were asked and got there.
    there: usize,
}

impl<'a> Gates<'a> {
    /// How far a group has got within a run, worked out once a turn.
    fn tally(&mut self, id: RunId, run: &Run, name: &GroupName) -> Tally {
        let key = (id, name.clone());
        if let Some(tally) = self.tallies.get(&key) {
            return tally.clone();
        }
        let mut tally = Tally::default();
        for target in run.targets.values().filter(|target| target.groups.contains(name)) {
            match target.progress.outcome() {
                Some(Outcome::Failed(_) | Outcome::Unknown(_)) => {
                    tally.failed += 1;
                    let was_tried = target.progress.attempts > 0;
                    tally.failed_try = tally.failed_try.or_else(|| was_tried.then(|| target.server.clone()));
                }
                Some(outcome) if outcome.is_at_goal() && target.progress.attempts > 0 => tally.there += 1,
                _ => {}
            }
        }
        self.tallies.insert(key, tally.clone());
        tally
    }

    /// Whether a group of the run has had as many failures as it bears.
    pub(super) fn failures(&mut self, id: RunId, run: &Run, target: &Target) -> Gate {
        for name in &target.groups {
            let Some(most) = self.book.settings.groups.get(name).and_then(|g| g.stop_after_failures) else {
                continue;
            };
            let failed = self.tally(id, run, name).failed;
            if failed >= most {
                let words = format!(
                    "{failed} servers of group {name} failed and its `stop_after_failures` is {most}; mend them, then run the \
                     rest by hand"
                );
                return Gate::Lost(Reason::new(ReasonKind::Limit, words));
            }
        }
        Gate::Free
    }

    /// The first servers of each group with `canary`: those that have been asked, else those that could go now.
    pub(super) fn choose_canaries(&mut self, waiting: &[(RunId, &'a Run, &'a Target)]) {
        if !self.are_tried {
            return;
        }
        let mut by_run: BTreeMap<RunId, Vec<&'a ServerId>> = BTreeMap::new();
        for (id, _, target) in waiting {
            by_run.entry(*id).or_default().push(&target.server);
        }
        for (id, waiting) in by_run {
            let Some(run) = self.book.runs.get(&id) else { continue };
            let groups = run.head.groups.iter().filter_map(|name| self.book.settings.groups.get(name));
            let mut chosen: BTreeSet<&'a ServerId> = BTreeSet::new();
            for group in groups.filter(|group| group.canary > 0) {
                let has_begun = |target: &Target| {
                    let was_asked = target.progress.attempts > 0;
                    target.groups.contains(&group.name)
                        && was_asked
                        && !is_left_out(target.progress.outcome())
                };
                let begun: Vec<&ServerId> = run
                    .targets
                    .iter()
                    .filter(|(_, target)| has_begun(target))
                    .map(|(server, _)| server)
                    .collect();
                let wanted = group.canary.saturating_sub(begun.len());
                chosen.extend(begun);
                // Whoever can go now goes first, so that a canary never waits for the rest of its group.
                let mut rest: Vec<&'a ServerId> = waiting
                    .iter()
                    .copied()
                    .filter(|server| run.targets.get(*server).is_some_and(|t| t.groups.contains(&group.name)))
                    .filter(|server| !chosen.contains(server))
                    .collect();
                // Nor does it wait for one that is busy.
                let is_busy = |server: &ServerId| {
                    let state = run.targets.get(server).map(|target| &target.progress.state);
                    matches!(state, Some(State::Waiting { why: Some(why), .. }) if why.kind == ReasonKind::Busy)
                };
                rest.sort_by_cached_key(|server| {
                    (self.order(id, run, server) != Gate::Free, is_busy(server))
                });
                chosen.extend(rest.into_iter().take(wanted));
            }
            self.canaries.insert(id, chosen);
        }
    }

    pub(super) fn canary(&mut self, id: RunId, run: &Run, target: &Target) -> Gate {
        let is_canary = self.canaries.get(&id).is_some_and(|chosen| chosen.contains(&target.server));
        if is_canary {
            return Gate::Free;
        }
        for name in &target.groups {
            let Some(group) = self.book.settings.groups.get(name).filter(|group| group.canary > 0) else {
                continue;
            };
            let tally = self.tally(id, run, name);
            if tally.there >= group.canary {
                continue;
            }
            if let Some(failed) = tally.failed_try {
                let words = format!(
                    "server {} went first as the canary of group {name} and failed; mend it, then run the rest by hand",
                    failed.no
                );
                return Gate::Lost(Reason::new(ReasonKind::Limit, words));
            }
            let words = format!("the canary of group {name} is to get there first");
            return Gate::Waits(Reason::new(ReasonKind::Limit, words));
        }
        Gate::Free
    }
}

/// Whether a target says nothing about how the rest of its group would fare.
fn is_left_out(outcome: Option<&Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Skipped(_) | Outcome::Superseded { .. } | Outcome::Missed(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::probes::Probes;
    use crate::daemon::scene::{self, at, group, head, server};
    use crate::domain::name::Action;
    use crate::domain::target::Progress;

    #[test]
    fn only_a_canary_that_was_asked_and_got_there_shows_that_the_rest_may_follow() {
        let due = at("08:50:00");
        let ended = |outcome: Outcome, attempts: u32| Progress { attempts, ..Progress::ended(outcome, due) };
        let mut book = scene::book("");
        let targets = [
            ("1001", ended(Outcome::Already, 0)),
            ("1002", ended(Outcome::Started, 1)),
            ("1003", ended(Outcome::Failed(scene::reason(ReasonKind::Api)), 0)),
            ("1004", ended(Outcome::Failed(scene::reason(ReasonKind::Api)), 1)),
            ("1005", Progress { attempts: 1, ..Progress::fresh(due) }),
        ];
        scene::add(&mut book, 1, head("r", Action::Start, due), &targets);
        let mut gates = Gates::new(&book, Probes::default(), due);

        let tally = gates.tally(RunId(1), &book.runs[&RunId(1)], &group("db"));

        assert_eq!((tally.there, tally.failed), (1, 2));
        assert_eq!(tally.failed_try, Some(server("1004")));
    }
}
