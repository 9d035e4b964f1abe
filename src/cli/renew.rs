//! New settings for a running daemon: the configuration file read again, and calendar files that have changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::{load, world};
use crate::daemon::changes::Report;
use crate::daemon::control::ReloadFn;
use crate::daemon::engine::{Cause, Difference, Input, Reload};
use crate::ports::clock::Clock;
use crate::settings::ics;
use crate::settings::sources::stale_words;
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

/// What a look at the calendar files of settings has found.
struct Looked {
    /// The settings over the files as they are now, if any says something else.
    changed: Option<Box<Loaded>>,
    stale: Vec<String>,
}

/// Only where a file says something else is the whole configuration read again.
fn look_at_files(path: &Path, settings: &Settings) -> Looked {
    let (mut is_changed, mut stale) = (false, Vec::new());
    for (file, known) in &settings.sources.files {
        match load::calendar_file(path, file).and_then(|text| ics::read(&text)) {
            Ok(days) => is_changed |= days != *known,
            Err(problem) => stale.push(stale_words(file, &problem)),
        }
    }
    if !is_changed {
        return Looked { changed: None, stale };
    }
    match load::parse(&settings.text, path, Some(&settings.sources)) {
        Ok(loaded) => Looked { changed: Some(Box::new(loaded)), stale },
        Err(problems) => {
            let words: Vec<String> = problems.into_iter().map(|problem| problem.title).collect();
            stale.push(format!("the changed calendar files are not taken over: {}", words.join("; ")));
            Looked { changed: None, stale }
        }
    }
}

impl Renewal {
    /// Reads the file again; the engine takes it over between two turns, or keeps what it has.
    pub(super) fn reloader(self) -> ReloadFn {
        Arc::new(move || {
            let this = self.clone();
            Box::pin(async move { this.reload().await })
        })
    }

    async fn reload(self) -> Result<serde_json::Value, String> {
        let _turn = self.one_at_a_time.lock().await;
        let (path, before) = (self.path.clone(), self.in_force());
        let read = tokio::task::spawn_blocking(move || {
            let text = load::text(&path).map_err(|error| error.to_string())?;
            let parsed = load::parse(&text, &path, Some(&before.sources));
            parsed.map_err(|problems| load::not_valid(&problems, &text, &path).to_string())
        });
        match read.await.map_err(|error| error.to_string())? {
            Ok(loaded) => {
                let old = self.in_force();
                self.take_over(loaded, Cause::Configuration).await?;
                let (new, now) = (self.in_force(), self.clock.now());
                let report = tokio::task::spawn_blocking(move || Report::new(&old, &new, now));
                let report = report.await.map_err(|error| error.to_string())?;
                report.news().iter().for_each(|line| tracing::info!("reload: {line}"));
                Ok(report.json())
            }
            Err(problem) => {
                self.tell(Input::ConfigTrouble(Some(problem.clone()))).await?;
                Err(problem)
            }
        }
    }

    /// Looks at the calendar files at each wish. What has changed comes into force; what is broken is told once.
    pub(super) async fn follow_calendars(self, mut looks: mpsc::Receiver<()>) {
        while looks.recv().await.is_some() {
            let _turn = self.one_at_a_time.lock().await;
            let before = self.in_force();
            if before.sources.files.is_empty() {
                continue;
            }
            let (path, settings) = (self.path.clone(), Arc::clone(&before));
            let looked = tokio::task::spawn_blocking(move || look_at_files(&path, &settings)).await;
            let Ok(looked) = looked else { continue };
            if let Some(loaded) = looked.changed
                && self.take_over(*loaded, Cause::Calendars).await.is_err()
            {
                continue;
            }
            if self.tell(Input::CalendarTrouble(calendar_problem(&looked.stale))).await.is_err() {
                return;
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
