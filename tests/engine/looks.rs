//! Looks at servers: who waits for them, and whom a failing one holds back.

use sunup::daemon::engine::{Freshness, Input, PersonRun};
use sunup::domain::name::{Action, GroupName};
use sunup::sandbox::model::{Model, Server};

use crate::world::{World, given, person};

#[tokio::test]
async fn a_look_that_fails_in_one_account_holds_no_server_of_another() {
    let text = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[accounts.other]\nregion = \"KR\"\nsite = \"gov\"\n\
        [groups.near]\naccount = \"main\"\nservers = [\"1001\"]\n[groups.far]\naccount = \"other\"\nservers = [\"2001\"]\n";
    let mut world = World::at("2026-11-23T12:00:00Z").only(text);
    world.change(|outside| {
        let server = |key: &str, no: &str| Server::new(key, no, &format!("srv-{no}"), "NSTOP", "NULL");
        outside.model = Model::new([server("access", "1001"), server("other", "2001")], 1);
        outside.locked_out.push("access".into());
    });
    let groups = ["near", "far"].map(|name| GroupName::new(name).unwrap()).to_vec();
    let (start, _answer) = given(PersonRun { groups, ..person(Action::Start, "near") });

    world.run_with(300, vec![start]).await.unwrap();

    assert_eq!(world.asked(), ["12:00:00 start 2001"]);
}

#[tokio::test]
async fn whoever_asks_for_groups_is_answered_as_soon_as_all_servers_have_been_looked_at() {
    let mut world =
        World::at("2026-11-23T12:00:00Z").with("[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n");
    let (reply, answer) = tokio::sync::oneshot::channel();

    world.run_with(60, vec![Input::Groups { freshness: Freshness::Fresh, reply }]).await.unwrap();

    let answer = answer.await.unwrap();
    assert!(answer["at"].as_str().unwrap() <= "2026-11-23T12:00:02", "{answer}");
    let groups = answer["groups"].as_array().unwrap().iter();
    let servers: Vec<_> = groups.flat_map(|group| group["servers"].as_array().unwrap()).collect();
    assert_eq!(servers.len(), 3);
    assert!(servers.iter().all(|server| server["state"] == "NSTOP/NULL"), "{servers:?}");
}

#[tokio::test]
async fn a_daemon_that_starts_just_before_something_is_due_raises_no_alarm_about_what_it_has_not_read_yet() {
    let chosen = "[groups.all]\nname = \"srv-*\"\n[rules.morning]\ncron = \"0 9 * * *\"\nstart = [\"all\"]\n";
    for begins in ["2026-11-23T08:59:59.300Z", "2026-11-23T08:59:59.950Z"] {
        let mut world = World::at(begins).with(chosen);

        world.run(1800).await;

        assert!(world.failed().await.is_empty() && world.history().await.len() == 1, "{begins}");
        assert!(world.notices().is_empty(), "{begins}: {:?}", world.notices());
    }
}

#[tokio::test]
async fn an_account_is_greeted_shortly_before_something_is_due_so_that_its_connection_is_open() {
    let greeted = async |planned: Vec<(&str, Input)>| {
        let rules = "[rules.morning]\ncron = \"0,1 9 * * *\"\nstart = [\"web\"]\n[rules.also]\ncron = \"0 9 * * *\"\nstart = [\"db\"]\n";
        let mut world = World::at("2026-11-23T08:50:00Z").with(rules);
        let planned = planned.into_iter().map(|(at, input)| (at.parse().unwrap(), input));
        world.change(|outside| outside.planned.extend(planned));
        world.run(900).await;
        let outside = world.outside.lock().unwrap();
        // The first one is that of the start.
        outside.greeted.iter().skip(1).map(|at| at.strftime("%H:%M:%S").to_string()).collect::<Vec<_>>()
    };

    assert_eq!(greeted(vec![]).await, ["08:59:57", "09:00:57"]);
    // Whoever has answered a moment ago is not greeted again.
    let checked = vec![("2026-11-23T08:59:50Z", Input::CheckAccounts)];
    assert_eq!(greeted(checked).await, ["08:59:50", "09:00:57"]);
}
