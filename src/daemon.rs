//! The daemon: one engine decides, records and acts; tasks do the talking and report back.

mod absence;
mod account;
mod batch;
mod begin;
mod book;
pub mod changes;
mod claims;
pub mod control;
mod dispatch;
mod draft;
mod ending;
pub mod engine;
mod forecast;
mod gates;
pub mod groups;
pub mod housekeeping;
mod io;
pub mod keeps;
mod lines;
pub mod listing;
mod measure;
pub mod overrides;
mod places;
mod probes;
pub mod rate;
mod reload;
mod runs;
#[cfg(test)]
mod scene;
mod shift;
pub mod signals;
mod summary;
pub mod systemd;
mod trust;
pub mod view;
mod waiting;
mod warm;
