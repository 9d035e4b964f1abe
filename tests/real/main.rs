//! Tests of the shipped binary over loopback. They wait on conditions, each with a hang limit.

mod backups;
mod calendars;
mod commands;
mod configuration;
mod confinement;
mod disk;
mod doctor;
mod due_second;
mod first_steps;
mod groups;
mod keeps;
mod kills;
mod listener;
mod mail;
mod main_path;
mod news;
mod pauses;
mod plans;
mod points;
mod proxy;
mod secrets;
mod standstill;
mod support;
mod tracer;
mod wait;
