//! `strace` around the daemon: what it asks of the system, and system calls that fail or kill as the test wants.

use std::fs;
use std::process::Command;

use crate::support::{Bench, Process};
use crate::wait::until;

/// The files of the journal; what concerns other files is left alone.
fn journal_paths(bench: &Bench) -> Vec<String> {
    ["sunup.db", "sunup.db-wal", "sunup.db-journal"]
        .iter()
        .flat_map(|name| ["-P".to_owned(), bench.path(name).display().to_string()])
        .collect()
}

/// Starts the daemon under `strace`, which looks at the journal's files alone. The process is the daemon itself.
///
/// Without a filter in the kernel: with one, this version injects errors but no signals.
pub(crate) fn start(bench: &Bench, options: &[&str]) -> Process {
    let log = bench.path("strace.log").display().to_string();
    let paths = journal_paths(bench);
    let mut wrapper = vec!["strace", "-D", "-f", "-o", &log];
    wrapper.extend(paths.iter().map(String::as_str));
    wrapper.extend(options);
    bench.daemon_by(&wrapper, &[])
}

/// Starts the daemon under `strace` with the options alone.
pub(crate) fn start_seeing_all(bench: &Bench, options: &[&str]) -> Process {
    let log = bench.path("strace.log").display().to_string();
    let mut wrapper = vec!["strace", "-D", "-f", "--seccomp-bpf", "-o", &log];
    wrapper.extend(options);
    bench.daemon_by(&wrapper, &[])
}

/// Attaches `strace` to a daemon that runs, and waits until it holds every thread.
pub(crate) fn attach(bench: &Bench, daemon: &Process, options: &[&str]) -> Process {
    let pid = daemon.0.id().to_string();
    let mut command = Command::new("strace");
    command.args(["-f", "-q", "-o"]).arg(bench.path("strace.log")).args(["-p", &pid]);
    command.args(journal_paths(bench)).args(options);
    let tracer = Process(command.spawn().unwrap());
    let tasks = format!("/proc/{pid}/task");
    until("strace holds every thread", || {
        let mut threads = fs::read_dir(&tasks).ok()?;
        threads
            .all(|thread| {
                let status = thread.and_then(|thread| fs::read_to_string(thread.path().join("status")));
                status.is_ok_and(|status| {
                    status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
                })
            })
            .then_some(())
    });
    tracer
}

/// What `strace` has written.
pub(crate) fn log(bench: &Bench) -> String {
    fs::read_to_string(bench.path("strace.log")).unwrap_or_default()
}
