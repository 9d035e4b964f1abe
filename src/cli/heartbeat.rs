//! The dead man's switch: whoever watches is told as long as the engine turns, and raises an alarm when that stops.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::sync::mpsc;

use crate::adapters::notify::post;
use crate::adapters::secrets;
use crate::daemon::control::status_within;
use crate::daemon::engine::Input;
use crate::settings::{Heartbeat, Settings};

/// How long the engine may take to answer: it answers between two turns.
const TURN_LIMIT: Duration = Duration::from_secs(8);
/// How soon a heartbeat is looked for that a reload may have added.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beat {
    /// The program has just begun.
    Start,
    /// The engine turns and can act.
    Success,
    /// The engine turns and holds all work back.
    Fail,
}

impl Beat {
    /// What there is to tell; of an engine that does not answer nothing.
    fn of(is_first: bool, held: Option<bool>) -> Option<Self> {
        match (is_first, held?) {
            (true, _) => Some(Self::Start),
            (false, false) => Some(Self::Success),
            (false, true) => Some(Self::Fail),
        }
    }

    /// What is added to the address, after the convention of healthchecks.
    fn suffix(self) -> &'static str {
        match self {
            Self::Start => "/start",
            Self::Success => "",
            Self::Fail => "/fail",
        }
    }
}

/// Tells for ever. Silence is the alarm: an engine that does not answer is not told of.
pub(super) async fn run(settings: Arc<Mutex<Arc<Settings>>>, inputs: mpsc::Sender<Input>) {
    let (mut is_first, mut has_failed) = (true, false);
    loop {
        let heartbeat = settings.lock().unwrap_or_else(PoisonError::into_inner).heartbeat.clone();
        let Some(heartbeat) = heartbeat else {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        let beat = Beat::of(is_first, held(&inputs).await);
        if let Some(beat) = beat {
            is_first = false;
            match send(&heartbeat, beat).await {
                Ok(()) if has_failed => {
                    has_failed = false;
                    tracing::info!("the heartbeat arrives again");
                }
                Ok(()) => {}
                Err(words) => {
                    if !has_failed {
                        tracing::warn!(
                            "the heartbeat could not be sent: {words}; it is tried every {}s",
                            heartbeat.every.as_secs()
                        );
                    }
                    has_failed = true;
                }
            }
            if beat == Beat::Start {
                continue;
            }
        }
        tokio::time::sleep(heartbeat.every).await;
    }
}

/// Whether the engine holds all work back; `None` if it does not answer.
async fn held(inputs: &mpsc::Sender<Input>) -> Option<bool> {
    let status = status_within(inputs, TURN_LIMIT).await?;
    Some(status.get("held").is_some_and(|held| !held.is_null()))
}

async fn send(heartbeat: &Heartbeat, beat: Beat) -> Result<(), String> {
    let address = secrets::fetch(&heartbeat.url).map_err(|error| error.to_string())?;
    post::send(&post::with_suffix(&address, beat.suffix()), heartbeat.allow_private, HeaderMap::new(), None)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_does_not_answer_is_not_told_of_and_one_that_holds_work_back_fails() {
        let beat = async |status: Option<serde_json::Value>| {
            let (inputs, mut engine) = mpsc::channel(1);
            let answering = tokio::spawn(async move {
                let Some(Input::Status(reply)) = engine.recv().await else { return };
                match status {
                    Some(status) => drop(reply.send(status)),
                    None => tokio::time::sleep(TURN_LIMIT * 2).await,
                }
            });
            let held = held(&inputs).await;
            answering.abort();
            Beat::of(false, held)
        };

        assert_eq!(beat(Some(json!({ "held": null }))).await, Some(Beat::Success));
        assert_eq!(beat(Some(json!({ "held": "the clock" }))).await, Some(Beat::Fail));
        assert_eq!(beat(None).await, None);
        assert_eq!((Beat::of(true, Some(true)), Beat::of(true, None)), (Some(Beat::Start), None));
    }
}
