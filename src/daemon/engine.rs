//! The engine: one task that owns all progress. It decides, records and acts, then waits for the next moment or report.

mod hear;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

pub use super::book::AccountLine;
use super::book::{Book, Draft};
pub use super::claims::PersonRun;
use super::claims::{self, overdue};
use super::dispatch::{Act, Alarm, dispatch};
use super::io::Talk;
use super::lines::Line;
pub use super::reload::Difference;
use super::reload::{absence_at_start, adopt};
use super::trust::{ClockWatch, Trust};
use super::view;
use crate::domain::name::{AccountName, AttemptId, RunId, ServerNo};
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::retry::Answer;
use crate::domain::target::{Event, State};
use crate::ports::clock::{Clock, Timer, Woken};
use crate::ports::cloud::{Exchange, ReadError, ServerView};
use crate::ports::notifier::{Notice, NoticeKind, Notifier, Urgency};
use crate::ports::store::{AttemptResult, CoveredMark, Store, StoreError, Turn};
use crate::settings::Settings;

/// How many reports and commands may wait for the engine.
pub const INPUTS_MAX: usize = 1024;
/// How long a shutdown waits for requests that are on the wire: the attempt limit and a little.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(12);
/// How long until a journal that could not be written is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// Without a sweep for so long the housekeeping is built again.
const SWEEP_MISSING_AFTER: Duration = Duration::from_secs(150);

/// Something that the engine is told.
pub enum Input {
    /// An attempt was answered, or is known to have no answer.
    Answered {
        /// The attempt.
        attempt: AttemptId,
        /// What came of it.
        exchange: Exchange<Answer>,
    },
    /// A read came back.
    Looked {
        /// The account.
        account: AccountName,
        /// When it began.
        began: Timestamp,
        /// The servers that were asked for.
        servers: Vec<ServerNo>,
        /// What came of it.
        exchange: Exchange<Result<Vec<ServerView>, ReadError>>,
    },
    /// A greeting came back.
    Greeted {
        /// The account.
        account: AccountName,
        /// What came of it.
        exchange: Exchange<Result<(), ReadError>>,
    },
    /// The housekeeping's second clock ticked.
    Sweep,
    /// Housekeeping: compare keys and clock with every account.
    CheckAccounts,
    /// Housekeeping: forget what is older than the settings keep.
    Prune,
    /// New settings, already found good.
    Reload(Box<Reload>),
    /// A configuration that could not be used, in words; `None` when it is good again.
    ConfigTrouble(Option<String>),
    /// A command by a person.
    Command {
        /// What is wanted.
        run: PersonRun,
        /// Where the run's number goes.
        reply: oneshot::Sender<Result<RunId, String>>,
    },
    /// Somebody wants to know how things are.
    Status(oneshot::Sender<serde_json::Value>),
    /// No new work; leave what is in flight safely.
    Shutdown,
}

/// New settings with their accounts.
pub struct Reload {
    /// The settings.
    pub settings: Arc<Settings>,
    /// Their accounts.
    pub lines: BTreeMap<AccountName, AccountLine>,
    /// Where the difference goes.
    pub reply: Option<oneshot::Sender<Difference>>,
}

/// Whether the engine is the daemon's or carries out one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Rules are due, until a shutdown.
    Daemon,
    /// No rule is due; it ends when its run has ended.
    OneShot,
}

/// All that an engine is made of.
pub struct Parts {
    /// Daemon or one-shot.
    pub mode: Mode,
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// The settings that were in force when the journal's marks were made.
    pub old_settings: Option<Settings>,
    /// What is wrong with the configuration file, if the settings are not from it.
    pub config_problem: Option<String>,
    /// The accounts.
    pub lines: BTreeMap<AccountName, AccountLine>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The journal.
    pub store: Arc<dyn Store>,
    /// Somebody to tell.
    pub notifier: Arc<dyn Notifier>,
    /// Where tasks that talk to the cloud run.
    pub io: Handle,
    /// Reports from tasks, and commands.
    pub inputs: mpsc::Receiver<Input>,
    /// For the tasks to report.
    pub reports: mpsc::Sender<Input>,
    /// Called with each turn: feeds watchdogs with the engine's own progress.
    pub alive: Box<dyn FnMut(&Beat) + Send>,
    /// Has the housekeeping built again: after a set clock its scheduler may stay silent.
    pub rebuild: Box<dyn Fn() + Send>,
    /// How often `alive` is to be called even when nothing happens.
    pub alive_every: Option<Duration>,
}

/// How the engine is, for watchdogs and status lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Open runs.
    pub open_runs: usize,
    /// The next due moment.
    pub next_due: Option<Timestamp>,
    /// Why it acts on nothing at present.
    pub held: Option<String>,
    /// What is wrong with the configuration file.
    pub config_problem: Option<String>,
}

/// Why the engine ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The journal contradicts what the engine knows: it must begin again from the journal.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The engine.
pub struct Engine {
    parts: Parts,
    book: Book,
    watch: ClockWatch,
    marks: Option<Vec<CoveredMark>>,
    absence: Reason,
    deferred: Vec<Input>,
    shutdown_at: Option<Duration>,
    tasks: JoinSet<()>,
    store_trouble: bool,
    prune: bool,
    greet: bool,
    claims_seen: bool,
    started: Timestamp,
    last_sweep: Duration,
}

impl Engine {
    /// An engine over what the journal knows.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn new(parts: Parts) -> Result<Self, EngineError> {
        let opening = parts.store.open_state().await?;
        let reading = parts.clock.read();
        let marks = (parts.mode == Mode::Daemon).then(|| opening.marks.clone());
        let unfinished = opening.runs.len();
        let lines = parts.lines.clone();
        let book = Book::new(Arc::clone(&parts.settings), opening, lines);
        if unfinished > 0 {
            tracing::warn!(
                runs = unfinished,
                "{unfinished} runs were left unfinished: their servers are looked at first"
            );
        }
        Ok(Self {
            parts,
            book,
            watch: ClockWatch::new(reading),
            marks,
            absence: absence_at_start(reading.wall),
            deferred: Vec::new(),
            shutdown_at: None,
            tasks: JoinSet::new(),
            store_trouble: false,
            prune: false,
            greet: false,
            claims_seen: false,
            started: reading.wall,
            last_sweep: reading.boot,
        })
    }

    /// Runs until a shutdown, or in one-shot mode until its run has ended.
    ///
    /// # Errors
    /// [`EngineError`] when the journal contradicts what the engine knows.
    pub async fn run(mut self, mut timer: Box<dyn Timer>) -> Result<(), EngineError> {
        self.look_at_unfinished().await?;
        let mut inputs = Vec::new();
        loop {
            let alarm = self.turn(std::mem::take(&mut inputs)).await?;
            self.beat();
            if self.is_over() {
                self.tasks.shutdown().await;
                return Ok(());
            }
            let alarm = self.bounded(alarm);
            tokio::select! {
                biased;
                received = self.parts.inputs.recv_many(&mut inputs, INPUTS_MAX) => {
                    if received == 0 {
                        return Ok(());
                    }
                }
                woken = timer.until(alarm) => {
                    if woken == Woken::ClockSet {
                        tracing::info!("somebody set the clock");
                        (self.parts.rebuild)();
                    }
                }
            }
            // Reaps tasks that have ended, so that the set does not grow.
            while self.tasks.try_join_next().is_some() {}
        }
    }

    /// Every open target learns that the program was away, before anything else.
    async fn look_at_unfinished(&mut self) -> Result<(), EngineError> {
        let mut draft = Draft::new(self.parts.clock.now());
        let mut interrupted: Vec<AttemptId> = Vec::new();
        for (run, server) in self.book.all_open() {
            let target = self.book.runs.get(&run).and_then(|run| run.targets.get(&server));
            if let Some(State::Asking { attempt, .. }) = target.map(|t| &t.progress.state)
                && !interrupted.contains(attempt)
            {
                interrupted.push(*attempt);
            }
            self.book.happen(&mut draft, run, &server, &Event::Restarted);
        }
        for attempt in interrupted {
            let text = Some("the program ended while the request was on its way".to_owned());
            let (status, code, request_id) = (None, None, None);
            draft.turn.results.push(AttemptResult {
                attempt,
                result: "interrupted",
                status,
                code,
                text,
                request_id,
            });
        }
        self.book.finish(&mut draft);
        self.record(&mut draft).await
    }

    /// One turn: what happened, what is due, decide, record, act. Returns when to wake next.
    async fn turn(&mut self, inputs: Vec<Input>) -> Result<Timestamp, EngineError> {
        let reading = self.parts.clock.read();
        if let Some(step) = self.watch.read(reading) {
            self.clock_stepped(step.0.as_secs());
        }
        self.check_sweep(reading.boot);
        let mut draft = Draft::new(reading.wall);
        let mut replies = Vec::new();
        let was_trusted = self.watch.is_trusted();
        let late = overdue(&self.book, reading.wall).filter(|_| was_trusted && self.marks.is_none());
        let mut all = inputs;
        if was_trusted && self.marks.is_none() {
            all.splice(0..0, std::mem::take(&mut self.deferred));
        }
        for input in all {
            self.take(&mut draft, input, late.is_some(), &mut replies).await?;
        }
        let mut alarm = Alarm::default();
        let mut acts = Vec::new();
        if self.watch.is_trusted() && self.shutdown_at.is_none() {
            if let Some(marks) = self.marks.take() {
                let old = self.parts.old_settings.take();
                adopt(&mut self.book, &mut draft, marks, old.as_ref(), &self.absence);
            }
            claims::claim_due(&mut self.book, &mut draft, &self.absence);
            self.absence = Reason::new(ReasonKind::Stalled, "sunup or its machine stood still");
            for (run, server) in self.book.all_open() {
                self.book.happen(&mut draft, run, &server, &Event::Time);
            }
            acts = dispatch(&mut self.book, &mut draft, &mut alarm);
        }
        self.book.finish(&mut draft);
        let claiming = !draft.turn.claims.is_empty();
        self.record(&mut draft).await?;
        for (reply, id) in replies.into_iter().zip(std::mem::take(&mut draft.command_runs)) {
            // Whoever asked may have gone; the run goes on all the same.
            let _ = reply.send(id.ok_or_else(|| "the run could not be claimed".to_owned()));
        }
        self.greet_if_wanted(&mut acts);
        self.act(acts);
        self.chores().await;
        let released = self.watch.is_trusted() && !self.deferred.is_empty();
        alarm.at(self.watch.wakes_at(reading).unwrap_or(Timestamp::MAX));
        Ok(if claiming || released { reading.wall } else { alarm.moment() })
    }

    fn check_sweep(&mut self, boot: Duration) {
        if self.parts.mode == Mode::Daemon && boot.saturating_sub(self.last_sweep) > SWEEP_MISSING_AFTER {
            tracing::error!(
                "the housekeeping has been silent for {}s: it is built again",
                SWEEP_MISSING_AFTER.as_secs()
            );
            self.last_sweep = boot;
            (self.parts.rebuild)();
        }
    }

    fn clock_stepped(&mut self, seconds: i64) {
        (self.parts.rebuild)();
        self.absence = Reason::new(ReasonKind::Clock, format!("the clock jumped by {seconds}s"));
        self.tell(
            NoticeKind::Trouble,
            Urgency::NeedsAPerson,
            format!("the clock jumped by {seconds}s: nothing is started or stopped until the cloud's clock agrees."),
        );
    }

    fn tell(&self, kind: NoticeKind, urgency: Urgency, text: String) {
        self.parts.notifier.tell(&Notice { kind, urgency, text });
    }

    async fn take(
        &mut self,
        draft: &mut Draft,
        input: Input,
        timer_late: bool,
        replies: &mut Vec<oneshot::Sender<Result<RunId, String>>>,
    ) -> Result<(), EngineError> {
        match input {
            Input::Greeted { account, exchange } => self.greeted(draft, &account, &exchange),
            Input::Status(reply) => {
                let _ = reply.send(view::status(&self.book, self.started, &self.beat_of(), draft.now));
            }
            Input::Shutdown => {
                if self.shutdown_at.is_none() {
                    self.shutdown_at = Some(self.parts.clock.read().boot + SHUTDOWN_LIMIT);
                }
            }
            Input::Sweep => {
                self.last_sweep = self.parts.clock.read().boot;
                if timer_late {
                    tracing::error!(
                        "the timer is late: something due was not claimed, and the sweep woke the engine"
                    );
                }
            }
            Input::CheckAccounts => self.greet = true,
            Input::Prune => self.prune = true,
            Input::ConfigTrouble(problem) => self.config_trouble(problem),
            // Nothing is decided or recorded under a clock that cannot be believed.
            other if !self.watch.is_trusted() || self.marks.is_some() => self.deferred.push(other),
            Input::Answered { attempt, exchange } => self.answered(draft, attempt, &exchange),
            Input::Looked { account, began, servers, exchange } => {
                self.looked(draft, &account, began, &servers, exchange);
            }
            Input::Command { run, reply } => {
                claims::claim_command(&mut self.book, draft, &run);
                replies.push(reply);
            }
            Input::Reload(reload) => self.reload(draft, *reload).await?,
        }
        Ok(())
    }

    /// Records a draft. A journal that cannot be written stops everything until it can.
    async fn record(&mut self, draft: &mut Draft) -> Result<(), EngineError> {
        let recorded = loop {
            match self.parts.store.record(&draft.turn).await {
                Ok(recorded) => break recorded,
                Err(StoreError::Unusable { journal, what }) => {
                    if !self.store_trouble {
                        self.store_trouble = true;
                        let text = format!(
                            "the journal {journal} cannot be written, so nothing is started or stopped: {what}"
                        );
                        self.tell(NoticeKind::Trouble, Urgency::NeedsAPerson, text);
                    }
                    if self.store_trouble_ends_it() {
                        return Err(StoreError::Unusable { journal, what }.into());
                    }
                    tokio::time::sleep(STORE_RETRY).await;
                }
                Err(conflict) => return Err(conflict.into()),
            }
        };
        if self.store_trouble {
            self.store_trouble = false;
            self.tell(NoticeKind::Recovered, Urgency::GoodToKnow, "the journal can be written again.".into());
        }
        claims::claimed(&mut self.book, draft, &recorded);
        self.claims_seen |= !draft.command_runs.is_empty();
        draft.lines.iter().for_each(Line::emit);
        draft.lines.clear();
        for notice in draft.notices.drain(..) {
            self.parts.notifier.tell(&notice);
        }
        draft.turn = Turn::default();
        Ok(())
    }

    /// While the journal is in trouble, only a shutdown is listened to.
    fn store_trouble_ends_it(&mut self) -> bool {
        while self.deferred.len() < INPUTS_MAX {
            match self.parts.inputs.try_recv() {
                Ok(Input::Shutdown) => return true,
                Ok(other) => self.deferred.push(other),
                Err(_) => break,
            }
        }
        false
    }

    fn greet_if_wanted(&mut self, acts: &mut Vec<Act>) {
        let held = self.watch.wants_to_ask(self.parts.clock.read());
        if held || std::mem::take(&mut self.greet) {
            acts.extend(self.book.accounts.keys().cloned().map(|account| Act::Greet { account }));
        }
    }

    fn act(&mut self, acts: Vec<Act>) {
        for act in acts {
            let (Act::Ask { account, .. } | Act::Look { account, .. } | Act::Greet { account }) = &act;
            let Some(state) = self.book.accounts.get(account) else {
                continue;
            };
            let (clock, reports) = (Arc::clone(&self.parts.clock), self.parts.reports.clone());
            let talk = Talk { account: account.clone(), line: state.line.clone(), clock, reports };
            let io = &self.parts.io;
            match act {
                Act::Ask { attempt, action, servers, not_after, .. } => {
                    self.tasks.spawn_on(talk.ask(attempt, action, servers, not_after), io);
                }
                Act::Look { servers, limit, .. } => {
                    self.tasks.spawn_on(talk.look(servers, limit), io);
                }
                Act::Greet { .. } => {
                    self.tasks.spawn_on(talk.greet(), io);
                }
            }
        }
    }

    async fn chores(&mut self) {
        if !std::mem::take(&mut self.prune) {
            return;
        }
        let before =
            self.parts.clock.now().saturating_sub(self.parts.settings.keep).unwrap_or(Timestamp::UNIX_EPOCH);
        match self.parts.store.prune(before).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "{rows} entries from before {before} were forgotten"),
            Err(error) => tracing::warn!("old entries could not be forgotten: {error}"),
        }
    }

    fn is_over(&self) -> bool {
        let idle = self.book.attempts.is_empty();
        if let Some(limit) = self.shutdown_at {
            return idle || self.parts.clock.read().boot >= limit;
        }
        self.parts.mode == Mode::OneShot && self.claims_seen && self.book.runs.is_empty() && idle
    }

    fn bounded(&self, alarm: Timestamp) -> Timestamp {
        let now = self.parts.clock.read();
        let soonest = |after: Duration| now.wall.saturating_add(after).unwrap_or(Timestamp::MAX);
        let shutdown = self.shutdown_at.map(|limit| soonest(limit.saturating_sub(now.boot)));
        let beat = self.parts.alive_every.map(soonest);
        let sweep = (self.parts.mode == Mode::Daemon)
            .then(|| soonest((self.last_sweep + SWEEP_MISSING_AFTER + STORE_RETRY).saturating_sub(now.boot)));
        [Some(alarm), shutdown, beat, sweep].into_iter().flatten().min().unwrap_or(alarm)
    }

    fn beat(&mut self) {
        let beat = self.beat_of();
        (self.parts.alive)(&beat);
    }

    fn beat_of(&self) -> Beat {
        Beat {
            open_runs: self.book.runs.len(),
            next_due: self.book.queue.first().map(|occurrence| occurrence.due),
            held: match self.watch.trust() {
                Trust::Trusted => None,
                Trust::Held { why, .. } => Some(why.text.clone()),
            },
            config_problem: self.parts.config_problem.clone(),
        }
    }
}
