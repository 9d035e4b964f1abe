//! Hours: the spans of the week in which servers are meant to be up, as an office writes them on its door.

mod read;

pub use read::DAY_NAMES;

use std::fmt;
use std::sync::Arc;

use jiff::civil::{Date, DateTime, Time, Weekday};

use super::misread::Misread;

/// The most spans that one text may name.
pub const SPANS_MAX: usize = 50;

/// Hours such as `MON-FRI 09:00-12:00, 13:00-19:00; SAT 10:00-14:00`.
#[derive(Clone)]
pub struct Hours {
    text: Arc<str>,
    spans: Vec<Span>,
}

/// The same times on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The days on which it opens; for one that only closes, on which it closes.
    pub days: DaySet,
    /// When it opens and closes.
    pub times: Times,
}

/// Days of the week, and days that only a calendar explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DaySet {
    week: [bool; 7],
    /// `WORKDAYS` is among them.
    pub workdays: bool,
    /// `HOLIDAYS` is among them.
    pub holidays: bool,
}

/// When a span opens and closes, by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// From one time to another; past midnight if the second is not later than the first.
    Both(Clock, Clock),
    /// It only opens: `08:50-`.
    Opens(Clock),
    /// It only closes: `-19:30`.
    Closes(Clock),
}

/// A time of the day on the wall, in minutes: 0 to 1439, and 1440 to 2880 on the day after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clock(u16);

/// Minutes of a day.
const DAY: u16 = 24 * 60;

impl Clock {
    /// The wall-clock time on the date on which a span opens.
    #[must_use]
    pub fn on(self, date: Date) -> Option<DateTime> {
        let date = date.checked_add(jiff::Span::new().days(i64::from(self.0 / DAY))).ok()?;
        let (hour, minute) = (self.0 % DAY / 60, self.0 % 60);
        let time = Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()?;
        Some(date.to_datetime(time))
    }
}

impl fmt::Display for Clock {
    /// `08:50`; midnight at the end of a day is `24:00`, and later times are those of the next day.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = if self.0 > DAY { self.0 - DAY } else { self.0 };
        write!(f, "{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl DaySet {
    fn add(&mut self, day: Weekday) {
        if let Some(slot) = self.week.get_mut(index(day)) {
            *slot = true;
        }
    }

    /// Whether a day of the week is named.
    #[must_use]
    pub fn names(&self, day: Weekday) -> bool {
        self.week.get(index(day)).copied().unwrap_or(false)
    }

    /// Whether a calendar is needed to know the days.
    #[must_use]
    pub fn needs_calendar(&self) -> bool {
        self.workdays || self.holidays
    }
}

fn index(day: Weekday) -> usize {
    usize::try_from(day.to_monday_zero_offset()).unwrap_or(0)
}

impl Hours {
    /// Reads hours.
    ///
    /// # Errors
    /// [`Misread`] for anything that is not fully understood.
    pub fn parse(text: &str) -> Result<Self, Misread> {
        Ok(Self { text: text.trim().into(), spans: read::read(text)? })
    }

    /// The hours as they were written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The spans in the order of the text.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Whether any span opens.
    #[must_use]
    pub fn opens(&self) -> bool {
        self.spans.iter().any(|span| !matches!(span.times, Times::Closes(_)))
    }

    /// Whether any span closes.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.spans.iter().any(|span| !matches!(span.times, Times::Opens(_)))
    }

    /// Whether no span opens on any day but holidays.
    #[must_use]
    pub fn names_holidays_alone(&self) -> bool {
        self.spans
            .iter()
            .all(|span| span.days.holidays && !span.days.workdays && !span.days.week.contains(&true))
    }

    /// The times of day at which anything opens or closes, in minutes after midnight, in order, each once.
    #[must_use]
    pub fn clock_times(&self) -> Vec<u16> {
        let both = |times: &Times| match times {
            Times::Both(opens, closes) => vec![opens.0 % DAY, closes.0 % DAY],
            Times::Opens(clock) | Times::Closes(clock) => vec![clock.0 % DAY],
        };
        let mut found: Vec<u16> = self.spans.iter().flat_map(|span| both(&span.times)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether a calendar is needed to know the days.
    #[must_use]
    pub fn needs_calendar(&self) -> bool {
        self.spans.iter().any(|span| span.days.needs_calendar())
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hours").field(&self.text).finish()
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl PartialEq for Hours {
    fn eq(&self, other: &Self) -> bool {
        self.spans == other.spans
    }
}

impl Eq for Hours {}
