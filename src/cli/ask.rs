//! Moments as people write them on the command line.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::exit::Exit;

/// Reads `08:50` (its next occurrence), `2026-12-01` (its midnight), `2026-12-01T08:50` in the zone, or RFC 3339.
///
/// A time that clocks jump over is read with the offset before the jump; one that comes twice means the first.
pub(super) fn moment(text: &str, zone: &TimeZone, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Ok(exact);
    }
    let wall = if let Some(time) = bare_time(text) {
        let today = now.to_zoned(zone.clone());
        let at = today.date().to_datetime(time);
        let first = zone.to_timestamp(at)?;
        return Ok(if first > now { first } else { zone.to_timestamp(at.checked_add(1.day())?)? });
    } else if let Ok(wall) = text.parse::<DateTime>() {
        wall
    } else if let Ok(date) = text.parse::<Date>() {
        date.to_datetime(Time::midnight())
    } else {
        return Err(Exit::Usage.with(format!(
            "`{text}` is no moment; write `08:50`, `2026-12-01`, `2026-12-01T08:50` or `2026-12-01T08:50:00+09:00`"
        )));
    };
    zone.to_timestamp(wall)
        .map_err(|_| Exit::Usage.with(format!("`{text}` is outside the time that can be told")))
}

/// The same of the past: a bare clock time means the last time that it was so late.
pub(super) fn past_moment(text: &str, zone: &TimeZone, now: Timestamp) -> anyhow::Result<Timestamp> {
    let found = moment(text, zone, now)?;
    match bare_time(text) {
        // The next one is found; the last one was a day before.
        Some(_) => Ok(zone.to_timestamp(zone.to_datetime(found).checked_sub(1.day())?)?),
        None => Ok(found),
    }
}

/// A clock time without a date.
fn bare_time(text: &str) -> Option<Time> {
    text.parse().ok().filter(|_| !text.contains('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_past_a_bare_clock_time_means_the_last_one() {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        // 09:00 in Seoul.
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        let table = [
            ("08:50", "2026-11-23T23:50:00Z"),
            ("09:00", "2026-11-24T00:00:00Z"),
            ("18:00", "2026-11-23T09:00:00Z"),
            ("2026-12-01T08:50", "2026-11-30T23:50:00Z"),
        ];

        for (text, want) in table {
            assert_eq!(past_moment(text, &zone, now).unwrap().to_string(), want, "{text}");
        }
    }

    #[test]
    fn a_bare_clock_time_means_its_next_occurrence() {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        // 09:00 in Seoul.
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        let table = [
            ("18:00", "2026-11-24T09:00:00Z"),
            ("08:50", "2026-11-24T23:50:00Z"),
            ("09:00", "2026-11-25T00:00:00Z"),
            ("2026-12-01", "2026-11-30T15:00:00Z"),
            ("2026-12-01T08:50", "2026-11-30T23:50:00Z"),
            ("2026-12-01T08:50:00+01:00", "2026-12-01T07:50:00Z"),
        ];

        for (text, want) in table {
            assert_eq!(moment(text, &zone, now).unwrap().to_string(), want, "{text}");
        }
        for text in ["soon", "25:00", "2026-13-01", ""] {
            assert!(moment(text, &zone, now).is_err(), "{text}");
        }
    }
}
