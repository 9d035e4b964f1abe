//! The built-in holidays of Korea against tables that other people published.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, Weekday};
use sunup::domain::calendar::korea;

/// The published entries: (date, Korean name).
fn published() -> Vec<(Date, String)> {
    let text = include_str!("data/korean-holidays.csv");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let mut fields = line.split(',');
            (fields.next().unwrap().parse().unwrap(), fields.next().unwrap().to_owned())
        })
        .collect()
}

/// Whether a title of ours says what a published name says.
fn says(title: &str, name: &str) -> bool {
    match name.strip_prefix("대체공휴일(") {
        Some(holiday) => title
            .split(", ")
            .any(|one| one.starts_with("substitute for") && one.ends_with(&format!("({holiday}"))),
        None => {
            title.split(", ").any(|one| !one.starts_with("substitute") && one.ends_with(&format!("({name})")))
        }
    }
}

#[test]
fn korean_holidays_of_2015_to_2027_equal_published_tables_day_by_day_with_each_name() {
    let published = published();
    let ours = korea::holidays();
    let dates: BTreeSet<Date> = published.iter().map(|(date, _)| *date).collect();

    let computed: BTreeSet<Date> = ours.keys().copied().filter(|date| date.year() <= 2027).collect();
    assert_eq!(computed, dates);
    for (date, name) in &published {
        assert!(says(&ours[date], name), "{date}: we say {:?}, published is {name:?}", ours[date]);
    }
    let mut entries: BTreeMap<i16, usize> = BTreeMap::new();
    for (date, title) in ours {
        *entries.entry(date.year()).or_default() += title.split(", ").count();
    }
    assert_eq!((entries[&2026], entries[&2027]), (22, 24));
}

#[test]
fn every_year_up_to_2050_has_its_holidays_and_substitutes_are_working_days_otherwise() {
    for year in korea::YEAR_MIN..=korea::YEAR_MAX {
        let days: Vec<(&Date, &String)> =
            korea::holidays().iter().filter(|(date, _)| date.year() == year).collect();
        let has = |name: &str| days.iter().filter(|(_, title)| title.contains(name)).count();
        for name in
            ["(설날)", "(추석)", "Buddha", "(설날 전날)", "(추석 다음 날)", "(1월 1일)", "(기독탄신일)"]
        {
            assert!(has(name) >= 1, "{year}: no {name}");
        }
        for (date, title) in &days {
            if title.starts_with("substitute") {
                assert!(!matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday), "{date} {title}");
                assert!(!title.contains(", "), "{date} {title}: a substitute falls on another holiday");
            }
        }
    }
}
