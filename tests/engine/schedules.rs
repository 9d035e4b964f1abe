//! Hours, calendars and jitter as the daemon carries them out.

use crate::world::World;

const OFFICE: &str = "[rules.office]\nhours = \"MON-FRI 08:50-09:10\"\nrun = [\"web\", \"db\"]\n";
const BATCH: &str = "[rules.batch]\nhours = \"MON-FRI 09:00-09:30\"\nrun = [\"web\"]\n";

// 2026-11-23 is a Monday.
fn monday(rules: &str) -> World {
    World::at("2026-11-23T08:40:00Z").with(rules)
}

#[tokio::test]
async fn hours_start_at_the_opening_and_stop_at_the_closing_edge() {
    let mut world = monday(OFFICE);

    world.run(3600).await;

    assert_eq!(world.asked(), ["08:50:00 start 1001 1002 1003", "09:10:00 stop 1001 1002 1003"]);
    assert_eq!(
        world.told().await,
        [
            "rule office done: 1001 started, 1002 started, 1003 started",
            "rule office done: 1001 stopped, 1002 stopped, 1003 stopped",
        ]
    );
}

#[tokio::test]
async fn the_closing_edge_of_hours_leaves_alone_what_the_hours_of_another_rule_want() {
    let mut world = monday(&format!("{OFFICE}{BATCH}"));

    world.run(4200).await;

    assert_eq!(
        world.asked(),
        ["08:50:00 start 1001 1002 1003", "09:10:00 stop 1003", "09:30:00 stop 1001 1002"]
    );
    assert_eq!(
        world.told().await,
        [
            "rule office done: 1001 started, 1002 started, 1003 started",
            "rule batch done: 1001 already, 1002 already",
            "rule office partial: 1001 skipped, 1002 skipped, 1003 stopped",
            "rule batch done: 1001 stopped, 1002 stopped",
        ]
    );
}

#[tokio::test]
async fn hours_that_touch_those_of_another_rule_hand_the_server_over_without_a_stop() {
    let next = "[rules.next]\nhours = \"MON-FRI 09:10-09:30\"\nrun = [\"web\", \"db\"]\n";
    let mut world = monday(&format!("{OFFICE}{next}"));

    world.run(2990).await;

    assert_eq!(world.asked(), ["08:50:00 start 1001 1002 1003"]);
    world.run(1210).await;
    assert_eq!(world.asked().last().unwrap(), "09:30:00 stop 1001 1002 1003");
}

#[tokio::test]
async fn a_stop_by_cron_is_not_held_back_by_open_hours() {
    let mut world = monday(&format!("{OFFICE}[rules.off]\ncron = \"0 9 * * *\"\nstop = [\"db\"]\n"));

    world.run(3600).await;

    assert_eq!(
        world.asked(),
        ["08:50:00 start 1001 1002 1003", "09:00:00 stop 1003", "09:10:00 stop 1001 1002"]
    );
}

#[tokio::test]
async fn a_wanted_server_stays_up_although_both_edges_are_claimed_late_in_one_turn() {
    let mut world = monday(&format!("{OFFICE}{BATCH}"));
    world.run(300).await;
    // Down from 08:45 to 09:12: the start of batch and the closing edge of office are claimed together.
    world.pass(1620);

    world.run(600).await;

    assert_eq!(world.asked().first().unwrap(), "09:12:00 start 1001 1002");
    assert!(world.asked().iter().all(|line| !line.contains("stop 1001")), "{:?}", world.asked());
}

#[tokio::test]
async fn of_both_edges_of_a_short_span_that_were_missed_the_closing_one_counts() {
    let mut world = monday("[rules.short]\nhours = \"MON-FRI 08:50-08:55\"\nrun = [\"web\"]\n");
    world.run(300).await;
    world.pass(780);

    world.run(1800).await;

    assert!(world.asked().is_empty(), "{:?}", world.asked());
    assert_eq!(
        world.told().await,
        [
            "rule short skipped: 1001 superseded, 1002 superseded",
            "rule short done: 1001 already, 1002 already",
        ]
    );
}

#[tokio::test]
async fn a_start_with_a_long_window_gives_way_to_a_closing_edge_that_was_missed() {
    let mut world = monday(
        "[rules.short]\nhours = \"MON-FRI 08:50-09:00\"\nrun = [\"web\"]\nstart_window = \"3h\"\nstop_window = \"5m\"\n",
    );
    world.run(300).await;
    world.pass(3600);

    world.run(1800).await;

    assert!(world.asked().is_empty(), "{:?}", world.asked());
    assert_eq!(
        world.told().await,
        ["rule short skipped: 1001 superseded, 1002 superseded", "short missed 1 (down)"]
    );
}

#[tokio::test]
async fn each_edge_has_its_own_window() {
    let mut world = monday(&format!("{OFFICE}start_window = \"1h\"\nstop_window = \"1m\"\n"));
    world.run(300).await;
    // Down until 09:09: late for the start, in time for its window.
    world.pass(1440);

    world.run(1200).await;

    assert_eq!(world.asked().first().unwrap(), "09:09:00 start 1001 1002 1003");
}

#[tokio::test]
async fn a_span_that_is_open_when_its_rule_is_new_starts_nothing() {
    let mut world = World::at("2026-11-23T08:55:00Z").with(OFFICE);

    world.run(600).await;
    assert!(world.asked().is_empty(), "{:?}", world.asked());

    world.run(1200).await;
    assert_eq!(world.told().await, ["rule office done: 1001 already, 1002 already, 1003 already"]);
}

#[tokio::test]
async fn a_date_that_a_calendar_takes_out_has_no_occurrence() {
    let mut world =
        monday(&format!("{OFFICE}except = [\"c\"]\n[calendars.c]\ndates = [\"2026-11-23 founding day\"]\n"));

    world.run(90_000).await;

    assert_eq!(world.asked(), ["08:50:00 start 1001 1002 1003", "09:10:00 stop 1001 1002 1003"]);
    let first = world.history().await.remove(0);
    let sunup::ports::store::Entry::Run(first) = first else { panic!("{first:?}") };
    assert_eq!(first.head.due.to_string(), "2026-11-24T08:50:00Z");
}

#[tokio::test]
async fn a_calendar_that_changed_in_what_lies_ahead_keeps_what_was_due_meanwhile() {
    let calendar = "[calendars.c]\ndates = [\"2026-12-24\"]\n";
    let mut world = monday(&format!("{OFFICE}except = [\"c\"]\n{calendar}"));
    world.run(300).await;
    world.pass(360);
    world.configure("2026-12-24", "2026-12-25");

    world.run(120).await;

    assert_eq!(world.asked(), ["08:51:00 start 1001 1002 1003"]);
}

#[tokio::test]
async fn a_calendar_that_changed_in_what_was_due_meanwhile_never_fires_the_past() {
    let calendar = "[calendars.c]\ndates = [\"2026-11-23\"]\n";
    let mut world = monday(&format!("{OFFICE}except = [\"c\"]\n{calendar}"));
    world.run(300).await;
    world.pass(360);
    world.configure("2026-11-23", "2026-11-24");

    world.run(120).await;

    assert!(world.asked().is_empty(), "{:?}", world.asked());
    assert!(world.told().await.is_empty());
}

#[tokio::test]
async fn a_reload_that_takes_today_out_lets_the_coming_edge_be() {
    let mut world = monday(&format!("{OFFICE}except = [\"c\"]\n[calendars.c]\ndates = [\"2026-12-24\"]\n"));
    world.run(300).await;
    world.configure("2026-12-24", "2026-11-23");
    let reload = world.reload();

    world.run_with(3600, vec![reload]).await.unwrap();

    assert!(world.asked().is_empty(), "{:?}", world.asked());
}

#[tokio::test]
async fn jitter_delays_and_never_brings_forward_and_is_the_same_after_a_kill() {
    let rule = "[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\njitter = \"5m\"\n";
    let mut whole = monday(rule);
    whole.run(3600).await;
    let asked = whole.asked();
    assert_eq!(asked.len(), 1);
    assert!(("08:50:00".."08:55:01").contains(&asked[0].split(' ').next().unwrap()), "{asked:?}");

    let mut killed = monday(rule);
    killed.run_and_kill(605).await;
    killed.run(3600).await;

    assert_eq!(killed.asked(), asked);
}

#[tokio::test]
async fn a_calendar_that_changed_while_nobody_ran_is_taken_over_for_good() {
    let calendar = "[calendars.c]\ndates = [\"2027-06-01\"]\n";
    let mut world = monday(&format!("{OFFICE}except = [\"c\"]\n{calendar}"));
    world.run(120).await;
    world.configure("2027-06-01", "2027-06-02");
    world.run(120).await;
    // Away over the opening edge, and back within its window.
    world.pass(540);

    world.run(120).await;

    assert_eq!(world.asked(), ["08:53:00 start 1001 1002 1003"]);
}

#[tokio::test]
async fn a_calendar_that_changes_within_a_span_keeps_its_closing_edge_also_over_a_restart() {
    for restarts in [false, true] {
        let rule = format!("{OFFICE}except = [\"c\"]\n[calendars.c]\ndates = [\"2026-12-24\"]\n");
        let mut world = monday(&rule);
        world.run(900).await;
        world.configure("2026-12-24", "2026-11-23");
        if restarts {
            world.run(120).await;
            world.run(120).await;
        }
        let reload = world.reload();

        world.run_with(1800, vec![reload]).await.unwrap();

        assert_eq!(
            world.asked(),
            ["08:50:00 start 1001 1002 1003", "09:10:00 stop 1001 1002 1003"],
            "restarts: {restarts}"
        );
        // And the days after are those of the new calendar.
        world.run(90_000).await;
        assert_eq!(world.asked().len(), 4, "{:?}", world.asked());
    }
}

#[tokio::test]
async fn an_edited_rule_keeps_nothing_of_its_old_hours() {
    let mut world = monday(OFFICE);
    world.run(900).await;
    world.configure("08:50-09:10", "08:50-09:20");
    let reload = world.reload();

    world.run_with(2400, vec![reload]).await.unwrap();

    assert_eq!(world.asked(), ["08:50:00 start 1001 1002 1003", "09:20:00 stop 1001 1002 1003"]);
}

#[tokio::test]
async fn calendars_that_differ_in_the_past_do_not_take_a_start_away_whose_window_is_open() {
    // Down from Friday evening; Saturday became a workday meanwhile.
    let rule = "[rules.office]\nhours = \"WORKDAYS 08:50-09:10\"\nrun = [\"web\"]\n";
    let mut world = World::at("2026-11-27T20:00:00Z")
        .calendar("c")
        .with(&format!("{rule}[calendars.c]\nworkdays = [\"2026-11-21\"]\n"));
    world.run(300).await;
    world.configure("2026-11-21", "2026-11-28");
    world.pass(2 * 86_400 + 46_200);

    world.run(300).await;

    assert_eq!(world.asked(), ["08:55:00 start 1001 1002"]);
}

#[tokio::test]
async fn a_late_closing_edge_stops_what_was_wanted_then_and_is_not_any_more() {
    let first = "[rules.a]\nhours = \"MON-FRI 08:45-08:55\"\nrun = [\"web\"]\nstop_window = \"15m\"\n";
    let other = "[rules.b]\nhours = \"MON-FRI 08:45-09:00\"\nrun = [\"web\"]\nstop_window = \"3m\"\n";
    let mut world = monday(&format!("{first}{other}"));
    world.run(600).await;
    world.pass(900);

    world.run(300).await;

    assert_eq!(world.asked().last().unwrap(), "09:05:00 stop 1001 1002", "{:?}", world.asked());
}

#[tokio::test]
async fn what_other_hours_keep_up_is_no_failure() {
    let mut world = monday(&format!("{OFFICE}{BATCH}"));

    world.run(4200).await;

    assert!(world.notices().is_empty(), "{:?}", world.notices());
    assert!(world.failed().await.is_empty());
}

#[tokio::test]
async fn a_calendar_that_changes_and_changes_back_within_a_span_leaves_the_rule_as_it_was() {
    for jitter in ["", "jitter = \"3m\"\n"] {
        for restarts in [false, true] {
            let rule = format!("{OFFICE}{jitter}except = [\"c\"]\n[calendars.c]\ndates = [\"2026-12-24\"]\n");
            let mut world = monday(&rule);
            world.run(960).await;
            world.configure("2026-12-24", "2026-11-23");
            let away = world.reload();
            world.run_with(60, vec![away]).await.unwrap();
            world.configure("2026-11-23", "2026-12-24");
            if restarts {
                world.run(60).await;
            }
            let back = world.reload();
            world.run_with(2400, vec![back]).await.unwrap();

            world.run(86_400).await;

            // Monday and Tuesday, each once and nothing missed.
            let told = world.told().await;
            assert_eq!(told.len(), 4, "{jitter}, restarts {restarts}: {told:?}");
            assert!(told.iter().all(|line| line.starts_with("rule office done")), "{told:?}");
            assert!(world.notices().is_empty(), "{:?}", world.notices());
        }
    }
}

#[tokio::test]
async fn a_calendar_that_changes_is_taken_over_at_once_by_rules_that_never_stop_anything() {
    for when in ["cron = \"* 12 * * *\"\nstart", "hours = \"MON-SUN 12:00-\"\nrun"] {
        let rule = format!("[rules.noon]\n{when} = [\"web\"]\nexcept = [\"c\"]\n");
        let mut world = monday(&format!("{rule}[calendars.c]\ndates = [\"2027-06-01\"]\n"));
        world.run(60).await;
        world.configure("2027-06-01", "2027-06-02");

        // The hang limit of the world judges: no search for a stop may go through the ages.
        world.run(60).await;

        assert!(world.notices().is_empty(), "{:?}", world.notices());
    }
}
