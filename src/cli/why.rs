//! `sunup why`: which rules, calendars and limits decide about a server at a moment, and what became of it.

use std::collections::BTreeSet;

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde_json::{Value, json};

use super::check::in_words;
use super::exit::Exit;
use super::value::{list, text};
use super::{Common, ask, groups, history, load, pause, show};
use crate::adapters::clock::SystemClock;
use crate::daemon::control::HistoryRequest;
use crate::daemon::keeps::Keeping;
use crate::daemon::view;
use crate::domain::guard::{Naming, Subject};
use crate::domain::name::{Action, ServerId};
use crate::domain::order::Order;
use crate::domain::overrides::{Kind, Overrides, Then};
use crate::domain::plan::{self, Explained, Occurrence};
use crate::domain::roster::Roster;
use crate::domain::rule::{AfterKeep, HandStopped, Rule};
use crate::domain::schedule::{Fate, When};
use crate::ports::clock::Clock;
use crate::settings::Settings;

/// So many occurrences are looked at for the one that changes a server next.
const LOOK_AHEAD_MAX: usize = 2000;
/// So many runs with a server's number are looked through for one of its account.
const SAME_NUMBER_MAX: u32 = 20;
/// So many occurrences that do not happen are told.
const STRUCK_MAX: usize = 20;
/// So far back, in days, the occurrence that decides is looked for; the first that finds one counts.
const LOOK_BACK_DAYS: [i64; 4] = [2, 9, 40, 400];

#[derive(Args)]
pub(super) struct Options {
    /// A server, by its number or name
    #[arg(value_name = "SERVER")]
    server: String,
    /// When; now if it is not named
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// One server at one moment, and everything that is said of it.
struct Case<'a> {
    settings: &'a Settings,
    roster: &'a Roster,
    report: &'a Value,
    server: ServerId,
    name: Option<String>,
    at: Timestamp,
    zone: TimeZone,
    /// The rules whose groups hold it.
    rules: Vec<&'a Rule>,
    verdict: Verdict<'a>,
    /// The last run with it that was due by then, as `history` shows it; or why the past cannot be looked at.
    past: Result<Option<Value>, String>,
    /// Whether it is about now, so that something can still be done.
    is_now: bool,
}

/// What decides about a server at a moment.
struct Verdict<'a> {
    /// The newest occurrence that happened by then.
    last: Option<Occurrence>,
    /// Rules of hours that want it up, with when they close.
    wanted: Vec<(&'a Rule, Option<Timestamp>)>,
    /// What would have happened on that day, and did not.
    struck: Vec<Explained>,
    /// The next occurrence that changes it.
    next: Option<Occurrence>,
    /// What a person holds back at that moment, in words.
    paused: BTreeSet<String>,
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let settings = load::in_force(common)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let zone = view::zone_of(Some(&settings), None);
        let now = SystemClock.now();
        let at = options.at.as_deref().map_or(Ok(now), |text| ask::moment(text, &zone, now))?;
        let (roster, report) = groups::roster(common, &settings).await;
        let servers = named(common, &settings, (&roster, &report), &options.server).await?;
        let overrides = pause::known(common, &settings).await;
        for (server, name) in servers {
            let rules = rules_of(&settings, &roster, &server);
            let verdict = judge(&settings, (&roster, &overrides), &rules, &server, at, &zone);
            let past = past((common, &settings), &server, at, verdict.last.as_ref()).await;
            let past = past.map_err(|error| format!("{error:#}"));
            let case = Case {
                settings: &settings,
                roster: &roster,
                report: &report,
                server,
                name,
                at,
                zone: zone.clone(),
                rules,
                verdict,
                past,
                is_now: at == now,
            };
            if common.json {
                show::line(&case.as_json().to_string());
            } else {
                case.print(now);
            }
        }
        Ok(Exit::Done)
    })
}

fn rules_of<'a>(settings: &'a Settings, roster: &Roster, server: &ServerId) -> Vec<&'a Rule> {
    let groups = roster.groups_of(server);
    settings.rules.values().filter(|rule| rule.groups.iter().any(|group| groups.contains(group))).collect()
}

/// The servers that a number or a name means, with their names where they are known.
async fn named(
    common: &Common,
    settings: &Settings,
    (roster, report): (&Roster, &Value),
    wanted: &str,
) -> anyhow::Result<Vec<(ServerId, Option<String>)>> {
    let listed = roster.servers().filter(|server| server.no.as_str() == wanted);
    let mut found: Vec<(ServerId, Option<String>)> = listed.map(|server| (server.clone(), None)).collect();
    for server in list(report, "groups").iter().flat_map(|group| list(group, "servers")) {
        let (no, name) = (text(server, "server"), text(server, "name"));
        let is_it =
            |known: &ServerId| known.no.as_str() == no && known.account.as_str() == text(server, "account");
        if name.is_empty() || (no != wanted && name != wanted) {
            continue;
        }
        match found.iter_mut().find(|(known, _)| is_it(known)) {
            Some((_, known)) => *known = Some(name.to_owned()),
            None => found.extend(
                roster.servers().find(|known| is_it(known)).map(|id| (id.clone(), Some(name.to_owned()))),
            ),
        }
    }
    let entries = history::entries(common, &settings.store, Some(settings), of_server(wanted, None, 1))
        .await
        .unwrap_or_default();
    let targets = entries.iter().flat_map(|entry| list(entry, "targets"));
    for target in targets {
        let (no, name) = (text(target, "server"), text(target, "name"));
        let is_it = |server: &ServerId| {
            server.no.as_str() == no && server.account.as_str() == text(target, "account")
        };
        if let Some((_, known)) = found.iter_mut().find(|(server, _)| is_it(server)) {
            *known = known.take().or_else(|| (!name.is_empty()).then(|| name.to_owned()));
        } else if name == wanted {
            let held = roster.servers().find(|server| is_it(server));
            found.extend(held.map(|server| (server.clone(), Some(name.to_owned()))));
        }
    }
    if found.is_empty() {
        return Err(Exit::Usage.with(format!(
            "no group holds a server `{wanted}`; `sunup groups` shows whom each one has. Without a daemon only the numbers in the file \
             are known"
        )));
    }
    Ok(found)
}

fn judge<'a>(
    settings: &Settings,
    (roster, overrides): (&Roster, &Overrides),
    rules: &[&'a Rule],
    server: &ServerId,
    at: Timestamp,
    zone: &TimeZone,
) -> Verdict<'a> {
    let enabled = || rules.iter().copied().filter(|rule| rule.enabled);
    let groups = roster.groups_of(server);
    let order = Order::new(&settings.groups, roster);
    // The closing edge of hours leaves alone what another rule's hours want up.
    let counts = |occurrence: &Occurrence| {
        let rule = rules.iter().find(|rule| rule.name == occurrence.rule);
        let left_alone = rule.is_some_and(|rule| {
            let is_edge = matches!(rule.schedule.when, When::Hours(_)) && occurrence.action == Action::Stop;
            is_edge
                && settings
                    .open_hours(roster, overrides, occurrence.due)
                    .wanting(&rule.name, server)
                    .is_some()
        });
        let held_back = rule.is_some_and(|rule| overrides.holding(rule, groups, occurrence.due).is_some());
        let keeping = Keeping::at(overrides, roster, &order, occurrence.due);
        let kept = keeping.holding(occurrence.action, server).is_some_and(|keep| {
            // What is made up for decides from the end of the keep on.
            let leaves = matches!(keep.kind, Kind::Keep { then: Then::Leave, .. })
                || rule.is_some_and(|rule| rule.after_keep == AfterKeep::Leave);
            leaves || keep.end() > at
        });
        !left_alone && !held_back && !kept
    };
    let last = LOOK_BACK_DAYS.into_iter().find_map(|days| {
        let begin = at.saturating_sub(SignedDuration::from_hours(24 * days)).ok()?;
        plan::occurrences(enabled(), begin, at).filter(counts).last()
    });
    let wanted = enabled().filter_map(|rule| Some((rule, rule.schedule.open_span(at)?.closes))).collect();
    let date = zone.to_datetime(at).date();
    let midnight = |date: jiff::civil::Date| zone.to_zoned(date.at(0, 0, 0, 0)).ok().map(|z| z.timestamp());
    let begin = midnight(date).and_then(|at| at.checked_sub(1.second()).ok()).unwrap_or(at);
    let end = date.tomorrow().ok().and_then(midnight).unwrap_or(at);
    let mut lines = plan::explained_first(&enabled().collect::<Vec<_>>(), begin, end, STRUCK_MAX * 10);
    overrides.strike(&mut lines, |name| rules.iter().copied().find(|rule| rule.name == *name));
    let struck = lines.into_iter().filter(|line| !line.fate.happens()).take(STRUCK_MAX).collect();
    // What changes it next; another start of what is up does not.
    let changes = |next: &Occurrence| last.as_ref().is_none_or(|last| last.action != next.action);
    let ahead = plan::occurrences(enabled(), at, Timestamp::MAX).take(LOOK_AHEAD_MAX);
    let next = ahead.filter(counts).find(changes);
    let holding = enabled().filter_map(|rule| overrides.holding(rule, groups, at));
    let keeping = Keeping::at(overrides, roster, &order, at);
    let kept = [Action::Stop, Action::Start].into_iter().filter_map(|action| keeping.holding(action, server));
    let paused: BTreeSet<String> = holding.chain(kept).map(|one| one.words(zone)).collect();
    Verdict { last, wanted, struck, next, paused }
}

fn shown(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %-d %b %Y %H:%M:%S").to_string()
}

impl Case<'_> {
    /// What the rules want of the server, in one sentence.
    fn sentence(&self) -> String {
        let verdict = &self.verdict;
        let Some(last) = &verdict.last else {
            return match verdict.wanted.first() {
                Some((rule, _)) => format!("the hours of rule {} want it up", rule.name),
                None => "no rule has decided about it by then: it stays as it is".to_owned(),
            };
        };
        let state = if last.action == Action::Start { "up" } else { "down" };
        let by = format!("rule {} is to {} it at {}", last.rule, last.action, shown(last.due, &self.zone));
        let until = verdict.next.as_ref().map(|next| {
            format!(", until rule {} is to {} it at {}", next.rule, next.action, shown(next.due, &self.zone))
        });
        format!("meant to be {state}: {by}{}", until.unwrap_or_default())
    }

    /// Why limits keep an action away from the server.
    fn limits(&self) -> Vec<String> {
        let servers = list(self.report, "groups").iter().flat_map(|group| list(group, "servers"));
        let is_it = |server: &&Value| {
            text(server, "server") == self.server.no.as_str()
                && text(server, "account") == self.server.account.as_str()
        };
        // The daemon also knows on which server it runs itself.
        if let Some(server) = servers.into_iter().find(is_it) {
            let told =
                [("started", text(server, "never_started")), ("stopped", text(server, "never_stopped"))];
            let told = told.iter().filter(|(_, why)| !why.is_empty());
            let mut told: Vec<String> =
                told.map(|(verb, why)| format!("it is never {verb}: {why}")).collect();
            let left = text(server, "stopped_by_hand_since");
            if !left.is_empty() {
                told.push(self.by_hand(left));
            }
            return told;
        }
        let groups = self.roster.groups_of(&self.server);
        let forbidden = |action: Action| {
            let name = self.name.as_deref().map_or(Naming::NotYetSeen, Naming::Named);
            let subject = Subject { no: &self.server.no, name, groups };
            let reason = self.settings.limits.forbid(action, &subject)?;
            let verb = if action == Action::Start { "started" } else { "stopped" };
            Some(format!("it is never {verb}: {}", reason.text))
        };
        [Action::Start, Action::Stop].into_iter().filter_map(forbidden).collect()
    }

    /// What rules do about it, now that somebody stopped it outside of Sunup.
    fn by_hand(&self, left: &str) -> String {
        let starts = |rule: &&&Rule| rule.enabled && rule.schedule.actions().contains(&Action::Start);
        let leaving = self.rules.iter().filter(starts).filter(|rule| rule.hand_stopped == HandStopped::Leave);
        let leaving: Vec<&str> = leaving.map(|rule| rule.name.as_str()).collect();
        let follows = match leaving.as_slice() {
            [] => "rules start it all the same".to_owned(),
            names => format!("rule {} leaves it off until a person starts it", names.join(", ")),
        };
        format!("somebody stopped it outside of sunup: it ran at {left}; {follows}")
    }

    fn groups(&self) -> Vec<String> {
        self.roster.groups_of(&self.server).iter().map(ToString::to_string).collect()
    }

    fn print(&self, now: Timestamp) {
        let (server, zone) = (&self.server, &self.zone);
        show::line(&format!(
            "server {}{} of account {}, in {}, at {} ({})",
            server.no,
            self.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default(),
            server.account,
            self.groups().join(", "),
            shown(self.at, zone),
            zone.iana_name().unwrap_or("UTC")
        ));
        show::line(&self.sentence());
        for line in &self.verdict.struck {
            if let Fate::Struck(cause) = &line.fate {
                let (rule, action) = (&line.occurrence.rule, line.occurrence.action);
                let due = shown(line.occurrence.due, zone);
                show::line(&format!("  not on that day: rule {rule} {action} at {due}: {cause}"));
            }
        }
        for (rule, closes) in &self.verdict.wanted {
            let until = closes.map(|at| format!(" until {}", shown(at, zone))).unwrap_or_default();
            show::line(&format!("  inside the hours of rule {}{until}", rule.name));
        }
        for words in &self.verdict.paused {
            show::line(&format!("  {words}"));
        }
        for limit in self.limits() {
            show::line(&format!("  {limit}"));
        }
        show::line("\nits rules:");
        for rule in &self.rules {
            show::line(&format!("  {}: {}", rule.name, in_words(rule, now)));
        }
        if self.rules.is_empty() {
            show::line("  none: it stands in no group that a rule names");
        }
        match &self.past {
            Ok(Some(run)) => {
                show::line(&format!("\nthe last run with it by then: {}", run_words(run, &self.server)));
            }
            Ok(None) => show::line("\nno run with it by then is known"),
            Err(why) => show::line(&format!("\nwhat became of it is not known: {why}")),
        }
        if let Some(line) = self.remedy() {
            show::line(&line);
        }
    }

    /// What a person can do now where the last run did not bring the server to where it is meant to be.
    fn remedy(&self) -> Option<String> {
        let verdict = &self.verdict;
        let action = match &verdict.last {
            Some(last) => last.action,
            None => verdict.wanted.first().map(|_| Action::Start)?,
        };
        let run = self.past.as_ref().ok()?.as_ref()?;
        let went_wrong = matches!(outcome_of(run, &self.server), "failed" | "unknown" | "missed");
        let is_of_that = text(run, "action") == action.word();
        (self.is_now && went_wrong && is_of_that)
            .then(|| format!("to {action} it now: `sunup {action} --server {}`", self.server.no))
    }

    fn as_json(&self) -> Value {
        let verdict = &self.verdict;
        let occurrence = |occurrence: &Occurrence| view::occurrence(occurrence, self.settings);
        let lines = view::PlanLines::new(self.settings);
        let line = |line: &Explained| serde_json::from_str(&lines.json(line)).unwrap_or(Value::Null);
        let meant = match (&verdict.last, verdict.wanted.is_empty()) {
            (Some(last), _) => Some(if last.action == Action::Start { "up" } else { "down" }),
            (None, false) => Some("up"),
            (None, true) => None,
        };
        json!({
            "server": self.server.no.as_str(),
            "account": self.server.account.as_str(),
            "name": self.name,
            "at": view::moment(self.at, &self.zone),
            "groups": self.groups(),
            "meant": meant,
            "decided_by": verdict.last.as_ref().map(occurrence),
            "next": verdict.next.as_ref().map(occurrence),
            "skipped": verdict.struck.iter().map(line).collect::<Vec<_>>(),
            "inside_hours_of": verdict.wanted.iter().map(|(rule, closes)| json!({
                "rule": rule.name.as_str(),
                "until": closes.map(|at| view::moment(at, &self.zone)),
            })).collect::<Vec<_>>(),
            "overrides": verdict.paused,
            "limits": self.limits(),
            "last_run": self.past.as_ref().ok(),
            "past_problem": self.past.as_ref().err(),
        })
    }
}

fn target_of<'r>(run: &'r Value, server: &ServerId) -> Option<&'r Value> {
    list(run, "targets").iter().find(|target| text(target, "server") == server.no.as_str())
}

fn outcome_of<'r>(run: &'r Value, server: &ServerId) -> &'r str {
    text(target_of(run, server).unwrap_or(run), "outcome")
}

fn run_words(run: &Value, server: &ServerId) -> String {
    let outcome = outcome_of(run, server);
    // What it waits for, while it has not ended.
    let field = if outcome.is_empty() { "why" } else { "reason" };
    let reason = text(target_of(run, server).unwrap_or(run), field);
    let who = if text(run, "rule").is_empty() { text(run, "who") } else { text(run, "rule") };
    let id = run.get("run").and_then(Value::as_i64);
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    let more = id.map(|id| format!("; see `sunup history {id}`")).unwrap_or_default();
    let outcome = if outcome.is_empty() { "not ended yet" } else { outcome };
    format!("{who} {} due {}: {outcome}{reason}{more}", text(run, "action"), text(run, "due"))
}

/// The last run with the server that was due by a moment; or that the occurrence which decides was missed.
async fn past(
    (common, settings): (&Common, &Settings),
    server: &ServerId,
    at: Timestamp,
    decides: Option<&Occurrence>,
) -> anyhow::Result<Option<Value>> {
    let entries = |request| history::entries(common, &settings.store, Some(settings), request);
    let to = at.checked_add(1.second()).ok();
    let found = entries(of_server(server.no.as_str(), to, SAME_NUMBER_MAX)).await?;
    let is_it = |target: &Value| {
        text(target, "server") == server.no.as_str() && text(target, "account") == server.account.as_str()
    };
    let run = found.into_iter().find(|run| list(run, "targets").iter().any(is_it));
    let Some(decides) = decides else { return Ok(run) };
    let rule = Some(decides.rule.to_string());
    let of_rule = HistoryRequest { rule, to, limit: Some(SAME_NUMBER_MAX), ..HistoryRequest::default() };
    // What was missed names no server: its rule tells whom it would have been about.
    let missed = entries(of_rule).await?.into_iter().find(|entry| {
        let moment = |field: &str| text(entry, field).parse::<Timestamp>().ok();
        let spans = moment("due").zip(moment("last"));
        text(entry, "entry") == "missed"
            && text(entry, "action") == decides.action.word()
            && spans.is_some_and(|(first, last)| (first..=last).contains(&decides.planned))
    });
    Ok(missed.or(run))
}

fn of_server(server: &str, to: Option<Timestamp>, limit: u32) -> HistoryRequest {
    HistoryRequest { server: Some(server.to_owned()), to, limit: Some(limit), ..HistoryRequest::default() }
}
