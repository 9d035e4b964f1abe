//! Sunup wakes NAVER Cloud servers on schedule, watches until they really run, and keeps a record of every outcome.

#![forbid(unsafe_code)]

pub mod adapters;
pub mod audit;
pub mod cli;
pub mod daemon;
pub mod domain;
pub mod http;
pub mod planted;
pub mod ports;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod settings;
