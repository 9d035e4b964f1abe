//! The occurrences of rules between two instants. The command `plan` and the daemon both ask here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::{SignedDuration, Timestamp};

use super::name::{Action, RuleName};
use super::rule::Rule;
use super::schedule::{Fate, Planned, jitter};

/// The first piece of a long plan.
const PIECE: SignedDuration = SignedDuration::from_hours(24);

/// The longest piece.
const PIECE_MAX: SignedDuration = SignedDuration::from_hours(8 * 24);

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
    of_rule(rule, after, until).next()
}

/// The occurrences of one rule that are due strictly after `after` and not past `until`, in order.
///
/// No two are due at one moment, and they are due in the order in which they are planned: jitter never reaches the next
/// planned moment.
pub fn of_rule(
    rule: &Rule,
    after: Timestamp,
    until: Timestamp,
) -> impl Iterator<Item = Occurrence> + use<'_> {
    let most = rule.schedule.jitter;
    // What was planned up to the longest jitter ago may still be due.
    let begin = after.saturating_sub(most).unwrap_or(after);
    let planned = rule.enabled.then(|| rule.schedule.happening(begin, Timestamp::MAX));
    let mut planned = planned.into_iter().flatten().peekable();
    let found = std::iter::from_fn(move || {
        let this = planned.next().filter(|this| this.at <= until)?;
        let jitter = match most.is_zero() {
            true => SignedDuration::ZERO,
            false => jitter_of(rule, this.at, planned.peek().map(|next| next.at)),
        };
        let due = this.at.saturating_add(jitter).ok()?;
        Some(Occurrence { due, action: this.action, rule: rule.name.clone(), planned: this.at })
    });
    found.skip_while(move |occurrence| occurrence.due <= after).take_while(move |o| o.due <= until)
}

/// What calendars say plays no part in it but where they let a moment come sooner than the times of day would.
fn jitter_of(rule: &Rule, planned: Timestamp, next: Option<Timestamp>) -> SignedDuration {
    let rooms = [rule.schedule.room_after(planned), next.map(|next| next.duration_since(planned))];
    jitter(rule.name.as_str(), planned, rooms, rule.schedule.jitter)
}

/// The occurrences of all rules strictly after `after` and not past `until`, in order of due.
///
/// Lazy: it holds one occurrence for each rule, so work and memory are bounded by what the caller takes.
pub fn occurrences<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    after: Timestamp,
    until: Timestamp,
) -> impl Iterator<Item = Occurrence> + 'a {
    let mut rules: Vec<_> = rules.into_iter().map(|rule| of_rule(rule, after, until)).collect();
    let mut heap: BinaryHeap<_> = rules
        .iter_mut()
        .enumerate()
        .filter_map(|(index, rule)| rule.next().map(|first| Reverse((first, index))))
        .collect();
    std::iter::from_fn(move || {
        let Reverse((occurrence, index)) = heap.pop()?;
        if let Some(following) = rules.get_mut(index).and_then(Iterator::next) {
            heap.push(Reverse((following, index)));
        }
        Some(occurrence)
    })
}

/// One line of a plan that explains itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The occurrence; for what does not happen, the one that would have been.
    pub occurrence: Occurrence,
    /// What becomes of it.
    pub fate: Fate,
}

/// All that rules plan strictly after `after` and not past `until`, also what a calendar or a clock change takes out, in
/// order of due. What happens is exactly what [`occurrences`] gives.
#[must_use]
pub fn explained<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    after: Timestamp,
    until: Timestamp,
) -> Vec<Explained> {
    let mut found = Vec::new();
    for rule in rules.into_iter().filter(|rule| rule.enabled) {
        if rule.schedule.jitter.is_zero() {
            let planned = rule.schedule.explained(after, until).into_iter();
            found.extend(planned.map(|planned| explain(rule, planned, SignedDuration::ZERO)));
            continue;
        }
        let begin = after.saturating_sub(rule.schedule.jitter).unwrap_or(after);
        for planned in rule.schedule.explained(begin, until) {
            let next = rule.schedule.happening(planned.at, Timestamp::MAX).next().map(|next| next.at);
            let jitter = match planned.fate.happens() {
                true => jitter_of(rule, planned.at, next),
                false => SignedDuration::ZERO,
            };
            let line = explain(rule, planned, jitter);
            if line.occurrence.due > after && line.occurrence.due <= until {
                found.push(line);
            }
        }
    }
    found.sort_by(|one, other| {
        (&one.occurrence, !one.fate.happens()).cmp(&(&other.occurrence, !other.fate.happens()))
    });
    found
}

/// The first lines of [`explained`], not many more than `most` of them: the stretch is gone through in pieces, so that work and
/// memory are bounded however much is planned.
#[must_use]
pub fn explained_first(rules: &[&Rule], after: Timestamp, until: Timestamp, most: usize) -> Vec<Explained> {
    let mut found: Vec<Explained> = Vec::new();
    let (mut from, mut length) = (after, PIECE);
    while from < until && found.len() <= most {
        let to = from.saturating_add(length).unwrap_or(until).min(until);
        let piece = explained(rules.iter().copied(), from, to);
        // Where little is planned, longer pieces cost less; where much may follow, none is very long.
        length = if piece.len() < most / 64 { length.saturating_mul(2).min(PIECE_MAX) } else { PIECE };
        found.extend(piece);
        from = to;
    }
    found
}

fn explain(rule: &Rule, planned: Planned, jitter: SignedDuration) -> Explained {
    let due = planned.at.saturating_add(jitter).unwrap_or(planned.at);
    let occurrence = Occurrence { due, action: planned.action, rule: rule.name.clone(), planned: planned.at };
    Explained { occurrence, fate: planned.fate }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::cron::{CronExpr, Fields};
    use crate::domain::name::GroupName;
    use crate::domain::rule::{AfterKeep, HandStopped, Missed, WINDOW_DEFAULT};
    use crate::domain::schedule::{Dates, Schedule, When};
    use crate::domain::zone::ClockChange;
    use jiff::tz::TimeZone;
    use std::time::Duration;

    pub(crate) fn rule(name: &str, cron: &str, action: Action) -> Rule {
        Rule {
            name: RuleName::new(name).unwrap(),
            schedule: Schedule {
                when: When::Cron { expr: CronExpr::parse(cron, Fields::Five).unwrap(), action },
                zone: TimeZone::get("Asia/Seoul").unwrap(),
                change: ClockChange::default(),
                dates: Dates::default(),
                jitter: Duration::ZERO,
            },
            groups: vec![GroupName::new("web").unwrap()],
            start_window: WINDOW_DEFAULT,
            stop_window: WINDOW_DEFAULT,
            missed: Missed::Run,
            after_keep: AfterKeep::Apply,
            hand_stopped: HandStopped::Start,
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
    fn the_first_lines_are_those_of_the_whole_plan_and_not_many_more_than_asked_for() {
        let rules = [rule("minutely", "* * * * *", Action::Start), rule("yearly", "0 9 1 1 *", Action::Stop)];
        let (from, until) = (at("2026-11-24T00:00:00Z"), at("2027-02-01T00:00:00Z"));
        let whole = explained(&rules, from, until);
        let borrowed: Vec<&Rule> = rules.iter().collect();

        let first = explained_first(&borrowed, from, until, 100);

        assert!((101..10_000).contains(&first.len()), "{}", first.len());
        assert_eq!(first, whole[..first.len()]);
        assert_eq!(explained_first(&borrowed[1..], from, until, 100), explained(&rules[1..], from, until));
    }

    #[test]
    fn of_one_moment_what_happens_comes_before_what_is_struck() {
        let mut office = rule("office", "* * * * *", Action::Start);
        office.schedule.when =
            When::Hours(crate::domain::hours::Hours::parse("MON 09:00-10:00; WORKDAYS 09:00-10:00").unwrap());
        let parts = crate::domain::calendar::Parts {
            holidays: vec![[(jiff::civil::date(2026, 11, 23), "founding day".into())].into()],
            ..crate::domain::calendar::Parts::default()
        };
        let name = crate::domain::name::CalendarName::new("own").unwrap();
        let own = std::sync::Arc::new(crate::domain::calendar::Calendar::new(parts));
        office.schedule.dates.calendar = crate::domain::calendar::Calendars::new(vec![(name, own)]);

        let found = explained([&office], at("2026-11-22T20:00:00Z"), at("2026-11-23T20:00:00Z"));

        let happens: Vec<bool> = found.iter().map(|line| line.fate.happens()).collect();
        assert_eq!(happens, [true, false, true, false], "{found:?}");
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
