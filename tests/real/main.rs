//! Tests of the shipped binary over loopback. They wait on conditions, each with a hang limit.

mod calendars;
mod commands;
mod configuration;
mod groups;
mod kills;
mod main_path;
mod plans;
mod secrets;
mod support;
mod wait;
