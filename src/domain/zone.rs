//! From wall-clock matches to instants: what happens to a schedule where clocks change.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::cron::{CronExpr, From};

/// A jump of the wall clock that is longer than this is a change of the calendar date (Apia 2011), not a clock change:
/// what lies in it does not happen.
pub const GAP_MAX: SignedDuration = SignedDuration::from_hours(3);

/// What becomes of a wall-clock time that the clock jumps over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Gap {
    /// It happens at the instant of the jump; several collapse into one.
    #[default]
    After,
    /// It does not happen.
    Skip,
}

/// Which of the two instants counts where the wall clock shows a time twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fold {
    /// The first.
    #[default]
    First,
    /// The second.
    Second,
    /// Both.
    Both,
}

/// How a rule meets the two odd days of the year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClockChange {
    /// What becomes of times that the clock jumps over.
    pub gap: Gap,
    /// Which instant counts where a time comes twice.
    pub fold: Fold,
}

/// Wall-clock times that a search runs through.
pub trait WallTimes {
    /// The next one, as if no clock ever changed. `None` when there is none, or the calendar ends before it.
    fn next_wall(&self, from: DateTime, bound: From) -> Option<DateTime>;

    /// Whether they follow real time, or name wall-clock times that each happen once.
    fn follows_real_time(&self) -> bool;
}

impl WallTimes for CronExpr {
    fn next_wall(&self, from: DateTime, bound: From) -> Option<DateTime> {
        self.next_civil(from, bound)
    }

    fn follows_real_time(&self) -> bool {
        self.follows_real_time()
    }
}

/// A stretch of constant offset, entered over a transition unless it is the one in which a search begins.
struct Stretch {
    offset: Offset,
    /// The transition that opens it and the offset before; `None` for the first one.
    entered: Option<(Timestamp, Offset)>,
    /// The transition that closes it and the offset after.
    left: Option<(Timestamp, Offset)>,
}

impl Stretch {
    fn holding(zone: &TimeZone, at: Timestamp) -> Self {
        let left = zone.following(at).next().map(|next| (next.timestamp(), next.offset()));
        Self { offset: zone.to_offset(at), entered: None, left }
    }

    fn next(&self, zone: &TimeZone) -> Option<Self> {
        let (at, offset) = self.left?;
        let left = zone.following(at).next().map(|next| (next.timestamp(), next.offset()));
        Some(Self { offset, entered: Some((at, self.offset)), left })
    }
}

/// The first instant strictly after `after` and not past `until` at which the times are due in the zone.
///
/// What follows real time ([`WallTimes::follows_real_time`]) runs through every stretch of constant offset;
/// what names wall-clock times happens once for each, as [`ClockChange`] says.
#[must_use]
pub fn next(
    expr: &impl WallTimes,
    zone: &TimeZone,
    change: ClockChange,
    after: Timestamp,
    until: Timestamp,
) -> Option<Timestamp> {
    let after = floor_to_second(after);
    let mut stretch = Stretch::holding(zone, after);
    let mut from = Some(first_search(expr, zone, change, after, stretch.offset));
    loop {
        if let Some((jump, before)) = stretch.entered {
            if jump > until {
                return None;
            }
            if fires_at_jump(expr, change, jump, before, stretch.offset) {
                return Some(jump);
            }
            from = Some((first_wall_time(expr, change, jump, before, stretch.offset), From::Including));
        }
        let (begin, bound) = from.take()?;
        let wall = expr.next_wall(begin, bound)?;
        let instant = stretch.offset.to_timestamp(wall).ok()?;
        let inside = stretch.left.is_none_or(|(end, _)| instant < end);
        if inside && !put_off(expr, change, &stretch, wall) {
            return (instant <= until).then_some(instant);
        }
        // A match far beyond the next changes of the clock: the stretches between hold nothing, unless clocks go back to
        // before where the search began.
        let far = instant - SignedDuration::from_hours(72);
        let passes = |(end, after): (Timestamp, Offset)| end < far && after.to_datetime(end) >= begin;
        stretch = if !inside && stretch.left.is_some_and(passes) {
            if far > until {
                return None;
            }
            let near = Stretch::holding(zone, far);
            from = Some((near.offset.to_datetime(far), From::Including));
            near
        } else {
            stretch.next(zone)?
        };
    }
}

/// Where a search begins. Inside an hour that is shown again, what was shown before does not count a second time.
fn first_search(
    expr: &impl WallTimes,
    zone: &TimeZone,
    change: ClockChange,
    after: Timestamp,
    offset: Offset,
) -> (DateTime, From) {
    let wall = offset.to_datetime(after);
    let second_later = after.saturating_add(SignedDuration::from_secs(1)).unwrap_or(after);
    let Some(jump) = zone.preceding(second_later).next().map(|transition| transition.timestamp()) else {
        return (wall, From::After);
    };
    let just_before = jump.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(jump);
    let first = first_wall_time(expr, change, jump, zone.to_offset(just_before), offset);
    if first > wall { (first, From::Including) } else { (wall, From::After) }
}

fn floor_to_second(at: Timestamp) -> Timestamp {
    let whole = at.as_second() - i64::from(at.subsec_nanosecond() < 0);
    Timestamp::from_second(whole).unwrap_or(at)
}

/// Whether wall-clock times that the jump leaves out happen at the jump.
fn fires_at_jump(
    expr: &impl WallTimes,
    change: ClockChange,
    jump: Timestamp,
    before: Offset,
    now: Offset,
) -> bool {
    let (low, high) = (before.to_datetime(jump), now.to_datetime(jump));
    if expr.follows_real_time()
        || change.gap == Gap::Skip
        || low >= high
        || high.duration_since(low) > GAP_MAX
    {
        return false;
    }
    expr.next_wall(low, From::Including).is_some_and(|wall| wall < high)
}

/// Where the search of a stretch begins: past what was already shown once, unless the second time counts.
fn first_wall_time(
    expr: &impl WallTimes,
    change: ClockChange,
    jump: Timestamp,
    before: Offset,
    now: Offset,
) -> DateTime {
    let shown = before.to_datetime(jump);
    let shows = now.to_datetime(jump);
    if expr.follows_real_time() || change.fold != Fold::First { shows } else { shows.max(shown) }
}

/// Whether a match is left to its second instant, behind the transition that ends the stretch.
fn put_off(expr: &impl WallTimes, change: ClockChange, stretch: &Stretch, wall: DateTime) -> bool {
    if expr.follows_real_time() || change.fold != Fold::Second {
        return false;
    }
    stretch.left.is_some_and(|(end, after)| wall >= after.to_datetime(end))
}

/// What becomes of one wall-clock time in a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// It comes once.
    Once(Timestamp),
    /// Clocks show it twice: the instants that count.
    Twice(Vec<Timestamp>),
    /// Clocks jump over it: it happens at the jump.
    Moved(Timestamp),
    /// Clocks jump over it, and it does not happen; the instant of the jump.
    LeftOut(Timestamp),
    /// It lies outside all time that can be told.
    Never,
}

impl Resolved {
    /// The instants at which it happens.
    #[must_use]
    pub fn instants(self) -> Vec<Timestamp> {
        match self {
            Self::Once(at) | Self::Moved(at) => vec![at],
            Self::Twice(instants) => instants,
            Self::LeftOut(_) | Self::Never => vec![],
        }
    }
}

/// What a single wall-clock time becomes in the zone.
#[must_use]
pub fn resolve(wall: DateTime, zone: &TimeZone, change: ClockChange) -> Resolved {
    use jiff::tz::AmbiguousOffset;
    let at = |offset: Offset| offset.to_timestamp(wall).ok();
    match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => at(offset).map_or(Resolved::Never, Resolved::Once),
        AmbiguousOffset::Fold { before, after } => {
            let chosen = match change.fold {
                Fold::First => vec![at(before)],
                Fold::Second => vec![at(after)],
                Fold::Both => vec![at(before), at(after)],
            };
            Resolved::Twice(chosen.into_iter().flatten().collect())
        }
        AmbiguousOffset::Gap { before, after } => {
            let length = SignedDuration::from_secs(i64::from(after.seconds() - before.seconds()));
            // Read with the offset before the jump, the time lies past it: the last transition by then is the jump.
            let jump = at(before).and_then(|past| zone.preceding(past + SignedDuration::from_secs(1)).next());
            match jump.map(|jump| jump.timestamp()) {
                Some(jump) if change.gap == Gap::After && length <= GAP_MAX => Resolved::Moved(jump),
                Some(jump) => Resolved::LeftOut(jump),
                None => Resolved::Never,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cron::Fields;

    fn fires(text: &str, zone: &str, change: ClockChange, from: &str, hours: i64) -> Vec<String> {
        let expr = CronExpr::parse(text, Fields::Five).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        let mut at: Timestamp = from.parse().unwrap();
        let until = at + SignedDuration::from_hours(hours);
        let mut found = Vec::new();
        while let Some(next) = next(&expr, &zone, change, at, until) {
            assert!(next > at, "the search went back");
            found.push(next.to_zoned(zone.clone()).strftime("%d %H:%M %z").to_string());
            at = next;
        }
        found
    }

    fn change(gap: Gap, fold: Fold) -> ClockChange {
        ClockChange { gap, fold }
    }

    // New York goes to summer time on 8 March 2026 at 02:00 and back on 1 November at 02:00.
    const SPRING: &str = "2026-03-08T05:00:00Z";
    const AUTUMN: &str = "2026-11-01T04:00:00Z";

    #[test]
    fn clock_changes_in_new_york_follow_crons_own_rules() {
        let plain = ClockChange::default();

        assert_eq!(fires("30 2 * * *", "America/New_York", plain, SPRING, 12), ["08 03:00 -0400"]);
        assert_eq!(fires("30 1 * * *", "America/New_York", plain, AUTUMN, 12), ["01 01:30 -0400"]);
        assert_eq!(
            fires("0 * * * *", "America/New_York", plain, AUTUMN, 3),
            ["01 01:00 -0400", "01 01:00 -0500", "01 02:00 -0500"]
        );
        assert_eq!(
            fires("0 2,14 * * *", "America/New_York", plain, SPRING, 18),
            ["08 03:00 -0400", "08 14:00 -0400"]
        );
        assert_eq!(
            fires("0 1,13 * * *", "America/New_York", plain, AUTUMN, 18),
            ["01 01:00 -0400", "01 13:00 -0500"]
        );
    }

    #[test]
    fn several_times_in_a_gap_collapse_into_the_jump_and_skip_drops_them() {
        let five = "0,15,30,45 2,3 * * *";

        let after = fires(five, "America/New_York", ClockChange::default(), SPRING, 5);
        let skip = fires(five, "America/New_York", change(Gap::Skip, Fold::First), SPRING, 5);

        assert_eq!(after, ["08 03:00 -0400", "08 03:15 -0400", "08 03:30 -0400", "08 03:45 -0400"]);
        assert_eq!(skip, after);
        assert!(
            fires("30 2 * * *", "America/New_York", change(Gap::Skip, Fold::First), SPRING, 12).is_empty()
        );
    }

    #[test]
    fn a_time_shown_twice_happens_at_the_instant_that_the_rule_names() {
        let zone = "America/New_York";

        let second = fires("30 1 * * *", zone, change(Gap::After, Fold::Second), AUTUMN, 12);
        let both = fires("30 1 * * *", zone, change(Gap::After, Fold::Both), AUTUMN, 12);

        assert_eq!(second, ["01 01:30 -0500"]);
        assert_eq!(both, ["01 01:30 -0400", "01 01:30 -0500"]);
        assert_eq!(
            fires("0 2 * * *", zone, change(Gap::After, Fold::Second), AUTUMN, 12),
            ["01 02:00 -0500"]
        );
    }

    #[test]
    fn a_search_that_begins_in_the_repeated_hour_finds_nothing_of_it_again() {
        // 01:10 for the second time; 01:30 was shown before.
        let found =
            fires("30 1 * * *", "America/New_York", ClockChange::default(), "2026-11-01T06:10:00Z", 30);
        let second = change(Gap::After, Fold::Second);

        assert_eq!(found, ["02 01:30 -0500"]);
        assert_eq!(
            fires("30 1 * * *", "America/New_York", second, "2026-11-01T06:10:00Z", 2),
            ["01 01:30 -0500"]
        );
        assert_eq!(
            fires("0 2 * * *", "America/New_York", ClockChange::default(), "2026-11-01T06:10:00Z", 2),
            ["01 02:00 -0500"]
        );
    }

    #[test]
    fn a_rare_time_that_is_shown_again_is_not_passed_over_on_the_way_to_the_next_date() {
        let second = change(Gap::After, Fold::Second);

        // 02:44 for the first time; 02:04 comes again at 19:04 UTC, and then not before the end of November.
        assert_eq!(
            fires("4 1,2 L * *", "Asia/Krasnoyarsk", second, "2004-10-30T18:44:42Z", 24),
            ["31 02:04 +0700"]
        );
        assert_eq!(
            fires("*/30 1 1 11 *", "America/New_York", ClockChange::default(), "2026-11-01T05:50:00Z", 24),
            ["01 01:00 -0500", "01 01:30 -0500"]
        );
        // Vostok went back by seven hours.
        assert_eq!(
            fires("29 19 L * *", "Antarctica/Vostok", second, "1994-01-31T16:06:29Z", 48),
            ["31 19:29 +0000"]
        );
    }

    #[test]
    fn a_day_that_a_zone_left_out_is_dropped() {
        // Apia crossed the date line: 30 December 2011 never was.
        let found = fires("0 9 * * *", "Pacific/Apia", ClockChange::default(), "2011-12-29T12:00:00Z", 60);

        assert_eq!(found, ["29 09:00 -1000", "31 09:00 +1400", "01 09:00 +1400"]);
    }

    #[test]
    fn a_rare_date_is_found_over_many_clock_changes() {
        let found = fires(
            "0 0 29 2 */6",
            "America/New_York",
            ClockChange::default(),
            "2026-11-23T00:00:00Z",
            24 * 366 * 40,
        );

        assert_eq!(found.first().map(String::as_str), Some("29 00:00 -0500"));
    }

    #[test]
    fn one_moment_is_resolved_by_the_same_rules() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let show = |wall: &str, change| -> Vec<String> {
            resolve(wall.parse().unwrap(), &zone, change).instants().iter().map(ToString::to_string).collect()
        };

        assert_eq!(show("2026-03-08T02:30", ClockChange::default()), ["2026-03-08T07:00:00Z"]);
        assert!(show("2026-03-08T02:30", change(Gap::Skip, Fold::First)).is_empty());
        assert_eq!(show("2026-11-01T01:30", ClockChange::default()), ["2026-11-01T05:30:00Z"]);
        assert_eq!(show("2026-11-01T01:30", change(Gap::After, Fold::Second)), ["2026-11-01T06:30:00Z"]);
        assert_eq!(show("2026-11-01T01:30", change(Gap::After, Fold::Both)).len(), 2);
    }

    #[test]
    fn fractions_of_a_second_never_bring_a_moment_forward() {
        let expr = CronExpr::parse("0 9 * * *", Fields::Five).unwrap();
        let until = "2026-11-30T00:00:00Z".parse().unwrap();

        let next = next(
            &expr,
            &TimeZone::UTC,
            ClockChange::default(),
            "2026-11-23T09:00:00.5Z".parse().unwrap(),
            until,
        );

        assert_eq!(next, Some("2026-11-24T09:00:00Z".parse().unwrap()));
    }
}
