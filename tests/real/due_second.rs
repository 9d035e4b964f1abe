//! Reloads and restarts of the real process placed on the very second at which something is due.

use std::fs;
use std::thread;

use jiff::{SignedDuration, Timestamp};
use sunup::adapters::clock::SystemClock;
use sunup::ports::clock::Clock;

use crate::support::{Bench, in_seconds};
use crate::wait::until;

/// How many of each.
const TIMES: i64 = 20;

/// Rules that start one server each, one after another, and their moments.
fn bench(first: i64, every: i64) -> (Bench, String, Vec<Timestamp>) {
    let bench = Bench::new(&["--servers", "20"]);
    let (mut rules, mut dues) = (String::new(), Vec::new());
    for n in 0..TIMES {
        let due = in_seconds(first + every * n);
        let server = 1001 + n;
        rules.push_str(&format!(
            "[groups.g{n}]\nservers = [\"{server}\"]\n[rules.r{n}]\nat = \"{due}\"\nstart = [\"g{n}\"]\n"
        ));
        dues.push(due);
    }
    bench.configure(&rules);
    (bench, rules, dues)
}

/// The moment itself, and a little before and after it.
fn near(due: Timestamp, n: usize) -> Timestamp {
    let offsets = [0, -2, 5, -20, 60, 1, -100];
    due + SignedDuration::from_millis(offsets[n % offsets.len()])
}

fn wait_for(moment: Timestamp) {
    until("the moment has come", || (SystemClock.now() >= moment).then_some(()));
}

/// Each moment has one run, which is done, and each server was asked once.
fn judge(bench: &Bench) {
    let count = usize::try_from(TIMES).unwrap();
    let runs = bench.ended(count);
    assert_eq!(runs.len(), count, "{runs:?}");
    for run in &runs {
        assert_eq!(run["outcome"], "done", "{run}\n{}", bench.daemon_log());
    }
    let mut rules: Vec<&str> = runs.iter().filter_map(|run| run["rule"].as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    assert_eq!(rules.len(), count, "one run for each moment");
    bench.audit();
}

fn reloads() {
    let (bench, rules, dues) = bench(4, 2);
    let good = fs::read_to_string(bench.path("sunup.toml")).unwrap();
    let daemon = bench.daemon_in_force();
    for (n, due) in dues.into_iter().enumerate() {
        match n % 3 {
            0 => bench.configure(&rules),
            1 => bench.configure(&format!("{rules}[limits]\nrequests_per_hour = {}\n", 100 + n)),
            // Written by half.
            _ => fs::write(bench.path("sunup.toml"), &good[..good.len() / 2 + 3]).unwrap(),
        }
        wait_for(near(due, n));
        daemon.signal("HUP");
    }
    judge(&bench);
    let log = bench.daemon_log();
    assert!(log.contains("was not taken over"), "the halves were refused: {log}");
    let asked = bench.requests("startServerInstances").len();
    assert_eq!(asked, usize::try_from(TIMES).unwrap(), "nobody is asked twice");
}

fn restarts() {
    let (bench, _, dues) = bench(5, 3);
    let mut daemon = bench.daemon_in_force();
    for (n, due) in dues.into_iter().enumerate() {
        wait_for(near(due, n));
        if n % 2 == 0 {
            daemon.signal("TERM");
            assert_eq!(daemon.exit_code(), 0);
        } else {
            daemon.signal("KILL");
            drop(daemon);
        }
        daemon = bench.daemon();
    }
    judge(&bench);
}

#[test]
fn twenty_reloads_and_twenty_restarts_on_the_due_second_lose_and_double_nothing() {
    thread::scope(|scope| {
        scope.spawn(reloads);
        scope.spawn(restarts);
    });
}
