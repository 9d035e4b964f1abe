//! `sunup plan`: the coming occurrences, by the same function that the daemon uses.

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::exit::Exit;
use super::{Common, ask, load, show};
use crate::adapters::clock::SystemClock;
use crate::daemon::view;
use crate::domain::plan::{Occurrence, occurrences};
use crate::domain::rule::Rule;
use crate::ports::clock::Clock;
use crate::settings::Settings;

/// The most occurrences that are shown.
const SHOWN_MAX: usize = 100_000;

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
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let settings = load::settings(common)?;
    let zone = view::zone_of(Some(&settings), None);
    let now = SystemClock.now();
    let from = options.from.as_deref().map_or(Ok(now), |text| ask::moment(text, &zone, now))?;
    let to = match &options.to {
        Some(text) => ask::moment(text, &zone, now)?,
        None => from.saturating_add(SignedDuration::from_hours(24 * i64::from(options.days)))?,
    };
    if to <= from {
        return Err(Exit::Usage.with(format!(
            "the end {} is not after the beginning {}",
            view::moment(to, &zone),
            view::moment(from, &zone)
        )));
    }
    let rules = chosen(&settings, options)?;
    let found: Vec<Occurrence> = occurrences(rules, from, to).take(SHOWN_MAX).collect();
    if common.json {
        found.iter().for_each(|occurrence| show::line(&view::occurrence(occurrence, &settings).to_string()));
        return Ok(Exit::Done);
    }
    show::word(&format!(
        "from {} to {}; zone data: {}",
        view::moment(from, &zone),
        view::moment(to, &zone),
        view::zone_data()
    ));
    if found.is_empty() {
        show::word("nothing is planned in this time");
    }
    print_days(&found, &settings);
    if found.len() == SHOWN_MAX {
        show::word(&format!("only the first {SHOWN_MAX} are shown; name an earlier end with --to"));
    }
    Ok(Exit::Done)
}

fn chosen<'a>(settings: &'a Settings, options: &Options) -> anyhow::Result<Vec<&'a Rule>> {
    let has_server = |rule: &Rule, number: &str| {
        settings.servers_of(&rule.groups, rule.action).keys().any(|server| server.no.as_str() == number)
    };
    let chosen: Vec<&Rule> = settings
        .rules
        .values()
        .filter(|rule| options.rule.as_deref().is_none_or(|name| rule.name.as_str() == name))
        .filter(|rule| {
            options.group.as_deref().is_none_or(|name| rule.groups.iter().any(|g| g.as_str() == name))
        })
        .filter(|rule| options.server.as_deref().is_none_or(|number| has_server(rule, number)))
        .collect();
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
    Ok(chosen)
}

fn print_days(found: &[Occurrence], settings: &Settings) {
    let zone_of = |occurrence: &Occurrence| view::zone_of(Some(settings), Some(occurrence.rule.as_str()));
    let mut day = String::new();
    let mut table = show::table(&["TIME", "ZONE", "ACTION", "GROUPS", "SERVERS", "RULE"]);
    for occurrence in found {
        let zone = zone_of(occurrence);
        let this = shown(occurrence.due, &zone, "%A, %d %B %Y");
        if this != day {
            if table.row_count() > 0 {
                show::line(&format!("{day}\n{}\n", show::trimmed(&table)));
            }
            table = show::table(&["TIME", "ZONE", "ACTION", "GROUPS", "SERVERS", "RULE"]);
            day = this;
        }
        let Some(rule) = settings.rules.get(&occurrence.rule) else {
            continue;
        };
        let groups: Vec<&str> = rule.groups.iter().map(|group| group.as_str()).collect();
        table.add_row(vec![
            shown(occurrence.due, &zone, "%H:%M:%S"),
            zone.iana_name().unwrap_or("UTC").to_owned(),
            occurrence.action.word().to_owned(),
            groups.join(", "),
            settings.servers_of(&rule.groups, rule.action).len().to_string(),
            rule.name.to_string(),
        ]);
    }
    if table.row_count() > 0 {
        show::line(&format!("{day}\n{}", show::trimmed(&table)));
    }
}

fn shown(at: Timestamp, zone: &TimeZone, form: &str) -> String {
    at.to_zoned(zone.clone()).strftime(form).to_string()
}
