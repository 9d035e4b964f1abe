//! `kill -9` between claim and outcome: nothing is asked twice needlessly, and every occurrence has one outcome.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;

use serde_json::Value;
use sunup::adapters::ncp::ATTEMPT_LIMIT;

use crate::support::{Bench, in_seconds, micros};
use crate::wait::until;

/// Benches that are tried at the same time, and kills on each.
const BENCHES: u64 = 4;
const KILLS: u64 = 5;

/// How long ago the oldest signature was made when its request arrived, in microseconds.
static OLDEST: AtomicI64 = AtomicI64::new(0);

/// How many kills there are to be in all.
#[expect(clippy::disallowed_methods, reason = "a test is told by its surroundings how often it kills")]
fn wanted() -> u64 {
    std::env::var("SUNUP_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(BENCHES * KILLS)
}

#[test]
fn killed_at_twenty_random_moments_no_server_is_asked_needlessly_and_every_occurrence_ends_once() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let rounds = wanted().div_ceil(BENCHES * KILLS);
    // The long run has more of them side by side: they wait more than they work.
    let side_by_side = if rounds > 1 { 4 * BENCHES } else { BENCHES };
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..side_by_side {
            scope.spawn(|| {
                loop {
                    let bench = next.fetch_add(1, Ordering::Relaxed);
                    if bench >= rounds * BENCHES {
                        return;
                    }
                    kill_on_one_bench(seed * 31 + bench);
                }
            });
        }
    });
    println!("the oldest signature was of {} ms ago", OLDEST.load(Ordering::Relaxed) / 1000);
    println!("{} passed, 0 failed", rounds * BENCHES * KILLS);
}

fn kill_on_one_bench(seed: u64) {
    let bench = Bench::new(&["--servers", "20"]);
    let (mut rules, mut moments) = (String::new(), Vec::new());
    for kill in 0..KILLS {
        let due = in_seconds(4 + 8 * i64::try_from(kill).unwrap());
        let servers = format!("\"{}\", \"{}\"", 1001 + 2 * kill, 1002 + 2 * kill);
        rules.push_str(&format!(
            "[groups.g{kill}]\nservers = [{servers}]\n[rules.r{kill}]\nat = \"{due}\"\nstart = [\"g{kill}\"]\n"
        ));
        // From a little before due to after the servers run.
        let offset = i64::try_from(mix(seed ^ kill) % 3_500_000).unwrap() - 300_000;
        moments.push(due.as_microsecond() + offset);
    }
    bench.configure(&rules);

    let mut daemon = bench.daemon();
    for moment in moments {
        until("the moment of the kill", || {
            (in_seconds(0).as_microsecond() <= now() && now() >= moment).then_some(())
        });
        daemon.0.kill().unwrap();
        daemon.0.wait().unwrap();
        daemon = bench.daemon();
    }
    let runs = bench.ended(usize::try_from(KILLS).unwrap());

    assert_eq!(runs.len(), usize::try_from(KILLS).unwrap(), "{runs:?}");
    for run in &runs {
        assert_eq!(run["outcome"], "done", "{run}\n{}", bench.daemon_log());
    }
    for server in 1001..1001 + 2 * KILLS {
        judge(&bench, &server.to_string());
    }
    let oldest = oldest_signature(&bench);
    assert!(
        oldest <= i64::try_from(ATTEMPT_LIMIT.as_micros()).unwrap(),
        "a request arrived {oldest} µs after it was signed"
    );
    OLDEST.fetch_max(oldest, Ordering::Relaxed);
    bench.audit();
}

/// The longest that a request was on its way after it was signed, in microseconds: nothing stands still here.
fn oldest_signature(bench: &Bench) -> i64 {
    let log = bench.sandbox_log();
    let requests = log.iter().filter(|line| line["kind"] == "request");
    requests.map(|line| micros(line) - line["signed"].as_i64().unwrap()).max().unwrap()
}

/// Between two start requests of a server there is a read, and the second finds it neither running nor on its way.
fn judge(bench: &Bench, server: &str) {
    let log = bench.sandbox_log();
    let names =
        |line: &Value| line["servers"].as_array().is_some_and(|list| list.iter().any(|no| no == server));
    let starts: Vec<&Value> = log
        .iter()
        .filter(|line| {
            line["operation"] == "startServerInstances" && line["kind"] == "request" && names(line)
        })
        .collect();
    assert!(!starts.is_empty(), "server {server} was never asked");
    for pair in starts.windows(2) {
        let (first, second) = (micros(pair[0]), micros(pair[1]));
        let read_between = log.iter().any(|line| {
            line["operation"] == "getServerInstanceList"
                && names(line)
                && micros(line) > first
                && micros(line) < second
        });
        let state = log.iter().rfind(|line| line["kind"] == "state" && names(line) && micros(line) <= second);
        let moving = state.is_some_and(|state| state["status"] != "NSTOP" || state["operation"] != "NULL");
        let same_moment = state.is_some_and(|state| micros(state) == second);
        assert!(read_between && (!moving || same_moment), "server {server} was asked needlessly at {second}");
    }
}

fn now() -> i64 {
    use sunup::ports::clock::Clock;
    sunup::adapters::clock::SystemClock.now().as_microsecond()
}

fn mix(seed: u64) -> u64 {
    sunup::domain::retry::scramble(seed)
}
