//! Schedules: what each part of the language means, day by day.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Dates, ExceptEdge, Fate, Moment, Schedule, When, jitter};
use crate::domain::calendar::{Calendar, Calendars, Parts};
use crate::domain::cron::{CronExpr, Fields};
use crate::domain::hours::Hours;
use crate::domain::name::{Action, CalendarName};
use crate::domain::zone::{ClockChange, Fold, Gap};

fn calendar(name: &str, holidays: &[Date], workdays: &[Date]) -> Calendars {
    let days = |dates: &[Date]| dates.iter().map(|date| (*date, format!("{name} day"))).collect();
    let parts = Parts { holidays: vec![days(holidays)], workdays: days(workdays), ..Parts::default() };
    Calendars::new(vec![(CalendarName::new(name).unwrap(), Arc::new(Calendar::new(parts)))])
}

fn schedule(when: When, zone: &str) -> Schedule {
    Schedule {
        when,
        zone: TimeZone::get(zone).unwrap(),
        change: ClockChange::default(),
        dates: Dates::default(),
        jitter: Duration::ZERO,
    }
}

fn hours(text: &str) -> Schedule {
    schedule(When::Hours(Hours::parse(text).unwrap()), "Asia/Seoul")
}

fn cron(text: &str) -> Schedule {
    let expr = CronExpr::parse(text, Fields::Five).unwrap();
    schedule(When::Cron { expr, action: Action::Start }, "Asia/Seoul")
}

fn on(schedule: Schedule, dates: Dates) -> Schedule {
    Schedule { dates, ..schedule }
}

fn instant(schedule: &Schedule, wall: &str) -> Timestamp {
    schedule.zone.to_timestamp(wall.parse::<DateTime>().unwrap()).unwrap()
}

/// `27 start 08:50` for all that happens, after a moment and up to another; struck ones in brackets with their reason.
fn plan(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    let (from, to) = (instant(schedule, from), instant(schedule, to));
    let explained = schedule.explained(from, to);
    let happening: Vec<_> = explained.iter().filter(|planned| planned.fate.happens()).collect();
    let found: Vec<_> = schedule.happening(from, to).collect();
    let bare = |planned: &super::Planned| (planned.at, planned.action);
    assert_eq!(
        found.iter().map(bare).collect::<Vec<_>>(),
        happening.into_iter().map(bare).collect::<Vec<_>>(),
        "the plan that explains itself says something else than what happens"
    );
    let show = |planned: &super::Planned| {
        let wall = schedule.zone.to_datetime(planned.at).strftime("%d %H:%M");
        match &planned.fate {
            Fate::Due => format!("{wall} {}", planned.action),
            Fate::Moved(moved) => format!("{wall} {} ({moved})", planned.action),
            Fate::Struck(cause) => format!("[{wall} {}: {cause}]", planned.action),
        }
    };
    explained.iter().map(show).collect()
}

#[test]
fn hours_start_at_their_opening_and_stop_at_their_closing_edges() {
    // 2026-11-23 is a Monday.
    let office = hours("MON-FRI 09:00-12:00, 13:00-19:00; SAT 10:00-14:00");

    assert_eq!(
        plan(&office, "2026-11-27T08:00", "2026-11-30T09:00"),
        [
            "27 09:00 start",
            "27 12:00 stop",
            "27 13:00 start",
            "27 19:00 stop",
            "28 10:00 start",
            "28 14:00 stop",
            "30 09:00 start",
        ]
    );
}

#[test]
fn spans_that_touch_make_no_needless_stop() {
    let touching = hours("MON 09:00-12:00, 12:00-19:00");
    let days = hours("MON-WED 24h");
    let overlapping = hours("MON 09:00-13:00, 12:00-19:00");
    let night = hours("MON 22:00-06:00; TUE 06:00-10:00");
    let one_sided = hours("MON 09:00-19:00; MON 19:00-");

    assert_eq!(plan(&touching, "2026-11-23T00:00", "2026-11-24T00:00"), ["23 09:00 start", "23 19:00 stop"]);
    assert_eq!(plan(&days, "2026-11-22T00:00", "2026-11-29T00:00"), ["23 00:00 start", "26 00:00 stop"]);
    assert_eq!(
        plan(&overlapping, "2026-11-23T00:00", "2026-11-24T00:00"),
        ["23 09:00 start", "23 19:00 stop"]
    );
    assert_eq!(plan(&night, "2026-11-23T00:00", "2026-11-25T00:00"), ["23 22:00 start", "24 10:00 stop"]);
    assert_eq!(
        plan(&one_sided, "2026-11-23T00:00", "2026-11-24T00:00"),
        ["23 09:00 start", "23 19:00 start"]
    );
}

#[test]
fn the_opening_date_of_a_night_decides_about_calendars() {
    let holidays = calendar("kr", &[date(2026, 11, 24)], &[]);
    let nights = on(hours("MON-THU 22:00-06:00"), Dates { except: holidays, ..Dates::default() });

    assert_eq!(
        plan(&nights, "2026-11-23T12:00", "2026-11-25T23:00"),
        [
            "23 22:00 start",
            "24 06:00 stop",
            "[24 22:00 start: kr day (calendar kr)]",
            "[25 06:00 stop: kr day (calendar kr)]",
            "25 22:00 start",
        ]
    );
}

#[test]
fn one_sided_hours_have_one_edge_and_are_never_open() {
    let starts = hours("MON-FRI 08:50-");
    let stops = hours("MON-FRI -19:30");

    assert_eq!(plan(&starts, "2026-11-23T00:00", "2026-11-24T12:00"), ["23 08:50 start", "24 08:50 start"]);
    assert_eq!(plan(&stops, "2026-11-23T00:00", "2026-11-24T00:00"), ["23 19:30 stop"]);
    assert_eq!(starts.open_span(instant(&starts, "2026-11-23T12:00")), None);
    assert_eq!((starts.actions(), stops.actions()), (vec![Action::Start], vec![Action::Stop]));
}

#[test]
fn workdays_and_holidays_mean_what_the_calendar_says_in_hours_and_in_cron() {
    // Christmas is a Friday; Saturday the 19th is worked.
    let kr = calendar("kr", &[date(2026, 12, 25)], &[date(2026, 12, 19)]);
    let dates = Dates { calendar: kr, ..Dates::default() };
    let work = on(hours("WORKDAYS 09:00-18:00; HOLIDAYS 10:00-12:00"), dates.clone());
    let morning = on(cron("50 8 * * WORKDAYS"), dates.clone());
    let off = on(cron("0 10 * * HOLIDAYS"), dates);

    assert_eq!(
        plan(&work, "2026-12-18T12:00", "2026-12-21T09:30"),
        ["18 18:00 stop", "19 09:00 start", "19 18:00 stop", "21 09:00 start"]
    );
    assert_eq!(
        plan(&work, "2026-12-25T00:00", "2026-12-26T00:00"),
        [
            "[25 09:00 start: kr day (calendar kr)]",
            "25 10:00 start",
            "25 12:00 stop",
            "[25 18:00 stop: kr day (calendar kr)]",
        ]
    );
    assert_eq!(
        plan(&morning, "2026-12-18T00:00", "2026-12-22T00:00"),
        ["18 08:50 start", "19 08:50 start", "21 08:50 start"]
    );
    assert_eq!(
        plan(&morning, "2026-12-25T00:00", "2026-12-29T00:00"),
        ["[25 08:50 start: kr day (calendar kr)]", "28 08:50 start"]
    );
    assert_eq!(plan(&off, "2026-12-01T00:00", "2027-12-01T00:00"), ["25 10:00 start"]);
}

#[test]
fn except_takes_dates_out_and_workdays_only_cancel_a_holiday() {
    let days = calendar(
        "company",
        &[date(2026, 11, 24), date(2026, 11, 25)],
        &[date(2026, 11, 25), date(2026, 11, 28)],
    );
    let dates = Dates { except: days, ..Dates::default() };

    assert_eq!(
        plan(&on(cron("50 8 * * MON-FRI"), dates), "2026-11-23T12:00", "2026-11-30T00:00"),
        [
            "[24 08:50 start: company day (calendar company)]",
            "25 08:50 start",
            "26 08:50 start",
            "27 08:50 start",
        ]
    );
}

#[test]
fn except_edge_start_keeps_the_closing_edge() {
    let dates = Dates {
        except: calendar("kr", &[date(2026, 11, 24)], &[]),
        except_edge: ExceptEdge::Start,
        ..Dates::default()
    };

    assert_eq!(
        plan(&on(hours("MON-FRI 09:00-19:00"), dates), "2026-11-24T00:00", "2026-11-25T00:00"),
        ["[24 09:00 start: kr day (calendar kr)]", "24 19:00 stop"]
    );
}

#[test]
fn except_edge_speaks_of_except_alone_and_not_of_what_workdays_leaves_out() {
    let dates = Dates {
        calendar: calendar("kr", &[date(2026, 11, 24)], &[]),
        except: calendar("co", &[date(2026, 11, 25)], &[]),
        except_edge: ExceptEdge::Start,
        ..Dates::default()
    };

    assert_eq!(
        plan(&on(hours("WORKDAYS 09:00-19:00"), dates), "2026-11-24T00:00", "2026-11-26T00:00"),
        [
            "[24 09:00 start: kr day (calendar kr)]",
            "[24 19:00 stop: kr day (calendar kr)]",
            "[25 09:00 start: co day (calendar co)]",
            "25 19:00 stop",
        ]
    );
}

#[test]
fn only_keeps_the_dates_of_its_calendars_alone_and_ends_with_them() {
    let dates =
        Dates { only: calendar("release", &[date(2026, 11, 24), date(2027, 3, 2)], &[]), ..Dates::default() };
    let release = on(cron("0 7 * * *"), dates.clone());
    let span = on(hours("MON-SUN 07:00-09:00"), dates);

    assert_eq!(plan(&release, "2026-11-23T00:00", "2030-01-01T00:00"), ["24 07:00 start", "02 07:00 start"]);
    assert_eq!(release.happening(instant(&release, "2027-03-02T07:00"), Timestamp::MAX).next(), None);
    assert_eq!(
        plan(&span, "2026-11-23T00:00", "2030-01-01T00:00"),
        ["24 07:00 start", "24 09:00 stop", "02 07:00 start", "02 09:00 stop"]
    );
    assert_eq!(span.happening(instant(&span, "2027-03-02T09:00"), Timestamp::MAX).next(), None);
}

#[test]
fn from_and_until_are_both_included_and_a_begun_span_keeps_its_closing_edge() {
    let dates = Dates { from: Some(date(2026, 11, 24)), until: Some(date(2026, 11, 25)), ..Dates::default() };

    assert_eq!(
        plan(&on(hours("MON-SUN 22:00-06:00"), dates.clone()), "2026-11-20T00:00", "2026-12-20T00:00"),
        ["24 22:00 start", "25 06:00 stop", "25 22:00 start", "26 06:00 stop"]
    );
    assert_eq!(
        plan(&on(cron("0 9 * * *"), dates), "2026-11-20T00:00", "2026-12-20T00:00"),
        ["24 09:00 start", "25 09:00 start"]
    );
}

#[test]
fn named_moments_follow_the_dates_of_their_rule() {
    let zone = TimeZone::get("Asia/Seoul").unwrap();
    let moments: Vec<Moment> = ["2026-12-24T08:00", "2026-12-25T08:00"]
        .iter()
        .map(|wall| Moment { at: zone.to_timestamp(wall.parse::<DateTime>().unwrap()).unwrap(), odd: None })
        .collect();
    let at = schedule(When::At { moments: moments.into(), action: Action::Start }, "Asia/Seoul");
    let dates = Dates { except: calendar("kr", &[date(2026, 12, 25)], &[]), ..Dates::default() };

    assert_eq!(
        plan(&on(at, dates), "2026-12-01T00:00", "2026-12-31T00:00"),
        ["24 08:00 start", "[25 08:00 start: kr day (calendar kr)]"]
    );
}

#[test]
fn a_span_whose_edges_fall_into_a_jump_of_the_clock_loses_no_stop_and_no_start() {
    let spring = |text: &str| {
        let when = When::Hours(Hours::parse(text).unwrap());
        plan(&schedule(when, "America/New_York"), "2026-03-07T12:00", "2026-03-08T12:00")
    };

    assert_eq!(spring("SUN 02:30-09:00"), ["08 03:00 start (clocks jump over 02:30)", "08 09:00 stop"]);
    assert_eq!(spring("SAT 22:00-02:30"), ["07 22:00 start", "08 03:00 stop (clocks jump over 02:30)"]);
    assert_eq!(
        spring("SUN 02:10-02:50"),
        [
            "[08 03:00 start: clocks jump over the span that opens at 02:10]",
            "[08 03:00 stop: clocks jump over the span that opens at 02:10]",
        ]
    );
    assert_eq!(spring("SUN 00:00-02:30, 02:30-04:00"), ["08 00:00 start", "08 04:00 stop"]);
}

#[test]
fn a_span_in_the_repeated_hour_opens_and_closes_once() {
    let autumn = |text: &str, fold| {
        let mut schedule = schedule(When::Hours(Hours::parse(text).unwrap()), "America/New_York");
        schedule.change = ClockChange { gap: Gap::After, fold };
        let (from, to) = (instant(&schedule, "2026-10-31T20:00"), instant(&schedule, "2026-11-01T12:00"));
        schedule
            .happening(from, to)
            .map(|planned| format!("{} {}", planned.at, planned.action))
            .collect::<Vec<_>>()
    };

    assert_eq!(
        autumn("SUN 01:30-09:00", Fold::First),
        ["2026-11-01T05:30:00Z start", "2026-11-01T14:00:00Z stop"]
    );
    assert_eq!(
        autumn("SUN 01:30-09:00", Fold::Second),
        ["2026-11-01T06:30:00Z start", "2026-11-01T14:00:00Z stop"]
    );
    assert_eq!(
        autumn("SUN 00:30-01:30", Fold::First),
        ["2026-11-01T04:30:00Z start", "2026-11-01T05:30:00Z stop"]
    );
}

#[test]
fn a_date_that_a_zone_left_out_opens_nothing_and_still_closes_what_was_open() {
    // Apia left out 30 December 2011, a Friday.
    let apia = |text: &str| {
        let when = When::Hours(Hours::parse(text).unwrap());
        plan(&schedule(when, "Pacific/Apia"), "2011-12-29T00:00", "2012-01-01T12:00")
    };

    assert_eq!(apia("THU 22:00-06:00"), ["29 22:00 start", "31 00:00 stop (clocks jump over 06:00)"]);
    assert_eq!(
        apia("FRI 09:00-18:00"),
        ["[31 00:00 start: clocks jump over 09:00]", "[31 00:00 stop: clocks jump over 09:00]"]
    );
}

#[test]
fn several_times_in_a_jump_are_told_with_the_one_that_stays() {
    let mut both = cron("0,30 2,3 * * *");
    both.zone = TimeZone::get("America/New_York").unwrap();
    let mut skip = both.clone();
    skip.change.gap = Gap::Skip;

    assert_eq!(
        plan(&both, "2026-03-08T00:00", "2026-03-08T12:00"),
        [
            "08 03:00 start",
            "[08 03:00 start: clocks jump over 02:00, and the rule acts at the jump anyway]",
            "[08 03:00 start: clocks jump over 02:30, and the rule acts at the jump anyway]",
            "08 03:30 start",
        ]
    );
    assert_eq!(
        plan(&skip, "2026-03-08T00:00", "2026-03-08T12:00"),
        [
            "08 03:00 start",
            "[08 03:00 start: clocks jump over 02:00]",
            "[08 03:00 start: clocks jump over 02:30]",
            "08 03:30 start",
        ]
    );
}

#[test]
fn a_time_that_comes_twice_says_so() {
    let mut twice = cron("30 1 * * *");
    twice.zone = TimeZone::get("America/New_York").unwrap();

    assert_eq!(
        plan(&twice, "2026-11-01T00:00", "2026-11-01T12:00"),
        ["01 01:30 start (clocks show 01:30 twice)"]
    );
    twice.change.fold = Fold::Both;
    assert_eq!(
        plan(&twice, "2026-11-01T00:00", "2026-11-01T12:00"),
        ["01 01:30 start (clocks show 01:30 twice)", "01 01:30 start (clocks show 01:30 twice)"]
    );
}

#[test]
fn an_open_span_is_known_with_its_end_however_many_spans_touch() {
    let office = hours("MON-FRI 09:00-19:00");
    let long = hours("MON-SUN 00:00-24:00; MON 00:00-01:00");
    let weeks = on(
        hours("MON-SUN 24h"),
        Dates { from: Some(date(2026, 11, 1)), until: Some(date(2026, 12, 31)), ..Dates::default() },
    );
    let span = |schedule: &Schedule, wall: &str| schedule.open_span(instant(schedule, wall));

    assert_eq!(span(&office, "2026-11-23T09:00").unwrap().closes, Some(instant(&office, "2026-11-23T19:00")));
    assert_eq!(span(&office, "2026-11-23T19:00"), None);
    assert_eq!(span(&office, "2026-11-23T08:59:59"), None);
    assert_eq!(span(&long, "2026-11-23T12:00").unwrap().closes, None);
    assert_eq!(span(&weeks, "2026-11-23T12:00").unwrap().closes, Some(instant(&weeks, "2027-01-01T00:00")));
    assert_eq!(weeks.happening(instant(&weeks, "2026-11-01T00:00"), Timestamp::MAX).count(), 1);
}

#[test]
fn a_far_date_and_hours_without_end_are_judged_without_going_through_the_ages() {
    let dates =
        Dates { only: calendar("f", &[date(2026, 1, 1), date(2199, 12, 30)], &[]), ..Dates::default() };
    let far = on(hours("MON-SUN 09:00-19:00; MON-SUN 24h"), dates);
    let endless = hours("MON-SUN 24h; MON-FRI 08:50-");
    let start = |schedule: &Schedule, wall: &str| {
        let next = schedule.happening(instant(schedule, wall), Timestamp::MAX).next();
        next.map(|planned| schedule.zone.to_datetime(planned.at).to_string())
    };

    assert_eq!(start(&far, "2026-01-01T00:00").as_deref(), Some("2026-01-02T00:00:00"));
    assert_eq!(start(&far, "2026-01-02T00:00").as_deref(), Some("2199-12-30T00:00:00"));
    assert_eq!(start(&far, "2199-12-31T00:00"), None);
    assert_eq!(endless.open_span(instant(&endless, "2026-11-23T12:00")).unwrap().closes, None);
    // A search that begins anew for each piece of such a span does not end within the limit of a test.
    let ages = on(hours("MON-SUN 24h"), Dates { until: Some(date(2999, 12, 31)), ..Dates::default() });
    let closes = ages.open_span(instant(&ages, "2026-11-23T12:00")).unwrap().closes;
    assert_eq!(closes, Some(instant(&ages, "3000-01-01T00:00")));
}

#[test]
fn calendars_play_no_part_in_jitter() {
    let most = Duration::from_hours(24);
    let due = |schedule: &Schedule| {
        let at = instant(schedule, "2026-12-01T09:00");
        let next = schedule.happening(at, Timestamp::MAX).next().map(|next| next.at.duration_since(at));
        jitter("r", at, [schedule.room_after(at), next], most)
    };
    let plain = cron("0 9 * * WORKDAYS");
    let dates = |holidays: &[Date]| Dates { calendar: calendar("c", holidays, &[]), ..Dates::default() };

    let one = due(&on(plain.clone(), dates(&[])));
    let other = due(&on(plain, dates(&[date(2026, 12, 2), date(2026, 12, 3)])));

    assert_eq!(one, other);
    assert!(one < SignedDuration::from_hours(24));
}

#[test]
fn jitter_is_the_same_everywhere_and_never_reaches_the_next_moment() {
    let at = |second: i64| Timestamp::from_second(1_795_000_000 + second).unwrap();
    let most = Duration::from_secs(300);

    let spread: Vec<i64> =
        (0..100).map(|day| jitter("morning", at(day * 86_400), [None; 2], most).as_secs()).collect();

    assert!(spread.iter().all(|seconds| (0..=300).contains(seconds)));
    assert!(spread.iter().any(|s| *s < 60) && spread.iter().any(|s| *s > 240), "{spread:?}");
    assert_eq!(jitter("morning", at(0), [None; 2], most), jitter("morning", at(0), [None; 2], most));
    assert_ne!(
        spread,
        (0..100).map(|d| jitter("noon", at(d * 86_400), [None; 2], most).as_secs()).collect::<Vec<_>>()
    );
    for second in 0..50 {
        let jitter = jitter("often", at(second), [None, Some(SignedDuration::from_secs(60))], most);
        assert!(jitter < SignedDuration::from_secs(60), "{jitter}");
    }
    assert_eq!(jitter("r", at(0), [Some(SignedDuration::from_secs(1)), None], most), SignedDuration::ZERO);
}

#[test]
fn the_room_after_a_moment_is_the_shortest_way_to_another_one() {
    let minutes = SignedDuration::from_mins;
    let table = [
        (hours("MON-FRI 09:00-19:00"), Some(minutes(600))),
        (hours("MON-FRI 09:00-12:00, 13:00-22:30"), Some(minutes(60))),
        (hours("MON 22:00-02:00"), Some(minutes(240))),
        (hours("MON 09:00-"), Some(minutes(24 * 60))),
        (cron("0 9 * * *"), Some(minutes(24 * 60))),
        (cron("30 * * * *"), Some(minutes(60))),
    ];

    for (schedule, want) in table {
        let nine = instant(&schedule, "2026-11-23T08:59:59");
        let edge = schedule.happening(nine, Timestamp::MAX).next().unwrap().at;
        assert_eq!(schedule.room_after(edge), want, "{}", schedule.written());
    }
}

#[test]
fn a_span_that_ends_where_a_stretch_begins_is_not_of_it() {
    let schedule = hours("MON 09:00-19:00");
    let spans = |from: &str, to: &str| schedule.spans(instant(&schedule, from), instant(&schedule, to)).len();

    assert_eq!(spans("2026-11-23T19:00:00", "2026-11-23T20:00:00"), 0);
    assert_eq!(spans("2026-11-23T18:59:59", "2026-11-23T20:00:00"), 1);
    assert_eq!(spans("2026-11-23T08:00:00", "2026-11-23T09:00:00"), 0);
    assert_eq!(spans("2026-11-23T08:00:00", "2026-11-23T09:00:01"), 1);
}

#[test]
fn a_schedule_is_written_with_all_that_it_depends_on() {
    let dates = Dates {
        except: calendar("company", &[date(2026, 12, 25)], &[]),
        from: Some(date(2026, 11, 1)),
        except_edge: ExceptEdge::Start,
        ..Dates::default()
    };
    let plain = hours("MON 09:00-19:00").written();

    let written = on(hours("MON 09:00-19:00"), dates).written();

    assert!(written.ends_with(" except=company from=2026-11-01 except_edge=start"), "{written}");
    assert!(!plain.contains("except_edge"), "{plain}");
}
