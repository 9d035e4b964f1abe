//! Taking over rules: at start from the journal's marks, at a reload from the settings before. Never fires the past.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::absence::Absence;
use super::account::AccountLine;
use super::book::{Book, Kept};
use super::claims::{miss, misses_of, rule_of};
use super::draft::Draft;
use super::view;
use crate::domain::group::Group;
use crate::domain::name::{AccountName, Action, GroupName, RuleName, RunId};
use crate::domain::outcome::{Reason, ReasonKind, RunOutcome};
use crate::domain::overrides::Overrides;
use crate::domain::plan::{self, Occurrence};
use crate::domain::rule::Rule;
use crate::domain::schedule::When;
use crate::domain::target::Event;
use crate::ports::notifier::{NoticeKind, Told, Urgency};
use crate::ports::store::{Addition, CoveredMark, End, MissedRange, RunHead};
use crate::settings::Settings;

/// What a reload changed, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Rules that are new.
    pub added: Vec<String>,
    /// Rules that are gone.
    pub removed: Vec<String>,
    /// Rules whose schedule or deed is another.
    pub changed: Vec<String>,
}

impl Difference {
    /// The difference between two configurations.
    #[must_use]
    pub fn between(old: &Settings, new: &Settings) -> Self {
        let missing = |from: &Settings, other: &Settings| {
            let names = from.rules.keys().filter(|name| !other.rules.contains_key(*name));
            names.map(ToString::to_string).collect()
        };
        let changed =
            new.rules.iter().filter(|(name, rule)| old.rules.get(*name).is_some_and(|old| old != *rule));
        Self {
            added: missing(new, old),
            removed: missing(old, new),
            changed: changed.map(|(name, _)| name.to_string()).collect(),
        }
    }

    /// `2 rules added (a, b), 1 changed (c)`.
    #[must_use]
    pub fn words(&self) -> String {
        let part = |names: &[String], verb: &str| {
            (!names.is_empty()).then(|| format!("{} {verb} ({})", names.len(), names.join(", ")))
        };
        let parts: Vec<String> =
            [part(&self.added, "added"), part(&self.removed, "removed"), part(&self.changed, "changed")]
                .into_iter()
                .flatten()
                .collect();
        if parts.is_empty() { "no rule changed".into() } else { format!("rules: {}", parts.join(", ")) }
    }
}

/// Takes the rules over as the journal left them. `old` is the configuration that was in force when the marks were made.
///
/// A rule that is as it was goes on from its mark; the misses of one that is not are recorded by its old definition,
/// and its new one begins `since`, when the program began.
pub(super) fn adopt(
    book: &mut Book,
    draft: &mut Draft,
    marks: Vec<CoveredMark>,
    old: Option<&Settings>,
    absence: &Absence,
    since: Timestamp,
) {
    let mut marks: BTreeMap<RuleName, CoveredMark> =
        marks.into_iter().map(|mark| (mark.rule.clone(), mark)).collect();
    let rules: Vec<_> = book.settings.rules.values().cloned().collect();
    for rule in rules {
        let was = old.and_then(|old| old.rules.get(&rule.name));
        let Some(mark) = marks.remove(&rule.name) else {
            begin(book, draft, &rule, None, since);
            continue;
        };
        let was = was.filter(|was| was.fingerprint() == mark.fingerprint);
        // A mark far in the future was made by a wrong clock: what is claimed stays claimed.
        let until = mark.until.min(draft.now);
        if mark.fingerprint == rule.fingerprint() {
            book.left_open.extend(mark.closes.map(|closes| (rule.name.clone(), closes)));
            book.covered.insert(rule.name.clone(), until);
            continue;
        }
        let same_words = was.filter(|was| was.written() == rule.written());
        if let Some(was) = same_words {
            let kept = mark.closes.and_then(|due| still_left(&rule, due, draft.now));
            let closes = closing_of(was, &rule, draft.now).or(kept);
            book.left_open.extend(closes.map(|closes| (rule.name.clone(), closes)));
        }
        match same_words.and_then(|was| common_since(was, &rule, until, draft.now)) {
            // Only calendars changed, and nothing whose window is open: the older ones say what was missed before.
            Some(common) => {
                record_misses(draft, same_words, (until, common), (&book.kept, &book.overrides), absence);
                book.covered.insert(rule.name.clone(), common);
                draft.turn.marks.push(book.mark_of(&rule, common));
            }
            None => {
                close_old(draft, &mark, old, (&book.kept, &book.overrides), absence, since);
                begin(book, draft, &rule, was, since.max(until));
            }
        }
    }
    for (name, mark) in marks {
        close_old(draft, &mark, old, (&book.kept, &book.overrides), absence, since);
        draft.turn.dropped_marks.push(name);
    }
    // What changed while nobody ran counts for the runs that were left open, too.
    withdraw(book, draft);
    book.plan_all();
}

/// The moment from which on a rule plans what it planned under older calendars, up to now. `None` if they differ in anything
/// whose window may be open.
fn common_since(was: &Rule, rule: &Rule, until: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let window = rule.start_window.max(rule.stop_window);
    let since = now.saturating_sub(window).unwrap_or(until).max(until);
    plan::of_rule(was, since, now).eq(plan::of_rule(rule, since, now)).then_some(since)
}

/// When the closing edge is due of a span in which a rule was under older calendars, if its schedule no longer knows it.
fn closing_of(was: &Rule, rule: &Rule, now: Timestamp) -> Option<Timestamp> {
    if !matches!(was.schedule.when, When::Hours(_)) || !rule.enabled {
        return None;
    }
    // The edge of the span that is open, or one that is planned by now and put off by jitter. The search ends there.
    let planned_by = match was.schedule.open_span(now) {
        Some(span) => span.closes?,
        None => now,
    };
    let until = planned_by.saturating_add(was.schedule.jitter).unwrap_or(planned_by);
    let is_it = |edge: &Occurrence| edge.action == Action::Stop && edge.planned <= planned_by;
    let edge = plan::of_rule(was, now, until).find(is_it)?;
    let left = still_left(rule, edge.due, now);
    if let Some(due) = left {
        tracing::info!(
            rule = rule.name.as_str(),
            "rule {}: a calendar has changed within its hours; they close at {} all the same",
            rule.name,
            view::moment(due, &rule.schedule.zone)
        );
    }
    left
}

/// A closing edge that a schedule neither knows nor makes needless.
fn still_left(rule: &Rule, due: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let reach = rule.schedule.jitter + Duration::from_secs(1);
    let before = due.saturating_sub(reach).unwrap_or(due);
    let is_known = plan::of_rule(rule, before, due).any(|edge| edge.action == Action::Stop);
    (rule.schedule.open_span(now).is_none() && !is_known).then_some(due)
}

fn begin(book: &mut Book, draft: &mut Draft, rule: &Rule, was: Option<&Rule>, since: Timestamp) {
    book.covered.insert(rule.name.clone(), since);
    draft.turn.marks.push(book.mark_of(rule, since));
    if let Some(words) = opened(rule, was, since) {
        tracing::info!(rule = rule.name.as_str(), "{words}");
    }
}

/// That a rule is inside its hours now and was not as it stood before, and what would start its servers: the span that is open when a
/// rule comes into force starts nothing, and somebody may want to.
pub(super) fn opened(rule: &Rule, was: Option<&Rule>, now: Timestamp) -> Option<String> {
    let open_span = |rule: &Rule| rule.schedule.open_span(now).filter(|_| rule.enabled);
    let span = open_span(rule).filter(|_| was.and_then(open_span).is_none())?;
    let until = span.closes.map(|at| format!(" until {}", view::moment(at, &rule.schedule.zone)));
    let groups: Vec<&str> = rule.groups.iter().map(|group| group.as_str()).collect();
    Some(format!(
        "rule {} is inside its hours{} and starts nothing now, since their opening has passed. To start it: sunup start {}",
        rule.name,
        until.unwrap_or_default(),
        groups.join(" ")
    ))
}

/// The rules that are inside their hours with new settings and were not with the old ones, in words.
pub(super) fn open_now(old: &Settings, new: &Settings, now: Timestamp) -> Vec<String> {
    new.rules.values().filter_map(|rule| opened(rule, old.rules.get(&rule.name), now)).collect()
}

/// Records what a rule missed between two moments.
fn record_misses(
    draft: &mut Draft,
    rule: Option<&Rule>,
    (from, to): (Timestamp, Timestamp),
    past: (&Kept, &Overrides),
    absence: &Absence,
) {
    for missed in rule.map(|rule| misses_of(rule, from, to, past, absence)).unwrap_or_default() {
        miss(draft, missed);
    }
}

/// Records what a rule as it was missed, up to the moment from which it is no longer in force.
fn close_old(
    draft: &mut Draft,
    mark: &CoveredMark,
    old: Option<&Settings>,
    past: (&Kept, &Overrides),
    absence: &Absence,
    ended: Timestamp,
) {
    // A closing edge that was left over, and that nobody carried out meanwhile.
    if let Some(closes) = mark.closes.filter(|closes| *closes > mark.until && *closes <= ended) {
        let (rule, action, cause) = (mark.rule.clone(), Action::Stop, absence.at(closes).clone());
        let (first, last, due_last) = (closes, closes, closes);
        let missed = MissedRange { rule, action, first, last, due_last, count: 1, cause, withdrawn: None };
        miss(draft, missed);
    }
    let same = |rule: &&Rule| rule.fingerprint() == mark.fingerprint;
    let Some(rule) = old.and_then(|old| old.rules.get(&mark.rule)).filter(same) else {
        let (name, until) = (&mark.rule, mark.until);
        let text = format!(
            "rule {name} was changed, and its old definition is lost: what it missed since {until} is not known."
        );
        let ko = format!(
            "규칙 {name}이(가) 바뀌었고 이전 정의를 알 수 없어, {until} 이후 무엇을 놓쳤는지 알 수 없습니다."
        );
        return draft.tell(NoticeKind::Missed, Urgency::NeedsAPerson, Told::new(text, ko));
    };
    record_misses(draft, Some(rule), (mark.until, ended), past, absence);
}

/// Switches to new settings between two turns. All that was due by now has been claimed under the old ones.
pub(super) fn switch(
    book: &mut Book,
    draft: &mut Draft,
    settings: &Arc<Settings>,
    lines: BTreeMap<AccountName, AccountLine>,
) -> Difference {
    let old = std::mem::replace(&mut book.settings, Arc::clone(settings));
    forget_what_changed(book, &old, settings);
    book.take_accounts(lines);
    for (name, rule) in &settings.rules {
        let was = old.rules.get(name);
        let same = was.is_some_and(|old| old.fingerprint() == rule.fingerprint());
        if same && book.covered.contains_key(name) {
            continue;
        }
        let same_words = was.filter(|was| was.written() == rule.written());
        // What was left open before stays so, unless the schedule knows that edge again.
        let kept = book.left_open.remove(name).and_then(|due| still_left(rule, due, draft.now));
        let closes = same_words.and_then(|was| closing_of(was, rule, draft.now).or(kept));
        book.left_open.extend(closes.map(|closes| (name.clone(), closes)));
        begin(book, draft, rule, was, draft.now);
    }
    for name in old.rules.keys().filter(|name| !settings.rules.contains_key(*name)) {
        book.covered.remove(name);
        book.left_open.remove(name);
        draft.turn.dropped_marks.push(name.clone());
    }
    withdraw(book, draft);
    book.plan_all();
    Difference::between(&old, settings)
}

/// What was read of an account or a group says nothing about another one of the same name.
fn forget_what_changed(book: &mut Book, old: &Settings, new: &Settings) {
    let same_group = |name: &GroupName| {
        let of = |settings: &Settings| {
            let group = settings.groups.get(name)?;
            let Group { account, servers, selector, exclude, .. } = group.clone();
            Some((account, servers, selector, exclude))
        };
        of(old) == of(new)
    };
    let names: BTreeSet<&GroupName> = old.groups.keys().chain(new.groups.keys()).collect();
    let changed: Vec<GroupName> = names.into_iter().filter(|name| !same_group(name)).cloned().collect();
    let mut regrouped: BTreeSet<AccountName> = BTreeSet::new();
    for name in &changed {
        let of = |settings: &Settings| settings.groups.get(name).map(|group| group.account.clone());
        regrouped.extend(of(old).into_iter().chain(of(new)));
    }
    for (name, state) in &mut book.accounts {
        let is_other = old.accounts.get(name) != new.accounts.get(name);
        if is_other {
            (state.own, state.find_own_after, state.own_failures) = (None, Timestamp::UNIX_EPOCH, 0);
            book.sights.retain(|server, _| server.account != *name);
        }
        if is_other || regrouped.contains(name) {
            // Reads that are under way come back for nothing.
            book.generations += 1;
            state.generation = book.generations;
            (state.looking, state.listing, state.finding_own) = (false, false, false);
        }
        let keeps = |group: &GroupName| {
            let belongs = new.groups.get(group).is_some_and(|group| group.account == *name);
            !(changed.contains(group) || is_other && belongs)
        };
        book.resolved.retain(|group, _| keeps(group));
    }
    let used: BTreeSet<AccountName> =
        book.runs.values().flat_map(|run| run.targets.keys()).map(|server| server.account.clone()).collect();
    book.accounts
        .retain(|name, state| new.accounts.contains_key(name) || used.contains(name) || state.asks_open > 0);
    book.group_trouble.clear();
    book.regroup();
}

/// Ends what waits for a rule that is gone or disabled, or for a server that is protected now.
fn withdraw(book: &mut Book, draft: &mut Draft) {
    withdraw_pending(book, draft);
    for (id, server) in book.all_open() {
        let Some(run) = book.runs.get(&id) else { continue };
        let gone = gone(&book.settings, &run.head);
        if let Some(reason) = gone.or_else(|| book.forbidden(run.head.action, &server)) {
            book.happen(draft, id, &server, &Event::Withdrawn(&reason));
        }
    }
}

/// Why nothing more is done for a run: its rule is gone or disabled.
fn gone(settings: &Settings, head: &RunHead) -> Option<Reason> {
    let name = rule_of(head)?;
    match settings.rules.get(name) {
        None => Some(Reason::new(ReasonKind::Removed, format!("rule {name} was removed"))),
        Some(rule) if !rule.enabled => {
            Some(Reason::new(ReasonKind::Removed, format!("rule {name} was disabled")))
        }
        Some(_) => None,
    }
}

/// Groups whose servers are not known yet are let go with their rule, and those that are no more.
fn withdraw_pending(book: &mut Book, draft: &mut Draft) {
    let waiting: Vec<RunId> =
        book.runs.iter().filter(|(_, run)| !run.resolution.pending.is_empty()).map(|(id, _)| *id).collect();
    for id in waiting {
        let Some(run) = book.runs.get_mut(id) else { continue };
        let gone = gone(&book.settings, &run.head);
        let before = run.resolution.pending.len();
        run.resolution.pending.retain(|group| gone.is_none() && book.settings.groups.contains_key(group));
        if run.resolution.pending.len() == before {
            continue;
        }
        let (resolution, targets) = (run.resolution.clone(), Vec::new());
        draft.turn.additions.push(Addition { run: id, resolution, targets, regrouped: Vec::new() });
        let is_empty = run.targets.is_empty() && run.resolution.pending.is_empty();
        if is_empty && let Some(run) = book.runs.remove(id) {
            let reason = gone.map_or("its groups were removed".to_owned(), |reason| reason.to_string());
            draft.turn.ends.push(End { run: id, outcome: RunOutcome::Skipped, reason: reason.clone() });
            book.note_end(draft, id, &run.head, RunOutcome::Skipped, (&[], &reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{self, account, at, group, head, server, sight};
    use crate::domain::target::Progress;

    const HOURS: &str = "[rules.office]\nhours = \"MON-FRI 09:00-18:00\"\nrun = [\"db\"]\n";

    #[test]
    fn a_difference_names_what_is_new_gone_and_changed() {
        let old = scene::settings(
            "[rules.a]\ncron = \"0 9 * * *\"\nstart = [\"db\"]\n[rules.b]\ncron = \"0 9 * * *\"\nstart = [\"db\"]\n",
        );
        let new = scene::settings(
            "[rules.b]\ncron = \"0 8 * * *\"\nstart = [\"db\"]\n[rules.c]\ncron = \"0 9 * * *\"\nstart = [\"db\"]\n",
        );

        assert_eq!(
            Difference::between(&old, &new).words(),
            "rules: 1 added (c), 1 removed (a), 1 changed (b)"
        );
        assert_eq!(Difference::between(&new, &new).words(), "no rule changed");
    }

    #[test]
    fn hours_that_older_calendars_opened_close_with_their_own_edge() {
        let was = scene::settings(HOURS);
        let was = was.rules.values().next().unwrap();
        let shut = scene::settings("[rules.office]\nhours = \"SAT 09:00-18:00\"\nrun = [\"db\"]\n");
        let shut = shut.rules.values().next().unwrap();

        assert_eq!(closing_of(was, shut, at("10:00:00")), Some(at("18:00:00")));
        assert_eq!(closing_of(was, shut, at("08:00:00")), None, "they had not opened");
        assert_eq!(closing_of(was, was, at("10:00:00")), None, "the rule knows it still");
    }

    #[test]
    fn an_opening_that_jitter_puts_off_is_not_taken_for_the_closing_edge() {
        let hours = "hours = \"MON-FRI 09:00-18:00\"\njitter = \"10m\"\nrun = [\"db\"]\n";
        let was = scene::settings(&format!("[rules.office]\n{hours}"));
        let was = was.rules.values().next().unwrap();
        let shut = scene::settings("[rules.office]\nhours = \"SAT 09:00-18:00\"\nrun = [\"db\"]\n");
        let shut = shut.rules.values().next().unwrap();
        let opening = plan::next(was, at("08:59:00"), Timestamp::MAX).unwrap();
        assert!(opening.due > at("09:00:00"), "the test needs an opening that is put off");

        let closing = closing_of(was, shut, at("09:00:00")).unwrap();

        assert!(closing >= at("18:00:00"), "{closing}");
    }

    #[test]
    fn what_was_read_is_forgotten_where_the_account_or_the_group_is_another() {
        let mut book = scene::book("");
        scene::resolve(&mut book, "web", at("08:00:00"), &["1009"]);
        book.sights.insert(server("1009"), (sight(at("08:00:00"), "RUN", "NULL"), None));
        let old = Settings::clone(&book.settings);
        let generation = |book: &Book, name: &str| book.accounts[&account(name)].generation;

        forget_what_changed(&mut book, &old, &old);
        assert!(book.resolved.contains_key(&group("web")) && generation(&book, "main") == 0);

        let mut new = old.clone();
        new.groups.get_mut(&group("web")).unwrap().servers.push(server("1001").no);
        forget_what_changed(&mut book, &old, &new);
        assert!(!book.resolved.contains_key(&group("web")), "it holds other servers now");
        assert_eq!((generation(&book, "main"), generation(&book, "other")), (1, 0));
        assert!(book.sights.contains_key(&server("1009")), "the server is the same");
    }

    #[test]
    fn an_account_that_is_gone_stays_while_something_of_it_is_open() {
        let kept = |asks_open: usize, has_run: bool| {
            let mut book = scene::book("");
            let due = at("08:50:00");
            if has_run {
                let targets = [("1001", Progress::fresh(due))];
                scene::add(&mut book, 1, head("r", Action::Start, due), &targets);
            }
            book.accounts.get_mut(&account("main")).unwrap().asks_open = asks_open;
            let old = Settings::clone(&book.settings);
            let mut new = old.clone();
            new.accounts.remove(&account("main"));
            new.groups.clear();
            forget_what_changed(&mut book, &old, &new);
            assert!(book.accounts.contains_key(&account("other")));
            book.accounts.contains_key(&account("main"))
        };

        assert!(kept(1, false) && kept(0, true) && !kept(0, false));
    }
}
