//! When a rule is due: its times, its dates, its zone, and what becomes of each moment on odd days.

mod crons;
mod dates;
mod edges;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::calendar::Holiday;
use super::cron::CronExpr;
use super::hours::Hours;
use super::name::Action;
use super::zone::{ClockChange, Fold, Gap};
pub use dates::{Dates, ExceptEdge};
pub use edges::OpenSpan;

/// The times of a rule, before its dates are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Again and again, by a cron expression.
    Cron {
        /// The expression.
        expr: CronExpr,
        /// What is done each time.
        action: Action,
    },
    /// Started at the opening edges of spans, stopped at their closing edges.
    Hours(Hours),
    /// At named moments.
    At {
        /// The moments, sorted, each once.
        moments: Arc<[Moment]>,
        /// What is done at each.
        action: Action,
    },
}

/// One named moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When it is.
    pub at: Timestamp,
    /// The wall-clock time that was named, where clocks jump over it or show it twice.
    pub odd: Option<DateTime>,
}

/// When a rule is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The times.
    pub when: When,
    /// The zone whose wall clock they speak of.
    pub zone: TimeZone,
    /// What happens where clocks change.
    pub change: ClockChange,
    /// On which dates.
    pub dates: Dates,
    /// Up to how much later than planned each occurrence is due.
    pub jitter: Duration,
}

/// One moment of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// When it is planned; for what does not happen, when it would have been.
    pub at: Timestamp,
    /// What is done.
    pub action: Action,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a moment of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It happens as it was written.
    Due,
    /// It happens, and a clock change has a part in when.
    Moved(Move),
    /// It does not happen.
    Struck(Cause),
}

impl Fate {
    /// Whether it happens.
    #[must_use]
    pub fn happens(&self) -> bool {
        !matches!(self, Self::Struck(_))
    }
}

/// How a clock change has a part in a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Clocks jump over this time, so it happens at the jump.
    Jumped(DateTime),
    /// Clocks show this time twice, and this is the one that counts.
    Twice(DateTime),
}

/// Why a moment does not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A calendar takes its date out.
    Holiday(Holiday),
    /// Clocks jump over this time.
    Jumped(DateTime),
    /// Clocks jump over this time, and something else of the rule happens at the jump.
    Collapsed(DateTime),
    /// Clocks jump over the whole span.
    Empty(DateTime),
    /// A person's override holds it back; in words.
    Override(String),
}

fn wall_time(wall: &DateTime) -> String {
    let form = if wall.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    wall.strftime(form).to_string()
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jumped(wall) => write!(f, "clocks jump over {}", wall_time(wall)),
            Self::Twice(wall) => write!(f, "clocks show {} twice", wall_time(wall)),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holiday(holiday) => holiday.fmt(f),
            Self::Jumped(wall) => write!(f, "clocks jump over {}", wall_time(wall)),
            Self::Collapsed(wall) => {
                write!(f, "clocks jump over {}, and the rule acts at the jump anyway", wall_time(wall))
            }
            Self::Empty(wall) => write!(f, "clocks jump over the span that opens at {}", wall_time(wall)),
            Self::Override(words) => f.write_str(words),
        }
    }
}

impl Schedule {
    /// What is done at some time or other.
    #[must_use]
    pub fn actions(&self) -> Vec<Action> {
        match &self.when {
            When::Cron { action, .. } | When::At { action, .. } => vec![*action],
            When::Hours(hours) => {
                let edges = [(hours.opens(), Action::Start), (hours.closes(), Action::Stop)];
                edges.into_iter().filter(|(there, _)| *there).map(|(_, action)| action).collect()
            }
        }
    }

    /// What happens strictly after a moment, in order: no two at one instant. Lazy, and bounded by `until`.
    #[must_use]
    pub fn happening(&self, after: Timestamp, until: Timestamp) -> Happening<'_> {
        let stretch = edges::Stretch::from(self, after);
        Happening { schedule: self, after, until, stretch }
    }

    /// Everything strictly after a moment and not past another, in order: what happens, and what a calendar or a clock
    /// change takes out. Work and memory grow with the span.
    #[must_use]
    pub fn explained(&self, after: Timestamp, until: Timestamp) -> Vec<Planned> {
        let mut found = match &self.when {
            When::Cron { expr, action } => crons::explained(self, expr, *action, after, until),
            When::Hours(_) => edges::explained(self, after, until),
            When::At { moments, action } => {
                moments.iter().filter_map(|moment| self.judged(moment, *action)).collect()
            }
        };
        found.retain(|planned| planned.at > after && planned.at <= until);
        // What happens comes before what is struck at the same instant.
        found.sort_by_key(|planned| (planned.at, !planned.fate.happens()));
        found
    }

    /// The span of `hours` that holds a moment. `None` outside, and for every other kind of rule.
    #[must_use]
    pub fn open_span(&self, at: Timestamp) -> Option<OpenSpan> {
        edges::open_span(self, at)
    }

    /// The spans of `hours` that meet a stretch of time, joined, in order.
    #[must_use]
    pub fn spans(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        edges::spans(self, from, to)
    }

    /// How long after a moment of the schedule another may come, whatever calendars say. `None` if none does.
    #[must_use]
    pub fn room_after(&self, at: Timestamp) -> Option<SignedDuration> {
        match &self.when {
            When::Cron { expr, .. } => {
                let next = super::zone::next(expr, &self.zone, self.change, at, Timestamp::MAX)?;
                Some(next.duration_since(at))
            }
            When::Hours(hours) => {
                let times: Vec<i64> = hours.clock_times().into_iter().map(i64::from).collect();
                let first = times.first()? + 24 * 60;
                let later = times.iter().skip(1).copied().chain(std::iter::once(first));
                let gaps = times.iter().zip(later).map(|(one, other)| other - one);
                gaps.min().map(SignedDuration::from_mins)
            }
            When::At { moments, .. } => {
                let later = moments.partition_point(|moment| moment.at <= at);
                moments.get(later).map(|next| next.at.duration_since(at))
            }
        }
    }

    fn judged(&self, moment: &Moment, action: Action) -> Option<Planned> {
        let date = moment.odd.map_or_else(|| self.zone.to_datetime(moment.at).date(), DateTime::date);
        let fate = match (self.dates.judge(date), moment.odd) {
            (dates::Verdict::No, _) => return None,
            (dates::Verdict::Struck(holiday) | dates::Verdict::Excepted(holiday), _) => {
                Fate::Struck(Cause::Holiday(holiday))
            }
            (dates::Verdict::Kept, None) => Fate::Due,
            (dates::Verdict::Kept, Some(wall)) => {
                let shown = self.zone.to_datetime(moment.at);
                Fate::Moved(if shown == wall { Move::Twice(wall) } else { Move::Jumped(wall) })
            }
        };
        Some(Planned { at: moment.at, action, fate })
    }

    /// One line that is equal for two schedules exactly if they were written alike; what calendars say is not in it.
    #[must_use]
    pub fn written(&self) -> String {
        let gap = match self.change.gap {
            Gap::After => "after",
            Gap::Skip => "skip",
        };
        let fold = match self.change.fold {
            Fold::First => "first",
            Fold::Second => "second",
            Fold::Both => "both",
        };
        let zone = self.zone.iana_name().unwrap_or("fixed");
        let when = match &self.when {
            When::Cron { expr, action } => format!("cron {expr} {zone} gap={gap} fold={fold} {action}"),
            When::Hours(hours) => format!("hours {hours} {zone} gap={gap} fold={fold}"),
            When::At { moments, action } => {
                let moments: Vec<String> = moments.iter().map(|moment| moment.at.to_string()).collect();
                format!("at {} {zone} {action}", moments.join(","))
            }
        };
        format!(
            "{when}{}{}",
            self.dates.written(),
            match self.jitter.as_secs() {
                0 => String::new(),
                seconds => format!(" jitter={seconds}s"),
            }
        )
    }
}

/// What happens by a schedule, in order.
pub struct Happening<'a> {
    schedule: &'a Schedule,
    after: Timestamp,
    until: Timestamp,
    stretch: edges::Stretch<'a>,
}

impl Iterator for Happening<'_> {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let found = match &self.schedule.when {
            When::Cron { expr, action } => {
                let at = crons::next(self.schedule, expr, self.after, self.until)?;
                Planned { at, action: *action, fate: Fate::Due }
            }
            When::Hours(_) => self.stretch.next(self.after, self.until)?,
            When::At { moments, action } => {
                let later = moments.partition_point(|moment| moment.at <= self.after);
                let moments = moments.get(later..).unwrap_or_default().iter();
                let mut judged = moments.filter_map(|moment| self.schedule.judged(moment, *action));
                judged.find(|planned| planned.fate.happens())?
            }
        };
        if found.at > self.until {
            return None;
        }
        self.after = found.at;
        Some(found)
    }
}

/// How much later than planned an occurrence is due: the same on every machine and after every restart, and less than the
/// rooms, the times until another moment of the rule may come.
pub fn jitter(
    rule: &str,
    planned: Timestamp,
    rooms: [Option<SignedDuration>; 2],
    most: Duration,
) -> SignedDuration {
    let most = i64::try_from(most.as_secs()).unwrap_or(i64::MAX);
    let room = rooms.into_iter().flatten().map(|room| (room.as_secs() - 1).max(0)).min();
    let choices = u64::try_from(room.map_or(most, |room| most.min(room))).unwrap_or(0) + 1;
    let chosen = super::hash::stable(&format!("{rule} {}", planned.as_second())) % choices;
    SignedDuration::from_secs(i64::try_from(chosen).unwrap_or(0))
}
