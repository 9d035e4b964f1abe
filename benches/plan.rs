//! How long planning takes: `cargo bench`. Figures are for comparing two states of the code on one machine.

use std::hint::black_box;

use jiff::Timestamp;
use sunup::domain::plan::{explained, occurrences};
use sunup::settings::Settings;

fn main() {
    divan::main();
}

/// A configuration with so many rules, all of them different, in zones with and without clock changes.
fn settings(rules: usize) -> Settings {
    let mut text = String::from(
        "timezone = \"Asia/Seoul\"\n[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1001\"]\n",
    );
    for rule in 0..rules {
        let (minute, hour) = (rule % 60, rule / 60 % 24);
        let zone = ["Asia/Seoul", "America/New_York", "Europe/London", "UTC"].get(rule % 4).unwrap_or(&"UTC");
        text.push_str(&format!(
            "[rules.r{rule}]\ncron = \"{minute} {hour} * * MON-FRI\"\ntimezone = \"{zone}\"\nstart = [\"web\"]\n"
        ));
    }
    match Settings::read(&text) {
        Ok(loaded) => loaded.settings,
        Err(problems) => panic!("{problems:?}"),
    }
}

const FROM: Timestamp = Timestamp::constant(1_795_000_000, 0);
const YEAR_LATER: Timestamp = Timestamp::constant(1_795_000_000 + 365 * 86_400, 0);

#[divan::bench(sample_count = 10)]
fn a_year_of_1000_rules(bencher: divan::Bencher<'_, '_>) {
    let settings = settings(1000);
    bencher.bench(|| occurrences(settings.rules.values(), black_box(FROM), YEAR_LATER).count());
}

/// Office hours by a calendar, each rule with its own times.
fn office_hours(rules: usize) -> Settings {
    let mut text = String::from(
        "timezone = \"Asia/Seoul\"\ncalendar = \"kr\"\n[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1001\"]\n\
         [calendars.kr]\nbuiltin = \"kr\"\n",
    );
    for rule in 0..rules {
        let (minute, hour) = (rule % 60, rule % 4);
        text.push_str(&format!(
            "[rules.r{rule}]\nhours = \"WORKDAYS 0{}:{minute:02}-{}:{minute:02}\"\nrun = [\"web\"]\n",
            6 + hour,
            18 + hour
        ));
    }
    match Settings::read(&text) {
        Ok(loaded) => loaded.settings,
        Err(problems) => panic!("{problems:?}"),
    }
}

#[divan::bench(sample_count = 10)]
fn a_year_of_1000_office_hours(bencher: divan::Bencher<'_, '_>) {
    let settings = office_hours(1000);
    bencher.bench(|| occurrences(settings.rules.values(), black_box(FROM), YEAR_LATER).count());
}

#[divan::bench(sample_count = 10)]
fn a_year_of_1000_office_hours_explained(bencher: divan::Bencher<'_, '_>) {
    let settings = office_hours(1000);
    bencher.bench(|| explained(settings.rules.values(), black_box(FROM), YEAR_LATER).len());
}

#[divan::bench(sample_count = 10)]
fn a_year_of_1000_rules_explained(bencher: divan::Bencher<'_, '_>) {
    let settings = settings(1000);
    bencher.bench(|| explained(settings.rules.values(), black_box(FROM), YEAR_LATER).len());
}

#[divan::bench]
fn the_next_occurrence_of_one_rule(bencher: divan::Bencher<'_, '_>) {
    let settings = settings(2);
    bencher.bench(|| occurrences(settings.rules.values(), black_box(FROM), YEAR_LATER).next());
}

#[divan::bench(sample_count = 10)]
fn reading_a_file_of_1000_rules(bencher: divan::Bencher<'_, '_>) {
    let text = settings(1000).text;
    bencher.bench(|| Settings::read(black_box(&text)).is_ok());
}
