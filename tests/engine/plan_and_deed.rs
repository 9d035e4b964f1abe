//! Plan equals deed: what `plan` says is what the daemon then does, for random configurations over a month.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sunup::domain::plan::{explained, occurrences};
use sunup::ports::store::{Entry, Origin};

use crate::world::World;

const ZONES: [&str; 8] = [
    "Asia/Seoul",
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",
    "America/Havana",
    "Africa/Casablanca",
    "Pacific/Apia",
    "UTC",
];
/// Months with and without changes of clocks.
const BEGINNINGS: [&str; 6] = [
    "2026-03-01T00:00:00Z",
    "2026-10-20T00:00:00Z",
    "2026-12-15T12:34:56Z",
    "2027-03-15T00:00:00Z",
    "2011-12-10T00:00:00Z",
    "2026-05-01T06:00:00Z",
];
const DAYS: u64 = 30;

fn time() -> impl Strategy<Value = String> {
    (0..24_u8, select(vec![0_u8, 10, 30, 45, 59])).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"))
}

fn days() -> impl Strategy<Value = &'static str> {
    select(vec!["MON-FRI", "SAT", "SUN", "TUE,THU", "WORKDAYS", "HOLIDAYS", "FRI-MON", "WORKDAYS,HOLIDAYS"])
}

fn span() -> impl Strategy<Value = String> {
    let times = (time(), time()).prop_map(|(opens, closes)| match opens == closes {
        true => "24h".to_owned(),
        false => format!("{opens}-{closes}"),
    });
    (days(), prop_oneof![4 => times, 1 => time().prop_map(|at| format!("{at}-")), 1 => time().prop_map(|at| format!("-{at}"))])
        .prop_map(|(days, times)| format!("{days} {times}"))
}

/// What a rule follows, with what it does.
fn when() -> impl Strategy<Value = String> {
    let group = || select(vec!["web", "db"]);
    let deed = || {
        (select(vec!["start", "stop"]), group()).prop_map(|(deed, group)| format!("{deed} = [\"{group}\"]\n"))
    };
    let fields = (
        select(vec!["0", "30", "0,45", "5"]),
        select(vec!["2", "9", "1,13", "0", "*/12"]),
        select(vec!["*", "*", "1,15", "L", "*/9"]),
        select(vec!["*", "MON-FRI", "SUN", "MON#1", "5L"]),
    );
    let word = (time(), select(vec!["WORKDAYS", "HOLIDAYS"])).prop_map(|(time, word)| {
        let (hour, minute) = time.split_once(':').unwrap();
        format!("{} {} * * {word}", minute.parse::<u8>().unwrap(), hour.parse::<u8>().unwrap())
    });
    let cron = prop_oneof![
        3 => fields.prop_map(|(minute, hour, day, week)| format!("{minute} {hour} {day} * {week}")),
        1 => word,
    ];
    let hours = (prop::collection::vec(span(), 1..3), group())
        .prop_map(|(spans, group)| format!("hours = \"{}\"\nrun = [\"{group}\"]\n", spans.join("; ")));
    prop_oneof![
        1 => (cron, deed()).prop_map(|(cron, deed)| format!("cron = \"{cron}\"\n{deed}")),
        2 => hours,
    ]
}

fn dates() -> impl Strategy<Value = String> {
    select(vec![
        "",
        "",
        "except = [\"kr\"]\n",
        "except = [\"c\"]\n",
        "only = [\"c\", \"kr\"]\n",
        "from = \"2026-03-10\"\n",
        "until = \"2027-04-01\"\n",
    ])
    .prop_map(ToOwned::to_owned)
}

fn rule() -> impl Strategy<Value = String> {
    let zone = select(ZONES.to_vec()).prop_map(|zone| format!("timezone = \"{zone}\"\n"));
    let jitter = select(vec!["", "", "jitter = \"3m\"\n", "jitter = \"2h\"\n"]);
    (when(), zone, dates(), jitter)
        .prop_map(|(when, zone, dates, jitter)| format!("{when}{zone}{dates}{jitter}"))
}

/// What is done and what was planned, each as `RULE PLANNED DUE ACTION`.
async fn deeds_and_plan(beginning: &str, rules: &[String]) -> (Vec<String>, Vec<String>) {
    let rules: Vec<String> =
        rules.iter().enumerate().map(|(index, rule)| format!("[rules.r{index}]\n{rule}")).collect();
    let calendars = "[calendars.kr]\nbuiltin = \"kr\"\n[calendars.c]\ndates = [\"2026-03-20..2026-03-24\", \"2026-11-02\", \
                     \"2026-12-24\", \"2027-03-28\", \"2011-12-29\", \"2026-05-14\"]\nworkdays = [\"2026-12-26\", \"2026-03-22\"]\n";
    let text = format!("{}{calendars}", rules.concat());
    let mut world = World::at(beginning).calendar("kr").with(&text);
    let settings = world.settings();

    world.run(DAYS * 86_400).await;

    let begin: Timestamp = beginning.parse().unwrap();
    let end = begin + SignedDuration::from_hours(24 * i64::try_from(DAYS).unwrap());
    let planned: Vec<_> = occurrences(settings.rules.values(), begin, end)
        .map(|o| format!("{} {} {} {}", o.rule, o.planned, o.due, o.action))
        .collect();
    let told: Vec<_> = explained(settings.rules.values(), begin, end)
        .into_iter()
        .filter(|line| line.fate.happens())
        .map(|line| line.occurrence)
        .map(|o| format!("{} {} {} {}", o.rule, o.planned, o.due, o.action))
        .collect();
    assert_eq!(told, planned, "the plan that explains itself is another");
    let done = world.history().await.into_iter().map(|entry| match entry {
        Entry::Run(run) => {
            let Origin::Rule(rule) = &run.head.origin else { panic!("{run:?}") };
            format!("{rule} {} {} {}", run.head.planned, run.head.due, run.head.action)
        }
        Entry::Missed(range) => format!("{} missed {}", range.rule, range.cause.text),
        Entry::Override(_) | Entry::Config(_) => panic!("runs and misses alone were asked for"),
    });
    let mut done: Vec<String> = done.collect();
    let mut sorted = planned;
    done.sort();
    sorted.sort();
    (done, sorted)
}

/// Runs so many configurations of a seed, and says how many occurrences came of them.
async fn agree(seed: u8, configurations: usize) -> usize {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let configuration = (select(BEGINNINGS.to_vec()), prop::collection::vec(rule(), 1..4));
    let (mut occurrences, mut tried) = (0, 0);
    while tried < configurations {
        let (beginning, rules) = configuration.new_tree(&mut runner).unwrap().current();
        // Rules that never act are refused, as they should be.
        if !World::at(beginning).calendar("kr").with(&valid_part(&rules)).is_valid() {
            continue;
        }
        tried += 1;
        let (done, planned) = deeds_and_plan(beginning, &rules).await;
        occurrences += planned.len();

        assert_eq!(
            done,
            planned,
            "seed {seed}, configuration {tried}, from {beginning}:\n{}",
            rules.join("\n")
        );
    }
    occurrences
}

fn valid_part(rules: &[String]) -> String {
    let rules: Vec<String> =
        rules.iter().enumerate().map(|(i, rule)| format!("[rules.r{i}]\n{rule}")).collect();
    format!("{}[calendars.kr]\nbuiltin = \"kr\"\n[calendars.c]\ndates = [\"2026-03-20\"]\n", rules.concat())
}

// Four tests, so that they run beside each other.

#[tokio::test]
async fn plan_equals_deed_for_50_random_configurations_over_30_days_part_1() {
    assert!(agree(1, 50).await > 500);
}

#[tokio::test]
async fn plan_equals_deed_for_50_random_configurations_over_30_days_part_2() {
    assert!(agree(2, 50).await > 500);
}

#[tokio::test]
async fn plan_equals_deed_for_50_random_configurations_over_30_days_part_3() {
    assert!(agree(3, 50).await > 500);
}

#[tokio::test]
async fn plan_equals_deed_for_50_random_configurations_over_30_days_part_4() {
    assert!(agree(4, 50).await > 500);
}
