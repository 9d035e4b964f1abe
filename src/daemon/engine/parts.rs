//! What an engine is made of, and what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::daemon::account::AccountLine;
use crate::daemon::claims::PersonRun;
use crate::daemon::overrides::Change;
use crate::daemon::reload::Difference;
use crate::domain::name::{AccountName, AttemptId, GroupName, RunId, ServerNo};
use crate::domain::overrides::Override;
use crate::domain::probe::{Probe, Probed};
use crate::domain::retry::Answer;
use crate::ports::clock::Clock;
use crate::ports::cloud::{Exchange, Inventory, ReadError, Scope, ServerView};
use crate::ports::host::Host;
use crate::ports::meter::Meter;
use crate::ports::notifier::Notifier;
use crate::ports::prober::Prober;
use crate::ports::store::{Store, StoreError};
use crate::settings::Settings;

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
        /// Which state of the account's configuration it was read for.
        generation: u64,
        /// When it began.
        began: Timestamp,
        /// The watch's epoch when it began.
        epoch: u64,
        /// The servers that were asked for.
        servers: Vec<ServerNo>,
        /// What came of it.
        exchange: Exchange<Result<Vec<ServerView>, ReadError>>,
    },
    /// A list came back.
    Listed {
        /// The account.
        account: AccountName,
        /// Which state of the account's configuration it was read for.
        generation: u64,
        /// When it began.
        began: Timestamp,
        /// The watch's epoch when it began.
        epoch: u64,
        /// How much of the account was asked for.
        scope: Scope,
        /// The groups that it was read for.
        groups: Vec<GroupName>,
        /// What came of it.
        exchange: Exchange<Result<Inventory, ReadError>>,
    },
    /// The servers on which the program itself runs were looked for.
    FoundOwn {
        /// The account.
        account: AccountName,
        /// Which state of the account's configuration it was read for.
        generation: u64,
        /// Those of the account, or why they are not known.
        found: Result<Vec<ServerNo>, ReadError>,
    },
    /// A probe was answered.
    Probed {
        /// What was asked.
        probe: Probe,
        /// What came of it.
        answer: Probed,
    },
    /// Somebody wants to know which servers each group has now: freshly listed, or as last known.
    Groups {
        /// How new it must be.
        freshness: Freshness,
        /// Where it goes.
        reply: oneshot::Sender<serde_json::Value>,
    },
    /// A greeting came back.
    Greeted {
        /// The account.
        account: AccountName,
        /// The watch's epoch when it was sent: what was compared before a jump says nothing after it.
        epoch: u64,
        /// What came of it.
        exchange: Exchange<Result<(), ReadError>>,
    },
    /// The housekeeping's second clock ticked.
    Sweep,
    /// Housekeeping: compare keys and clock with every account.
    CheckAccounts,
    /// Housekeeping: look whether calendar files have changed.
    RereadCalendars,
    /// Calendar files that cannot be used, in words; `None` when all are good again.
    CalendarTrouble(Option<String>),
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
    /// A person makes or ends an override.
    Override {
        /// What is wanted.
        change: Change,
        /// Where what was made, or what ended, goes; or why it was not done.
        reply: oneshot::Sender<Result<Vec<Override>, String>>,
    },
    /// Somebody wants to know how things are.
    Status(oneshot::Sender<serde_json::Value>),
    /// No new work; leave what is in flight safely.
    Shutdown,
}

impl Input {
    /// In which order inputs of one turn are taken.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Command { .. } => 2,
            Self::Reload(_) => 1,
            _ => 0,
        }
    }
}

/// How new an answer about groups must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Read now.
    Fresh,
    /// As last known.
    LastKnown,
}

/// New settings with their accounts.
pub struct Reload {
    /// The settings.
    pub settings: Arc<Settings>,
    /// Their accounts.
    pub lines: BTreeMap<AccountName, AccountLine>,
    /// Why they come.
    pub cause: Cause,
    /// Where the difference goes.
    pub reply: Option<oneshot::Sender<Difference>>,
}

/// Why settings come into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The configuration file was read again.
    Configuration,
    /// A calendar file has changed; the configuration is as it was.
    Calendars,
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
    /// What is wrong with calendar files, if their last good content is in force.
    pub calendar_problem: Option<String>,
    /// The accounts.
    pub lines: BTreeMap<AccountName, AccountLine>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The journal.
    pub store: Arc<dyn Store>,
    /// Somebody to tell.
    pub notifier: Arc<dyn Notifier>,
    /// Somebody who counts.
    pub meter: Arc<dyn Meter>,
    /// Asks servers and services.
    pub prober: Arc<dyn Prober>,
    /// The machine that the program runs on.
    pub host: Arc<dyn Host>,
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
    /// Has calendar files looked at; what has changed comes back as [`Input::Reload`].
    pub reread: Box<dyn Fn() + Send>,
    /// No right clock shows a moment before this one: when the release was made.
    pub released: Timestamp,
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
    /// What is wrong with calendar files.
    pub calendar_problem: Option<String>,
    /// When this process took the configuration up that is in force.
    pub config_since: Timestamp,
}

/// Why the engine ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The journal contradicts what the engine knows: it must begin again from the journal.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::daemon::engine::Reach;
    use crate::daemon::scene;
    use crate::domain::name::{Action, GroupName};

    #[test]
    fn commands_are_taken_last_and_a_reload_before_them() {
        let (reply, _answer) = oneshot::channel();
        let groups = vec![GroupName::new("web").unwrap()];
        let (reach, waived, servers) = (Reach::Alone, BTreeSet::new(), vec![]);
        let run = PersonRun { action: Action::Start, groups, servers, reach, waived, who: "tester".into() };
        let settings = Arc::new(scene::settings(""));
        let reload = Reload { settings, lines: BTreeMap::new(), cause: Cause::Configuration, reply: None };
        let mut inputs = [Input::Command { run, reply }, Input::Reload(Box::new(reload)), Input::Shutdown];

        inputs.sort_by_key(Input::rank);

        assert!(matches!(inputs, [Input::Shutdown, Input::Reload(_), Input::Command { .. }]));
    }
}
