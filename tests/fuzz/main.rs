//! Odd input for every parser: no panic, no hang, no more memory than it may have.
//!
//! In the gate: the corpus, every past finding, and mutations of them by a fixed seed. `scripts/long fuzz` mutates for a minute
//! each parser.

mod outside;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sunup::domain::cron::{CronExpr, Fields};
use sunup::domain::hours::Hours;
use sunup::domain::plan::occurrences;
use sunup::domain::words;
use sunup::settings::diagnostics::{Style, render};
use sunup::settings::{Settings, advice, duration, ics};

/// How many mutations of the gate: enough to notice what broke, few enough to be quick without optimisation.
const MUTATIONS: usize = 1500;
/// The largest input.
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// The longest that one input may take, in the long run.
const HANG: Duration = Duration::from_secs(1);
/// The most memory that the program may have had.
const MEMORY_KIB_MAX: u64 = 256 * 1024;
/// From here occurrences are asked for.
const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);
const MONTH_LATER: Timestamp = Timestamp::constant(1_795_000_000 + 31 * 86_400, 0);

/// Pieces that mean something to one parser or another.
const PIECES: [&str; 48] = [
    "*",
    "/",
    "-",
    ",",
    "#",
    "L",
    "W",
    "LW",
    "?",
    "@",
    "MON",
    "SUN",
    "WORKDAYS",
    "HOLIDAYS",
    "24:00",
    "00:00",
    "24h",
    ";",
    " ",
    "\n",
    "\r\n",
    "\r\n ",
    "\t",
    "0",
    "59",
    "99999999999",
    "-1",
    "\"",
    "'''",
    "[",
    "]",
    "[[",
    "=",
    "{",
    "}",
    "#é",
    "한글",
    "\u{0}",
    "\u{feff}",
    "BEGIN:VEVENT",
    "END:VEVENT",
    "RRULE:FREQ=DAILY",
    ";COUNT=65535",
    ";INTERVAL=65535",
    "DTSTART;VALUE=DATE:",
    "20261225",
    "9999-12-31",
    "..",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target)
}

/// The corpus of a target, with its past findings.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no corpus for {target}");
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

fn mutated(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(20)).min(input.len());
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 => {
                input.drain(at..end);
            }
            2 => {
                let piece = PIECES[random.below(PIECES.len())].bytes();
                input.splice(at..at, piece);
            }
            3 => {
                let again = input[at..end].to_vec();
                for _ in 0..random.below(40) {
                    input.splice(at..at, again.iter().copied());
                }
            }
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(200)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            5 if at < input.len() => {
                let digits = b"0123456789";
                input[at] = digits[random.below(digits.len())];
            }
            _ => input.truncate(at.max(1)),
        }
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}

#[expect(clippy::disallowed_methods, reason = "a test is told by its surroundings how long it may take")]
fn seconds() -> Option<u64> {
    std::env::var("SUNUP_FUZZ_SECONDS").ok()?.parse().ok()
}

#[expect(clippy::disallowed_methods, reason = "the long run has a span and a limit for each input")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Gives a parser its corpus, then mutations: a number of them in the gate, for a span of time in the long run.
fn fuzz(target: &str, seed: u64, parse: fn(&str)) {
    let corpus = corpus(target);
    let mut tried = 0_usize;
    let mut slowest = Duration::ZERO;
    let mut give = |input: &[u8]| {
        let text = String::from_utf8_lossy(input).into_owned();
        let began = now();
        let ended = catch_unwind(|| parse(&text));
        let took = began.elapsed();
        slowest = slowest.max(took);
        let hangs = seconds().is_some() && took > HANG;
        if ended.is_err() || hangs {
            let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
            fs::write(&found, input).unwrap();
            panic!(
                "{target}: it {} on the input in {}: {text:?}",
                if hangs { "hangs" } else { "panics" },
                found.display()
            );
        }
    };
    corpus.iter().for_each(|input| give(input));
    let mut random = Random(seed);
    let end = seconds().map(|seconds| now() + Duration::from_secs(seconds));
    while end.map_or(tried < MUTATIONS, |end| now() < end) {
        give(&mutated(&mut random, &corpus));
        tried += 1;
    }
    let memory = memory_kib();
    println!(
        "{target}: {} of the corpus and {tried} mutations, slowest {slowest:?}, {} MiB",
        corpus.len(),
        memory / 1024
    );
    assert!(memory <= MEMORY_KIB_MAX, "{target}: {} MiB", memory / 1024);
}

#[test]
fn cron_expressions_never_panic_whatever_they_are() {
    fuzz("cron", 1, |text| {
        for fields in [Fields::Five, Fields::Six] {
            match CronExpr::parse(text, fields) {
                Ok(expr) => drop((expr.describe(), expr.day_word())),
                Err(error) => assert!(text.get(error.span).is_some(), "a place between two letters"),
            }
        }
    });
}

#[test]
fn hours_never_panic_whatever_they_are() {
    fuzz("hours", 2, |text| {
        if let Err(error) = Hours::parse(text) {
            assert!(text.get(error.span).is_some(), "a place between two letters");
        }
    });
}

#[test]
fn durations_never_panic_whatever_they_are() {
    fuzz("duration", 3, |text| {
        if let Some(length) = duration::parse(text) {
            assert_eq!(duration::parse(&duration::show(length)), Some(length));
        }
    });
}

#[test]
fn calendar_files_never_panic_whatever_they_are() {
    fuzz("ics", 4, |text| drop(ics::read(text)));
}

#[test]
fn configuration_files_never_panic_whatever_they_are() {
    fuzz("toml", 5, |text| match Settings::read(text) {
        Err(problems) => drop(render(&problems, text, "fuzz.toml", Style::Colored)),
        Ok(loaded) => {
            drop(render(&loaded.warnings, text, "fuzz.toml", Style::Plain));
            drop(advice::of(&loaded.settings, NOW));
            for rule in loaded.settings.rules.values() {
                assert!(!words::of_rule(rule).is_empty());
            }
            assert!(occurrences(loaded.settings.rules.values(), NOW, MONTH_LATER).take(1000).count() <= 1000);
        }
    });
}
