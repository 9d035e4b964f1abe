//! The whole engine on one thread under virtual time, with everything going wrong that a seed makes up, judged by the checker.
//!
//! A seed that fails prints the command that repeats it. `SUNUP_SEEDS=from..to` and `SUNUP_DAYS=n` choose others.

mod chance;
mod cloud;
mod damage;
#[path = "../common/memory.rs"]
mod memory;
mod outside;
#[cfg(sunup_planted)]
mod planted;
mod run;
mod scenario;
#[path = "../common/shown.rs"]
mod shown;

use std::ops::Range;

use run::simulate;

/// What is run unless something else is asked for.
const SEEDS: Range<u64> = 0..200;
const DAYS: i64 = 30;

/// A variable of the environment that chooses what is run.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment what to run")]
fn chosen(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn seeds() -> Range<u64> {
    let Some(text) = chosen("SUNUP_SEEDS") else { return SEEDS };
    let (from, to) = text.split_once("..").expect("SUNUP_SEEDS is `from..to`");
    from.parse().unwrap()..to.parse().unwrap()
}

fn days() -> i64 {
    chosen("SUNUP_DAYS").map_or(DAYS, |text| text.parse().unwrap())
}

/// How to see a seed again.
fn command(seed: u64) -> String {
    format!(
        "SUNUP_SEEDS={seed}..{} SUNUP_DAYS={} cargo test --test simulation histories_with -- --nocapture",
        seed + 1,
        days()
    )
}

/// One of four parts of the seeds, so that they can run side by side.
fn judge_part(part: u64) {
    let (mut hits, mut failures, mut judged) = (std::collections::BTreeMap::new(), Vec::new(), 0_u64);
    for seed in seeds().filter(|seed| seed % 4 == part) {
        let report = simulate(seed, days());
        judged += 1;
        for (name, count) in &report.hits {
            *hits.entry(*name).or_insert(0_u64) += count;
        }
        let left = report.history.journal.targets.iter().filter(|target| target.kind() == "hand-stopped");
        *hits.entry("left off, since stopped by hand").or_insert(0) += u64::try_from(left.count()).unwrap();
        if chosen("SUNUP_TRACE").is_some() {
            println!("{}\n{}", run::text(seed, days()), report.trace.join("\n"));
        }
        let void = report.verdict.void.map(|why| format!("it proves nothing: {why}"));
        let shown = report.verdict.violations.iter().map(|violation| {
            format!("{}: {}\n  {}", violation.rule.word(), violation.what, violation.trace.join("\n  "))
        });
        let found: Vec<String> = void.into_iter().chain(shown).collect();
        if let Some(first) = found.first() {
            failures.push(format!(
                "seed {seed}: {} found, the first {first}\nagain: {}",
                found.len(),
                command(seed)
            ));
        }
    }
    println!("{hits:#?}");
    let (faults, lost) = (hits.get("fault of a request"), hits.get("answer lost after the deed"));
    if let (Some(faults), Some(lost)) = (faults, lost) {
        println!("answers lost after the deed: {lost} of {faults} faults of requests");
        assert!(lost * 5 >= *faults, "fewer than a fifth of the faults hid a deed");
    }
    println!("{} passed, {} failed", judged - u64::try_from(failures.len()).unwrap(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn histories_with_everything_going_wrong_are_valid_part_1() {
    judge_part(0);
}

#[test]
fn histories_with_everything_going_wrong_are_valid_part_2() {
    judge_part(1);
}

#[test]
fn histories_with_everything_going_wrong_are_valid_part_3() {
    judge_part(2);
}

#[test]
fn histories_with_everything_going_wrong_are_valid_part_4() {
    judge_part(3);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let seeds = chosen("SUNUP_TRACES").and_then(|count| count.parse().ok()).unwrap_or(20);
    for seed in 0..seeds {
        let (one, other) = (simulate(seed, 6), simulate(seed, 6));

        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.history.journal, other.history.journal, "seed {seed}");
    }
    println!("{seeds} passed, 0 failed");
}
