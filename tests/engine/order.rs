//! Order between groups: who waits for whom, what is ready, and what is never stopped under a running server.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sunup::daemon::engine::{PersonRun, Reach};
use sunup::domain::name::Action;
use sunup::ports::store::{Entry, Waiver};

use crate::world::{Bad, Fate, World, given, person};

const TOP: &str = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n";
const CHAIN: &str = "[groups.db]\nservers = [\"1001\", \"1002\"]\nready = { tcp = \"db:5432\", within = \"5m\" }\n\
    [groups.cache]\nservers = [\"1003\"]\n[groups.app]\nservers = [\"1004\"]\nafter = [\"db\", \"cache\"]\n\
    [groups.web]\nservers = [\"1005\", \"1006\"]\nafter = [\"app\"]\n";
const MORNING: &str =
    "[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\", \"db\", \"app\", \"cache\"]\n";
const NIGHT: &str = "[rules.night]\ncron = \"50 8 * * *\"\nstop = [\"web\", \"db\", \"app\", \"cache\"]\n";

fn chain(rules: &str) -> World {
    World::at("2026-11-23T08:40:00Z").only(&format!("{TOP}{CHAIN}{rules}")).fleet(6, |_, _| {})
}

fn opens(world: &mut World, at: &str) {
    let at = format!("2026-11-23T{at}Z").parse().unwrap();
    world.change(|outside| outside.opens.extend([("tcp db:5432".to_owned(), at)]));
}

fn running(world: &mut World) {
    for no in 1001..=1006 {
        world.force(&no.to_string(), "RUN", "NULL");
    }
}

#[tokio::test]
async fn a_chain_starts_in_order_and_waits_for_a_probe_that_opens_late() {
    let mut world = chain(MORNING);
    opens(&mut world, "08:52:00");

    world.run(3600).await;

    let asked = world.asked();
    assert_eq!(asked[0], "08:50:00 start 1001 1002 1003");
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(("08:52:00".."08:52:10").contains(&&asked[1][..8]), "{asked:?}");
    assert!(asked[1].ends_with("start 1004") && asked[2].ends_with("start 1005 1006"), "{asked:?}");
    assert!(world.told().await[0].starts_with("rule morning done"));
}

#[tokio::test]
async fn a_probe_that_never_opens_and_a_dependency_that_fails_skip_what_comes_after() {
    let mut never = chain(MORNING);
    let mut fails = chain(MORNING);
    opens(&mut fails, "08:00:00");
    fails.change(|outside| outside.bad.extend([("1002".to_owned(), Bad::Named)]));
    let text = format!(
        "{TOP}{}{MORNING}",
        CHAIN.replace(
            "after = [\"db\", \"cache\"]",
            "after = [\"db\", \"cache\"]\nafter_failure = \"continue\""
        )
    );
    let mut goes_on = World::at("2026-11-23T08:40:00Z").only(&text).fleet(6, |_, _| {});
    goes_on.change(|outside| outside.bad.extend([("1002".to_owned(), Bad::Named)]));

    for world in [&mut never, &mut fails, &mut goes_on] {
        world.run(3600).await;
    }

    assert_eq!(
        never.told().await,
        [
            "rule morning partial: 1001 started, 1002 started, 1003 started, 1004 skipped, 1005 skipped, 1006 skipped"
        ]
    );
    assert_eq!(
        fails.told().await,
        [
            "rule morning partial: 1001 started, 1002 failed, 1003 started, 1004 skipped, 1005 skipped, 1006 skipped"
        ]
    );
    assert!(goes_on.told().await[0].contains("1004 started, 1005 started"), "{:?}", goes_on.told().await);
    let notices = never.notices().join("\n");
    assert!(notices.contains("not ready within 300s (tcp db:5432)"), "{notices}");
}

#[tokio::test]
async fn several_rules_at_once_share_one_order_and_a_dependency_that_is_up_already_holds() {
    let rules = "[rules.one]\ncron = \"50 8 * * *\"\nstart = [\"web\", \"app\"]\n\
        [rules.two]\ncron = \"50 8 * * *\"\nstart = [\"db\"]\n";
    let mut world = chain(rules);
    opens(&mut world, "08:00:00");
    world.force("1003", "RUN", "NULL");

    world.run(3600).await;

    let asked: Vec<String> = world.asked().iter().map(|line| line[9..].to_owned()).collect();
    assert_eq!(asked, ["start 1001 1002", "start 1004", "start 1005 1006"], "{:?}", world.asked());
}

#[tokio::test]
async fn a_dependency_outside_the_run_must_come_up_by_itself_or_the_rest_is_skipped() {
    let rules = "[rules.one]\ncron = \"50 8 * * *\"\nstart = [\"app\"]\n";
    let mut comes = chain(rules);
    opens(&mut comes, "08:00:00");
    for no in ["1001", "1003"] {
        comes.force(no, "RUN", "NULL");
    }
    let mut stays = chain(rules);
    opens(&mut stays, "08:00:00");

    comes.run(660).await;
    comes.force("1002", "RUN", "NULL");
    comes.run(3600).await;
    stays.run(5400).await;

    assert_eq!(comes.asked().len(), 1, "{:?}", comes.asked());
    assert_eq!(stays.told().await, ["rule one skipped: 1004 skipped"]);
    assert!(stays.asked().is_empty());
    let notices = stays.notices().join("\n");
    assert!(notices.contains("dependency: group db is to be up first, for group app"), "{notices}");
    assert!(notices.contains("group app comes after group db, of which 2 servers are not up"), "{notices}");
}

#[tokio::test]
async fn stops_go_the_other_way_and_no_group_is_stopped_that_a_running_server_needs() {
    let mut all = chain(NIGHT);
    let mut kept = chain("[rules.night]\ncron = \"50 8 * * *\"\nstop = [\"db\"]\n");
    let mut failing = chain(NIGHT);
    failing.change(|outside| outside.bad.extend([("1006".to_owned(), Bad::Named)]));
    for world in [&mut all, &mut kept, &mut failing] {
        running(world);
        world.run(5400).await;
    }

    let asked: Vec<String> = all.asked().iter().map(|line| line[9..].to_owned()).collect();
    assert_eq!(asked, ["stop 1005 1006", "stop 1004", "stop 1001 1002 1003"], "{:?}", all.asked());
    assert!(kept.asked().is_empty(), "{:?}", kept.asked());
    assert_eq!(kept.told().await, ["rule night skipped: 1001 skipped, 1002 skipped"]);
    assert_eq!(
        failing.told().await,
        [
            "rule night partial: 1001 skipped, 1002 skipped, 1003 skipped, 1004 skipped, 1005 stopped, 1006 failed"
        ]
    );
    let notices = failing.notices().join("\n");
    assert!(notices.contains("server 1004 (srv-1004) of group app is up and needs group db"), "{notices}");
}

#[tokio::test]
async fn a_person_is_told_at_once_what_needs_a_group_and_can_stop_it_all_the_same() {
    let mut told = chain("");
    let mut forced = chain("");
    let mut together = chain("");
    for world in [&mut told, &mut forced, &mut together] {
        running(world);
    }
    let (plain, _one) = given(person(Action::Stop, "app"));
    let waived = [Waiver::Dependents].into();
    let (waiving, _two) = given(PersonRun { waived, ..person(Action::Stop, "app") });
    let (reaching, _three) =
        given(PersonRun { reach: Reach::WithDependencies, ..person(Action::Stop, "app") });

    told.run_with(120, vec![plain]).await.unwrap();
    forced.run_with(120, vec![waiving]).await.unwrap();
    together.run_with(300, vec![reaching]).await.unwrap();

    assert_eq!(told.told().await, ["command by tester skipped: 1004 skipped"]);
    assert_eq!(forced.told().await, ["command by tester done: 1004 stopped"]);
    assert_eq!(together.told().await, ["command by tester done: 1004 stopped, 1005 stopped, 1006 stopped"]);
}

#[tokio::test]
async fn the_default_window_fits_the_longest_chain() {
    let world = chain(&format!("{MORNING}[rules.db]\ncron = \"50 8 * * *\"\nstart = [\"db\"]\n{NIGHT}"));
    let settings = world.settings();
    let minutes = |rule: &str, action| {
        let rule = settings.rules.values().find(|known| known.name.as_str() == rule).unwrap();
        rule.window(action).as_secs() / 60
    };

    // web waits for app (10 m), which waits for db (10 m and 5 m until it is ready).
    assert_eq!(minutes("morning", Action::Start), 15 + 25);
    assert_eq!(minutes("db", Action::Start), 15);
    // db waits for app (10 m), which waits for web (10 m).
    assert_eq!(minutes("night", Action::Stop), 15 + 20);
}

#[tokio::test]
async fn what_comes_up_again_while_a_stop_waits_keeps_what_it_needs() {
    let text = "[groups.db]\nservers = [\"1001\"]\nbusy = { tcp = \"db:9000\" }\n[groups.web]\nservers = [\"1005\"]\nafter = [\"db\"]\n\
        [rules.night]\ncron = \"50 8 * * *\"\nstop = [\"web\", \"db\"]\n";
    let mut world = World::at("2026-11-23T08:40:00Z").only(&format!("{TOP}{text}")).fleet(6, |_, _| {});
    running(&mut world);
    // The database says that it is busy until 09:05; meanwhile a person starts the server that needs it.
    world.run(780).await;
    assert_eq!(world.asked().len(), 1, "{:?}", world.asked());
    world.force("1005", "RUN", "NULL");
    world.change(|outside| outside.shut.push("tcp db:9000".into()));

    world.run(3600).await;

    assert_eq!(world.asked().len(), 1, "{:?}", world.asked());
    assert_eq!(world.told().await, ["rule night partial: 1001 skipped, 1005 stopped"]);
}

#[tokio::test]
async fn a_server_in_both_groups_and_one_that_waits_for_it_come_up_once_the_probe_passes() {
    let text = "[groups.db]\nservers = [\"1001\", \"1002\"]\nready = { tcp = \"db:5432\" }\n\
        [groups.web]\nservers = [\"1002\", \"1003\"]\nafter = [\"db\"]\n\
        [rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"db\", \"web\"]\n";
    let mut world = World::at("2026-11-23T08:40:00Z").only(&format!("{TOP}{text}")).fleet(3, |_, _| {});
    opens(&mut world, "08:00:00");

    world.run(3600).await;

    let asked: Vec<String> = world.asked().iter().map(|line| line[9..].to_owned()).collect();
    assert_eq!(asked, ["start 1001", "start 1002", "start 1003"]);
}

#[tokio::test]
async fn a_retry_after_its_group_was_ready_asks_the_probe_again_before_it_gives_up() {
    let text = "[groups.db]\nservers = [\"1001\"]\nready = { tcp = \"db:5432\", within = \"10s\" }\n\
        [groups.web]\nservers = [\"1002\"]\nafter = [\"db\"]\n\
        [rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"db\", \"web\"]\n";
    let mut world = World::at("2026-11-23T08:40:00Z")
        .only(&format!("{TOP}{text}"))
        .fleet(2, |_, _| {})
        .fates(&[Fate::Done, Fate::Throttled]);
    opens(&mut world, "08:00:00");

    world.run(3600).await;

    assert_eq!(world.told().await, ["rule morning done: 1001 started, 1002 started"]);
    assert_eq!(world.asked().len(), 3, "{:?}", world.asked());
}

/// A random order: for each group its servers and what it comes after, which are groups of smaller number.
fn graphs() -> impl Strategy<Value = Vec<(Vec<u32>, Vec<usize>)>> {
    proptest::collection::vec(
        (proptest::collection::vec(1001_u32..1009, 1..4), proptest::collection::vec(0_usize..8, 0..3)),
        2..7,
    )
}

/// Checks one random order: no server is asked before what it needs is up, everything ends, and inside the window.
async fn check_graph(graph: &[(Vec<u32>, Vec<usize>)], bad: Option<u32>) {
    let mut text = TOP.to_owned();
    let mut after: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut members: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (n, (servers, needs)) in graph.iter().enumerate() {
        let mut servers = servers.clone();
        servers.sort_unstable();
        servers.dedup();
        let mut needs: Vec<usize> = needs.iter().copied().filter(|need| *need < n).collect();
        needs.sort_unstable();
        needs.dedup();
        let list: Vec<String> = servers.iter().map(|no| format!("\"{no}\"")).collect();
        let on: Vec<String> = needs.iter().map(|need| format!("\"g{need}\"")).collect();
        text.push_str(&format!(
            "[groups.g{n}]\nservers = [{}]\nafter = [{}]\n",
            list.join(", "),
            on.join(", ")
        ));
        after.insert(n, needs);
        members.insert(n, servers);
    }
    let names: Vec<String> = (0..graph.len()).map(|n| format!("\"g{n}\"")).collect();
    text.push_str(&format!("[rules.all]\ncron = \"50 8 * * *\"\nstart = [{}]\n", names.join(", ")));
    let mut world = World::at("2026-11-23T08:49:30Z").only(&text).fleet(8, |_, server| {
        server.boot = (5_000_000, 5_000_000);
    });
    world.change(|outside| outside.bad.extend(bad.map(|no| (no.to_string(), Bad::Named))));

    world.run(7200).await;

    let history = world.history().await;
    let [Entry::Run(run)] = history.as_slice() else { panic!("{history:?}") };
    assert!(run.ended.is_some(), "no deadlock: {text}");
    let mut asked: BTreeMap<u32, String> = BTreeMap::new();
    for line in world.asked() {
        for no in line[15..].split(' ') {
            asked.entry(no.parse().unwrap()).or_insert_with(|| line[..8].to_owned());
        }
    }
    let up: BTreeMap<u32, String> = run
        .targets
        .iter()
        .filter(|t| t.target.progress.outcome().is_some_and(|outcome| outcome.is_at_goal()))
        .filter_map(|t| match &t.target.progress.state {
            sunup::domain::target::State::Ended { at, .. } => {
                Some((t.target.server.no.as_str().parse().ok()?, at.strftime("%H:%M:%S").to_string()))
            }
            _ => None,
        })
        .collect();
    if bad.is_none() {
        assert_eq!(up.len(), run.targets.len(), "all are up: {text}\n{:?}", world.told().await);
    }
    // Servers whose groups contradict each other may go together; the others go in order.
    let groups_of = |no: u32| members.iter().filter(move |(_, list)| list.contains(&no)).map(|(n, _)| *n);
    let waits = |one: u32, other: u32| {
        groups_of(one).any(|by| after[&by].iter().any(|on| members[on].contains(&other))) && one != other
    };
    let all: Vec<u32> = run.targets.iter().map(|t| t.target.server.no.as_str().parse().unwrap()).collect();
    let reaches = |from: u32, to: u32| {
        let (mut seen, mut left) = (vec![from], vec![from]);
        while let Some(here) = left.pop() {
            for next in all.iter().copied().filter(|next| waits(here, *next)) {
                if !seen.contains(&next) {
                    seen.push(next);
                    left.push(next);
                }
            }
        }
        from != to && seen.contains(&to)
    };
    for (no, at) in &asked {
        for other in all.iter().copied().filter(|other| waits(*no, *other) && !reaches(*other, *no)) {
            let up = up.get(&other);
            assert!(up.is_some_and(|up| up <= at), "{no} was asked at {at}, {other} up at {up:?}: {text}");
        }
    }
}

#[tokio::test]
async fn over_random_orders_no_server_is_asked_before_what_it_needs_is_up_and_nothing_waits_for_ever() {
    let mut runner = TestRunner::deterministic();
    for case in 0..30_u32 {
        let graph = graphs().new_tree(&mut runner).unwrap().current();
        let bad = (case % 3 == 2).then_some(1001 + case % 8);
        check_graph(&graph, bad).await;
    }
}

#[tokio::test]
async fn a_server_that_waits_for_another_group_is_not_chosen_as_the_canary() {
    let text = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[groups.db]\nservers = [\"1003\"]\n\
        [groups.web]\nservers = [\"1001\", \"1002\"]\ncanary = 1\n\
        [groups.app]\nservers = [\"1001\"]\nafter = [\"db\"]\n\
        [rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n";
    let mut world = World::at("2026-11-23T08:40:00Z").only(text);

    world.run(1500).await;

    assert_eq!(world.asked(), ["08:50:00 start 1002"], "the database is not up, so 1001 waits");
}
