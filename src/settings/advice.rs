//! What is odd about a valid configuration at a moment: for people who check it before they go live.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::{OpenHours, Settings, duration};
use crate::domain::name::{Action, GroupName, RuleName, ServerId};
use crate::domain::overrides::Overrides;
use crate::domain::plan::{self, Occurrence};
use crate::domain::rule::Rule;
use crate::domain::schedule::When;

/// A calendar that knows nothing after so many days is about to end.
const CALENDAR_ENDS_SOON_DAYS: i64 = 60;
/// So far ahead rules are compared with each other.
const COMPARED_DAYS: i64 = 14;
/// So much work is done for it, counted in servers and rules looked at: many rules are compared over fewer days.
const WORK_MAX: usize = 300_000;
/// So many workdays are looked at.
const WORKDAYS_MAX: usize = 100;

/// One sentence for each thing that is odd, with its remedy.
#[must_use]
pub fn of(settings: &Settings, now: Timestamp) -> Vec<String> {
    let mut advice = Vec::new();
    for rule in settings.rules.values() {
        advice.extend(is_over(rule, now));
    }
    advice.extend(calendars_that_end(settings, now));
    advice.extend(unserved_workdays(settings, now));
    advice.extend(quarrels(settings, now));
    advice.extend(never_started(settings));
    advice
}

/// Groups that others come after and that no rule starts: those wait, and are skipped unless somebody else starts them.
fn never_started(settings: &Settings) -> Vec<String> {
    let starts = |rule: &&Rule| rule.enabled && rule.schedule.actions().contains(&Action::Start);
    let started: BTreeSet<&GroupName> =
        settings.rules.values().filter(starts).flat_map(|rule| &rule.groups).collect();
    let mut advice = Vec::new();
    for group in settings.groups.values().filter(|group| started.contains(&group.name)) {
        for on in group.after.iter().filter(|on| !started.contains(on)) {
            advice.push(format!(
                "group `{}` comes after `{on}`, which no rule starts: unless its servers run, those of `{}` are skipped; add `{on}` to \
                 the rule",
                group.name, group.name
            ));
        }
    }
    advice
}

fn is_over(rule: &Rule, now: Timestamp) -> Option<String> {
    if !rule.enabled || plan::next(rule, now, Timestamp::MAX).is_some() {
        return None;
    }
    let name = &rule.name;
    Some(match &rule.schedule.when {
        When::At { moments, .. } => {
            let last = moments.last().map(|moment| shown(moment.at, &rule.schedule.zone));
            format!(
                "rule `{name}` has passed: its last moment was {}; name another, or remove the rule",
                last.unwrap_or_default()
            )
        }
        _ => format!(
            "rule `{name}` has no occurrence any more; extend `until` or the calendar of `only`, or remove the rule"
        ),
    })
}

fn shown(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn today(settings: &Settings, now: Timestamp) -> Date {
    settings.timezone.clone().unwrap_or(TimeZone::UTC).to_datetime(now).date()
}

fn calendars_that_end(settings: &Settings, now: Timestamp) -> Vec<String> {
    let today = today(settings, now);
    let soon = today.checked_add(CALENDAR_ENDS_SOON_DAYS.days()).unwrap_or(today);
    let rules_with = |name: &str| -> Vec<&str> {
        let uses = |rule: &&Rule| {
            let dates = &rule.schedule.dates;
            // A rule whose `only` ends has no occurrence any more, and that is told of the rule.
            let mut names = dates.calendar.names().chain(dates.except.names());
            rule.enabled && names.any(|used| used.as_str() == name)
        };
        settings.rules.values().filter(uses).map(|rule| rule.name.as_str()).collect()
    };
    let mut advice = Vec::new();
    for (name, calendar) in &settings.calendars {
        let rules = rules_with(name.as_str());
        let Some(until) = calendar.known_until().filter(|until| *until < soon && !rules.is_empty()) else {
            continue;
        };
        let verb = if until < today { "ended" } else { "ends" };
        advice.push(format!(
            "calendar `{name}` {verb} on {until}: after it every date is an ordinary one for `{}`; add the dates that follow",
            rules.join("`, `")
        ));
    }
    advice
}

/// Workdays of calendars on which no rule starts anything.
fn unserved_workdays(settings: &Settings, now: Timestamp) -> Vec<String> {
    let today = today(settings, now);
    let mut advice = Vec::new();
    for (name, calendar) in &settings.calendars {
        let uses = |rule: &&Rule| {
            let dates = &rule.schedule.dates;
            rule.enabled && dates.calendar.names().chain(dates.except.names()).any(|used| used == name)
        };
        let is_unused = !settings.rules.values().any(|rule| uses(&rule));
        for date in calendar.workdays().range(today..).map(|(date, _)| *date).take(WORKDAYS_MAX) {
            if settings.rules.values().any(|rule| rule.enabled && starts_on(rule, date)) {
                continue;
            }
            let why = match is_unused {
                true => "no rule uses the calendar".to_owned(),
                false => "for `except` a workday only cancels a holiday".to_owned(),
            };
            advice.push(format!(
                "{date} is a workday of calendar `{name}`, and no rule starts anything on it: {why}; write WORKDAYS among the days of a rule"
            ));
        }
    }
    advice
}

fn starts_on(rule: &Rule, date: Date) -> bool {
    let zone = &rule.schedule.zone;
    let instant = |date: Date| zone.to_zoned(date.at(0, 0, 0, 0)).map(|zoned| zoned.timestamp());
    let (Ok(begin), Ok(end)) = (instant(date), date.tomorrow().and_then(instant)) else { return true };
    let second = SignedDuration::from_secs(1);
    let begin = begin.saturating_sub(second).unwrap_or(begin);
    rule.schedule.happening(begin, end).any(|planned| planned.at < end && planned.action == Action::Start)
}

/// What happened last to a server, as the plan has it.
struct Last<'a> {
    action: Action,
    due: Timestamp,
    rule: &'a Rule,
}

/// Rules that take a server from each other, and servers that are stopped while they may still be starting.
fn quarrels(settings: &Settings, now: Timestamp) -> Vec<String> {
    let until = now.saturating_add(SignedDuration::from_hours(24 * COMPARED_DAYS)).unwrap_or(now);
    let roster = settings.roster();
    let limits: BTreeMap<(&RuleName, Action), BTreeMap<ServerId, Duration>> = settings
        .rules
        .values()
        .flat_map(|rule| [Action::Start, Action::Stop].map(|action| (rule, action)))
        .map(|(rule, action)| ((&rule.name, action), settings.servers_of(&roster, &rule.groups, action)))
        .collect();
    let mut last: BTreeMap<&ServerId, Last<'_>> = BTreeMap::new();
    let mut told: BTreeSet<(RuleName, RuleName, &str)> = BTreeSet::new();
    let mut advice = Vec::new();
    let mut budget = WORK_MAX;
    let size =
        settings.rules.len() + settings.groups.values().map(|group| group.servers.len()).sum::<usize>();
    let mut open: Option<(Timestamp, OpenHours<'_>)> = None;
    for occurrence in plan::occurrences(settings.rules.values(), now, until) {
        let Some(rule) = settings.rules.get(&occurrence.rule) else { continue };
        let Some(servers) = limits.get(&(&rule.name, occurrence.action)) else { continue };
        let is_new = open.as_ref().is_none_or(|(at, _)| *at != occurrence.due);
        let asks = occurrence.action == Action::Stop;
        let cost = servers.len() + if asks && is_new { size } else { 1 };
        let Some(left) = budget.checked_sub(cost) else { break };
        budget = left;
        if asks && is_new {
            open =
                Some((occurrence.due, settings.open_hours(&roster, &Overrides::default(), occurrence.due)));
        }
        for server in servers.keys() {
            let wanted =
                open.as_ref().filter(|_| asks).and_then(|(_, open)| open.wanting(&rule.name, server));
            let wanted = wanted.map(|(by, closes)| (by.name.clone(), closes));
            let is_edge = matches!(rule.schedule.when, When::Hours(_));
            if let Some((by, closes)) = &wanted
                && !is_edge
                && told.insert((rule.name.clone(), by.clone(), "wanted"))
            {
                let closes = closes
                    .map_or("for ever".to_owned(), |at| format!("until {}", shown(at, &rule.schedule.zone)));
                advice.push(format!(
                    "rule `{}` stops server {server} at {} while rule `{by}` wants it up {closes}: the stop wins; \
                     leave the server out of one of them, or change the times",
                    rule.name,
                    shown(occurrence.due, &rule.schedule.zone)
                ));
            }
            if wanted.is_some() && is_edge {
                continue;
            }
            let before = last.insert(server, Last { action: occurrence.action, due: occurrence.due, rule });
            let Some(before) = before.filter(|before| before.action != occurrence.action) else { continue };
            let limit =
                limits.get(&(&before.rule.name, before.action)).and_then(|servers| servers.get(server));
            advice.extend(quarrel(&before, &occurrence, rule, server, limit.copied(), &mut told));
        }
    }
    advice
}

fn quarrel(
    before: &Last<'_>,
    occurrence: &Occurrence,
    rule: &Rule,
    server: &ServerId,
    limit: Option<Duration>,
    told: &mut BTreeSet<(RuleName, RuleName, &'static str)>,
) -> Option<String> {
    let apart = occurrence.due.duration_since(before.due);
    let at = shown(occurrence.due, &rule.schedule.zone);
    let (one, other) = (&before.rule.name, &rule.name);
    if apart.is_zero() {
        return told.insert((one.clone(), other.clone(), "equal")).then(|| {
            format!(
                "rules `{one}` and `{other}` start and stop server {server} at the same moment, {at}: the start wins; \
                 change one of the times"
            )
        });
    }
    let limit = limit.filter(|limit| apart.unsigned_abs() < *limit)?;
    told.insert((one.clone(), other.clone(), "soon")).then(|| {
        let (first, then) = (before.action.word(), occurrence.action.word());
        let key = if before.action == Action::Start { "boot_within" } else { "stop_within" };
        format!(
            "server {server} is to {then} at {at} (rule `{other}`), only {} after it is to {first} (rule `{one}`); it may take {} \
             (`{key}`): leave more time between them",
            duration::show(apart.unsigned_abs()),
            duration::show(limit)
        )
    })
}
