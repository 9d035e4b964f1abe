//! What a skip takes out of a rule: its next occurrence, or the one that is named; of `hours` a whole span.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::Overrides;
use crate::domain::name::Action;
use crate::domain::plan::{self, Occurrence};
use crate::domain::rule::Rule;
use crate::domain::schedule::When;

/// So many occurrences are looked at for the one that is meant.
const LOOKED_AT_MAX: usize = 10_000;

/// Which occurrence is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The next one that nothing holds back.
    Next,
    /// The one that is planned on a date of the rule's zone.
    Date(Date),
    /// The one that is planned at a moment.
    Moment(Timestamp),
}

/// From when to when the rule is to be left alone: from the occurrence that is meant, for `hours` an opening edge, to just after it,
/// for `hours` just after the closing edge that belongs to it.
///
/// # Errors
/// Why there is nothing to skip, and what would be right.
pub fn skipped(
    rule: &Rule,
    known: &Overrides,
    on: On,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), String> {
    if !rule.enabled {
        return Err(format!("rule {} is disabled: nothing of it comes", rule.name));
    }
    let by_opening =
        matches!(rule.schedule.when, When::Hours(_)) && rule.schedule.actions().contains(&Action::Start);
    let date_of = |occurrence: &Occurrence| rule.schedule.zone.to_datetime(occurrence.planned).date();
    let candidates = plan::of_rule(rule, now, Timestamp::MAX)
        .filter(|occurrence| !by_opening || occurrence.action == Action::Start)
        .take(LOOKED_AT_MAX)
        .take_while(|occurrence| match on {
            On::Next => true,
            On::Date(date) => date_of(occurrence) <= date,
            On::Moment(moment) => occurrence.planned <= moment,
        });
    let is_held = |occurrence: &Occurrence| known.of_rule(rule, occurrence.due).is_some();
    let meant: Vec<Occurrence> = match on {
        On::Next => candidates.filter(|occurrence| !is_held(occurrence)).take(1).collect(),
        On::Date(date) => candidates.filter(|occurrence| date_of(occurrence) == date).collect(),
        On::Moment(moment) => candidates.filter(|occurrence| occurrence.planned == moment).collect(),
    };
    let found = match meant.as_slice() {
        [one] if is_held(one) => {
            return Err(format!("what rule {} does then is held back already", rule.name));
        }
        [one] => one,
        [] => return Err(nothing(rule, on, by_opening)),
        [first, ..] if !by_opening => {
            let first = first.planned.to_zoned(rule.schedule.zone.clone()).strftime("%Y-%m-%dT%H:%M");
            return Err(format!(
                "rule {} has {} occurrences on that date: name one by its time, such as `--on {first}`, or use `sunup pause`",
                rule.name,
                meant.len()
            ));
        }
        // All spans that open on the date.
        [first, .., last] => {
            let end = end_of(rule, last)?;
            return Ok((first.due, end));
        }
    };
    Ok((found.due, end_of(rule, found)?))
}

fn nothing(rule: &Rule, on: On, by_opening: bool) -> String {
    let what = if by_opening { "no span opens" } else { "nothing is planned" };
    match on {
        On::Next => {
            format!("rule {}: {what} that could be skipped; see `sunup plan --rule {}`", rule.name, rule.name)
        }
        On::Date(date) => {
            let joined = if by_opening {
                " (one that goes on from the day before has no edge there: use `sunup pause`)"
            } else {
                ""
            };
            format!(
                "rule {}: {what} after now on {date}{joined}; see `sunup plan --rule {}`",
                rule.name, rule.name
            )
        }
        On::Moment(moment) => {
            let moment = moment.to_zoned(rule.schedule.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z");
            format!("rule {}: {what} at {moment}; see `sunup plan --rule {}`", rule.name, rule.name)
        }
    }
}

/// Just after an occurrence; for an opening edge just after the edge that closes its span.
fn end_of(rule: &Rule, occurrence: &Occurrence) -> Result<Timestamp, String> {
    let mut last = occurrence.due;
    if occurrence.action == Action::Start
        && let Some(span) = rule.schedule.open_span(occurrence.planned)
    {
        let Some(closes) = span.closes else {
            return Err(format!("the hours of rule {} never close after that: use `sunup pause`", rule.name));
        };
        let edges = plan::of_rule(rule, occurrence.due, Timestamp::MAX).take(LOOKED_AT_MAX);
        let closing = edges.take_while(|edge| edge.planned <= closes).find(|edge| edge.planned == closes);
        last = closing.map_or(closes, |edge| edge.due);
    }
    Ok(last.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hours::Hours;
    use crate::domain::name::OverrideId;
    use crate::domain::overrides::{Kind, Override, Scope};
    use crate::domain::plan::tests::rule;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}:00+09:00").parse().unwrap()
    }

    fn date(day: i8) -> On {
        On::Date(Date::new(2026, 11, day).unwrap())
    }

    fn hours(text: &str) -> Rule {
        let mut office = rule("office", "* * * * *", Action::Start);
        office.schedule.when = When::Hours(Hours::parse(text).unwrap());
        office
    }

    fn span(rule: &Rule, on: On, now: &str) -> Result<(Timestamp, Timestamp), String> {
        skipped(rule, &Overrides::default(), on, at(now))
    }

    fn from_to(from: &str, to: &str) -> Result<(Timestamp, Timestamp), String> {
        Ok((at(from), at(to) + SignedDuration::from_secs(1)))
    }

    // 2026-11-23 is a Monday.
    #[test]
    fn of_hours_a_whole_span_is_skipped_by_the_date_on_which_it_opens() {
        let office = hours("MON-FRI 08:50-19:30");

        assert_eq!(span(&office, On::Next, "23T08:00"), from_to("23T08:50", "23T19:30"));
        assert_eq!(span(&office, On::Next, "23T10:00"), from_to("24T08:50", "24T19:30"), "today's has begun");
        assert_eq!(span(&office, date(25), "23T10:00"), from_to("25T08:50", "25T19:30"));
        assert!(
            span(&office, date(28), "23T10:00")
                .unwrap_err()
                .contains("no span opens after now on 2026-11-28")
        );
        let night = hours("MON-FRI 22:00-06:00");
        assert_eq!(span(&night, date(27), "23T10:00"), from_to("27T22:00", "28T06:00"));
        let two = hours("MON-FRI 09:00-12:00, 13:00-18:00");
        assert_eq!(
            span(&two, date(24), "23T10:00"),
            from_to("24T09:00", "24T18:00"),
            "both spans of the date"
        );
        assert_eq!(span(&two, On::Next, "23T10:00"), from_to("23T13:00", "23T18:00"));
        let one_sided = hours("MON-FRI -19:30");
        assert_eq!(span(&one_sided, On::Next, "23T10:00"), from_to("23T19:30", "23T19:30"));
        let always = hours("MON-SUN 00:00-24:00");
        assert!(span(&always, On::Next, "23T10:00").unwrap_err().contains("no span opens"));
    }

    #[test]
    fn of_cron_the_next_occurrence_or_the_only_one_of_a_date_or_the_one_of_a_moment_is_skipped() {
        let daily = rule("night", "0 20 * * *", Action::Stop);
        let often = rule("often", "0 9,20 * * *", Action::Stop);

        assert_eq!(span(&daily, On::Next, "23T08:00"), from_to("23T20:00", "23T20:00"));
        assert_eq!(
            span(&daily, On::Next, "23T20:00"),
            from_to("24T20:00", "24T20:00"),
            "what is due now is no more next"
        );
        assert_eq!(span(&daily, date(26), "23T08:00"), from_to("26T20:00", "26T20:00"));
        let words = span(&often, date(26), "23T08:00").unwrap_err();
        assert!(words.contains("2 occurrences") && words.contains("--on 2026-11-26T09:00"), "{words}");
        assert_eq!(span(&often, On::Moment(at("26T20:00")), "23T08:00"), from_to("26T20:00", "26T20:00"));
        assert!(span(&often, On::Moment(at("26T20:01")), "23T08:00").is_err());
        assert!(
            span(&Rule { enabled: false, ..daily }, On::Next, "23T08:00").unwrap_err().contains("disabled")
        );
    }

    #[test]
    fn what_is_held_back_already_is_not_skipped_twice() {
        let daily = rule("night", "0 20 * * *", Action::Stop);
        let first = Override {
            id: OverrideId(1),
            kind: Kind::Skip,
            scope: Scope::Rule(daily.name.clone()),
            from: at("23T20:00"),
            until: at("23T20:01"),
            reason: String::new(),
            who: "kim".into(),
            ended: None,
        };
        let known = Overrides::new(vec![first]);

        assert_eq!(skipped(&daily, &known, On::Next, at("23T08:00")), from_to("24T20:00", "24T20:00"));
        assert!(skipped(&daily, &known, date(23), at("23T08:00")).unwrap_err().contains("held back already"));
    }
}
