//! The NCP API of one account: signing, sending, reading.

mod client;
mod encode;
mod read;
pub mod role;
mod sent;
pub mod sign;
mod tags;
mod tree;

pub use client::{ATTEMPT_LIMIT, CONNECT_LIMIT, Endpoints, KeyPair, KeySource, NcpCloud};
