//! `start --dry-run` and `stop --dry-run`: what would be done, as the cloud tells it now.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::exit::Exit;
use super::value::{list, text};
use super::{Common, groups, load, show};
use crate::daemon::control::{RunRequest, person_run};
use crate::daemon::groups::shown_id;
use crate::domain::name::{Action, GroupName, ServerId};
use crate::domain::order::{Need, Order};
use crate::domain::server::{Condition, Standing};
use crate::ports::store::Waiver;

/// One server of the command.
struct Line {
    name: String,
    state: String,
    /// Whether it is where the command leads already.
    is_there: bool,
    billing: String,
    /// Why it would be left alone.
    skipped: Option<String>,
    /// What it would wait for.
    waits: Option<String>,
}

/// Shows what a command would do. Asks the daemon, or the cloud where there is none; changes nothing.
pub(super) async fn run(common: &Common, request: &RunRequest) -> anyhow::Result<Exit> {
    let settings = load::in_force(common)?;
    let report = groups::now(common, &settings).await?;
    let run = person_run(request, &settings, &report).map_err(|words| Exit::Usage.with(words))?;
    let waives = |what: Waiver| request.waive.iter().any(|word| word == what.word());
    let order = Order::new(&settings.groups, &settings.roster());
    let wanted = match request.with_dependencies {
        true => order.with_needs(&run.groups, run.action),
        false => run.groups.clone(),
    };
    let mut found: BTreeMap<ServerId, (Value, BTreeSet<GroupName>)> = BTreeMap::new();
    for (group, server) in members(&report) {
        let Some(id) = shown_id(server) else { continue };
        let is_meant = wanted.contains(&group) || run.servers.contains(&id) || found.contains_key(&id);
        if is_meant {
            found.entry(id).or_insert_with(|| (server.clone(), BTreeSet::new())).1.insert(group);
        }
    }
    let unknown = unknown_groups(&report, &wanted);
    for server in &run.servers {
        found.entry(server.clone()).or_insert_with(|| (Value::Null, BTreeSet::new()));
    }
    let too_many = settings.limits.forbid_size(found.len()).filter(|_| !waives(Waiver::Limits));
    let never = |server: &Value| match run.action {
        Action::Start => text(server, "never_started").to_owned(),
        Action::Stop => text(server, "never_stopped").to_owned(),
    };
    // What is left alone stays as it is.
    let goes = |(_, (server, _)): &(&ServerId, &(Value, BTreeSet<GroupName>))| never(server).is_empty();
    let going: BTreeSet<ServerId> = found.iter().filter(goes).map(|(id, _)| id.clone()).collect();
    for (id, (server, groups)) in &found {
        let field = |field: &str| text(server, field).to_owned();
        let never = never(server);
        let limit = too_many.as_ref().map(|reason| reason.text.clone());
        let mut line = Line {
            name: field("name"),
            state: field("state"),
            is_there: condition(server)
                .is_some_and(|condition| condition.standing(run.action) == Standing::Goal),
            billing: field("billing"),
            skipped: limit.or(Some(never).filter(|never| !never.is_empty())),
            waits: None,
        };
        let groups: Vec<GroupName> = groups.iter().cloned().collect();
        let needs = order.needs(&groups, run.action);
        match run.action {
            Action::Stop if waives(Waiver::Dependents) => {}
            Action::Stop => {
                let needed = needs.iter().find_map(|need| still_up(&report, need, &going));
                line.skipped = line.skipped.or(needed);
            }
            Action::Start => line.waits = needs.iter().find_map(|need| not_up(&report, need, &wanted)),
        }
        line.print(common, run.action, id);
    }
    Ok(if unknown { Exit::Unavailable } else { Exit::Done })
}

/// Each member of each group, as the report has it.
fn members(report: &Value) -> impl Iterator<Item = (GroupName, &Value)> {
    list(report, "groups").iter().flat_map(|group| {
        let name = GroupName::new(text(group, "group")).ok();
        list(group, "servers").iter().filter_map(move |server| Some((name.clone()?, server)))
    })
}

/// Tells of groups that could not be read, or that have no server. Whether there is one that could not be read.
fn unknown_groups(report: &Value, wanted: &[GroupName]) -> bool {
    let mut unknown = false;
    for group in list(report, "groups") {
        let name = text(group, "group");
        if !wanted.iter().any(|wanted| wanted.as_str() == name) {
            continue;
        }
        let trouble = text(group, "trouble");
        let is_known = group.get("known") != Some(&Value::Bool(false));
        if !is_known || !trouble.is_empty() {
            unknown = true;
            let why = if trouble.is_empty() { "no list could be read" } else { trouble };
            show::word(&format!("the servers of group {name} are not known now: {why}"));
        } else if list(group, "servers").iter().next().is_none() {
            show::word(&format!(
                "warning: group {name} matches no server now, so nothing would be done for it"
            ));
        }
    }
    unknown
}

fn is_known(report: &Value, name: &GroupName) -> bool {
    let group = list(report, "groups").iter().find(|group| text(group, "group") == name.as_str());
    group.is_some_and(|group| group.get("known") != Some(&Value::Bool(false)))
}

fn condition(server: &Value) -> Option<Condition> {
    let (status, operation) = text(server, "state").split_once('/')?;
    Some(Condition::from_codes(status, operation))
}

/// Why a stop would be refused: a server that needs the group is up and is not stopped along.
fn still_up(report: &Value, need: &Need, going: &BTreeSet<ServerId>) -> Option<String> {
    if !is_known(report, &need.on) {
        return Some(format!(
            "which servers group {} has is not known now, and they need group {}",
            need.on, need.by
        ));
    }
    let (_, server) = members(report).filter(|(group, _)| *group == need.on).find(|(_, server)| {
        let is_up = condition(server).is_some_and(|condition| !condition.is_down());
        is_up && shown_id(server).is_some_and(|id| !going.contains(&id))
    })?;
    let (no, name) = (text(server, "server"), text(server, "name"));
    let shown = if name.is_empty() { no.to_owned() } else { format!("{no} ({name})") };
    Some(format!(
        "server {shown} of group {} is up and needs group {}; --with-dependencies stops it too, --ignore-dependents does not mind it",
        need.on, need.by
    ))
}

/// What a start would wait for.
fn not_up(report: &Value, need: &Need, wanted: &[GroupName]) -> Option<String> {
    if wanted.contains(&need.on) {
        return Some(format!("group {} to be up first", need.on));
    }
    let is_down = |(group, server): &(GroupName, &Value)| {
        let is_up =
            condition(server).is_some_and(|condition| condition.standing(Action::Start) == Standing::Goal);
        *group == need.on && !is_up
    };
    if !is_known(report, &need.on) || !members(report).any(|(group, _)| group == need.on) {
        return Some(format!("group {} to be up first, of which no server is known", need.on));
    }
    members(report).any(|member| is_down(&member)).then(|| {
        format!("group {} to be up first, which this does not start: --with-dependencies would", need.on)
    })
}

impl Line {
    fn print(&self, common: &Common, action: Action, server: &ServerId) {
        let (account, no) = (server.account.as_str(), server.no.as_str());
        let is_there = self.is_there;
        if common.json {
            let null_if_empty = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let line = json!({"server": no, "account": account, "name": null_if_empty(&self.name),
                "state": null_if_empty(&self.state), "action": action.word(), "forbidden": self.skipped,
                "waits": self.waits, "already": is_there});
            return show::line(&line.to_string());
        }
        let shown = if self.name.is_empty() { no.to_owned() } else { format!("{no} ({})", self.name) };
        let seen = match self.state.as_str() {
            "" => "in no group, so its state was not looked at".to_owned(),
            state => format!("now {state}"),
        };
        match (&self.skipped, &self.waits) {
            (Some(why), _) => show::line(&format!("would skip server {shown}: {why}")),
            (None, _) if is_there => {
                let goal = if action == Action::Start { "running" } else { "stopped" };
                show::line(&format!("would do nothing for server {shown}: it is {goal} already"));
            }
            (None, Some(waits)) => {
                show::line(&format!(
                    "would {action} server {shown} of account {account}, {seen}, after waiting for {waits}"
                ));
            }
            (None, None) => {
                show::line(&format!("would {action} server {shown} of account {account}, {seen}"));
            }
        }
        if action == Action::Stop && !self.billing.is_empty() && self.skipped.is_none() {
            show::word(&format!("warning: server {shown}: {}", self.billing));
        }
    }
}
