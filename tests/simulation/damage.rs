//! The checker is checked: valid histories raise no alarm, and each kind of damage is found by the rule that is meant for it.

use sunup::audit::history::{
    Attempt, Deed, History, Keep, Micros, Need, Owed, Pause, Request, Run, SECOND, State, Sure, Target,
};
use sunup::audit::matching::{Interval, greedy};
use sunup::audit::{Rule, judge};

use crate::chance::Chance;
use crate::chosen;
use crate::run::simulate;
use crate::scenario::{BEGIN, HOUR};

/// How long the histories are.
const DAYS: i64 = 12;

/// A way to damage a history. Returns whether there was anything to damage.
type Damage = fn(&mut History, &mut Chance) -> bool;

/// Each kind with the rule that is meant for it.
const DAMAGES: [(&str, Rule, Damage); 39] = [
    ("a run is gone", Rule::NoOutcome, run_gone),
    ("a run never ends", Rule::NoOutcome, run_open),
    ("a run is there twice", Rule::TwoOutcomes, run_twice),
    ("a range is there twice", Rule::TwoOutcomes, range_twice),
    ("a run for another moment", Rule::Unplanned, run_moved),
    ("one miss more", Rule::MissCount, miss_more),
    ("a miss without a cause", Rule::MissCause, miss_uncaused),
    ("a longer window", Rule::Window, window_longer),
    ("claimed before due", Rule::Window, claimed_early),
    ("a target is gone", Rule::TargetSet, target_gone),
    ("left alone for nothing", Rule::Unfulfilled, left_alone),
    ("asked early", Rule::Early, asked_early),
    ("asked late", Rule::Late, asked_late),
    ("asked without an intent", Rule::Unrecorded, attempt_gone),
    ("durable too late", Rule::Unrecorded, durable_late),
    ("done twice", Rule::Surplus, done_twice),
    ("repeated blindly", Rule::BlindRepeat, repeated),
    ("two at once", Rule::Overlap, two_at_once),
    ("under a wrong clock", Rule::WrongClock, clock_wrong),
    ("signed long ago", Rule::StaleSignature, signed_long_ago),
    ("a protected server", Rule::Protected, guard_passed),
    ("an older wish later", Rule::Order, older_later),
    ("called paused and not so", Rule::Pause, called_paused),
    ("asked in a pause", Rule::Pause, asked_in_pause),
    ("called kept and not so", Rule::Keep, called_kept),
    ("asked in a keep", Rule::Keep, asked_in_keep),
    ("started too soon", Rule::Dependency, too_soon),
    ("stopped by a start", Rule::FalseGoal, other_word),
    ("started and never up", Rule::FalseGoal, never_up),
    ("already by a request", Rule::FalseAlready, already_asked),
    ("skipped and asked", Rule::FalseRest, skipped_asked),
    ("called stopped by hand and not so", Rule::FalseRest, called_hand_stopped),
    ("unknown and answered", Rule::FalseUnknown, unknown_answered),
    ("partial and all done", Rule::RunOutcome, outcome_other),
    ("accepted and refused", Rule::FalseResult, result_other),
    ("never answered", Rule::Dangling, never_answered),
    ("gone since", Rule::Vanished, gone_since),
    ("another since", Rule::Changed, another_since),
    ("a secret in a text", Rule::Secret, secret_shown),
];

fn pick<'a, T>(chance: &mut Chance, mut from: Vec<&'a mut T>) -> Option<&'a mut T> {
    let last = i64::try_from(from.len()).unwrap() - 1;
    (last >= 0).then(|| from.swap_remove(usize::try_from(chance.between(0, last)).unwrap()))
}

/// The number of a run that its rule surely planned, has ended and stands.
fn a_run(history: &History, chance: &mut Chance, is: impl Fn(i64) -> bool) -> Option<usize> {
    let sure = |index: &usize| {
        let run = &history.journal.runs[*index];
        let owed = |owed: &&Owed| {
            owed.sure == Sure::Yes && Some(&owed.rule) == run.rule.as_ref() && owed.planned == run.planned
        };
        run.withdrawn.is_none() && run.ended.is_some() && history.owed.iter().any(|o| owed(&o)) && is(run.id)
    };
    let found: Vec<usize> = (0..history.journal.runs.len()).filter(sure).collect();
    (!found.is_empty()).then(|| *chance.one_of(&found))
}

/// A target of a rule's run with this outcome and its only attempt, which was accepted.
fn asked_once(history: &History, chance: &mut Chance, word: &str) -> Option<(usize, usize)> {
    let mut found = Vec::new();
    for (index, target) in
        history.journal.targets.iter().enumerate().filter(|(_, target)| target.outcome() == word)
    {
        // What was taken back is judged by a rule of its own.
        if history.journal.runs.iter().any(|run| run.id == target.run && run.withdrawn.is_some()) {
            continue;
        }
        let names = |attempt: &Attempt| {
            attempt.targets.iter().any(|(run, no)| *run == target.run && *no == target.server)
        };
        let mut of_it = history.journal.attempts.iter().enumerate().filter(|(_, attempt)| names(attempt));
        let only = of_it.next().filter(|_| of_it.next().is_none());
        let accepted =
            |attempt: &Attempt| attempt.answered.as_ref().is_some_and(|(_, result)| result == "accepted");
        if let Some((attempt, _)) = only.filter(|(_, attempt)| accepted(attempt)) {
            found.push((index, attempt));
        }
    }
    (!found.is_empty()).then(|| *chance.one_of(&found))
}

/// The request of an attempt.
fn request_of(history: &History, attempt: &Attempt) -> Option<usize> {
    let durable = history.durable.iter().find(|(id, _)| *id == attempt.id)?.1;
    let same = |request: &&Request| {
        request.deed == attempt.deed
            && request.left >= durable
            && request.left < durable + 6 * SECOND
            && attempt.targets.iter().all(|(_, server)| request.servers.contains(server))
    };
    let first = history.requests.iter().filter(same).min_by_key(|request| request.left)?;
    history.requests.iter().position(|request| request == first)
}

fn outcome(target: &mut Target, word: &str, kind: Option<&str>) {
    if let Some((outcome, why, _)) = &mut target.ended {
        (*outcome, *why) = (word.to_owned(), kind.map(str::to_owned));
    }
}

/// When an attempt became durable, and may be given another moment.
fn durable(history: &mut History, attempt: i64) -> Option<&mut Micros> {
    history.durable.iter_mut().find(|(id, _)| *id == attempt).map(|(_, at)| at)
}

fn remove_run(history: &mut History, index: usize) {
    let id = history.journal.runs.remove(index).id;
    history.journal.targets.retain(|target| target.run != id);
    history.snapshots.clear();
}

fn run_gone(history: &mut History, chance: &mut Chance) -> bool {
    a_run(history, chance, |_| true).map(|index| remove_run(history, index)).is_some()
}

fn run_open(history: &mut History, chance: &mut Chance) -> bool {
    a_run(history, chance, |_| true).map(|index| history.journal.runs[index].ended = None).is_some()
}

fn run_twice(history: &mut History, chance: &mut Chance) -> bool {
    let Some(index) = a_run(history, chance, |_| true) else { return false };
    let mut copy = history.journal.runs[index].clone();
    copy.id += 1_000_000;
    history.journal.runs.push(copy);
    true
}

fn range_twice(history: &mut History, chance: &mut Chance) -> bool {
    let ranges = history.journal.missed.iter_mut().filter(|missed| missed.withdrawn.is_none()).collect();
    let Some(mut copy) = pick(chance, ranges).map(|missed| missed.clone()) else { return false };
    copy.id += 1_000_000;
    history.journal.missed.push(copy);
    true
}

fn run_moved(history: &mut History, chance: &mut Chance) -> bool {
    a_run(history, chance, |_| true).map(|index| history.journal.runs[index].planned += 7 * SECOND).is_some()
}

fn miss_more(history: &mut History, chance: &mut Chance) -> bool {
    let ranges = history.journal.missed.iter_mut().filter(|missed| missed.withdrawn.is_none()).collect();
    pick(chance, ranges).map(|missed| missed.count += 1).is_some()
}

fn miss_uncaused(history: &mut History, _: &mut Chance) -> bool {
    history.faults.clear();
    history.journal.missed.iter().any(|missed| missed.withdrawn.is_none() && missed.kind != "paused")
}

fn window_longer(history: &mut History, chance: &mut Chance) -> bool {
    a_run(history, chance, |_| true)
        .map(|index| history.journal.runs[index].window_end += 60 * SECOND)
        .is_some()
}

fn claimed_early(history: &mut History, chance: &mut Chance) -> bool {
    let Some(index) = a_run(history, chance, |_| true) else { return false };
    let run = &mut history.journal.runs[index];
    run.claimed = run.due - 5 * SECOND;
    true
}

fn target_gone(history: &mut History, chance: &mut Chance) -> bool {
    let known = |id: i64| {
        let run = history.journal.runs.iter().find(|run| run.id == id).unwrap();
        let owed = history
            .owed
            .iter()
            .find(|owed| Some(&owed.rule) == run.rule.as_ref() && owed.planned == run.planned);
        owed.is_some_and(|owed| owed.servers.is_some())
    };
    let Some(index) = a_run(history, chance, known) else { return false };
    let id = history.journal.runs[index].id;
    let at = history.journal.targets.iter().position(|target| target.run == id).unwrap();
    history.journal.targets.remove(at);
    true
}

fn left_alone(history: &mut History, chance: &mut Chance) -> bool {
    history.faults.clear();
    let is_done = |target: &&mut Target| matches!(target.outcome(), "started" | "stopped");
    let targets = history.journal.targets.iter_mut().filter(is_done).collect();
    pick(chance, targets).map(|target| outcome(target, "skipped", Some("busy"))).is_some()
}

/// Gives a request, and the intent before it, another moment.
fn moved(history: &mut History, request: usize, attempt: usize, left: Micros) -> bool {
    let travel = history.requests[request].at - history.requests[request].left;
    (history.requests[request].left, history.requests[request].at) = (left, left + travel);
    history.requests[request].heard = None;
    let id = history.journal.attempts[attempt].id;
    history.journal.attempts[attempt].answered = None;
    durable(history, id).map(|at| *at = left - 1).is_some()
}

fn asked_early(history: &mut History, chance: &mut Chance) -> bool {
    moved_against_its_run(history, chance, |run| run.due - BEGIN - 20 * SECOND)
}

fn asked_late(history: &mut History, chance: &mut Chance) -> bool {
    moved_against_its_run(history, chance, |run| run.window_end - BEGIN + 20 * SECOND)
}

fn moved_against_its_run(history: &mut History, chance: &mut Chance, to: impl Fn(&Run) -> Micros) -> bool {
    let Some((target, attempt)) = asked_once(history, chance, "started") else { return false };
    let Some(request) = request_of(history, &history.journal.attempts[attempt]) else { return false };
    let run = history.journal.targets[target].run;
    let left = to(history.journal.runs.iter().find(|one| one.id == run).unwrap());
    // Elsewhere the wall clock would show another moment.
    let right = history
        .clock
        .iter()
        .rev()
        .find(|offset| offset.from <= left)
        .is_none_or(|offset| offset.wrong_by == 0);
    right && moved(history, request, attempt, left)
}

fn attempt_gone(history: &mut History, chance: &mut Chance) -> bool {
    let Some((_, attempt)) = asked_once(history, chance, "started") else { return false };
    let shape = |attempt: &Attempt| {
        let mut servers: Vec<String> = attempt.targets.iter().map(|(_, server)| server.clone()).collect();
        servers.sort();
        servers.dedup();
        (attempt.deed, servers)
    };
    let Some(_) = request_of(history, &history.journal.attempts[attempt]) else { return false };
    let gone = shape(&history.journal.attempts.remove(attempt));
    // An attempt of the same servers that was never sent could stand in for it.
    !history.journal.attempts.iter().any(|one| shape(one) == gone && one.answered.is_none())
}

fn durable_late(history: &mut History, chance: &mut Chance) -> bool {
    let Some((_, attempt)) = asked_once(history, chance, "stopped") else { return false };
    let Some(request) = request_of(history, &history.journal.attempts[attempt]) else { return false };
    let (id, left) = (history.journal.attempts[attempt].id, history.requests[request].left);
    durable(history, id).map(|at| *at = left + 5 * SECOND).is_some()
}

/// The same request once more, a little later, with an intent of its own.
fn again(history: &mut History, attempt: usize, request: usize, after: Micros) -> usize {
    let (mut intent, mut copy) =
        (history.journal.attempts[attempt].clone(), history.requests[request].clone());
    intent.id += 1_000_000;
    (copy.left, copy.at, copy.heard) = (copy.left + after, copy.at + after, None);
    intent.answered = None;
    history.durable.push((intent.id, copy.left - 1));
    history.journal.attempts.push(intent);
    history.requests.push(copy);
    history.requests.len() - 1
}

fn done_twice(history: &mut History, chance: &mut Chance) -> bool {
    let Some((_, attempt)) = asked_once(history, chance, "started") else { return false };
    let Some(request) = request_of(history, &history.journal.attempts[attempt]) else { return false };
    let (one, at) = (history.requests[request].clone(), history.requests[request].at);
    // Where it fell back meanwhile, a second one is right.
    let fell = |server: &String| {
        history.states.iter().any(|s| s.server == *server && s.at > at && s.at <= at + 10 * SECOND)
    };
    // Where two occurrences want the same, a second one may be the other's.
    let is_wanted_twice = |server: &String| {
        let of_it = |owed: &&Owed| {
            let is_in = owed.planned - BEGIN <= at + HOUR && owed.latest + owed.window - BEGIN + HOUR >= at;
            owed.deed == one.deed && is_in && owed.servers.iter().flatten().any(|no| no == server)
        };
        let by_people = |target: &&Target| {
            let run = history.journal.runs.iter().find(|run| run.id == target.run);
            let is_near = |run: &Run| (run.due - BEGIN - at).abs() < HOUR && run.deed == one.deed;
            target.server == *server && run.is_some_and(is_near)
        };
        history.owed.iter().filter(of_it).count() > 1
            || history.journal.targets.iter().filter(by_people).count() > 1
    };
    if one.took.is_empty() || one.took.iter().any(|server| fell(server) || is_wanted_twice(server)) {
        return false;
    }
    again(history, attempt, request, 10 * SECOND);
    true
}

fn repeated(history: &mut History, chance: &mut Chance) -> bool {
    let Some((_, attempt)) = asked_once(history, chance, "started") else { return false };
    let Some(request) = request_of(history, &history.journal.attempts[attempt]) else { return false };
    let from = history.requests[request].left;
    history.reads.retain(|read| read.began < from || read.began > from + 3 * SECOND);
    let copy = again(history, attempt, request, SECOND);
    (history.requests[copy].took, history.requests[request].heard) = (Vec::new(), Some(from + 1));
    history.requests[request].status = 200;
    true
}

fn two_at_once(history: &mut History, chance: &mut Chance) -> bool {
    let Some((_, attempt)) = asked_once(history, chance, "stopped") else { return false };
    let Some(request) = request_of(history, &history.journal.attempts[attempt]) else { return false };
    again(history, attempt, request, 20 * SECOND);
    history.journal.attempts[attempt].answered = None;
    true
}

fn clock_wrong(history: &mut History, _: &mut Chance) -> bool {
    history.clock.iter_mut().for_each(|offset| offset.wrong_by += 300 * SECOND);
    !history.requests.is_empty()
}

fn signed_long_ago(history: &mut History, chance: &mut Chance) -> bool {
    history.faults.clear();
    let requests = history.requests.iter_mut().collect();
    pick(chance, requests).map(|request| request.signed = request.signed.map(|at| at - 60 * SECOND)).is_some()
}

fn guard_passed(history: &mut History, chance: &mut Chance) -> bool {
    let stops: Vec<&mut Request> =
        history.requests.iter_mut().filter(|request| request.deed == Deed::Stop).collect();
    let Some(server) = pick(chance, stops).map(|request| request.servers[0].clone()) else { return false };
    history.never_stopped.push(server);
    true
}

fn older_later(history: &mut History, chance: &mut Chance) -> bool {
    let Some((target, attempt)) = asked_once(history, chance, "started") else { return false };
    let Some(request) = request_of(history, &history.journal.attempts[attempt]) else { return false };
    let (own, server) = (history.journal.targets[target].run, history.journal.targets[target].server.clone());
    let own = history.journal.runs.iter().find(|run| run.id == own).unwrap().clone();
    let newer = history.journal.runs.iter().find(|run| {
        let known = history.owed.iter().any(|owed| {
            Some(&owed.rule) == run.rule.as_ref() && owed.planned == run.planned && owed.servers.is_some()
        });
        let wants = |one: &Target| {
            one.run == run.id
                && one.server == server
                && matches!(one.outcome(), "started" | "stopped" | "already")
        };
        run.deed != own.deed && run.due > own.due && known && history.journal.targets.iter().any(wants)
    });
    let Some(newer) = newer else { return false };
    let Some(claimed) = history.turns.get(&newer.claimed).and_then(|moments| moments.first()) else {
        return false;
    };
    let left = claimed + 10 * SECOND;
    moved(history, request, attempt, left)
}

fn too_soon(history: &mut History, chance: &mut Chance) -> bool {
    let starts = history.requests.iter_mut().filter(|request| request.deed == Deed::Start).collect();
    let Some(server) = pick(chance, starts).map(|request| request.servers[0].clone()) else { return false };
    history.needs.push(Need { server, on: vec!["main/9999".into()] });
    true
}

fn other_word(history: &mut History, chance: &mut Chance) -> bool {
    let targets = history.journal.targets.iter_mut().filter(|target| target.outcome() == "started").collect();
    pick(chance, targets).map(|target| outcome(target, "stopped", None)).is_some()
}

fn never_up(history: &mut History, chance: &mut Chance) -> bool {
    let targets = history.journal.targets.iter_mut().filter(|target| target.outcome() == "started").collect();
    let Some(server) = pick(chance, targets).map(|target| target.server.clone()) else { return false };
    history.states.retain(|state| state.server != server || state.status != "RUN");
    true
}

fn already_asked(history: &mut History, chance: &mut Chance) -> bool {
    let Some((target, _)) = asked_once(history, chance, "started") else { return false };
    outcome(&mut history.journal.targets[target], "already", None);
    true
}

fn skipped_asked(history: &mut History, chance: &mut Chance) -> bool {
    let Some((target, _)) = asked_once(history, chance, "stopped") else { return false };
    outcome(&mut history.journal.targets[target], "skipped", Some("protected"));
    true
}

fn called_hand_stopped(history: &mut History, chance: &mut Chance) -> bool {
    let runs = &history.journal.runs;
    let starts = |target: &&mut Target| {
        let is_its = |run: &&Run| run.id == target.run && run.withdrawn.is_none() && run.deed == Deed::Start;
        target.outcome() == "already" && runs.iter().any(|run| is_its(&run))
    };
    let targets = history.journal.targets.iter_mut().filter(starts).collect();
    let Some(target) = pick(chance, targets) else { return false };
    outcome(target, "skipped", Some("hand-stopped"));
    // It was up all the time, by true time from the beginning.
    history.states.retain(|state| state.server != target.server);
    let (status, operation) = ("RUN".to_owned(), "NULL".to_owned());
    history.states.insert(0, State { at: 0, server: target.server.clone(), status, operation });
    true
}

fn called_paused(history: &mut History, chance: &mut Chance) -> bool {
    history.journal.pauses.clear();
    let Some((target, _)) = asked_once(history, chance, "started") else { return false };
    outcome(&mut history.journal.targets[target], "skipped", Some("paused"));
    true
}

fn asked_in_pause(history: &mut History, chance: &mut Chance) -> bool {
    history.faults.clear();
    let Some((target, _)) = asked_once(history, chance, "started") else { return false };
    let id = history.journal.targets[target].run;
    let run = history.journal.runs.iter().find(|run| run.id == id).unwrap();
    let (rule, from) = (run.rule.clone(), run.due - 60 * SECOND);
    history.journal.pauses.push(Pause { id: 1_000_000, rule: rule.clone(), from, until: from + HOUR });
    rule.is_some()
}

fn called_kept(history: &mut History, chance: &mut Chance) -> bool {
    history.journal.keeps.clear();
    let Some((target, _)) = asked_once(history, chance, "stopped") else { return false };
    outcome(&mut history.journal.targets[target], "skipped", Some("kept"));
    true
}

fn asked_in_keep(history: &mut History, chance: &mut Chance) -> bool {
    history.faults.clear();
    let Some((target, attempt)) = asked_once(history, chance, "stopped") else { return false };
    let (from, server) =
        (history.journal.attempts[attempt].intended - 60 * SECOND, &history.journal.targets[target].server);
    let of_group = history.journal.targets[target].groups.first().cloned().filter(|_| chance.percent(50));
    let server = of_group.is_none().then(|| server.clone());
    let keep = Keep { id: 1_000_000, forbids: Deed::Stop, group: of_group, server, from, until: from + HOUR };
    history.journal.keeps.push(keep);
    true
}

fn unknown_answered(history: &mut History, chance: &mut Chance) -> bool {
    let Some((target, _)) = asked_once(history, chance, "started") else { return false };
    outcome(&mut history.journal.targets[target], "unknown", Some("no-answer"));
    true
}

fn outcome_other(history: &mut History, chance: &mut Chance) -> bool {
    let done = |run: &&mut Run| {
        run.is_whole && run.withdrawn.is_none() && run.ended.as_ref().is_some_and(|(word, _)| word == "done")
    };
    let runs = history.journal.runs.iter_mut().filter(done).collect();
    pick(chance, runs).and_then(|run| run.ended.as_mut()).map(|(word, _)| *word = "partial".into()).is_some()
}

fn result_other(history: &mut History, chance: &mut Chance) -> bool {
    let Some((_, attempt)) = asked_once(history, chance, "started") else { return false };
    let Some(request) = request_of(history, &history.journal.attempts[attempt]) else { return false };
    history.requests[request].status = 503;
    true
}

fn never_answered(history: &mut History, chance: &mut Chance) -> bool {
    history.faults.clear();
    let Some((_, attempt)) = asked_once(history, chance, "started") else { return false };
    history.journal.attempts[attempt].answered = None;
    true
}

fn gone_since(history: &mut History, chance: &mut Chance) -> bool {
    let before = history.journal.clone();
    let Some(index) = a_run(history, chance, |_| true) else { return false };
    remove_run(history, index);
    history.snapshots.push(before);
    true
}

fn another_since(history: &mut History, chance: &mut Chance) -> bool {
    history.snapshots.push(history.journal.clone());
    let targets = history.journal.targets.iter_mut().filter(|target| target.outcome() == "already").collect();
    pick(chance, targets).map(|target| outcome(target, "failed", Some("refused"))).is_some()
}

fn secret_shown(history: &mut History, _: &mut Chance) -> bool {
    let secret = history.secrets[0].clone();
    history.texts.push(format!("signed with {secret}"));
    true
}

#[test]
fn each_kind_of_damage_is_found_by_the_rule_that_is_meant_for_it() {
    let wanted: usize = chosen("SUNUP_DAMAGES").map_or(20, |text| text.parse().unwrap());
    let mut planted = vec![0_usize; DAMAGES.len()];
    let mut missed = Vec::new();
    for seed in 0.. {
        if planted.iter().all(|count| *count >= wanted) {
            break;
        }
        assert!(seed < 1000 + 20 * u64::try_from(wanted).unwrap(), "nothing to damage: {planted:?}");
        let valid = simulate(seed, DAYS).history;
        for (index, (name, rule, damage)) in DAMAGES.iter().enumerate() {
            if planted[index] >= wanted {
                continue;
            }
            let mut damaged = valid.clone();
            if damage(&mut damaged, &mut Chance::new(seed)) {
                planted[index] += 1;
                let verdict = judge(&damaged);
                let by = verdict.violations.iter().find(|violation| violation.rule == *rule);
                match by {
                    None => missed.push(format!("{name} in seed {seed} is not found by `{}`", rule.word())),
                    Some(violation) => assert!(!violation.trace.is_empty() && !violation.what.is_empty()),
                }
            }
        }
    }
    let all: usize = planted.iter().sum();
    println!("{} passed, {} failed", all - missed.len(), missed.len());
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn valid_histories_raise_no_alarm() {
    let wanted: u64 = chosen("SUNUP_VALID").map_or(500, |text| text.parse().unwrap());
    let mut alarms = Vec::new();
    for seed in 100_000..100_000 + wanted {
        let verdict = simulate(seed, 3).verdict;
        alarms.extend(verdict.violations.first().map(|found| format!("seed {seed}: {found:?}")));
    }
    println!("{} passed, {} failed", wanted - u64::try_from(alarms.len()).unwrap(), alarms.len());
    assert!(alarms.is_empty(), "{}", alarms.join("\n"));
}

/// The size of a largest matching, by trying everything.
fn by_force(points: &[i64], intervals: &[Interval]) -> usize {
    let Some((point, rest)) = points.split_first() else { return 0 };
    let mut best = by_force(rest, intervals);
    for (index, interval) in intervals.iter().enumerate() {
        if (interval.from..=interval.to).contains(point) {
            let mut others = intervals.to_vec();
            others.remove(index);
            best = best.max(1 + by_force(rest, &others));
        }
    }
    best
}

#[test]
fn the_matching_is_as_large_as_one_found_by_trying_everything() {
    let cases: u64 = chosen("SUNUP_CASES").map_or(2_000, |text| text.parse().unwrap());
    for case in 0..cases {
        let mut chance = Chance::new(case);
        let points: Vec<i64> = (0..chance.between(0, 5)).map(|_| chance.between(0, 12)).collect();
        let interval = |chance: &mut Chance| {
            let from = chance.between(0, 12);
            Interval { from, to: from + chance.between(-1, 6) }
        };
        let intervals: Vec<Interval> = (0..chance.between(0, 5)).map(|_| interval(&mut chance)).collect();

        let given = greedy(&points, &intervals);

        let mut used: Vec<usize> = given.iter().flatten().copied().collect();
        assert_eq!(used.len(), by_force(&points, &intervals), "{points:?} {intervals:?}");
        for (point, index) in points.iter().zip(&given).filter_map(|(point, index)| Some((point, (*index)?)))
        {
            assert!(
                (intervals[index].from..=intervals[index].to).contains(point),
                "{points:?} {intervals:?}"
            );
        }
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), given.iter().flatten().count(), "one interval was given twice");
    }
    println!("{cases} passed, 0 failed");
}
