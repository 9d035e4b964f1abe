//! A journal whose disk fails: an error for each write and sync, a disk that stays full, and the order of sync and send.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::points::{each, judge, morning};
use crate::support::Bench;
use crate::tracer;
use crate::wait::{until, until_seldom};

/// Of the writes only every so many in the gate: their pages fail alike.
const STRIDE: usize = 12;

#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by its surroundings whether to look at every write"
)]
fn stride() -> usize {
    std::env::var("SUNUP_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(STRIDE)
}

/// How often the journal is written and synced from its making to the end of a morning.
fn calls_of_a_morning() -> (usize, usize) {
    let bench = Bench::new(&["--servers", "1"]);
    bench.configure(&morning("start").0);
    let _daemon = tracer::start(&bench, &["-e", "trace=pwrite64,fsync"]);
    bench.ended(1);
    let log = tracer::log(&bench);
    (log.matches("pwrite64(").count(), log.matches("fsync(").count())
}

/// One failing call of the journal, from its making to the end of a morning. Returns whether there was such a call.
fn fails_at(call: &str, nth: usize) -> bool {
    let bench = Bench::new(&["--servers", "1"]);
    bench.configure(&morning("start").0);
    let error = if nth.is_multiple_of(2) { "EIO" } else { "ENOSPC" };
    let fault = format!("inject={call}:error={error}:when={nth}");
    let mut daemon = tracer::start(&bench, &["-e", &format!("trace={call}"), "-e", &fault]);
    // It may refuse to begin, as long as it says why: the next start, as systemd makes it, goes on.
    let mut again = None;
    until_seldom("the run has ended", || {
        if again.is_none() && daemon.0.try_wait().unwrap().is_some_and(|status| !status.success()) {
            assert!(bench.daemon_log().contains("the journal"), "{call} {nth}: {}", bench.daemon_log());
            again = Some(bench.daemon());
        }
        bench.history().iter().any(|run| !run["outcome"].is_null()).then_some(())
    });
    judge(&bench, 1, &format!("{error} at {call} {nth}"));
    tracer::log(&bench).contains("INJECTED")
}

#[test]
fn a_write_or_sync_of_the_journal_that_fails_loses_and_doubles_nothing() {
    let (writes, syncs) = calls_of_a_morning();
    assert!(writes > 20 && syncs > 5, "{writes} writes and {syncs} syncs were seen");
    let mut cases: Vec<(&str, usize)> = (1..=syncs).map(|nth| ("fsync", nth)).collect();
    cases.extend((1..=writes).step_by(stride()).map(|nth| ("pwrite64", nth)));
    let met = AtomicUsize::new(0);
    each("failing writes and syncs", &cases, |(call, nth)| {
        if fails_at(call, *nth) {
            met.fetch_add(1, Ordering::Relaxed);
        }
    });
    let met = met.into_inner();
    println!("{met} of them met a call");
    // Mornings differ by a few calls: the last ones may find nothing to fail.
    assert!(met * 10 >= cases.len() * 8, "only {met} of {} met a call", cases.len());
}

#[test]
fn while_the_disk_is_full_nothing_is_asked_and_health_is_bad_until_there_is_room() {
    let bench = Bench::new(&["--servers", "1"]);
    bench.configure(&morning("start").0);
    let daemon = bench.daemon_in_force();
    let full = "inject=pwrite64,fsync:error=ENOSPC";
    let mut disk = tracer::attach(&bench, &daemon, &["-e", "trace=pwrite64,fsync", "-e", full]);

    until("the trouble is told", || {
        bench.daemon_log().contains("cannot be written, so nothing is started").then_some(())
    });
    until("it was tried again", || (tracer::log(&bench).matches("INJECTED").count() >= 3).then_some(()));
    assert!(bench.requests("startServerInstances").is_empty());
    let status = bench.status().unwrap();
    assert_ne!(status["state"], "running", "{status}");

    // Whoever is sent a TERM by `strace` lets go of the daemon.
    disk.signal("TERM");
    disk.0.wait().unwrap();
    judge(&bench, 1, "after a full disk");
    assert!(bench.daemon_log().contains("the journal can be written again"), "{}", bench.daemon_log());
}

#[test]
fn the_intent_is_synced_before_its_request_leaves() {
    let bench = Bench::new(&["--servers", "40"]);
    bench.configure(&crate::points::many(40));
    let calls = "trace=pwrite64,fsync,fdatasync,sendto,sendmsg,write,writev";
    let _daemon = tracer::start_seeing_all(&bench, &["-yy", "-s", "2000", "-e", calls]);
    bench.ended(1);
    bench.audit();

    let (sent, unsynced) = order_of(&tracer::log(&bench));
    assert!(sent >= 2, "requests were not seen");
    assert_eq!(unsynced, Vec::<String>::new(), "sent before their intent was durable");
}

/// How many start requests left, and those that left while a write of the journal was not yet synced, or without a sync since
/// the last one.
fn order_of(log: &str) -> (usize, Vec<String>) {
    let (mut sent, mut unsynced) = (0, Vec::new());
    let (mut is_dirty, mut synced_since) = (false, false);
    for line in log.lines() {
        let is_journal = line.contains("sunup.db-wal>");
        let is_sync = line.contains("fsync(") || line.contains("fdatasync(") || line.contains("sync resumed");
        if line.contains("pwrite64(") && is_journal {
            is_dirty = true;
        } else if is_sync && line.trim_end().ends_with("= 0") {
            // A sync that is interrupted in the log ends with its second line, and that one names no file.
            (is_dirty, synced_since) = (false, true);
        } else if line.contains("startServerInstances?") {
            sent += 1;
            if is_dirty || !synced_since {
                unsynced.push(line.to_owned());
            }
        }
    }
    (sent, unsynced)
}

#[test]
fn the_order_of_sync_and_send_is_judged_by_what_the_system_saw() {
    let write = "7 pwrite64(8</x/sunup.db-wal>, \"a\", 1, 0) = 1";
    let sync = "7 fsync(8</x/sunup.db-wal>) = 0";
    let failed = "7 fsync(8</x/sunup.db-wal>) = -1 EIO (Input/output error) (INJECTED)";
    let send = "9 writev(22<TCP:[a->b]>, [{iov_base=\"GET /vserver/v2/startServerInstances?regionCode=KR";
    let bad = |lines: &[&str]| order_of(&lines.join("\n")).1.len();

    assert_eq!(bad(&[write, sync, send]), 0);
    assert_eq!(bad(&[write, send, sync]), 1);
    assert_eq!(bad(&[write, failed, send]), 1);
    assert_eq!(bad(&[send]), 1);
}
