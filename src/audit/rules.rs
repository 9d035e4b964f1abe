//! The rules of the checker: each promise as something that records can break.

mod keeps;
mod occurrences;
mod order;
mod outcomes;
mod pauses;
mod records;
mod requests;
#[cfg(test)]
mod tests;

use super::Violation;
use super::view::View;

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $check:path;)+) => {
        /// A promise that records can break.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $variant,)+
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in reports.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// What breaks it.
            pub(super) fn check(self, view: &View<'_>) -> Vec<Violation> {
                match self {
                    $(Self::$variant => $check(view),)+
                }
            }
        }
    };
}

rules! {
    /// A planned moment has no record, or one that never ended.
    NoOutcome = "no-outcome", occurrences::no_outcome;
    /// A planned moment has more than one record.
    TwoOutcomes = "two-outcomes", occurrences::two_outcomes;
    /// A record for a moment that nobody planned.
    Unplanned = "unplanned", occurrences::unplanned;
    /// A range of misses counts other moments than were planned.
    MissCount = "miss-count", occurrences::miss_count;
    /// The cause of a miss was not so.
    MissCause = "miss-cause", occurrences::miss_cause;
    /// A run is due at another time, or its window is another one, than its rule allows.
    Window = "window", occurrences::window;
    /// A run is about other servers than its rule.
    TargetSet = "target-set", occurrences::target_set;
    /// What was owed was not done although nothing went wrong.
    Unfulfilled = "unfulfilled", occurrences::unfulfilled;
    /// A request left before its run was due.
    Early = "early", requests::early;
    /// A request left after the end of its run's window.
    Late = "late", requests::late;
    /// A request without a durable intent.
    Unrecorded = "unrecorded", requests::unrecorded;
    /// A server was set off more often than anybody wanted it.
    Surplus = "surplus", requests::surplus;
    /// A request was repeated although the one before may have worked, and no read showed that it had not.
    BlindRepeat = "blind-repeat", requests::blind_repeat;
    /// Two requests for one server were open at once.
    Overlap = "overlap", requests::overlap;
    /// A request left while the clock was known to be wrong.
    WrongClock = "wrong-clock", requests::wrong_clock;
    /// A request arrived long after it was signed.
    StaleSignature = "stale-signature", requests::stale_signature;
    /// A server that must never be stopped was.
    Protected = "protected", requests::protected;
    /// An older wish was carried out after a newer opposite one had been claimed.
    Order = "order", order::newest_wins;
    /// Something was done although a person had paused it, or is called paused and was not.
    Pause = "pause", pauses::pause;
    /// Something was asked of a server that a person kept from it, or is called kept and was not.
    Keep = "keep", keeps::keep;
    /// A server was started before what it needs was up.
    Dependency = "dependency", order::dependency;
    /// `started` or `stopped`, and no request or no such state.
    FalseGoal = "false-goal", outcomes::false_goal;
    /// `already`, and the server was not there, or a request of the run took it there.
    FalseAlready = "false-already", outcomes::false_already;
    /// `missed` or `skipped`, and something was asked.
    FalseRest = "false-rest", outcomes::false_rest;
    /// `unknown`, and every attempt was answered clearly.
    FalseUnknown = "false-unknown", outcomes::false_unknown;
    /// `failed`, and nothing was asked, or the server was where it was to go.
    FalseFailure = "false-failure", outcomes::false_failure;
    /// A run's outcome does not follow from its targets.
    RunOutcome = "run-outcome", outcomes::run_outcome;
    /// What an attempt says of its answer is not what the cloud did.
    FalseResult = "false-result", records::false_result;
    /// An attempt was never given a result.
    Dangling = "dangling", records::dangling;
    /// A record that was there is gone.
    Vanished = "vanished", records::vanished;
    /// A record that was final is another one now.
    Changed = "changed", records::changed;
    /// A run was taken back although something had been asked for it.
    Withdrawal = "withdrawal", records::withdrawal;
    /// A secret stands where people read.
    Secret = "secret", records::secret;
}
