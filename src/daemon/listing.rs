//! Lists of an account's servers: which must be read, and what they make known about groups and runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::begin::{
    begin_targets, clear_groups, held_back, is_persons, known_from, newer_open, note_decided,
    supersede_older, tell_empty, too_much, wanting_groups,
};
use super::book::{Book, Decided};
use super::claims::{OpenHoursAt, rule_of};
use super::draft::Draft;
use super::forecast::coming;
use super::lines::Line;
use super::{keeps, overrides};
use crate::domain::group::{Exclusion, Group, Tag};
use crate::domain::guard::Pattern;
use crate::domain::korean;
use crate::domain::name::{AccountName, Action, GroupName, RunId, ServerId, ServerNo};
use crate::domain::outcome::{Asked, Outcome, Reason, ReasonKind};
use crate::domain::roster::Resolved;
use crate::domain::server::{Found, Sight, Standing};
use crate::domain::target::{Event, State};
use crate::ports::cloud::{Inventory, ReadError, ReadTrouble, Scope, ServerView};
use crate::ports::notifier::{NoticeKind, Told, Urgency};
use crate::ports::store::{Addition, Resolution, RunHead, Target};

/// How long tags that could not be read are left alone.
const TAGS_AGAIN: Duration = Duration::from_secs(30);
/// The longest wait that the tag service may ask for.
const TAGS_AGAIN_MAX: Duration = Duration::from_mins(2);

/// A list that is to be read: how much of the account, and for which groups.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) scope: Option<Scope>,
    pub(super) groups: Vec<GroupName>,
}

/// The lists that must be read now, by account.
pub(super) fn wanted(book: &Book, now: Timestamp) -> BTreeMap<AccountName, Wanted> {
    // Groups of numbers alone are always known.
    if !book.settings.groups.values().any(Group::needs_list) {
        return BTreeMap::new();
    }
    let mut needed = Needed { book, since: BTreeMap::new() };
    let keeping = book.keeping(now);
    for run in book.runs.values() {
        let waits = run.targets.values().any(|t| matches!(t.progress.state, State::Waiting { .. }));
        if now >= run.head.window_end || (run.resolution.pending.is_empty() && !waits) {
            continue;
        }
        let since = known_from(book, run.head.claimed);
        let accounts: BTreeSet<&AccountName> = run.targets.keys().map(|server| &server.account).collect();
        for account in accounts {
            let due = rule_of(&run.head).map(|_| run.head.due);
            needed.all(deciding_groups(book, account, run.head.action, due).collect(), since);
            needed
                .all(keeps::deciding(book, &keeping, account, run.head.action).into_iter().collect(), since);
        }
        let mut groups: BTreeSet<&GroupName> = run.head.groups.iter().collect();
        groups.extend(run.targets.keys().flat_map(|server| book.roster.groups_of(server)));
        let groups: Vec<GroupName> = groups.into_iter().cloned().collect();
        needed.with_needs(&groups, run.head.action, since);
        if let Some(rule) = rule_of(&run.head).and_then(|rule| book.settings.rules.get(rule)) {
            needed.all(wanting_groups(book, rule, run.head.action, [run.head.due, run.head.claimed]), since);
        }
    }
    for coming in coming(book, now).filter(|coming| coming.from <= now) {
        let Some(rule) = book.settings.rules.get(&coming.occurrence.rule) else { continue };
        let action = coming.occurrence.action;
        needed.with_needs(&rule.groups, action, coming.from);
        let groups = rule.groups.iter().filter_map(|name| book.settings.groups.get(name));
        for account in groups.map(|group| &group.account).collect::<BTreeSet<_>>() {
            let due = Some(coming.occurrence.due);
            needed.all(deciding_groups(book, account, action, due).collect(), coming.from);
            needed.all(keeps::deciding(book, &keeping, account, action).into_iter().collect(), coming.from);
        }
        needed.all(wanting_groups(book, rule, action, [coming.occurrence.due; 2]), coming.from);
    }
    if let Some(since) = book.wanted_lists {
        needed.all(book.settings.groups.keys().cloned().collect(), since);
    }
    needed.by_account()
}

/// Groups with the moment since which they must be known.
struct Needed<'a> {
    book: &'a Book,
    since: BTreeMap<GroupName, Timestamp>,
}

impl Needed<'_> {
    /// Groups with all that they wait for.
    fn with_needs(&mut self, groups: &[GroupName], action: Action, since: Timestamp) {
        let groups = self.book.order.with_needs(groups, action);
        self.all(groups, since);
    }

    fn all(&mut self, groups: Vec<GroupName>, since: Timestamp) {
        for group in groups {
            let known = self.since.entry(group).or_insert(since);
            *known = since.max(*known);
        }
    }

    fn by_account(self) -> BTreeMap<AccountName, Wanted> {
        let mut found: BTreeMap<AccountName, Wanted> = BTreeMap::new();
        for (name, since) in self.since {
            let Some(group) = self.book.settings.groups.get(&name) else { continue };
            if self.book.roster.is_known_since(&name, since) {
                continue;
            }
            let wanted = found.entry(group.account.clone()).or_default();
            Scope::join(&mut wanted.scope, scope_of(group));
            wanted.groups.push(name);
        }
        found
    }
}

/// The groups of an account that only a list can tell, and that decide about its servers whoever asks for them: those that
/// `protect` and `never_stop` name, those of an order, those whose servers may say that they are busy, and those that are paused when
/// what a rule wants is `due`.
pub(super) fn deciding_groups<'a>(
    book: &'a Book,
    account: &'a AccountName,
    action: Action,
    due: Option<Timestamp>,
) -> impl Iterator<Item = GroupName> + 'a {
    let limits = &book.settings.limits;
    let stops = if action == Action::Stop { limits.never_stop.as_slice() } else { &[] };
    let limited = move |group: &Group| {
        let names_it = |pattern: &Pattern| matches!(pattern, Pattern::Group(name) if *name == group.name);
        limits.protect.iter().chain(stops).any(names_it)
    };
    let ordered = move |group: &Group| match action {
        // One whose tags cannot be read does not keep every other server down.
        Action::Start => !group.after.is_empty() && !book.group_trouble.contains_key(&group.name),
        Action::Stop => group.busy.is_some() || book.order.is_needed(&group.name),
    };
    let paused =
        move |group: &Group| due.is_some_and(|due| book.overrides.of_group(&group.name, due).is_some());
    let decides = move |group: &&Group| {
        group.account == *account && group.needs_list() && (limited(group) || ordered(group) || paused(group))
    };
    book.settings.groups.values().filter(decides).map(|group| group.name.clone())
}

/// How much of its account must be read for a group.
#[must_use]
pub fn scope_of(group: &Group) -> Scope {
    let Some(selector) = &group.selector else { return Scope::default() };
    // A number may lie anywhere, and only its name tells whether it is excluded.
    let names_tell = group.exclude.iter().any(|out| matches!(out, Exclusion::Name(_)));
    let anywhere = !group.servers.is_empty() && names_tell;
    let vpcs: BTreeSet<String> = selector.vpc.iter().filter(|_| !anywhere).cloned().collect();
    Scope { vpcs: (!vpcs.is_empty()).then_some(vpcs), tags: selector.tag.iter().cloned().collect() }
}

/// Takes a list: every server in it was seen, the groups are known, and runs that waited for them have targets.
pub(super) fn take(
    book: &mut Book,
    draft: &mut Draft,
    account: &AccountName,
    began: Timestamp,
    (scope, groups): (&Scope, &[GroupName]),
    inventory: Inventory,
) {
    let Inventory { servers, tagged } = inventory;
    note_tag_trouble(book, draft, account, &tagged);
    for name in groups {
        let Some(group) = book.settings.groups.get(name).filter(|group| group.account == *account) else {
            continue;
        };
        match members(group, &servers, &tagged) {
            Ok(members) => {
                book.resolved.insert(name.clone(), Resolved { began, members });
                book.group_trouble.remove(name);
            }
            Err(reason) => group_trouble(book, draft, name, reason),
        }
    }
    book.regroup();
    let missing = numbers_missing(book, account, scope, &servers);
    for server in servers {
        let id = ServerId { account: account.clone(), no: server.no };
        let sight = Sight { began, found: Found::Server(server.condition) };
        book.see(draft, &id, &sight, Some(server.traits));
    }
    for id in missing {
        book.see(draft, &id, &Sight { began, found: Found::Absent }, None);
    }
    take_known(book, draft);
}

/// A tag service that does not answer well is left alone for a while, and the list that goes with it.
fn note_tag_trouble(
    book: &mut Book,
    draft: &Draft,
    account: &AccountName,
    tagged: &BTreeMap<Tag, Result<BTreeSet<ServerNo>, ReadError>>,
) {
    let Some(state) = book.accounts.get_mut(account) else { return };
    for error in tagged.values().filter_map(|found| found.as_ref().err()) {
        let mut wait = TAGS_AGAIN;
        if let ReadTrouble::Throttled(asked) = error.trouble {
            state.line.bucket.throttled();
            wait = wait.max(asked.unwrap_or(wait)).min(TAGS_AGAIN_MAX);
        }
        let from = draft.now.saturating_add(wait).unwrap_or(Timestamp::MAX);
        state.list_after = state.list_after.max(from);
    }
}

/// Remembers why a group could not be resolved, and tells people once.
fn group_trouble(book: &mut Book, draft: &mut Draft, name: &GroupName, reason: Reason) {
    let known = book.group_trouble.get(name).is_some_and(|known| known.kind == reason.kind);
    if !known {
        let text = format!(
            "group {name}: which servers carry its tags is not known: {}. It is asked again until the windows end.",
            reason.text
        );
        let ko = format!(
            "그룹 {name}: 태그가 붙은 서버를 알 수 없습니다: {}. 기한까지 다시 묻습니다.",
            korean::reason(&reason)
        );
        draft.tell(NoticeKind::Trouble, Urgency::NeedsAPerson, Told::new(text, ko));
    }
    book.group_trouble.insert(name.clone(), reason);
}

/// The servers of a group, of those listed. Numbers that the list lacks stay: a read will show that they are gone.
///
/// # Errors
/// Why it is not known which servers carry a tag of the group.
pub fn members(
    group: &Group,
    servers: &[ServerView],
    tagged: &BTreeMap<Tag, Result<BTreeSet<ServerNo>, ReadError>>,
) -> Result<BTreeSet<ServerId>, Reason> {
    let tags = group.selector.iter().flat_map(|selector| &selector.tag);
    let mut carriers: BTreeMap<&Tag, &BTreeSet<ServerNo>> = BTreeMap::new();
    for tag in tags {
        match tagged.get(tag) {
            Some(Ok(servers)) => drop(carriers.insert(tag, servers)),
            Some(Err(error)) => return Err(error.reason.clone()),
            None => return Err(Reason::new(ReasonKind::NotKnown, "its tags were not asked for yet")),
        }
    }
    let id = |no: &ServerNo| ServerId { account: group.account.clone(), no: no.clone() };
    let listed: BTreeSet<&ServerNo> = servers.iter().map(|server| &server.no).collect();
    let unlisted = group.servers.iter().filter(|no| !listed.contains(no));
    let holds = |server: &&ServerView| {
        let has_tag = |tag: &Tag| carriers.get(tag).is_some_and(|servers| servers.contains(&server.no));
        let is_gone = server.condition.standing(Action::Start) == Standing::Gone;
        // A number that the file names is told to be gone; what was only chosen just is no more.
        group.holds(&server.no, &server.traits, has_tag) && (!is_gone || group.servers.contains(&server.no))
    };
    Ok(servers.iter().filter(holds).map(|server| &server.no).chain(unlisted).map(id).collect())
}

/// Servers that the file names by number and that a list of everything lacks.
fn numbers_missing(
    book: &Book,
    account: &AccountName,
    scope: &Scope,
    servers: &[ServerView],
) -> Vec<ServerId> {
    if scope.vpcs.is_some() {
        return Vec::new();
    }
    let listed: BTreeSet<&ServerNo> = servers.iter().map(|server| &server.no).collect();
    let known = book.roster.servers().filter(|server| server.account == *account);
    known.filter(|server| !listed.contains(&server.no)).cloned().collect()
}

/// Gives targets to runs whose groups have become known.
pub(super) fn take_known(book: &mut Book, draft: &mut Draft) {
    let waiting: Vec<RunId> = book
        .runs
        .iter()
        .filter(|(_, run)| !run.resolution.pending.is_empty() && draft.now < run.head.window_end)
        .map(|(id, _)| *id)
        .collect();
    for id in waiting {
        add_targets(book, draft, id);
    }
}

fn add_targets(book: &mut Book, draft: &mut Draft, id: RunId) {
    let Some(run) = book.runs.get(&id) else { return };
    let (head, resolution) = (run.head.clone(), run.resolution.clone());
    let pending: Vec<GroupName> = resolution.pending.iter().cloned().collect();
    let known = known_of(book, &head, &pending);
    if known.is_empty() {
        return;
    }
    let mut servers = book.settings.servers_of(&book.roster, &known, head.action);
    servers.retain(|server, _| !run.targets.contains_key(server));
    let kept_up = left_alone(book, &head, draft.now, servers.keys());
    let alone = run.targets.values().filter_map(|target| target.progress.outcome()?.reason());
    let paused =
        alone.filter(is_persons).count() + kept_up.values().filter(|reason| is_persons(reason)).count();
    let guard = too_much(book, &head, &known, run.targets.len() + servers.len() - paused);
    let targets = begin_targets(book, &head, servers, draft.now, |server| {
        let reason = held_back(guard.as_ref(), kept_up.get(server));
        reason.map(Outcome::Skipped).or_else(|| {
            let by = newer_decided(book, server, &head).or_else(|| newer_open(book, server, &head))?;
            Some(Outcome::Superseded { asked: Asked::No, by })
        })
    });
    let is_empty = |group: &&GroupName| book.roster.size(group) == 0;
    let empty: BTreeSet<GroupName> = known.iter().filter(is_empty).cloned().collect();
    tell_empty(draft, &head.origin, &empty);
    let resolution = Resolution {
        pending: resolution.pending.into_iter().filter(|group| !known.contains(group)).collect(),
        empty: resolution.empty.union(&empty).cloned().collect(),
    };
    let taking: Vec<ServerId> = targets
        .iter()
        .filter(|target| target.progress.outcome().is_none())
        .map(|target| target.server.clone())
        .collect();
    let regrouped = regrouped(book, id, &known);
    draft.turn.additions.push(Addition {
        run: id,
        resolution: resolution.clone(),
        targets: targets.clone(),
        regrouped: regrouped.clone(),
    });
    let learned = Line::Learned { run: id, groups: known, servers: targets.len() };
    draft.lines.push(learned);
    for target in &targets {
        if target.progress.outcome().is_some() {
            draft.lines.push(Line::of(id, head.action, target));
        }
    }
    for server in &taking {
        note_decided(book, server, &head);
    }
    supersede_older(book, draft, &head, &taking);
    if let Some(run) = book.runs.get_mut(id) {
        run.resolution = resolution;
        for (server, groups) in regrouped {
            if let Some(target) = run.targets.get_mut(&server) {
                target.groups = groups;
            }
        }
    }
    book.runs.add_targets(id, targets);
    if let Some(reason) = guard {
        withdraw_rest(book, draft, id, &reason);
    }
}

/// Targets of a run that turn out to be in groups that have become known, with all their groups.
fn regrouped(book: &Book, id: RunId, known: &[GroupName]) -> Vec<(ServerId, Vec<GroupName>)> {
    let Some(run) = book.runs.get(&id) else { return Vec::new() };
    let more = |target: &Target| {
        let holds =
            |group: &&GroupName| book.roster.holds(group, &target.server) && !target.groups.contains(group);
        let more: Vec<GroupName> = known.iter().filter(holds).cloned().collect();
        let groups = target.groups.iter().cloned().chain(more.iter().cloned()).collect();
        (!more.is_empty()).then(|| (target.server.clone(), groups))
    };
    run.targets.values().filter_map(more).collect()
}

/// The pending groups that can be acted on now. None of a rule that is gone.
fn known_of(book: &Book, head: &RunHead, pending: &[GroupName]) -> Vec<GroupName> {
    match rule_of(head).map(|rule| book.settings.rules.get(rule)) {
        Some(Some(rule)) if rule.enabled => {
            clear_groups(book, rule, pending, (head.action, head.due), head.claimed)
        }
        Some(_) => Vec::new(),
        None => {
            let since = known_from(book, head.claimed);
            let known = |group: &&GroupName| book.roster.is_known_since(group, since);
            pending.iter().filter(known).cloned().collect()
        }
    }
}

/// The servers that the hours of other rules want up, or that a person's override holds back.
fn left_alone<'s>(
    book: &Book,
    head: &RunHead,
    now: Timestamp,
    servers: impl Iterator<Item = &'s ServerId> + Clone,
) -> BTreeMap<ServerId, Reason> {
    let settings = Arc::clone(&book.settings);
    let mut alone = keeps::kept(book, head, now, servers.clone());
    let Some(rule) = rule_of(head).and_then(|rule| settings.rules.get(rule)) else {
        return alone;
    };
    let wanted = OpenHoursAt::new(&settings, &book.roster, &book.overrides).kept_up(
        rule,
        (head.action, head.due),
        now,
        servers.clone(),
    );
    alone.extend(wanted);
    alone.extend(overrides::held(book, rule, head.due, servers));
    alone
}

/// A newer opposite wish that came, and perhaps ended, while the servers of this run were not known.
fn newer_decided(book: &Book, server: &ServerId, head: &RunHead) -> Option<String> {
    let is_newer = |known: &&Decided| {
        let start_wins = known.due == head.due && known.action == Action::Start;
        known.action != head.action && (known.due > head.due || start_wins)
    };
    book.decided.get(server).filter(is_newer).map(|known| known.by.clone())
}

/// A guard over the whole run has tripped late: what has not been asked yet is not asked any more.
fn withdraw_rest(book: &mut Book, draft: &mut Draft, id: RunId, reason: &Reason) {
    let servers: Vec<ServerId> =
        book.runs.get(&id).map(|run| run.targets.keys().cloned().collect()).unwrap_or_default();
    for server in servers {
        book.happen(draft, id, &server, &Event::Withdrawn(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{self, at, group, head, reason};
    use crate::domain::target::Progress;

    #[test]
    fn a_trouble_of_a_group_is_told_once_for_each_kind() {
        let mut book = scene::book("");
        let mut draft = Draft::new(at("08:50:00"));

        for kind in [ReasonKind::Refused, ReasonKind::Refused, ReasonKind::Throttled, ReasonKind::Throttled] {
            group_trouble(&mut book, &mut draft, &group("web"), reason(kind));
        }

        assert_eq!(draft.notices.len(), 2);
    }

    #[test]
    fn a_target_learns_in_which_more_groups_its_server_is() {
        let due = at("08:50:00");
        let mut book = scene::book("");
        let targets = ["1001", "1002"].map(|no| (no, Progress::fresh(due)));
        scene::add(&mut book, 1, head("r", Action::Start, due), &targets);
        scene::resolve(&mut book, "web", due, &["1002", "1009"]);

        let found = regrouped(&book, RunId(1), &[group("web"), group("db")]);

        assert_eq!(found, [(scene::server("1002"), vec![group("db"), group("web")])]);
    }
}
