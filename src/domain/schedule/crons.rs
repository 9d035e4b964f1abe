//! A cron expression on the dates of a rule: the next moment, and everything with its reason.

use jiff::{SignedDuration, Timestamp};

use super::dates::{Dated, Struck, Verdict};
use super::{Cause, Fate, Move, Planned, Schedule};
use crate::domain::cron::{CronExpr, From};
use crate::domain::name::Action;
use crate::domain::zone::{self, Resolved, WallTimes};

/// How far before a moment the wall clock may have shown a time that happens after it: the longest jump and a fold.
const MARGIN: SignedDuration = SignedDuration::from_hours(30);

/// The next moment that happens.
pub(super) fn next(
    schedule: &Schedule,
    expr: &CronExpr,
    after: Timestamp,
    until: Timestamp,
) -> Option<Timestamp> {
    let times = Dated { expr, dates: &schedule.dates, struck: Struck::PassedOver };
    zone::next(&times, &schedule.zone, schedule.change, after, until)
}

/// Everything between two moments, and perhaps a little around them.
pub(super) fn explained(
    schedule: &Schedule,
    expr: &CronExpr,
    action: Action,
    after: Timestamp,
    until: Timestamp,
) -> Vec<Planned> {
    let times = Dated { expr, dates: &schedule.dates, struck: Struck::Found };
    if expr.follows_real_time() {
        return following(schedule, &times, action, after, until);
    }
    let begin = after.saturating_sub(MARGIN).unwrap_or(after);
    let end = until.saturating_add(MARGIN).unwrap_or(until);
    let (mut from, end) = (schedule.zone.to_datetime(begin), schedule.zone.to_datetime(end));
    let mut found: Vec<Planned> = Vec::new();
    while let Some(wall) = times.next_wall(from, From::After).filter(|wall| *wall <= end) {
        from = wall;
        let resolved = zone::resolve(wall, &schedule.zone, schedule.change);
        let planned = |at, fate| Planned { at, action, fate };
        if let Verdict::Struck(holiday) | Verdict::Excepted(holiday) =
            schedule.dates.judge_word(expr.day_word(), wall.date())
        {
            let at = match resolved {
                Resolved::Once(at) | Resolved::Moved(at) | Resolved::LeftOut(at) => Some(at),
                Resolved::Twice(instants) => instants.first().copied(),
                Resolved::Never => None,
            };
            found.extend(at.map(|at| planned(at, Fate::Struck(Cause::Holiday(holiday)))));
            continue;
        }
        match resolved {
            Resolved::Once(at) => found.push(planned(at, Fate::Due)),
            Resolved::Twice(instants) => {
                found.extend(instants.into_iter().map(|at| planned(at, Fate::Moved(Move::Twice(wall)))));
            }
            Resolved::Moved(at) => found.push(planned(at, Fate::Moved(Move::Jumped(wall)))),
            Resolved::LeftOut(at) => found.push(planned(at, Fate::Struck(Cause::Jumped(wall)))),
            Resolved::Never => {}
        }
    }
    collapse(&mut found);
    found
}

/// What follows real time is never moved, so only its dates are judged.
fn following(
    schedule: &Schedule,
    times: &Dated<'_>,
    action: Action,
    after: Timestamp,
    until: Timestamp,
) -> Vec<Planned> {
    let mut found = Vec::new();
    let mut from = after;
    while let Some(at) = zone::next(times, &schedule.zone, schedule.change, from, until) {
        from = at;
        let date = schedule.zone.to_datetime(at).date();
        let fate = match schedule.dates.judge_word(times.expr.day_word(), date) {
            Verdict::Struck(holiday) | Verdict::Excepted(holiday) => Fate::Struck(Cause::Holiday(holiday)),
            _ => Fate::Due,
        };
        found.push(Planned { at, action, fate });
    }
    found
}

/// Of several that happen at one instant, which are those that clocks jump over, one stays: the one that was written so,
/// or else the first.
fn collapse(found: &mut [Planned]) {
    found.sort_by_key(|planned| planned.at);
    for same in found.chunk_by_mut(|one, other| one.at == other.at) {
        let natural = same.iter().position(|planned| planned.fate == Fate::Due);
        let keeps = natural.or_else(|| same.iter().position(|planned| planned.fate.happens()));
        for (index, planned) in same.iter_mut().enumerate() {
            if let Fate::Moved(Move::Jumped(wall)) = planned.fate
                && Some(index) != keeps
            {
                planned.fate = Fate::Struck(Cause::Collapsed(wall));
            }
        }
    }
}
