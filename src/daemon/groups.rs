//! What each group holds now, with states, and what is odd about it: for people and programs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::book::Book;
use super::view::{moment, zone_of};
use crate::domain::billing;
use crate::domain::group::{Exclusion, Group};
use crate::domain::guard::{Naming, Subject, glob_matches};
use crate::domain::name::{AccountName, Action, ServerId, ServerNo};
use crate::domain::order::Order;
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::roster::Roster;
use crate::domain::server::{Found, Sight, Traits};
use crate::planted::{Bug, is_planted};
use crate::settings::Settings;

/// The newest sight of each server, with what lists tell of it.
pub type Sights = BTreeMap<ServerId, (Sight, Option<Traits>)>;

/// All that is known of groups and servers at a moment.
#[derive(Clone, Copy)]
pub struct Census<'a> {
    /// The configuration.
    pub settings: &'a Settings,
    /// Who belongs where.
    pub roster: &'a Roster,
    /// How servers stand.
    pub sights: &'a Sights,
    /// Whether the program itself runs on a server.
    pub is_own: &'a dyn Fn(&ServerId) -> bool,
    /// The servers that the last deed for them left running, and when they were seen so.
    pub left_running: &'a BTreeMap<ServerId, Timestamp>,
    /// Why an account could not be asked, where it could not.
    pub trouble: &'a BTreeMap<AccountName, String>,
}

/// Why the server on which the program runs is left alone.
pub(super) fn own_server() -> Reason {
    Reason::new(ReasonKind::Protected, "sunup itself runs on this server, as its address says")
}

/// The identity of a server as [`Census::json`] shows it.
#[must_use]
pub fn shown_id(server: &Value) -> Option<ServerId> {
    let text = |field: &str| server.get(field).and_then(Value::as_str);
    let account = AccountName::new(text("account")?).ok()?;
    Some(ServerId { account, no: ServerNo::from_answer(text("server")?)? })
}

impl Census<'_> {
    /// Why an action must not touch a server.
    #[must_use]
    pub fn forbidden(&self, action: Action, server: &ServerId) -> Option<Reason> {
        let by_pattern = || {
            let groups = self.roster.groups_of(server);
            self.settings
                .limits
                .forbid(action, &Subject { no: &server.no, name: self.naming(server), groups })
        };
        let own = || (action == Action::Stop && (self.is_own)(server)).then(own_server);
        let has_patterns = self.settings.limits.has_patterns(action);
        has_patterns.then(by_pattern).flatten().or_else(own)
    }

    fn naming(&self, server: &ServerId) -> Naming<'_> {
        match self.sights.get(server) {
            Some((_, Some(Traits { name: Some(name), .. }))) => Naming::Named(name),
            Some((_, Some(_))) => Naming::Nameless,
            Some((_, None)) | None => Naming::NotYetSeen,
        }
    }

    /// The whole of it, as `groups --json` shows it.
    #[must_use]
    pub fn json(&self, now: Timestamp) -> Value {
        let zone = zone_of(Some(self.settings), None);
        let groups: Vec<Value> = self.settings.groups.values().map(|group| self.group(group)).collect();
        json!({ "at": moment(now, &zone), "groups": groups, "warnings": self.warnings() })
    }

    fn group(&self, group: &Group) -> Value {
        let mut members: Vec<&ServerId> = self.roster.members(&group.name).collect();
        members.sort_by_key(|server| (server.no.as_str().len(), *server));
        let servers: Vec<Value> = members.into_iter().map(|server| self.server(server)).collect();
        json!({
            "group": group.name.as_str(),
            "account": group.account.as_str(),
            "after": group.after.iter().map(|group| group.as_str()).collect::<Vec<_>>(),
            "known": self.roster.is_known(&group.name),
            "trouble": self.trouble.get(&group.account),
            "servers": servers,
        })
    }

    fn server(&self, server: &ServerId) -> Value {
        let zone = zone_of(Some(self.settings), None);
        let (sight, traits) = match self.sights.get(server) {
            Some((sight, traits)) => (Some(sight), traits.as_ref()),
            None => (None, None),
        };
        let state = sight.map(|sight| match &sight.found {
            Found::Server(condition) => condition.to_string(),
            Found::Absent => "gone".to_owned(),
        });
        let left = self
            .left_running
            .get(server)
            .filter(|left| sight.is_some_and(|sight| sight.shows_stopped_since(**left)));
        json!({
            "server": server.no.as_str(),
            "account": server.account.as_str(),
            "name": traits.and_then(|traits| traits.name.as_deref()),
            "state": state,
            "seen_at": sight.map(|sight| moment(sight.began, &zone)),
            "never_started": self.forbidden(Action::Start, server).map(|reason| reason.text),
            "never_stopped": self.forbidden(Action::Stop, server).map(|reason| reason.text),
            "stopped_by_hand_since": left.map(|left| moment(*left, &zone)),
            "billing": billing::warning(traits),
        })
    }

    /// Exclusions of a group that take nobody out of its account.
    fn idle_exclusions(&self, group: &Group) -> Vec<String> {
        let servers = || self.sights.iter().filter(|(server, _)| server.account == group.account);
        let is_idle = |out: &&Exclusion| match out {
            Exclusion::Number(no) => !servers().any(|(server, _)| server.no == *no),
            Exclusion::Name(glob) => {
                let name = |traits: &Option<Traits>| traits.as_ref().and_then(|traits| traits.name.clone());
                !servers().any(|(_, (_, traits))| name(traits).is_some_and(|name| glob_matches(glob, &name)))
            }
        };
        let idle = group.exclude.iter().filter(is_idle).map(|out| match out {
            Exclusion::Number(no) => no.to_string(),
            Exclusion::Name(glob) => glob.clone(),
        });
        idle.map(|word| {
            format!("`exclude` of group {} holds `{word}`, which matches no server that was seen: check its spelling", group.name)
        })
        .collect()
    }

    /// What is odd about groups and limits, now that servers are known.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Order::new(&self.settings.groups, self.roster).contradictions(self.roster);
        let all_known = self.settings.groups.keys().all(|group| self.roster.is_known(group));
        if !self.trouble.is_empty() || !all_known {
            // What was not seen cannot be told from what is not there.
            return warnings;
        }
        warnings.extend(self.settings.groups.values().flat_map(|group| self.idle_exclusions(group)));
        let limits = &self.settings.limits;
        let own = limits.own.as_deref().unwrap_or_default();
        let lists: [(&str, &[_]); 3] =
            [("protect", &limits.protect), ("never_stop", &limits.never_stop), ("self", own)];
        for (key, patterns) in lists {
            for pattern in patterns {
                let matches = |server: &ServerId| {
                    let groups = self.roster.groups_of(server);
                    let name = match self.naming(server) {
                        Naming::Nameless => Naming::NotYetSeen,
                        named => named,
                    };
                    pattern.matches(&Subject { no: &server.no, name, groups })
                };
                if !self.sights.keys().chain(self.roster.servers()).any(matches) {
                    warnings.push(format!(
                        "`limits.{key}` holds `{}`, which matches no server that was seen: check its spelling",
                        pattern.words()
                    ));
                }
            }
        }
        warnings
    }
}

impl Book {
    /// Why an action must not touch a server.
    pub(super) fn forbidden(&self, action: Action, server: &ServerId) -> Option<Reason> {
        if is_planted(Bug::GuardIgnored) {
            return None;
        }
        let trouble = BTreeMap::new();
        self.census(&|server| self.is_own(server), &trouble).forbidden(action, server)
    }

    /// What each group holds, with states.
    pub(super) fn groups_json(&self, now: Timestamp) -> Value {
        let told = |(name, account): (&AccountName, &super::account::AccountState)| {
            Some((name.clone(), account.told.as_ref()?.0.to_string()))
        };
        let trouble = self.accounts.iter().filter_map(told).collect();
        self.census(&|server| self.is_own(server), &trouble).json(now)
    }

    fn census<'a>(
        &'a self,
        is_own: &'a dyn Fn(&ServerId) -> bool,
        trouble: &'a BTreeMap<AccountName, String>,
    ) -> Census<'a> {
        Census {
            settings: self.settings.as_ref(),
            roster: &self.roster,
            sights: &self.sights,
            is_own,
            left_running: &self.left_running,
            trouble,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::daemon::scene::{self, at, resolve, server, sight};

    #[test]
    fn groups_show_their_servers_in_order_and_warn_only_once_all_is_known() {
        let mut book = scene::book("[limits]\nprotect = [\"nobody-*\"]\n");
        book.sights.insert(server("1001"), (sight(at("08:00:00"), "RUN", "NULL"), None));
        let before = book.groups_json(at("08:00:01"));
        resolve(&mut book, "web", at("08:00:00"), &["10001", "999"]);

        let json = book.groups_json(at("08:00:01"));

        let of = |name: &str| {
            let groups = json["groups"].as_array().unwrap();
            let group = groups.iter().find(|group| group["group"] == name).unwrap();
            let servers = group["servers"].as_array().unwrap().iter();
            servers.map(|server| server["server"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((of("web"), of("db").len()), (vec!["999".into(), "10001".into()], 3));
        assert_eq!(before["warnings"].as_array().unwrap().len(), 0, "web is not known yet");
        let warnings = json["warnings"].to_string();
        assert!(warnings.contains("nobody-*"), "{warnings}");
    }
}
