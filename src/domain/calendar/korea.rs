//! The public holidays of Korea, computed: fixed days, lunar days, substitute days by the law of each year, and data.
//!
//! The law is the Regulation on Holidays of Public Offices (관공서의 공휴일에 관한 규정), articles 2 and 3.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use icu_calendar::Iso;
use icu_calendar::types::Month;
use jiff::civil::{Date, Weekday, date};

use super::Days;

/// The name by which the configuration asks for this calendar.
pub const NAME: &str = "kr";
/// The first year that is computed.
pub const YEAR_MIN: i16 = 2015;
/// The last year that is computed: up to here the lunar dates are those of the Korea Astronomy and Space Science Institute.
pub const YEAR_MAX: i16 = 2050;

/// Which days of the week give a holiday that falls on them a substitute. A second holiday on a day from Monday to Friday
/// gives one in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Substitute {
    /// None, whatever happens: New Year's Day and Memorial Day.
    Never,
    /// Sunday alone, for holidays from this date on: the three days of Seollal and of Chuseok.
    Sunday(Date),
    /// Saturday and Sunday, for holidays from this date on.
    Weekend(Date),
}

/// When each change of article 3 came into force: decrees 24828, 31930, 33448 and 36290.
const SINCE_2013: Date = date(2013, 11, 5);
const SINCE_2021: Date = date(2021, 8, 4);
const SINCE_2023: Date = date(2023, 5, 4);
const SINCE_2026: Date = date(2026, 5, 1);

/// A holiday on the same date of each year.
struct Fixed {
    month: i8,
    day: i8,
    title: &'static str,
    first_year: i16,
    substitute: Substitute,
}

const fn fixed(month: i8, day: i8, title: &'static str, substitute: Substitute) -> Fixed {
    Fixed { month, day, title, first_year: YEAR_MIN, substitute }
}

const FIXED: [Fixed; 10] = [
    fixed(1, 1, "New Year's Day (1월 1일)", Substitute::Never),
    fixed(3, 1, "Independence Movement Day (삼일절)", Substitute::Weekend(SINCE_2021)),
    Fixed { first_year: 2026, ..fixed(5, 1, "Labour Day (노동절)", Substitute::Weekend(SINCE_2026)) },
    fixed(5, 5, "Children's Day (어린이날)", Substitute::Weekend(SINCE_2013)),
    fixed(6, 6, "Memorial Day (현충일)", Substitute::Never),
    Fixed {
        first_year: 2026, ..fixed(7, 17, "Constitution Day (제헌절)", Substitute::Weekend(SINCE_2026))
    },
    fixed(8, 15, "Liberation Day (광복절)", Substitute::Weekend(SINCE_2021)),
    fixed(10, 3, "National Foundation Day (개천절)", Substitute::Weekend(SINCE_2021)),
    fixed(10, 9, "Hangeul Day (한글날)", Substitute::Weekend(SINCE_2021)),
    fixed(12, 25, "Christmas (기독탄신일)", Substitute::Weekend(SINCE_2023)),
];

/// Election days and days that the government proclaimed, as far as they are known.
const PROCLAIMED: [(Date, &str); 17] = [
    (date(2015, 8, 14), "temporary holiday (임시공휴일)"),
    (date(2016, 4, 13), "National Assembly election (국회의원선거일)"),
    (date(2016, 5, 6), "temporary holiday (임시공휴일)"),
    (date(2017, 5, 9), "presidential election (대통령선거일)"),
    (date(2017, 10, 2), "temporary holiday (임시공휴일)"),
    (date(2018, 6, 13), "local elections (전국동시지방선거일)"),
    (date(2020, 4, 15), "National Assembly election (국회의원선거일)"),
    (date(2020, 8, 17), "temporary holiday (임시공휴일)"),
    (date(2022, 3, 9), "presidential election (대통령선거일)"),
    (date(2022, 6, 1), "local elections (전국동시지방선거일)"),
    (date(2023, 10, 2), "temporary holiday (임시공휴일)"),
    (date(2024, 4, 10), "National Assembly election (국회의원선거일)"),
    (date(2024, 10, 1), "temporary holiday (임시공휴일)"),
    (date(2025, 1, 27), "temporary holiday (임시공휴일)"),
    (date(2025, 6, 3), "presidential election (대통령선거일)"),
    (date(2026, 6, 3), "local elections (전국동시지방선거일)"),
    (date(2028, 4, 12), "National Assembly election (국회의원선거일)"),
];

/// One holiday before substitutes.
struct Holiday {
    date: Date,
    title: &'static str,
    /// What a substitute for it is called after.
    after: &'static str,
    substitute: Substitute,
}

/// The holidays of all years from [`YEAR_MIN`] to [`YEAR_MAX`].
#[must_use]
pub fn holidays() -> &'static Days {
    static HOLIDAYS: LazyLock<Days> = LazyLock::new(|| (YEAR_MIN..=YEAR_MAX).flat_map(year).collect());
    &HOLIDAYS
}

fn year(year: i16) -> Days {
    let mut base = lunar(year);
    base.extend(FIXED.iter().filter(|fixed| year >= fixed.first_year).filter_map(|fixed| {
        let date = Date::new(year, fixed.month, fixed.day).ok()?;
        Some(Holiday { date, title: fixed.title, after: fixed.title, substitute: fixed.substitute })
    }));
    base.sort_by_key(|holiday| holiday.date);
    let mut days = Days::new();
    for holiday in &base {
        join(&mut days, holiday.date, holiday.title);
    }
    for (date, holiday) in substitutes(&base) {
        join(&mut days, date, &format!("substitute for {holiday}"));
    }
    for (date, title) in PROCLAIMED.iter().filter(|(date, _)| date.year() == year) {
        join(&mut days, *date, title);
    }
    days
}

fn join(days: &mut Days, date: Date, title: &str) {
    let known = days.entry(date).or_default();
    if !known.is_empty() {
        known.push_str(", ");
    }
    known.push_str(title);
}

/// Seollal and Chuseok with the days around them, and Buddha's Birthday.
fn lunar(year: i16) -> Vec<Holiday> {
    const SEOLLAL: &str = "Seollal (설날)";
    const CHUSEOK: &str = "Chuseok (추석)";
    let festival = Substitute::Sunday(SINCE_2013);
    let buddha = if year < 2018 {
        "Buddha's Birthday (석가탄신일)"
    } else {
        "Buddha's Birthday (부처님오신날)"
    };
    let days = [
        (1, 1, -1, "day before Seollal (설날 전날)", SEOLLAL, festival),
        (1, 1, 0, SEOLLAL, SEOLLAL, festival),
        (1, 1, 1, "day after Seollal (설날 다음 날)", SEOLLAL, festival),
        (4, 8, 0, buddha, buddha, Substitute::Weekend(SINCE_2023)),
        (8, 15, -1, "day before Chuseok (추석 전날)", CHUSEOK, festival),
        (8, 15, 0, CHUSEOK, CHUSEOK, festival),
        (8, 15, 1, "day after Chuseok (추석 다음 날)", CHUSEOK, festival),
    ];
    let found = days.into_iter().filter_map(|(month, day, shift, title, after, substitute)| {
        let date = from_lunar(year, month, day)?.checked_add(jiff::Span::new().days(shift)).ok()?;
        Some(Holiday { date, title, after, substitute })
    });
    found.collect()
}

/// A day of a month that is no leap month, in the Korean lunar year that begins in `year`.
fn from_lunar(year: i16, month: u8, day: u8) -> Option<Date> {
    let lunar =
        icu_calendar::Date::try_new_korean_traditional(i32::from(year), Month::new(month), day).ok()?;
    let iso = lunar.to_calendar(Iso);
    let (month, day) = (iso.month().number(), iso.day_of_month().0);
    Date::new(
        i16::try_from(iso.year().extended_year()).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
    )
    .ok()
}

/// The substitute days, each with the holiday that it stands for: the first day after it that is neither a holiday nor
/// a Saturday.
fn substitutes(base: &[Holiday]) -> BTreeMap<Date, &'static str> {
    let mut taken: BTreeMap<Date, &'static str> = BTreeMap::new();
    let mut shared: Vec<Date> = Vec::new();
    for holiday in base {
        let weekday = holiday.date.weekday();
        let others = base.iter().filter(|other| other.date == holiday.date).count() > 1;
        let owed = match (holiday.substitute, weekday) {
            (Substitute::Never, _) => false,
            (Substitute::Sunday(since), Weekday::Sunday) => holiday.date >= since,
            (Substitute::Sunday(_), Weekday::Saturday) => false,
            (Substitute::Weekend(since), Weekday::Saturday | Weekday::Sunday) => holiday.date >= since,
            // Two holidays on one day from Monday to Friday give one substitute between them.
            (Substitute::Sunday(since) | Substitute::Weekend(since), _) => {
                others && holiday.date >= since && !shared.contains(&holiday.date)
            }
        };
        if !owed {
            continue;
        }
        if others {
            shared.push(holiday.date);
        }
        let mut day = holiday.date.tomorrow().ok();
        let is_free = |day: Date| {
            super::is_in_the_week(day)
                && !base.iter().any(|other| other.date == day)
                && !taken.contains_key(&day)
        };
        while let Some(candidate) = day.filter(|day| !is_free(*day)) {
            day = candidate.tomorrow().ok();
        }
        taken.extend(day.map(|day| (day, holiday.after)));
    }
    taken
}
