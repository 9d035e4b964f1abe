//! One step of a target, and what it wants next: every pair of state and event is handled.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    ATTEMPT_LIMIT, Event, LAST_LOOK_GRACE, Mark, POLL_MAX, POLL_MIN, PROOF_APART, Policy, Progress,
    SETTLE_AFTER_ANSWER, SETTLE_AFTER_SILENCE, SIGHT_AGE_MAX, SIGNATURE_AGE_MAX, State, Wish, later,
};
use crate::domain::name::{Action, AttemptId};
use crate::domain::outcome::{Asked, Outcome, Reason, ReasonKind};
use crate::domain::retry::{Aftermath, Heard, Then, Wait, scramble, wait_for};
use crate::domain::server::{Found, Sight, Standing};
use crate::planted::{Bug, is_planted};

/// How long a busy server is left alone between two looks.
const BUSY_EVERY: Duration = Duration::from_secs(5);

/// The progress after an event. Pure: equal arguments give equal results.
#[must_use]
pub fn step(mut progress: Progress, event: &Event<'_>, policy: &Policy, now: Timestamp) -> Progress {
    if let Event::ClockSet(by) = event {
        return progress.shifted(*by);
    }
    progress = match progress.state.clone() {
        State::Ended { .. } => return progress,
        State::Waiting { .. } => waiting(progress, event, policy, now),
        State::Asking { attempt, since } => asking(progress, attempt, since, event, now),
        State::Looking { attempt, not_before, then } => {
            looking(progress, attempt, not_before, &then, event, policy, now)
        }
        State::Moving { attempt, since, fell_back } => {
            moving(progress, attempt, since, fell_back, event, policy, now)
        }
    };
    // A mark made while something was on the wire takes effect as soon as the wire is free.
    if let (State::Waiting { .. }, Some(mark)) = (&progress.state, progress.mark.clone()) {
        let outcome = by_mark(&progress, mark);
        return end(progress, outcome, now);
    }
    progress
}

/// What the target wants next.
#[must_use]
pub fn wish(progress: &Progress, policy: &Policy, now: Timestamp) -> Wish {
    match &progress.state {
        State::Ended { .. } => Wish::Done,
        State::Asking { .. } => Wish::Rest(Timestamp::MAX),
        State::Looking { not_before, .. } => Wish::Look(*not_before),
        State::Moving { since, .. } => Wish::Look(next_poll(progress, *since, now)),
        State::Waiting { until, .. } if now < *until => Wish::Rest((*until).min(policy.window_end)),
        State::Waiting { .. } if now < policy.due && !is_planted(Bug::Early) => Wish::Rest(policy.due),
        State::Waiting { .. }
            if later(now, ATTEMPT_LIMIT) > policy.window_end && !is_planted(Bug::WindowIgnored) =>
        {
            Wish::Rest(policy.window_end)
        }
        State::Waiting { .. } => {
            let fresh = progress.askable.is_some_and(|seen| later(seen, SIGHT_AGE_MAX) >= now);
            if fresh { Wish::Ask } else { Wish::Look(now) }
        }
    }
}

/// When time alone ends the target; `None` while a request is open, which is always answered, and once it has ended.
#[must_use]
pub fn deadline(progress: &Progress, policy: &Policy) -> Option<Timestamp> {
    let looked_for = progress.look_by.unwrap_or(Timestamp::MIN);
    match &progress.state {
        State::Waiting { .. } if is_planted(Bug::WindowIgnored) => {
            Some(later(policy.window_end, Duration::from_hours(2)))
        }
        State::Waiting { .. } => Some(policy.window_end),
        State::Looking { not_before, .. } => {
            Some(later(policy.window_end.max(*not_before), LAST_LOOK_GRACE).max(looked_for))
        }
        State::Moving { since, .. } => Some(later(*since, policy.limit).max(looked_for)),
        State::Asking { .. } | State::Ended { .. } => None,
    }
}

/// Whether [`Event::Time`] changes anything: it changes nothing for nearly all of many open targets.
#[must_use]
pub fn is_moved_by_time(progress: &Progress, policy: &Policy, now: Timestamp) -> bool {
    let is_marked = matches!(progress.state, State::Waiting { .. }) && progress.mark.is_some();
    is_marked || is_over(progress, policy, now)
}

fn is_over(progress: &Progress, policy: &Policy, now: Timestamp) -> bool {
    deadline(progress, policy).is_some_and(|end| now >= end)
}

fn end(progress: Progress, outcome: Outcome, at: Timestamp) -> Progress {
    Progress { state: State::Ended { outcome, at }, ..progress }
}

fn wait(progress: Progress, until: Timestamp, why: Reason) -> Progress {
    let state = State::Waiting { until, why: Some(why.clone()) };
    Progress { state, trouble: Some(why), askable: None, ..progress }
}

fn by_mark(progress: &Progress, mark: Mark) -> Outcome {
    match (mark, progress.asked) {
        (Mark::Superseded(by), asked) => Outcome::Superseded { asked, by },
        (Mark::Withdrawn(reason), Asked::No) => Outcome::Skipped(reason),
        (Mark::Withdrawn(reason), Asked::Yes) => Outcome::Failed(reason),
    }
}

fn marked(progress: Progress, mark: Mark) -> Progress {
    Progress { mark: Some(mark), ..progress }
}

fn mark_of(event: &Event<'_>) -> Option<Mark> {
    match event {
        Event::Superseded(by) => Some(Mark::Superseded((*by).to_owned())),
        Event::Withdrawn(reason) => Some(Mark::Withdrawn((*reason).clone())),
        _ => None,
    }
}

fn waiting(progress: Progress, event: &Event<'_>, policy: &Policy, now: Timestamp) -> Progress {
    match event {
        Event::Superseded(_) | Event::Withdrawn(_) => match mark_of(event) {
            Some(mark) => marked(progress, mark),
            None => progress,
        },
        Event::Asked(_)
            if (later(now, ATTEMPT_LIMIT) > policy.window_end && !is_planted(Bug::WindowIgnored))
                || (now < policy.due && !is_planted(Bug::Early)) =>
        {
            progress
        }
        Event::Asked(attempt) => Progress {
            state: State::Asking { attempt: *attempt, since: now },
            attempts: progress.attempts + 1,
            first_asked: progress.first_asked.or(Some(now)),
            askable: None,
            ..progress
        },
        Event::Seen(sight) => seen_while_waiting(progress, sight, policy, now),
        Event::Held(reason, held_until) => {
            // Being held says nothing new about the server, and never brings a later moment forward.
            let (askable, waits_until) = (progress.askable, waits_until(&progress));
            Progress { askable, ..wait(progress, (*held_until).max(waits_until), (*reason).clone()) }
        }
        Event::Freed => Progress { state: State::Waiting { until: now, why: None }, ..progress },
        Event::Shared(other) => Progress {
            state: other.state.clone(),
            asked: if other.asked == Asked::Yes { Asked::Yes } else { progress.asked },
            in_failure_state: progress.in_failure_state || other.in_failure_state,
            tried_failure_state: progress.tried_failure_state || other.tried_failure_state,
            look_by: progress.look_by.max(other.look_by),
            attempts: progress.attempts + 1,
            first_asked: progress.first_asked.or(other.first_asked),
            askable: None,
            ..progress
        },
        Event::Restarted | Event::Resumed => Progress { askable: None, ..progress },
        Event::Time if is_over(&progress, policy, now) => {
            let outcome = at_windows_end(&progress);
            end(progress, outcome, now)
        }
        Event::Time | Event::Answered(..) | Event::ClockSet(_) => progress,
    }
}

fn waits_until(progress: &Progress) -> Timestamp {
    match &progress.state {
        State::Waiting { until, .. } => *until,
        _ => Timestamp::MIN,
    }
}

fn at_windows_end(progress: &Progress) -> Outcome {
    let State::Waiting { why, .. } = &progress.state else {
        return Outcome::Missed(no_chance());
    };
    let last = progress.trouble.clone();
    match (progress.asked, why) {
        (Asked::Yes, _) => Outcome::Failed(last.unwrap_or_else(no_chance)),
        (Asked::No, Some(reason)) if is_on_purpose(reason) => Outcome::Skipped(reason.clone()),
        // Set free just before the end, with no time left for a request.
        (Asked::No, None) if last.as_ref().is_some_and(is_on_purpose) => {
            Outcome::Skipped(last.unwrap_or_else(no_chance))
        }
        (Asked::No, _) => Outcome::Missed(last.unwrap_or_else(no_chance)),
    }
}

/// Whether a target that waits for this is left alone on purpose.
fn is_on_purpose(reason: &Reason) -> bool {
    let kind = reason.kind;
    matches!(kind, ReasonKind::Busy | ReasonKind::Limit | ReasonKind::Dependency | ReasonKind::Protected)
}

fn no_chance() -> Reason {
    Reason::new(ReasonKind::NoChance, "the window passed before its turn came")
}

fn seen_while_waiting(progress: Progress, sight: &Sight, policy: &Policy, now: Timestamp) -> Progress {
    let condition = match &sight.found {
        Found::Absent => return absent(progress, sight, now),
        Found::Server(condition) => condition,
    };
    let standing = condition.standing(policy.action);
    let progress = Progress { askable: None, ..noted(progress, standing, sight) };
    match standing {
        Standing::Goal => match policy.opposite_unanswered.map(|at| later(at, SIGNATURE_AGE_MAX)) {
            // The opposite request may still arrive and undo what this read shows.
            Some(settled) if sight.began < settled && settled < policy.window_end => {
                let words = "an opposite request without an answer may still arrive";
                wait(progress, settled, Reason::new(ReasonKind::Busy, words))
            }
            _ if is_planted(Bug::AlreadyIsStarted) => end(progress, Outcome::Started, now),
            _ => {
                let outcome = Outcome::at_goal(policy.action, progress.asked);
                end(progress, outcome, now)
            }
        },
        Standing::OnItsWay => {
            Progress { state: State::Moving { attempt: None, since: now, fell_back: None }, ..progress }
        }
        Standing::AskableOnce if progress.tried_failure_state => {
            let words = format!("the server stayed in the failure state {condition}");
            end(progress, Outcome::Failed(Reason::new(ReasonKind::FailureState, words)), now)
        }
        Standing::Askable | Standing::AskableOnce => Progress { askable: Some(sight.began), ..progress },
        Standing::Busy => {
            let words = format!("the server is at {condition}");
            wait(progress, later(now, BUSY_EVERY), Reason::new(ReasonKind::Busy, words))
        }
        Standing::Gone => gone(progress, format!("the server is at {condition}"), now),
    }
}

/// What every read that shows the server leaves behind, whatever follows from it.
fn noted(progress: Progress, standing: Standing, sight: &Sight) -> Progress {
    Progress {
        absent_since: None,
        seen: Some(sight.began),
        in_failure_state: standing == Standing::AskableOnce,
        look_by: None,
        ..progress
    }
}

/// A complete read lacked the server: the second one at least [`PROOF_APART`] later proves it.
fn absent(progress: Progress, sight: &Sight, now: Timestamp) -> Progress {
    match progress.absent_since {
        None => {
            let progress = Progress { absent_since: Some(sight.began), askable: None, ..progress };
            pause_while_waiting(progress, now)
        }
        Some(first) if sight.began >= later(first, PROOF_APART) => {
            gone(progress, "two complete lists of the cloud lack the server".into(), now)
        }
        Some(_) => pause_while_waiting(progress, now),
    }
}

fn pause_while_waiting(progress: Progress, now: Timestamp) -> Progress {
    if matches!(progress.state, State::Waiting { .. }) {
        let why = Reason::new(ReasonKind::Gone, "a list of the cloud lacks the server");
        return wait(progress, later(now, BUSY_EVERY), why);
    }
    Progress { seen: Some(now), ..progress }
}

fn gone(progress: Progress, words: String, now: Timestamp) -> Progress {
    let reason = Reason::new(ReasonKind::Gone, words);
    let outcome = match progress.asked {
        Asked::No => Outcome::Skipped(reason),
        Asked::Yes => Outcome::Failed(reason),
    };
    end(progress, outcome, now)
}

fn asking(
    progress: Progress,
    attempt: AttemptId,
    since: Timestamp,
    event: &Event<'_>,
    now: Timestamp,
) -> Progress {
    match event {
        Event::Superseded(_) | Event::Withdrawn(_) => match mark_of(event) {
            Some(mark) => marked(progress, mark),
            None => progress,
        },
        Event::Answered(answered, aftermath) if *answered == attempt => {
            answered_while_asking(progress, attempt, aftermath, now)
        }
        Event::Restarted if is_planted(Bug::RestartForgets) => {
            Progress { askable: Some(now), state: State::Waiting { until: now, why: None }, ..progress }
        }
        // Whether the request left is not known: the answer went to a process that is no more.
        Event::Restarted => {
            let reason =
                Reason::new(ReasonKind::NoAnswer, "the program ended while the request was on its way");
            // A moment that a wrong clock put into the far future must not blind it.
            let sent_by = later(since, ATTEMPT_LIMIT).min(later(now, ATTEMPT_LIMIT));
            let not_before = later(now.max(sent_by), SETTLE_AFTER_SILENCE);
            let then = Then::Retry {
                wait: Wait::Fixed(Duration::ZERO),
                batch_max: progress.batch_max.unwrap_or(usize::MAX),
            };
            Progress {
                state: State::Looking { attempt, not_before, then },
                asked: Asked::Yes,
                trouble: Some(reason),
                ..progress
            }
        }
        Event::Time
        | Event::Asked(_)
        | Event::Answered(..)
        | Event::Seen(_)
        | Event::Held(..)
        | Event::Freed
        | Event::Shared(_)
        | Event::ClockSet(_)
        | Event::Resumed => progress,
    }
}

fn answered_while_asking(
    mut progress: Progress,
    attempt: AttemptId,
    aftermath: &Aftermath,
    now: Timestamp,
) -> Progress {
    if matches!(aftermath, Aftermath::Accepted | Aftermath::MaybeDone { .. }) {
        progress.tried_failure_state |= progress.in_failure_state;
    }
    if let Aftermath::MaybeDone { reason, .. } = aftermath
        && is_planted(Bug::BlindRepeat)
    {
        let until = later(now, Duration::from_secs(1));
        return Progress { askable: Some(now), ..wait(progress, until, reason.clone()) };
    }
    match aftermath {
        Aftermath::Accepted if is_planted(Bug::AcceptedIsStarted) => end(progress, Outcome::Started, now),
        Aftermath::Accepted if progress.mark.is_some() => {
            let progress = Progress { asked: Asked::Yes, ..progress };
            match progress.mark.clone() {
                Some(Mark::Superseded(by)) => {
                    end(progress, Outcome::Superseded { asked: Asked::Yes, by }, now)
                }
                _ => now_moving(progress, attempt, now),
            }
        }
        Aftermath::Accepted => now_moving(progress, attempt, now),
        Aftermath::NotDone { reason, wait: wanted, batch_max } => {
            let tries = progress.tries + 1;
            let until = later(now, wait_for(*wanted, tries, seed(attempt)));
            let progress = Progress { tries, batch_max: Some(*batch_max), ..progress };
            wait(progress, until, reason.clone())
        }
        Aftermath::MaybeDone { reason, heard, then } => {
            let settle = match heard {
                Heard::Answer => SETTLE_AFTER_ANSWER,
                Heard::Nothing => SETTLE_AFTER_SILENCE,
            };
            Progress {
                state: State::Looking { attempt, not_before: later(now, settle), then: then.clone() },
                asked: Asked::Yes,
                trouble: Some(reason.clone()),
                absent_since: None,
                ..progress
            }
        }
        Aftermath::Undecided => progress.undecided(now),
        Aftermath::Hopeless(reason) => {
            let outcome = match progress.mark.clone() {
                Some(mark) => by_mark(&progress, mark),
                None => Outcome::Failed(reason.clone()),
            };
            end(progress, outcome, now)
        }
    }
}

fn now_moving(progress: Progress, attempt: AttemptId, now: Timestamp) -> Progress {
    Progress {
        state: State::Moving { attempt: Some(attempt), since: now, fell_back: None },
        asked: Asked::Yes,
        seen: None,
        absent_since: None,
        ..progress
    }
}

/// Chance for the wait after an attempt: the same whenever it is worked out again, and the same for all servers of the
/// attempt, so that they go together again.
fn seed(attempt: AttemptId) -> u64 {
    scramble(attempt.0.unsigned_abs())
}

fn looking(
    progress: Progress,
    attempt: AttemptId,
    not_before: Timestamp,
    then: &Then,
    event: &Event<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Progress {
    match event {
        Event::Superseded(_) | Event::Withdrawn(_) => match mark_of(event) {
            Some(mark) => marked(progress, mark),
            None => progress,
        },
        Event::Restarted | Event::Resumed => {
            // A moment that a wrong clock put into the far future must not blind it.
            let not_before = not_before.min(later(now, SETTLE_AFTER_SILENCE));
            let state = State::Looking { attempt, not_before, then: then.clone() };
            Progress { state, look_by: Some(later(now, LAST_LOOK_GRACE)), ..progress }
        }
        Event::Seen(sight) if sight.began >= not_before => {
            seen_while_looking(progress, attempt, then, sight, policy, now)
        }
        Event::Time if is_over(&progress, policy, now) => {
            let reason = progress.trouble.clone().unwrap_or_else(no_chance);
            end(progress, Outcome::Unknown(reason), now)
        }
        Event::Time
        | Event::Asked(_)
        | Event::Answered(..)
        | Event::Seen(_)
        | Event::Held(..)
        | Event::Freed
        | Event::ClockSet(_)
        | Event::Shared(_) => progress,
    }
}

fn seen_while_looking(
    progress: Progress,
    attempt: AttemptId,
    then: &Then,
    sight: &Sight,
    policy: &Policy,
    now: Timestamp,
) -> Progress {
    let Found::Server(condition) = &sight.found else {
        return absent(progress, sight, now);
    };
    let standing = condition.standing(policy.action);
    let progress = noted(progress, standing, sight);
    if let (Standing::OnItsWay | Standing::Askable | Standing::AskableOnce | Standing::Busy, Some(mark)) =
        (standing, progress.mark.clone())
    {
        let outcome = by_mark(&progress, mark);
        return end(progress, outcome, now);
    }
    match standing {
        Standing::Goal => {
            let outcome = Outcome::at_goal(policy.action, progress.asked);
            end(progress, outcome, now)
        }
        Standing::OnItsWay => Progress {
            state: State::Moving { attempt: Some(attempt), since: now, fell_back: None },
            ..progress
        },
        Standing::Gone => gone(progress, format!("the server is at {condition}"), now),
        Standing::Busy => {
            let words = format!("the server is at {condition}");
            wait(progress, later(now, BUSY_EVERY), Reason::new(ReasonKind::Busy, words))
        }
        Standing::AskableOnce if progress.tried_failure_state => {
            let words = format!("the server stayed in the failure state {condition}");
            end(progress, Outcome::Failed(Reason::new(ReasonKind::FailureState, words)), now)
        }
        Standing::Askable | Standing::AskableOnce => not_done_after_all(progress, attempt, then, sight, now),
    }
}

/// A read showed that the attempt did nothing: a fresh one is justified, if the answer gave hope.
fn not_done_after_all(
    progress: Progress,
    attempt: AttemptId,
    then: &Then,
    sight: &Sight,
    now: Timestamp,
) -> Progress {
    let reason = progress.trouble.clone().unwrap_or_else(no_chance);
    match then {
        Then::Fail => end(progress, Outcome::Failed(reason), now),
        Then::Retry { wait: wanted, batch_max } => {
            let tries = progress.tries + 1;
            let until = later(now, wait_for(*wanted, tries, seed(attempt)));
            // An answer that is lost again and again may be the fault of one server among several.
            let is_lost_again = tries > 1 && reason.kind == ReasonKind::NoAnswer;
            let batch_max = if is_lost_again { 1 } else { (*batch_max).max(1) };
            let progress = Progress { tries, batch_max: Some(batch_max), ..progress };
            // What an older run asked and a read shows undone is no attempt of this one: its own chance is still to come.
            if progress.has_only_joined() {
                return progress.on_its_own(until, sight.began);
            }
            let waiting = wait(progress, until, reason);
            Progress { askable: Some(sight.began), ..waiting }
        }
    }
}

fn moving(
    progress: Progress,
    attempt: Option<AttemptId>,
    since: Timestamp,
    fell_back: Option<Timestamp>,
    event: &Event<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Progress {
    match event {
        Event::Superseded(by) => {
            let outcome = Outcome::Superseded { asked: progress.asked, by: (*by).to_owned() };
            end(progress, outcome, now)
        }
        Event::Seen(sight) if sight.began >= since => {
            seen_while_moving(progress, attempt, since, fell_back, sight, policy, now)
        }
        Event::Time if is_over(&progress, policy, now) => {
            let goal = match policy.action {
                Action::Start => "running",
                Action::Stop => "stopped",
            };
            let words = format!("the server was not {goal} within {}s", policy.limit.as_secs());
            end(progress, Outcome::Failed(Reason::new(ReasonKind::TooSlow, words)), now)
        }
        // It is on its way already and watched to its end; if it falls back, nothing more is sent for it.
        Event::Withdrawn(reason) => marked(progress, Mark::Withdrawn((*reason).clone())),
        Event::Restarted | Event::Resumed => {
            let state = State::Moving { attempt, since: since.min(now), fell_back };
            Progress { state, look_by: Some(later(now, LAST_LOOK_GRACE)), ..progress }
        }
        Event::Time
        | Event::Asked(_)
        | Event::Answered(..)
        | Event::Seen(_)
        | Event::Held(..)
        | Event::Freed
        | Event::ClockSet(_)
        | Event::Shared(_) => progress,
    }
}

fn seen_while_moving(
    progress: Progress,
    attempt: Option<AttemptId>,
    since: Timestamp,
    fell_back: Option<Timestamp>,
    sight: &Sight,
    policy: &Policy,
    now: Timestamp,
) -> Progress {
    let Found::Server(condition) = &sight.found else {
        return absent(progress, sight, now);
    };
    let standing = condition.standing(policy.action);
    let progress = noted(progress, standing, sight);
    match standing {
        Standing::Goal => {
            let outcome = Outcome::at_goal(policy.action, progress.asked);
            end(progress, outcome, now)
        }
        Standing::Gone => gone(progress, format!("the server is at {condition}"), now),
        Standing::OnItsWay | Standing::Busy => {
            Progress { state: State::Moving { attempt, since, fell_back: None }, ..progress }
        }
        Standing::Askable | Standing::AskableOnce => match fell_back {
            Some(first) if sight.began >= later(first, PROOF_APART) => {
                let reason =
                    Reason::new(ReasonKind::FellBack, format!("the server fell back to {condition}"));
                if standing == Standing::AskableOnce && progress.tried_failure_state {
                    return end(progress, Outcome::Failed(reason), now);
                }
                let tries = progress.tries + 1;
                let chance = attempt.map_or(0, seed);
                let until = later(now, wait_for(Wait::Backoff, tries, chance));
                let waiting = wait(Progress { tries, ..progress }, until, reason);
                Progress { askable: Some(sight.began), ..waiting }
            }
            Some(_) => progress,
            None => {
                Progress { state: State::Moving { attempt, since, fell_back: Some(sight.began) }, ..progress }
            }
        },
    }
}

/// The poll of a moving server: after 3 s at first, growing to 10 s as it takes longer.
fn next_poll(progress: &Progress, since: Timestamp, now: Timestamp) -> Timestamp {
    let moving_for = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    let every = (moving_for / 6).clamp(POLL_MIN, POLL_MAX);
    later(progress.seen.map_or(since, |seen| seen.max(since)), every)
}
