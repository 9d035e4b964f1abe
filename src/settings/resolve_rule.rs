//! From a raw rule to a rule: when, what, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::diagnostics::Problem;
use super::raw::{self, At};
use super::resolve::{Resolver, remedy_for};
use crate::domain::cron::{CronExpr, Fields};
use crate::domain::name::{Action, GroupName, RuleName};
use crate::domain::rule::{Missed, Rule, WINDOW_DEFAULT, When};
use crate::domain::target::ATTEMPT_LIMIT;
use crate::domain::zone::{ClockChange, Fold, Gap, instants};

/// The most moments that one `at` may name.
const MOMENTS_MAX: usize = 1000;

/// Reads rules; equal expressions share one parsed form.
pub(super) struct RuleReader<'a> {
    timezone: Option<TimeZone>,
    groups: &'a BTreeSet<String>,
    parsed: BTreeMap<(String, Fields), CronExpr>,
}

impl<'a> RuleReader<'a> {
    pub(super) fn new(timezone: Option<TimeZone>, groups: &'a BTreeSet<String>) -> Self {
        Self { timezone, groups, parsed: BTreeMap::new() }
    }

    pub(super) fn rule(
        &mut self,
        resolver: &mut Resolver,
        name: &At<String>,
        raw: raw::Rule,
    ) -> Option<Rule> {
        let rule_name = resolver.name("a rule", name, RuleName::new);
        let zone = self.zone(resolver, name, raw.timezone);
        let gap =
            raw.gap.and_then(|gap| resolver.choice(&gap, &[("after", Gap::After), ("skip", Gap::Skip)]));
        let folds = [("first", Fold::First), ("second", Fold::Second), ("both", Fold::Both)];
        let fold = raw.fold.and_then(|fold| resolver.choice(&fold, &folds));
        let change = ClockChange { gap: gap.unwrap_or_default(), fold: fold.unwrap_or_default() };
        let when = match (raw.cron, raw.at) {
            (Some(cron), None) => self.cron(resolver, &cron, raw.seconds, zone, change),
            (None, Some(at)) => {
                if let Some(seconds) = raw.seconds {
                    let title = "`seconds` goes with `cron` alone".to_owned();
                    resolver.error(&seconds, title, "a moment of `at` may have seconds anyway", "remove it");
                }
                moments(resolver, name, &at, zone, change)
            }
            (Some(cron), Some(_)) => {
                let title = format!("rule `{}` has both `cron` and `at`", name.value);
                resolver.error(&cron, title, "a rule has one of them", "make two rules of it");
                None
            }
            (None, None) => {
                let title = format!("rule `{}` does not say when", name.value);
                resolver.error(
                    name,
                    title,
                    "`cron` or `at` is missing",
                    "add `cron = \"50 8 * * MON-FRI\"` or `at = \"2026-12-01T08:00\"`",
                );
                None
            }
        };
        let deed = self.deed(resolver, name, raw.start, raw.stop);
        let missed =
            raw.missed.and_then(|m| resolver.choice(&m, &[("run", Missed::Run), ("skip", Missed::Skip)]));
        // A window that no request fits into could never act.
        let window = resolver.duration(raw.window, ATTEMPT_LIMIT + Duration::from_secs(5), WINDOW_DEFAULT);
        let (action, groups) = deed?;
        Some(Rule {
            name: rule_name?,
            when: when?,
            action,
            groups,
            window,
            missed: missed.unwrap_or_default(),
            enabled: raw.enabled.is_none_or(|enabled| enabled.value),
            note: raw.note.map(|note| note.value),
        })
    }

    fn zone(&self, resolver: &mut Resolver, name: &At<String>, zone: Option<At<String>>) -> Option<TimeZone> {
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

    fn cron(
        &mut self,
        resolver: &mut Resolver,
        cron: &At<String>,
        seconds: Option<At<bool>>,
        zone: Option<TimeZone>,
        change: ClockChange,
    ) -> Option<When> {
        let fields = if seconds.is_some_and(|seconds| seconds.value) { Fields::Six } else { Fields::Five };
        let key = (cron.value.clone(), fields);
        let expr = match self.parsed.get(&key) {
            Some(expr) => expr.clone(),
            None => match CronExpr::parse(&cron.value, fields) {
                Ok(expr) => self.parsed.entry(key).or_insert(expr).clone(),
                Err(error) => {
                    let span = inside(cron, &error.span);
                    let title = format!("`{}` is no cron expression", cron.value);
                    resolver.problems.push(Problem::error(span, title, error.problem, error.remedy));
                    return None;
                }
            },
        };
        Some(When::Cron { expr, zone: zone?, change })
    }

    fn deed(
        &self,
        resolver: &mut Resolver,
        name: &At<String>,
        start: Option<(Range<usize>, Vec<At<String>>)>,
        stop: Option<(Range<usize>, Vec<At<String>>)>,
    ) -> Option<(Action, Vec<GroupName>)> {
        let (action, (span, list)) = match (start, stop) {
            (Some(start), None) => (Action::Start, start),
            (None, Some(stop)) => (Action::Stop, stop),
            (Some((span, _)), Some(_)) => {
                let title = format!("rule `{}` has both `start` and `stop`", name.value);
                resolver.problems.push(Problem::error(
                    span,
                    title,
                    "a rule has one of them",
                    "make two rules of it",
                ));
                return None;
            }
            (None, None) => {
                let title = format!("rule `{}` does not say what to do", name.value);
                resolver.error(
                    name,
                    title,
                    "`start` or `stop` is missing",
                    "add `start = [\"GROUP\"]` or `stop = [\"GROUP\"]`",
                );
                return None;
            }
        };
        if list.is_empty() {
            let title = format!("rule `{}` names no group", name.value);
            resolver.problems.push(Problem::error(span, title, "an empty list does nothing", "name a group"));
            return None;
        }
        let known: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        let mut groups: Vec<GroupName> = Vec::new();
        for group in list {
            if !self.groups.contains(&group.value) {
                let remedy = remedy_for(&group.value, &known, "group");
                resolver.error(&group, format!("unknown group `{}`", group.value), "no such group", &remedy);
            } else if let Ok(found) = GroupName::new(&group.value)
                && !groups.contains(&found)
            {
                groups.push(found);
            }
        }
        Some((action, groups))
    }
}

/// The part of a value between quotes that an error inside it means.
fn inside(value: &At<String>, part: &Range<usize>) -> Range<usize> {
    let quotes = value.span.len().saturating_sub(value.value.len());
    // Only plain one-line strings keep the places of their characters; others are underlined whole.
    if quotes != 2 || part.is_empty() {
        return value.span.clone();
    }
    value.span.start + 1 + part.start..value.span.start + 1 + part.end
}

fn moments(
    resolver: &mut Resolver,
    name: &At<String>,
    at: &[At<String>],
    zone: Option<TimeZone>,
    change: ClockChange,
) -> Option<When> {
    if at.is_empty() || at.len() > MOMENTS_MAX {
        let title = format!("`at` of rule `{}` names {} moments", name.value, at.len());
        resolver.error(name, title, "out of range", &format!("name 1 to {MOMENTS_MAX} moments"));
        return None;
    }
    let zone = zone?;
    let mut found: Vec<Timestamp> = Vec::new();
    for moment in at {
        let with_offset = moment.value.parse::<Timestamp>().ok();
        let instants = match (with_offset, moment.value.parse::<DateTime>()) {
            (Some(instant), _) => vec![instant],
            (None, Ok(wall))
                if moment.value.contains(['T', ' ']) && !moment.value.contains(['[', '+', 'Z']) =>
            {
                instants(wall, &zone, change)
            }
            _ => {
                let title = format!("`{}` is no moment", moment.value);
                resolver.error(
                    moment,
                    title,
                    "not understood",
                    "write a date and a time, such as \"2026-12-01T08:00\"",
                );
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
        found.extend(instants);
    }
    found.sort_unstable();
    found.dedup();
    Some(When::At { moments: found, zone })
}
