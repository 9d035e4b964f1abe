//! iCalendar files: the all-day events as dates with titles. Timed events are no holidays and are passed over.

use std::collections::{BTreeMap, BTreeSet};

use icalendar::parser::{Component, Property, read_calendar, unfold};
use jiff::civil::{Date, date};
use jiff::{Span, ToSpan};
use rrule::RRuleSet;

use super::diagnostics::words;

/// The largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How deep components may stand in one another: events stand in a calendar, alarms in events.
const DEPTH_MAX: usize = 8;
/// The most days that one event may last.
const EVENT_DAYS_MAX: i64 = 400;
/// Recurrences are followed from here.
const FIRST: Date = date(1970, 1, 1);
/// And up to here, however long they go on.
const LAST: Date = date(2060, 12, 31);

/// How many steps of work one file may cost: dates, repetitions and exceptions counted one by one.
const STEPS_MAX: usize = 300_000;

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
    let mut events: Vec<Event> = Vec::new();
    for root in roots(&unfolded)? {
        let calendar = read_calendar(root).map_err(|_| "it is no iCalendar file".to_owned())?;
        for component in calendar.components.iter().filter(|c| c.name.as_str().eq_ignore_ascii_case("VEVENT"))
        {
            events.extend(Event::of(component)?);
        }
    }
    let mut replaced: BTreeMap<&str, BTreeSet<Date>> = BTreeMap::new();
    for event in &events {
        if let (Some(uid), Some(date)) = (&event.uid, event.replaces) {
            replaced.entry(uid).or_default().insert(date);
        }
    }
    let mut steps = Steps(STEPS_MAX);
    let mut days = BTreeSet::new();
    let nothing = BTreeSet::new();
    for event in events.iter().filter(|event| !event.is_cancelled) {
        let without = event.uid.as_deref().filter(|_| event.replaces.is_none());
        let without = without.and_then(|uid| replaced.get(uid)).unwrap_or(&nothing);
        for begin in event.begins(&mut steps)?.into_iter().filter(|begin| !without.contains(begin)) {
            for day in 0..event.days {
                // The first day is counted where the repetition is.
                if day > 0 {
                    steps.take()?;
                }
                let Ok(date) = begin.checked_add(day.days()) else { break };
                days.insert((date, event.title.clone()));
            }
        }
    }
    Ok(days.into_iter().collect())
}

/// What is left of the work that a file may cost.
struct Steps(usize);

impl Steps {
    fn take(&mut self) -> Result<(), String> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| format!("it names more than {STEPS_MAX} dates"))?;
        Ok(())
    }
}

/// The calendars of a text, one after the other. The parser goes as deep as the text says, so the depth is looked at here.
fn roots(text: &str) -> Result<Vec<&str>, String> {
    let (mut depth, mut begin, mut at) = (0_usize, 0, 0);
    let mut found = Vec::new();
    for line in text.split_inclusive('\n') {
        let word = line.trim();
        let starts = |head: &str| word.get(..head.len()).is_some_and(|w| w.eq_ignore_ascii_case(head));
        match depth {
            0 if word.is_empty() => {}
            0 if !starts("BEGIN:VCALENDAR") => return Err("it does not begin with `BEGIN:VCALENDAR`".into()),
            0 => (depth, begin) = (1, at),
            _ if starts("BEGIN:") => depth += 1,
            _ if starts("END:") => depth -= 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err("its components stand too deep in one another".into());
        }
        at += line.len();
        if depth == 0 && starts("END:") {
            found.extend(text.get(begin..at).map(str::trim_end));
        }
    }
    match (found.is_empty(), depth) {
        (true, 0) => Err("it does not begin with `BEGIN:VCALENDAR`".into()),
        (_, 0) => Ok(found),
        _ => Err("it breaks off: an `END:` is missing".into()),
    }
}

/// One all-day event.
struct Event {
    uid: Option<String>,
    title: String,
    begin: Date,
    days: i64,
    rules: Vec<String>,
    further: BTreeSet<Date>,
    without: BTreeSet<Date>,
    replaces: Option<Date>,
    is_cancelled: bool,
}

impl Event {
    /// `None` for an event with a time of day.
    fn of(component: &Component<'_>) -> Result<Option<Self>, String> {
        let all = |name: &str| -> Vec<&Property<'_>> {
            component.properties.iter().filter(|p| p.name.as_str().eq_ignore_ascii_case(name)).collect()
        };
        let text = |name: &str| all(name).first().map(|property| words(property.val.as_str()));
        let title = text("SUMMARY").filter(|title| !title.is_empty()).unwrap_or_else(|| "untitled".into());
        let trouble = |what: &str| format!("its event `{title}` {what}");
        let starts = all("DTSTART");
        let start = match starts.as_slice() {
            [start] => *start,
            [] => return Err(trouble("has no DTSTART")),
            _ => return Err(trouble("has more than one DTSTART")),
        };
        // Outlook writes its all-day events from midnight to midnight, with a word of its own.
        let said = text("X-MICROSOFT-CDO-ALLDAYEVENT").is_some_and(|word| word.eq_ignore_ascii_case("TRUE"));
        let begin = match said {
            true => date_of(start.val.as_str()),
            false => whole_day(start, &title)?,
        };
        let replaces = || {
            let id = all("RECURRENCE-ID");
            let id = id.first().map(|property| property.val.as_str());
            id.map(|id| date_of(id).ok_or_else(|| trouble("replaces what is no date"))).transpose()
        };
        let Some(begin) = begin else {
            // A day of a series that was moved to a time of day is none of its all-day dates any more.
            let moved = |date| Self { uid: text("UID"), begin: date, replaces: Some(date), ..Self::gone() };
            return Ok(replaces()?.map(moved));
        };
        if !all("EXRULE").is_empty() {
            return Err(trouble("has an EXRULE, which the standard has given up"));
        }
        let dates = |name: &str| -> Result<BTreeSet<Date>, String> {
            let values = all(name);
            let values = values.iter().flat_map(|property| property.val.as_str().split(','));
            let read = |value: &str| {
                date_of(value)
                    .ok_or_else(|| trouble(&format!("names `{}` as {name}, which is no date", words(value))))
            };
            values.map(read).collect()
        };
        let (further, without) = (dates("RDATE")?, dates("EXDATE")?);
        Ok(Some(Self {
            uid: text("UID"),
            begin,
            days: length(&all("DTEND"), &all("DURATION"), begin, &title)?,
            rules: all("RRULE").iter().map(|property| property.val.as_str().to_owned()).collect(),
            further,
            without,
            replaces: replaces()?,
            is_cancelled: text("STATUS").is_some_and(|status| status.eq_ignore_ascii_case("CANCELLED")),
            title,
        }))
    }

    /// An event that does not take place.
    fn gone() -> Self {
        let none = BTreeSet::new;
        Self {
            uid: None,
            title: String::new(),
            begin: FIRST,
            days: 1,
            rules: Vec::new(),
            further: none(),
            without: none(),
            replaces: None,
            is_cancelled: true,
        }
    }

    /// The first days of the event and of its repetitions.
    fn begins(&self, steps: &mut Steps) -> Result<BTreeSet<Date>, String> {
        let mut begins = self.further.clone();
        begins.insert(self.begin);
        for rule in &self.rules {
            self.repeat(rule, &mut begins, steps)?;
        }
        begins.retain(|date| !self.without.contains(date) && (FIRST..=LAST).contains(date));
        Ok(begins)
    }

    fn repeat(&self, rule: &str, begins: &mut BTreeSet<Date>, steps: &mut Steps) -> Result<(), String> {
        let trouble =
            |what: &str| format!("the repetition `{}` of its event `{}` {what}", words(rule), self.title);
        // The parser of repetitions cuts its values by bytes, so only what can stand in one is given to it.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '=' | ';' | ',' | '+' | '-');
        if !rule.chars().all(is_plain) {
            return Err(trouble("is not understood"));
        }
        let mut parts = Vec::new();
        for part in rule.split(';').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| trouble("is not understood"))?;
            let (key, value) = (key.to_ascii_uppercase(), value.to_ascii_uppercase());
            match (key.as_str(), value.as_str()) {
                ("FREQ", "DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY") => parts.push(format!("FREQ={value}")),
                ("FREQ", _) => return Err(trouble("repeats within a day, which no all-day event does")),
                ("INTERVAL" | "COUNT", "0") => return Err(trouble("never comes")),
                // The last day counts, whatever the time.
                ("UNTIL", value) => {
                    let date = date_of(value).ok_or_else(|| trouble("ends on no date"))?;
                    if date < self.begin {
                        return Ok(());
                    }
                    parts.push(format!("UNTIL={}T235959Z", date.strftime("%Y%m%d")));
                }
                _ => parts.push(format!("{key}={value}")),
            }
        }
        let begin = self.begin.strftime("%Y%m%d");
        let set: RRuleSet = format!("DTSTART:{begin}T000000Z\nRRULE:{}", parts.join(";"))
            .parse()
            .map_err(|_| trouble("is not understood"))?;
        for at in &set.limit() {
            steps.take()?;
            match at.format("%Y-%m-%d").to_string().parse::<Date>() {
                Ok(date) if date <= LAST => begins.insert(date),
                _ => break,
            };
        }
        Ok(())
    }
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
        None => Err(format!("its event `{title}` begins on `{}`, which is no date", words(value))),
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
fn length(
    ends: &[&Property<'_>],
    durations: &[&Property<'_>],
    begin: Date,
    title: &str,
) -> Result<i64, String> {
    let trouble = |what: String| format!("its event `{title}` {what}");
    let days = match (ends.first(), durations.first()) {
        (Some(end), _) => {
            let end = date_of(end.val.as_str()).ok_or_else(|| trouble("ends on no date".into()))?;
            if end < begin {
                return Err(trouble("ends before it begins".into()));
            }
            // An event that ends on its first day lasts that day.
            (end.duration_since(begin).as_hours() / 24).max(1)
        }
        (None, Some(duration)) => {
            let text = duration.val.as_str().trim();
            let days = text.parse::<Span>().ok().and_then(whole_days);
            days.ok_or_else(|| trouble(format!("lasts `{}`, which is no number of days", words(text))))?
        }
        (None, None) => 1,
    };
    if days > EVENT_DAYS_MAX {
        return Err(trouble(format!("lasts more than {EVENT_DAYS_MAX} days")));
    }
    Ok(days)
}

/// The days of a duration of weeks, days, or hours that make up days.
fn whole_days(span: Span) -> Option<i64> {
    let odd =
        span.get_years() != 0 || span.get_months() != 0 || span.get_minutes() != 0 || span.get_seconds() != 0;
    let days =
        i64::from(span.get_weeks()) * 7 + i64::from(span.get_days()) + i64::from(span.get_hours() / 24);
    (!odd && span.get_hours() % 24 == 0 && days > 0).then_some(days)
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
            "DTSTART;TZID=Korea Standard Time:20261221T000000\r\nDTEND;TZID=Korea Standard Time:20261223T000000\r\n\
             X-MICROSOFT-CDO-ALLDAYEVENT:TRUE\r\nSUMMARY:as Outlook has it",
        ]);

        assert_eq!(
            days(&text),
            ["2026-12-21 as Outlook has it", "2026-12-22 as Outlook has it", "2026-12-23 kept"]
        );
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
        let timed = moved.replace("DTSTART;VALUE=DATE:20260114", "DTSTART:20260114T090000Z");
        assert_eq!(days(&timed), ["2026-01-05 w"]);
        let forever = days(&file(&["DTSTART;VALUE=DATE:20260101\r\nRRULE:FREQ=YEARLY\r\nSUMMARY:ny"]));
        assert_eq!((forever.len(), forever.last().map(String::as_str)), (35, Some("2060-01-01 ny")));
    }

    #[test]
    fn folded_lines_a_byte_order_mark_and_korean_titles_are_read() {
        let folded = "\u{feff}BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=D\r\n ATE:20260217\r\nSUMMARY:설날 연\r\n 휴\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

        assert_eq!(days(folded), ["2026-02-17 설날 연휴"]);
    }

    #[test]
    fn a_title_from_elsewhere_cannot_write_on_the_terminal_or_fill_the_memory() {
        let odd =
            file(&["DTSTART;VALUE=DATE:20261201\r\nSUMMARY:a\u{1b}[31mb\u{7}\\nrule fake\u{202e}c\u{9b}d"]);
        let long = file(&[&format!("DTSTART;VALUE=DATE:20261201\r\nSUMMARY:{}", "x".repeat(100_000))]);

        assert_eq!(days(&odd), ["2026-12-01 a [31mb rule fake c d"]);
        assert!(days(&long)[0].chars().count() < 220);
    }

    #[test]
    fn several_calendars_in_one_file_and_names_in_lower_case_are_read() {
        let one = file(&["dtstart;value=date:20261201\r\nsummary:one"]);
        let two = file(&["DTSTART;VALUE=DATE:20261202\r\nRRULE:FREQ=DAILY;UNTIL=20200101\r\nSUMMARY:two"]);

        assert_eq!(days(&format!("{one}{two}")), ["2026-12-01 one", "2026-12-02 two"]);
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
            (file(&["DTSTART;VALUE=DATE:20261201\r\nDTEND;VALUE=DATE:20261101\r\nSUMMARY:s"]), "ends before"),
            (file(&["DTSTART;VALUE=DATE:20261201\r\nDURATION:P1M\r\nSUMMARY:s"]), "no number of days"),
            (file(&["DTSTART;VALUE=DATE:20261201\r\nDURATION:-P1D\r\nSUMMARY:s"]), "no number of days"),
            (file(&["DTSTART;VALUE=DATE:20261201\r\nEXDATE:soon\r\nSUMMARY:s"]), "EXDATE"),
            (file(&["DTSTART;VALUE=DATE:20261201\r\nRDATE:2026-12-05\r\nSUMMARY:s"]), "RDATE"),
            (file(&["DTSTART;VALUE=DATE:20261201\r\nEXRULE:FREQ=DAILY\r\nSUMMARY:s"]), "EXRULE"),
            (file(&["DTSTART;VALUE=DATE:20261201\r\nRRULE:FREQ=DAILY;COUNT=0\r\nSUMMARY:s"]), "never comes"),
            (
                file(&["DTSTART;VALUE=DATE:20261201\r\nDTSTART;VALUE=DATE:20261202\r\nSUMMARY:s"]),
                "more than one",
            ),
            // Little text that would be much work.
            (
                file(&["DTSTART;VALUE=DATE:19700101\r\nRRULE:FREQ=DAILY\r\nDURATION:P400D\r\nSUMMARY:s"]),
                "more than 300000",
            ),
            (
                file(&vec!["DTSTART;VALUE=DATE:19700101\r\nRRULE:FREQ=DAILY\r\nSUMMARY:s"; 20]),
                "more than 300000",
            ),
            (deep, "too deep"),
        ];

        for (text, want) in table {
            let problem = read(&text).expect_err(&text);
            assert!(problem.contains(want), "{problem}");
        }
    }
}
