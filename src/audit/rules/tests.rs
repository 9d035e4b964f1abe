//! Rules at their bounds: one small history that is valid, and what each change of it breaks.

use super::Rule;
use crate::audit::history::{
    Attempt, Deed, Fault, History, Journal, Micros, Missed, Offset, Owed, Pause, Request, Run, SECOND, State,
    Sure, Target, Wrong,
};
use crate::audit::view::View;

/// When the start is due and claimed; it is asked for then, and the server runs a minute later.
const DUE: Micros = 10_000 * SECOND;
const ENDED: Micros = DUE + 61 * SECOND;
const SERVER: &str = "main/1001";

/// A start of one server that went well.
fn valid() -> History {
    let run = Run {
        id: 1,
        rule: Some("morning".into()),
        deed: Deed::Start,
        planned: DUE,
        due: DUE,
        window_end: DUE + 900 * SECOND,
        claimed: DUE,
        ended: Some(("done".into(), ENDED)),
        withdrawn: None,
        is_whole: true,
        breaks_keeps: false,
    };
    let owed = Owed {
        rule: "morning".into(),
        deed: Deed::Start,
        planned: DUE,
        latest: DUE,
        window: 900 * SECOND,
        servers: Some(vec![SERVER.into()]),
        sure: Sure::Yes,
    };
    let target = Target {
        run: 1,
        server: SERVER.into(),
        groups: vec!["web".into()],
        ended: Some(("started".into(), None, ENDED)),
    };
    History {
        owed: vec![owed],
        journal: Journal {
            runs: vec![run],
            targets: vec![target],
            attempts: vec![attempt(1, DUE, "accepted")],
            missed: Vec::new(),
            pauses: Vec::new(),
            keeps: Vec::new(),
        },
        cloud_known: true,
        faults_known: true,
        requests: vec![Request {
            left: DUE,
            at: DUE + SECOND / 2,
            deed: Deed::Start,
            servers: vec![SERVER.into()],
            took: vec![SERVER.into()],
            status: 200,
            heard: Some(DUE + SECOND),
            signed: Some(DUE),
        }],
        states: vec![
            state(0, "NSTOP", "NULL"),
            state(DUE + SECOND / 2, "NSTOP", "START"),
            state(DUE + 60 * SECOND, "RUN", "NULL"),
        ],
        attempt_limit: 10 * SECOND,
        boot_limit: 600 * SECOND,
        until: DUE + 3600 * SECOND,
        ..History::default()
    }
}

fn state(at: Micros, status: &str, operation: &str) -> State {
    State { at, server: SERVER.into(), status: status.into(), operation: operation.into() }
}

/// An attempt of the run that was answered a second later.
fn attempt(id: i64, intended: Micros, result: &str) -> Attempt {
    Attempt {
        id,
        deed: Deed::Start,
        targets: vec![(1, SERVER.into())],
        intended,
        answered: Some((intended + SECOND, result.into())),
        status: Some(200),
    }
}

fn fault(wrong: Wrong, from: Micros, to: Micros) -> Fault {
    Fault { from, to, wrong, server: None }
}

/// How the target ended.
fn ends(history: &mut History, outcome: &str, kind: Option<&str>) {
    history.journal.targets[0].ended = Some((outcome.into(), kind.map(String::from), ENDED));
}

/// A range of what was due up to the run's moment.
fn missed(kind: &str, first: Micros) -> Missed {
    Missed {
        id: 1,
        rule: "morning".into(),
        deed: Deed::Start,
        first,
        last: DUE,
        count: 1,
        kind: kind.into(),
        recorded: DUE + 901 * SECOND,
        withdrawn: None,
    }
}

/// Whether a rule finds something in the valid history after a change.
fn finds(rule: Rule, change: impl FnOnce(&mut History)) -> bool {
    let mut history = valid();
    change(&mut history);
    let view = View::new(&history);
    !rule.check(&view).is_empty()
}

#[test]
fn nothing_is_found_in_what_went_well() {
    let history = valid();
    let view = View::new(&history);

    for rule in Rule::ALL {
        assert!(rule.check(&view).is_empty(), "{}", rule.word());
    }
}

#[test]
fn a_server_counts_as_there_from_a_minute_before_the_claim_to_a_little_after_the_end() {
    let there = |from: Micros, to: Micros| {
        vec![state(0, "NSTOP", "NULL"), state(from, "RUN", "NULL"), state(to, "NSTOP", "NULL")]
    };
    let late = ENDED + 5 * SECOND;
    let stretches = [
        (DUE - 30 * SECOND, DUE - 10 * SECOND, false),
        (DUE - 90 * SECOND, DUE - 70 * SECOND, true),
        (ENDED + SECOND, late, false),
        (ENDED + 3 * SECOND, late, true),
    ];
    for (from, to, is_found) in stretches {
        let goal = finds(Rule::FalseGoal, |history| history.states = there(from, to));
        let already = finds(Rule::FalseAlready, |history| {
            history.states = there(from, to);
            history.journal.attempts.clear();
            ends(history, "already", None);
        });
        assert_eq!((goal, already), (is_found, is_found), "{from} to {to}");
    }
    let unknown = finds(Rule::FalseGoal, |history| {
        history.states.truncate(1);
        history.cloud_known = false;
    });
    assert!(!unknown, "without a log of the cloud nothing is known of it");
}

#[test]
fn a_moment_that_a_clock_showed_twice_may_be_either() {
    let twice = |history: &mut History| {
        history.turns.insert(ENDED, vec![DUE + 2 * SECOND, ENDED]);
    };
    assert!(!finds(Rule::FalseGoal, twice), "it was up at the later one");
    assert!(finds(Rule::FalseGoal, |history| {
        twice(history);
        history.states.truncate(2);
    }));
}

#[test]
fn a_server_that_is_left_off_as_stopped_by_hand_was_down_and_not_stopped_by_the_program() {
    let left = |states: Vec<State>, deed: Deed| {
        finds(Rule::FalseRest, |history| {
            let targets = vec![(7, SERVER.into())];
            history.journal.attempts =
                vec![Attempt { deed, targets, ..attempt(1, DUE - 3600 * SECOND, "accepted") }];
            history.states = states;
            ends(history, "skipped", Some("hand-stopped"));
        })
    };
    let down = || vec![state(0, "RUN", "NULL"), state(DUE - 600 * SECOND, "NSTOP", "NULL")];

    assert!(!left(down(), Deed::Start));
    assert!(left(down(), Deed::Stop), "the program's own stop was the last word");
    assert!(left(vec![state(0, "RUN", "NULL")], Deed::Start), "it was up");
    assert!(finds(Rule::FalseRest, |history| {
        history.journal.runs[0].deed = Deed::Stop;
        history.journal.attempts.clear();
        ends(history, "skipped", Some("hand-stopped"));
    }));
}

#[test]
fn what_was_asked_for_neither_rests_nor_was_already_there() {
    // The result of the attempt, its status, whether a target cannot have been left alone.
    let table = [
        ("accepted", Some(200), true),
        ("accepted", None, true),
        ("refused", Some(500), true),
        ("unanswered", None, true),
        ("refused", Some(429), false),
        ("refused", Some(401), false),
        ("not-sent", None, false),
    ];
    for (result, status, is_found) in table {
        let missed = finds(Rule::FalseRest, |history| {
            history.journal.attempts = vec![Attempt { status, ..attempt(1, DUE, result) }];
            ends(history, "missed", Some("no-answer"));
        });
        assert_eq!(missed, is_found, "{result} {status:?}");
    }
    assert!(finds(Rule::FalseAlready, |history| ends(history, "already", None)));
}

#[test]
fn a_failure_needs_a_request_and_a_server_that_is_not_there() {
    let failed = |kind: &'static str, change: &dyn Fn(&mut History)| {
        finds(Rule::FalseFailure, |history| {
            ends(history, "failed", Some(kind));
            history.states.truncate(2);
            change(history);
        })
    };
    let other = |history: &mut History, deed: Deed, before: Micros| {
        let targets = vec![(7, SERVER.into())];
        history.journal.attempts = vec![Attempt { deed, targets, ..attempt(1, DUE - before, "unanswered") }];
    };

    assert!(!failed("api", &|_| ()));
    assert!(failed("api", &|history| history.journal.attempts.clear()), "nothing was asked");
    assert!(!failed("too-slow", &|history| history.journal.attempts.clear()), "that can be had without");
    assert!(!failed("api", &|history| other(history, Deed::Start, 1800 * SECOND)), "it is shared");
    assert!(failed("api", &|history| other(history, Deed::Start, 3700 * SECOND)), "too long before");
    assert!(failed("api", &|history| other(history, Deed::Stop, 1800 * SECOND)), "another deed");
    assert!(!failed("api", &|history| history.journal.attempts[0].intended = DUE - 7200 * SECOND), "its own");

    let there = |since: Micros| {
        move |history: &mut History| history.states = vec![state(ENDED - since, "RUN", "NULL")]
    };
    assert!(failed("api", &there(61 * SECOND)));
    assert!(!failed("api", &there(59 * SECOND)), "not for long");
    let blind = |ago: Micros| {
        failed("api", &|history| {
            there(61 * SECOND)(history);
            history.faults = vec![fault(Wrong::Cloud, ENDED - ago - SECOND, ENDED - ago)];
        })
    };
    assert!(!blind(100 * SECOND) && blind(130 * SECOND), "nobody could see it");
}

#[test]
fn a_miss_has_a_cause_of_its_kind_from_a_little_before_on() {
    let missed = |kind: &str, wrong: Wrong, before: Micros| {
        finds(Rule::MissCause, |history| {
            history.journal.runs.clear();
            history.journal.targets.clear();
            history.journal.missed = vec![missed(kind, DUE)];
            history.faults = vec![fault(wrong, 0, DUE - before)];
        })
    };

    assert!(!missed("down", Wrong::Down, 140 * SECOND) && missed("down", Wrong::Down, 160 * SECOND));
    assert!(missed("down", Wrong::Stalled, 0));
    assert!(missed("clock", Wrong::Reload, 0) && !missed("clock", Wrong::Clock, 0));
    let target = |before: Micros| {
        finds(Rule::MissCause, |history| {
            ends(history, "missed", Some("no-answer"));
            history.faults = vec![fault(Wrong::Cloud, 0, DUE - before)];
        })
    };
    assert!(!target(140 * SECOND) && target(160 * SECOND));
}

#[test]
fn only_a_missed_run_that_could_not_be_read_may_be_about_no_server() {
    let empty = |outcome: &'static str, wrong: Wrong| {
        finds(Rule::TargetSet, |history| {
            history.journal.targets.clear();
            history.journal.runs[0].ended = Some((outcome.into(), ENDED));
            history.faults = vec![fault(wrong, DUE, ENDED)];
        })
    };

    assert!(!empty("missed", Wrong::Cloud) && !empty("missed", Wrong::Keys));
    assert!(empty("done", Wrong::Cloud) && empty("missed", Wrong::Store));
}

#[test]
fn signatures_clocks_and_open_requests_are_judged_at_their_bounds() {
    let signed = |ago: Micros| {
        finds(Rule::StaleSignature, |history| {
            history.requests[0].signed = Some(history.requests[0].at - ago);
        })
    };
    assert!(!signed(10 * SECOND) && signed(10 * SECOND + 1));
    let delayed = finds(Rule::StaleSignature, |history| {
        history.requests[0].signed = Some(DUE - 60 * SECOND);
        history.faults = vec![fault(Wrong::Stalled, DUE - 2 * SECOND, DUE)];
    });
    assert!(!delayed, "it stood still");

    let wrong = |by: Micros| {
        finds(Rule::WrongClock, |history| {
            history.clock = vec![Offset { from: 0, wall_ahead: by, wrong_by: by }];
        })
    };
    assert!(!wrong(62 * SECOND) && wrong(62 * SECOND + 1) && wrong(-62 * SECOND - 1));

    let open_at_once = |before: Micros| {
        finds(Rule::Overlap, |history| {
            history.journal.attempts[0].answered = Some((DUE + 20 * SECOND, "accepted".into()));
            history.journal.attempts.push(attempt(2, DUE + 20 * SECOND - before, "accepted"));
        })
    };
    assert!(open_at_once(3 * SECOND) && !open_at_once(SECOND));
}

/// Another run about the server, by a rule of its own that names it.
fn rival(history: &mut History, deed: Deed, due: Micros) -> &mut Run {
    let other = Owed { rule: "evening".into(), deed, planned: due, latest: due, ..history.owed[0].clone() };
    history.owed.push(other);
    history.journal.targets.push(Target {
        run: 2,
        server: SERVER.into(),
        groups: vec!["web".into()],
        ended: None,
    });
    let base = history.journal.runs[0].clone();
    let claimed = DUE - 10 * SECOND;
    history.journal.runs.push(Run {
        id: 2,
        rule: Some("evening".into()),
        deed,
        planned: due,
        due,
        claimed,
        ended: None,
        ..base
    });
    &mut history.journal.runs[1]
}

/// The one run is a stop.
fn is_a_stop(history: &mut History) {
    history.owed[0].deed = Deed::Stop;
    history.journal.runs[0].deed = Deed::Stop;
    history.journal.attempts[0].deed = Deed::Stop;
    history.requests[0].deed = Deed::Stop;
}

#[test]
fn what_went_wrong_excuses_from_a_little_before_due_to_the_last_start_after_the_window() {
    let failed = |from: Micros, to: Micros| {
        finds(Rule::Unfulfilled, |history| {
            ends(history, "failed", Some("api"));
            history.faults = vec![fault(Wrong::People, from, to)];
        })
    };
    let last = DUE + (900 + 600 + 120) * SECOND;

    assert!(!failed(0, DUE - 150 * SECOND) && failed(0, DUE - 150 * SECOND - 1));
    assert!(!failed(last, last + 1) && failed(last + 1, last + 2));
}

#[test]
fn only_a_newer_opposite_wish_for_the_server_supersedes() {
    let superseded = |change: &dyn Fn(&mut History)| {
        finds(Rule::Unfulfilled, |history| {
            ends(history, "superseded", None);
            change(history);
        })
    };
    let by = |deed: Deed, due: Micros| {
        superseded(&|history| {
            rival(history, deed, due);
        })
    };
    let last = DUE + (900 + 600) * SECOND;

    assert!(superseded(&|_| ()), "there is none");
    assert!(!by(Deed::Stop, DUE + 1) && by(Deed::Start, DUE + 1));
    assert!(by(Deed::Stop, DUE) && by(Deed::Stop, DUE - 1), "it is not newer");
    assert!(!by(Deed::Stop, last) && by(Deed::Stop, last + 1), "too late to matter");
    let other_server = superseded(&|history| {
        rival(history, Deed::Stop, DUE + 1);
        history.journal.targets[1].server = "main/1002".into();
    });
    assert!(other_server);
    let start_at_once = |deed: Deed, due: Micros| {
        superseded(&|history| {
            is_a_stop(history);
            rival(history, deed, due);
        })
    };
    assert!(!start_at_once(Deed::Start, DUE), "of two at one moment the start wins");
    assert!(start_at_once(Deed::Start, DUE - 1) && start_at_once(Deed::Stop, DUE + 1));
}

#[test]
fn an_attempt_is_dangling_once_its_minute_is_over_before_the_end() {
    let dangles = |after: Micros| {
        finds(Rule::Dangling, |history| {
            history.journal.attempts[0].answered = None;
            history.until = DUE + after;
        })
    };

    assert!(dangles(60 * SECOND + 1) && !dangles(60 * SECOND));
}

#[test]
fn moments_are_uncertain_only_where_nothing_tells_when_records_became_durable() {
    let mut history = valid();
    let tolerance = |history: &History| View::new(history).tolerance();
    assert!(tolerance(&history) > 0);

    history.durable.insert(0, (1, DUE));

    assert_eq!(tolerance(&history), 0);
}

#[test]
fn a_second_start_is_one_too_many_unless_the_server_had_come_back_down_before_it() {
    let again = DUE + 300 * SECOND;
    let surplus = |before: Micros| {
        finds(Rule::Surplus, |history| {
            let first = history.requests[0].clone();
            let second = Request { left: again - SECOND, at: again, heard: None, ..first };
            history.requests.push(second);
            history.states.push(state(again - before, "NSTOP", "NULL"));
            history.states.push(state(again + 60 * SECOND, "RUN", "NULL"));
        })
    };

    assert!(!surplus(SECOND) && !surplus(1), "it had fallen back, so the first one lasted no longer");
    assert!(surplus(0), "it was still up");
}

/// A pause from some seconds before due until some after it.
fn paused(history: &mut History, rule: Option<&str>, before: Micros, after: Micros) {
    let (rule, from, until) = (rule.map(str::to_owned), DUE - before * SECOND, DUE + after * SECOND);
    history.journal.pauses.push(Pause { id: 1, rule, from, until });
}

#[test]
fn what_is_called_paused_was_paused_when_it_was_due() {
    let called = |rule: Option<&'static str>, before: Micros, after: Micros| {
        finds(Rule::Pause, |history| {
            ends(history, "skipped", Some("paused"));
            history.journal.attempts.clear();
            paused(history, rule, before, after);
        })
    };

    assert!(!called(Some("morning"), 10, 10) && !called(Some("morning"), 0, 1) && !called(None, 10, 10));
    assert!(called(Some("night"), 10, 10), "another rule");
    assert!(called(Some("morning"), -1, 10) && called(Some("morning"), 10, 0), "before and after");
    let none = finds(Rule::Pause, |history| ends(history, "skipped", Some("paused")));
    assert!(none, "there is no pause at all");
    let range = |first: Micros| {
        finds(Rule::Pause, |history| {
            history.journal.attempts.clear();
            history.journal.missed.push(missed("paused", first));
            paused(history, Some("morning"), 10, 10);
        })
    };
    assert!(!range(DUE) && range(DUE - 11 * SECOND));
}

#[test]
fn what_is_due_while_its_rule_is_paused_is_not_asked_for() {
    let asked = |rule: Option<&'static str>, before: Micros, after: Micros| {
        finds(Rule::Pause, |history| paused(history, rule, before, after))
    };

    assert!(asked(Some("morning"), 10, 10) && asked(Some("morning"), 0, 1));
    assert!(!asked(Some("morning"), -1, 10) && !asked(Some("morning"), 10, 0), "it was due outside");
    assert!(!asked(Some("night"), 10, 10) && !asked(None, 10, 10), "not this rule, or some group of it");
    let unasked = finds(Rule::Pause, |history| {
        history.journal.attempts.clear();
        paused(history, Some("morning"), 10, 10);
    });
    assert!(!unasked);
    let unsure = finds(Rule::Pause, |history| {
        history.faults.push(fault(Wrong::Clock, DUE - 20 * SECOND, DUE - 5 * SECOND));
        paused(history, Some("morning"), 10, 10);
    });
    assert!(!unsure, "which came first is not known");
}

#[test]
fn a_skip_needs_a_ground() {
    let skipped = |kind: &'static str, never_stopped: &'static str| {
        finds(Rule::Unfulfilled, |history| {
            ends(history, "skipped", Some(kind));
            history.never_stopped = vec![never_stopped.into()];
        })
    };

    assert!(!skipped("protected", SERVER) && skipped("protected", "main/1002"));
    assert!(!skipped("wanted", "") && !skipped("dependency", "") && skipped("limit", ""));
    assert!(!skipped("paused", ""), "that is judged by the pauses");
}

#[test]
fn a_request_is_out_of_order_once_a_newer_wish_is_claimed() {
    let odd = |change: &dyn Fn(&mut History)| finds(Rule::Order, change);
    let start_at = |due: Micros, change: &dyn Fn(&mut History)| {
        odd(&|history| {
            is_a_stop(history);
            rival(history, Deed::Start, due);
            change(history);
        })
    };
    let by_hand = |index: usize| {
        move |history: &mut History| {
            let asked = Attempt {
                deed: Deed::Start,
                targets: vec![(2, SERVER.into())],
                ..attempt(9, DUE - 5 * SECOND, "refused")
            };
            history.journal.attempts.push(asked);
            history.journal.runs[index].rule = None;
        }
    };
    let stop_at = |due: Micros| {
        odd(&|history| {
            rival(history, Deed::Stop, due);
        })
    };

    assert!(stop_at(DUE + 1) && !stop_at(DUE), "of two at one moment the start wins");
    assert!(start_at(DUE, &|_| ()) && !start_at(DUE - 1, &|_| ()));
    assert!(!start_at(DUE, &by_hand(0)) && !start_at(DUE, &by_hand(1)), "commands have no moment in common");
    assert!(start_at(DUE + 1, &by_hand(1)));
    let claimed = |before: Micros| odd(&|history| rival(history, Deed::Stop, DUE + 1).claimed = DUE - before);
    assert!(claimed(2 * SECOND + 1) && !claimed(2 * SECOND));
    let withdrawn = odd(&|history| rival(history, Deed::Stop, DUE + 1).withdrawn = Some(DUE));
    assert!(!withdrawn);
    let gave_way = odd(&|history| {
        rival(history, Deed::Stop, DUE + 1);
        history.journal.targets[1].ended = Some(("superseded".into(), None, DUE));
    });
    assert!(!gave_way);
    let unknown = odd(&|history| {
        rival(history, Deed::Stop, DUE + 1);
        history.owed[1].servers = None;
    });
    assert!(!unknown, "nobody knew yet that it was about the server");
}
