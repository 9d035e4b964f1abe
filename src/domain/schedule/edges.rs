//! Hours as edges: spans become stretches of real time, those that touch are joined, and what is left has edges.

use std::collections::VecDeque;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::dates::{ExceptEdge, Verdict};
use super::{Cause, Fate, Move, Planned, Schedule, When};
use crate::domain::cron::DayWord;
use crate::domain::hours::{Hours, Times};
use crate::domain::name::Action;
use crate::domain::zone::{self, ClockChange, Fold, Gap, Resolved};

/// How many dates are looked at first: most who ask want one edge.
const DATES_AT_FIRST: i64 = 4;
/// And how many in one go after that.
const DATES_AT_ONCE: i64 = 16;
/// A span lasts less than two days, and a zone may leave out one: so many dates before can still reach into a date.
const DATES_BEFORE: i64 = 3;
/// Without an edge for so long after the last date that a calendar knows, there is none: weeks repeat themselves.
const SILENCE_MAX_DAYS: i64 = 30;

/// A span of `hours` that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSpan {
    /// When it opened.
    pub opened: Timestamp,
    /// When it closes; `None` if it never does.
    pub closes: Option<Timestamp>,
}

/// One end of a span in real time.
#[derive(Debug, Clone)]
struct Edge {
    at: Timestamp,
    fate: Fate,
}

/// What the spans of some dates become.
#[derive(Default)]
struct Raw {
    /// From one edge to another.
    whole: Vec<(Edge, Edge)>,
    /// Edges of one-sided spans, and closing edges whose opening a calendar took out.
    single: Vec<(Action, Edge)>,
    /// What does not happen.
    struck: Vec<Planned>,
}

/// A search that goes through the dates once.
pub(super) struct Stretch<'a> {
    schedule: &'a Schedule,
    next_date: Option<Date>,
    dates: i64,
    silent_since: Option<Date>,
    ready: VecDeque<Planned>,
}

impl<'a> Stretch<'a> {
    pub(super) fn from(schedule: &'a Schedule, after: Timestamp) -> Self {
        let date = schedule.zone.to_datetime(after).date();
        Self {
            schedule,
            next_date: Some(date),
            dates: DATES_AT_FIRST,
            silent_since: None,
            ready: VecDeque::new(),
        }
    }

    pub(super) fn next(&mut self, after: Timestamp, until: Timestamp) -> Option<Planned> {
        loop {
            while let Some(planned) = self.ready.pop_front() {
                if planned.at > after {
                    return Some(planned);
                }
            }
            let date = self.next_date?;
            if midnight(&self.schedule.zone, date).is_none_or(|begin| begin > until) {
                return None;
            }
            let quiet_from = self.schedule.dates.settled_after().map_or(date, |settled| settled.max(date));
            let silent = *self.silent_since.get_or_insert(quiet_from);
            if days_between(silent, date) > SILENCE_MAX_DAYS {
                return None;
            }
            let end = date.checked_add(self.dates.days()).ok();
            self.dates = DATES_AT_ONCE;
            self.ready = happening(self.schedule, date, end.unwrap_or(Date::MAX)).into();
            self.next_date = end;
            if !self.ready.is_empty() {
                self.silent_since = None;
                continue;
            }
            // Where few dates are possible the others are passed over; a span that has begun is within reach of the chunk.
            let word = hours_of(self.schedule)
                .filter(|hours| hours.names_holidays_alone())
                .map(|_| DayWord::Holidays);
            let far =
                |from: Date| self.schedule.dates.worth_a_look(word, from).map_or(from, |far| far.max(from));
            self.next_date = end.map(|end| if is_inside(self.schedule, end) { end } else { far(end) });
        }
    }
}

/// Whether a span goes on up to the beginning of a date, where its closing edge may still come.
fn is_inside(schedule: &Schedule, date: Date) -> bool {
    let Some(begin) = midnight(&schedule.zone, date) else { return true };
    let before = begin.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(begin);
    !spans(schedule, before, begin).is_empty()
}

fn days_between(from: Date, to: Date) -> i64 {
    to.duration_since(from).as_hours() / 24
}

/// The first instant of a date; at a jump over midnight, the jump.
fn midnight(zone: &TimeZone, date: Date) -> Option<Timestamp> {
    zone.to_ambiguous_zoned(date.at(0, 0, 0, 0)).compatible().ok().map(|zoned| zoned.timestamp())
}

fn hours_of(schedule: &Schedule) -> Option<&Hours> {
    match &schedule.when {
        When::Hours(hours) => Some(hours),
        When::Cron { .. } | When::At { .. } => None,
    }
}

/// What happens on the dates from one up to but without another.
fn happening(schedule: &Schedule, from: Date, to: Date) -> Vec<Planned> {
    let (Some(begin), end) = (midnight(&schedule.zone, from), midnight(&schedule.zone, to)) else {
        return Vec::new();
    };
    let raw = raw(schedule, from, to);
    let mut found = joined(raw);
    found.retain(|planned| planned.fate.happens());
    found.retain(|planned| planned.at >= begin && end.is_none_or(|end| planned.at < end));
    found
}

/// Everything between two moments, and perhaps a little around them.
pub(super) fn explained(schedule: &Schedule, after: Timestamp, until: Timestamp) -> Vec<Planned> {
    let date = |at| schedule.zone.to_datetime(at).date();
    joined(raw(schedule, date(after), date(until).tomorrow().unwrap_or(Date::MAX)))
}

/// The spans that open on the dates that can reach into those asked for.
fn raw(schedule: &Schedule, from: Date, to: Date) -> Raw {
    let mut raw = Raw::default();
    let Some(hours) = hours_of(schedule) else { return raw };
    let mut date = from.checked_sub(DATES_BEFORE.days()).unwrap_or(Date::MIN);
    // One date more: a span that begins where another ends takes its closing edge away.
    while date <= to {
        for span in hours.spans() {
            let verdict = schedule.dates.judge_days(&span.days, date);
            if verdict != Verdict::No {
                add(&mut raw, schedule, date, span.times, verdict);
            }
        }
        match date.tomorrow() {
            Ok(next) => date = next,
            Err(_) => break,
        }
    }
    raw
}

fn add(raw: &mut Raw, schedule: &Schedule, date: Date, times: Times, verdict: Verdict) {
    let (opens, closes) = match times {
        Times::Both(opens, closes) => (Some(opens), Some(closes)),
        Times::Opens(opens) => (Some(opens), None),
        Times::Closes(closes) => (None, Some(closes)),
    };
    let wall = |clock: Option<crate::domain::hours::Clock>| clock.and_then(|clock| clock.on(date));
    let (opens, closes) = (wall(opens), wall(closes));
    let edge = |wall: DateTime, kind| edge(schedule, wall, kind);
    let (cause, keeps_closing) = match verdict {
        Verdict::Struck(holiday) => (Some(Cause::Holiday(holiday)), false),
        Verdict::Excepted(holiday) => {
            (Some(Cause::Holiday(holiday)), schedule.dates.except_edge == ExceptEdge::Start)
        }
        Verdict::Kept | Verdict::No => (None, false),
    };
    if let Some(cause) = cause {
        let strike = |raw: &mut Raw, edge: Option<Edge>, action| {
            raw.struck.extend(edge.map(|edge| Planned {
                at: edge.at,
                action,
                fate: Fate::Struck(cause.clone()),
            }));
        };
        strike(raw, opens.and_then(|wall| edge(wall, Action::Start)), Action::Start);
        let closing = closes.and_then(|wall| edge(wall, Action::Stop));
        match keeps_closing {
            false => strike(raw, closing, Action::Stop),
            true => raw.single.extend(closing.map(|edge| (Action::Stop, edge))),
        }
        return;
    }
    let opening = opens.and_then(|wall| edge(wall, Action::Start));
    let closing = closes.and_then(|wall| edge(wall, Action::Stop));
    match (opens, opening, closing) {
        // A date that the zone left out opens nothing.
        (_, Some(Edge { at, fate: fate @ Fate::Struck(_) }), closing) => {
            raw.struck.push(Planned { at, action: Action::Start, fate: fate.clone() });
            raw.struck.extend(closing.map(|closing| Planned { at: closing.at, action: Action::Stop, fate }));
        }
        (Some(wall), Some(opening), Some(closing)) if opening.at >= closing.at => {
            let fate = Fate::Struck(Cause::Empty(wall));
            raw.struck.push(Planned { at: opening.at, action: Action::Start, fate: fate.clone() });
            raw.struck.push(Planned { at: closing.at, action: Action::Stop, fate });
        }
        (_, Some(opening), Some(closing)) => raw.whole.push((opening, closing)),
        (_, Some(opening), None) => raw.single.push((Action::Start, opening)),
        (_, None, Some(closing)) => raw.single.push((Action::Stop, closing)),
        (_, None, None) => {}
    }
}

/// Where an edge falls. An edge happens once: a jump of the clock moves it to the jump, and a date that is left out moves
/// a closing edge there too, since a server must not stay up for want of a date.
fn edge(schedule: &Schedule, wall: DateTime, kind: Action) -> Option<Edge> {
    let fold = if schedule.change.fold == Fold::Second { Fold::Second } else { Fold::First };
    let change = ClockChange { gap: Gap::After, fold };
    match zone::resolve(wall, &schedule.zone, change) {
        Resolved::Once(at) => Some(Edge { at, fate: Fate::Due }),
        Resolved::Moved(at) => Some(Edge { at, fate: Fate::Moved(Move::Jumped(wall)) }),
        Resolved::Twice(instants) => {
            let at = instants.first().copied()?;
            Some(Edge { at, fate: Fate::Moved(Move::Twice(wall)) })
        }
        Resolved::LeftOut(at) if kind == Action::Stop => {
            Some(Edge { at, fate: Fate::Moved(Move::Jumped(wall)) })
        }
        Resolved::LeftOut(at) => Some(Edge { at, fate: Fate::Struck(Cause::Jumped(wall)) }),
        Resolved::Never => None,
    }
}

/// Joins spans that touch, and gives the edges of what is left with all that is struck.
fn joined(raw: Raw) -> Vec<Planned> {
    let Raw { whole, single, struck } = raw;
    let merged = merge(whole);
    let covers = |at: Timestamp| {
        let before = merged.partition_point(|(opening, _)| opening.at <= at);
        before.checked_sub(1).and_then(|index| merged.get(index)).is_some_and(|(_, closing)| at < closing.at)
    };
    let mut found: Vec<Planned> = Vec::new();
    for (action, edge) in single {
        // Whoever is up by another span stays up, and whoever is started by one is started already.
        if !covers(edge.at)
            || (action == Action::Start && !merged.iter().any(|(opening, _)| opening.at == edge.at))
        {
            found.push(Planned { at: edge.at, action, fate: edge.fate });
        }
    }
    for (opening, closing) in merged {
        found.push(Planned { at: opening.at, action: Action::Start, fate: opening.fate });
        found.push(Planned { at: closing.at, action: Action::Stop, fate: closing.fate });
    }
    // At one instant a start wins, and each happens once.
    found.sort_by_key(|planned| (planned.at, planned.action != Action::Start, planned.fate != Fate::Due));
    found.dedup_by_key(|planned| planned.at);
    found.extend(struck);
    found.sort_by_key(|planned| planned.at);
    found
}

fn merge(mut whole: Vec<(Edge, Edge)>) -> Vec<(Edge, Edge)> {
    whole.sort_by_key(|(opening, closing)| (opening.at, closing.at));
    let mut merged: Vec<(Edge, Edge)> = Vec::new();
    for (opening, closing) in whole {
        match merged.last_mut() {
            Some((_, end)) if opening.at <= end.at => {
                if closing.at > end.at {
                    *end = closing;
                }
            }
            _ => merged.push((opening, closing)),
        }
    }
    merged
}

pub(super) fn spans(schedule: &Schedule, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let date = |at| schedule.zone.to_datetime(at).date();
    let raw = raw(schedule, date(from), date(to).tomorrow().unwrap_or(Date::MAX));
    let merged = merge(raw.whole).into_iter().map(|(opening, closing)| (opening.at, closing.at));
    merged.filter(|(opening, closing)| *closing > from && *opening < to).collect()
}

pub(super) fn open_span(schedule: &Schedule, at: Timestamp) -> Option<OpenSpan> {
    hours_of(schedule)?;
    let date = schedule.zone.to_datetime(at).date();
    let settled = schedule.dates.settled_after().map_or(date, |settled| settled.max(date));
    let around = |at: Timestamp, to: Timestamp| {
        spans(schedule, at, to).into_iter().find(|(opening, closing)| *opening <= at && at < *closing)
    };
    let mut to = at.saturating_add(SignedDuration::from_hours(24 * DATES_AT_FIRST)).ok()?;
    let (opened, mut closes) = around(at, to)?;
    // Spans that touch may go on for longer than was looked at. Each date is looked at once: they may join for decades.
    while closes >= to {
        if days_between(settled, schedule.zone.to_datetime(to).date()) > SILENCE_MAX_DAYS {
            return Some(OpenSpan { opened, closes: None });
        }
        let inside = to.saturating_sub(SignedDuration::from_secs(1)).ok()?;
        to = to.saturating_add(SignedDuration::from_hours(24 * DATES_AT_ONCE)).ok()?;
        (_, closes) = around(inside, to)?;
    }
    Some(OpenSpan { opened, closes: Some(closes) })
}
