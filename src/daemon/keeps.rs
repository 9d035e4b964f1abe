//! What people keep as it is: whom a keep is about, what it held back, and what follows when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::absence::Absence;
use super::begin::{Begun, begin_targets, head_of_command};
use super::book::Book;
use super::claims::{PersonRun, Reach};
use super::draft::Draft;
use super::view;
use crate::domain::name::{AccountName, Action, GroupName, OverrideId, RuleName, ServerId};
use crate::domain::order::Order;
use crate::domain::outcome::{Outcome, Reason, ReasonKind, RunOutcome};
use crate::domain::overrides::{Kind, Override, Overrides, Scope, Then};
use crate::domain::roster::Roster;
use crate::domain::rule::AfterKeep;
use crate::domain::schedule::When;
use crate::domain::target::State;
use crate::ports::notifier::{NoticeKind, Told, Urgency};
use crate::ports::store::{Entry, HistoryQuery, Origin, Resolution, RunHead, Target, Waiver};

/// What a keep held back of a server: the newest that a rule wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Swallowed {
    action: Action,
    due: Timestamp,
    by: String,
    /// The rule that wanted it; `None` for what was itself to follow a keep.
    rule: Option<RuleName>,
    /// The groups that hold the server, as the run had them: they are known even where no list has been read yet.
    groups: Vec<GroupName>,
}

/// What follows the end of a keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Following {
    keep: OverrideId,
    ended: Timestamp,
    run: PersonRun,
}

impl Following {
    /// Whom it is about.
    pub(super) fn run(&self) -> &PersonRun {
        &self.run
    }

    /// When the keep ended: what follows it is due then.
    pub(super) fn ended(&self) -> Timestamp {
        self.ended
    }

    pub(super) fn head(&self, book: &Book, now: Timestamp) -> RunHead {
        let head = head_of_command(book, &self.run, self.ended);
        let origin = Origin::Keep { id: self.keep, who: self.run.who.clone() };
        RunHead { origin, claimed: now, ..head }
    }
}

/// Whom one keep is about.
struct Reached<'a> {
    keep: &'a Override,
    forbids: Action,
    server: Option<&'a ServerId>,
    groups: BTreeSet<GroupName>,
}

/// The keeps that hold at a moment, with all that they reach.
pub struct Keeping<'a> {
    roster: &'a Roster,
    reached: Vec<Reached<'a>>,
}

impl<'a> Keeping<'a> {
    /// What holds at a moment, the newest first. What is kept on keeps up what it needs.
    #[must_use]
    pub fn at(overrides: &'a Overrides, roster: &'a Roster, order: &Order, at: Timestamp) -> Self {
        let reach = |(keep, forbids): (&'a Override, Action)| {
            let needs = |groups: &[GroupName]| match forbids {
                Action::Stop => order.with_needs(groups, Action::Start),
                Action::Start => groups.to_vec(),
            };
            let (server, groups) = match &keep.scope {
                Scope::Group(group) => (None, needs(std::slice::from_ref(group))),
                Scope::Server(server) => {
                    let own = roster.groups_of(server);
                    // The rest of its own groups is not meant.
                    let more = needs(own).into_iter().filter(|group| !own.contains(group)).collect();
                    (Some(server), more)
                }
                Scope::Rule(_) => (None, Vec::new()),
            };
            Reached { keep, forbids, server, groups: groups.into_iter().collect() }
        };
        Self { roster, reached: overrides.keeping(at).map(reach).collect() }
    }

    /// What keeps an action from a server.
    #[must_use]
    pub fn holding(&self, action: Action, server: &ServerId) -> Option<&'a Override> {
        self.holding_in(action, server, &[])
    }

    /// The same of a server that is known to be in some more groups.
    fn holding_in(&self, action: Action, server: &ServerId, more: &[GroupName]) -> Option<&'a Override> {
        let is_about = |reached: &&Reached<'_>| {
            let mut groups = self.roster.groups_of(server).iter().chain(more);
            reached.forbids == action
                && (reached.server == Some(server) || groups.any(|group| reached.groups.contains(group)))
        };
        self.reached.iter().find(is_about).map(|reached| reached.keep)
    }

    /// The groups that decide whether an action is kept from a server.
    pub(super) fn groups(&self, action: Action) -> impl Iterator<Item = &GroupName> {
        self.reached
            .iter()
            .filter(move |reached| reached.forbids == action)
            .flat_map(|reached| &reached.groups)
    }
}

impl Book {
    /// What people keep as it is at a moment.
    pub(super) fn keeping(&self, at: Timestamp) -> Keeping<'_> {
        Keeping::at(&self.overrides, &self.roster, &self.order, at)
    }

    /// Why a server is left alone by an action, where a person keeps it as it is.
    pub(super) fn kept(&self, keeping: &Keeping<'_>, action: Action, server: &ServerId) -> Option<Reason> {
        keeping.holding(action, server).map(|keep| keep.as_reason(&view::zone_of(Some(&self.settings), None)))
    }

    /// Remembers what a keep held back, so that it can be made up for.
    pub(super) fn note_kept(&mut self, head: &RunHead, target: &Target) {
        let rule = match &head.origin {
            Origin::Rule(rule) => Some(rule.clone()),
            Origin::Keep { .. } => None,
            Origin::Person(_) => return,
        };
        let decided = self.decided.get(&target.server).map(|decided| decided.due);
        let known = self.swallowed.get(&target.server).map(|swallowed| swallowed.due);
        let is_newest = decided.max(known).is_none_or(|newest| newest <= head.due);
        if is_kept(target) && is_newest {
            let (action, due, by) = (head.action, head.due, head.origin.words());
            let swallowed = Swallowed { action, due, by, rule, groups: target.groups.clone() };
            self.swallowed.insert(target.server.clone(), swallowed);
        }
    }

    /// Whether what was held back is still wanted: its rule is there, enabled and wants it made up for, and no open hours want the
    /// server as it is, where the closing edge of others was held back.
    fn still_applies(&self, server: &ServerId, swallowed: &Swallowed, now: Timestamp) -> bool {
        let Some(name) = &swallowed.rule else { return true };
        let Some(rule) = self.settings.rules.get(name).filter(|rule| rule.enabled) else { return false };
        let is_edge = swallowed.action == Action::Stop && matches!(rule.schedule.when, When::Hours(_));
        let is_wanted = || {
            let open = self.settings.open_hours(&self.roster, &self.overrides, now);
            open.wanting(&rule.name, server).is_some()
        };
        rule.after_keep == AfterKeep::Apply && !(is_edge && is_wanted())
    }

    /// What was held back of a server is over, since something newer was decided.
    pub(super) fn forget_kept(&mut self, server: &ServerId, due: Timestamp) {
        if self.swallowed.get(server).is_some_and(|swallowed| swallowed.due <= due) {
            self.swallowed.remove(server);
        }
    }

    /// What the journal must be asked for to know what keeps held back before the program began. `None`: nothing.
    pub(super) fn kept_before(&self) -> Option<HistoryQuery> {
        let keeps = self.overrides.in_force().filter(|one| matches!(one.kind, Kind::Keep { .. }));
        let from = keeps.map(|one| one.from).min()?;
        // What was due shortly before a keep may still have waited when that began.
        let from = from.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(from);
        Some(HistoryQuery { from: Some(from), limit: u32::MAX, ..HistoryQuery::default() })
    }

    /// Learns from the journal, newest entries first, what the keeps that are still in force held back before the program began.
    pub(super) fn learn_kept(&mut self, entries: &[Entry]) {
        let in_force = Overrides::new(self.overrides.in_force().cloned().collect());
        let (roster, order) = (self.roster.clone(), Order::new(&self.settings.groups, &self.roster));
        for entry in entries.iter().rev() {
            let Entry::Run(run) = entry else { continue };
            for record in run.targets.iter().filter(|_| run.withdrawn.is_none()) {
                let target = &record.target;
                match &target.progress.state {
                    State::Ended { outcome: Outcome::Skipped(reason), at }
                        if reason.kind == ReasonKind::Kept =>
                    {
                        let keeping = Keeping::at(&in_force, &roster, &order, *at);
                        if keeping.holding_in(run.head.action, &target.server, &target.groups).is_some() {
                            self.note_kept(&run.head, target);
                        }
                    }
                    // What left the server alone on purpose decided nothing about it.
                    State::Ended { outcome: Outcome::Skipped(reason), .. }
                        if matches!(reason.kind, ReasonKind::Paused | ReasonKind::Wanted) => {}
                    _ => self.forget_kept(&target.server, run.head.due),
                }
            }
        }
    }
}

/// The servers that a run leaves alone since people keep them as they are, with the reason.
pub(super) fn kept<'s>(
    book: &Book,
    head: &RunHead,
    now: Timestamp,
    servers: impl Iterator<Item = &'s ServerId>,
) -> BTreeMap<ServerId, Reason> {
    if head.waived.contains(&Waiver::Keeps) {
        return BTreeMap::new();
    }
    let keeping = book.keeping(now);
    let remedy = match &head.origin {
        Origin::Person(_) => " (--break-keep does it all the same)",
        Origin::Rule(_) | Origin::Keep { .. } => "",
    };
    let kept = |server: &ServerId| {
        let reason = book.kept(&keeping, head.action, server)?;
        Some((server.clone(), Reason::new(reason.kind, format!("{}{remedy}", reason.text))))
    };
    servers.filter_map(kept).collect()
}

/// The run that follows a keep whose end nobody noticed in time.
pub(super) fn too_late(
    book: &Book,
    head: RunHead,
    servers: BTreeMap<ServerId, Duration>,
    absence: &Absence,
) -> Begun {
    let cause = absence.at(head.due).clone();
    let targets = begin_targets(book, &head, servers, head.claimed, |_| Some(Outcome::Missed(cause.clone())));
    let resolution = Resolution::default();
    // What is protected is skipped, not missed.
    let outcome = match targets.is_empty() {
        true => RunOutcome::Missed,
        false => book.outcome_of(&head, targets.iter(), &resolution),
    };
    Begun { head, targets, resolution, ended: Some((outcome, cause.to_string())) }
}

/// Whether a target was left alone since a person keeps its server as it is.
pub(super) fn is_kept(target: &Target) -> bool {
    matches!(target.progress.outcome(), Some(Outcome::Skipped(reason)) if reason.kind == ReasonKind::Kept)
}

/// What follows keeps that have just ended: told, and put among what this turn claims. `ended` stand in the book as they ended.
pub(super) fn follow(book: &mut Book, draft: &mut Draft, ended: &[Override]) {
    for keep in ended {
        let Kind::Keep { forbids, then } = keep.kind else { continue };
        let has_begun = keep.from < keep.end();
        let is_gone = matches!(&keep.scope, Scope::Group(group) if !book.settings.groups.contains_key(group));
        let (whom, by) = match then {
            _ if !has_begun || is_gone => (Whom::default(), None),
            Then::Leave => {
                let _ = taken(book, draft.now, keep, forbids);
                (Whom::default(), None)
            }
            Then::Act => (Whom::of(&keep.scope), None),
            Then::Apply => {
                let (servers, by) = made_up(book, draft.now, keep, forbids);
                (Whom { groups: Vec::new(), servers }, Some(by))
            }
        };
        let shown: Vec<String> = whom.servers.iter().map(|server| book.shown(server)).collect();
        let following = (!whom.is_nobody()).then(|| Following {
            keep: keep.id,
            ended: keep.end(),
            run: PersonRun {
                action: forbids,
                groups: whom.groups,
                servers: whom.servers,
                reach: Reach::Alone,
                waived: BTreeSet::new(),
                who: keep.who.clone(),
            },
        });
        let is_late = following
            .as_ref()
            .is_some_and(|following| following.head(book, draft.now).window_end <= draft.now);
        let is = if is_late { "was to be" } else { "is" };
        let what = match (then, by) {
            _ if !has_begun => "it had not begun".to_owned(),
            _ if is_gone => "the configuration no longer has that group, so nothing follows".to_owned(),
            (Then::Leave, _) => "its servers are left as they are".to_owned(),
            (Then::Act, _) => format!("to {forbids} its servers {is} what follows it"),
            (Then::Apply, Some(by)) if following.is_some() => {
                format!("what {by} wanted meanwhile {is} made up for: {forbids} {}", shown.join(", "))
            }
            (Then::Apply, _) => "nothing was held back that is to be made up for".to_owned(),
        };
        let text = format!("the keep of {} by {} has ended; {what}.", keep.scope, keep.who);
        let ko = format!("{}의 {} keep이 끝났습니다: {what}.", keep.who, keep.scope);
        draft.tell(NoticeKind::Override, Urgency::GoodToKnow, Told::new(text, ko));
        draft.following.extend(following);
    }
}

/// Whom what follows a keep is about.
#[derive(Default)]
struct Whom {
    groups: Vec<GroupName>,
    servers: Vec<ServerId>,
}

impl Whom {
    fn of(scope: &Scope) -> Self {
        match scope {
            Scope::Group(group) => Self { groups: vec![group.clone()], servers: Vec::new() },
            Scope::Server(server) => Self { groups: Vec::new(), servers: vec![server.clone()] },
            Scope::Rule(_) => Self::default(),
        }
    }

    fn is_nobody(&self) -> bool {
        self.groups.is_empty() && self.servers.is_empty()
    }
}

/// What a keep that has ended held back, and no other one holds: taken out of what is remembered.
fn taken(book: &mut Book, now: Timestamp, keep: &Override, action: Action) -> BTreeMap<ServerId, Swallowed> {
    let at = keep.end().saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(keep.from).max(keep.from);
    let own = Overrides::new(vec![Override { ended: None, ..keep.clone() }]);
    let own = Keeping::at(&own, &book.roster, &book.order, at);
    let others = book.keeping(now);
    let is_taken = |(server, swallowed): &(&ServerId, &Swallowed)| {
        let held_by = |keeping: &Keeping<'_>| keeping.holding_in(action, server, &swallowed.groups).is_some();
        swallowed.action == action && held_by(&own) && !held_by(&others)
    };
    let taken: BTreeMap<ServerId, Swallowed> = book
        .swallowed
        .iter()
        .filter(is_taken)
        .map(|(server, swallowed)| (server.clone(), swallowed.clone()))
        .collect();
    book.swallowed.retain(|server, _| !taken.contains_key(server));
    taken
}

/// The servers of which a keep held something back that is made up for now, and what wanted it.
fn made_up(book: &mut Book, now: Timestamp, keep: &Override, action: Action) -> (Vec<ServerId>, String) {
    let mut free = taken(book, now, keep, action);
    free.retain(|server, swallowed| book.still_applies(server, swallowed, now));
    let by: BTreeSet<&str> = free.values().map(|swallowed| swallowed.by.as_str()).collect();
    let by = by.into_iter().collect::<Vec<_>>().join(" and ");
    (free.into_keys().collect(), by)
}

/// Groups of an account that decide whether people keep its servers as they are, and that only a list can tell.
pub(super) fn deciding(
    book: &Book,
    keeping: &Keeping<'_>,
    account: &AccountName,
    action: Action,
) -> BTreeSet<GroupName> {
    let of_account = |name: &&GroupName| {
        book.settings.groups.get(name).is_some_and(|group| group.account == *account && group.needs_list())
    };
    keeping.groups(action).filter(of_account).cloned().collect()
}
