//! What the engine knows: open runs, what was seen, how accounts fare, and how far each rule is decided.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::account::{AccountLine, AccountState};
use super::draft::Draft;
use super::forecast::Forecasts;
use super::keeps::Swallowed;
use super::lines::Line;
use super::probes::Probes;
use super::runs::Runs;
use crate::domain::name::{AccountName, Action, AttemptId, GroupName, RuleName, RunId, ServerId, ServerNo};
use crate::domain::order::Order;
use crate::domain::outcome::{Outcome, Reason, ReasonKind};
use crate::domain::overrides::Overrides;
use crate::domain::plan::{self, Occurrence};
use crate::domain::roster::{Resolved, Roster};
use crate::domain::rule::Rule;
use crate::domain::server::{Found, Sight, Standing, Traits};
use crate::domain::target::{Event, Policy, State, step};
use crate::ports::notifier::{NoticeKind, Told, Urgency};
use crate::ports::store::{
    CoveredMark, Doubtful, OccurrenceKey, OpenRun, Opening, Resolution, RunHead, Target, Waiver, Withdrawn,
};
use crate::settings::Settings;

/// How long a server that did not get there in time is watched all the same.
pub(super) const AFTERWATCH: Duration = Duration::from_hours(1);

/// Occurrences that have a run although they lie after what is decided.
pub(super) type Kept = BTreeSet<OccurrenceKey>;

/// An open run.
pub(super) struct Run {
    pub(super) head: RunHead,
    pub(super) targets: BTreeMap<ServerId, Target>,
    pub(super) resolution: Resolution,
    /// Its window has ended, by a clock that can be believed: groups that are not known by then never will be.
    pub(super) is_closed: bool,
}

impl Run {
    /// Whether a person waived something for it.
    pub(super) fn waives(&self, what: Waiver) -> bool {
        self.head.waived.contains(&what)
    }

    pub(super) fn is_over(&self) -> bool {
        let known = self.resolution.pending.is_empty() || self.is_closed;
        known && self.targets.values().all(|target| target.progress.outcome().is_some())
    }
}

/// An open attempt.
pub(super) struct OpenAttempt {
    pub(super) action: Action,
    pub(super) servers: Vec<ServerNo>,
}

/// A server that is watched after its target ended.
pub(super) struct Afterwatch {
    pub(super) run: RunId,
    pub(super) server: ServerId,
    pub(super) action: Action,
    pub(super) until: Timestamp,
    pub(super) next: Timestamp,
}

/// What the newest wish wants of a server.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    pub(super) action: Action,
    pub(super) due: Timestamp,
    pub(super) by: String,
}

/// All that the engine knows.
pub(super) struct Book {
    pub(super) settings: Arc<Settings>,
    pub(super) runs: Runs,
    pub(super) covered: BTreeMap<RuleName, Timestamp>,
    /// When spans close that began under older calendars, and that their rules' schedules no longer know.
    pub(super) left_open: BTreeMap<RuleName, Timestamp>,
    pub(super) queue: BTreeSet<Occurrence>,
    /// Runs of moments that are open again, which stay since something was asked for them.
    pub(super) kept: Kept,
    pub(super) sights: BTreeMap<ServerId, (Sight, Option<Traits>)>,
    /// What lists have shown of groups that need one.
    pub(super) resolved: BTreeMap<GroupName, Resolved>,
    pub(super) roster: Arc<Roster>,
    pub(super) order: Order,
    /// Servers whose groups contradict each other, in words.
    pub(super) contradictions: Vec<String>,
    /// Why groups could not be resolved although their account was listed.
    pub(super) group_trouble: BTreeMap<GroupName, Reason>,
    /// When it was last told that the hour's requests are used up.
    pub(super) hour_told: Option<Timestamp>,
    /// How many servers groups had at their last good run.
    pub(super) sizes: BTreeMap<GroupName, usize>,
    /// The servers that the last deed for them left running, and when they were seen so.
    pub(super) left_running: BTreeMap<ServerId, Timestamp>,
    /// What the newest wish wants of each server: an older one that learns later whom it is about gives way.
    pub(super) decided: BTreeMap<ServerId, Decided>,
    pub(super) probes: Probes,
    /// When a server of a group with `stagger` was last asked.
    pub(super) staggered: BTreeMap<GroupName, Timestamp>,
    /// Open runs of which it was told that the cloud has no room.
    pub(super) no_room: BTreeSet<RunId>,
    /// Since when people wait for all groups to be listed.
    pub(super) wanted_lists: Option<Timestamp>,
    pub(super) forecasts: Forecasts,
    /// What people hold back, and held back in the past.
    pub(super) overrides: Overrides,
    /// What keeps hold back, by server.
    pub(super) swallowed: BTreeMap<ServerId, Swallowed>,
    /// Counts changes of accounts and groups: what was read before one says nothing after it.
    pub(super) generations: u64,
    pub(super) accounts: BTreeMap<AccountName, AccountState>,
    pub(super) attempts: BTreeMap<AttemptId, (AccountName, OpenAttempt)>,
    pub(super) unanswered: BTreeMap<ServerId, (Action, Timestamp)>,
    /// When a request for a server was last decided or answered: older sights say nothing about what may be asked.
    pub(super) touched: BTreeMap<ServerId, Timestamp>,
    pub(super) afterwatch: Vec<Afterwatch>,
    pub(super) recent_asks: VecDeque<Timestamp>,
    pub(super) last_run: i64,
    pub(super) last_attempt: i64,
    pub(super) last_failed: Option<(RunId, String)>,
}

impl Book {
    pub(super) fn new(
        settings: Arc<Settings>,
        opening: Opening,
        lines: BTreeMap<AccountName, AccountLine>,
    ) -> Self {
        let runs: Runs = opening.runs.into_iter().map(|run| (run.id, open(run))).collect();
        let mut staggered: BTreeMap<GroupName, Timestamp> = BTreeMap::new();
        for target in runs.values().flat_map(|run| run.targets.values()) {
            for group in target.progress.first_asked.iter().flat_map(|_| &target.groups) {
                let last = staggered.entry(group.clone()).or_insert(Timestamp::MIN);
                *last = target.progress.first_asked.map_or(*last, |asked| asked.max(*last));
            }
        }
        let roster = Arc::new(settings.roster());
        let order = Order::new(&settings.groups, &roster);
        Self {
            settings,
            runs,
            resolved: BTreeMap::new(),
            contradictions: order.contradictions(&roster),
            group_trouble: BTreeMap::new(),
            hour_told: None,
            roster,
            order,
            sizes: opening.sizes,
            left_running: opening.left_running,
            decided: BTreeMap::new(),
            probes: Probes::default(),
            staggered,
            no_room: BTreeSet::new(),
            wanted_lists: None,
            forecasts: Forecasts::default(),
            overrides: Overrides::default(),
            swallowed: BTreeMap::new(),
            generations: 0,
            covered: BTreeMap::new(),
            left_open: BTreeMap::new(),
            queue: BTreeSet::new(),
            kept: Kept::new(),
            sights: BTreeMap::new(),
            accounts: lines.into_iter().map(|(name, line)| (name, AccountState::new(line))).collect(),
            attempts: BTreeMap::new(),
            unanswered: opening
                .unanswered
                .into_iter()
                .map(|(server, action, at)| (server, (action, at)))
                .collect(),
            touched: BTreeMap::new(),
            afterwatch: opening.doubtful.into_iter().filter_map(watched_on).collect(),
            recent_asks: opening.recent_attempts.into(),
            last_run: opening.last_run,
            last_attempt: opening.last_attempt,
            last_failed: None,
        }
    }

    /// Plans the next occurrence of every rule from its covered mark on.
    pub(super) fn plan_all(&mut self) {
        let next = |rule| {
            let covered = self.covered.get(&rule)?;
            plan::next(self.settings.rules.get(&rule)?, *covered, Timestamp::MAX)
        };
        self.queue = self.settings.rules.keys().cloned().filter_map(next).collect();
        let left: Vec<Occurrence> = self.edges_left_open().collect();
        self.queue.extend(left);
    }

    /// The closing edges that only the journal knows.
    pub(super) fn edges_left_open(&self) -> impl Iterator<Item = Occurrence> + '_ {
        let action = Action::Stop;
        self.left_open.iter().map(move |(rule, at)| Occurrence {
            due: *at,
            action,
            rule: rule.clone(),
            planned: *at,
        })
    }

    /// The covered mark of a rule, as it is recorded.
    pub(super) fn mark_of(&self, rule: &Rule, until: Timestamp) -> CoveredMark {
        let closes = self.left_open.get(&rule.name).copied();
        CoveredMark { rule: rule.name.clone(), fingerprint: rule.fingerprint(), until, closes }
    }

    /// Lets an event happen to one target.
    pub(super) fn happen(&mut self, draft: &mut Draft, run: RunId, server: &ServerId, event: &Event<'_>) {
        let opposite = self.unanswered.get(server).copied();
        let Some(open) = self.runs.get_mut(run) else {
            return;
        };
        let Some(target) = open.targets.get_mut(server) else {
            return;
        };
        let policy = policy(&open.head, target.limit, opposite);
        let after = step(target.progress.clone(), event, &policy, draft.now);
        if after == target.progress {
            return;
        }
        draft.note_before(run, server, &target.progress);
        target.progress = after;
        // At once: a start of this very turn must not take our own stop for somebody else's.
        if let Some(since) = target.progress.left_running(open.head.action) {
            match since {
                Some(since) => self.left_running.insert(server.clone(), since),
                None => self.left_running.remove(server),
            };
        }
    }

    /// The open targets of a server.
    pub(super) fn open_targets_of(&self, server: &ServerId) -> Vec<RunId> {
        let is_open =
            |run: &Run| run.targets.get(server).is_some_and(|target| target.progress.outcome().is_none());
        self.runs.of(server).filter(|(_, run)| is_open(run)).map(|(id, _)| id).collect()
    }

    /// All open targets.
    pub(super) fn all_open(&self) -> Vec<(RunId, ServerId)> {
        let open = |(id, run): (&RunId, &Run)| {
            let id = *id;
            let targets = run.targets.values().filter(|target| target.progress.outcome().is_none());
            targets.map(|target| (id, target.server.clone())).collect::<Vec<_>>()
        };
        self.runs.iter().flat_map(open).collect()
    }

    /// The name of a server, where a read has shown it.
    pub(super) fn name_of(&self, server: &ServerId) -> Option<String> {
        self.sights.get(server).and_then(|(_, traits)| traits.as_ref()?.name.clone())
    }

    /// A server for people: its number, and its name where it is known.
    pub(super) fn shown(&self, server: &ServerId) -> String {
        match self.name_of(server) {
            Some(name) => format!("{} ({name})", server.no),
            None => server.no.to_string(),
        }
    }

    /// When a server was left running that somebody else stopped since, as far as is known.
    pub(super) fn stopped_by_hand(&self, server: &ServerId) -> Option<Timestamp> {
        let left = *self.left_running.get(server)?;
        let (sight, _) = self.sights.get(server)?;
        sight.shows_stopped_since(left).then_some(left)
    }

    /// Works out again who belongs where, and who waits for whom.
    pub(super) fn regroup(&mut self) {
        self.resolved.retain(|group, _| self.settings.groups.contains_key(group));
        self.roster = Arc::new(Roster::new(&self.settings.groups, &self.resolved));
        self.order = Order::new(&self.settings.groups, &self.roster);
        self.contradictions = self.order.contradictions(&self.roster);
    }

    /// Whether the program itself runs on a server, as its addresses say.
    pub(super) fn is_own(&self, server: &ServerId) -> bool {
        let account = self.accounts.get(&server.account);
        account.and_then(|account| account.own.as_ref()).is_some_and(|own| own.contains(&server.no))
    }

    /// Whether an opposite target has a request out, or must look, for a server of a run with this action.
    pub(super) fn opposite_holds_the_wire(&self, server: &ServerId, action: Action) -> bool {
        let holds =
            |run: &Run| run.targets.get(server).is_some_and(|target| target.progress.holds_the_wire());
        // A server that is in one run alone, which is the caller's, has no other target.
        self.runs.shared().contains(server)
            && self.runs.of(server).any(|(_, run)| run.head.action != action && holds(run))
    }

    /// A target that waits learns nothing from a sight that began before the last request for its server was settled.
    fn is_blind(&self, run: RunId, server: &ServerId, sight: &Sight) -> bool {
        let Some(run) = self.runs.get(&run) else { return true };
        let waits =
            run.targets.get(server).is_some_and(|t| matches!(t.progress.state, State::Waiting { .. }));
        let old = self.touched.get(server).is_some_and(|touched| sight.began < *touched);
        waits && (old || self.opposite_holds_the_wire(server, run.head.action))
    }

    /// Takes back what a wrong clock decided, as the journal did.
    pub(super) fn take_back(&mut self, draft: &mut Draft, withdrawn: Withdrawn) {
        let Withdrawn { runs, misses, reopened, overrides, kept } = withdrawn;
        self.overrides.reopen(&overrides);
        for run in &runs {
            self.runs.remove(*run);
        }
        for (rule, until) in &reopened {
            if let Some(covered) = self.covered.get_mut(rule) {
                *covered = (*covered).min(*until);
            }
        }
        self.kept.extend(kept);
        if !runs.is_empty() || misses > 0 || !overrides.is_empty() {
            let again = match overrides.len() {
                0 => String::new(),
                count => format!(" Overrides that it had ended hold again: {count}."),
            };
            let text = format!(
                "a wrong clock had gone ahead: {} runs and {misses} records of missed moments that lie after {} are taken back, \
                 and those moments come again.{again}",
                runs.len(),
                draft.now
            );
            let again = match overrides.len() {
                0 => String::new(),
                count => format!(" 그 시계가 끝낸 예외 {count}건이 다시 적용됩니다."),
            };
            let ko = format!(
                "시계가 잘못 앞서가 있었습니다. {} 이후의 실행 {}건과 놓침 기록 {misses}건을 되돌렸고, 그 시각들은 다시 옵니다.{again}",
                draft.now,
                runs.len()
            );
            draft.tell(NoticeKind::Recovered, Urgency::GoodToKnow, Told::new(text, ko));
        }
    }

    /// Takes a sight: open targets of the server learn of it, and so do those that ended without it.
    pub(super) fn see(
        &mut self,
        draft: &mut Draft,
        server: &ServerId,
        sight: &Sight,
        traits: Option<Traits>,
    ) {
        // Reads may come back in another order than they were begun in.
        let is_older = |known: &Sight| known.began > sight.began && known.began <= draft.now;
        if self.sights.get(server).is_some_and(|(known, _)| is_older(known)) {
            return;
        }
        let traits = traits.or_else(|| self.sights.get(server).and_then(|(_, traits)| traits.clone()));
        let name = traits.as_ref().and_then(|traits| traits.name.clone());
        let news = self.sights.get(server).is_none_or(|(before, _)| before.found != sight.found);
        if let (true, Found::Server(condition)) = (news, &sight.found) {
            let condition = condition.to_string();
            draft.lines.push(Line::Seen { server: server.clone(), name, condition });
        }
        self.sights.insert(server.clone(), (sight.clone(), traits));
        for run in self.open_targets_of(server) {
            if !self.is_blind(run, server, sight) {
                self.happen(draft, run, server, &Event::Seen(sight));
            }
        }
        let arrived = |watch: &Afterwatch| {
            let standing = match &sight.found {
                Found::Server(condition) => condition.standing(watch.action),
                Found::Absent => Standing::Gone,
            };
            watch.server == *server && standing == Standing::Goal
        };
        for watch in self.afterwatch.extract_if(.., |watch| arrived(watch)) {
            if watch.action == Action::Start {
                self.left_running.insert(watch.server.clone(), draft.now);
                draft.turn.left_running.push((watch.server.clone(), Some(draft.now)));
            }
            let words = format!("got there after all, seen at {}", sight.began);
            draft.turn.remarks.push((watch.run, watch.server.clone(), words));
            draft.lines.push(Line::Recovered { run: watch.run, server: watch.server.clone() });
            let text = format!("server {} of run {} got there after all.", watch.server, watch.run);
            let ko =
                format!("실행 {}의 서버 {}이(가) 뒤늦게 원하는 상태가 되었습니다.", watch.run, watch.server);
            draft.tell(NoticeKind::Recovered, Urgency::GoodToKnow, Told::new(text, ko));
        }
    }
}

fn open(run: OpenRun) -> Run {
    Run {
        head: run.head,
        targets: run.targets.into_iter().map(|target| (target.server.clone(), target)).collect(),
        resolution: run.resolution,
        is_closed: false,
    }
}

/// The policy of a target.
pub(super) fn policy(head: &RunHead, limit: Duration, unanswered: Option<(Action, Timestamp)>) -> Policy {
    let opposite_unanswered = unanswered.filter(|(action, _)| *action != head.action).map(|(_, at)| at);
    Policy { action: head.action, due: head.due, window_end: head.window_end, limit, opposite_unanswered }
}

/// A server that was being watched on when the program ended. Those whose time has passed fall out at the first turn.
fn watched_on(doubtful: Doubtful) -> Option<Afterwatch> {
    let Doubtful { run, server, action, progress } = doubtful;
    let State::Ended { outcome, at } = &progress.state else { return None };
    let until = at.saturating_add(AFTERWATCH).ok().filter(|_| is_watched_on(Some(outcome)))?;
    Some(Afterwatch { run, server, action, until, next: *at })
}

pub(super) fn is_watched_on(outcome: Option<&Outcome>) -> bool {
    match outcome {
        Some(Outcome::Unknown(_)) => true,
        Some(Outcome::Failed(reason)) => reason.kind == ReasonKind::TooSlow,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{self, at, head, server, sight};
    use crate::domain::outcome::Asked;
    use crate::domain::target::Progress;

    #[test]
    fn a_sight_from_before_the_last_request_tells_nothing_to_a_target_that_waits() {
        let due = at("08:50:00");
        let mut book = scene::book("");
        let targets = [("1001", Progress::fresh(due)), ("1002", scene::asking(due))];
        scene::add(&mut book, 1, head("morning", Action::Start, due), &targets);
        scene::add(&mut book, 2, head("evening", Action::Stop, due), &[("1003", scene::asking(due))]);
        scene::add(&mut book, 3, head("other", Action::Start, due), &[("1003", Progress::fresh(due))]);
        for no in ["1001", "1002"] {
            book.touched.insert(server(no), due);
        }
        let blind = |run: i64, no: &str, began: &str| {
            book.is_blind(RunId(run), &server(no), &sight(at(began), "NSTOP", "NULL"))
        };

        assert!(blind(1, "1001", "08:49:59") && !blind(1, "1001", "08:50:00"));
        assert!(!blind(1, "1002", "08:49:59"), "it does not wait");
        assert!(blind(3, "1003", "08:50:10"), "an opposite request is on the wire");
        assert!(blind(9, "1001", "08:50:10"), "there is no such run");
    }

    #[test]
    fn a_server_that_our_own_stop_brought_down_is_not_taken_for_one_that_somebody_stopped() {
        let due = at("19:30:00");
        let mut book = scene::book("");
        book.left_running.insert(server("1001"), at("08:51:00"));
        let attempt = AttemptId(1);
        let moving = Progress {
            state: State::Moving { attempt: Some(attempt), since: due, fell_back: None },
            attempts: 1,
            asked: Asked::Yes,
            ..Progress::fresh(due)
        };
        scene::add(&mut book, 1, head("evening", Action::Stop, due), &[("1001", moving)]);
        let mut draft = Draft::new(at("19:30:40"));

        book.see(&mut draft, &server("1001"), &sight(at("19:30:39"), "NSTOP", "NULL"), None);

        // Before the turn is recorded: a start may be decided on in the same one.
        assert_eq!(book.stopped_by_hand(&server("1001")), None);
        book.finish(&mut draft);
        assert_eq!(draft.turn.left_running, [(server("1001"), None)]);
        book.left_running.insert(server("1001"), at("08:51:00"));
        assert_eq!(book.stopped_by_hand(&server("1001")), Some(at("08:51:00")));
    }

    #[test]
    fn only_an_opposite_request_without_an_answer_is_in_the_way() {
        let due = at("08:50:00");
        let in_the_way = |unanswered| {
            policy(&head("r", Action::Start, due), Duration::ZERO, unanswered).opposite_unanswered
        };

        assert_eq!(in_the_way(Some((Action::Stop, due))), Some(due));
        assert_eq!((in_the_way(Some((Action::Start, due))), in_the_way(None)), (None, None));
    }
}
