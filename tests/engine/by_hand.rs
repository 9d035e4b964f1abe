//! Servers that a person stopped outside of Sunup: started all the same, or left off until a person starts them.

use sunup::daemon::engine::PersonRun;
use sunup::domain::name::{AccountName, Action, ServerId, ServerNo};

use crate::world::{World, command, given, person};

const DAYS: &str = "[rules.office]\ncron = \"0 9 * * *\"\nstart = [\"web\"]\n";
const NIGHT: &str = "[rules.night]\ncron = \"0 20 * * *\"\nstop = [\"web\"]\n";
const HOUR: u64 = 3600;

/// Monday at eight, with a rule that leaves off what a person stopped, or not.
fn monday(hand_stopped: &str, more: &str) -> World {
    World::at("2026-11-23T08:00:00Z").with(&format!("{DAYS}{hand_stopped}{more}"))
}

const LEAVE: &str = "hand_stopped = \"leave\"\n";

#[tokio::test]
async fn a_server_that_a_person_stopped_stays_off_until_a_person_starts_it() {
    let mut world = monday(LEAVE, "");
    world.run(4 * HOUR).await;
    world.force("1001", "NSTOP", "NULL");

    // Over two mornings, and a restart between them.
    world.run(24 * HOUR).await;
    world.run(24 * HOUR).await;

    assert_eq!(world.asked(), ["09:00:00 start 1001 1002"], "it is asked on the first day alone");
    let left = "rule office partial: 1001 skipped, 1002 already";
    assert_eq!(world.told().await[1..], [left, left]);
    assert!(world.failed().await.is_empty(), "nothing went wrong");
    assert!(world.notices().is_empty(), "{:?}", world.notices());

    let (input, answer) = command(Action::Start, "web");
    world.run_with(HOUR, vec![input]).await.unwrap();
    answer.await.unwrap().unwrap();
    world.run(24 * HOUR).await;
    assert_eq!(world.asked().last().unwrap(), "12:00:00 start 1001", "a person starts it");
    assert_eq!(world.told().await.last().unwrap(), "rule office done: 1001 already, 1002 already");
}

#[tokio::test]
async fn a_server_that_was_stopped_by_hand_and_started_by_hand_is_like_any_other() {
    let mut world = monday(LEAVE, NIGHT);
    world.run(4 * HOUR).await;
    world.force("1001", "NSTOP", "NULL");
    world.run(9 * HOUR).await;

    // The stop of the evening found it down and did nothing to it.
    world.run(15 * HOUR).await;
    assert_eq!(world.asked()[1..], ["20:00:00 stop 1002", "09:00:00 start 1002"]);
    world.force("1001", "RUN", "NULL");
    world.run(24 * HOUR).await;

    assert_eq!(world.asked()[3..], ["20:00:00 stop 1001 1002", "09:00:00 start 1001 1002"]);
}

#[tokio::test]
async fn unless_the_rule_says_otherwise_a_server_that_a_person_stopped_is_started() {
    let mut world = monday("", "");
    world.run(4 * HOUR).await;
    world.force("1001", "NSTOP", "NULL");
    world.run(24 * HOUR).await;

    assert_eq!(world.asked()[1..], ["09:00:00 start 1001"]);
}

#[tokio::test]
async fn what_a_keep_held_back_of_such_a_rule_leaves_off_too_what_a_person_stopped() {
    use sunup::daemon::engine::Input;
    use sunup::daemon::overrides::Change;
    use sunup::domain::overrides::{Kind, Scope, Then};
    let mut world = monday(LEAVE, "");
    world.run(4 * HOUR).await;
    world.force("1001", "NSTOP", "NULL");
    world.force("1002", "NSTOP", "NULL");
    let until = "2026-11-24T12:00:00Z".parse().unwrap();
    let (reply, _answer) = tokio::sync::oneshot::channel();
    let change = Change::Make {
        kind: Kind::Keep { forbids: Action::Start, then: Then::Apply },
        scope: Scope::from_words("group", "web").unwrap(),
        from: None,
        until,
        reason: String::new(),
        who: "kim".into(),
    };

    world.run_with(30 * HOUR, vec![Input::Override { change, reply }]).await.unwrap();

    assert_eq!(world.asked(), ["09:00:00 start 1001 1002"], "{:?}", world.told().await);
}

#[tokio::test]
async fn a_number_that_a_person_mistyped_is_told_to_that_person_alone() {
    let mut world = monday("", "[groups.lost]\naccount = \"main\"\nservers = [\"7777\"]\n");
    let of = |no: &str| PersonRun {
        groups: vec![],
        servers: vec![ServerId {
            account: AccountName::new("main").unwrap(),
            no: ServerNo::parse(no).unwrap(),
        }],
        ..person(Action::Stop, "web")
    };
    let (slip, answer) = given(of("9999"));
    world.run_with(300, vec![slip]).await.unwrap();

    answer.await.unwrap().unwrap();
    assert_eq!(world.told().await, ["command by tester skipped: 9999 skipped"]);
    assert!(world.notices().is_empty(), "{:?}", world.notices());

    let (start, _answer) = command(Action::Start, "lost");
    world.run_with(300, vec![start]).await.unwrap();
    assert_eq!(world.notices().len(), 1, "what the configuration names wrongly concerns everybody");
}
