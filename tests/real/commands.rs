//! The commands as people use them.

use std::process::Command;

use crate::support::{Bench, json_lines};
use crate::wait::until;

const GROUPS: &str = "[groups.web]\nservers = [\"1001\", \"1002\"]\n[limits]\nprotect = [\"1002\"]\n";

#[test]
fn start_and_stop_go_through_the_daemon_and_show_each_server() {
    let bench = Bench::new(&[]);
    bench.configure(GROUPS);
    let _daemon = bench.daemon_in_force();

    let start = bench.output(&["start", "--server", "1001"]);
    let again = bench.output(&["start", "--server", "1001"]);
    let stop = bench.output(&["stop", "--server", "1001", "--yes"]);

    let words = String::from_utf8_lossy(&start.stderr).into_owned();
    assert_eq!(start.status.code(), Some(0), "{words}");
    assert!(words.contains("moving") && words.contains("started"), "{words}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("already"));
    assert_eq!(stop.status.code(), Some(0));
    let who: Vec<String> =
        bench.history().iter().map(|run| run["who"].as_str().unwrap().to_owned()).collect();
    assert_eq!(who, ["tester", "tester", "tester"]);
}

#[test]
fn a_protected_server_is_never_touched_not_even_by_a_person() {
    let bench = Bench::new(&[]);
    bench.configure(GROUPS);
    let _daemon = bench.daemon_in_force();

    let output = bench.output(&["start", "web", "--json"]);

    assert_eq!(output.status.code(), Some(3));
    let run = json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0);
    assert_eq!(run["targets"][1]["outcome"], "skipped");
    assert!(run["targets"][1]["reason"].as_str().unwrap().starts_with("protected"), "{run}");
    assert!(
        bench
            .requests("startServerInstances")
            .iter()
            .all(|line| !line["servers"].to_string().contains("1002"))
    );
}

#[test]
fn without_a_daemon_a_command_carries_its_run_out_by_itself() {
    let bench = Bench::new(&[]);
    bench.configure(GROUPS);

    let start = bench.output(&["start", "--server", "1001"]);

    assert_eq!(start.status.code(), Some(0), "{}", String::from_utf8_lossy(&start.stderr));
    assert_eq!(bench.history()[0]["outcome"], "done");
    assert!(String::from_utf8_lossy(&bench.output(&["status"]).stdout).contains("no daemon is running"));
}

#[test]
fn a_daemon_waits_for_a_command_that_holds_the_journal() {
    let bench = Bench::new(&["--servers", "1", "--boot", "4s"]);
    bench.configure("[groups.web]\nservers = [\"1001\"]\n");
    let mut command = bench.command(&["start", "web"]).spawn().unwrap();
    until("the command has asked", || (!bench.requests("startServerInstances").is_empty()).then_some(()));

    let _daemon = bench.daemon_in_force();

    assert!(bench.daemon_log().contains("a command holds the journal"), "{}", bench.daemon_log());
    assert!(command.wait().unwrap().success());
    assert_eq!(bench.requests("startServerInstances").len(), 1);
}

#[test]
fn what_a_daemon_left_open_is_shown_while_nobody_goes_on_with_it() {
    let bench = Bench::new(&["--servers", "1", "--boot", "1h"]);
    bench.configure("[groups.web]\nservers = [\"1001\"]\n");
    let mut daemon = bench.daemon_in_force();
    let mut command = bench.command(&["start", "web"]).spawn().unwrap();
    until("the start was asked for", || (!bench.requests("startServerInstances").is_empty()).then_some(()));
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    command.wait().unwrap();

    let shown = bench.shown(&["status"]);
    let status = &json_lines(&bench.shown(&["status", "--json"]))[0];

    assert!(shown.contains("left open") && shown.contains("1001"), "{shown}");
    assert_eq!(status["open_runs"][0]["targets"][0]["server"], "1001", "{status}");
    assert!(bench.shown(&["why", "1001"]).contains("not ended yet"));
    let no_journal = bench.command(&["why", "1001"]).env("STATE_DIRECTORY", "/nowhere").output().unwrap();
    let no_journal = String::from_utf8_lossy(&no_journal.stdout).into_owned();
    assert!(no_journal.contains("what became of it is not known"), "{no_journal}");
}

#[test]
fn mistakes_on_the_command_line_are_told_with_the_remedy() {
    let bench = Bench::new(&[]);
    bench.configure(GROUPS);
    let _daemon = bench.daemon_in_force();
    let table: [(&[&str], i32, &str); 12] = [
        (&["start", "wbe"], 2, "the configuration has `web`"),
        (&["start"], 2, "name a group, or a server with --server"),
        (&["start", "--server", "abc"], 2, "no server `abc` is known"),
        (&["start", "web", "--ignore-dependents"], 2, "goes with stop"),
        (&["groups", "wbe"], 2, "the configuration has `web`"),
        (&["history", "99"], 2, "there is no run 99"),
        (&["plan", "--from", "soon"], 2, "is no moment"),
        (&["plan", "--against", "missing.toml"], 78, "is the path right?"),
        (&["notify", "test", "you"], 2, "there is no notifier `you`"),
        (&["plan", "--rule", "none"], 2, "there is no rule `none`"),
        (&["plan", "--days", "0"], 2, "1..=3700"),
        (&["strat"], 2, "start"),
    ];

    for (arguments, code, words) in table {
        let output = bench.output(arguments);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
        assert!(shown.contains(words), "{arguments:?}: {shown}");
    }
}

#[test]
fn the_demo_survives_its_own_faults_and_ends_by_itself() {
    let output = Command::new(env!("CARGO_BIN_EXE_sunup"))
        .env_clear()
        .args(["demo", "--for", "45s"])
        .output()
        .unwrap();

    let (told, summary) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(0), "{told}\n{summary}");
    for part in ["asking the cloud to start", "is at NSTOP/START", "is at RUN/SETUP", "started", "stopped"] {
        assert!(told.contains(part), "{part} is missing in:\n{told}");
    }
    assert!(
        summary.contains("1 answers 429, 1 answers 5xx that hid what was done, 1 servers that fell back"),
        "{summary}"
    );
}

#[test]
fn quiet_leaves_results_and_errors_alone() {
    let bench = Bench::new(&[]);
    bench.configure(
        "[groups.web]\nservers = [\"1001\"]\n[rules.far]\nat = \"2099-01-01T00:00:00Z\"\nstart = [\"web\"]\n",
    );
    let of = |arguments: &[&str]| {
        let output = bench.output(arguments);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };

    let (out, words) = of(&["plan", "--from", "2098-12-31", "--to", "2099-02-01"]);
    let (quiet, none) = of(&["plan", "--from", "2098-12-31", "--to", "2099-02-01", "--quiet"]);

    assert!(words.contains("zone data") && out.contains("far"), "{out}{words}");
    assert_eq!((quiet, none), (out, String::new()));
    let (_, error) = of(&["-q", "history", "99"]);
    assert!(error.contains("there is no run 99") || error.contains("journal"), "{error}");
}
