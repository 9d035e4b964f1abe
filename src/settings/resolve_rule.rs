//! From a raw rule to a rule: when, what, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::diagnostics::Problem;
use super::duration;
use super::raw::{self, At};
use super::resolve::{Resolver, remedy_for};
use super::resolve_calendar::{Shelved, read_date};
use super::resolve_moment::moments;
use crate::domain::calendar::Calendars;
use crate::domain::cron::{CronExpr, Fields, From};
use crate::domain::hours::Hours;
use crate::domain::misread::Misread;
use crate::domain::name::{Action, GroupName, RuleName};
use crate::domain::order::Chains;
use crate::domain::rule::{AfterKeep, HandStopped, Missed, Rule, WINDOW_DEFAULT};
use crate::domain::schedule::{Dates, ExceptEdge, Schedule, When};
use crate::domain::target::ATTEMPT_LIMIT;
use crate::domain::zone::{ClockChange, Fold, Gap};

/// The longest jitter.
const JITTER_MAX: Duration = Duration::from_hours(24);

/// A list of names with its place.
type List = (Range<usize>, Vec<At<String>>);

/// Reads rules; equal expressions share one parsed form.
pub(super) struct RuleReader<'a> {
    timezone: Option<TimeZone>,
    groups: &'a BTreeSet<String>,
    chains: &'a Chains,
    shelved: &'a Shelved,
    calendar: Calendars,
    parsed: BTreeMap<(String, Fields), CronExpr>,
}

/// What a rule does, before its times are known.
struct Deeds {
    start: Option<List>,
    stop: Option<List>,
    run: Option<List>,
}

impl<'a> RuleReader<'a> {
    pub(super) fn new(
        timezone: Option<TimeZone>,
        groups: &'a BTreeSet<String>,
        chains: &'a Chains,
        shelved: &'a Shelved,
        calendar: Calendars,
    ) -> Self {
        Self { timezone, groups, chains, shelved, calendar, parsed: BTreeMap::new() }
    }

    pub(super) fn rule(
        &mut self,
        resolver: &mut Resolver<'_>,
        name: &At<String>,
        mut raw: raw::Rule,
    ) -> Option<Rule> {
        let rule_name = resolver.name("a rule", name, RuleName::new);
        let zone = self.zone(resolver, name, raw.timezone.take());
        let change = change(resolver, &raw);
        let dates = self.dates(resolver, &raw);
        let deeds = Deeds { start: raw.start.take(), stop: raw.stop.take(), run: raw.run.take() };
        let deed = self.deed(resolver, name, deeds, raw.hours.is_some());
        let action = deed.as_ref().map_or(Action::Start, |(action, _)| *action);
        let when = self.when(resolver, name, &raw, zone.as_ref(), change, action);
        let choices = [("run", Missed::Run), ("skip", Missed::Skip)];
        let missed = raw.missed.as_ref().and_then(|missed| resolver.choice(missed, &choices));
        let choices = [("apply", AfterKeep::Apply), ("leave", AfterKeep::Leave)];
        let after_keep = raw.after_keep.as_ref().and_then(|word| resolver.choice(word, &choices));
        let choices = [("start", HandStopped::Start), ("leave", HandStopped::Leave)];
        let hand_stopped = raw.hand_stopped.as_ref().and_then(|word| resolver.choice(word, &choices));
        let groups = deed.as_ref().map(|(_, groups)| groups.as_slice()).unwrap_or_default();
        let is_hours = raw.hours.is_some();
        let acts = |of: Action| is_hours || action == of;
        let both = said_window(resolver, raw.window.take());
        let start = said_window(resolver, raw.start_window.take()).or_else(|| both.clone());
        let start_window = self.window(resolver, start, Action::Start, groups, acts(Action::Start));
        let stop = said_window(resolver, raw.stop_window.take()).or(both);
        let stop_window = self.window(resolver, stop, Action::Stop, groups, acts(Action::Stop));
        let jitter = jitter(resolver, raw.jitter);
        let schedule = Schedule { when: when?, zone: zone?, change, dates: dates?, jitter };
        let rule = Rule {
            name: rule_name?,
            schedule,
            groups: deed?.1,
            start_window,
            stop_window,
            missed: missed.unwrap_or_default(),
            after_keep: after_keep.unwrap_or_default(),
            hand_stopped: hand_stopped.unwrap_or_default(),
            enabled: raw.enabled.is_none_or(|enabled| enabled.value),
            note: raw.note.map(|note| note.value),
        };
        must_ever_act(resolver, name, &rule);
        Some(rule)
    }

    /// How long after due the rule may act: as it says, or long enough for the longest chain of `after`.
    fn window(
        &self,
        resolver: &mut Resolver<'_>,
        said: Option<(At<String>, Duration)>,
        action: Action,
        groups: &[GroupName],
        acts: bool,
    ) -> Duration {
        let chain = self.chains.of(groups, action);
        let Some((place, window)) = said else { return WINDOW_DEFAULT + chain };
        if acts && window < chain {
            let title =
                format!("the window `{}` is shorter than what the {action} may wait for", place.value);
            let cause = format!("the groups that it waits for may take {}", duration::show(chain));
            let remedy = format!("write at least `{}`, or remove it", duration::show(WINDOW_DEFAULT + chain));
            resolver.problems.push(Problem::warning(place.span, title, cause, remedy));
        }
        window
    }

    fn zone(
        &self,
        resolver: &mut Resolver<'_>,
        name: &At<String>,
        zone: Option<At<String>>,
    ) -> Option<TimeZone> {
        match (zone, &self.timezone) {
            (Some(zone), _) => resolver.zone(&zone),
            (None, Some(zone)) => Some(zone.clone()),
            (None, None) if resolver.has_mistyped_zone() => None,
            (None, None) => {
                let title = format!("rule `{}` has no time zone", name.value);
                let cause = "the machine's own zone is never used";
                resolver.error(
                    name,
                    title,
                    cause,
                    "add `timezone = \"Asia/Seoul\"` to the rule or at the top of the file",
                );
                None
            }
        }
    }

    /// What the rule follows: exactly one of `cron`, `hours` and `at`.
    fn when(
        &mut self,
        resolver: &mut Resolver<'_>,
        name: &At<String>,
        raw: &raw::Rule,
        zone: Option<&TimeZone>,
        change: ClockChange,
        action: Action,
    ) -> Option<When> {
        if let (Some(seconds), None) = (&raw.seconds, &raw.cron) {
            let title = "`seconds` goes with `cron` alone".to_owned();
            resolver.error(seconds, title, "nothing here has a field for seconds", "remove it");
        }
        match (&raw.cron, &raw.hours, &raw.at) {
            (Some(cron), None, None) => {
                let expr = self.cron(resolver, cron, raw.seconds.as_ref())?;
                self.explained(resolver, cron, expr.day_word().is_some(), raw)?;
                teach(resolver, cron, &expr);
                Some(When::Cron { expr, action })
            }
            (None, Some(hours), None) => {
                let read = told(resolver, hours, "are no hours", Hours::parse(&hours.value))?;
                self.explained(resolver, hours, read.needs_calendar(), raw)?;
                Some(When::Hours(read))
            }
            (None, None, Some(at)) => {
                // Where the zone is wrong, what is no moment in any zone is told all the same.
                let read = moments(resolver, name, at, zone.unwrap_or(&TimeZone::UTC), change, action);
                read.filter(|_| zone.is_some())
            }
            (None, None, None) if resolver.has_mistyped(&name.value, &["hours", "cron", "at"]) => None,
            (None, None, None) => {
                let title = format!("rule `{}` does not say when", name.value);
                resolver.error(
                    name,
                    title,
                    "`hours`, `cron` or `at` is missing",
                    "add `hours = \"MON-FRI 08:50-19:30\"`, `cron = \"50 8 * * MON-FRI\"` or `at = \"2026-12-01T08:00\"`",
                );
                None
            }
            _ => {
                let title = format!("rule `{}` has more than one of `cron`, `hours` and `at`", name.value);
                resolver.error(name, title, "a rule has one of them", "make several rules of it");
                None
            }
        }
    }

    /// WORKDAYS and HOLIDAYS mean nothing without a calendar.
    fn explained(
        &self,
        resolver: &mut Resolver<'_>,
        text: &At<String>,
        needed: bool,
        raw: &raw::Rule,
    ) -> Option<()> {
        let named = raw.calendar.as_ref().map_or(!self.calendar.is_empty(), |list| !list.is_empty());
        // A calendar that could not be read is told where it stands.
        if !needed || named || !self.shelved.names.is_empty() && self.calendar_is_broken(raw) {
            return Some(());
        }
        let upper = text.value.to_ascii_uppercase();
        let word = ["WORKDAYS", "HOLIDAYS"].into_iter().find_map(|word| Some((upper.find(word)?, word)));
        let (at, word) = word.unwrap_or((0, "WORKDAYS"));
        let span = inside(text, &(at..at + word.len()));
        let remedy = "add `calendar = \"NAME\"` to the rule or at the top of the file, and `[calendars.NAME]`, such as with \
                      `builtin = \"kr\"`";
        let title = format!("`{word}` needs a calendar");
        resolver.problems.push(Problem::error(span, title, "no calendar says which days these are", remedy));
        None
    }

    fn calendar_is_broken(&self, raw: &raw::Rule) -> bool {
        raw.calendar.is_none() && self.shelved.names.len() != self.shelved.resolved.len()
    }

    fn dates(&self, resolver: &mut Resolver<'_>, raw: &raw::Rule) -> Option<Dates> {
        let calendar = match &raw.calendar {
            Some(names) => resolver.named_calendars(self.shelved, names),
            None => self.calendar.clone(),
        };
        let word_needed = raw.cron.iter().chain(&raw.hours).any(|text| {
            let upper = text.value.to_ascii_uppercase();
            upper.contains("WORKDAYS") || upper.contains("HOLIDAYS")
        });
        let except = resolver.named_calendars(self.shelved, &raw.except);
        let only = resolver.named_calendars(self.shelved, &raw.only);
        let edges = [("both", ExceptEdge::Both), ("start", ExceptEdge::Start)];
        let except_edge = raw.except_edge.as_ref().and_then(|edge| resolver.choice(edge, &edges));
        if let Some(edge) = &raw.except_edge
            && (raw.hours.is_none() || raw.except.is_empty())
        {
            let title = "`except_edge` needs `hours` and `except`".to_owned();
            let remedy = "remove it, or add `except = [\"CALENDAR\"]`; WORKDAYS leaves both edges out";
            resolver.error(edge, title, "there is no edge that it could keep", remedy);
        }
        let (from, until) = (date(resolver, raw.from.as_ref()), date(resolver, raw.until.as_ref()));
        if let (Some(first), Some(last), Some(until)) = (from, until, &raw.until)
            && last < first
        {
            let title = format!("the rule ends on {last}, before it begins on {first}");
            resolver.error(until, title, "no date is left", "mend `from` or `until`; both are included");
            return None;
        }
        // A calendar that no word of the rule asks for is not part of its schedule.
        let calendar = if word_needed { calendar } else { Calendars::default() };
        Some(Dates { calendar, except, only, except_edge: except_edge.unwrap_or_default(), from, until })
    }

    fn cron(
        &mut self,
        resolver: &mut Resolver<'_>,
        cron: &At<String>,
        seconds: Option<&At<bool>>,
    ) -> Option<CronExpr> {
        let fields = if seconds.is_some_and(|seconds| seconds.value) { Fields::Six } else { Fields::Five };
        let key = (cron.value.clone(), fields);
        if let Some(expr) = self.parsed.get(&key) {
            return Some(expr.clone());
        }
        let read = CronExpr::parse(&cron.value, fields);
        let also = if read.is_err() { CronExpr::misread_fields(&cron.value, fields) } else { Vec::new() };
        let read = told(resolver, cron, "is no cron expression", read);
        // The first of them is told.
        for misread in also.into_iter().skip(1) {
            told::<()>(resolver, cron, "is no cron expression", Err(misread));
        }
        let expr = read?;
        self.parsed.insert(key, expr.clone());
        Some(expr)
    }

    /// What is done, and to which groups. The action is that of `cron` and `at`; `hours` have both.
    fn deed(
        &self,
        resolver: &mut Resolver<'_>,
        name: &At<String>,
        deeds: Deeds,
        is_hours: bool,
    ) -> Option<(Action, Vec<GroupName>)> {
        let (action, list) = match (is_hours, deeds) {
            (true, Deeds { start: None, stop: None, run: Some(run) }) => (Action::Start, run),
            (false, Deeds { start: Some(start), stop: None, run: None }) => (Action::Start, start),
            (false, Deeds { start: None, stop: Some(stop), run: None }) => (Action::Stop, stop),
            (_, Deeds { start: None, stop: None, run: None })
                if resolver.has_mistyped(&name.value, &["start", "stop", "run"]) =>
            {
                return None;
            }
            (true, Deeds { start: None, stop: None, run: None }) => {
                let title = format!("rule `{}` does not say what to run", name.value);
                resolver.error(name, title, "`run` is missing", "add `run = [\"GROUP\"]`");
                return None;
            }
            (false, Deeds { start: None, stop: None, run: None }) => {
                let title = format!("rule `{}` does not say what to do", name.value);
                let remedy = "add `start = [\"GROUP\"]` or `stop = [\"GROUP\"]`";
                resolver.error(name, title, "`start` or `stop` is missing", remedy);
                return None;
            }
            (true, Deeds { start, stop, .. }) => {
                let span = start.or(stop).map_or_else(|| name.span.clone(), |(span, _)| span);
                let title = format!("rule `{}` has `hours` with `start` or `stop`", name.value);
                let cause = "hours start at one edge and stop at the other";
                let remedy = "write `run = [\"GROUP\"]`; for one edge alone, `hours = \"MON-FRI 08:50-\"`";
                resolver.problems.push(Problem::error(span, title, cause, remedy));
                return None;
            }
            (false, Deeds { run: Some((span, _)), .. }) => {
                let title = format!("rule `{}` has `run` without `hours`", name.value);
                let remedy = "write `start` or `stop`, or say `hours = \"MON-FRI 08:50-19:30\"`";
                resolver.problems.push(Problem::error(span, title, "`run` goes with `hours` alone", remedy));
                return None;
            }
            (false, Deeds { start: Some((span, _)), .. }) => {
                let title = format!("rule `{}` has both `start` and `stop`", name.value);
                let remedy = "make two rules of it, or say both edges with `hours`";
                resolver.problems.push(Problem::error(span, title, "a rule has one of them", remedy));
                return None;
            }
        };
        Some((action, self.groups(resolver, name, list)?))
    }

    fn groups(
        &self,
        resolver: &mut Resolver<'_>,
        name: &At<String>,
        (span, list): List,
    ) -> Option<Vec<GroupName>> {
        if list.is_empty() {
            let title = format!("rule `{}` names no group", name.value);
            resolver.problems.push(Problem::error(span, title, "an empty list does nothing", "name a group"));
            return None;
        }
        let mut groups: Vec<GroupName> = Vec::new();
        for group in list {
            if !self.groups.contains(&group.value) {
                let known: Vec<&str> = self.groups.iter().map(String::as_str).collect();
                let remedy = remedy_for(&group.value, &known, "group");
                resolver.error(&group, format!("unknown group `{}`", group.value), "no such group", &remedy);
            } else if let Ok(found) = GroupName::new(&group.value)
                && !groups.contains(&found)
            {
                groups.push(found);
            }
        }
        Some(groups)
    }
}

/// A window that the file names, with its place.
fn said_window(resolver: &mut Resolver<'_>, said: Option<At<String>>) -> Option<(At<String>, Duration)> {
    // A window that no request fits into could never act.
    let least = ATTEMPT_LIMIT + Duration::from_secs(5);
    said.map(|said| (said.clone(), resolver.duration(Some(said), least, WINDOW_DEFAULT)))
}

/// What was read, or its trouble told at its place.
fn told<T>(
    resolver: &mut Resolver<'_>,
    text: &At<String>,
    what: &str,
    read: Result<T, Misread>,
) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(error) => {
            let title = format!("`{}` {what}", text.value);
            let span = inside(text, &error.span);
            resolver.problems.push(Problem::error(span, title, error.problem, error.remedy));
            None
        }
    }
}

fn change(resolver: &mut Resolver<'_>, raw: &raw::Rule) -> ClockChange {
    let gaps = [("after", Gap::After), ("skip", Gap::Skip)];
    let folds = [("first", Fold::First), ("second", Fold::Second), ("both", Fold::Both)];
    let gap = raw.gap.as_ref().and_then(|gap| resolver.choice(gap, &gaps));
    let fold = raw.fold.as_ref().and_then(|fold| resolver.choice(fold, &folds));
    if raw.hours.is_some() {
        let cause = "each edge of `hours` happens exactly once, or servers would stay up or down";
        if let (Some(at), Some(Gap::Skip)) = (&raw.gap, gap) {
            let title = "`gap = \"skip\"` does not go with `hours`".to_owned();
            resolver.error(at, title, cause, "remove it: the edge happens where the clock jumps to");
        }
        if let (Some(at), Some(Fold::Both)) = (&raw.fold, fold) {
            let title = "`fold = \"both\"` does not go with `hours`".to_owned();
            resolver.error(at, title, cause, "write \"first\" or \"second\"");
        }
    }
    ClockChange { gap: gap.unwrap_or_default(), fold: fold.unwrap_or_default() }
}

fn jitter(resolver: &mut Resolver<'_>, raw: Option<At<String>>) -> Duration {
    let Some(raw) = raw else { return Duration::ZERO };
    let longest = raw.clone();
    let jitter = resolver.duration(Some(raw), Duration::ZERO, Duration::ZERO);
    if jitter > JITTER_MAX {
        let title = format!("`{}` is too long", longest.value);
        resolver.error(&longest, title, "a day is the longest", "write at most `24h`");
    }
    jitter.min(JITTER_MAX)
}

fn date(resolver: &mut Resolver<'_>, raw: Option<&At<String>>) -> Option<Date> {
    let raw = raw?;
    let date = read_date(&raw.value);
    if date.is_none() {
        let title = format!("`{}` is no date", raw.value);
        resolver.error(
            raw,
            title,
            "not understood",
            "write a date from 1970-01-01 to 2199-12-31, such as \"2026-12-01\"",
        );
    }
    date
}

/// A rule that never acts is a slip. Whether it does is asked of all time, so the answer does not depend on today.
fn must_ever_act(resolver: &mut Resolver<'_>, name: &At<String>, rule: &Rule) {
    let begin = Timestamp::UNIX_EPOCH;
    if rule.schedule.happening(begin, Timestamp::MAX).next().is_some() {
        return;
    }
    let title = format!("rule `{}` never does anything", name.value);
    let dates = &rule.schedule.dates;
    if [&dates.calendar, &dates.except, &dates.only].iter().any(|calendars| !calendars.is_empty()) {
        // What calendars say may change without the file, and must not make it invalid.
        let remedy = "mend `except`, `only` or the calendars, or remove the rule";
        let cause = "its calendars leave no date";
        resolver.problems.push(Problem::warning(name.span.clone(), title, cause, remedy));
        return;
    }
    let (cause, remedy) = match &rule.schedule.when {
        When::Hours(_) if rule.schedule.open_span(begin).is_some() => (
            "its spans join to one without end",
            "leave a time at which servers stop, or start them once with `at`",
        ),
        _ => ("its times and its dates never meet", "mend `except`, `only`, `from`, `until` or the days"),
    };
    resolver.error(name, title, cause, remedy);
}

/// Warns of expressions that mean something else than most people think.
fn teach(resolver: &mut Resolver<'_>, cron: &At<String>, expr: &CronExpr) {
    let mut warn = |title: String, cause: &str, remedy: &str| {
        resolver.problems.push(Problem::warning(cron.span.clone(), title, cause, remedy));
    };
    // The first of January of a year without a 29 February.
    let begin = DateTime::constant(2001, 1, 1, 0, 0, 0, 0);
    let Some(first) = expr.next_civil(begin, From::Including) else { return };
    if first.year() == 2004 && (first.month(), first.day()) == (2, 29) {
        warn(
            format!("`{}` comes in leap years alone", cron.value),
            "29 February",
            "for the end of February in every year write `L` as the day of month",
        );
    }
    let second = expr.next_civil(first, From::After);
    if second.is_some_and(|second| second.duration_since(first).as_secs() < 60) {
        let title = format!("`{}` fires more than once a minute", cron.value);
        warn(title, "no server starts that fast", "write one number as the seconds, such as `0`");
    }
    let mut fields = expr.as_str().split_whitespace().rev();
    let (_, month, day) = (fields.next(), fields.next(), fields.next());
    if month == Some("*") && matches!(day, Some("29" | "30" | "31")) {
        let title = format!("`{}` passes over months that have no such day", cron.value);
        warn(title, "not every month is that long", "write `L` for the last day of each month");
    }
}

/// The part of a value between quotes that an error inside it means.
pub(super) fn inside(value: &At<String>, part: &Range<usize>) -> Range<usize> {
    let quotes = value.span.len().saturating_sub(value.value.len());
    // Only plain one-line strings keep the places of their characters; others are underlined whole.
    if quotes != 2 || part.is_empty() {
        return value.span.clone();
    }
    value.span.start + 1 + part.start..value.span.start + 1 + part.end
}
