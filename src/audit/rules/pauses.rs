//! What a person paused is left alone, and nothing is called paused that was not.

use crate::audit::Violation;
use crate::audit::history::{Micros, Missed, Pause, Run, Target, Wrong};
use crate::audit::rules::Rule;
use crate::audit::trace::Trace;
use crate::audit::view::View;

/// Whether a pause of the rule, or of some group, holds at a moment of the wall clock.
fn is_covered(view: &View<'_>, rule: &str, due: Micros) -> bool {
    let mut pauses = view.history.journal.pauses.iter().filter(|pause| pause.covers(due));
    pauses.any(|pause| pause.rule.as_deref().is_none_or(|name| name == rule))
}

pub(super) fn pause(view: &View<'_>) -> Vec<Violation> {
    let skipped = view.history.journal.targets.iter().filter(|target| is_paused(target));
    let skipped = skipped.filter_map(|target| {
        let run = view.run(target.run).filter(|run| run.withdrawn.is_none())?;
        let rule = run.rule.as_deref();
        if rule.is_some_and(|rule| is_covered(view, rule, run.due)) {
            return None;
        }
        let what = format!("server {} of run {} is called paused, and nothing was", target.server, run.id);
        Some(Trace::default().run(view, run).target(view, target).shows(view, Rule::Pause, what))
    });
    let ranges = view.history.journal.missed.iter().filter(|missed| {
        let is_standing = missed.kind == "paused" && missed.withdrawn.is_none();
        is_standing && !(held_at(view, missed, missed.first) && held_at(view, missed, missed.last))
    });
    let ranges = ranges.map(|missed| {
        let what = format!("rule {} is said to have been paused, and was not", missed.rule);
        Trace::default().missed(view, missed).shows(view, Rule::Pause, what)
    });
    skipped.chain(ranges).chain(passed(view)).collect()
}

fn is_paused(target: &Target) -> bool {
    target.outcome() == "skipped" && target.kind() == "paused"
}

/// Jitter puts what was planned before a pause into it.
fn held_at(view: &View<'_>, missed: &Missed, planned: Micros) -> bool {
    let owed = view.owed.get(&(missed.rule.as_str(), missed.deed)).and_then(|owed| owed.get(&planned));
    let latest = owed.map_or(planned, |owed| owed.latest);
    is_covered(view, &missed.rule, planned) || is_covered(view, &missed.rule, latest)
}

/// Runs that were carried out although their rule was paused when they were due.
fn passed<'v>(view: &'v View<'_>) -> impl Iterator<Item = Violation> + 'v {
    let runs = view.history.journal.runs.iter().filter(|run| run.withdrawn.is_none());
    runs.filter_map(move |run| {
        let rule = run.rule.as_deref()?;
        let holds = |pause: &&Pause| pause.rule.as_deref() == Some(rule) && pause.covers(run.due);
        let pause = view.history.journal.pauses.iter().find(holds)?;
        let asked = view.targets_of(run.id).iter().find(|target| {
            !view.attempts_for(run.id, &target.server).is_empty() && !was_unsure(view, run, pause)
        })?;
        let what = format!("run {} asked for server {} although its rule was paused", run.id, asked.server);
        Some(Trace::default().run(view, run).target(view, asked).shows(view, Rule::Pause, what))
    })
}

/// Whether the clock was wrong when the run was claimed or the pause made: which came first cannot be told by it then.
fn was_unsure(view: &View<'_>, run: &Run, pause: &Pause) -> bool {
    let moments = [run.claimed, pause.from].map(|at| view.true_of(at));
    moments.into_iter().any(|at| view.was_wrong((at, at), &[Wrong::Clock], None))
}
