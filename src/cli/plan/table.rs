//! The plan as a table, one heading for each day; what does not happen is struck, with the reason.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::cli::pause::touches;
use crate::cli::show;
use crate::daemon::view::PlanLines;
use crate::domain::name::{Action, RuleName};
use crate::domain::overrides::Overrides;
use crate::domain::plan::Explained;
use crate::domain::roster::Roster;
use crate::domain::schedule::{Fate, When};
use crate::settings::{OpenHours, Settings};

const HEAD: [&str; 6] = ["TIME", "ZONE", "ACTION", "GROUPS", "SERVERS", "RULE"];
/// The width of `08:50:00`.
const TIME_WIDTH: usize = 8;
/// The width of ` 08:50:00 Mon 23`.
const CLOCK_WIDTH: usize = 16;
/// The width of `ACTION`.
const ACTION_WIDTH: usize = 6;
const STRUCK: anstyle::Style = anstyle::Style::new().strikethrough().dimmed();
const DAY: anstyle::Style = anstyle::Style::new().bold();

/// Of so many lines at most it is told which servers a closing edge leaves up.
const NOTED_MAX: usize = 5_000;
/// And so much work is done for it, counted in servers and rules looked at.
const WORK_MAX: usize = 300_000;

pub(super) fn print(
    found: &[Explained],
    rules: &HashSet<&RuleName>,
    (settings, overrides): (&Settings, &Overrides),
    lines: &PlanLines<'_>,
    main: &TimeZone,
) {
    if found.is_empty() {
        return;
    }
    let widths = widths(rules, lines, main);
    let columns = columns(rules, lines, main, &widths);
    let head = format!("  {}", joined(&HEAD, &widths));
    let mut day = Date::MIN;
    let mut notes = Notes::new(settings, overrides, found.len());
    let body = found.iter().flat_map(|line| {
        let mut out = Vec::new();
        // Days and times are those of one zone, so that they come in order.
        let wall = main.to_datetime(line.occurrence.due);
        if wall.date() != day {
            day = wall.date();
            out.push(format!("\n{DAY}{}{DAY:#}", day.strftime("%A, %-d %B %Y")));
        }
        let note = held_back(line, settings, overrides);
        let note = note.or_else(|| notes.left_up(line)).or_else(|| planned_at(line, lines));
        out.extend(columns.get(&line.occurrence.rule).map(|columns| row(line, columns, wall, note)));
        out
    });
    show::lines(std::iter::once(head).chain(body));
}

/// How wide each column must be. All but the time are the same for every line of a rule.
fn widths(rules: &HashSet<&RuleName>, lines: &PlanLines<'_>, main: &TimeZone) -> [usize; 6] {
    let mut widths = HEAD.map(show::width);
    for rule in rules {
        let Some(facts) = lines.of(rule) else { continue };
        let clock = if facts.zone == main { 0 } else { CLOCK_WIDTH };
        let zone = show::width(facts.zone.iana_name().unwrap_or("UTC")) + clock;
        let (groups, servers) =
            (show::width(&facts.groups.join(", ")), show::width(&facts.servers.to_string()));
        let needed = [TIME_WIDTH, zone, 5, groups, servers, show::width(rule.as_str())];
        for (width, needed) in widths.iter_mut().zip(needed) {
            *width = needed.max(*width);
        }
    }
    widths
}

/// What stands in each line of a rule, made once: a year has half a million lines.
struct Columns<'a> {
    /// Its zone's name, and the zone itself where it is not the one by which days are told.
    zone: (String, Option<&'a TimeZone>),
    zone_width: usize,
    /// What follows the action.
    rest: String,
}

fn columns<'a>(
    rules: &HashSet<&'a RuleName>,
    lines: &PlanLines<'a>,
    main: &TimeZone,
    widths: &[usize; 6],
) -> HashMap<&'a RuleName, Columns<'a>> {
    let [_, zone_width, _, groups_width, servers_width, _] = *widths;
    let of = |rule: &&'a RuleName| {
        let facts = lines.of(rule)?;
        let name = facts.zone.iana_name().unwrap_or("UTC");
        let own = (facts.zone != main).then_some(facts.zone);
        let name = if own.is_some() { name.to_owned() } else { show::padded(name, zone_width) };
        let groups = show::padded(&facts.groups.join(", "), groups_width);
        let servers = show::padded(&facts.servers.to_string(), servers_width);
        let rest = format!("{groups}  {servers}  {rule}");
        Some((*rule, Columns { zone: (name, own), zone_width, rest }))
    };
    rules.iter().filter_map(of).collect()
}

fn joined(cells: &[&str; 6], widths: &[usize; 6]) -> String {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| show::padded(cell, *width)).collect();
    padded.join("  ").trim_end().to_owned()
}

/// Those of a rule's groups that a person paused, where others are not, and what people keep as it is.
fn held_back(line: &Explained, settings: &Settings, overrides: &Overrides) -> Option<String> {
    if overrides.is_empty() {
        return None;
    }
    let rule = settings.rules.get(&line.occurrence.rule)?;
    let (due, action) = (line.occurrence.due, line.occurrence.action);
    let kept = overrides
        .keeping(due)
        .filter(|(one, forbids)| *forbids == action && touches(settings, rule, &one.scope));
    let paused = overrides.of_groups(&rule.groups, due).map(|(_, one)| one);
    let words: Vec<String> =
        paused.chain(kept.map(|(one, _)| one)).map(|one| one.words(&rule.schedule.zone)).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// The planned moment of what jitter makes due later.
fn planned_at(line: &Explained, lines: &PlanLines<'_>) -> Option<String> {
    let occurrence = &line.occurrence;
    if occurrence.due == occurrence.planned {
        return None;
    }
    let zone = lines.of(&occurrence.rule)?.zone;
    Some(format!("planned {}", zone.to_datetime(occurrence.planned).strftime("%H:%M:%S")))
}

/// What is said beside closing edges, as long as it costs little.
struct Notes<'a> {
    settings: &'a Settings,
    overrides: &'a Overrides,
    roster: Roster,
    open: Option<(Timestamp, OpenHours<'a>)>,
    budget: usize,
    cost: usize,
}

impl<'a> Notes<'a> {
    fn new(settings: &'a Settings, overrides: &'a Overrides, lines: usize) -> Self {
        let servers: usize = settings.groups.values().map(|group| group.servers.len()).sum();
        let budget = if lines <= NOTED_MAX { WORK_MAX } else { 0 };
        Self {
            settings,
            overrides,
            roster: settings.roster(),
            open: None,
            budget,
            cost: settings.rules.len() + servers,
        }
    }

    /// The servers that a closing edge leaves up, since the hours of other rules want them.
    fn left_up(&mut self, line: &Explained) -> Option<String> {
        if self.budget == 0 {
            return None;
        }
        let occurrence = &line.occurrence;
        let rule = self.settings.rules.get(&occurrence.rule)?;
        let is_edge = matches!(rule.schedule.when, When::Hours(_)) && occurrence.action == Action::Stop;
        if !is_edge || !line.fate.happens() {
            return None;
        }
        if self.open.as_ref().is_none_or(|(at, _)| *at != occurrence.due) {
            self.budget = self.budget.checked_sub(self.cost)?;
            self.open = Some((
                occurrence.due,
                self.settings.open_hours(&self.roster, self.overrides, occurrence.due),
            ));
        }
        let (_, open) = self.open.as_ref()?;
        let servers = self.settings.servers_of(&self.roster, &rule.groups, Action::Stop);
        self.budget = self.budget.checked_sub(servers.len())?;
        let wanted: Vec<_> = servers.keys().filter_map(|server| open.wanting(&rule.name, server)).collect();
        let (by, _) = wanted.first()?;
        let count = match wanted.len() == servers.len() {
            true => "all".to_owned(),
            false => wanted.len().to_string(),
        };
        Some(format!("leaves {count} up: wanted by {}", by.name))
    }
}

fn row(line: &Explained, columns: &Columns<'_>, day: DateTime, note: Option<String>) -> String {
    let occurrence = &line.occurrence;
    let (hour, minute, second) = (day.hour(), day.minute(), day.second());
    let zone = match &columns.zone {
        (name, None) => Cow::Borrowed(name),
        // A rule with a zone of its own also says what clocks show there.
        (name, Some(zone)) => {
            let wall = zone.to_datetime(occurrence.due);
            let form = if wall.date() == day.date() { " %H:%M:%S" } else { " %H:%M:%S %a %-d" };
            Cow::Owned(show::padded(&format!("{name}{}", wall.strftime(form)), columns.zone_width))
        }
    };
    let action = occurrence.action.word();
    let cells =
        format_args!("{hour:02}:{minute:02}:{second:02}  {zone}  {action:<ACTION_WIDTH$}  {}", columns.rest);
    match (&line.fate, note) {
        (Fate::Due, None) => format!("  {cells}"),
        (Fate::Due, Some(note)) => format!("  {cells}  {note}"),
        (Fate::Moved(moved), _) => format!("~ {cells}  {moved}"),
        (Fate::Struck(cause), _) => format!("x {STRUCK}{cells}{STRUCK:#}  skipped: {cause}"),
    }
}
