//! What leaves: never early, never stale, never unrecorded, never twice without a look between.

use std::collections::BTreeMap;

use crate::audit::Violation;
use crate::audit::history::{Attempt, Deed, Micros, Request, Run, SECOND, Wrong};
use crate::audit::matching::{Interval, greedy};
use crate::audit::rules::Rule;
use crate::audit::trace::Trace;
use crate::audit::view::{TOLERANCE, View};

/// The largest error of the clock under which the program acts, and what it may change while a request leaves.
const CLOCK_ERROR_MAX: Micros = 62 * SECOND;
/// Answers after which a request surely did nothing.
const SURELY_NOT_DONE: [i64; 5] = [401, 403, 404, 413, 429];

/// The runs that a request was made for.
fn runs_of<'a>(view: &View<'a>, attempt: &Attempt) -> Vec<&'a Run> {
    attempt.targets.iter().filter_map(|(run, _)| view.run(*run)).collect()
}

pub(super) fn early(view: &View<'_>) -> Vec<Violation> {
    outside(view, Rule::Early, "before it was due", |left, run| left < run.due)
}

pub(super) fn late(view: &View<'_>) -> Vec<Violation> {
    outside(view, Rule::Late, "after the window's end", |left, run| left > run.window_end)
}

fn outside(view: &View<'_>, rule: Rule, when: &str, is: impl Fn(Micros, &Run) -> bool) -> Vec<Violation> {
    let mut found = Vec::new();
    // Where the cloud's side is not known, the intents tell.
    for attempt in view.history.journal.attempts.iter().filter(|_| !view.history.cloud_known) {
        for run in runs_of(view, attempt).into_iter().filter(|run| is(attempt.intended, run)) {
            let what = format!("a request of run {} was to leave {when}", run.id);
            found.push(Trace::default().run(view, run).attempt(view, attempt).shows(view, rule, what));
        }
    }
    for (request, attempt) in view.history.requests.iter().zip(&view.attempt_of) {
        let Some(attempt) = attempt else { continue };
        let left = view.wall(request.left);
        for run in runs_of(view, attempt).into_iter().filter(|run| is(left, run)) {
            let what = format!("a request of run {} left {when}", run.id);
            found.push(
                Trace::default()
                    .run(view, run)
                    .attempt(view, attempt)
                    .request(request)
                    .shows(view, rule, what),
            );
        }
    }
    found
}

pub(super) fn unrecorded(view: &View<'_>) -> Vec<Violation> {
    let requests = view.history.requests.iter().zip(&view.attempt_of);
    let without = requests.filter(|(_, attempt)| attempt.is_none());
    without
        .map(|(request, _)| {
            let what = "a request left without a durable intent of its own".to_owned();
            Trace::default().request(request).shows(view, Rule::Unrecorded, what)
        })
        .collect()
}

pub(super) fn surplus(view: &View<'_>) -> Vec<Violation> {
    let mut effects: BTreeMap<(&str, Deed), Vec<&Request>> = BTreeMap::new();
    let mut all: BTreeMap<&str, Vec<Micros>> = BTreeMap::new();
    for (request, _, server) in view.effects() {
        all.entry(server).or_default().push(request.at);
        effects.entry((server, request.deed)).or_default().push(request);
    }
    let mut wanted: BTreeMap<(&str, Deed), Vec<Interval>> = BTreeMap::new();
    for owed in &view.history.owed {
        for server in owed.servers.iter().flatten() {
            let interval = Interval { from: owed.planned, to: owed.latest + owed.window };
            wanted.entry((server, owed.deed)).or_default().push(interval);
        }
    }
    // What is wanted of unknown servers, and by people, is known from the journal alone.
    for target in &view.history.journal.targets {
        let Some(run) = view.run(target.run) else { continue };
        if view.owed_of(run).is_none_or(|owed| owed.servers.is_none()) {
            let interval = Interval { from: run.due, to: run.window_end };
            wanted.entry((&target.server, run.deed)).or_default().push(interval);
        }
    }
    all.values_mut().for_each(|moments| moments.sort_unstable());
    let mut found = Vec::new();
    for ((server, deed), mut requests) in effects {
        requests.sort_by_key(|request| request.at);
        let intervals = wanted.get(&(server, deed)).map_or(&[][..], Vec::as_slice);
        let undone = |request: &Request| was_undone(view, server, request, next_for(&all, server, request));
        // What was undone counts for nothing only where it was asked again for the same wish.
        let is_repeated = |index: usize, request: &Request| {
            let next = requests.get(index + 1).map(|next| view.wall(next.left));
            let at = view.wall(request.left);
            let holds = |interval: &Interval, moment: Micros| (interval.from..=interval.to).contains(&moment);
            next.is_some_and(|next| intervals.iter().any(|one| holds(one, at) && holds(one, next)))
        };
        let lasting: Vec<&Request> = requests
            .iter()
            .enumerate()
            .filter(|(index, request)| !(undone(request) && is_repeated(*index, request)))
            .map(|(_, request)| *request)
            .collect();
        let points: Vec<Micros> = lasting.iter().map(|request| view.wall(request.left)).collect();
        for (request, _) in
            lasting.iter().zip(greedy(&points, intervals)).filter(|(_, given)| given.is_none())
        {
            let what =
                format!("server {server} was set off to {} more often than anybody wanted it", deed.word());
            found.push(Trace::default().request(request).shows(view, Rule::Surplus, what));
        }
    }
    found
}

/// When the next request of ours set the server off, whatever it asked for.
fn next_for(all: &BTreeMap<&str, Vec<Micros>>, server: &str, request: &Request) -> Option<Micros> {
    all.get(server)?.iter().copied().find(|at| *at > request.at)
}

/// Whether a server came back to where it can be asked before anything else was asked: it fell back, or somebody undid it.
fn was_undone(view: &View<'_>, server: &str, request: &Request, next: Option<Micros>) -> bool {
    next.is_some_and(|next| {
        view.was(server, (request.at + 1, next - 1), |state| {
            state.at > request.at && request.deed.is_askable(&state.status, &state.operation)
        })
    })
}

pub(super) fn blind_repeat(view: &View<'_>) -> Vec<Violation> {
    let mut by_server: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, request) in view.history.requests.iter().enumerate() {
        for server in &request.servers {
            by_server.entry(server).or_default().push(index);
        }
    }
    let mut found = Vec::new();
    for (server, indices) in by_server {
        let mut requests: Vec<(&Request, Option<&Attempt>)> = indices
            .into_iter()
            .filter_map(|index| Some((view.history.requests.get(index)?, *view.attempt_of.get(index)?)))
            .collect();
        requests.sort_by_key(|(request, _)| request.left);
        for pair in requests.windows(2) {
            let [(first, attempt), (second, _)] = pair else { continue };
            let same = first.deed == second.deed;
            if same && !is_justified(view, server, (first, *attempt), second) {
                let what = format!(
                    "server {server} was asked again although no read showed that it was still to be asked"
                );
                found.push(Trace::default().request(first).request(second).shows(
                    view,
                    Rule::BlindRepeat,
                    what,
                ));
            }
        }
    }
    found
}

/// Whether the second of two requests was justified: the first surely did nothing, or a read since shows that it has to be asked.
fn is_justified(
    view: &View<'_>,
    server: &str,
    (first, attempt): (&Request, Option<&Attempt>),
    second: &Request,
) -> bool {
    if first.heard.is_some() && SURELY_NOT_DONE.contains(&first.status) {
        return true;
    }
    // Without an answer it ended when the program gave it up, which the journal tells.
    let given_up = attempt.and_then(|attempt| view.answered_at(attempt));
    let ended = first.heard.or(given_up).unwrap_or(first.at).min(second.left);
    view.shows_of(server).any(|(read, status, operation)| {
        read.began >= ended - view.tolerance()
            && read.ended <= second.left
            && second.deed.is_askable(status, operation)
    })
}

pub(super) fn overlap(view: &View<'_>) -> Vec<Violation> {
    let mut by_server: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for attempt in &view.history.journal.attempts {
        let mut servers: Vec<&str> = attempt.targets.iter().map(|(_, server)| server.as_str()).collect();
        servers.sort_unstable();
        servers.dedup();
        for server in servers {
            by_server.entry(server).or_default().push(attempt);
        }
    }
    let mut found = Vec::new();
    for (server, mut attempts) in by_server {
        attempts.sort_by_key(|attempt| attempt.id);
        for pair in attempts.windows(2) {
            let [first, second] = pair else { continue };
            let open_until = view.answered_at(first).unwrap_or(Micros::MAX);
            if view.durable_at(second) + TOLERANCE < open_until {
                let what = format!("two requests for server {server} were open at once");
                let trace = Trace::default().attempt(view, first).attempt(view, second);
                found.push(trace.shows(view, Rule::Overlap, what));
            }
        }
    }
    found
}

pub(super) fn wrong_clock(view: &View<'_>) -> Vec<Violation> {
    let wrong =
        view.history.requests.iter().filter(|request| view.wrong_by(request.left).abs() > CLOCK_ERROR_MAX);
    wrong
        .map(|request| {
            let error = view.wrong_by(request.left) / SECOND;
            let what = format!("a request left while the clock was {error}s wrong");
            Trace::default().request(request).shows(view, Rule::WrongClock, what)
        })
        .collect()
}

pub(super) fn stale_signature(view: &View<'_>) -> Vec<Violation> {
    // A process or a network that stood still delays what was signed in time, and a log does not tell of it.
    if !view.history.faults_known {
        return Vec::new();
    }
    let limit = view.history.attempt_limit;
    let stale = view.history.requests.iter().filter(|request| {
        let Some(signed) = request.signed else { return false };
        let age = view.wall(request.at) - signed;
        let excuses = [Wrong::Cloud, Wrong::Stalled, Wrong::Suspended, Wrong::Clock];
        age > limit && !view.was_wrong((request.left - limit, request.at), &excuses, None)
    });
    stale
        .map(|request| {
            let what = "a request arrived long after it was signed".to_owned();
            Trace::default().request(request).shows(view, Rule::StaleSignature, what)
        })
        .collect()
}

pub(super) fn protected(view: &View<'_>) -> Vec<Violation> {
    let never = &view.history.never_stopped;
    let asked = view.history.requests.iter().filter(|request| {
        request.deed == Deed::Stop && request.servers.iter().any(|server| never.contains(server))
    });
    asked
        .map(|request| {
            let what = "a request named a server that is never to be stopped".to_owned();
            Trace::default().request(request).shows(view, Rule::Protected, what)
        })
        .collect()
}
