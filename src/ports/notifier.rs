//! Telling people what they must know.

use jiff::Timestamp;

use crate::domain::name::NotifyName;
pub use crate::domain::notice::{About, Language, Notice, NoticeKind, Told, Urgency};

/// Somebody to tell.
pub trait Notifier: Send + Sync {
    /// Takes a notice. Returns at once.
    fn tell(&self, notice: &Notice);

    /// Tells one summary through one notifier of the configuration. Returns at once.
    fn summarize(&self, to: &NotifyName, at: Timestamp, told: &Told);
}
