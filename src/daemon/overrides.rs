//! Overrides in the engine: taken from people, told when they end, and what pauses and skips hold back when something is due.

mod request;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::draft::Draft;
use super::keeps;
use super::lines::Line;
use super::reload::opened;
use super::view::{self, moment};
use crate::domain::name::{GroupName, OverrideId, RuleName, ServerId};
use crate::domain::outcome::Reason;
use crate::domain::overrides::{Ended, Kind, On, Override, Overrides, Scope, skipped};
use crate::domain::rule::Rule;
use crate::ports::notifier::{NoticeKind, Told, Urgency};
use crate::settings::Settings;

pub use self::request::OverrideRequest;

/// What a person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A rule or group is paused, or servers are kept as they are, until a moment.
    Make {
        /// What.
        kind: Kind,
        /// Of whom.
        scope: Scope,
        /// From when on, if not from now on.
        from: Option<Timestamp>,
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: String,
        /// Who wants it, as the command gave it.
        who: String,
    },
    /// One occurrence of a rule is left undone.
    Skip {
        /// The rule.
        rule: RuleName,
        /// Which occurrence.
        on: On,
        /// Why.
        reason: String,
        /// Who wants it, as the command gave it.
        who: String,
    },
    /// All overrides of a rule, a group or a server end now.
    End {
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
    /// `pause`, `skip` or `keep`.
    pub kind: String,
    /// What its servers stay, for a keep: `on` or `off`.
    #[serde(default)]
    pub stays: Option<String>,
    /// What follows a keep: `apply`, `leave`, or `stop` and `start`.
    #[serde(default)]
    pub then: Option<String>,
    /// `rule`, `group` or `server`.
    pub scope: String,
    /// The name of that; of a server `ACCOUNT/NUMBER`.
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
            kind: one.kind.word().into(),
            stays: one.kind.stays().map(str::to_owned),
            then: one.kind.follows().map(str::to_owned),
            scope: one.scope.word().into(),
            name: one.scope.name(),
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
            kind: Kind::from_words(&self.kind, self.stays.as_deref(), self.then.as_deref())?,
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
        Scope::Server(_) => false,
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
        Change::Make { until, .. } if until.as_microsecond() <= draft.now.as_microsecond() => {
            Err(format!("the end {} has passed", moment(until, &zone)))
        }
        Change::Make { from: Some(from), until, .. } if until.as_microsecond() <= from.as_microsecond() => {
            Err(format!(
                "the end {} is not after the beginning {}",
                moment(until, &zone),
                moment(from, &zone)
            ))
        }
        Change::Make { kind, scope, from, until, reason, who } => {
            let from = from.map_or(draft.now, |from| from.max(draft.now));
            let contradicts = |other: &&Override| {
                let opposite = matches!((other.kind, kind), (Kind::Keep { forbids: one, .. }, Kind::Keep { forbids: other, .. }) if one != other);
                opposite && other.scope == scope && other.from < until && from < other.until
            };
            if let Some(other) = book.overrides.in_force().find(contradicts) {
                return Err(format!("{}; end that first", other.words(&zone)));
            }
            Ok(vec![make(book, draft, kind, scope, (from, until), (reason, who))])
        }
        Change::Skip { rule, on, reason, who } => {
            let Some(known) = book.settings.rules.get(&rule) else {
                return Err(format!("there is no rule {rule}"));
            };
            let span = skipped(known, &book.overrides, on, draft.now)?;
            Ok(vec![make(book, draft, Kind::Skip, Scope::Rule(rule), span, (reason, who))])
        }
        Change::End { scope, who } => {
            let how = Ended::Lifted(who.clone());
            let ended = book.overrides.end(draft.now, &how, |one| one.scope == scope);
            if ended.is_empty() {
                return Err(format!("{scope} is neither paused, skipped nor kept"));
            }
            for one in &ended {
                let words = format!("{}, ended by {who}{}", one.words(&zone), open_now(book, one, draft.now));
                draft.lines.push(Line::Override { words, who: who.clone() });
            }
            draft.turn.overrides_ended.extend(ended.iter().cloned());
            keeps::follow(book, draft, &ended);
            Ok(ended)
        }
    }
}

fn make(
    book: &mut Book,
    draft: &mut Draft,
    kind: Kind,
    scope: Scope,
    (from, until): (Timestamp, Timestamp),
    (reason, who): (String, String),
) -> Override {
    let zone = view::zone_of(Some(&book.settings), None);
    let made = Override { id: book.overrides.next_id(), kind, scope, from, until, reason, who, ended: None };
    draft.lines.push(Line::Override { words: made.words(&zone), who: made.who.clone() });
    draft.turn.overrides.push(made.clone());
    book.overrides.add(made.clone());
    made
}

/// Tells of overrides in force whose rule or group the configuration no longer has: they hold nothing any more.
pub(super) fn tell_of_what_is_gone(book: &Book, draft: &mut Draft, before: &Settings) {
    let has = |settings: &Settings, scope: &Scope| match scope {
        Scope::Rule(rule) => settings.rules.contains_key(rule),
        Scope::Group(group) => settings.groups.contains_key(group),
        Scope::Server(server) => settings.accounts.contains_key(&server.account),
    };
    let zone = view::zone_of(Some(&book.settings), None);
    let is_gone = |one: &&Override| has(before, &one.scope) && !has(&book.settings, &one.scope);
    for one in book.overrides.in_force().filter(is_gone) {
        let text = format!(
            "{}, and the configuration no longer has it: this holds nothing any more. End it with `sunup resume`, or make it anew for what \
             took its place.",
            one.words(&zone)
        );
        let ko = format!(
            "{}: 설정에 더 이상 없어 이제 아무것도 막지 않습니다. `sunup resume`으로 끝내거나 새 이름으로 다시 만들어 주세요.",
            one.words(&zone)
        );
        draft.tell(NoticeKind::Config, Urgency::NeedsAPerson, Told::new(text, ko));
    }
}

/// Ends those whose time is up, and tells of it.
pub(super) fn expire(book: &mut Book, draft: &mut Draft) {
    let now = draft.now;
    let ended = book.overrides.end(now, &Ended::Expired, |one| one.until <= now);
    for one in ended.iter().filter(|one| one.holds_rules()) {
        let is_another = |other: &&Override| other.scope == one.scope && other.kind == one.kind;
        let still = book.overrides.in_force().find(is_another).filter(|_| one.kind == Kind::Pause);
        let zone = view::zone_of(Some(&book.settings), None);
        let now_what = match still {
            Some(other) => format!("; another pause goes on: {}", other.words(&zone)),
            None => open_now(book, one, now),
        };
        let text = format!("the {} of {} by {} has ended{now_what}.", one.kind.word(), one.scope, one.who);
        let ko = format!("{}의 {} {}이(가) 끝났습니다{now_what}.", one.who, one.scope, one.kind.word());
        draft.tell(NoticeKind::Override, Urgency::GoodToKnow, Told::new(text, ko));
    }
    keeps::follow(book, draft, &ended);
    draft.turn.overrides_ended.extend(ended);
}

/// What the end of a pause leaves undone: hours whose opening fell into it start nothing by themselves. `known` are all overrides: what
/// another one still holds back is not named.
#[must_use]
pub fn left_undone(settings: &Settings, known: &Overrides, one: &Override, now: Timestamp) -> Vec<String> {
    if !one.holds_rules() {
        return Vec::new();
    }
    let is_free = |rule: &&Rule| !known.in_force().any(|other| other.holds_rules() && other.is_about(rule));
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
    use crate::domain::name::Action;
    use crate::domain::overrides::Then;

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
            kind: Kind::Pause,
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
        let keep = |forbids, then| Kind::Keep { forbids, then };
        let kinds = [
            Kind::Skip,
            keep(Action::Stop, Then::Apply),
            keep(Action::Stop, Then::Act),
            keep(Action::Start, Then::Leave),
            keep(Action::Start, Then::Act),
        ];
        for kind in kinds {
            let scope = Scope::from_words("server", "main/1002").unwrap();
            let one = Override { kind, scope, ..one.clone() };
            assert_eq!(Shown::new(&one, &zone).read(), Some(one));
        }
    }
}
