//! One bad server never blocks another: each kind of badness, at each position of the batch; and one request serves all runs.

use sunup::daemon::engine::PersonRun;
use sunup::domain::name::Action;
use sunup::ports::store::Waiver;

use crate::world::{Bad, World, command, given, person};

const TOP: &str =
    "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[limits]\nrequests_per_hour = 1000\n";

/// Fifty servers of which one is bad; when each of the others was up, in seconds after due.
async fn seconds_until_up(bad: Option<(u32, Bad)>) -> Vec<i64> {
    let text = format!(
        "{TOP}[groups.web]\nname = \"srv-*\"\n[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n"
    );
    let mut world = World::at("2026-11-23T08:49:00Z").only(&text).fleet(50, |_, _| {});
    world.change(|outside| outside.bad.extend(bad.map(|(no, bad)| (no.to_string(), bad))));
    world.run(1500).await;
    let due: jiff::Timestamp = "2026-11-23T08:50:00Z".parse().unwrap();
    let history = world.history().await;
    let [sunup::ports::store::Entry::Run(run)] = history.as_slice() else { panic!("{history:?}") };
    run.targets
        .iter()
        .filter(|t| bad.is_none_or(|(no, _)| t.target.server.no.as_str() != no.to_string()))
        .map(|t| match &t.target.progress.state {
            sunup::domain::target::State::Ended { outcome, at } if outcome.word() == "started" => {
                at.duration_since(due).as_secs()
            }
            other => panic!("{} is {other:?} with {bad:?}", t.target.server),
        })
        .collect()
}

#[tokio::test]
async fn with_one_bad_server_among_fifty_the_others_run_as_soon_as_without_it() {
    let without = *seconds_until_up(None).await.iter().max().unwrap();
    // A poll, a read once the answer has settled, and the poll's own pause; and what the rate takes for a batch of twenty.
    let (read_and_poll, rate) = (3 + 10, 20 / 5);
    for (bad, more) in [
        (Bad::Named, read_and_poll),
        (Bad::NoRoom, read_and_poll),
        (Bad::Stuck, 0),
        (Bad::Unnamed, read_and_poll + rate),
        (Bad::UnnamedOthersDone, read_and_poll + rate),
        (Bad::Fault, read_and_poll + rate),
    ] {
        for position in [0, 1, 9, 18, 19, 20, 39, 49] {
            let found = *seconds_until_up(Some((1001 + position, bad))).await.iter().max().unwrap();

            assert!(found <= without + more, "{bad:?} at {position}: {found}s instead of {without}s");
        }
    }
}

#[tokio::test]
async fn a_command_that_passes_the_limits_and_one_that_does_not_share_one_request() {
    let text = format!("{TOP}[groups.web]\nservers = [\"1001\"]\n");
    let mut world = World::at("2026-11-23T08:49:00Z").only(&text).fleet(1, |_, _| {});
    let (plain, _one) = command(Action::Start, "web");
    let (passing, _two) =
        given(PersonRun { waived: [Waiver::Limits].into(), ..person(Action::Start, "web") });

    world.run_with(300, vec![plain, passing]).await.unwrap();

    assert_eq!(world.asked().len(), 1, "{:?}", world.asked());
    assert_eq!(
        world.told().await,
        ["command by tester done: 1001 started", "command by tester done: 1001 started"]
    );
}
