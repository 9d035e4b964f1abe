//! The open runs, and which of them each server is in: a turn must not search all runs for every server.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use super::book::Run;
use crate::domain::name::{Action, RunId, ServerId};
use crate::domain::target::{Progress, State};
use crate::ports::store::Target;

/// Open runs by their numbers.
#[derive(Default)]
pub(super) struct Runs {
    runs: BTreeMap<RunId, Run>,
    of_server: BTreeMap<ServerId, BTreeSet<RunId>>,
    /// The servers that more than one run holds.
    shared: BTreeSet<ServerId>,
}

impl Runs {
    pub(super) fn insert(&mut self, id: RunId, run: Run) {
        for server in run.targets.keys() {
            note(&mut self.of_server, &mut self.shared, server, id);
        }
        self.runs.insert(id, run);
    }

    pub(super) fn remove(&mut self, id: RunId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        for server in run.targets.keys() {
            if let Some(runs) = self.of_server.get_mut(server) {
                runs.remove(&id);
                if runs.len() < 2 {
                    self.shared.remove(server);
                }
                if runs.is_empty() {
                    self.of_server.remove(server);
                }
            }
        }
        Some(run)
    }

    /// A run to be changed. Its targets are added by [`Self::add_targets`] alone.
    pub(super) fn get_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.runs.get_mut(&id)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Run> {
        self.runs.values_mut()
    }

    /// Adds targets that a run has learned of.
    pub(super) fn add_targets(&mut self, id: RunId, targets: impl IntoIterator<Item = Target>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        for target in targets {
            note(&mut self.of_server, &mut self.shared, &target.server, id);
            run.targets.insert(target.server.clone(), target);
        }
    }

    /// The runs with a server, oldest first.
    pub(super) fn of(&self, server: &ServerId) -> impl Iterator<Item = (RunId, &Run)> {
        let runs = self.of_server.get(server).into_iter().flatten();
        runs.filter_map(|id| Some((*id, self.runs.get(id)?)))
    }

    /// The progress of the oldest target of a server and an action that has a request out or is on its way.
    pub(super) fn on_its_way(&self, server: &ServerId, action: Action) -> Option<&Progress> {
        let same = self.of(server).filter(|(_, run)| run.head.action == action);
        let mut progresses = same.filter_map(|(_, run)| Some(&run.targets.get(server)?.progress));
        progresses.find(|progress| {
            matches!(progress.state, State::Asking { .. } | State::Looking { .. } | State::Moving { .. })
        })
    }

    /// The servers that more than one run holds: only between those is there anything to share or to wait for.
    pub(super) fn shared(&self) -> &BTreeSet<ServerId> {
        &self.shared
    }
}

fn note(
    of_server: &mut BTreeMap<ServerId, BTreeSet<RunId>>,
    shared: &mut BTreeSet<ServerId>,
    server: &ServerId,
    id: RunId,
) {
    let runs = of_server.entry(server.clone()).or_default();
    runs.insert(id);
    if runs.len() > 1 {
        shared.insert(server.clone());
    }
}

impl FromIterator<(RunId, Run)> for Runs {
    fn from_iter<T: IntoIterator<Item = (RunId, Run)>>(runs: T) -> Self {
        let mut all = Self::default();
        for (id, run) in runs {
            all.insert(id, run);
        }
        all
    }
}

/// Everything that only looks.
impl Deref for Runs {
    type Target = BTreeMap<RunId, Run>;

    fn deref(&self) -> &Self::Target {
        &self.runs
    }
}

#[cfg(test)]
mod tests {
    use crate::daemon::scene::{self, server};
    use crate::domain::name::{Action, RunId};
    use crate::domain::target::Progress;

    #[test]
    fn a_server_is_found_in_the_runs_that_hold_it_and_in_no_other() {
        let mut book = scene::book("");
        let due = scene::at("09:00:00");
        let fresh = || Progress::fresh(due);
        scene::add(
            &mut book,
            1,
            scene::head("a", Action::Start, due),
            &[("1001", fresh()), ("1002", fresh())],
        );
        scene::add(&mut book, 2, scene::head("b", Action::Stop, due), &[("1002", fresh())]);
        let of = |book: &super::super::book::Book, no: &str| {
            book.runs.of(&server(no)).map(|(id, _)| id.0).collect::<Vec<_>>()
        };

        assert_eq!((of(&book, "1001"), of(&book, "1002"), of(&book, "1003")), (vec![1], vec![1, 2], vec![]));
        assert_eq!(book.runs.shared().iter().collect::<Vec<_>>(), [&server("1002")]);
        let first = book.runs.remove(RunId(1)).unwrap();
        assert!(book.runs.shared().is_empty());
        assert_eq!((of(&book, "1001"), of(&book, "1002")), (vec![], vec![2]));
        book.runs.add_targets(RunId(2), first.targets.into_values());
        assert_eq!((of(&book, "1001"), of(&book, "1002")), (vec![2], vec![2]));
    }
}
