//! The configuration: raw shapes as they stand in the file, resolved to values that make sense, or every problem at once.

pub mod diagnostics;
pub mod duration;
mod raw;
mod reader;
mod resolve;
mod resolve_rule;
pub mod secret;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::guard::Limits;
use crate::domain::name::{AccountName, Action, GroupName, RuleName, ServerId};
use crate::domain::rule::{Group, Rule, When};
use diagnostics::Problem;
use secret::SecretSource;

/// Requests a second to one account, where the file says nothing.
pub const RATE_DEFAULT: u32 = 5;
/// Servers in one request, where the file says nothing.
pub const BATCH_DEFAULT: usize = 20;
/// How long the journal keeps ended runs, where the file says nothing.
pub const KEEP_DEFAULT: Duration = Duration::from_hours(400 * 24);
/// How long a server may take to start or stop, where the file says nothing.
pub const LIMIT_DEFAULT: Duration = Duration::from_mins(10);

/// A provider site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// The public cloud.
    Public,
    /// The government cloud.
    Gov,
    /// The financial cloud.
    Fin,
}

impl Site {
    /// The base URL of the site, from the provider's documentation and software.
    #[must_use]
    pub fn base_url(self) -> &'static str {
        match self {
            Self::Public => "https://ncloud.apigw.ntruss.com",
            Self::Gov => "https://ncloud.apigw.gov-ntruss.com",
            Self::Fin => "https://fin-ncloud.apigw.fin-ntruss.com",
        }
    }
}

/// Where an account's requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A site that the file names.
    Site(Site),
    /// A URL that the file names: scheme and host, no path, no slash at the end.
    Url(String),
    /// The file names neither: the provider's `NCLOUD_API_GW` if set, the public site otherwise.
    Default,
}

/// The keys of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Both are named in the file.
    Named {
        /// Where the access key id is.
        access: SecretSource,
        /// Where the secret key is.
        secret: SecretSource,
    },
    /// The provider's own environment variables hold them.
    Environment,
}

/// One account: an NCP site, a region and a key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// Where its requests go.
    pub endpoint: Endpoint,
    /// The region code, passed through.
    pub region: String,
    /// Its keys.
    pub keys: Keys,
    /// A file of further root certificates, PEM.
    pub ca_file: Option<PathBuf>,
    /// Requests a second, 1 to 100.
    pub rate: u32,
    /// The most servers in one request, 1 to 100.
    pub batch: usize,
}

/// Where the journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// A file that the configuration names.
    File(PathBuf),
    /// `sunup.db` in the unit's state directory, or in `/var/lib/sunup`.
    Default,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// To the system journal, with fields.
    Journald,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// And what healed itself.
    Warn,
    /// And the day on one screen.
    #[default]
    Info,
    /// And what developers want to know.
    Debug,
    /// And everything.
    Trace,
}

/// A whole configuration that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The zone of rules and commands that name none.
    pub timezone: Option<TimeZone>,
    /// The accounts by name.
    pub accounts: BTreeMap<AccountName, Account>,
    /// The groups by name.
    pub groups: BTreeMap<GroupName, Group>,
    /// The rules by name.
    pub rules: BTreeMap<RuleName, Rule>,
    /// The limits.
    pub limits: Limits,
    /// Where the journal is.
    pub store: StoreLocation,
    /// How long ended runs are kept.
    pub keep: Duration,
    /// The form of log lines; `None` decides by where they go.
    pub log_format: Option<LogFormat>,
    /// How much is logged.
    pub log_level: LogLevel,
    /// The text that these settings were read from. It holds no secret: the file may not.
    pub text: String,
}

/// Settings with what is odd about them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Warnings: the file is valid all the same.
    pub warnings: Vec<Problem>,
}

impl Settings {
    /// The largest configuration file, in bytes.
    pub const TEXT_BYTES_MAX: usize = reader::TEXT_BYTES_MAX;

    /// Reads a configuration file's text.
    ///
    /// Validity does not depend on the date, on secrets or on the network.
    ///
    /// # Errors
    /// Every problem of the file, in the order of the file.
    pub fn read(text: &str) -> Result<Loaded, Vec<Problem>> {
        resolve::settings(text)
    }

    /// Checks an endpoint that does not come from the file: `https://host`, or `http://` for loopback alone.
    ///
    /// # Errors
    /// What is wrong with it, and the remedy.
    pub fn checked_endpoint(url: &str) -> Result<String, String> {
        resolve::checked_endpoint(url).map_err(|(cause, remedy)| format!("{cause}; {remedy}"))
    }

    /// Where the journal of a file is, even if the rest of the file is not valid.
    #[must_use]
    pub fn store_of(text: &str) -> StoreLocation {
        resolve::store_of(text)
    }

    /// The servers of some groups, each once, with how long each may take.
    ///
    /// A server in several groups gets the longest limit of them.
    #[must_use]
    pub fn servers_of(&self, groups: &[GroupName], action: Action) -> BTreeMap<ServerId, Duration> {
        let mut servers = BTreeMap::new();
        for group in groups.iter().filter_map(|name| self.groups.get(name)) {
            for server in group.members() {
                let limit = servers.entry(server).or_insert(Duration::ZERO);
                *limit = group.limit(action).max(*limit);
            }
        }
        servers
    }

    /// The groups that hold a server, by name.
    #[must_use]
    pub fn groups_holding(&self, server: &ServerId) -> Vec<GroupName> {
        let holds = |group: &&Group| group.account == server.account && group.servers.contains(&server.no);
        self.groups.values().filter(holds).map(|group| group.name.clone()).collect()
    }

    /// Warnings that depend on the date: moments of `at` that have passed.
    #[must_use]
    pub fn warnings_at(&self, now: Timestamp) -> Vec<String> {
        let passed = |rule: &Rule| match &rule.when {
            When::At { moments, zone } => moments.iter().all(|at| *at < now).then(|| {
                let last = moments
                    .last()
                    .map(|at| at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
                format!("rule `{}` has passed: its last moment was {}", rule.name, last.unwrap_or_default())
            }),
            When::Cron { .. } => None,
        };
        self.rules.values().filter_map(passed).collect()
    }
}
