//! The plan as a table, one heading for each day; what does not happen is struck, with the reason.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::cli::show;
use crate::daemon::view::PlanLines;
use crate::domain::name::{Action, RuleName};
use crate::domain::plan::Explained;
use crate::domain::schedule::{Fate, When};
use crate::settings::Settings;

const HEAD: [&str; 6] = ["TIME", "ZONE", "ACTION", "GROUPS", "SERVERS", "RULE"];
/// The width of `08:50:00`.
const TIME_WIDTH: usize = 8;
/// The width of `08:50:00 Mon 23`.
const TIME_AND_DAY_WIDTH: usize = 15;
const STRUCK: anstyle::Style = anstyle::Style::new().strikethrough().dimmed();
const DAY: anstyle::Style = anstyle::Style::new().bold();

/// Of so many lines at most it is told which servers a closing edge leaves up.
const NOTED_MAX: usize = 5_000;

pub(super) fn print(found: &[Explained], settings: &Settings, lines: &PlanLines<'_>, main: &TimeZone) {
    if found.is_empty() {
        return;
    }
    let widths = widths(found, lines, main);
    let head = format!("  {}", joined(&HEAD, &widths));
    let mut day = Date::MIN;
    let body = found.iter().flat_map(|line| {
        let mut out = Vec::new();
        // Days are those of the zone at the top of the file.
        let date = main.to_datetime(line.occurrence.due).date();
        if date != day {
            day = date;
            out.push(format!("\n{DAY}{}{DAY:#}", day.strftime("%A, %-d %B %Y")));
        }
        let note = if found.len() <= NOTED_MAX { left_up(line, settings) } else { None };
        out.push(row(line, lines, date, &widths, note));
        out
    });
    show::lines(std::iter::once(head).chain(body));
}

/// How wide each column must be. All but the time are the same for every line of a rule.
fn widths(found: &[Explained], lines: &PlanLines<'_>, main: &TimeZone) -> [usize; 6] {
    let mut widths = HEAD.map(show::width);
    let mut known: BTreeSet<&RuleName> = BTreeSet::new();
    for line in found {
        let rule = &line.occurrence.rule;
        let Some(facts) = lines.of(rule).filter(|_| known.insert(rule)) else { continue };
        let time = if facts.zone == main { TIME_WIDTH } else { TIME_AND_DAY_WIDTH };
        let zone = show::width(facts.zone.iana_name().unwrap_or("UTC"));
        let (groups, servers) = (show::width(&facts.groups.join(", ")), facts.servers.to_string().len());
        let needed = [time, zone, 5, groups, servers, show::width(rule.as_str())];
        for (width, needed) in widths.iter_mut().zip(needed) {
            *width = needed.max(*width);
        }
    }
    widths
}

fn joined(cells: &[&str; 6], widths: &[usize; 6]) -> String {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| show::padded(cell, *width)).collect();
    padded.join("  ").trim_end().to_owned()
}

/// The servers that a closing edge leaves up, since the hours of other rules want them.
fn left_up(line: &Explained, settings: &Settings) -> Option<String> {
    let occurrence = &line.occurrence;
    let rule = settings.rules.get(&occurrence.rule)?;
    let is_edge = matches!(rule.schedule.when, When::Hours(_)) && occurrence.action == Action::Stop;
    if !is_edge || !line.fate.happens() {
        return None;
    }
    let servers = settings.servers_of(&rule.groups, Action::Stop);
    let wanted: Vec<_> =
        servers.keys().filter_map(|server| settings.wanted_by(rule, server, occurrence.due)).collect();
    let (by, _) = wanted.first()?;
    let count = match wanted.len() == servers.len() {
        true => "all".to_owned(),
        false => wanted.len().to_string(),
    };
    Some(format!("leaves {count} up: wanted by {by}"))
}

fn row(
    line: &Explained,
    lines: &PlanLines<'_>,
    day: Date,
    widths: &[usize; 6],
    note: Option<String>,
) -> String {
    let occurrence = &line.occurrence;
    let Some(facts) = lines.of(&occurrence.rule) else { return String::new() };
    let wall = facts.zone.to_datetime(occurrence.due);
    let (hour, minute, second) = (wall.hour(), wall.minute(), wall.second());
    let mut time = format!("{hour:02}:{minute:02}:{second:02}");
    // Where the rule's own zone has another date than the heading, that is said.
    if wall.date() != day {
        time.push_str(&wall.strftime(" %a %-d").to_string());
    }
    let zone = facts.zone.iana_name().unwrap_or("UTC");
    let (groups, servers) = (facts.groups.join(", "), facts.servers.to_string());
    let cells = [&time, zone, occurrence.action.word(), &groups, &servers, occurrence.rule.as_str()];
    let cells = joined(&cells, widths);
    match &line.fate {
        Fate::Due => note.map_or_else(|| format!("  {cells}"), |note| format!("  {cells}  {note}")),
        Fate::Moved(moved) => format!("~ {cells}  {moved}"),
        Fate::Struck(cause) => format!("x {STRUCK}{cells}{STRUCK:#}  skipped: {cause}"),
    }
}
