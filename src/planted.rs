//! Bugs on purpose, to see that the simulation and its checker find them. Only `--cfg sunup_planted` compiles them in.

#[cfg(all(sunup_planted, not(debug_assertions)))]
compile_error!("planted bugs do not belong in a release: build without `--cfg sunup_planted`");

macro_rules! bugs {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// A bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])* $variant,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

bugs! {
    /// Requests leave before their intents are durable.
    ActFirst = "act-first",
    /// A lost answer is taken for a refusal: asked again without a look.
    BlindRepeat = "blind-repeat",
    /// Windows have no end.
    WindowIgnored = "window-ignored",
    /// What is due in two seconds is claimed now.
    Early = "early",
    /// After a miss a rule is never looked at again.
    LostWakeUp = "lost-wake-up",
    /// Misses are not recorded.
    ForgottenMiss = "forgotten-miss",
    /// The last server of each read is dropped.
    SkippedPage = "skipped-page",
    /// A clock that jumped is believed.
    ClockBelieved = "clock-believed",
    /// Accepted counts as started.
    AcceptedIsStarted = "accepted-is-started",
    /// A newer opposite wish does not take over.
    OlderGoesOn = "older-goes-on",
    /// Refusals are not recorded.
    ResultLost = "result-lost",
    /// A server that was there without us counts as started.
    AlreadyIsStarted = "already-is-started",
    /// How far a rule is decided is not recorded.
    MarkLost = "mark-lost",
    /// After a restart a request that was on its way is forgotten.
    RestartForgets = "restart-forgets",
    /// A server that is never to be stopped is stopped.
    GuardIgnored = "guard-ignored",
}

#[cfg(sunup_planted)]
mod chosen {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Bug;

    static CHOSEN: AtomicUsize = AtomicUsize::new(usize::MAX);

    /// Plants a bug, or none.
    pub fn plant(bug: Option<Bug>) {
        let index = bug.and_then(|bug| Bug::ALL.iter().position(|one| *one == bug));
        CHOSEN.store(index.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    pub(crate) fn is_planted(bug: Bug) -> bool {
        Bug::ALL.get(CHOSEN.load(Ordering::Relaxed)) == Some(&bug)
    }
}

#[cfg(sunup_planted)]
pub(crate) use chosen::is_planted;
#[cfg(sunup_planted)]
pub use chosen::plant;

/// Whether a bug is planted: never, in anything that is not built to look for them.
#[cfg(not(sunup_planted))]
pub(crate) const fn is_planted(_: Bug) -> bool {
    false
}
