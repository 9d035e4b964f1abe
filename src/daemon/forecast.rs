//! What would fail if it were due now: told in the preflight, and by a rehearsal long before, so that a person can mend it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::account::AccountState;
use super::book::Book;
use super::dispatch::Looks;
use super::draft::Draft;
use super::view;
use crate::domain::group::Group;
use crate::domain::korean;
use crate::domain::name::{AccountName, Action, GroupName, RuleName, ServerId};
use crate::domain::plan::Occurrence;
use crate::domain::rule::{HandStopped, Rule};
use crate::domain::server::{Found, Standing};
use crate::ports::notifier::{About, NoticeKind, Told, Urgency};

/// At the latest so long before due it is told what is known.
const JUDGED_BEFORE: Duration = Duration::from_secs(5);
/// So long after it begins a rehearsal tells what is known.
const REHEARSED_WITHIN: Duration = Duration::from_mins(1);
/// A read that is under way is waited for no longer than this before due.
const TOLD_BEFORE: Duration = Duration::from_secs(1);
/// States that were read longer before due say nothing about it.
const STATES_AGE_MAX: Duration = Duration::from_mins(1);
/// The most findings that are told of one occurrence.
const FINDINGS_MAX: usize = 6;

/// A look ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Long before, so that a person can mend what would fail.
    Rehearsal,
    /// Just before.
    Preflight,
}

/// An occurrence that is looked ahead to.
pub(super) struct Coming<'a> {
    pub(super) occurrence: &'a Occurrence,
    pub(super) stage: Stage,
    /// What is read from this moment on counts.
    pub(super) from: Timestamp,
}

/// What has been told.
#[derive(Debug, Default)]
pub(super) struct Forecasts {
    told: BTreeSet<(Timestamp, RuleName, &'static str, Stage)>,
}

impl Forecasts {
    fn key(coming: &Coming<'_>) -> (Timestamp, RuleName, &'static str, Stage) {
        let Coming { occurrence, stage, .. } = coming;
        (occurrence.due, occurrence.rule.clone(), occurrence.action.word(), *stage)
    }

    fn is_told(&self, coming: &Coming<'_>) -> bool {
        self.told.contains(&Self::key(coming))
    }
}

/// The looks ahead that are under way or come next, those of occurrences that are due soonest first.
pub(super) fn coming(book: &Book, now: Timestamp) -> impl Iterator<Item = Coming<'_>> {
    let checks = book.settings.checks;
    let before = |due: Timestamp, by: Duration| due.saturating_sub(by).unwrap_or(due);
    let horizon = checks.rehearse.unwrap_or(checks.preflight).max(checks.preflight);
    let until = now.saturating_add(horizon).unwrap_or(Timestamp::MAX);
    let is_paused = |occurrence: &&Occurrence| {
        let rule = book.settings.rules.get(&occurrence.rule);
        rule.is_some_and(|rule| book.overrides.of_rule(rule, occurrence.due).is_some())
    };
    let soon = book.queue.iter().take_while(move |occurrence| occurrence.due <= until);
    let soon = soon.filter(move |occurrence| !is_paused(occurrence));
    soon.filter_map(move |occurrence| {
        let from = before(occurrence.due, checks.preflight);
        if from <= now {
            return Some(Coming { occurrence, stage: Stage::Preflight, from });
        }
        let from = before(occurrence.due, checks.rehearse?);
        let rehearsal = Coming { occurrence, stage: Stage::Rehearsal, from };
        (from <= now && !book.forecasts.is_told(&rehearsal)).then_some(rehearsal)
    })
}

/// When the next look ahead begins.
pub(super) fn next_look(book: &Book, now: Timestamp) -> Timestamp {
    let checks = book.settings.checks;
    let mut next = Timestamp::MAX;
    for ahead in [Some(checks.preflight), checks.rehearse].into_iter().flatten() {
        let from = |occurrence: &Occurrence| occurrence.due.saturating_sub(ahead).unwrap_or(occurrence.due);
        next = book.queue.iter().map(from).find(|from| *from > now).unwrap_or(Timestamp::MAX).min(next);
    }
    next
}

/// The servers that are looked at for what comes, and what they tell is told once they have been seen.
pub(super) fn look_ahead(book: &mut Book, draft: &mut Draft) -> Looks {
    let mut looks = Looks::new();
    // What is due goes out first; the turn that follows at once looks ahead.
    if !draft.turn.claims.is_empty() {
        looks.wake_at(draft.now);
        return looks;
    }
    looks.wake_at(next_look(book, draft.now));
    let now = draft.now;
    let mut ready = Vec::new();
    for coming in coming(book, now) {
        let since = match coming.stage {
            Stage::Rehearsal => coming.from,
            // A long preflight reads states again shortly before they are needed.
            Stage::Preflight => {
                let last = coming.occurrence.due.saturating_sub(STATES_AGE_MAX).unwrap_or(coming.from);
                if last <= now { last.max(coming.from) } else { coming.from }
            }
        };
        let Some(rule) = book.settings.rules.get(&coming.occurrence.rule) else { continue };
        let groups = book.order.with_needs(&rule.groups, coming.occurrence.action);
        let mut all_seen = groups.iter().all(|group| book.roster.is_known_since(group, coming.from));
        let members: BTreeSet<&ServerId> =
            groups.iter().flat_map(|group| book.roster.members(group)).collect();
        for server in members {
            if book.sights.get(server).is_none_or(|(sight, _)| sight.began < since) {
                all_seen = false;
                looks.note(server, since);
            }
        }
        let latest = coming.occurrence.due.saturating_sub(JUDGED_BEFORE).unwrap_or(now);
        let latest = match coming.stage {
            Stage::Rehearsal => latest.min(coming.from.saturating_add(REHEARSED_WITHIN).unwrap_or(latest)),
            Stage::Preflight => latest,
        };
        if latest > now {
            looks.wake_at(latest);
        }
        // A read that is under way is waited for: what it shows cannot be told before.
        let last = coming.occurrence.due.saturating_sub(TOLD_BEFORE).unwrap_or(now);
        let own = groups.iter().filter_map(|name| book.settings.groups.get(name)).map(|group| &group.account);
        let own: Vec<&AccountState> = own.filter_map(|name| book.accounts.get(name)).collect();
        // So is one that has not begun: whoever starts shortly before something is due has read nothing yet.
        let has_to_come =
            |account: &AccountState| account.listing || account.looking || account.told.is_none();
        let is_reading = now < last && !all_seen && own.iter().any(|account| has_to_come(account));
        // Where nothing is wrong but that no answer has come yet, there is nothing to tell: the run itself will.
        let in_trouble = own.iter().any(|account| account.told.is_some())
            || groups.iter().any(|group| book.group_trouble.contains_key(group));
        let is_unheard = !all_seen && !in_trouble;
        if is_reading && now >= latest {
            looks.wake_at(last);
        }
        if (all_seen || (now >= latest && !is_reading && !is_unheard)) && !book.forecasts.is_told(&coming) {
            ready.push((Forecasts::key(&coming), coming.occurrence.clone(), coming.stage));
        }
    }
    book.forecasts.told.retain(|(due, ..)| *due >= now);
    for (key, occurrence, stage) in ready {
        book.forecasts.told.insert(key);
        tell(book, draft, &occurrence, stage);
    }
    looks
}

fn tell(book: &Book, draft: &mut Draft, occurrence: &Occurrence, stage: Stage) {
    let Some(rule) = book.settings.rules.get(&occurrence.rule) else { return };
    tell_by_hand(book, rule, occurrence);
    let mut findings = findings(book, &rule.groups, occurrence.action, draft.now);
    let at = view::moment(occurrence.due, &rule.schedule.zone);
    let what = format!("rule {} is to {} {} at {at}", rule.name, occurrence.action, names(&rule.groups));
    if findings.is_empty() {
        let word = if stage == Stage::Rehearsal { "rehearsal" } else { "preflight" };
        tracing::info!(rule = rule.name.as_str(), "{word}: {what}, and nothing stands in its way");
        return;
    }
    let more = findings.len().saturating_sub(FINDINGS_MAX);
    findings.truncate(FINDINGS_MAX);
    if more > 0 {
        findings.push(format!("and {more} more of this kind"));
    }
    let text = format!("{what}, and as things stand: {}.", findings.join("; "));
    let about = About { rule: Some(rule.name.clone()), groups: rule.groups.clone(), run: None };
    let ko = format!(
        "규칙 {}이(가) {at}에 {}을(를) {}해야 하는데, 지금대로라면 문제가 있습니다: {}.",
        rule.name,
        names(&rule.groups),
        korean::action(occurrence.action),
        findings.join("; ")
    );
    draft.tell_about(NoticeKind::Trouble, Urgency::NeedsAPerson, Told::new(text, ko), about);
}

/// Servers that somebody stopped outside of Sunup: what the rule is going to do about them.
fn tell_by_hand(book: &Book, rule: &Rule, occurrence: &Occurrence) {
    if occurrence.action != Action::Start {
        return;
    }
    let servers = book.settings.servers_of(&book.roster, &rule.groups, Action::Start);
    for server in servers.keys() {
        let Some(left) = book.stopped_by_hand(server) else { continue };
        let (left, shown) = (view::moment(left, &rule.schedule.zone), book.shown(server));
        let what = match rule.hand_stopped {
            HandStopped::Start => "starts it all the same (`hand_stopped = \"leave\"` would leave it off)",
            HandStopped::Leave => "leaves it off until a person starts it (`hand_stopped`)",
        };
        tracing::info!(
            rule = rule.name.as_str(),
            server = server.no.as_str(),
            "preflight: somebody stopped server {shown} outside of sunup: it ran at {left}, and rule {} {what}",
            rule.name
        );
    }
}

fn names(groups: &[GroupName]) -> String {
    groups.iter().map(|group| group.as_str()).collect::<Vec<_>>().join(", ")
}

/// What would fail, one fragment each.
fn findings(book: &Book, names: &[GroupName], action: Action, now: Timestamp) -> Vec<String> {
    let mut found = Vec::new();
    let groups: Vec<&Group> = names.iter().filter_map(|name| book.settings.groups.get(name)).collect();
    for group in &groups {
        if !book.roster.is_known(&group.name) {
            let why = book.group_trouble.get(&group.name).map(|reason| format!(": {}", reason.text));
            let why = why.unwrap_or_default();
            found.push(format!("the servers of group {} could not be listed{why}", group.name));
        } else if book.roster.size(&group.name) == 0 {
            found.push(format!("group {} matches no server", group.name));
        }
        if let (Some(growth), Some(before)) = (group.on_growth, book.sizes.get(&group.name))
            && growth.is_passed(*before, book.roster.size(&group.name))
        {
            let now = book.roster.size(&group.name);
            found.push(format!(
                "group {} matches {now} servers and had {before} at its last good run, so `on_growth` will hold the run",
                group.name
            ));
        }
    }
    let servers = book.settings.servers_of(&book.roster, names, action);
    found.extend(book.settings.limits.forbid_size(servers.len()).map(|reason| reason.text));
    found.extend(hour(book, &servers, now));
    found.extend(accounts(book, &groups, action));
    for server in servers.keys() {
        found.extend(server_finding(book, server, action));
    }
    found.extend(order_findings(book, names, action));
    found
}

/// Whether the hour's requests will not be enough.
fn hour(book: &Book, servers: &BTreeMap<ServerId, Duration>, now: Timestamp) -> Option<String> {
    let mut by_account: BTreeMap<&AccountName, usize> = BTreeMap::new();
    for server in servers.keys() {
        *by_account.entry(&server.account).or_default() += 1;
    }
    let batch = |name: &AccountName| book.accounts.get(name).map_or(1, |account| account.line.batch.max(1));
    let needed: usize = by_account.into_iter().map(|(name, count)| count.div_ceil(batch(name))).sum();
    let hour_ago = now.saturating_sub(Duration::from_hours(1)).unwrap_or(now);
    let used = book.recent_asks.iter().filter(|at| **at > hour_ago).count();
    let most = book.settings.limits.requests_per_hour;
    (used + needed > most).then(|| {
        format!("it needs about {needed} requests, {used} went out lately, and `limits.requests_per_hour` is {most}")
    })
}

/// Trouble with the accounts that the groups belong to.
fn accounts(book: &Book, groups: &[&Group], action: Action) -> Vec<String> {
    let mut found = Vec::new();
    let names: BTreeSet<_> = groups.iter().map(|group| &group.account).collect();
    for name in names {
        let Some(account) = book.accounts.get(name) else { continue };
        if let Some((reason, _)) = &account.told {
            found.push(format!("account {name}: {}", reason.text));
        }
        if action == Action::Stop && book.settings.limits.own.is_none() && account.own.is_none() {
            found.push(format!("account {name}: whether sunup runs on one of its servers is not known"));
        }
    }
    found
}

fn server_finding(book: &Book, server: &ServerId, action: Action) -> Option<String> {
    let shown = format!("server {}", book.shown(server));
    let Some((sight, _)) = book.sights.get(server) else {
        return Some(format!("{shown} could not be looked at"));
    };
    let Found::Server(condition) = &sight.found else {
        return Some(format!("{shown} does not exist"));
    };
    match condition.standing(action) {
        Standing::Gone => Some(format!("{shown} is terminated")),
        Standing::Busy => Some(format!("{shown} is at {condition} and will be waited for")),
        Standing::AskableOnce => Some(format!("{shown} is in the failure state {condition}")),
        Standing::Goal | Standing::OnItsWay | Standing::Askable => None,
    }
}

/// What is waited for and is not in the same run.
fn order_findings(book: &Book, names: &[GroupName], action: Action) -> Vec<String> {
    let mut found = book.contradictions.clone();
    for need in book.order.needs(names, action).into_iter().filter(|need| !names.contains(&need.on)) {
        let due = |occurrence: &&Occurrence| {
            let rule = book.settings.rules.get(&occurrence.rule);
            occurrence.action == action && rule.is_some_and(|rule| rule.groups.contains(&need.on))
        };
        let first = book.queue.first().map(|first| first.due);
        let together = book.queue.iter().take_while(|o| Some(o.due) == first).any(|o| due(&o));
        if together {
            continue;
        }
        let wrong = |server: &&ServerId| {
            let Some((sight, _)) = book.sights.get(*server) else { return true };
            match (&sight.found, action) {
                (Found::Server(condition), Action::Start) => {
                    condition.standing(Action::Start) != Standing::Goal
                }
                (Found::Server(condition), Action::Stop) => !condition.is_down(),
                (Found::Absent, _) => action == Action::Start,
            }
        };
        let count = book.roster.members(&need.on).filter(wrong).count();
        if count > 0 {
            let (on, by) = (&need.on, &need.by);
            found.push(match action {
                Action::Start => {
                    format!("group {by} comes after group {on}, of which {count} servers are not up")
                }
                Action::Stop => {
                    format!("group {on} needs group {by}, and {count} of its servers are not down")
                }
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{self, at, group, server, sight};

    #[test]
    fn the_next_look_is_the_first_that_lies_ahead() {
        let mut book = scene::book(
            "[rules.a]\ncron = \"0 9 * * *\"\nstart = [\"db\"]\n[rules.b]\ncron = \"30 9 * * *\"\nstart = [\"db\"]\n",
        );
        for rule in book.settings.rules.keys() {
            book.covered.insert(rule.clone(), at("08:00:00"));
        }
        book.plan_all();
        let ahead = book.settings.checks.preflight;
        let first = at("09:00:00") - ahead;

        assert_eq!(next_look(&book, first - Duration::from_secs(1)), first);
        assert_eq!(next_look(&book, first), at("09:30:00") - ahead, "that one has begun");
    }

    #[test]
    fn the_hours_requests_are_counted_with_those_that_went_out() {
        let now = at("08:50:00");
        let told = |used: usize, needed: usize, hour_old: usize| {
            let mut book = scene::book("[limits]\nrequests_per_hour = 5\n");
            book.recent_asks.extend(std::iter::repeat_n(at("07:50:00"), hour_old));
            book.recent_asks.extend(std::iter::repeat_n(at("07:50:01"), used));
            let servers = (0..needed * 20).map(|no| (server(&format!("{}", 1000 + no)), Duration::ZERO));
            hour(&book, &servers.collect(), now).is_some()
        };

        assert!(!told(3, 2, 0) && told(4, 2, 0) && told(3, 3, 0));
        assert!(!told(3, 2, 4), "what went out an hour ago is free again");
    }

    #[test]
    fn what_a_group_comes_after_is_told_only_where_servers_of_it_are_not_up() {
        let needs = "[groups.app]\naccount = \"main\"\nservers = [\"2001\"]\nafter = [\"db\"]\n";
        let told = |up: &[&str]| {
            let mut book = scene::book(needs);
            let seen = up.iter().map(|no| (server(no), (sight(at("08:49:00"), "RUN", "NULL"), None)));
            book.sights.extend(seen);
            order_findings(&book, &[group("app")], Action::Start)
        };

        assert!(told(&["1001", "1002", "1003"]).is_empty());
        assert_eq!(told(&["1001"]), ["group app comes after group db, of which 2 servers are not up"]);
    }
}
