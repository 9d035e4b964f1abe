//! The whole engine on one thread under virtual time, with the sandbox's model as the cloud: promises by their names.

mod by_hand;
mod coming_back;
mod company;
mod due_second;
mod groups;
mod isolation;
mod keeps;
mod korean;
mod looks;
mod order;
mod overrides;
mod plan_and_deed;
mod promises;
mod schedules;
#[path = "../common/shown.rs"]
mod shown;
mod sky;
mod world;
