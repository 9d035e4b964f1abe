//! The daemon: one engine decides, records and acts; tasks do the talking and report back.

mod book;
mod claims;
pub mod control;
mod dispatch;
pub mod engine;
pub mod housekeeping;
mod io;
mod lines;
pub mod rate;
mod reload;
pub mod signals;
pub mod systemd;
mod trust;
pub mod view;
