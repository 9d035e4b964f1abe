//! Coming back: absences, wrong clocks, outages. What was missed, why, and at what cost.

use crate::world::{Fate, World};

const MORNING: &str = "[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n";
const DAY: i64 = 86_400;

#[tokio::test]
async fn what_a_wrong_clock_decided_is_taken_back_and_comes_again() {
    let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING);
    world.run(10).await;
    // A day ahead, and nothing that tells the time contradicts it.
    world.set_clock(DAY);
    world.run(60).await;
    assert_eq!(world.told().await, ["morning missed 1 (down)"]);
    world.set_clock(-DAY);

    world.run(1200).await;

    assert_eq!(world.asked(), ["08:50:00 start 1001 1002"]);
    let told = world.told().await;
    assert!(told.contains(&"rule morning done: 1001 started, 1002 started".to_owned()), "{told:?}");
    assert!(world.notices().iter().any(|notice| notice.contains("taken back")), "{:?}", world.notices());
    // It stays in the journal, marked.
    let taken_back = world.history().await.iter().filter(|entry| is_withdrawn(entry)).count();
    assert_eq!(taken_back, 1, "{told:?}");
}

fn is_withdrawn(entry: &sunup::ports::store::Entry) -> bool {
    match entry {
        sunup::ports::store::Entry::Run(run) => run.withdrawn.is_some(),
        sunup::ports::store::Entry::Missed(range) => range.withdrawn.is_some(),
        sunup::ports::store::Entry::Override(_) | sunup::ports::store::Entry::Config(_) => false,
    }
}

#[tokio::test]
async fn what_was_asked_for_under_a_wrong_clock_stays_and_is_not_asked_again_before_it_is_due() {
    let mut world = World::at("2026-11-23T08:40:00Z").with(MORNING);
    world.run(10).await;
    world.set_clock(DAY + 600);
    world.run_and_kill(3).await;
    assert_eq!(world.asked(), ["08:50:10 start 1001 1002"]);
    world.set_clock(-DAY - 600);
    world.force("1001", "NSTOP", "NULL");

    world.run(DAY.unsigned_abs() + 1200).await;

    let asked = world.asked();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    // Today's run comes at its time, and the one of tomorrow is not asked for once more before tomorrow.
    assert_eq!(asked[1], "08:50:00 start 1001", "{asked:?}");
    let told = world.told().await;
    assert_eq!(told.iter().filter(|line| line.starts_with("rule morning")).count(), 2, "{told:?}");
}

#[tokio::test]
async fn each_miss_names_what_kept_it_from_being_done() {
    let rules = "[rules.early]\ncron = \"0 8 * * *\"\nstart = [\"web\"]\n\
                 [rules.late]\ncron = \"0 9 * * *\"\nstart = [\"db\"]\n";
    let mut world = World::at("2026-11-23T07:30:00Z").with(rules);
    world.run(10).await;
    // Nobody runs at 08:00; from 08:50 on somebody does, and reaches nobody until 10:00.
    world.pass(4790);
    let from = "2026-11-23T08:50:00Z".parse().unwrap();
    let to = "2026-11-23T10:00:00Z".parse().unwrap();
    world.change(|outside| outside.outage = Some((from, to)));

    world.run(2 * 3600).await;

    assert_eq!(world.told().await, ["early missed 1 (down)", "late missed 1 (unreachable)"]);
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn what_comes_due_before_the_cloud_could_first_be_reached_is_not_lost() {
    // The first start ever: nothing in the journal says since when the rules hold.
    let mut world = World::at("2026-11-23T08:49:57Z").with(MORNING);
    world.change(|outside| {
        outside.outage =
            Some(("2026-11-23T08:00:00Z".parse().unwrap(), "2026-11-23T08:50:08Z".parse().unwrap()));
    });

    world.run(600).await;

    assert_eq!(world.told().await, ["rule morning done: 1001 started, 1002 started"]);
}

#[tokio::test]
async fn what_closed_before_the_cloud_could_first_be_reached_is_recorded_as_missed() {
    let mut world = World::at("2026-11-23T08:49:57Z").with(MORNING);
    world.change(|outside| {
        outside.outage =
            Some(("2026-11-23T08:00:00Z".parse().unwrap(), "2026-11-23T11:50:00Z".parse().unwrap()));
    });

    world.run(4 * 3600).await;

    assert_eq!(world.told().await, ["morning missed 1 (unreachable)"]);
}

#[tokio::test]
async fn a_clock_from_before_this_release_acts_on_nothing_and_says_why() {
    let mut world = World::at("2026-11-22T08:45:00Z").with(MORNING);
    world.released = sunup::daemon::engine::RELEASED;

    world.run(600).await;

    assert!(world.asked().is_empty() && world.told().await.is_empty());
    // A day later the same clock can be right.
    world.set_clock(DAY - 600);
    world.run(600).await;
    assert_eq!(world.asked(), ["08:50:00 start 1001 1002"]);
}

#[tokio::test]
async fn ten_minutes_without_the_cloud_cost_few_requests_and_heal_at_once() {
    // 500 targets of five groups, due while nothing answers.
    let groups: String = (0..10)
        .map(|group| {
            let numbers: Vec<String> = (0..50).map(|n| format!("\"{}\"", 1001 + group * 50 + n)).collect();
            format!("[groups.g{group}]\nservers = [{}]\n", numbers.join(", "))
        })
        .collect();
    let rules: String = (0..10)
        .map(|group| {
            format!("[rules.r{group}]\ncron = \"50 8 * * *\"\nstart = [\"g{group}\"]\nwindow = \"30m\"\n")
        })
        .collect();
    let text = format!("timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n{groups}{rules}");
    let mut world = World::at("2026-11-23T08:40:00Z").only(&text).fleet(500, |_, _| {});
    let from = "2026-11-23T08:49:58Z".parse().unwrap();
    let to = "2026-11-23T08:59:58Z".parse().unwrap();
    world.change(|outside| outside.outage = Some((from, to)));
    let outside = world.outside.clone();
    let watched = tokio::spawn(async move {
        // How many requests there were when it began, and when it healed.
        let mut counts = Vec::new();
        for moment in [from, to] {
            while outside.lock().unwrap().wall < moment {
                tokio::task::yield_now().await;
            }
            let outside = outside.lock().unwrap();
            counts.push(outside.asked.len() + outside.reads + outside.lists);
        }
        counts[1] - counts[0]
    });

    world.run(1800).await;

    let during = watched.await.unwrap();
    assert!(during <= 150, "{during} requests during the outage");
    let asked = world.asked();
    let healed: Vec<&String> = asked.iter().filter(|line| line.as_str() >= "08:59:58").collect();
    assert!(healed[0].as_str() <= "09:00:04", "{healed:?}");
    // 25 batches at 5 a second: five seconds, and a fifth more.
    assert!(healed.last().unwrap().as_str() <= "09:00:10", "{healed:?}");
    let told = world.told().await;
    assert!(told.iter().all(|line| line.contains(" done: ")), "{told:?}");
}

#[tokio::test]
async fn what_was_lost_in_the_evening_does_not_slow_the_morning_down() {
    // Each server in a request of its own, and no answer in the evening although everything was done.
    let numbers: Vec<String> = (1001..1041).map(|no| format!("\"{no}\"")).collect();
    let text = format!(
        "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\nbatch = 1\n[groups.all]\nservers = [{}]\n\
         [rules.night]\ncron = \"0 20 * * *\"\nstop = [\"all\"]\n[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"all\"]\n",
        numbers.join(", ")
    );
    let running = |_: u32, server: &mut sunup::sandbox::model::Server| server.status = "RUN".into();
    let mut world =
        World::at("2026-11-23T19:50:00Z").only(&text).fleet(40, running).fates(&[Fate::DoneUnheard; 40]);

    world.run(14 * 3600).await;

    let asked = world.asked();
    let starts: Vec<&String> = asked.iter().filter(|line| line.contains("start")).collect();
    assert_eq!(starts.len(), 40);
    // Forty requests at five a second, not ten a minute.
    assert!(starts.iter().all(|line| line.as_str() < "08:50:10"), "{starts:?}");
}

#[tokio::test]
async fn whoever_stood_still_looks_before_it_gives_a_server_up() {
    let text = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1001\"]\nboot_within = \"30s\"\n";
    let mut world = World::at("2026-11-23T08:49:00Z").only(&format!("{text}{MORNING}"));
    let outside = world.outside.clone();
    let stall = tokio::spawn(async move {
        // The answer cannot be recorded for most of a minute; the server runs after 20 s of it.
        while outside.lock().unwrap().asked.is_empty() {
            tokio::task::yield_now().await;
        }
        outside.lock().unwrap().store_fails = true;
    });

    world.run(600).await;

    stall.await.unwrap();
    assert_eq!(world.told().await, ["rule morning done: 1001 started"]);
    assert!(
        world.notices().iter().any(|notice| notice.contains("cannot be written")),
        "{:?}",
        world.notices()
    );
}

#[tokio::test]
async fn a_limit_is_as_long_as_it_was_when_the_clock_is_set() {
    let text = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1001\"]\n";
    let slow = |_: u32, server: &mut sunup::sandbox::model::Server| server.boot = (300_000_000, 300_000_000);
    let mut world = World::at("2026-11-23T08:49:00Z").only(&format!("{text}{MORNING}")).fleet(1, slow);
    let outside = world.outside.clone();
    let step = tokio::spawn(async move {
        // A server that takes five minutes of its ten, and somebody who sets the clock to another day meanwhile.
        while outside.lock().unwrap().asked.is_empty() {
            tokio::task::yield_now().await;
        }
        outside.lock().unwrap().wall += jiff::SignedDuration::from_secs(DAY);
    });

    world.run(DAY.unsigned_abs() + 1200).await;

    step.await.unwrap();
    let told = world.told().await;
    assert!(told.contains(&"rule morning done: 1001 started".to_owned()), "{told:?}");
}
