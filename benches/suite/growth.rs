//! How costs grow with rules and with history.

use jiff::SignedDuration;
use sqlx::{Connection, SqliteConnection};

use crate::figures::{Figures, Goal, median};
use crate::idle::daily;
use crate::place::{Failure, Place, float, second_in, used, wait_for};

/// How many moments the cost of a turn is taken from.
const MOMENTS: usize = 20;
/// How many past runs a large journal has.
const PAST: usize = 1_000_000;

pub(crate) fn measure(figures: &mut Figures, runs: usize) -> Result<(), Failure> {
    turns(figures)?;
    for rules in [10, 100, 1000, 10_000, 100_000] {
        let place = Place::new(1, "1s..1s")?;
        place.configure(&own_groups(rules))?;
        let started: Vec<f64> = (0..runs.max(1))
            .map(|_| place.daemon().map(|(_, seconds)| seconds * 1000.0))
            .collect::<Result<_, _>>()?;
        let most = if rules == 10_000 { Goal::AtMost(500.0) } else { Goal::None };
        figures.note(format!("start-up with {rules} rules, until they are in force"), "ms", &started, most);
        let checked = times(&place, runs, &["check"])?;
        figures.note(format!("check of {rules} rules"), "ms", &checked, Goal::None);
        let axes = ("rules", "milliseconds");
        figures.point("rules", axes, "start-up", (float(rules), median(&started)));
        figures.point("rules", axes, "check", (float(rules), median(&checked)));
        if rules <= 10_000 {
            place.configure(&office_hours(rules))?;
            let planned = times(&place, runs, &["plan", "--days", "365"])?;
            let most = || if rules == 1000 { Goal::AtMost(500.0) } else { Goal::None };
            figures.note(format!("plan --days 365 of {rules} office-hours rules"), "ms", &planned, most());
            let json = times(&place, runs, &["plan", "--days", "365", "--json"])?;
            figures.note(format!("the same with --json: {rules} rules"), "ms", &json, most());
            figures.point("rules", axes, "plan of a year", (float(rules), median(&planned)));
        }
    }
    for past in [1000, 10_000, 100_000, PAST] {
        history(figures, runs, past)?;
    }
    Ok(())
}

fn times(place: &Place, runs: usize, arguments: &[&str]) -> Result<Vec<f64>, Failure> {
    (0..runs.max(1)).map(|_| place.timed(arguments).map(|seconds| seconds * 1000.0)).collect()
}

/// Rules that are due once a year, each for a group of its own: groups grow with them.
fn own_groups(rules: usize) -> String {
    let mut text = String::new();
    for rule in 0..rules {
        let (minute, hour) = (rule % 60, rule / 60 % 24);
        text.push_str(&format!(
            "[groups.g{rule}]\nservers = [\"{}\"]\n[rules.r{rule}]\ncron = \"{minute} {hour} 1 1 *\"\nstart = [\"g{rule}\"]\n",
            1001 + rule
        ));
    }
    text
}

fn office_hours(rules: usize) -> String {
    let mut text = String::from("[groups.web]\nservers = [\"1001\"]\n");
    for rule in 0..rules {
        let (minute, hour) = (rule % 60, rule % 4);
        text.push_str(&format!(
            "[rules.r{rule}]\nhours = \"MON-FRI 0{}:{minute:02}-{}:{minute:02}\"\nrun = [\"web\"]\n",
            6 + hour,
            18 + hour
        ));
    }
    text
}

/// What one due rule among so many costs, from the claim to the server that runs.
fn turns(figures: &mut Figures) -> Result<(), Failure> {
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for rules in [10, 100, 1000, 10_000, 100_000] {
        let place = Place::new(MOMENTS, "1s..1s")?;
        let first = second_in(6 + i64::try_from(rules / 10_000)?)?;
        let mut text = daily(rules);
        for n in 0..MOMENTS {
            let (at, server) = (first + SignedDuration::from_secs(i64::try_from(n)?), 1001 + n);
            text.push_str(&format!(
                "[groups.g{n}]\nservers = [\"{server}\"]\n[rules.due{n}]\nat = \"{at}\"\nstart = [\"g{n}\"]\n"
            ));
        }
        place.configure(&text)?;
        let (daemon, _) = place.daemon()?;
        wait_for(first - SignedDuration::from_millis(500))?;
        let before = used(&daemon)?;
        wait_for(first + SignedDuration::from_secs(i64::try_from(MOMENTS)? + 4))?;
        let cost = (used(&daemon)?.cpu - before.cpu) * 1000.0 / float(MOMENTS);
        (least, most) = (least.min(cost), most.max(cost));
        figures.note(format!("CPU of one due rule among {rules}"), "ms", &[cost], Goal::None);
        figures.point("turn", ("rules", "CPU for one due rule in ms"), "all its turns", (float(rules), cost));
    }
    figures.note("the dearest of these beside the cheapest", "times", &[most / least], Goal::AtMost(2.0));
    Ok(())
}

fn history(figures: &mut Figures, runs: usize, past: usize) -> Result<(), Failure> {
    let place = Place::new(1, "1s..1s")?;
    let due = second_in(4)?;
    place.configure(&format!(
        "[groups.web]\nservers = [\"1001\"]\n[rules.r1]\nat = \"{due}\"\nstart = [\"web\"]\n"
    ))?;
    let (daemon, _) = place.daemon()?;
    crate::place::until("the first run", || {
        let log = std::fs::read_to_string(place.at("log")).ok()?;
        log.contains("\"run.outcome\":\"done\"").then_some(())
    })?;
    drop(daemon);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(multiply(&place, past))?;
    let goal = |most| if past == PAST { Goal::AtMost(most) } else { Goal::None };
    let started: Vec<f64> = (0..runs.max(1))
        .map(|_| place.daemon().map(|(_, seconds)| seconds * 1000.0))
        .collect::<Result<_, _>>()?;
    figures.note(format!("{past} past runs: start-up"), "ms", &started, goal(1000.0));
    let (_daemon, _) = place.daemon()?;
    let axes = ("past runs", "milliseconds");
    figures.point("history", axes, "start-up", (float(past), median(&started)));
    for (what, arguments) in
        [("status", ["status"].as_slice()), ("history of one rule", &["history", "--rule", "r1"])]
    {
        let took = times(&place, runs, arguments)?;
        figures.note(format!("{past} past runs: {what}"), "ms", &took, goal(200.0));
        figures.point("history", axes, what, (float(past), median(&took)));
    }
    Ok(())
}

/// Makes many past runs of the one that is there, one each 25 s, of 1,000 rules.
async fn multiply(place: &Place, past: usize) -> Result<(), Failure> {
    let path = format!("sqlite://{}", place.at("sunup.db").display());
    let mut journal = SqliteConnection::connect(&path).await?;
    let count = i64::try_from(past)?;
    sqlx::query("PRAGMA synchronous = OFF").execute(&mut journal).await?;
    sqlx::query(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1) \
         INSERT INTO runs (rule, action, groups, planned, due, window_end, claimed, outcome, ended) \
         SELECT 'r' || (n % 1000), action, groups, planned - n * 25000000, due - n * 25000000, window_end - n * 25000000, \
         claimed - n * 25000000, outcome, ended - n * 25000000 FROM n, (SELECT * FROM runs WHERE id = 1)",
    )
    .bind(count)
    .execute(&mut journal)
    .await?;
    sqlx::query(
        "INSERT INTO targets (run, account, server, name, groups, limit_ms, state, progress, revision, outcome, reason) \
         SELECT runs.id, t.account, t.server, t.name, t.groups, t.limit_ms, t.state, t.progress, t.revision, t.outcome, t.reason \
         FROM runs, (SELECT * FROM targets WHERE run = 1) t WHERE runs.id > 1",
    )
    .execute(&mut journal)
    .await?;
    sqlx::query(
        "INSERT INTO attempts (id, action, intended, answered, result, status) \
         SELECT id, action, claimed, ended, 'accepted', 200 FROM runs WHERE id > 1",
    )
    .execute(&mut journal)
    .await?;
    sqlx::query(
        "INSERT INTO attempt_targets (attempt, run, account, server) SELECT run, run, account, server FROM targets WHERE run > 1",
    )
    .execute(&mut journal)
    .await?;
    journal.close().await?;
    Ok(())
}
