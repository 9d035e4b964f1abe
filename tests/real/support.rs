//! A sandbox and a daemon as real processes, in a folder of their own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use jiff::Timestamp;
use serde_json::Value;
use sunup::adapters::clock::SystemClock;
use sunup::ports::clock::Clock;

use crate::wait::{until, until_seldom};

/// A process that is killed when the test ends.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").arg(format!("-{name}")).arg(self.0.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn exit_code(&mut self) -> i32 {
        let status = until("the process has ended", || self.0.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }
}

/// A folder with a sandbox.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) endpoint: String,
    _sandbox: Process,
}

impl Drop for Bench {
    /// A test that fails shows what the daemon said and what the cloud saw.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let cloud = fs::read_to_string(self.path("sandbox.log")).unwrap_or_default();
            println!("the daemon:\n{}the cloud:\n{cloud}", self.daemon_log());
        }
    }
}

impl Bench {
    pub(crate) fn new(sandbox_options: &[&str]) -> Self {
        Self::with_keys("access", "secret", sandbox_options)
    }

    pub(crate) fn with_keys(access: &str, secret: &str, sandbox_options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, key) in [("access", access), ("secret", secret)] {
            let path = folder.path().join(name);
            fs::write(&path, format!("{key}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut command = program(folder.path());
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--access-key", access, "--secret-key", secret]);
        if !sandbox_options.contains(&"--boot") {
            command.args(["--boot", "1s..2s"]);
        }
        command.arg("--log").arg(folder.path().join("sandbox.log"));
        command.args(sandbox_options).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let endpoint = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(endpoint.starts_with("http://127.0.0.1:"), "{line}");
        Self { folder, endpoint, _sandbox: Process(child) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration: the account, and whatever the test adds.
    pub(crate) fn configure(&self, more: &str) {
        self.configure_at(&self.endpoint, more);
    }

    /// The same with another address of the cloud, such as a proxy's.
    pub(crate) fn configure_at(&self, endpoint: &str, more: &str) {
        let folder = self.folder.path().display();
        let text = format!(
            "timezone = \"Asia/Seoul\"\n[accounts.main]\nendpoint = \"{endpoint}\"\nregion = \"KR\"\n\
             access_key = {{ file = \"{folder}/access\" }}\nsecret_key = {{ file = \"{folder}/secret\" }}\n{more}"
        );
        fs::write(self.path("sunup.toml"), text).unwrap();
    }

    /// A command of the program, with this bench's files.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.folder.path());
        command.args(arguments).arg("--config").arg(self.path("sunup.toml"));
        command.arg("--socket").arg(self.path("control.sock"));
        command
    }

    /// The same, with the file named by the environment, as under the unit, and not on the command line.
    pub(crate) fn command_of_unit(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.folder.path());
        command.args(arguments).env("SUNUP_CONFIG", self.path("sunup.toml"));
        command.env("SUNUP_SOCKET", self.path("control.sock"));
        command
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// What a command says that ends well, results and words about them.
    pub(crate) fn shown(&self, arguments: &[&str]) -> String {
        self.shown_with(arguments, 0)
    }

    /// The same for one that ends with a code.
    pub(crate) fn shown_with(&self, arguments: &[&str], code: i32) -> String {
        let output = self.output(arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
        format!("{out}{err}")
    }

    /// Starts the daemon; its log is added to `daemon.log`.
    pub(crate) fn daemon(&self) -> Process {
        self.spawn(self.command(&["run"]))
    }

    /// Starts the daemon by way of another program that takes its command line, with some more of the environment.
    pub(crate) fn daemon_by(&self, wrapper: &[&str], environment: &[(&str, &str)]) -> Process {
        let run = self.command(&["run"]);
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(run.get_program()).args(run.get_args()).env_clear();
        for (name, value) in run.get_envs() {
            command.env(name, value.unwrap());
        }
        command.envs(environment.iter().copied()).current_dir(self.folder.path());
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Process {
        let log = File::options().create(true).append(true).open(self.path("daemon.log")).unwrap();
        Process(command.stdin(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Waits until a moment of the machine's clock.
    pub(crate) fn wait_for(&self, moment: Timestamp) {
        until("the moment has come", || (SystemClock.now() >= moment).then_some(()));
    }

    /// Starts the daemon and waits until rules are in force.
    pub(crate) fn daemon_in_force(&self) -> Process {
        let daemon = self.daemon();
        self.wait_until_in_force();
        daemon
    }

    pub(crate) fn wait_until_in_force(&self) {
        until_seldom("rules are in force", || {
            let status = self.status()?;
            (status["state"] == "running").then_some(())
        });
    }

    pub(crate) fn status(&self) -> Option<Value> {
        let output = self.output(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status.get("pid").is_some().then_some(status)
    }

    pub(crate) fn history(&self) -> Vec<Value> {
        let entries = self.output(&["history", "--json", "--limit", "1000"]).stdout;
        let mut entries = json_lines(&String::from_utf8(entries).unwrap());
        entries.retain(|entry| matches!(entry["entry"].as_str(), Some("run" | "missed")));
        entries
    }

    /// Waits until the journal has `count` ended entries.
    pub(crate) fn ended(&self, count: usize) -> Vec<Value> {
        until_seldom("the runs have ended", || {
            let ended: Vec<Value> =
                self.history().into_iter().filter(|run| !run["outcome"].is_null()).collect();
            (ended.len() >= count).then_some(ended)
        })
    }

    /// Has the journal and the sandbox's log judged by the checker: nothing may be broken.
    pub(crate) fn audit(&self) {
        let log = self.path("sandbox.log");
        let judged = self.output(&["audit", "--log", &log.display().to_string()]);
        let (out, err) = (String::from_utf8_lossy(&judged.stdout), String::from_utf8_lossy(&judged.stderr));
        assert!(judged.status.success(), "{out}\n{err}\n{}", self.daemon_log());
        assert!(err.contains("every record is as it must be"), "{err}");
    }

    pub(crate) fn daemon_log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    pub(crate) fn sandbox_log(&self) -> Vec<Value> {
        json_lines(&fs::read_to_string(self.path("sandbox.log")).unwrap())
    }

    /// The sandbox's requests of one operation.
    pub(crate) fn requests(&self, operation: &str) -> Vec<Value> {
        self.sandbox_log()
            .into_iter()
            .filter(|line| line["kind"] == "request" && line["operation"] == operation)
            .collect()
    }
}

/// The program with an environment that holds nothing of the machine's.
fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunup"));
    command
        .env_clear()
        .env("STATE_DIRECTORY", folder)
        .env("RUNTIME_DIRECTORY", folder)
        .env("LOGNAME", "tester");
    command.current_dir(folder);
    command
}

/// A moment as a cron rule with seconds says it.
pub(crate) fn cron_at(moment: Timestamp) -> String {
    let at = moment.to_zoned(jiff::tz::TimeZone::get("Asia/Seoul").unwrap());
    format!("{} {} {} {} {} *", at.second(), at.minute(), at.hour(), at.day(), at.month())
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    // The last line of a file that is being written may be half there.
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// A whole second, so many seconds from now.
pub(crate) fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(SystemClock.now().as_second() + seconds).unwrap()
}

pub(crate) fn micros(line: &Value) -> i64 {
    line["at"].as_i64().unwrap()
}

pub(crate) fn moment(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}
