//! Everything outside the engine: clocks, the cloud's servers, what is wrong now, and the record of what truly happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sunup::audit::history::{Fault, Micros, Offset, Read, Request, SECOND, State, Wrong};
use sunup::daemon::engine::Input;
use sunup::domain::name::NotifyName;
use sunup::domain::overrides::Override;
use sunup::ports::clock::{Clock, Reading, Timer, Woken};
use sunup::ports::notifier::{Notice, Notifier, Told};
use sunup::ports::store::{
    AttemptRecord, ConfigEntry, Entry, HistoryQuery, OccurrenceKey, Opening, RunRecord, Store, StoreError,
    StoredConfig, Turn, Withdrawn,
};
use sunup::sandbox::model::{Change, Model};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::memory::MemoryStore;
use crate::scenario::BEGIN;

/// The longest sleep of a timer: like the machine's, it is armed anew each day.
const ARMED_MAX: Duration = Duration::from_hours(24);

/// A crash that is to come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Crash {
    Record { left: u64, durable: bool },
    Request { left: u64, gone: bool },
}

/// What is true.
pub(crate) struct Truth {
    began: Instant,
    /// How long the machine has slept.
    slept: Micros,
    /// How far the wall clock is from the right one.
    wrong_by: Micros,
    pub(crate) model: Model,
    pub(crate) chance: Chance,
    /// How many requests in a hundred meet a fault now.
    pub(crate) weather: i64,
    pub(crate) crash: Option<Crash>,
    pub(crate) outage_until: Micros,
    pub(crate) keys_until: Micros,
    pub(crate) disk: Option<(Micros, bool)>,
    pub(crate) stall: Micros,
    /// Whether anybody runs.
    pub(crate) is_up: bool,
    pub(crate) inputs: Option<mpsc::Sender<Input>>,
    pub(crate) requests: Vec<Request>,
    pub(crate) reads: Vec<Read>,
    pub(crate) states: Vec<State>,
    pub(crate) turns: BTreeMap<Micros, Vec<Micros>>,
    pub(crate) durable: Vec<(i64, Micros)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) clock: Vec<Offset>,
    pub(crate) texts: Vec<String>,
    pub(crate) hits: BTreeMap<&'static str, u64>,
    /// What happened, line by line: the same for the same seed.
    pub(crate) trace: Vec<String>,
}

/// The world, shared by all who live in it.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) truth: Arc<Mutex<Truth>>,
    pub(crate) killed: Arc<Notify>,
    woken: Arc<Notify>,
}

impl Truth {
    /// True time.
    pub(crate) fn now(&self) -> Micros {
        i64::try_from(self.began.elapsed().as_micros()).unwrap() + self.slept
    }

    pub(crate) fn wall(&self) -> Micros {
        BEGIN + self.now() + self.wrong_by
    }

    pub(crate) fn note(&mut self, wrong: Wrong, from: Micros, to: Micros, server: Option<String>) {
        self.faults.push(Fault { from, to, wrong, server });
    }

    pub(crate) fn hit(&mut self, name: &'static str) {
        *self.hits.entry(name).or_default() += 1;
        let line = format!("{} {name}", self.now());
        self.trace.push(line);
    }

    pub(crate) fn changed(&mut self, changes: Vec<Change>) {
        for change in changes {
            let server = format!("main/{}", change.no);
            self.states.push(State {
                at: change.at,
                server,
                status: change.status,
                operation: change.operation,
            });
        }
    }

    /// Lets the servers get where they are going.
    pub(crate) fn advance(&mut self) {
        let now = self.now();
        let changes = self.model.advance(now);
        self.changed(changes);
    }

    fn note_clock(&mut self) {
        let offset = Offset { from: self.now(), wall_ahead: BEGIN + self.wrong_by, wrong_by: self.wrong_by };
        self.clock.push(offset);
    }
}

impl Outside {
    pub(crate) fn new(model: Model, seed: u64) -> Self {
        let mut truth = Truth {
            began: now(),
            slept: 0,
            wrong_by: 0,
            states: Vec::new(),
            model,
            chance: Chance::new(seed ^ 0xC10D),
            weather: 0,
            crash: None,
            outage_until: 0,
            keys_until: 0,
            disk: None,
            stall: 0,
            is_up: false,
            inputs: None,
            requests: Vec::new(),
            reads: Vec::new(),
            turns: BTreeMap::new(),
            durable: Vec::new(),
            faults: Vec::new(),
            clock: Vec::new(),
            texts: Vec::new(),
            hits: BTreeMap::new(),
            trace: Vec::new(),
        };
        truth.note_clock();
        for server in truth.model.all() {
            let (server, status) = (format!("main/{}", server.no), server.status.clone());
            truth.states.push(State { at: 0, server, status, operation: "NULL".into() });
        }
        Self {
            truth: Arc::new(Mutex::new(truth)),
            killed: Arc::new(Notify::new()),
            woken: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Truth) -> T) -> T {
        act(&mut self.truth.lock().unwrap())
    }

    /// Somebody sets the clock, so that it is wrong by so much in all.
    pub(crate) fn set_clock(&self, wrong_by: Micros, told: bool) {
        self.with(|truth| {
            truth.wrong_by = wrong_by;
            truth.note_clock();
        });
        if told {
            self.woken.notify_waiters();
        }
    }

    pub(crate) fn wrong_by(&self) -> Micros {
        self.with(|truth| truth.wrong_by)
    }

    /// The machine sleeps: time passes for everybody but those who live in it.
    pub(crate) fn suspend(&self, length: Micros) {
        self.with(|truth| {
            let from = truth.now();
            truth.slept += length;
            truth.note(Wrong::Suspended, from, from + length + 60 * SECOND, None);
            truth.note_clock();
        });
        self.woken.notify_waiters();
    }

    /// Never comes back: whoever waits here is gone.
    pub(crate) async fn vanish(&self) -> ! {
        self.killed.notify_one();
        loop {
            std::future::pending::<()>().await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the simulation's clock is the paused clock of its runtime")]
fn now() -> Instant {
    Instant::now()
}

impl Clock for Outside {
    fn read(&self) -> Reading {
        self.with(|truth| {
            let boot = u64::try_from(truth.now()).unwrap();
            let awake = u64::try_from(truth.now() - truth.slept).unwrap();
            Reading {
                wall: Timestamp::from_microsecond(truth.wall()).unwrap(),
                boot: Duration::from_micros(boot),
                awake: Duration::from_micros(awake),
            }
        })
    }
}

impl Notifier for Outside {
    fn tell(&self, notice: &Notice) {
        self.with(|truth| truth.texts.push(notice.text.clone()));
    }

    fn summarize(&self, _: &NotifyName, _: Timestamp, told: &Told) {
        self.with(|truth| truth.texts.push(told.en.clone()));
    }
}

#[async_trait(?Send)]
impl Timer for Outside {
    async fn until(&mut self, moment: Timestamp) -> Woken {
        let wall = self.with(|truth| truth.wall());
        let wait = Duration::from_micros(u64::try_from(moment.as_microsecond() - wall).unwrap_or(0));
        let woken = Arc::clone(&self.woken);
        tokio::select! {
            biased;
            () = woken.notified() => Woken::ClockSet,
            // The runtime's clock counts milliseconds: never early.
            () = tokio::time::sleep(wait.min(ARMED_MAX)) => Woken::Due,
        }
    }
}

/// The journal behind a disk that can fail, in a process that can crash at each record.
pub(crate) struct Disk {
    pub(crate) outside: Outside,
    pub(crate) journal: MemoryStore,
}

impl Disk {
    fn broken() -> StoreError {
        StoreError::Unusable { journal: "sunup.db".into(), what: "input/output error".into() }
    }

    fn note_durable(&self, turn: &Turn) {
        self.outside.with(|truth| {
            let now = truth.now();
            truth.turns.entry(turn.at.map_or(0, |at| at.as_microsecond())).or_default().push(now);
            truth.durable.extend(turn.intents.iter().map(|intent| (intent.attempt.0, now)));
        });
    }
}

#[async_trait]
impl Store for Disk {
    async fn open_state(&self) -> Result<Opening, StoreError> {
        self.journal.open_state().await
    }

    async fn claimed(&self, occurrences: &[OccurrenceKey]) -> Result<BTreeSet<OccurrenceKey>, StoreError> {
        self.journal.claimed(occurrences).await
    }

    async fn record(&self, turn: &Turn) -> Result<(), StoreError> {
        if turn.is_empty() {
            return Ok(());
        }
        let (stall, disk, crash) = self.outside.with(|truth| {
            let stall = std::mem::take(&mut truth.stall);
            let now = truth.now();
            let disk = truth.disk.filter(|(until, _)| now < *until);
            let crash = match &mut truth.crash {
                Some(Crash::Record { left: 0, durable }) => Some(*durable),
                Some(Crash::Record { left, .. }) => {
                    *left -= 1;
                    None
                }
                _ => None,
            };
            (stall, disk, crash)
        });
        if stall > 0 {
            self.outside.with(|truth| {
                truth.hit("stall");
                let now = truth.now();
                truth.note(Wrong::Stalled, now, now + stall + 60 * SECOND, None);
            });
            let began = self.outside.with(|truth| truth.now());
            tokio::time::sleep(Duration::from_micros(u64::try_from(stall).unwrap())).await;
            // A machine that was suspended meanwhile stood still for longer.
            self.outside.with(|truth| {
                let ended = truth.now();
                truth.note(Wrong::Stalled, began, ended + 60 * SECOND, None);
            });
        }
        if let Some((_, late)) = disk {
            self.outside.with(|truth| truth.hit("disk error"));
            if late {
                // It is durable, and the program is told otherwise.
                let _ = self.journal.record(turn).await;
                self.note_durable(turn);
            }
            return Err(Self::broken());
        }
        if crash == Some(false) {
            self.outside.with(|truth| truth.hit("crash before a record"));
            self.outside.vanish().await;
        }
        let recorded = self.journal.record(turn).await;
        if recorded.is_ok() {
            self.note_durable(turn);
        }
        if crash == Some(true) {
            self.outside.with(|truth| truth.hit("crash after a record"));
            self.outside.vanish().await;
        }
        recorded
    }

    async fn overrides(&self) -> Result<Vec<Override>, StoreError> {
        self.journal.overrides().await
    }

    async fn last_config(&self) -> Result<Option<StoredConfig>, StoreError> {
        self.journal.last_config().await
    }

    async fn config_at(&self, at: Timestamp) -> Result<Option<ConfigEntry>, StoreError> {
        self.journal.config_at(at).await
    }

    async fn history(&self, query: &HistoryQuery) -> Result<Vec<Entry>, StoreError> {
        self.journal.history(query).await
    }

    async fn run(
        &self,
        id: sunup::domain::name::RunId,
    ) -> Result<Option<(RunRecord, Vec<AttemptRecord>)>, StoreError> {
        self.journal.run(id).await
    }

    async fn withdraw(&self, now: Timestamp) -> Result<Withdrawn, StoreError> {
        let is_broken = self.outside.with(|truth| {
            let at = truth.now();
            truth.disk.is_some_and(|(until, _)| at < until)
        });
        if is_broken { Err(Self::broken()) } else { self.journal.withdraw(now).await }
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.journal.prune(before).await
    }
}
