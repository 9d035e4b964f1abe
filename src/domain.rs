//! The decisions: what is due, what follows from what was seen, and how a run ends. Pure: it touches nothing and takes `now`.

pub mod address;
pub mod billing;
pub mod breaker;
pub mod budget;
pub mod calendar;
pub mod cron;
pub mod group;
pub mod guard;
pub mod hash;
pub mod hours;
pub mod misread;
pub mod name;
pub mod notice;
pub mod order;
pub mod outcome;
pub mod overrides;
pub mod plan;
pub mod probe;
pub mod retry;
pub mod roster;
pub mod rule;
pub mod schedule;
pub mod server;
pub mod target;
pub mod words;
pub mod zone;
