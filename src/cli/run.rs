//! `sunup run`: the daemon.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;

use super::exit::Exit;
use super::host::{Hosted, Setup, host};
use super::listener::Watched;
use super::notify::tester;
use super::renew::{Renewal, calendar_problem};
use super::{Common, heartbeat, listener, load, show, world};
use crate::adapters::clock::SystemClock;
use crate::adapters::logging;
use crate::adapters::notify::office::News;
use crate::adapters::store::{Holder, SqliteStore, copy};
use crate::daemon::control::{self, Control, ReloadFn};
use crate::daemon::engine::{Input, Mode, config_text};
use crate::daemon::signals::{self, Wanted};
use crate::daemon::systemd;
use crate::http::metrics::Metrics;
use crate::ports::clock::Clock;
use crate::ports::store::{Store, StoreError, StoredConfig, Turn};
use crate::settings::sources::Sources;
use crate::settings::{Loaded, LogLevel, Settings};

/// How often a lock held by a command is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(250);

/// The configuration to begin with: from the file, or the last good one from the journal.
struct Beginning {
    settings: Settings,
    old: Option<Settings>,
    problem: Option<String>,
    stale: Vec<String>,
}

/// The configuration file, understood; a broken calendar file as it was last good.
fn read(path: &Path, last_good: Option<&Sources>) -> anyhow::Result<Loaded> {
    let text = load::text(path)?;
    load::parse(&text, path, last_good).map_err(|problems| load::not_valid(&problems, &text, path))
}

#[derive(Args)]
pub(super) struct Options {
    /// Go on with a journal that `sunup backup --retire` has handed to another host
    #[arg(long)]
    adopt: bool,
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(daemon(common, options));
    // A read of the cloud may be under way; it changes nothing, so nobody waits for it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn daemon(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let path = load::path(common);
    let read = read(&path, None);
    begin_to_log(read.as_ref().ok().map(|loaded| &loaded.settings));
    let location = Settings::store_of(&std::fs::read_to_string(&path).unwrap_or_default());
    let journal = load::journal(&location);
    let Some(store) = opened(&journal, &read, options).await? else {
        return Ok(Exit::Config);
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Some(beginning) = beginning(&path, read, store.as_ref()).await? else {
        return Ok(Exit::Config);
    };
    if beginning.problem.is_none() {
        keep_first(store.as_ref(), &beginning, clock.now()).await?;
    }
    world::choose_tls();
    let mut signals = signals::Stream::new()?;
    let settings = Arc::new(beginning.settings);
    let zone = settings.timezone.clone().unwrap_or(TimeZone::UTC);
    let mut notifier = systemd::Notifier::new(zone);
    let (look, looks) = mpsc::channel(1);
    let in_force = Arc::new(Mutex::new(Arc::clone(&settings)));
    let news = News::open(outbox(&journal), Arc::clone(&in_force), Arc::clone(&clock));
    let metrics = Arc::new(Metrics::new());
    let mut hosted = host(Setup {
        notifier: Arc::new(news),
        meter: metrics.clone(),
        old_settings: beginning.old,
        config_problem: beginning.problem,
        calendar_problem: calendar_problem(&beginning.stale),
        alive: Box::new(move |beat| notifier.beat(beat)),
        alive_every: systemd::Notifier::alive_every(),
        reread: Box::new(move || {
            // One wish to look is as good as two.
            let _ = look.try_send(());
        }),
        ..Setup::plain(Mode::Daemon, Arc::clone(&settings), Arc::clone(&clock), store.clone())
    })?;
    let renewal = Renewal {
        path,
        inputs: hosted.inputs.clone(),
        clock: Arc::clone(&clock),
        in_force: Arc::clone(&in_force),
        one_at_a_time: Arc::default(),
    };
    tokio::spawn(renewal.clone().follow_calendars(looks));
    let tests = tester(Arc::clone(&in_force), Arc::clone(&renewal.clock));
    let reload = renewal.reloader();
    let socket = load::socket(common);
    let inputs = hosted.inputs.clone();
    be_watched(Watched { metrics, inputs, settings: Arc::clone(&in_force), clock, journal }).await;
    let control = Control {
        tests,
        inputs: hosted.inputs.clone(),
        store: store.clone(),
        settings: in_force,
        reload: Arc::clone(&reload),
    };
    let listening = listen(control, &socket);
    tracing::info!(pid = std::process::id(), "sunup {} is up", env!("CARGO_PKG_VERSION"));
    let ended = until_the_end(&mut hosted, &mut signals, &reload).await;
    if listening {
        // The next daemon replaces a socket that is left behind; taking it away is only tidiness.
        let _ = std::fs::remove_file(&socket);
    }
    store.close().await;
    ended?;
    tracing::info!("sunup has ended");
    Ok(Exit::Done)
}

/// A journal that another host has now is not gone on with: both would start and stop the same servers.
fn mind_mark(journal: &Path, options: &Options) -> anyhow::Result<()> {
    let Some(words) = copy::retired(journal) else { return Ok(()) };
    if !options.adopt {
        return Err(Exit::Config.with(format!(
            "the journal `{}` is not to be used here: {words}. Once the other host is off for good: `sunup run --adopt`",
            journal.display()
        )));
    }
    copy::adopt(journal)
        .with_context(|| format!("the mark beside `{}` cannot be removed", journal.display()))?;
    tracing::warn!("the journal is gone on with here: {words}, and --adopt lifts that");
    Ok(())
}

/// Lets others see how things are: the listener, where there is one, and the heartbeat.
async fn be_watched(watched: Watched) {
    let (settings, inputs) = (Arc::clone(&watched.settings), watched.inputs.clone());
    let http = settings.lock().unwrap_or_else(PoisonError::into_inner).http.clone();
    if let Some(http) = http {
        listener::listen(&http, watched).await;
    }
    tokio::spawn(heartbeat::run(settings, inputs));
}

/// The journal. `None` if it cannot be opened and the file is broken too, which is shown: without a journal there is nothing to fall back
/// on, so the file is what has to be mended first.
async fn opened(
    journal: &Path,
    read: &anyhow::Result<Loaded>,
    options: &Options,
) -> anyhow::Result<Option<Arc<SqliteStore>>> {
    mind_mark(journal, options)?;
    match (open(journal).await, read) {
        (Ok(store), _) => {
            // It may have been marked while the lock was waited for.
            mind_mark(journal, options)?;
            Ok(Some(Arc::new(store)))
        }
        (Err(error), Err(problem)) if Exit::of(&error) == Exit::Unavailable => {
            show::problem(problem);
            Ok(None)
        }
        (Err(error), _) => Err(error),
    }
}

/// Where notices wait that were not told yet: beside the journal.
pub(super) fn outbox(journal: &Path) -> PathBuf {
    journal.parent().unwrap_or(Path::new(".")).join("outbox")
}

/// Passes signals on until the engine has ended.
async fn until_the_end(
    hosted: &mut Hosted,
    signals: &mut signals::Stream,
    reload: &ReloadFn,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            ended = hosted.ended() => return ended,
            wanted = signals.next() => match wanted {
                // Not waited for: the engine may hold everything, and a TERM must still be heard.
                Some(Wanted::Reload) => drop(tokio::spawn(reload())),
                Some(Wanted::Shutdown) | None => {
                    tracing::info!("asked to end: requests on the wire are waited for, nothing new is begun");
                    systemd::Notifier::stopping();
                    if hosted.inputs.send(Input::Shutdown).await.is_err() {
                        tracing::debug!("the engine has ended already");
                    }
                }
            }
        }
    }
}

/// The first configuration of a journal is kept at once, so that there is one to fall back on. Later ones come into force
/// together with the marks that rest on them.
async fn keep_first(store: &SqliteStore, beginning: &Beginning, now: Timestamp) -> anyhow::Result<()> {
    if beginning.old.is_none() && store.last_config().await?.is_none() {
        let config = Some(StoredConfig { config: config_text(&beginning.settings), since: now });
        store.record(&Turn { at: Some(now), config, ..Turn::default() }).await?;
    }
    Ok(())
}

fn begin_to_log(settings: Option<&Settings>) {
    let zone = settings.and_then(|settings| settings.timezone.clone()).unwrap_or(TimeZone::UTC);
    let level = settings.map_or(LogLevel::Info, |settings| settings.log_level);
    logging::begin(settings.and_then(|settings| settings.log_format), level, zone);
}

/// Opens the journal; waits for a command that holds it, and gives way to another daemon.
async fn open(path: &Path) -> anyhow::Result<SqliteStore> {
    let mut told = false;
    loop {
        match SqliteStore::open(path, Holder::Daemon).await {
            Err(StoreError::Held { holder, .. }) if holder.contains("(command)") => {
                if !told {
                    told = true;
                    tracing::warn!(
                        "a command holds the journal, process {holder}: waiting until it has ended"
                    );
                }
                tokio::time::sleep(LOCK_RETRY).await;
            }
            Err(error @ StoreError::Unusable { .. }) => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                let hint =
                    format!("check that `{}` exists and that this user may write to it", folder.display());
                return Err(anyhow::Error::from(error).context(hint));
            }
            other => return Ok(other?),
        }
    }
}

/// The file's settings, or the last good ones. `None` if there are none at all, with the problem shown.
async fn beginning(
    path: &Path,
    first: anyhow::Result<Loaded>,
    store: &SqliteStore,
) -> anyhow::Result<Option<Beginning>> {
    let stored = store.last_config().await?;
    let sources = stored.as_ref().map(|stored| Sources::from_json(&stored.config.sources));
    // Only now is it known what broken calendar files held when they were good.
    let read = first.or_else(|problem| match &sources {
        Some(sources) => read(path, Some(sources)),
        None => Err(problem),
    });
    let old = stored.zip(sources).and_then(|(stored, sources)| match &read {
        // Nothing has changed: reading it once more would be a third of a start.
        Ok(loaded) if config_text(&loaded.settings) == stored.config => Some(loaded.settings.clone()),
        _ => Settings::read_with(&stored.config.text, &sources).ok().map(|loaded| loaded.settings),
    });
    match (read, old) {
        (Ok(loaded), old) => {
            for warning in &loaded.warnings {
                tracing::warn!("the configuration: {}: {}; {}", warning.title, warning.cause, warning.remedy);
            }
            let Loaded { settings, stale, .. } = loaded;
            Ok(Some(Beginning { settings, old, problem: None, stale }))
        }
        (Err(error), Some(old)) => {
            let problem = error.to_string();
            tracing::error!(
                "the configuration file cannot be used; the last good configuration is in force: {problem}"
            );
            let problem = Some(problem);
            Ok(Some(Beginning { settings: old.clone(), old: Some(old), problem, stale: Vec::new() }))
        }
        (Err(error), None) => {
            show::problem(&error);
            Ok(None)
        }
    }
}

fn listen(control: Control, socket: &Path) -> bool {
    match control::bind(socket) {
        Ok(listener) => {
            tokio::spawn(control.serve(listener));
            true
        }
        Err(error) => {
            tracing::warn!(
                "the control socket `{}` cannot be made, so commands cannot reach the daemon: {error}; name another with --socket",
                socket.display()
            );
            false
        }
    }
}
