//! When a group is meant to be up, as all rules together have it.

use jiff::{SignedDuration, Timestamp};

use super::Settings;
use crate::domain::name::{Action, GroupName};
use crate::domain::plan;
use crate::domain::rule::Rule;
use crate::domain::schedule::When;

/// So far back the last occurrence before a stretch of time is looked for.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(24 * 21);

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
    let is_open = |rule: &Rule, at| rule.enabled && rule.schedule.open_span(at).is_some();
    let mut since = rules.iter().any(|rule| is_open(rule, begin)).then_some(begin);
    let mut found = Vec::new();
    for occurrence in plan::occurrences(rules.iter().copied(), begin, to) {
        let is_edge = rules
            .iter()
            .any(|rule| rule.name == occurrence.rule && matches!(rule.schedule.when, When::Hours(_)));
        let wanted =
            || rules.iter().any(|rule| rule.name != occurrence.rule && is_open(rule, occurrence.due));
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
