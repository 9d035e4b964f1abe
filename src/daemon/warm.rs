//! Connections that are open when something is due: a greeting shortly before saves its requests the handshakes.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::book::Book;
use super::dispatch::{Act, Alarm};
use crate::domain::name::AccountName;

/// So long before something is due its accounts are greeted.
const WARM_BEFORE: Duration = Duration::from_secs(3);
/// An answer that came so lately leaves its connection open, by the limit of our own client and of most servers.
const OPEN_FOR: Duration = Duration::from_secs(10);

/// Greets the accounts of what is due soon, each once, unless they have answered lately anyway.
pub(super) fn warm(book: &mut Book, now: Timestamp, alarm: &mut Alarm) -> Vec<Act> {
    let before = |moment: Timestamp, by: Duration| moment.saturating_sub(by).unwrap_or(moment);
    let mut soon: BTreeSet<&AccountName> = BTreeSet::new();
    for occurrence in &book.queue {
        let from = before(occurrence.due, WARM_BEFORE);
        if from > now {
            alarm.at(from);
            break;
        }
        // All that is due together mostly needs the same few.
        if soon.len() == book.accounts.len() {
            continue;
        }
        let Some(rule) = book.settings.rules.get(&occurrence.rule) else { continue };
        if book.overrides.of_rule(rule, occurrence.due).is_none() {
            let groups = rule.groups.iter().filter_map(|name| book.settings.groups.get(name));
            soon.extend(groups.map(|group| &group.account));
        }
    }
    let is_cold = |account: &&AccountName| {
        book.accounts
            .get(*account)
            .is_some_and(|state| state.breaker.lets_ask() && state.talked < before(now, OPEN_FOR))
    };
    let cold: Vec<AccountName> = soon.into_iter().filter(is_cold).cloned().collect();
    for account in &cold {
        if let Some(state) = book.accounts.get_mut(account) {
            state.talked = now;
        }
    }
    cold.into_iter().map(|account| Act::Greet { account }).collect()
}
