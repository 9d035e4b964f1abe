//! Who goes together in one request, who waits for the pace of a group, and whether a request is a retry.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::book::Book;
use super::dispatch::Alarm;
use crate::domain::budget::Turn;
use crate::domain::name::{AccountName, Action, GroupName, RunId, ServerId, ServerNo};
use crate::domain::target::later;

/// A target that wants to be asked now.
pub(super) struct Candidate {
    pub(super) run: RunId,
    pub(super) server: ServerId,
    pub(super) window_end: Timestamp,
    pub(super) batch_max: usize,
}

/// What all open targets of an account want.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) asks: BTreeMap<Action, Vec<Candidate>>,
    /// A server may stand here several times.
    pub(super) looks: Vec<(ServerNo, Timestamp)>,
}

/// Of a group with `stagger` one server goes at a time, and the next one only after the pause.
pub(super) fn stagger(book: &Book, now: Timestamp, wishes: &mut Wishes, alarm: &mut Alarm) {
    if book.settings.groups.values().all(|group| group.stagger.is_zero()) {
        return;
    }
    let mut going: BTreeMap<GroupName, ServerNo> = BTreeMap::new();
    for candidates in wishes.asks.values_mut() {
        candidates.retain(|candidate| {
            let target = book.runs.get(&candidate.run).and_then(|run| run.targets.get(&candidate.server));
            let groups = target.map(|target| target.groups.as_slice()).unwrap_or_default();
            let paced = groups.iter().filter_map(|name| book.settings.groups.get(name));
            let paced: Vec<_> = paced.filter(|group| !group.stagger.is_zero()).collect();
            for group in &paced {
                let last = book.staggered.get(&group.name).copied();
                let next = last.map_or(now, |last| later(last, group.stagger));
                let other_goes = going.get(&group.name).is_some_and(|no| *no != candidate.server.no);
                if next > now || other_goes {
                    alarm.at(if next > now { next } else { later(now, group.stagger) });
                    return false;
                }
            }
            for group in paced {
                going.insert(group.name.clone(), candidate.server.no.clone());
            }
            true
        });
    }
}

/// Whether a request repeats what failed for no reason of its servers'. The first one of a run repeats nothing.
pub(super) fn turn_of(book: &Book, account: &AccountName, batch: &[Candidate]) -> Turn {
    let troubled = book.accounts.get(account).map(|state| &state.troubled);
    let again = |candidate: &Candidate| {
        let target = book.runs.get(&candidate.run).and_then(|run| run.targets.get(&candidate.server));
        let was_asked = target.is_some_and(|target| target.progress.attempts > 0);
        was_asked && troubled.is_some_and(|troubled| troubled.contains(&candidate.server.no))
    };
    if batch.iter().all(again) { Turn::Again } else { Turn::First }
}

pub(super) fn batch_size(book: &Book, account: &AccountName) -> usize {
    book.accounts.get(account).map_or(1, |state| state.line.batch.max(1))
}

/// The most urgent of candidates that are for one server each, as many as are wanted.
pub(super) fn most_urgent(mut candidates: Vec<Candidate>, wanted: usize) -> Vec<Candidate> {
    if wanted < candidates.len() {
        let urgency =
            |a: &Candidate, b: &Candidate| (a.window_end, &a.server.no).cmp(&(b.window_end, &b.server.no));
        candidates.select_nth_unstable_by(wanted, urgency);
        candidates.truncate(wanted);
    }
    candidates
}

/// Servers in batches, the most urgent first: a server stands in one batch alone, with all runs that want it, and no batch
/// is larger than any of its members bears.
pub(super) fn batches(candidates: Vec<Candidate>, size: usize) -> Vec<Vec<Candidate>> {
    let mut servers: BTreeMap<ServerNo, Vec<Candidate>> = BTreeMap::new();
    for candidate in candidates {
        servers.entry(candidate.server.no.clone()).or_default().push(candidate);
    }
    let mut servers: Vec<Vec<Candidate>> = servers.into_values().collect();
    servers.sort_by_key(|runs| runs.iter().map(|candidate| candidate.window_end).min());
    let mut batches: Vec<Vec<Candidate>> = Vec::new();
    let (mut current, mut count, mut most): (Vec<Candidate>, usize, usize) = (vec![], 0, size);
    for runs in servers {
        let bears = runs.iter().map(|candidate| candidate.batch_max.max(1)).min().unwrap_or(size);
        if count > 0 && count + 1 > most.min(bears) {
            batches.push(std::mem::take(&mut current));
            (count, most) = (0, size);
        }
        most = most.min(bears);
        count += 1;
        current.extend(runs);
    }
    if !current.is_empty() {
        batches.push(current);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene;
    use crate::domain::name::Action;
    use crate::domain::target::Progress;

    fn candidate(run: i64, no: &str, batch_max: usize) -> Candidate {
        let account = AccountName::new("main").unwrap();
        let server = ServerId { account, no: ServerNo::parse(no).unwrap() };
        Candidate { run: RunId(run), server, window_end: Timestamp::MAX, batch_max }
    }

    fn shape(batches: &[Vec<Candidate>]) -> Vec<Vec<&str>> {
        batches.iter().map(|batch| batch.iter().map(|c| c.server.no.as_str()).collect()).collect()
    }

    #[test]
    fn a_request_repeats_only_what_was_asked_before_and_is_in_trouble() {
        let mut book = scene::book("");
        let due = scene::at("08:50:00");
        let asked = || Progress { attempts: 1, ..Progress::fresh(due) };
        let targets = [("1", asked()), ("2", Progress::fresh(due)), ("3", asked())];
        scene::add(&mut book, 1, scene::head("morning", Action::Start, due), &targets);
        let main = scene::account("main");
        let troubled = ["1", "2"].map(|no| ServerNo::parse(no).unwrap());
        book.accounts.get_mut(&main).unwrap().troubled.extend(troubled);
        let turn = |servers: &[&str]| {
            let batch: Vec<Candidate> = servers.iter().map(|no| candidate(1, no, 99)).collect();
            matches!(turn_of(&book, &main, &batch), Turn::Again)
        };

        assert_eq!(
            [turn(&["1"]), turn(&["2"]), turn(&["3"]), turn(&["1", "2"])],
            [true, false, false, false]
        );
    }

    #[test]
    fn batches_are_full_and_a_server_of_two_runs_stands_in_one() {
        let found = batches(
            vec![candidate(1, "1", 99), candidate(2, "1", 99), candidate(1, "2", 99), candidate(1, "3", 99)],
            2,
        );

        assert_eq!(shape(&found), [vec!["1", "1", "2"], vec!["3"]]);
    }

    #[test]
    fn the_first_batches_of_the_most_urgent_are_the_first_of_all() {
        let all = || {
            let candidates = (0..100).map(|n| {
                let mut one =
                    candidate(n, &(1000 + n * 37 % 100).to_string(), if n % 7 == 0 { 2 } else { 99 });
                one.window_end = Timestamp::from_second(n % 3).unwrap();
                one
            });
            candidates.collect::<Vec<_>>()
        };
        let (first, whole) = (batches(most_urgent(all(), 4 * 5), 5), batches(all(), 5));

        assert_eq!(shape(&first)[..4], shape(&whole)[..4]);
        assert_eq!(most_urgent(all(), 20).len(), 20);
        assert_eq!((most_urgent(all(), 200).len(), most_urgent(all(), 0).len()), (100, 0));
    }

    #[test]
    fn a_server_that_failed_in_a_large_batch_goes_in_a_smaller_one() {
        let found = batches(
            vec![candidate(1, "1", 99), candidate(1, "2", 1), candidate(1, "3", 1), candidate(1, "4", 99)],
            20,
        );

        assert_eq!(shape(&found), [vec!["1"], vec!["2"], vec!["3"], vec!["4"]]);
    }
}
