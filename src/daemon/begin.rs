//! From a wish to a run: its head, whom it is about as far as that is known, and its targets as they begin.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::book::{Book, Decided, Run};
use super::claims::{PersonRun, rule_of};
use super::draft::Draft;
use crate::domain::group::Group;
use crate::domain::name::{Action, GroupName, ServerId};
use crate::domain::order::Chains;
use crate::domain::outcome::{Asked, Outcome, Reason, ReasonKind, RunOutcome};
use crate::domain::plan::Occurrence;
use crate::domain::rule::{Rule, WINDOW_DEFAULT};
use crate::domain::schedule::When;
use crate::domain::server::{Found, Standing};
use crate::domain::target::{Event, Progress, SIGHT_AGE_MAX, later};
use crate::planted::{Bug, is_planted};
use crate::ports::notifier::{About, NoticeKind, Told, Urgency};
use crate::ports::store::{Origin, Resolution, RunHead, Target, Waiver};

/// A wish that is to become a run, with its targets as they begin.
pub(super) struct Begun {
    pub(super) head: RunHead,
    pub(super) targets: Vec<Target>,
    pub(super) resolution: Resolution,
    /// The outcome and its reason, for a run that ends where it begins.
    pub(super) ended: Option<(RunOutcome, String)>,
}

pub(super) fn head_of(rule: &Rule, occurrence: &Occurrence, now: Timestamp) -> RunHead {
    RunHead {
        origin: Origin::Rule(rule.name.clone()),
        action: occurrence.action,
        groups: rule.groups.clone(),
        planned: occurrence.planned,
        due: occurrence.due,
        window_end: later(occurrence.due, rule.window(occurrence.action)),
        claimed: now,
        waived: BTreeSet::new(),
    }
}

pub(super) fn head_of_command(book: &Book, command: &PersonRun, now: Timestamp) -> RunHead {
    let mut groups = command.groups.clone();
    groups.extend(command.servers.iter().flat_map(|server| book.roster.groups_of(server)).cloned());
    let chain = Chains::new(&book.settings.groups).of(&groups, command.action);
    RunHead {
        origin: Origin::Person(command.who.clone()),
        action: command.action,
        groups: command.groups.clone(),
        planned: now,
        due: now,
        window_end: later(now, WINDOW_DEFAULT + chain),
        claimed: now,
        waived: command.waived.clone(),
    }
}

/// How old a list may be that tells whom a run is about.
pub(super) fn known_from(book: &Book, now: Timestamp) -> Timestamp {
    let age = SIGHT_AGE_MAX.max(book.settings.checks.preflight + Duration::from_secs(10));
    now.saturating_sub(age).unwrap_or(Timestamp::MIN)
}

/// The groups whose servers are known well enough to act on.
fn known_groups(book: &Book, groups: &[GroupName], now: Timestamp) -> Vec<GroupName> {
    let since = known_from(book, now);
    groups.iter().filter(|group| book.roster.is_known_since(group, since)).cloned().collect()
}

/// The groups of a rule that can be acted on: none while it is not known whom other hours want up at a closing edge.
pub(super) fn clear_groups(
    book: &Book,
    rule: &Rule,
    groups: &[GroupName],
    (action, due): (Action, Timestamp),
    now: Timestamp,
) -> Vec<GroupName> {
    let since = known_from(book, now);
    let account_of = |name: &GroupName| book.settings.groups.get(name).map(|group| &group.account);
    let wanting = wanting_groups(book, rule, action, [due, now]);
    // Only what other hours want in the same account can be about the same servers.
    let unsure: BTreeSet<_> = wanting
        .iter()
        .filter(|group| !book.roster.is_known_since(group, since))
        .filter_map(account_of)
        .collect();
    let known = known_groups(book, groups, now).into_iter();
    known.filter(|group| account_of(group).is_none_or(|account| !unsure.contains(account))).collect()
}

/// The groups of other hours that are open at all of some moments: a closing edge leaves their servers alone.
pub(super) fn wanting_groups(
    book: &Book,
    rule: &Rule,
    action: Action,
    moments: [Timestamp; 2],
) -> Vec<GroupName> {
    let is_hours = |rule: &Rule| matches!(rule.schedule.when, When::Hours(_));
    if action != Action::Stop || !is_hours(rule) {
        return Vec::new();
    }
    let others = book.settings.rules.values().filter(|other| {
        let needs = |name: &GroupName| book.settings.groups.get(name).is_some_and(Group::needs_list);
        other.enabled && other.name != rule.name && is_hours(other) && other.groups.iter().any(needs)
    });
    let open = others.filter(|other| {
        let wants = |at: &Timestamp| {
            other.schedule.open_span(*at).is_some() && book.overrides.of_rule(other, *at).is_none()
        };
        moments.iter().all(wants)
    });
    open.flat_map(|other| other.groups.iter().cloned()).collect()
}

/// Remembers what the newest wish wants of a server.
pub(super) fn note_decided(book: &mut Book, server: &ServerId, head: &RunHead) {
    book.forget_kept(server, head.due);
    let is_older = |known: &Decided| {
        let start_wins = known.due == head.due && known.action == Action::Start;
        known.due > head.due || start_wins
    };
    if !book.decided.get(server).is_some_and(is_older) {
        let decided = Decided { action: head.action, due: head.due, by: head.origin.words() };
        book.decided.insert(server.clone(), decided);
    }
}

pub(super) fn servers_of_command(
    book: &Book,
    command: &PersonRun,
    now: Timestamp,
) -> BTreeMap<ServerId, Duration> {
    let known = known_groups(book, &command.groups, now);
    let mut servers = book.settings.servers_of(&book.roster, &known, command.action);
    for server in &command.servers {
        let holding = book.roster.groups_of(server).iter().filter_map(|name| book.settings.groups.get(name));
        let limit = holding.map(|group| group.limit(command.action)).max();
        servers.entry(server.clone()).or_insert(limit.unwrap_or(crate::settings::LIMIT_DEFAULT));
    }
    servers
}

/// An open opposite run that is newer: an older occurrence that is claimed late gives way to it.
pub(super) fn newer_open(book: &Book, server: &ServerId, head: &RunHead) -> Option<String> {
    let runs = book.open_targets_of(server).into_iter().filter_map(|id| book.runs.get(&id));
    let newer = |run: &&Run| {
        let rule = rule_of(head).is_some();
        let start_wins = rule && run.head.due == head.due && run.head.action == Action::Start;
        run.head.action != head.action && (run.head.due > head.due || start_wins)
    };
    runs.into_iter().find(newer).map(|run| run.head.origin.words())
}

/// Whether a person's override is the reason.
pub(super) fn is_persons(reason: &Reason) -> bool {
    matches!(reason.kind, ReasonKind::Paused | ReasonKind::Kept)
}

/// Why a server is not asked for: a person's override comes before a guard of the whole run, and that before what else leaves it alone.
pub(super) fn held_back(guard: Option<&Reason>, alone: Option<&Reason>) -> Option<Reason> {
    alone.filter(|reason| is_persons(reason)).or(guard).or(alone).cloned()
}

/// A wish with its targets as they begin: guarded, superseded, joined or free.
pub(super) fn with_targets(
    book: &Book,
    head: RunHead,
    servers: BTreeMap<ServerId, Duration>,
    kept_up: &BTreeMap<ServerId, Reason>,
    newer: impl Fn(&ServerId) -> Option<String>,
) -> Begun {
    let known = match rule_of(&head).and_then(|rule| book.settings.rules.get(rule)) {
        Some(rule) => clear_groups(book, rule, &head.groups, (head.action, head.due), head.claimed),
        None => known_groups(book, &head.groups, head.claimed),
    };
    // Of a group that is paused nobody needs to know whom it means.
    let rule = rule_of(&head).and_then(|rule| book.settings.rules.get(rule));
    let paused = rule.and_then(|rule| book.overrides.of_rule(rule, head.due));
    let is_meant = |group: &&GroupName| {
        paused.is_none() && (rule.is_none() || book.overrides.of_group(group, head.due).is_none())
    };
    let meant: Vec<GroupName> = head.groups.iter().filter(is_meant).cloned().collect();
    let (known, pending): (Vec<GroupName>, Vec<GroupName>) =
        meant.into_iter().partition(|group| known.contains(group));
    let empty = known.iter().filter(|group| book.roster.size(group) == 0).cloned().collect();
    let resolution = Resolution { pending: pending.into_iter().collect(), empty };
    let acting = servers.keys().filter(|server| !kept_up.get(server).is_some_and(is_persons)).count();
    let guard = if acting == 0 { None } else { too_much(book, &head, &known, acting) };
    let targets = begin_targets(book, &head, servers, head.claimed, |server| {
        held_back(guard.as_ref(), kept_up.get(server)).map_or_else(
            || newer(server).map(|by| Outcome::Superseded { asked: Asked::No, by }),
            |reason| Some(Outcome::Skipped(reason)),
        )
    });
    let is_over =
        resolution.pending.is_empty() && targets.iter().all(|target| target.progress.outcome().is_some());
    let ended = is_over.then(|| {
        if let (Some(pause), Some(rule), true) = (paused, rule, targets.is_empty()) {
            return (RunOutcome::Skipped, pause.as_reason(&rule.schedule.zone).to_string());
        }
        let reason: Vec<String> =
            resolution.empty.iter().map(|group| format!("group {group} matches no server")).collect();
        (book.outcome_of(&head, targets.iter(), &resolution), reason.join("; "))
    });
    Begun { head, targets, resolution, ended }
}

/// Targets as they begin: ended at once by a guard or by `verdict`, joined to another run's attempt, or free.
pub(super) fn begin_targets(
    book: &Book,
    head: &RunHead,
    servers: BTreeMap<ServerId, Duration>,
    now: Timestamp,
    verdict: impl Fn(&ServerId) -> Option<Outcome>,
) -> Vec<Target> {
    let begin = |server: &ServerId| {
        let forbidden = || book.forbidden(head.action, server).map(Outcome::Skipped);
        match forbidden().or_else(|| verdict(server)) {
            Some(outcome) => Progress::ended(outcome, now),
            None => joined(book, head.action, server, now),
        }
    };
    let target = |(server, limit): (ServerId, Duration)| Target {
        name: book.name_of(&server),
        groups: head.groups.iter().filter(|group| book.roster.holds(group, &server)).cloned().collect(),
        progress: begin(&server),
        server,
        limit,
        revision: 0,
    };
    servers.into_iter().map(target).collect()
}

/// Why a run must not begin: too many servers, or a group that has grown too much. `known` are the groups that are counted.
pub(super) fn too_much(book: &Book, head: &RunHead, known: &[GroupName], servers: usize) -> Option<Reason> {
    if head.waived.contains(&Waiver::Limits) {
        return None;
    }
    let grown = |name: &GroupName| {
        let (before, now) = (*book.sizes.get(name)?, book.roster.size(name));
        let growth = book.settings.groups.get(name)?.on_growth?;
        growth.is_passed(before, now).then(|| {
            let words = format!(
                "group {name} matches {now} servers and had {before} at its last good run, more than `on_growth` allows; look at \
                 `sunup groups`, and if it is right run it once by hand with --over-limit"
            );
            Reason::new(ReasonKind::Limit, words)
        })
    };
    book.settings.limits.forbid_size(servers).or_else(|| known.iter().find_map(grown))
}

/// Tells of groups that match nothing: such a run is never silently done.
pub(super) fn tell_empty(draft: &mut Draft, origin: &Origin, empty: &BTreeSet<GroupName>) {
    for group in empty {
        let text = format!(
            "{}: group {group} matches no server, so nothing is done for it. Look at `sunup groups`, and mend the group.",
            origin.words()
        );
        let about = About { rule: origin.rule().cloned(), groups: vec![group.clone()], run: None };
        let ko = format!(
            "{}: 그룹 {group}에 해당하는 서버가 없어 아무것도 하지 않습니다. `sunup groups`로 확인하고 그룹을 고쳐 주세요.",
            origin.korean()
        );
        draft.tell_about(NoticeKind::Guard, Urgency::NeedsAPerson, Told::new(text, ko), about);
    }
}

/// A target that shares the open attempt of another run, or begins with what was seen lately.
fn joined(book: &Book, action: Action, server: &ServerId, now: Timestamp) -> Progress {
    if let Some(other) = book.runs.on_its_way(server, action) {
        return Progress::joining(other, now);
    }
    let mut progress = Progress::fresh(now);
    // Only that a server can be asked is taken from an earlier look: where it runs already, it is looked at again.
    if let Some((sight, _)) = book.sights.get(server)
        && let Found::Server(condition) = &sight.found
        && condition.standing(action) == Standing::Askable
        && book.touched.get(server).is_none_or(|touched| sight.began > *touched)
    {
        progress.askable = Some(sight.began);
    }
    progress
}

/// A newer wish takes the servers of older opposite runs.
pub(super) fn supersede_older(book: &mut Book, draft: &mut Draft, head: &RunHead, servers: &[ServerId]) {
    if is_planted(Bug::OlderGoesOn) {
        return;
    }
    let by = head.origin.words();
    let older = |run: &Run| {
        let start_wins = run.head.due == head.due && head.action == Action::Stop && rule_of(head).is_some();
        run.head.action != head.action && run.head.due <= head.due && !start_wins
    };
    for server in servers {
        for run in book.open_targets_of(server) {
            if book.runs.get(&run).is_some_and(older) {
                book.happen(draft, run, server, &Event::Superseded(&by));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{self, at, head, server};

    #[test]
    fn only_open_hours_of_others_whose_servers_a_list_must_tell_want_them_at_a_closing_edge() {
        let rule =
            |name: &str, group: &str, when: &str| format!("[rules.{name}]\n{when}\nrun = [\"{group}\"]\n");
        let hours = "hours = \"MON-FRI 09:00-20:00\"";
        let book = scene::book(
            &[
                rule("own", "web", hours),
                rule("late", "web", hours),
                rule("listed", "db", hours),
                rule("shut", "web", "hours = \"SAT 09:00-18:00\""),
                rule("off", "web", &format!("{hours}\nenabled = false")),
                "[rules.cron]\ncron = \"0 9 * * *\"\nstart = [\"web\"]\n".to_owned(),
            ]
            .concat(),
        );
        let wanting = |name: &str, action: Action| {
            let rule = book.settings.rules.values().find(|rule| rule.name.as_str() == name).unwrap();
            wanting_groups(&book, rule, action, [at("18:00:00"), at("18:00:01")]).len()
        };

        assert_eq!(wanting("listed", Action::Stop), 2, "those of `own` and `late`");
        assert_eq!(wanting("own", Action::Stop), 1, "that of `late`");
        assert_eq!((wanting("own", Action::Start), wanting("cron", Action::Stop)), (0, 0));
    }

    #[test]
    fn of_opposite_runs_the_later_one_is_newer_and_of_two_at_one_moment_the_start_of_a_rule() {
        use Action::{Start, Stop};
        let due = at("08:50:00");
        let newer = |open: Action, open_due: Timestamp, own: RunHead| {
            let mut book = scene::book("");
            scene::add(&mut book, 1, head("open", open, open_due), &[("1001", Progress::fresh(due))]);
            newer_open(&book, &server("1001"), &own).is_some()
        };
        let by_hand = RunHead { origin: Origin::Person("tester".into()), ..head("own", Stop, due) };

        assert!(newer(Stop, at("08:50:01"), head("own", Start, due)));
        assert!(!newer(Start, at("08:50:01"), head("own", Start, due)), "it wants the same");
        assert!(!newer(Stop, due, head("own", Start, due)) && newer(Start, due, head("own", Stop, due)));
        assert!(!newer(Start, at("08:49:59"), head("own", Stop, due)), "it is older");
        assert!(!newer(Start, due, by_hand), "a command is the newest of its moment");
    }

    #[test]
    fn a_new_target_shares_what_is_on_its_way_to_the_same_goal_and_nothing_else() {
        let due = at("08:50:00");
        let joined = |open: Action, open_progress: Progress| {
            let mut book = scene::book("");
            scene::add(&mut book, 1, head("open", open, due), &[("1001", open_progress)]);
            joined(&book, Action::Start, &server("1001"), due).holds_the_wire()
        };

        assert!(joined(Action::Start, scene::asking(due)));
        assert!(!joined(Action::Stop, scene::asking(due)));
        assert!(!joined(Action::Start, Progress::fresh(due)));
    }

    #[test]
    fn an_earlier_look_counts_only_where_it_showed_that_a_server_can_be_asked() {
        let now = at("08:50:00");
        let askable = |began: &str, status: &str, touched: Option<&str>| {
            let mut book = scene::book("");
            book.sights.insert(server("1001"), (scene::sight(at(began), status, "NULL"), None));
            book.touched.extend(touched.map(|touched| (server("1001"), at(touched))));
            joined(&book, Action::Start, &server("1001"), now).askable
        };

        assert_eq!(askable("08:49:50", "NSTOP", None), Some(at("08:49:50")));
        assert_eq!(askable("08:49:50", "RUN", None), None, "it is looked at again");
        assert_eq!(askable("08:49:50", "NSTOP", Some("08:49:49")), Some(at("08:49:50")));
        assert_eq!(askable("08:49:50", "NSTOP", Some("08:49:50")), None);
    }
}
