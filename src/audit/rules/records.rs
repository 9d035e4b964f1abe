//! The journal's records: true to what the cloud did, final, and never gone. Nothing secret stands anywhere.

use std::collections::BTreeMap;

use crate::audit::Violation;
use crate::audit::history::{Attempt, Journal, Micros, SECOND, Wrong};
use crate::audit::rules::Rule;
use crate::audit::trace::Trace;
use crate::audit::view::View;

/// How long after its intent an attempt of a running program has a result.
const ANSWERED_WITHIN: Micros = 60 * SECOND;

pub(super) fn false_result(view: &View<'_>) -> Vec<Violation> {
    if !view.history.cloud_known {
        return Vec::new();
    }
    let mut found = Vec::new();
    for attempt in &view.history.journal.attempts {
        let Some((_, result)) = &attempt.answered else { continue };
        let requests = view.requests_of.get(&attempt.id).map_or(&[][..], Vec::as_slice);
        let what = match result.as_str() {
            "accepted" if !requests.iter().any(|request| request.status == 200) => {
                "the cloud accepted nothing"
            }
            "refused" if !requests.iter().any(|request| attempt.status == Some(request.status)) => {
                "the cloud did not answer so"
            }
            "not-sent" if !requests.is_empty() => "a request reached the cloud",
            _ => continue,
        };
        let mut trace = Trace::default().attempt(view, attempt);
        for request in requests {
            trace = trace.request(request);
        }
        let what = format!("attempt {} is recorded as {result}, and {what}", attempt.id);
        found.push(trace.shows(view, Rule::FalseResult, what));
    }
    found
}

pub(super) fn dangling(view: &View<'_>) -> Vec<Violation> {
    let is_over = |attempt: &&Attempt| {
        let by = view.durable_at(attempt) + ANSWERED_WITHIN;
        let away = [Wrong::Down, Wrong::Stalled, Wrong::Suspended, Wrong::Clock, Wrong::Store];
        attempt.answered.is_none()
            && by < view.history.until
            && !view.was_wrong((by, view.history.until), &away, None)
    };
    let open = view.history.journal.attempts.iter().filter(is_over);
    open.map(|attempt| {
        let what = format!("attempt {} was never given a result", attempt.id);
        Trace::default().attempt(view, attempt).shows(view, Rule::Dangling, what)
    })
    .collect()
}

/// Each journal with the one after it; the last one is the journal at the end.
fn successions<'a>(view: &View<'a>) -> impl Iterator<Item = (&'a Journal, &'a Journal)> + 'a {
    let all = view.history.snapshots.iter().chain(std::iter::once(&view.history.journal));
    let next = all.clone().skip(1);
    all.zip(next)
}

pub(super) fn vanished(view: &View<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (before, after) in successions(view) {
        let runs: BTreeMap<i64, ()> = after.runs.iter().map(|run| (run.id, ())).collect();
        for run in before.runs.iter().filter(|run| !runs.contains_key(&run.id)) {
            let what = format!("run {} was in the journal and is gone", run.id);
            found.push(Trace::default().run(view, run).shows(view, Rule::Vanished, what));
        }
        let attempts: BTreeMap<i64, ()> = after.attempts.iter().map(|attempt| (attempt.id, ())).collect();
        for attempt in before.attempts.iter().filter(|attempt| !attempts.contains_key(&attempt.id)) {
            let what = format!("attempt {} was in the journal and is gone", attempt.id);
            found.push(Trace::default().attempt(view, attempt).shows(view, Rule::Vanished, what));
        }
        let missed: BTreeMap<i64, ()> = after.missed.iter().map(|missed| (missed.id, ())).collect();
        for gone in before.missed.iter().filter(|range| !missed.contains_key(&range.id)) {
            let what = format!("a range of misses of rule {} was in the journal and is gone", gone.rule);
            found.push(Trace::default().missed(view, gone).shows(view, Rule::Vanished, what));
        }
    }
    found
}

pub(super) fn changed(view: &View<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (before, after) in successions(view) {
        let targets: BTreeMap<(i64, &str), _> =
            after.targets.iter().map(|target| ((target.run, target.server.as_str()), target)).collect();
        for target in before.targets.iter().filter(|target| target.ended.is_some()) {
            let now = targets.get(&(target.run, target.server.as_str()));
            if let Some(now) = now.filter(|now| now.ended != target.ended) {
                let what = format!(
                    "server {} of run {} had ended, and ended otherwise later",
                    target.server, target.run
                );
                let trace = Trace::default().target(view, target).target(view, now);
                found.push(trace.shows(view, Rule::Changed, what));
            }
        }
        let runs: BTreeMap<i64, _> = after.runs.iter().map(|run| (run.id, run)).collect();
        for run in &before.runs {
            let Some(now) = runs.get(&run.id) else { continue };
            let fixed = |run: &crate::audit::history::Run| {
                (run.rule.clone(), run.deed, run.planned, run.due, run.window_end)
            };
            if fixed(run) != fixed(now) || (run.ended.is_some() && run.ended != now.ended) {
                let what = format!("run {} is not what it was", run.id);
                found.push(Trace::default().run(view, run).run(view, now).shows(view, Rule::Changed, what));
            }
        }
    }
    found
}

pub(super) fn withdrawal(view: &View<'_>) -> Vec<Violation> {
    let withdrawn = view.history.journal.runs.iter().filter(|run| run.withdrawn.is_some());
    let asked = withdrawn.filter(|run| {
        view.targets_of(run.id).iter().any(|target| !view.attempts_for(run.id, &target.server).is_empty())
    });
    asked
        .map(|run| {
            let what = format!("run {} was taken back although something had been asked for it", run.id);
            Trace::default().run(view, run).shows(view, Rule::Withdrawal, what)
        })
        .collect()
}

pub(super) fn secret(view: &View<'_>) -> Vec<Violation> {
    let shown = |text: &&String| view.history.secrets.iter().any(|secret| text.contains(secret.as_str()));
    let texts = view.history.texts.iter().filter(shown);
    texts
        .map(|text| {
            let mut line: String = text.clone();
            for secret in &view.history.secrets {
                line = line.replace(secret.as_str(), "…");
            }
            Violation {
                rule: Rule::Secret,
                what: "a secret stands where people read".into(),
                trace: vec![line],
            }
        })
        .collect()
}
