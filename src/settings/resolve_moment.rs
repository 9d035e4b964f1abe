//! The moments of `at`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::raw::At;
use super::resolve::Resolver;
use super::resolve_calendar::read_date;
use crate::domain::name::Action;
use crate::domain::schedule::{Moment, When};
use crate::domain::zone::{ClockChange, Resolved, resolve};

/// The most moments that one `at` may name.
const MOMENTS_MAX: usize = 1000;

/// In which form a moment is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `2026-12-01T08:00`, perhaps with seconds.
    Wall,
    /// The same with `Z` or `+09:00` behind.
    Offset,
}

/// The form of a moment, and `None` for all that only looks like one.
fn form(text: &str) -> Option<Form> {
    let (date, rest) = text.split_at_checked(10)?;
    let in_range = read_date(date).is_some();
    let rest = rest.strip_prefix(['T', ' '])?;
    let (clock, offset) = match rest.find(['Z', '+', '-']) {
        Some(at) => rest.split_at_checked(at)?,
        None => (rest, ""),
    };
    let digits = |text: &str, most: u8| text.len() == 2 && text.parse::<u8>().is_ok_and(|n| n <= most);
    let is_clock = |clock: &str, hours: u8| {
        let parts: Vec<&str> = clock.split(':').collect();
        match parts.as_slice() {
            [hour, minute] => digits(hour, hours) && digits(minute, 59),
            // Fractions are refused by name later.
            [hour, minute, second] => {
                digits(hour, hours) && digits(minute, 59) && second.get(..2).is_some_and(|s| digits(s, 59))
            }
            _ => false,
        }
    };
    let is_offset =
        offset == "Z" || offset.get(1..).is_some_and(|offset| offset.len() == 5 && is_clock(offset, 14));
    match (in_range && is_clock(clock, 23), offset.is_empty()) {
        (true, true) => Some(Form::Wall),
        (true, false) if is_offset => Some(Form::Offset),
        _ => None,
    }
}

pub(super) fn moments(
    resolver: &mut Resolver<'_>,
    name: &At<String>,
    at: &[At<String>],
    zone: &TimeZone,
    change: ClockChange,
    action: Action,
) -> Option<When> {
    if at.is_empty() || at.len() > MOMENTS_MAX {
        let title = format!("`at` of rule `{}` names {} moments", name.value, at.len());
        resolver.error(name, title, "out of range", &format!("name 1 to {MOMENTS_MAX} moments"));
        return None;
    }
    let mut found: Vec<Moment> = Vec::new();
    for moment in at {
        let form = form(&moment.value);
        let with_offset = moment.value.parse::<Timestamp>().ok().filter(|_| form == Some(Form::Offset));
        let wall = moment.value.parse::<DateTime>().ok().filter(|_| form == Some(Form::Wall));
        let (instants, odd) = match (with_offset, wall) {
            (Some(instant), _) => (vec![instant], None),
            (None, Some(wall)) => {
                let resolved = resolve(wall, zone, change);
                let odd = (!matches!(resolved, Resolved::Once(_))).then_some(wall);
                (resolved.instants(), odd)
            }
            (None, None) => {
                let title = format!("`{}` is no moment", moment.value);
                let remedy =
                    "write \"2026-12-01T08:00\", perhaps with seconds and an offset such as `+09:00`";
                resolver.error(moment, title, "not understood", remedy);
                continue;
            }
        };
        if instants.is_empty() {
            let title = format!("`{}` never comes in its zone", moment.value);
            resolver.error(moment, title, "clocks jump over it", "name another time, or `gap = \"after\"`");
        }
        if instants.iter().any(|instant| instant.subsec_nanosecond() != 0) {
            let title = format!("`{}` has a fraction of a second", moment.value);
            resolver.error(moment, title, "moments are whole seconds", "remove the fraction");
        }
        found.extend(instants.into_iter().map(|at| Moment { at, odd }));
    }
    // What could not be read is told already.
    if found.is_empty() {
        return None;
    }
    found.sort_by_key(|moment| moment.at);
    found.dedup_by_key(|moment| moment.at);
    Some(When::At { moments: found.into(), action })
}
