//! `sunup check`: read the configuration, report every problem, touch nothing.

use serde_json::json;

use super::exit::Exit;
use super::{Common, load, show};
use crate::adapters::clock::SystemClock;
use crate::ports::clock::Clock;
use crate::settings::diagnostics::{Problem, Severity};
use crate::settings::{Loaded, Settings};

pub(super) fn main(common: &Common) -> anyhow::Result<Exit> {
    let path = load::path(common);
    let text = load::text(&path)?;
    let read = Settings::read(&text);
    if common.json {
        let problems = match &read {
            Ok(loaded) => &loaded.warnings,
            Err(problems) => problems,
        };
        for problem in problems {
            show::line(&as_json(problem, &text, &path.display().to_string()).to_string());
        }
        return Ok(if read.is_ok() { Exit::Done } else { Exit::Config });
    }
    let Loaded { settings, warnings } = read.map_err(|problems| load::not_valid(&problems, &text, &path))?;
    if !warnings.is_empty() {
        show::word(&load::rendered(&warnings, &text, &path));
    }
    for warning in settings.warnings_at(SystemClock.now()) {
        show::word(&format!("warning: {warning}"));
    }
    let servers: usize = settings.groups.values().map(|group| group.servers.len()).sum();
    show::line(&format!(
        "{} is good: {}, {} with {}, {}; keys were not looked at",
        path.display(),
        show::count(settings.accounts.len(), "account"),
        show::count(settings.groups.len(), "group"),
        show::count(servers, "server"),
        show::count(settings.rules.len(), "rule")
    ));
    Ok(Exit::Done)
}

fn as_json(problem: &Problem, text: &str, path: &str) -> serde_json::Value {
    let (line, column) = problem.line_and_column(text);
    json!({
        "severity": match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "file": path,
        "line": line,
        "column": column,
        "problem": problem.title,
        "cause": problem.cause,
        "remedy": problem.remedy,
    })
}
