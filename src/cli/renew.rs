//! New settings for a running daemon: the configuration file read again, and calendar files that have changed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::{load, world};
use crate::daemon::control::ReloadFn;
use crate::daemon::engine::{Cause, Difference, Input, Reload};
use crate::ports::clock::Clock;
use crate::settings::{Loaded, Settings};

/// What is needed to renew the settings of an engine.
#[derive(Clone)]
pub(super) struct Renewal {
    pub(super) path: PathBuf,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) in_force: Arc<Mutex<Arc<Settings>>>,
    /// Held while settings are read and taken over: what was read first must not come into force last.
    pub(super) one_at_a_time: Arc<tokio::sync::Mutex<()>>,
}

/// Broken calendar files as one text; `None` if there is none.
pub(super) fn calendar_problem(stale: &[String]) -> Option<String> {
    (!stale.is_empty()).then(|| stale.join("; "))
}

impl Renewal {
    /// Reads the file again; the engine takes it over between two turns, or keeps what it has.
    pub(super) fn reloader(self) -> ReloadFn {
        Arc::new(move || {
            let this = self.clone();
            Box::pin(async move { this.reload().await.map(|difference| difference.words()) })
        })
    }

    async fn reload(self) -> Result<Difference, String> {
        let _turn = self.one_at_a_time.lock().await;
        let (path, before) = (self.path.clone(), self.in_force());
        let read = tokio::task::spawn_blocking(move || {
            let text = load::text(&path).map_err(|error| error.to_string())?;
            let parsed = load::parse(&text, &path, Some(&before.sources));
            parsed.map_err(|problems| load::not_valid(&problems, &text, &path).to_string())
        });
        match read.await.map_err(|error| error.to_string())? {
            Ok(loaded) => self.take_over(loaded, Cause::Configuration).await,
            Err(problem) => {
                self.tell(Input::ConfigTrouble(Some(problem.clone()))).await?;
                Err(problem)
            }
        }
    }

    /// Looks at the calendar files at each wish. What has changed comes into force; what is broken is told once.
    pub(super) async fn follow_calendars(self, mut looks: mpsc::Receiver<()>, mut told: Vec<String>) {
        while looks.recv().await.is_some() {
            let _turn = self.one_at_a_time.lock().await;
            let before = self.in_force();
            if before.sources.files.is_empty() {
                continue;
            }
            let (path, settings) = (self.path.clone(), Arc::clone(&before));
            let read = tokio::task::spawn_blocking(move || {
                load::parse(&settings.text, &path, Some(&settings.sources)).ok()
            });
            // The text was good when it came into force, so only a panic could bring nothing here.
            let Ok(Some(loaded)) = read.await else { continue };
            let (stale, changed) = (loaded.stale.clone(), loaded.settings.sources != before.sources);
            let is_taken = !changed || self.take_over(loaded, Cause::Calendars).await.is_ok();
            if is_taken && stale != told {
                let trouble = Input::CalendarTrouble(calendar_problem(&stale));
                told = stale;
                if self.tell(trouble).await.is_err() {
                    return;
                }
            }
        }
    }

    fn in_force(&self) -> Arc<Settings> {
        Arc::clone(&self.in_force.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn tell(&self, input: Input) -> Result<(), String> {
        self.inputs.send(input).await.map_err(|_| "the daemon is about to end".to_owned())
    }

    async fn take_over(&self, loaded: Loaded, cause: Cause) -> Result<Difference, String> {
        let settings = Arc::new(loaded.settings);
        let lines = world::accounts(&settings, &self.clock);
        let (reply, answer) = oneshot::channel();
        let reload = Reload { settings: Arc::clone(&settings), lines, cause, reply: Some(reply) };
        self.tell(Input::Reload(Box::new(reload))).await?;
        let difference = answer.await.map_err(|_| {
            "the journal did not take the configuration; the old one stays in force".to_owned()
        })?;
        if cause == Cause::Configuration {
            self.tell(Input::CalendarTrouble(calendar_problem(&loaded.stale))).await?;
        }
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        Ok(difference)
    }
}
