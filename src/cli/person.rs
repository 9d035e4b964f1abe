//! `sunup start` and `sunup stop`: a person's run, through the daemon, or through an engine of its own where there is none.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::sync::oneshot;

use super::client::{Client, Daemon};
use super::exit::Exit;
use super::host::{Hosted, Setup, host};
use super::value::list;
use super::{Common, again, ask, dry, keep, load, show, world};
use crate::adapters::clock::SystemClock;
use crate::adapters::store::{Holder, SqliteStore, copy};
use crate::adapters::{environment, logging};
use crate::daemon::control::{RunRequest, person_run};
use crate::daemon::engine::{Input, Mode};
use crate::daemon::{signals, view};
use crate::domain::name::{Action, RunId};
use crate::ports::clock::Clock;
use crate::ports::store::{StoreError, Waiver};
use crate::settings::{LogLevel, Settings};

/// How often a run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long a run may take to be claimed: the clock is compared with the cloud's before.
const CLAIM_LIMIT: Duration = Duration::from_secs(9);
/// The most servers that have a line of their own on a terminal.
const BARS_MAX: usize = 30;

#[derive(Args)]
pub(super) struct Options {
    /// Names of groups
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,
    /// A server by number, ACCOUNT/NUMBER or name; may be given again, or several with commas
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    server: Vec<String>,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Also the groups that these wait for: before a start those that come first, before a stop those that need them
    #[arg(long)]
    with_dependencies: bool,
    /// Stop even if running servers of other groups need these
    #[arg(long)]
    ignore_dependents: bool,
    /// Pass `servers_per_run`, `requests_per_hour` and `on_growth` this once
    #[arg(long)]
    over_limit: bool,
    /// Ask again for what did not come up in a run, by default the last start that failed, in order
    #[arg(long, value_name = "RUN", num_args = 0..=1)]
    failed: Option<Option<i64>>,
    /// Do it to servers that people keep as they are too
    #[arg(long)]
    break_keep: bool,
    /// For a start: keep them on until then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Why, for those who look at it later; goes with --until
    #[arg(long, value_name = "TEXT", requires = "until")]
    reason: Option<String>,
    /// Do not ask before a stop; without a terminal nobody is asked
    #[arg(long)]
    yes: bool,
}

pub(super) fn main(common: &Common, action: Action, options: &Options) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(person(common, action, options));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn person(common: &Common, action: Action, options: &Options) -> anyhow::Result<Exit> {
    let (mut groups, mut servers) = (options.groups.clone(), options.server.clone());
    if let Some(run) = options.failed {
        if action == Action::Stop || !groups.is_empty() || !servers.is_empty() {
            return Err(
                Exit::Usage.with("--failed goes with start alone: the run says which servers are meant")
            );
        }
        let left = again::left(common, run).await?;
        show::word(&left.words);
        (groups, servers) = (left.groups, left.servers);
        if groups.is_empty() && servers.is_empty() {
            return Ok(Exit::Done);
        }
    }
    if groups.is_empty() && servers.is_empty() {
        return Err(Exit::Usage.with("name a group, or a server with --server"));
    }
    let request = RunRequest {
        action: action.word().to_owned(),
        groups,
        servers,
        with_dependencies: options.with_dependencies,
        waive: waivers(action, options)?,
        who: environment::login_name(),
    };
    if options.dry_run {
        return dry::run(common, &request).await;
    }
    if action == Action::Stop && !options.yes && std::io::stdin().is_terminal() && !confirmed(&request)? {
        show::word("nothing was stopped");
        return Ok(Exit::Done);
    }
    if options.until.is_some() && action == Action::Stop {
        return Err(Exit::Usage.with("--until goes with start; `sunup keep … off --until` keeps servers off"));
    }
    match Client::find(&load::socket(common)).await? {
        Daemon::Absent if options.until.is_some() => Err(Exit::Unavailable
            .with("no daemon is running, and only one can keep servers on: start it, or leave --until out")),
        Daemon::There(client) => with_daemon(common, &client, options, &request).await,
        Daemon::Absent => alone(common, &request).await,
    }
}

/// The keep that goes with a start.
async fn keep_too(client: &Client, options: &Options, request: &RunRequest) -> anyhow::Result<()> {
    let Some(until) = &options.until else { return Ok(()) };
    let settings = client.settings().await?;
    let zone = view::zone_of(Some(&settings), None);
    let until = ask::moment(until, &zone, SystemClock.now())?;
    let reason = options.reason.as_deref().unwrap_or_default();
    keep::keep_on(client, &request.groups, &request.servers, (until, reason), &zone).await
}

fn waivers(action: Action, options: &Options) -> anyhow::Result<Vec<String>> {
    if options.ignore_dependents && action == Action::Start {
        return Err(Exit::Usage.with("--ignore-dependents goes with stop: nothing depends on what is down"));
    }
    let chosen = [
        (options.ignore_dependents, Waiver::Dependents),
        (options.over_limit, Waiver::Limits),
        (options.break_keep, Waiver::Keeps),
    ];
    Ok(chosen.into_iter().filter(|(is_set, _)| *is_set).map(|(_, waiver)| waiver.word().to_owned()).collect())
}

fn confirmed(request: &RunRequest) -> anyhow::Result<bool> {
    let what: Vec<&str> = request.groups.iter().chain(&request.servers).map(String::as_str).collect();
    write!(anstream::stderr(), "stop {}? [y/N] ", what.join(", "))?;
    anstream::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

async fn with_daemon(
    common: &Common,
    client: &Client,
    options: &Options,
    request: &RunRequest,
) -> anyhow::Result<Exit> {
    let claimed = client.post("/v1/runs", request).await?;
    let id = claimed.get("run").and_then(Value::as_i64).unwrap_or(0);
    let kept = keep_too(client, options, request).await;
    kept.with_context(|| {
        format!("run {id} has begun all the same; what `sunup status` does not show as kept is not kept")
    })?;
    let mut progress = Progress::new(common, id);
    let mut signals = signals::Stream::new()?;
    loop {
        let story = client.get(&format!("/v1/runs/{id}")).await?;
        if let Some(exit) = progress.show(&story) {
            return Ok(exit);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = signals.next() => {
                show::word(&format!("the daemon goes on with run {id} without you; see `sunup history {id}`"));
                return Ok(Exit::NotDone);
            }
        }
    }
}

/// No daemon: the run is carried out here, under the daemon's own lock and as the daemon's user.
async fn alone(common: &Common, request: &RunRequest) -> anyhow::Result<Exit> {
    let settings = load::in_force(common)?;
    let run = person_run(request, &settings, &Value::Null).map_err(|words| Exit::Usage.with(words))?;
    let journal = load::journal(&settings.store);
    become_owner(&journal)?;
    refuse_retired(&journal)?;
    logging::begin(settings.log_format, LogLevel::Warn, settings.timezone.clone().unwrap_or(TimeZone::UTC));
    let store = Arc::new(open(&journal, request).await?);
    // It may have been marked while the lock was waited for.
    refuse_retired(&journal)?;
    world::choose_tls();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = Arc::new(settings);
    let mut hosted = host(Setup::plain(Mode::OneShot, Arc::clone(&settings), clock, store.clone()))?;
    show::word("no daemon is running, so this command carries the run out by itself");
    let (reply, claimed) = oneshot::channel();
    let sent = hosted.inputs.send(Input::Command { run, reply }).await.is_ok();
    let mut signals = signals::Stream::new()?;
    let id = tokio::select! {
        claimed = claimed => match claimed {
            Ok(Ok(id)) if sent => id,
            Ok(Err(words)) => return Err(Exit::Unavailable.with(words)),
            _ => { hosted.ended().await?; return Ok(Exit::Unexpected) }
        },
        () = tokio::time::sleep(CLAIM_LIMIT) => {
            let text = "the cloud could not be asked for the time, so nothing was done; check the network, the endpoint and the keys";
            return Err(Exit::Unavailable.with(text));
        }
        _ = signals.next() => return give_up(&mut hosted).await,
    };
    let mut progress = Progress::new(common, id.0);
    let exit = loop {
        if let Some(exit) = progress.show(&story(store.as_ref(), id, &settings).await?) {
            break exit;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            ended = hosted.ended() => {
                ended?;
                break progress.show(&story(store.as_ref(), id, &settings).await?).unwrap_or(Exit::Unexpected);
            }
            _ = signals.next() => return give_up(&mut hosted).await,
        }
    };
    // Runs that a daemon left open are its own to finish.
    if hosted.inputs.send(Input::Shutdown).await.is_ok() {
        hosted.ended().await?;
    }
    store.close().await;
    Ok(exit)
}

fn refuse_retired(journal: &Path) -> anyhow::Result<()> {
    match copy::retired(journal) {
        Some(words) => {
            Err(Exit::Config
                .with(format!("the journal `{}` is not to be used here: {words}", journal.display())))
        }
        None => Ok(()),
    }
}

async fn give_up(hosted: &mut Hosted) -> anyhow::Result<Exit> {
    show::word(
        "ending: requests on the wire are waited for; nobody goes on with this run until a daemon or command runs again",
    );
    if hosted.inputs.send(Input::Shutdown).await.is_ok() {
        hosted.ended().await?;
    }
    Ok(Exit::NotDone)
}

async fn story(store: &SqliteStore, id: RunId, settings: &Settings) -> anyhow::Result<Value> {
    match view::story_of(store, id, Some(settings)).await? {
        Some(story) => Ok(story),
        None => Err(Exit::Unexpected.with(format!("run {id} is not in the journal"))),
    }
}

async fn open(journal: &Path, request: &RunRequest) -> anyhow::Result<SqliteStore> {
    match SqliteStore::open(journal, Holder::Command).await {
        Err(error @ StoreError::Unusable { .. }) => {
            let servers: String = request.servers.iter().map(|no| format!(" --server {no}")).collect();
            let command = format!("sudo sunup {} {}{servers}", request.action, request.groups.join(" "));
            Err(anyhow::Error::from(error).context(format!("run `{command}`, or start the daemon")))
        }
        other => Ok(other?),
    }
}

/// Root goes on as the user that the journal belongs to, so that the daemon can write it afterwards.
fn become_owner(journal: &Path) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner =
        std::fs::metadata(journal).or_else(|_| std::fs::metadata(journal.parent().unwrap_or(Path::new("/"))));
    let Ok(owner) = owner else { return Ok(()) };
    if owner.uid() == 0 {
        return Ok(());
    }
    let mut command = std::process::Command::new(std::env::current_exe()?);
    let error = command.args(std::env::args_os().skip(1)).uid(owner.uid()).gid(owner.gid()).exec();
    Err(Exit::Unexpected.with(format!("cannot go on as the journal's owner (user {}): {error}", owner.uid())))
}

/// Shows a run's progress: bars on a terminal, plain lines elsewhere.
struct Progress {
    id: i64,
    json: bool,
    bars: Option<MultiProgress>,
    lines: BTreeMap<String, (ProgressBar, String)>,
    /// What was last told of groups whose servers are not known yet.
    waits: String,
}

impl Progress {
    fn new(common: &Common, id: i64) -> Self {
        let terminal = show::is_watched() && !common.json;
        let bars = terminal.then(MultiProgress::new);
        Self { id, json: common.json, bars, lines: BTreeMap::new(), waits: String::new() }
    }

    /// Shows what is new; the exit code once the run has ended.
    fn show(&mut self, story: &Value) -> Option<Exit> {
        let text =
            |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
        let empty = Vec::new();
        for target in story.get("targets").and_then(Value::as_array).unwrap_or(&empty) {
            let (outcome, state) = (text(target, "outcome"), text(target, "state"));
            let why = if outcome.is_empty() { text(target, "why") } else { text(target, "reason") };
            let word = if outcome.is_empty() { state } else { outcome.clone() };
            let shown = if why.is_empty() { word } else { format!("{word}: {why}") };
            self.line(&text(target, "server"), &text(target, "name"), &shown, !outcome.is_empty());
        }
        let outcome = text(story, "outcome");
        let pending: Vec<&str> = list(story, "pending").iter().filter_map(Value::as_str).collect();
        let waits = format!("the servers of group {} are being listed", pending.join(", "));
        if !pending.is_empty() && outcome.is_empty() && self.waits != waits {
            show::word(&waits);
            self.waits = waits;
        }
        if outcome.is_empty() {
            return None;
        }
        if self.json {
            show::line(&story.to_string());
        } else {
            let reason = text(story, "reason");
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            show::line(&format!("run {}: {outcome}{why}", self.id));
        }
        Some(if outcome == "done" { Exit::Done } else { Exit::NotDone })
    }

    fn line(&mut self, server: &str, name: &str, shown: &str, over: bool) {
        let label = if name.is_empty() { server.to_owned() } else { format!("{server} ({name})") };
        let news = self.lines.get(server).is_none_or(|(_, before)| before != shown);
        if !news {
            return;
        }
        let Some(bars) =
            self.bars.as_ref().filter(|_| self.lines.len() < BARS_MAX || self.lines.contains_key(server))
        else {
            show::word(&format!("server {label}: {shown}"));
            self.lines.insert(server.to_owned(), (ProgressBar::hidden(), shown.to_owned()));
            return;
        };
        let bar = match self.lines.remove(server) {
            Some((bar, _)) => bar,
            None => {
                let bar = bars.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            }
        };
        bar.set_message(format!("server {label}: {shown}"));
        if over {
            bar.finish();
        }
        self.lines.insert(server.to_owned(), (bar, shown.to_owned()));
    }
}
