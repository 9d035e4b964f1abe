//! What becomes of targets that wait, before requests are formed. Each looks at all open targets without touching those that it has nothing to
//! say about: there can be a hundred thousand of them, in every turn.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::book::{Book, Run, policy};
use super::draft::Draft;
use super::groups::own_server;
use crate::domain::name::{AccountName, RunId, ServerId};
use crate::domain::outcome::Reason;
use crate::domain::target::{Event, Progress, State, is_moved_by_time};
use crate::ports::store::Target;

/// Ends the targets whose time is up.
pub(super) fn end_by_time(book: &mut Book, draft: &mut Draft) {
    let now = draft.now;
    let is_over = |run: &Run, target: &Target| {
        is_moved_by_time(&target.progress, &policy(&run.head, target.limit, None), now)
    };
    for (run, server) in open_targets(book, is_over) {
        book.happen(draft, run, &server, &Event::Time);
    }
}

/// A target that waits joins another one of its server and action that has a request out or is on its way.
pub(super) fn share(book: &mut Book, draft: &mut Draft) {
    let shared =
        |server: &ServerId| book.runs.of(server).map(|(id, _)| (id, server.clone())).collect::<Vec<_>>();
    let several: Vec<(RunId, ServerId)> = book.runs.shared().iter().flat_map(shared).collect();
    for (run, server) in several {
        if let Some(other) = sharable(book, run, &server) {
            book.happen(draft, run, &server, &Event::Shared(&other));
        }
    }
}

/// The progress that a target of a run joins, if it waits and there is one.
fn sharable(book: &Book, id: RunId, server: &ServerId) -> Option<Progress> {
    let run = book.runs.get(&id)?;
    let own = &run.targets.get(server)?.progress;
    if !matches!(own.state, State::Waiting { .. }) || own.mark.is_some() {
        return None;
    }
    book.runs.on_its_way(server, run.head.action).cloned()
}

/// Guards over names are judged now that names are known: in the turn that would record the intent.
pub(super) fn withdraw_forbidden(book: &mut Book, draft: &mut Draft) {
    let mut forbidden: Vec<(RunId, ServerId, Reason)> = Vec::new();
    for (id, run) in book.runs.iter() {
        for (server, target) in &run.targets {
            let about_to_ask =
                target.progress.askable.is_some() && matches!(target.progress.state, State::Waiting { .. });
            if !about_to_ask {
                continue;
            }
            // A start of the program's own server is never needed: that it can be asked at all is a stale read.
            let own = || book.is_own(server).then(own_server);
            let reason = book.forbidden(run.head.action, server).or_else(own);
            forbidden.extend(reason.map(|reason| (*id, server.clone(), reason)));
        }
    }
    for (run, server, reason) in forbidden {
        book.happen(draft, run, &server, &Event::Withdrawn(&reason));
    }
}

/// Targets of an account in trouble remember it, for their windows' end: they may never get a look of their own.
pub(super) fn explain(book: &mut Book, draft: &mut Draft) {
    let mut troubled: BTreeMap<AccountName, (Reason, Timestamp)> = BTreeMap::new();
    for (name, account) in &book.accounts {
        if let Some((reason, _)) = account.told.as_ref().filter(|_| account.look_after > draft.now) {
            troubled.insert(name.clone(), (reason.clone(), account.look_after));
        }
    }
    if troubled.is_empty() {
        return;
    }
    let is_unexplained = |_: &Run, target: &Target| {
        target.progress.trouble.is_none()
            && matches!(target.progress.state, State::Waiting { .. })
            && troubled.contains_key(&target.server.account)
    };
    for (run, server) in open_targets(book, is_unexplained) {
        if let Some((reason, until)) = troubled.get(&server.account) {
            book.happen(draft, run, &server, &Event::Held(reason, *until));
        }
    }
}

/// Open targets that are meant.
fn open_targets(book: &Book, is_meant: impl Fn(&Run, &Target) -> bool) -> Vec<(RunId, ServerId)> {
    let mut found = Vec::new();
    for (id, run) in book.runs.iter() {
        let meant = run
            .targets
            .values()
            .filter(|target| target.progress.outcome().is_none() && is_meant(run, target));
        found.extend(meant.map(|target| (*id, target.server.clone())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::account::Proof;
    use crate::daemon::scene::{self, account, at, head, progress};
    use crate::domain::name::Action;
    use crate::domain::outcome::ReasonKind;

    #[test]
    fn a_target_that_waits_shares_the_request_of_another_run_with_the_same_goal_alone() {
        let now = at("08:50:00");
        let shared = |action: Action, other: Progress| {
            let mut book = scene::book("");
            scene::add(&mut book, 1, head("own", Action::Start, now), &[("1001", Progress::fresh(now))]);
            scene::add(&mut book, 2, head("other", action, now), &[("1001", other)]);
            share(&mut book, &mut Draft::new(now));
            progress(&book, 1, "1001").holds_the_wire()
        };

        assert!(shared(Action::Start, scene::asking(now)));
        assert!(!shared(Action::Stop, scene::asking(now)));
        assert!(!shared(Action::Start, Progress::fresh(now)));
    }

    #[test]
    fn a_target_remembers_the_trouble_of_its_account_while_that_holds_it_back() {
        let now = at("08:50:00");
        let explained = |told: bool, until: &str, known: Option<Reason>| {
            let mut book = scene::book("");
            let own = Progress { trouble: known, ..Progress::fresh(now) };
            scene::add(&mut book, 1, head("own", Action::Start, now), &[("1001", own)]);
            let state = book.accounts.get_mut(&account("main")).unwrap();
            state.told = told.then(|| (scene::reason(ReasonKind::Credentials), Proof::AnyAnswer));
            state.look_after = at(until);
            explain(&mut book, &mut Draft::new(now));
            progress(&book, 1, "1001").trouble.as_ref().map(|reason| reason.kind)
        };

        assert_eq!(explained(true, "08:50:01", None), Some(ReasonKind::Credentials));
        assert_eq!(explained(true, "08:50:00", None), None, "it may look now");
        assert_eq!(explained(false, "08:50:01", None), None);
        let known = scene::reason(ReasonKind::Throttled);
        assert_eq!(explained(true, "08:50:01", Some(known)), Some(ReasonKind::Throttled));
    }
}
