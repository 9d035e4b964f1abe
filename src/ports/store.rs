//! The journal: runs, targets, attempts and covered marks. It speaks in intentions; every change is conditional.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::name::{Action, AttemptId, GroupName, OverrideId, RuleName, RunId, ServerId};
use crate::domain::outcome::{Reason, RunOutcome};
use crate::domain::overrides::Override;
use crate::domain::target::Progress;

/// Who or what wanted a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An occurrence of a rule.
    Rule(RuleName),
    /// A command by a person; the name is as the command gave it.
    Person(String),
    /// The end of a keep: what it held back is made up for.
    Keep {
        /// Its number.
        id: OverrideId,
        /// Who made it, as the command gave it.
        who: String,
    },
}

impl Origin {
    /// The rule, where one wanted it.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleName> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Person(_) | Self::Keep { .. } => None,
        }
    }

    /// The origin for people and logs.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Rule(rule) => format!("rule {rule}"),
            Self::Person(who) => format!("command by {who}"),
            Self::Keep { id, who } => format!("end of keep {} by {who}", id.0),
        }
    }

    /// The origin for people who are told in Korean.
    #[must_use]
    pub fn korean(&self) -> String {
        match self {
            Self::Rule(rule) => format!("규칙 {rule}"),
            Self::Person(who) => format!("{who}의 명령"),
            Self::Keep { id, who } => format!("{who}의 keep {} 종료", id.0),
        }
    }
}

/// What a person's command passes once that holds other runs back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiver {
    /// Running servers of groups that come after.
    Dependents,
    /// `servers_per_run`, `requests_per_hour` and `on_growth`.
    Limits,
    /// Keeps by people.
    Keeps,
}

impl Waiver {
    /// The word in the journal and on the control socket.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Dependents => "dependents",
            Self::Limits => "limits",
            Self::Keeps => "keeps",
        }
    }

    /// Reads [`Waiver::word`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Dependents, Self::Limits, Self::Keeps].into_iter().find(|waiver| waiver.word() == word)
    }
}

/// What is fixed for a run from its claim on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunHead {
    /// Who or what wanted it.
    pub origin: Origin,
    /// What it does.
    pub action: Action,
    /// The groups it was made for; empty for a command that named servers.
    pub groups: Vec<GroupName>,
    /// The planned moment; for a command, when it came.
    pub planned: Timestamp,
    /// When it was due.
    pub due: Timestamp,
    /// The end of its window.
    pub window_end: Timestamp,
    /// When it was claimed.
    pub claimed: Timestamp,
    /// What it passes that holds other runs back.
    pub waived: BTreeSet<Waiver>,
}

impl RunHead {
    /// The occurrence that it stands for; none for what a person or a keep wants.
    #[must_use]
    pub fn occurrence(&self) -> Option<OccurrenceKey> {
        Some((self.origin.rule()?.clone(), self.planned, self.action))
    }
}

/// Which of a run's groups do not yet stand in its targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Their servers are not known yet.
    pub pending: BTreeSet<GroupName>,
    /// No server matches.
    pub empty: BTreeSet<GroupName>,
}

/// What tells an occurrence from every other one: its rule, its planned moment and its action.
pub type OccurrenceKey = (RuleName, Timestamp, Action);

/// A run to be claimed, with its targets as they stand at the end of its first turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its number, which no run had before.
    pub run: RunId,
    /// What is fixed.
    pub head: RunHead,
    /// Its targets.
    pub targets: Vec<Target>,
    /// Its groups without targets.
    pub resolution: Resolution,
    /// The outcome and its reason, for a run that ends where it begins.
    pub ended: Option<(RunOutcome, String)>,
}

/// One target of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The server.
    pub server: ServerId,
    /// Its name, where a read has shown it.
    pub name: Option<String>,
    /// The groups of the run that hold it, as they stood when it was made; empty for a server that a command named.
    pub groups: Vec<GroupName>,
    /// How long it may take from accepted to its goal.
    pub limit: Duration,
    /// How far it is.
    pub progress: Progress,
    /// How often it was written: a change names the revision that it replaces.
    pub revision: i64,
}

/// A claimed run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// Its number.
    pub id: RunId,
    /// What is fixed.
    pub head: RunHead,
    /// Its targets, ended ones too.
    pub targets: Vec<Target>,
    /// Its groups without targets.
    pub resolution: Resolution,
}

/// What became known of an open run's groups after its claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// The run.
    pub run: RunId,
    /// Its groups without targets from now on.
    pub resolution: Resolution,
    /// Further targets.
    pub targets: Vec<Target>,
    /// Targets that turned out to belong to these groups of the run.
    pub regrouped: Vec<(ServerId, Vec<GroupName>)>,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why, where its targets do not say it; empty otherwise.
    pub reason: String,
}

/// An intent: the record that must be durable before the request leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The number of the attempt.
    pub attempt: AttemptId,
    /// What is asked.
    pub action: Action,
    /// The targets it is asked for. Several runs may share one server.
    pub targets: Vec<(RunId, ServerId)>,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// The attempt.
    pub attempt: AttemptId,
    /// `accepted`, `refused`, `not-sent`, `unanswered` or [`AttemptResult::INTERRUPTED`].
    pub result: &'static str,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The cloud's code, where the answer had one.
    pub code: Option<String>,
    /// The cloud's text or ours.
    pub text: Option<String>,
    /// The cloud's request id.
    pub request_id: Option<String>,
}

impl AttemptResult {
    /// The result of an attempt that was on its way when the program ended.
    pub const INTERRUPTED: &'static str = "interrupted";
}

/// A change of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The run.
    pub run: RunId,
    /// The server.
    pub server: ServerId,
    /// The server's name, where a read has shown it.
    pub name: Option<String>,
    /// The revision that is replaced.
    pub revision: i64,
    /// The new progress.
    pub progress: Progress,
}

/// Occurrences of one rule that passed without a deed, as a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissedRange {
    /// The rule.
    pub rule: RuleName,
    /// What it would have done.
    pub action: Action,
    /// The first planned moment.
    pub first: Timestamp,
    /// The last planned moment.
    pub last: Timestamp,
    /// When the last one was due.
    pub due_last: Timestamp,
    /// How many they are.
    pub count: u64,
    /// Why.
    pub cause: Reason,
    /// When it was withdrawn, since a wrong clock had made it; `None` as it is recorded.
    pub withdrawn: Option<Timestamp>,
}

/// How far a rule's occurrences are decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoveredMark {
    /// The rule.
    pub rule: RuleName,
    /// Its schedule as it was: [`crate::domain::rule::Rule::fingerprint`].
    pub fingerprint: String,
    /// Every occurrence due up to this moment is decided.
    pub until: Timestamp,
    /// When a span closes that began under older calendars, and that the schedule no longer knows.
    pub closes: Option<Timestamp>,
}

/// All that one turn of the engine records: one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// When the turn was decided.
    pub at: Option<Timestamp>,
    /// Runs to be claimed.
    pub claims: Vec<Claim>,
    /// What became known of open runs' groups.
    pub additions: Vec<Addition>,
    /// Changed targets.
    pub changes: Vec<Change>,
    /// Intents of requests that leave after this.
    pub intents: Vec<Intent>,
    /// Results of earlier attempts.
    pub results: Vec<AttemptResult>,
    /// Runs whose last target ended.
    pub ends: Vec<End>,
    /// How many servers groups had at a good run.
    pub sizes: Vec<(GroupName, usize)>,
    /// Servers that were left running, and since when, or that are not any more.
    pub left_running: Vec<(ServerId, Option<Timestamp>)>,
    /// Occurrences that passed.
    pub missed: Vec<MissedRange>,
    /// Covered marks that moved.
    pub marks: Vec<CoveredMark>,
    /// Rules whose marks are dropped, because they are gone.
    pub dropped_marks: Vec<RuleName>,
    /// A configuration that comes into force with this turn's marks.
    pub config: Option<StoredConfig>,
    /// Late sights of ended targets.
    pub remarks: Vec<(RunId, ServerId, String)>,
    /// Overrides that come into force, each with a number of its own.
    pub overrides: Vec<Override>,
    /// Overrides that end, as they ended. Each ends once.
    pub overrides_ended: Vec<Override>,
}

impl Turn {
    /// Whether there is nothing to record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Self { at: self.at, ..Self::default() } == *self
    }
}

/// What the journal knows when the daemon starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// Runs that have not ended.
    pub runs: Vec<OpenRun>,
    /// Covered marks of all rules.
    pub marks: Vec<CoveredMark>,
    /// How many servers each group had at its last good run.
    pub sizes: BTreeMap<GroupName, usize>,
    /// The servers that the last deed for them left running, and when they were seen so.
    pub left_running: BTreeMap<ServerId, Timestamp>,
    /// The highest run number that was ever given.
    pub last_run: i64,
    /// The highest attempt number.
    pub last_attempt: i64,
    /// The moments of the mutating requests of the last hour.
    pub recent_attempts: Vec<Timestamp>,
    /// Requests of the last minutes whose answer is not known, newest last: they may still arrive.
    pub unanswered: Vec<(ServerId, Action, Timestamp)>,
    /// Targets of lately ended or open runs that ended without being at the goal for sure, and when.
    pub doubtful: Vec<Doubtful>,
}

/// A target that ended while its server may still have been on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubtful {
    /// Its run.
    pub run: RunId,
    /// Its server.
    pub server: ServerId,
    /// What the run did.
    pub action: Action,
    /// How far it came.
    pub progress: Progress,
}

/// What was withdrawn because a wrong clock had decided it: see [`Store::withdraw`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withdrawn {
    /// Runs that are marked.
    pub runs: Vec<RunId>,
    /// How many ranges of missed occurrences are marked.
    pub misses: u64,
    /// Rules that had been decided too far, and up to which moment they are decided now.
    pub reopened: Vec<(RuleName, Timestamp)>,
    /// Overrides that are in force again: by the right clock their time is not up, and nothing was asked at their end.
    pub overrides: Vec<OverrideId>,
    /// Runs that stay although they lie after that: something was asked for them.
    pub kept: BTreeSet<OccurrenceKey>,
}

/// A configuration as it is kept: all that is needed to read it again later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigText {
    /// Its text. It holds no secret: the file may not.
    pub text: String,
    /// What its calendars rested on, as JSON; empty if nothing.
    pub sources: String,
}

/// A configuration that was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredConfig {
    /// The configuration.
    pub config: ConfigText,
    /// When it came into force; the earlier moment where the same one is recorded again.
    pub since: Timestamp,
}

/// Which runs of the past are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only with this server, by number or name.
    pub server: Option<String>,
    /// Only due at or after this moment.
    pub from: Option<Timestamp>,
    /// Only due before this moment.
    pub to: Option<Timestamp>,
    /// Only what was at work or in force at this moment.
    pub at: Option<Timestamp>,
    /// Only those that ended other than `done`.
    pub failed: bool,
    /// Overrides and configurations too, unless only what failed is wanted.
    pub whole: bool,
    /// At most so many, the newest ones.
    pub limit: u32,
}

/// One entry of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A run.
    Run(RunRecord),
    /// A range of missed occurrences.
    Missed(MissedRange),
    /// An override, by the moment from which it held.
    Override(Override),
    /// A configuration, by the moment from which it was in force.
    Config(ConfigEntry),
}

/// A configuration among the entries of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// What tells it from others: a hash over its text and what its calendars rested on.
    pub hash: String,
    /// Since when it was in force.
    pub since: Timestamp,
    /// Until when: when the next one came; `None` if it still is.
    pub until: Option<Timestamp>,
    /// Its text. It holds no secret: the file may not.
    pub text: String,
}

/// A run as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Its number.
    pub id: RunId,
    /// What is fixed.
    pub head: RunHead,
    /// Its groups without targets.
    pub resolution: Resolution,
    /// Its targets.
    pub targets: Vec<TargetRecord>,
    /// Its outcome and when it ended; `None` while it is open.
    pub ended: Option<(RunOutcome, Timestamp)>,
    /// Why a run without targets ended as it did.
    pub reason: Option<String>,
    /// When it was withdrawn, since a wrong clock had made it: its occurrence is open again.
    pub withdrawn: Option<Timestamp>,
}

/// A target as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRecord {
    /// What it is and how far.
    pub target: Target,
    /// What was seen of it after its end.
    pub remark: Option<String>,
}

/// An attempt as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Its number.
    pub id: AttemptId,
    /// What was asked.
    pub action: Action,
    /// For which servers of the run.
    pub servers: Vec<ServerId>,
    /// When the intent was recorded.
    pub intended: Timestamp,
    /// When its result was recorded.
    pub answered: Option<Timestamp>,
    /// Its result, as in [`AttemptResult::result`].
    pub result: Option<String>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The cloud's code.
    pub code: Option<String>,
    /// The cloud's text or ours.
    pub text: Option<String>,
    /// The cloud's request id.
    pub request_id: Option<String>,
}

/// Why the journal did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another daemon holds the journal.
    #[error("another daemon holds the journal `{journal}`: process {holder}")]
    Held {
        /// The journal's file.
        journal: String,
        /// The process id that the lock names, or `unknown`.
        holder: String,
    },
    /// A condition of a write did not hold: somebody else changed the row, or a request is open already. Nothing was written.
    #[error("the journal says otherwise: {what}")]
    Conflict {
        /// Which condition.
        what: String,
    },
    /// It cannot be opened, read or written.
    #[error("the journal `{journal}` cannot be used: {what}")]
    Unusable {
        /// The journal's file.
        journal: String,
        /// Why, as the store says.
        what: String,
    },
}

/// The journal.
#[async_trait]
pub trait Store: Send + Sync {
    /// What is there when the daemon starts.
    async fn open_state(&self) -> Result<Opening, StoreError>;

    /// Which of some occurrences have a run already that is not withdrawn. Only the daemon claims, so it is still true when it records.
    async fn claimed(&self, occurrences: &[OccurrenceKey]) -> Result<BTreeSet<OccurrenceKey>, StoreError>;

    /// Records a turn, all of it or nothing, durable when this returns.
    ///
    /// A condition that does not hold is a [`StoreError::Conflict`] and leaves the journal as it was: an occurrence is claimed once, a
    /// number is given once, and so on.
    async fn record(&self, turn: &Turn) -> Result<(), StoreError>;

    /// All overrides that are known, ended ones too, oldest first.
    async fn overrides(&self) -> Result<Vec<Override>, StoreError>;

    /// The configuration that was last in force.
    async fn last_config(&self) -> Result<Option<StoredConfig>, StoreError>;

    /// The configuration that was in force at a moment.
    async fn config_at(&self, at: Timestamp) -> Result<Option<ConfigEntry>, StoreError>;

    /// Entries of the past, newest first.
    async fn history(&self, query: &HistoryQuery) -> Result<Vec<Entry>, StoreError>;

    /// One run with its attempts.
    async fn run(&self, id: RunId) -> Result<Option<(RunRecord, Vec<AttemptRecord>)>, StoreError>;

    /// Takes back what a wrong clock decided for moments after `now`, which is a clock that can be believed: runs that are due
    /// later and for which nothing was asked, misses of later moments, and ends of overrides. They are marked, never deleted, and their
    /// occurrences are open again; covered marks move back accordingly. All of it or nothing, durable when this returns.
    async fn withdraw(&self, now: Timestamp) -> Result<Withdrawn, StoreError>;

    /// Forgets runs, misses and overrides that ended before a moment. Open runs, overrides in force, marks and the last configuration stay.
    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError>;
}
