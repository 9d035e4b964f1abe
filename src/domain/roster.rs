//! Who belongs to which group, as far as it is known.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::group::Group;
use super::name::{GroupName, ServerId};

/// What a list showed of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// When the read began.
    pub began: Timestamp,
    /// The servers of the group.
    pub members: BTreeSet<ServerId>,
}

/// The members of all groups, and the groups of all servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    members: BTreeMap<GroupName, BTreeSet<ServerId>>,
    groups_of: BTreeMap<ServerId, Vec<GroupName>>,
    /// When each group was last resolved; groups of numbers alone are not in it.
    began: BTreeMap<GroupName, Option<Timestamp>>,
}

impl Roster {
    /// The roster of groups, with what lists have shown of those that need one. Without that, a group has the numbers that it names.
    #[must_use]
    pub fn new(groups: &BTreeMap<GroupName, Group>, resolved: &BTreeMap<GroupName, Resolved>) -> Self {
        let mut roster = Self::default();
        for (name, group) in groups {
            let seen = resolved.get(name).filter(|_| group.needs_list());
            let members: BTreeSet<ServerId> = match seen {
                Some(seen) => seen.members.clone(),
                None => {
                    let id = |no| ServerId { account: group.account.clone(), no };
                    group.servers.iter().cloned().map(id).collect()
                }
            };
            if group.needs_list() {
                roster.began.insert(name.clone(), seen.map(|seen| seen.began));
            }
            for server in &members {
                roster.groups_of.entry(server.clone()).or_default().push(name.clone());
            }
            roster.members.insert(name.clone(), members);
        }
        roster
    }

    /// The roster as the configuration alone tells it.
    #[must_use]
    pub fn listed(groups: &BTreeMap<GroupName, Group>) -> Self {
        Self::new(groups, &BTreeMap::new())
    }

    /// The members of a group.
    pub fn members(&self, group: &GroupName) -> impl Iterator<Item = &ServerId> + '_ {
        self.members.get(group).into_iter().flatten()
    }

    /// How many members a group has.
    #[must_use]
    pub fn size(&self, group: &GroupName) -> usize {
        self.members.get(group).map_or(0, BTreeSet::len)
    }

    /// Whether a group holds a server.
    #[must_use]
    pub fn holds(&self, group: &GroupName, server: &ServerId) -> bool {
        self.members.get(group).is_some_and(|members| members.contains(server))
    }

    /// The groups that hold a server, in order.
    #[must_use]
    pub fn groups_of(&self, server: &ServerId) -> &[GroupName] {
        self.groups_of.get(server).map(Vec::as_slice).unwrap_or_default()
    }

    /// All servers of all groups.
    pub fn servers(&self) -> impl Iterator<Item = &ServerId> + '_ {
        self.groups_of.keys()
    }

    /// Whether it is known who belongs to a group, from a read that began at or after a moment. Always, for groups of numbers alone.
    #[must_use]
    pub fn is_known_since(&self, group: &GroupName, since: Timestamp) -> bool {
        self.began.get(group).is_none_or(|began| began.is_some_and(|began| began >= since))
    }

    /// Whether it is known who belongs to a group.
    #[must_use]
    pub fn is_known(&self, group: &GroupName) -> bool {
        self.is_known_since(group, Timestamp::MIN)
    }
}
