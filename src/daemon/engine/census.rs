//! What the engine makes of lists, of its own addresses, and of people who ask which servers groups have.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{Engine, Freshness};
use crate::daemon::account::Proof;
use crate::daemon::book::Book;
use crate::daemon::dispatch::Alarm;
use crate::daemon::draft::Draft;
use crate::daemon::listing;
use crate::domain::breaker::Breaker;
use crate::domain::group::Group;
use crate::domain::name::{AccountName, GroupName, ServerId, ServerNo};
use crate::ports::cloud::{Exchange, Inventory, ReadError, Scope};
use crate::ports::notifier::{NoticeKind, Told, Urgency};

/// How long until the servers of the program's own addresses are looked for again, where that failed.
const OWN_RETRY: Duration = Duration::from_secs(20);
/// The longest such wait.
const OWN_RETRY_MAX: Duration = Duration::from_mins(5);
/// How long what was found holds, unless the housekeeping has it looked for before.
const OWN_KEPT: Duration = Duration::from_hours(24);
/// An account whose reads fail is not waited for longer than this.
const FAILING_AFTER: Duration = Duration::from_secs(3);
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
                state.own_failures = 0;
            }
            Err(error) => {
                state.own_failures = state.own_failures.saturating_add(1);
                let doubled = OWN_RETRY.saturating_mul(2_u32.saturating_pow(state.own_failures.min(8) - 1));
                state.find_own_after = later(doubled.min(OWN_RETRY_MAX));
                if state.own_failures == 2 && state.own.is_none() {
                    let text = format!(
                        "account {account}: the server that sunup itself runs on could not be looked for ({error}), so nothing is \
                         stopped in this account until it can; `limits.self` can name it instead."
                    );
                    let ko = format!(
                        "계정 {account}: Sunup이 실행되는 서버를 찾을 수 없어({error}), 찾을 때까지 이 계정에서는 아무것도 정지하지 않습니다. \
                         `limits.self`에 적어 줄 수도 있습니다."
                    );
                    draft.tell(NoticeKind::Trouble, Urgency::NeedsAPerson, Told::new(text, ko));
                }
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
                // Whoever asks while a look is under way is answered by it.
                self.book.wanted_lists.get_or_insert(now);
            }
        }
    }

    /// Answers those who wait for groups once every group and server has been seen, or once they have waited long enough.
    pub(super) fn answer_askers(&mut self, now: Timestamp, alarm: &mut Alarm) {
        let Some(since) = self.book.wanted_lists else { return };
        let until = since.saturating_add(ASKER_LIMIT).unwrap_or(Timestamp::MAX);
        if now < until && !is_all_seen(&self.book, since, now) {
            let tried = since.saturating_add(FAILING_AFTER).unwrap_or(until);
            return alarm.at(if tried > now { tried } else { until });
        }
        self.book.wanted_lists = None;
        for reply in std::mem::take(&mut self.askers) {
            // Whoever asked may have gone.
            let _ = reply.send(self.book.groups_json(now));
        }
    }
}

/// Whether every group is known, and every server of it was seen, since a moment. Accounts whose reads fail are not waited for.
fn is_all_seen(book: &Book, since: Timestamp, now: Timestamp) -> bool {
    let tried = since.saturating_add(FAILING_AFTER).is_ok_and(|tried| now >= tried);
    let fails = |account: &AccountName| {
        tried && book.accounts.get(account).is_none_or(|account| account.look_failures > 0)
    };
    let known = |(name, group): (&GroupName, &Group)| {
        let has_trouble = book.group_trouble.contains_key(name);
        book.roster.is_known_since(name, since) || (tried && has_trouble) || fails(&group.account)
    };
    let seen = |server: &ServerId| {
        let is_seen = book.sights.get(server).is_some_and(|(sight, _)| sight.began >= since);
        is_seen || fails(&server.account)
    };
    book.settings.groups.iter().all(known) && book.roster.servers().all(seen)
}

impl Book {
    /// Whether a read was begun for the account as it is configured now.
    pub(super) fn is_of_now(&self, account: &AccountName, generation: u64) -> bool {
        self.accounts.get(account).is_some_and(|state| state.generation == generation)
    }

    /// A list that cannot be used has come back: another one may be read.
    pub(super) fn list_again(&mut self, account: &AccountName) {
        if let Some(state) = self.accounts.get_mut(account) {
            (state.listing, state.list_after) = (false, Timestamp::UNIX_EPOCH);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{self, account, at, resolve, server, sight};

    /// A book in which all is known since a moment.
    fn known(since: Timestamp) -> Book {
        let mut book = scene::book("");
        resolve(&mut book, "web", since, &["1009"]);
        for no in ["1001", "1002", "1003", "1009"] {
            book.sights.insert(server(no), (sight(since, "RUN", "NULL"), None));
        }
        book
    }

    #[test]
    fn whoever_asks_for_groups_waits_for_every_group_and_server_but_not_for_an_account_that_fails() {
        let since = at("08:00:00");
        let tried = since + FAILING_AFTER;
        let unseen = |fails: bool, now: Timestamp| {
            let mut book = known(since);
            book.sights.remove(&server("1002"));
            book.accounts.get_mut(&account("main")).unwrap().look_failures = u32::from(fails);
            is_all_seen(&book, since, now)
        };

        assert!(is_all_seen(&known(since), since, since));
        let mut unlisted = known(since);
        resolve(&mut unlisted, "web", since - Duration::from_secs(1), &["1009"]);
        assert!(!is_all_seen(&unlisted, since, tried), "web was listed before");
        assert!(!unseen(false, tried) && unseen(true, tried));
        assert!(!unseen(true, tried - Duration::from_secs(1)), "one failure may pass");
    }

    #[test]
    fn a_list_that_cannot_be_used_is_read_again_at_once() {
        let mut book = scene::book("");
        let main = account("main");
        let state = book.accounts.get_mut(&main).unwrap();
        (state.listing, state.list_after) = (true, at("09:00:00"));

        book.list_again(&main);

        let state = &book.accounts[&main];
        assert_eq!((state.listing, state.list_after), (false, Timestamp::UNIX_EPOCH));
    }
}
