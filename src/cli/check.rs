//! `sunup check`: read the configuration, report every problem, say what it means; touch nothing.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;

use super::client::Client;
use super::exit::Exit;
use super::{Common, load, reload, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::store::SqliteStore;
use crate::daemon::changes::Report;
use crate::daemon::view;
use crate::domain::calendar::Calendar;
use crate::domain::rule::Rule;
use crate::domain::{plan, words};
use crate::ports::clock::Clock;
use crate::settings::diagnostics::{Problem, Severity};
use crate::settings::{Loaded, Settings, advice};

/// How many coming dates of a calendar are shown.
const DATES_SHOWN: usize = 10;
/// How many rules are told in words; whoever has more asks for one with `plan --rule`.
const RULES_SHOWN: usize = 50;
/// How many pieces of advice are shown.
const ADVICE_SHOWN: usize = 50;

#[derive(clap::Args)]
pub(super) struct Options {
    /// Also show what a reload would change of what the daemon has in force
    #[arg(long)]
    against_running: bool,
    /// Also look whether this version knows the journal that the configuration names
    #[arg(long)]
    journal: bool,
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let path = load::path(common);
    let text = load::text(&path)?;
    let now = SystemClock.now();
    let read = load::parse(&text, &path, None);
    if options.journal {
        mind_journal(&load::journal(&Settings::store_of(&text)))?;
    }
    if common.json {
        let problems = match &read {
            Ok(loaded) => &loaded.warnings,
            Err(problems) => problems,
        };
        for problem in problems {
            show::line(&as_json(problem, &text, &path.display().to_string()).to_string());
        }
        let advice = read.iter().flat_map(|loaded| advice::of(&loaded.settings, now));
        for sentence in hidden(&path, &text).into_iter().chain(advice) {
            show::line(&json!({"severity": "warning", "problem": sentence}).to_string());
        }
        if let Some(loaded) = read.as_ref().ok().filter(|_| options.against_running) {
            show::line(&against_running(common, &loaded.settings, now)?.to_string());
        }
        return Ok(if read.is_ok() { Exit::Done } else { Exit::Config });
    }
    let Loaded { settings, warnings, .. } =
        read.map_err(|problems| load::not_valid(&problems, &text, &path))?;
    if !warnings.is_empty() {
        show::word(&load::rendered(&warnings, &text, &path));
    }
    for sentence in hidden(&path, &text) {
        show::word(&format!("warning: {sentence}"));
    }
    let advice = advice::of(&settings, now);
    for sentence in advice.iter().take(ADVICE_SHOWN) {
        show::word(&format!("warning: {sentence}"));
    }
    if advice.len() > ADVICE_SHOWN {
        show::word(&format!("warning: and {} more of this kind", advice.len() - ADVICE_SHOWN));
    }
    let servers: usize = settings.groups.values().map(|group| group.servers.len()).sum();
    let chosen = settings.groups.values().filter(|group| group.selector.is_some()).count();
    let chosen = match chosen {
        0 => String::new(),
        _ => format!(" and {} chosen by selectors (see `sunup groups`)", show::count(chosen, "group")),
    };
    show::line(&format!(
        "{} is good: {}, {} with {} by number{chosen}, {}; keys were not looked at",
        path.display(),
        show::count(settings.accounts.len(), "account"),
        show::count(settings.groups.len(), "group"),
        show::count(servers, "server"),
        show::count(settings.rules.len(), "rule")
    ));
    print_rules(&settings, now);
    let today = view::zone_of(Some(&settings), None).to_datetime(now).date();
    for (name, calendar) in &settings.calendars {
        print_calendar(name.as_str(), calendar, today);
    }
    if options.against_running {
        let report = against_running(common, &settings, now)?;
        show::line("\nwhat a reload would change:");
        reload::print(&report);
    }
    Ok(Exit::Done)
}

/// Included files that the group cannot read by whose right the daemon reads the file itself.
fn hidden(path: &Path, text: &str) -> Vec<String> {
    let Ok(main) = std::fs::metadata(path) else { return Vec::new() };
    let by_group = main.mode() & 0o044 == 0o040;
    let is_hidden = |file: &PathBuf| {
        let readable = |meta: std::fs::Metadata| {
            meta.mode() & 0o004 != 0 || (meta.mode() & 0o040 != 0 && meta.gid() == main.gid())
        };
        by_group && std::fs::metadata(file).is_ok_and(|meta| !readable(meta))
    };
    let shown = |file: PathBuf| {
        let (file, main) = (file.display(), path.display());
        format!(
            "`{file}` cannot be read by the group that may read `{main}`, so perhaps not by the daemon: run `chgrp --reference={main} \
             {file}` and `chmod 640 {file}`"
        )
    };
    load::files(path, text).into_iter().skip(1).filter(is_hidden).map(shown).collect()
}

/// Refuses a journal that a newer version has written: a daemon of this one could not open it.
fn mind_journal(path: &Path) -> anyhow::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { SqliteStore::open_to_read(path).await?.known_version().await })?;
    Ok(())
}

/// What settings change of those that the daemon has in force.
fn against_running(
    common: &Common,
    settings: &Settings,
    now: Timestamp,
) -> anyhow::Result<serde_json::Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let running =
        runtime.block_on(async { Client::of_running(&load::socket(common)).await?.settings().await })?;
    Ok(Report::new(&running, settings, now).json())
}

fn print_rules(settings: &Settings, now: Timestamp) {
    if settings.rules.is_empty() {
        return;
    }
    show::line("");
    for rule in settings.rules.values().take(RULES_SHOWN) {
        show::line(&format!("rule {}: {}", rule.name, in_words(rule, now)));
    }
    if settings.rules.len() > RULES_SHOWN {
        let more = settings.rules.len() - RULES_SHOWN;
        show::line(&format!("and {more} more rules; `sunup plan --rule NAME` tells one"));
    }
}

/// `starts db, web at 08:50 on Monday to Friday in Asia/Seoul; next Mon 30 Nov 08:50`.
pub(super) fn in_words(rule: &Rule, now: Timestamp) -> String {
    let next = plan::next(rule, now, Timestamp::MAX).map(|next| {
        let at = next.due.to_zoned(rule.schedule.zone.clone());
        let form = if at.year() == now.to_zoned(rule.schedule.zone.clone()).year() { "" } else { " %Y" };
        let both = rule.schedule.actions().len() > 1;
        let action = if both { format!("{} ", next.action) } else { String::new() };
        format!("; next {action}{}", at.strftime(&format!("%a %-d %b{form} %H:%M")))
    });
    format!("{}{}", words::of_rule(rule), next.unwrap_or_default())
}

fn print_calendar(name: &str, calendar: &Calendar, today: Date) {
    show::line(&format!("\ncalendar {name}, the next dates:"));
    let holidays = calendar.holidays().range(today..).map(|(date, title)| (*date, title.clone()));
    let workdays = calendar.workdays().range(today..).map(|(date, title)| {
        let named = if title == "workday" { String::new() } else { format!(": {title}") };
        (*date, format!("workday{named}"))
    });
    let mut dates: Vec<(Date, String)> =
        holidays.take(DATES_SHOWN).chain(workdays.take(DATES_SHOWN)).collect();
    dates.sort();
    if dates.is_empty() {
        show::line("  none");
    }
    for (date, title) in dates.into_iter().take(DATES_SHOWN) {
        show::line(&format!("  {}  {title}", date.strftime("%a %Y-%m-%d")));
    }
}

fn as_json(problem: &Problem, text: &str, path: &str) -> serde_json::Value {
    let (file, line, column) = problem.place(text, path);
    json!({
        "severity": match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "file": file,
        "line": line,
        "column": column,
        "problem": problem.title,
        "cause": problem.cause,
        "remedy": problem.remedy,
    })
}
