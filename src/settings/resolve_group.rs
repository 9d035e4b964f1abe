//! From raw groups and limits to values that make sense.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::LIMIT_DEFAULT;
use super::diagnostics::Problem;
use super::raw::{self, At};
use super::resolve::{Resolver, remedy_for};
use crate::domain::group::{
    AfterFailure, Exclusion, Group, Growth, READY_WITHIN_DEFAULT, Ready, Selector, Tag,
};
use crate::domain::guard::{Limits, Pattern};
use crate::domain::name::{AccountName, GroupName, ServerNo};
use crate::domain::order;
use crate::domain::probe::Probe;

/// The most servers that a count within a group may name.
const COUNT_MAX: usize = 100_000;
/// The longest pause between two servers of a group.
const STAGGER_MAX: Duration = Duration::from_mins(10);

impl Resolver<'_> {
    /// All groups. Those that wait for each other are told, and wait for nobody from then on.
    pub(super) fn groups(
        &mut self,
        raw: Vec<(At<String>, raw::Group)>,
        accounts: &BTreeSet<String>,
        names: &BTreeSet<String>,
    ) -> BTreeMap<GroupName, Group> {
        let mut groups = BTreeMap::new();
        let mut places: Vec<(GroupName, At<String>)> = Vec::new();
        let mut idle_probes: Vec<(GroupName, At<raw::Probe>)> = Vec::new();
        for (name, mut raw) in raw {
            let after = std::mem::take(&mut raw.after);
            let ready =
                raw.ready.as_ref().map(|ready| At { value: raw::Probe::default(), span: ready.span.clone() });
            let Some(mut group) = self.group(&name, raw, accounts) else {
                self.after(&name, &after, names);
                continue;
            };
            group.after = self.after(&name, &after, names);
            places.extend(after.into_iter().map(|place| (group.name.clone(), place)));
            idle_probes.extend(ready.map(|ready| (group.name.clone(), ready)));
            groups.insert(group.name.clone(), group);
        }
        self.cycles(&mut groups, &places);
        for (name, place) in idle_probes {
            if !groups.values().any(|group| group.after.contains(&name)) {
                let title = format!("`ready` of group `{name}` is asked by nobody");
                let remedy =
                    format!("add `after = [\"{name}\"]` to the groups that are to wait for it, or remove it");
                self.problems.push(Problem::warning(
                    place.span,
                    title,
                    "no group comes after this one",
                    remedy,
                ));
            }
        }
        groups
    }

    fn group(&mut self, name: &At<String>, raw: raw::Group, accounts: &BTreeSet<String>) -> Option<Group> {
        let group_name = self.name("a group", name, GroupName::new);
        let account = self.account_of(name, raw.account, accounts);
        let (exclude, numbers) = (self.exclusions(raw.exclude), raw.servers.unwrap_or_default());
        let terms = [&raw.vpc, &raw.subnet, &raw.zone, &raw.name, &raw.spec, &raw.hypervisor, &raw.tag];
        let is_selective = terms.iter().any(|term| !term.is_empty());
        let selector = is_selective.then(|| Selector {
            vpc: self.exact("vpc", raw.vpc),
            subnet: self.exact("subnet", raw.subnet),
            zone: self.exact("zone", raw.zone),
            name: self.filled("name", raw.name),
            spec: self.exact("spec", raw.spec),
            hypervisor: self.hypervisors(raw.hypervisor),
            tag: self.tags(raw.tag),
        });
        let servers = self.numbers(name, numbers, is_selective, &exclude);
        let second = Duration::from_secs(1);
        let boot_within = self.duration(raw.boot_within, second, LIMIT_DEFAULT);
        let stop_within = self.duration(raw.stop_within, second, LIMIT_DEFAULT);
        let after_failures = [("skip", AfterFailure::Skip), ("continue", AfterFailure::Continue)];
        let after_failure = raw.after_failure.as_ref().and_then(|word| self.choice(word, &after_failures));
        let ready = raw.ready.and_then(|ready| self.ready(ready));
        let busy = raw.busy.and_then(|busy| self.busy(busy));
        let any = raw.any.map(|any| self.enough(any, servers.as_ref().filter(|_| !is_selective)));
        let canary = raw.canary.filter(|canary| canary.value != 0);
        let canary = canary.map_or(0, |canary| self.count("canary", Some(canary), COUNT_MAX, 0));
        let failures =
            raw.stop_after_failures.map(|most| self.count("stop_after_failures", Some(most), COUNT_MAX, 1));
        let stagger = self.between(raw.stagger, Duration::ZERO, STAGGER_MAX, Duration::ZERO);
        Some(Group {
            name: group_name?,
            account: account?,
            servers: servers?,
            selector,
            exclude,
            after: Vec::new(),
            after_failure: after_failure.unwrap_or_default(),
            ready,
            busy,
            boot_within,
            stop_within,
            stagger,
            any,
            canary,
            stop_after_failures: failures,
            on_growth: raw.on_growth.and_then(|growth| self.growth(&growth)),
        })
    }

    fn after(&mut self, name: &At<String>, after: &[At<String>], names: &BTreeSet<String>) -> Vec<GroupName> {
        let mut found: Vec<GroupName> = Vec::new();
        for group in after {
            if !names.contains(&group.value) {
                let others = names.iter().map(String::as_str).filter(|known| *known != name.value);
                let known: Vec<&str> = others.collect();
                let remedy = remedy_for(&group.value, &known, "group");
                self.error(group, format!("unknown group `{}`", group.value), "no such group", &remedy);
            } else if let Ok(on) = GroupName::new(&group.value)
                && !found.contains(&on)
            {
                found.push(on);
            }
        }
        found
    }

    /// Each cycle is told once, at an `after` of it, and taken apart so that the rest can be read.
    fn cycles(&mut self, groups: &mut BTreeMap<GroupName, Group>, places: &[(GroupName, At<String>)]) {
        loop {
            let after = groups.iter().map(|(name, group)| (name.clone(), group.after.clone())).collect();
            let Some(found) = order::cycle(&after) else { return };
            let way: Vec<String> = found.iter().map(|group| format!("`{group}`")).collect();
            let first = found.first().zip(found.get(1));
            let place = places
                .iter()
                .find(|(group, on)| first.is_some_and(|(by, to)| group == by && on.value == to.as_str()));
            let title = format!("groups wait for each other: {}", way.join(" → "));
            let span = place.map_or(0..0, |(_, place)| place.span.clone());
            let cause = "none of them could ever be started";
            self.problems.push(Problem::error(span, title, cause, "remove one `after` of this circle"));
            if let Some((by, _)) = first
                && let Some(group) = groups.get_mut(by)
            {
                group.after.clear();
            }
        }
    }

    fn account_of(
        &mut self,
        group: &At<String>,
        account: Option<At<String>>,
        accounts: &BTreeSet<String>,
    ) -> Option<AccountName> {
        let known: Vec<&str> = accounts.iter().map(String::as_str).collect();
        match account {
            Some(account) => {
                let found = accounts.contains(&account.value);
                if !found {
                    let remedy = remedy_for(&account.value, &known, "account");
                    self.error(
                        &account,
                        format!("unknown account `{}`", account.value),
                        "no such account",
                        &remedy,
                    );
                }
                AccountName::new(&account.value).ok().filter(|_| found)
            }
            None => match known.as_slice() {
                // A bad account is told where it stands, not again at each of its groups.
                [only] => AccountName::new(only).ok(),
                [] => {
                    let title = format!("group `{}` has no account", group.value);
                    self.error(
                        group,
                        title,
                        "the file has no account",
                        "add `[accounts.main]` with its region and keys",
                    );
                    None
                }
                _ => {
                    let title = format!("group `{}` does not say which account it belongs to", group.value);
                    let remedy = format!("add `account = \"NAME\"`, one of `{}`", known.join("`, `"));
                    self.error(group, title, "there are several accounts", &remedy);
                    None
                }
            },
        }
    }

    /// The numbers listed. A group without numbers must have a selector.
    fn numbers(
        &mut self,
        group: &At<String>,
        servers: Vec<At<String>>,
        is_selective: bool,
        exclude: &[Exclusion],
    ) -> Option<Vec<ServerNo>> {
        let (mut found, mut is_bad): (Vec<ServerNo>, bool) = (Vec::new(), false);
        for server in servers {
            match ServerNo::parse(&server.value) {
                None => {
                    is_bad = true;
                    let title = format!("`{}` is no server instance number", server.value);
                    self.error(
                        &server,
                        title,
                        "not a number",
                        "write the digits of `serverInstanceNo`, such as \"1001\"; names go into `name`",
                    );
                }
                Some(no) if found.contains(&no) => {
                    let title = format!("server {no} stands twice in group `{}`", group.value);
                    self.problems.push(Problem::warning(
                        server.span,
                        title,
                        "again here",
                        "remove one of them",
                    ));
                }
                Some(no) => found.push(no),
            }
        }
        found.retain(|no| !exclude.contains(&Exclusion::Number(no.clone())));
        // A list that was left empty is told where it stands.
        let about = format!("of group `{}`", group.value);
        let is_told = self.problems.iter().any(|problem| problem.title.contains(&about));
        if found.is_empty() && !is_selective && !is_bad && !is_told {
            let title = format!("group `{}` has no server", group.value);
            let remedy = "add `servers = [\"1001\"]` with server instance numbers, or choose them by `vpc`, `name`, `zone`, \
                          `subnet`, `spec`, `hypervisor` or `tag`";
            self.error(group, title, "an empty group does nothing", remedy);
            return None;
        }
        Some(found)
    }

    fn exclusions(&mut self, raw: Vec<At<String>>) -> Vec<Exclusion> {
        for word in &raw {
            self.no_server_has(word);
        }
        let read = |text: String| match ServerNo::parse(&text) {
            Some(no) => Exclusion::Number(no),
            None => Exclusion::Name(text),
        };
        self.filled("exclude", raw).into_iter().map(read).collect()
    }

    /// Refuses a pattern that can be no server's number or name: whoever wrote it believes that it protects something.
    fn no_server_has(&mut self, pattern: &At<String>) {
        if pattern.value.contains(['/', ':', ' ']) {
            let title = format!("`{}` can be no server", pattern.value);
            let remedy = "write a number or a name alone; `group:NAME`, in small letters, stands in `protect`, `never_stop` and `self`";
            self.error(pattern, title, "no number and no name has such characters", remedy);
        }
    }

    /// The words of a term; an empty one would match nothing.
    fn filled(&mut self, key: &str, raw: Vec<At<String>>) -> Vec<String> {
        let mut found = Vec::new();
        for word in raw {
            if word.value.trim().is_empty() {
                let title = format!("`{key}` has an empty word");
                self.error(&word, title, "it matches nothing", "write a word, or remove it");
            }
            found.push(word.value);
        }
        found
    }

    /// The words of a term that takes no patterns.
    fn exact(&mut self, key: &str, raw: Vec<At<String>>) -> Vec<String> {
        for word in raw.iter().filter(|word| word.value.contains(['*', '?'])) {
            let title = format!("`{key}` takes no pattern");
            let remedy = "write it in full; patterns go with `name`";
            self.error(word, title, "`*` and `?` are no part of such a code", remedy);
        }
        self.filled(key, raw)
    }

    fn hypervisors(&mut self, raw: Vec<At<String>>) -> Vec<String> {
        for word in raw.iter().filter(|word| !["XEN", "KVM", "RHV"].contains(&word.value.as_str())) {
            let title = format!("`{}` is no hypervisor that is known", word.value);
            let problem = Problem::warning(
                word.span.clone(),
                title,
                "it may match nothing",
                "write \"KVM\" or \"XEN\"",
            );
            self.problems.push(problem);
        }
        self.exact("hypervisor", raw)
    }

    fn tags(&mut self, raw: Vec<At<String>>) -> Vec<Tag> {
        let mut found = Vec::new();
        for word in raw {
            let tag = Tag::parse(&word.value);
            if tag.is_none() {
                let title = format!("`{}` is no tag", word.value);
                let remedy =
                    "write `key=value`, or the key alone for any value: at most 128 and 256 characters";
                self.error(&word, title, "not understood", remedy);
            }
            found.extend(tag);
        }
        found
    }

    fn ready(&mut self, raw: At<raw::Probe>) -> Option<Ready> {
        let within = raw.value.within.clone();
        let within = self.duration(within, Duration::from_secs(1), READY_WITHIN_DEFAULT);
        Some(Ready { probe: self.probe("ready", raw)?, within })
    }

    fn busy(&mut self, raw: At<raw::Probe>) -> Option<Probe> {
        if let Some(within) = &raw.value.within {
            let title = "`busy` has no `within`".to_owned();
            let cause = "a busy server is left alone until the window ends";
            self.error(within, title, cause, "remove it; `stop_window` of the rule says how long");
        }
        self.probe("busy", raw)
    }

    fn probe(&mut self, key: &str, raw: At<raw::Probe>) -> Option<Probe> {
        let At { value: raw, span } = raw;
        match (raw.tcp, raw.http) {
            (Some(address), None) => {
                if let Some(status) = raw.status {
                    let title = format!("`{key}` has `tcp` and `status`");
                    self.error(&status, title, "a TCP connection has no status", "remove `status`");
                }
                if !is_address(&address.value) {
                    let title = format!("`{}` is no address", address.value);
                    let remedy = "write `host:port`, such as \"10.0.0.5:5432\" or \"{name}.internal:22\"";
                    let cause = "host and port are needed, the port from 1 to 65535; only `{name}` and `{no}` stand for the server";
                    self.error(&address, title, cause, remedy);
                    return None;
                }
                Some(Probe::Tcp(address.value))
            }
            (None, Some(url)) => {
                let status = match raw.status {
                    Some(status) => self.status(&status),
                    None => 200,
                };
                if let Err((title, cause)) = checked_probe_url(&url.value) {
                    let remedy = "write a URL such as \"http://{name}.internal/health\"";
                    self.error(&url, title, cause, remedy);
                    return None;
                }
                Some(Probe::Http { url: url.value, status })
            }
            _ => {
                let title = format!("`{key}` does not say what to ask");
                let remedy = "write `{ tcp = \"host:port\" }` or `{ http = \"url\", status = 200 }`";
                self.problems.push(Problem::error(span, title, "just one of `tcp` and `http`", remedy));
                None
            }
        }
    }

    fn status(&mut self, status: &At<i64>) -> u16 {
        let found = u16::try_from(status.value).ok().filter(|status| (100..=599).contains(status));
        found.unwrap_or_else(|| {
            let title = format!("{} is no HTTP status", status.value);
            self.error(status, title, "out of range", "write a number from 100 to 599");
            200
        })
    }

    /// How many servers are enough: not more than a group of numbers has.
    fn enough(&mut self, any: At<i64>, numbers: Option<&Vec<ServerNo>>) -> usize {
        let most = numbers.map_or(COUNT_MAX, Vec::len).max(1);
        if let Some(has) =
            numbers.map(Vec::len).filter(|has| usize::try_from(any.value).is_ok_and(|any| any > *has))
        {
            let title = format!("`any` is {} and the group has {has} servers", any.value);
            self.error(&any, title, "so many can never run", &format!("write a number from 1 to {most}"));
            return 1;
        }
        self.count("any", Some(any), most, 1)
    }

    fn growth(&mut self, growth: &At<f64>) -> Option<Growth> {
        let hundredths = (growth.value * 100.0).round();
        if !(100.0..=10_000.0).contains(&hundredths) {
            let title = format!("`on_growth` is {}", growth.value);
            self.error(growth, title, "out of range", "write a factor from 1 to 100, such as 1.5");
            return None;
        }
        // Checked to be a whole number in range, and text is the one conversion that cannot cut anything off.
        format!("{hundredths:.0}").parse().ok().map(|hundredths| Growth { hundredths })
    }

    pub(super) fn limits(&mut self, raw: raw::Limits, groups: &BTreeSet<String>) -> Limits {
        let default = Limits::default();
        Limits {
            servers_per_run: self.count(
                "servers_per_run",
                raw.servers_per_run,
                100_000,
                default.servers_per_run,
            ),
            requests_per_hour: self.count(
                "requests_per_hour",
                raw.requests_per_hour,
                100_000,
                default.requests_per_hour,
            ),
            protect: self.patterns(raw.protect, groups),
            never_stop: self.patterns(raw.never_stop, groups),
            own: raw.own.map(|own| self.patterns(own, groups)),
        }
    }

    fn patterns(&mut self, patterns: Vec<At<String>>, groups: &BTreeSet<String>) -> Vec<Pattern> {
        let read = |pattern: At<String>| {
            if pattern.value.is_empty() {
                self.error(
                    &pattern,
                    "an empty pattern".into(),
                    "it matches nothing",
                    "write a number, a name or `group:NAME`",
                );
                return None;
            }
            if let Some(group) = pattern.value.strip_prefix("group:") {
                if !groups.contains(group) {
                    let known: Vec<&str> = groups.iter().map(String::as_str).collect();
                    let remedy = remedy_for(group, &known, "group");
                    self.error(&pattern, format!("unknown group `{group}`"), "no such group", &remedy);
                }
                return GroupName::new(group).ok().map(Pattern::Group);
            }
            self.no_server_has(&pattern);
            Some(match ServerNo::parse(&pattern.value) {
                Some(no) => Pattern::Number(no),
                None => Pattern::Name(pattern.value),
            })
        };
        patterns.into_iter().filter_map(read).collect()
    }
}

/// Whether a text is `host:port`, with braces allowed in the host.
fn is_address(text: &str) -> bool {
    let filled = text.replace("{name}", "n").replace("{no}", "1");
    let Some((host, port)) = filled.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bare {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    };
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Checks the URL of a probe: it is sent without secrets, so none may stand in it.
fn checked_probe_url(url: &str) -> Result<(), (String, &'static str)> {
    let filled = url.replace("{name}", "n").replace("{no}", "1");
    let authority = filled.split('/').nth(2).unwrap_or_default();
    if authority.contains('@') {
        let title = "a probe's URL cannot hold a user name or a password".to_owned();
        return Err((title, "this file holds no secrets"));
    }
    let parsed: Result<hyper::Uri, _> = filled.parse();
    let is_http =
        |uri: &hyper::Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    match parsed.is_ok_and(|uri| is_http(&uri)) {
        true => Ok(()),
        false => {
            let cause = "`http://` or `https://` and a host are needed; only `{name}` and `{no}` stand for the server";
            Err((format!("`{url}` is no URL that can be asked"), cause))
        }
    }
}
