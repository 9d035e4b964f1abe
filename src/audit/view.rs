//! A history with its indices: which request belongs to which attempt, what a server's state was, and what was wrong when.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{
    Attempt, Deed, History, Micros, Owed, Read, Request, Run, SECOND, State, Target, Wrong,
};
use super::matching::{Interval, greedy};

/// How far apart two clocks may be read without meaning anything.
pub(super) const TOLERANCE: Micros = 2 * SECOND;

/// A history, indexed.
pub(super) struct View<'a> {
    pub(super) history: &'a History,
    /// The attempt of each request.
    pub(super) attempt_of: Vec<Option<&'a Attempt>>,
    /// The requests of each attempt.
    pub(super) requests_of: BTreeMap<i64, Vec<&'a Request>>,
    runs: BTreeMap<i64, &'a Run>,
    targets: BTreeMap<i64, Vec<&'a Target>>,
    attempts: BTreeMap<i64, BTreeMap<&'a str, Vec<&'a Attempt>>>,
    states: BTreeMap<&'a str, Vec<&'a State>>,
    durable: BTreeMap<i64, Micros>,
    pub(super) owed: BTreeMap<(&'a str, Deed), BTreeMap<Micros, &'a Owed>>,
    shows: BTreeMap<&'a str, Vec<(&'a Read, usize)>>,
}

/// Who is asked for what: only equal ones can be one request and its attempt.
type Shape<'a> = (Deed, BTreeSet<&'a str>);

impl<'a> View<'a> {
    pub(super) fn new(history: &'a History) -> Self {
        let mut view = Self {
            history,
            attempt_of: Vec::new(),
            requests_of: BTreeMap::new(),
            runs: history.journal.runs.iter().map(|run| (run.id, run)).collect(),
            targets: BTreeMap::new(),
            attempts: BTreeMap::new(),
            states: BTreeMap::new(),
            durable: history.durable.iter().copied().collect(),
            owed: BTreeMap::new(),
            shows: BTreeMap::new(),
        };
        for target in &history.journal.targets {
            view.targets.entry(target.run).or_default().push(target);
        }
        for attempt in &history.journal.attempts {
            for (run, server) in &attempt.targets {
                let of_run = view.attempts.entry(*run).or_default();
                of_run.entry(server.as_str()).or_default().push(attempt);
            }
        }
        for state in &history.states {
            view.states.entry(state.server.as_str()).or_default().push(state);
        }
        for owed in &history.owed {
            view.owed.entry((owed.rule.as_str(), owed.deed)).or_default().insert(owed.planned, owed);
        }
        for read in &history.reads {
            for (index, (server, _, _)) in read.shown.iter().enumerate() {
                view.shows.entry(server.as_str()).or_default().push((read, index));
            }
        }
        view.match_requests();
        view
    }

    fn match_requests(&mut self) {
        let history = self.history;
        let mut requests: BTreeMap<Shape<'a>, Vec<usize>> = BTreeMap::new();
        for (index, request) in history.requests.iter().enumerate() {
            let shape = (request.deed, request.servers.iter().map(String::as_str).collect());
            requests.entry(shape).or_default().push(index);
        }
        let mut attempts: BTreeMap<Shape<'a>, Vec<&'a Attempt>> = BTreeMap::new();
        for attempt in &history.journal.attempts {
            let shape = (attempt.deed, attempt.targets.iter().map(|(_, server)| server.as_str()).collect());
            attempts.entry(shape).or_default().push(attempt);
        }
        self.attempt_of = vec![None; history.requests.len()];
        for (shape, indices) in requests {
            let Some(attempts) = attempts.get(&shape) else { continue };
            let points: Vec<Micros> = indices
                .iter()
                .filter_map(|index| history.requests.get(*index))
                .map(|request| request.left)
                .collect();
            let intervals: Vec<Interval> = attempts.iter().map(|attempt| self.open_while(attempt)).collect();
            for (index, given) in indices.into_iter().zip(greedy(&points, &intervals)) {
                let attempt = given.and_then(|given| attempts.get(given).copied());
                if let (Some(slot), Some(request)) =
                    (self.attempt_of.get_mut(index), history.requests.get(index))
                {
                    *slot = attempt;
                    if let Some(attempt) = attempt {
                        self.requests_of.entry(attempt.id).or_default().push(request);
                    }
                }
            }
        }
    }

    /// From when to when a request of an attempt could leave, true time.
    fn open_while(&self, attempt: &Attempt) -> Interval {
        let from = self.durable_at(attempt);
        let to = self.answered_at(attempt).unwrap_or(self.history.until);
        Interval { from, to: to.max(from) + self.tolerance() }
    }

    /// Where moments are dated by the machine's clock alone, they are a little uncertain.
    pub(super) fn tolerance(&self) -> Micros {
        if self.history.durable.is_empty() { TOLERANCE } else { 0 }
    }

    /// When an attempt became durable, true time.
    pub(super) fn durable_at(&self, attempt: &Attempt) -> Micros {
        self.durable.get(&attempt.id).copied().unwrap_or_else(|| self.true_of(attempt.intended))
    }

    /// When an attempt was answered, true time.
    pub(super) fn answered_at(&self, attempt: &Attempt) -> Option<Micros> {
        attempt.answered.as_ref().map(|(at, _)| self.recorded(*at, self.durable_at(attempt)))
    }

    /// What the wall clock showed.
    pub(super) fn wall(&self, at: Micros) -> Micros {
        let ahead =
            self.history.clock.iter().rev().find(|offset| offset.from <= at).map(|offset| offset.wall_ahead);
        at + ahead.unwrap_or(0)
    }

    /// How far the wall clock was from the right one.
    pub(super) fn wrong_by(&self, at: Micros) -> Micros {
        self.history.clock.iter().rev().find(|offset| offset.from <= at).map_or(0, |offset| offset.wrong_by)
    }

    /// The moment of true time that a record means by one of wall time.
    pub(super) fn true_of(&self, wall: Micros) -> Micros {
        self.recorded(wall, Micros::MIN)
    }

    /// The same, of something that was recorded at or after a moment of true time.
    pub(super) fn recorded(&self, wall: Micros, after: Micros) -> Micros {
        let moments = self.history.turns.get(&wall).map_or(&[][..], Vec::as_slice);
        moments.iter().copied().find(|at| *at >= after).unwrap_or_else(|| self.right(wall))
    }

    /// The last moment of true time that a record may mean: a clock that was set back shows one moment twice.
    pub(super) fn last_of(&self, wall: Micros) -> Micros {
        let moments = self.history.turns.get(&wall).map_or(&[][..], Vec::as_slice);
        moments.iter().copied().max().unwrap_or_else(|| self.right(wall))
    }

    /// The moment of true time that a right clock shows so: what was planned is planned on one.
    pub(super) fn right(&self, wall: Micros) -> Micros {
        let right = self.history.clock.first().map_or(0, |offset| offset.wall_ahead - offset.wrong_by);
        wall - right
    }

    pub(super) fn run(&self, id: i64) -> Option<&'a Run> {
        self.runs.get(&id).copied()
    }

    pub(super) fn targets_of(&self, run: i64) -> &[&'a Target] {
        self.targets.get(&run).map_or(&[], Vec::as_slice)
    }

    /// The attempts that name a target.
    pub(super) fn attempts_for(&self, run: i64, server: &str) -> &[&'a Attempt] {
        let of_run = self.attempts.get(&run);
        of_run.and_then(|of_run| of_run.get(server)).map_or(&[], Vec::as_slice)
    }

    /// The states of a server, in order of time.
    pub(super) fn states_of(&self, server: &str) -> &[&'a State] {
        self.states.get(server).map_or(&[], Vec::as_slice)
    }

    /// The state of a server at a moment.
    pub(super) fn state_at(&self, server: &str, at: Micros) -> Option<&'a State> {
        let states = self.states_of(server);
        let index = states.partition_point(|state| state.at <= at);
        states.get(index.checked_sub(1)?).copied()
    }

    /// Whether a server was in such a state at any moment of a stretch.
    pub(super) fn was(
        &self,
        server: &str,
        (from, to): (Micros, Micros),
        is: impl Fn(&State) -> bool,
    ) -> bool {
        let at_begin = self.state_at(server, from).into_iter();
        let within = self.states_of(server).iter().copied().filter(|state| state.at > from && state.at <= to);
        at_begin.chain(within).any(is)
    }

    /// What reads showed of a server.
    pub(super) fn shows_of(&self, server: &str) -> impl Iterator<Item = (&'a Read, &'a str, &'a str)> + '_ {
        let shows = self.shows.get(server).map_or(&[][..], Vec::as_slice).iter();
        shows.filter_map(|(read, index)| {
            let (_, status, operation) = read.shown.get(*index)?;
            Some((*read, status.as_str(), operation.as_str()))
        })
    }

    /// Whether something of these kinds was wrong at any moment of a stretch, for a server or for all.
    pub(super) fn was_wrong(
        &self,
        (from, to): (Micros, Micros),
        kinds: &[Wrong],
        server: Option<&str>,
    ) -> bool {
        self.history.faults.iter().any(|fault| {
            let about = match (&fault.server, server) {
                (Some(one), Some(other)) => one == other,
                _ => true,
            };
            about && kinds.contains(&fault.wrong) && fault.from <= to && fault.to >= from
        })
    }

    /// The run's occurrence among what was planned.
    pub(super) fn owed_of(&self, run: &Run) -> Option<&'a Owed> {
        self.owed.get(&(run.rule.as_deref()?, run.deed))?.get(&run.planned).copied()
    }

    /// Each request that set a server off: the request, its attempt and the server.
    pub(super) fn effects(&self) -> impl Iterator<Item = (&'a Request, Option<&'a Attempt>, &'a str)> + '_ {
        let requests = self.history.requests.iter().zip(&self.attempt_of);
        requests.flat_map(|(request, attempt)| {
            request.took.iter().map(move |server| (request, *attempt, server.as_str()))
        })
    }
}
