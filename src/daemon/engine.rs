//! The engine: one task that owns all progress. It decides, records and acts, then waits for the next moment or report.

mod census;
mod chores;
mod hear;
mod journal;
mod parts;
mod time;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

pub use self::parts::{Beat, Cause, EngineError, Freshness, Input, Mode, Parts, Reload};
use super::absence::Absence;
pub use super::account::AccountLine;
use super::book::Book;
use super::claims::{self, overdue};
pub use super::claims::{PersonRun, Reach};
use super::dispatch::{Act, Alarm, dispatch};
use super::draft::Draft;
use super::io::{self, Talk};
use super::overrides::Change;
use super::probes::PROBE_LIMIT;
pub use super::reload::Difference;
use super::reload::adopt;
pub use super::trust::RELEASED;
use super::trust::{ClockWatch, Step, Trust};
use super::{overrides, view, waiting};
use crate::domain::name::{AttemptId, RunId};
use crate::domain::overrides::{Override, Overrides};
use crate::domain::target::{Event, State};
use crate::planted::{Bug, is_planted};
use crate::ports::clock::{Timer, Woken};
use crate::ports::notifier::{About, Notice, NoticeKind, Told, Urgency};
use crate::ports::store::{AttemptResult, ConfigText, CoveredMark, Entry, HistoryQuery, StoredConfig};
use crate::settings::Settings;
use crate::settings::sources::Sources;

/// How many reports and commands may wait for the engine.
pub const INPUTS_MAX: usize = 1024;
/// How long a shutdown waits for requests that are on the wire: the attempt limit and a little.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(12);
/// How long until a journal that could not be written is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// A command that was held back for longer is not carried out: whoever gave it has been told so.
pub const COMMAND_AGE_MAX: Duration = Duration::from_secs(10);
/// What somebody is told whose command was held back for longer.
const HELD_TOO_LONG: &str = "the daemon held all work back for too long; nothing was done";
/// While something is to happen within this time, the clock is compared with the time since boot each [`TICK_SOON`].
const SOON: Duration = Duration::from_mins(1);
/// How soon a clock that was set without the timer being told is noticed while something is to happen soon.
const TICK_SOON: Duration = Duration::from_secs(1);
/// The same while nothing is.
const TICK: Duration = Duration::from_mins(1);
/// Without a sweep for so long the housekeeping is built again.
const SWEEP_MISSING_AFTER: Duration = Duration::from_secs(150);

/// What came of an override, and where that goes once it is durable.
type Overridden = (oneshot::Sender<Result<Vec<Override>, String>>, Result<Vec<Override>, String>);
/// What is wanted of overrides, and where goes what came of it.
type Wanted = (Change, oneshot::Sender<Result<Vec<Override>, String>>);
/// A command and where its run's number goes.
type Command = (PersonRun, oneshot::Sender<Result<RunId, String>>);

/// How far the engine is in being able to decide.
enum Phase {
    /// It has not acted yet; the marks are those of the journal, none in one-shot mode.
    Starting(Option<Vec<CoveredMark>>),
    /// It held everything and has not acted since.
    Resuming,
    /// It decides.
    AtWork,
}

/// What the journal keeps of settings.
#[must_use]
pub fn config_text(settings: &Settings) -> ConfigText {
    let sources = match settings.sources == Sources::default() {
        true => String::new(),
        false => settings.sources.to_json(),
    };
    ConfigText { text: settings.text.clone(), sources }
}

/// The engine.
pub struct Engine {
    parts: Parts,
    book: Book,
    watch: ClockWatch,
    phase: Phase,
    absence: Absence,
    /// Since when everything is held, or was held last.
    held_since: Timestamp,
    /// When the last turn wanted to be woken.
    wake_by: Timestamp,
    /// What is recorded and not yet logged: requests that can go do not wait for it.
    unsaid: Vec<super::lines::Line>,
    /// How far the clock was set since time was last counted on.
    shift: SignedDuration,
    deferred: Vec<(Duration, Input)>,
    /// People who wait for a fresh look at all groups.
    askers: Vec<oneshot::Sender<serde_json::Value>>,
    /// What people want of overrides, to be taken in this turn.
    changes: Vec<Wanted>,
    /// People who wait for their override to be durable.
    overridden: Vec<Overridden>,
    /// People who wait for their reload to be durable, and what it changed.
    reloaded: Vec<(oneshot::Sender<Difference>, Difference)>,
    shutdown_at: Option<Duration>,
    tasks: JoinSet<()>,
    store_trouble: bool,
    prune: bool,
    greet: bool,
    claims_seen: bool,
    started: Timestamp,
    last_sweep: Duration,
    /// Up to when summaries are told.
    summed_until: Timestamp,
    /// When the configuration in force was taken up.
    config_since: Timestamp,
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
        let (lines, released) = (parts.lines.clone(), parts.released);
        let mut book = Book::new(Arc::clone(&parts.settings), opening, lines);
        book.overrides = Overrides::new(parts.store.overrides().await?);
        if let Some(query) = book.kept_before() {
            book.learn_kept(&parts.store.history(&query).await?);
        }
        let failed = HistoryQuery { failed: true, limit: 1, ..HistoryQuery::default() };
        if let Some(Entry::Run(run)) = parts.store.history(&failed).await?.into_iter().next() {
            book.last_failed = Some((run.id, view::failed_words(&run)));
        }
        journal::say_unfinished(unfinished);
        Ok(Self {
            parts,
            book,
            watch: ClockWatch::new(reading, released),
            phase: Phase::Starting(marks),
            absence: Absence::down_until(reading.wall),
            held_since: reading.wall,
            wake_by: Timestamp::MAX,
            unsaid: Vec::new(),
            shift: SignedDuration::ZERO,
            deferred: Vec::new(),
            askers: Vec::new(),
            changes: Vec::new(),
            overridden: Vec::new(),
            reloaded: Vec::new(),
            shutdown_at: None,
            tasks: JoinSet::new(),
            store_trouble: false,
            prune: false,
            greet: false,
            claims_seen: false,
            started: reading.wall,
            last_sweep: reading.boot,
            summed_until: reading.wall,
            config_since: reading.wall,
        })
    }

    /// Runs until a shutdown, or in one-shot mode until its run has ended.
    ///
    /// # Errors
    /// [`EngineError`] when the journal contradicts what the engine knows.
    pub async fn run(mut self, mut timer: Box<dyn Timer>) -> Result<(), EngineError> {
        let ended = self.work(timer.as_mut()).await;
        self.say();
        ended
    }

    async fn work(&mut self, timer: &mut dyn Timer) -> Result<(), EngineError> {
        let mut inputs = Vec::new();
        if let Some(problem) = self.parts.config_problem.clone() {
            self.config_trouble(Some(problem));
        }
        loop {
            let alarm = self.turn(std::mem::take(&mut inputs)).await?;
            self.beat();
            if self.is_over() {
                self.tasks.shutdown().await;
                return Ok(());
            }
            if !self.wait(timer, alarm, &mut inputs).await {
                return Ok(());
            }
            // Reaps tasks that have ended, so that the set does not grow.
            while self.tasks.try_join_next().is_some() {}
        }
    }

    /// Waits for the alarm, something to hear, or a clock that was set. Returns whether there is anybody left to hear from.
    async fn wait(&mut self, timer: &mut dyn Timer, alarm: Timestamp, inputs: &mut Vec<Input>) -> bool {
        loop {
            let now = self.parts.clock.read();
            let is_soon = alarm <= now.wall.saturating_add(SOON).unwrap_or(Timestamp::MAX);
            let tick = if is_soon { TICK_SOON } else { TICK };
            let bounded = self.bounded(alarm);
            tokio::select! {
                biased;
                received = self.parts.inputs.recv_many(inputs, INPUTS_MAX) => return received > 0,
                woken = timer.until(bounded) => {
                    if woken == Woken::ClockSet {
                        tracing::info!("somebody set the clock");
                        (self.parts.rebuild)();
                    }
                    return true;
                }
                // Not every clock tells the timer that it was set.
                () = tokio::time::sleep(tick) => {
                    let now = self.parts.clock.read();
                    if self.watch.has_stepped(now) || now.wall >= bounded {
                        return true;
                    }
                }
            }
        }
    }

    /// Every open target learns that the program was away, before anything else.
    fn look_at_unfinished(&mut self, draft: &mut Draft) {
        let mut interrupted: Vec<AttemptId> = Vec::new();
        for (run, server) in self.book.all_open() {
            let target = self.book.runs.get(&run).and_then(|run| run.targets.get(&server));
            if let Some(State::Asking { attempt, .. }) = target.map(|t| &t.progress.state)
                && !interrupted.contains(attempt)
            {
                interrupted.push(*attempt);
            }
            self.book.happen(draft, run, &server, &Event::Restarted);
        }
        for attempt in interrupted {
            let text = Some("the program ended while the request was on its way".to_owned());
            let (status, code, request_id) = (None, None, None);
            let result = AttemptResult::INTERRUPTED;
            let result = AttemptResult { attempt, result, status, code, text, request_id };
            draft.turn.results.push(result);
        }
    }

    /// What the first turn under a clock that can be believed, at start or after a hold, does before all else.
    fn begin_or_resume(&mut self, draft: &mut Draft) {
        match std::mem::replace(&mut self.phase, Phase::AtWork) {
            Phase::AtWork => {}
            Phase::Starting(marks) => {
                self.look_at_unfinished(draft);
                if let Some(marks) = marks {
                    let old = self.parts.old_settings.take();
                    // Rules came into force when the program began, not when it could first trust the clock.
                    let since = draft.now.saturating_sub(self.watch.age()).unwrap_or(draft.now);
                    adopt(&mut self.book, draft, marks, old.as_ref(), &self.absence, since);
                    if let Some(old) = &old {
                        overrides::tell_of_what_is_gone(&self.book, draft, old);
                    }
                    if self.parts.config_problem.is_none() {
                        let config = config_text(&self.parts.settings);
                        draft.turn.config = Some(StoredConfig { config, since });
                    }
                }
            }
            Phase::Resuming => {
                for (run, server) in self.book.all_open() {
                    self.book.happen(draft, run, &server, &Event::Resumed);
                }
                self.book.plan_all();
            }
        }
    }

    /// Whether what is heard can be decided on: nothing is under a clock that cannot be believed, or before the start is done.
    fn is_ready(&self) -> bool {
        self.watch.is_trusted() && matches!(self.phase, Phase::AtWork)
    }

    /// One turn: what happened, what is due, decide, record, act. Returns when to wake next.
    async fn turn(&mut self, inputs: Vec<Input>) -> Result<Timestamp, EngineError> {
        let reading = self.parts.clock.read();
        self.note_suspension(reading);
        match self.watch.read(reading) {
            Some(Step::Jump(by)) => {
                self.shift = self.shift.saturating_add(by);
                self.clock_jumped(by.as_secs(), reading.wall);
            }
            Some(Step::Nudge(by)) => {
                self.shift = self.shift.saturating_add(by);
                tracing::warn!(
                    clock.step_ms = by.as_millis(),
                    "the clock was set by {:.1}s",
                    by.as_secs_f64()
                );
            }
            None => {}
        }
        self.check_sweep(reading.boot);
        let mut draft = Draft::new(reading.wall);
        let late = overdue(&self.book, reading.wall).is_some() && self.is_ready();
        inputs.iter().for_each(|input| self.note_read(input));
        let mut heard = inputs;
        if self.is_ready() {
            heard.splice(0..0, self.released(reading.boot));
        }
        // Answers before new wishes: a run that begins now must not share an attempt that has just been answered.
        heard.sort_by_key(Input::rank);
        let mut commands = Vec::new();
        for input in heard {
            self.take(&mut draft, input, late, &mut commands);
        }
        let (mut alarm, mut acts) = (Alarm::default(), Vec::new());
        let is_at_work = self.watch.is_trusted() && self.shutdown_at.is_none();
        if is_at_work {
            self.withdraw(&mut draft).await?;
            self.follow_the_clock(&mut draft);
            self.look_after_a_pause(&mut draft);
            self.begin_or_resume(&mut draft);
            self.take_changes(&mut draft);
            overrides::expire(&mut self.book, &mut draft);
            alarm.at(self.book.overrides.next_end().unwrap_or(Timestamp::MAX));
            let runs: Vec<&PersonRun> = commands.iter().map(|(run, _)| run).collect();
            claims::claim_due(&mut self.book, &mut draft, &self.absence, &runs);
            self.absence = Absence::stalled();
        }
        self.take_up(&mut draft).await?;
        if is_at_work {
            waiting::end_by_time(&mut self.book, &mut draft);
            acts = dispatch(&mut self.book, &mut draft, &mut alarm);
            self.answer_askers(draft.now, &mut alarm);
        }
        self.book.finish(&mut draft);
        if is_planted(Bug::ActFirst) {
            drop(self.act(std::mem::take(&mut acts)));
        }
        self.record(&mut draft).await?;
        self.answer_people(commands, std::mem::take(&mut draft.command_runs));
        self.greet_if_wanted(&mut acts);
        let left = self.act(acts);
        let spare = alarm.moment().duration_since(self.parts.clock.now());
        // What is not said now is said after what is due.
        if io::all_left(left, spare.try_into().unwrap_or_default()).await {
            self.say();
        }
        self.chores().await;
        let released = self.is_ready() && !self.deferred.is_empty();
        alarm.at(self.watch.wakes_at(reading).unwrap_or(Timestamp::MAX));
        self.wake_by = if released { reading.wall } else { alarm.moment() };
        Ok(self.wake_by)
    }

    /// What was put off, without commands whose people have stopped waiting: those must not be carried out hours later.
    fn released(&mut self, boot: Duration) -> Vec<Input> {
        let mut released = Vec::new();
        for (since, input) in std::mem::take(&mut self.deferred) {
            match input {
                // Whoever has been told that nothing was done must not be surprised later.
                Input::Command { reply, .. }
                    if reply.is_closed() || boot.saturating_sub(since) > COMMAND_AGE_MAX =>
                {
                    let _ = reply.send(Err(HELD_TOO_LONG.into()));
                }
                Input::Override { reply, .. }
                    if reply.is_closed() || boot.saturating_sub(since) > COMMAND_AGE_MAX =>
                {
                    let _ = reply.send(Err(HELD_TOO_LONG.into()));
                }
                other => released.push(other),
            }
        }
        released
    }

    fn tell(&self, kind: NoticeKind, urgency: Urgency, told: Told) {
        let at = self.parts.clock.now();
        let Told { en: text, ko: korean } = told;
        self.parts.notifier.tell(&Notice { at, kind, urgency, text, korean, about: About::default() });
    }

    fn take(&mut self, draft: &mut Draft, input: Input, timer_late: bool, commands: &mut Vec<Command>) {
        match input {
            Input::Greeted { account, epoch, exchange } => self.greeted(draft, &account, epoch, &exchange),
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
                self.tell_summaries(draft.now);
                if timer_late {
                    tracing::error!(
                        "the timer is late: something due was not claimed, and the sweep woke the engine"
                    );
                }
            }
            Input::CheckAccounts => {
                self.greet = true;
                self.find_own_again();
            }
            Input::Probed { probe, answer } => self.book.probes.heard(probe, answer, draft.now),
            // What was read for another configuration of the account is read again.
            Input::Looked { account, generation, .. }
            | Input::Listed { account, generation, .. }
            | Input::FoundOwn { account, generation, .. }
                if !self.book.is_of_now(&account, generation) => {}
            Input::FoundOwn { account, found, .. } => self.found_own(draft, &account, found),
            Input::Groups { freshness, reply } => self.asked_for_groups(draft.now, freshness, reply),
            Input::Prune => self.prune = true,
            Input::ConfigTrouble(problem) => self.config_trouble(problem),
            Input::RereadCalendars => (self.parts.reread)(),
            Input::CalendarTrouble(problem) => self.calendar_trouble(problem),
            other if !self.is_ready() => self.put_off(other),
            Input::Answered { attempt, exchange } => self.answered(draft, attempt, &exchange),
            // What was read under another clock cannot be put in order with what happened since.
            Input::Looked { account, epoch, .. } if epoch != self.watch.epoch() => {
                self.book.look_again(&account);
            }
            Input::Listed { account, epoch, .. } if epoch != self.watch.epoch() => {
                self.book.list_again(&account);
            }
            Input::Listed { account, began, scope, groups, exchange, .. } => {
                let began = began.min(draft.now);
                self.listed(draft, &account, began, (&scope, &groups), exchange);
            }
            Input::Looked { account, began, servers, exchange, .. } => {
                self.looked(draft, &account, began.min(draft.now), &servers, exchange);
            }
            Input::Command { reply, .. } if reply.is_closed() => {}
            Input::Override { reply, .. } if reply.is_closed() => {}
            Input::Override { change, reply } => self.changes.push((change, reply)),
            // A reload claims what is due by the settings before: a command of the same moment comes after it.
            command @ Input::Command { .. } if !draft.begun.is_empty() || draft.turn.config.is_some() => {
                self.put_off(command);
            }
            Input::Command { run, reply } => commands.push((run.widened(&self.book), reply)),
            Input::Reload(reload) => self.reload(draft, *reload),
        }
    }

    /// Keeps an input until it can be decided on. New keys come into force at once: they may be what is missing.
    fn put_off(&mut self, mut input: Input) {
        if let Input::Reload(reload) = &mut input {
            self.book.take_accounts(reload.lines.clone());
            self.greet = true;
            if let Some(reply) = reload.reply.take() {
                let _ = reply.send(Difference::between(&self.book.settings, &reload.settings));
            }
        }
        self.deferred.push((self.parts.clock.read().boot, input));
    }

    /// Tells people what came of what they wanted, now that it is durable.
    fn answer_people(&mut self, commands: Vec<Command>, runs: Vec<RunId>) {
        for ((_, reply), id) in commands.into_iter().zip(runs) {
            // Whoever asked may have gone; the run goes on all the same.
            let _ = reply.send(Ok(id));
        }
        for (reply, difference) in self.reloaded.drain(..) {
            let _ = reply.send(difference);
        }
        for (reply, result) in self.overridden.drain(..) {
            let _ = reply.send(result);
        }
        for (_, reply) in self.changes.drain(..) {
            let _ = reply.send(Err("the daemon is about to end".into()));
        }
    }

    fn take_changes(&mut self, draft: &mut Draft) {
        for (change, reply) in std::mem::take(&mut self.changes) {
            let result = overrides::change(&mut self.book, draft, change);
            self.overridden.push((reply, result));
        }
    }

    fn greet_if_wanted(&mut self, acts: &mut Vec<Act>) {
        let held = self.watch.wants_to_ask(self.parts.clock.read());
        if held || std::mem::take(&mut self.greet) {
            acts.extend(self.book.accounts.keys().cloned().map(|account| Act::Greet { account }));
        }
    }

    /// Does what was decided. The channel that it returns ends when all requests have their place on the wire.
    fn act(&mut self, acts: Vec<Act>) -> mpsc::Receiver<Infallible> {
        let (leaving, left) = mpsc::channel(1);
        for act in acts {
            let account = match &act {
                Act::Probe { probe } => {
                    let (prober, reports) = (Arc::clone(&self.parts.prober), self.parts.reports.clone());
                    let task = io::probe(prober, probe.clone(), PROBE_LIMIT, reports);
                    self.tasks.spawn_on(task, &self.parts.io);
                    continue;
                }
                Act::Ask { account, .. }
                | Act::Look { account, .. }
                | Act::List { account, .. }
                | Act::FindOwn { account }
                | Act::Greet { account } => account,
            };
            let Some(state) = self.book.accounts.get(account) else {
                continue;
            };
            let (clock, reports) = (Arc::clone(&self.parts.clock), self.parts.reports.clone());
            let (account, generation) = (account.clone(), state.generation);
            let talk = Talk { account, generation, line: state.line.clone(), clock, reports };
            let io = &self.parts.io;
            match act {
                Act::Ask { attempt, action, servers, decided, not_after, .. } => {
                    let while_true = decided..=not_after;
                    self.tasks.spawn_on(talk.ask(attempt, action, servers, while_true, leaving.clone()), io);
                }
                Act::Look { servers, limit, .. } => {
                    let epoch = self.watch.epoch();
                    self.tasks.spawn_on(talk.look(servers, limit, epoch), io);
                }
                Act::List { scope, groups, limit, .. } => {
                    let epoch = self.watch.epoch();
                    self.tasks.spawn_on(talk.list(scope, groups, limit, epoch), io);
                }
                Act::FindOwn { .. } => {
                    self.tasks.spawn_on(talk.find_own(Arc::clone(&self.parts.host)), io);
                }
                Act::Greet { .. } => {
                    let epoch = self.watch.epoch();
                    self.tasks.spawn_on(talk.greet(epoch), io);
                }
                Act::Probe { .. } => {}
            }
        }
        left
    }

    async fn chores(&mut self) {
        // A clock in the future would forget everything.
        if !self.watch.is_trusted() || !std::mem::take(&mut self.prune) {
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
                Trust::Trusted if self.store_trouble => Some("the journal cannot be written".into()),
                Trust::Trusted => None,
                Trust::Held { why, .. } => Some(why.text.clone()),
            },
            config_problem: self.parts.config_problem.clone(),
            calendar_problem: self.parts.calendar_problem.clone(),
            config_since: self.config_since,
        }
    }
}
