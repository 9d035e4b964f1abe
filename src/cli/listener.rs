//! The HTTP listener of a daemon: bound at start, with what it may read.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;

use super::run::outbox;
use super::world;
use crate::adapters::notify::spool;
use crate::adapters::{secrets, tls};
use crate::daemon::control::status_within;
use crate::daemon::engine::Input;
use crate::http::answers::{Sources, StatusFn};
use crate::http::metrics::{Metrics, OnDisk};
use crate::http::server::{Bound, Doorkeeper};
use crate::ports::clock::Clock;
use crate::settings::{Http, Listen, Settings};

/// How long the engine may take to answer: it answers between two turns.
const TURN_LIMIT: Duration = Duration::from_secs(5);

/// What the listener needs of the daemon.
pub(super) struct Watched {
    pub(super) metrics: Arc<Metrics>,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) settings: Arc<Mutex<Arc<Settings>>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) journal: PathBuf,
}

/// Starts to listen. What cannot be had is told, and the daemon goes on without: servers matter more than those who watch.
pub(super) async fn listen(http: &Http, watched: Watched) {
    let shown = match &http.listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => path.display().to_string(),
    };
    let token = match http.token.as_ref().map(secrets::digest).transpose() {
        Ok(token) => token,
        Err(error) => {
            tracing::error!("nothing listens at {shown}: its token cannot be had: {error}");
            return;
        }
    };
    world::choose_tls();
    let encryption = match http.tls.as_ref().map(tls::acceptor).transpose() {
        Ok(encryption) => encryption,
        Err(words) => {
            tracing::error!("nothing listens at {shown}: {words}");
            return;
        }
    };
    let bound = match Bound::to(&http.listen, encryption).await {
        Ok(bound) => bound,
        Err(error) => {
            tracing::error!(
                "nothing listens at {shown}: {error}; another program may have it, or name another place in `[http]`"
            );
            return;
        }
    };
    let shown = bound.address().map_or(shown, |address| address.to_string());
    tracing::info!(http.listen = shown, "metrics and health are at {shown}");
    let door = Doorkeeper::new(http, token);
    let path = watched.journal;
    let sources = Sources {
        metrics: watched.metrics,
        status: status_of(watched.inputs),
        settings: watched.settings,
        clock: watched.clock,
        disk: Arc::new(move || OnDisk {
            journal_bytes: std::fs::metadata(&path).ok().map(|meta| meta.len()),
            notices: spool::count(&outbox(&path)),
        }),
    };
    tokio::spawn(bound.serve(door, Arc::new(sources)));
}

fn status_of(inputs: mpsc::Sender<Input>) -> StatusFn {
    Arc::new(move || {
        let inputs = inputs.clone();
        Box::pin(async move { status_within(&inputs, TURN_LIMIT).await })
    })
}
