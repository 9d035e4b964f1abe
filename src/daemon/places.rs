//! Places on the wire for the requests of one account.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// How many requests of an account are on the wire at once, each with a connection and an answer of its own.
pub(super) const PLACES: usize = 64;
/// How long a request waits for a place before it is decided again: what is known of its servers must not grow old meanwhile.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(1);

/// The places, and what became of those who had one.
pub(super) struct Places {
    wire: Semaphore,
    failures: AtomicUsize,
}

impl Places {
    /// So many places, all of them free.
    pub(super) fn new(count: usize) -> Self {
        Self { wire: Semaphore::new(count), failures: AtomicUsize::new(0) }
    }

    /// How many requests came back without success. Whoever is to wait remembers it.
    pub(super) fn failures(&self) -> usize {
        self.failures.load(Ordering::Relaxed)
    }

    /// A request came back without success.
    pub(super) fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// A place. `None` for a request that had to wait, and whose turn did not come for so long or not before another one had failed: the
    /// cloud may be in trouble or want fewer requests, so that it must be decided again whether this one may go.
    pub(super) async fn take(&self, failures: usize) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.wire.try_acquire() {
            return Some(place);
        }
        let place = timeout(WAIT_MAX, self.wire.acquire()).await.ok()?.ok()?;
        (self.failures() == failures).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_is_waited_for_until_another_request_fails_and_not_for_long() {
        let places = Places::new(1);
        let first = places.take(0).now_or_never().flatten();
        assert!(first.is_some());

        let mut second = Box::pin(places.take(0));
        let mut third = Box::pin(places.take(0));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        drop(first);
        let second = second.now_or_never().flatten();
        assert!(second.is_some(), "a place is free and nothing failed");
        places.note_failure();
        drop(second);
        assert!(third.now_or_never().is_some_and(|place| place.is_none()), "another request failed");
        let fourth = places.take(0).now_or_never().flatten();
        assert!(fourth.is_some(), "whoever finds a place free need not ask");

        let mut fifth = Box::pin(places.take(1));
        assert!(fifth.as_mut().now_or_never().is_none());
        tokio::time::advance(WAIT_MAX - Duration::from_millis(1)).await;
        assert!(fifth.as_mut().now_or_never().is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(fifth.now_or_never().is_some_and(|place| place.is_none()), "no place for so long");
    }
}
