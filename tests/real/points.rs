//! `kill -9` at named points of requests and of the journal's records, each hit once (ten times in `scripts/long kills`),
//! and connections that are cut, held, half open or truncated there. The checker judges every one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::proxy::{Place, Point, Proxy};
use crate::support::{Bench, in_seconds};
use crate::tracer;
use crate::wait::until;

/// Benches at the same time; each of them waits more than it works.
const SIDE_BY_SIDE: usize = 8;

/// The requests of a morning, in their order: name, operation, and what must have been answered before.
const REQUESTS: [(&str, &str, Option<&str>); 5] = [
    ("clock", "getRegionList", None),
    ("first look", "getServerInstanceList", None),
    ("start", "startServerInstances", None),
    ("watching", "getServerInstanceList", Some("startServerInstances")),
    ("stop", "stopServerInstances", None),
];

/// The daemon's records after rules are in force, in their order, and how often the cloud was asked to start until then.
const RECORDS: [(&str, usize); 3] = [("claim and intent", 0), ("answer", 1), ("outcome", 1)];

/// How often each point is hit.
#[expect(clippy::disallowed_methods, reason = "a test is told by its surroundings how often it looks")]
fn times() -> usize {
    std::env::var("SUNUP_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Does the cases side by side, and says how many were seen.
pub(crate) fn each<T: Sync>(what: &str, cases: &[T], run: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(case);
                }
            });
        }
    });
    println!("{what}");
    println!("{} passed, 0 failed", cases.len());
}

/// Every request at every place, as often as asked.
fn network_points() -> Vec<(&'static str, Point)> {
    let once = REQUESTS.iter().flat_map(|(name, operation, after)| {
        Place::ALL.map(|place| (*name, Point { operation, after: *after, place }))
    });
    let once: Vec<_> = once.collect();
    std::iter::repeat_n(once, times()).flatten().collect()
}

/// A start, and for points of the stop a stop after it.
pub(crate) fn morning(name: &str) -> (String, usize) {
    let mut rules = format!(
        "[groups.web]\nservers = [\"1001\"]\n[rules.up]\nat = \"{}\"\nstart = [\"web\"]\n",
        in_seconds(3)
    );
    if name != "stop" {
        return (rules, 1);
    }
    rules.push_str(&format!("[rules.down]\nat = \"{}\"\nstop = [\"web\"]\n", in_seconds(9)));
    (rules, 2)
}

/// One start of so many servers at once.
pub(crate) fn many(servers: usize) -> String {
    let list: Vec<String> = (1001..1001 + servers).map(|no| format!("\"{no}\"")).collect();
    let due = in_seconds(4);
    let room = "[limits]\nservers_per_run = 1000\nrequests_per_hour = 1000\n";
    format!(
        "{room}[groups.web]\nservers = [{}]\n[rules.up]\nat = \"{due}\"\nstart = [\"web\"]\n",
        list.join(", ")
    )
}

/// Every run is done, and the checker finds nothing.
pub(crate) fn judge(bench: &Bench, runs: usize, case: &str) {
    let ended = bench.ended(runs);
    assert_eq!(ended.len(), runs, "{case}: {ended:?}");
    for run in &ended {
        assert_eq!(run["outcome"], "done", "{case}: {run}\n{}", bench.daemon_log());
    }
    bench.audit();
}

#[test]
fn killed_at_each_named_point_of_a_request_nothing_is_lost_or_doubled() {
    let points = network_points();
    each("killed at points of requests", &points, |(name, point)| {
        let bench = Bench::new(&["--servers", "1"]);
        let proxy = Proxy::before(&bench.endpoint);
        let hit = proxy.stop_at(*point);
        let (rules, runs) = morning(name);
        bench.configure_at(&proxy.endpoint, &rules);
        let mut daemon = bench.daemon();

        let held = hit.wait();
        daemon.0.kill().unwrap();
        daemon.0.wait().unwrap();
        held.cut();
        let _daemon = bench.daemon();

        judge(&bench, runs, &format!("{name} at {:?}", point.place));
    });
}

#[test]
fn cut_at_each_named_point_of_a_request_nothing_is_lost_or_doubled() {
    each("cut at points of requests", &network_points(), |(name, point)| {
        let bench = Bench::new(&["--servers", "1"]);
        let proxy = Proxy::before(&bench.endpoint);
        let hit = proxy.stop_at(*point);
        let (rules, runs) = morning(name);
        bench.configure_at(&proxy.endpoint, &rules);
        let _daemon = bench.daemon();

        hit.wait().cut();

        judge(&bench, runs, &format!("{name} at {:?}", point.place));
    });
}

#[test]
fn a_half_open_or_slow_connection_holds_nothing_longer_than_the_attempt_limit() {
    let places = [Place::Asked, Place::Passed, Place::HalfAnswered];
    let cases: Vec<_> = places.into_iter().flat_map(|place| [(place, true), (place, false)]).collect();
    each("half open and late", &cases, |(place, half_open)| {
        let bench = Bench::new(&["--servers", "1"]);
        let proxy = Proxy::before(&bench.endpoint);
        let point = Point { operation: "startServerInstances", after: None, place: *place };
        let hit = proxy.stop_at(point);
        bench.configure_at(&proxy.endpoint, &morning("start").0);
        let _daemon = bench.daemon();

        let held = hit.wait();
        until("the attempt has been given up", || {
            bench.daemon_log().contains("no answer, so the servers").then_some(())
        });
        if !half_open {
            // What arrives now was signed long ago, or is an answer that nobody waits for any more.
            held.pass();
        }

        judge(&bench, 1, &format!("{place:?}, half open: {half_open}"));
    });
}

#[test]
fn killed_at_each_record_of_the_journal_nothing_is_lost_or_doubled() {
    let mut cases = Vec::new();
    for _ in 0..times() {
        cases.extend((0..RECORDS.len()).map(|record| ("fsync", record + 1, record)));
        // Torn in the middle: the first, the second and the fifth write of the claim.
        cases.extend([1, 2, 5].map(|write| ("pwrite64", write, 0)));
    }
    each("killed at records of the journal", &cases, |(call, nth, record)| {
        let bench = Bench::new(&["--servers", "1"]);
        bench.configure(&morning("start").0);
        let mut daemon = bench.daemon_in_force();
        let kill = format!("inject={call}:signal=KILL:when={nth}");
        let _tracer = tracer::attach(&bench, &daemon, &["-e", &format!("trace={call}"), "-e", &kill]);

        assert_eq!(daemon.exit_code(), -1, "killed, not ended");
        let (name, asked) = RECORDS[*record];
        assert_eq!(bench.requests("startServerInstances").len(), asked, "{name}: {}", bench.daemon_log());
        let _daemon = bench.daemon();

        judge(&bench, 1, &format!("{call} {nth} ({name})"));
    });
}

#[test]
fn killed_at_each_sync_of_the_opening_the_next_start_goes_on() {
    let cases: Vec<usize> = (0..times()).flat_map(|_| 1..=10).collect();
    each("killed while the journal was made", &cases, |nth| {
        let bench = Bench::new(&["--servers", "1"]);
        bench.configure(&morning("start").0);
        let kill = format!("inject=fsync:signal=KILL:when={nth}");
        let mut daemon = tracer::start(&bench, &["-e", "trace=fsync", "-e", &kill]);

        assert_eq!(daemon.exit_code(), -1, "killed, not ended");
        let _daemon = bench.daemon();

        judge(&bench, 1, &format!("sync {nth} of the opening"));
    });
}
