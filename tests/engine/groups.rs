//! Groups as people think of them: selectors, guards, probes that say busy, and several accounts.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sunup::daemon::engine::{PersonRun, Reach};
use sunup::domain::name::{AccountName, Action, ServerId, ServerNo};
use sunup::ports::store::Waiver;

use crate::world::{Bad, World, command, given, person};

const TOP: &str = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n";
const MORNING: &str = "[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n";
const NIGHT: &str = "[rules.night]\ncron = \"50 8 * * *\"\nstop = [\"web\"]\n";
const BY_NAME: &str = "[groups.web]\nname = \"web-*\"\n";

/// Servers 1001 to 1010: odd ones `web-N` in VPC 75, even ones `db-N` in VPC 76.
fn fleet(text: &str) -> World {
    World::at("2026-11-23T08:40:00Z").only(&format!("{TOP}{text}")).fleet(10, |no, server| {
        let (kind, vpc) = if no % 2 == 1 { ("web", "75") } else { ("db", "76") };
        server.name = format!("{kind}-{}", no - 1000);
        server.vpc = vpc.into();
    })
}

fn running(mut world: World) -> World {
    for no in 1001..=1010 {
        world.force(&no.to_string(), "RUN", "NULL");
    }
    world
}

#[tokio::test]
async fn a_selector_is_resolved_before_due_with_one_list_and_its_servers_are_asked_at_the_due_second() {
    let mut world =
        fleet(&format!("[groups.web]\nname = \"web-*\"\nexclude = [\"web-3\", \"1005\"]\n{MORNING}"));

    world.run(1800).await;

    // The engine turns when something happens, and never in between.
    let turns = world.outside.lock().unwrap().turns;
    assert!(turns < 60, "{turns} turns");
    assert_eq!(world.asked(), ["08:50:00 start 1001 1007 1009"]);
    assert_eq!(world.told().await, ["rule morning done: 1001 started, 1007 started, 1009 started"]);
    assert_eq!(world.outside.lock().unwrap().lists, 1);
}

#[tokio::test]
async fn a_server_in_two_groups_of_a_run_is_asked_once_and_numbers_join_a_selector() {
    let groups =
        "[groups.web]\nvpc = \"75\"\n[groups.some]\nservers = [\"1001\", \"1002\"]\nname = \"db-10\"\n";
    let mut world =
        fleet(&format!("{groups}[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\", \"some\"]\n"));

    world.run(1800).await;

    assert_eq!(world.asked(), ["08:50:00 start 1001 1002 1003 1005 1007 1009 1010"]);
}

#[tokio::test]
async fn a_group_chosen_by_tag_holds_the_servers_that_carry_it() {
    let mut world = World::at("2026-11-23T08:40:00Z")
        .only(&format!("{TOP}[groups.web]\ntag = \"env=dev\"\n{MORNING}"))
        .fleet(4, |no, server| {
            let value = if no % 2 == 0 { "dev" } else { "prod" };
            server.tags = vec![("env".into(), value.into())];
        });

    world.run(1800).await;

    assert_eq!(world.asked(), ["08:50:00 start 1002 1004"]);
}

#[tokio::test]
async fn a_group_that_matches_nothing_is_told_and_never_silently_done() {
    let mut alone = fleet(&format!("[groups.web]\nname = \"wbe-*\"\n{MORNING}"));
    let mut beside = fleet(
        "[groups.web]\nname = \"wbe-*\"\n[groups.db]\nservers = [\"1002\"]\n[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"db\", \"web\"]\n",
    );

    alone.run(1800).await;
    beside.run(1800).await;

    assert_eq!(alone.told().await, ["rule morning failed: "]);
    assert_eq!(beside.told().await, ["rule morning partial: 1002 started"]);
    for world in [alone, beside] {
        let notices = world.notices().join("\n");
        assert!(notices.contains("group web matches no server"), "{notices}");
    }
}

#[tokio::test]
async fn what_cannot_be_listed_at_due_is_started_as_soon_as_it_can_and_missed_if_it_never_can() {
    let done = "rule morning done: 1001 started, 1003 started, 1005 started, 1007 started, 1009 started";
    for (until, told) in [("08:54:00", done), ("09:30:00", "rule morning missed: ")] {
        let mut world = fleet(&format!("{BY_NAME}{MORNING}"));
        let until = format!("2026-11-23T{until}Z").parse().unwrap();
        world.change(|outside| {
            outside.outage = Some(("2026-11-23T08:45:00Z".parse().unwrap(), until));
        });

        world.run(3600).await;

        assert_eq!(world.told().await, [told]);
        assert_eq!(world.asked().len(), usize::from(told == done), "{:?}", world.asked());
        let notices = world.notices().join("\n");
        let words = "the servers of group web never became known";
        assert_eq!(notices.contains(words), told != done, "{notices}");
    }
}

#[tokio::test]
async fn killed_at_any_second_a_run_that_waits_for_its_list_is_carried_out_once() {
    for second in [0, 1, 2, 5, 30, 59, 60, 61, 62, 65, 75, 90] {
        let mut world = World::at("2026-11-23T08:49:00Z")
            .only(&format!("{TOP}{BY_NAME}{MORNING}"))
            .fleet(2, |no, server| server.name = format!("web-{no}"));
        world.run_and_kill(second).await;
        world.pass(2);

        world.run(900).await;

        assert_eq!(world.asked().len(), 1, "killed after {second}s: {:?}", world.asked());
        assert_eq!(world.told().await, ["rule morning done: 1001 started, 1002 started"], "{second}");
    }
}

#[tokio::test]
async fn an_older_start_that_learns_late_whom_it_is_about_gives_way_to_a_newer_stop() {
    let text = format!(
        "{BY_NAME}[groups.one]\nservers = [\"1001\"]\n{MORNING}[rules.later]\ncron = \"52 8 * * *\"\nstop = [\"one\"]\n"
    );
    let mut world = fleet(&text);
    world.run(400).await;
    world.change(|outside| outside.reachable = false);
    world.run(400).await;
    world.change(|outside| outside.reachable = true);

    world.run(900).await;

    let told = world.told().await;
    assert!(told[0].starts_with("rule morning partial: 1001 superseded, 1003 started"), "{told:?}");
}

#[tokio::test]
async fn two_hundred_bad_selectors_lead_to_no_request_and_none_is_done() {
    // Each is bad in one way: it matches nothing, too much, or only what is protected.
    let bad = prop_oneof![
        "[a-z]{3,8}-x\\*".prop_map(|name| format!("name = \"{name}\"")),
        "[1-9][0-9]{3,5}".prop_map(|vpc| format!("vpc = \"{vpc}\"")),
        "KR-[3-9]".prop_map(|zone| format!("zone = \"{zone}\"")),
        "[a-z][0-9]-g9".prop_map(|spec| format!("spec = \"{spec}\"")),
        prop_oneof![Just("*"), Just("*-*"), Just("?*"), Just("*b*"), Just("db-*")]
            .prop_map(|name| format!("name = \"{name}\"")),
        prop_oneof![Just("web-[0-9]"), Just("w?b-1"), Just("*eb-3")]
            .prop_map(|name| format!("name = \"{name}\"")),
    ];
    let mut runner = TestRunner::deterministic();
    let mut text = format!("{TOP}[limits]\nservers_per_run = 3\nprotect = [\"web-*\"]\n");
    for n in 0..200 {
        let selector = bad.new_tree(&mut runner).unwrap().current();
        text.push_str(&format!(
            "[groups.g{n}]\n{selector}\n[rules.r{n}]\ncron = \"50 8 * * *\"\nstart = [\"g{n}\"]\n"
        ));
    }
    let mut world = fleet("").only(&text).fleet(10, |no, server| {
        server.name = format!("{}-{}", if no % 2 == 1 { "web" } else { "db" }, no - 1000);
    });

    world.run(1800).await;

    assert_eq!(world.asked(), Vec::<String>::new());
    let told = world.told().await;
    assert_eq!(told.len(), 200);
    assert!(told.iter().all(|line| line.contains(" failed: ") || line.contains(" skipped: ")), "{told:#?}");
}

#[tokio::test]
async fn a_selector_that_suddenly_matches_far_more_holds_the_run_until_a_person_lets_it_pass() {
    let mut world = fleet(&format!("[groups.web]\nname = \"web-1\"\non_growth = 1.5\n{MORNING}"));
    world.run(1800).await;
    world.configure("name = \"web-1\"", "name = \"web-*\"");
    world.pass(86_400 - 1800);

    world.run(1800).await;
    assert_eq!(world.asked().len(), 1, "{:?}", world.asked());
    let notices = world.notices().join("\n");
    assert!(notices.contains("matches 5 servers and had 1"), "{notices}");
    assert!(notices.contains("--over-limit"), "{notices}");
    let run = PersonRun { waived: [Waiver::Limits].into(), ..person(Action::Start, "web") };
    let (input, _reply) = given(run);
    world.run_with(600, vec![input]).await.unwrap();

    assert_eq!(world.asked().len(), 2, "{:?}", world.asked());
    world.pass(86_400 - 2400);
    world.run(1800).await;
    let told = world.told().await;
    assert!(told.last().unwrap().starts_with("rule morning done"), "{told:?}");
}

#[tokio::test]
async fn a_run_over_too_many_servers_is_skipped_with_words_and_passes_by_hand_once() {
    let mut world = fleet(&format!("{BY_NAME}{MORNING}[limits]\nservers_per_run = 3\n"));

    world.run(1800).await;
    assert!(world.asked().is_empty());
    let notices = world.notices().join("\n");
    assert!(notices.contains("guard: ") && notices.contains("--over-limit"), "{notices}");
    let run = PersonRun { waived: [Waiver::Limits].into(), ..person(Action::Start, "web") };
    let (input, _reply) = given(run);
    world.run_with(600, vec![input]).await.unwrap();

    assert_eq!(world.asked().len(), 1, "{:?}", world.asked());
}

#[tokio::test]
async fn a_protected_server_is_never_touched_by_any_path_commands_by_people_included() {
    let protections = [
        "[groups.safe]\nvpc = \"75\"\n[limits]\nprotect = [\"group:safe\"]\n",
        "[limits]\nprotect = [\"web-*\"]\n",
        "[limits]\nprotect = [\"1001\", \"1003\", \"1005\", \"1007\", \"1009\"]\n",
    ];
    for protection in protections {
        for action in [Action::Start, Action::Stop] {
            let rules = if action == Action::Start { MORNING } else { NIGHT };
            let world = fleet(&format!("{BY_NAME}{rules}{protection}"));
            let mut world = if action == Action::Stop { running(world) } else { world };
            let waived = [Waiver::Limits, Waiver::Dependents].into();
            let server =
                ServerId { account: AccountName::new("main").unwrap(), no: ServerNo::parse("1001").unwrap() };
            let by_number = PersonRun {
                groups: vec![],
                servers: vec![server],
                reach: Reach::WithDependencies,
                waived,
                ..person(action, "web")
            };
            let (first, _one) = given(by_number);
            let (second, _two) = command(action, "web");

            world.run_with(1800, vec![first, second]).await.unwrap();

            assert!(world.asked().is_empty(), "{action} {protection}: {:?}", world.asked());
            assert_eq!(world.told().await.len(), 3);
        }
    }
}

#[tokio::test]
async fn it_never_stops_the_server_it_runs_on_however_it_is_told_to() {
    let mut found = running(fleet(&format!("{BY_NAME}{NIGHT}")));
    found.change(|outside| outside.own = Some(vec!["1003".into()]));
    let mut named = running(fleet(&format!("{BY_NAME}{NIGHT}[limits]\nself = [\"1003\"]\n")));
    let mut unknown = running(fleet(&format!("{BY_NAME}{NIGHT}")));
    unknown.change(|outside| outside.own = None);
    let mut starting = fleet(&format!("{BY_NAME}{MORNING}"));
    starting.change(|outside| outside.own = None);

    for world in [&mut found, &mut named, &mut unknown, &mut starting] {
        world.run(2400).await;
    }

    for world in [&found, &named] {
        assert_eq!(world.asked(), ["08:50:00 stop 1001 1005 1007 1009"]);
        assert!(world.told().await[0].contains("1003 skipped"), "{:?}", world.told().await);
    }
    // A look that fails holds stops, and says so; starts go on.
    assert!(unknown.asked().is_empty(), "{:?}", unknown.asked());
    assert!(unknown.told().await[0].starts_with("rule night missed"), "{:?}", unknown.told().await);
    assert_eq!(starting.asked().len(), 1);
}

#[tokio::test]
async fn the_canary_gets_there_before_the_rest_are_asked_and_if_it_fails_they_are_left_alone() {
    let text = format!("[groups.web]\nname = \"web-*\"\ncanary = 1\n{MORNING}");
    let mut good = fleet(&text);
    let mut bad = fleet(&text);
    bad.change(|outside| outside.bad.extend([("1001".to_owned(), Bad::Named)]));

    good.run(1800).await;
    bad.run(1800).await;

    assert_eq!(good.asked().len(), 2, "{:?}", good.asked());
    assert_eq!(good.asked()[0], "08:50:00 start 1001");
    assert!(good.asked()[1].as_str() > "08:50:20" && good.asked()[1].ends_with("1003 1005 1007 1009"));
    assert_eq!(bad.asked(), ["08:50:00 start 1001"]);
    let told = bad.told().await;
    assert_eq!(
        told,
        ["rule morning failed: 1001 failed, 1003 skipped, 1005 skipped, 1007 skipped, 1009 skipped"]
    );
}

#[tokio::test]
async fn after_so_many_failures_the_rest_of_a_group_are_left_alone() {
    let text =
        format!("[groups.web]\nname = \"web-*\"\nstop_after_failures = 2\nstagger = \"30s\"\n{MORNING}");
    let mut world = fleet(&text);
    world.change(|outside| {
        for no in ["1001", "1003", "1005"] {
            outside.bad.insert(no.into(), Bad::Named);
        }
    });

    world.run(1800).await;

    let asked: Vec<String> = world.asked().iter().map(|line| line[15..].to_owned()).collect();
    assert_eq!(asked, ["1001", "1003"], "{:?}", world.asked());
    let told = world.told().await;
    assert_eq!(
        told,
        ["rule morning failed: 1001 failed, 1003 failed, 1005 skipped, 1007 skipped, 1009 skipped"]
    );
}

#[tokio::test]
async fn servers_of_a_staggered_group_are_asked_one_by_one_with_the_pause_between() {
    let mut world = fleet(&format!("[groups.web]\nname = \"web-*\"\nstagger = \"5s\"\n{MORNING}"));

    world.run(1800).await;

    let want = [
        "08:50:00 start 1001",
        "08:50:05 start 1003",
        "08:50:10 start 1005",
        "08:50:15 start 1007",
        "08:50:20 start 1009",
    ];
    assert_eq!(world.asked(), want);
}

#[tokio::test]
async fn a_server_that_says_it_is_busy_is_not_stopped_and_an_unclear_answer_counts_as_busy() {
    let text = format!(
        "[groups.web]\nname = \"web-*\"\nbusy = {{ http = \"http://{{name}}/busy\", status = 200 }}\n{NIGHT}"
    );
    let mut world = running(fleet(&text));
    let question = |no: u32| format!("http://web-{no}/busy with status 200");
    world.change(|outside| {
        // 1 is free, 3 is busy, 5 does not answer, 7 is free after ten minutes (unclear until then), 9 is free.
        outside.shut = [1, 9].map(question).to_vec();
        outside.opens.insert(question(3), "2026-11-23T00:00:00Z".parse().unwrap());
    });
    world.run(600 + 600).await;
    world.change(|outside| outside.shut.push(question(7)));

    world.run(1200).await;

    assert_eq!(world.asked().len(), 2, "{:?}", world.asked());
    assert_eq!(world.asked()[0], "08:50:00 stop 1001 1009");
    assert!(world.asked()[1].ends_with("stop 1007"));
    let told = world.told().await;
    assert_eq!(
        told,
        ["rule night partial: 1001 stopped, 1003 skipped, 1005 skipped, 1007 stopped, 1009 stopped"]
    );
}

#[tokio::test]
async fn a_stop_waits_while_the_servers_operation_is_not_null() {
    let mut world = running(fleet(&format!("{BY_NAME}{NIGHT}")));
    world.force("1003", "RUN", "SETUP");
    world.run(640).await;
    world.force("1003", "RUN", "NULL");

    world.run(900).await;

    assert_eq!(world.asked().len(), 2, "{:?}", world.asked());
    assert!(world.asked()[1].ends_with("stop 1003"));
    assert!(world.told().await[0].starts_with("rule night done"));
}

#[tokio::test]
async fn no_room_is_tried_again_slowly_until_the_window_ends_and_enough_servers_are_enough() {
    let text = format!("[groups.web]\nname = \"web-*\"\nany = 3\n{MORNING}");
    let mut enough = fleet(&text);
    let mut too_few = fleet(&text);
    for (world, bad) in [(&mut enough, vec!["1001", "1003"]), (&mut too_few, vec!["1001", "1003", "1005"])] {
        world.change(|outside| outside.bad.extend(bad.into_iter().map(|no| (no.to_owned(), Bad::NoRoom))));
        world.run(2400).await;
    }

    let told = enough.told().await;
    assert_eq!(
        told,
        ["rule morning done: 1001 failed, 1003 failed, 1005 started, 1007 started, 1009 started"]
    );
    assert!(too_few.told().await[0].starts_with("rule morning partial"));
    // Each waits three minutes between tries: at most six in a window of fifteen.
    let of_1001 = enough.asked().iter().filter(|line| line.contains("1001")).count();
    assert!((3..=7).contains(&of_1001), "{:?}", enough.asked());
    let told_of = |world: &World| world.notices().iter().filter(|text| text.contains("has no room")).count();
    assert_eq!((told_of(&enough), told_of(&too_few)), (1, 1), "once for each run");
    let mut refused = fleet(&text);
    refused.change(|outside| outside.bad.extend([("1001".to_owned(), Bad::Named)]));
    refused.run(2400).await;
    assert_eq!(told_of(&refused), 0, "another reason is not for want of room");
    let notices = too_few.notices().join("\n");
    assert!(notices.contains("capacity: "), "{notices}");
}

#[tokio::test]
async fn what_would_fail_is_told_before_it_is_due_and_long_before_by_a_rehearsal() {
    let text =
        format!("[groups.web]\nservers = [\"1001\", \"4711\"]\n{MORNING}[checks]\nrehearse = \"45m\"\n");
    let mut world = World::at("2026-11-23T08:00:00Z").only(&format!("{TOP}{text}"));
    world.force("1001", "NSTOP", "CHNG");

    world.run(49 * 60 + 50).await;

    let notices = world.notices();
    assert!(notices[0].contains("server 4711 does not exist"), "{notices:?}");
    assert!(notices[0].contains("server 1001 (srv-1001) is at NSTOP/CHNG"), "{notices:?}");
    assert!(world.asked().is_empty());
    let told = notices.iter().filter(|notice| notice.contains("does not exist")).count();
    assert_eq!(told, 2, "once by the rehearsal, once by the preflight: {notices:?}");
}

#[tokio::test]
async fn an_account_whose_keys_are_refused_delays_no_other() {
    let text = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[accounts.other]\nregion = \"KR\"\nsite = \"gov\"\n\
        [groups.web]\naccount = \"main\"\nname = \"srv-*\"\n[groups.far]\naccount = \"other\"\nname = \"*\"\n\
        [rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\", \"far\"]\n";
    let mut alone = World::at("2026-11-23T08:40:00Z").only(text).fleet(3, |_, _| {});
    let mut beside = World::at("2026-11-23T08:40:00Z").only(text).fleet(3, |_, _| {});
    beside.change(|outside| outside.locked_out.push("other".into()));

    alone.run(2400).await;
    beside.run(2400).await;

    assert_eq!(beside.asked(), ["08:50:00 start 1001 1002 1003"]);
    assert_eq!(alone.asked(), beside.asked());
    let told = beside.told().await;
    assert_eq!(told, ["rule morning partial: 1001 started, 1002 started, 1003 started"]);
    let notices = beside.notices().join("\n");
    assert!(notices.contains("account other: HTTP 401"), "{notices}");
}

/// The first run only: how the engine fares is seen in its turns.
fn turns(world: &World) -> usize {
    world.outside.lock().unwrap().turns
}

fn outage(world: &mut World, from: &str, to: &str) {
    let at = |time: &str| format!("2026-11-23T{time}Z").parse().unwrap();
    world.change(|outside| outside.outage = Some((at(from), at(to))));
}

#[tokio::test]
async fn a_run_whose_groups_stay_unknown_past_its_window_costs_no_turns() {
    let text = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[accounts.other]\nregion = \"KR\"\nsite = \"gov\"\n\
        [groups.slow]\naccount = \"main\"\nservers = [\"1001\"]\n[groups.far]\naccount = \"other\"\nname = \"*\"\n\
        [rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"slow\", \"far\"]\nwindow = \"1m\"\n";
    let mut world = World::at("2026-11-23T08:45:00Z").only(text).fleet(1, |_, server| {
        server.boot = (400_000_000, 400_000_000);
    });
    world.change(|outside| outside.locked_out.push("other".into()));

    world.run(1200).await;

    assert_eq!(world.told().await, ["rule morning partial: 1001 started"]);
    assert!(turns(&world) < 500, "{} turns", turns(&world));
}

#[tokio::test]
async fn a_rule_that_is_removed_while_its_groups_are_not_known_sends_nothing_and_ends() {
    for (from, to) in [(NIGHT, ""), ("[rules.night]\n", "[rules.night]\nenabled = false\n")] {
        for reloads in [true, false] {
            let mut world = running(fleet(&format!("{BY_NAME}{NIGHT}")));
            outage(&mut world, "08:45:00", "08:52:00");
            world.run(660).await;
            let before = world.told().await;
            assert_eq!(before, ["rule night open: "]);
            let reload = {
                world.configure(from, to);
                world.reload()
            };

            if !reloads {
                world.pass(1);
            }
            world.run_with(900, if reloads { vec![reload] } else { vec![] }).await.unwrap();

            assert!(world.asked().is_empty(), "{:?}", world.asked());
            assert_eq!(world.told().await, ["rule night skipped: "]);
        }
    }
}

#[tokio::test]
async fn a_number_that_is_taken_out_just_before_due_is_not_stopped() {
    let mut world =
        running(fleet(&format!("[groups.web]\nservers = [\"1001\", \"1002\"]\nname = \"web-9\"\n{NIGHT}")));
    world.run(570).await;
    world.configure("\"1001\", \"1002\"", "\"1001\"");

    let reload = world.reload();
    world.run_with(900, vec![reload]).await.unwrap();

    assert_eq!(world.asked(), ["08:50:00 stop 1001 1009"]);
}

#[tokio::test]
async fn what_other_accounts_do_not_tell_holds_nothing_back_here() {
    let top = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[accounts.other]\nregion = \"KR\"\nsite = \"gov\"\n\
        [groups.web]\naccount = \"main\"\nservers = [\"1001\"]\n[groups.far]\naccount = \"other\"\nname = \"*\"\n";
    let hours = "[rules.far-hours]\nhours = \"MON-SUN 08:00-20:00\"\nrun = [\"far\"]\n\
        [rules.hours]\nhours = \"MON-SUN 06:00-08:50\"\nrun = [\"web\"]\n[limits]\nprotect = [\"group:far\"]\n";
    let mut world = World::at("2026-11-23T08:40:00Z").only(&format!("{top}{hours}")).fleet(1, |_, _| {});
    world.force("1001", "RUN", "NULL");
    world.change(|outside| outside.locked_out.push("other".into()));

    world.run(1800).await;

    assert_eq!(world.asked(), ["08:50:00 stop 1001"]);
}

#[tokio::test]
async fn a_server_stopped_by_number_is_still_one_of_a_group_that_a_running_server_needs() {
    let text = "[groups.db]\nname = \"db-*\"\n[groups.app]\nservers = [\"1001\"]\nafter = [\"db\"]\n\
        [groups.misc]\nservers = [\"1002\"]\n[rules.night]\ncron = \"50 8 * * *\"\nstop = [\"misc\"]\n";
    let mut by_rule = running(fleet(text));
    let mut by_person = running(fleet(text));
    let server =
        ServerId { account: AccountName::new("main").unwrap(), no: ServerNo::parse("1002").unwrap() };
    let run = PersonRun { groups: vec![], servers: vec![server], ..person(Action::Stop, "misc") };
    let (input, _reply) = given(run);

    by_rule.run(3600).await;
    by_person.run_with(60, vec![input]).await.unwrap();

    for world in [by_rule, by_person] {
        assert!(world.asked().is_empty(), "{:?}", world.asked());
        assert!(world.told().await[0].contains("1002 skipped"), "{:?}", world.told().await);
    }
}

#[tokio::test]
async fn stops_that_never_came_because_nothing_was_known_are_missed_and_told() {
    let mut world = running(fleet(&format!("[groups.web]\nservers = [\"1001\"]\n{NIGHT}")));
    world.change(|outside| outside.own = None);

    world.run(2400).await;

    assert_eq!(world.told().await, ["rule night missed: 1001 missed"]);
    let notices = world.notices().join("\n");
    assert!(notices.contains("could not be looked for"), "{notices}");
    assert!(
        notices.contains("not-known: it is not known yet whether sunup itself runs on this server"),
        "{notices}"
    );
}

#[tokio::test]
async fn the_hours_requests_are_told_once_and_a_waiving_command_does_not_wait_for_them() {
    let text = "[groups.web]\nname = \"web-*\"\n[groups.db]\nname = \"db-*\"\n[limits]\nrequests_per_hour = 1\n\
        [rules.one]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n[rules.two]\ncron = \"51 8 * * *\"\nstart = [\"db\"]\n";
    let mut world = fleet(text);
    world.run(690).await;
    let run = PersonRun { waived: [Waiver::Limits].into(), ..person(Action::Start, "db") };
    let (input, _reply) = given(run);
    world.run_with(1800, vec![input]).await.unwrap();

    assert_eq!(world.asked().len(), 2, "{:?}", world.asked());
    let notices = world.notices();
    let told =
        notices.iter().filter(|notice| notice.starts_with("guard: `limits.requests_per_hour`")).count();
    assert!((1..=2).contains(&told), "once for each life of the engine: {notices:?}");
}

#[tokio::test]
async fn a_canary_that_is_busy_gives_its_place_to_another() {
    let text = format!(
        "[groups.web]\nname = \"web-*\"\ncanary = 1\nbusy = {{ http = \"http://{{name}}/busy\", status = 200 }}\n{NIGHT}"
    );
    let mut world = running(fleet(&text));
    world.change(|outside| {
        outside.shut = [3, 5, 7, 9].map(|no| format!("http://web-{no}/busy with status 200")).to_vec();
    });

    world.run(2400).await;

    let told = world.told().await;
    assert_eq!(
        told,
        ["rule night partial: 1001 skipped, 1003 stopped, 1005 stopped, 1007 stopped, 1009 stopped"]
    );
}
