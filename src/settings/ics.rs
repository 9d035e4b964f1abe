//! iCalendar files: the all-day events as dates with titles. Timed events are no holidays and are passed over.

use std::collections::{BTreeMap, BTreeSet};

use icalendar::parser::{Component, Property, read_calendar, unfold};
use jiff::civil::{Date, date};
use jiff::{Span, ToSpan};
use rrule::RRuleSet;

/// The largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most dates that one file may name, recurrences counted one by one.
const DATES_MAX: usize = 100_000;
/// How deep components may stand in one another: events stand in a calendar, alarms in events.
const DEPTH_MAX: usize = 8;
/// The most days that one event may last.
const EVENT_DAYS_MAX: i64 = 400;
/// Recurrences are followed from here.
const FIRST: Date = date(1970, 1, 1);
/// And up to here, however long they go on.
const LAST: Date = date(2100, 12, 31);

/// The dates of a file, each with the title of its event, in order.
pub type FileDays = Vec<(Date, String)>;

/// Reads the all-day events of a file.
///
/// # Errors
/// What cannot be understood, in words. A file that is half understood is not used at all.
pub fn read(text: &str) -> Result<FileDays, String> {
    if text.len() > FILE_BYTES_MAX {
        return Err(format!("it is larger than {FILE_BYTES_MAX} bytes"));
    }
    let unfolded = unfold(text.trim_start_matches('\u{feff}'));
    check_shape(&unfolded)?;
    let calendar = read_calendar(unfolded.trim_end()).map_err(|error| first_line(&error))?;
    let events: Vec<Event> = calendar
        .components
        .iter()
        .filter(|component| component.name == "VEVENT")
        .filter_map(|component| Event::of(component).transpose())
        .collect::<Result<_, _>>()?;
    let mut replaced: BTreeMap<&str, BTreeSet<Date>> = BTreeMap::new();
    for event in &events {
        if let (Some(uid), Some(date)) = (&event.uid, event.replaces) {
            replaced.entry(uid).or_default().insert(date);
        }
    }
    let mut days = BTreeSet::new();
    for event in events.iter().filter(|event| !event.is_cancelled) {
        let without = event.uid.as_deref().filter(|_| event.replaces.is_none());
        let without = without.and_then(|uid| replaced.get(uid)).cloned().unwrap_or_default();
        for begin in event.begins()?.into_iter().filter(|begin| !without.contains(begin)) {
            for day in 0..event.days {
                let Ok(date) = begin.checked_add(day.days()) else { break };
                days.insert((date, event.title.clone()));
            }
        }
        if days.len() > DATES_MAX {
            return Err(format!("it names more than {DATES_MAX} dates"));
        }
    }
    Ok(days.into_iter().collect())
}

/// The parser goes as deep as the text says, so the depth is looked at first.
fn check_shape(text: &str) -> Result<(), String> {
    let (mut depth, mut begun) = (0_usize, false);
    for line in text.lines() {
        let line = line.trim_start();
        let starts = |word: &str| line.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        if starts("BEGIN:") {
            depth += 1;
            begun |= starts("BEGIN:VCALENDAR");
        } else if starts("END:") {
            depth = depth.saturating_sub(1);
        }
        if depth > DEPTH_MAX {
            return Err("its components stand too deep in one another".into());
        }
    }
    match (begun, depth) {
        (false, _) => Err("it does not begin with `BEGIN:VCALENDAR`".into()),
        (true, 0) => Ok(()),
        (true, _) => Err("it breaks off: an `END:` is missing".into()),
    }
}

/// What the parser says, without its drawing of the place.
fn first_line(error: &str) -> String {
    let line =
        error.lines().map(str::trim).find(|line| line.starts_with("at line") || line.contains("at line"));
    format!("it is no iCalendar file ({})", line.unwrap_or("its syntax is broken"))
}

/// One all-day event.
struct Event {
    uid: Option<String>,
    title: String,
    begin: Date,
    days: i64,
    rules: Vec<String>,
    further: Vec<Date>,
    without: Vec<Date>,
    replaces: Option<Date>,
    is_cancelled: bool,
}

impl Event {
    /// `None` for an event with a time of day.
    fn of(component: &Component<'_>) -> Result<Option<Self>, String> {
        let text = |name: &str| component.find_prop(name).map(|property| plain(property));
        let title = text("SUMMARY").filter(|title| !title.trim().is_empty());
        let title = title.unwrap_or_else(|| "untitled".into());
        let Some(start) = component.find_prop("DTSTART") else {
            return Err(format!("its event `{title}` has no DTSTART"));
        };
        let Some(begin) = whole_day(start, &title)? else { return Ok(None) };
        let dates = |name: &str| -> Vec<Date> {
            let found = component.properties.iter().filter(|property| property.name == name);
            let values =
                found.flat_map(|property| property.val.as_str().split(',').map(date_of).collect::<Vec<_>>());
            values.flatten().collect()
        };
        let rules = component.properties.iter().filter(|property| property.name == "RRULE");
        Ok(Some(Self {
            uid: text("UID"),
            begin,
            days: length(component, begin, &title)?,
            rules: rules.map(|property| property.val.as_str().to_owned()).collect(),
            further: dates("RDATE"),
            without: dates("EXDATE"),
            replaces: component.find_prop("RECURRENCE-ID").and_then(|p| date_of(p.val.as_str())),
            is_cancelled: text("STATUS").is_some_and(|status| status.eq_ignore_ascii_case("CANCELLED")),
            title,
        }))
    }

    /// The first days of the event and of its repetitions.
    fn begins(&self) -> Result<Vec<Date>, String> {
        let mut begins: BTreeSet<Date> = self.further.iter().copied().collect();
        begins.insert(self.begin);
        for rule in &self.rules {
            begins.extend(self.repeated(rule)?);
        }
        begins.retain(|date| !self.without.contains(date) && (FIRST..=LAST).contains(date));
        Ok(begins.into_iter().collect())
    }

    fn repeated(&self, rule: &str) -> Result<Vec<Date>, String> {
        let trouble =
            |what: &str| format!("the repetition `{}` of its event `{}` {what}", shortened(rule), self.title);
        let mut parts = Vec::new();
        for part in rule.split(';').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| trouble("is not understood"))?;
            match key.to_ascii_uppercase().as_str() {
                "FREQ"
                    if !matches!(
                        value.to_ascii_uppercase().as_str(),
                        "DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY"
                    ) =>
                {
                    return Err(trouble("repeats within a day, which no all-day event does"));
                }
                // The last day counts, whatever the time.
                "UNTIL" => {
                    let date = date_of(value).ok_or_else(|| trouble("ends on no date"))?;
                    parts.push(format!("UNTIL={}T235959Z", date.strftime("%Y%m%d")));
                }
                _ => parts.push(part.to_owned()),
            }
        }
        let begin = self.begin.strftime("%Y%m%d");
        let set: RRuleSet = format!("DTSTART:{begin}T000000Z\nRRULE:{}", parts.join(";"))
            .parse()
            .map_err(|_| trouble("is not understood"))?;
        let dates =
            set.limit().into_iter().map_while(|at| at.format("%Y-%m-%d").to_string().parse::<Date>().ok());
        let found: Vec<Date> = dates.take_while(|date| *date <= LAST).take(DATES_MAX + 1).collect();
        if found.len() > DATES_MAX {
            return Err(trouble("comes too often"));
        }
        Ok(found)
    }
}

fn plain(property: &Property<'_>) -> String {
    let text = property.val.as_str().replace("\\n", " ").replace("\\N", " ");
    text.replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\").trim().to_owned()
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The date of an all-day event; `None` if it has a time of day.
fn whole_day(start: &Property<'_>, title: &str) -> Result<Option<Date>, String> {
    let value = start.val.as_str().trim();
    let is_date = start.params.iter().any(|parameter| {
        let value = parameter.val.as_ref().map_or("", |value| value.as_str());
        parameter.key.as_str().eq_ignore_ascii_case("VALUE") && value.eq_ignore_ascii_case("DATE")
    });
    if !is_date && value.contains('T') {
        return Ok(None);
    }
    match date_of(value) {
        Some(date) => Ok(Some(date)),
        None => Err(format!("its event `{title}` begins on `{}`, which is no date", shortened(value))),
    }
}

/// The date of `20261225` or of the day of `20261225T090000Z`.
fn date_of(value: &str) -> Option<Date> {
    let digits = value.trim().get(..8)?;
    let rest = value.trim().get(8..)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !(rest.is_empty() || rest.starts_with('T')) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).and_then(|text| text.parse::<i16>().ok());
    let (month, day) = (i8::try_from(part(4, 6)?).ok()?, i8::try_from(part(6, 8)?).ok()?);
    Date::new(part(0, 4)?, month, day).ok()
}

/// How many days an event lasts. Its end is not part of it.
fn length(component: &Component<'_>, begin: Date, title: &str) -> Result<i64, String> {
    let days = match (component.find_prop("DTEND"), component.find_prop("DURATION")) {
        (Some(end), _) => {
            let end =
                date_of(end.val.as_str()).ok_or_else(|| format!("its event `{title}` ends on no date"))?;
            end.duration_since(begin).as_hours() / 24
        }
        (None, Some(duration)) => {
            let span: Span = duration.val.as_str().trim().parse().map_err(|_| {
                format!(
                    "its event `{title}` lasts `{}`, which is no duration",
                    shortened(duration.val.as_str())
                )
            })?;
            i64::from(span.get_weeks()) * 7 + i64::from(span.get_days())
        }
        (None, None) => 1,
    };
    // An event that ends on its first day lasts that day.
    let days = days.max(1);
    if days > EVENT_DAYS_MAX {
        return Err(format!("its event `{title}` lasts more than {EVENT_DAYS_MAX} days"));
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(events: &[&str]) -> String {
        let events: String = events
            .iter()
            .map(|event| format!("BEGIN:VEVENT\r\nUID:{:x}\r\n{event}\r\nEND:VEVENT\r\n", event.len()))
            .collect();
        format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\n{events}END:VCALENDAR\r\n")
    }

    fn days(text: &str) -> Vec<String> {
        let found = read(text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
        found.iter().map(|(date, title)| format!("{date} {title}")).collect()
    }

    #[test]
    fn all_day_events_count_and_their_end_does_not() {
        let text = file(&[
            "DTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261226\r\nSUMMARY:Christmas",
            "DTSTART;VALUE=DATE:20261230\r\nDTEND;VALUE=DATE:20270102\r\nSUMMARY:closed\\, all of us",
            "DTSTART;VALUE=DATE:20270301\r\nSUMMARY:one day",
            "DTSTART;VALUE=DATE:20270401\r\nDURATION:P2D\r\nSUMMARY:two days",
            "DTSTART;VALUE=DATE:20270501\r\nDTEND;VALUE=DATE:20270501\r\nSUMMARY:same day",
            "DTSTART:20270601\r\nSUMMARY:date without a word",
        ]);

        assert_eq!(
            days(&text),
            [
                "2026-12-25 Christmas",
                "2026-12-30 closed, all of us",
                "2026-12-31 closed, all of us",
                "2027-01-01 closed, all of us",
                "2027-03-01 one day",
                "2027-04-01 two days",
                "2027-04-02 two days",
                "2027-05-01 same day",
                "2027-06-01 date without a word",
            ]
        );
    }

    #[test]
    fn timed_and_cancelled_events_do_not_count_whatever_their_zone() {
        let text = file(&[
            "DTSTART:20261225T090000Z\r\nDTEND:20261226T090000Z\r\nSUMMARY:timed",
            "DTSTART;TZID=Asia/Seoul:20261225T000000\r\nSUMMARY:with a zone",
            "DTSTART;VALUE=DATE:20261224\r\nSTATUS:CANCELLED\r\nSUMMARY:cancelled",
            "DTSTART;VALUE=DATE:20261223\r\nSTATUS:CONFIRMED\r\nSUMMARY:kept",
        ]);

        assert_eq!(days(&text), ["2026-12-23 kept"]);
    }

    #[test]
    fn repetitions_are_followed_with_their_exceptions_ends_and_replaced_days() {
        let yearly = file(&[
            "DTSTART;VALUE=DATE:20241001\r\nRRULE:FREQ=YEARLY;UNTIL=20271001\r\nSUMMARY:founding\r\n\
             EXDATE;VALUE=DATE:20251001,20261001",
        ]);
        let monthly = file(&[
            "DTSTART;VALUE=DATE:20260130\r\nDTEND;VALUE=DATE:20260201\r\nRRULE:FREQ=MONTHLY;BYDAY=-1FR;COUNT=2\r\nSUMMARY:stock",
        ]);
        let moved = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\nDTSTART;VALUE=DATE:20260105\nRRULE:FREQ=WEEKLY;COUNT=3\nSUMMARY:w\nEND:VEVENT\n\
             BEGIN:VEVENT\nUID:a\nRECURRENCE-ID;VALUE=DATE:20260112\nDTSTART;VALUE=DATE:20260114\nSUMMARY:moved\nEND:VEVENT\n\
             BEGIN:VEVENT\nUID:a\nRECURRENCE-ID;VALUE=DATE:20260119\nDTSTART;VALUE=DATE:20260119\nSTATUS:CANCELLED\nSUMMARY:off\nEND:VEVENT\nEND:VCALENDAR";

        assert_eq!(days(&yearly), ["2024-10-01 founding", "2027-10-01 founding"]);
        assert_eq!(
            days(&monthly),
            ["2026-01-30 stock", "2026-01-31 stock", "2026-02-27 stock", "2026-02-28 stock"]
        );
        assert_eq!(days(moved), ["2026-01-05 w", "2026-01-14 moved"]);
        let forever = days(&file(&["DTSTART;VALUE=DATE:20260101\r\nRRULE:FREQ=YEARLY\r\nSUMMARY:ny"]));
        assert_eq!((forever.len(), forever.last().map(String::as_str)), (75, Some("2100-01-01 ny")));
    }

    #[test]
    fn folded_lines_a_byte_order_mark_and_korean_titles_are_read() {
        let folded = "\u{feff}BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=D\r\n ATE:20260217\r\nSUMMARY:설날 연\r\n 휴\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

        assert_eq!(days(folded), ["2026-02-17 설날 연휴"]);
    }

    #[test]
    fn a_file_that_is_half_understood_is_not_used_at_all() {
        let deep = format!("{}{}", "BEGIN:VCALENDAR\n".repeat(10_000), "END:VCALENDAR\n".repeat(10_000));
        let table = [
            (String::new(), "BEGIN:VCALENDAR"),
            ("<html>sign in</html>".to_owned(), "BEGIN:VCALENDAR"),
            (file(&["DTSTART;VALUE=DATE:20261225"]).replace("END:VCALENDAR\r\n", ""), "breaks off"),
            (file(&["DTSTART;VALUE=DATE:20261301\r\nSUMMARY:odd"]), "no date"),
            (file(&["SUMMARY:when"]), "no DTSTART"),
            (file(&["DTSTART;VALUE=DATE:20261201\r\nRRULE:FREQ=SECONDLY\r\nSUMMARY:s"]), "within a day"),
            (file(&["DTSTART;VALUE=DATE:20261201\r\nRRULE:FREQ=OFTEN\r\nSUMMARY:s"]), "within a day"),
            (file(&["DTSTART;VALUE=DATE:20261201\r\nRRULE:NONSENSE\r\nSUMMARY:s"]), "not understood"),
            (file(&["DTSTART;VALUE=DATE:20261201\r\nDTEND;VALUE=DATE:20991201\r\nSUMMARY:s"]), "400 days"),
            (deep, "too deep"),
        ];

        for (text, want) in table {
            let problem = read(&text).expect_err(&text);
            assert!(problem.contains(want), "{problem}");
        }
    }
}
