//! What decides about a server and is not known yet, and what limits, pauses and keeps say of it.

use std::collections::BTreeSet;

use super::{Gate, Gates};
use crate::daemon::begin::known_from;
use crate::daemon::book::Run;
use crate::daemon::claims::rule_of;
use crate::daemon::keeps;
use crate::daemon::listing::deciding_groups;
use crate::domain::name::{Action, GroupName, RunId, ServerId};
use crate::domain::outcome::{Reason, ReasonKind};
use crate::ports::store::Waiver;

impl<'a> Gates<'a> {
    /// What decides about the server and is not known yet: groups that limits or an order name, and where the program itself runs.
    pub(super) fn limits(&mut self, id: RunId, run: &Run, server: &'a ServerId) -> Gate {
        let (book, action) = (self.book, run.head.action);
        let rule = rule_of(&run.head).and_then(|rule| book.settings.rules.get(rule));
        let due = rule.map(|_| run.head.due);
        let since = known_from(book, run.head.claimed);
        let are_listed = self.are_listed;
        let unknown = self.unknown.entry((id, &server.account)).or_insert_with(|| {
            if !are_listed {
                return None;
            }
            let kept = match run.waives(Waiver::Keeps) {
                true => BTreeSet::new(),
                false => keeps::deciding(book, &self.keeping, &server.account, action),
            };
            let mut deciding = deciding_groups(book, &server.account, action, due).chain(kept);
            deciding.find(|group| !book.roster.is_known_since(group, since))
        });
        if let Some(group) = unknown {
            let words =
                format!("which servers group {group} has is not known yet, and it decides about this one");
            return Gate::Waits(self.not_known(server, words));
        }
        // Whose servers a paused group has may have become known only after the claim.
        if let Some(rule) = rule.filter(|_| !book.overrides.is_empty())
            && let Some(pause) = book.overrides.holding(rule, book.roster.groups_of(server), run.head.due)
        {
            return Gate::Lost(pause.as_reason(&rule.schedule.zone));
        }
        if !run.waives(Waiver::Keeps)
            && let Some(reason) = book.kept(&self.keeping, action, server)
        {
            return Gate::Lost(reason);
        }
        let own_known = book.accounts.get(&server.account).is_none_or(|account| account.own.is_some());
        if action == Action::Stop && book.settings.limits.own.is_none() && !own_known {
            let words =
                "it is not known yet whether sunup itself runs on this server; `limits.self` can say it";
            return Gate::Waits(self.not_known(server, words.to_owned()));
        }
        Gate::Free
    }

    /// While a newer start does not know its servers, an older stop may be about one of them.
    pub(super) fn newer_unknown(&self, run: &Run, server: &ServerId) -> Gate {
        if run.head.action != Action::Stop {
            return Gate::Free;
        }
        let may_hold = |group: &GroupName| {
            self.book.settings.groups.get(group).is_some_and(|group| group.account == server.account)
        };
        // Most turns have no run at all whose servers are still to be learned.
        let newer = self.pending.iter().find(|other| {
            other.head.action == Action::Start
                && other.head.due >= run.head.due
                && self.now < other.head.window_end
                && other.resolution.pending.iter().any(may_hold)
        });
        match newer {
            Some(newer) => {
                let words =
                    format!("{} is newer, and its servers are not known yet", newer.head.origin.words());
                Gate::Waits(Reason::new(ReasonKind::Dependency, words))
            }
            None => Gate::Free,
        }
    }
}
