//! When a group is meant to be up, as all rules together have it.

use jiff::{SignedDuration, Timestamp};

use super::Settings;
use crate::domain::name::{Action, GroupName};
use crate::domain::plan;
use crate::domain::rule::Rule;
use crate::domain::schedule::When;

/// So far back the last occurrence before a stretch of time is looked for.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(24 * 21);

/// So many occurrences of a group are followed.
const OCCURRENCES_MAX: usize = 100_000;

/// The stretches within a span of time in which a group is meant to be up, in order, cut at its ends.
///
/// Before the first occurrence that can be found the group counts as down.
#[must_use]
pub fn of_group(
    settings: &Settings,
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
    for occurrence in plan::occurrences(rules.iter().copied(), begin, to).take(OCCURRENCES_MAX) {
        let is_edge = spans.iter().any(|(rule, _)| rule.name == occurrence.rule);
        let wanted = || open(occurrence.due).any(|rule| rule.name != occurrence.rule);
        match occurrence.action {
            Action::Start => since = since.or(Some(occurrence.due)),
            Action::Stop if is_edge && wanted() => {}
            Action::Stop => found.extend(since.take().map(|since| (since, occurrence.due))),
        }
    }
    found.extend(since.map(|since| (since, to)));
    let cut = found.into_iter().map(|(begin, end)| (begin.max(from), end.min(to)));
    cut.filter(|(begin, end)| begin < end).collect()
}
