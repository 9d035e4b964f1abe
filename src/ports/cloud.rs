//! The cloud of one account: asking for starts and stops, looking, and listing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::domain::group::Tag;
use crate::domain::name::{Action, ServerNo};
use crate::domain::outcome::Reason;
use crate::domain::retry::Answer;
use crate::domain::server::{Condition, Traits};

/// What an exchange with the cloud told beside its result.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange<T> {
    /// The result.
    pub result: T,
    /// What the exchange says about our clock.
    pub clock: ClockVerdict,
}

/// How our clock compares with the cloud's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockVerdict {
    /// Nothing was heard.
    Unheard,
    /// An answer came without a date that can be read.
    Undated,
    /// The cloud's clock minus ours.
    Differs(SignedDuration),
}

/// One server as a list showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    /// Its number.
    pub no: ServerNo,
    /// What does not change by starting and stopping it.
    pub traits: Traits,
    /// Where it stands and what is going on.
    pub condition: Condition,
    /// The cloud's `uptime`, which looks like the moment of the last boot.
    pub booted: Option<Timestamp>,
}

/// Which servers of an account a list is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Only those of these VPCs; `None` for all.
    pub vpcs: Option<BTreeSet<String>>,
    /// Tags whose servers are asked for beside the list.
    pub tags: BTreeSet<Tag>,
}

impl Scope {
    /// Widens what is wanted so far, which may be nothing, by another scope.
    pub fn join(wanted: &mut Option<Self>, other: Self) {
        let Some(scope) = wanted else {
            *wanted = Some(other);
            return;
        };
        scope.vpcs = match (scope.vpcs.take(), other.vpcs) {
            (Some(mut ours), Some(theirs)) => {
                ours.extend(theirs);
                Some(ours)
            }
            _ => None,
        };
        scope.tags.extend(other.tags);
    }
}

/// What a complete list showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The servers.
    pub servers: Vec<ServerView>,
    /// The servers that carry each tag that was asked for.
    pub tagged: BTreeMap<Tag, Result<BTreeSet<ServerNo>, ReadError>>,
}

/// Why a read gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ReadError {
    /// Why, in words.
    pub reason: Reason,
    /// What kind of trouble it is for the account.
    pub trouble: ReadTrouble,
}

/// What a failed read says about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadTrouble {
    /// No connection, no answer or a 5xx: the breaker counts it.
    Down,
    /// The cloud asked to slow down, perhaps for so long.
    Throttled(Option<Duration>),
    /// Keys were refused or could not be read.
    Keys,
    /// Anything else.
    Odd,
}

/// The cloud of one account.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// Sends one request to start or stop servers, signed just before it leaves. Never repeats it.
    /// Nothing is sent once `not_after` has passed: [`Answer::NotSent`].
    async fn ask(&self, action: Action, servers: &[ServerNo], not_after: Timestamp) -> Exchange<Answer>;

    /// Reads the states of servers, all pages; every page within `limit`. A number that the result lacks does not exist.
    async fn look(
        &self,
        servers: &[ServerNo],
        limit: Duration,
    ) -> Exchange<Result<Vec<ServerView>, ReadError>>;

    /// Lists all servers of a scope, all pages, every page within `limit`. What a filter of the cloud lets through may be more
    /// than the scope; what is in the scope is never missing.
    async fn list(&self, scope: &Scope, limit: Duration) -> Exchange<Result<Inventory, ReadError>>;

    /// The servers that have one of these addresses, private or public.
    async fn at_addresses(&self, addresses: &[IpAddr]) -> Exchange<Result<Vec<ServerNo>, ReadError>>;

    /// A cheap signed request that changes nothing: shows whether keys and clock are good.
    async fn greet(&self) -> Exchange<Result<(), ReadError>>;

    /// The end of the access key id in use, so that people can tell key pairs apart; of the secret key nothing, ever.
    fn key_shown(&self) -> Option<String> {
        None
    }
}

/// The pace of an account: every read waits for its turn. Mutating requests take theirs before they are decided.
#[async_trait]
pub trait Pace: Send + Sync {
    /// Returns when a request may go.
    async fn turn(&self);
}
