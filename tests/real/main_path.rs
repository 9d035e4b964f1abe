//! From a rule in a file to a server that runs.

use std::process::Stdio;

use crate::support::{Bench, in_seconds, json_lines, micros, moment};
use crate::wait::until;

#[test]
fn the_request_leaves_at_the_due_second_and_plan_history_log_and_sandbox_agree() {
    let bench = Bench::new(&["--servers", "3", "--strict"]);
    let due = in_seconds(5);
    bench.configure(&format!(
        "[groups.web]\nservers = [\"1001\", \"1002\"]\n[rules.launch]\nat = \"{due}\"\nstart = [\"web\"]\n"
    ));
    let planned = json_lines(&String::from_utf8(bench.output(&["plan", "--json"]).stdout).unwrap());
    let mut daemon = bench.daemon();

    let run = bench.ended(1).remove(0);

    assert_eq!(planned.len(), 1);
    assert_eq!(planned[0]["due"], run["due"]);
    assert_eq!(moment(&run["due"]), due);
    assert_eq!((run["outcome"].as_str(), run["rule"].as_str()), (Some("done"), Some("launch")));
    let starts = bench.requests("startServerInstances");
    assert_eq!(starts.len(), 1, "{starts:?}");
    assert_eq!(starts[0]["servers"], serde_json::json!(["1001", "1002"]));
    assert_eq!(starts[0]["signature"], "valid");
    let late = micros(&starts[0]) - due.as_microsecond();
    assert!((0..1_000_000).contains(&late), "the request arrived {late} µs after due");
    for target in run["targets"].as_array().unwrap() {
        assert_eq!((target["outcome"].as_str(), target["attempts"].as_i64()), (Some("started"), Some(1)));
        assert_eq!(moment(&target["requested_at"]).as_second(), due.as_second());
        let no = target["server"].as_str().unwrap();
        let running = bench
            .sandbox_log()
            .into_iter()
            .find(|line| {
                line["kind"] == "state"
                    && line["servers"][0] == no
                    && line["status"] == "RUN"
                    && line["operation"] == "NULL"
            })
            .unwrap();
        assert!(
            moment(&target["confirmed_at"]).as_microsecond() >= micros(&running),
            "started was told before it ran"
        );
    }
    let log = bench.daemon_log();
    let told = json_lines(&log)
        .into_iter()
        .any(|line| line["run.outcome"] == "done" && line["run.id"] == run["run"]);
    assert!(told, "{log}");
    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(), 0);
}

#[test]
fn a_cron_rule_with_seconds_starts_and_stops_and_finds_what_is_there_already() {
    let bench = Bench::new(&["--servers", "2"]);
    bench.configure(
        "[groups.web]\nservers = [\"1001\"]\n\
         [rules.up]\ncron = \"0,20,40 * * * * *\"\nseconds = true\nstart = [\"web\"]\n\
         [rules.down]\ncron = \"10,30,50 * * * * *\"\nseconds = true\nstop = [\"web\"]\n",
    );
    let _daemon = bench.daemon();

    let runs = bench.ended(3);

    for run in &runs {
        assert_eq!(run["outcome"], "done", "{run}");
        let word = run["targets"][0]["outcome"].as_str().unwrap();
        let fine = matches!(
            (run["action"].as_str().unwrap(), word),
            ("start", "started") | ("stop", "stopped" | "already")
        );
        assert!(fine, "{run}");
        assert_eq!(moment(&run["due"]).as_second() % 10, 0);
    }
}

#[test]
fn a_lost_answer_is_looked_after_and_the_server_is_not_asked_twice() {
    let bench = Bench::new(&["--servers", "1"]);
    let faults = "[[fault]]\non = \"startServerInstances\"\nnth = 1\ndo = \"reset\"\neffect = \"before\"\n";
    bench.configure("[groups.web]\nservers = [\"1001\"]\n");
    let _daemon = bench.daemon_in_force();
    admin(&bench, faults);

    let output = bench.output(&["start", "web", "--json"]);

    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let run = json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0);
    assert_eq!(run["targets"][0]["outcome"], "started");
    assert_eq!(run["attempt_list"][0]["result"], "unanswered");
    assert_eq!(bench.requests("startServerInstances").len(), 1);
}

#[test]
fn one_bad_server_of_a_batch_does_not_block_the_others() {
    let bench = Bench::new(&["--servers", "5"]);
    // 1009 does not exist.
    bench.configure("[groups.web]\nservers = [\"1001\", \"1002\", \"1009\", \"1003\"]\n");
    let _daemon = bench.daemon_in_force();

    let output = bench.output(&["start", "web", "--json"]);

    assert_eq!(output.status.code(), Some(3));
    let run = json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0);
    assert_eq!(run["outcome"], "partial");
    for target in run["targets"].as_array().unwrap() {
        let want = if target["server"] == "1009" { "skipped" } else { "started" };
        assert_eq!(target["outcome"], want, "{target}");
    }
}

#[test]
fn refused_keys_hold_their_targets_until_the_windows_end_and_are_told_at_once() {
    let bench = Bench::new(&["--servers", "1"]);
    std::fs::write(bench.path("secret"), "wrong\n").unwrap();
    bench.configure(&format!(
        "[groups.web]\nservers = [\"1001\"]\n[rules.launch]\nat = \"{}\"\nstart = [\"web\"]\nwindow = \"15s\"\n",
        in_seconds(3)
    ));
    let _daemon = bench.daemon();

    let run = bench.ended(1).remove(0);

    assert_eq!(
        (run["outcome"].as_str(), run["targets"][0]["outcome"].as_str()),
        (Some("missed"), Some("missed"))
    );
    assert!(run["targets"][0]["reason"].as_str().unwrap().starts_with("credentials"), "{run}");
    assert!(bench.daemon_log().contains("Check the keys"), "{}", bench.daemon_log());
}

#[test]
fn a_shutdown_waits_for_the_request_on_the_wire_and_the_next_start_goes_on() {
    let bench = Bench::new(&["--servers", "1"]);
    bench.configure("[groups.web]\nservers = [\"1001\"]\n");
    let mut daemon = bench.daemon_in_force();
    admin(&bench, "[[fault]]\non = \"startServerInstances\"\ndo = \"delay\"\nby = \"3s\"\n");
    let mut command =
        bench.command(&["start", "web"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the request is on the wire", || {
        (!bench.requests("startServerInstances").is_empty()).then_some(())
    });

    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(), 0);
    let _ = command.kill();
    let _ = command.wait();
    let open = bench.history();
    assert!(open[0]["outcome"].is_null() && open[0]["targets"][0]["state"] == "moving", "{open:?}");

    let _daemon = bench.daemon();
    let run = bench.ended(1).remove(0);
    assert_eq!(run["targets"][0]["outcome"], "started");
    assert_eq!(bench.requests("startServerInstances").len(), 1);
}

/// Adds faults over the sandbox's admin endpoint.
pub(crate) fn admin(bench: &Bench, faults: &str) {
    use std::io::{Read, Write};
    let address = bench.endpoint.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = faults.len();
    write!(stream, "POST /sandbox/faults HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{faults}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"added\":1"), "{answer}");
}
