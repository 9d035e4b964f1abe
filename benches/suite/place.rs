//! A sandbox and a daemon as real processes, and what the system says of a process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sunup::adapters::clock::SystemClock;
use sunup::ports::clock::Clock;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// A process that is killed at the end.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tells how long something takes.
pub(crate) struct Watch(Duration);

impl Watch {
    pub(crate) fn start() -> Self {
        Self(SystemClock.read().boot)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        SystemClock.read().boot.saturating_sub(self.0)
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement waits for real time")]
pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// Waits until something is there, and not for ever.
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    let began = Watch::start();
    loop {
        if let Some(found) = found() {
            return Ok(found);
        }
        if began.elapsed() > Duration::from_secs(300) {
            return Err(format!("never came: {what}").into());
        }
        pause(Duration::from_millis(2));
    }
}

/// A folder with a sandbox that serves so many servers.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) endpoint: String,
    _sandbox: Ended,
}

impl Place {
    pub(crate) fn new(servers: usize, boot: &str) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        for key in ["access", "secret"] {
            let path = folder.path().join(key);
            fs::write(&path, key)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        }
        let mut sandbox = program(&folder);
        sandbox.args(["sandbox", "--listen", "127.0.0.1:0", "--servers", &servers.max(1).to_string()]);
        sandbox.args(["--boot", boot, "--log"]).arg(folder.path().join("sandbox.log"));
        let address = folder.path().join("address");
        let sandbox = Ended(sandbox.stdout(Stdio::from(fs::File::create(&address)?)).spawn()?);
        let endpoint = until("the sandbox's address", || {
            let text = fs::read_to_string(&address).ok()?;
            Some(text.strip_suffix('\n')?.rsplit_once(' ')?.1.to_owned())
        })?;
        Ok(Self { folder, endpoint, _sandbox: sandbox })
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a configuration: limits open, and what is added.
    pub(crate) fn configure(&self, more: &str) -> Result<(), Failure> {
        let folder = self.folder.path().display();
        let text = format!(
            "timezone = \"UTC\"\n[limits]\nrequests_per_hour = 100000\nservers_per_run = 100000\n[accounts.main]\nregion = \"KR\"\n\
             endpoint = \"{}\"\nrate = 10000\naccess_key = {{ file = \"{folder}/access\" }}\n\
             secret_key = {{ file = \"{folder}/secret\" }}\n{more}",
            self.endpoint
        );
        Ok(fs::write(self.at("sunup.toml"), text)?)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(&self.folder);
        command.args(arguments).arg("--config").arg(self.at("sunup.toml"));
        command.arg("--socket").arg(self.at("control"));
        command
    }

    /// Starts the daemon and returns it with the seconds until its rules are in force.
    pub(crate) fn daemon(&self) -> Result<(Ended, f64), Failure> {
        self.up(self.command(&["run"]))
    }

    /// Starts the daemon so that each sync is a line of the file `syncs`; `None` where there is no `strace`.
    pub(crate) fn daemon_with_syncs(&self) -> Result<Option<Ended>, Failure> {
        if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
            return Ok(None);
        }
        let daemon = self.command(&["run"]);
        let mut traced = Command::new("strace");
        // Beside the daemon instead of above it: whoever ends the daemon ends this too.
        traced
            .args(["-D", "-f", "-qq", "-y", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o"])
            .arg(self.at("syncs"));
        traced.arg(daemon.get_program()).args(daemon.get_args()).stdin(Stdio::null());
        for (name, value) in daemon.get_envs() {
            traced.env(name, value.unwrap_or_default());
        }
        Ok(Some(self.up(traced)?.0))
    }

    fn up(&self, mut command: Command) -> Result<(Ended, f64), Failure> {
        let log = self.at("log");
        let began = Watch::start();
        let mut daemon = Ended(command.envs(given()).stderr(Stdio::from(fs::File::create(&log)?)).spawn()?);
        until("the daemon is up", || {
            let is_up = fs::read_to_string(&log).ok()?.contains("rules are in force");
            (is_up || daemon.0.try_wait().ok()?.is_some()).then_some(())
        })?;
        if let Some(ended) = daemon.0.try_wait()? {
            return Err(format!("the daemon ended with {ended}: {}", fs::read_to_string(&log)?).into());
        }
        Ok((daemon, began.elapsed().as_secs_f64()))
    }

    /// The seconds that a command takes, which must end well.
    pub(crate) fn timed(&self, arguments: &[&str]) -> Result<f64, Failure> {
        let began = Watch::start();
        let mut command = self.command(arguments);
        let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        match ended.success() {
            true => Ok(began.elapsed().as_secs_f64()),
            false => Err(format!("sunup {arguments:?} ended with {ended}").into()),
        }
    }

    /// Each start request that arrived: microseconds, and its servers.
    pub(crate) fn starts(&self) -> Result<Vec<(i64, Vec<String>)>, Failure> {
        let mut starts = Vec::new();
        for line in fs::read_to_string(self.at("sandbox.log"))?.lines() {
            if !line.contains("startServerInstances") {
                continue;
            }
            let line: Value = serde_json::from_str(line)?;
            let servers = line["servers"].as_array().into_iter().flatten();
            let servers = servers.filter_map(Value::as_str).map(ToOwned::to_owned).collect();
            starts.extend(line["at"].as_i64().map(|at| (at, servers)));
        }
        Ok(starts)
    }
}

/// The unit by which the program is mostly run.
const UNIT: &str = include_str!("../../systemd/sunup.service");

/// The program that is measured, where it is another than the one that Cargo built.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Measures this program from now on.
pub(crate) fn measure(program: PathBuf) {
    let _ = PROGRAM.set(program);
}

/// What the unit gives to the daemon's environment.
fn given() -> impl Iterator<Item = (&'static str, &'static str)> {
    let given = UNIT.lines().filter_map(|line| line.strip_prefix("Environment="));
    given.flat_map(str::split_whitespace).filter_map(|pair| pair.split_once('='))
}

fn program(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(PROGRAM.get_or_init(|| env!("CARGO_BIN_EXE_sunup").into()));
    command.env("STATE_DIRECTORY", folder.path()).env("RUNTIME_DIRECTORY", folder.path());
    command.stdin(Stdio::null());
    command
}

/// The whole second that comes in so many.
pub(crate) fn second_in(seconds: i64) -> Result<Timestamp, Failure> {
    let soon = SystemClock.now() + SignedDuration::from_secs(seconds);
    Ok(Timestamp::from_second(soon.as_second())?)
}

pub(crate) fn wait_for(moment: Timestamp) -> Result<(), Failure> {
    while SystemClock.now() < moment {
        pause(Duration::from_millis(20));
    }
    Ok(())
}

/// Microseconds as milliseconds.
pub(crate) fn millis(micros: i64) -> f64 {
    let size = Duration::from_micros(micros.unsigned_abs()).as_secs_f64() * 1000.0;
    if micros < 0 { -size } else { size }
}

pub(crate) fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// What a process has used so far.
pub(crate) struct Used {
    /// Seconds on a CPU, all threads.
    pub(crate) cpu: f64,
    /// How often its threads gave the CPU back by themselves.
    pub(crate) switches: f64,
    /// The same of the engine's thread alone.
    pub(crate) engine_switches: f64,
    /// Memory in MiB, now and at its most.
    pub(crate) memory: (f64, f64),
}

pub(crate) fn used(process: &Ended) -> Result<Used, Failure> {
    let folder = PathBuf::from(format!("/proc/{}", process.0.id()));
    let (mut cpu, mut switches, mut engine_switches) = (0.0, 0.0, 0.0);
    for task in fs::read_dir(folder.join("task"))?.flatten() {
        // Nanoseconds on a CPU come first.
        let times = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let nanos: u64 = times.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        cpu += Duration::from_nanos(nanos).as_secs_f64();
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let by_itself = field(&status, "voluntary_ctxt_switches:");
        switches += by_itself;
        engine_switches += if status.starts_with("Name:\tengine\n") { by_itself } else { 0.0 };
    }
    let status = fs::read_to_string(folder.join("status"))?;
    let memory = (field(&status, "VmRSS:") / 1024.0, field(&status, "VmHWM:") / 1024.0);
    Ok(Used { cpu, switches, engine_switches, memory })
}

fn field(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}
