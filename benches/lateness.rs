//! How late a request arrives after its due moment: the real daemon with its journal on disk against the sandbox over a real socket,
//! alone and with 500 slow clients on its listener. `cargo bench --bench lateness [-- MOMENTS]`; one moment a second.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sunup::adapters::clock::SystemClock;
use sunup::ports::clock::Clock;

/// How many moments there are, unless the command line says otherwise.
const MOMENTS: u32 = 100;
/// How many clients send a byte now and then.
const SLOW: usize = 500;

/// A process that is killed at the end.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunup"));
    command.env("STATE_DIRECTORY", folder).env("RUNTIME_DIRECTORY", folder).stdin(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "a measurement waits for real time")]
fn pause(span: Duration) {
    thread::sleep(span);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let moments = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(MOMENTS);
    for slow in [0, SLOW] {
        let mut late = measured(moments, slow)?;
        late.sort_unstable();
        let at = |share: usize| {
            let index = (late.len() * share / 100).min(late.len().saturating_sub(1));
            late.get(index).copied().unwrap_or_default()
        };
        let early = late.iter().filter(|late| **late < 0).count();
        println!(
            "{slow:>3} slow clients: {} of {moments} arrived; p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; {early} early",
            late.len(),
            ms(at(50)),
            ms(at(99)),
            ms(late.last().copied().unwrap_or_default())
        );
    }
    Ok(())
}

/// Microseconds in milliseconds.
fn ms(micros: i64) -> f64 {
    Duration::from_micros(micros.unsigned_abs()).as_secs_f64() * 1000.0 * if micros < 0 { -1.0 } else { 1.0 }
}

/// The microseconds from each due moment to the arrival of its request.
fn measured(moments: u32, slow: usize) -> Result<Vec<i64>, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let mut sandbox = program(folder.path());
    sandbox.args(["sandbox", "--listen", "127.0.0.1:0", "--servers", &moments.to_string(), "--log"]);
    sandbox.arg(at("sandbox.log")).stdout(Stdio::from(fs::File::create(at("address"))?));
    let _sandbox = Ended(sandbox.spawn()?);
    let endpoint = loop {
        let text = fs::read_to_string(at("address"))?;
        if let Some((_, address)) = text.trim().rsplit_once(' ') {
            break address.to_owned();
        }
        pause(Duration::from_millis(20));
    };
    for key in ["access", "secret"] {
        fs::write(at(key), key)?;
        fs::set_permissions(at(key), fs::Permissions::from_mode(0o600))?;
    }
    let shown = folder.path().display();
    let mut text = format!(
        "timezone = \"UTC\"\n[limits]\nrequests_per_hour = 100000\n[http]\nlisten = \"127.0.0.1:0\"\n[accounts.main]\nregion = \"KR\"\n\
         endpoint = \"{endpoint}\"\nrate = 100\naccess_key = {{ file = \"{shown}/access\" }}\nsecret_key = {{ file = \"{shown}/secret\" }}\n"
    );
    let soon = SystemClock.now() + SignedDuration::from_secs(10);
    let first = Timestamp::from_second(soon.as_second())?;
    let mut due = Vec::new();
    for n in 0..moments {
        let moment = first + SignedDuration::from_millis(i64::from(n) * 1000);
        let server = 1001 + n;
        text.push_str(&format!(
            "[groups.g{n}]\nservers = [\"{server}\"]\n[rules.r{n}]\nat = \"{moment}\"\nstart = [\"g{n}\"]\n"
        ));
        due.push((server.to_string(), moment));
    }
    fs::write(at("sunup.toml"), text)?;
    let mut daemon = program(folder.path());
    daemon.arg("run").arg("--config").arg(at("sunup.toml")).arg("--socket").arg(at("control"));
    let _daemon = Ended(daemon.stderr(Stdio::from(fs::File::create(at("log"))?)).spawn()?);
    let mut clients = Vec::new();
    if slow > 0 {
        let address = loop {
            let log = fs::read_to_string(at("log"))?;
            if SystemClock.now() > first {
                return Err(format!("the daemon does not listen: {log}").into());
            }
            if let Some((_, rest)) = log.split_once("metrics and health are at ") {
                break rest.split(['"', ' ', '\n']).next().unwrap_or_default().to_owned();
            }
            pause(Duration::from_millis(20));
        };
        for _ in 0..slow {
            let mut client = TcpStream::connect(&address)?;
            let _ = client.write_all(b"GET /metrics HT");
            clients.push(client);
        }
    }
    let end = first + SignedDuration::from_millis(i64::from(moments) * 1000 + 3000);
    while SystemClock.now() < end {
        for client in &mut clients {
            let _ = client.write_all(b"T");
        }
        pause(Duration::from_secs(1));
    }
    arrivals(&fs::read_to_string(at("sandbox.log"))?, &due)
}

fn arrivals(log: &str, due: &[(String, Timestamp)]) -> Result<Vec<i64>, Box<dyn std::error::Error>> {
    let mut late = Vec::new();
    for line in log.lines().filter(|line| line.contains("startServerInstances")) {
        let line: Value = serde_json::from_str(line)?;
        let (Some(at), Some(servers)) = (line["at"].as_i64(), line["servers"].as_array()) else { continue };
        if line["kind"] != "request" {
            continue;
        }
        for (_, moment) in due.iter().filter(|(server, _)| servers.iter().any(|no| no == server)) {
            late.push(at - moment.as_microsecond());
        }
    }
    Ok(late)
}
