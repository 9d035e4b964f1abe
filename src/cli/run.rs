//! `sunup run`: the daemon.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::{mpsc, oneshot};

use super::exit::Exit;
use super::host::{Hosted, Setup, host};
use super::{Common, load, show, world};
use crate::adapters::clock::SystemClock;
use crate::adapters::logging;
use crate::adapters::store::{Holder, SqliteStore};
use crate::daemon::control::{self, Control, ReloadFn};
use crate::daemon::engine::{Input, Mode, Reload};
use crate::daemon::signals::{self, Wanted};
use crate::daemon::systemd;
use crate::ports::clock::Clock;
use crate::ports::store::{Store, StoreError, Turn};
use crate::settings::{LogLevel, Settings};

/// How often a lock held by a command is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(250);

/// The configuration to begin with: from the file, or the last good one from the journal.
struct Beginning {
    settings: Settings,
    old: Option<Settings>,
    problem: Option<String>,
}

pub(super) fn main(common: &Common) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(daemon(common));
    // A read of the cloud may be under way; it changes nothing, so nobody waits for it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn daemon(common: &Common) -> anyhow::Result<Exit> {
    let path = load::path(common);
    let read = load::text(&path).and_then(|text| match Settings::read(&text) {
        Ok(loaded) => Ok(loaded.settings),
        Err(problems) => Err(load::not_valid(&problems, &text, &path)),
    });
    begin_to_log(read.as_ref().ok());
    let location = Settings::store_of(&std::fs::read_to_string(&path).unwrap_or_default());
    let store = match (open(&load::journal(&location)).await, &read) {
        (Ok(store), _) => Arc::new(store),
        // Without a journal there is nothing to fall back on, so the file is what has to be mended first.
        (Err(error), Err(problem)) if Exit::of(&error) == Exit::Unavailable => {
            show::problem(problem);
            return Ok(Exit::Config);
        }
        (Err(error), _) => return Err(error),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Some(beginning) = beginning(read, store.as_ref()).await? else {
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
    let mut hosted = host(Setup {
        mode: Mode::Daemon,
        settings: Arc::clone(&settings),
        old_settings: beginning.old,
        config_problem: beginning.problem,
        lines: world::accounts(&settings, &clock),
        clock: Arc::clone(&clock),
        store: store.clone(),
        alive: Box::new(move |beat| notifier.beat(beat)),
        alive_every: systemd::Notifier::alive_every(),
    })?;
    let in_force = Arc::new(Mutex::new(settings));
    let reload = reloader(path, hosted.inputs.clone(), clock, Arc::clone(&in_force));
    let socket = load::socket(common);
    let control = Control {
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
        let config = Some(beginning.settings.text.clone());
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
async fn beginning(read: anyhow::Result<Settings>, store: &SqliteStore) -> anyhow::Result<Option<Beginning>> {
    let stored = store.last_config().await?;
    let old =
        stored.as_ref().and_then(|stored| Settings::read(&stored.text).ok()).map(|loaded| loaded.settings);
    match (read, old) {
        (Ok(settings), old) => Ok(Some(Beginning { settings, old, problem: None })),
        (Err(error), Some(old)) => {
            let problem = error.to_string();
            tracing::error!(
                "the configuration file cannot be used; the last good configuration is in force: {problem}"
            );
            Ok(Some(Beginning { settings: old.clone(), old: Some(old), problem: Some(problem) }))
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

/// Reads the file again; the engine takes it over between two turns, or keeps what it has.
fn reloader(
    path: PathBuf,
    inputs: mpsc::Sender<Input>,
    clock: Arc<dyn Clock>,
    in_force: Arc<Mutex<Arc<Settings>>>,
) -> ReloadFn {
    Arc::new(move || {
        let (path, inputs, clock, in_force) =
            (path.clone(), inputs.clone(), Arc::clone(&clock), Arc::clone(&in_force));
        Box::pin(async move {
            let read = tokio::task::spawn_blocking({
                let path = path.clone();
                move || load::text(&path)
            });
            let text = read.await.map_err(|error| error.to_string())?;
            let settings = text.map_err(|error| error.to_string()).and_then(|text| {
                let problems = |problems: Vec<_>| load::not_valid(&problems, &text, &path).to_string();
                Settings::read(&text).map(|loaded| Arc::new(loaded.settings)).map_err(problems)
            });
            let settings = match settings {
                Ok(settings) => settings,
                Err(problem) => {
                    let told = Input::ConfigTrouble(Some(problem.clone()));
                    inputs.send(told).await.map_err(|_| "the daemon is about to end".to_owned())?;
                    return Err(problem);
                }
            };
            let lines = world::accounts(&settings, &clock);
            let (reply, answer) = oneshot::channel();
            let reload = Reload { settings: Arc::clone(&settings), lines, reply: Some(reply) };
            inputs
                .send(Input::Reload(Box::new(reload)))
                .await
                .map_err(|_| "the daemon is about to end".to_owned())?;
            let difference = answer.await.map_err(|_| {
                "the journal did not take the configuration; the old one stays in force".to_owned()
            })?;
            *in_force.lock().unwrap_or_else(PoisonError::into_inner) = settings;
            Ok(difference.words())
        })
    })
}
