//! A rule's schedule in words, as one would say it to a colleague.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::calendar::Calendars;
use super::cron::{CronExpr, DayWord};
use super::hours::{DaySet, Hours, Span, Times};
use super::rule::Rule;
use super::schedule::{ExceptEdge, Moment, Schedule, When};
use super::zone::{Fold, Gap};

/// The most wall-clock times that are listed one by one.
const TIMES_LISTED: usize = 6;
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// `starts db, web at 08:50 on Monday to Friday in Asia/Seoul, except the public holidays of Korea`.
#[must_use]
pub fn of_rule(rule: &Rule) -> String {
    let groups: Vec<String> = rule.groups.iter().map(ToString::to_string).collect();
    let mut words = of_schedule(&rule.schedule, &groups.join(", "));
    if !rule.enabled {
        words.push_str("; it is disabled");
    }
    words
}

fn of_schedule(schedule: &Schedule, groups: &str) -> String {
    let zone = zone_words(&schedule.zone);
    let calendar = &schedule.dates.calendar;
    let mut words = match &schedule.when {
        When::Cron { expr, action } => {
            format!("{action}s {groups} {} {} in {zone}", cron_times(expr), cron_days(expr, calendar))
        }
        When::Hours(hours) => format!("{} in {zone}", hours_words(hours, groups, calendar)),
        When::At { moments, action } => {
            format!("{action}s {groups} {} in {zone}", at_words(moments, &schedule.zone))
        }
    };
    let dates = &schedule.dates;
    if !dates.except.is_empty() {
        words.push_str(&format!(", except {}", holidays_of(&dates.except)));
        if dates.except_edge == ExceptEdge::Start {
            words.push_str(" (but it still stops at the closing edge on them)");
        }
    }
    if !dates.only.is_empty() {
        words.push_str(&format!(", only on {}", holidays_of(&dates.only)));
    }
    if let Some(from) = dates.from {
        words.push_str(&format!(", from {from}"));
    }
    if let Some(until) = dates.until {
        words.push_str(&format!(", until {until}"));
    }
    if schedule.change.gap == Gap::Skip {
        words.push_str(", not where clocks jump over it");
    }
    match schedule.change.fold {
        Fold::First => {}
        Fold::Second => words.push_str(", the second time where clocks show it twice"),
        Fold::Both => words.push_str(", both times where clocks show it twice"),
    }
    if !schedule.jitter.is_zero() {
        words.push_str(&format!(", up to {} later", length(schedule.jitter.as_secs())));
    }
    words
}

/// `90s`, `5m`, `2h`.
fn length(seconds: u64) -> String {
    match seconds {
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

fn zone_words(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("a fixed offset").to_owned()
}

/// `the public holidays of Korea and the holidays of calendar company`.
fn holidays_of(calendars: &Calendars) -> String {
    let words = calendars.titled().map(|(name, title)| match title {
        Some(title) => format!("the {title}"),
        None => format!("the holidays of calendar {name}"),
    });
    listed(&words.collect::<Vec<_>>())
}

/// `a`, `a and b`, `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [firsts @ .., last] => format!("{} and {last}", firsts.join(", ")),
    }
}

fn cron_times(expr: &CronExpr) -> String {
    if let Some(times) = plain_times(expr) {
        return format!("at {}", listed(&times));
    }
    let (times, _) = described(expr);
    times.replace("at every", "every")
}

/// The times of an expression that lists hours and minutes one by one.
fn plain_times(expr: &CronExpr) -> Option<Vec<String>> {
    let text = expr.as_str();
    let fields: Vec<&str> = text.split_whitespace().collect();
    let (seconds, minutes, hours) = match fields.as_slice() {
        [minutes, hours, _, _, _] => ("0", *minutes, *hours),
        [seconds, minutes, hours, _, _, _] => (*seconds, *minutes, *hours),
        _ => return None,
    };
    let numbers = |field: &str| -> Option<Vec<u8>> {
        let mut found: Vec<u8> = field.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
        found.sort_unstable();
        Some(found)
    };
    let (seconds, minutes, hours) = (numbers(seconds)?, numbers(minutes)?, numbers(hours)?);
    if seconds.len() * minutes.len() * hours.len() > TIMES_LISTED {
        return None;
    }
    let mut times = Vec::new();
    for hour in &hours {
        for minute in &minutes {
            for second in &seconds {
                let tail = if *second == 0 { String::new() } else { format!(":{second:02}") };
                times.push(format!("{hour:02}:{minute:02}{tail}"));
            }
        }
    }
    Some(times)
}

fn cron_days(expr: &CronExpr, calendar: &Calendars) -> String {
    match expr.day_word() {
        Some(word) => {
            let months = described(expr).1;
            let months = if months.is_empty() { months } else { format!(" {months}") };
            format!("on {}{months}", word_days(word, calendar))
        }
        None => match described(expr).1 {
            days if days.is_empty() => "every day".to_owned(),
            days if days.starts_with("in ") => format!("every day {days}"),
            days => days,
        },
    }
}

fn word_days(word: DayWord, calendar: &Calendars) -> String {
    let names: Vec<String> = calendar.names().map(ToString::to_string).collect();
    match word {
        DayWord::Workdays => format!("working days (calendar {})", names.join(", ")),
        DayWord::Holidays => holidays_of(calendar),
    }
}

/// What croner says of the times and of the days, cut in two.
fn described(expr: &CronExpr) -> (String, String) {
    let text = expr.describe();
    let text = text.trim_end_matches('.');
    let cut = [", on ", ", in "].into_iter().filter_map(|word| text.find(word)).min().unwrap_or(text.len());
    let (times, days) = text.split_at_checked(cut).unwrap_or((text, ""));
    let mut first = times.chars();
    let times = first.next().map(|c| c.to_lowercase().to_string() + first.as_str()).unwrap_or_default();
    (times, shortened(days.trim_start_matches(", ")))
}

/// Runs of weekdays as ranges.
fn shortened(days: &str) -> String {
    let mut text = days.replace(", and ", " and ");
    for length in (3..=7).rev() {
        for first in 0..=(7 - length) {
            let run: Vec<String> =
                DAYS.iter().skip(first).take(length).map(|day| (*day).to_owned()).collect();
            if let (Some(from), Some(to)) = (run.first(), run.last()) {
                text = text.replace(&listed(&run), &format!("{from} to {to}"));
            }
        }
    }
    text
}

/// `keeps web up from 09:00 to 19:00 on Monday to Friday`.
fn hours_words(hours: &Hours, groups: &str, calendar: &Calendars) -> String {
    let mut parts: Vec<(DaySet, Vec<String>)> = Vec::new();
    let is_plain = hours.spans().iter().all(|span| matches!(span.times, Times::Both(..)));
    let (only_opens, only_closes) = (!hours.closes(), !hours.opens());
    for Span { days, times } in hours.spans() {
        let words = match times {
            Times::Both(opens, closes) if opens.to_string() == "00:00" && closes.to_string() == "24:00" => {
                "all day".to_owned()
            }
            // Both are written with two digits each, so their texts are in their order.
            Times::Both(opens, closes) if closes.to_string() <= opens.to_string() => {
                format!("from {opens} to {closes} of the next day")
            }
            Times::Both(opens, closes) => format!("from {opens} to {closes}"),
            Times::Opens(opens) if only_opens => format!("at {opens}"),
            Times::Closes(closes) if only_closes => format!("at {closes}"),
            Times::Opens(opens) => format!("starts at {opens}"),
            Times::Closes(closes) => format!("stops at {closes}"),
        };
        match parts.last_mut() {
            Some((same, list)) if same == days => {
                if !list.contains(&words) {
                    list.push(words);
                }
            }
            _ => parts.push((*days, vec![words])),
        }
    }
    let parts: Vec<String> = parts
        .into_iter()
        .map(|(days, times)| format!("{} on {}", listed(&times), day_set_words(&days, calendar)))
        .map(|part| part.replace(" on every day", " every day"))
        .collect();
    let parts = listed(&parts);
    match (only_opens, only_closes, is_plain) {
        (true, _, _) => format!("starts {groups} {parts}"),
        (_, true, _) => format!("stops {groups} {parts}"),
        (_, _, true) => format!("keeps {groups} up {parts}"),
        _ => format!("runs {groups}: {parts}"),
    }
}

fn day_set_words(days: &DaySet, calendar: &Calendars) -> String {
    let mut words = Vec::new();
    if days.workdays {
        words.push(word_days(DayWord::Workdays, calendar));
    }
    let mut run: Vec<&str> = Vec::new();
    let flush = |run: &mut Vec<&str>, words: &mut Vec<String>| {
        match run.as_slice() {
            [first, _, .., last] => words.push(format!("{first} to {last}")),
            few => words.extend(few.iter().map(|day| (*day).to_owned())),
        }
        run.clear();
    };
    for (day, name) in Weekday::Monday.cycle_forward().take(7).zip(DAYS) {
        if days.names(day) {
            run.push(name);
        } else {
            flush(&mut run, &mut words);
        }
    }
    if run.len() == 7 {
        words.push("every day".to_owned());
        run.clear();
    }
    flush(&mut run, &mut words);
    if days.holidays {
        words.push(word_days(DayWord::Holidays, calendar));
    }
    listed(&words)
}

fn at_words(moments: &[Moment], zone: &TimeZone) -> String {
    let show = |moment: &Moment| zone.to_datetime(moment.at).strftime("%Y-%m-%d %H:%M").to_string();
    match moments {
        [first, .., last] if moments.len() > TIMES_LISTED => {
            format!("at {} moments from {} to {}", moments.len(), show(first), show(last))
        }
        few => format!("at {}", listed(&few.iter().map(show).collect::<Vec<_>>())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::calendar::{Calendar, Parts};
    use crate::domain::name::{Action, CalendarName};
    use crate::domain::plan::tests::rule;
    use jiff::Timestamp;
    use std::sync::Arc;
    use std::time::Duration;

    fn cron(text: &str) -> String {
        of_rule(&rule("morning", text, Action::Start))
    }

    fn hours(text: &str) -> String {
        let mut rule = rule("office", "* * * * *", Action::Start);
        rule.schedule.when = When::Hours(Hours::parse(text).unwrap());
        of_rule(&rule)
    }

    #[test]
    fn cron_rules_are_said_as_a_colleague_would() {
        let table = [
            ("50 8 * * MON-FRI", "starts web at 08:50 on Monday to Friday in Asia/Seoul"),
            ("0,30 8,9 * * *", "starts web at 08:00, 08:30, 09:00 and 09:30 every day in Asia/Seoul"),
            (
                "0,20,40 8,9 * * SAT",
                "starts web at 08:00, 08:20, 08:40, 09:00, 09:20 and 09:40 on Saturday in Asia/Seoul",
            ),
            ("*/10 * * * *", "starts web every 10 minutes every day in Asia/Seoul"),
        ];
        for (text, want) in table {
            assert_eq!(cron(text), want, "{text}");
        }
        assert!(!cron("0,10,20,30 8,9 * * *").contains("08:20"), "more than six times are not listed");
    }

    #[test]
    fn spans_of_hours_are_said_as_a_colleague_would() {
        let table = [
            ("MON-FRI 09:00-19:00", "keeps web up from 09:00 to 19:00 on Monday to Friday in Asia/Seoul"),
            ("SAT 00:00-24:00", "keeps web up all day on Saturday in Asia/Seoul"),
            ("SAT 00:00-12:00", "keeps web up from 00:00 to 12:00 on Saturday in Asia/Seoul"),
            ("SAT 12:00-24:00", "keeps web up from 12:00 to 24:00 on Saturday in Asia/Seoul"),
            ("MON 09:00-", "starts web at 09:00 on Monday in Asia/Seoul"),
            ("MON -19:00", "stops web at 19:00 on Monday in Asia/Seoul"),
            (
                "MON-FRI 09:00-12:00, 13:00-19:00; SAT 10:00-14:00",
                "keeps web up from 09:00 to 12:00 and from 13:00 to 19:00 on Monday to Friday and from 10:00 to 14:00 on Saturday in Asia/Seoul",
            ),
        ];
        for (text, want) in table {
            assert_eq!(hours(text), want, "{text}");
        }
    }

    #[test]
    fn few_moments_are_listed_and_of_many_the_first_and_the_last_are_said() {
        let moments = |count: i64| {
            let at = |day| Moment { at: Timestamp::from_second(day * 86_400).unwrap(), odd: None };
            let mut launch = rule("launch", "* * * * *", Action::Start);
            launch.schedule.zone = TimeZone::UTC;
            launch.schedule.when = When::At { moments: (0..count).map(at).collect(), action: Action::Start };
            of_rule(&launch)
        };

        assert!(moments(2).contains("at 1970-01-01 00:00 and 1970-01-02 00:00"), "{}", moments(2));
        assert!(moments(6).contains("1970-01-05 00:00 and 1970-01-06 00:00"), "{}", moments(6));
        let many = moments(7);
        assert!(many.contains("at 7 moments from 1970-01-01 00:00 to 1970-01-07 00:00"), "{many}");
    }

    #[test]
    fn dates_and_delays_and_a_disabled_rule_are_said() {
        let titled = |name: &str, title| {
            let parts = Parts { title, ..Parts::default() };
            (CalendarName::new(name).unwrap(), Arc::new(Calendar::new(parts)))
        };
        let mut rule = rule("morning", "50 8 * * *", Action::Start);
        rule.schedule.dates.except =
            Calendars::new(vec![titled("kr", Some("public holidays of Korea")), titled("company", None)]);
        rule.enabled = false;
        rule.schedule.jitter = Duration::from_mins(5);

        assert_eq!(
            of_rule(&rule),
            "starts web at 08:50 every day in Asia/Seoul, except the public holidays of Korea and the holidays of calendar company, \
             up to 5m later; it is disabled"
        );
        assert_eq!([length(7200), length(90), length(60)], ["2h", "90s", "1m"]);
    }
}
