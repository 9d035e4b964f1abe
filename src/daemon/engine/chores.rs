//! Chores that the sweep of each minute brings.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Engine, Input, Phase};
use crate::daemon::{summary, view};
use crate::domain::name::AccountName;
use crate::ports::cloud::{ClockVerdict, ReadError, ReadTrouble};
use crate::ports::meter::Happening;

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

    /// Counts a read that came back, and keeps what its answer told of the cloud's clock.
    pub(super) fn note_read(&mut self, input: &Input) {
        let (operation, account, failed, clock): (_, &AccountName, Option<&ReadError>, _) = match input {
            Input::Looked { account, exchange, .. } => {
                ("look", account, exchange.result.as_ref().err(), Some(exchange.clock))
            }
            Input::Listed { account, exchange, .. } => {
                ("list", account, exchange.result.as_ref().err(), Some(exchange.clock))
            }
            Input::FoundOwn { account, found, .. } => ("find-own", account, found.as_ref().err(), None),
            Input::Greeted { account, exchange, .. } => {
                ("greet", account, exchange.result.as_ref().err(), Some(exchange.clock))
            }
            _ => return,
        };
        let result = match failed.map(|error| &error.trouble) {
            None => "good",
            Some(ReadTrouble::Keys) => "keys",
            Some(ReadTrouble::Throttled(_)) => "throttled",
            Some(ReadTrouble::Down) => "down",
            Some(ReadTrouble::Odd) => "odd",
        };
        self.parts.meter.note(Happening::Read { operation, result });
        if failed.is_none() {
            self.book.talked(account, self.parts.clock.now());
        }
        if let (Some(ClockVerdict::Differs(difference)), Some(state)) =
            (clock, self.book.accounts.get_mut(account))
        {
            state.difference = Some(difference);
        }
    }
}
