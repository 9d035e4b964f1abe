//! What the engine makes of lists, of its own addresses, and of people who ask which servers groups have.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{Engine, Freshness};
use crate::daemon::account::Proof;
use crate::daemon::book::{Book, Draft};
use crate::daemon::dispatch::Alarm;
use crate::daemon::listing;
use crate::domain::breaker::Breaker;
use crate::domain::name::{AccountName, GroupName, ServerNo};
use crate::ports::cloud::{Exchange, Inventory, ReadError, Scope};

/// How long until the servers of the program's own addresses are looked for again, where that failed.
const OWN_RETRY: Duration = Duration::from_secs(20);
/// How long what was found holds, unless the housekeeping has it looked for before.
const OWN_KEPT: Duration = Duration::from_hours(24);
/// How long a person waits for groups: what is not known by then is said to be unknown.
const ASKER_LIMIT: Duration = Duration::from_secs(30);

impl Engine {
    pub(super) fn listed(
        &mut self,
        draft: &mut Draft,
        account: &AccountName,
        began: Timestamp,
        asked: (&Scope, &[GroupName]),
        exchange: Exchange<Result<Inventory, ReadError>>,
    ) {
        let Some(state) = self.book.accounts.get_mut(account) else {
            return;
        };
        state.listing = false;
        match exchange.result {
            Ok(inventory) => {
                (state.breaker, state.look_failures) = (Breaker::Closed, 0);
                state.line.bucket.fine();
                self.book.trouble_passed(draft, account, Proof::AnyAnswer);
                tracing::debug!(
                    account = account.as_str(),
                    list.servers = inventory.servers.len(),
                    "account {account}: {} servers were listed",
                    inventory.servers.len()
                );
                listing::take(&mut self.book, draft, account, began, asked, inventory);
            }
            Err(error) => {
                self.look_failed(draft, account, &error);
                if let Some(state) = self.book.accounts.get_mut(account) {
                    state.list_after = state.list_after.max(state.look_after);
                }
            }
        }
    }

    pub(super) fn found_own(
        &mut self,
        draft: &mut Draft,
        account: &AccountName,
        found: Result<Vec<ServerNo>, ReadError>,
    ) {
        let Some(state) = self.book.accounts.get_mut(account) else {
            return;
        };
        state.finding_own = false;
        let later = |by: Duration| draft.now.saturating_add(by).unwrap_or(Timestamp::MAX);
        match found {
            Ok(servers) => {
                let own: BTreeSet<ServerNo> = servers.into_iter().collect();
                if state.own.as_ref() != Some(&own) && !own.is_empty() {
                    let list: Vec<&str> = own.iter().map(ServerNo::as_str).collect();
                    tracing::info!(
                        account = account.as_str(),
                        "sunup runs on server {} of account {account}, as its address says: it is never stopped",
                        list.join(", ")
                    );
                }
                (state.own, state.find_own_after) = (Some(own), later(OWN_KEPT));
            }
            Err(error) => {
                state.find_own_after = later(OWN_RETRY);
                tracing::debug!(
                    account = account.as_str(),
                    "the servers of this machine's addresses could not be looked for: {error}"
                );
            }
        }
    }

    pub(super) fn find_own_again(&mut self) {
        for state in self.book.accounts.values_mut() {
            state.find_own_after = Timestamp::UNIX_EPOCH;
        }
    }

    pub(super) fn asked_for_groups(
        &mut self,
        now: Timestamp,
        freshness: Freshness,
        reply: oneshot::Sender<serde_json::Value>,
    ) {
        match freshness {
            Freshness::LastKnown => {
                let _ = reply.send(self.book.groups_json(now));
            }
            Freshness::Fresh => {
                self.askers.push(reply);
                self.book.wanted_lists = Some(now);
            }
        }
    }

    /// Answers those who wait for groups once every group and server has been seen, or once they have waited long enough.
    pub(super) fn answer_askers(&mut self, now: Timestamp, alarm: &mut Alarm) {
        let Some(since) = self.book.wanted_lists else { return };
        let until = since.saturating_add(ASKER_LIMIT).unwrap_or(Timestamp::MAX);
        if now < until && !is_all_seen(&self.book, since) {
            return alarm.at(until);
        }
        self.book.wanted_lists = None;
        for reply in std::mem::take(&mut self.askers) {
            // Whoever asked may have gone.
            let _ = reply.send(self.book.groups_json(now));
        }
    }
}

/// Whether every group is known, and every server of it was seen, since a moment.
fn is_all_seen(book: &Book, since: Timestamp) -> bool {
    let known = |group: &GroupName| book.roster.is_known_since(group, since);
    let seen = |server| book.sights.get(server).is_some_and(|(sight, _)| sight.began >= since);
    book.settings.groups.keys().all(known) && book.roster.servers().all(seen)
}

impl Book {
    /// A list that cannot be used has come back: another one may be read.
    pub(super) fn list_again(&mut self, account: &AccountName) {
        if let Some(state) = self.accounts.get_mut(account) {
            (state.listing, state.list_after) = (false, Timestamp::UNIX_EPOCH);
        }
    }
}
