//! What the tests of the engine's parts begin with: a book of a configuration, and runs in it as they may stand.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::account::AccountLine;
use super::book::{Book, Run};
use super::rate::Bucket;
use crate::domain::name::{AccountName, Action, AttemptId, GroupName, RuleName, RunId, ServerId, ServerNo};
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::retry::Answer;
use crate::domain::roster::Resolved;
use crate::domain::server::{Condition, Found, Sight};
use crate::domain::target::{Progress, State};
use crate::ports::clock::{Clock, Reading};
use crate::ports::cloud::{Cloud, Exchange, Inventory, ReadError, Scope, ServerView};
use crate::ports::store::{Opening, Origin, Resolution, RunHead, Target};
use crate::settings::Settings;

/// Two accounts; group `web` is chosen by name, group `db` by number.
pub(super) const CONFIG: &str = "timezone = \"UTC\"\n\
    [accounts.main]\nregion = \"KR\"\n[accounts.other]\nregion = \"SGN\"\n\
    [groups.web]\naccount = \"main\"\nname = \"web-*\"\n\
    [groups.db]\naccount = \"main\"\nservers = [\"1001\", \"1002\", \"1003\"]\n";

/// A moment on one day.
pub(super) fn at(time: &str) -> Timestamp {
    format!("2026-11-23T{time}Z").parse().unwrap()
}

pub(super) fn account(name: &str) -> AccountName {
    AccountName::new(name).unwrap()
}

pub(super) fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

/// A server of account `main`.
pub(super) fn server(no: &str) -> ServerId {
    ServerId { account: account("main"), no: ServerNo::parse(no).unwrap() }
}

pub(super) fn settings(more: &str) -> Settings {
    Settings::read(&format!("{CONFIG}{more}")).unwrap_or_else(|problems| panic!("{problems:#?}")).settings
}

/// A book of the configuration and more of it, in which nothing has happened yet.
pub(super) fn book(more: &str) -> Book {
    let settings = settings(more);
    let line = |name: &AccountName| (name.clone(), line());
    let lines = settings.accounts.keys().map(line).collect();
    Book::new(Arc::new(settings), Opening::default(), lines)
}

/// An account's cloud that never answers.
pub(super) fn line() -> AccountLine {
    AccountLine::new(
        Arc::new(Silence),
        Arc::new(Bucket::new(10, Arc::new(Stopped(Timestamp::UNIX_EPOCH)))),
        20,
    )
}

/// A run by a rule, due at a moment, with a window of a quarter of an hour.
pub(super) fn head(rule: &str, action: Action, due: Timestamp) -> RunHead {
    RunHead {
        origin: Origin::Rule(RuleName::new(rule).unwrap()),
        action,
        groups: vec![group("db")],
        planned: due,
        due,
        window_end: due + Duration::from_mins(15),
        claimed: due,
        waived: BTreeSet::new(),
    }
}

/// Puts a run with targets of group `db` into a book.
pub(super) fn add(book: &mut Book, id: i64, head: RunHead, targets: &[(&str, Progress)]) {
    let target = |(no, progress): &(&str, Progress)| Target {
        server: server(no),
        name: None,
        groups: vec![group("db")],
        limit: Duration::from_mins(10),
        progress: progress.clone(),
        revision: 0,
    };
    let targets = targets.iter().map(target).map(|target| (target.server.clone(), target)).collect();
    let resolution = Resolution::default();
    book.runs.insert(RunId(id), Run { head, targets, resolution, is_closed: false });
}

/// How far a target of a run is.
pub(super) fn progress<'a>(book: &'a Book, id: i64, no: &str) -> &'a Progress {
    &book.runs[&RunId(id)].targets[&server(no)].progress
}

/// Whose request is on the wire.
pub(super) fn asking(since: Timestamp) -> Progress {
    Progress { state: State::Asking { attempt: AttemptId(1), since }, attempts: 1, ..Progress::fresh(since) }
}

/// A read that showed a server.
pub(super) fn sight(began: Timestamp, status: &str, operation: &str) -> Sight {
    Sight { began, found: Found::Server(Condition::from_codes(status, operation)) }
}

/// A list has shown that a group holds servers.
pub(super) fn resolve(book: &mut Book, name: &str, began: Timestamp, servers: &[&str]) {
    let members = servers.iter().map(|no| server(no)).collect();
    book.resolved.insert(group(name), Resolved { began, members });
    book.regroup();
}

pub(super) fn reason(kind: ReasonKind) -> Reason {
    Reason::new(kind, "as a test has it")
}

/// A clock that stands still.
pub(super) struct Stopped(pub(super) Timestamp);

impl Clock for Stopped {
    fn read(&self) -> Reading {
        Reading { wall: self.0, boot: Duration::ZERO, awake: Duration::ZERO }
    }
}

struct Silence;

#[async_trait]
impl Cloud for Silence {
    async fn ask(&self, _: Action, _: &[ServerNo], _: Timestamp) -> Exchange<Answer> {
        std::future::pending().await
    }

    async fn look(&self, _: &[ServerNo], _: Duration) -> Exchange<Result<Vec<ServerView>, ReadError>> {
        std::future::pending().await
    }

    async fn list(&self, _: &Scope, _: Duration) -> Exchange<Result<Inventory, ReadError>> {
        std::future::pending().await
    }

    async fn at_addresses(&self, _: &[IpAddr]) -> Exchange<Result<Vec<ServerNo>, ReadError>> {
        std::future::pending().await
    }

    async fn greet(&self) -> Exchange<Result<(), ReadError>> {
        std::future::pending().await
    }
}
