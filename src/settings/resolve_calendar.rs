//! From raw calendars to calendars: computed holidays, files, dates and ranges, workdays, and what is cancelled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::Date;

use super::diagnostics::{Problem, did_you_mean, words};
use super::raw::{self, At};
use super::resolve::{Resolver, remedy_for};
use super::sources::stale_words;
use crate::domain::calendar::{Calendar, Calendars, Days, Parts, korea};
use crate::domain::guard;
use crate::domain::name::CalendarName;

/// The most characters of a pattern for titles.
const PATTERN_CHARS_MAX: usize = 100;
/// The first and the last year of which dates may be named: rules are looked through day by day.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2199;
/// The most dates that one range may hold.
const RANGE_DAYS_MAX: i64 = 366;

/// The calendars of a file: the names that stand in it, and those that could be resolved.
pub(super) struct Shelved {
    pub(super) names: BTreeSet<String>,
    pub(super) resolved: BTreeMap<CalendarName, Arc<Calendar>>,
}

impl Resolver<'_> {
    pub(super) fn calendars(&mut self, raw: Vec<(At<String>, raw::Calendar)>) -> Shelved {
        let mut shelved = Shelved { names: BTreeSet::new(), resolved: BTreeMap::new() };
        for (name, raw) in raw {
            shelved.names.insert(name.value.clone());
            let calendar_name = self.name("a calendar", &name, CalendarName::new);
            let calendar = self.calendar(&name, &raw);
            if let (Some(name), Some(calendar)) = (calendar_name, calendar) {
                shelved.resolved.insert(name, Arc::new(calendar));
            }
        }
        shelved
    }

    /// The calendars that a key names, joined. One that is unknown is told, and the others are taken.
    pub(super) fn named_calendars(&mut self, shelved: &Shelved, wanted: &[At<String>]) -> Calendars {
        let known: Vec<&str> = shelved.names.iter().map(String::as_str).collect();
        let mut found: Vec<(CalendarName, Arc<Calendar>)> = Vec::new();
        for name in wanted {
            if !shelved.names.contains(&name.value) {
                let remedy = match name.value == korea::NAME {
                    true => "add `[calendars.kr]` with `builtin = \"kr\"`".to_owned(),
                    false => remedy_for(&name.value, &known, "calendar"),
                };
                self.error(name, format!("unknown calendar `{}`", name.value), "no such calendar", &remedy);
                continue;
            }
            let resolved = shelved.resolved.iter().find(|(known, _)| known.as_str() == name.value);
            if let Some((name, calendar)) = resolved
                && !found.iter().any(|(known, _)| known == name)
            {
                found.push((name.clone(), Arc::clone(calendar)));
            }
        }
        Calendars::new(found)
    }

    fn calendar(&mut self, name: &At<String>, raw: &raw::Calendar) -> Option<Calendar> {
        let mut parts = Parts::default();
        let mut is_complete = true;
        let only_builtin =
            raw.ics.is_none() && [&raw.dates, &raw.workdays, &raw.cancel].iter().all(|list| list.is_empty());
        if raw.builtin.is_none() && only_builtin {
            let title = format!("calendar `{}` names no date", name.value);
            let remedy = "add `builtin = \"kr\"`, `ics = \"FILE\"` or `dates = [\"2026-12-31\"]`";
            self.problems.push(Problem::warning(name.span.clone(), title, "nothing stands in it", remedy));
        }
        if let Some(builtin) = &raw.builtin {
            match self.builtin(builtin) {
                Some((days, until)) => {
                    parts.title = only_builtin.then_some("public holidays of Korea");
                    parts.computed_until = Some(until);
                    parts.holidays.push(days);
                }
                None => is_complete = false,
            }
        }
        match (&raw.ics, &raw.ics_match) {
            (Some(path), patterns) => match self.ics(path, patterns.as_deref()) {
                Some(days) => parts.holidays.push(days),
                None => is_complete = false,
            },
            (None, Some(patterns)) => {
                if let Some(first) = patterns.first() {
                    let title = "`ics_match` picks events of a file, and no file is named".to_owned();
                    self.error(
                        first,
                        title,
                        "`ics` is missing",
                        "add `ics = \"FILE\"`, or remove `ics_match`",
                    );
                }
            }
            (None, None) => {}
        }
        parts.holidays.push(self.days(&raw.dates, &name.value));
        parts.workdays = self.days(&raw.workdays, "workday");
        parts.cancelled = self.days(&raw.cancel, "cancelled");
        for day in &raw.cancel {
            let Some((first, last, _)) = read_days(&day.value) else { continue };
            let known = parts.holidays.iter().any(|days| days.range(first..=last).next().is_some());
            if is_complete && !known {
                let title = format!("`{}` is cancelled and was no holiday", day.value);
                let remedy = "remove it, or mend the date";
                self.problems.push(Problem::warning(day.span.clone(), title, "nothing to cancel", remedy));
            }
        }
        is_complete.then(|| Calendar::new(parts))
    }

    fn builtin(&mut self, builtin: &At<String>) -> Option<(Days, Date)> {
        let found = self.shelf.builtin(&builtin.value);
        let Some(found) = found else {
            let remedy = match did_you_mean(&builtin.value, [korea::NAME]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "there is `kr`: the public holidays of Korea".into(),
            };
            let title = format!("unknown built-in calendar `{}`", builtin.value);
            self.error(builtin, title, "not built in", &remedy);
            return None;
        };
        self.sources.builtin.insert(builtin.value.clone(), found.clone());
        Some((found.days, found.until))
    }

    fn ics(&mut self, path: &At<String>, patterns: Option<&[At<String>]>) -> Option<Days> {
        let found = match self.shelf.file(&path.value) {
            Ok(found) => found,
            Err(problem) => {
                let title = format!("the calendar file `{}` cannot be used", path.value);
                let remedy = match problem.contains("(os error") {
                    _ if problem.starts_with("it names more than") => {
                        "leave out events that are long past, or that repeat day by day without end"
                    }
                    true => {
                        "put an iCalendar file there that this user may read; paths begin at this file's folder"
                    }
                    false => "export the calendar again as an iCalendar file in UTF-8",
                };
                self.error(path, title, &problem, remedy);
                return None;
            }
        };
        if let Some(problem) = found.stale {
            let title = format!("the calendar file `{}` cannot be used", path.value);
            self.stale.push(stale_words(&path.value, &problem));
            let remedy = "its last good content stays in force; mend the file";
            self.problems.push(Problem::warning(path.span.clone(), title, problem, remedy));
        }
        self.sources.files.insert(path.value.clone(), found.days.clone());
        let patterns = patterns.map(|patterns| self.patterns_of_titles(patterns));
        let picked = |title: &str| {
            let title = title.to_lowercase();
            patterns.as_ref().is_none_or(|all| all.iter().any(|pattern| guard::glob_matches(pattern, &title)))
        };
        let days: Days = found.days.into_iter().filter(|(_, title)| picked(title)).collect();
        if days.is_empty() {
            let title = format!("no all-day event of `{}` counts", path.value);
            let cause = "timed events are passed over, and `ics_match` picks by the whole title";
            let remedy = "look into the file, or write patterns such as \"*holiday*\"";
            self.problems.push(Problem::warning(path.span.clone(), title, cause, remedy));
        }
        Some(days)
    }

    /// Patterns for titles, where upper and lower case are the same.
    fn patterns_of_titles(&mut self, patterns: &[At<String>]) -> Vec<String> {
        let mut found = Vec::new();
        for pattern in patterns {
            if pattern.value.chars().count() > PATTERN_CHARS_MAX {
                let title = format!("a pattern has more than {PATTERN_CHARS_MAX} characters");
                self.error(
                    pattern,
                    title,
                    "no title is that long",
                    "write a part of the title, such as \"*holiday*\"",
                );
                continue;
            }
            found.push(pattern.value.to_lowercase());
        }
        found
    }

    /// Dates and ranges with their names.
    fn days(&mut self, raw: &[At<String>], unnamed: &str) -> Days {
        let mut days = Days::new();
        for day in raw {
            let Some((first, last, name)) = read_days(&day.value) else {
                let title = format!("`{}` is no date", day.value);
                let remedy = "write `2026-12-31`, `2026-12-28..2027-01-02`, or either with a name behind: `2026-12-31 year end`";
                self.error(day, title, "not understood", remedy);
                continue;
            };
            if last < first || last.duration_since(first).as_hours() / 24 >= RANGE_DAYS_MAX {
                let title = format!("`{}` is no range of dates", day.value);
                let cause = if last < first { "it runs backward" } else { "it is longer than a year" };
                self.error(day, title, cause, "write the first date, two dots and the last date");
                continue;
            }
            let name = name.map_or_else(|| unnamed.to_owned(), |name| words(&name));
            let mut date = first;
            while date <= last {
                days.entry(date).or_insert_with(|| name.clone());
                match date.tomorrow() {
                    Ok(next) => date = next,
                    Err(_) => break,
                }
            }
        }
        days
    }
}

/// `2026-12-28..2027-01-02 winter break`: the first date, the last one and the name.
fn read_days(text: &str) -> Option<(Date, Date, Option<String>)> {
    let text = text.trim();
    let (dates, name) = match text.split_once(char::is_whitespace) {
        Some((dates, name)) => (dates, Some(name.trim().to_owned())),
        None => (text, None),
    };
    // Who writes more dates or a dash behind the first date means a range, and must not get one day.
    let odd = |name: &String| {
        name.starts_with(['.', '-', '–', '—', '~'])
            || name.split_whitespace().next().is_some_and(|word| read_date(word).is_some())
    };
    if name.as_ref().is_some_and(odd) {
        return None;
    }
    let (first, last) = dates.split_once("..").unwrap_or((dates, dates));
    Some((read_date(first)?, read_date(last)?, name.filter(|name| !name.is_empty())))
}

/// A date as `2026-12-31`, and in no other form, in [`YEARS`].
pub(super) fn read_date(text: &str) -> Option<Date> {
    let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    text.parse::<Date>().ok().filter(|date| plain && YEARS.contains(&date.year()))
}
