//! Every planned moment has exactly one record, a true one, and what was owed was done where nothing kept it from being done.

use std::collections::BTreeMap;

use crate::audit::Violation;
use crate::audit::history::{Deed, Micros, Missed, Owed, Run, SECOND, Sure, Wrong};
use crate::audit::rules::Rule;
use crate::audit::trace::{Trace, moment};
use crate::audit::view::View;

/// How long before due something may have gone wrong so that it matters then: the preflight, and what is known from before.
const BEFORE: Micros = 150 * SECOND;
/// How long after a window's end the last look, the record of it and a start may take.
const GRACE: Micros = 120 * SECOND;

/// What records there are of one planned moment.
#[derive(Default)]
struct Records<'a> {
    runs: Vec<&'a Run>,
    missed: Vec<&'a Missed>,
}

/// The records of every planned moment. Those taken back do not count.
fn records<'a>(view: &View<'a>) -> BTreeMap<(&'a str, Deed, Micros), Records<'a>> {
    let mut found: BTreeMap<(&str, Deed, Micros), Records<'_>> = BTreeMap::new();
    for run in view.history.journal.runs.iter().filter(|run| run.withdrawn.is_none()) {
        if let Some(rule) = run.rule.as_deref() {
            found.entry((rule, run.deed, run.planned)).or_default().runs.push(run);
        }
    }
    for missed in view.history.journal.missed.iter().filter(|missed| missed.withdrawn.is_none()) {
        for (planned, _) in planned_within(view, missed) {
            let records = found.entry((missed.rule.as_str(), missed.deed, *planned)).or_default();
            // A run within a range, from when a wrong clock had gone ahead, is not one of those that it counts.
            if records.runs.is_empty() {
                records.missed.push(missed);
            }
        }
    }
    found
}

fn planned_within<'v, 'a>(
    view: &'v View<'a>,
    missed: &'v Missed,
) -> impl Iterator<Item = (&'v Micros, &'v &'a Owed)> {
    let planned = view.owed.get(&(missed.rule.as_str(), missed.deed));
    planned.into_iter().flat_map(move |planned| planned.range(missed.first..=missed.last.max(missed.first)))
}

pub(super) fn no_outcome(view: &View<'_>) -> Vec<Violation> {
    let records = records(view);
    let mut found = Vec::new();
    for owed in view.history.owed.iter().filter(|owed| owed.sure == Sure::Yes) {
        let of_it = records.get(&(owed.rule.as_str(), owed.deed, owed.planned));
        let run = of_it.and_then(|records| records.runs.first());
        match run {
            Some(run) if run.ended.is_none() => {
                let what = format!("run {} of rule {} never ended", run.id, owed.rule);
                found.push(Trace::default().owed(view, owed).run(view, run).shows(
                    view,
                    Rule::NoOutcome,
                    what,
                ));
            }
            None if of_it.is_none_or(|records| records.missed.is_empty()) => {
                let what = format!(
                    "rule {} planned a {} at {}, and nothing is recorded of it",
                    owed.rule,
                    owed.deed.word(),
                    moment(owed.planned)
                );
                found.push(Trace::default().owed(view, owed).shows(view, Rule::NoOutcome, what));
            }
            _ => {}
        }
    }
    found
}

pub(super) fn two_outcomes(view: &View<'_>) -> Vec<Violation> {
    let records = records(view);
    let twice = records.iter().filter(|(_, records)| records.runs.len() + records.missed.len() > 1);
    twice
        .map(|((rule, deed, planned), records)| {
            let mut trace = Trace::default();
            for run in &records.runs {
                trace = trace.run(view, run);
            }
            for missed in &records.missed {
                trace = trace.missed(view, missed);
            }
            let what =
                format!("the {} of rule {rule} at {} is recorded twice", deed.word(), moment(*planned));
            trace.shows(view, Rule::TwoOutcomes, what)
        })
        .collect()
}

pub(super) fn unplanned(view: &View<'_>) -> Vec<Violation> {
    let runs = view.history.journal.runs.iter().filter(|run| run.withdrawn.is_none());
    let runs = runs.filter(|run| run.rule.is_some() && view.owed_of(run).is_none());
    let runs = runs.map(|run| {
        let what = format!("run {} is for a moment that its rule does not plan", run.id);
        Trace::default().run(view, run).shows(view, Rule::Unplanned, what)
    });
    let known = |missed: &Missed, at| {
        view.owed.get(&(missed.rule.as_str(), missed.deed)).is_some_and(|p| p.contains_key(&at))
    };
    let missed = view.history.journal.missed.iter().filter(|missed| missed.withdrawn.is_none());
    let missed = missed.filter(|missed| !known(missed, missed.first) || !known(missed, missed.last));
    let missed = missed.map(|missed| {
        let what = format!("rule {} is said to have missed moments that it does not plan", missed.rule);
        Trace::default().missed(view, missed).shows(view, Rule::Unplanned, what)
    });
    runs.chain(missed).collect()
}

pub(super) fn miss_count(view: &View<'_>) -> Vec<Violation> {
    let records = records(view);
    let mut found = Vec::new();
    for missed in view.history.journal.missed.iter().filter(|missed| missed.withdrawn.is_none()) {
        let own = |planned: &Micros| {
            let of_it = records.get(&(missed.rule.as_str(), missed.deed, *planned));
            of_it.is_some_and(|records| records.missed.iter().any(|one| one.id == missed.id))
        };
        let planned = planned_within(view, missed).filter(|(planned, _)| own(planned)).count();
        if i64::try_from(planned).ok() != Some(missed.count) {
            let what = format!(
                "rule {} planned {planned} moments there, and {} are counted",
                missed.rule, missed.count
            );
            found.push(Trace::default().missed(view, missed).shows(view, Rule::MissCount, what));
        }
    }
    found
}

/// The faults that can be the cause of a miss of this kind.
fn causes(kind: &str) -> &'static [Wrong] {
    use Wrong::{Clock, Cloud, Down, Keys, Reload, Stalled, Store, Suspended};
    match kind {
        "down" => &[Down],
        "suspended" => &[Suspended],
        "stalled" => &[Stalled, Store, Suspended],
        // Everything is held until the cloud's clock agrees, which it cannot while it is not heard.
        "clock" => &[Clock, Down, Cloud, Keys, Suspended, Stalled, Store],
        "store" => &[Store, Stalled, Suspended],
        "credentials" => &[Keys],
        "unreachable" | "no-answer" | "api" | "throttled" => &[Cloud],
        _ => &[Down, Stalled, Suspended, Clock, Store, Cloud, Keys, Reload],
    }
}

pub(super) fn miss_cause(view: &View<'_>) -> Vec<Violation> {
    if !view.history.faults_known {
        return Vec::new();
    }
    let ranges = view.history.journal.missed.iter().filter(|missed| missed.withdrawn.is_none());
    // What is called paused has a rule of its own.
    let ranges = ranges.filter(|missed| missed.kind != "paused");
    let ranges = ranges.filter(|missed| {
        let window = planned_within(view, missed).map(|(_, owed)| owed.window).max().unwrap_or(0);
        // What had come of it by then may have been lost again before it was recorded.
        let end = view.true_of(missed.recorded).max(view.right(missed.last) + window + GRACE);
        let stretch = (view.right(missed.first) - BEFORE, end);
        !view.was_wrong(stretch, causes(&missed.kind), None)
    });
    let ranges = ranges.map(|missed| {
        let what = format!("rule {}: nothing of the kind `{}` was wrong then", missed.rule, missed.kind);
        Trace::default().missed(view, missed).shows(view, Rule::MissCause, what)
    });
    let targets = view.history.journal.targets.iter().filter(|target| target.outcome() == "missed");
    let targets = targets.filter_map(|target| {
        let run = view.run(target.run).filter(|run| run.withdrawn.is_none())?;
        let stretch = (view.right(run.due) - BEFORE, view.right(run.window_end) + GRACE);
        if view.was_wrong(stretch, causes(target.kind()), Some(&target.server)) {
            return None;
        }
        let what =
            format!("server {}: nothing of the kind `{}` was wrong then", target.server, target.kind());
        Some(Trace::default().run(view, run).target(view, target).shows(view, Rule::MissCause, what))
    });
    ranges.chain(targets).collect()
}

pub(super) fn window(view: &View<'_>) -> Vec<Violation> {
    let runs = view.history.journal.runs.iter().filter_map(|run| Some((run, view.owed_of(run)?)));
    let odd = runs.filter(|(run, owed)| {
        run.due < owed.planned
            || run.due > owed.latest
            || run.window_end - run.due != owed.window
            || run.claimed < run.due
    });
    odd.map(|(run, owed)| {
        let what = format!(
            "run {} is due or claimed at another time than its rule says, or its window is another one",
            run.id
        );
        Trace::default().owed(view, owed).run(view, run).shows(view, Rule::Window, what)
    })
    .collect()
}

pub(super) fn target_set(view: &View<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for run in view.history.journal.runs.iter().filter(|run| run.withdrawn.is_none()) {
        let Some((owed, servers)) = view.owed_of(run).and_then(|owed| Some((owed, owed.servers.as_ref()?)))
        else {
            continue;
        };
        // What could not be read until the window's end is the miss of the whole run.
        let stretch = (view.right(run.due), view.right(run.window_end));
        let unread =
            !view.history.faults_known || view.was_wrong(stretch, &[Wrong::Cloud, Wrong::Keys], None);
        let is_missed = run.ended.as_ref().is_some_and(|(outcome, _)| outcome == "missed");
        if is_missed && unread && view.targets_of(run.id).is_empty() {
            continue;
        }
        let mut have: Vec<&str> =
            view.targets_of(run.id).iter().map(|target| target.server.as_str()).collect();
        let mut want: Vec<&str> = servers.iter().map(String::as_str).collect();
        have.sort_unstable();
        want.sort_unstable();
        if have != want {
            let what =
                format!("run {} is about {} and its rule about {}", run.id, have.join(" "), want.join(" "));
            found.push(Trace::default().owed(view, owed).run(view, run).shows(view, Rule::TargetSet, what));
        }
    }
    found
}

pub(super) fn unfulfilled(view: &View<'_>) -> Vec<Violation> {
    if !view.history.cloud_known || !view.history.faults_known {
        return Vec::new();
    }
    let mut found = Vec::new();
    for target in &view.history.journal.targets {
        let Some(run) = view.run(target.run).filter(|run| run.withdrawn.is_none()) else { continue };
        let is_done = matches!(target.outcome(), "started" | "stopped" | "already" | "");
        if is_done || is_excused(view, run, &target.server, target.outcome(), target.kind()) {
            continue;
        }
        let what = format!("server {} ended {} although nothing was wrong", target.server, target.outcome());
        found.push(Trace::default().run(view, run).target(view, target).shows(view, Rule::Unfulfilled, what));
    }
    found
}

/// Whether something kept a target from its goal: a fault, or a newer opposite wish.
fn is_excused(view: &View<'_>, run: &Run, server: &str, outcome: &str, kind: &str) -> bool {
    let end = view.right(run.window_end) + view.history.boot_limit + GRACE;
    let stretch = (view.right(run.due) - BEFORE, end);
    let all = [
        Wrong::Down,
        Wrong::Stalled,
        Wrong::Suspended,
        Wrong::Clock,
        Wrong::Store,
        Wrong::Cloud,
        Wrong::Keys,
        Wrong::People,
        Wrong::Reload,
    ];
    if view.was_wrong(stretch, &all, Some(server)) {
        return true;
    }
    let newer = |other: &&Run| {
        let is_newer = other.due > run.due || (other.due == run.due && other.deed == Deed::Start);
        other.deed != run.deed
            && is_newer
            && other.due <= run.window_end + view.history.boot_limit
            && view.targets_of(other.id).iter().any(|target| target.server == server)
    };
    match (outcome, kind) {
        ("superseded", _) => view.history.journal.runs.iter().any(|other| newer(&other)),
        ("skipped", "protected") => view.history.never_stopped.iter().any(|one| one == server),
        // What other hours want is not known here; what a dependency does is judged where that one is.
        // So is what is called paused.
        ("skipped", "wanted" | "dependency" | "paused" | "kept" | "hand-stopped") => true,
        _ => false,
    }
}
