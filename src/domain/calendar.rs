//! Calendars: named dates on which rules keep still, or on which people work all the same.

pub mod korea;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::civil::{Date, Weekday};

use super::name::CalendarName;

/// Dates with what they are called.
pub type Days = BTreeMap<Date, String>;

/// A calendar with everything taken into account: what it computes, reads and lists, without what is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calendar {
    holidays: Days,
    workdays: Days,
    known_until: Option<Date>,
    title: Option<&'static str>,
    digest: u64,
}

/// What a calendar is made of.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Holidays from each source, in order: where two name one date, the first name stays.
    pub holidays: Vec<Days>,
    /// Dates that are no holidays after all.
    pub cancelled: Days,
    /// Dates on which people work, whatever else is said of them.
    pub workdays: Days,
    /// Up to when the sources know all holidays, where one of them is computed.
    pub computed_until: Option<Date>,
    /// What its holidays are called, where it is nothing but one that is computed.
    pub title: Option<&'static str>,
}

impl Calendar {
    /// Joins the parts: what is cancelled is no holiday, and a workday is none either.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let mut holidays = Days::new();
        for (date, title) in parts.holidays.into_iter().flatten() {
            holidays.entry(date).or_insert(title);
        }
        holidays.retain(|date, _| !parts.cancelled.contains_key(date) && !parts.workdays.contains_key(date));
        let last = holidays.keys().chain(parts.workdays.keys()).max().copied();
        let known_until = parts.computed_until.max(last);
        let digest = digest(&holidays, &parts.workdays);
        Self { holidays, workdays: parts.workdays, known_until, title: parts.title, digest }
    }

    /// The holidays.
    #[must_use]
    pub fn holidays(&self) -> &Days {
        &self.holidays
    }

    /// The dates on which people work although they would not otherwise.
    #[must_use]
    pub fn workdays(&self) -> &Days {
        &self.workdays
    }

    /// The last date of which the calendar knows anything. `None` if it is empty.
    #[must_use]
    pub fn known_until(&self) -> Option<Date> {
        self.known_until
    }
}

/// A holiday as people want to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holiday {
    /// The calendar that names it.
    pub calendar: CalendarName,
    /// What it is called.
    pub title: String,
}

impl fmt::Display for Holiday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (calendar {})", self.title, self.calendar)
    }
}

/// Several calendars taken as one: a date is a holiday if one of them says so and none of them calls it a workday.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calendars(Vec<(CalendarName, Arc<Calendar>)>);

impl Calendars {
    /// Joins calendars.
    #[must_use]
    pub fn new(calendars: Vec<(CalendarName, Arc<Calendar>)>) -> Self {
        Self(calendars)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &CalendarName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The holiday that a date is.
    #[must_use]
    pub fn holiday(&self, date: Date) -> Option<Holiday> {
        if self.names_workday(date) {
            return None;
        }
        self.0.iter().find_map(|(name, calendar)| {
            let title = calendar.holidays.get(&date)?.clone();
            Some(Holiday { calendar: name.clone(), title })
        })
    }

    /// Whether a date is a holiday.
    #[must_use]
    pub fn is_holiday(&self, date: Date) -> bool {
        self.0.iter().any(|(_, calendar)| calendar.holidays.contains_key(&date)) && !self.names_workday(date)
    }

    /// Whether one of the calendars calls the date a workday.
    #[must_use]
    pub fn names_workday(&self, date: Date) -> bool {
        self.0.iter().any(|(_, calendar)| calendar.workdays.contains_key(&date))
    }

    /// Whether people work: Monday to Friday without holidays, and the workdays.
    #[must_use]
    pub fn is_working(&self, date: Date) -> bool {
        self.names_workday(date) || (is_in_the_week(date) && !self.is_holiday(date))
    }

    /// The first holiday on or after a date.
    #[must_use]
    pub fn next_holiday(&self, from: Date) -> Option<Date> {
        let next = |from: Date| {
            let firsts = self.0.iter().filter_map(|(_, c)| c.holidays.range(from..).next());
            firsts.map(|(date, _)| *date).min()
        };
        let mut candidate = next(from)?;
        while self.names_workday(candidate) {
            candidate = next(candidate.tomorrow().ok()?)?;
        }
        Some(candidate)
    }

    /// The last date of which any of the calendars knows something.
    #[must_use]
    pub fn known_until(&self) -> Option<Date> {
        self.0.iter().filter_map(|(_, calendar)| calendar.known_until).max()
    }

    /// The calendars with what their holidays are called, where they are nothing but a computed one.
    pub fn titled(&self) -> impl Iterator<Item = (&CalendarName, Option<&'static str>)> {
        self.0.iter().map(|(name, calendar)| (name, calendar.title))
    }

    /// A number that is equal for calendars that say the same of every date, on every machine and in every version.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let digests: Vec<String> = self.0.iter().map(|(_, calendar)| calendar.digest.to_string()).collect();
        super::hash::stable(&digests.join(","))
    }
}

fn digest(holidays: &Days, workdays: &Days) -> u64 {
    let words: Vec<String> = holidays
        .keys()
        .map(|date| format!("{date}h"))
        .chain(workdays.keys().map(|date| format!("{date}w")))
        .collect();
    super::hash::stable(&words.join(","))
}

/// Monday to Friday.
#[must_use]
pub fn is_in_the_week(date: Date) -> bool {
    !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    pub(crate) fn days(dates: &[(Date, &str)]) -> Days {
        dates.iter().map(|(date, title)| (*date, (*title).to_owned())).collect()
    }

    fn joined(parts: Vec<Parts>) -> Calendars {
        let named = parts.into_iter().enumerate().map(|(index, parts)| {
            (CalendarName::new(&format!("c{index}")).unwrap(), Arc::new(Calendar::new(parts)))
        });
        Calendars::new(named.collect())
    }

    #[test]
    fn workdays_win_over_holidays_and_count_even_on_a_weekend() {
        let calendars = joined(vec![Parts {
            holidays: vec![days(&[(date(2026, 12, 25), "Christmas"), (date(2026, 12, 31), "closed")])],
            workdays: days(&[(date(2026, 12, 31), ""), (date(2026, 12, 19), "")]),
            ..Parts::default()
        }]);

        assert!(calendars.is_holiday(date(2026, 12, 25)) && !calendars.is_working(date(2026, 12, 25)));
        assert!(!calendars.is_holiday(date(2026, 12, 31)) && calendars.is_working(date(2026, 12, 31)));
        // A Saturday.
        assert!(calendars.is_working(date(2026, 12, 19)) && !calendars.is_working(date(2026, 12, 26)));
        assert_eq!(calendars.next_holiday(date(2026, 12, 26)), None);
    }

    #[test]
    fn joined_calendars_take_the_holidays_of_all_and_a_workday_of_one_wins_over_each() {
        let calendars = joined(vec![
            Parts { holidays: vec![days(&[(date(2026, 5, 5), "Children's Day")])], ..Parts::default() },
            Parts {
                holidays: vec![days(&[(date(2026, 5, 4), "bridge"), (date(2026, 5, 5), "again")])],
                ..Parts::default()
            },
            Parts { workdays: days(&[(date(2026, 5, 4), "")]), ..Parts::default() },
        ]);

        let children = calendars.holiday(date(2026, 5, 5)).unwrap();

        assert_eq!(children.to_string(), "Children's Day (calendar c0)");
        assert_eq!(calendars.holiday(date(2026, 5, 4)), None);
        assert_eq!(calendars.next_holiday(date(2026, 5, 1)), Some(date(2026, 5, 5)));
    }

    #[test]
    fn what_is_cancelled_is_no_holiday_and_the_first_source_names_a_date() {
        let calendar = Calendar::new(Parts {
            holidays: vec![
                days(&[(date(2026, 6, 3), "local elections"), (date(2026, 6, 6), "Memorial Day")]),
                days(&[(date(2026, 6, 6), "other name"), (date(2026, 7, 1), "founding day")]),
            ],
            cancelled: days(&[(date(2026, 6, 3), "")]),
            ..Parts::default()
        });

        let found: Vec<String> = calendar.holidays().iter().map(|(d, t)| format!("{d} {t}")).collect();
        assert_eq!(found, ["2026-06-06 Memorial Day", "2026-07-01 founding day"]);
        assert_eq!(calendar.known_until(), Some(date(2026, 7, 1)));
    }

    #[test]
    fn the_digest_tells_dates_apart_and_not_their_names() {
        let one = |title: &str, day| {
            joined(vec![Parts { holidays: vec![days(&[(date(2026, 5, day), title)])], ..Parts::default() }])
        };

        assert_eq!(one("a", 5).digest(), one("b", 5).digest());
        assert_ne!(one("a", 5).digest(), one("a", 6).digest());
        let work = joined(vec![Parts { workdays: days(&[(date(2026, 5, 5), "")]), ..Parts::default() }]);
        assert_ne!(work.digest(), one("a", 5).digest());
    }
}
