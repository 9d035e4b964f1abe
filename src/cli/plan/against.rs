//! What another configuration would change: occurrences that come, go, move or touch other groups.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Options, Stretch, happening, matching};
use crate::cli::exit::Exit;
use crate::cli::{Common, load, show};
use crate::daemon::view;
use crate::domain::name::{Action, RuleName};
use crate::domain::plan::explained_first;
use crate::settings::Settings;

/// The most occurrences of each side that are compared.
const COMPARED_MAX: usize = 500_000;

/// One difference. What moves within a day is one, not two.
struct Change {
    rule: String,
    action: Action,
    zone: TimeZone,
    kind: Kind,
}

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

pub(super) fn print(
    common: &Common,
    settings: &Settings,
    options: &Options,
    other: &Path,
    stretch: Stretch,
) -> anyhow::Result<Exit> {
    let text = load::text(other)?;
    let loaded =
        load::parse(&text, other, None).map_err(|problems| load::not_valid(&problems, &text, other))?;
    let new = loaded.settings;
    let changes =
        changes(&planned(settings, options, stretch), &planned(&new, options, stretch), settings, &new);
    if common.json {
        show::lines(changes.iter().map(|change| as_json(change).to_string()));
        return Ok(Exit::Done);
    }
    let zone = view::zone_of(Some(settings), None);
    show::word(&format!(
        "what `{}` would change from {} to {}",
        other.display(),
        view::moment(stretch.from, &zone),
        view::moment(stretch.to, &zone)
    ));
    if changes.is_empty() {
        show::word("nothing: the same occurrences for the same servers");
    }
    show::lines(changes.iter().map(in_words));
    let count = |word: &str| changes.iter().filter(|change| change.kind.word() == word).count();
    show::word(&format!(
        "{} added, {} removed, {} moved, {} for other groups or servers",
        count("added"),
        count("removed"),
        count("moved"),
        count("groups")
    ));
    Ok(Exit::Done)
}

fn planned(settings: &Settings, options: &Options, stretch: Stretch) -> Plan {
    let mut plan = Plan::new();
    let mut whom: BTreeMap<RuleName, Rc<Whom>> = BTreeMap::new();
    let rules = matching(settings, options);
    let roster = settings.roster();
    for line in happening(explained_first(&rules, stretch.from, stretch.to, COMPARED_MAX)) {
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

fn changes(old: &Plan, new: &Plan, old_settings: &Settings, new_settings: &Settings) -> Vec<Change> {
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

fn in_words(change: &Change) -> String {
    let at = shown(change.kind.at(), &change.zone);
    let what = format!("{} (rule {})", change.action, change.rule);
    match &change.kind {
        Kind::Added(_) => format!("+ {at}  {what}"),
        Kind::Removed(_) => format!("- {at}  {what}"),
        Kind::Moved { from, .. } => {
            format!("~ {at}  {what}, was {}", from.to_zoned(change.zone.clone()).strftime("%H:%M:%S"))
        }
        Kind::Groups { from, to, .. } => format!("~ {at}  {what} for {to}, was {from}"),
    }
}

fn as_json(change: &Change) -> serde_json::Value {
    let was = match &change.kind {
        Kind::Moved { from, .. } => Some(view::moment(*from, &change.zone)),
        Kind::Groups { from, .. } => Some(from.clone()),
        Kind::Added(_) | Kind::Removed(_) => None,
    };
    json!({
        "change": change.kind.word(),
        "rule": change.rule,
        "action": change.action.word(),
        "due": view::moment(change.kind.at(), &change.zone),
        "was": was,
    })
}
