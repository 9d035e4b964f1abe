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
use crate::domain::overrides::Overrides;
use crate::settings::{Settings, uptime};

/// How many days are shown.
const DAYS: i64 = 7;
/// The width of `Mon 23 Nov `.
const LABEL: usize = 12;
/// Cells of a day from wide to narrow, each with the hours between two marks of the ruler.
const CELLS: [(i64, i64); 3] = [(96, 3), (48, 3), (24, 6)];
/// The room that the words behind the strip get before it is made wider.
const WORDS: usize = 40;
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

pub(super) fn print(
    known: (&Settings, &Overrides),
    options: &Options,
    zone: &TimeZone,
    from: Timestamp,
    json: bool,
) {
    let settings = known.0;
    let wanted = |name: &&GroupName| options.group.as_deref().is_none_or(|wanted| name.as_str() == wanted);
    let groups: Vec<&GroupName> = settings.groups.keys().filter(wanted).collect();
    let first = zone.to_datetime(from).date();
    if json {
        show::lines(groups.iter().flat_map(|group| as_json(known, group, zone, first)));
        return;
    }
    let columns = show::columns();
    let weeks: Vec<(&GroupName, Vec<Day>)> =
        groups.into_iter().map(|group| (group, days(known, group, zone, first))).collect();
    let words = weeks.iter().flat_map(|(_, days)| days.iter().map(|day| show::width(&in_words(day, zone))));
    let widest = words.max().unwrap_or(0);
    let room = |cells: i64| columns.saturating_sub(LABEL + 2 + usize::try_from(cells).unwrap_or(0));
    // The widest strip beside which the words have room; else the narrowest, and the words are cut.
    let (cells, hours) =
        CELLS.into_iter().find(|(cells, _)| room(*cells) >= widest.min(WORDS)).unwrap_or((24, 6));
    show::word(&format!("hours by the clock of {}", zone.iana_name().unwrap_or("UTC")));
    let mut lines = Vec::new();
    for (group, days) in weeks {
        lines.push(format!(
            "{NAME}{}{NAME:#}{}",
            show::padded(group.as_str(), LABEL),
            ruler(group, cells, hours)
        ));
        for day in days {
            lines.push(strip(&day, zone, cells, room(cells)));
        }
        lines.push(String::new());
    }
    lines.pop();
    show::lines(lines);
    for one in known.1.in_force() {
        show::word(&one.words(zone));
    }
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

fn days(
    (settings, overrides): (&Settings, &Overrides),
    group: &GroupName,
    zone: &TimeZone,
    first: Date,
) -> Vec<Day> {
    let midnight = |date: Date| zone.to_zoned(date.at(0, 0, 0, 0)).ok().map(|zoned| zoned.timestamp());
    let calendars = calendars_of(settings, group);
    let whole = midnight(first).zip(first.checked_add(DAYS.days()).ok().and_then(midnight));
    let up =
        whole.map(|(from, to)| uptime::of_group(settings, overrides, group, from, to)).unwrap_or_default();
    let mut days = Vec::new();
    for offset in 0..DAYS {
        let Ok(date) = first.checked_add(offset.days()) else { break };
        let (Some(begin), Some(end)) = (midnight(date), date.tomorrow().ok().and_then(midnight)) else {
            break;
        };
        let cut = up.iter().map(|(from, to)| ((*from).max(begin), (*to).min(end)));
        let up = cut.filter(|(from, to)| from < to).collect();
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

fn strip(day: &Day, zone: &TimeZone, cells: i64, room: usize) -> String {
    let mut text = format!("  {} ", day.date.strftime("%a %d %b"));
    let minutes = 24 * 60 / cells;
    let at = |minute: i64| {
        let wall = day.date.at(0, 0, 0, 0).checked_add(minute.minutes()).ok()?;
        Some(zone.to_zoned(wall).ok()?.timestamp())
    };
    let mut last = None;
    for cell in 0..cells {
        // The middle of a cell decides, by the wall clock: on the odd days an hour is shown short or long.
        let middle = at(cell * minutes + minutes / 2);
        let is_up = middle.is_some_and(|at| day.up.iter().any(|(begin, end)| (*begin..*end).contains(&at)));
        let (from, to) = (at(cell * minutes), at((cell + 1) * minutes));
        let touches = |(begin, end): &(Timestamp, Timestamp)| {
            from.zip(to).is_some_and(|(from, to)| *begin < to && *end > from)
        };
        // What is shorter than half a cell is still seen.
        let kind = match (is_up, day.up.iter().any(|span| touches(span) && short(span, minutes))) {
            (true, _) => (UP, '█'),
            (false, true) => (UP, '▏'),
            (false, false) => (DOWN, '·'),
        };
        if last != Some(kind.0) {
            last.iter().for_each(|style: &anstyle::Style| text.push_str(&format!("{style:#}")));
            text.push_str(&kind.0.to_string());
            last = Some(kind.0);
        }
        text.push(kind.1);
    }
    last.iter().for_each(|style| text.push_str(&format!("{style:#}")));
    format!("{text}  {}", shortened(&in_words(day, zone), room)).trim_end().to_owned()
}

fn short((begin, end): &(Timestamp, Timestamp), minutes: i64) -> bool {
    end.duration_since(*begin).as_mins() < minutes
}

fn in_words(day: &Day, zone: &TimeZone) -> String {
    let mut words: Vec<String> = day.up.iter().map(|(begin, end)| hours(day, *begin, *end, zone)).collect();
    words.extend(day.holiday.clone());
    words.join(", ")
}

/// A text that has no more room than so many columns.
fn shortened(text: &str, columns: usize) -> String {
    if show::width(text) <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        if show::width(&short) + 3 > columns {
            break;
        }
        short.push(c);
    }
    if short.is_empty() { short } else { format!("{short}…") }
}

fn hours(day: &Day, begin: Timestamp, end: Timestamp, zone: &TimeZone) -> String {
    let clock = |at: Timestamp| zone.to_datetime(at).strftime("%H:%M").to_string();
    match (begin == day.begin, end == day.end) {
        (true, true) => "all day".to_owned(),
        (_, true) => format!("{}-24:00", clock(begin)),
        _ => format!("{}-{}", clock(begin), clock(end)),
    }
}

fn as_json(known: (&Settings, &Overrides), group: &GroupName, zone: &TimeZone, first: Date) -> Vec<String> {
    let days = days(known, group, zone, first);
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
