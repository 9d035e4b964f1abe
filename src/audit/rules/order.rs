//! Who goes first: the newest wish wins, and a server waits for what it needs.

use crate::audit::Violation;
use crate::audit::history::{Attempt, Deed, Request, Run};
use crate::audit::rules::Rule;
use crate::audit::trace::Trace;
use crate::audit::view::{TOLERANCE, View};

pub(super) fn newest_wins(view: &View<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (request, attempt) in view.history.requests.iter().zip(&view.attempt_of) {
        let Some(attempt) = attempt else { continue };
        for server in &request.servers {
            let Some(own) = newest_run(view, attempt, server) else { continue };
            let newer =
                view.history.journal.runs.iter().find(|other| is_newer(view, (own, request), other, server));
            if let Some(newer) = newer {
                let what = format!(
                    "server {server} was asked for run {} although run {} is newer",
                    own.id, newer.id
                );
                let trace = Trace::default().run(view, own).run(view, newer).request(request);
                found.push(trace.shows(view, Rule::Order, what));
            }
        }
    }
    found
}

/// Of the runs that share a request for a server the one due last.
fn newest_run<'a>(view: &View<'a>, attempt: &Attempt, server: &str) -> Option<&'a Run> {
    let runs =
        attempt.targets.iter().filter(|(_, other)| other == server).filter_map(|(run, _)| view.run(*run));
    runs.max_by_key(|run| run.due)
}

/// Whether another run wanted the opposite of a server, is newer, and had been claimed when a request left.
fn is_newer(view: &View<'_>, (own, request): (&Run, &Request), other: &Run, server: &str) -> bool {
    let later = other.due > own.due
        || (other.due == own.due && other.deed == Deed::Start && own.rule.is_some() && other.rule.is_some());
    // What gave way itself, or was to leave the server alone, wanted nothing of it.
    let wants = |outcome: &str| !matches!(outcome, "superseded" | "skipped" | "missed");
    other.deed != own.deed
        && later
        && was_known(view, other, request, server)
        && other.withdrawn.is_none()
        && view.true_of(other.claimed) + TOLERANCE < request.left
        && view.targets_of(other.id).iter().any(|target| target.server == server && wants(target.outcome()))
}

/// Whether a run knew by then that it was about a server: its rule names it, or it had been asked for it.
fn was_known(view: &View<'_>, run: &Run, request: &Request, server: &str) -> bool {
    let named = view.owed_of(run).is_some_and(|owed| owed.servers.is_some());
    let asked =
        view.attempts_for(run.id, server).iter().any(|attempt| view.durable_at(attempt) < request.left);
    named || asked
}

pub(super) fn dependency(view: &View<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for need in &view.history.needs {
        let starts = view
            .history
            .requests
            .iter()
            .filter(|request| request.deed == Deed::Start && request.servers.contains(&need.server));
        for request in starts {
            let down = need.on.iter().find(|on| {
                // A read is a little old by the time that a request leaves.
                let seen = (request.left - view.history.boot_limit, request.left);
                !view.was(on, seen, |state| Deed::Start.is_goal(&state.status, &state.operation))
            });
            if let Some(on) = down {
                let what =
                    format!("server {} was started although {on}, which it needs, was not up", need.server);
                let trace = match view.state_at(on, request.left) {
                    Some(state) => Trace::default().state(state),
                    None => Trace::default(),
                };
                found.push(trace.request(request).shows(view, Rule::Dependency, what));
            }
        }
    }
    found
}
