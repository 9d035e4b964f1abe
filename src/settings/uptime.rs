//! When a group is meant to be up, as all rules together have it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::Settings;
use crate::domain::name::{Action, GroupName, OverrideId};
use crate::domain::overrides::{Kind, Override, Overrides, Then};
use crate::domain::plan;
use crate::domain::rule::{AfterKeep, Rule};
use crate::domain::schedule::When;

/// So far back the last occurrence before a stretch of time is looked for.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(24 * 21);

/// So many occurrences of a group are followed.
const OCCURRENCES_MAX: usize = 100_000;

/// The stretches within a span of time in which a group is meant to be up, in order, cut at its ends.
///
/// Before the first occurrence that can be found the group counts as down. What overrides of its rules and of the group itself hold back
/// does not count; what follows a keep does, at its end.
#[must_use]
pub fn of_group(
    settings: &Settings,
    overrides: &Overrides,
    group: &GroupName,
    from: Timestamp,
    to: Timestamp,
) -> Vec<(Timestamp, Timestamp)> {
    let rules: Vec<&Rule> = settings.rules.values().filter(|rule| rule.groups.contains(group)).collect();
    let begin = from.saturating_sub(LOOK_BACK).unwrap_or(from);
    let spans: Vec<(&Rule, Vec<(Timestamp, Timestamp)>)> = rules
        .iter()
        .filter(|rule| rule.enabled && matches!(rule.schedule.when, When::Hours(_)))
        .map(|rule| (*rule, rule.schedule.spans(begin, to)))
        .collect();
    let open = |at: Timestamp| {
        let holds = move |(_, spans): &&(&Rule, Vec<(Timestamp, Timestamp)>)| {
            let before = spans.partition_point(|(opens, _)| *opens <= at);
            before.checked_sub(1).and_then(|index| spans.get(index)).is_some_and(|(_, closes)| at < *closes)
        };
        spans.iter().filter(holds).map(|(rule, _)| *rule)
    };
    let mut since = open(begin).next().map(|_| begin);
    let mut found = Vec::new();
    let mut act = |action: Action, at: Timestamp| match action {
        Action::Start => since = since.or(Some(at)),
        Action::Stop => found.extend(since.take().map(|since| (since, at))),
    };
    let keeps: Vec<&Override> = overrides.keeps_of(group).collect();
    // What each keep held back last, to be made up for at its end.
    let mut swallowed: BTreeMap<OverrideId, Action> = BTreeMap::new();
    let mut followed = BTreeSet::new();
    let mut follow = |until: Timestamp,
                      swallowed: &BTreeMap<OverrideId, Action>,
                      act: &mut dyn FnMut(Action, Timestamp)| {
        for keep in keeps.iter().filter(|keep| keep.end() <= until && keep.end() > begin) {
            let Kind::Keep { forbids, then } = keep.kind else { continue };
            if !followed.insert(keep.id) {
                continue;
            }
            let follows = match then {
                Then::Leave => None,
                Then::Act => Some(forbids),
                Then::Apply => swallowed.get(&keep.id).copied(),
            };
            if let Some(action) = follows {
                act(action, keep.end());
            }
        }
    };
    for occurrence in plan::occurrences(rules.iter().copied(), begin, to).take(OCCURRENCES_MAX) {
        let (due, action) = (occurrence.due, occurrence.action);
        follow(due, &swallowed, &mut act);
        let rule = rules.iter().find(|rule| rule.name == occurrence.rule);
        if rule.is_some_and(|rule| overrides.holding(rule, std::slice::from_ref(group), due).is_some()) {
            continue;
        }
        let is_edge = spans.iter().any(|(rule, _)| rule.name == occurrence.rule);
        if action == Action::Stop && is_edge && open(due).any(|rule| rule.name != occurrence.rule) {
            continue;
        }
        let forbids = |keep: &&&Override| {
            matches!(keep.kind, Kind::Keep { forbids, .. } if forbids == action) && keep.covers(due)
        };
        match keeps.iter().find(forbids) {
            Some(keep) => {
                if rule.is_some_and(|rule| rule.after_keep == AfterKeep::Apply) {
                    swallowed.insert(keep.id, action);
                }
            }
            None => act(action, due),
        }
    }
    follow(to, &swallowed, &mut act);
    found.extend(since.map(|since| (since, to)));
    let cut = found.into_iter().map(|(begin, end)| (begin.max(from), end.min(to)));
    cut.filter(|(begin, end)| begin < end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::overrides::Scope;

    fn at(time: &str) -> Timestamp {
        format!("2026-11-{time}:00Z").parse().unwrap()
    }

    /// When web is up from Monday to Wednesday, 23 to 25 November, under overrides.
    fn up(rule: &str, overrides: &[(&str, Kind, &str, &str)]) -> Vec<String> {
        let text = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1\"]\n\
                    [rules.office]\nhours = \"MON-FRI 08:00-18:00\"\nrun = [\"web\"]\n";
        let settings = Settings::read(&format!("{text}{rule}")).unwrap().settings;
        let make = |(id, (name, kind, from, until)): (usize, &(&str, Kind, &str, &str))| Override {
            id: OverrideId(i64::try_from(id).unwrap()),
            kind: *kind,
            scope: Scope::from_words(if *name == "web" { "group" } else { "rule" }, name).unwrap(),
            from: at(from),
            until: at(until),
            reason: String::new(),
            who: "kim".into(),
            ended: None,
        };
        let overrides = Overrides::new(overrides.iter().enumerate().map(make).collect());
        let group = GroupName::new("web").unwrap();
        let spans = of_group(&settings, &overrides, &group, at("23T00:00"), at("26T00:00"));
        let show = |at: Timestamp| at.strftime("%d %H:%M").to_string();
        spans.into_iter().map(|(begin, end)| format!("{} to {}", show(begin), show(end))).collect()
    }

    #[test]
    fn what_people_hold_back_is_no_uptime_and_what_follows_a_keep_is() {
        let keep = |forbids, then| Kind::Keep { forbids, then };
        let tuesday = "24 08:00 to 24 18:00";
        let wednesday = "25 08:00 to 25 18:00";

        assert_eq!(up("", &[]), ["23 08:00 to 23 18:00", tuesday, wednesday]);
        let paused = ("office", Kind::Pause, "23T06:00", "23T20:00");
        assert_eq!(up("", &[paused]), [tuesday, wednesday]);
        let on = ("web", keep(Action::Stop, Then::Apply), "23T12:00", "23T23:00");
        assert_eq!(up("", &[on]), ["23 08:00 to 23 23:00", tuesday, wednesday]);
        let left = ("web", keep(Action::Stop, Then::Leave), "23T12:00", "23T23:00");
        assert_eq!(up("", &[left]), ["23 08:00 to 24 18:00", wednesday]);
        assert_eq!(up("after_keep = \"leave\"\n", &[on]), ["23 08:00 to 24 18:00", wednesday]);
        let off = ("web", keep(Action::Start, Then::Apply), "24T00:00", "24T12:00");
        assert_eq!(up("", &[off]), ["23 08:00 to 23 18:00", "24 12:00 to 24 18:00", wednesday]);
        let acts = ("web", keep(Action::Stop, Then::Act), "23T12:00", "23T15:00");
        assert_eq!(up("", &[acts]), ["23 08:00 to 23 15:00", tuesday, wednesday]);
    }
}
