//! What the program needs from outside: a clock, the cloud, a journal, the machine, and somebody to tell.

pub mod clock;
pub mod cloud;
pub mod host;
pub mod meter;
pub mod notifier;
pub mod prober;
pub mod store;
