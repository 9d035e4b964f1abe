//! `pause` and `resume` as people use them: shown wherever somebody looks, kept over `kill -9`, and judged.

use jiff::{SignedDuration, Timestamp};
use sunup::adapters::clock::SystemClock;
use sunup::ports::clock::Clock;

use crate::support::{Bench, cron_at, json_lines};
use crate::wait::until;

/// Two rules that are due soon: one that is paused in time, and one that is not.
fn bench(due: Timestamp) -> Bench {
    let bench = Bench::new(&[]);
    let cron = cron_at(due);
    bench.configure(&format!(
        "[groups.web]\nservers = [\"1001\"]\n[groups.db]\nservers = [\"1002\"]\n\
         [rules.web]\ncron = \"{cron}\"\nseconds = true\nstart = [\"web\"]\n\
         [rules.office]\ncron = \"{cron}\"\nseconds = true\nstart = [\"db\"]\n"
    ));
    bench
}

#[test]
fn a_pause_is_shown_wherever_somebody_looks_and_holds_over_kill() {
    let due = SystemClock.now() + SignedDuration::from_secs(20);
    let bench = bench(due);
    let daemon = bench.daemon_in_force();

    let made = bench.shown(&["pause", "office", "--until", "2037-01-01", "--reason", "release night"]);
    daemon.signal("KILL");
    drop(daemon);
    let alone = bench.shown(&["plan", "--days", "1"]);
    let _daemon = bench.daemon_in_force();

    let words = "rule office is paused until 2037-01-01T00:00:00+09:00 by tester: release night";
    assert!(made.contains(words), "{made}");
    assert!(made.contains("occurrences fall into it") && made.contains("after it: rule office"), "{made}");
    for looked in [alone, bench.shown(&["status"]), bench.shown(&["plan", "--days", "1"])] {
        assert!(looked.contains(words), "{looked}");
    }
    assert!(bench.shown(&["why", "1002"]).contains(words));
    let now = SystemClock.now().to_string();
    for past in [&["history"][..], &["history", "--at", &now]] {
        let past = bench.shown(past);
        assert!(past.contains("rule office by tester") && past.contains("configuration"), "{past}");
    }
    let past = bench.shown(&["history", "--rule", "office"]);
    assert!(past.contains("pause") && past.contains("rule office by tester"), "{past}");
    let to_come = bench.shown_with(&["history", "--at", "2036-12-31"], 2);
    assert!(to_come.contains("still to come"), "{to_come}");
    let text = bench.shown(&["history", "--configuration", "--at", &now]);
    assert!(text.contains("[rules.office]") && text.contains("in force from"), "{text}");
    let planned = json_lines(&bench.shown(&["plan", "--days", "1", "--rule", "office", "--json"]));
    assert!(planned.iter().all(|line| line["skipped"] == words), "{planned:?}");
    let ended = bench.ended(2);
    let of = |rule: &str| ended.iter().find(|run| run["rule"] == rule).unwrap();
    assert_eq!((&of("web")["outcome"], &of("office")["outcome"]), (&"done".into(), &"skipped".into()));
    let reason = of("office")["targets"][0]["reason"].as_str().unwrap();
    assert_eq!(reason, format!("paused: {words}"));
    let failed = bench.output(&["history", "--failed", "--json"]);
    assert!(failed.stdout.is_empty(), "{}", String::from_utf8_lossy(&failed.stdout));
    bench.audit();
}

#[test]
fn resume_ends_a_pause_and_an_end_that_comes_by_itself_is_told() {
    let due = SystemClock.now() + SignedDuration::from_secs(20);
    let bench = bench(due);
    let _daemon = bench.daemon_in_force();
    let soon = (SystemClock.now() + SignedDuration::from_secs(2)).to_string();

    bench.shown(&["pause", "rule:web", "--until", "2037-01-01"]);
    bench.shown(&["pause", "group:web", "--until", &soon]);
    let resumed = bench.shown(&["resume", "rule:web"]);

    assert!(resumed.contains("rule web is no longer paused\nnext: rule web is to start at"), "{resumed}");
    until("its end is told", || {
        bench.daemon_log().contains("the pause of group web by tester has ended").then_some(())
    });
    let ended = bench.ended(2);
    assert!(ended.iter().all(|run| run["outcome"] == "done"), "{ended:?}");
    bench.audit();
}

#[test]
fn mistakes_about_pauses_are_told_with_the_remedy() {
    let bench = bench(SystemClock.now() + SignedDuration::from_hours(2));
    let without = bench.output(&["pause", "office", "--until", "18:00"]);
    assert_eq!(without.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&without.stderr).contains("systemctl start sunup"));
    let _daemon = bench.daemon_in_force();
    let table: [(&[&str], &str); 6] = [
        (&["pause", "ofice", "--until", "18:00"], "the rules are `office`, `web`, the groups `db`, `web`"),
        (&["pause", "web", "--until", "18:00"], "write `rule:web` or `group:web`"),
        (&["pause", "office", "--until", "later"], "is no moment"),
        (&["pause", "office", "--until", "2020-01-01"], "has passed"),
        (&["pause", "office"], "--until"),
        (&["resume", "office"], "rule office is neither paused, skipped nor kept"),
    ];

    for (arguments, words) in table {
        let output = bench.output(arguments);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {shown}");
        assert!(shown.contains(words), "{arguments:?}: {shown}");
    }
}
