//! The pace of one account: a token bucket on time that nobody can set.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::ports::clock::Clock;
use crate::ports::cloud::Pace;

/// The slowest that throttling makes an account, in thousandths of a request a second.
const SLOWEST_MILLI: u64 = 500;
/// How long a read stands back while mutating requests wait.
const PATIENCE_MAX: Duration = Duration::from_secs(2);
/// One request, in the bucket's unit of millionths.
const ONE: u64 = 1_000_000;

struct Level {
    /// Millionths of a request.
    tokens: u64,
    /// When the level was right.
    at: Duration,
    /// Thousandths of a request a second.
    rate_milli: u64,
}

/// A token bucket: it holds one second's worth of requests.
pub struct Bucket {
    level: Mutex<Level>,
    full_milli: u64,
    asks_waiting: AtomicBool,
    clock: Arc<dyn Clock>,
}

impl Bucket {
    /// A full bucket for so many requests a second.
    #[must_use]
    pub fn new(rate: u32, clock: Arc<dyn Clock>) -> Self {
        let full_milli = u64::from(rate.max(1)) * 1000;
        let level = Level { tokens: full_milli * 1000, at: clock.read().boot, rate_milli: full_milli };
        Self { level: Mutex::new(level), full_milli, asks_waiting: AtomicBool::new(false), clock }
    }

    /// Takes one request out.
    ///
    /// # Errors
    /// How long it takes until there is one.
    pub fn try_take(&self) -> Result<(), Duration> {
        let now = self.clock.read().boot;
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = u64::try_from(now.saturating_sub(level.at).as_millis()).unwrap_or(u64::MAX);
        if passed > 0 {
            let gained = passed.saturating_mul(level.rate_milli);
            level.tokens = level.tokens.saturating_add(gained).min(level.rate_milli.max(1000) * 1000);
            level.at = now;
        }
        if level.tokens >= ONE {
            level.tokens -= ONE;
            return Ok(());
        }
        Err(Duration::from_millis((ONE - level.tokens).div_ceil(level.rate_milli.max(1)).max(1)))
    }

    /// Requests a second as things stand, in thousandths.
    #[must_use]
    pub fn rate_milli(&self) -> u64 {
        self.level.lock().unwrap_or_else(PoisonError::into_inner).rate_milli
    }

    /// The cloud asked to slow down: half the rate, from an empty bucket.
    pub fn throttled(&self) {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.rate_milli = (level.rate_milli / 2).max(SLOWEST_MILLI);
        level.tokens = 0;
    }

    /// A request went well: the rate creeps back.
    pub fn fine(&self) {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.rate_milli = (level.rate_milli + self.full_milli.div_ceil(20)).min(self.full_milli);
    }

    /// Whether mutating requests wait for tokens: reads then stand back.
    pub fn set_asks_waiting(&self, waiting: bool) {
        self.asks_waiting.store(waiting, Ordering::Relaxed);
    }
}

#[async_trait]
impl Pace for Bucket {
    async fn turn(&self) {
        let began = self.clock.read().boot;
        loop {
            let stood_back = self.clock.read().boot.saturating_sub(began);
            let wait = if self.asks_waiting.load(Ordering::Relaxed) && stood_back < PATIENCE_MAX {
                Duration::from_millis(50)
            } else {
                match self.try_take() {
                    Ok(()) => return,
                    Err(wait) => wait,
                }
            };
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::clock::Reading;

    struct Hand(Mutex<Duration>);

    impl Clock for Hand {
        fn read(&self) -> Reading {
            Reading {
                wall: jiff::Timestamp::UNIX_EPOCH,
                boot: *self.0.lock().unwrap(),
                awake: Duration::ZERO,
            }
        }
    }

    fn taken(bucket: &Bucket) -> u32 {
        let mut count = 0;
        while bucket.try_take().is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn it_gives_the_rate_and_no_more_than_one_seconds_worth_at_once() {
        let clock = Arc::new(Hand(Mutex::new(Duration::ZERO)));
        let bucket = Bucket::new(5, clock.clone());

        assert_eq!(taken(&bucket), 5);
        assert_eq!(bucket.try_take(), Err(Duration::from_millis(200)));
        *clock.0.lock().unwrap() = Duration::from_millis(400);
        assert_eq!(taken(&bucket), 2);
        *clock.0.lock().unwrap() = Duration::from_secs(3600);
        assert_eq!(taken(&bucket), 5);
    }

    #[test]
    fn throttling_halves_the_rate_and_good_requests_bring_it_back() {
        let clock = Arc::new(Hand(Mutex::new(Duration::ZERO)));
        let bucket = Bucket::new(4, clock.clone());

        bucket.throttled();
        assert_eq!(taken(&bucket), 0);
        *clock.0.lock().unwrap() = Duration::from_secs(1);
        assert_eq!(taken(&bucket), 2);

        (0..20).for_each(|_| bucket.fine());
        *clock.0.lock().unwrap() = Duration::from_secs(3);
        assert_eq!(taken(&bucket), 4);
    }
}
