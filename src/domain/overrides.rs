//! A person's exceptions, each with an end: what is paused, skipped or kept as it is, and until when.

mod skipped;

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::name::{AccountName, Action, GroupName, OverrideId, RuleName, ServerId, ServerNo};
use super::outcome::{Reason, ReasonKind};
use super::plan::{self, Explained};
use super::rule::Rule;
use super::schedule::{Cause, Fate};
pub use skipped::{On, skipped};

/// What an override is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One rule: none of its occurrences does anything.
    Rule(RuleName),
    /// One group: rules leave its servers alone, whichever of their groups holds them.
    Group(GroupName),
    /// One server.
    Server(ServerId),
}

impl Scope {
    /// The word in the journal and on the control socket.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Rule(_) => "rule",
            Self::Group(_) => "group",
            Self::Server(_) => "server",
        }
    }

    /// The name of the rule or group; for a server `ACCOUNT/NUMBER`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Rule(rule) => rule.to_string(),
            Self::Group(group) => group.to_string(),
            Self::Server(server) => format!("{}/{}", server.account, server.no),
        }
    }

    /// Reads [`Self::word`] and [`Self::name`] back.
    #[must_use]
    pub fn from_words(word: &str, name: &str) -> Option<Self> {
        match word {
            "rule" => RuleName::new(name).ok().map(Self::Rule),
            "group" => GroupName::new(name).ok().map(Self::Group),
            "server" => {
                let (account, no) = name.split_once('/')?;
                Some(Self::Server(ServerId {
                    account: AccountName::new(account).ok()?,
                    no: ServerNo::from_answer(no)?,
                }))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.word(), self.name())
    }
}

/// What an override does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What is due within it is left undone on purpose.
    Pause,
    /// The same for one occurrence of a rule, or one span of its hours.
    Skip,
    /// Its servers stay as they are.
    Keep {
        /// What nothing does to them: a stop, where they stay on, or a start.
        forbids: Action,
        /// What follows when it ends.
        then: Then,
    },
}

/// What follows the end of a keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// What rules wanted of its servers meanwhile is made up for.
    Apply,
    /// Nothing.
    Leave,
    /// What it held back is done to all its servers, whether a rule wanted it or not.
    Act,
}

impl Kind {
    /// The word in the journal, on the control socket and for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Skip => "skip",
            Self::Keep { .. } => "keep",
        }
    }

    /// What its servers stay, for a keep: `on` or `off`.
    #[must_use]
    pub fn stays(self) -> Option<&'static str> {
        match self {
            Self::Pause | Self::Skip => None,
            Self::Keep { forbids: Action::Stop, .. } => Some("on"),
            Self::Keep { forbids: Action::Start, .. } => Some("off"),
        }
    }

    /// What follows it, for a keep: `apply`, `leave`, or `stop` and `start`.
    #[must_use]
    pub fn follows(self) -> Option<&'static str> {
        match self {
            Self::Pause | Self::Skip => None,
            Self::Keep { then: Then::Apply, .. } => Some("apply"),
            Self::Keep { then: Then::Leave, .. } => Some("leave"),
            Self::Keep { then: Then::Act, forbids } => Some(forbids.word()),
        }
    }

    /// Reads [`Self::word`], [`Self::stays`] and [`Self::follows`] back.
    #[must_use]
    pub fn from_words(word: &str, stays: Option<&str>, follows: Option<&str>) -> Option<Self> {
        match (word, stays) {
            ("pause", None) => Some(Self::Pause),
            ("skip", None) => Some(Self::Skip),
            ("keep", Some(stays)) => {
                let forbids = match stays {
                    "on" => Action::Stop,
                    "off" => Action::Start,
                    _ => return None,
                };
                let then = match follows.unwrap_or("apply") {
                    "apply" => Then::Apply,
                    "leave" => Then::Leave,
                    word if word == forbids.word() => Then::Act,
                    _ => return None,
                };
                Some(Self::Keep { forbids, then })
            }
            _ => None,
        }
    }
}

/// How an override ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Its time was up.
    Expired,
    /// A person ended it before; the name is as the command gave it.
    Lifted(String),
}

/// An exception that a person made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Its number in the journal.
    pub id: OverrideId,
    /// What it does.
    pub kind: Kind,
    /// What it is about.
    pub scope: Scope,
    /// When it begins: what was due before is not touched by it.
    pub from: Timestamp,
    /// When it ends; what is due at this moment happens.
    pub until: Timestamp,
    /// Why, in the person's words; may be empty.
    pub reason: String,
    /// Who made it, as the command gave it.
    pub who: String,
    /// When and how it ended, once that is recorded.
    pub ended: Option<(Timestamp, Ended)>,
}

impl Override {
    /// The moment from which it holds nothing back.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.ended.as_ref().map_or(self.until, |(at, _)| (*at).min(self.until))
    }

    /// Whether something that is due at a moment falls into it.
    #[must_use]
    pub fn covers(&self, due: Timestamp) -> bool {
        self.from <= due && due < self.end()
    }

    /// Whether it can hold back something that a rule does.
    #[must_use]
    pub fn is_about(&self, rule: &Rule) -> bool {
        match &self.scope {
            Scope::Rule(name) => rule.name == *name,
            Scope::Group(group) => self.holds_rules() && rule.groups.contains(group),
            Scope::Server(_) => false,
        }
    }

    /// What it keeps from being done to its servers at a moment, where it is a keep that holds then.
    #[must_use]
    pub fn keeps_from(&self, at: Timestamp) -> Option<Action> {
        match self.kind {
            Kind::Keep { forbids, .. } if self.covers(at) => Some(forbids),
            Kind::Keep { .. } | Kind::Pause | Kind::Skip => None,
        }
    }

    /// Whether it keeps rules from what is due within it.
    #[must_use]
    pub fn holds_rules(&self) -> bool {
        matches!(self.kind, Kind::Pause | Kind::Skip)
    }

    /// Whether the opening of a rule's hours that are open at a moment fell into it, so that nothing was started then.
    #[must_use]
    pub fn held_opening(&self, rule: &Rule, now: Timestamp) -> bool {
        let Some(span) = rule.schedule.open_span(now).filter(|_| rule.enabled && self.is_about(rule)) else {
            return false;
        };
        let before = span.opened.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(span.opened);
        let opening = plan::next(rule, before, Timestamp::MAX);
        opening.is_some_and(|opening| opening.planned == span.opened && self.covers(opening.due))
    }

    /// What it says, for people: what, until when, by whom and why.
    #[must_use]
    pub fn words(&self, zone: &TimeZone) -> String {
        let until = self.end().to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z");
        let reason = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        let is = if self.ended.is_some() { "was" } else { "is" };
        let (scope, who) = (&self.scope, &self.who);
        let from = self.from.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z");
        match self.kind {
            Kind::Pause => format!("{scope} {is} paused until {until} by {who}{reason}"),
            Kind::Skip => format!("{scope} {is} skipped at {from} by {who}{reason}"),
            Kind::Keep { .. } => {
                let then = match self.kind.follows() {
                    Some("apply") | None => String::new(),
                    Some(word) => format!(", then {word}"),
                };
                let stays = self.kind.stays().unwrap_or_default();
                format!("{scope} {is} kept {stays} from {from} until {until}{then} by {who}{reason}")
            }
        }
    }

    /// Why a server is left alone.
    #[must_use]
    pub fn as_reason(&self, zone: &TimeZone) -> Reason {
        let kind = if self.holds_rules() { ReasonKind::Paused } else { ReasonKind::Kept };
        Reason::new(kind, self.words(zone))
    }
}

/// The overrides that are known, those that have ended too: what was due while they held is judged by them for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides(Vec<Override>);

impl Overrides {
    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Overrides in any order.
    #[must_use]
    pub fn new(mut known: Vec<Override>) -> Self {
        known.sort_by_key(|one| one.id);
        Self(known)
    }

    /// The number that the next one gets.
    #[must_use]
    pub fn next_id(&self) -> OverrideId {
        OverrideId(self.0.last().map_or(1, |last| last.id.0 + 1))
    }

    /// Adds one with [`Self::next_id`].
    pub fn add(&mut self, one: Override) {
        self.0.push(one);
    }

    /// Those that have not ended, oldest first.
    pub fn in_force(&self) -> impl Iterator<Item = &Override> {
        self.0.iter().filter(|one| one.ended.is_none())
    }

    /// Ends those in force that are chosen, and gives them as they ended.
    pub fn end(&mut self, at: Timestamp, how: &Ended, chosen: impl Fn(&Override) -> bool) -> Vec<Override> {
        let chosen = self.0.iter_mut().filter(|one| one.ended.is_none() && chosen(one));
        chosen
            .map(|one| {
                one.ended = Some((at, how.clone()));
                one.clone()
            })
            .collect()
    }

    /// One by its number, also after its end.
    #[must_use]
    pub fn of_id(&self, id: OverrideId) -> Option<&Override> {
        self.0.iter().find(|one| one.id == id)
    }

    /// Puts those in force again that a wrong clock ended.
    pub fn reopen(&mut self, ids: &[OverrideId]) {
        self.0.iter_mut().filter(|one| ids.contains(&one.id)).for_each(|one| one.ended = None);
    }

    /// When the next one ends by itself.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        self.in_force().map(|one| one.until).min()
    }

    /// The keeps that hold at a moment, the newest first.
    pub fn keeping(&self, at: Timestamp) -> impl Iterator<Item = (&Override, Action)> {
        self.0.iter().rev().filter_map(move |one| Some((one, one.keeps_from(at)?)))
    }

    /// What pauses a group at a moment.
    #[must_use]
    pub fn of_group(&self, group: &GroupName, due: Timestamp) -> Option<&Override> {
        let of_group = |one: &&Override| matches!(&one.scope, Scope::Group(name) if name == group);
        self.0.iter().filter(|one| one.holds_rules()).filter(of_group).find(|one| one.covers(due))
    }

    /// The keeps of a group, those that have ended too.
    pub fn keeps_of<'a>(&'a self, group: &'a GroupName) -> impl Iterator<Item = &'a Override> {
        let is_its = move |one: &&Override| matches!(&one.scope, Scope::Group(name) if name == group);
        self.0.iter().filter(|one| matches!(one.kind, Kind::Keep { .. })).filter(is_its)
    }

    /// What pauses all that a rule does at a moment: a pause of the rule, or of each of its groups.
    #[must_use]
    pub fn of_rule(&self, rule: &Rule, due: Timestamp) -> Option<&Override> {
        let by_name = |one: &&Override| matches!(&one.scope, Scope::Rule(name) if *name == rule.name);
        let by_rule =
            self.0.iter().filter(by_name).filter(|one| one.holds_rules()).find(|one| one.covers(due));
        by_rule.or_else(|| {
            let mut of_groups = rule.groups.iter().map(|group| self.of_group(group, due));
            let first = of_groups.next()??;
            of_groups.all(|one| one.is_some()).then_some(first)
        })
    }

    /// What keeps a rule from a server that stands in these groups, at a moment.
    #[must_use]
    pub fn holding(&self, rule: &Rule, groups: &[GroupName], due: Timestamp) -> Option<&Override> {
        self.of_rule(rule, due).or_else(|| groups.iter().find_map(|group| self.of_group(group, due)))
    }

    /// Strikes what overrides hold back out of lines of a plan.
    pub fn strike<'r>(&self, lines: &mut [Explained], rule_of: impl Fn(&RuleName) -> Option<&'r Rule>) {
        if self.is_empty() {
            return;
        }
        for line in lines.iter_mut().filter(|line| line.fate.happens()) {
            let Some(rule) = rule_of(&line.occurrence.rule) else { continue };
            if let Some(one) = self.of_rule(rule, line.occurrence.due) {
                line.fate = Fate::Struck(Cause::Override(one.words(&rule.schedule.zone)));
            }
        }
    }

    /// Those groups of a rule that are paused at a moment, with what pauses them.
    pub fn of_groups<'a>(
        &'a self,
        groups: impl IntoIterator<Item = &'a GroupName>,
        due: Timestamp,
    ) -> impl Iterator<Item = (&'a GroupName, &'a Override)> {
        groups.into_iter().filter_map(move |group| Some((group, self.of_group(group, due)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::Action;
    use crate::domain::plan::tests::rule;

    fn at(time: &str) -> Timestamp {
        format!("2026-11-23T{time}Z").parse().unwrap()
    }

    fn pause(id: i64, scope: &str, name: &str, from: &str, until: &str) -> Override {
        Override {
            id: OverrideId(id),
            kind: Kind::Pause,
            scope: Scope::from_words(scope, name).unwrap(),
            from: at(from),
            until: at(until),
            reason: "release night".into(),
            who: "kim".into(),
            ended: None,
        }
    }

    #[test]
    fn what_is_due_from_the_pause_on_and_before_its_end_falls_into_it() {
        let one = pause(1, "rule", "office", "08:00:00", "09:00:00");
        let lifted = Override { ended: Some((at("08:30:00"), Ended::Lifted("lee".into()))), ..one.clone() };

        let covered = |one: &Override| {
            ["07:59:59", "08:00:00", "08:29:59", "08:30:00", "08:59:59", "09:00:00"]
                .map(|time| one.covers(at(time)))
        };

        assert_eq!(covered(&one), [false, true, true, true, true, false]);
        assert_eq!(covered(&lifted), [false, true, true, false, false, false]);
        assert_eq!(
            lifted.words(&TimeZone::UTC).split(" by").next(),
            Some("rule office was paused until 2026-11-23T08:30:00+00:00")
        );
        assert_eq!(
            one.words(&TimeZone::UTC),
            "rule office is paused until 2026-11-23T09:00:00+00:00 by kim: release night"
        );
    }

    #[test]
    fn a_rule_is_paused_by_its_name_or_by_all_of_its_groups() {
        let mut office = rule("office", "50 8 * * *", Action::Start);
        office.groups = ["db", "web"].map(|name| GroupName::new(name).unwrap()).to_vec();
        let by =
            |pauses: Vec<Override>| Overrides::new(pauses).of_rule(&office, at("08:50:00")).map(|o| o.id.0);
        let hour = |id, scope, name| pause(id, scope, name, "08:00:00", "09:00:00");

        assert_eq!(by(vec![hour(1, "rule", "office")]), Some(1));
        assert_eq!(by(vec![hour(1, "rule", "other"), hour(2, "group", "db")]), None);
        assert_eq!(by(vec![hour(1, "group", "db"), hour(2, "group", "web")]), Some(1));
        assert_eq!(by(vec![pause(1, "rule", "office", "08:51:00", "09:00:00")]), None);
        office.groups.clear();
        assert_eq!(Overrides::default().of_rule(&office, at("08:50:00")), None);
    }

    #[test]
    fn what_has_ended_is_in_force_no_more_and_is_still_known() {
        let first = pause(1, "rule", "office", "08:00:00", "09:00:00");
        let second = pause(2, "group", "web", "08:00:00", "10:00:00");
        let mut known = Overrides::new(vec![second, first]);
        assert_eq!((known.next_end(), known.next_id()), (Some(at("09:00:00")), OverrideId(3)));

        let ended = known.end(at("09:00:00"), &Ended::Expired, |one| one.until <= at("09:00:00"));

        assert_eq!(ended.iter().map(|one| one.id.0).collect::<Vec<_>>(), [1]);
        assert_eq!(known.in_force().map(|one| one.id.0).collect::<Vec<_>>(), [2]);
        assert_eq!(known.next_end(), Some(at("10:00:00")));
        assert!(known.end(at("09:00:01"), &Ended::Expired, |one| one.id.0 == 1).is_empty(), "it ends once");
        let office = rule("office", "50 8 * * *", Action::Start);
        assert!(known.of_rule(&office, at("08:50:00")).is_some(), "what was due while it held stays paused");
    }
}
