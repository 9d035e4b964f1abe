//! What the daemon asks of the system lies within what its unit allows, and it opens only the files that it must.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::support::{Bench, in_seconds};
use crate::tracer;
use crate::wait::until;

/// The names of a set of system calls as systemd has it, sets within it resolved.
fn set(name: &str) -> BTreeSet<String> {
    let output = Command::new("systemd-analyze").args(["syscall-filter", name]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names = BTreeSet::new();
    for word in text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if word.starts_with('@') {
            names.extend(set(word));
        } else {
            names.insert(word.to_owned());
        }
    }
    assert!(!names.is_empty(), "{name}: {text}");
    names
}

/// The system calls that the unit lets through.
fn allowed() -> BTreeSet<String> {
    let unit = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/sunup.service")).unwrap();
    let mut allowed = BTreeSet::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (takes_away, sets) = line.strip_prefix('~').map_or((false, line), |sets| (true, sets));
        for name in sets.split_whitespace() {
            let names = set(name);
            match takes_away {
                true => allowed.retain(|call| !names.contains(call)),
                false => allowed.extend(names),
            }
        }
    }
    allowed
}

/// The calls of a log of `strace`: their names, and the whole lines.
fn calls(log: &str) -> Vec<(&str, &str)> {
    log.lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(' ')?;
            let rest = rest.trim_start();
            let (name, _) = rest.split_once('(')?;
            let is_name = !name.is_empty()
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            is_name.then_some((name, rest))
        })
        .collect()
}

/// What may be read outside of its own folders: zone data, roots, and what the loader, libc, its resolver and its programs need.
const READ: [&str; 18] = [
    "/usr/share/zoneinfo",
    "/usr/lib",
    "/usr/local/lib",
    "/lib",
    "/etc/ld.so",
    "/etc/ssl",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/proc/",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/dev/null",
    // SQLite's randomness.
    "/dev/urandom",
];

#[test]
fn a_whole_morning_stays_within_the_units_filter_and_opens_no_file_that_it_need_not() {
    let bench = Bench::new(&["--servers", "2"]);
    let due = in_seconds(8);
    bench.configure(&format!(
        "[groups.web]\nservers = [\"1001\"]\n[groups.gone]\nservers = [\"9999\"]\n\
         [rules.web]\nat = \"{due}\"\nstart = [\"web\"]\n[rules.gone]\nat = \"{due}\"\nstart = [\"gone\"]\n\
         [notify.ops]\nkind = \"command\"\ncommand = [\"/bin/true\"]\ndigest = \"1s\"\n\
         [http]\nlisten = \"unix:{}\"\n",
        bench.path("http.sock").display()
    ));
    let log = bench.path("strace.log");
    let wrapper = ["strace", "-D", "-f", "-s", "300", "-o", log.to_str().unwrap()];
    let mut daemon = bench.daemon_by(&wrapper, &[]);
    bench.wait_until_in_force();
    bench.ended(1);
    bench.shown(&["reload"]);
    bench.shown(&["pause", "group:web", "--until", "2037-01-01"]);
    bench.shown(&["backup", bench.path("copy.db").to_str().unwrap()]);
    until("the program that tells people ran", || tracer::log(&bench).contains("/bin/true").then_some(()));
    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(), 0);

    let text = tracer::log(&bench);
    let seen = calls(&text);
    let names: BTreeSet<&str> = seen.iter().map(|(name, _)| *name).collect();
    for must in ["openat", "connect", "timerfd_create", "fsync", "execve"] {
        assert!(names.contains(must), "{must} is not in {names:?}");
    }
    let mut allowed = allowed();
    // SQLite gives its files back to their owner if it is root, as this test may be and the unit is not.
    if rustix::process::geteuid().is_root() {
        allowed.insert("fchown".into());
    }
    let outside: Vec<&&str> = names.iter().filter(|name| !allowed.contains(**name)).collect();
    assert!(outside.is_empty(), "the unit would not let these through: {outside:?}");

    let own = bench.path("");
    let own = own.to_str().unwrap().trim_end_matches('/');
    let program = env!("CARGO_BIN_EXE_sunup");
    let mut odd = BTreeSet::new();
    for (name, line) in seen {
        let is_open = matches!(name, "open" | "openat" | "creat") && !line.contains("= -1 ");
        let Some(path) = line.split('"').nth(1).filter(|_| is_open) else { continue };
        let writes = line.contains("O_WRONLY") || line.contains("O_RDWR") || line.contains("O_CREAT");
        let is_own = path.starts_with(own) || path.starts_with(program);
        let may_read = READ.iter().any(|begin| path.starts_with(begin));
        if !(is_own || may_read && (!writes || path == "/dev/null")) {
            odd.insert(line.to_owned());
        }
    }
    assert!(odd.is_empty(), "opened although nothing needs it: {odd:#?}");
}
