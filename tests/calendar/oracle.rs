//! The next occurrence, found minute by minute. Nothing of the program is used but its answer: the oracle has its own
//! calendar arithmetic, its own reading of zone files (another crate's), and never sees an expression's text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use sunup::domain::calendar::{Calendar, Calendars, Parts};
use sunup::domain::cron::{CronExpr, Fields};
use sunup::domain::hours::Hours;
use sunup::domain::name::{Action, CalendarName};
use sunup::domain::schedule::{Dates, Schedule, When};
use sunup::domain::zone::{ClockChange, Fold, Gap};

use crate::random::Random;

const DAY: i64 = 86_400;
/// How far around a search clocks are looked at: no zone is further from UTC than 16 h, and Apia left out a whole day.
const AROUND: i64 = 50 * 3600;
const GAP_MAX: i64 = 3 * 3600;

/// Year, month, day and day of the week (Sunday 0) of a day counted from 1970-01-01, after Howard Hinnant's
/// <https://howardhinnant.github.io/date_algorithms.html>.
fn civil(day: i64) -> (i64, i64, i64, i64) {
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, doy - (153 * mp + 2) / 5 + 1, (day + 4).rem_euclid(7))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A field as it was generated: its text for the program, its values for the oracle.
struct Field {
    text: String,
    values: BTreeSet<i64>,
    begins_with_star: bool,
}

fn field(random: &mut Random, low: i64, high: i64, often_single: bool) -> Field {
    let all = || (low..=high).collect::<BTreeSet<i64>>();
    let star = |text: String, values| Field { text, values, begins_with_star: true };
    let plain = |text: String, values: BTreeSet<i64>| Field { text, values, begins_with_star: false };
    let kind = if often_single { random.within(2, 9) } else { random.within(0, 6) };
    match kind {
        0 => star("*".into(), all()),
        1 => {
            let step = random.within(2, (high - low).min(20));
            star(format!("*/{step}"), all().into_iter().filter(|v| (v - low) % step == 0).collect())
        }
        2 => {
            let (a, b) = (random.within(low, high), random.within(low, high));
            let (a, b) = (a.min(b), a.max(b));
            plain(format!("{a}-{b}"), (a..=b).collect())
        }
        3 => {
            let (a, b) = (random.within(low, high), random.within(low, high));
            let (a, b) = (a.min(b), a.max(b));
            if b - a < 2 {
                return plain(a.to_string(), BTreeSet::from([a]));
            }
            let step = random.within(1, b - a);
            plain(format!("{a}-{b}/{step}"), (a..=b).filter(|v| (v - a) % step == 0).collect())
        }
        4 => {
            let values: BTreeSet<i64> = (0..random.within(2, 4)).map(|_| random.within(low, high)).collect();
            let text: Vec<String> = values.iter().map(ToString::to_string).collect();
            plain(text.join(","), values)
        }
        _ => {
            let value = random.within(low, high);
            plain(value.to_string(), BTreeSet::from([value]))
        }
    }
}

/// Which days of a month match, in the oracle's own terms.
enum MonthDays {
    Values(Field),
    Last,
    LastWeekday,
    Nearest(i64),
}

enum WeekDays {
    Values(Field),
    Nth(i64, i64),
    LastOf(i64),
    Workdays,
    Holidays,
}

struct Cron {
    minute: Field,
    hour: Field,
    month: Field,
    month_days: MonthDays,
    week_days: WeekDays,
}

const WEEK: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Cron {
    fn random(random: &mut Random) -> Self {
        let wall = !random.once_in(4);
        let (mut minute, mut hour) = (field(random, 0, 59, wall), field(random, 0, 23, wall));
        if random.once_in(3) {
            // The hours in which clocks change.
            let value = random.within(0, 4);
            hour =
                Field { text: value.to_string(), values: BTreeSet::from([value]), begins_with_star: false };
        }
        if random.once_in(6) {
            minute = Field { text: "0".into(), values: BTreeSet::from([0]), begins_with_star: false };
        }
        let any =
            |low, high| Field { text: "*".into(), values: (low..=high).collect(), begins_with_star: true };
        let month = if random.once_in(12) { field(random, 1, 12, false) } else { any(1, 12) };
        let word = random.once_in(5);
        let month_days = match random.within(0, 11) {
            _ if word => MonthDays::Values(any(1, 31)),
            0 => MonthDays::Last,
            1 => MonthDays::LastWeekday,
            2 => MonthDays::Nearest(random.within(1, 28)),
            3 | 4 => MonthDays::Values(field(random, 1, 31, false)),
            _ => MonthDays::Values(any(1, 31)),
        };
        let week_days = match random.within(0, 11) {
            n if word && n < 6 => WeekDays::Workdays,
            _ if word => WeekDays::Holidays,
            0 => WeekDays::Nth(random.within(0, 6), random.within(1, 4)),
            1 => WeekDays::LastOf(random.within(0, 6)),
            2..=5 => WeekDays::Values(field(random, 0, 6, false)),
            _ => WeekDays::Values(any(0, 6)),
        };
        Self { minute, hour, month, month_days, week_days }
    }

    fn text(&self) -> String {
        let days = match &self.month_days {
            MonthDays::Values(field) => field.text.clone(),
            MonthDays::Last => "L".into(),
            MonthDays::LastWeekday => "LW".into(),
            MonthDays::Nearest(day) => format!("{day}W"),
        };
        let week = match &self.week_days {
            WeekDays::Values(field) => field.text.clone(),
            WeekDays::Nth(day, nth) => format!("{}#{nth}", WEEK[usize::try_from(*day).unwrap()]),
            WeekDays::LastOf(day) => format!("{day}L"),
            WeekDays::Workdays => "WORKDAYS".into(),
            WeekDays::Holidays => "HOLIDAYS".into(),
        };
        format!("{} {} {days} {} {week}", self.minute.text, self.hour.text, self.month.text)
    }

    fn follows_real_time(&self) -> bool {
        self.minute.begins_with_star || self.hour.begins_with_star
    }

    fn matches_day(&self, day: i64, known: &Known) -> bool {
        let (year, month, date, week) = civil(day);
        if !self.month.values.contains(&month) {
            return false;
        }
        let last = days_of_month(year, month);
        let weekend = |date: i64| matches!((week + date - civil(day).2).rem_euclid(7), 0 | 6);
        let in_month = match &self.month_days {
            MonthDays::Values(field) => field.values.contains(&date),
            MonthDays::Last => date == last,
            MonthDays::LastWeekday => (1..=last).rev().find(|d| !weekend(*d)) == Some(date),
            MonthDays::Nearest(wanted) => {
                // The nearest day from Monday to Friday in the same month.
                let near = [0, -1, 1, -2, 2].map(|shift| wanted + shift);
                near.into_iter().find(|d| (1..=last).contains(d) && !weekend(*d)) == Some(date)
            }
        };
        let in_week = match &self.week_days {
            WeekDays::Values(field) => field.values.contains(&week),
            WeekDays::Nth(wanted, nth) => week == *wanted && (date - 1) / 7 + 1 == *nth,
            WeekDays::LastOf(wanted) => week == *wanted && date + 7 > last,
            WeekDays::Workdays => known.is_working(day),
            WeekDays::Holidays => known.holidays.contains(&day) && !known.workdays.contains(&day),
        };
        let star = |field: &Field| field.begins_with_star;
        let any_star = matches!(&self.month_days, MonthDays::Values(field) if star(field))
            || matches!(&self.week_days, WeekDays::Values(field) if star(field))
            || matches!(self.week_days, WeekDays::Workdays | WeekDays::Holidays);
        if any_star { in_month && in_week } else { in_month || in_week }
    }

    fn matches(&self, wall: i64, known: &Known) -> bool {
        let minute = wall.rem_euclid(DAY) / 60;
        self.minute.values.contains(&(minute % 60))
            && self.hour.values.contains(&(minute / 60))
            && self.matches_day(wall.div_euclid(DAY), known)
            && known.keeps(wall.div_euclid(DAY))
    }
}

/// What the oracle knows of dates, as days counted from 1970-01-01.
#[derive(Default)]
struct Known {
    holidays: BTreeSet<i64>,
    workdays: BTreeSet<i64>,
    except: BTreeSet<i64>,
    from: Option<i64>,
    until: Option<i64>,
}

impl Known {
    fn random(random: &mut Random, around: i64) -> Self {
        let days = |random: &mut Random, count| -> BTreeSet<i64> {
            (0..count).map(|_| around + random.within(-5, 30)).collect()
        };
        let (holidays, workdays) = (days(random, 6), days(random, 3));
        let except = if random.once_in(3) { days(random, 8) } else { BTreeSet::new() };
        let from = random.once_in(10).then(|| around + random.within(-3, 5));
        let until = random.once_in(10).then(|| around + random.within(5, 30));
        Self { holidays, workdays, except, from, until }
    }

    fn is_working(&self, day: i64) -> bool {
        let weekend = matches!(civil(day).3, 0 | 6);
        self.workdays.contains(&day) || (!weekend && !self.holidays.contains(&day))
    }

    fn keeps(&self, day: i64) -> bool {
        !self.except.contains(&day)
            && self.from.is_none_or(|from| day >= from)
            && self.until.is_none_or(|until| day <= until)
    }

    fn dates(&self) -> Dates {
        let date = |day: &i64| Date::new(1970, 1, 1).unwrap().checked_add(day.days()).unwrap();
        let named = |days: &BTreeSet<i64>| days.iter().map(|day| (date(day), "x".to_owned())).collect();
        let calendar = |name: &str, holidays: &BTreeSet<i64>, workdays: &BTreeSet<i64>| {
            let parts =
                Parts { holidays: vec![named(holidays)], workdays: named(workdays), ..Parts::default() };
            Calendars::new(vec![(CalendarName::new(name).unwrap(), Arc::new(Calendar::new(parts)))])
        };
        let none = BTreeSet::new();
        Dates {
            calendar: calendar("c", &self.holidays, &self.workdays),
            except: if self.except.is_empty() {
                Calendars::default()
            } else {
                calendar("e", &self.except, &none)
            },
            from: self.from.as_ref().map(date),
            until: self.until.as_ref().map(date),
            ..Dates::default()
        }
    }
}

/// The offsets of a zone around a search, one for each step of time.
struct Clocks {
    begin: i64,
    step: i64,
    offsets: Vec<i64>,
}

impl Clocks {
    fn new(zone: &tz::TimeZone, from: i64, to: i64) -> Self {
        let offset = |at: i64| i64::from(zone.find_local_time_type(at).unwrap().ut_offset());
        let begin = (from - AROUND).div_euclid(60) * 60;
        // Monrovia was 44 min 30 s behind until 1972, and changed half-way through a minute.
        let odd = [begin, from, to, to + AROUND].iter().any(|at| offset(*at) % 60 != 0);
        let step = if odd { 30 } else { 60 };
        let count = (to + AROUND - begin) / step;
        Self { begin, step, offsets: (0..count).map(|index| offset(begin + index * step)).collect() }
    }

    fn offset(&self, at: i64) -> i64 {
        self.offsets[usize::try_from((at - self.begin).div_euclid(self.step)).unwrap()]
    }

    /// Whether clocks show a time at another instant than this, before or after it.
    fn shown_elsewhere(&self, wall: i64, at: i64, kinds: &BTreeSet<i64>, earlier: bool) -> bool {
        kinds.iter().any(|offset| {
            let other = wall - offset;
            let inside = (self.begin..self.begin + self.step * i64::try_from(self.offsets.len()).unwrap())
                .contains(&other);
            inside && if earlier { other < at } else { other > at } && self.offset(other) == *offset
        })
    }
}

/// The first instant after one and up to another at which the expression fires.
fn next(
    cron: &Cron,
    known: &Known,
    clocks: &Clocks,
    change: ClockChange,
    after: i64,
    until: i64,
) -> Option<i64> {
    let kinds: BTreeSet<i64> = clocks.offsets.iter().copied().collect();
    let mut at = clocks.begin + (after - clocks.begin).div_euclid(clocks.step) * clocks.step;
    while at < until {
        at += clocks.step;
        if at <= after {
            continue;
        }
        if at > until {
            break;
        }
        let (before, now) = (clocks.offset(at - clocks.step), clocks.offset(at));
        let jumps = now > before && now - before <= GAP_MAX;
        if jumps && !cron.follows_real_time() && change.gap == Gap::After {
            let first = (at + before).div_euclid(60) * 60;
            let mut left_out = (0..)
                .map(|n| first + n * 60)
                .skip_while(|wall| *wall < at + before)
                .take_while(|wall| *wall < at + now);
            if left_out.any(|wall| cron.matches(wall, known)) {
                return Some(at);
            }
        }
        let wall = at + now;
        if wall.rem_euclid(60) != 0 || !cron.matches(wall, known) {
            continue;
        }
        let counts = match change.fold {
            _ if cron.follows_real_time() => true,
            Fold::First => !clocks.shown_elsewhere(wall, at, &kinds, true),
            Fold::Second => !clocks.shown_elsewhere(wall, at, &kinds, false),
            Fold::Both => true,
        };
        if counts {
            return Some(at);
        }
    }
    None
}

fn zones() -> BTreeMap<String, tz::TimeZone> {
    let names = jiff::tz::db().available().map(|name| name.to_string());
    let read = |name: String| {
        let data = std::fs::read(format!("/usr/share/zoneinfo/{name}")).ok()?;
        Some((name, tz::TimeZone::from_tz_data(&data).ok()?))
    };
    let zones: BTreeMap<_, _> = names.filter_map(read).collect();
    // The program must read the same data, or differences would say nothing.
    assert!(zones.len() > 300, "only {} zones in /usr/share/zoneinfo", zones.len());
    assert!(
        format!("{:?}", jiff::tz::db()).contains("/usr/share/zoneinfo"),
        "the program reads other zone data"
    );
    zones
}

/// A search: where it begins and how far it goes. Half of them begin near a change of the zone's clocks.
fn search(random: &mut Random, zone: &TimeZone) -> (i64, i64) {
    let mut after = random.within(0, 4_133_980_800);
    if random.once_in(2) {
        let near =
            zone.following(Timestamp::from_second(after).unwrap()).next().map(|t| t.timestamp().as_second());
        after =
            near.filter(|at| *at < 4_133_980_800).map_or(after, |at| at + random.within(-30 * 3600, 7200));
    }
    let days = match random.within(0, 99) {
        0 => 40,
        1..=20 => 8,
        _ => random.within(1, 3),
    };
    (after, after + days * DAY)
}

fn crons_agree(seed: u64, cases: u64) -> u64 {
    let zones = zones();
    let names: Vec<&String> = zones.keys().collect();
    let mut random = Random::new(seed);
    let (mut done, mut fired) = (0, 0);
    while done < cases {
        let name = *random.choose(&names);
        let zone = TimeZone::get(name).unwrap();
        let cron = Cron::random(&mut random);
        let text = cron.text();
        // What never occurs is refused, and is no case.
        let Ok(expr) = CronExpr::parse(&text, Fields::Five) else { continue };
        let (after, until) = search(&mut random, &zone);
        let known = Known::random(&mut random, after.div_euclid(DAY));
        let gap = *random.choose(&[Gap::After, Gap::After, Gap::Skip]);
        let fold = *random.choose(&[Fold::First, Fold::First, Fold::Second, Fold::Both]);
        let change = ClockChange { gap, fold };
        let when = When::Cron { expr, action: Action::Start };
        let schedule = Schedule { when, zone, change, dates: known.dates(), jitter: Duration::ZERO };
        let moment = |at: i64| Timestamp::from_second(at).unwrap();

        let ours =
            schedule.happening(moment(after), moment(until)).next().map(|planned| planned.at.as_second());
        let clocks = Clocks::new(&zones[name], after, until);
        let theirs = next(&cron, &known, &clocks, change, after, until);

        assert_eq!(
            ours.map(moment),
            theirs.map(moment),
            "seed {seed}, case {done}: `{text}` in {name} after {} ({gap:?}, {fold:?}, {:?})",
            moment(after),
            schedule.dates
        );
        fired += u64::from(ours.is_some());
        done += 1;
    }
    fired
}

/// A span as it was generated: days of the week (Sunday 0), then minutes from opening to closing.
struct Span {
    week: BTreeSet<i64>,
    workdays: bool,
    opens: i64,
    closes: i64,
}

fn spans(random: &mut Random) -> (String, Vec<Span>) {
    let clock = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
    let (mut texts, mut found) = (Vec::new(), Vec::new());
    for _ in 0..random.within(1, 3) {
        let week: BTreeSet<i64> = (0..random.within(1, 5)).map(|_| random.within(0, 6)).collect();
        let workdays = random.once_in(4);
        let mut names: Vec<String> =
            week.iter().map(|day| WEEK[usize::try_from(*day).unwrap()].to_owned()).collect();
        if workdays {
            names.push("WORKDAYS".into());
        }
        let mut times = Vec::new();
        for _ in 0..random.within(1, 2) {
            let (opens, closes) = match random.within(0, 5) {
                0 => (0, 1440),
                1 => (random.within(0, 1439), 1440),
                _ => (random.within(0, 95) * 15, random.within(0, 95) * 15),
            };
            if opens == closes {
                continue;
            }
            times.push(if (opens, closes) == (0, 1440) {
                "24h".into()
            } else {
                format!("{}-{}", clock(opens), clock(closes))
            });
            let closes = if closes <= opens { closes + 1440 } else { closes };
            found.push(Span { week: week.clone(), workdays, opens, closes });
        }
        if !times.is_empty() {
            texts.push(format!("{} {}", names.join(","), times.join(", ")));
        }
    }
    (texts.join("; "), found)
}

/// The instant at which clocks first show a time or one past it.
fn reached(clocks: &Clocks, wall: i64) -> i64 {
    let mut at =
        clocks.begin + (wall - 20 * 3600 - clocks.begin).max(0).div_euclid(clocks.step) * clocks.step;
    while at + clocks.offset(at) < wall {
        at += clocks.step;
    }
    at
}

/// Whether the jump that a time lies in, if it lies in one, leaves out more than three hours.
fn lies_in_a_long_jump(clocks: &Clocks, wall: i64) -> bool {
    let at = reached(clocks, wall);
    let before = clocks.offset(at - clocks.step);
    at + clocks.offset(at) > wall && clocks.offset(at) - before > GAP_MAX
}

/// The edges after one instant and up to another, by asking of each step of time whether a span holds it.
fn edges(spans: &[Span], known: &Known, clocks: &Clocks, after: i64, until: i64) -> Vec<(i64, bool)> {
    let mut open: Vec<(i64, i64)> = Vec::new();
    for day in after.div_euclid(DAY) - 4..=until.div_euclid(DAY) + 2 {
        for span in spans {
            let named = span.week.contains(&civil(day).3) || (span.workdays && known.is_working(day));
            let (opens, closes) = (day * DAY + span.opens * 60, day * DAY + span.closes * 60);
            let covered = (clocks.begin + 24 * 3600..until + AROUND - 26 * 3600).contains(&opens);
            if named && known.keeps(day) && covered && !lies_in_a_long_jump(clocks, opens) {
                open.push((reached(clocks, opens), reached(clocks, closes)));
            }
        }
    }
    let is_up = |at: i64| open.iter().any(|(opens, closes)| *opens <= at && at < *closes);
    let mut found = Vec::new();
    let mut at = clocks.begin + (after - clocks.begin).div_euclid(clocks.step) * clocks.step;
    let mut up = is_up(at);
    while at < until {
        at += clocks.step;
        let now = is_up(at);
        if now != up && at > after && at <= until {
            found.push((at, now));
        }
        up = now;
    }
    found
}

fn hours_agree(seed: u64, cases: u64) -> u64 {
    let zones = zones();
    let names: Vec<&String> = zones.keys().collect();
    let mut random = Random::new(seed ^ 0xabcd);
    let (mut done, mut edges_seen) = (0, 0);
    while done < cases {
        let name = *random.choose(&names);
        let zone = TimeZone::get(name).unwrap();
        let (text, spans) = spans(&mut random);
        if spans.is_empty() {
            continue;
        }
        let (after, until) = search(&mut random, &zone);
        let until = until.min(after + 9 * DAY);
        let known = Known::random(&mut random, after.div_euclid(DAY));
        let when = When::Hours(Hours::parse(&text).unwrap());
        let (change, dates) = (ClockChange::default(), known.dates());
        let schedule = Schedule { when, zone, change, dates, jitter: Duration::ZERO };
        let moment = |at: i64| Timestamp::from_second(at).unwrap();

        let ours: Vec<_> = schedule
            .happening(moment(after), moment(until))
            .map(|planned| (planned.at.as_second(), planned.action == Action::Start))
            .collect();
        let clocks = Clocks::new(&zones[name], after - 3 * DAY, until + 3 * DAY);
        let theirs = edges(&spans, &known, &clocks, after, until);

        assert_eq!(
            ours,
            theirs,
            "seed {seed}, case {done}: `{text}` in {name} after {} ({:?})",
            moment(after),
            schedule.dates
        );
        edges_seen += u64::try_from(ours.len()).unwrap();
        done += 1;
    }
    edges_seen
}

/// How many cases: what `SUNUP_CASES` says, for the long run, or those of the gate.
#[expect(clippy::disallowed_methods, reason = "a test is told by its surroundings how long it may take")]
fn cases(of_the_gate: u64) -> u64 {
    std::env::var("SUNUP_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(of_the_gate)
}

/// Runs the cases on two threads, each with its own seed.
fn on_two_threads(cases: u64, run: fn(u64, u64) -> u64) -> u64 {
    std::thread::scope(|scope| {
        let halves: Vec<_> =
            [1, 2].map(|seed| scope.spawn(move || run(seed, cases / 2))).into_iter().collect();
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    })
}

#[test]
fn next_occurrences_equal_an_oracle_that_goes_minute_by_minute() {
    let cases = cases(20_000);

    let fired = on_two_threads(cases, crons_agree);

    println!("{cases} cases, {fired} of them fired, 0 differences");
    assert!(fired > cases / 4, "too few cases fired to mean anything: {fired}");
}

#[test]
fn edges_of_hours_equal_an_oracle_that_asks_of_each_minute_whether_a_span_holds_it() {
    let cases = cases(20_000) / 10;

    let edges = on_two_threads(cases, hours_agree);

    println!("{cases} cases, {edges} edges, 0 differences");
    assert!(edges > cases, "too few edges to mean anything: {edges}");
}
