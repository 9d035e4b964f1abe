//! What a rule of the configuration says, in values that make sense.

use std::time::Duration;

use super::name::{Action, GroupName, RuleName};
use super::schedule::Schedule;

/// How long after due the program may still act, where a rule says nothing else.
pub const WINDOW_DEFAULT: Duration = Duration::from_mins(15);

/// What becomes of an occurrence that is claimed late, although its window is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// It is carried out.
    #[default]
    Run,
    /// It is recorded as missed.
    Skip,
}

/// What becomes of what a rule wanted of a server while a person kept that as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterKeep {
    /// It is made up for when the keep ends.
    #[default]
    Apply,
    /// The server is left as it is then.
    Leave,
}

/// What a start does to servers that a person stopped outside of Sunup since it left them running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandStopped {
    /// It starts them.
    #[default]
    Start,
    /// It leaves them off until a person starts them.
    Leave,
}

/// One rule: when, and what is started or stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: RuleName,
    /// When it is due, and what it does then.
    pub schedule: Schedule,
    /// The groups it does that to, in the order of the file.
    pub groups: Vec<GroupName>,
    /// How long after due it may still start.
    pub start_window: Duration,
    /// How long after due it may still stop.
    pub stop_window: Duration,
    /// What becomes of an occurrence that is claimed late.
    pub missed: Missed,
    /// What becomes of what a keep held back.
    pub after_keep: AfterKeep,
    /// What becomes of servers that a person stopped outside of Sunup.
    pub hand_stopped: HandStopped,
    /// Whether it has occurrences at all.
    pub enabled: bool,
    /// What a person wanted to remember about it.
    pub note: Option<String>,
}

impl Rule {
    /// How long after due the rule may still act.
    #[must_use]
    pub fn window(&self, action: Action) -> Duration {
        match action {
            Action::Start => self.start_window,
            Action::Stop => self.stop_window,
        }
    }

    /// One line that is equal for two rules exactly if their schedules were written alike.
    #[must_use]
    pub fn written(&self) -> String {
        format!("{} {}", self.schedule.written(), if self.enabled { "enabled" } else { "disabled" })
    }

    /// One line that is equal for two rules exactly if they plan the same occurrences.
    ///
    /// The journal keeps it beside the covered mark, so that an edited rule never fires the past.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{}{}", self.written(), self.schedule.dates.digest())
    }
}
