//! Keeps and skips as the daemon carries them out: what is kept stays as it is, and what that held back is made up for.

use jiff::Timestamp;
use sunup::daemon::engine::Input;
use sunup::daemon::overrides::Change;
use sunup::domain::name::{Action, RuleName};
use sunup::domain::overrides::{Kind, On, Override, Scope, Then};
use sunup::ports::store::Waiver;
use tokio::sync::oneshot;

use crate::world::{World, command, given, person};

const NIGHT: &str = "[rules.night]\ncron = \"0 20 * * *\"\nstop = [\"web\", \"db\"]\n";

type Answer = oneshot::Receiver<Result<Vec<Override>, String>>;

/// A Monday evening on which all servers run.
fn evening(rules: &str) -> World {
    let mut world = World::at("2026-11-23T19:50:00Z").with(rules);
    for no in ["1001", "1002", "1003"] {
        world.force(no, "RUN", "NULL");
    }
    world
}

fn at(time: &str) -> Timestamp {
    format!("2026-11-23T{time}Z").parse().unwrap()
}

fn input(change: Change) -> (Input, Answer) {
    let (reply, answer) = oneshot::channel();
    (Input::Override { change, reply }, answer)
}

fn make(kind: Kind, (word, name): (&str, &str), from: Option<&str>, until: &str) -> (Input, Answer) {
    let scope = Scope::from_words(word, name).unwrap();
    let (from, until) = (from.map(at), at(until));
    input(Change::Make { kind, scope, from, until, reason: String::new(), who: "kim".into() })
}

fn keep_on(group: &str, until: &str) -> (Input, Answer) {
    make(Kind::Keep { forbids: Action::Stop, then: Then::Apply }, ("group", group), None, until)
}

fn end(word: &str, name: &str) -> (Input, Answer) {
    input(Change::End { scope: Scope::from_words(word, name).unwrap(), who: "lee".into() })
}

/// Runs for so long after people wished for this, and gives what they were answered.
async fn run_with(
    world: &mut World,
    seconds: u64,
    wishes: Vec<(Input, Answer)>,
) -> Vec<Result<Vec<Override>, String>> {
    let (inputs, answers): (Vec<Input>, Vec<Answer>) = wishes.into_iter().unzip();
    world.run_with(seconds, inputs).await.unwrap();
    answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect()
}

#[tokio::test]
async fn what_is_kept_on_is_not_stopped_and_the_stop_is_made_up_for_when_the_keep_ends() {
    let mut world = evening(NIGHT);

    run_with(&mut world, 3 * 3600, vec![keep_on("web", "22:00:00")]).await;

    assert_eq!(world.asked(), ["20:00:00 stop 1003", "22:00:00 stop 1001 1002"]);
    assert_eq!(
        world.told().await,
        [
            "rule night partial: 1001 skipped, 1002 skipped, 1003 stopped",
            "end of keep 1 by kim done: 1001 stopped, 1002 stopped",
        ]
    );
    assert_eq!(
        world.notices(),
        [
            "override: the keep of group web by kim has ended; what rule night wanted meanwhile is made up for: \
          stop 1001 (srv-1001), 1002 (srv-1002)."
        ]
    );
}

#[tokio::test]
async fn keep_on_over_a_kill_and_a_restart_holds_and_is_made_up_for_once() {
    let mut world = evening(NIGHT);
    run_with(&mut world, 60, vec![keep_on("web", "22:00:00")]).await;
    world.run_and_kill(600).await;
    world.run_and_kill(3600).await;
    world.pass(55 * 60);

    // It ended while nobody ran, and its window is still open.
    world.run(3600).await;
    world.run(3600).await;

    let asked = world.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].ends_with("stop 1003") && asked[1].starts_with("22:0"), "{asked:?}");
    assert!(asked[1].ends_with("stop 1001 1002"), "{asked:?}");
}

#[tokio::test]
async fn an_end_of_a_keep_that_nobody_saw_in_time_is_missed_and_told() {
    let mut world = evening(NIGHT);
    run_with(&mut world, 1200, vec![keep_on("web", "22:00:00")]).await;
    world.pass(6 * 3600);

    world.run(600).await;

    assert_eq!(world.asked(), ["20:00:00 stop 1003"]);
    assert_eq!(world.told().await.last().unwrap(), "end of keep 1 by kim missed: 1001 missed, 1002 missed");
    let notices = world.notices().join("\n");
    assert!(
        notices.contains(
            "failed: run 2 (end of keep 1 by kim) ended missed: 2 missed. Why: down: sunup was not running"
        ),
        "{notices}"
    );
}

#[tokio::test]
async fn a_clock_that_the_cloud_contradicts_ends_no_keep() {
    let mut world = evening(NIGHT);
    run_with(&mut world, 1200, vec![keep_on("web", "22:00:00")]).await;
    world.set_clock(3 * 3600);
    world.change(|outside| outside.difference = jiff::SignedDuration::from_hours(-3));
    world.run(600).await;
    assert_eq!(world.asked(), ["20:00:00 stop 1003"]);
    world.set_clock(-3 * 3600);
    world.change(|outside| outside.difference = jiff::SignedDuration::ZERO);

    world.run(2 * 3600).await;

    assert_eq!(world.asked(), ["20:00:00 stop 1003", "22:00:00 stop 1001 1002"]);
}

#[tokio::test]
async fn a_start_within_a_keep_is_newer_than_what_it_held_back() {
    let dawn = "[rules.late]\ncron = \"0 21 * * *\"\nstart = [\"web\"]\n";
    let mut world = evening(&format!("{NIGHT}{dawn}"));

    run_with(&mut world, 3 * 3600, vec![keep_on("web", "22:00:00")]).await;

    assert_eq!(world.asked(), ["20:00:00 stop 1003"]);
    assert_eq!(
        world.notices(),
        [
            "override: the keep of group web by kim has ended; nothing was held back that is to be made up for."
        ]
    );
}

#[tokio::test]
async fn keep_on_of_a_group_keeps_up_what_it_needs() {
    let chain = "[groups.app]\nservers = [\"1004\"]\nafter = [\"db\"]\n\
                 [rules.all]\ncron = \"0 20 * * *\"\nstop = [\"app\", \"db\", \"web\"]\n";
    let mut world = evening(chain);
    world.force("1004", "RUN", "NULL");

    run_with(&mut world, 3600, vec![keep_on("app", "23:00:00")]).await;

    assert_eq!(world.asked(), ["20:00:00 stop 1001 1002"]);
    assert_eq!(
        world.told().await,
        ["rule all partial: 1001 stopped, 1002 stopped, 1003 skipped, 1004 skipped"]
    );
}

#[tokio::test]
async fn keep_on_of_one_server_leaves_the_rest_of_its_group_to_the_rules() {
    let mut world = evening(NIGHT);
    let kind = Kind::Keep { forbids: Action::Stop, then: Then::Leave };
    let (keep, _answer) = make(kind, ("server", "main/1002"), None, "21:00:00");

    world.run_with(3 * 3600, vec![keep]).await.unwrap();

    assert_eq!(world.asked(), ["20:00:00 stop 1001 1003"]);
    assert_eq!(
        world.notices(),
        ["override: the keep of server main/1002 by kim has ended; its servers are left as they are."]
    );
}

#[tokio::test]
async fn then_stop_stops_when_the_keep_ends_although_no_rule_wanted_it() {
    let mut world = evening("");
    let kind = Kind::Keep { forbids: Action::Stop, then: Then::Act };
    let (keep, _answer) = make(kind, ("group", "web"), None, "21:00:00");

    world.run_with(2 * 3600, vec![keep]).await.unwrap();

    assert_eq!(world.asked(), ["21:00:00 stop 1001 1002"]);
    assert_eq!(world.told().await, ["end of keep 1 by kim done: 1001 stopped, 1002 stopped"]);
}

#[tokio::test]
async fn what_a_rule_leaves_after_a_keep_is_not_made_up_for() {
    let mut world = evening(&format!("{NIGHT}after_keep = \"leave\"\n"));

    run_with(&mut world, 3 * 3600, vec![keep_on("web", "22:00:00")]).await;

    assert_eq!(world.asked(), ["20:00:00 stop 1003"]);
}

#[tokio::test]
async fn keep_off_holds_back_starts_and_makes_up_for_them() {
    let morning = "[rules.morning]\ncron = \"0 20 * * *\"\nstart = [\"web\"]\n";
    let mut world = World::at("2026-11-23T19:50:00Z").with(morning);
    let kind = Kind::Keep { forbids: Action::Start, then: Then::Apply };
    let (keep, _answer) = make(kind, ("group", "web"), None, "21:00:00");

    world.run_with(2 * 3600, vec![keep]).await.unwrap();

    assert_eq!(world.asked(), ["21:00:00 start 1001 1002"]);
}

#[tokio::test]
async fn a_stop_by_hand_of_what_is_kept_needs_to_break_the_keep() {
    let mut world = evening("");
    let (keep, _kept) =
        make(Kind::Keep { forbids: Action::Stop, then: Then::Apply }, ("group", "web"), None, "23:00:00");
    let (stop, _stopped) = command(Action::Stop, "web");
    world.run_with(600, vec![keep, stop]).await.unwrap();
    assert_eq!(world.asked(), Vec::<String>::new());
    assert_eq!(world.told().await, ["command by tester skipped: 1001 skipped, 1002 skipped"]);

    let run = person(Action::Stop, "web");
    let (broken, _answer) = given(sunup::daemon::engine::PersonRun { waived: [Waiver::Keeps].into(), ..run });
    world.run_with(600, vec![broken]).await.unwrap();

    assert_eq!(world.asked().len(), 1, "{:?}", world.asked());
}

#[tokio::test]
async fn a_keep_from_later_on_holds_nothing_before() {
    let mut world = evening(&format!("{NIGHT}[rules.later]\ncron = \"0 22 * * *\"\nstop = [\"web\"]\n"));
    let kind = Kind::Keep { forbids: Action::Stop, then: Then::Leave };
    let (keep, _answer) = make(kind, ("group", "web"), Some("21:00:00"), "23:00:00");

    world.run_with(4 * 3600, vec![keep]).await.unwrap();

    assert_eq!(world.asked(), ["20:00:00 stop 1001 1002 1003"]);
    assert_eq!(world.told().await.last().unwrap(), "rule later skipped: 1001 skipped, 1002 skipped");
}

#[tokio::test]
async fn a_keep_that_ends_before_its_time_is_made_up_for_at_once() {
    let mut world = evening(NIGHT);
    run_with(&mut world, 1800, vec![keep_on("web", "23:00:00")]).await;

    run_with(&mut world, 1800, vec![end("group", "web")]).await;

    let asked = world.asked();
    assert_eq!(asked[0], "20:00:00 stop 1003");
    assert!(asked[1].starts_with("20:2") && asked[1].ends_with("stop 1001 1002"), "{asked:?}");
}

#[tokio::test]
async fn of_two_keeps_the_one_that_ends_last_makes_up_for_what_both_held_back() {
    let mut world = evening(NIGHT);
    let kind = Kind::Keep { forbids: Action::Stop, then: Then::Apply };
    let one = make(kind, ("server", "main/1001"), None, "21:00:00");

    run_with(&mut world, 4 * 3600, vec![keep_on("web", "22:00:00"), one]).await;

    assert_eq!(world.asked(), ["20:00:00 stop 1003", "22:00:00 stop 1001 1002"]);
}

#[tokio::test]
async fn opposite_keeps_of_one_group_are_refused() {
    let mut world = evening("");
    let off = Kind::Keep { forbids: Action::Start, then: Then::Apply };
    let off = make(off, ("group", "web"), None, "22:00:00");
    let late = Kind::Keep { forbids: Action::Start, then: Then::Leave };
    let late = make(late, ("group", "web"), Some("23:00:00"), "23:30:00");

    let answers = run_with(&mut world, 60, vec![keep_on("web", "23:00:00"), off, late]).await;

    let words = answers[1].clone().unwrap_err();
    assert!(words.starts_with("group web is kept on from") && words.ends_with("end that first"), "{words}");
    assert!(answers[2].is_ok(), "it begins when the other has ended");
}

#[tokio::test]
async fn a_stop_that_waits_is_held_back_by_a_keep_that_is_made_meanwhile() {
    let busy = "[groups.batch]\nservers = [\"1005\"]\nbusy = { tcp = \"10.0.0.5:22\" }\n\
                [rules.batch]\ncron = \"0 20 * * *\"\nstop = [\"batch\"]\n";
    let mut world = evening(busy);
    world.force("1005", "RUN", "NULL");
    world.change(|outside| {
        outside.opens.insert("tcp 10.0.0.5:22".into(), at("19:00:00"));
    });
    world.run(900).await;

    run_with(&mut world, 3 * 3600, vec![keep_on("batch", "22:00:00")]).await;

    assert_eq!(world.told().await[0], "rule batch skipped: 1005 skipped");
    let entry = &world.history().await;
    assert!(format!("{entry:?}").contains("kind: Kept"), "{entry:?}");
}

#[tokio::test]
async fn a_kept_group_that_only_a_list_can_tell_is_kept_before_the_list_is_read() {
    let named = "[groups.named]\nname = \"srv-1003\"\n";
    let mut world = evening(&format!("{NIGHT}{named}"));

    run_with(&mut world, 3600, vec![keep_on("named", "23:00:00")]).await;

    assert_eq!(world.asked(), ["20:00:00 stop 1001 1002"]);
}

#[tokio::test]
async fn one_span_of_hours_is_skipped_and_the_next_one_happens() {
    let office = "[rules.office]\nhours = \"MON-FRI 20:00-20:30\"\nrun = [\"web\"]\n";
    let mut world = World::at("2026-11-23T19:50:00Z").with(office);
    let rule = RuleName::new("office").unwrap();
    let skip = Change::Skip { rule, on: On::Next, reason: "holiday".into(), who: "kim".into() };
    let (skip, mut answer) = input(skip);

    world.run_with(25 * 3600, vec![skip]).await.unwrap();

    let made = answer.try_recv().unwrap().unwrap();
    assert_eq!((made[0].from, made[0].kind), (at("20:00:00"), Kind::Skip));
    assert_eq!(world.asked(), ["20:00:00 start 1001 1002", "20:30:00 stop 1001 1002"]);
    assert_eq!(
        world.told().await[..2],
        [
            "rule office skipped: 1001 skipped, 1002 skipped",
            "rule office skipped: 1001 skipped, 1002 skipped"
        ]
    );
    assert_eq!(world.notices(), ["override: the skip of rule office by kim has ended."]);
}

#[tokio::test]
async fn a_keep_whose_group_the_configuration_no_longer_has_is_told_once() {
    let mut world = evening("[groups.old]\nservers = [\"1005\"]\n");
    run_with(&mut world, 60, vec![keep_on("old", "23:00:00")]).await;
    world.configure("[groups.old]", "[groups.new]");
    let (once, again) = (world.reload(), world.reload());

    world.run_with(60, vec![once]).await.unwrap();
    world.run_with(60, vec![again]).await.unwrap();

    let notices = world.notices();
    let told: Vec<&String> = notices.iter().filter(|notice| notice.contains("no longer has it")).collect();
    assert!(told.len() == 1 && told[0].starts_with("config: group old is kept on"), "{notices:?}");
}

#[tokio::test]
async fn a_keep_that_is_ended_before_it_begins_does_nothing() {
    let mut world = evening("");
    let kind = Kind::Keep { forbids: Action::Stop, then: Then::Act };
    let keep = make(kind, ("group", "web"), Some("22:00:00"), "23:00:00");
    run_with(&mut world, 60, vec![keep]).await;

    run_with(&mut world, 4 * 3600, vec![end("group", "web")]).await;

    assert_eq!(world.asked(), Vec::<String>::new());
    assert_eq!(world.notices(), ["override: the keep of group web by kim has ended; it had not begun."]);
}

#[tokio::test]
async fn what_the_hours_of_another_rule_want_up_is_not_stopped_when_a_keep_ends() {
    let hours = "[rules.a]\nhours = \"MON-FRI 09:00-20:00\"\nrun = [\"web\"]\n\
                 [rules.b]\nhours = \"MON-FRI 09:00-22:00\"\nrun = [\"web\"]\n";
    let mut world = evening(hours);

    run_with(&mut world, 3 * 3600, vec![keep_on("web", "21:00:00")]).await;

    assert_eq!(world.asked(), ["22:00:00 stop 1001 1002"], "the keep has swallowed nothing that was wanted");
}

#[tokio::test]
async fn what_a_rule_wanted_that_is_gone_or_disabled_since_is_not_made_up_for() {
    for (from, to) in [
        ("[rules.night]", "[rules.other]"),
        ("stop = [\"web\", \"db\"]", "stop = [\"web\", \"db\"]\nenabled = false"),
    ] {
        let mut world = evening(NIGHT);
        run_with(&mut world, 1800, vec![keep_on("web", "22:00:00")]).await;
        world.configure(from, to);

        world.run_with(2 * 3600, vec![world.reload()]).await.unwrap();

        assert_eq!(world.asked(), ["20:00:00 stop 1003"], "{to}");
    }
}

#[tokio::test]
async fn a_restart_makes_up_for_nothing_that_an_older_keep_was_to_leave() {
    let mut world = evening(NIGHT);
    let leave = Kind::Keep { forbids: Action::Stop, then: Then::Leave };
    let first = make(leave, ("group", "web"), None, "20:30:00");
    run_with(&mut world, 3600, vec![first]).await;
    run_with(&mut world, 60, vec![keep_on("db", "22:00:00")]).await;

    world.run(2 * 3600).await;

    assert_eq!(world.asked(), ["20:00:00 stop 1003"]);
}

#[tokio::test]
async fn the_end_of_one_keep_leaves_to_another_what_that_holds_too() {
    let mut world = evening(NIGHT);
    let kind = Kind::Keep { forbids: Action::Stop, then: Then::Apply };
    let one = make(kind, ("server", "main/1001"), None, "20:30:00");
    run_with(&mut world, 20 * 60, vec![keep_on("web", "22:00:00"), one]).await;
    // Down over the end of the one, and up again when its window has passed.
    world.pass(60 * 60);

    world.run(2 * 3600).await;

    assert_eq!(world.asked(), ["20:00:00 stop 1003", "22:00:00 stop 1001 1002"]);
}

#[tokio::test]
async fn a_late_end_of_a_keep_is_judged_by_what_became_of_each_server() {
    let mut world = evening("[limits]\nnever_stop = [\"1001\"]\n");
    let kind = Kind::Keep { forbids: Action::Stop, then: Then::Act };
    let keep = make(kind, ("group", "web"), None, "20:30:00");
    run_with(&mut world, 600, vec![keep]).await;
    world.pass(4 * 3600);

    world.run(60).await;

    assert_eq!(world.told().await, ["end of keep 1 by kim partial: 1001 skipped, 1002 missed"]);
}

#[tokio::test]
async fn a_keep_that_a_wrong_clock_ended_holds_again_once_the_clock_is_right() {
    let mut world = evening(NIGHT);
    run_with(&mut world, 10, vec![keep_on("web", "22:00:00")]).await;
    // Four hours ahead, and nothing that tells the time contradicts it: the keep expires, and what it would have held back is not due yet.
    world.set_clock(4 * 3600);
    world.run(60).await;
    world.set_clock(-4 * 3600);

    world.run(3 * 3600).await;

    let of_web: Vec<String> = world.asked().into_iter().filter(|line| line.contains("1001")).collect();
    assert_eq!(of_web, ["22:00:00 stop 1001 1002"], "{:?}", world.asked());
    assert!(
        world.notices().iter().any(|notice| notice.contains("Overrides that it had ended hold again: 1."))
    );
}
