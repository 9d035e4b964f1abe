//! What the program needs from outside: a clock, the cloud, a journal and somebody to tell.

pub mod clock;
pub mod cloud;
pub mod notifier;
pub mod store;
