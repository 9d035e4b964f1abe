//! What time it is, how long it has been, and being woken.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

/// A reading of the clocks of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Time since boot, suspended time included. Nobody can set it.
    pub boot: Duration,
    /// The same without the time for which the machine was suspended.
    pub awake: Duration,
}

/// The clocks.
pub trait Clock: Send + Sync {
    /// Reads all at once.
    fn read(&self) -> Reading;

    /// The wall clock.
    fn now(&self) -> Timestamp {
        self.read().wall
    }
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The moment has come, or the wait ended for no reason: look at the clock.
    Due,
    /// Somebody set the clock.
    ClockSet,
}

/// A timer on the wall clock.
#[async_trait(?Send)]
pub trait Timer {
    /// Waits for a moment of the wall clock. Dropping the future ends the wait.
    async fn until(&mut self, moment: Timestamp) -> Woken;
}
