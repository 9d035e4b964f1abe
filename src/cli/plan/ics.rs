//! The plan as an iCalendar feed: one event for each occurrence that happens.

use icalendar::{Calendar, Component, Event, Property};
use jiff::{SignedDuration, Timestamp};

use super::happening;
use crate::cli::show;
use crate::daemon::view::{Count, PlanLines};
use crate::domain::hash;
use crate::domain::plan::Explained;
use crate::domain::schedule::Fate;

/// How long an event lasts on a calendar, where a moment alone would not be seen.
const SHOWN_FOR: SignedDuration = SignedDuration::from_mins(5);

pub(super) fn feed(found: &[Explained], lines: &PlanLines<'_>, now: Timestamp) -> String {
    let mut calendar = Calendar::empty();
    calendar.append_property(Property::new("VERSION", "2.0"));
    calendar.append_property(Property::new("PRODID", "-//Sunup//plan//EN"));
    calendar.append_property(Property::new("CALSCALE", "GREGORIAN"));
    calendar.append_property(Property::new("X-WR-CALNAME", "Sunup"));
    for line in happening(found.to_vec()) {
        calendar.push(event(&line, lines, now));
    }
    calendar.to_string()
}

fn event(line: &Explained, lines: &PlanLines<'_>, now: Timestamp) -> Event {
    let occurrence = &line.occurrence;
    let facts = lines.of(&occurrence.rule);
    let groups = facts.map(|facts| facts.groups.join(", ")).unwrap_or_default();
    let servers = match facts.map(|facts| facts.servers) {
        Some(Count::Listed(count)) => show::count(count, "server"),
        Some(open @ Count::Open(_)) => format!("servers: {open}"),
        None => show::count(0, "server"),
    };
    let mut words = format!("rule {}, {servers}", occurrence.rule);
    if let Fate::Moved(moved) = &line.fate {
        words.push_str(&format!("; {moved}"));
    }
    let end = occurrence.due.saturating_add(SHOWN_FOR).unwrap_or(occurrence.due);
    // The same occurrence keeps its id in every feed, so that calendar programs do not show it twice.
    let key = format!("{} {} {}", occurrence.rule, occurrence.planned.as_second(), occurrence.action);
    let mut event = Event::new();
    event.uid(&format!("{:016x}@sunup", hash::stable(&key)));
    event.add_property("DTSTAMP", utc(now));
    event.add_property("DTSTART", utc(occurrence.due));
    event.add_property("DTEND", utc(end));
    event.summary(&format!("{} {groups}", occurrence.action));
    event.description(&words);
    // The moments of servers do not make a person busy.
    event.add_property("TRANSP", "TRANSPARENT");
    event.done()
}

fn utc(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}
