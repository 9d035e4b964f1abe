//! Telling people what they must know.

pub use crate::domain::notice::{About, Notice, NoticeKind, Urgency};

/// Somebody to tell.
pub trait Notifier: Send + Sync {
    /// Takes a notice. Returns at once.
    fn tell(&self, notice: &Notice);
}
