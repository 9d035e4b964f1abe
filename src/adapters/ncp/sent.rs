//! What comes of one request, and what a read that failed says of its account.

use std::time::Duration;

use jiff::Timestamp;

use super::read::Success;
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::retry::{Layer, Refusal};
use crate::ports::cloud::{ReadError, ReadTrouble};

/// How long a request may take, and until when it may leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Urgent {
    pub(super) limit: Duration,
    pub(super) not_after: Timestamp,
}

impl Urgent {
    /// A read may leave whenever it is its turn.
    pub(super) fn read(limit: Duration) -> Self {
        Self { limit, not_after: Timestamp::MAX }
    }
}

/// What came of one request, whatever it asked.
pub(super) enum Sent<T> {
    Success(T),
    Refused(Refusal),
    Unsent(Reason),
    Lost(Reason),
}

/// A read that gave no success.
pub(super) struct Failed(pub(super) Sent<Success>);

impl Failed {
    /// Whether the server API itself refused the filter, as it may for a number that it does not know.
    pub(super) fn refused_filter(&self) -> bool {
        matches!(&self.0, Sent::Refused(refusal) if refusal.layer == Layer::Server && refusal.status < 500)
    }

    pub(super) fn error(self) -> ReadError {
        self.0.trouble()
    }
}

impl<T> Sent<T> {
    /// What it says about the account, where it is no success.
    pub(super) fn trouble(self) -> ReadError {
        let (reason, trouble) = match self {
            Sent::Refused(refusal) => {
                let words = refusal.words();
                match refusal.status {
                    429 => (
                        Reason::new(ReasonKind::Throttled, words),
                        ReadTrouble::Throttled(refusal.retry_after),
                    ),
                    401 | 403 => (Reason::new(ReasonKind::Credentials, words), ReadTrouble::Keys),
                    500..=599 => (Reason::new(ReasonKind::Api, words), ReadTrouble::Down),
                    _ => (Reason::new(ReasonKind::Api, words), ReadTrouble::Odd),
                }
            }
            Sent::Unsent(reason) if reason.kind == ReasonKind::Credentials => (reason, ReadTrouble::Keys),
            Sent::Unsent(reason) => (reason, ReadTrouble::Down),
            Sent::Lost(reason) if reason.kind == ReasonKind::NoAnswer => (reason, ReadTrouble::Down),
            Sent::Lost(reason) => (reason, ReadTrouble::Odd),
            Sent::Success(_) => (Reason::new(ReasonKind::Api, "an odd success"), ReadTrouble::Odd),
        };
        ReadError { reason, trouble }
    }
}
