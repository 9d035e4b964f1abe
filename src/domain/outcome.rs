//! How targets and runs end.

use std::collections::BTreeMap;
use std::fmt;

use super::name::{Action, GroupName};

/// Why something ended as it did: a word that programs can test, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The kind, one word.
    pub kind: ReasonKind,
    /// The same for people: what happened, with codes and texts of the cloud unchanged.
    pub text: String,
}

impl Reason {
    /// A reason of a kind, in words.
    #[must_use]
    pub fn new(kind: ReasonKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.word(), self.text)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// The kinds of [`Reason`]. The words are part of the JSON lines and stay.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ReasonKind {
            $($(#[$doc])* $variant,)+
        }

        impl ReasonKind {
            /// The word in logs, the journal and JSON.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Reads [`ReasonKind::word`] back.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// The cloud refused the request in a way that repeating cannot mend.
    Refused = "refused",
    /// The cloud answered with an error of its own.
    Api = "api",
    /// The cloud asked to slow down.
    Throttled = "throttled",
    /// Keys were refused or could not be read.
    Credentials = "credentials",
    /// No connection to the cloud.
    Unreachable = "unreachable",
    /// A request was sent and no answer came.
    NoAnswer = "no-answer",
    /// The cloud has no room for the server.
    Capacity = "capacity",
    /// The server did not get there within its limit.
    TooSlow = "too-slow",
    /// The server fell back to its old state.
    FellBack = "fell-back",
    /// The server is in a failure state that a start did not mend.
    FailureState = "failure-state",
    /// Something else is going on with the server.
    Busy = "busy",
    /// The server no longer exists.
    Gone = "gone",
    /// What it waits for did not get there, or somebody needs it.
    Dependency = "dependency",
    /// Something that decides about it was not known.
    NotKnown = "not-known",
    /// The configuration protects the server.
    Protected = "protected",
    /// The hours of another rule want the server up.
    Wanted = "wanted",
    /// A person paused the rule, or the group of the server.
    Paused = "paused",
    /// A person keeps the server as it is.
    Kept = "kept",
    /// A person stopped the server outside of Sunup, and the rule leaves such servers off.
    HandStopped = "hand-stopped",
    /// A limit of the configuration was reached.
    Limit = "limit",
    /// The rule was removed, disabled or changed.
    Removed = "removed",
    /// The program was not running.
    Down = "down",
    /// The machine was suspended.
    Suspended = "suspended",
    /// The program or its machine stood still.
    Stalled = "stalled",
    /// The clock could not be trusted.
    Clock = "clock",
    /// The journal could not be written.
    Store = "store",
    /// A newer occurrence of the same rule acted instead, or the rule says to skip what is late.
    Late = "late",
    /// A newer opposite occurrence took over.
    Newer = "newer",
    /// Nothing happened that could be named.
    NoChance = "no-chance",
}

/// How a target ended, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// We asked for a start and saw it done.
    Started,
    /// We asked for a stop and saw it done.
    Stopped,
    /// It was there without us.
    Already,
    /// It is not there, and nothing more is done.
    Failed(Reason),
    /// We asked, and the cloud never let us see.
    Unknown(Reason),
    /// A newer opposite occurrence took over.
    Superseded {
        /// Whether a request of ours had gone out by then.
        asked: Asked,
        /// What took over, in words.
        by: String,
    },
    /// Nothing was sent, on purpose.
    Skipped(Reason),
    /// The window passed while nobody could act.
    Missed(Reason),
}

/// Whether a request that may have had an effect went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// No request went out, or every one surely did nothing.
    No,
    /// At least one may have had an effect.
    Yes,
}

impl Outcome {
    /// The word in logs, the journal and JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Already => "already",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
            Self::Superseded { .. } => "superseded",
            Self::Skipped(_) => "skipped",
            Self::Missed(_) => "missed",
        }
    }

    /// The reason, where the outcome has one.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Started | Self::Stopped | Self::Already => None,
            Self::Failed(reason) | Self::Unknown(reason) | Self::Skipped(reason) | Self::Missed(reason) => {
                Some(reason.clone())
            }
            Self::Superseded { asked, by } => {
                let sent = match asked {
                    Asked::Yes => "a request had gone out",
                    Asked::No => "nothing had been sent",
                };
                Some(Reason::new(ReasonKind::Newer, format!("{by} took over; {sent}")))
            }
        }
    }

    /// Whether nothing went wrong: at the goal, or left alone because the hours of another rule want the server, or a person does.
    #[must_use]
    pub fn is_as_planned(&self) -> bool {
        let left_alone = |reason: &Reason| {
            matches!(
                reason.kind,
                ReasonKind::Wanted | ReasonKind::Paused | ReasonKind::Kept | ReasonKind::HandStopped
            )
        };
        matches!(self, Self::Skipped(reason) if left_alone(reason)) || self.is_at_goal()
    }

    /// The outcome of a goal reached: ours if a request may have had an effect, there already otherwise.
    #[must_use]
    pub fn at_goal(action: Action, asked: Asked) -> Self {
        match (asked, action) {
            (Asked::No, _) => Self::Already,
            (Asked::Yes, Action::Start) => Self::Started,
            (Asked::Yes, Action::Stop) => Self::Stopped,
        }
    }

    /// Whether it is where the action leads.
    #[must_use]
    pub fn is_at_goal(&self) -> bool {
        matches!(self, Self::Started | Self::Stopped | Self::Already)
    }
}

/// How a run ended, from the outcomes of its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunOutcome {
    /// All targets are at the goal.
    Done,
    /// Some are.
    Partial,
    /// None is, and at least one failed or is unknown; or there was no target at all.
    Failed,
    /// All were skipped or superseded.
    Skipped,
    /// All were missed.
    Missed,
}

impl RunOutcome {
    /// Judges a run by its targets.
    #[must_use]
    pub fn of<'a>(targets: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let targets: Vec<_> = targets.into_iter().collect();
        let all = |test: fn(&Outcome) -> bool| targets.iter().all(|outcome| test(outcome));
        if targets.is_empty() {
            Self::Failed
        } else if all(Outcome::is_at_goal) {
            Self::Done
        } else if all(|o| matches!(o, Outcome::Skipped(_) | Outcome::Superseded { .. })) {
            Self::Skipped
        } else if all(|o| matches!(o, Outcome::Missed(_))) {
            Self::Missed
        } else if !targets.iter().any(|o| o.is_at_goal())
            && targets.iter().any(|o| matches!(o, Outcome::Failed(_) | Outcome::Unknown(_)))
        {
            Self::Failed
        } else {
            Self::Partial
        }
    }

    /// Judges a run by its targets, where groups may be content with some of their servers.
    ///
    /// `quotas` says how many servers each such group needs; `pending` and `empty` count groups whose servers never became known
    /// and that match none.
    #[must_use]
    pub fn of_groups(
        targets: &[(&[GroupName], &Outcome)],
        quotas: &BTreeMap<GroupName, usize>,
        pending: usize,
        empty: usize,
    ) -> Self {
        let at_goal = |group: &GroupName| {
            targets.iter().filter(|(groups, outcome)| groups.contains(group) && outcome.is_at_goal()).count()
        };
        let met: Vec<&GroupName> = quotas
            .iter()
            .filter(|(group, enough)| at_goal(group) >= **enough)
            .map(|(group, _)| group)
            .collect();
        let excused =
            |groups: &[GroupName]| !groups.is_empty() && groups.iter().all(|group| met.contains(&group));
        let never = Outcome::Missed(Reason::new(ReasonKind::NoChance, ""));
        let nobody = Outcome::Failed(Reason::new(ReasonKind::Gone, ""));
        let counted = targets.iter().filter(|(groups, _)| !excused(groups)).map(|(_, outcome)| *outcome);
        let more = std::iter::repeat_n(&never, pending).chain(std::iter::repeat_n(&nobody, empty));
        let counted: Vec<&Outcome> = counted.chain(more).collect();
        if counted.is_empty() && !targets.is_empty() { Self::Done } else { Self::of(counted) }
    }

    /// The word in logs, the journal and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }

    /// Reads [`RunOutcome::word`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Done, Self::Partial, Self::Failed, Self::Skipped, Self::Missed]
            .into_iter()
            .find(|o| o.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_judged_by_its_targets() {
        let failed = || Outcome::Failed(Reason::new(ReasonKind::Api, "x"));
        let missed = || Outcome::Missed(Reason::new(ReasonKind::Down, "x"));
        let skipped = || Outcome::Skipped(Reason::new(ReasonKind::Gone, "x"));
        let over = || Outcome::Superseded { asked: Asked::No, by: "night".into() };
        let table = [
            (vec![Outcome::Started, Outcome::Already], RunOutcome::Done),
            (vec![skipped(), over()], RunOutcome::Skipped),
            (vec![missed(), missed()], RunOutcome::Missed),
            (vec![failed(), skipped()], RunOutcome::Failed),
            (vec![Outcome::Started, failed()], RunOutcome::Partial),
            (vec![Outcome::Started, skipped()], RunOutcome::Partial),
            (vec![missed(), skipped()], RunOutcome::Partial),
            (vec![], RunOutcome::Failed),
        ];

        for (targets, want) in table {
            assert_eq!(RunOutcome::of(&targets), want, "{targets:?}");
        }
    }

    #[test]
    fn after_a_request_that_may_have_worked_the_goal_is_ours() {
        assert_eq!(Outcome::at_goal(Action::Start, Asked::Yes), Outcome::Started);
        assert_eq!(Outcome::at_goal(Action::Stop, Asked::Yes), Outcome::Stopped);
        assert_eq!(Outcome::at_goal(Action::Start, Asked::No), Outcome::Already);
    }
}
