//! The machine that the program runs on.

use std::net::IpAddr;

/// The machine.
pub trait Host: Send + Sync {
    /// Its addresses, without those of the loopback and of one link alone.
    ///
    /// # Errors
    /// Why they cannot be known, in words.
    fn addresses(&self) -> Result<Vec<IpAddr>, String>;
}
