//! `sunup pause`: a rule, or the servers of a group, left alone until a moment. `sunup resume`: any override ends before its time.

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::client::{Client, Daemon};
use super::exit::Exit;
use super::{Common, ask, load, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::environment;
use crate::adapters::store::SqliteStore;
use crate::daemon::overrides::{OverrideRequest, Shown, left_undone};
use crate::daemon::view;
use crate::domain::overrides::{Kind, Override, Overrides, Scope, Then};
use crate::domain::plan::{self, Occurrence};
use crate::domain::rule::Rule;
use crate::ports::clock::Clock;
use crate::ports::store::Store;
use crate::settings::Settings;

/// So many occurrences are looked at for the next one that nothing holds back.
const LOOKED_AT_MAX: usize = 10_000;
/// Where overrides are made.
pub(super) const MAKE: &str = "/v1/overrides";
/// So many occurrences that fall into a pause are counted.
const COUNTED_MAX: usize = 1000;

#[derive(Args)]
pub(super) struct Pause {
    /// A rule or a group; rule:NAME or group:NAME where both have the name
    #[arg(value_name = "RULE|GROUP")]
    name: String,
    /// When it begins [default: now]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// When it ends: 08:50 (its next occurrence), 2026-12-01, 2026-12-01T08:50
    #[arg(long, value_name = "TIME")]
    until: String,
    /// Why, for those who look at it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Args)]
pub(super) struct Resume {
    /// A rule or a group; rule:NAME or group:NAME where both have the name
    #[arg(value_name = "RULE|GROUP", required_unless_present = "server", conflicts_with = "server")]
    name: Option<String>,
    /// A server that is kept, by number, ACCOUNT/NUMBER or name
    #[arg(long, value_name = "NUMBER")]
    server: Option<String>,
}

pub(super) fn pause(common: &Common, options: &Pause) -> anyhow::Result<Exit> {
    wait(async {
        let client = Client::of_running(&load::socket(common)).await?;
        let settings = client.settings().await?;
        let (zone, now) = (view::zone_of(Some(&settings), None), SystemClock.now());
        let from = options.from.as_ref().map(|from| ask::moment(from, &zone, now)).transpose()?;
        let until = ask::moment(&options.until, &zone, from.unwrap_or(now))?;
        let request = OverrideRequest {
            name: Some(options.name.clone()),
            from,
            until: Some(until),
            reason: options.reason.clone().unwrap_or_default(),
            who: environment::login_name(),
            ..OverrideRequest::default()
        };
        let Some(made) = change(common, &client, MAKE, &request).await? else { return Ok(Exit::Done) };
        let known = Overrides::new(read(&client.get("/v1/overrides").await?));
        for one in made {
            show::line(&one.words(&zone));
            say_what_falls_into(&one, &settings, &known, (&zone, now));
            let goes_on = known.in_force().filter(|other| {
                other.scope == one.scope && other.kind == Kind::Pause && other.until > one.until
            });
            for other in goes_on {
                show::word(&format!("another one goes on: {}; `sunup resume` ends both", other.words(&zone)));
            }
        }
        Ok(Exit::Done)
    })
}

pub(super) fn resume(common: &Common, options: &Resume) -> anyhow::Result<Exit> {
    wait(async {
        let client = Client::of_running(&load::socket(common)).await?;
        let settings = client.settings().await?;
        let request = OverrideRequest {
            name: options.name.clone(),
            server: options.server.clone(),
            who: environment::login_name(),
            ..OverrideRequest::default()
        };
        let Some(ended) = change(common, &client, "/v1/overrides/end", &request).await? else {
            return Ok(Exit::Done);
        };
        let (zone, now) = (view::zone_of(Some(&settings), None), SystemClock.now());
        for one in &ended {
            show::line(&match one.kind {
                Kind::Pause => format!("{} is no longer paused", one.scope),
                Kind::Skip => {
                    format!("{} is no longer skipped at {}", one.scope, view::moment(one.from, &zone))
                }
                Kind::Keep { .. } => {
                    format!("{} is no longer kept {}", one.scope, one.kind.stays().unwrap_or_default())
                }
            });
            if let Kind::Keep { then, forbids } = one.kind {
                show::line(&match then {
                    Then::Apply => {
                        "what rules wanted meanwhile is made up for now; see `sunup status`".to_owned()
                    }
                    Then::Act => {
                        format!("to {forbids} its servers follows now, as it said; see `sunup status`")
                    }
                    Then::Leave => "its servers are left as they are".to_owned(),
                });
            }
        }
        let Some(one) = ended.first() else { return Ok(Exit::Done) };
        let touched = settings.rules.values().filter(|rule| one.is_about(rule));
        let known = Overrides::new(read(&client.get("/v1/overrides").await?));
        if let Some(words) = next_after(now, touched, &known, &zone) {
            show::line(&format!("next: {words}"));
        }
        for words in ended.iter().flat_map(|one| left_undone(&settings, &known, one, now)) {
            show::word(&words);
        }
        Ok(Exit::Done)
    })
}

pub(super) fn wait<T>(done: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(done)
}

/// Whether a rule is about servers that a keep is of, as far as the file tells.
pub(super) fn touches(settings: &Settings, rule: &Rule, scope: &Scope) -> bool {
    match scope {
        Scope::Group(group) => rule.groups.contains(group),
        Scope::Server(server) => {
            let mut groups = rule.groups.iter().filter_map(|name| settings.groups.get(name));
            groups.any(|group| group.servers.contains(&server.no))
        }
        Scope::Rule(_) => false,
    }
}

/// Has the daemon make or end overrides. `None` where what came of it has been shown as JSON.
pub(super) async fn change(
    common: &Common,
    client: &Client,
    path: &str,
    request: &OverrideRequest,
) -> anyhow::Result<Option<Vec<Override>>> {
    let changed = client.post(path, request).await?;
    if common.json {
        show::lines(elements(&changed).iter().map(Value::to_string));
        return Ok(None);
    }
    Ok(Some(read(&changed)))
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn read(value: &Value) -> Vec<Override> {
    let shown = elements(value).iter().filter_map(|one| serde_json::from_value::<Shown>(one.clone()).ok());
    shown.filter_map(Shown::read).collect()
}

/// The first thing after a moment that nothing holds back, among the next few.
pub(super) fn next_after<'a>(
    after: Timestamp,
    rules: impl Iterator<Item = &'a Rule>,
    known: &Overrides,
    zone: &TimeZone,
) -> Option<String> {
    let rules: Vec<&Rule> = rules.collect();
    let is_free = |next: &Occurrence| {
        let rule = rules.iter().find(|rule| rule.name == next.rule);
        rule.is_some_and(|rule| known.of_rule(rule, next.due).is_none())
    };
    let mut coming = plan::occurrences(rules.iter().copied(), after, Timestamp::MAX).take(LOOKED_AT_MAX);
    let next = coming.find(is_free)?;
    Some(format!("rule {} is to {} at {}", next.rule, next.action, view::moment(next.due, zone)))
}

/// What the pause takes out, and what comes after it.
fn say_what_falls_into(
    one: &Override,
    settings: &Settings,
    known: &Overrides,
    (zone, now): (&TimeZone, Timestamp),
) {
    let rules = || settings.rules.values().filter(|rule| one.is_about(rule));
    let last = one.until.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(one.until);
    match plan::occurrences(rules(), now.max(one.from), last).take(COUNTED_MAX).count() {
        0 => show::line("nothing is planned for it in this time"),
        COUNTED_MAX => show::line(&format!("{COUNTED_MAX} or more occurrences fall into it")),
        1 => show::line("1 occurrence falls into it"),
        count => show::line(&format!("{count} occurrences fall into it")),
    }
    if let Some(words) = next_after(last, rules(), known, zone) {
        show::line(&format!("after it: {words}"));
    }
    show::word("what runs already goes on; a command by hand is not held back; `sunup resume` ends it");
}

/// The overrides that are known, from the daemon or its journal; none where neither can be read.
pub(super) async fn known(common: &Common, settings: &Settings) -> Overrides {
    let found = match Client::find(&load::socket(common)).await {
        Ok(Daemon::There(client)) => client.get("/v1/overrides").await.map(|value| read(&value)),
        Ok(Daemon::Absent) => of_journal(settings).await,
        Err(error) => Err(error),
    };
    found.map(Overrides::new).unwrap_or_else(|error| {
        show::word(&format!("whether anything is paused is not known: {error}"));
        Overrides::default()
    })
}

async fn of_journal(settings: &Settings) -> anyhow::Result<Vec<Override>> {
    let path = load::journal(&settings.store);
    if !path.exists() {
        return Ok(Vec::new());
    }
    Ok(SqliteStore::open_to_read(&path).await?.overrides().await?)
}
