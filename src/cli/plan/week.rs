//! The week as strips: for each group and day, the hours in which it is meant to be up.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::json;

use super::Options;
use crate::cli::show;
use crate::daemon::view;
use crate::domain::calendar::Calendars;
use crate::domain::name::GroupName;
use crate::settings::{Settings, uptime};

/// How many days are shown.
const DAYS: i64 = 7;
/// The width of `Mon 23 Nov `.
const LABEL: usize = 12;
/// Cells of a day from wide to narrow, each with the hours between two marks of the ruler.
const CELLS: [(i64, i64); 3] = [(96, 3), (48, 3), (24, 6)];
/// The room that the hours in words want behind the strip.
const WORDS: usize = 20;
const UP: anstyle::Style = anstyle::AnsiColor::Green.on_default();
const DOWN: anstyle::Style = anstyle::Style::new().dimmed();
const NAME: anstyle::Style = anstyle::Style::new().bold();

/// One day of one group.
struct Day {
    date: Date,
    begin: Timestamp,
    end: Timestamp,
    up: Vec<(Timestamp, Timestamp)>,
    holiday: Option<String>,
}

pub(super) fn print(settings: &Settings, options: &Options, zone: &TimeZone, from: Timestamp, json: bool) {
    let wanted = |name: &&GroupName| options.group.as_deref().is_none_or(|wanted| name.as_str() == wanted);
    let groups: Vec<&GroupName> = settings.groups.keys().filter(wanted).collect();
    let first = zone.to_datetime(from).date();
    if json {
        show::lines(groups.iter().flat_map(|group| as_json(settings, group, zone, first)));
        return;
    }
    let columns = show::columns();
    let (cells, hours) = CELLS
        .into_iter()
        .find(|(cells, _)| LABEL + usize::try_from(*cells).unwrap_or(0) + WORDS <= columns)
        .unwrap_or((24, 6));
    show::word(&format!("hours by the clock of {}", zone.iana_name().unwrap_or("UTC")));
    let mut lines = Vec::new();
    for group in groups {
        lines.push(format!(
            "{NAME}{}{NAME:#}{}",
            show::padded(group.as_str(), LABEL),
            ruler(group, cells, hours)
        ));
        for day in days(settings, group, zone, first) {
            lines.push(strip(&day, zone, cells));
        }
        lines.push(String::new());
    }
    lines.pop();
    show::lines(lines);
}

/// The hours above the strips; a name that is too long for its place has a line of its own.
fn ruler(group: &GroupName, cells: i64, hours: i64) -> String {
    let mut text = String::new();
    for hour in (0..24).step_by(usize::try_from(hours).unwrap_or(3)) {
        let width = usize::try_from(cells * hours / 24).unwrap_or(1);
        text.push_str(&format!("{hour:<width$}"));
    }
    let text = text.trim_end();
    match show::width(group.as_str()) < LABEL {
        true => text.to_owned(),
        false => format!("\n{}{text}", " ".repeat(LABEL)),
    }
}

fn days(settings: &Settings, group: &GroupName, zone: &TimeZone, first: Date) -> Vec<Day> {
    let midnight = |date: Date| zone.to_zoned(date.at(0, 0, 0, 0)).ok().map(|zoned| zoned.timestamp());
    let calendars = calendars_of(settings, group);
    let mut days = Vec::new();
    for offset in 0..DAYS {
        let Ok(date) = first.checked_add(offset.days()) else { break };
        let (Some(begin), Some(end)) = (midnight(date), date.tomorrow().ok().and_then(midnight)) else {
            break;
        };
        let up = uptime::of_group(settings, group, begin, end);
        let holiday =
            calendars.iter().find_map(|calendars| calendars.holiday(date)).map(|holiday| holiday.title);
        days.push(Day { date, begin, end, up, holiday });
    }
    days
}

/// The calendars that the rules of a group ask.
fn calendars_of<'a>(settings: &'a Settings, group: &GroupName) -> Vec<&'a Calendars> {
    let rules = settings.rules.values().filter(|rule| rule.enabled && rule.groups.contains(group));
    rules.flat_map(|rule| [&rule.schedule.dates.except, &rule.schedule.dates.calendar]).collect()
}

fn strip(day: &Day, zone: &TimeZone, cells: i64) -> String {
    let mut text = format!("  {} ", day.date.strftime("%a %d %b"));
    let minutes = 24 * 60 / cells;
    for cell in 0..cells {
        // The middle of a cell decides, by the wall clock: on the odd days an hour is shown short or long.
        let minute = cell * minutes + minutes / 2;
        let wall = day.date.at(0, 0, 0, 0).checked_add(minute.minutes());
        let at = wall.ok().and_then(|wall| zone.to_zoned(wall).ok()).map(|zoned| zoned.timestamp());
        let is_up = at.is_some_and(|at| day.up.iter().any(|(begin, end)| (*begin..*end).contains(&at)));
        match is_up {
            true => text.push_str(&format!("{UP}█{UP:#}")),
            false => text.push_str(&format!("{DOWN}·{DOWN:#}")),
        }
    }
    let mut words: Vec<String> = day.up.iter().map(|(begin, end)| hours(day, *begin, *end, zone)).collect();
    words.extend(day.holiday.clone());
    format!("{text}  {}", words.join(", ")).trim_end().to_owned()
}

fn hours(day: &Day, begin: Timestamp, end: Timestamp, zone: &TimeZone) -> String {
    let clock = |at: Timestamp| zone.to_datetime(at).strftime("%H:%M").to_string();
    match (begin == day.begin, end == day.end) {
        (true, true) => "all day".to_owned(),
        (_, true) => format!("{}-24:00", clock(begin)),
        _ => format!("{}-{}", clock(begin), clock(end)),
    }
}

fn as_json(settings: &Settings, group: &GroupName, zone: &TimeZone, first: Date) -> Vec<String> {
    let days = days(settings, group, zone, first);
    let line = |day: Day| {
        let up: Vec<[String; 2]> = day
            .up
            .iter()
            .map(|(begin, end)| [view::moment(*begin, zone), view::moment(*end, zone)])
            .collect();
        json!({"group": group.as_str(), "date": day.date.to_string(), "up": up, "holiday": day.holiday})
            .to_string()
    };
    days.into_iter().map(line).collect()
}
