//! The engine on its own thread: it stays exact while tasks that talk to the cloud are busy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::world;
use crate::adapters::clock::timer;
use crate::adapters::host::Machine;
use crate::adapters::notify::LogNotifier;
use crate::adapters::probe::NetworkProber;
use crate::daemon::engine::{AccountLine, Beat, Engine, INPUTS_MAX, Input, Mode, Parts, RELEASED};
use crate::domain::name::AccountName;
use crate::ports::clock::Clock;
use crate::ports::meter::{Meter, Uncounted};
use crate::ports::notifier::Notifier;
use crate::ports::store::Store;
use crate::settings::Settings;

/// What an engine is to be made of.
pub(super) struct Setup {
    pub(super) mode: Mode,
    pub(super) settings: Arc<Settings>,
    pub(super) old_settings: Option<Settings>,
    pub(super) config_problem: Option<String>,
    pub(super) calendar_problem: Option<String>,
    pub(super) lines: BTreeMap<AccountName, AccountLine>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) notifier: Arc<dyn Notifier>,
    pub(super) meter: Arc<dyn Meter>,
    pub(super) alive: Box<dyn FnMut(&Beat) + Send>,
    pub(super) alive_every: Option<Duration>,
    /// Has calendar files looked at.
    pub(super) reread: Box<dyn Fn() + Send>,
}

impl Setup {
    /// An engine that begins with these settings, watched by nobody, over files that do not change.
    pub(super) fn plain(
        mode: Mode,
        settings: Arc<Settings>,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
    ) -> Self {
        Self {
            mode,
            lines: world::accounts(&settings, &clock),
            settings,
            old_settings: None,
            config_problem: None,
            calendar_problem: None,
            clock,
            store,
            notifier: Arc::new(LogNotifier),
            meter: Arc::new(Uncounted),
            alive: Box::new(|_| {}),
            alive_every: None,
            reread: Box::new(|| {}),
        }
    }
}

/// An engine at work.
pub(super) struct Hosted {
    /// Its ear.
    pub(super) inputs: mpsc::Sender<Input>,
    done: oneshot::Receiver<anyhow::Result<()>>,
}

/// Starts an engine on its own thread, with its housekeeping.
pub(super) fn host(setup: Setup) -> anyhow::Result<Hosted> {
    let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
    let (again, rebuild) = mpsc::channel(1);
    if setup.mode == Mode::Daemon {
        tokio::spawn(crate::daemon::housekeeping::run(inputs.clone(), rebuild));
    }
    let parts = Parts {
        mode: setup.mode,
        settings: setup.settings,
        old_settings: setup.old_settings,
        config_problem: setup.config_problem,
        calendar_problem: setup.calendar_problem,
        lines: setup.lines,
        clock: setup.clock,
        store: setup.store,
        notifier: setup.notifier,
        meter: setup.meter,
        prober: Arc::new(NetworkProber::default()),
        host: Arc::new(Machine),
        io: Handle::current(),
        inputs: receiver,
        reports: inputs.clone(),
        alive: setup.alive,
        rebuild: Box::new(move || {
            // One wish to build again is as good as two.
            let _ = again.try_send(());
        }),
        reread: setup.reread,
        released: RELEASED,
        alive_every: setup.alive_every,
    };
    let (finished, done) = oneshot::channel();
    let work = move || {
        let ended = run(parts);
        // Nobody may wait for it any more; the thread ends all the same.
        let _ = finished.send(ended);
    };
    std::thread::Builder::new().name("engine".into()).spawn(work).context("no thread for the engine")?;
    Ok(Hosted { inputs, done })
}

fn run(parts: Parts) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime for the engine")?;
    runtime.block_on(async {
        let timer = timer().context("the system has no timer")?;
        let engine = Engine::new(parts).await?;
        engine.run(timer).await?;
        Ok(())
    })
}

impl Hosted {
    /// Waits until the engine has ended.
    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        (&mut self.done).await.context("the engine ended without a word")?
    }
}
