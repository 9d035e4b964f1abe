//! Cron expressions: read strictly, matched in civil time by croner.

mod check;

use std::fmt;
use std::sync::Arc;

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;

use super::misread::Misread;

/// How many fields an expression has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fields {
    /// Minute, hour, day of month, month, day of week.
    Five,
    /// Second first, then the five.
    Six,
}

/// What may stand for the days of the week instead of numbers or names. A calendar says which dates it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DayWord {
    /// `WORKDAYS`: Monday to Friday without holidays, and the workdays of the calendar.
    Workdays,
    /// `HOLIDAYS`: the dates of the calendar, not weekends.
    Holidays,
}

impl DayWord {
    /// Reads the word, in any case.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "WORKDAYS" => Some(Self::Workdays),
            "HOLIDAYS" => Some(Self::Holidays),
            _ => None,
        }
    }

    /// The word as it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Workdays => "WORKDAYS",
            Self::Holidays => "HOLIDAYS",
        }
    }
}

/// A cron expression that is fully understood and that comes true on some date.
///
/// Cheap to clone: equal expressions are meant to share one parsed form.
#[derive(Clone)]
pub struct CronExpr {
    text: Arc<str>,
    fields: Fields,
    cron: Arc<croner::Cron>,
    follows_real_time: bool,
    day_word: Option<DayWord>,
}

impl CronExpr {
    /// Reads an expression such as `50 8 * * MON-FRI` or `@daily`.
    ///
    /// Day of month and day of week are joined as cronie does it: both must match if either field begins with `*`,
    /// either may match otherwise.
    ///
    /// # Errors
    /// [`Misread`] for anything that is not fully understood, and for what never occurs, such as 31 February.
    pub fn parse(text: &str, fields: Fields) -> Result<Self, Misread> {
        let checked = check::check(text, fields)?;
        let parser = CronParser::builder()
            .seconds(match fields {
                Fields::Five => Seconds::Disallowed,
                Fields::Six => Seconds::Required,
            })
            .year(Year::Disallowed)
            .dom_and_dow(checked.days_are_anded)
            .build();
        let cron = parser.parse(&checked.plain).map_err(|error| Misread {
            problem: format!("the expression is not understood: {error}"),
            span: 0..text.len(),
            remedy: "write `minute hour day-of-month month day-of-week`, such as `50 8 * * MON-FRI`".into(),
        })?;
        let expr = Self {
            text: text.trim().into(),
            fields,
            cron: Arc::new(cron),
            follows_real_time: checked.follows_real_time,
            day_word: checked.day_word,
        };
        // Any 400 years hold every pair of date and weekday, so this answer does not depend on today.
        match expr.next_civil(DateTime::constant(2000, 1, 1, 0, 0, 0, 0), From::Including) {
            Some(_) => Ok(expr),
            None => Err(Misread {
                problem: "the expression never occurs: no month has that day".into(),
                span: checked.day_of_month,
                remedy: "use a day that the month has, or `L` for its last day".into(),
            }),
        }
    }

    /// Each field that is not understood, in order, so that all can be mended at once.
    #[must_use]
    pub fn misread_fields(text: &str, fields: Fields) -> Vec<Misread> {
        check::misread_fields(text, fields)
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the expression has a field for seconds.
    #[must_use]
    pub fn fields(&self) -> Fields {
        self.fields
    }

    /// Whether the expression follows real time (its minute or hour field begins with `*`) or names wall-clock times.
    ///
    /// The two differ on the two days of the year on which clocks change.
    #[must_use]
    pub fn follows_real_time(&self) -> bool {
        self.follows_real_time
    }

    /// What stands for the days of the week, if it is a word that only a calendar explains.
    #[must_use]
    pub fn day_word(&self) -> Option<DayWord> {
        self.day_word
    }

    /// What croner makes of the fields, in English: the date part of it is used in words for people.
    #[must_use]
    pub fn describe(&self) -> String {
        self.cron.describe()
    }

    /// The next civil date-time that matches, as if no clock ever changed. `None` when the calendar ends before it.
    #[must_use]
    pub fn next_civil(&self, from: DateTime, bound: From) -> Option<DateTime> {
        self.cron.find_next_occurrence(&from, bound == From::Including).ok()
    }
}

/// Whether a search counts its starting point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The starting point itself is a candidate.
    Including,
    /// Only what comes strictly later is.
    After,
}

impl fmt::Debug for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CronExpr").field(&self.text).finish()
    }
}

impl fmt::Display for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl PartialEq for CronExpr {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields && self.text == other.text
    }
}

impl Eq for CronExpr {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_for_days_is_written_as_it_is_read() {
        for word in ["WORKDAYS", "HOLIDAYS"] {
            let days = DayWord::read(word);
            assert_eq!(days.map(DayWord::word), Some(word));
        }
    }

    fn next(text: &str, fields: Fields, from: &str) -> String {
        let expr = CronExpr::parse(text, fields).unwrap_or_else(|error| panic!("{text}: {error}"));
        expr.next_civil(from.parse().unwrap(), From::After).unwrap().to_string()
    }

    #[test]
    fn knows_names_lists_ranges_steps_last_nth_nearest_and_aliases() {
        // 2026-11-23 is a Monday.
        let table = [
            ("50 8 * * MON-FRI", "2026-11-23T08:50:00", "2026-11-24T08:50:00"),
            ("50 8 * * mon-fri", "2026-11-27T08:50:00", "2026-11-30T08:50:00"),
            ("0 9,18 * * *", "2026-11-23T09:00:00", "2026-11-23T18:00:00"),
            ("*/15 * * * *", "2026-11-23T09:00:00", "2026-11-23T09:15:00"),
            ("10-50/20 9 * * *", "2026-11-23T09:10:00", "2026-11-23T09:30:00"),
            ("0 9 L * *", "2026-11-23T09:00:00", "2026-11-30T09:00:00"),
            ("0 9 LW * *", "2027-01-01T09:00:00", "2027-01-29T09:00:00"),
            ("0 9 15W * *", "2026-11-01T09:00:00", "2026-11-16T09:00:00"),
            ("0 9 * * MON#1", "2026-11-23T09:00:00", "2026-12-07T09:00:00"),
            ("0 9 * * 5L", "2026-11-23T09:00:00", "2026-11-27T09:00:00"),
            ("0 9 * * FRIL", "2026-11-23T09:00:00", "2026-11-27T09:00:00"),
            ("0 9 * * 7", "2026-11-23T09:00:00", "2026-11-29T09:00:00"),
            ("0 9 * * SAT-SUN", "2026-11-28T09:00:00", "2026-11-29T09:00:00"),
            ("0 9 1 JAN,JUL *", "2026-11-23T09:00:00", "2027-01-01T09:00:00"),
            ("@daily", "2026-11-23T09:00:00", "2026-11-24T00:00:00"),
            ("@midnight", "2026-11-23T09:00:00", "2026-11-24T00:00:00"),
            ("@hourly", "2026-11-23T09:00:00", "2026-11-23T10:00:00"),
            ("@weekly", "2026-11-23T09:00:00", "2026-11-29T00:00:00"),
            ("@monthly", "2026-11-23T09:00:00", "2026-12-01T00:00:00"),
            ("@yearly", "2026-11-23T09:00:00", "2027-01-01T00:00:00"),
            ("@annually", "2026-11-23T09:00:00", "2027-01-01T00:00:00"),
            ("0 0 29 2 *", "2026-11-23T09:00:00", "2028-02-29T00:00:00"),
        ];

        for (text, from, want) in table {
            assert_eq!(next(text, Fields::Five, from), want, "{text}");
        }
        assert_eq!(next("30 0 9 * * *", Fields::Six, "2026-11-23T09:00:00"), "2026-11-23T09:00:30");
        assert_eq!(next("*/10 * * * * *", Fields::Six, "2026-11-23T09:00:05"), "2026-11-23T09:00:10");
    }

    #[test]
    fn days_are_ored_when_both_are_set_and_anded_when_either_begins_with_a_star() {
        // The 1st of December 2026 is a Tuesday.
        assert_eq!(next("0 9 1 * MON", Fields::Five, "2026-11-30T09:00:00"), "2026-12-01T09:00:00");
        assert_eq!(next("0 9 1 * MON", Fields::Five, "2026-12-01T09:00:00"), "2026-12-07T09:00:00");
        assert_eq!(next("0 9 */2 * MON", Fields::Five, "2026-11-30T09:00:00"), "2026-12-07T09:00:00");
    }

    #[test]
    fn what_never_occurs_is_refused_with_the_day_underlined() {
        for text in ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            let error = CronExpr::parse(text, Fields::Five).unwrap_err();

            assert!(error.problem.contains("never occurs"), "{text}: {error}");
            assert_eq!(text.get(error.span), text.split(' ').nth(2));
        }
    }

    #[test]
    fn an_expression_follows_real_time_if_its_minute_or_hour_begins_with_a_star() {
        let table = [
            ("*/5 8 * * *", true),
            ("0 * * * *", true),
            ("0 */2 * * *", true),
            ("30 8 * * *", false),
            ("@hourly", true),
        ];

        for (text, want) in table {
            assert_eq!(CronExpr::parse(text, Fields::Five).unwrap().follows_real_time(), want, "{text}");
        }
    }
}
