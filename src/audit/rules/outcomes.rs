//! What is recorded of a target is what the cloud saw.

use crate::audit::Violation;
use crate::audit::history::{Deed, Run, SECOND, State, Target, Wrong};
use crate::audit::rules::Rule;
use crate::audit::trace::Trace;
use crate::audit::view::{TOLERANCE, View};

/// Targets of runs that stand, with the one of these outcomes.
fn with<'v, 'a>(
    view: &'v View<'a>,
    words: &'static [&'static str],
) -> impl Iterator<Item = (&'a Run, &'a Target)> + 'v {
    let targets = view.history.journal.targets.iter().filter(|target| words.contains(&target.outcome()));
    targets.filter_map(|target| Some((view.run(target.run).filter(|run| run.withdrawn.is_none())?, target)))
}

/// Whether an attempt named a target, and may have worked.
fn may_have_worked(view: &View<'_>, target: &Target) -> bool {
    let attempts = view.attempts_for(target.run, &target.server).iter();
    let mut results =
        attempts.map(|attempt| attempt.answered.as_ref().map_or("", |(_, result)| result.as_str()));
    results.any(|result| result != "not-sent")
}

/// Whether the state of a target's server is known by then: a log may begin with the first change.
fn is_known(view: &View<'_>, target: &Target, by: i64) -> bool {
    view.history.cloud_known && view.state_at(&target.server, by).is_some()
}

/// When a target ended, true time; the end of what was watched while it is open.
fn ended_at(view: &View<'_>, target: &Target) -> i64 {
    target.ended.as_ref().map_or(view.history.until, |(_, _, at)| view.true_of(*at))
}

/// From before a run was claimed until the last moment at which a target of it may have ended, true time.
fn stretch_of(view: &View<'_>, run: &Run, target: &Target) -> (i64, i64) {
    let ended = target.ended.as_ref().map_or(view.history.until, |(_, _, at)| view.last_of(*at));
    (view.true_of(run.claimed) - 60 * SECOND, ended + TOLERANCE)
}

fn is_goal(deed: Deed) -> impl Fn(&State) -> bool {
    move |state| deed.is_goal(&state.status, &state.operation)
}

fn violation(view: &View<'_>, rule: Rule, (run, target): (&Run, &Target), what: &str) -> Violation {
    let what = format!("server {} of run {} ended {}: {what}", target.server, run.id, target.outcome());
    let mut trace = Trace::default().run(view, run).target(view, target);
    for attempt in view.attempts_for(run.id, &target.server) {
        trace = trace.attempt(view, attempt);
    }
    let ended = ended_at(view, target);
    if let Some(state) = view.state_at(&target.server, ended) {
        trace = trace.state(state);
    }
    trace.shows(view, rule, what)
}

pub(super) fn false_goal(view: &View<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (run, target) in with(view, &["started", "stopped"]) {
        let word = if run.deed == Deed::Start { "started" } else { "stopped" };
        if target.outcome() != word {
            found.push(violation(view, Rule::FalseGoal, (run, target), "that is not what the run does"));
            continue;
        }
        let shared = view.history.journal.attempts.iter().any(|attempt| {
            attempt.deed == run.deed && attempt.targets.iter().any(|(_, server)| *server == target.server)
        });
        if !shared {
            found.push(violation(view, Rule::FalseGoal, (run, target), "nothing was ever asked"));
            continue;
        }
        let ended = ended_at(view, target);
        let stretch = stretch_of(view, run, target);
        if is_known(view, target, ended) && !view.was(&target.server, stretch, is_goal(run.deed)) {
            found.push(violation(view, Rule::FalseGoal, (run, target), "the server was never there"));
        }
    }
    found
}

pub(super) fn false_already(view: &View<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (run, target) in with(view, &["already"]) {
        let accepted = view.attempts_for(run.id, &target.server).iter().any(|attempt| {
            attempt
                .answered
                .as_ref()
                .is_some_and(|(_, result)| matches!(result.as_str(), "accepted" | "unanswered"))
        });
        let ended = ended_at(view, target);
        let stretch = stretch_of(view, run, target);
        if accepted {
            found.push(violation(
                view,
                Rule::FalseAlready,
                (run, target),
                "a request of the run may have done it",
            ));
        } else if is_known(view, target, ended) && !view.was(&target.server, stretch, is_goal(run.deed)) {
            found.push(violation(view, Rule::FalseAlready, (run, target), "the server was not there"));
        }
    }
    found
}

pub(super) fn false_rest(view: &View<'_>) -> Vec<Violation> {
    let asked = with(view, &["missed", "skipped"]).filter(|(run, target)| {
        // A request that was surely refused leaves nothing behind.
        view.attempts_for(run.id, &target.server).iter().any(|attempt| {
            let result = attempt.answered.as_ref().map_or("", |(_, result)| result.as_str());
            let surely_not = matches!(attempt.status, Some(401 | 413 | 429));
            result == "accepted" || (result != "not-sent" && !surely_not)
        })
    });
    let mut found: Vec<Violation> =
        asked.map(|of| violation(view, Rule::FalseRest, of, "something was asked")).collect();
    for (run, target) in with(view, &["skipped"]).filter(|(_, target)| target.kind() == "hand-stopped") {
        found.extend(
            not_by_hand(view, run, target).map(|what| violation(view, Rule::FalseRest, (run, target), what)),
        );
    }
    found
}

/// Why a server that was left off as stopped by a person was none.
fn not_by_hand(view: &View<'_>, run: &Run, target: &Target) -> Option<&'static str> {
    if run.deed != Deed::Start {
        return Some("only a start leaves off what a person stopped");
    }
    let claimed = view.true_of(run.claimed);
    let of_server = view.history.journal.attempts.iter().filter(|attempt| {
        let names = attempt.targets.iter().any(|(_, server)| *server == target.server);
        let worked = attempt.answered.as_ref().is_some_and(|(_, result)| result == "accepted");
        names && worked && view.durable_at(attempt) < claimed
    });
    // What was asked and never answered may have worked too, so that the last word is known only of what was accepted.
    let doubtful = view.history.journal.attempts.iter().any(|attempt| {
        let names = attempt.targets.iter().any(|(_, server)| *server == target.server);
        names
            && attempt
                .answered
                .as_ref()
                .is_none_or(|(_, result)| result != "accepted" && result != "not-sent")
    });
    let last = of_server.max_by_key(|attempt| view.durable_at(attempt));
    let ended = ended_at(view, target);
    let stretch = stretch_of(view, run, target);
    if is_known(view, target, ended) && !view.was(&target.server, stretch, is_goal(Deed::Stop)) {
        return Some("nobody had stopped it");
    }
    match last {
        Some(attempt) if attempt.deed == Deed::Stop && !doubtful => Some("the program itself had stopped it"),
        _ => None,
    }
}

pub(super) fn false_unknown(view: &View<'_>) -> Vec<Violation> {
    let clear = with(view, &["unknown"]).filter(|(run, target)| {
        let mut attempts = view.attempts_for(run.id, &target.server).iter();
        let shared = attempts.len() == 0;
        !shared
            && attempts.all(|attempt| {
                let result = attempt.answered.as_ref().map_or("unanswered", |(_, result)| result.as_str());
                result == "accepted" || result == "not-sent"
            })
    });
    clear.map(|of| violation(view, Rule::FalseUnknown, of, "every attempt was answered clearly")).collect()
}

pub(super) fn false_failure(view: &View<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (run, target) in with(view, &["failed"]) {
        let ended = ended_at(view, target);
        let never_asked =
            !may_have_worked(view, target) && !matches!(target.kind(), "too-slow" | "removed" | "gone");
        // Another run's request may have been its own, too.
        let since = view.true_of(run.claimed) - 3600 * SECOND;
        let shared = view.history.journal.attempts.iter().any(|attempt| {
            attempt.deed == run.deed
                && (since..=ended).contains(&view.durable_at(attempt))
                && attempt.targets.iter().any(|(_, server)| *server == target.server)
        });
        if never_asked && !shared {
            found.push(violation(view, Rule::FalseFailure, (run, target), "nothing was asked"));
            continue;
        }
        // It stood at its goal for the last minute, and nothing kept the program from seeing it.
        let long_there = view
            .state_at(&target.server, ended)
            .is_some_and(|state| is_goal(run.deed)(state) && state.at + 60 * SECOND < ended);
        let blinded = [
            Wrong::Cloud,
            Wrong::Down,
            Wrong::Stalled,
            Wrong::Suspended,
            Wrong::Clock,
            Wrong::Store,
            Wrong::Keys,
        ];
        let could_see = !view.was_wrong((ended - 120 * SECOND, ended), &blinded, Some(&target.server));
        if view.history.faults_known && long_there && could_see {
            found.push(violation(
                view,
                Rule::FalseFailure,
                (run, target),
                "the server was where it was to go",
            ));
        }
    }
    found
}

pub(super) fn run_outcome(view: &View<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for run in view.history.journal.runs.iter().filter(|run| run.withdrawn.is_none()) {
        let Some((outcome, _)) = &run.ended else { continue };
        let words: Vec<&str> = view.targets_of(run.id).iter().map(|target| target.outcome()).collect();
        let is_open = words.contains(&"");
        // What is not known of a group is a part that is not done.
        if words.is_empty() || (!run.is_whole && !is_open) || (!is_open && *outcome == follows_from(&words)) {
            continue;
        }
        let what = format!("run {} ended {outcome} with targets {}", run.id, words.join(" "));
        let mut trace = Trace::default().run(view, run);
        for target in view.targets_of(run.id) {
            trace = trace.target(view, target);
        }
        found.push(trace.shows(view, Rule::RunOutcome, what));
    }
    found
}

/// What a run's outcome is by those of its targets.
fn follows_from(words: &[&str]) -> &'static str {
    let count = |which: &[&str]| words.iter().filter(|word| which.contains(word)).count();
    let (there, rest) = (count(&["started", "stopped", "already"]), count(&["skipped", "superseded"]));
    let (missed, bad) = (count(&["missed"]), count(&["failed", "unknown"]));
    match words.len() {
        all if all == there => "done",
        all if all == rest => "skipped",
        all if all == missed => "missed",
        _ if there == 0 && bad > 0 => "failed",
        _ => "partial",
    }
}
