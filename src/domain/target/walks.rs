//! Tests of a target's way: tables for what the design promises, properties over random walks.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    Event, PROOF_APART, Policy, Progress, SETTLE_AFTER_ANSWER, SETTLE_AFTER_SILENCE, State, Wish,
    is_moved_by_time, step, wish,
};
use crate::domain::name::{Action, AttemptId};
use crate::domain::outcome::{Asked, Outcome, Reason, ReasonKind};
use crate::domain::retry::{Aftermath, Heard, Then, Wait};
use crate::domain::server::{Condition, Found, Sight};

const DUE: &str = "2026-11-23T08:50:00Z";

fn at(seconds: u64) -> Timestamp {
    DUE.parse::<Timestamp>().unwrap() + Duration::from_secs(seconds)
}

fn policy(action: Action) -> Policy {
    Policy {
        action,
        due: at(0),
        window_end: at(900),
        limit: Duration::from_secs(600),
        opposite_unanswered: None,
    }
}

fn seen(status: &str, operation: &str, seconds: u64) -> Sight {
    Sight { began: at(seconds), found: Found::Server(Condition::from_codes(status, operation)) }
}

/// A target and its policy, walked by events at seconds after due.
struct Walk {
    progress: Progress,
    policy: Policy,
}

impl Walk {
    fn of(action: Action) -> Self {
        Self { progress: Progress::fresh(at(0)), policy: policy(action) }
    }

    fn on(mut self, seconds: u64, event: &Event<'_>) -> Self {
        self.progress = step(self.progress, event, &self.policy, at(seconds));
        self
    }

    fn sees(self, seconds: u64, status: &str, operation: &str) -> Self {
        self.on(seconds, &Event::Seen(&seen(status, operation, seconds)))
    }

    fn lacks(self, seconds: u64) -> Self {
        self.on(seconds, &Event::Seen(&Sight { began: at(seconds), found: Found::Absent }))
    }

    fn asked(self, seconds: u64, attempt: i64) -> Self {
        self.on(seconds, &Event::Asked(AttemptId(attempt)))
    }

    fn answered(self, seconds: u64, attempt: i64, aftermath: &Aftermath) -> Self {
        self.on(seconds, &Event::Answered(AttemptId(attempt), aftermath))
    }

    fn time(self, seconds: u64) -> Self {
        self.on(seconds, &Event::Time)
    }

    fn wish(&self, seconds: u64) -> Wish {
        wish(&self.progress, &self.policy, at(seconds))
    }

    fn outcome(&self) -> &'static str {
        self.progress.outcome().map_or("open", Outcome::word)
    }

    fn reason(&self) -> Option<ReasonKind> {
        self.progress.outcome().and_then(Outcome::reason).map(|reason| reason.kind)
    }
}

fn silence() -> Aftermath {
    Aftermath::MaybeDone {
        reason: Reason::new(ReasonKind::NoAnswer, "reset"),
        heard: Heard::Nothing,
        then: Then::Retry { wait: Wait::Fixed(Duration::ZERO), batch_max: 20 },
    }
}

fn server_error(then: Then) -> Aftermath {
    Aftermath::MaybeDone {
        reason: Reason::new(ReasonKind::Api, "HTTP 400, code 1"),
        heard: Heard::Answer,
        then,
    }
}

fn not_done(kind: ReasonKind) -> Aftermath {
    Aftermath::NotDone {
        reason: Reason::new(kind, "no"),
        wait: Wait::Fixed(Duration::from_secs(30)),
        batch_max: 20,
    }
}

#[test]
fn accepted_is_not_started() {
    let walk =
        Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &Aftermath::Accepted);
    assert_eq!(walk.outcome(), "open");

    let walk = walk.sees(5, "NSTOP", "START").sees(9, "RUN", "SETUP");
    assert_eq!(walk.outcome(), "open");

    assert_eq!(walk.sees(13, "RUN", "NULL").outcome(), "started");
}

#[test]
fn what_was_withheld_is_as_if_it_had_not_been_decided() {
    let asked = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1);
    let walk = asked.answered(1, 1, &Aftermath::Undecided);

    assert_eq!((walk.progress.tries, walk.progress.batch_max, &walk.progress.trouble), (0, None, &None));
    assert_eq!(walk.progress.asked, Asked::No);
    let walk = walk.sees(2, "NSTOP", "NULL").asked(2, 2).answered(3, 2, &Aftermath::Accepted);
    assert_eq!(walk.sees(13, "RUN", "NULL").outcome(), "started");
}

#[test]
fn a_server_that_runs_already_is_not_asked() {
    assert_eq!(Walk::of(Action::Start).sees(0, "RUN", "NULL").outcome(), "already");
    assert_eq!(Walk::of(Action::Stop).sees(0, "NSTOP", "NULL").outcome(), "already");
    let booting = Walk::of(Action::Start).sees(0, "NSTOP", "START");
    assert!(matches!(booting.progress.state, State::Moving { attempt: None, .. }));
    assert_eq!(booting.sees(9, "RUN", "NULL").outcome(), "already");
}

#[test]
fn a_server_seen_stopped_is_asked_at_once_and_one_not_seen_is_looked_at_first() {
    assert_eq!(Walk::of(Action::Start).wish(0), Wish::Look(at(0)));
    let seen = Walk::of(Action::Start).sees(0, "NSTOP", "NULL");
    assert_eq!(seen.wish(0), Wish::Ask);
    assert_eq!(seen.wish(60), Wish::Ask);
    assert_eq!(seen.wish(200), Wish::Look(at(200)));
}

#[test]
fn after_silence_only_a_read_begun_ten_seconds_later_justifies_a_repeat() {
    let lost = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &silence());
    assert_eq!(lost.wish(1), Wish::Look(at(1) + SETTLE_AFTER_SILENCE));

    let early = lost.sees(5, "NSTOP", "NULL");
    assert!(matches!(early.progress.state, State::Looking { .. }));

    let late = early.sees(11, "NSTOP", "NULL");
    assert_eq!(late.wish(11), Wish::Ask);
    assert_eq!(late.asked(11, 2).progress.attempts, 2);
}

#[test]
fn what_an_older_run_asked_and_a_read_shows_undone_is_no_attempt_of_the_run_that_joined_it() {
    let older = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &silence());
    let joined = || Walk {
        progress: Progress::joining(&older.progress, at(5)),
        policy: Policy { due: at(5), ..policy(Action::Start) },
    };

    let undone = joined().sees(20, "NSTOP", "NULL");

    assert_eq!(joined().time(900 + 60).outcome(), "unknown", "nobody could see what became of it");
    assert_eq!(joined().sees(20, "RUN", "NULL").outcome(), "started", "they share one result");
    assert_eq!(undone.wish(20), Wish::Ask);
    let missed = undone.time(900);
    assert_eq!((missed.outcome(), missed.reason()), ("missed", Some(ReasonKind::NoChance)));
    let again = joined().sees(20, "NSTOP", "NULL").asked(20, 2).answered(21, 2, &silence());
    let again = again.sees(40, "NSTOP", "NULL").time(900);
    assert_eq!((again.outcome(), again.reason()), ("failed", Some(ReasonKind::NoAnswer)), "its own was lost");
}

#[test]
fn after_silence_a_server_on_its_way_is_never_asked_again() {
    let lost = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &silence());

    let moving = lost.sees(12, "NSTOP", "START");

    assert!(matches!(moving.progress.state, State::Moving { .. }));
    assert!(matches!(moving.wish(12), Wish::Look(_)));
    assert_eq!(moving.sees(20, "RUN", "NULL").outcome(), "started");
}

#[test]
fn an_error_of_the_server_api_is_hopeless_only_after_a_read() {
    let refused = |then| {
        Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &server_error(then))
    };

    let looked = refused(Then::Fail);
    assert_eq!(looked.outcome(), "open");
    assert_eq!(looked.wish(1), Wish::Look(at(1) + SETTLE_AFTER_ANSWER));
    assert_eq!(looked.sees(4, "NSTOP", "NULL").outcome(), "failed");
    assert_eq!(refused(Then::Fail).sees(4, "RUN", "NULL").outcome(), "started");
    assert_eq!(refused(Then::Fail).sees(4, "NSTOP", "CHNG").outcome(), "open");
    let again = refused(Then::Retry { wait: Wait::Fixed(Duration::from_secs(7)), batch_max: 1 })
        .sees(4, "NSTOP", "NULL");
    assert_eq!(again.wish(4), Wish::Rest(at(11)));
    assert_eq!(again.wish(11), Wish::Ask);
}

#[test]
fn a_fall_back_needs_two_reads_ten_seconds_apart_and_justifies_one_more_request() {
    let moving =
        Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &Aftermath::Accepted);

    let once = moving.sees(4, "NSTOP", "NULL").sees(8, "NSTOP", "NULL");
    assert!(matches!(once.progress.state, State::Moving { .. }));

    let twice = once.sees(15, "NSTOP", "NULL");
    assert!(matches!(twice.progress.state, State::Waiting { .. }), "{:?}", twice.progress.state);
    assert_eq!(twice.wish(60), Wish::Ask);
    let again = twice.asked(60, 2).answered(61, 2, &Aftermath::Accepted).sees(70, "RUN", "NULL");
    assert_eq!(again.outcome(), "started");
}

#[test]
fn a_server_is_gone_after_two_complete_reads_ten_seconds_apart_or_one_that_shows_it_terminated() {
    let once = Walk::of(Action::Start).lacks(0).lacks(5);
    assert_eq!(once.outcome(), "open");
    assert_eq!(once.lacks(11).outcome(), "skipped");
    assert_eq!(Walk::of(Action::Start).lacks(0).sees(6, "NSTOP", "NULL").lacks(12).outcome(), "open");
    assert_eq!(Walk::of(Action::Stop).sees(0, "TERMT", "NULL").reason(), Some(ReasonKind::Gone));
}

#[test]
fn a_failure_state_is_tried_once() {
    let failed = Walk::of(Action::Start).sees(0, "ST_FL", "NULL");
    assert_eq!(failed.wish(0), Wish::Ask);

    let again = failed.asked(0, 1).answered(1, 1, &server_error(Then::Fail)).sees(5, "ST_FL", "NULL");

    assert_eq!((again.outcome(), again.reason()), ("failed", Some(ReasonKind::FailureState)));
}

#[test]
fn no_request_after_the_windows_end() {
    let late = Walk::of(Action::Start).sees(891, "NSTOP", "NULL");

    assert_eq!(late.wish(891), Wish::Rest(at(900)));
    let refused = late.asked(891, 1);
    assert!(matches!(refused.progress.state, State::Waiting { .. }));
    assert_eq!(refused.time(900).outcome(), "missed");
}

#[test]
fn the_windows_end_tells_why_nothing_came_of_it() {
    let never = Walk::of(Action::Start).time(900);
    let keys = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1);
    let keys = keys.answered(1, 1, &not_done(ReasonKind::Credentials)).time(900);
    let busy = Walk::of(Action::Start).sees(0, "NSTOP", "CHNG").time(900);
    let asked = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &silence());
    let asked = asked.sees(12, "NSTOP", "CHNG").time(900);
    let unseen = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &silence());

    assert_eq!((never.outcome(), never.reason()), ("missed", Some(ReasonKind::NoChance)));
    assert_eq!((keys.outcome(), keys.reason()), ("missed", Some(ReasonKind::Credentials)));
    assert_eq!((busy.outcome(), busy.reason()), ("skipped", Some(ReasonKind::Busy)));
    assert_eq!(asked.outcome(), "failed");
    assert_eq!(unseen.time(960).outcome(), "unknown");
}

#[test]
fn a_server_that_takes_too_long_has_failed() {
    let slow =
        Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &Aftermath::Accepted);

    let ended = slow.sees(590, "NSTOP", "START").time(601);

    assert_eq!((ended.outcome(), ended.reason()), ("failed", Some(ReasonKind::TooSlow)));
}

#[test]
fn a_newer_opposite_occurrence_supersedes_and_waits_for_the_wire() {
    let by = Event::Superseded("night");
    let waiting = Walk::of(Action::Start).on(5, &by);
    let moving =
        Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &Aftermath::Accepted);
    let asking = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).on(1, &by);

    assert_eq!(
        waiting.progress.outcome(),
        Some(&Outcome::Superseded { asked: Asked::No, by: "night".into() })
    );
    let over = moving.on(5, &by);
    assert_eq!(over.progress.outcome(), Some(&Outcome::Superseded { asked: Asked::Yes, by: "night".into() }));
    assert_eq!(asking.outcome(), "open");
    assert!(asking.progress.holds_the_wire());
    let refused = asking.answered(2, 1, &not_done(ReasonKind::Throttled));
    assert_eq!(
        refused.progress.outcome(),
        Some(&Outcome::Superseded { asked: Asked::No, by: "night".into() })
    );
    let lost =
        Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).on(1, &by).answered(2, 1, &silence());
    assert!(lost.progress.holds_the_wire());
    assert_eq!(lost.sees(13, "NSTOP", "NULL").outcome(), "superseded");
}

#[test]
fn found_unfinished_after_a_restart_it_is_looked_at_before_anything_is_asked() {
    let asking = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1);

    let soon = Walk { progress: asking.progress.clone(), ..asking }.on(2, &Event::Restarted);
    assert_eq!(soon.wish(2), Wish::Look(at(20)));
    let much_later =
        Walk { progress: step(soon.progress.clone(), &Event::Time, &soon.policy, at(2)), ..soon };
    assert!(much_later.progress.holds_the_wire());

    let waiting = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").on(3, &Event::Restarted);
    assert_eq!(waiting.wish(3), Wish::Look(at(3)));
}

#[test]
fn already_is_not_believed_while_an_unanswered_opposite_request_may_still_arrive() {
    let mut walk = Walk::of(Action::Start);
    walk.policy.opposite_unanswered = Some(at(0));

    let early = walk.sees(10, "RUN", "NULL");
    assert_eq!((early.outcome(), early.wish(10)), ("open", Wish::Rest(at(300))));

    assert_eq!(early.sees(300, "RUN", "NULL").outcome(), "already");
}

#[test]
fn what_a_reload_withdrew_sends_nothing_more_and_what_moves_is_watched_to_its_end() {
    let gone = Reason::new(ReasonKind::Removed, "the rule was removed");
    let event = Event::Withdrawn(&gone);
    let moving =
        Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &Aftermath::Accepted);

    assert_eq!(Walk::of(Action::Start).on(1, &event).outcome(), "skipped");
    assert_eq!(moving.on(2, &event).sees(9, "RUN", "NULL").outcome(), "started");
    let asking = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).on(1, &event);
    assert_eq!(asking.answered(2, 1, &not_done(ReasonKind::Throttled)).outcome(), "skipped");
}

#[derive(Debug, Clone)]
enum Any {
    Time,
    Ask,
    Answer(usize),
    See(usize),
    Lack,
    Hold,
    Restart,
    Supersede,
    Withdraw,
}

const CONDITIONS: [(&str, &str); 10] = [
    ("NSTOP", "NULL"),
    ("NSTOP", "START"),
    ("RUN", "SETUP"),
    ("RUN", "NULL"),
    ("RUN", "SHTDN"),
    ("NSTOP", "CHNG"),
    ("ST_FL", "NULL"),
    ("TERMT", "NULL"),
    ("RUN", "WEIRD"),
    ("WEIRD", "NULL"),
];

fn aftermaths() -> Vec<Aftermath> {
    let retry = Then::Retry { wait: Wait::Backoff, batch_max: 3 };
    vec![
        Aftermath::Accepted,
        not_done(ReasonKind::Throttled),
        not_done(ReasonKind::Unreachable),
        silence(),
        server_error(Then::Fail),
        server_error(retry),
        Aftermath::Hopeless(Reason::new(ReasonKind::Refused, "HTTP 403")),
        Aftermath::Undecided,
    ]
}

fn any_event() -> impl Strategy<Value = (u64, Any)> {
    let kinds = prop_oneof![
        Just(Any::Time),
        Just(Any::Ask),
        Just(Any::Ask),
        (0..8_usize).prop_map(Any::Answer),
        (0..8_usize).prop_map(Any::Answer),
        (0..CONDITIONS.len()).prop_map(Any::See),
        (0..CONDITIONS.len()).prop_map(Any::See),
        Just(Any::Lack),
        Just(Any::Hold),
        Just(Any::Restart),
        Just(Any::Supersede),
        Just(Any::Withdraw),
    ];
    (0..40_u64, kinds)
}

#[test]
fn what_was_held_back_on_purpose_until_just_before_its_end_is_skipped() {
    let busy = Reason::new(ReasonKind::Busy, "it says that it is busy");
    let held = Walk::of(Action::Stop).sees(0, "RUN", "NULL").on(1, &Event::Held(&busy, Timestamp::MAX));

    let freed = held.on(899, &Event::Freed).time(900);

    assert_eq!((freed.outcome(), freed.reason()), ("skipped", Some(ReasonKind::Busy)));
}

#[test]
fn an_accepted_request_that_something_newer_has_overtaken_ends_superseded_at_once() {
    let asked = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(1, 1);

    let over = asked.on(2, &Event::Superseded("rule night")).answered(3, 1, &Aftermath::Accepted);

    assert_eq!(over.outcome(), "superseded");
}

#[test]
fn a_target_that_shares_a_request_was_first_asked_when_that_was() {
    let other = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(1, 1);

    let own = Walk::of(Action::Start).on(2, &Event::Shared(&other.progress));

    assert_eq!(own.progress.first_asked, Some(at(1)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// No double, never stale, one outcome: over any order of events, and every walk ends once its time is up.
    #[test]
    fn from_no_state_can_two_requests_be_open_and_every_walk_ends(
        events in proptest::collection::vec(any_event(), 1..60),
        stop in any::<bool>(),
    ) {
        let action = if stop { Action::Stop } else { Action::Start };
        let mut walk = Walk::of(action);
        let (mut clock, mut attempt, mut on_the_wire) = (0, 0, None::<i64>);
        let aftermaths = aftermaths();
        let gone = Reason::new(ReasonKind::Removed, "removed");
        for (passed, event) in events {
            clock += passed;
            let before = walk.progress.clone();
            walk = match event {
                Any::Time => {
                    let is_moved = is_moved_by_time(&walk.progress, &walk.policy, at(clock));
                    let walk = walk.time(clock);
                    prop_assert_eq!(is_moved, before != walk.progress, "from {:?}", before);
                    walk
                }
                Any::Ask if walk.wish(clock) == Wish::Ask => {
                    attempt += 1;
                    let asked = walk.asked(clock, attempt);
                    prop_assert!(on_the_wire.is_none(), "a second request while {on_the_wire:?} is open");
                    prop_assert!(at(clock) + super::ATTEMPT_LIMIT <= at(900), "asked at {clock}");
                    on_the_wire = Some(attempt);
                    asked
                }
                Any::Ask => walk,
                Any::Answer(index) => {
                    let answered = walk.answered(clock, attempt, &aftermaths[index]);
                    on_the_wire = None;
                    answered
                }
                Any::See(index) => walk.sees(clock, CONDITIONS[index].0, CONDITIONS[index].1),
                Any::Lack => walk.lacks(clock),
                Any::Hold => walk.on(clock, &Event::Held(&gone, at(clock + 30))),
                Any::Restart => {
                    on_the_wire = None;
                    walk.on(clock, &Event::Restarted)
                }
                Any::Supersede => walk.on(clock, &Event::Superseded("newer")),
                Any::Withdraw => walk.on(clock, &Event::Withdrawn(&gone)),
            };
            if before.outcome().is_some() {
                prop_assert_eq!(&before, &walk.progress, "an outcome changed");
            }
            if on_the_wire.is_some() {
                let asking = matches!(walk.progress.state, State::Asking { .. });
                prop_assert!(asking, "asking was left without an answer: {:?}", walk.progress.state);
            }
        }

        // What is on the wire is answered within the attempt limit; then only time passes.
        if let Some(open) = on_the_wire {
            walk = walk.answered(clock, open, &silence());
        }
        for _ in 0..4 {
            clock += 1000;
            walk = walk.time(clock);
        }
        prop_assert!(walk.progress.outcome().is_some(), "{:?}", walk.progress);
    }

    /// A request is repeated only if the last one surely did nothing, or a read begun after it justifies it.
    #[test]
    fn after_an_attempt_that_may_have_worked_no_wish_to_ask_without_a_later_read(
        waits in proptest::collection::vec(0..30_u64, 1..10),
    ) {
        let mut walk = Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, 1).answered(1, 1, &silence());
        let mut clock = 1;
        for wait in waits {
            clock += wait;
            walk = walk.time(clock).on(clock, &Event::Restarted);
            prop_assert!(walk.wish(clock) != Wish::Ask);
        }
    }
}

#[test]
fn two_reads_that_prove_an_absence_lie_ten_seconds_apart() {
    assert_eq!(PROOF_APART, Duration::from_secs(10));
}

#[test]
fn what_is_shared_with_another_target_of_the_server_keeps_what_either_knew() {
    let fresh = || Progress::fresh(at(0));
    let knows = |state: bool, tried: bool| Progress {
        in_failure_state: state,
        tried_failure_state: tried,
        ..fresh()
    };

    for (one, other) in [((true, true), (false, false)), ((false, false), (true, true))] {
        let shared = knows(other.0, other.1);
        let joined = step(knows(one.0, one.1), &Event::Shared(&shared), &policy(Action::Start), at(1));
        assert!(joined.in_failure_state && joined.tried_failure_state, "{one:?} and {other:?}");
    }
    let neither = step(fresh(), &Event::Shared(&fresh()), &policy(Action::Start), at(1));
    assert!(!neither.in_failure_state && !neither.tried_failure_state);
}

#[test]
fn a_server_that_fell_back_is_one_try_more() {
    let walk = Walk::of(Action::Start)
        .sees(0, "NSTOP", "NULL")
        .asked(0, 1)
        .answered(1, 1, &Aftermath::Accepted)
        .sees(5, "NSTOP", "START")
        .sees(40, "NSTOP", "NULL");
    assert_eq!(walk.progress.tries, 0, "one read proves nothing");

    let walk = walk.sees(51, "NSTOP", "NULL");
    assert_eq!(walk.progress.tries, 1, "{:?}", walk.progress.state);
}

#[test]
fn the_waits_of_different_attempts_are_scattered() {
    let limited = Aftermath::NotDone {
        reason: Reason::new(ReasonKind::Throttled, "slow down"),
        wait: Wait::Backoff,
        batch_max: 20,
    };
    let until = |attempt: i64| {
        let walk =
            Walk::of(Action::Start).sees(0, "NSTOP", "NULL").asked(0, attempt).answered(1, attempt, &limited);
        match walk.progress.state {
            State::Waiting { until, .. } => until,
            state => panic!("{state:?}"),
        }
    };

    let distinct: std::collections::BTreeSet<Timestamp> = (1..=20).map(until).collect();

    assert!(distinct.len() > 10, "{distinct:?}");
    assert_eq!(until(7), until(7), "the same whenever it is worked out");
}
