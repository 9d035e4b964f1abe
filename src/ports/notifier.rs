//! Telling people what they must know.

/// What a notice is about. The words are those of `notify.NAME.on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// A run ended other than well.
    Failed,
    /// A moment passed without a deed.
    Missed,
    /// A run began late.
    Late,
    /// Something got better by itself.
    Recovered,
    /// A limit held something back.
    Guard,
    /// The configuration.
    Config,
    /// A person's override ended.
    Override,
    /// Keys, clock, store: what keeps the program from acting.
    Trouble,
}

impl NoticeKind {
    /// The word in logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Missed => "missed",
            Self::Late => "late",
            Self::Recovered => "recovered",
            Self::Guard => "guard",
            Self::Config => "config",
            Self::Override => "override",
            Self::Trouble => "trouble",
        }
    }
}

/// Whether a notice needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// It does.
    NeedsAPerson,
    /// It is good to know.
    GoodToKnow,
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// Whether it needs a person.
    pub urgency: Urgency,
    /// What happened, why, and what to do: whole sentences.
    pub text: String,
}

/// Somebody to tell.
pub trait Notifier: Send + Sync {
    /// Takes a notice. Returns at once.
    fn tell(&self, notice: &Notice);
}
