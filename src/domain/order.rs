//! The order between groups: who waits for whom, and whether what a server waits for is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::group::Group;
use super::name::{Action, GroupName, ServerId};
use super::roster::Roster;

/// A group that a server waits for, and the group of the server that says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The group that waits.
    pub by: GroupName,
    /// The group that is waited for: to be up before a start, to be down before a stop.
    pub on: GroupName,
}

/// How one server of a group that is waited for stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// It is where it is waited for.
    There,
    /// It may still get there.
    Coming,
    /// It will not get there in this run.
    Lost,
}

/// Whether the servers of a group that is waited for allow to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// They do.
    Free,
    /// Not yet.
    Waits,
    /// They will not.
    Lost,
}

/// Judges a group that is waited for by its servers. `enough` is how many must be there; `None` for all.
#[must_use]
pub fn judge(members: impl IntoIterator<Item = Member>, enough: Option<usize>) -> Hold {
    let (mut there, mut coming, mut all) = (0_usize, 0_usize, 0_usize);
    for member in members {
        all += 1;
        match member {
            Member::There => there += 1,
            Member::Coming => coming += 1,
            Member::Lost => {}
        }
    }
    let enough = enough.map_or(all, |enough| enough.min(all));
    if there >= enough {
        Hold::Free
    } else if there + coming >= enough {
        Hold::Waits
    } else {
        Hold::Lost
    }
}

/// A cycle among groups, from one group back to itself, if there is one.
#[must_use]
pub fn cycle(after: &BTreeMap<GroupName, Vec<GroupName>>) -> Option<Vec<GroupName>> {
    let mut done: BTreeSet<&GroupName> = BTreeSet::new();
    for start in after.keys() {
        // The way from `start`, each with what is still to be tried from there.
        let mut way: Vec<(&GroupName, std::slice::Iter<'_, GroupName>)> = Vec::new();
        let mut on_way: BTreeSet<&GroupName> = BTreeSet::from([start]);
        if !done.contains(start) {
            way.push((start, after.get(start).map(Vec::as_slice).unwrap_or_default().iter()));
        }
        while let Some((here, rest)) = way.last_mut() {
            let here = *here;
            let Some(next) = rest.next() else {
                done.insert(here);
                on_way.remove(here);
                way.pop();
                continue;
            };
            if on_way.contains(next)
                && let Some(from) = way.iter().position(|(group, _)| *group == next)
            {
                let mut found: Vec<GroupName> =
                    way.iter().skip(from).map(|(group, _)| (*group).clone()).collect();
                found.push(next.clone());
                return Some(found);
            }
            if !done.contains(next)
                && let Some((next, more)) = after.get_key_value(next)
            {
                on_way.insert(next);
                way.push((next, more.iter()));
            }
        }
    }
    None
}

/// How long it may take until a group's turn comes, along the longest chain of what it waits for.
///
/// For a start each group of the chain may take `boot_within` and its probe's `within`, for a stop `stop_within`.
#[derive(Debug, Clone)]
pub struct Chains {
    start: BTreeMap<GroupName, Duration>,
    stop: BTreeMap<GroupName, Duration>,
}

impl Chains {
    /// The chains of groups that form no cycle.
    #[must_use]
    pub fn new(groups: &BTreeMap<GroupName, Group>) -> Self {
        let (after, before) = relations(groups);
        let start = |group: &Group| {
            group.boot_within + group.ready.as_ref().map_or(Duration::ZERO, |ready| ready.within)
        };
        Self {
            start: longest(groups, &after, start),
            stop: longest(groups, &before, |group| group.stop_within),
        }
    }

    /// The longest of some groups.
    #[must_use]
    pub fn of(&self, groups: &[GroupName], action: Action) -> Duration {
        let known = match action {
            Action::Start => &self.start,
            Action::Stop => &self.stop,
        };
        groups.iter().filter_map(|group| known.get(group)).max().copied().unwrap_or(Duration::ZERO)
    }
}

type Relations = BTreeMap<GroupName, Vec<GroupName>>;

/// Who comes before whom, and the same the other way round.
fn relations(groups: &BTreeMap<GroupName, Group>) -> (Relations, Relations) {
    let (mut after, mut before): (Relations, Relations) = (BTreeMap::new(), BTreeMap::new());
    for (name, group) in groups {
        for on in group.after.iter().filter(|on| groups.contains_key(*on)) {
            after.entry(name.clone()).or_default().push(on.clone());
            before.entry(on.clone()).or_default().push(name.clone());
        }
    }
    (after, before)
}

/// For each group the longest sum along what it waits for, without its own.
fn longest(
    groups: &BTreeMap<GroupName, Group>,
    on: &Relations,
    cost: impl Fn(&Group) -> Duration,
) -> BTreeMap<GroupName, Duration> {
    let mut found: BTreeMap<GroupName, Duration> = BTreeMap::new();
    for start in on.keys() {
        if found.contains_key(start) {
            continue;
        }
        let mut way: Vec<(&GroupName, usize)> = vec![(start, 0)];
        while let Some((here, next)) = way.last_mut() {
            let needs = on.get(*here).map(Vec::as_slice).unwrap_or_default();
            match needs.get(*next) {
                Some(need) => {
                    *next += 1;
                    if !found.contains_key(need) && on.contains_key(need) {
                        way.push((need, 0));
                    }
                }
                None => {
                    let sum = |need: &GroupName| {
                        let own = groups.get(need).map_or(Duration::ZERO, &cost);
                        own + found.get(need).copied().unwrap_or(Duration::ZERO)
                    };
                    let length = needs.iter().map(sum).max().unwrap_or(Duration::ZERO);
                    found.insert((*here).clone(), length);
                    way.pop();
                }
            }
        }
    }
    found
}

/// The order between the servers of a roster.
#[derive(Debug, Clone, Default)]
pub struct Order {
    after: Relations,
    before: Relations,
    /// Servers with one number wait for none of each other: their groups would have each wait for the other.
    knots: BTreeMap<ServerId, usize>,
}

impl Order {
    /// The order that groups ask for.
    #[must_use]
    pub fn new(groups: &BTreeMap<GroupName, Group>, roster: &Roster) -> Self {
        let (after, before) = relations(groups);
        if after.is_empty() {
            return Self::default();
        }
        // Servers of the same groups are alike, so kinds of servers are put in order rather than servers.
        let mut kinds: BTreeMap<Vec<&GroupName>, usize> = BTreeMap::new();
        let mut kind_of: BTreeMap<&ServerId, usize> = BTreeMap::new();
        for server in roster.servers() {
            let groups = roster.groups_of(server).iter();
            let kind: Vec<&GroupName> =
                groups.filter(|g| after.contains_key(*g) || before.contains_key(*g)).collect();
            if !kind.is_empty() {
                let next = kinds.len();
                kind_of.insert(server, *kinds.entry(kind).or_insert(next));
            }
        }
        let mut holders: BTreeMap<&GroupName, Vec<usize>> = BTreeMap::new();
        for (kind, index) in &kinds {
            for group in kind {
                holders.entry(group).or_default().push(*index);
            }
        }
        let mut waits: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); kinds.len()];
        for (kind, index) in &kinds {
            let on = kind.iter().filter_map(|group| after.get(*group)).flatten();
            let kinds = on.filter_map(|on| holders.get(on)).flatten().filter(|other| *other != index);
            if let Some(waits) = waits.get_mut(*index) {
                waits.extend(kinds);
            }
        }
        let knots = knots(&waits);
        let knots = kind_of
            .into_iter()
            .filter_map(|(server, kind)| Some((server.clone(), *knots.get(kind)?)))
            .collect();
        Self { after, before, knots }
    }

    /// Whether no group waits for another.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.after.is_empty()
    }

    /// The groups that the servers of some groups wait for: to be up before a start, to be down before a stop.
    #[must_use]
    pub fn needs(&self, groups: &[GroupName], action: Action) -> Vec<Need> {
        let relations = self.relations(action);
        let mut needs: Vec<Need> = Vec::new();
        for by in groups {
            for on in relations.get(by).into_iter().flatten() {
                needs.push(Need { by: by.clone(), on: on.clone() });
            }
        }
        needs
    }

    fn relations(&self, action: Action) -> &Relations {
        match action {
            Action::Start => &self.after,
            Action::Stop => &self.before,
        }
    }

    /// These groups and all that they wait for, directly or not.
    #[must_use]
    pub fn with_needs(&self, groups: &[GroupName], action: Action) -> Vec<GroupName> {
        let mut found: Vec<GroupName> = groups.to_vec();
        let mut next = 0;
        while let Some(group) = found.get(next) {
            let more: Vec<GroupName> = self.relations(action).get(group).cloned().unwrap_or_default();
            for group in more {
                if !found.contains(&group) {
                    found.push(group);
                }
            }
            next += 1;
        }
        found
    }

    /// Whether another group comes after this one.
    #[must_use]
    pub fn is_needed(&self, group: &GroupName) -> bool {
        self.before.contains_key(group)
    }

    /// The knot of a server: it does not wait for others of the same knot.
    #[must_use]
    pub fn knot(&self, server: &ServerId) -> Option<usize> {
        self.knots.get(server).copied()
    }

    /// Servers whose groups would have each wait for the other, where they are of different groups: in words for a person.
    #[must_use]
    pub fn contradictions(&self, roster: &Roster) -> Vec<String> {
        let mut by_knot: BTreeMap<usize, BTreeMap<&[GroupName], &ServerId>> = BTreeMap::new();
        for (server, knot) in &self.knots {
            by_knot.entry(*knot).or_default().entry(roster.groups_of(server)).or_insert(server);
        }
        let mut words = Vec::new();
        for kinds in by_knot.into_values().filter(|kinds| kinds.len() > 1) {
            let kinds: Vec<String> = kinds
                .into_iter()
                .take(3)
                .map(|(groups, server)| {
                    let groups: Vec<&str> = groups.iter().map(|group| group.as_str()).collect();
                    format!("server {} (in {})", server.no, groups.join(", "))
                })
                .collect();
            words.push(format!(
                "{} would each have to wait for the other, so they do not wait for one another: leave them out of some of the groups",
                kinds.join(" and ")
            ));
        }
        words
    }
}

/// A number for each kind: two have the same exactly if each waits for the other, directly or not (Kosaraju's two passes).
fn knots(waits: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut back: Vec<Vec<usize>> = vec![Vec::new(); waits.len()];
    for (from, on) in waits.iter().enumerate() {
        for to in on {
            if let Some(back) = back.get_mut(*to) {
                back.push(from);
            }
        }
    }
    let forth: Vec<Vec<usize>> = waits.iter().map(|on| on.iter().copied().collect()).collect();
    let mut left: Vec<usize> = Vec::new();
    let mut seen = vec![false; waits.len()];
    for start in 0..waits.len() {
        walk(start, &forth, &mut seen, |node| left.push(node));
    }
    let mut knots = vec![0; waits.len()];
    let mut seen = vec![false; waits.len()];
    for (knot, start) in left.into_iter().rev().enumerate() {
        walk(start, &back, &mut seen, |node| {
            if let Some(slot) = knots.get_mut(node) {
                *slot = knot;
            }
        });
    }
    knots
}

/// Goes everywhere from a node that nobody has been to, and tells each one when it is left.
fn walk(start: usize, edges: &[Vec<usize>], seen: &mut [bool], mut leave: impl FnMut(usize)) {
    let mut way: Vec<(usize, usize)> = Vec::new();
    let mut enter = |node: usize, way: &mut Vec<(usize, usize)>| {
        if let Some(seen) = seen.get_mut(node)
            && !*seen
        {
            *seen = true;
            way.push((node, 0));
        }
    };
    enter(start, &mut way);
    while let Some((node, next)) = way.last_mut() {
        match edges.get(*node).and_then(|edges| edges.get(*next)) {
            Some(to) => {
                *next += 1;
                enter(*to, &mut way);
            }
            None => {
                leave(*node);
                way.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::{AccountName, ServerNo};

    fn name(text: &str) -> GroupName {
        GroupName::new(text).unwrap()
    }

    fn server(no: &str) -> ServerId {
        ServerId { account: AccountName::new("main").unwrap(), no: ServerNo::parse(no).unwrap() }
    }

    /// `("web", "2 3", "db")`: a group, its numbers, what it comes after.
    fn groups(table: &[(&str, &str, &str)]) -> BTreeMap<GroupName, Group> {
        let group = |(group, numbers, after): &(&str, &str, &str)| {
            let numbers = numbers.split_whitespace().map(|no| ServerNo::parse(no).unwrap()).collect();
            let after = after.split_whitespace().map(name).collect();
            let account = AccountName::new("main").unwrap();
            let group = Group { after, ..Group::of_numbers(name(group), account, numbers) };
            (group.name.clone(), group)
        };
        table.iter().map(group).collect()
    }

    fn order(table: &[(&str, &str, &str)]) -> Order {
        let groups = groups(table);
        Order::new(&groups, &Roster::listed(&groups))
    }

    #[test]
    fn a_cycle_is_found_and_shown_from_a_group_back_to_itself() {
        let after = |table: &[(&str, &str)]| {
            let entry = |(group, after): &(&str, &str)| {
                (name(group), after.split_whitespace().map(name).collect::<Vec<_>>())
            };
            cycle(&table.iter().map(entry).collect())
        };

        assert_eq!(after(&[("a", "b c"), ("b", "c"), ("c", "")]), None);
        assert_eq!(after(&[("a", "a")]), Some(vec![name("a"), name("a")]));
        let found = after(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]).unwrap();
        assert_eq!(found, ["b", "c", "d", "b"].map(name));
    }

    #[test]
    fn a_chain_is_the_longest_sum_of_what_is_waited_for() {
        let mut groups =
            groups(&[("db", "1", ""), ("cache", "2", ""), ("app", "3", "db cache"), ("web", "4", "app")]);
        groups.get_mut(&name("cache")).unwrap().boot_within = Duration::from_mins(30);

        let chains = Chains::new(&groups);

        let of = |group: &str, action| chains.of(&[name(group)], action).as_secs() / 60;
        assert_eq!(["db", "app", "web"].map(|group| of(group, Action::Start)), [0, 30, 40]);
        assert_eq!(["db", "app", "web"].map(|group| of(group, Action::Stop)), [20, 10, 0]);
    }

    #[test]
    fn a_start_waits_for_what_comes_before_and_a_stop_for_what_comes_after() {
        let order = order(&[("db", "1", ""), ("app", "2", "db"), ("web", "3", "app")]);
        let need = |by: &str, on: &str| Need { by: name(by), on: name(on) };

        assert_eq!(order.needs(&[name("web")], Action::Start), [need("web", "app")]);
        assert_eq!(order.needs(&[name("db")], Action::Stop), [need("db", "app")]);
        assert_eq!(order.needs(&[name("db")], Action::Start), []);
        assert_eq!(order.with_needs(&[name("web")], Action::Start), ["web", "app", "db"].map(name));
    }

    #[test]
    fn servers_whose_groups_contradict_each_other_do_not_wait_for_one_another() {
        // 1 is in both groups; 2 waits for it all the same.
        let both = order(&[("db", "1 3", ""), ("web", "1 2", "db")]);
        assert_ne!(both.knot(&server("1")), both.knot(&server("2")));
        // 1 would have to come before and after 2.
        let table = [("a", "1", ""), ("b", "2", "a"), ("c", "1", "b")];
        let knotted = order(&table);
        assert_eq!(knotted.knot(&server("1")), knotted.knot(&server("2")));
        let listed = Roster::listed(&groups(&table));
        assert!(knotted.contradictions(&listed)[0].contains("server 1 (in a, c) and server 2 (in b)"));
        assert!(
            both.contradictions(&Roster::listed(&groups(&[("db", "1 3", ""), ("web", "1 2", "db")])))
                .is_empty()
        );
    }

    #[test]
    fn enough_members_are_all_of_them_or_as_many_as_the_group_says() {
        use Member::{Coming, Lost, There};

        let table: [(&[Member], Option<usize>, Hold); 7] = [
            (&[There, There], None, Hold::Free),
            (&[There, Coming], None, Hold::Waits),
            (&[There, Lost], None, Hold::Lost),
            (&[There, Lost], Some(1), Hold::Free),
            (&[Coming, Lost, Lost], Some(2), Hold::Lost),
            (&[There, There], Some(5), Hold::Free),
            (&[], None, Hold::Free),
        ];

        for (members, enough, want) in table {
            assert_eq!(judge(members.iter().copied(), enough), want, "{members:?} {enough:?}");
        }
    }
}
