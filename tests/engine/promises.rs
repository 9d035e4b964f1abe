//! Each promise of the design under its name.

use sunup::domain::name::Action;

use crate::world::{Fate, World, command};

const MORNING: &str = "[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n";
const NIGHT: &str = "[rules.night]\ncron = \"0 20 * * *\"\nstop = [\"web\"]\n";

#[tokio::test]
async fn never_early_and_at_the_due_second() {
    let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING);

    world.run(1800).await;

    assert_eq!(world.asked(), ["08:50:00 start 1001 1002"]);
    assert_eq!(world.told().await, ["rule morning done: 1001 started, 1002 started"]);
}

#[tokio::test]
async fn no_double_a_lost_answer_of_a_done_deed_is_looked_after_and_not_repeated() {
    let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING).fates(&[Fate::DoneUnheard]);

    world.run(1800).await;

    assert_eq!(world.asked(), ["08:50:00 start 1001 1002"]);
    assert_eq!(world.told().await, ["rule morning done: 1001 started, 1002 started"]);
}

#[tokio::test]
async fn an_unanswered_request_is_looked_at_within_thirty_seconds_of_the_api_being_reachable() {
    let due: jiff::Timestamp = "2026-11-23T08:50:00Z".parse().unwrap();
    // From a little after the request on nothing can be read. The servers run long before that ends.
    for outage in [120, 150, 301, 400, 555, 700, 800_i64] {
        let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING).fates(&[Fate::DoneUnheard]);
        let seconds = jiff::SignedDuration::from_secs;
        world.change(|outside| outside.outage = Some((due + seconds(1), due + seconds(outage))));

        world.run(600 + outage.unsigned_abs() + 30).await;

        assert_eq!(world.told().await, ["rule morning done: 1001 started, 1002 started"], "after {outage}s");
        assert_eq!(world.asked().len(), 1, "after {outage}s");
    }
}

#[tokio::test]
async fn a_request_that_surely_did_nothing_is_repeated_after_a_read_or_the_wait_that_was_named() {
    let mut lost = World::at("2026-11-23T08:40:00Z").with(MORNING).fates(&[Fate::Lost]);
    let mut throttled = World::at("2026-11-23T08:40:00Z").with(MORNING).fates(&[Fate::Throttled]);

    lost.run(1800).await;
    throttled.run(1800).await;

    assert_eq!(lost.asked(), ["08:50:00 start 1001 1002", "08:50:10 start 1001 1002"]);
    assert_eq!(throttled.asked(), ["08:50:00 start 1001 1002", "08:50:20 start 1001 1002"]);
}

#[tokio::test]
async fn servers_that_fall_back_are_asked_again_once_two_reads_show_it() {
    let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING).fates(&[Fate::FallsBack]);

    world.run(1800).await;

    assert_eq!(world.asked().len(), 2, "{:?}", world.asked());
    assert_eq!(world.told().await, ["rule morning done: 1001 started, 1002 started"]);
}

#[tokio::test]
async fn killed_at_any_second_of_a_run_nothing_is_asked_twice_and_it_ends_once() {
    for second in 0..40 {
        let mut world = World::at("2026-11-23T08:49:30Z").with(MORNING);
        world.run_and_kill(second).await;
        world.pass(3);

        world.run(900).await;

        assert_eq!(world.asked().len(), 1, "killed after {second}s: {:?}", world.asked());
        assert_eq!(
            world.told().await,
            ["rule morning done: 1001 started, 1002 started"],
            "killed after {second}s"
        );
    }
}

#[tokio::test]
async fn no_silent_miss_what_passed_while_nobody_ran_is_one_range_and_told() {
    let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING);
    world.run(60).await;
    world.pass(40 * 86_400);

    world.run(60).await;

    assert_eq!(world.told().await, ["morning missed 40 (down)"]);
    let notices = world.outside.lock().unwrap().notices.join("\n");
    assert!(notices.contains("rule morning did not start 40 times from 2026-11-23T08:50:00Z"), "{notices}");
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn a_year_of_a_rule_that_fires_each_minute_is_decided_at_once() {
    let mut world =
        World::at("2026-11-23T08:40:00Z").with("[rules.minutely]\ncron = \"* * * * *\"\nstart = [\"web\"]\n");
    world.run(10).await;
    world.pass(366 * 86_400);

    world.run(30).await;

    let told = world.told().await;
    assert_eq!(told.len(), 3, "{told:?}");
    let counted: u64 = told
        .iter()
        .filter_map(|line| line.strip_prefix("minutely missed ")?.split(' ').next()?.parse::<u64>().ok())
        .sum();
    // Every minute of the year is a miss but the newest, which acts.
    assert_eq!(counted + 1, 366 * 1440);
    assert_eq!(world.asked().len(), 1);
}

#[tokio::test]
async fn an_open_window_acts_late_and_says_so_and_missed_skip_does_not() {
    let skip =
        format!("{MORNING}[rules.strict]\ncron = \"50 8 * * *\"\nstart = [\"db\"]\nmissed = \"skip\"\n");
    let mut world = World::at("2026-11-23T08:40:00Z").with(&skip);
    world.run(60).await;
    world.pass(780);

    world.run(600).await;

    let mut told = world.told().await;
    told.sort();
    assert_eq!(told, ["rule morning done: 1001 started, 1002 started", "strict missed 1 (late)"]);
    assert_eq!(world.asked(), ["08:54:00 start 1001 1002"]);
}

#[tokio::test]
async fn never_stale_nothing_is_asked_after_the_windows_end() {
    let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING).fates(&[Fate::Unsent; 500]);

    world.run(3600).await;

    let asked = world.asked();
    let last = asked.last().unwrap();
    assert!(last.as_str() < "09:04:51", "{last}");
    assert_eq!(world.told().await, ["rule morning missed: 1001 missed, 1002 missed"]);
}

#[tokio::test]
async fn a_newer_opposite_occurrence_supersedes_and_a_start_wins_at_equal_due() {
    let both = format!("{MORNING}[rules.now]\ncron = \"50 8 * * *\"\nstop = [\"web\"]\n");
    let mut equal = World::at("2026-11-23T08:40:00Z").with(&both);
    let late = "[rules.soon]\ncron = \"51 8 * * *\"\nstop = [\"web\"]\n";
    let mut later = World::at("2026-11-23T08:40:00Z").with(MORNING).with(late).fates(&[Fate::Throttled; 3]);

    equal.run(1800).await;
    later.run(1800).await;

    let mut told = equal.told().await;
    told.sort();
    assert_eq!(told[0], "rule morning done: 1001 started, 1002 started");
    assert_eq!(told[1], "rule now skipped: 1001 superseded, 1002 superseded");
    assert_eq!(equal.asked(), ["08:50:00 start 1001 1002"]);
    let told = later.told().await;
    assert_eq!(told[0], "rule morning skipped: 1001 superseded, 1002 superseded");
    assert_eq!(told[1], "rule soon done: 1001 already, 1002 already");
}

#[tokio::test]
async fn two_rules_for_one_server_share_one_request() {
    let twice = format!("{MORNING}[rules.also]\ncron = \"50 8 * * *\"\nstart = [\"web\", \"db\"]\n");
    let mut world = World::at("2026-11-23T08:40:00Z").with(&twice);

    world.run(1800).await;

    assert_eq!(world.asked(), ["08:50:00 start 1001 1002 1003"]);
    let told = world.told().await;
    assert!(told.iter().all(|line| line.contains("done") && line.contains("1001 started")), "{told:?}");
}

#[tokio::test]
async fn accepted_is_not_started_a_server_that_never_runs_has_failed() {
    let text = "[groups.slow]\nservers = [\"1004\"]\nboot_within = \"15s\"\n[rules.r]\ncron = \"50 8 * * *\"\nstart = [\"slow\"]\n";
    let mut world = World::at("2026-11-23T08:40:00Z").with(text);

    world.run(3600).await;

    assert_eq!(world.told().await, ["rule r failed: 1004 failed"]);
    let notices = world.outside.lock().unwrap().notices.join("\n");
    assert!(
        notices.contains("was not running within 15s") && notices.contains("got there after all"),
        "{notices}"
    );
}

#[tokio::test]
async fn record_before_deed_a_journal_that_cannot_be_written_stops_every_request() {
    let mut world = World::at("2026-11-23T08:49:00Z").with(MORNING);
    world.change(|outside| outside.store_fails = true);

    world.run(1200).await;

    let notices = world.outside.lock().unwrap().notices.join("\n");
    assert!(notices.contains("cannot be written") && notices.contains("can be written again"), "{notices}");
    assert_eq!(world.asked().len(), 1);
    assert_eq!(world.told().await, ["rule morning done: 1001 started, 1002 started"]);
}

#[tokio::test]
async fn a_clock_that_the_cloud_contradicts_acts_on_nothing_until_it_agrees() {
    let mut world = World::at("2026-11-23T08:45:00Z").with(MORNING);
    world.run(60).await;
    // Set an hour forward: half past nine is not eight.
    world.set_clock(3600);
    world.change(|outside| outside.difference = jiff::SignedDuration::from_secs(-3600));

    world.run(600).await;
    assert!(world.asked().is_empty() && world.told().await.is_empty());
    let notices = world.outside.lock().unwrap().notices.join("\n");
    world.set_clock(-3600);
    world.change(|outside| outside.difference = jiff::SignedDuration::ZERO);
    world.run(600).await;

    assert_eq!(world.told().await, ["rule morning done: 1001 started, 1002 started"], "{notices}");
    assert_eq!(world.asked().len(), 1);
}

#[tokio::test]
async fn a_step_of_the_clock_while_running_holds_everything_and_is_told() {
    let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING);
    let outside = world.outside.clone();
    let step = tokio::spawn(async move {
        // As soon as the engine has turned a few times, somebody sets the clock.
        while outside.lock().unwrap().turns < 3 {
            tokio::task::yield_now().await;
        }
        let mut outside = outside.lock().unwrap();
        outside.difference = jiff::SignedDuration::from_secs(-7200);
    });
    world.run(30).await;
    step.await.unwrap();
    world.set_clock(7200);

    world.run(60).await;

    assert!(world.asked().is_empty());
    assert!(world.told().await.is_empty(), "{:?}", world.told().await);
}

#[tokio::test]
async fn refused_keys_cost_one_careful_try_each_half_minute_and_are_told_once() {
    let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING).fates(&[Fate::Keys; 100]);

    world.run(3600).await;

    let tries = world.asked().len();
    assert!((25..=31).contains(&tries), "{tries} tries in 15 minutes");
    assert_eq!(world.told().await, ["rule morning missed: 1001 missed, 1002 missed"]);
    let notices = world.outside.lock().unwrap().notices.clone();
    assert_eq!(notices.iter().filter(|notice| notice.starts_with("trouble")).count(), 1, "{notices:?}");
}

#[tokio::test]
async fn an_outage_opens_the_breaker_and_costs_one_read_each_five_seconds() {
    let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING);
    world.run(30).await;
    world.change(|outside| (outside.reachable, outside.reads) = (true, 0));
    let outside = world.outside.clone();
    outside.lock().unwrap().reachable = false;

    world.run(1200).await;

    // Held from the start: the clock cannot be compared, so not even a read is needed.
    assert!(world.asked().is_empty());
    let reads = outside.lock().unwrap().reads;
    assert!(reads <= 250, "{reads} reads in 20 minutes");
}

#[tokio::test]
async fn an_edit_never_fires_the_past_and_the_old_schedule_gives_the_misses() {
    let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING);
    world.run(60).await;
    world.pass(7200);
    world.configure("50 8 * * *", "35 10 * * *");

    world.run(600).await;

    assert_eq!(world.told().await, ["morning missed 1 (down)"]);
    assert!(world.asked().is_empty(), "{:?}", world.asked());
}

#[tokio::test]
async fn a_reload_ends_what_waits_for_a_removed_rule_and_sends_nothing_more() {
    let mut world = World::at("2026-11-23T08:49:59Z").with(MORNING).fates(&[Fate::Unsent; 3]);
    world.run_and_kill(3).await;
    let asked = world.asked().len();
    world.configure(MORNING, "");
    let reload = world.reload();
    world.configure("timezone", &format!("# {MORNING:?}\ntimezone"));

    world.run_with(900, vec![reload]).await.unwrap();

    assert_eq!(world.told().await, ["rule morning skipped: 1001 skipped, 1002 skipped"]);
    assert_eq!(world.asked().len(), asked);
}

#[tokio::test]
async fn a_stop_by_a_person_goes_through_the_same_engine() {
    let mut world = World::at("2026-11-23T12:00:00Z").with(NIGHT);
    let (start, started) = command(Action::Start, "web");
    world.run_with(120, vec![start]).await.unwrap();
    let (stop, stopped) = command(Action::Stop, "web");

    world.run_with(120, vec![stop]).await.unwrap();

    assert!(started.await.unwrap().is_ok() && stopped.await.unwrap().is_ok());
    assert_eq!(
        world.told().await,
        [
            "command by tester done: 1001 started, 1002 started",
            "command by tester done: 1001 stopped, 1002 stopped"
        ]
    );
}

#[tokio::test]
async fn an_idle_engine_rests() {
    let mut world = World::at("2026-11-23T12:00:00Z").with(NIGHT);

    world.run(6 * 3600).await;

    let turns = world.outside.lock().unwrap().turns;
    // Only the missing sweep of this world's silent housekeeping wakes it, each 151 s.
    assert!(turns < 200, "{turns} turns in six idle hours");
}

#[tokio::test]
async fn a_server_of_two_runs_with_different_windows_stands_in_one_request() {
    let text = "[groups.all]\nservers = [\"1001\", \"1002\", \"1003\"]\n\
                [rules.a]\ncron = \"50 8 * * *\"\nstart = [\"all\"]\n\
                [rules.b]\ncron = \"50 8 * * *\"\nstart = [\"db\"]\nwindow = \"30m\"\n";
    let mut world = World::at("2026-11-23T08:40:00Z").with(text);
    world.configure("region = \"KR\"", "region = \"KR\"\nbatch = 2");

    world.run(1800).await;

    assert_eq!(world.asked(), ["08:50:00 start 1001 1002", "08:50:00 start 1003"]);
    let told = world.told().await;
    assert!(told.iter().all(|line| line.contains(" done: ") && line.contains("1003 started")), "{told:?}");
}

#[tokio::test]
async fn no_double_a_run_that_waits_for_its_retry_shares_what_another_run_set_moving() {
    let text = "[rules.a]\ncron = \"0 50 8 * * *\"\nseconds = true\nstart = [\"db\"]\n\
                [rules.b]\ncron = \"5 50 8 * * *\"\nseconds = true\nstart = [\"db\"]\n";
    let mut world = World::at("2026-11-23T08:40:00Z").with(text).fates(&[Fate::Throttled]);

    world.run(1800).await;

    assert_eq!(world.asked(), ["08:50:00 start 1003", "08:50:05 start 1003"]);
    assert_eq!(world.told().await, ["rule a done: 1003 started", "rule b done: 1003 started"]);
}

#[tokio::test]
async fn a_newer_stop_waits_while_an_older_start_must_look_and_then_stops_what_came_up() {
    let text = "[rules.up]\ncron = \"0 50 8 * * *\"\nseconds = true\nstart = [\"db\"]\n\
                [rules.down]\ncron = \"4 50 8 * * *\"\nseconds = true\nstop = [\"db\"]\n";
    let mut world = World::at("2026-11-23T08:40:00Z").with(text).fates(&[Fate::DoneUnheard]);

    world.run(1800).await;

    assert_eq!(world.told().await, ["rule up skipped: 1003 superseded", "rule down done: 1003 stopped"]);
    assert_eq!(world.asked().len(), 2, "{:?}", world.asked());
}

#[tokio::test]
async fn after_a_long_absence_a_read_comes_before_any_verdict() {
    let mut world = World::at("2026-11-23T08:49:30Z").with(MORNING);
    world.run_and_kill(35).await;
    world.pass(3600);

    world.run(120).await;

    assert_eq!(world.told().await, ["rule morning done: 1001 started, 1002 started"]);
    assert_eq!(world.asked().len(), 1);
}

#[tokio::test]
async fn of_two_commands_in_one_moment_the_later_one_wins() {
    let mut world = World::at("2026-11-23T12:00:00Z").with(NIGHT);
    let ((start, _started), (stop, _stopped)) = (command(Action::Start, "web"), command(Action::Stop, "web"));

    world.run_with(300, vec![start, stop]).await.unwrap();

    let told = world.told().await;
    assert_eq!(told[0], "command by tester skipped: 1001 superseded, 1002 superseded");
    assert_eq!(told[1], "command by tester done: 1001 already, 1002 already");
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn a_command_that_was_held_back_is_not_carried_out_later() {
    let mut world = World::at("2026-11-23T12:00:00Z").with(NIGHT);
    world.change(|outside| outside.reachable = false);
    let (start, started) = command(Action::Start, "web");
    let outside = world.outside.clone();
    let heals = tokio::spawn(async move {
        while outside.lock().unwrap().wall.as_second() % 3600 < 300 {
            tokio::task::yield_now().await;
        }
        outside.lock().unwrap().reachable = true;
    });

    world.run_with(900, vec![start]).await.unwrap();

    heals.await.unwrap();
    assert!(started.await.unwrap().is_err());
    assert!(world.asked().is_empty() && world.told().await.is_empty());
}

#[tokio::test]
async fn an_older_start_that_is_claimed_late_gives_way_to_a_newer_stop() {
    let text = "[rules.up]\ncron = \"0 8 * * *\"\nstart = [\"web\"]\nwindow = \"12h\"\n\
                [rules.down]\ncron = \"0 12 * * *\"\nstop = [\"web\"]\n";
    let mut world = World::at("2026-11-23T07:00:00Z").with(text);
    world.run(60).await;
    world.pass(6 * 3600);

    world.run(600).await;

    let mut told = world.told().await;
    told.sort();
    assert_eq!(told, ["down missed 1 (down)", "rule up skipped: 1001 superseded, 1002 superseded"]);
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn a_failure_state_is_tried_until_a_request_has_arrived_and_then_no_more() {
    let text = "[rules.r]\ncron = \"50 8 * * *\"\nstart = [\"db\"]\n";
    let mut unsent = World::at("2026-11-23T08:40:00Z").with(text).fates(&[Fate::Unsent]);
    unsent.force("1003", "FSTOP", "NULL");
    let mut lost = World::at("2026-11-23T08:40:00Z").with(text).fates(&[Fate::Lost]);
    lost.force("1003", "FSTOP", "NULL");

    unsent.run(1800).await;
    lost.run(1800).await;

    assert_eq!(
        (unsent.told().await, unsent.asked().len()),
        (vec!["rule r done: 1003 started".to_owned()], 2)
    );
    assert_eq!((lost.told().await, lost.asked().len()), (vec!["rule r failed: 1003 failed".to_owned()], 1));
}

#[tokio::test]
async fn killed_while_the_clock_was_wrong_it_goes_on_when_the_clock_is_right_again() {
    let mut world = World::at("2026-11-23T08:49:30Z").with(MORNING).fates(&[Fate::DoneUnheard]);
    world.run_and_kill(31).await;
    world.set_clock(9 * 3600);
    world.change(|outside| outside.difference = jiff::SignedDuration::from_hours(-9));
    world.run_and_kill(60).await;
    world.set_clock(-9 * 3600);
    world.change(|outside| outside.difference = jiff::SignedDuration::ZERO);

    world.run(300).await;

    assert_eq!(world.told().await, ["rule morning done: 1001 started, 1002 started"]);
    assert_eq!(world.asked().len(), 1);
}

#[tokio::test]
async fn an_open_stop_gives_way_to_a_newer_start_although_that_was_missed() {
    let text = "[rules.down]\ncron = \"0 8 * * *\"\nstop = [\"web\"]\nwindow = \"2h\"\n\
                [rules.up]\ncron = \"10 8 * * *\"\nstart = [\"web\"]\n";
    let mut world = World::at("2026-11-23T07:59:30Z").with(text).fates(&[Fate::Throttled; 3]);
    world.force("1001", "RUN", "NULL");
    world.force("1002", "RUN", "NULL");
    world.run_and_kill(35).await;
    let asked = world.asked().len();
    world.pass(1800);

    world.run(600).await;

    let told = world.told().await;
    assert!(told.contains(&"up missed 1 (down)".to_owned()), "{told:?}");
    assert!(told.contains(&"rule down skipped: 1001 superseded, 1002 superseded".to_owned()), "{told:?}");
    assert_eq!(world.asked().len(), asked);
}
