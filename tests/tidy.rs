//! Holds the house in order: which layer may name which, how large files are, and what is not committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer and what it may name beside itself.
const LAYERS: [(&str, &[&str]); 9] = [
    ("domain", &[]),
    ("ports", &["domain"]),
    ("settings", &["domain"]),
    ("adapters", &["domain", "ports", "settings"]),
    ("daemon", &["domain", "ports", "settings"]),
    ("http", &["domain", "ports", "settings"]),
    ("sandbox", &[]),
    ("audit", &[]),
    ("cli", &["domain", "ports", "settings", "adapters", "daemon", "http", "sandbox", "audit"]),
];

/// The crates that `domain` may name.
const DOMAIN_CRATES: [&str; 5] = ["std", "jiff", "croner", "icu_calendar", "thiserror"];
/// The crates that only some layers may name.
const BOUND_CRATES: [(&str, &[&str]); 9] = [
    ("sqlx", &["adapters", "audit"]),
    ("reqwest", &["adapters", "cli"]),
    ("toml", &["settings", "sandbox"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
    ("tokio_cron_scheduler", &["daemon"]),
    ("signal_hook", &["daemon"]),
    ("rustix", &["adapters", "cli"]),
    ("secrecy", &["adapters"]),
];
/// Files below `src` that are compiled for tests alone.
const TEST_FILES: [&str; 2] = ["src/domain/target/walks.rs", "src/domain/schedule/tests.rs"];
/// The most lines of a file.
const LINES_MAX: usize = 600;

/// What a file breaks, in words.
fn violations(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let layer = path.trim_start_matches("src/").split(['/', '.']).next().unwrap_or("");
    // Unit tests may reach further; what ships may not.
    let code: String = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text).to_owned();
    if let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) {
        for (other, _) in LAYERS.iter().filter(|(other, _)| *other != layer && !allowed.contains(other)) {
            if code.contains(&format!("crate::{other}")) {
                found.push(format!("{path}: layer `{layer}` names layer `{other}`"));
            }
        }
    }
    for (name, layers) in BOUND_CRATES {
        if names_crate(&code, name) && !layers.contains(&layer) {
            found.push(format!("{path}: layer `{layer}` names the crate `{name}`"));
        }
    }
    if layer == "domain" && !TEST_FILES.contains(&path) {
        for used in uses(&code) {
            let known =
                DOMAIN_CRATES.contains(&used.as_str()) || matches!(used.as_str(), "crate" | "super" | "self");
            if !known && !is_module_of_the_file(&code, &used) {
                found.push(format!("{path}: domain names `{used}`"));
            }
        }
    }
    found.extend(house_rules(path, text));
    found
}

fn house_rules(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if text.lines().count() > LINES_MAX {
        found.push(format!("{path}: more than {LINES_MAX} lines"));
    }
    if !text.starts_with("//!") {
        found.push(format!("{path}: does not open with a sentence of what it answers for"));
    }
    for (number, line) in text.lines().enumerate() {
        let marks =
            [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[al", "low("), concat!("#[ig", "nore")];
        if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
            found.push(format!("{path}:{}: `{mark}` is not committed", number + 1));
        }
    }
    if path.ends_with("/mod.rs") {
        found.push(format!("{path}: `foo.rs` beside the folder, never `foo/mod.rs`"));
    }
    found
}

/// The first names of `use` lines and of paths that begin with a lower-case crate.
fn uses(code: &str) -> Vec<String> {
    let lines = code.lines().map(str::trim).filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("use ")
    });
    lines
        .filter_map(|line| line.split("::").next())
        .map(|name| name.trim_end_matches(';').to_owned())
        .collect()
}

fn is_module_of_the_file(code: &str, name: &str) -> bool {
    code.contains(&format!("mod {name};"))
}

fn names_crate(code: &str, name: &str) -> bool {
    code.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.match_indices(name).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = &line[at + name.len()..];
            after.starts_with("::") && !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
        })
    })
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_layers_name_only_what_they_may_and_the_house_rules_hold() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    assert!(files.len() > 40, "the source was not found");

    let mut found = Vec::new();
    for file in files {
        let path = file.strip_prefix(root()).unwrap().display().to_string();
        found.extend(violations(&path, &fs::read_to_string(&file).unwrap()));
    }

    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn tests_neither_sleep_for_a_span_nor_are_skipped() {
    let mut files = Vec::new();
    rust_files(&root().join("tests"), &mut files);

    let mut found = Vec::new();
    for file in files {
        let path = file.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        found.extend(house_rules(&path, &text));
        let sleeps =
            text.contains(concat!("thread::sl", "eep")) || text.contains(concat!("time::sl", "eep("));
        // Waiting on a condition needs a pause between two looks; it has one home. In the simulation no time passes.
        let is_virtual = path.starts_with("tests/simulation/");
        if sleeps && !path.ends_with("/wait.rs") && !is_virtual {
            found.push(format!("{path}: sleeps"));
        }
    }

    let simulation = fs::read_to_string(root().join("tests/simulation/run.rs")).unwrap();
    assert!(simulation.contains("start_paused(true)"), "the simulation's clock is not paused");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_planted_violation_is_caught() {
    let fine = "//! Fine.\nuse crate::domain::name::RuleName;\n";
    let planted: BTreeMap<&str, (&str, &str)> = BTreeMap::from([
        ("src/domain/a.rs", ("//! X.\nuse crate::settings::Settings;\n", "names layer `settings`")),
        ("src/domain/b.rs", ("//! X.\nuse tokio::time::sleep;\n", "domain names `tokio`")),
        ("src/domain/b2.rs", ("//! X.\npub use serde::Serialize;\n", "domain names `serde`")),
        ("src/ports/c.rs", ("//! X.\nfn f() { crate::daemon::x(); }\n", "names layer `daemon`")),
        ("src/daemon/d.rs", ("//! X.\nuse crate::adapters::clock;\n", "names layer `adapters`")),
        ("src/daemon/d2.rs", ("//! X.\nfn f() { sqlx::query(\"\"); }\n", "names the crate `sqlx`")),
        ("src/sandbox/e.rs", ("//! X.\nuse crate::domain::name::ServerNo;\n", "names layer `domain`")),
        ("src/settings/f.rs", ("use std::fmt;\n", "does not open with a sentence")),
        ("src/cli/mod.rs", ("//! X.\n", "never `foo/mod.rs`")),
        ("src/cli/g.rs", (concat!("//! X.\n// TO", "DO: later\n"), "is not committed")),
    ]);

    assert!(violations("src/ports/fine.rs", fine).is_empty());
    for (path, (text, want)) in planted {
        let found = violations(path, text).join("\n");
        assert!(found.contains(want), "{path}: {found}");
    }
    let long = format!("//! X.\n{}", "// line\n".repeat(LINES_MAX));
    assert!(violations("src/cli/long.rs", &long)[0].contains("more than"));
}

#[test]
fn the_project_stands_alone_and_names_no_place_of_its_makers() {
    let mut found = Vec::new();
    for file in tracked_files() {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        for word in [concat!("../", "shared"), concat!("/wo", "rk/"), concat!("/fa", "rm/")] {
            if text.contains(word) {
                found.push(format!("{file}: names {word}"));
            }
        }
    }

    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Every file of the project, by walking it: a test must not depend on git.
fn tracked_files() -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name == "target" || name == ".git" {
                continue;
            }
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found
}
