//! A world for the engine: a clock that stands still until the engine waits, a cloud in memory, a journal in a folder.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use sunup::adapters::store::{Holder, SqliteStore};
use sunup::daemon::engine::{AccountLine, Engine, EngineError, Input, Mode, Parts, PersonRun, Reach};
use sunup::daemon::rate::Bucket;
use sunup::domain::name::{AccountName, Action, GroupName, RunId};
use sunup::domain::overrides::Override;
use sunup::ports::clock::{Clock, Reading, Timer, Woken};
use sunup::ports::store::{
    AttemptRecord, ConfigEntry, ConfigText, Entry, HistoryQuery, OccurrenceKey, Opening, RunRecord, Store,
    StoreError, StoredConfig, Turn, Withdrawn,
};
use sunup::sandbox::model::{Model, Server};
use sunup::settings::Settings;
use sunup::settings::sources::Sources;
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use crate::sky::{Bad, Fate};
use crate::sky::{Ear, Home, Knocker, Sky};

/// Everything outside the engine.
pub(crate) struct Outside {
    pub(crate) wall: Timestamp,
    boot: Duration,
    pub(crate) model: Model,
    pub(crate) fates: VecDeque<Fate>,
    /// Mutating requests: `HH:MM:SS action numbers`.
    pub(crate) asked: Vec<String>,
    /// How many reads came.
    pub(crate) reads: usize,
    /// How many lists were read, each with all its pages.
    pub(crate) lists: usize,
    /// Whether all requests that can be on the wire at once are, before the first of them is answered.
    pub(crate) answers_later: bool,
    /// Servers that no request moves: what the cloud does with a batch that holds one.
    pub(crate) bad: BTreeMap<String, Bad>,
    /// When probes begin to pass; those not named never do.
    pub(crate) opens: BTreeMap<String, Timestamp>,
    /// Probes that are answered with a clear no.
    pub(crate) shut: Vec<String>,
    /// The servers that have this machine's address; `None` if its addresses cannot be known.
    pub(crate) own: Option<Vec<String>>,
    /// Reads and requests reach nobody from the first moment to the second.
    pub(crate) outage: Option<(Timestamp, Timestamp)>,
    /// Accounts whose keys are refused.
    pub(crate) locked_out: Vec<String>,
    /// The cloud's clock minus ours.
    pub(crate) difference: SignedDuration,
    /// Whether reads reach the cloud.
    pub(crate) reachable: bool,
    /// What the engine is told at moments to come, soonest first.
    pub(crate) planned: VecDeque<(Timestamp, Input)>,
    pub(crate) notices: Vec<String>,
    pub(crate) korean: Vec<String>,
    /// What the journal's file is to fail with, and the requests that were seen while it did.
    pub(crate) store_fails: bool,
    pub(crate) turns: usize,
    /// When accounts were greeted.
    pub(crate) greeted: Vec<Timestamp>,
    /// What each commit held: how many claims, and how many intents.
    pub(crate) commits: Vec<(usize, usize)>,
    /// The engine is told to end when the clock would pass this moment.
    until: Timestamp,
}

pub(crate) type Shared = Arc<Mutex<Outside>>;

/// A world with a configuration.
pub(crate) struct World {
    pub(crate) outside: Shared,
    folder: tempfile::TempDir,
    text: String,
    pub(crate) released: Timestamp,
}

const ACCOUNT: &str = "[accounts.main]\nregion = \"KR\"\n";

impl World {
    /// At this moment, with stopped servers 1001 to 1005 that boot in 20 s.
    pub(crate) fn at(moment: &str) -> Self {
        let servers = (1001..=1005).map(|no| {
            let mut server = Server::new("access", &no.to_string(), &format!("srv-{no}"), "NSTOP", "NULL");
            server.boot = (20_000_000, 20_000_000);
            server
        });
        let wall: Timestamp = moment.parse().unwrap();
        let outside = Outside {
            wall,
            boot: Duration::from_secs(1000),
            model: Model::new(servers, 1),
            fates: VecDeque::new(),
            answers_later: false,
            asked: Vec::new(),
            reads: 0,
            lists: 0,
            bad: BTreeMap::new(),
            opens: BTreeMap::new(),
            shut: Vec::new(),
            own: Some(Vec::new()),
            outage: None,
            locked_out: Vec::new(),
            difference: SignedDuration::ZERO,
            reachable: true,
            planned: VecDeque::new(),
            notices: Vec::new(),
            korean: Vec::new(),
            store_fails: false,
            turns: 0,
            greeted: Vec::new(),
            commits: Vec::new(),
            until: wall,
        };
        let groups = "[groups.web]\nservers = [\"1001\", \"1002\"]\n[groups.db]\nservers = [\"1003\"]\n";
        let text = format!("timezone = \"UTC\"\n{ACCOUNT}{groups}");
        Self {
            outside: Arc::new(Mutex::new(outside)),
            folder: tempfile::tempdir().unwrap(),
            text,
            released: Timestamp::MIN,
        }
    }

    /// Adds to the configuration.
    pub(crate) fn with(mut self, more: &str) -> Self {
        self.text.push_str(more);
        self
    }

    /// What WORKDAYS and HOLIDAYS mean where a rule does not say.
    pub(crate) fn calendar(mut self, name: &str) -> Self {
        self.text.insert_str(0, &format!("calendar = \"{name}\"\n"));
        self
    }

    pub(crate) fn is_valid(&self) -> bool {
        Settings::read(&self.text).is_ok()
    }

    /// The next mutating requests meet these fates; later ones are done.
    pub(crate) fn fates(self, fates: &[Fate]) -> Self {
        self.outside.lock().unwrap().fates.extend(fates);
        self
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Outside)) {
        change(&mut self.outside.lock().unwrap());
    }

    /// Puts a server into a state, as a person in the console would.
    pub(crate) fn force(&mut self, no: &str, status: &str, operation: &str) {
        self.change(|outside| {
            let now = outside.micros();
            outside.model.force("access", no, status, operation, now);
        });
    }

    /// Another configuration from now on.
    pub(crate) fn configure(&mut self, from: &str, to: &str) {
        assert!(self.text.contains(from), "{from} is not in {}", self.text);
        self.text = self.text.replace(from, to);
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::new(Settings::read(&self.text).unwrap_or_else(|problems| panic!("{problems:#?}")).settings)
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("sunup.db")
    }

    /// Time passes without anybody running.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.change(|outside| outside.advance(Duration::from_secs(seconds)));
    }

    /// The clock is set, and time since boot does not know.
    pub(crate) fn set_clock(&mut self, seconds: i64) {
        self.change(|outside| outside.wall += SignedDuration::from_secs(seconds));
    }

    /// A fleet of `count` servers from 1001 on instead, made by a closure from numbered ones.
    pub(crate) fn fleet(self, count: u32, make: impl Fn(u32, &mut Server)) -> Self {
        let servers = (1001..1001 + count).map(|no| {
            let mut server = Server::new("access", &no.to_string(), &format!("srv-{no}"), "NSTOP", "NULL");
            server.boot = (20_000_000, 20_000_000);
            make(no, &mut server);
            server
        });
        self.outside.lock().unwrap().model = Model::new(servers, 1);
        self
    }

    /// Another configuration altogether.
    pub(crate) fn only(mut self, text: &str) -> Self {
        self.text = text.to_owned();
        self
    }

    /// Runs the engine for so long, then has it shut down tidily.
    pub(crate) async fn run(&mut self, seconds: u64) {
        self.run_with(seconds, vec![]).await.unwrap();
    }

    /// Runs the engine for so long and then lets it vanish, as `kill -9` would.
    pub(crate) async fn run_and_kill(&mut self, seconds: u64) {
        let killed = Arc::new(Notify::new());
        let (engine, _inputs, timer) = self.engine(seconds, Ending::Kill(Arc::clone(&killed))).await;
        tokio::select! {
            ended = engine.run(timer) => panic!("it ended by itself: {ended:?}"),
            () = killed.notified() => {}
        }
    }

    pub(crate) async fn run_with(&mut self, seconds: u64, inputs: Vec<Input>) -> Result<(), EngineError> {
        let (engine, sender, timer) = self.engine(seconds, Ending::Shutdown).await;
        for input in inputs {
            sender.send(input).await.unwrap();
        }
        drop(sender);
        // The hang limit: virtual time costs nothing, so nothing here takes long.
        tokio::time::timeout(Duration::from_secs(60), engine.run(timer)).await.expect("the engine hangs")
    }

    async fn engine(
        &mut self,
        seconds: u64,
        ending: Ending,
    ) -> (Engine, mpsc::Sender<Input>, Box<dyn Timer>) {
        let clock: Arc<dyn Clock> = Arc::new(Hand(Arc::clone(&self.outside)));
        let inner = SqliteStore::open(&self.path(), Holder::Daemon).await.unwrap();
        let old = inner.last_config().await.unwrap().map(|stored| settings_of(&stored.config));
        let settings = self.settings();
        let store: Arc<dyn Store> = Arc::new(Fragile { inner, outside: Arc::clone(&self.outside) });
        let (inputs, receiver) = mpsc::channel(1024);
        let outside = Arc::clone(&self.outside);
        let parts = Parts {
            mode: Mode::Daemon,
            settings,
            old_settings: old,
            config_problem: None,
            calendar_problem: None,
            lines: lines(&self.outside, &clock, &self.settings()),
            clock,
            store,
            notifier: Arc::new(Ear(Arc::clone(&self.outside))),
            meter: Arc::new(sunup::ports::meter::Uncounted),
            prober: Arc::new(Knocker(Arc::clone(&self.outside))),
            host: Arc::new(Home),
            io: tokio::runtime::Handle::current(),
            inputs: receiver,
            reports: inputs.clone(),
            alive: Box::new(move |_| outside.lock().unwrap().turns += 1),
            rebuild: Box::new(|| {}),
            reread: Box::new(|| {}),
            // Some worlds lie in the past.
            released: self.released,
            alive_every: None,
        };
        self.change(|outside| outside.until = outside.wall + Duration::from_secs(seconds));
        let timer = VirtualTimer { outside: Arc::clone(&self.outside), inputs: inputs.clone(), ending };
        (Engine::new(parts).await.unwrap(), inputs, Box::new(timer))
    }

    pub(crate) async fn history(&self) -> Vec<Entry> {
        let store = SqliteStore::open_to_read(&self.path()).await.unwrap();
        let mut entries =
            store.history(&HistoryQuery { limit: 10_000, ..HistoryQuery::default() }).await.unwrap();
        entries.reverse();
        entries
    }

    /// The attempts of a run.
    pub(crate) async fn attempts(&self, run: RunId) -> Vec<AttemptRecord> {
        let store = SqliteStore::open_to_read(&self.path()).await.unwrap();
        store.run(run).await.unwrap().unwrap().1
    }

    pub(crate) fn notices(&self) -> Vec<String> {
        self.outside.lock().unwrap().notices.clone()
    }

    /// The same in Korean, without the kinds.
    pub(crate) fn korean(&self) -> Vec<String> {
        self.outside.lock().unwrap().korean.clone()
    }

    /// What `history --failed` finds.
    pub(crate) async fn failed(&self) -> Vec<Entry> {
        let store = SqliteStore::open_to_read(&self.path()).await.unwrap();
        store.history(&HistoryQuery { failed: true, limit: 100, ..HistoryQuery::default() }).await.unwrap()
    }

    /// Each run as `RULE OUTCOME: SERVER outcome, …`, each range as `RULE missed N`.
    pub(crate) async fn told(&self) -> Vec<String> {
        let show = |entry: &Entry| match entry {
            Entry::Missed(range) => {
                format!("{} missed {} ({})", range.rule, range.count, range.cause.kind.word())
            }
            Entry::Run(run) => {
                let outcome = run.ended.map_or("open", |(outcome, _)| outcome.word());
                let targets: Vec<String> = run
                    .targets
                    .iter()
                    .map(|t| {
                        format!(
                            "{} {}",
                            t.target.server.no,
                            t.target.progress.outcome().map_or("open", |o| o.word())
                        )
                    })
                    .collect();
                format!("{} {outcome}: {}", run.head.origin.words(), targets.join(", "))
            }
            Entry::Override(_) | Entry::Config(_) => panic!("runs and misses alone were asked for"),
        };
        self.history().await.iter().map(show).collect()
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.outside.lock().unwrap().asked.clone()
    }

    /// New settings with their accounts, for a reload.
    pub(crate) fn reload(&self) -> Input {
        let clock: Arc<dyn Clock> = Arc::new(Hand(Arc::clone(&self.outside)));
        let lines = lines(&self.outside, &clock, &self.settings());
        Input::Reload(Box::new(sunup::daemon::engine::Reload {
            settings: self.settings(),
            lines,
            cause: sunup::daemon::engine::Cause::Configuration,
            reply: None,
        }))
    }
}

/// Settings as the journal keeps them.
fn settings_of(config: &ConfigText) -> Settings {
    Settings::read_with(&config.text, &Sources::from_json(&config.sources)).unwrap().settings
}

/// A command by a person for one group.
pub(crate) fn command(action: Action, group: &str) -> (Input, oneshot::Receiver<Result<RunId, String>>) {
    given(person(action, group))
}

/// A command; the receiver must be kept, since a command whose giver has gone is not carried out.
pub(crate) fn given(run: PersonRun) -> (Input, oneshot::Receiver<Result<RunId, String>>) {
    let (reply, answer) = oneshot::channel();
    (Input::Command { run, reply }, answer)
}

/// What a person wants of a group.
pub(crate) fn person(action: Action, group: &str) -> PersonRun {
    let groups = vec![GroupName::new(group).unwrap()];
    let (reach, waived, servers) = (Reach::Alone, BTreeSet::new(), vec![]);
    PersonRun { action, groups, servers, reach, waived, who: "tester".into() }
}

fn lines(
    outside: &Shared,
    clock: &Arc<dyn Clock>,
    settings: &Settings,
) -> BTreeMap<AccountName, AccountLine> {
    let line = |account: &sunup::settings::Account| {
        let bucket = Arc::new(Bucket::new(account.rate, Arc::clone(clock)));
        let key = key_of(account.name.as_str());
        let cloud = Arc::new(Sky { outside: Arc::clone(outside), key });
        (account.name.clone(), AccountLine::new(cloud, bucket, account.batch))
    };
    settings.accounts.values().map(line).collect()
}

/// The access key of an account: what the model knows it by.
fn key_of(account: &str) -> String {
    if account == "main" { "access".into() } else { account.into() }
}

impl Outside {
    fn advance(&mut self, by: Duration) {
        self.wall += by;
        self.boot += by;
    }

    pub(crate) fn micros(&self) -> i64 {
        // The cloud's own time does not follow our clock when that is set.
        i64::try_from(self.boot.as_micros()).unwrap()
    }
}

struct Hand(Shared);

impl Clock for Hand {
    fn read(&self) -> Reading {
        let outside = self.0.lock().unwrap();
        Reading { wall: outside.wall, boot: outside.boot, awake: outside.boot }
    }
}

enum Ending {
    Shutdown,
    Kill(Arc<Notify>),
}

/// Moves the clock to whatever moment the engine waits for.
struct VirtualTimer {
    outside: Shared,
    inputs: mpsc::Sender<Input>,
    ending: Ending,
}

#[async_trait(?Send)]
impl Timer for VirtualTimer {
    async fn until(&mut self, moment: Timestamp) -> Woken {
        // Whatever can still happen now happens first. Who waits for minutes has nothing on the wire.
        let idle = moment.duration_since(self.outside.lock().unwrap().wall) > SignedDuration::from_secs(100);
        for _ in 0..if idle { 6 } else { 50 } {
            tokio::task::yield_now().await;
        }
        let (end, planned) = {
            let mut outside = self.outside.lock().unwrap();
            let end = outside.until;
            let first = outside.planned.front().map_or(Timestamp::MAX, |(at, _)| *at);
            let target = moment.min(first).clamp(outside.wall, end.max(outside.wall));
            // At least a millisecond: an engine that waits for the past must not stop the world.
            let step = Duration::try_from(target.duration_since(outside.wall))
                .unwrap()
                .max(Duration::from_millis(1));
            outside.advance(step);
            let is_time = outside.planned.front().is_some_and(|(at, _)| *at <= outside.wall);
            let planned = if is_time { outside.planned.pop_front() } else { None };
            (outside.wall >= end, planned)
        };
        if let Some((_, input)) = planned {
            self.inputs.send(input).await.unwrap();
        }
        if end {
            match &self.ending {
                Ending::Shutdown => self.inputs.send(Input::Shutdown).await.unwrap(),
                Ending::Kill(killed) => {
                    killed.notify_one();
                    std::future::pending::<()>().await;
                }
            }
        }
        Woken::Due
    }
}

/// A journal whose writes can fail.
struct Fragile {
    inner: SqliteStore,
    outside: Shared,
}

#[async_trait]
impl Store for Fragile {
    async fn open_state(&self) -> Result<Opening, StoreError> {
        self.inner.open_state().await
    }

    async fn claimed(&self, occurrences: &[OccurrenceKey]) -> Result<BTreeSet<OccurrenceKey>, StoreError> {
        self.inner.claimed(occurrences).await
    }

    async fn record(&self, turn: &Turn) -> Result<(), StoreError> {
        let fails = {
            let mut outside = self.outside.lock().unwrap();
            if outside.store_fails && !turn.is_empty() {
                // Time passes while the disk is full; a minute later it is not.
                outside.advance(Duration::from_secs(10));
                outside.store_fails = outside.wall < outside.until && outside.wall.as_second() % 60 >= 10;
                true
            } else {
                false
            }
        };
        if fails {
            return Err(StoreError::Unusable { journal: "sunup.db".into(), what: "the disk is full".into() });
        }
        if !turn.is_empty() {
            self.outside.lock().unwrap().commits.push((turn.claims.len(), turn.intents.len()));
        }
        self.inner.record(turn).await
    }

    async fn overrides(&self) -> Result<Vec<Override>, StoreError> {
        self.inner.overrides().await
    }

    async fn last_config(&self) -> Result<Option<StoredConfig>, StoreError> {
        self.inner.last_config().await
    }

    async fn config_at(&self, at: Timestamp) -> Result<Option<ConfigEntry>, StoreError> {
        self.inner.config_at(at).await
    }

    async fn history(&self, query: &HistoryQuery) -> Result<Vec<Entry>, StoreError> {
        self.inner.history(query).await
    }

    async fn run(&self, id: RunId) -> Result<Option<(RunRecord, Vec<AttemptRecord>)>, StoreError> {
        self.inner.run(id).await
    }

    async fn withdraw(&self, now: Timestamp) -> Result<Withdrawn, StoreError> {
        self.inner.withdraw(now).await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.inner.prune(before).await
    }
}
