//! The listener for those who watch: metrics and health. It only ever reads.

pub mod answers;
pub mod metrics;
pub mod server;
