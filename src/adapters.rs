//! What the ports ask for, provided: the machine's clock, the NCP API, SQLite, the environment and the log.

pub mod clock;
pub mod environment;
pub mod host;
pub mod logging;
pub mod ncp;
pub mod notify;
pub mod probe;
pub mod secrets;
pub mod store;
pub mod tls;
