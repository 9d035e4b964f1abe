//! Reading hours strictly: every refusal names the part, the place and what would be right.

use jiff::civil::Weekday;

use super::{Clock, DAY, DaySet, SPANS_MAX, Span, Times};
use crate::domain::misread::{Misread, Word};

const FORM: &str = "write days and times, such as `MON-FRI 09:00-19:00`";
/// How the days of the week are written.
pub const DAY_NAMES: [(&str, Weekday); 7] = [
    ("MON", Weekday::Monday),
    ("TUE", Weekday::Tuesday),
    ("WED", Weekday::Wednesday),
    ("THU", Weekday::Thursday),
    ("FRI", Weekday::Friday),
    ("SAT", Weekday::Saturday),
    ("SUN", Weekday::Sunday),
];

pub(super) fn read(text: &str) -> Result<Vec<Span>, Misread> {
    let all = Word { text, at: 0 };
    let mut spans = Vec::new();
    for part in all.split(';') {
        spans.extend(read_part(all, part)?);
        if spans.len() > SPANS_MAX {
            return Err(all
                .error(format!("the hours name more than {SPANS_MAX} spans"), "make several rules of them"));
        }
    }
    Ok(spans)
}

/// `MON-FRI 09:00-12:00, 13:00-19:00`: days, then times.
fn read_part(all: Word<'_>, part: Word<'_>) -> Result<Vec<Span>, Misread> {
    let mut items: Vec<Word<'_>> = Vec::new();
    for word in part.words() {
        items.extend(word.split(',').into_iter().filter(|item| !item.text.is_empty()));
    }
    if let Some(odd) = items.iter().find(|item| item.text.contains(['–', '—', '~', '～', '−'])) {
        return Err(odd.error(format!("`{}` is no range", odd.text), "write a plain `-` between the two"));
    }
    if let Some(alone) = items.iter().find(|item| item.text == "-") {
        let remedy = "write both times without spaces between them, such as `09:00-19:00`";
        return Err(alone.error("a `-` stands alone".into(), remedy));
    }
    let is_time = |item: &Word<'_>| item.text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let cut = items.iter().position(is_time).unwrap_or(items.len());
    let (days, times) = items.split_at(cut);
    let whole = if part.text.trim().is_empty() { all } else { trimmed(part) };
    if items.is_empty() {
        return Err(whole.error("the hours are empty, or a `;` stands where nothing follows".into(), FORM));
    }
    if days.is_empty() {
        let remedy = format!("name the days: `MON-SUN {}` for every day", whole.text);
        return Err(whole.error(format!("`{}` names no day", whole.text), remedy));
    }
    if times.is_empty() {
        return Err(whole.error(format!("`{}` names no time", whole.text), FORM));
    }
    if let Some(late) = times.iter().find(|item| item.text.starts_with(char::is_alphabetic)) {
        let remedy = "put a `;` before other days: `MON-FRI 09:00-12:00; SAT 10:00-14:00`";
        return Err(late.error(format!("`{}` stands among the times", late.text), remedy));
    }
    let mut set = DaySet::default();
    for day in days {
        read_days(&mut set, *day)?;
    }
    times.iter().map(|time| Ok(Span { days: set, times: read_times(*time)? })).collect()
}

fn trimmed(word: Word<'_>) -> Word<'_> {
    let text = word.text.trim();
    Word { text, at: word.at + text.as_ptr().addr() - word.text.as_ptr().addr() }
}

fn read_days(set: &mut DaySet, item: Word<'_>) -> Result<(), Misread> {
    match item.text.to_ascii_uppercase().as_str() {
        "WORKDAYS" => set.workdays = true,
        "HOLIDAYS" => set.holidays = true,
        _ => {
            let ends = item.split('-');
            let (first, last) = match ends.as_slice() {
                [one] => (weekday(*one)?, weekday(*one)?),
                [first, last] => (weekday(*first)?, weekday(*last)?),
                _ => {
                    let problem = format!("`{}` is no range of days", item.text);
                    return Err(item.error(problem, "write two days with one `-` between them"));
                }
            };
            let mut day = first;
            set.add(day);
            while day != last {
                day = day.next();
                set.add(day);
            }
        }
    }
    Ok(())
}

fn weekday(word: Word<'_>) -> Result<Weekday, Misread> {
    let upper = word.text.to_ascii_uppercase();
    let found = DAY_NAMES.iter().find(|(name, _)| *name == upper);
    found.map(|(_, day)| *day).ok_or_else(|| {
        let near = DAY_NAMES.iter().find(|(name, _)| upper.starts_with(name));
        let remedy = match near {
            _ if upper == "WORKDAY" || upper == "HOLIDAY" => format!("write `{upper}S`"),
            _ if upper.starts_with("WEEKDAY") => {
                "write `MON-FRI`, or `WORKDAYS` to leave out holidays".to_owned()
            }
            _ if upper.starts_with("WEEKEND") => "write `SAT-SUN`".to_owned(),
            _ if upper == "DAILY" || upper.starts_with("EVERY") => "write `MON-SUN`".to_owned(),
            Some((name, _)) => format!("write `{name}`"),
            None => "MON to SUN, WORKDAYS and HOLIDAYS can stand here".to_owned(),
        };
        word.error(format!("`{}` is no day", word.text), remedy)
    })
}

fn read_times(item: Word<'_>) -> Result<Times, Misread> {
    if item.text.eq_ignore_ascii_case("24h") {
        return Ok(Times::Both(Clock(0), Clock(DAY)));
    }
    let ends = item.split('-');
    let [opens, closes] = ends.as_slice() else {
        let remedy = "write `09:00-19:00`, `08:50-` to start only, `-19:30` to stop only, or `24h`";
        return Err(item.error(format!("`{}` is no span of time", item.text), remedy));
    };
    match (opens.text.is_empty(), closes.text.is_empty()) {
        (true, true) => Err(item.error("a `-` stands alone".into(), FORM)),
        (false, true) => Ok(Times::Opens(opening(*opens)?)),
        (true, false) => Ok(Times::Closes(clock(*closes)?)),
        (false, false) => {
            let (opens, closes) = (opening(*opens)?, clock(*closes)?);
            if opens.0 == closes.0 % DAY && !(opens.0 == 0 && closes.0 == DAY) {
                let problem = format!("`{}` opens and closes at the same time", item.text);
                return Err(item.error(problem, "write `24h` for a whole day, or another time"));
            }
            let closes = if closes.0 <= opens.0 { Clock(closes.0 + DAY) } else { closes };
            Ok(Times::Both(opens, closes))
        }
    }
}

fn opening(word: Word<'_>) -> Result<Clock, Misread> {
    match clock(word)? {
        Clock(DAY) => Err(word.error(
            "`24:00` opens nothing: it is the end of a day".into(),
            "write `00:00` with the day after",
        )),
        clock => Ok(clock),
    }
}

fn clock(word: Word<'_>) -> Result<Clock, Misread> {
    let read = || {
        let (hour, minute) = word.text.split_once(':')?;
        let digits = |text: &str, most: usize| {
            let fine = !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit());
            fine.then(|| text.parse::<u16>().ok()).flatten()
        };
        let (hour, minute) = (digits(hour, 2)?, digits(minute, 2).filter(|_| minute.len() == 2)?);
        (minute < 60 && hour * 60 + minute <= DAY).then_some(Clock(hour * 60 + minute))
    };
    read().ok_or_else(|| {
        word.error(format!("`{}` is no time of day", word.text), "write `00:00` to `24:00`, such as `08:50`")
    })
}

#[cfg(test)]
mod tests {
    use crate::domain::hours::{Hours, Times};
    use jiff::civil::Weekday;

    #[test]
    fn hours_are_shown_as_they_were_written_and_hold_as_many_spans_as_are_allowed() {
        let spans = |count: usize| vec!["MON 09:00-10:00"; count].join("; ");

        assert_eq!(Hours::parse(" MON-FRI 09:00-18:00 ").unwrap().to_string(), "MON-FRI 09:00-18:00");
        assert!(Hours::parse(&spans(super::SPANS_MAX)).is_ok());
        assert!(Hours::parse(&spans(super::SPANS_MAX + 1)).is_err());
    }

    fn shown(text: &str) -> Vec<String> {
        let hours = Hours::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        hours
            .spans()
            .iter()
            .map(|span| {
                let names = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"];
                let week = Weekday::Monday.cycle_forward().take(7).zip(names);
                let mut days: String =
                    week.filter(|(day, _)| span.days.names(*day)).map(|(_, n)| n).collect();
                days.push_str(if span.days.workdays { "+W" } else { "" });
                days.push_str(if span.days.holidays { "+H" } else { "" });
                match span.times {
                    Times::Both(opens, closes) => format!("{days} {opens}-{closes}"),
                    Times::Opens(opens) => format!("{days} {opens}-"),
                    Times::Closes(closes) => format!("{days} -{closes}"),
                }
            })
            .collect()
    }

    #[test]
    fn knows_ranges_lists_several_spans_nights_whole_days_and_one_sided_spans() {
        let table: [(&str, &[&str]); 12] = [
            ("MON-FRI 09:00-19:00", &["MoTuWeThFr 09:00-19:00"]),
            ("mon-fri 9:00-19:00", &["MoTuWeThFr 09:00-19:00"]),
            (
                "MON-FRI 09:00-12:00, 13:00-19:00; SAT 10:00-14:00",
                &["MoTuWeThFr 09:00-12:00", "MoTuWeThFr 13:00-19:00", "Sa 10:00-14:00"],
            ),
            ("MON,WED FRI 09:00-12:00,13:00-14:00", &["MoWeFr 09:00-12:00", "MoWeFr 13:00-14:00"]),
            ("MON, WED 09:00-12:00", &["MoWe 09:00-12:00"]),
            ("MON-THU 22:00-06:00", &["MoTuWeTh 22:00-06:00"]),
            ("SAT-MON 24h", &["MoSaSu 00:00-24:00"]),
            ("FRI 20:00-24:00", &["Fr 20:00-24:00"]),
            ("MON-FRI 08:50-", &["MoTuWeThFr 08:50-"]),
            ("MON-FRI -19:30", &["MoTuWeThFr -19:30"]),
            ("WORKDAYS 08:50-19:30; SAT,HOLIDAYS 10:00-14:00", &["+W 08:50-19:30", "Sa+H 10:00-14:00"]),
            ("SUN -24:00", &["Su -24:00"]),
        ];

        for (text, want) in table {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_fully_understand_and_points_at_it() {
        let table = [
            ("", "", "empty"),
            ("MON-FRI 09:00-19:00;", "MON-FRI 09:00-19:00;", "empty"),
            ("09:00-19:00", "09:00-19:00", "names no day"),
            ("MON-FRI", "MON-FRI", "names no time"),
            ("MON-FRI 09:00-25:00", "25:00", "no time of day"),
            ("MON-FRI 09:00-24:01", "24:01", "no time of day"),
            ("MON-FRI 09:60-12:00", "09:60", "no time of day"),
            ("MON-FRI 9-19", "9", "no time of day"),
            ("MON-FRI 09:00", "09:00", "no span of time"),
            ("MON-FRI 09:00 - 19:00", "-", "stands alone"),
            ("MON-FRI - 19:00", "-", "stands alone"),
            ("MON-FRI 09:00-09:00", "09:00-09:00", "same time"),
            ("MON-FRI 00:00-00:00", "00:00-00:00", "same time"),
            ("MON-FRI 24:00-06:00", "24:00", "end of a day"),
            ("MON-FRY 09:00-19:00", "FRY", "no day"),
            ("MONDAY 09:00-19:00", "MONDAY", "no day"),
            ("월-금 09:00-19:00", "월", "no day"),
            ("MON-TUE-WED 09:00-19:00", "MON-TUE-WED", "no range"),
            ("MON 09:00-12:00 TUE", "TUE", "among the times"),
            ("MON 09:00-12:00, SAT 10:00-12:00", "SAT", "among the times"),
            ("WORKDAY 09:00-12:00", "WORKDAY", "no day"),
            ("WORKDAYS-SAT 09:00-12:00", "WORKDAYS", "no day"),
            ("MON 09:00–19:00", "09:00–19:00", "no range"),
            ("MON–FRI 09:00-19:00", "MON–FRI", "no range"),
            ("MON 09:00~19:00", "09:00~19:00", "no range"),
            ("MON 48h", "48h", "no span of time"),
        ];

        for (text, place, problem) in table {
            let error = Hours::parse(text).expect_err(text);
            assert!(error.problem.contains(problem), "{text}: {}", error.problem);
            assert_eq!(text.get(error.span.clone()), Some(place), "{text}");
            assert!(!error.remedy.is_empty(), "{text}");
        }
        let many = format!("MON {}", vec!["01:00-02:00"; 51].join(", "));
        assert!(Hours::parse(&many).unwrap_err().problem.contains("more than 50"));
        for (day, remedy) in
            [("MONDAY", "`MON`"), ("WEEKDAYS", "`MON-FRI`"), ("WEEKEND", "`SAT-SUN`"), ("DAILY", "`MON-SUN`")]
        {
            let error = Hours::parse(&format!("{day} 09:00-19:00")).unwrap_err();
            assert!(error.remedy.contains(remedy), "{day}: {}", error.remedy);
        }
    }
}
