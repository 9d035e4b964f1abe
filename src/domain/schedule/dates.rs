//! On which dates a rule keeps still, and on which it does not.

use jiff::civil::{Date, DateTime};

use crate::domain::calendar::{Calendars, Holiday, is_in_the_week};
use crate::domain::cron::{CronExpr, DayWord, From};
use crate::domain::hours::DaySet;
use crate::domain::zone::WallTimes;

/// Which edges of a span a calendar takes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExceptEdge {
    /// Both.
    #[default]
    Both,
    /// The opening edge alone: the closing edge happens all the same.
    Start,
}

/// The dates of a rule. For `hours` they are judged by the date of the opening edge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dates {
    /// What WORKDAYS and HOLIDAYS mean.
    pub calendar: Calendars,
    /// Not on the holidays of these.
    pub except: Calendars,
    /// On the dates of these alone; empty: on all.
    pub only: Calendars,
    /// Which edges `except` takes out.
    pub except_edge: ExceptEdge,
    /// The first date.
    pub from: Option<Date>,
    /// The last date.
    pub until: Option<Date>,
}

/// What the dates say of one date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The rule acts.
    Kept,
    /// It would, but for the calendar of a word for days.
    Struck(Holiday),
    /// It would, but for `except`.
    Excepted(Holiday),
    /// It does not.
    No,
}

impl Dates {
    /// What `except`, `only`, `from` and `until` say of a date.
    pub(super) fn judge(&self, date: Date) -> Verdict {
        let outside =
            self.from.is_some_and(|from| date < from) || self.until.is_some_and(|until| date > until);
        if outside || (!self.only.is_empty() && !self.only.is_holiday(date)) {
            return Verdict::No;
        }
        self.except.holiday(date).map_or(Verdict::Kept, Verdict::Excepted)
    }

    /// And what a word for days says.
    pub(super) fn judge_word(&self, word: Option<DayWord>, date: Date) -> Verdict {
        let by_word = match word {
            None => Verdict::Kept,
            Some(DayWord::Workdays) => self.workday(date),
            Some(DayWord::Holidays) if self.calendar.is_holiday(date) => Verdict::Kept,
            Some(DayWord::Holidays) => Verdict::No,
        };
        self.joined(by_word, date)
    }

    /// And what the days of a span say.
    pub(super) fn judge_days(&self, days: &DaySet, date: Date) -> Verdict {
        let named = days.names(date.weekday()) || (days.holidays && self.calendar.is_holiday(date));
        let by_days = match named {
            true => Verdict::Kept,
            false if days.workdays => self.workday(date),
            false => Verdict::No,
        };
        self.joined(by_days, date)
    }

    fn workday(&self, date: Date) -> Verdict {
        if self.calendar.is_working(date) {
            return Verdict::Kept;
        }
        match self.calendar.holiday(date).filter(|_| is_in_the_week(date)) {
            Some(holiday) => Verdict::Struck(holiday),
            None => Verdict::No,
        }
    }

    fn joined(&self, by_days: Verdict, date: Date) -> Verdict {
        match (by_days, self.judge(date)) {
            (Verdict::No, _) | (_, Verdict::No) => Verdict::No,
            (Verdict::Kept, by_dates) => by_dates,
            (by_days, _) => by_days,
        }
    }

    /// The first date on or after another that is worth a look: where few dates are possible, the others are passed over.
    pub(super) fn worth_a_look(&self, word: Option<DayWord>, from: Date) -> Option<Date> {
        let mut date = self.from.map_or(from, |first| first.max(from));
        if !self.only.is_empty() {
            date = self.only.next_holiday(date)?;
        }
        if word == Some(DayWord::Holidays) {
            date = self.calendar.next_holiday(date)?;
        }
        self.until.is_none_or(|until| date <= until).then_some(date)
    }

    /// The last date on which calendars, `from` and `until` can still make a difference.
    pub(super) fn settled_after(&self) -> Option<Date> {
        let calendars = [&self.calendar, &self.except, &self.only].map(Calendars::known_until);
        calendars.into_iter().chain([self.from, self.until]).flatten().max()
    }

    /// What was written, without what the calendars say.
    pub(super) fn written(&self) -> String {
        let mut words = String::new();
        for (key, calendars) in [("calendar", &self.calendar), ("except", &self.except), ("only", &self.only)]
        {
            if !calendars.is_empty() {
                let names: Vec<&str> = calendars.names().map(|name| name.as_str()).collect();
                words.push_str(&format!(" {key}={}", names.join("+")));
            }
        }
        for (key, date) in [("from", self.from), ("until", self.until)] {
            if let Some(date) = date {
                words.push_str(&format!(" {key}={date}"));
            }
        }
        if self.except_edge == ExceptEdge::Start {
            words.push_str(" except_edge=start");
        }
        words
    }

    /// What the calendars say, as one short word; empty without calendars.
    #[must_use]
    pub fn digest(&self) -> String {
        let all = [&self.calendar, &self.except, &self.only];
        if all.iter().all(|calendars| calendars.is_empty()) {
            return String::new();
        }
        let digests: Vec<String> = all.iter().map(|calendars| format!("{:x}", calendars.digest())).collect();
        format!(" dates={:016x}", crate::domain::hash::stable(&digests.join(" ")))
    }
}

/// A cron expression on the dates of a rule.
pub(super) struct Dated<'a> {
    pub(super) expr: &'a CronExpr,
    pub(super) dates: &'a Dates,
    /// Whether what a calendar strikes is found too.
    pub(super) struck: Struck,
}

/// Whether a search finds what a calendar strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Struck {
    /// It does.
    Found,
    /// It passes over it.
    PassedOver,
}

impl WallTimes for Dated<'_> {
    fn next_wall(&self, from: DateTime, bound: From) -> Option<DateTime> {
        let word = self.expr.day_word();
        let (mut from, mut bound) = (from, bound);
        loop {
            let date = self.dates.worth_a_look(word, from.date())?;
            if date > from.date() {
                (from, bound) = (date.at(0, 0, 0, 0), From::Including);
            }
            let wall = self.expr.next_civil(from, bound)?;
            match self.dates.judge_word(word, wall.date()) {
                Verdict::Kept => return Some(wall),
                Verdict::Struck(_) | Verdict::Excepted(_) if self.struck == Struck::Found => {
                    return Some(wall);
                }
                Verdict::Struck(_) | Verdict::Excepted(_) | Verdict::No => {
                    if self.dates.until.is_some_and(|until| wall.date() > until) {
                        return None;
                    }
                    (from, bound) = (wall.date().tomorrow().ok()?.at(0, 0, 0, 0), From::Including);
                }
            }
        }
    }

    fn follows_real_time(&self) -> bool {
        self.expr.follows_real_time()
    }
}
