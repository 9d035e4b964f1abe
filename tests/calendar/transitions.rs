//! Every kind of rule at every change of clocks of 2020 to 2035 in nine zones, as a table: nothing lost, nothing doubled.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sunup::domain::cron::{CronExpr, Fields, From};
use sunup::domain::hours::Hours;
use sunup::domain::name::Action;
use sunup::domain::schedule::{Dates, Fate, Schedule, When};
use sunup::domain::zone::ClockChange;

const ZONES: [&str; 9] = [
    "Asia/Seoul",
    "America/New_York",
    "Europe/London",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Pacific/Apia",
    "UTC",
];
/// Rules that meet the hours in which clocks change: by the wall clock, following real time, and hours.
const RULES: [&str; 10] = [
    "cron 30 2 * * *",
    "cron 0 2 * * *",
    "cron 15,45 1,2,3 * * *",
    "cron 0 0 * * *",
    "cron 30 8 * * SUN",
    "cron 0 * * * *",
    "cron */20 2 * * *",
    "hours MON-SUN 01:30-09:00",
    "hours MON-SUN 20:00-02:30",
    "hours SUN 24h",
];

fn schedule(rule: &str, zone: &TimeZone) -> Schedule {
    let (kind, text) = rule.split_once(' ').unwrap();
    let when = match kind {
        "cron" => When::Cron { expr: CronExpr::parse(text, Fields::Five).unwrap(), action: Action::Start },
        _ => When::Hours(Hours::parse(text).unwrap()),
    };
    let (change, dates) = (ClockChange::default(), Dates::default());
    Schedule { when, zone: zone.clone(), change, dates, jitter: Duration::ZERO }
}

fn changes(zone: &TimeZone) -> Vec<Timestamp> {
    let (from, to): (Timestamp, Timestamp) =
        ("2020-01-01T00:00:00Z".parse().unwrap(), "2036-01-01T00:00:00Z".parse().unwrap());
    let all = zone.following(from).map(|transition| transition.timestamp()).take_while(|at| *at < to);
    // Some entries of the database change a name and no clock.
    let moves = |at: &Timestamp| zone.to_offset(*at) != zone.to_offset(*at - SignedDuration::from_secs(1));
    all.filter(moves).collect()
}

/// What the rule does within a day and a half around a change of clocks.
fn around(schedule: &Schedule, change: Timestamp) -> Vec<(Timestamp, Action)> {
    let half = SignedDuration::from_hours(18);
    schedule.happening(change - half, change + half).map(|planned| (planned.at, planned.action)).collect()
}

#[test]
fn every_rule_at_every_change_of_clocks_in_nine_zones_loses_nothing_and_doubles_nothing() {
    let mut table = String::new();
    let mut meetings = 0;
    for name in ZONES {
        // The bundled database: the table must not change with the machine's.
        let zone = jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap();
        let changes = changes(&zone);
        table.push_str(&format!("{name}: {} changes of clocks\n", changes.len()));
        for rule in RULES {
            let schedule = schedule(rule, &zone);
            for change in &changes {
                meetings += 1;
                check(&schedule, rule, name, *change);
            }
            for change in &changes {
                let shown = around(&schedule, *change).into_iter().map(|(at, action)| {
                    let word = if action == Action::Start { "" } else { "stop " };
                    format!("{word}{}", at.to_zoned(zone.clone()).strftime("%d %H:%M%z"))
                });
                let shown = shortened(&shown.collect::<Vec<_>>());
                table.push_str(&format!("  {}  {rule}: {shown}\n", change.strftime("%Y-%m-%d")));
            }
        }
    }
    assert!(meetings > 1400, "{meetings}");
    insta::assert_snapshot!("transitions", table);
}

/// Of many moments the six around the middle, where the change is.
fn shortened(shown: &[String]) -> String {
    if shown.len() <= 8 {
        return shown.join(", ");
    }
    let middle = shown.len() / 2;
    format!("… {} … ({} in all)", shown[middle - 3..middle + 3].join(", "), shown.len())
}

fn check(schedule: &Schedule, rule: &str, zone: &str, change: Timestamp) {
    let found = around(schedule, change);
    let told = || format!("{rule} in {zone} at {change}: {found:?}");
    // Nothing is doubled: each instant once, and hours take turns.
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "{}", told());
    if let When::Hours(_) = &schedule.when {
        assert!(found.windows(2).all(|pair| pair[0].1 != pair[1].1), "{}", told());
    }
    let When::Cron { expr, .. } = &schedule.when else { return };
    let half = SignedDuration::from_hours(18);
    let explained = schedule.explained(change - half, change + half);
    // Nothing is lost: what does not happen at its own time happens at the jump, and says so.
    for planned in &explained {
        if let Fate::Struck(cause) = &planned.fate {
            assert!(found.iter().any(|(at, _)| *at == planned.at), "{}: {cause} and nothing instead", told());
        }
    }
    let half = if expr.follows_real_time() { SignedDuration::from_hours(4) } else { half };
    let (from, to) = (change - half, change + half);
    let zone = &schedule.zone;
    let matches = |wall| expr.next_civil(wall, From::Including) == Some(wall);
    let wanted = match expr.follows_real_time() {
        // Every real minute at which clocks show a time that matches.
        true => (1..=half.as_mins() * 2)
            .filter(|n| matches(zone.to_datetime(from + SignedDuration::from_mins(*n))))
            .count(),
        // Every time on the wall that matches, whether clocks show it or not, and once if they show it twice.
        false => {
            let (mut wall, end, mut count) = (zone.to_datetime(from), zone.to_datetime(to), 0);
            while let Some(next) = expr.next_civil(wall, From::After).filter(|next| *next <= end) {
                (wall, count) = (next, count + 1);
            }
            count
        }
    };
    let counted = match expr.follows_real_time() {
        true => found.iter().filter(|(at, _)| *at > from && *at <= to).count(),
        false => explained.len(),
    };
    assert_eq!(counted, wanted, "{}", told());
}
