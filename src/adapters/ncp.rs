//! The NCP API of one account: signing, sending, reading.

mod client;
mod encode;
mod read;
pub mod sign;
mod tree;

pub use client::{ATTEMPT_LIMIT, CONNECT_LIMIT, KeyPair, NcpCloud};
