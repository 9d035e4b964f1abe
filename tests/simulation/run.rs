//! One simulation: lives of an engine one after another, the events of its scenario, and the history that is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use sunup::audit::history::{
    Attempt, Deed, History, Journal, Keep, Micros, Missed, Pause, Planned, Run, SECOND, Target, Wrong,
};
use sunup::audit::{Verdict, judge};
use sunup::daemon::engine::{AccountLine, Cause, Engine, Input, Mode, Parts, PersonRun, Reach, Reload};
use sunup::daemon::overrides::Change;
use sunup::daemon::rate::Bucket;
use sunup::domain::name::{Action, GroupName};
use sunup::domain::overrides::{Kind, Scope};
use sunup::domain::target::{ATTEMPT_LIMIT, State};
use sunup::ports::clock::Clock;
use sunup::ports::store::{Origin, Waiver};
use sunup::sandbox::model::{Model, Server};
use sunup::settings::Settings;
use sunup::settings::sources::Sources;
use tokio::sync::{mpsc, oneshot};

use crate::chance::Chance;
use crate::cloud::SECRETS;
use crate::memory::MemoryStore;
use crate::outside::{Crash, Disk, Outside};
use crate::scenario::{DAY, Event, Kept, MINUTE, Paused, Scenario, away};

/// How long a start takes in the simulated cloud, shortest and longest.
const BOOT: (Micros, Micros) = (15 * SECOND, 90 * SECOND);
/// How long after a start the program may need before it acts: the clock is compared with the cloud's.
const GETTING_READY: Micros = 90 * SECOND;
/// A watchdog starts the program again this long after it has ended by itself.
const RESTART: Micros = 10 * SECOND;

/// What came of one seed.
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    /// What happened, line by line.
    pub(crate) trace: Vec<String>,
    pub(crate) hits: BTreeMap<&'static str, u64>,
    pub(crate) history: History,
}

/// Runs a seed to its end, on this thread, in no time.
pub(crate) fn simulate(seed: u64, days: i64) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let scenario = Scenario::new(seed, days);
        let mut simulation = Simulation::new(seed, scenario);
        simulation.live_on().await;
        simulation.report()
    })
}

/// The configuration of a seed.
pub(crate) fn text(seed: u64, days: i64) -> String {
    Scenario::new(seed, days).text
}

struct Simulation {
    scenario: Scenario,
    outside: Outside,
    journal: MemoryStore,
    chance: Chance,
    snapshots: Vec<Journal>,
    settings: Arc<Settings>,
}

impl Simulation {
    fn new(seed: u64, scenario: Scenario) -> Self {
        let servers = scenario.names.iter().enumerate().map(|(index, name)| {
            let mut server = Server::new(SECRETS[0], &(1001 + index).to_string(), name, "NSTOP", "NULL");
            server.boot = BOOT;
            server
        });
        let outside = Outside::new(Model::new(servers, seed), seed);
        let settings = Settings::read(&scenario.text)
            .unwrap_or_else(|problems| panic!("{problems:#?}\n{}", scenario.text));
        Self {
            scenario,
            outside,
            journal: MemoryStore::default(),
            chance: Chance::new(seed ^ 0x11FE),
            snapshots: Vec::new(),
            settings: Arc::new(settings.settings),
        }
    }

    fn now(&self) -> Micros {
        self.outside.with(|truth| truth.now())
    }

    /// One life after another until the end of the last day.
    async fn live_on(&mut self) {
        let director = Director {
            outside: self.outside.clone(),
            settings: Arc::clone(&self.settings),
            weather: self.scenario.weather.clone(),
        };
        let directing = tokio::spawn(director.direct(self.scenario.events.clone()));
        let end = self.scenario.days * DAY;
        while self.now() < end {
            let was_killed = self.live(end).await;
            let now = self.now();
            self.outside.with(|truth| {
                truth.is_up = false;
                truth.inputs = None;
                truth.crash = None;
            });
            if now >= end {
                break;
            }
            self.snapshots.push(self.journal_of());
            // Whoever comes back near the end has time to settle everything.
            let most = (end - now - 2 * crate::scenario::HOUR).max(RESTART);
            let down = if was_killed { away(&mut self.chance).min(most) } else { RESTART };
            self.outside.with(|truth| {
                let line = format!("{now} down for {down}");
                truth.trace.push(line);
            });
            tokio::time::sleep(Duration::from_micros(u64::try_from(down).unwrap())).await;
            // The machine may have slept meanwhile.
            self.outside.with(|truth| {
                let ready = truth.now() + GETTING_READY;
                truth.note(Wrong::Down, now, ready, None);
            });
        }
        directing.abort();
    }

    /// One life. Returns whether it was cut off from outside.
    async fn live(&mut self, end: Micros) -> bool {
        let outside = self.outside.clone();
        let clock: Arc<dyn Clock> = Arc::new(outside.clone());
        let old = self.journal.config().map(|config| {
            Settings::read_with(&config.text, &Sources::from_json(&config.sources)).unwrap().settings
        });
        let (inputs, receiver) = mpsc::channel(1024);
        outside.with(|truth| (truth.is_up, truth.inputs) = (true, Some(inputs.clone())));
        let parts = Parts {
            mode: Mode::Daemon,
            settings: Arc::clone(&self.settings),
            old_settings: old,
            config_problem: None,
            calendar_problem: None,
            lines: lines(&outside, &self.settings),
            clock,
            store: Arc::new(Disk { outside: outside.clone(), journal: self.journal.clone() }),
            notifier: Arc::new(outside.clone()),
            meter: Arc::new(sunup::ports::meter::Uncounted),
            prober: Arc::new(outside.clone()),
            host: Arc::new(outside.clone()),
            io: tokio::runtime::Handle::current(),
            inputs: receiver,
            reports: inputs,
            alive: Box::new(|_| {}),
            rebuild: Box::new(|| {}),
            reread: Box::new(|| {}),
            released: jiff::Timestamp::MIN,
            alive_every: None,
        };
        let engine = Engine::new(parts).await.unwrap();
        let left = Duration::from_micros(u64::try_from(end - self.now()).unwrap_or(0));
        tokio::select! {
            biased;
            () = self.outside.killed.notified() => true,
            ended = engine.run(Box::new(outside)) => {
                self.outside.with(|truth| truth.trace.push(format!("ended by itself: {ended:?}")));
                false
            }
            () = tokio::time::sleep(left) => false,
        }
    }

    /// The journal as the checker reads it.
    fn journal_of(&self) -> Journal {
        let held = self.journal.0.lock().unwrap();
        let mut journal = Journal::default();
        for (id, row) in &held.runs {
            let rule = match &row.head.origin {
                Origin::Rule(rule) => Some(rule.to_string()),
                Origin::Person(_) | Origin::Keep { .. } => None,
            };
            journal.runs.push(Run {
                id: id.0,
                rule,
                deed: deed(row.head.action),
                planned: row.head.planned.as_microsecond(),
                due: row.head.due.as_microsecond(),
                window_end: row.head.window_end.as_microsecond(),
                claimed: row.head.claimed.as_microsecond(),
                ended: row.ended.map(|(outcome, at)| (outcome.word().to_owned(), at.as_microsecond())),
                withdrawn: row.withdrawn.map(|at| at.as_microsecond()),
                is_whole: row.resolution.pending.is_empty() && row.resolution.empty.is_empty(),
                breaks_keeps: row.head.waived.contains(&Waiver::Keeps),
            });
            for (server, record) in &row.targets {
                let ended = match &record.target.progress.state {
                    State::Ended { outcome, at } => {
                        let kind = outcome.reason().map(|reason| reason.kind.word().to_owned());
                        Some((outcome.word().to_owned(), kind, at.as_microsecond()))
                    }
                    _ => None,
                };
                let groups = self.scenario.groups_of(&server.no);
                journal.targets.push(Target { run: id.0, server: server.to_string(), groups, ended });
            }
        }
        for (id, attempt) in &held.attempts {
            let targets = attempt.targets.iter().map(|(run, server)| (run.0, server.to_string())).collect();
            let answered = attempt.answered.map(|at| at.as_microsecond()).zip(attempt.result.clone());
            journal.attempts.push(Attempt {
                id: id.0,
                deed: deed(attempt.action),
                targets,
                intended: attempt.intended.as_microsecond(),
                answered,
                status: attempt.status.map(i64::from),
            });
        }
        for (index, missed) in held.missed.iter().enumerate() {
            journal.missed.push(Missed {
                id: i64::try_from(index).unwrap(),
                rule: missed.rule.to_string(),
                deed: deed(missed.action),
                first: missed.first.as_microsecond(),
                last: missed.last.as_microsecond(),
                count: i64::try_from(missed.count).unwrap(),
                kind: missed.cause.kind.word().to_owned(),
                recorded: held.recorded[index].as_microsecond(),
                withdrawn: missed.withdrawn.map(|at| at.as_microsecond()),
            });
        }
        for one in held.overrides.values() {
            let name = |word: &str| (one.scope.word() == word).then(|| one.scope.name());
            let (from, until) = (one.from.as_microsecond(), one.end().as_microsecond());
            match one.kind {
                Kind::Keep { forbids, .. } => journal.keeps.push(Keep {
                    id: one.id.0,
                    forbids: deed(forbids),
                    group: name("group"),
                    server: name("server"),
                    from,
                    until,
                }),
                Kind::Pause | Kind::Skip => {
                    journal.pauses.push(Pause { id: one.id.0, rule: name("rule"), from, until });
                }
            }
        }
        journal
    }

    fn report(self) -> Report {
        let journal = self.journal_of();
        let planned: BTreeSet<&'static str> =
            self.scenario.events.iter().map(|(_, event)| event.name()).collect();
        let outside = self.outside.clone();
        outside.with(|truth| {
            let hits = std::mem::take(&mut truth.hits);
            let planned = planned
                .iter()
                .map(|name| Planned { name: (*name).into(), hits: *hits.get(name).unwrap_or(&0) });
            truth.states.sort_by_key(|state| state.at);
            let mut texts = std::mem::take(&mut truth.texts);
            texts.extend(self.journal.config().map(|config| config.text));
            let history = History {
                owed: self.scenario.owed,
                journal,
                snapshots: self.snapshots,
                cloud_known: true,
                faults_known: true,
                requests: std::mem::take(&mut truth.requests),
                reads: std::mem::take(&mut truth.reads),
                states: std::mem::take(&mut truth.states),
                turns: std::mem::take(&mut truth.turns),
                durable: std::mem::take(&mut truth.durable),
                faults: std::mem::take(&mut truth.faults),
                planned: planned.collect(),
                clock: std::mem::take(&mut truth.clock),
                needs: self.scenario.needs,
                never_stopped: self.scenario.never_stopped,
                attempt_limit: i64::try_from(ATTEMPT_LIMIT.as_micros()).unwrap(),
                boot_limit: 5 * MINUTE,
                until: self.scenario.days * DAY,
                texts,
                secrets: SECRETS.iter().map(|secret| (*secret).to_owned()).collect(),
            };
            let mut trace = std::mem::take(&mut truth.trace);
            trace.extend(history.journal.attempts.iter().map(|attempt| format!("{attempt:?}")));
            trace.extend(history.journal.targets.iter().map(|target| format!("{target:?}")));
            trace.extend(history.journal.missed.iter().map(|missed| format!("{missed:?}")));
            Report { verdict: judge(&history), trace, hits, history }
        })
    }
}

fn scope_of(paused: Paused) -> Scope {
    let (word, name) = match paused {
        Paused::Rule(index) => ("rule", format!("r{index}")),
        Paused::Group(index) => ("group", format!("g{index}")),
    };
    Scope::from_words(word, &name).unwrap()
}

fn kept_of(kept: Kept) -> Scope {
    let (word, name) = match kept {
        Kept::Group(index) => ("group", format!("g{index}")),
        Kept::Server(index) => ("server", format!("main/{}", 1001 + index)),
    };
    Scope::from_words(word, &name).unwrap()
}

fn deed(action: Action) -> Deed {
    match action {
        Action::Start => Deed::Start,
        Action::Stop => Deed::Stop,
    }
}

fn lines(outside: &Outside, settings: &Settings) -> BTreeMap<sunup::domain::name::AccountName, AccountLine> {
    let clock: Arc<dyn Clock> = Arc::new(outside.clone());
    let line = |account: &sunup::settings::Account| {
        let bucket = Arc::new(Bucket::new(account.rate, Arc::clone(&clock)));
        (account.name.clone(), AccountLine::new(Arc::new(outside.clone()), bucket, account.batch))
    };
    settings.accounts.values().map(line).collect()
}

/// Makes the events of a scenario happen.
struct Director {
    outside: Outside,
    settings: Arc<Settings>,
    weather: Vec<i64>,
}

impl Director {
    async fn direct(self, events: Vec<(Micros, Event)>) {
        let mut steps: Vec<(Micros, Option<Event>)> =
            events.into_iter().map(|(at, event)| (at, Some(event))).collect();
        steps.extend((0..self.weather.len()).map(|day| (i64::try_from(day).unwrap() * DAY, None)));
        steps.sort_by_key(|(at, _)| *at);
        for (at, event) in steps {
            let wait = at - self.outside.with(|truth| truth.now());
            tokio::time::sleep(Duration::from_micros(u64::try_from(wait).unwrap_or(0))).await;
            match event {
                Some(event) => self.happen(event).await,
                None => {
                    let day = usize::try_from(at / DAY).unwrap();
                    self.outside.with(|truth| truth.weather = self.weather[day]);
                }
            }
        }
    }

    async fn happen(&self, event: Event) {
        let name = event.name();
        let outside = &self.outside;
        let (now, is_up) = outside.with(|truth| (truth.now(), truth.is_up));
        let counts = !matches!(
            event,
            Event::CrashAtRecord { .. } | Event::CrashAtRequest { .. } | Event::Disk { .. } | Event::Stall(_)
        );
        if counts {
            outside.with(|truth| truth.hit(name));
        }
        match event {
            Event::Kill(_) if is_up => outside.killed.notify_one(),
            Event::Kill(_) => {}
            Event::CrashAtRecord { nth, durable } => {
                outside.with(|truth| truth.crash = Some(Crash::Record { left: nth, durable }));
            }
            Event::CrashAtRequest { nth, left } => {
                outside.with(|truth| truth.crash = Some(Crash::Request { left: nth, gone: left }));
            }
            Event::Step { by, told, lasts } => self.step(by, told, lasts).await,
            // Whoever is down does not notice, and is down for long enough.
            Event::Suspend(length) => {
                if outside.with(|truth| truth.is_up) {
                    outside.suspend(length);
                }
            }
            Event::Stall(length) => outside.with(|truth| truth.stall = length),
            Event::Disk { lasts, late } => outside.with(|truth| {
                truth.disk = Some((now + lasts, late));
                truth.note(Wrong::Store, now, now + lasts + 30 * SECOND, None);
            }),
            Event::Outage(lasts) => outside.with(|truth| {
                truth.outage_until = now + lasts;
                truth.note(Wrong::Cloud, now, now + lasts + 30 * SECOND, None);
            }),
            Event::Keys(lasts) => outside.with(|truth| {
                truth.keys_until = now + lasts;
                truth.note(Wrong::Keys, now, now + lasts + 150 * SECOND, None);
                truth.note(Wrong::Cloud, now, now + lasts + 30 * SECOND, None);
            }),
            Event::Force { server, status } => self.force(server, status, now + crate::scenario::HOUR),
            Event::Delete { server } => self.force(server, "TERMT", Micros::MAX),
            Event::Command { deed, group } => self.command(deed, group).await,
            Event::Pause { of, lasts } => {
                let until = self.outside.now().saturating_add(SignedDuration::from_micros(lasts)).unwrap();
                let (scope, reason, who) = (scope_of(of), String::new(), "tester".into());
                let kind = Kind::Pause;
                self.override_by(Change::Make { kind, scope, from: None, until, reason, who }).await;
            }
            Event::Resume(of) => {
                self.override_by(Change::End { scope: scope_of(of), who: "tester".into() }).await;
            }
            Event::Keep { of, forbids, then, lasts } => {
                let until = self.outside.now().saturating_add(SignedDuration::from_micros(lasts)).unwrap();
                let forbids = if forbids == Deed::Stop { Action::Stop } else { Action::Start };
                let (scope, reason, who) = (kept_of(of), String::new(), "tester".into());
                let kind = Kind::Keep { forbids, then };
                self.override_by(Change::Make { kind, scope, from: None, until, reason, who }).await;
            }
            Event::EndKeep(of) => {
                self.override_by(Change::End { scope: kept_of(of), who: "tester".into() }).await;
            }
            Event::Reload => self.reload().await,
        }
    }

    /// The clock is wrong for a while.
    async fn step(&self, by: Micros, told: bool, lasts: Micros) {
        let now = self.outside.with(|truth| truth.now());
        self.outside.with(|truth| truth.note(Wrong::Clock, now, now + lasts + 180 * SECOND, None));
        self.outside.set_clock(by, told);
        tokio::time::sleep(Duration::from_micros(u64::try_from(lasts).unwrap())).await;
        self.outside.set_clock(0, told);
        self.outside.with(|truth| truth.trace.push(format!("clock {by} for {lasts}")));
    }

    fn force(&self, server: usize, status: &str, until: Micros) {
        self.outside.with(|truth| {
            truth.advance();
            let now = truth.now();
            let no = (1001 + server).to_string();
            let is_gone = truth.model.all().any(|server| server.no == no && server.status == "TERMT");
            if !is_gone {
                let change = truth.model.force(SECRETS[0], &no, status, "NULL", now);
                truth.changed(change.into_iter().collect());
                truth.note(Wrong::People, now, until, Some(format!("main/{no}")));
            }
        });
    }

    async fn command(&self, deed: Deed, group: usize) {
        let Some(inputs) = self.outside.with(|truth| truth.inputs.clone()) else { return };
        let (reply, answer) = oneshot::channel();
        let run = PersonRun {
            action: if deed == Deed::Start { Action::Start } else { Action::Stop },
            groups: vec![GroupName::new(&format!("g{group}")).unwrap()],
            servers: Vec::new(),
            reach: Reach::Alone,
            waived: BTreeSet::new(),
            who: "tester".into(),
        };
        // Whoever asked waits for the answer; nobody may be there to give it.
        let _ = inputs.send(Input::Command { run, reply }).await;
        tokio::spawn(answer);
    }

    async fn override_by(&self, change: Change) {
        let Some(inputs) = self.outside.with(|truth| truth.inputs.clone()) else { return };
        let (reply, answer) = oneshot::channel();
        // As above.
        let _ = inputs.send(Input::Override { change, reply }).await;
        tokio::spawn(answer);
    }

    async fn reload(&self) {
        let (settings, inputs) =
            (Arc::clone(&self.settings), self.outside.with(|truth| truth.inputs.clone()));
        let Some(inputs) = inputs else { return };
        let now = self.outside.with(|truth| truth.now());
        self.outside.with(|truth| truth.note(Wrong::Reload, now, now, None));
        let lines = lines(&self.outside, &settings);
        let reload = Reload { settings, lines, cause: Cause::Configuration, reply: None };
        // As above.
        let _ = inputs.send(Input::Reload(Box::new(reload))).await;
    }
}
