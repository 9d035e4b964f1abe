//! The configuration: raw shapes as they stand in the file, resolved to values that make sense, or every problem at once.

pub mod advice;
pub mod bundle;
pub mod diagnostics;
pub mod duration;
pub mod ics;
mod raw;
mod reader;
mod resolve;
mod resolve_calendar;
mod resolve_group;
mod resolve_moment;
mod resolve_notify;
mod resolve_rule;
mod resolve_zone;
pub mod secret;
pub mod sources;
pub mod uptime;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::calendar::Calendar;
use crate::domain::group::Group;
use crate::domain::guard::Limits;
use crate::domain::name::{AccountName, Action, CalendarName, GroupName, NotifyName, RuleName, ServerId};
use crate::domain::notice::{Interest, Language};
use crate::domain::overrides::Overrides;
use crate::domain::roster::Roster;
use crate::domain::rule::Rule;
use crate::domain::schedule::When;
use crate::domain::summary::SummaryTime;
use diagnostics::Problem;
use secret::SecretSource;
use sources::{NoFiles, Shelf, Sources};

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

impl Site {
    /// The base URL of the Resource Manager, from the provider's documentation; that of the financial site is not known.
    #[must_use]
    pub fn resources_url(self) -> Option<&'static str> {
        match self {
            Self::Public => Some("https://resourcemanager.apigw.ntruss.com"),
            Self::Gov => Some("https://resourcemanager.apigw.gov-ntruss.com"),
            Self::Fin => None,
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
    /// Temporary keys of the NCP server role, from the metadata service of the machine.
    Role,
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

/// The looks at the cloud before something is due: none of them changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// How long before due groups are resolved and servers looked at.
    pub preflight: Duration,
    /// How long before due the same is rehearsed, so that a person can mend what would fail.
    pub rehearse: Option<Duration>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { preflight: Duration::from_mins(1), rehearse: None }
    }
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
    /// The language of notices.
    pub language: Language,
    /// The accounts by name.
    pub accounts: BTreeMap<AccountName, Account>,
    /// The groups by name.
    pub groups: BTreeMap<GroupName, Group>,
    /// The calendars by name.
    pub calendars: BTreeMap<CalendarName, Arc<Calendar>>,
    /// The rules by name.
    pub rules: BTreeMap<RuleName, Rule>,
    /// The limits.
    pub limits: Limits,
    /// The looks before due.
    pub checks: Checks,
    /// Who is told what, by name.
    pub notifiers: BTreeMap<NotifyName, Notify>,
    /// Who is told that the program is alive.
    pub heartbeat: Option<Heartbeat>,
    /// Where those who watch may ask.
    pub http: Option<Http>,
    /// What the calendars rest on beside the text.
    pub sources: Sources,
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

/// One way to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Its name.
    pub name: NotifyName,
    /// How it tells them.
    pub kind: NotifyKind,
    /// What it tells.
    pub interest: Interest,
    /// How long notices are gathered into one message.
    pub digest: Duration,
    /// When a summary is told through it, if one is.
    pub summary: Option<SummaryTime>,
    /// Whether its address may be one of this machine or network.
    pub allow_private: bool,
}

/// How people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifyKind {
    /// An incoming webhook of Slack, or of a chat that takes the same.
    Slack {
        /// Where its address is: whoever knows it can write there.
        url: SecretSource,
    },
    /// JSON after the Standard Webhooks specification.
    Webhook {
        /// Where its address is.
        url: SecretSource,
        /// Where the key is with which messages are signed.
        secret: Option<SecretSource>,
    },
    /// Electronic mail.
    Email {
        /// Where the address of the mail server is, `smtps://user:password@host`.
        smtp: SecretSource,
        /// Whom it comes from, `Name <user@host>` or the address alone.
        from: String,
        /// Whom it goes to.
        to: Vec<String>,
    },
    /// A program that takes the message on its standard input.
    Command {
        /// Its full path, and arguments.
        command: Vec<String>,
    },
}

/// The listener for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where it listens.
    pub listen: Listen,
    /// Where the token is that a request must bring, if one is asked for.
    pub token: Option<SecretSource>,
    /// How connections are encrypted, if they are.
    pub tls: Option<Tls>,
    /// The names and addresses that the `Host` of a request may have besides those of loopback, in small letters.
    pub hosts: Vec<String>,
}

/// What a listener shows to those who connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The file of its certificates, PEM, its own first.
    pub certificate: PathBuf,
    /// Where its private key is, PEM.
    pub key: SecretSource,
}

/// Where the listener listens: other machines reach it only with a token and TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A dead man's switch: somebody who is told regularly that the program is alive, and who raises an alarm when that stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Where its address is.
    pub url: SecretSource,
    /// How often.
    pub every: Duration,
    /// Whether its address may be one of this machine or network.
    pub allow_private: bool,
}

/// Settings with what is odd about them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Warnings: the file is valid all the same.
    pub warnings: Vec<Problem>,
    /// Calendar files that cannot be used as they are now: their last good content is in force.
    pub stale: Vec<String>,
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
        resolve::settings(text, &NoFiles)
    }

    /// Reads a configuration file's text, with what its calendars rest on.
    ///
    /// # Errors
    /// Every problem of the file, in the order of the file.
    pub fn read_with(text: &str, shelf: &dyn Shelf) -> Result<Loaded, Vec<Problem>> {
        resolve::settings(text, shelf)
    }

    /// Checks an endpoint that does not come from the file: `https://host`, or `http://` for loopback alone.
    ///
    /// # Errors
    /// What is wrong with it, and the remedy.
    pub fn checked_endpoint(url: &str) -> Result<String, String> {
        resolve::checked_endpoint(url).map_err(|(cause, remedy)| format!("{cause}; {remedy}"))
    }

    /// Checks the address of the metadata service: `http://` for loopback and its own address alone.
    ///
    /// # Errors
    /// What is wrong with it, and the remedy.
    pub fn checked_metadata_endpoint(url: &str) -> Result<String, String> {
        let bare = url.strip_suffix('/').unwrap_or(url);
        if bare == "http://169.254.169.254" {
            return Ok(bare.to_owned());
        }
        Self::checked_endpoint(url)
    }

    /// The folders that a file includes, as it names them, even if the rest of the file is not valid.
    #[must_use]
    pub fn includes_of(text: &str) -> Vec<String> {
        reader::read(text).0.include.into_iter().map(|folder| folder.value).collect()
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
    pub fn servers_of(
        &self,
        roster: &Roster,
        groups: &[GroupName],
        action: Action,
    ) -> BTreeMap<ServerId, Duration> {
        let mut servers = BTreeMap::new();
        for group in groups.iter().filter_map(|name| self.groups.get(name)) {
            for server in roster.members(&group.name) {
                let limit = servers.entry(server.clone()).or_insert(Duration::ZERO);
                *limit = group.limit(action).max(*limit);
            }
        }
        servers
    }

    /// Who belongs to which group, as far as the file alone tells.
    #[must_use]
    pub fn roster(&self) -> Roster {
        Roster::listed(&self.groups)
    }

    /// The rules of `hours` that are open at a moment, by the servers that they want up. A rule that is paused wants nothing.
    #[must_use]
    pub fn open_hours(&self, roster: &Roster, overrides: &Overrides, at: Timestamp) -> OpenHours<'_> {
        let hours =
            self.rules.values().filter(|rule| rule.enabled && matches!(rule.schedule.when, When::Hours(_)));
        let hours = hours.filter(|rule| overrides.of_rule(rule, at).is_none());
        let open: Vec<(&Rule, Option<Timestamp>)> =
            hours.filter_map(|rule| Some((rule, rule.schedule.open_span(at)?.closes))).collect();
        let mut by_server: BTreeMap<ServerId, Vec<usize>> = BTreeMap::new();
        for (index, (rule, _)) in open.iter().enumerate() {
            for server in self.servers_of(roster, &rule.groups, Action::Start).into_keys() {
                by_server.entry(server).or_default().push(index);
            }
        }
        OpenHours { open, by_server }
    }
}

/// Which rules of `hours` want which servers up at one moment.
pub struct OpenHours<'a> {
    open: Vec<(&'a Rule, Option<Timestamp>)>,
    by_server: BTreeMap<ServerId, Vec<usize>>,
}

impl<'a> OpenHours<'a> {
    /// Another rule than this one that wants a server up, with when it closes: of several the one that closes last.
    #[must_use]
    pub fn wanting(&self, stopping: &RuleName, server: &ServerId) -> Option<(&'a Rule, Option<Timestamp>)> {
        let open = self.by_server.get(server)?.iter().filter_map(|index| self.open.get(*index));
        let others = open.filter(|(rule, _)| rule.name != *stopping);
        others.max_by_key(|(_, closes)| closes.unwrap_or(Timestamp::MAX)).copied()
    }
}
