//! `sunup groups`: what each group holds now, with states.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clap::Args;
use serde_json::Value;

use super::client::{Client, Daemon};
use super::exit::Exit;
use super::value::{list, text};
use super::{Common, load, show, world};
use crate::adapters::clock::SystemClock;
use crate::adapters::host::Machine;
use crate::daemon::engine::AccountLine;
use crate::daemon::groups::{Census, Sights, shown_id};
use crate::daemon::listing::{members, scope_of};
use crate::domain::group::Group;
use crate::domain::name::{GroupName, ServerId};
use crate::domain::roster::{Resolved, Roster};
use crate::domain::server::{Found, Sight};
use crate::domain::target::ATTEMPT_LIMIT;
use crate::ports::clock::Clock;
use crate::ports::cloud::{Inventory, Scope};
use crate::ports::host::Host;
use crate::settings::Settings;

#[derive(Args)]
pub(super) struct Options {
    /// Only these groups
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let settings = load::in_force(common)?;
        for name in &options.groups {
            let known: Vec<&str> = settings.groups.keys().map(GroupName::as_str).collect();
            if !known.contains(&name.as_str()) {
                let known = known.join("`, `");
                return Err(
                    Exit::Usage.with(format!("there is no group `{name}`; the configuration has `{known}`"))
                );
            }
        }
        let report = now(common, &settings).await?;
        let is_wanted = |name: &str| options.groups.is_empty() || options.groups.iter().any(|g| g == name);
        let groups = list(&report, "groups").iter().filter(|group| is_wanted(text(group, "group")));
        let mut unreached = false;
        for group in groups {
            unreached |= group.get("known") == Some(&Value::Bool(false));
            if common.json {
                show::line(&group.to_string());
            } else {
                print(group);
            }
        }
        for warning in list(&report, "warnings").iter().filter_map(Value::as_str) {
            show::word(&format!("warning: {warning}"));
        }
        Ok(if unreached { Exit::Unavailable } else { Exit::Done })
    })
}

/// What each group holds now: the daemon's word, or the cloud's own where no daemon runs.
pub(super) async fn now(common: &Common, settings: &Settings) -> anyhow::Result<Value> {
    match Client::find(&load::socket(common)).await? {
        Daemon::There(client) => client.get("/v1/groups").await,
        Daemon::Absent => Ok(alone(settings).await),
    }
}

/// Who belongs where, as the daemon knows it, with all that it says of groups; without a daemon as the file alone tells.
pub(super) async fn roster(common: &Common, settings: &Settings) -> (Roster, Value) {
    let known = match Client::find(&load::socket(common)).await {
        Ok(Daemon::There(client)) => {
            let known = client.get("/v1/groups/known").await.unwrap_or_default();
            // Before its first list the daemon knows nothing of selectors.
            let is_known = |group: &Value| group.get("known") == Some(&Value::Bool(true));
            let is_all_known = list(&known, "groups").iter().all(is_known);
            if is_all_known { known } else { client.get("/v1/groups").await.unwrap_or(known) }
        }
        _ => Value::Null,
    };
    let mut resolved: BTreeMap<GroupName, Resolved> = BTreeMap::new();
    for group in list(&known, "groups").iter().filter(|group| group.get("known") == Some(&Value::Bool(true)))
    {
        let Ok(name) = GroupName::new(text(group, "group")) else { continue };
        let members = list(group, "servers").iter().filter_map(shown_id).collect();
        resolved.insert(name, Resolved { began: SystemClock.now(), members });
    }
    (Roster::new(&settings.groups, &resolved), known)
}

/// Asks the cloud without a daemon: every account lists what its groups need, all at once.
async fn alone(settings: &Settings) -> Value {
    world::choose_tls();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let began = clock.now();
    let (mut sights, mut own) = (Sights::new(), BTreeSet::new());
    let (mut resolved, mut trouble) = (BTreeMap::new(), BTreeMap::new());
    let addresses = Machine.addresses().unwrap_or_default();
    let tasks: Vec<_> = world::accounts(settings, &clock)
        .into_iter()
        .map(|(name, line)| {
            let groups: Vec<Group> =
                settings.groups.values().filter(|group| group.account == name).cloned().collect();
            let addresses = addresses.clone();
            tokio::spawn(async move {
                let listed = survey(&line, &groups).await;
                let own = line.cloud.at_addresses(&addresses).await.result.unwrap_or_default();
                (name, groups, listed, own)
            })
        })
        .collect();
    for task in tasks {
        let Ok((account, groups, listed, own_numbers)) = task.await else { continue };
        own.extend(own_numbers.into_iter().map(|no| ServerId { account: account.clone(), no }));
        let inventory = match listed {
            Ok(inventory) => inventory,
            Err(problem) => {
                trouble.insert(account, problem);
                continue;
            }
        };
        for group in &groups {
            let members = match members(group, &inventory.servers, &inventory.tagged) {
                Ok(members) => members,
                Err(reason) => {
                    trouble.insert(account.clone(), reason.to_string());
                    continue;
                }
            };
            for server in &members {
                sights.insert(server.clone(), (Sight { began, found: Found::Absent }, None));
            }
            resolved.insert(group.name.clone(), Resolved { began, members });
        }
        for server in inventory.servers {
            let sight = Sight { began, found: Found::Server(server.condition) };
            let id = ServerId { account: account.clone(), no: server.no };
            sights.insert(id, (sight, Some(server.traits)));
        }
    }
    let roster = Roster::new(&settings.groups, &resolved);
    let is_own = |server: &ServerId| settings.limits.own.is_none() && own.contains(server);
    // Only the daemon knows what it left running.
    let left_running = BTreeMap::new();
    let census = Census {
        settings,
        roster: &roster,
        sights: &sights,
        is_own: &is_own,
        left_running: &left_running,
        trouble: &trouble,
    };
    census.json(clock.now())
}

/// Lists as much of an account as its groups need.
async fn survey(line: &AccountLine, groups: &[Group]) -> Result<Inventory, String> {
    let mut scope: Option<Scope> = None;
    for group in groups {
        // Numbers may lie anywhere, so they are looked up in a list of everything.
        let own =
            if group.servers.is_empty() { scope_of(group) } else { Scope { vpcs: None, ..scope_of(group) } };
        Scope::join(&mut scope, own);
    }
    let Some(scope) = scope else { return Ok(Inventory::default()) };
    line.cloud.list(&scope, ATTEMPT_LIMIT).await.result.map_err(|error| error.reason.to_string())
}

fn print(group: &Value) {
    let after: Vec<&str> = list(group, "after").iter().filter_map(Value::as_str).collect();
    let after = if after.is_empty() { String::new() } else { format!(", after {}", after.join(", ")) };
    let servers: Vec<&Value> = list(group, "servers").iter().collect();
    let name = text(group, "group");
    if group.get("known") == Some(&Value::Bool(false)) {
        let why = text(group, "trouble");
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        show::line(&format!(
            "{name} (account {}{after}): its servers are not known{why}",
            text(group, "account")
        ));
        return;
    }
    let count = show::count(servers.len(), "server");
    show::line(&format!("{name} (account {}{after}): {count}", text(group, "account")));
    if servers.is_empty() {
        show::word(&format!("warning: group {name} matches no server; mend its selector"));
    }
    for server in servers {
        let state = if text(server, "state").is_empty() { "not seen" } else { text(server, "state") };
        let mut notes: Vec<String> = Vec::new();
        let (start, stop) = (text(server, "never_started"), text(server, "never_stopped"));
        if !start.is_empty() {
            notes.push(format!("never started nor stopped: {start}"));
        } else if !stop.is_empty() {
            notes.push(format!("never stopped: {stop}"));
        }
        notes.extend(Some(text(server, "billing")).filter(|note| !note.is_empty()).map(ToOwned::to_owned));
        let notes = if notes.is_empty() { String::new() } else { format!("  {}", notes.join("; ")) };
        let line = format!(
            "  {}  {}  {}{notes}",
            show::padded(text(server, "server"), 10),
            show::padded(text(server, "name"), 24),
            show::padded(state, 12)
        );
        show::line(line.trim_end());
    }
}
