//! An imitation of the NCP API: servers that boot and stop, signatures, both answer formats, and faults on request.
//!
//! It shares no code with the program that it tests: what it knows of the API is written down here a second time.

mod answer;
mod auth;
mod beside;
pub mod face;
pub mod fault;
pub mod fleet;
mod log;
pub mod model;
mod request;
mod tap;

use std::sync::Arc;

/// What time it is, in microseconds since 1970-01-01T00:00:00Z. The sandbox is told, so that tests and rehearsals agree.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Why a fleet or fault file is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct FileError {
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub remedy: String,
}

impl FileError {
    fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

/// Reads `1500ms`, `2s`, `5m` as microseconds.
fn micros(text: &str) -> Option<i64> {
    let units = [("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];
    units.iter().find_map(|(unit, size)| {
        let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
        (0..=1_000_000).contains(&number).then(|| number * size)
    })
}

/// Reads `2s..6s`, or one duration for both ends.
fn span(text: &str) -> Option<(i64, i64)> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let (low, high) = (micros(low)?, micros(high)?);
    (low <= high).then_some((low, high))
}
