//! `sunup plan`: the coming occurrences, by the same function that the daemon uses, and what takes others out.

mod against;
mod ics;
mod table;
mod week;

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::check::in_words;
use super::exit::Exit;
use super::{Common, ask, load, pause, show};
use crate::adapters::clock::SystemClock;
use crate::daemon::view::{self, PlanLines};
use crate::domain::name::RuleName;
use crate::domain::plan::{Explained, explained_first};
use crate::domain::rule::Rule;
use crate::domain::schedule::Fate;
use crate::ports::clock::Clock;
use crate::settings::Settings;

/// The most lines that are shown.
const SHOWN_MAX: usize = 1_000_000;
/// The most events of a feed: calendar programs take no more.
const FEED_MAX: usize = 20_000;
/// The longest stretch that is planned, in days.
const DAYS_MAX: i64 = 3700;

#[derive(Args)]
pub(super) struct Options {
    /// Begin here instead of now
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End here
    #[arg(long, value_name = "TIME", conflicts_with = "days")]
    to: Option<String>,
    /// End after so many days
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3700))]
    days: u32,
    /// Only this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only rules with this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Only rules with this server
    #[arg(long, value_name = "NUMBER")]
    server: Option<String>,
    /// As an iCalendar feed for calendar programs
    #[arg(long, conflicts_with_all = ["against", "week"])]
    ics: bool,
    /// What another configuration would change
    #[arg(long, value_name = "FILE", conflicts_with = "week")]
    against: Option<PathBuf>,
    /// The hours in which each group is meant to be up, as a strip for each day
    #[arg(long, conflicts_with_all = ["to", "days", "rule", "server"])]
    week: bool,
}

/// A stretch of time that is planned.
#[derive(Clone, Copy)]
struct Stretch {
    from: Timestamp,
    to: Timestamp,
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let settings = load::in_force(common)?;
    let zone = main_zone(&settings);
    let now = SystemClock.now();
    let stretch = stretch(options, &zone, now)?;
    let rules = chosen(&settings, options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let overrides = runtime.block_on(pause::known(common, &settings));
    if options.week {
        week::print((&settings, &overrides), options, &zone, stretch.from, common.json);
        return Ok(Exit::Done);
    }
    if let Some(other) = &options.against {
        return against::print(common, &settings, options, other, stretch);
    }
    let most = if options.ics { FEED_MAX } else { SHOWN_MAX };
    let busy = show::Busy::new("planning");
    let mut found = explained_first(&rules, stretch.from, stretch.to, most);
    overrides.strike(&mut found, |rule| settings.rules.get(rule));
    drop(busy);
    if found.len() > most {
        found.truncate(most);
        show::word(&format!("only the first {most} are shown; name an earlier end with --to"));
    }
    let lines = PlanLines::new(&settings);
    if options.ics && common.json {
        return Err(Exit::Usage.with("a feed is not JSON: leave `--ics` or `--json` out"));
    }
    if options.ics {
        show::raw(&ics::feed(&found, &lines, now));
        return Ok(Exit::Done);
    }
    if common.json {
        show::lines(found.iter().map(|line| lines.json(line)));
        return Ok(Exit::Done);
    }
    show::word(&format!(
        "from {} to {}; zone data: {}",
        view::moment(stretch.from, &zone),
        view::moment(stretch.to, &zone),
        view::zone_data()
    ));
    if let (Some(_), [rule]) = (&options.rule, rules.as_slice()) {
        show::word(&format!("rule {}: {}", rule.name, in_words(rule, now)));
    }
    if found.is_empty() {
        show::word("nothing is planned in this time");
    }
    // Hashed, since a year has half a million lines.
    let planned: HashSet<&RuleName> = found.iter().map(|line| &line.occurrence.rule).collect();
    table::print(&found, &planned, (&settings, &overrides), &lines, &zone);
    say_what_marks_mean(&found, &planned, &lines);
    say_what_is_off(&rules);
    Ok(Exit::Done)
}

/// The zone by which days are told: the one at the top of the file, or the one that all rules share.
fn main_zone(settings: &Settings) -> TimeZone {
    let mut zones = settings.rules.values().map(|rule| &rule.schedule.zone);
    let shared = zones.next().filter(|first| zones.all(|zone| zone == *first));
    settings.timezone.clone().or_else(|| shared.cloned()).unwrap_or(TimeZone::UTC)
}

fn stretch(options: &Options, zone: &TimeZone, now: Timestamp) -> anyhow::Result<Stretch> {
    let from = options.from.as_deref().map_or(Ok(now), |text| ask::moment(text, zone, now))?;
    let to = match &options.to {
        Some(text) => ask::moment(text, zone, now)?,
        None => from.saturating_add(SignedDuration::from_hours(24 * i64::from(options.days)))?,
    };
    if to.duration_since(from) > SignedDuration::from_hours(24 * DAYS_MAX) {
        return Err(
            Exit::Usage.with(format!("at most {DAYS_MAX} days are planned: name an earlier end with --to"))
        );
    }
    if to <= from {
        return Err(Exit::Usage.with(format!(
            "the end {} is not after the beginning {}",
            view::moment(to, zone),
            view::moment(from, zone)
        )));
    }
    Ok(Stretch { from, to })
}

fn say_what_marks_mean(found: &[Explained], rules: &HashSet<&RuleName>, lines: &PlanLines<'_>) {
    let is_open =
        |rule: &&RuleName| lines.of(rule).is_some_and(|facts| facts.servers.to_string().contains('+'));
    if rules.iter().any(is_open) {
        show::word("+: and those that selectors choose when it is due; see `sunup groups`");
    }
    if found.iter().any(|line| matches!(line.fate, Fate::Struck(_))) {
        show::word("x: does not happen");
    }
    if found.iter().any(|line| matches!(line.fate, Fate::Moved(_))) {
        show::word("~: a clock change has a part in when");
    }
}

fn say_what_is_off(rules: &[&Rule]) {
    let off: Vec<&str> = rules.iter().filter(|rule| !rule.enabled).map(|rule| rule.name.as_str()).collect();
    if !off.is_empty() {
        show::word(&format!("disabled, so without occurrences: {}", off.join(", ")));
    }
}

/// The rules that the options ask for.
fn chosen<'a>(settings: &'a Settings, options: &Options) -> anyhow::Result<Vec<&'a Rule>> {
    for (what, asked, known) in [
        ("rule", &options.rule, settings.rules.keys().map(ToString::to_string).collect::<Vec<_>>()),
        ("group", &options.group, settings.groups.keys().map(ToString::to_string).collect()),
    ] {
        if let Some(name) = asked.as_ref().filter(|name| !known.contains(name)) {
            let known = known.join("`, `");
            return Err(
                Exit::Usage.with(format!("there is no {what} `{name}`; the configuration has `{known}`"))
            );
        }
    }
    if let Some(number) = &options.server {
        let mut servers = settings.groups.values().flat_map(|group| &group.servers);
        if !servers.any(|server| server.as_str() == number) {
            return Err(Exit::Usage.with(format!(
                "no group of the configuration holds a server `{number}`; write its number, as `servers` has it"
            )));
        }
    }
    Ok(matching(settings, options))
}

fn matching<'a>(settings: &'a Settings, options: &Options) -> Vec<&'a Rule> {
    let has_server = |rule: &Rule, number: &str| {
        let groups = rule.groups.iter().filter_map(|name| settings.groups.get(name));
        groups.flat_map(|group| &group.servers).any(|server| server.as_str() == number)
    };
    settings
        .rules
        .values()
        .filter(|rule| options.rule.as_deref().is_none_or(|name| rule.name.as_str() == name))
        .filter(|rule| {
            options.group.as_deref().is_none_or(|name| rule.groups.iter().any(|g| g.as_str() == name))
        })
        .filter(|rule| options.server.as_deref().is_none_or(|number| has_server(rule, number)))
        .collect()
}

/// What happens among what is planned.
fn happening(found: Vec<Explained>) -> impl Iterator<Item = Explained> {
    found.into_iter().filter(|line| line.fate.happens())
}
