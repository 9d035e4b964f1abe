//! `sunup keep`: the servers of a group, or one server, stay as they are until a moment.

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::client::Client;
use super::exit::Exit;
use super::pause::{MAKE, change, read, touches, wait};
use super::{Common, ask, load, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::environment;
use crate::daemon::overrides::OverrideRequest;
use crate::daemon::view;
use crate::domain::overrides::{Kind, Override, Then};
use crate::domain::plan;
use crate::domain::rule::{AfterKeep, Rule};
use crate::ports::clock::Clock;
use crate::settings::Settings;

/// So many occurrences that a keep holds back are counted.
const COUNTED_MAX: usize = 1000;

#[derive(Args)]
#[command(allow_missing_positional = true)]
pub(super) struct Options {
    /// A group
    #[arg(value_name = "GROUP", required_unless_present = "server", conflicts_with = "server")]
    group: Option<String>,
    /// on: nothing stops its servers; off: nothing starts them
    #[arg(value_name = "on|off")]
    stays: Stays,
    /// One server instead, by number, ACCOUNT/NUMBER or name
    #[arg(long, value_name = "NUMBER")]
    server: Option<String>,
    /// When it begins [default: now]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// When it ends: 22:00 (its next occurrence), 2026-12-01, 2026-12-01T08:50
    #[arg(long, value_name = "TIME")]
    until: String,
    /// What follows [default: what rules wanted of its servers meanwhile is made up for]
    #[arg(long, value_name = "WHAT")]
    then: Option<Follows>,
    /// Why, for those who look at it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Stays {
    On,
    Off,
}

#[derive(Clone, Copy, ValueEnum)]
enum Follows {
    /// After on: its servers are stopped, whether a rule wanted it or not
    Stop,
    /// After off: its servers are started
    Start,
    /// Its servers are left as they are
    Leave,
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let stays = match options.stays {
        Stays::On => "on",
        Stays::Off => "off",
    };
    let then = options.then.map(|then| match then {
        Follows::Stop => "stop",
        Follows::Start => "start",
        Follows::Leave => "leave",
    });
    match (options.stays, options.then) {
        (Stays::On, Some(Follows::Start)) => {
            return Err(Exit::Usage
                .with("what is kept on is not started when that ends: write --then stop or --then leave"));
        }
        (Stays::Off, Some(Follows::Stop)) => {
            return Err(Exit::Usage
                .with("what is kept off is not stopped when that ends: write --then start or --then leave"));
        }
        _ => {}
    }
    wait(async {
        let client = Client::of_running(&load::socket(common)).await?;
        let settings = client.settings().await?;
        let (zone, now) = (view::zone_of(Some(&settings), None), SystemClock.now());
        let from = options.from.as_ref().map(|from| ask::moment(from, &zone, now)).transpose()?;
        let until = ask::moment(&options.until, &zone, from.unwrap_or(now))?;
        let request = OverrideRequest {
            kind: Some("keep".into()),
            name: options.group.clone(),
            server: options.server.clone(),
            stays: Some(stays.into()),
            then: then.map(str::to_owned),
            from,
            until: Some(until),
            reason: options.reason.clone().unwrap_or_default(),
            who: environment::login_name(),
            ..OverrideRequest::default()
        };
        let Some(made) = change(common, &client, MAKE, &request).await? else { return Ok(Exit::Done) };
        for one in made {
            show::line(&one.words(&zone));
            say_what_is_held_back(&one, &settings, now);
        }
        Ok(Exit::Done)
    })
}

/// Makes the keep that goes with `sunup start … --until T`.
pub(super) async fn keep_on(
    client: &Client,
    groups: &[String],
    servers: &[String],
    (until, reason): (Timestamp, &str),
    zone: &jiff::tz::TimeZone,
) -> anyhow::Result<()> {
    let all = OverrideRequest {
        kind: Some("keep".into()),
        stays: Some("on".into()),
        until: Some(until),
        reason: reason.to_owned(),
        who: environment::login_name(),
        ..OverrideRequest::default()
    };
    let of_group = |group: &String| OverrideRequest { name: Some(group.clone()), ..all.clone() };
    let of_server = |server: &String| OverrideRequest { server: Some(server.clone()), ..all.clone() };
    for request in groups.iter().map(of_group).chain(servers.iter().map(of_server)) {
        for one in read(&client.post("/v1/overrides", &request).await?) {
            show::word(&one.words(zone));
        }
    }
    Ok(())
}

fn say_what_is_held_back(one: &Override, settings: &Settings, now: Timestamp) {
    let Kind::Keep { forbids, then } = one.kind else { return };
    let touched: Vec<&Rule> =
        settings.rules.values().filter(|rule| touches(settings, rule, &one.scope)).collect();
    let held = plan::occurrences(touched.iter().copied(), now.max(one.from), one.until)
        .filter(|occurrence| occurrence.action == forbids && occurrence.due < one.until);
    let names: Vec<String> = held.take(COUNTED_MAX).map(|occurrence| occurrence.rule.to_string()).collect();
    let mut rules = names.clone();
    rules.sort();
    rules.dedup();
    match names.len() {
        0 => show::line(&format!("no rule of this group is to {forbids} anything in this time")),
        1 => show::line(&format!("held back: one {forbids} by {}", rules.join(", "))),
        count => {
            let most = if count == COUNTED_MAX { " or more" } else { "" };
            show::line(&format!("held back: {count}{most} times {forbids} by {}", rules.join(", ")));
        }
    }
    let is_left = |name: &String| {
        let rule = touched.iter().find(|rule| rule.name.as_str() == name);
        rule.is_some_and(|rule| rule.after_keep == AfterKeep::Leave)
    };
    let follows = match then {
        Then::Leave => "its servers are left as they are".to_owned(),
        Then::Act => format!("to {forbids} them"),
        Then::Apply if !rules.is_empty() && rules.iter().all(is_left) => {
            "its servers are left as they are, as `after_keep` of the rules says".to_owned()
        }
        Then::Apply => "what rules wanted meanwhile is made up for".to_owned(),
    };
    show::line(&format!("when it ends: {follows}"));
    show::word(&format!(
        "nothing is done now; what has been asked already goes on; a {forbids} by hand needs --break-keep; `sunup resume` ends it"
    ));
}
