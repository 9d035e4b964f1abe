//! Telling people: the log, and the notifiers of the configuration.

pub mod courier;
#[cfg(feature = "email")]
pub mod mail;
#[cfg(not(feature = "email"))]
#[path = "notify/no_mail.rs"]
pub mod mail;
pub mod message;
pub mod office;
pub mod post;
pub mod spool;

use jiff::Timestamp;

use crate::domain::name::NotifyName;
use crate::ports::notifier::{Notice, Notifier, Told, Urgency};

/// Writes each notice to the log: `error` if it needs a person, `warn` otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogNotifier;

impl Notifier for LogNotifier {
    fn tell(&self, notice: &Notice) {
        let kind = notice.kind.word();
        match notice.urgency {
            Urgency::NeedsAPerson => tracing::error!(notice.kind = kind, "{}", notice.text),
            Urgency::GoodToKnow => tracing::warn!(notice.kind = kind, "{}", notice.text),
        }
    }

    fn summarize(&self, to: &NotifyName, _: Timestamp, told: &Told) {
        tracing::info!(notice.kind = "summary", notifier = to.as_str(), "{}", told.en);
    }
}

/// What somebody else said, on one line and without what could disturb a terminal.
fn plain(said: &[u8]) -> String {
    let calm = |c: char| if c.is_control() { ' ' } else { c };
    String::from_utf8_lossy(said).chars().map(calm).collect::<String>().trim().to_owned()
}
