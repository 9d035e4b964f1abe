//! The month of a company: `config/examples/company.toml` over a fleet, with what people do meanwhile, and each hour's states looked at.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Weekday, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use sunup::daemon::engine::Input;
use sunup::daemon::overrides::Change;
use sunup::domain::name::Action;
use sunup::domain::overrides::{Kind, Scope, Then};
use tokio::sync::oneshot;

use crate::world::{World, command};

const FLEET: [&str; 7] = ["db-1", "app-1", "app-2", "hanoi-1", "qa-1", "batch-1", "prod-1"];
const BUSY: &str = "http://batch-1:8080/busy with status 200";
/// The nights and days on which people do something.
const RELEASE: Date = date(2026, 12, 10);
const BUSY_NIGHT: Date = date(2026, 12, 16);
const TESTED_ON: [Date; 2] = [date(2026, 12, 8), date(2026, 12, 12)];
/// Looks are at a quarter past, when nothing is on its way.
const MINUTE: i8 = 15;

/// Whether Seoul works on a date: Christmas and the last day of the year are holidays, one Saturday is a workday.
fn is_workday(day: Date) -> bool {
    let weekday = !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
    let holiday = [date(2026, 12, 25), date(2026, 12, 31), date(2027, 1, 1)].contains(&day);
    (weekday && !holiday) || day == date(2026, 12, 19)
}

/// Whether a server is to run at a time in Seoul.
fn is_meant_up(name: &str, at: DateTime) -> bool {
    let (day, clock) = (at.date(), (at.hour(), at.minute()));
    let weekday = !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
    match name {
        "db-1" | "app-1" | "app-2" => {
            let office = is_workday(day) && ((8, 50)..(19, 30)).contains(&clock);
            let release = (day == RELEASE && clock >= (8, 50))
                || (day == RELEASE.tomorrow().unwrap() && clock < (2, 0));
            office || release
        }
        // Two hours behind Seoul.
        "hanoi-1" => weekday && ((10, 0)..(19, 30)).contains(&clock),
        "qa-1" => TESTED_ON.contains(&day) && (14..22).contains(&at.hour()),
        // On one night it is at work until a quarter past six.
        "batch-1" => {
            let until = if day == BUSY_NIGHT { (6, 16) } else { (5, 0) };
            ((1, 0)..until).contains(&clock)
        }
        _ => true,
    }
}

/// What people do at a time in Seoul.
fn deeds(at: DateTime) -> Vec<Input> {
    let mut deeds = Vec::new();
    if TESTED_ON.contains(&at.date()) && at.hour() == 13 {
        let (input, answer) = command(Action::Start, "qa");
        // Whoever gave the command waits for its answer.
        tokio::spawn(answer);
        deeds.push(input);
    }
    if at.date() == RELEASE && at.hour() == 17 {
        let until: Timestamp = "2026-12-11T02:00:00+09:00".parse().unwrap();
        let (kind, scope) = (
            Kind::Keep { forbids: Action::Stop, then: Then::Apply },
            Scope::from_words("group", "app").unwrap(),
        );
        let (reply, answer) = oneshot::channel();
        tokio::spawn(answer);
        let reason = "release 4.2".into();
        deeds.push(Input::Override {
            change: Change::Make { kind, scope, from: None, until, reason, who: "kim".into() },
            reply,
        });
    }
    deeds
}

#[tokio::test]
async fn the_month_of_a_company_goes_as_its_configuration_says_hour_by_hour() {
    let zone = TimeZone::get("Asia/Seoul").unwrap();
    let text = include_str!("../../config/examples/company.toml");
    let mut world = World::at("2026-11-30T15:15:00Z").only(text).fleet(7, |no, server| {
        let name = FLEET[usize::try_from(no - 1001).unwrap()];
        server.name = name.to_owned();
        if name == "prod-1" {
            (server.status, server.operation) = ("RUN".into(), "NULL".into());
        }
    });
    world.change(|outside| {
        outside.opens.insert("tcp 10.0.0.5:5432".into(), Timestamp::MIN);
        outside.shut = vec![BUSY.into()];
    });
    let mut wrong = Vec::new();
    let mut hours_up: BTreeMap<&str, usize> = BTreeMap::new();
    let mut at = date(2026, 12, 1).at(0, MINUTE, 0, 0);
    let end = date(2027, 1, 1).at(0, MINUTE, 0, 0);
    while at < end {
        let is_busy = at.date() == BUSY_NIGHT && (4..6).contains(&at.hour());
        world.change(|outside| match is_busy {
            true => {
                outside.shut.clear();
                outside.opens.insert(BUSY.into(), Timestamp::MIN);
            }
            false => {
                outside.shut = vec![BUSY.into()];
                outside.opens.remove(BUSY);
            }
        });

        // Each hour the daemon is started anew: no promise hangs on its memory.
        world.run_with(3600, deeds(at)).await.unwrap();

        at = at.checked_add(1.hour()).unwrap();
        let now = zone.to_timestamp(at).unwrap();
        world.change(|outside| {
            assert_eq!(outside.wall, now, "looks are at a quarter past");
            outside.model.advance(now.as_microsecond());
            let states: Vec<(String, String)> = outside
                .model
                .of_account("access")
                .map(|server| (server.name.clone(), format!("{}/{}", server.status, server.operation)))
                .collect();
            for (name, state) in states {
                let up = is_meant_up(&name, at);
                if up {
                    let known = FLEET.into_iter().find(|known| *known == name).unwrap();
                    *hours_up.entry(known).or_default() += 1;
                }
                if state != if up { "RUN/NULL" } else { "NSTOP/NULL" } {
                    wrong.push(format!("{at} {name} {state}"));
                }
            }
        });
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
    // 22 days on which Seoul works, of eleven looks each, and six looks in the night of the release.
    assert_eq!(hours_up["db-1"], 22 * 11 + 6);
    assert_eq!((hours_up["qa-1"], hours_up["prod-1"]), (2 * 8, 31 * 24));
    let asked_prod = world.asked().into_iter().filter(|line| line.contains("1007")).count();
    assert_eq!(asked_prod, 0, "production is never asked for anything");
    // The database comes up before what needs it, and goes after it.
    let of_seoul: Vec<String> = world
        .asked()
        .into_iter()
        .filter(|line| line.contains("1001") || line.contains("1002"))
        .take(4)
        .collect();
    let want = ["start 1001", "start 1002 1003", "1002 1003", "stop 1001"];
    assert_eq!(of_seoul.len(), want.len());
    assert!(of_seoul.iter().zip(want).all(|(line, want)| line.contains(want)), "{of_seoul:?}");
}
