//! What a seed makes: servers, a configuration with what it owes, and what goes wrong when.

use sunup::audit::history::{Deed, Micros, Need, Owed, SECOND, Sure};
use sunup::domain::name::ServerNo;
use sunup::domain::overrides::Then;

use crate::chance::Chance;

/// A minute, an hour and a day.
pub(crate) const MINUTE: Micros = 60 * SECOND;
pub(crate) const HOUR: Micros = 60 * MINUTE;
pub(crate) const DAY: Micros = 24 * HOUR;
/// How long each window is.
const WINDOW: Micros = 15 * MINUTE;
/// How long after a window's end everything about it is recorded.
const SETTLED: Micros = 30 * MINUTE;
/// 2026-11-30T00:00:00Z, a Monday, where every simulation begins.
pub(crate) const BEGIN: Micros = 1_795_996_800 * SECOND;

/// Something that happens to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// `kill -9`, and so long until the next start.
    Kill(Micros),
    /// A crash at the n-th record from now on: before it is durable, or after.
    CrashAtRecord { nth: u64, durable: bool },
    /// A crash at the n-th request from now on: before it leaves, or while it is under way.
    CrashAtRequest { nth: u64, left: bool },
    /// The clock is set; the timer may learn of it. It is set right again after a while.
    Step { by: Micros, told: bool, lasts: Micros },
    /// The machine sleeps.
    Suspend(Micros),
    /// The program stands still.
    Stall(Micros),
    /// The journal cannot be written; `late`: it is written, and says that it is not.
    Disk { lasts: Micros, late: bool },
    /// Nothing reaches the cloud.
    Outage(Micros),
    /// Keys are refused.
    Keys(Micros),
    /// A person sets a server's state in the console.
    Force { server: usize, status: &'static str },
    /// A person deletes a server.
    Delete { server: usize },
    /// A person has a group started or stopped.
    Command { deed: Deed, group: usize },
    /// A person pauses a rule or a group for so long.
    Pause { of: Paused, lasts: Micros },
    /// A person ends such a pause.
    Resume(Paused),
    /// A person keeps a group or a server as it is for so long.
    Keep { of: Kept, forbids: Deed, then: Then, lasts: Micros },
    /// A person ends such a keep.
    EndKeep(Kept),
    /// The configuration is read again.
    Reload,
}

/// What a person pauses, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paused {
    Rule(usize),
    Group(usize),
}

/// What a person keeps as it is, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Group(usize),
    Server(usize),
}

impl Event {
    /// Its name among the faults that were planned.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::CrashAtRecord { durable: false, .. } => "crash before a record",
            Self::CrashAtRecord { durable: true, .. } => "crash after a record",
            Self::CrashAtRequest { left: false, .. } => "crash before a request",
            Self::CrashAtRequest { left: true, .. } => "crash during a request",
            Self::Step { .. } => "clock step",
            Self::Suspend(_) => "suspend",
            Self::Stall(_) => "stall",
            Self::Disk { .. } => "disk error",
            Self::Outage(_) => "outage",
            Self::Keys(_) => "keys refused",
            Self::Force { .. } => "console",
            Self::Delete { .. } => "deletion",
            Self::Command { .. } => "command",
            Self::Pause { .. } => "pause",
            Self::Resume(_) => "resume",
            Self::Keep { .. } => "keep",
            Self::EndKeep(_) => "end of a keep",
            Self::Reload => "reload",
        }
    }
}

/// A rule as this side knows it: its moments are worked out here, not by the program's own planner.
#[derive(Debug, Clone)]
struct Rule {
    name: String,
    groups: Vec<usize>,
    /// Days of the week, 0 for Monday.
    days: Vec<i64>,
    /// Minutes of the day and what is done then.
    edges: Vec<(i64, Deed)>,
    is_hours: bool,
    /// Hours ahead of UTC.
    ahead: i64,
    jitter: Micros,
    skip_late: bool,
    /// What a person stopped in the console stays off.
    leaves: bool,
}

/// All that a seed makes.
pub(crate) struct Scenario {
    pub(crate) text: String,
    /// The names of the servers, in order of their numbers from 1001 on.
    pub(crate) names: Vec<String>,
    /// The servers of each group, by index.
    members: Vec<Vec<usize>>,
    pub(crate) owed: Vec<Owed>,
    pub(crate) needs: Vec<Need>,
    pub(crate) never_stopped: Vec<String>,
    /// Events with their true moments, in order.
    pub(crate) events: Vec<(Micros, Event)>,
    /// For each day how many in a hundred requests meet a fault.
    pub(crate) weather: Vec<i64>,
    pub(crate) days: i64,
}

/// The server with this index, as records name it.
pub(crate) fn server_of(index: usize) -> String {
    format!("main/{}", 1001 + index)
}

const DAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

impl Scenario {
    /// The groups that hold a server.
    pub(crate) fn groups_of(&self, no: &ServerNo) -> Vec<String> {
        let holds =
            |members: &Vec<usize>| members.iter().any(|index| (1001 + index).to_string() == no.as_str());
        self.members
            .iter()
            .enumerate()
            .filter(|(_, members)| holds(members))
            .map(|(index, _)| format!("g{index}"))
            .collect()
    }

    pub(crate) fn new(seed: u64, days: i64) -> Self {
        let mut chance = Chance::new(seed);
        let servers = usize::try_from(chance.between(3, 8)).unwrap();
        let groups = usize::try_from(chance.between(1, 3)).unwrap();
        let members: Vec<Vec<usize>> = (0..groups)
            .map(|group| {
                (0..servers).filter(|server| server % groups == group || chance.percent(15)).collect()
            })
            .collect();
        // The last group is chosen by name where there are several: whom it means is learned from lists.
        let chained = groups > 1 && chance.percent(25);
        let by_name = !chained && groups > 1 && chance.percent(40);
        let mut rules: Vec<Rule> = (0..chance.between(1, 4)).map(|n| rule(&mut chance, n, groups)).collect();
        // Somebody has to be started, or everything rests for good.
        while !rules.iter().any(|rule| rule.edges.iter().any(|(_, deed)| *deed == Deed::Start)) {
            rules[0] = rule(&mut chance, 0, groups);
        }
        if chained {
            // What a run does not start itself would have to be up already.
            rules.iter_mut().for_each(|rule| rule.groups = (0..groups).collect());
        }
        let mut text = format!(
            "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\nbatch = {}\n[checks]\npreflight = \"60s\"\n",
            chance.one_of(&[1, 2, 20])
        );
        let never = chance.percent(25).then(|| server_of(0));
        if never.is_some() {
            text.push_str("[limits]\nnever_stop = [\"1001\"]\n");
        }
        for (index, members) in members.iter().enumerate() {
            let numbers: Vec<String> =
                members.iter().map(|server| format!("\"{}\"", 1001 + server)).collect();
            let whom = match by_name && index + 1 == groups {
                true => format!("name = \"srv-{}-*\"", index + 1),
                false => format!("servers = [{}]", numbers.join(", ")),
            };
            let after =
                if chained && index > 0 { format!("after = [\"g{}\"]\n", index - 1) } else { String::new() };
            let limits = "boot_within = \"5m\"\nstop_within = \"5m\"\n";
            text.push_str(&format!("[groups.g{index}]\n{whom}\n{limits}{after}"));
        }
        rules.iter().for_each(|rule| text.push_str(&rule.text()));
        let whom = |rule: &Rule| {
            let unknown = by_name && rule.groups.contains(&(groups - 1));
            let mut all: Vec<usize> = rule.groups.iter().flat_map(|group| members[*group].clone()).collect();
            all.sort_unstable();
            all.dedup();
            (!unknown).then(|| all.into_iter().map(server_of).collect::<Vec<_>>())
        };
        let owed = rules.iter().flat_map(|rule| rule.owed(days, &whom(rule))).collect();
        let in_last = |server: usize| if members[groups - 1].contains(&server) { groups } else { 0 };
        let names = (0..servers).map(|server| format!("srv-{}-{}", in_last(server), 1001 + server)).collect();
        let needs = match chained {
            true => needs_of(&members),
            false => Vec::new(),
        };
        let weather: Vec<i64> =
            (0..days).map(|_| if chance.percent(45) { 0 } else { chance.between(10, 70) }).collect();
        let events = events(&mut chance, days, &weather, &rules, servers, groups);
        Self {
            text,
            names,
            members,
            owed,
            needs,
            never_stopped: never.into_iter().collect(),
            events,
            weather,
            days,
        }
    }
}

/// Each server that is only in a later group waits for all of the group before that are not in the same.
fn needs_of(members: &[Vec<usize>]) -> Vec<Need> {
    let mut needs = Vec::new();
    for (index, group) in members.iter().enumerate().skip(1) {
        for server in group {
            // Servers of several groups go by the strictest order, which may be a circle: only the plain ones are judged.
            let plain = |one: &usize| members.iter().filter(|group| group.contains(one)).count() == 1;
            if plain(server) && members.iter().flatten().all(plain) {
                let on = members[index - 1].iter().map(|one| server_of(*one)).collect();
                needs.push(Need { server: server_of(*server), on });
            }
        }
    }
    needs
}

fn rule(chance: &mut Chance, number: i64, groups: usize) -> Rule {
    let (days, ahead) = (
        chance.one_of(&[vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4, 5, 6], vec![1, 3], vec![5, 6]]).clone(),
        *chance.one_of(&[0, 9]),
    );
    let is_hours = chance.percent(40);
    let open = chance.between(0, 20 * 12) * 5;
    let edges = match is_hours {
        true => {
            let close = chance.between(open / 5 + 6, 24 * 12 - 1) * 5;
            vec![(open, Deed::Start), (close, Deed::Stop)]
        }
        false => {
            let deed = *chance.one_of(&[Deed::Start, Deed::Start, Deed::Stop]);
            let hours: Vec<i64> = if chance.percent(30) { vec![open / 60, 21] } else { vec![open / 60] };
            hours.into_iter().map(|hour| (hour * 60 + open % 60, deed)).collect()
        }
    };
    let mut groups: Vec<usize> = (0..groups).filter(|_| chance.percent(60)).collect();
    if groups.is_empty() {
        groups.push(0);
    }
    let jitter = if chance.percent(25) { 40 * SECOND } else { 0 };
    Rule {
        name: format!("r{number}"),
        groups,
        days,
        edges,
        is_hours,
        ahead,
        jitter,
        skip_late: chance.percent(15),
        // Drawn with the moment, so that seeds found before keep what else they make.
        leaves: (open / 5) % 5 == 0,
    }
}

impl Rule {
    fn text(&self) -> String {
        let days: Vec<&str> = self.days.iter().map(|day| DAYS[usize::try_from(*day).unwrap()]).collect();
        let groups: Vec<String> = self.groups.iter().map(|group| format!("\"g{group}\"")).collect();
        let clock = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
        let when = match self.is_hours {
            true => {
                let (from, to) = (clock(self.edges[0].0), clock(self.edges[1].0));
                format!("hours = \"{} {from}-{to}\"\nrun = [{}]", days.join(","), groups.join(", "))
            }
            false => {
                let hours: Vec<String> =
                    self.edges.iter().map(|(minute, _)| (minute / 60).to_string()).collect();
                let verb = self.edges[0].1.word();
                let minute = self.edges[0].0 % 60;
                let hours = hours.join(",");
                format!(
                    "cron = \"{minute} {hours} * * {}\"\n{verb} = [{}]",
                    days.join(","),
                    groups.join(", ")
                )
            }
        };
        let zone = if self.ahead == 0 { "UTC" } else { "Asia/Seoul" };
        let missed = if self.skip_late { "missed = \"skip\"\n" } else { "" };
        let jitter = if self.jitter > 0 { "jitter = \"40s\"\n" } else { "" };
        let starts = self.edges.iter().any(|(_, deed)| *deed == Deed::Start);
        let left = if self.leaves && starts { "hand_stopped = \"leave\"\n" } else { "" };
        format!(
            "[rules.{}]\n{when}\ntimezone = \"{zone}\"\nwindow = \"15m\"\n{missed}{jitter}{left}",
            self.name
        )
    }

    /// What it plans, by plain arithmetic over days.
    fn owed(&self, days: i64, servers: &Option<Vec<String>>) -> Vec<Owed> {
        let mut owed = Vec::new();
        // The machine may be asleep at the end and come back days later.
        for day in -1..=days + 3 {
            if !self.days.contains(&day.rem_euclid(7)) {
                continue;
            }
            for (minute, deed) in &self.edges {
                let planned = BEGIN + day * DAY + minute * MINUTE - self.ahead * HOUR;
                let end = BEGIN + days * DAY;
                if planned < BEGIN - self.jitter {
                    continue;
                }
                // Whoever has just begun may have begun after it, and what has not passed by the end may be open.
                let is_edge = planned < BEGIN + 2 * MINUTE || planned + WINDOW + SETTLED > end;
                owed.push(Owed {
                    rule: self.name.clone(),
                    deed: *deed,
                    planned,
                    latest: planned + self.jitter,
                    window: WINDOW,
                    servers: servers.clone(),
                    sure: if is_edge { Sure::Perhaps } else { Sure::Yes },
                });
            }
        }
        owed
    }
}

/// What goes wrong: on days with weather, mostly around moments that matter.
fn events(
    chance: &mut Chance,
    days: i64,
    weather: &[i64],
    rules: &[Rule],
    servers: usize,
    groups: usize,
) -> Vec<(Micros, Event)> {
    let mut events = Vec::new();
    let moments: Vec<i64> = rules
        .iter()
        .flat_map(|rule| {
            rule.edges.iter().map(|(minute, _)| (minute * MINUTE - rule.ahead * HOUR).rem_euclid(DAY))
        })
        .collect();
    for day in 0..days - 1 {
        if weather[usize::try_from(day).unwrap()] == 0 {
            continue;
        }
        for _ in 0..chance.between(0, 3) {
            let near =
                *chance.one_of(&moments) + chance.between(-90, 300) * SECOND + chance.between(0, 999_999);
            let at = day * DAY + if chance.percent(75) { near } else { chance.between(0, DAY) };
            if at < HOUR {
                continue;
            }
            events.push((at, event(chance, servers, groups, rules.len())));
        }
    }
    // A month whose only server is deleted on its first days would prove nothing.
    events.retain(|(at, event)| !matches!(event, Event::Delete { .. }) || *at >= days * DAY / 2);
    events.sort_by_key(|(at, _)| *at);
    events
}

fn event(chance: &mut Chance, servers: usize, groups: usize, rules: usize) -> Event {
    let server = usize::try_from(chance.between(0, i64::try_from(servers).unwrap() - 1)).unwrap();
    let group = usize::try_from(chance.between(0, i64::try_from(groups).unwrap() - 1)).unwrap();
    let nth = u64::try_from(chance.between(1, 8)).unwrap();
    match chance.between(0, 99) {
        0..=12 => Event::Kill(away(chance)),
        13..=24 => Event::CrashAtRecord { nth, durable: chance.percent(50) },
        25..=36 => Event::CrashAtRequest { nth: 1 + nth % 3, left: chance.percent(60) },
        37..=48 => {
            let size = *chance.one_of(&[1, 5, 30, 59, 90, 600, 7200, 86_400, 400 * 86_400]);
            let by = size * SECOND * if chance.percent(50) { 1 } else { -1 };
            Event::Step { by, told: chance.percent(50), lasts: chance.between(5, 3000) * SECOND }
        }
        49..=53 => Event::Suspend(chance.between(5, 7200) * SECOND),
        54..=58 => Event::Stall(chance.between(5, 1800) * SECOND),
        59..=66 => Event::Disk { lasts: chance.between(1, 1200) * SECOND, late: chance.percent(20) },
        67..=75 => Event::Outage(chance.between(5, 1500) * SECOND),
        76..=79 => Event::Keys(chance.between(30, 1500) * SECOND),
        80..=87 => Event::Force { server, status: if chance.percent(50) { "RUN" } else { "NSTOP" } },
        88..=89 => Event::Delete { server },
        90..=92 => Event::Command { deed: *chance.one_of(&[Deed::Start, Deed::Stop]), group },
        93 | 94 => {
            let of = if chance.percent(70) { Kept::Group(group) } else { Kept::Server(server) };
            let forbids = if chance.percent(75) { Deed::Stop } else { Deed::Start };
            match chance.percent(25) {
                true => Event::EndKeep(of),
                false => Event::Keep {
                    of,
                    forbids,
                    then: *chance.one_of(&[Then::Apply, Then::Apply, Then::Apply, Then::Leave, Then::Act]),
                    lasts: chance.between(1, 3000) * MINUTE,
                },
            }
        }
        95..=97 => {
            let rule = usize::try_from(chance.between(0, i64::try_from(rules).unwrap() - 1)).unwrap();
            let of = if chance.percent(60) { Paused::Rule(rule) } else { Paused::Group(group) };
            match chance.percent(25) {
                true => Event::Resume(of),
                false => Event::Pause { of, lasts: chance.between(1, 3000) * MINUTE },
            }
        }
        _ => Event::Reload,
    }
}

/// How long nobody runs after a crash: mostly seconds, sometimes days.
pub(crate) fn away(chance: &mut Chance) -> Micros {
    match chance.between(0, 9) {
        0..=6 => chance.between(1, 90) * SECOND,
        7 | 8 => chance.between(60, 7200) * SECOND,
        _ => chance.between(1, 60) * HOUR,
    }
}
