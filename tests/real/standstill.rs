//! A process, a clock and a machine that fail: stopped, a clock that is set or runs too fast, no descriptors, no memory, another
//! user. No test sets the machine's clock: `faketime` shows the daemon another one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

use crate::points::{judge, many, morning};
use crate::support::{Bench, Process, in_seconds};
use crate::wait::{HANG, until, until_seldom};

fn rule(due: &jiff::Timestamp, more: &str) -> String {
    format!("[groups.web]\nservers = [\"1001\"]\n[rules.up]\nat = \"{due}\"\nstart = [\"web\"]\n{more}")
}

#[test]
fn a_process_that_stood_still_goes_on_within_the_window() {
    let bench = Bench::new(&["--servers", "1"]);
    let due = in_seconds(3);
    bench.configure(&rule(&due, ""));
    let daemon = bench.daemon_in_force();

    daemon.signal("STOP");
    bench.wait_for(due + jiff::SignedDuration::from_secs(3));
    daemon.signal("CONT");

    judge(&bench, 1, "stopped for a while");
}

#[test]
fn a_process_that_stood_still_beyond_the_window_records_the_miss_and_its_cause() {
    let bench = Bench::new(&["--servers", "1"]);
    let due = in_seconds(3);
    bench.configure(&rule(&due, "window = \"15s\"\n"));
    let daemon = bench.daemon_in_force();

    daemon.signal("STOP");
    bench.wait_for(due + jiff::SignedDuration::from_secs(16));
    daemon.signal("CONT");

    let missed = until_seldom("the miss is recorded", || bench.history().pop());
    assert!(missed.to_string().contains("stalled"), "{missed}");
    assert!(bench.requests("startServerInstances").is_empty());
    bench.audit();
}

/// The library that shows a process another clock.
fn faketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join("faketime"));
    let mut found =
        folders.map(|folder| folder.join("libfaketimeMT.so.1")).filter(|library| library.exists());
    found.next().expect("the Debian package `faketime` is missing; scripts/test installs it")
}

/// A daemon whose wall clock is what a file says; time since boot stays what it is.
struct Faked<'bench> {
    bench: &'bench Bench,
    daemon: Process,
}

impl<'bench> Faked<'bench> {
    fn start(bench: &'bench Bench, clock: &str) -> Self {
        set(bench, clock);
        let library = faketime().display().to_string();
        let file = bench.path("clock").display().to_string();
        let environment = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", file.as_str()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let daemon = bench.daemon_by(&["env"], &environment);
        Self { bench, daemon }
    }

    fn says(&self, words: &str) {
        until(words, || self.bench.daemon_log().contains(words).then_some(()));
    }
}

fn set(bench: &Bench, clock: &str) {
    // In one step: a file that is half written would be a third clock.
    fs::write(bench.path("clock.new"), format!("{clock}\n")).unwrap();
    fs::rename(bench.path("clock.new"), bench.path("clock")).unwrap();
}

#[test]
fn a_start_under_a_wrong_clock_acts_on_nothing_says_why_and_begins_once_it_is_right() {
    for wrong in ["+400d", "-400d", "+10d", "-10d", "+61s"] {
        let bench = Bench::new(&["--servers", "1"]);
        let due = in_seconds(4);
        bench.configure(&rule(&due, ""));
        let faked = Faked::start(&bench, wrong);
        faked.says("differs from the cloud's by");
        bench.wait_for(due + jiff::SignedDuration::from_secs(1));
        assert!(bench.requests("startServerInstances").is_empty(), "{wrong}");

        set(&bench, "+0");

        until("rules are in force", || bench.daemon_log().contains("rules are in force").then_some(()));
        judge(&bench, 1, wrong);
        drop(faked);
    }
}

#[test]
fn a_clock_that_jumps_before_due_and_is_set_right_again_loses_nothing() {
    for wrong in ["+400d", "-400d", "+1d", "-2h"] {
        let bench = Bench::new(&["--servers", "1"]);
        let due = in_seconds(8);
        bench.configure(&rule(&due, ""));
        let faked = Faked::start(&bench, "+0");
        bench.wait_until_in_force();

        set(&bench, wrong);
        faked.says("the clock jumped");
        bench.wait_for(due + jiff::SignedDuration::from_secs(1));
        assert!(bench.requests("startServerInstances").is_empty(), "{wrong}: {}", bench.daemon_log());
        set(&bench, "+0");

        judge(&bench, 1, wrong);
    }
}

#[test]
fn a_small_step_is_noticed_and_goes_on() {
    for step in ["+1", "-1"] {
        let bench = Bench::new(&["--servers", "1"]);
        bench.configure(&rule(&in_seconds(8), ""));
        let faked = Faked::start(&bench, "+0");
        bench.wait_until_in_force();

        set(&bench, step);
        faked.says("the clock was set by");

        let run = bench.ended(1).remove(0);
        assert_eq!(run["outcome"], "done", "{step}: {run}\n{}", bench.daemon_log());
        drop(faked);
    }
}

#[test]
fn a_clock_that_runs_ten_times_too_fast_fires_nothing_and_says_so() {
    let bench = Bench::new(&["--servers", "1"]);
    let due = in_seconds(600);
    bench.configure(&rule(&due, ""));
    let mut faked = Faked::start(&bench, "+0");
    bench.wait_until_in_force();

    set(&bench, "+0 x10");
    // Each second is a step of nine; after a minute in all the cloud's clock no longer agrees.
    faked.says("the clock was set by");
    let began = in_seconds(0);
    bench.wait_for(began + jiff::SignedDuration::from_secs(20));

    assert!(bench.requests("startServerInstances").is_empty(), "{}", bench.daemon_log());
    faked.daemon.signal("TERM");
    assert_eq!(faked.daemon.exit_code(), 0);
}

/// Sets a limit of a process that runs.
fn limit(daemon: &Process, what: &str) {
    let status = Command::new("prlimit").args(["--pid", &daemon.0.id().to_string(), what]).status().unwrap();
    assert!(status.success(), "{what}");
}

#[test]
fn without_descriptors_nothing_is_lost_and_it_goes_on_when_there_are_some() {
    let bench = Bench::new(&["--servers", "1"]);
    let due = in_seconds(4);
    bench.configure(&rule(&due, ""));
    let daemon = bench.daemon_in_force();

    // What is open stays open, a connection to the cloud perhaps among it; nothing new can be opened.
    limit(&daemon, "--nofile=4:");
    bench.wait_for(due + jiff::SignedDuration::from_secs(2));
    limit(&daemon, "--nofile=1024:");

    judge(&bench, 1, "without descriptors");
}

#[test]
fn a_morning_of_many_servers_fits_into_a_limited_memory() {
    let bench = Bench::new(&["--servers", "400"]);
    bench.configure(&many(400));
    let _daemon = bench.daemon_by(&["prlimit", "--as=1073741824", "--data=134217728"], &[]);

    judge(&bench, 1, "limited memory");
}

#[test]
fn a_process_that_can_have_no_more_memory_loses_and_doubles_nothing() {
    let bench = Bench::new(&["--servers", "400"]);
    bench.configure(&many(400));
    let mut daemon = bench.daemon_in_force();
    limit(&daemon, "--data=1:-1");

    // It may go on with what it has, or end; then systemd starts it again, without the limit of before.
    until("the run has begun", || {
        (!bench.requests("startServerInstances").is_empty())
            .then_some(())
            .or_else(|| daemon.0.try_wait().unwrap().map(|_| ()))
    });
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    let _daemon = bench.daemon();

    judge(&bench, 1, "no more memory");
}

#[test]
fn another_user_with_a_credentials_folder_and_a_notify_socket_is_all_it_needs() {
    let bench = Bench::new(&["--servers", "1"]);
    let (rules, _) = morning("start");
    bench.configure(&rules);
    let text = fs::read_to_string(bench.path("sunup.toml")).unwrap();
    let folder = bench.path("").display().to_string();
    let text = text
        .replace(&format!("{{ file = \"{folder}access\" }}"), "{ credential = \"access\" }")
        .replace(&format!("{{ file = \"{folder}secret\" }}"), "{ credential = \"secret\" }");
    assert_eq!(text.matches("credential").count(), 2, "{text}");
    fs::write(bench.path("sunup.toml"), text).unwrap();
    let socket = UnixDatagram::bind(bench.path("notify.sock")).unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();

    let credentials = bench.path("credentials");
    fs::create_dir(&credentials).unwrap();
    for name in ["access", "secret"] {
        fs::rename(bench.path(name), credentials.join(name)).unwrap();
    }
    let wrapper = as_nobody(&bench);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let environment = [
        ("CREDENTIALS_DIRECTORY", credentials.display().to_string()),
        ("NOTIFY_SOCKET", bench.path("notify.sock").display().to_string()),
        ("WATCHDOG_USEC", "10000000".to_owned()),
    ];
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut daemon = bench.daemon_by(&wrapper, &environment);

    heard(&socket, "READY=1");
    heard(&socket, "WATCHDOG=1");
    judge(&bench, 1, "another user");
    let group = fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).unwrap();
    assert!(!group.contains("CapEff:\t000001ff"), "it still has the powers of root: {group}");
    daemon.signal("TERM");
    heard(&socket, "STOPPING=1");
    assert_eq!(daemon.exit_code(), 0);
}

/// How to run as a user who owns the bench and nothing else; as ourselves where we are not root and cannot change.
fn as_nobody(bench: &Bench) -> Vec<String> {
    const NOBODY: u32 = 65_534;
    let is_root = fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t");
    if !is_root {
        return vec!["env".to_owned()];
    }
    let own = |path: PathBuf| {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        path
    };
    for entry in fs::read_dir(own(bench.path(""))).unwrap() {
        own(entry.unwrap().path());
    }
    for entry in fs::read_dir(bench.path("credentials")).unwrap() {
        own(entry.unwrap().path());
    }
    // The build folder may be closed to others.
    let program = bench.path("sunup");
    fs::copy(env!("CARGO_BIN_EXE_sunup"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let change = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c"];
    let mut wrapper: Vec<String> = change.map(str::to_owned).to_vec();
    // The program is named again, by the path that this user can read.
    wrapper.push(format!("shift; exec {} \"$@\"", program.display()));
    wrapper.push("sh".to_owned());
    wrapper
}

/// Waits until the service manager's socket hears a word.
fn heard(socket: &UnixDatagram, word: &str) {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{word} was not told: {error}"));
        if String::from_utf8_lossy(&buffer[..length]).contains(word) {
            return;
        }
    }
}
