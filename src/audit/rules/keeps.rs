//! What a person keeps as it is stays so, and nothing is called kept that was not.

use crate::audit::Violation;
use crate::audit::history::{Deed, Keep, Micros, Target, Wrong};
use crate::audit::rules::Rule;
use crate::audit::trace::Trace;
use crate::audit::view::View;

/// The keeps that forbid a deed to the server of a target at a moment of the wall clock.
fn keeps<'v>(
    view: &'v View<'_>,
    (target, deed): (&'v Target, Deed),
    at: Micros,
) -> impl Iterator<Item = &'v Keep> {
    let is_about = move |keep: &&Keep| {
        let of_group = keep.group.as_ref().is_some_and(|group| target.groups.contains(group));
        of_group || keep.server.as_deref() == Some(target.server.as_str())
    };
    let keeps = view.history.journal.keeps.iter().filter(move |keep| keep.forbids == deed && keep.covers(at));
    keeps.filter(is_about)
}

pub(super) fn keep(view: &View<'_>) -> Vec<Violation> {
    passed(view).chain(called(view)).collect()
}

/// Requests whose intent was recorded while somebody kept a server from just that.
fn passed<'v>(view: &'v View<'_>) -> impl Iterator<Item = Violation> + 'v {
    view.history.journal.attempts.iter().filter_map(move |attempt| {
        let (run, keep, target) = attempt.targets.iter().find_map(|(run, server)| {
            let run = view.run(*run).filter(|run| !run.breaks_keeps)?;
            let target = view.targets_of(run.id).iter().copied().find(|target| target.server == *server)?;
            // A request that several share goes on if one of them may.
            let shares = attempt.targets.iter().filter(|(_, other)| other == server);
            if shares.into_iter().any(|(other, _)| view.run(*other).is_some_and(|run| run.breaks_keeps)) {
                return None;
            }
            let keep = keeps(view, (target, attempt.deed), attempt.intended).next()?;
            (!was_unsure(view, attempt.intended, keep)).then_some((run, keep, target))
        })?;
        let (deed, server) = (attempt.deed.word(), &target.server);
        let what =
            format!("run {} was to {deed} server {server} although keep {} forbade it", run.id, keep.id);
        Some(Trace::default().run(view, run).target(view, target).shows(view, Rule::Keep, what))
    })
}

/// Targets that are called kept although no keep held.
fn called<'v>(view: &'v View<'_>) -> impl Iterator<Item = Violation> + 'v {
    view.history.journal.targets.iter().filter_map(move |target| {
        let (word, kind, at) = target.ended.as_ref()?;
        let run = view.run(target.run).filter(|run| run.withdrawn.is_none())?;
        let is_called = word == "skipped" && kind.as_deref() == Some("kept");
        // What is kept up for what needs it is of no group that the keep names.
        let mut any = view.history.journal.keeps.iter().filter(|keep| keep.forbids == run.deed);
        if !is_called || any.any(|keep| keep.covers(*at)) {
            return None;
        }
        let what = format!("server {} of run {} is called kept, and nothing was", target.server, run.id);
        Some(Trace::default().run(view, run).target(view, target).shows(view, Rule::Keep, what))
    })
}

/// Whether the clock was wrong when the intent was recorded or the keep made: which came first cannot be told by it then.
fn was_unsure(view: &View<'_>, intended: Micros, keep: &Keep) -> bool {
    let moments = [intended, keep.from].map(|at| view.true_of(at));
    moments.into_iter().any(|at| view.was_wrong((at, at), &[Wrong::Clock], None))
}
