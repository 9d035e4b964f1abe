//! What holds a waiting target back although it could be asked: order, canaries, too many failures, busy servers, the machine itself.

mod canary;
mod unknown;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use self::canary::Tally;
use super::begin::known_from;
use super::book::{Book, Run};
use super::dispatch::Looks;
use super::draft::Draft;
use super::keeps::Keeping;
use super::probes::{BUSY_ANSWER_AGE_MAX, Probes};
use super::view;
use crate::domain::group::{AfterFailure, Group};
use crate::domain::name::{AccountName, Action, GroupName, RunId, ServerId};
use crate::domain::order::{Hold, Member, Need, judge};
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::overrides::{Kind, Override, Then};
use crate::domain::probe::Probed;
use crate::domain::rule::{HandStopped, Rule};
use crate::domain::server::{Condition, Found, SHOWS_AFTER, Standing};
use crate::domain::target::{Event, SIGHT_AGE_MAX, State, Wish, later, wish};
use crate::ports::store::{Origin, Target, Waiver};

/// How often servers that somebody waits for are looked at, where no run of theirs does it.
const WAITED_FOR_EVERY: Duration = Duration::from_secs(5);

/// Whether a target may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gate {
    Free,
    /// Held back, with what it waits for.
    Waits(Reason),
    /// It will not get a chance in this run.
    Lost(Reason),
}

/// A group that is waited for, as servers of one knot see it.
type SeenFrom = (Need, Option<usize>, RunId);

/// What is worked out once a turn.
struct Gates<'a> {
    book: &'a Book,
    probes: Probes,
    now: Timestamp,
    looks: Looks,
    /// The runs whose servers are not all known.
    pending: Vec<&'a Run>,
    judged: BTreeMap<SeenFrom, Gate>,
    canaries: BTreeMap<RunId, BTreeSet<&'a ServerId>>,
    tallies: BTreeMap<(RunId, GroupName), Tally>,
    /// Whether there are groups whose servers only a list tells; without them nothing is unknown.
    are_listed: bool,
    /// Whether there are groups in which some servers show how the others would fare.
    are_tried: bool,
    /// For each run and account a group that decides about its servers and is not known, if there is one.
    unknown: BTreeMap<(RunId, &'a AccountName), Option<GroupName>>,
    keeping: Keeping<'a>,
}

/// How a server fares in the open runs of an action.
#[derive(Debug, Clone, Copy, Default)]
struct InRuns {
    /// A target of it has not ended.
    is_open: bool,
    /// A target of it ended elsewhere than at the goal.
    has_failed: bool,
}

/// Holds back the targets that must wait, sets those free that need not wait any more, and ends those that wait in vain.
/// Returns the servers that must be looked at for it.
pub(super) fn hold_and_free(book: &mut Book, draft: &mut Draft) -> Looks {
    let mut probes = std::mem::take(&mut book.probes);
    probes.begin();
    let mut gates = Gates::new(book, probes, draft.now);
    let waiting = gates.waiting();
    gates.choose_canaries(&waiting);
    let mut verdicts: Vec<(RunId, ServerId, Gate)> = Vec::new();
    for (id, run, target) in waiting {
        let gate = gates.of(id, run, target);
        // Most have nothing to be told, and there may be very many.
        if gate != Gate::Free || is_held(target) {
            verdicts.push((id, target.server.clone(), gate));
        }
    }
    let Gates { probes, looks, .. } = gates;
    book.probes = probes;
    for (id, server, gate) in verdicts {
        settle(book, draft, id, &server, gate);
    }
    looks
}

fn settle(book: &mut Book, draft: &mut Draft, id: RunId, server: &ServerId, gate: Gate) {
    let Some(run) = book.runs.get(&id) else { return };
    let Some(target) = run.targets.get(server) else { return };
    match gate {
        Gate::Free if is_held(target) => book.happen(draft, id, server, &Event::Freed),
        Gate::Free => {}
        Gate::Waits(reason) => {
            let same =
                matches!(&target.progress.state, State::Waiting { why: Some(why), .. } if *why == reason);
            if !same || !is_held(target) {
                book.happen(draft, id, server, &Event::Held(&reason, Timestamp::MAX));
            }
        }
        Gate::Lost(reason) => book.happen(draft, id, server, &Event::Withdrawn(&reason)),
    }
}

/// Whether a target was held back here: until it is set free, or its window ends.
fn is_held(target: &Target) -> bool {
    matches!(&target.progress.state, State::Waiting { until, .. } if *until == Timestamp::MAX)
}

impl<'a> Gates<'a> {
    fn new(book: &'a Book, probes: Probes, now: Timestamp) -> Self {
        let (looks, judged) = (Looks::new(), BTreeMap::new());
        let (canaries, tallies, unknown) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let keeping = book.keeping(now);
        let pending = book.runs.values().filter(|run| !run.resolution.pending.is_empty()).collect();
        let are_listed = book.settings.groups.values().any(Group::needs_list);
        let tries = |group: &Group| group.canary > 0 || group.stop_after_failures.is_some();
        let are_tried = book.settings.groups.values().any(tries);
        Self {
            book,
            probes,
            now,
            looks,
            pending,
            are_listed,
            are_tried,
            judged,
            canaries,
            tallies,
            unknown,
            keeping,
        }
    }

    /// The targets whose turn it would be, and those that are held.
    fn waiting(&self) -> Vec<(RunId, &'a Run, &'a Target)> {
        let mut found = Vec::new();
        for (id, run) in self.book.runs.iter() {
            for target in run.targets.values() {
                let State::Waiting { until, .. } = &target.progress.state else { continue };
                let is_marked = target.progress.mark.is_some();
                if !is_marked && (*until <= self.now || is_held(target)) {
                    found.push((*id, run, target));
                }
            }
        }
        found
    }

    fn of(&mut self, id: RunId, run: &'a Run, target: &'a Target) -> Gate {
        let server = &target.server;
        let mut gate = self.limits(id, run, server);
        if gate == Gate::Free {
            gate = self.by_hand(run, target);
        }
        if gate == Gate::Free {
            gate = self.order(id, run, server);
        }
        if gate == Gate::Free && self.are_tried {
            gate = self.failures(id, run, target);
        }
        if gate == Gate::Free {
            gate = self.newer_unknown(run, server);
        }
        if gate == Gate::Free {
            gate = self.busy(run, target);
        }
        if gate == Gate::Free && self.are_tried {
            gate = self.canary(id, run, target);
        }
        gate
    }

    /// Whether the rule leaves off what a person stopped. Nothing was asked in this run yet, or it is on its way by our own doing.
    fn by_hand(&mut self, run: &Run, target: &Target) -> Gate {
        let (book, server) = (self.book, &target.server);
        if run.head.action != Action::Start || target.progress.attempts > 0 {
            return Gate::Free;
        }
        let Some(rule) = self.leaves(run, server) else { return Gate::Free };
        let Some(left) = book.left_running.get(server).filter(|left| **left <= self.now) else {
            return Gate::Free;
        };
        if self.seen(server, later(*left, SHOWS_AFTER)).is_none() {
            self.looked_for(server);
            let words = "it is looked at whether somebody stopped it".to_owned();
            return Gate::Waits(self.not_known(server, words));
        }
        match book.stopped_by_hand(server) {
            Some(left) => {
                let left = view::moment(left, &rule.schedule.zone);
                let words = format!(
                    "somebody stopped it outside of sunup: it ran at {left}. It stays off until a person starts it"
                );
                Gate::Lost(Reason::new(ReasonKind::HandStopped, words))
            }
            None => Gate::Free,
        }
    }

    /// The rule that leaves off what a person stopped: the run's own, or one whose start a keep held back that it makes up for.
    fn leaves(&self, run: &Run, server: &ServerId) -> Option<&'a Rule> {
        let rules = &self.book.settings.rules;
        let leaves = |rule: &&Rule| rule.hand_stopped == HandStopped::Leave;
        match &run.head.origin {
            Origin::Rule(name) => rules.get(name).filter(leaves),
            Origin::Person(_) => None,
            Origin::Keep { id, .. } => {
                let acts = |one: &Override| matches!(one.kind, Kind::Keep { then: Then::Act, .. });
                if self.book.overrides.of_id(*id).is_some_and(acts) {
                    return None;
                }
                let groups = self.book.roster.groups_of(server);
                let starts = |rule: &&Rule| rule.schedule.actions().contains(&Action::Start);
                let is_its = |rule: &&Rule| rule.groups.iter().any(|group| groups.contains(group));
                rules.values().filter(leaves).filter(starts).find(is_its)
            }
        }
    }

    /// Not known, because of the account's trouble where it has one.
    fn not_known(&self, server: &ServerId, words: String) -> Reason {
        let told = self.book.accounts.get(&server.account).and_then(|account| account.told.as_ref());
        match told {
            Some((reason, _)) => Reason::new(reason.kind, format!("{words} ({})", reason.text)),
            None => Reason::new(ReasonKind::NotKnown, words),
        }
    }

    /// Whether everything is there that the server's groups wait for.
    fn order(&mut self, id: RunId, run: &Run, server: &ServerId) -> Gate {
        if self.book.order.is_empty() {
            return Gate::Free;
        }
        let mut waits = Gate::Free;
        let knot = self.book.order.knot(server);
        for need in self.book.order.needs(self.book.roster.groups_of(server), run.head.action) {
            let key = (need, knot, id);
            let gate = match self.judged.get(&key) {
                Some(gate) => gate.clone(),
                None => {
                    let gate = self.need(&key.0, knot, run);
                    self.judged.insert(key, gate.clone());
                    gate
                }
            };
            match gate {
                Gate::Lost(_) => return gate,
                Gate::Waits(_) if waits == Gate::Free => waits = gate,
                _ => {}
            }
        }
        waits
    }

    fn need(&mut self, need: &Need, knot: Option<usize>, run: &Run) -> Gate {
        let book = self.book;
        let (Some(by), Some(on)) = (book.settings.groups.get(&need.by), book.settings.groups.get(&need.on))
        else {
            return Gate::Free;
        };
        let waits = |words: String| Gate::Waits(Reason::new(ReasonKind::Dependency, words));
        if !book.roster.is_known_since(&on.name, known_from(book, run.head.claimed)) {
            return waits(format!("which servers group {} has is not known yet", on.name));
        }
        let others = |server: &&ServerId| book.order.knot(server) != knot;
        let members: Vec<&'a ServerId> = book.roster.members(&on.name).filter(others).collect();
        match run.head.action {
            Action::Start if book.roster.size(&on.name) == 0 => {
                waits(format!("group {} is to be up first, and matches no server", on.name))
            }
            // Only servers that go together with this one: there is nobody to wait for.
            Action::Start if members.is_empty() => Gate::Free,
            Action::Start => self.start_need(by, (on, knot), &members, run),
            Action::Stop if run.waives(Waiver::Dependents) => Gate::Free,
            Action::Stop => self.stop_need(by, on, &members, run),
        }
    }

    /// Whether a group that is to be up before is up and ready.
    fn start_need(
        &mut self,
        by: &Group,
        (on, knot): (&Group, Option<usize>),
        members: &[&'a ServerId],
        run: &Run,
    ) -> Gate {
        let states: Vec<Member> = members.iter().map(|server| self.is_up(server)).collect();
        let lost = |words: String| match by.after_failure {
            AfterFailure::Skip => Gate::Lost(Reason::new(ReasonKind::Dependency, words)),
            AfterFailure::Continue => Gate::Free,
        };
        let hold = judge(states.iter().copied(), on.any);
        if hold != Hold::Free {
            self.probes.not_up(&(on.name.clone(), knot));
        }
        match hold {
            Hold::Lost => {
                lost(format!("group {} did not come up, and group {} comes after it", on.name, by.name))
            }
            Hold::Waits => {
                let comes = members.iter().any(|server| self.in_runs(server, Action::Start).is_open);
                let by_hand = matches!(run.head.origin, Origin::Person(_));
                let nobody = match (comes, by_hand) {
                    (true, _) => "",
                    (false, true) => "; nothing starts it now (--with-dependencies would)",
                    (false, false) => "; nothing starts it now",
                };
                let words = format!("group {} is to be up first, for group {}{nobody}", on.name, by.name);
                Gate::Waits(Reason::new(ReasonKind::Dependency, words))
            }
            Hold::Free => {
                let up = members.iter().zip(&states).filter(|(_, state)| **state == Member::There);
                let up: Vec<&ServerId> = up.map(|(server, _)| *server).collect();
                match self.readiness((on, knot), &up, run) {
                    Hold::Free => Gate::Free,
                    Hold::Waits => {
                        let probe =
                            on.ready.as_ref().map(|ready| ready.probe.to_string()).unwrap_or_default();
                        let words = format!(
                            "group {} is up and not ready yet ({probe}), for group {}",
                            on.name, by.name
                        );
                        Gate::Waits(Reason::new(ReasonKind::Dependency, words))
                    }
                    Hold::Lost => {
                        let (probe, within) = on
                            .ready
                            .as_ref()
                            .map(|ready| (ready.probe.to_string(), ready.within.as_secs()))
                            .unwrap_or_default();
                        lost(format!(
                            "group {} was up and not ready within {within}s ({probe}), and group {} comes after it",
                            on.name, by.name
                        ))
                    }
                }
            }
        }
    }

    /// Whether the probe of a group that is up has passed.
    fn readiness(&mut self, (on, knot): (&Group, Option<usize>), up: &[&ServerId], run: &Run) -> Hold {
        let Some(ready) = &on.ready else { return Hold::Free };
        let since = self.probes.up_since(&(on.name.clone(), knot), self.now);
        let in_time = self.now < later(since, ready.within) && self.now < run.head.window_end;
        let asked: Vec<_> = match ready.probe.is_about_a_server() {
            true => {
                up.iter().map(|id| ready.probe.filled(&id.no, self.book.name_of(id).as_deref())).collect()
            }
            false => vec![Some(ready.probe.clone())],
        };
        let mut members = Vec::new();
        for probe in asked {
            let answer = probe.map(|probe| self.probes.answer(probe, since));
            members.push(match answer {
                Some(Some(Probed::Yes)) => Member::There,
                // Nobody is given up before he was asked once.
                Some(None) => Member::Coming,
                _ if in_time => Member::Coming,
                _ => Member::Lost,
            });
        }
        let enough = if ready.probe.is_about_a_server() { on.any } else { None };
        if in_time {
            // Told to come back when its time is up.
            self.looks.wake_at(later(since, ready.within));
        }
        judge(members, enough)
    }

    /// How a server stands that is to be up.
    fn is_up(&mut self, server: &'a ServerId) -> Member {
        let is_up = |condition: &Condition| condition.standing(Action::Start) == Standing::Goal;
        let own = self.in_runs(server, Action::Start);
        if own.is_open || self.in_runs(server, Action::Stop).is_open {
            return Member::Coming;
        }
        match self.seen(server, Timestamp::MIN).map(|condition| is_up(&condition)) {
            Some(true) => {
                // Read again before what is known grows too old to go by.
                if let Some((sight, _)) = self.book.sights.get(server) {
                    self.looks.note(server, later(sight.began, SIGHT_AGE_MAX / 2));
                }
                Member::There
            }
            Some(false) if own.has_failed => Member::Lost,
            _ => self.looked_for(server),
        }
    }

    /// How a server fares in the open runs of an action.
    fn in_runs(&self, server: &'a ServerId, action: Action) -> InRuns {
        let mut found = InRuns::default();
        for (_, run) in self.book.runs.of(server).filter(|(_, run)| run.head.action == action) {
            match run.targets.get(server).map(|target| target.progress.outcome()) {
                Some(None) => found.is_open = true,
                Some(Some(outcome)) => found.has_failed |= !outcome.is_at_goal(),
                None => {}
            }
        }
        found
    }

    /// Whether the servers that need this group are down.
    fn stop_need(&mut self, by: &Group, on: &Group, members: &[&'a ServerId], run: &Run) -> Gate {
        let mut waits = false;
        for server in members {
            match self.is_down(server, run) {
                Member::There => {}
                Member::Coming => waits = true,
                Member::Lost => {
                    let shown = self.book.shown(server);
                    let remedy = match run.head.origin {
                        Origin::Person(_) => {
                            "--with-dependencies stops it too, --ignore-dependents does not mind it"
                        }
                        _ => "stop it first, or stop by hand with --ignore-dependents",
                    };
                    let words = format!(
                        "server {shown} of group {} is up and needs group {}; {remedy}",
                        on.name, by.name
                    );
                    return Gate::Lost(Reason::new(ReasonKind::Dependency, words));
                }
            }
        }
        if !waits {
            return Gate::Free;
        }
        let words = format!("group {} needs group {} and is to be down first", on.name, by.name);
        Gate::Waits(Reason::new(ReasonKind::Dependency, words))
    }

    /// How a server stands that is to be down. A command does not wait for what nobody stops.
    fn is_down(&mut self, server: &'a ServerId, run: &Run) -> Member {
        let by_person = !matches!(run.head.origin, Origin::Rule(_));
        let own = self.in_runs(server, Action::Stop);
        let is_starting = self.in_runs(server, Action::Start).is_open;
        if own.is_open {
            return Member::Coming;
        }
        // Only a look since the run began shows that nothing runs there now.
        match self.seen(server, run.head.claimed).map(|condition| condition.is_down()) {
            Some(true) if !is_starting => Member::There,
            Some(false) if by_person || own.has_failed => Member::Lost,
            _ => self.looked_for(server),
        }
    }

    /// What a recent read showed of a server, begun at or after a moment and after the last request for it was settled. Absent
    /// counts as terminated.
    fn seen(&self, server: &ServerId, since: Timestamp) -> Option<Condition> {
        let (sight, _) = self.book.sights.get(server)?;
        let is_blind = self.book.touched.get(server).is_some_and(|touched| sight.began < *touched);
        if is_blind || sight.began < since || later(sight.began, SIGHT_AGE_MAX) < self.now {
            return None;
        }
        Some(match &sight.found {
            Found::Server(condition) => condition.clone(),
            Found::Absent => Condition::from_codes("TERMT", "NULL"),
        })
    }

    /// Has a server looked at that no run looks at.
    fn looked_for(&mut self, server: &ServerId) -> Member {
        // What is known but too old, or older than the last request, is read again at once.
        let is_recent = self.seen(server, Timestamp::MIN).is_some();
        let last = self.book.sights.get(server).filter(|_| is_recent);
        let next = last.map_or(self.now, |(sight, _)| later(sight.began, WAITED_FOR_EVERY));
        let settled = self.book.touched.get(server).copied().unwrap_or(self.now);
        self.looks.note(server, next.max(settled).max(self.now));
        Member::Coming
    }

    /// Whether the server says that it is busy. Asked only about servers that would be stopped now.
    fn busy(&mut self, run: &Run, target: &Target) -> Gate {
        if run.head.action != Action::Stop {
            return Gate::Free;
        }
        let groups = self.book.roster.groups_of(&target.server).iter();
        let groups = groups.filter_map(|name| self.book.settings.groups.get(name));
        let since = self.now.saturating_sub(BUSY_ANSWER_AGE_MAX).unwrap_or(Timestamp::MIN);
        let is_held = is_held(target);
        let policy = super::book::policy(&run.head, target.limit, None);
        if !is_held && !matches!(wish(&target.progress, &policy, self.now), Wish::Ask) {
            return Gate::Free;
        }
        let mut gate = Gate::Free;
        for group in groups {
            let Some(probe) = &group.busy else { continue };
            let name = self.book.name_of(&target.server);
            let answer = probe
                .filled(&target.server.no, name.as_deref())
                .map(|probe| self.probes.answer(probe, since));
            let words = match answer {
                Some(Some(Probed::No(_))) => continue,
                Some(Some(Probed::Yes)) => format!("it says that it is busy ({probe})"),
                Some(Some(Probed::Unclear(why))) => {
                    format!("whether it is busy is not clear, so it counts as busy ({probe}: {why})")
                }
                Some(None) => format!("it is asked whether it is busy ({probe})"),
                None => format!("whether it is busy cannot be asked, since it has no name ({probe})"),
            };
            gate = Gate::Waits(Reason::new(ReasonKind::Busy, words));
        }
        gate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{self, at, server, sight};

    #[test]
    fn a_sight_counts_from_a_moment_on_while_it_is_new_and_no_request_came_after_it() {
        let (began, newest) = (at("08:50:00"), at("08:50:00") + SIGHT_AGE_MAX);
        let seen = |since: Timestamp, touched: Timestamp, now: Timestamp| {
            let mut book = scene::book("");
            book.sights.insert(server("1001"), (sight(began, "RUN", "NULL"), None));
            book.touched.insert(server("1001"), touched);
            Gates::new(&book, Probes::default(), now).seen(&server("1001"), since).is_some()
        };
        let second = Duration::from_secs(1);

        assert!(seen(began, began, began) && seen(began, began, newest));
        assert!(!seen(began, began, newest + second), "too old");
        assert!(!seen(began + second, began, newest), "older than what is asked for");
        assert!(!seen(began, began + second, newest), "a request came after it");
    }
}
