//! When people want a summary: every day, or on one day of the week.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::hours::DAY_NAMES;

/// A time of day, on every day or on one of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummaryTime {
    /// On this day alone; `None`: every day.
    pub day: Option<Weekday>,
    /// At this time, in the configuration's zone. Where clocks jump over it, as much later; where it comes twice, the first time.
    pub at: Time,
}

impl SummaryTime {
    /// Reads `18:00` or `MON 09:00`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (day, time) = match text.split_once(' ') {
            Some((day, time)) => {
                let known = DAY_NAMES.iter().find(|(word, _)| word.eq_ignore_ascii_case(day))?;
                (Some(known.1), time)
            }
            None => (None, text),
        };
        let (hour, minute) = time.split_once(':')?;
        let digits = |part: &str| (part.len() == 2).then(|| part.parse::<i8>().ok()).flatten();
        Some(Self { day, at: Time::new(digits(hour)?, digits(minute)?, 0, 0).ok()? })
    }

    /// The last time that came after one moment and not after another, and the time before that: what a summary is about.
    #[must_use]
    pub fn due(&self, after: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        let before = self.last(until, zone)?;
        let due = Some(before).filter(|due| *due > after)?;
        let earlier = due.checked_sub(1.microsecond()).ok()?;
        Some((self.last(earlier, zone)?, due))
    }

    /// The last of these times that is not after a moment.
    fn last(&self, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = zone.to_datetime(until).date().tomorrow().ok()?;
        for _ in 0..16 {
            let at = zone.to_timestamp(date.to_datetime(self.at)).ok()?;
            if at <= until && self.day.is_none_or(|day| date.weekday() == day) {
                return Some(at);
            }
            date = date.yesterday().ok()?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_summary_is_due_once_each_day_or_week_and_is_about_the_time_since_the_last() {
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        let due = |text: &str, after: &str, until: &str| {
            SummaryTime::read(text).unwrap().due(at(after), at(until), &seoul)
        };
        // 18:00 in Seoul is 09:00 in UTC; 2026-11-23 is a Monday.
        let daily = due("18:00", "2026-11-23T08:59:30Z", "2026-11-23T09:00:00Z").unwrap();
        assert_eq!(daily, (at("2026-11-22T09:00:00Z"), at("2026-11-23T09:00:00Z")));
        assert_eq!(due("18:00", "2026-11-23T09:00:00Z", "2026-11-23T09:01:00Z"), None);
        let weekly = due("mon 09:00", "2026-11-22T23:00:00Z", "2026-11-23T12:00:00Z").unwrap();
        assert_eq!(weekly, (at("2026-11-16T00:00:00Z"), at("2026-11-23T00:00:00Z")));
        assert_eq!(due("TUE 09:00", "2026-11-22T23:00:00Z", "2026-11-23T12:00:00Z"), None);
        // After days without anybody, the last one counts.
        let late = due("18:00", "2026-11-10T00:00:00Z", "2026-11-23T12:00:00Z").unwrap();
        assert_eq!(late.1, at("2026-11-23T09:00:00Z"));
    }

    #[test]
    fn other_texts_are_no_time() {
        for text in ["", "9:00", "24:00", "09:60", "DAY 09:00", "MON  09:00", "MON", "daily"] {
            assert_eq!(SummaryTime::read(text), None, "{text}");
        }
    }
}
