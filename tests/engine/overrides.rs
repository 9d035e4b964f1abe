//! Pauses as the daemon carries them out: what is due in one is left undone on purpose, and everything else goes on.

use jiff::Timestamp;
use sunup::daemon::engine::Input;
use sunup::daemon::overrides::Change;
use sunup::domain::name::Action;
use sunup::domain::overrides::{Kind, Override, Scope};
use tokio::sync::oneshot;

use crate::world::{World, command};

const OFFICE: &str = "[rules.office]\nhours = \"MON-FRI 08:50-09:10\"\nrun = [\"web\", \"db\"]\n";

type Answer = oneshot::Receiver<Result<Vec<Override>, String>>;

// 2026-11-23 is a Monday.
fn monday(rules: &str) -> World {
    World::at("2026-11-23T08:40:00Z").with(rules)
}

fn at(time: &str) -> Timestamp {
    format!("2026-11-23T{time}Z").parse().unwrap()
}

fn input(change: Change) -> (Input, Answer) {
    let (reply, answer) = oneshot::channel();
    (Input::Override { change, reply }, answer)
}

fn pause(word: &str, name: &str, until: &str) -> (Input, Answer) {
    let scope = Scope::from_words(word, name).unwrap();
    let (reason, who) = ("release".into(), "kim".into());
    input(Change::Make { kind: Kind::Pause, scope, from: None, until: at(until), reason, who })
}

fn resume(word: &str, name: &str) -> (Input, Answer) {
    input(Change::End { scope: Scope::from_words(word, name).unwrap(), who: "lee".into() })
}

#[tokio::test]
async fn a_paused_rule_does_nothing_until_its_end_and_each_occurrence_says_why() {
    let mut world = monday(OFFICE);
    world.force("1003", "RUN", "NULL");
    let (pause, mut answer) = pause("rule", "office", "09:00:00");

    world.run_with(3600, vec![pause]).await.unwrap();

    assert_eq!(answer.try_recv().unwrap().unwrap().len(), 1);
    assert_eq!(world.asked(), ["09:10:00 stop 1003"], "what is due after the end happens");
    assert_eq!(
        world.told().await,
        [
            "rule office skipped: 1001 skipped, 1002 skipped, 1003 skipped",
            "rule office done: 1001 already, 1002 already, 1003 stopped",
        ]
    );
    assert!(world.failed().await.is_empty(), "nothing went wrong");
    assert_eq!(
        world.notices(),
        ["override: the pause of rule office by kim has ended; rule office is inside its hours until \
          2026-11-23T09:10:00+00:00 and starts nothing now, since their opening has passed. To start it: sunup start web db."]
    );
}

#[tokio::test]
async fn a_paused_group_is_left_alone_and_the_rest_of_the_run_goes_on() {
    let mut world = monday(OFFICE);
    let (pause, _answer) = pause("group", "web", "10:00:00");

    world.run_with(3600, vec![pause]).await.unwrap();

    assert_eq!(world.asked(), ["08:50:00 start 1003", "09:10:00 stop 1003"]);
    assert_eq!(
        world.told().await,
        [
            "rule office partial: 1001 skipped, 1002 skipped, 1003 started",
            "rule office partial: 1001 skipped, 1002 skipped, 1003 stopped",
        ]
    );
    assert_eq!(world.notices(), Vec::<String>::new());
}

#[tokio::test]
async fn a_pause_of_a_group_holds_for_its_servers_in_other_groups_too() {
    let all = "[groups.all]\nservers = [\"1001\", \"1003\"]\n\
               [rules.all]\ncron = \"50 8 * * *\"\nstart = [\"all\"]\n";
    let mut world = monday(all);
    let (pause, _answer) = pause("group", "web", "10:00:00");

    world.run_with(1200, vec![pause]).await.unwrap();

    assert_eq!(world.asked(), ["08:50:00 start 1003"]);
}

#[tokio::test]
async fn a_pause_survives_kill_and_is_judged_by_due_and_not_by_when_it_is_claimed() {
    let mut world = monday(OFFICE);
    let (pause, _answer) = pause("rule", "office", "08:55:00");
    world.run_with(60, vec![pause]).await.unwrap();
    world.run_and_kill(60).await;
    // Down over the opening edge, back when the pause has ended and the window is still open.
    world.pass(15 * 60);

    world.run(600).await;

    assert_eq!(world.asked(), Vec::<String>::new());
    assert_eq!(world.told().await, ["office missed 1 (paused)"]);
    assert!(world.failed().await.is_empty(), "it was left undone on purpose");
    world.run(600).await;
    assert_eq!(
        world.told().await.last().unwrap(),
        "rule office done: 1001 already, 1002 already, 1003 already"
    );
}

#[tokio::test]
async fn a_year_in_a_pause_is_one_range() {
    let minutely = "[rules.minutely]\ncron = \"* * * * *\"\nstart = [\"web\"]\n";
    let mut world = monday(minutely);
    let scope = Scope::from_words("rule", "minutely").unwrap();
    let (reason, who, until) = (String::new(), "kim".into(), "2027-11-23T08:00:00Z".parse().unwrap());
    let (pause, _answer) = input(Change::Make { kind: Kind::Pause, scope, from: None, until, reason, who });
    world.run_with(30, vec![pause]).await.unwrap();
    world.pass(300 * 24 * 3600);

    world.run(30).await;

    let skipped = "rule minutely skipped: 1001 skipped, 1002 skipped";
    let told = world.told().await;
    assert_eq!(told, ["minutely missed 431999 (paused)", skipped, skipped], "what is due just now has a run");
}

#[tokio::test]
async fn resume_ends_a_pause_at_once_and_only_what_is_paused_can_be_resumed() {
    let mut world = monday(OFFICE);
    let (pause_one, one) = pause("rule", "office", "10:00:00");
    let (pause_two, two) = pause("rule", "office", "11:00:00");
    let (wrong, mut refused) = resume("group", "web");
    let (right, mut ended) = resume("rule", "office");

    world.run_with(900, vec![pause_one, pause_two, wrong, right]).await.unwrap();

    assert_eq!(refused.try_recv().unwrap(), Err("group web is neither paused, skipped nor kept".into()));
    assert_eq!(ended.try_recv().unwrap().unwrap().len(), 2, "all pauses of the rule");
    assert_eq!(world.asked(), ["08:50:00 start 1001 1002 1003"]);
    drop((one, two));
}

#[tokio::test]
async fn an_end_that_has_passed_is_refused() {
    let mut world = monday(OFFICE);
    let (pause, mut answer) = pause("rule", "office", "08:40:00");

    world.run_with(900, vec![pause]).await.unwrap();

    let words = answer.try_recv().unwrap().unwrap_err();
    assert_eq!(words, "the end 2026-11-23T08:40:00+00:00 has passed");
    assert_eq!(world.asked(), ["08:50:00 start 1001 1002 1003"]);
}

#[tokio::test]
async fn a_command_by_hand_passes_a_pause() {
    let mut world = monday(OFFICE);
    let (pause, _answer) = pause("group", "web", "10:00:00");
    let (start, _run) = command(Action::Start, "web");

    world.run_with(300, vec![pause, start]).await.unwrap();

    assert_eq!(world.asked(), ["08:40:00 start 1001 1002"]);
}

#[tokio::test]
async fn what_a_pause_holds_back_takes_nothing_from_an_older_run() {
    let rules = "[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n\
                 [rules.night]\ncron = \"50 8 * * *\"\nstop = [\"web\"]\njitter = \"2s\"\n\
                 [rules.later]\ncron = \"51 8 * * *\"\nstop = [\"web\"]\n";
    let mut world = monday(rules);
    world.change(|outside| outside.outage = Some((at("08:41:00"), at("08:53:00"))));
    let (night, _one) = pause("rule", "night", "09:00:00");
    let (later, _two) = pause("rule", "later", "09:00:00");

    world.run_with(1800, vec![night, later]).await.unwrap();

    let asked = world.asked();
    assert_eq!(asked.len(), 1, "{asked:?} {:?} {:?}", world.told().await, world.notices());
    assert!(asked[0].ends_with("start 1001 1002"), "{asked:?}");
    assert!(world.told().await.contains(&"rule morning done: 1001 started, 1002 started".to_owned()));
}

#[tokio::test]
async fn nobody_needs_to_know_whom_a_paused_group_means() {
    let chosen =
        "[groups.chosen]\nname = \"srv-*\"\n[rules.chosen]\ncron = \"50 8 * * *\"\nstart = [\"chosen\"]\n";
    let mut world = monday(chosen);
    let (pause, _answer) = pause("group", "chosen", "09:00:00");
    // The clock is compared before nothing can be read any more.
    world.change(|outside| outside.outage = Some((at("08:41:00"), at("10:00:00"))));

    world.run_with(1800, vec![pause]).await.unwrap();

    assert_eq!(world.told().await, ["rule chosen skipped: "]);
    assert!(world.failed().await.is_empty());
    let about_the_run = world.notices().into_iter().filter(|words| words.contains("run 1")).count();
    assert_eq!(about_the_run, 0, "{:?}", world.notices());
}

#[tokio::test]
async fn a_server_of_a_paused_group_waits_until_it_is_known_whose_it_is() {
    let groups = "[groups.first]\nname = \"srv-1001\"\n[groups.all]\nservers = [\"1001\", \"1003\"]\n\
                  [rules.all]\ncron = \"50 8 * * *\"\nstart = [\"all\"]\n";
    let mut world = monday(groups);
    let (pause, _answer) = pause("group", "first", "10:00:00");
    world.run_with(60, vec![pause]).await.unwrap();
    // Back within the window, and nothing is known of the list.
    world.pass(9 * 60 + 10);

    world.run(300).await;

    assert_eq!(world.asked(), ["08:50:10 start 1003"]);
    assert_eq!(world.told().await, ["rule all partial: 1001 skipped, 1003 started"]);
}

#[tokio::test]
async fn the_end_of_a_pause_at_the_opening_of_hours_tells_of_nothing_left_undone() {
    let mut world = monday(OFFICE);
    let (pause, _answer) = pause("rule", "office", "08:50:00");

    world.run_with(900, vec![pause]).await.unwrap();

    assert_eq!(world.asked(), ["08:50:00 start 1001 1002 1003"]);
    assert_eq!(world.notices(), ["override: the pause of rule office by kim has ended."]);
}

#[tokio::test]
async fn a_pause_that_began_after_the_opening_leaves_nothing_undone_either() {
    let mut world = monday("[rules.office]\nhours = \"MON-FRI 08:45-09:10\"\nrun = [\"web\", \"db\"]\n");
    world.run(600).await;
    let (pause, _answer) = pause("group", "web", "08:55:00");

    world.run_with(600, vec![pause]).await.unwrap();

    assert_eq!(world.notices(), ["override: the pause of group web by kim has ended."]);
}

#[tokio::test]
async fn what_a_rule_did_not_do_in_a_pause_before_it_was_edited_is_no_miss() {
    let mut world = monday("[rules.office]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n");
    let (pause, _answer) = pause("rule", "office", "09:00:00");
    world.run_with(60, vec![pause]).await.unwrap();
    world.pass(1800);
    world.configure("50 8", "55 9");

    world.run(60).await;

    assert_eq!(world.told().await, ["office missed 1 (paused)"]);
    assert!(world.failed().await.is_empty());
}

#[tokio::test]
async fn the_hours_of_a_paused_rule_keep_no_server_up_against_another_rule() {
    let rules = "[rules.long]\nhours = \"MON-FRI 08:45-22:00\"\nrun = [\"web\"]\n\
                 [rules.short]\nhours = \"MON-FRI 08:46-09:00\"\nrun = [\"web\"]\n";
    let mut world = monday(rules);
    let scope = Scope::from_words("rule", "long").unwrap();
    let until = "2026-11-30T08:00:00Z".parse().unwrap();
    let (pause, _answer) = input(Change::Make {
        kind: Kind::Pause,
        scope,
        from: None,
        until,
        reason: String::new(),
        who: "kim".into(),
    });

    world.run_with(1800, vec![pause]).await.unwrap();

    assert_eq!(world.asked(), ["08:46:00 start 1001 1002", "09:00:00 stop 1001 1002"]);
}

#[tokio::test]
async fn a_paused_group_says_nothing_about_how_it_has_grown() {
    let rules = "[groups.chosen]\nname = \"srv-*\"\nexclude = [\"1003\"]\non_growth = 2.0\n\
                 [rules.both]\ncron = \"50 8 * * *\"\nstart = [\"db\", \"chosen\"]\n";
    let mut world = monday(rules);
    let (pause, _answer) = pause("group", "chosen", "08:51:00");
    world.change(|outside| outside.outage = Some((at("08:41:00"), at("08:51:00"))));
    world.run_with(1200, vec![pause]).await.unwrap();
    world.pass(23 * 3600);

    world.run(3600).await;

    let asked = world.asked();
    assert!(asked.last().unwrap().ends_with("start 1001 1002 1004 1005"), "{asked:?} {:?}", world.notices());
}

#[tokio::test]
async fn paused_servers_count_for_no_limit_of_a_run() {
    let rules = "[limits]\nservers_per_run = 3\n[groups.chosen]\nname = \"srv-100*\"\nexclude = [\"1001\", \"1002\"]\n\
                 [rules.both]\ncron = \"50 8 * * *\"\nstart = [\"web\", \"chosen\"]\n";
    let mut world = monday(rules);
    let (pause, _answer) = pause("group", "web", "10:00:00");
    // The list comes after the claim.
    world.change(|outside| outside.outage = Some((at("08:41:00"), at("08:50:30"))));

    world.run_with(1200, vec![pause]).await.unwrap();

    let asked = world.asked();
    assert!(
        asked.last().is_some_and(|last| last.ends_with("start 1003 1004 1005")),
        "{asked:?} {:?}",
        world.notices()
    );
}

#[tokio::test]
async fn a_paused_closing_edge_names_its_servers_also_while_it_is_not_known_whom_other_hours_want() {
    let named = "[groups.named]\nname = \"srv-1005\"\n\
                 [rules.all_day]\nhours = \"MON-FRI 06:00-23:00\"\nrun = [\"named\"]\n";
    let mut world = monday(&format!("{OFFICE}{named}"));
    let lists_fail = (at("08:41:00"), at("10:00:00"));
    world.change(|outside| outside.outage = Some(lists_fail));
    let (pause, _answer) = pause("rule", "office", "09:30:00");

    world.run_with(2400, vec![pause]).await.unwrap();

    let told = world.told().await;
    let office: Vec<&String> = told.iter().filter(|line| line.starts_with("rule office")).collect();
    assert_eq!(office, ["rule office skipped: 1001 skipped, 1002 skipped, 1003 skipped"; 2], "{told:?}");
}
