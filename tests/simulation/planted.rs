//! Bugs on purpose: each must be found, and by the checker, not by a crash of the engine.

use sunup::planted::{Bug, plant};

use crate::run::simulate;

/// Within how many seeds each is to be found.
const SEEDS: u64 = 200;

#[test]
fn each_planted_bug_is_found_within_200_seeds() {
    let mut found = Vec::new();
    for bug in Bug::ALL {
        plant(Some(*bug));
        let first = (0..SEEDS).find_map(|seed| {
            let report = simulate(seed, 30);
            let violation = report.verdict.violations.first()?;
            Some(format!("{:20} seed {seed:3} by {}: {}", bug.word(), violation.rule.word(), violation.what))
        });
        println!("{}", first.clone().unwrap_or_else(|| format!("{:20} NOT FOUND", bug.word())));
        found.push((bug.word(), first.is_some()));
    }
    plant(None);

    let missed: Vec<&str> = found.iter().filter(|(_, is_found)| !is_found).map(|(word, _)| *word).collect();
    let (all, caught) = (found.len(), found.len() - missed.len());
    println!("{caught} passed, {} failed", all - caught);
    assert!(missed.is_empty(), "not found: {missed:?}");
}
