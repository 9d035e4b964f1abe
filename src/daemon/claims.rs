//! From what is due to runs: open windows act, closed ones are recorded as missed, and the newest wins for each server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::book::{Book, Draft, Run};
use super::lines::Line;
use super::view;
use crate::domain::name::{Action, GroupName, RuleName, ServerId};
use crate::domain::outcome::{Asked, Outcome, Reason, ReasonKind, RunOutcome};
use crate::domain::plan::{self, Occurrence};
use crate::domain::rule::{Missed, Rule, WINDOW_DEFAULT};
use crate::domain::schedule::When;
use crate::domain::server::{Found, Standing};
use crate::domain::target::{Event, Progress, State};
use crate::ports::notifier::{NoticeKind, Urgency};
use crate::ports::store::{Claim, MissedRange, Origin, Recorded, RunHead, Target};
use crate::settings::{OpenHours, Settings};

/// A claim later than this after due is late.
pub(super) const LATE_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// Something due for longer than this and unclaimed is a fault of the timer.
const TIMER_FAULT_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// A command by a person.
#[derive(Debug, Clone)]
pub struct PersonRun {
    /// What is wanted.
    pub action: Action,
    /// For these groups.
    pub groups: Vec<GroupName>,
    /// And these servers.
    pub servers: Vec<ServerId>,
    /// Who wants it, as the command gave it.
    pub who: String,
}

/// The due occurrences of one rule, sorted out.
struct Due {
    /// Those whose windows are open: at most one of each action.
    acting: Vec<Occurrence>,
    /// The newest of those whose windows have closed: at most one of each action.
    closed: Vec<Occurrence>,
    missed: Vec<MissedRange>,
    /// When the last of them was due.
    last: Option<Timestamp>,
}

/// How late the oldest due occurrence is, if the timer should have woken the engine before.
pub(super) fn overdue(book: &Book, now: Timestamp) -> Option<SignedDuration> {
    let late = now.duration_since(book.queue.first()?.due);
    (late > TIMER_FAULT_AFTER).then_some(late)
}

/// One wish of a turn, in the order in which wishes give way to each other: later ones win.
enum Wanted<'a> {
    /// An occurrence that acts.
    Acting(Occurrence),
    /// An occurrence whose window has closed: it does nothing itself, and older opposite ones give way to it all the same.
    Closed(Occurrence),
    /// A command, which came just now.
    Command(&'a PersonRun),
}

/// Claims all that is due, and commands. `absence` says why something was not claimed before, where it is late.
pub(super) fn claim_due(book: &mut Book, draft: &mut Draft, absence: &Reason, commands: &[&PersonRun]) {
    let now = draft.now;
    let (mut acting, mut closed): (Vec<Occurrence>, Vec<Occurrence>) = (Vec::new(), Vec::new());
    while book.queue.first().is_some_and(|first| first.due <= now) {
        let Some(first) = book.queue.pop_first() else { break };
        let Some(rule) = book.settings.rules.get(&first.rule).cloned() else { continue };
        let is_left = book.left_open.get(&rule.name) == Some(&first.due) && first.action == Action::Stop;
        let due = match is_left {
            // The closing edge of a span that began under older calendars stands alone: the schedule has its own entry.
            true => {
                book.left_open.remove(&rule.name);
                let covered = book.covered.get(&rule.name).copied().unwrap_or(now);
                draft.turn.marks.push(book.mark_of(&rule, covered));
                book.queue.extend(plan::next(&rule, covered, Timestamp::MAX));
                if rule.schedule.open_span(first.due).is_some() {
                    continue;
                }
                sort_out(&rule, std::iter::once(first), now, absence)
            }
            false => {
                let rest = plan::of_rule(&rule, first.due, now);
                sort_out(&rule, std::iter::once(first.clone()).chain(rest), now, absence)
            }
        };
        for missed in due.missed {
            miss(draft, missed);
        }
        acting.extend(due.acting);
        closed.extend(due.closed);
        if let Some(last) = due.last.filter(|_| !is_left) {
            book.covered.insert(rule.name.clone(), last);
            draft.turn.marks.push(book.mark_of(&rule, last));
            book.queue.extend(plan::next(&rule, last, Timestamp::MAX));
        }
    }
    let mut wishes: Vec<(Occurrence, Wanted<'_>)> = Vec::new();
    wishes.extend(acting.into_iter().map(|occurrence| (occurrence.clone(), Wanted::Acting(occurrence))));
    wishes.extend(closed.into_iter().map(|occurrence| (occurrence.clone(), Wanted::Closed(occurrence))));
    wishes.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut wishes: Vec<Wanted<'_>> = wishes.into_iter().map(|(_, wanted)| wanted).collect();
    wishes.extend(commands.iter().map(|command| Wanted::Command(command)));
    claim_wishes(book, draft, wishes);
}

/// Which hours are open at the moments that one turn asks of, each looked up once.
struct OpenHoursAt<'a> {
    settings: &'a Settings,
    known: BTreeMap<Timestamp, OpenHours<'a>>,
}

impl<'a> OpenHoursAt<'a> {
    fn at(&mut self, at: Timestamp) -> &OpenHours<'a> {
        self.known.entry(at).or_insert_with(|| self.settings.open_hours(at))
    }

    /// The servers that the closing edge of `hours` leaves alone, with the reason: the hours of another rule want them up when it is
    /// due, and still want them now.
    fn kept_up<'s>(
        &mut self,
        rule: &Rule,
        occurrence: &Occurrence,
        now: Timestamp,
        servers: impl Iterator<Item = &'s ServerId>,
    ) -> BTreeMap<ServerId, Reason> {
        if occurrence.action != Action::Stop || !matches!(rule.schedule.when, When::Hours(_)) {
            return BTreeMap::new();
        }
        let mut kept = BTreeMap::new();
        for server in servers {
            if self.at(occurrence.due).wanting(&rule.name, server).is_none() {
                continue;
            }
            let Some((by, closes)) = self.at(now).wanting(&rule.name, server) else { continue };
            let until = closes.map(|at| format!(" until {}", view::moment(at, &rule.schedule.zone)));
            let text = format!("rule {} wants it up{}", by.name, until.unwrap_or_default());
            kept.insert(server.clone(), Reason::new(ReasonKind::Wanted, text));
        }
        kept
    }
}

/// From the newest back: what a newer wish wants decides about the servers of an older one.
fn claim_wishes(book: &mut Book, draft: &mut Draft, wishes: Vec<Wanted<'_>>) {
    let settings = Arc::clone(&book.settings);
    let mut open_hours = OpenHoursAt { settings: &settings, known: BTreeMap::new() };
    let mut wanted: BTreeMap<ServerId, (Action, String)> = BTreeMap::new();
    let (mut claims, mut closed) = (Vec::new(), Vec::new());
    for wish in wishes.into_iter().rev() {
        let (head, mut servers, kept_up) = match &wish {
            Wanted::Acting(occurrence) | Wanted::Closed(occurrence) => {
                let Some(rule) = book.settings.rules.get(&occurrence.rule) else { continue };
                let servers = book.settings.servers_of(&rule.groups, occurrence.action);
                let kept_up = open_hours.kept_up(rule, occurrence, draft.now, servers.keys());
                (head_of(rule, occurrence, draft.now), servers, kept_up)
            }
            Wanted::Command(command) => {
                (head_of_command(command, draft.now), servers_of_command(book, command), BTreeMap::new())
            }
        };
        if matches!(wish, Wanted::Closed(_)) {
            servers.retain(|server, _| !kept_up.contains_key(server));
            closed.push((head.clone(), servers.keys().cloned().collect::<Vec<_>>()));
        } else {
            let newer = |server: &ServerId| {
                let newer = wanted.get(server).filter(|(action, _)| *action != head.action);
                newer.map(|(_, by)| by.clone()).or_else(|| newer_open(book, server, &head))
            };
            claims.push(with_targets(book, head.clone(), servers.clone(), &kept_up, newer));
            // What is left alone is not taken from an older wish either.
            servers.retain(|server, _| !kept_up.contains_key(server));
        }
        let words = head.origin.words();
        for server in servers.into_keys() {
            wanted.entry(server).or_insert_with(|| (head.action, words.clone()));
        }
    }
    claims.reverse();
    // What was due and closed meanwhile does nothing itself; older opposite runs give way to it all the same.
    for (head, servers) in closed {
        supersede_older(book, draft, &head, &servers);
    }
    for claim in &claims {
        tell_late(draft, &claim.head);
        let over = |target: &&Target| {
            matches!(target.progress.outcome(), Some(Outcome::Superseded { .. } | Outcome::Skipped(_)))
        };
        let servers: Vec<ServerId> =
            claim.targets.iter().filter(|target| !over(target)).map(|target| target.server.clone()).collect();
        supersede_older(book, draft, &claim.head, &servers);
    }
    draft.turn.claims.extend(claims);
}

/// Goes through everything of a rule that is due by now, in bounded memory.
fn sort_out(rule: &Rule, due: impl Iterator<Item = Occurrence>, now: Timestamp, absence: &Reason) -> Due {
    let mut closed: BTreeMap<Action, (MissedRange, Occurrence)> = BTreeMap::new();
    let mut passed_over: BTreeMap<Action, (MissedRange, Occurrence)> = BTreeMap::new();
    let mut acting: BTreeMap<Action, Occurrence> = BTreeMap::new();
    let mut last = None;
    for current in due {
        last = Some(current.due);
        let window_end = later(current.due, rule.window(current.action));
        if window_end <= now {
            extend(&mut closed, current, absence);
        } else if rule.missed == Missed::Skip && now.duration_since(current.due) > LATE_AFTER {
            let reason =
                Reason::new(ReasonKind::Late, format!("the rule skips what is late ({})", absence.text));
            extend(&mut passed_over, current, &reason);
        } else if let Some(older) = acting.insert(current.action, current) {
            let reason = Reason::new(ReasonKind::Late, "a newer occurrence of the rule acted instead");
            extend(&mut passed_over, older, &reason);
        }
    }
    // What passed does nothing itself, and older opposite wishes give way to the newest of it all the same.
    let mut newest: BTreeMap<Action, Occurrence> = BTreeMap::new();
    for (_, occurrence) in closed.values().chain(passed_over.values()) {
        let known = newest.entry(occurrence.action).or_insert_with(|| occurrence.clone());
        if occurrence.due > known.due {
            *known = occurrence.clone();
        }
    }
    newest.retain(|action, occurrence| acting.get(action).is_none_or(|acting| acting.due < occurrence.due));
    let missed = closed.into_values().chain(passed_over.into_values()).map(|(range, _)| range).collect();
    Due { acting: acting.into_values().collect(), closed: newest.into_values().collect(), missed, last }
}

fn extend(ranges: &mut BTreeMap<Action, (MissedRange, Occurrence)>, occurrence: Occurrence, cause: &Reason) {
    match ranges.get_mut(&occurrence.action) {
        Some((range, newest)) => {
            range.last = occurrence.planned;
            range.count += 1;
            *newest = occurrence;
        }
        None => {
            let range = MissedRange {
                rule: occurrence.rule.clone(),
                action: occurrence.action,
                first: occurrence.planned,
                last: occurrence.planned,
                count: 1,
                cause: cause.clone(),
            };
            ranges.insert(occurrence.action, (range, occurrence));
        }
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Misses of a rule as it was, from its covered mark up to now.
pub(super) fn misses_of(
    rule: &Rule,
    covered: Timestamp,
    now: Timestamp,
    absence: &Reason,
) -> Vec<MissedRange> {
    let mut ranges = BTreeMap::new();
    for occurrence in plan::of_rule(rule, covered, now) {
        extend(&mut ranges, occurrence, absence);
    }
    ranges.into_values().map(|(range, _)| range).collect()
}

/// Records a range of misses, and tells of it.
pub(super) fn miss(draft: &mut Draft, missed: MissedRange) {
    let MissedRange { rule, action, first, last, count, cause } = &missed;
    let moments =
        if count == &1 { format!("at {first}") } else { format!("{count} times from {first} to {last}") };
    let text = format!("rule {rule} did not {action} {moments}: {}.", cause.text);
    let urgency = if cause.kind == ReasonKind::Late { Urgency::GoodToKnow } else { Urgency::NeedsAPerson };
    draft.tell(NoticeKind::Missed, urgency, text);
    draft.turn.missed.push(missed);
}

fn tell_late(draft: &mut Draft, head: &RunHead) {
    let late = head.claimed.duration_since(head.due);
    if late > LATE_AFTER {
        let text = format!("{} due at {} begins {}s late.", head.origin.words(), head.due, late.as_secs());
        draft.tell(NoticeKind::Late, Urgency::GoodToKnow, text);
    }
}

fn head_of(rule: &Rule, occurrence: &Occurrence, now: Timestamp) -> RunHead {
    RunHead {
        origin: Origin::Rule(rule.name.clone()),
        action: occurrence.action,
        groups: rule.groups.clone(),
        planned: occurrence.planned,
        due: occurrence.due,
        window_end: later(occurrence.due, rule.window(occurrence.action)),
        claimed: now,
    }
}

fn head_of_command(command: &PersonRun, now: Timestamp) -> RunHead {
    RunHead {
        origin: Origin::Person(command.who.clone()),
        action: command.action,
        groups: command.groups.clone(),
        planned: now,
        due: now,
        window_end: later(now, WINDOW_DEFAULT),
        claimed: now,
    }
}

fn servers_of_command(book: &Book, command: &PersonRun) -> BTreeMap<ServerId, Duration> {
    let mut servers = book.settings.servers_of(&command.groups, command.action);
    for server in &command.servers {
        let holding = book.settings.groups_holding(server);
        let limit = book.settings.servers_of(&holding, command.action).get(server).copied();
        servers.entry(server.clone()).or_insert(limit.unwrap_or(crate::settings::LIMIT_DEFAULT));
    }
    servers
}

/// An open opposite run that is newer: an older occurrence that is claimed late gives way to it.
fn newer_open(book: &Book, server: &ServerId, head: &RunHead) -> Option<String> {
    let runs = book.open_targets_of(server).into_iter().filter_map(|id| book.runs.get(&id));
    let newer = |run: &&Run| {
        let rule = rule_of(head).is_some();
        let start_wins = rule && run.head.due == head.due && run.head.action == Action::Start;
        run.head.action != head.action && (run.head.due > head.due || start_wins)
    };
    runs.into_iter().find(newer).map(|run| run.head.origin.words())
}

/// A claim with its targets as they begin: guarded, superseded, joined or free.
fn with_targets(
    book: &Book,
    head: RunHead,
    servers: BTreeMap<ServerId, Duration>,
    kept_up: &BTreeMap<ServerId, Reason>,
    newer: impl Fn(&ServerId) -> Option<String>,
) -> Claim {
    let too_many = book.settings.limits.forbid_size(servers.len());
    let now = head.claimed;
    let begin = |server: &ServerId| {
        let forbidden = too_many.clone().or_else(|| book.forbidden(head.action, server));
        let forbidden = forbidden.or_else(|| kept_up.get(server).cloned());
        if let Some(reason) = forbidden {
            return Progress::ended(Outcome::Skipped(reason), now);
        }
        if let Some(by) = newer(server) {
            return Progress::ended(Outcome::Superseded { asked: Asked::No, by }, now);
        }
        joined(book, head.action, server, now)
    };
    let target = |(server, limit): (ServerId, Duration)| Target {
        name: book.name_of(&server),
        progress: begin(&server),
        server,
        limit,
        revision: 0,
    };
    let targets: Vec<Target> = servers.into_iter().map(target).collect();
    let outcomes: Option<Vec<&Outcome>> = targets.iter().map(|target| target.progress.outcome()).collect();
    let ended = outcomes.map(|outcomes| {
        let reason = if outcomes.is_empty() { "no server matches" } else { "" };
        (RunOutcome::of(outcomes), reason.to_owned())
    });
    Claim { head, targets, ended }
}

/// A target that shares the open attempt of another run, or begins with what was seen lately.
fn joined(book: &Book, action: Action, server: &ServerId, now: Timestamp) -> Progress {
    for run in book.open_targets_of(server) {
        let Some(run) = book.runs.get(&run).filter(|run| run.head.action == action) else {
            continue;
        };
        let Some(target) = run.targets.get(server) else {
            continue;
        };
        if matches!(
            target.progress.state,
            State::Asking { .. } | State::Looking { .. } | State::Moving { .. }
        ) {
            return Progress::joining(&target.progress, now);
        }
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
fn supersede_older(book: &mut Book, draft: &mut Draft, head: &RunHead, servers: &[ServerId]) {
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

/// Takes what the journal said of the claims: new runs are open now, and lines tell of them.
pub(super) fn claimed(book: &mut Book, draft: &mut Draft, recorded: &Recorded) {
    let claims = std::mem::take(&mut draft.turn.claims);
    for (claim, id) in claims.into_iter().zip(&recorded.claimed) {
        if rule_of(&claim.head).is_none() {
            draft.command_runs.push(*id);
        }
        let Some(id) = *id else {
            tracing::warn!("{} due at {} was claimed before", claim.head.origin.words(), claim.head.due);
            continue;
        };
        draft.lines.push(Line::RunStarted {
            run: id,
            head: claim.head.clone(),
            servers: claim.targets.len(),
        });
        for target in claim.targets.iter().filter(|target| target.progress.outcome().is_some()) {
            draft.lines.push(Line::Target {
                run: id,
                action: claim.head.action,
                server: target.server.clone(),
                name: target.name.clone(),
                progress: target.progress.clone(),
            });
        }
        if let Some((outcome, _)) = &claim.ended {
            let outcomes: Vec<&Outcome> = claim.targets.iter().filter_map(|t| t.progress.outcome()).collect();
            book.note_end(draft, id, &claim.head, *outcome, &outcomes);
        } else {
            let targets = claim.targets.into_iter().map(|target| (target.server.clone(), target)).collect();
            book.runs.insert(id, Run { head: claim.head, targets });
        }
    }
}

/// The rules whose runs are open, for those that ask.
pub(super) fn rule_of(head: &RunHead) -> Option<&RuleName> {
    match &head.origin {
        Origin::Rule(rule) => Some(rule),
        Origin::Person(_) => None,
    }
}
