//! What another configuration changes: rules, and occurrences that come, go, move or touch other groups.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::reload::{Difference, open_now};
use super::view;
use crate::domain::name::{Action, RuleName};
use crate::domain::plan::explained_first;
use crate::domain::rule::Rule;
use crate::settings::Settings;

/// The most occurrences of each side that are compared.
const COMPARED_MAX: usize = 500_000;

/// One difference in what is planned. What moves within a day is one, not two.
#[derive(Debug)]
pub struct Change {
    rule: String,
    action: Action,
    zone: TimeZone,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Added(Timestamp),
    Removed(Timestamp),
    Moved {
        from: Timestamp,
        to: Timestamp,
    },
    /// Other groups, or other servers in them.
    Groups {
        at: Timestamp,
        from: String,
        to: String,
    },
}

impl Kind {
    fn at(&self) -> Timestamp {
        match self {
            Self::Added(at) | Self::Removed(at) | Self::Groups { at, .. } => *at,
            Self::Moved { to, .. } => *to,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Added(_) => "added",
            Self::Removed(_) => "removed",
            Self::Moved { .. } => "moved",
            Self::Groups { .. } => "groups",
        }
    }
}

/// What one configuration plans: for each rule and action, the moments with their groups.
type Plan = BTreeMap<(String, Action), BTreeMap<Timestamp, Rc<Whom>>>;

/// For whom an occurrence is.
#[derive(Debug, PartialEq, Eq)]
struct Whom {
    groups: String,
    servers: BTreeSet<String>,
}

impl Whom {
    /// What is different of another, from that to this: the groups, or else the servers that come and go.
    fn since(&self, before: &Self) -> (String, String) {
        if self.groups != before.groups {
            return (before.groups.clone(), self.groups.clone());
        }
        let only = |one: &Self, other: &Self| {
            one.servers.difference(&other.servers).cloned().collect::<Vec<_>>().join(" ")
        };
        let (gone, new) = (only(before, self), only(self, before));
        let shown = |servers: String| {
            if servers.is_empty() { "fewer".to_owned() } else { format!("servers {servers}") }
        };
        (shown(gone), shown(new))
    }
}

fn planned(settings: &Settings, rules: &[&Rule], (from, to): (Timestamp, Timestamp)) -> Plan {
    let mut plan = Plan::new();
    let mut whom: BTreeMap<RuleName, Rc<Whom>> = BTreeMap::new();
    let roster = settings.roster();
    let lines = explained_first(rules, from, to, COMPARED_MAX).into_iter();
    for line in lines.filter(|line| line.fate.happens()) {
        let occurrence = line.occurrence;
        let groups: Vec<&str> = settings
            .rules
            .get(&occurrence.rule)
            .map(|rule| rule.groups.iter().map(|group| group.as_str()).collect())
            .unwrap_or_default();
        let key = (occurrence.rule.to_string(), occurrence.action);
        let whom = whom.entry(occurrence.rule.clone()).or_insert_with(|| {
            let servers = settings
                .rules
                .get(&occurrence.rule)
                .map(|rule| settings.servers_of(&roster, &rule.groups, Action::Start));
            let mut servers: BTreeSet<String> =
                servers.unwrap_or_default().into_keys().map(|server| server.no.to_string()).collect();
            let rule = settings.rules.get(&occurrence.rule);
            let held =
                rule.into_iter().flat_map(|rule| &rule.groups).filter_map(|name| settings.groups.get(name));
            // Whom a selector chooses is not known here; that it is another one is.
            servers.extend(held.filter(|group| group.needs_list()).map(|group| group.chosen_words()));
            Rc::new(Whom { groups: groups.join(", "), servers })
        });
        plan.entry(key).or_default().insert(occurrence.due, Rc::clone(whom));
    }
    plan
}

/// What rules of one configuration plan otherwise than rules of another, after `from` and not past `to`, in order of moments.
#[must_use]
pub fn between(
    (old_settings, old_rules): (&Settings, &[&Rule]),
    (new_settings, new_rules): (&Settings, &[&Rule]),
    stretch: (Timestamp, Timestamp),
) -> Vec<Change> {
    let old = planned(old_settings, old_rules, stretch);
    let new = planned(new_settings, new_rules, stretch);
    let nothing = BTreeMap::new();
    let mut found: Vec<Change> = Vec::new();
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let (before, after) = (old.get(key).unwrap_or(&nothing), new.get(key).unwrap_or(&nothing));
        let settings = if new.contains_key(key) { new_settings } else { old_settings };
        let zone = view::zone_of(Some(settings), Some(&key.0));
        let change = |kind| Change { rule: key.0.clone(), action: key.1, zone: zone.clone(), kind };
        let mut gone: BTreeMap<Date, Vec<Timestamp>> = BTreeMap::new();
        for at in before.keys().filter(|at| !after.contains_key(*at)) {
            gone.entry(zone.to_datetime(*at).date()).or_default().push(*at);
        }
        for (at, groups) in after {
            match before.get(at) {
                Some(same) if same == groups => {}
                Some(other) => {
                    let (from, to) = groups.since(other);
                    found.push(change(Kind::Groups { at: *at, from, to }));
                }
                None => {
                    let same_day =
                        gone.get_mut(&zone.to_datetime(*at).date()).filter(|left| !left.is_empty());
                    let kind = match same_day {
                        Some(left) => Kind::Moved { from: left.remove(0), to: *at },
                        None => Kind::Added(*at),
                    };
                    found.push(change(kind));
                }
            }
        }
        found.extend(gone.into_values().flatten().map(|at| change(Kind::Removed(at))));
    }
    found.sort_by(|one, other| (one.kind.at(), &one.rule).cmp(&(other.kind.at(), &other.rule)));
    found
}

fn shown(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string()
}

/// `2 added, 1 removed, 0 moved, 0 for other groups or servers`.
#[must_use]
pub fn counted(changes: &[Change]) -> String {
    let count = |word: &str| changes.iter().filter(|change| change.kind.word() == word).count();
    format!(
        "{} added, {} removed, {} moved, {} for other groups or servers",
        count("added"),
        count("removed"),
        count("moved"),
        count("groups")
    )
}

impl Change {
    /// `+ Tue 2026-11-24 08:50:00 KST  start (rule morning)`.
    #[must_use]
    pub fn words(&self) -> String {
        let at = shown(self.kind.at(), &self.zone);
        let what = format!("{} (rule {})", self.action, self.rule);
        match &self.kind {
            Kind::Added(_) => format!("+ {at}  {what}"),
            Kind::Removed(_) => format!("- {at}  {what}"),
            Kind::Moved { from, .. } => {
                format!("~ {at}  {what}, was {}", from.to_zoned(self.zone.clone()).strftime("%H:%M:%S"))
            }
            Kind::Groups { from, to, .. } => format!("~ {at}  {what} for {to}, was {from}"),
        }
    }

    /// `change` (`added`, `removed`, `moved`, `groups`), `rule`, `action`, `due`, `was` (null, a moment, or the groups before).
    #[must_use]
    pub fn json(&self) -> Value {
        let was = match &self.kind {
            Kind::Moved { from, .. } => Some(view::moment(*from, &self.zone)),
            Kind::Groups { from, .. } => Some(from.clone()),
            Kind::Added(_) | Kind::Removed(_) => None,
        };
        json!({
            "change": self.kind.word(),
            "rule": self.rule,
            "action": self.action.word(),
            "due": view::moment(self.kind.at(), &self.zone),
            "was": was,
        })
    }
}

fn all_rules(settings: &Settings) -> Vec<&Rule> {
    settings.rules.values().collect()
}

/// So far ahead a report looks.
const AHEAD: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So many coming moments a report names; `plan` shows the rest.
const NAMED_MAX: usize = 20;

/// What becomes of a daemon when a configuration comes into force in place of another.
#[derive(Debug)]
pub struct Report {
    rules: Difference,
    parts: Vec<&'static str>,
    later: Vec<&'static str>,
    coming: Vec<Change>,
    now: Vec<String>,
}

impl Report {
    /// Compares two configurations at a moment.
    #[must_use]
    pub fn new(old: &Settings, new: &Settings, now: Timestamp) -> Self {
        let parts = [
            ("accounts", old.accounts != new.accounts),
            ("groups", old.groups != new.groups),
            ("calendars", old.calendars != new.calendars),
            ("limits", old.limits != new.limits),
            ("checks", old.checks != new.checks),
        ];
        // What is set up once, when the daemon begins.
        let later = [
            ("store.url", old.store != new.store),
            ("log", (old.log_format, old.log_level) != (new.log_format, new.log_level)),
        ];
        let names = |parts: &[(&'static str, bool)]| {
            parts.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect()
        };
        let to = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
        Self {
            rules: Difference::between(old, new),
            parts: names(&parts),
            later: names(&later),
            coming: between((old, &all_rules(old)), (new, &all_rules(new)), (now, to)),
            now: open_now(old, new, now),
        }
    }

    /// Line by line, for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let rules = std::iter::once(self.rules.words());
        rules.chain(self.news()).chain(self.now.iter().cloned()).collect()
    }

    /// The lines without those that the engine logs by itself when it takes a configuration over.
    #[must_use]
    pub fn news(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.parts.is_empty() {
            lines.push(format!("also changed: {}", self.parts.join(", ")));
        }
        if !self.later.is_empty() {
            lines.push(format!(
                "comes into force when the daemon is started again: {}",
                self.later.join(", ")
            ));
        }
        let shown = self.coming.len().min(NAMED_MAX);
        if shown == 0 {
            lines.push("the next 7 days: the same occurrences for the same servers".into());
        } else {
            lines.push(format!("the next 7 days: {}", counted(&self.coming)));
        }
        lines.extend(self.coming.iter().take(shown).map(|change| format!("  {}", change.words())));
        if self.coming.len() > shown {
            lines
                .push(format!("  and {} more; `sunup plan` shows what comes now", self.coming.len() - shown));
        }
        lines
    }

    /// `changed`, `also` and `at_next_start` (names of parts of the file), `coming` (objects of [`Change::json`]), `now` and `lines`
    /// (words).
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "changed": self.rules.words(),
            "also": self.parts,
            "at_next_start": self.later,
            "coming": self.coming.iter().map(Change::json).collect::<Vec<_>>(),
            "now": self.now,
            "lines": self.lines(),
        })
    }
}
