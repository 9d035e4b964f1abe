//! Overrides in the engine: taken from people, told when they end, and what they hold back when something is due.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::book::{Book, Draft};
use super::lines::Line;
use super::reload::opened;
use super::view::{self, moment};
use crate::domain::name::{GroupName, OverrideId, ServerId};
use crate::domain::outcome::Reason;
use crate::domain::overrides::{Ended, Override, Overrides, Scope};
use crate::domain::rule::Rule;
use crate::ports::notifier::{NoticeKind, Urgency};
use crate::settings::Settings;

/// What a person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A rule or group is left alone until a moment.
    Pause {
        /// Which one.
        scope: Scope,
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: String,
        /// Who wants it, as the command gave it.
        who: String,
    },
    /// Its pauses end now.
    Resume {
        /// Which one.
        scope: Scope,
        /// Who wants it, as the command gave it.
        who: String,
    },
}

/// An override as the control socket shows it. Moments are RFC 3339 in the configuration's zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its number.
    pub id: i64,
    /// `pause`.
    pub kind: String,
    /// `rule` or `group`.
    pub scope: String,
    /// The name of that.
    pub name: String,
    /// Since when.
    pub from: String,
    /// Until when it was made.
    pub until: String,
    /// Why; may be empty.
    pub reason: String,
    /// Who made it.
    pub who: String,
    /// When it ended; null while it is in force.
    pub ended: Option<String>,
    /// Who ended it before its time.
    pub lifted_by: Option<String>,
    /// The same in a sentence.
    pub words: String,
}

impl Shown {
    /// An override as it is shown.
    #[must_use]
    pub fn new(one: &Override, zone: &TimeZone) -> Self {
        let lifted_by = match &one.ended {
            Some((_, Ended::Lifted(who))) => Some(who.clone()),
            Some((_, Ended::Expired)) | None => None,
        };
        Self {
            id: one.id.0,
            kind: "pause".into(),
            scope: one.scope.word().into(),
            name: one.scope.name().into(),
            from: moment(one.from, zone),
            until: moment(one.until, zone),
            reason: one.reason.clone(),
            who: one.who.clone(),
            ended: one.ended.as_ref().map(|(at, _)| moment(*at, zone)),
            lifted_by,
            words: one.words(zone),
        }
    }

    /// Reads it back; `None` for what this version does not understand.
    #[must_use]
    pub fn read(self) -> Option<Override> {
        let ended = match self.ended {
            Some(at) => Some((at.parse().ok()?, self.lifted_by.map_or(Ended::Expired, Ended::Lifted))),
            None => None,
        };
        Some(Override {
            id: OverrideId(self.id),
            scope: Scope::from_words(&self.scope, &self.name)?,
            from: self.from.parse().ok()?,
            until: self.until.parse().ok()?,
            reason: self.reason,
            who: self.who,
            ended,
        })
    }
}

/// Finds the rule or group that a command names: `NAME`, or `rule:NAME` and `group:NAME` where both have it.
///
/// # Errors
/// What is wrong with the name, and what would be right.
pub fn named(text: &str, settings: &Settings) -> Result<Scope, String> {
    let (word, name) = match text.split_once(':') {
        Some((word @ ("rule" | "group"), name)) => (Some(word), name),
        _ => (None, text),
    };
    let exists = |scope: &Scope| match scope {
        Scope::Rule(rule) => settings.rules.contains_key(rule),
        Scope::Group(group) => settings.groups.contains_key(group),
    };
    let words = ["rule", "group"].into_iter().filter(|one| word.is_none_or(|word| word == *one));
    let found: Vec<Scope> =
        words.filter_map(|word| Scope::from_words(word, name)).filter(|scope| exists(scope)).collect();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            let rules: Vec<&str> = settings.rules.keys().map(|rule| rule.as_str()).collect();
            let groups: Vec<&str> = settings.groups.keys().map(GroupName::as_str).collect();
            Err(format!(
                "there is no rule or group `{text}`; the rules are `{}`, the groups `{}`",
                rules.join("`, `"),
                groups.join("`, `")
            ))
        }
        _ => Err(format!("`{name}` is a rule and a group: write `rule:{name}` or `group:{name}`")),
    }
}

/// Takes a change: what was made, or what ended.
pub(super) fn change(book: &mut Book, draft: &mut Draft, change: Change) -> Result<Vec<Override>, String> {
    let zone = view::zone_of(Some(&book.settings), None);
    match change {
        // The journal keeps microseconds.
        Change::Pause { until, .. } if until.as_microsecond() <= draft.now.as_microsecond() => {
            Err(format!("the end {} has passed", moment(until, &zone)))
        }
        Change::Pause { scope, until, reason, who } => {
            let (id, from) = (book.overrides.next_id(), draft.now);
            let made = Override { id, scope, from, until, reason, who, ended: None };
            draft.lines.push(Line::Override { words: made.words(&zone), who: made.who.clone() });
            draft.turn.overrides.push(made.clone());
            book.overrides.add(made.clone());
            Ok(vec![made])
        }
        Change::Resume { scope, who } => {
            let ended = book.overrides.end(draft.now, &Ended::Lifted(who.clone()), |one| one.scope == scope);
            let Some(one) = ended.first() else { return Err(format!("{scope} is not paused")) };
            let words = format!("{scope} is no longer paused, by {who}{}", open_now(book, one, draft.now));
            draft.lines.push(Line::Override { words, who });
            draft.turn.overrides_ended.extend(ended.iter().cloned());
            Ok(ended)
        }
    }
}

/// Ends those whose time is up, and tells of it.
pub(super) fn expire(book: &mut Book, draft: &mut Draft) {
    let now = draft.now;
    let ended = book.overrides.end(now, &Ended::Expired, |one| one.until <= now);
    for one in &ended {
        let still = book.overrides.in_force().find(|other| other.scope == one.scope);
        let zone = view::zone_of(Some(&book.settings), None);
        let now_what = match still {
            Some(other) => format!("; another pause goes on: {}", other.words(&zone)),
            None => open_now(book, one, now),
        };
        let text = format!("the pause of {} by {} has ended{now_what}.", one.scope, one.who);
        draft.tell(NoticeKind::Override, Urgency::GoodToKnow, text);
    }
    draft.turn.overrides_ended.extend(ended);
}

/// What the end of a pause leaves undone: hours whose opening fell into it start nothing by themselves. `known` are all overrides: what
/// another one still holds back is not named.
#[must_use]
pub fn left_undone(settings: &Settings, known: &Overrides, one: &Override, now: Timestamp) -> Vec<String> {
    let is_free = |rule: &&Rule| !known.in_force().any(|other| other.is_about(rule));
    let touched = settings.rules.values().filter(|rule| one.held_opening(rule, now)).filter(is_free);
    touched.filter_map(|rule| opened(rule, None, now)).collect()
}

fn open_now(book: &Book, one: &Override, now: Timestamp) -> String {
    let words = left_undone(&book.settings, &book.overrides, one, now);
    words.into_iter().map(|words| format!("; {words}")).collect()
}

/// The servers of a rule that overrides hold back at a moment, with the reason.
pub(super) fn held<'s>(
    book: &Book,
    rule: &Rule,
    due: Timestamp,
    servers: impl Iterator<Item = &'s ServerId>,
) -> BTreeMap<ServerId, Reason> {
    let zone = &rule.schedule.zone;
    let by = |server: &ServerId| book.overrides.holding(rule, book.roster.groups_of(server), due);
    servers.filter_map(|server| Some((server.clone(), by(server)?.as_reason(zone)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene;

    #[test]
    fn a_name_means_the_rule_or_the_group_that_has_it_and_never_a_guess() {
        let rules = "[rules.night]\ncron = \"0 20 * * *\"\nstop = [\"db\"]\n\
                     [rules.web]\ncron = \"0 9 * * *\"\nstart = [\"web\"]\n";
        let settings = scene::settings(rules);
        let name = |text: &str| named(text, &settings).map(|scope| scope.to_string());

        assert_eq!(name("night"), Ok("rule night".into()));
        assert_eq!(name("db"), Ok("group db".into()));
        assert_eq!((name("rule:web"), name("group:web")), (Ok("rule web".into()), Ok("group web".into())));
        assert_eq!(name("web"), Err("`web` is a rule and a group: write `rule:web` or `group:web`".into()));
        assert_eq!(
            name("rule:db"),
            Err("there is no rule or group `rule:db`; the rules are `night`, `web`, the groups `db`, `web`"
                .into())
        );
    }

    #[test]
    fn what_the_socket_shows_of_an_override_is_read_back_as_it_was() {
        let one = Override {
            id: OverrideId(7),
            scope: Scope::from_words("group", "web").unwrap(),
            from: scene::at("08:00:00"),
            until: scene::at("20:00:00"),
            reason: "배포".into(),
            who: "kim".into(),
            ended: None,
        };
        let zone = TimeZone::get("Asia/Seoul").unwrap();

        for ended in [None, Some(Ended::Expired), Some(Ended::Lifted("lee".into()))] {
            let one = Override { ended: ended.map(|how| (scene::at("09:00:00"), how)), ..one.clone() };
            assert_eq!(Shown::new(&one, &zone).read(), Some(one));
        }
    }
}
