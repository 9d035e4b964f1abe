//! What the configuration says, in values that make sense: rules, groups and when a rule is due.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::cron::CronExpr;
use super::name::{AccountName, Action, GroupName, RuleName, ServerId, ServerNo};
use super::zone::{self, ClockChange, Fold, Gap};

/// How long after due the program may still act, where a rule says nothing else.
pub const WINDOW_DEFAULT: Duration = Duration::from_mins(15);

/// A set of servers that are started and stopped together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// The account that its servers belong to.
    pub account: AccountName,
    /// The numbers listed, without those excluded, in the order of the file.
    pub servers: Vec<ServerNo>,
    /// How long a server may take from accepted to running.
    pub boot_within: Duration,
    /// How long a server may take from accepted to stopped.
    pub stop_within: Duration,
}

impl Group {
    /// The servers of the group.
    pub fn members(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.servers.iter().map(|no| ServerId { account: self.account.clone(), no: no.clone() })
    }

    /// How long a server of the group may take to get where the action leads.
    #[must_use]
    pub fn limit(&self, action: Action) -> Duration {
        match action {
            Action::Start => self.boot_within,
            Action::Stop => self.stop_within,
        }
    }
}

/// When a rule is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Again and again, by a cron expression in a zone.
    Cron {
        /// The expression.
        expr: CronExpr,
        /// The zone whose wall clock it speaks of.
        zone: TimeZone,
        /// What happens where clocks change.
        change: ClockChange,
    },
    /// At named moments, in order.
    At {
        /// The moments, sorted, each once.
        moments: Vec<Timestamp>,
        /// The zone in which they are shown.
        zone: TimeZone,
    },
}

impl When {
    /// The zone in which people think of this rule.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        match self {
            Self::Cron { zone, .. } | Self::At { zone, .. } => zone,
        }
    }

    /// The first planned moment strictly after `after` and not past `until`.
    #[must_use]
    pub fn next(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { expr, zone, change } => zone::next(expr, zone, *change, after, until),
            Self::At { moments, .. } => moments.iter().copied().find(|at| *at > after && *at <= until),
        }
    }
}

/// What becomes of an occurrence that is claimed late, although its window is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// It is carried out.
    #[default]
    Run,
    /// It is recorded as missed.
    Skip,
}

/// One rule: when, and what is started or stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: RuleName,
    /// When it is due.
    pub when: When,
    /// What it does.
    pub action: Action,
    /// The groups it does that to, in the order of the file.
    pub groups: Vec<GroupName>,
    /// How long after due it may still act.
    pub window: Duration,
    /// What becomes of an occurrence that is claimed late.
    pub missed: Missed,
    /// Whether it has occurrences at all.
    pub enabled: bool,
    /// What a person wanted to remember about it.
    pub note: Option<String>,
}

impl Rule {
    /// One line that is equal for two rules exactly if they plan the same occurrences.
    ///
    /// The journal keeps it beside the covered mark, so that an edited rule never fires the past.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let zone = self.when.zone().iana_name().unwrap_or("fixed");
        let when = match &self.when {
            When::Cron { expr, change, .. } => {
                let gap = match change.gap {
                    Gap::After => "after",
                    Gap::Skip => "skip",
                };
                let fold = match change.fold {
                    Fold::First => "first",
                    Fold::Second => "second",
                    Fold::Both => "both",
                };
                format!("cron {expr} {zone} gap={gap} fold={fold}")
            }
            When::At { moments, .. } => {
                let moments: Vec<_> = moments.iter().map(ToString::to_string).collect();
                format!("at {} {zone}", moments.join(","))
            }
        };
        format!("{when} {} {}", self.action, if self.enabled { "enabled" } else { "disabled" })
    }
}
