//! Chores that the sweep of each minute brings.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Engine, Phase};
use crate::daemon::{summary, view};

impl Engine {
    /// Tells the summaries whose time has come since the last sweep; none under a clock that cannot be believed.
    pub(super) fn tell_summaries(&mut self, now: Timestamp) {
        if !matches!(self.phase, Phase::AtWork) {
            return;
        }
        let after = std::mem::replace(&mut self.summed_until, now);
        let settings = Arc::clone(&self.book.settings);
        let zone = view::zone_of(Some(&settings), None);
        for notify in settings.notifiers.values() {
            let Some((from, to)) = notify.summary.and_then(|time| time.due(after, now, &zone)) else {
                continue;
            };
            let (store, notifier) = (Arc::clone(&self.parts.store), Arc::clone(&self.parts.notifier));
            let (name, settings) = (notify.name.clone(), Arc::clone(&settings));
            // Counting the past may take a while: no turn waits for it.
            self.parts.io.spawn(async move {
                match summary::told(store.as_ref(), &settings, from, to).await {
                    Ok(told) => notifier.summarize(&name, now, &told),
                    Err(error) => tracing::error!("no summary could be made for notifier {name}: {error}"),
                }
            });
        }
    }
}
