//! Reloads and restarts placed on the very moments at which something is due: nothing is lost, nothing doubled.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sunup::daemon::engine::Input;
use sunup::domain::name::RunId;
use sunup::ports::store::Entry;

use crate::world::{Fate, World};

/// A rule that starts every ten minutes, and one that stops five minutes after it.
const RULES: &str = "[rules.up]\ncron = \"*/10 * * * *\"\nstart = [\"web\"]\n\
                     [rules.off]\ncron = \"5-59/10 * * * *\"\nstop = [\"web\"]\n";
/// The same moments in other words: another definition.
const OTHERS: &str = "[rules.up]\ncron = \"0,10,20,30,40,50 * * * *\"\nstart = [\"web\"]\n\
                      [rules.off]\ncron = \"5-59/10 * * * *\"\nstop = [\"web\"]\n[limits]\nrequests_per_hour = 400\n";
/// Milliseconds from a due moment: at it, before it, after it.
const OFFSETS: [i64; 7] = [0, -1, 1, 0, -5, 20, 999];

fn start() -> Timestamp {
    "2026-11-23T08:59:00Z".parse().unwrap()
}

fn due(n: i64) -> Timestamp {
    start() + SignedDuration::from_secs(60 + 300 * n)
}

/// Each due moment up to a number has one run that is done, and one request; there is nothing else.
async fn judge(world: &World, moments: i64) {
    let entries = world.history().await;
    let mut seen = BTreeSet::new();
    for entry in &entries {
        let Entry::Run(run) = entry else { panic!("{entry:?}") };
        assert_eq!(run.ended.map(|(outcome, _)| outcome.word()), Some("done"), "{run:?}");
        assert!(seen.insert(run.head.due), "twice at {}", run.head.due);
    }
    let want: BTreeSet<Timestamp> = (0..moments).map(due).collect();
    assert_eq!(seen, want);
    let asked = world.asked();
    assert_eq!(asked.len(), usize::try_from(moments).unwrap(), "{asked:?}");
}

#[tokio::test]
async fn two_hundred_reloads_on_the_due_second_lose_and_double_nothing() {
    let mut world = World::at("2026-11-23T08:59:00Z").with(RULES);
    let mut planned = Vec::new();
    for n in 0..200 {
        let at = due(n) + SignedDuration::from_millis(OFFSETS[usize::try_from(n).unwrap() % OFFSETS.len()]);
        // A file that is good, one that says the same in other words, and one that is broken.
        let (from, to) = if n % 2 == 0 { (RULES, OTHERS) } else { (OTHERS, RULES) };
        if n % 5 == 4 {
            planned.push((at, Input::ConfigTrouble(Some("broken".into()))));
        }
        world.configure(from, to);
        planned.push((at, world.reload()));
    }
    // The journal begins with what the first file said.
    world.configure(RULES, RULES);
    world.change(|outside| outside.planned.extend(planned));

    world.run(60 + 300 * 200 - 60).await;

    assert!(world.outside.lock().unwrap().planned.is_empty(), "all were placed");
    judge(&world, 200).await;
}

#[tokio::test]
async fn fifty_restarts_on_the_due_second_lose_and_double_nothing() {
    let mut world = World::at("2026-11-23T08:59:00Z").with(RULES);
    for n in 0..50 {
        let now = world.outside.lock().unwrap().wall;
        // One second before the due moment, at it, and one second after it; by `kill -9` and tidily.
        let end = due(n) + SignedDuration::from_secs([0, -1, 1][usize::try_from(n).unwrap() % 3]);
        let seconds = u64::try_from(end.duration_since(now).as_secs()).unwrap();
        if n % 2 == 0 { world.run_and_kill(seconds).await } else { world.run(seconds).await }
    }
    world.run(240).await;

    judge(&world, 50).await;
}

#[tokio::test]
async fn what_is_due_together_is_claimed_and_asked_for_in_one_commit() {
    let more = "[rules.also]\ncron = \"0 9 * * *\"\nstart = [\"db\"]\n";
    let mut world = World::at("2026-11-23T08:59:00Z").with(&format!("{RULES}{more}"));

    world.run(120).await;

    let outside = world.outside.lock().unwrap();
    let busy: Vec<_> = outside.commits.iter().filter(|commit| **commit != (0, 0)).collect();
    assert_eq!(busy, [&(2, 1)], "both runs, and the one request for their servers");
}

#[tokio::test]
async fn an_occurrence_that_comes_again_by_another_jitter_is_not_done_twice() {
    let once = "[rules.up]\ncron = \"0 9 * * *\"\nstart = [\"web\"]\n";
    let later = "[rules.up]\ncron = \"0 9 * * *\"\nstart = [\"web\"]\njitter = \"12h\"\n";
    let mut world = World::at("2026-11-23T08:59:00Z").with(once);
    world.configure(once, later);
    let again = (due(0) + SignedDuration::from_secs(30), world.reload());
    world.configure(later, once);
    world.change(|outside| outside.planned.push_back(again));

    world.run(13 * 3600).await;

    let occurrences = world.history().await;
    assert_eq!(occurrences.len(), 1, "{occurrences:?}");
    assert_eq!(world.asked(), ["09:00:00 start 1001 1002"]);
}

/// 400 servers in requests of one each, all due at once: 64 are on the wire and the others wait for a place.
fn rush() -> World {
    let servers: Vec<String> = (1001..1401).map(|no| format!("\"{no}\"")).collect();
    let text = format!(
        "timezone = \"UTC\"\n[limits]\nrequests_per_hour = 500\nservers_per_run = 1000\n\
         [accounts.main]\nregion = \"KR\"\nrate = 10000\nbatch = 1\n[groups.all]\nservers = [{}]\n\
         [rules.up]\ncron = \"0 9 * * *\"\nstart = [\"all\"]\n",
        servers.join(", ")
    );
    let mut world = World::at("2026-11-23T08:59:00Z").fleet(400, |_, _| ()).only(&text);
    world.change(|outside| outside.answers_later = true);
    world
}

/// How often each server was asked, and how many requests were decided and not sent.
async fn asked(world: &World) -> (BTreeMap<String, usize>, usize) {
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for line in world.asked() {
        *asked.entry(line.split(' ').next_back().unwrap().to_owned()).or_default() += 1;
    }
    let attempts = world.attempts(RunId(1)).await;
    let unsent = attempts.iter().filter(|attempt| attempt.result.as_deref() == Some("not-sent")).count();
    (asked, unsent)
}

#[tokio::test]
async fn all_requests_of_a_rush_are_decided_at_once_and_leave_as_places_become_free() {
    let mut world = rush();

    world.run(120).await;

    let commits = world.outside.lock().unwrap().commits.clone();
    assert_eq!(commits.iter().find(|commit| **commit != (0, 0)), Some(&(1, 400)));
    let (asked, unsent) = asked(&world).await;
    assert_eq!((asked.len(), asked.values().max(), unsent), (400, Some(&1), 0));
    assert!(world.told().await[0].starts_with("rule up done"));
}

#[tokio::test]
async fn after_a_request_of_a_rush_has_failed_those_without_a_place_are_decided_again() {
    let mut world = rush().fates(&[Fate::Throttled]);

    world.run(300).await;

    let (asked, unsent) = asked(&world).await;
    assert_eq!(unsent, 336, "400 without the 64 that were on the wire");
    let again: Vec<&usize> = asked.values().filter(|times| **times > 1).collect();
    assert_eq!((asked.len(), again), (400, vec![&2]), "only the one that was refused was asked twice");
    assert!(world.told().await[0].starts_with("rule up done"));
    assert_eq!(world.notices(), [""; 0], "nobody is needed");
}
