//! Asking a server or a service a small question.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::probe::{Probe, Probed};

/// Somebody who asks.
#[async_trait]
pub trait Prober: Send + Sync {
    /// Asks once. Takes `limit` at most; what is not clear by then is [`Probed::Unclear`].
    async fn probe(&self, probe: &Probe, limit: Duration) -> Probed;
}
