//! From what is due to runs: open windows act, closed ones are recorded as missed, and the newest wins for each server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::absence::Absence;
use super::begin::{
    Begun, clear_groups, head_of, head_of_command, newer_open, note_decided, servers_of_command,
    supersede_older, tell_empty, with_targets,
};
use super::book::{Book, Kept, Run};
use super::draft::Draft;
use super::ending::about;
use super::keeps::Following;
use super::lines::Line;
use super::{keeps, overrides, view};
use crate::domain::korean;
use crate::domain::name::{Action, GroupName, RuleName, RunId, ServerId};
use crate::domain::outcome::{Outcome, Reason, ReasonKind, RunOutcome};
use crate::domain::overrides::Overrides;
use crate::domain::plan::{self, Occurrence};
use crate::domain::roster::Roster;
use crate::domain::rule::{Missed, Rule};
use crate::domain::schedule::When;
use crate::domain::target::later;
use crate::planted::{Bug, is_planted};
use crate::ports::notifier::{About, NoticeKind, Told, Urgency};
use crate::ports::store::{Claim, MissedRange, OccurrenceKey, Origin, RunHead, Target, Waiver};
use crate::settings::{OpenHours, Settings};

/// A claim later than this after due is late.
pub(super) const LATE_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// Something due for longer than this and unclaimed is a fault of the timer.
const TIMER_FAULT_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// A command by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRun {
    /// What is wanted.
    pub action: Action,
    /// For these groups.
    pub groups: Vec<GroupName>,
    /// And these servers.
    pub servers: Vec<ServerId>,
    /// How far it reaches beyond these.
    pub reach: Reach,
    /// What it passes that holds other runs back.
    pub waived: BTreeSet<Waiver>,
    /// Who wants it, as the command gave it.
    pub who: String,
}

/// How far a command reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To what it names.
    Alone,
    /// Also to the groups that these wait for.
    WithDependencies,
}

impl PersonRun {
    /// The same with all that it reaches, by the order in force.
    pub(super) fn widened(mut self, book: &Book) -> Self {
        if self.reach == Reach::WithDependencies {
            let holding = self.servers.iter().flat_map(|server| book.roster.groups_of(server)).cloned();
            let named = self.groups.clone();
            let base: Vec<GroupName> = named.iter().cloned().chain(holding).collect();
            let all = book.order.with_needs(&base, self.action);
            // Of a server that was named by itself the rest of its group is not meant.
            let more = all.into_iter().filter(|group| !base.contains(group));
            self.groups = named.into_iter().chain(more).collect();
            self.reach = Reach::Alone;
        }
        self
    }
}

/// The due occurrences of one rule, sorted out.
struct Due {
    /// Those whose windows are open: at most one of each action, and what a pause holds back just now.
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
    /// What follows the end of a keep.
    Following(&'a Following),
}

impl Wanted<'_> {
    /// When it was due; `None` for what comes just now.
    fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Acting(occurrence) | Self::Closed(occurrence) => Some(occurrence.due),
            Self::Following(following) => Some(following.ended()),
            Self::Command(_) => None,
        }
    }
}

/// Claims all that is due, and commands. `absence` says why something was not claimed before, where it is late.
pub(super) fn claim_due(book: &mut Book, draft: &mut Draft, absence: &Absence, commands: &[&PersonRun]) {
    let ahead = if is_planted(Bug::Early) { 2 } else { 0 };
    let now = later(draft.now, std::time::Duration::from_secs(ahead));
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
                sort_out(&rule, std::iter::once(first), (&book.kept, &book.overrides), now, absence)
            }
            false => {
                let due = std::iter::once(first.clone()).chain(plan::of_rule(&rule, first.due, now));
                sort_out(&rule, due, (&book.kept, &book.overrides), now, absence)
            }
        };
        let has_missed = !due.missed.is_empty();
        for missed in due.missed {
            if !is_planted(Bug::ForgottenMiss) {
                miss(draft, missed);
            }
        }
        acting.extend(due.acting);
        closed.extend(due.closed);
        if let Some(last) = due.last.filter(|_| !is_left) {
            book.covered.insert(rule.name.clone(), last);
            if !is_planted(Bug::MarkLost) {
                draft.turn.marks.push(book.mark_of(&rule, last));
            }
            if has_missed && is_planted(Bug::LostWakeUp) {
                continue;
            }
            book.queue.extend(plan::next(&rule, last, Timestamp::MAX));
        }
    }
    let mut wishes: Vec<(Occurrence, Wanted<'_>)> = Vec::new();
    wishes.extend(acting.into_iter().map(|occurrence| (occurrence.clone(), Wanted::Acting(occurrence))));
    wishes.extend(closed.into_iter().map(|occurrence| (occurrence.clone(), Wanted::Closed(occurrence))));
    wishes.sort_by(|(one, _), (other, _)| one.cmp(other));
    let following = std::mem::take(&mut draft.following);
    let mut wishes: Vec<Wanted<'_>> = wishes.into_iter().map(|(_, wanted)| wanted).collect();
    for following in &following {
        // Of one moment what a rule wants comes later: it is the newer wish of the two.
        let place = wishes.partition_point(|wish| wish.due().is_some_and(|due| due < following.ended()));
        wishes.insert(place, Wanted::Following(following));
    }
    wishes.extend(commands.iter().map(|command| Wanted::Command(command)));
    claim_wishes(book, draft, wishes, absence);
}

/// Which hours are open at the moments that one turn asks of, each looked up once.
pub(super) struct OpenHoursAt<'a> {
    settings: &'a Settings,
    roster: &'a Roster,
    overrides: &'a Overrides,
    known: BTreeMap<Timestamp, OpenHours<'a>>,
}

impl<'a> OpenHoursAt<'a> {
    pub(super) fn new(settings: &'a Settings, roster: &'a Roster, overrides: &'a Overrides) -> Self {
        Self { settings, roster, overrides, known: BTreeMap::new() }
    }

    fn at(&mut self, at: Timestamp) -> &OpenHours<'a> {
        self.known.entry(at).or_insert_with(|| self.settings.open_hours(self.roster, self.overrides, at))
    }

    /// The servers that the closing edge of `hours` leaves alone, with the reason: the hours of another rule want them up when it is
    /// due, and still want them now.
    pub(super) fn kept_up<'s>(
        &mut self,
        rule: &Rule,
        (action, due): (Action, Timestamp),
        now: Timestamp,
        servers: impl Iterator<Item = &'s ServerId>,
    ) -> BTreeMap<ServerId, Reason> {
        if action != Action::Stop || !matches!(rule.schedule.when, When::Hours(_)) {
            return BTreeMap::new();
        }
        let mut kept = BTreeMap::new();
        for server in servers {
            if self.at(due).wanting(&rule.name, server).is_none() {
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

/// What a wish is about: the head of its run, its servers as far as they are known, and those that are left alone with the reason.
type Meant = (RunHead, BTreeMap<ServerId, std::time::Duration>, BTreeMap<ServerId, Reason>);

/// What a wish is about; `None` for one of a rule that is gone.
fn meant(book: &Book, wish: &Wanted<'_>, open_hours: &mut OpenHoursAt<'_>, now: Timestamp) -> Option<Meant> {
    let (head, servers) = match wish {
        Wanted::Acting(occurrence) | Wanted::Closed(occurrence) => {
            let rule = book.settings.rules.get(&occurrence.rule)?;
            let moment = (occurrence.action, occurrence.due);
            // What has closed or is paused asks for nothing, so what was last known of its groups will do.
            let is_paused = book.overrides.of_rule(rule, occurrence.due).is_some();
            let groups = match is_paused || matches!(wish, Wanted::Closed(_)) {
                true => rule.groups.clone(),
                false => clear_groups(book, rule, &rule.groups, moment, now),
            };
            let servers = book.settings.servers_of(&book.roster, &groups, occurrence.action);
            let head = head_of(rule, occurrence, now);
            // What other hours want is not wanted down when the keep ends either.
            let mut kept_up = keeps::kept(book, &head, now, servers.keys());
            kept_up.extend(open_hours.kept_up(rule, moment, now, servers.keys()));
            kept_up.extend(overrides::held(book, rule, occurrence.due, servers.keys()));
            return Some((head, servers, kept_up));
        }
        Wanted::Command(command) => {
            (head_of_command(book, command, now), servers_of_command(book, command, now))
        }
        Wanted::Following(following) => {
            (following.head(book, now), servers_of_command(book, following.run(), now))
        }
    };
    let kept = keeps::kept(book, &head, now, servers.keys());
    Some((head, servers, kept))
}

/// From the newest back: what a newer wish wants decides about the servers of an older one.
fn claim_wishes(book: &mut Book, draft: &mut Draft, wishes: Vec<Wanted<'_>>, absence: &Absence) {
    if wishes.is_empty() {
        return;
    }
    let (settings, roster) = (Arc::clone(&book.settings), Arc::clone(&book.roster));
    let known = book.overrides.clone();
    let mut open_hours = OpenHoursAt::new(&settings, &roster, &known);
    let mut wanted: BTreeMap<ServerId, (Action, String)> = BTreeMap::new();
    let (mut claims, mut closed) = (Vec::new(), Vec::new());
    for wish in wishes.into_iter().rev() {
        let Some((head, mut servers, kept_up)) = meant(book, &wish, &mut open_hours, draft.now) else {
            continue;
        };
        if matches!(wish, Wanted::Closed(_)) {
            servers.retain(|server, _| !kept_up.contains_key(server));
            closed.push((head.clone(), servers.keys().cloned().collect::<Vec<_>>()));
        } else {
            let newer = |server: &ServerId| {
                let newer = wanted.get(server).filter(|(action, _)| *action != head.action);
                newer.map(|(_, by)| by.clone()).or_else(|| newer_open(book, server, &head))
            };
            let claim = match head.window_end <= draft.now {
                true => keeps::too_late(book, head.clone(), servers.clone(), absence),
                false => with_targets(book, head.clone(), servers.clone(), &kept_up, newer),
            };
            claims.push(claim);
            // What is left alone is not taken from an older wish either.
            servers.retain(|server, _| !kept_up.contains_key(server));
        }
        let words = head.origin.words();
        for server in servers.into_keys() {
            note_decided(book, &server, &head);
            wanted.entry(server).or_insert_with(|| (head.action, words.clone()));
        }
    }
    claims.reverse();
    // What was due and closed meanwhile does nothing itself; older opposite runs give way to it all the same.
    for (head, servers) in closed {
        supersede_older(book, draft, &head, &servers);
    }
    for claim in &claims {
        if !matches!(claim.ended, Some((RunOutcome::Missed, _))) {
            tell_late(draft, &claim.head);
        }
        tell_empty(draft, &claim.head.origin, &claim.resolution.empty);
        let over = |target: &&Target| {
            matches!(target.progress.outcome(), Some(Outcome::Superseded { .. } | Outcome::Skipped(_)))
        };
        let servers: Vec<ServerId> =
            claim.targets.iter().filter(|target| !over(target)).map(|target| target.server.clone()).collect();
        supersede_older(book, draft, &claim.head, &servers);
    }
    draft.begun.extend(claims);
}

/// Goes through everything of a rule that is due by now, in bounded memory.
fn sort_out(
    rule: &Rule,
    due: impl Iterator<Item = Occurrence>,
    (kept, overrides): (&Kept, &Overrides),
    now: Timestamp,
    absence: &Absence,
) -> Due {
    let mut closed = Ranges::default();
    let mut passed_over = Ranges::default();
    let mut held_back = Ranges::default();
    let mut paused: Vec<Occurrence> = Vec::new();
    let mut acting: BTreeMap<Action, Occurrence> = BTreeMap::new();
    let mut last = None;
    for current in due {
        last = Some(current.due);
        if has_run(kept, &current) {
            continue;
        }
        let window_end = later(current.due, rule.window(current.action));
        if let Some(pause) = overrides.of_rule(rule, current.due) {
            // What a pause held back while nobody ran is told as a range, so that it may be long.
            match now.duration_since(current.due) > LATE_AFTER {
                true => held_back.extend(current, &pause.as_reason(&rule.schedule.zone)),
                false => paused.push(current),
            }
        } else if window_end <= now {
            closed.extend(current.clone(), absence.at(current.due));
        } else if rule.missed == Missed::Skip && now.duration_since(current.due) > LATE_AFTER {
            let reason = Reason::new(
                ReasonKind::Late,
                format!("the rule skips what is late ({})", absence.at(current.due).text),
            );
            passed_over.extend(current, &reason);
        } else if let Some(older) = acting.insert(current.action, current) {
            let reason = Reason::new(ReasonKind::Late, "a newer occurrence of the rule acted instead");
            passed_over.extend(older, &reason);
        }
    }
    // What passed does nothing itself, and older opposite wishes give way to the newest of it all the same.
    let mut newest: BTreeMap<Action, Occurrence> = BTreeMap::new();
    for (_, occurrence) in closed.open.values().chain(passed_over.open.values()) {
        let known = newest.entry(occurrence.action).or_insert_with(|| occurrence.clone());
        if occurrence.due > known.due {
            *known = occurrence.clone();
        }
    }
    newest.retain(|action, occurrence| acting.get(action).is_none_or(|acting| acting.due < occurrence.due));
    let missed = closed.all().into_iter().chain(passed_over.all()).chain(held_back.all()).collect();
    Due {
        acting: acting.into_values().chain(paused).collect(),
        closed: newest.into_values().collect(),
        missed,
        last,
    }
}

/// Whether an occurrence has a run already, from when a wrong clock went ahead of it.
fn has_run(kept: &Kept, occurrence: &Occurrence) -> bool {
    !kept.is_empty() && kept.contains(&(occurrence.rule.clone(), occurrence.planned, occurrence.action))
}

/// Misses of one rule as ranges: one for each action, and another one where the cause changes.
#[derive(Default)]
struct Ranges {
    open: BTreeMap<Action, (MissedRange, Occurrence)>,
    done: Vec<MissedRange>,
}

impl Ranges {
    fn extend(&mut self, occurrence: Occurrence, cause: &Reason) {
        if let Some((range, newest)) = self.open.get_mut(&occurrence.action)
            && range.cause == *cause
        {
            (range.last, range.due_last) = (occurrence.planned, occurrence.due);
            range.count += 1;
            *newest = occurrence;
            return;
        }
        let range = MissedRange {
            rule: occurrence.rule.clone(),
            action: occurrence.action,
            first: occurrence.planned,
            last: occurrence.planned,
            due_last: occurrence.due,
            count: 1,
            cause: cause.clone(),
            withdrawn: None,
        };
        let before = self.open.insert(occurrence.action, (range, occurrence));
        self.done.extend(before.map(|(range, _)| range));
    }

    fn all(mut self) -> Vec<MissedRange> {
        self.done.extend(self.open.into_values().map(|(range, _)| range));
        self.done
    }
}

/// Misses of a rule as it was, from its covered mark up to now.
pub(super) fn misses_of(
    rule: &Rule,
    covered: Timestamp,
    now: Timestamp,
    (kept, overrides): (&Kept, &Overrides),
    absence: &Absence,
) -> Vec<MissedRange> {
    let mut ranges = Ranges::default();
    for occurrence in plan::of_rule(rule, covered, now).filter(|one| !has_run(kept, one)) {
        match overrides.of_rule(rule, occurrence.due) {
            Some(pause) => ranges.extend(occurrence, &pause.as_reason(&rule.schedule.zone)),
            None => {
                let cause = absence.at(occurrence.due);
                ranges.extend(occurrence, cause);
            }
        }
    }
    ranges.all()
}

/// Records a range of misses, and tells of it.
pub(super) fn miss(draft: &mut Draft, missed: MissedRange) {
    let MissedRange { rule, action, first, last, count, cause, .. } = &missed;
    let moments =
        if count == &1 { format!("at {first}") } else { format!("{count} times from {first} to {last}") };
    let text = format!("rule {rule} did not {action} {moments}: {}.", cause.text);
    let calm = matches!(cause.kind, ReasonKind::Late | ReasonKind::Paused);
    let urgency = if calm { Urgency::GoodToKnow } else { Urgency::NeedsAPerson };
    let about = About { rule: Some(rule.clone()), ..About::default() };
    let at = if count == &1 { format!("{first}") } else { format!("{first}부터 {last}까지 {count}번") };
    let ko = format!(
        "규칙 {rule}이(가) {at} {}하지 못했습니다. 이유: {}.",
        korean::action(*action),
        korean::reason(cause)
    );
    draft.tell_about(NoticeKind::Missed, urgency, Told::new(text, ko), about);
    draft.turn.missed.push(missed);
}

fn tell_late(draft: &mut Draft, head: &RunHead) {
    let late = head.claimed.duration_since(head.due);
    if late > LATE_AFTER {
        let text = format!("{} due at {} begins {}s late.", head.origin.words(), head.due, late.as_secs());
        let ko = format!(
            "{}: {} 예정이던 실행이 {}초 늦게 시작됩니다.",
            head.origin.korean(),
            head.due,
            late.as_secs()
        );
        draft.tell_about(NoticeKind::Late, Urgency::GoodToKnow, Told::new(text, ko), about(head));
    }
}

/// The occurrences that are to be claimed.
pub(super) fn occurrences(draft: &Draft) -> Vec<OccurrenceKey> {
    draft.begun.iter().filter_map(|begun| begun.head.occurrence()).collect()
}

/// Gives numbers to what begins: its claims are recorded with this turn, and those that go on are open runs from here on.
///
/// `before` are the occurrences that have a run already: nothing is done for them a second time.
pub(super) fn take_up(book: &mut Book, draft: &mut Draft, mut before: BTreeSet<OccurrenceKey>) {
    for begun in std::mem::take(&mut draft.begun) {
        if begun.head.occurrence().is_some_and(|occurrence| !before.insert(occurrence)) {
            tracing::warn!("{} due at {} was claimed before", begun.head.origin.words(), begun.head.due);
            continue;
        }
        book.last_run += 1;
        let run = RunId(book.last_run);
        let Begun { head, targets, resolution, ended } = begun;
        if matches!(head.origin, Origin::Person(_)) {
            draft.command_runs.push(run);
        }
        draft.lines.push(Line::RunStarted {
            run,
            head: head.clone(),
            servers: targets.len(),
            pending: resolution.pending.iter().cloned().collect(),
        });
        for target in targets.iter().filter(|target| target.progress.outcome().is_some()) {
            book.note_kept(&head, target);
            draft.lines.push(Line::of(run, head.action, target));
        }
        let mut claim = Claim { run, head, targets, resolution, ended };
        if let Some((outcome, reason)) = &claim.ended {
            let outcomes: Vec<&Outcome> = claim.targets.iter().filter_map(|t| t.progress.outcome()).collect();
            book.note_end(draft, run, &claim.head, *outcome, (&outcomes, reason));
        } else {
            // What becomes of them in this turn is recorded with the claim: [`Book::finish`].
            let targets = std::mem::take(&mut claim.targets);
            let targets = targets.into_iter().map(|target| (target.server.clone(), target)).collect();
            let (head, resolution) = (claim.head.clone(), claim.resolution.clone());
            book.runs.insert(run, Run { head, targets, resolution, is_closed: false });
        }
        draft.turn.claims.push(claim);
    }
}

/// The rules whose runs are open, for those that ask.
pub(super) fn rule_of(head: &RunHead) -> Option<&RuleName> {
    head.origin.rule()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{self, at};

    #[test]
    fn of_what_passed_the_newest_is_what_older_wishes_give_way_to() {
        let rule =
            "[rules.r]\ncron = \"*/10 8 * * *\"\nstart = [\"db\"]\nwindow = \"25m\"\nmissed = \"skip\"\n";
        let settings = scene::settings(rule);
        let rule = settings.rules.values().next().unwrap();
        let now = at("08:45:00");
        let due = plan::of_rule(rule, at("07:59:00"), now);

        let nothing = (&Kept::new(), &Overrides::default());
        let found = sort_out(rule, due, nothing, now, &Absence::stalled());

        let counts: Vec<_> = found.missed.iter().map(|missed| missed.count).collect();
        assert_eq!(counts, [3, 2], "the windows of three have ended");
        assert_eq!(found.closed.iter().map(|closed| closed.due).collect::<Vec<_>>(), [at("08:40:00")]);
        assert!(found.acting.is_empty());
    }
}
