//! Signals, through signal-hook: TERM and INT end the daemon tidily, HUP has the configuration read again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook_tokio::Signals;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The end.
    Shutdown,
    /// The configuration, read again.
    Reload,
}

/// The signals of the process, as a stream.
pub struct Stream {
    signals: Signals,
}

/// The exit code of a process that a second TERM or INT ends at once.
const IMPATIENT_EXIT: i32 = 1;

impl Stream {
    /// Takes the signals over. A second TERM or INT ends the process at once, even if everything else hangs.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn new() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag down and raises it.
            flag::register_conditional_shutdown(signal, IMPATIENT_EXIT, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self { signals: Signals::new([SIGTERM, SIGINT, SIGHUP])? })
    }

    /// The next thing that is wanted.
    pub async fn next(&mut self) -> Option<Wanted> {
        self.signals.next().await.map(
            |signal| {
                if signal == SIGHUP { Wanted::Reload } else { Wanted::Shutdown }
            },
        )
    }
}
