//! The retry budget of an account: trouble of the cloud must not be answered with a flood.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Over how long requests are counted.
const PERIOD: Duration = Duration::from_mins(1);
/// How many retries a period may have in any case.
pub const RETRIES_ALWAYS: usize = 10;
/// One further retry for so many first attempts.
pub const FIRSTS_FOR_A_RETRY: usize = 10;

/// Whether a request is asked for the first time or again after trouble of the cloud or the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// For at least one of its servers it is the first, or the cloud's last answer was about the server itself.
    First,
    /// All of it was asked before, and it failed for no reason of the servers'.
    Again,
}

/// The requests of the last minute: retries may be a tenth of the first attempts, and ten more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budget {
    firsts: VecDeque<Timestamp>,
    retries: VecDeque<Timestamp>,
}

impl Budget {
    /// When a retry may go: `None` for now.
    pub fn retry_from(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.forget(now);
        let most = RETRIES_ALWAYS + self.firsts.len() / FIRSTS_FOR_A_RETRY;
        let surplus = self.retries.len().checked_sub(most)?;
        self.retries.get(surplus)?.saturating_add(PERIOD).ok()
    }

    /// A request goes out.
    pub fn note(&mut self, turn: Turn, now: Timestamp) {
        match turn {
            Turn::First => self.firsts.push_back(now),
            Turn::Again => self.retries.push_back(now),
        }
    }

    /// The clock was set: the past moves with it.
    pub fn shift(&mut self, by: SignedDuration) {
        for at in self.firsts.iter_mut().chain(&mut self.retries) {
            *at = at.saturating_add(by).unwrap_or(*at);
        }
    }

    fn forget(&mut self, now: Timestamp) {
        let since = now.saturating_sub(PERIOD).unwrap_or(Timestamp::MIN);
        for past in [&mut self.firsts, &mut self.retries] {
            while past.front().is_some_and(|at| *at <= since) {
                past.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn retries_are_ten_a_minute_and_a_tenth_of_the_first_attempts() {
        for (firsts, most) in [(0, 10), (9, 10), (10, 11), (100, 20)] {
            let mut budget = Budget::default();
            (0..firsts).for_each(|_| budget.note(Turn::First, at(1)));

            let mut gone = 0;
            while budget.retry_from(at(2)).is_none() {
                budget.note(Turn::Again, at(2));
                gone += 1;
            }

            assert_eq!(gone, most, "{firsts} first attempts");
            assert_eq!(budget.retry_from(at(2)), Some(at(62)));
            assert_eq!(budget.retry_from(at(62)), None);
        }
    }
}
