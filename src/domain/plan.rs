//! The occurrences of rules between two instants. The command `plan` and the daemon both ask here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::Timestamp;

use super::name::{Action, RuleName};
use super::rule::Rule;

/// One planned moment of one rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Occurrence {
    /// When it is due: the planned moment plus its jitter, in whole seconds.
    pub due: Timestamp,
    /// What it does. Ordered after due, so that at equal due a start comes last and wins.
    pub action: Action,
    /// The rule.
    pub rule: RuleName,
    /// The planned moment.
    pub planned: Timestamp,
}

/// The first occurrence of a rule that is due strictly after `after` and not past `until`.
#[must_use]
pub fn next(rule: &Rule, after: Timestamp, until: Timestamp) -> Option<Occurrence> {
    if !rule.enabled {
        return None;
    }
    let planned = rule.when.next(after, until)?;
    Some(Occurrence { due: planned, action: rule.action, rule: rule.name.clone(), planned })
}

/// The occurrences of all rules strictly after `after` and not past `until`, in order of due.
///
/// Lazy: it holds one occurrence for each rule, so work and memory are bounded by what the caller takes.
pub fn occurrences<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    after: Timestamp,
    until: Timestamp,
) -> impl Iterator<Item = Occurrence> + 'a {
    let rules: Vec<&Rule> = rules.into_iter().collect();
    let mut heap: BinaryHeap<_> = rules
        .iter()
        .enumerate()
        .filter_map(|(index, rule)| next(rule, after, until).map(|first| Reverse((first, index))))
        .collect();
    std::iter::from_fn(move || {
        let Reverse((occurrence, index)) = heap.pop()?;
        let following = rules.get(index).and_then(|rule| next(rule, occurrence.due, until));
        if let Some(following) = following {
            heap.push(Reverse((following, index)));
        }
        Some(occurrence)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::cron::{CronExpr, Fields};
    use crate::domain::name::GroupName;
    use crate::domain::rule::{Missed, WINDOW_DEFAULT, When};
    use crate::domain::zone::ClockChange;
    use jiff::tz::TimeZone;

    pub(crate) fn rule(name: &str, cron: &str, action: Action) -> Rule {
        Rule {
            name: RuleName::new(name).unwrap(),
            when: When::Cron {
                expr: CronExpr::parse(cron, Fields::Five).unwrap(),
                zone: TimeZone::get("Asia/Seoul").unwrap(),
                change: ClockChange::default(),
            },
            action,
            groups: vec![GroupName::new("web").unwrap()],
            window: WINDOW_DEFAULT,
            missed: Missed::Run,
            enabled: true,
            note: None,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn occurrences_of_all_rules_come_in_order_and_a_start_after_a_stop_of_the_same_moment() {
        let rules = [
            rule("morning", "50 8 * * MON-FRI", Action::Start),
            rule("night", "0 20 * * *", Action::Stop),
            rule("late", "0 20 * * *", Action::Start),
        ];

        let found: Vec<_> = occurrences(&rules, at("2026-11-27T00:00:00Z"), at("2026-11-30T00:00:00Z"))
            .map(|o| format!("{} {} {}", o.due, o.rule, o.action))
            .collect();

        assert_eq!(
            found,
            [
                "2026-11-27T11:00:00Z night stop",
                "2026-11-27T11:00:00Z late start",
                "2026-11-28T11:00:00Z night stop",
                "2026-11-28T11:00:00Z late start",
                "2026-11-29T11:00:00Z night stop",
                "2026-11-29T11:00:00Z late start",
                "2026-11-29T23:50:00Z morning start",
            ]
        );
    }

    #[test]
    fn both_ends_are_exact_after_is_out_and_until_is_in() {
        let rules = [rule("morning", "0 9 * * *", Action::Start)];
        let nine = at("2026-11-24T00:00:00Z");

        assert_eq!(occurrences(&rules, nine, at("2026-11-24T12:00:00Z")).count(), 0);
        assert_eq!(occurrences(&rules, at("2026-11-23T23:59:59.999Z"), nine).count(), 1);
    }

    #[test]
    fn a_disabled_rule_plans_nothing() {
        let rules = [Rule { enabled: false, ..rule("morning", "* * * * *", Action::Start) }];

        assert_eq!(occurrences(&rules, at("2026-11-24T00:00:00Z"), at("2026-11-25T00:00:00Z")).count(), 0);
    }

    #[test]
    fn planning_takes_no_more_work_than_the_caller_asks_for() {
        let rules = [rule("minutely", "* * * * *", Action::Start)];

        let first: Vec<_> = occurrences(&rules, at("2026-01-01T00:00:00Z"), Timestamp::MAX).take(3).collect();

        assert_eq!(first.len(), 3);
    }

    #[test]
    fn a_changed_schedule_changes_the_fingerprint_and_a_note_does_not() {
        let plain = rule("morning", "0 9 * * *", Action::Start);

        assert_ne!(plain.fingerprint(), rule("morning", "0 8 * * *", Action::Start).fingerprint());
        assert_ne!(plain.fingerprint(), rule("morning", "0 9 * * *", Action::Stop).fingerprint());
        assert_ne!(plain.fingerprint(), Rule { enabled: false, ..plain.clone() }.fingerprint());
        assert_eq!(plain.fingerprint(), Rule { note: Some("x".into()), ..plain }.fingerprint());
    }
}
