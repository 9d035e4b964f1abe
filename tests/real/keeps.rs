//! `keep`, `skip` and `start --until` as people use them.

use jiff::{SignedDuration, Timestamp};
use sunup::adapters::clock::SystemClock;
use sunup::ports::clock::Clock;

use crate::support::{Bench, cron_at, json_lines};

fn configure(bench: &Bench, stop_at: Timestamp) {
    let cron = cron_at(stop_at);
    bench.configure(&format!(
        "[groups.web]\nservers = [\"1001\", \"1002\"]\n\
         [rules.night]\ncron = \"{cron}\"\nseconds = true\nstop = [\"web\"]\n\
         [rules.office]\nhours = \"MON-FRI 08:50-19:30\"\nrun = [\"web\"]\nenabled = true\nfrom = \"2037-01-01\"\n"
    ));
}

#[test]
fn what_is_started_until_a_moment_stays_up_over_a_stop_and_kill_and_is_stopped_once_afterwards() {
    let bench = Bench::new(&["--boot", "1s..1s"]);
    configure(&bench, SystemClock.now() + SignedDuration::from_secs(18));
    let daemon = bench.daemon_in_force();
    let until = (SystemClock.now() + SignedDuration::from_secs(26)).to_string();

    let started = bench.shown(&["start", "web", "--until", &until, "--reason", "release"]);
    daemon.signal("KILL");
    drop(daemon);
    let _daemon = bench.daemon_in_force();

    assert!(started.contains("group web is kept on from") && started.contains(": release"), "{started}");
    assert!(bench.shown(&["status"]).contains("group web is kept on"));
    assert!(bench.shown(&["why", "1002"]).contains("group web is kept on"));
    assert!(bench.shown(&["plan", "--days", "1"]).contains("group web is kept on"));
    let ended = bench.ended(3);
    let told: Vec<String> = ended
        .iter()
        .map(|run| format!("{} {} {}", run["rule"], run["keep"], run["outcome"]).replace('"', ""))
        .collect();
    assert_eq!(told, ["null null done", "night null skipped", "null 1 done"]);
    assert!(
        ended[1]["targets"][0]["reason"].as_str().unwrap().starts_with("kept: group web was kept on")
            || ended[1]["targets"][0]["reason"].as_str().unwrap().starts_with("kept: group web is kept on")
    );
    assert_eq!(bench.requests("stopServerInstances").len(), 1, "{:?}", bench.requests("stopServerInstances"));
    bench.audit();
}

#[test]
fn a_stop_by_hand_says_what_keeps_a_server_and_how_to_do_it_all_the_same() {
    let bench = Bench::new(&["--boot", "1s..1s"]);
    configure(&bench, SystemClock.now() + SignedDuration::from_hours(20));
    let _daemon = bench.daemon_in_force();
    bench.shown(&["start", "--server", "1001"]);
    bench.shown(&["keep", "--server", "1001", "on", "--until", "2037-01-01"]);

    let refused = bench.output(&["stop", "--server", "1001", "--yes"]);
    let broken = bench.shown(&["stop", "--server", "1001", "--yes", "--break-keep"]);

    assert_eq!(refused.status.code(), Some(3));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("server main/1001 is kept on") && words.contains("--break-keep"), "{words}");
    assert!(broken.contains("run 3: done"), "{broken}");
    assert!(bench.shown(&["resume", "--server", "1001"]).contains("no longer kept on"));
    bench.audit();
}

#[test]
fn a_skip_takes_one_occurrence_out_and_mistakes_are_told_with_the_remedy() {
    let bench = Bench::new(&[]);
    configure(&bench, SystemClock.now() + SignedDuration::from_hours(20));
    let _daemon = bench.daemon_in_force();

    let skipped = bench.shown(&["skip", "office", "--on", "2037-01-05", "--reason", "fair"]);

    assert!(
        skipped.contains("rule office is skipped at 2037-01-05T08:50:00+09:00 by tester: fair"),
        "{skipped}"
    );
    let plan = ["plan", "--rule", "office", "--from", "2037-01-05", "--to", "2037-01-07", "--json"];
    let planned = json_lines(&bench.shown(&plan));
    let struck: Vec<bool> = planned.iter().map(|line| !line["skipped"].is_null()).collect();
    assert_eq!(struck, [true, true, false, false], "{planned:?}");
    let table: [(&[&str], &str); 8] = [
        (&["skip", "office", "--on", "2037-01-05"], "held back already"),
        (&["skip", "office", "--on", "2037-01-04"], "no span opens"),
        (&["skip", "web"], "there is no rule"),
        (&["skip", "office", "--on", "someday"], "is no moment"),
        (&["keep", "web", "on", "--until", "2020-01-01"], "has passed"),
        (&["keep", "office", "on", "--until", "2037-01-01"], "there is no group `office`"),
        (&["keep", "web", "off", "--until", "2037-01-01", "--then", "stop"], "--then start or --then leave"),
        (&["stop", "web", "--yes", "--until", "2037-01-01"], "--until goes with start"),
    ];
    for (arguments, words) in table {
        let output = bench.output(arguments);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {shown}");
        assert!(shown.contains(words), "{arguments:?}: {shown}");
    }
}

#[test]
fn start_failed_mends_a_failed_morning_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let faults = folder.path().join("faults.toml");
    // The database is refused at first, so that nothing of the morning comes up.
    std::fs::write(
        &faults,
        "[[fault]]\non = \"startServerInstances\"\nserver = \"1001\"\ntimes = 1\ndo = \"status\"\nstatus = 403\ncode = \"230\"\n",
    )
    .unwrap();
    let bench = Bench::new(&["--boot", "1s..1s", "--faults", faults.to_str().unwrap()]);
    bench.configure(
        "[groups.db]\nservers = [\"1001\"]\n[groups.web]\nservers = [\"1002\", \"1003\"]\nafter = [\"db\"]\n",
    );
    let _daemon = bench.daemon_in_force();
    let none = bench.output(&["start", "--failed"]);
    let failed = bench.output(&["start", "db", "web"]);

    let mended = bench.shown(&["start", "--failed"]);
    let again = bench.shown(&["start", "--failed", "2"]);

    assert_eq!((none.status.code(), failed.status.code()), (Some(2), Some(3)));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no start has failed lately"));
    assert!(mended.contains("of run 1 these did not come up: 1001 (srv-1001), 1002"), "{mended}");
    assert!(mended.contains("run 2: done"), "{mended}");
    assert!(again.contains("run 2 has left nothing"), "{again}");
    let asked: Vec<String> =
        bench.requests("startServerInstances").iter().map(|request| request["servers"].to_string()).collect();
    assert_eq!(asked, ["[\"1001\"]", "[\"1001\"]", "[\"1002\",\"1003\"]"], "the database comes first");
    bench.audit();
}
