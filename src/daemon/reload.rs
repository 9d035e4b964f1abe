//! Taking over rules: at start from the journal's marks, at a reload from the settings before. Never fires the past.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::book::{AccountLine, Book, Draft};
use super::claims::{misses_of, rule_of, tell_missed};
use super::view;
use crate::domain::name::{AccountName, RuleName};
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::plan;
use crate::domain::rule::Rule;
use crate::domain::target::Event;
use crate::ports::notifier::{NoticeKind, Urgency};
use crate::ports::store::CoveredMark;
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
/// and its new one begins now.
pub(super) fn adopt(
    book: &mut Book,
    draft: &mut Draft,
    marks: Vec<CoveredMark>,
    old: Option<&Settings>,
    absence: &Reason,
) {
    let mut marks: BTreeMap<RuleName, CoveredMark> =
        marks.into_iter().map(|mark| (mark.rule.clone(), mark)).collect();
    let rules: Vec<_> = book.settings.rules.values().cloned().collect();
    for rule in rules {
        let mark = marks.remove(&rule.name);
        let was = old.and_then(|old| old.rules.get(&rule.name));
        let same = mark.as_ref().is_some_and(|mark| is_as_it_was(mark, &rule, was, draft.now));
        match mark {
            Some(mark) if same => {
                // A mark far in the future was made by a wrong clock: what is claimed stays claimed.
                let until = mark.until.min(draft.now);
                book.covered.insert(rule.name.clone(), until);
            }
            mark => {
                if let Some(mark) = mark {
                    close_old(draft, &mark, old, absence);
                }
                begin(book, draft, &rule);
            }
        }
    }
    for (name, mark) in marks {
        close_old(draft, &mark, old, absence);
        draft.turn.dropped_marks.push(name);
    }
    book.plan_all();
}

/// Whether a rule goes on from its mark: it is as it was, or a calendar has changed since in what lies ahead alone.
fn is_as_it_was(mark: &CoveredMark, rule: &Rule, was: Option<&Rule>, now: Timestamp) -> bool {
    if mark.fingerprint == rule.fingerprint() {
        return true;
    }
    let Some(was) =
        was.filter(|was| was.fingerprint() == mark.fingerprint && was.written() == rule.written())
    else {
        return false;
    };
    plan::of_rule(was, mark.until, now).eq(plan::of_rule(rule, mark.until, now))
}

fn begin(book: &mut Book, draft: &mut Draft, rule: &Rule) {
    book.covered.insert(rule.name.clone(), draft.now);
    let (name, fingerprint) = (rule.name.clone(), rule.fingerprint());
    draft.turn.marks.push(CoveredMark { rule: name, fingerprint, until: draft.now });
    say_if_open(rule, draft.now);
}

/// A span that is open when its rule comes into force starts nothing: somebody may want to.
fn say_if_open(rule: &Rule, now: Timestamp) {
    let Some(span) = rule.schedule.open_span(now).filter(|_| rule.enabled) else { return };
    let until = span.closes.map(|at| format!(" until {}", view::moment(at, &rule.schedule.zone)));
    let groups: Vec<&str> = rule.groups.iter().map(|group| group.as_str()).collect();
    tracing::info!(
        rule = rule.name.as_str(),
        "rule {} is new and inside its hours{}; it starts nothing now. To start it: sunup start {}",
        rule.name,
        until.unwrap_or_default(),
        groups.join(" ")
    );
}

fn close_old(draft: &mut Draft, mark: &CoveredMark, old: Option<&Settings>, absence: &Reason) {
    let same = |rule: &&Rule| rule.fingerprint() == mark.fingerprint;
    let Some(rule) = old.and_then(|old| old.rules.get(&mark.rule)).filter(same) else {
        let (name, until) = (&mark.rule, mark.until);
        let text = format!(
            "rule {name} was changed, and its old definition is lost: what it missed since {until} is not known."
        );
        return draft.tell(NoticeKind::Missed, Urgency::NeedsAPerson, text);
    };
    for missed in misses_of(rule, mark.until, draft.now, absence) {
        tell_missed(draft, &missed);
        draft.turn.missed.push(missed);
    }
}

/// Switches to new settings between two turns. All that was due by now has been claimed under the old ones.
pub(super) fn switch(
    book: &mut Book,
    draft: &mut Draft,
    settings: &Arc<Settings>,
    lines: BTreeMap<AccountName, AccountLine>,
) -> Difference {
    let old = std::mem::replace(&mut book.settings, Arc::clone(settings));
    book.take_accounts(lines);
    for (name, rule) in &settings.rules {
        let same = old.rules.get(name).is_some_and(|old| old.fingerprint() == rule.fingerprint());
        if !same || !book.covered.contains_key(name) {
            begin(book, draft, rule);
        }
    }
    for name in old.rules.keys().filter(|name| !settings.rules.contains_key(*name)) {
        book.covered.remove(name);
        draft.turn.dropped_marks.push(name.clone());
    }
    withdraw(book, draft);
    book.plan_all();
    Difference::between(&old, settings)
}

/// Ends what waits for a rule that is gone or disabled, or for a server that is protected now.
fn withdraw(book: &mut Book, draft: &mut Draft) {
    for (id, server) in book.all_open() {
        let Some(run) = book.runs.get(&id) else { continue };
        let gone = rule_of(&run.head).and_then(|name| match book.settings.rules.get(name) {
            None => Some(Reason::new(ReasonKind::Removed, format!("rule {name} was removed"))),
            Some(rule) if !rule.enabled => {
                Some(Reason::new(ReasonKind::Removed, format!("rule {name} was disabled")))
            }
            Some(_) => None,
        });
        if let Some(reason) = gone.or_else(|| book.forbidden(run.head.action, &server)) {
            book.happen(draft, id, &server, &Event::Withdrawn(&reason));
        }
    }
}

/// The moment that a start without marks begins at.
pub(super) fn absence_at_start(now: Timestamp) -> Reason {
    Reason::new(ReasonKind::Down, format!("sunup was not running until {now}"))
}
