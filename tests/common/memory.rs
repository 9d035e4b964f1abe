//! A journal in memory with the contract of the real one, for the simulation: it forgets nothing when an engine vanishes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sunup::domain::hash::stable;
use sunup::domain::name::{Action, AttemptId, GroupName, OverrideId, RuleName, RunId, ServerId};
use sunup::domain::outcome::{Asked, Outcome, RunOutcome};
use sunup::domain::overrides::{Ended, Override, Scope};
use sunup::ports::store::{
    AttemptRecord, AttemptResult, Claim, ConfigEntry, ConfigText, CoveredMark, Doubtful, Entry, HistoryQuery,
    MissedRange, OccurrenceKey, OpenRun, Opening, Origin, Resolution, RunHead, RunRecord, Store, StoreError,
    StoredConfig, Target, TargetRecord, Turn, Withdrawn,
};

/// A run with all that belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) head: RunHead,
    pub(crate) resolution: Resolution,
    pub(crate) targets: BTreeMap<ServerId, TargetRecord>,
    pub(crate) ended: Option<(RunOutcome, Timestamp)>,
    pub(crate) reason: Option<String>,
    pub(crate) withdrawn: Option<Timestamp>,
}

/// An attempt with its targets.
#[derive(Debug, Clone)]
pub(crate) struct Try {
    pub(crate) action: Action,
    pub(crate) targets: Vec<(RunId, ServerId)>,
    pub(crate) intended: Timestamp,
    pub(crate) answered: Option<Timestamp>,
    pub(crate) result: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) request_id: Option<String>,
}

/// What it holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub(crate) runs: BTreeMap<RunId, Row>,
    pub(crate) attempts: BTreeMap<AttemptId, Try>,
    pub(crate) missed: Vec<MissedRange>,
    /// When each of them was recorded.
    pub(crate) recorded: Vec<Timestamp>,
    marks: BTreeMap<RuleName, CoveredMark>,
    sizes: BTreeMap<GroupName, usize>,
    left_running: BTreeMap<ServerId, Timestamp>,
    configs: Vec<StoredConfig>,
    pub(crate) overrides: BTreeMap<OverrideId, Override>,
    open: BTreeMap<ServerId, AttemptId>,
    last_run: i64,
}

/// A journal in memory. Its copies are the same journal.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStore(pub(crate) Arc<Mutex<Held>>);

fn conflict<T>(what: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError::Conflict { what: what.into() })
}

impl Held {
    /// Whether an occurrence has a run. The newest first: what is claimed again was mostly claimed lately.
    fn is_claimed(&self, (rule, planned, action): &OccurrenceKey) -> bool {
        self.runs.values().rev().any(|row| {
            row.withdrawn.is_none()
                && row.head.origin.rule() == Some(rule)
                && (row.head.planned, row.head.action) == (*planned, *action)
        })
    }

    fn claim(&mut self, claim: &Claim) {
        let id = claim.run;
        self.last_run = self.last_run.max(id.0);
        let record =
            |target: &Target| (target.server.clone(), TargetRecord { target: target.clone(), remark: None });
        let ended = claim.ended.as_ref();
        self.runs.insert(
            id,
            Row {
                head: claim.head.clone(),
                resolution: claim.resolution.clone(),
                targets: claim.targets.iter().map(record).collect(),
                ended: ended.map(|(outcome, _)| (*outcome, claim.head.claimed)),
                reason: ended.map(|(_, reason)| reason.clone()).filter(|reason| !reason.is_empty()),
                withdrawn: None,
            },
        );
    }

    /// Every condition of a turn, before anything of it is written: all or nothing.
    fn check(&self, turn: &Turn) -> Result<(), StoreError> {
        let (mut runs, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for Claim { run, head, .. } in &turn.claims {
            let key = head.occurrence();
            let taken = self.runs.contains_key(run) || !runs.insert(*run);
            let claimed = key.is_some_and(|key| self.is_claimed(&key) || !keys.insert(key));
            if taken || claimed {
                return conflict("the occurrence is claimed, or the number of the run is taken");
            }
        }
        let new = |run: &RunId| turn.claims.iter().any(|claim| claim.run == *run);
        let closed = |run: &RunId| !new(run) && self.runs.get(run).is_none_or(|row| row.ended.is_some());
        if turn.additions.iter().any(|addition| closed(&addition.run)) {
            return conflict("the run has ended before its groups were known");
        }
        if turn.ends.iter().any(|end| closed(&end.run)) {
            return conflict("the run has ended already");
        }
        let answered =
            |id: &AttemptId| self.attempts.get(id).is_none_or(|attempt| attempt.answered.is_some());
        if turn
            .results
            .iter()
            .any(|result| result.result != AttemptResult::INTERRUPTED && answered(&result.attempt))
        {
            return conflict("the attempt has a result already");
        }
        let added = |server: &ServerId, run: &RunId| {
            let mut of_run = turn.additions.iter().filter(|addition| addition.run == *run);
            of_run.any(|addition| addition.targets.iter().any(|target| target.server == *server))
        };
        for change in &turn.changes {
            let known = self.runs.get(&change.run).and_then(|row| row.targets.get(&change.server));
            let fits = known.is_some_and(|record| {
                record.target.revision == change.revision && record.target.progress.outcome().is_none()
            });
            if !fits && !added(&change.server, &change.run) {
                return conflict("the target was changed by somebody else");
            }
        }
        let freed = |id: &AttemptId| turn.results.iter().any(|result| result.attempt == *id);
        for intent in &turn.intents {
            let busy = intent
                .targets
                .iter()
                .any(|(_, server)| self.open.get(server).is_some_and(|open| !freed(open)));
            if busy || self.attempts.contains_key(&intent.attempt) {
                return conflict("a request for the server is open");
            }
        }
        if turn.overrides.iter().any(|one| self.overrides.contains_key(&one.id)) {
            return conflict("the number of the override is taken");
        }
        let over = |one: &Override| self.overrides.get(&one.id).is_none_or(|known| known.ended.is_some());
        if turn.overrides_ended.iter().any(over) {
            return conflict("the override has ended before");
        }
        Ok(())
    }

    fn write(&mut self, turn: &Turn) -> Result<(), StoreError> {
        let now = turn.at.unwrap_or(Timestamp::UNIX_EPOCH);
        turn.claims.iter().for_each(|claim| self.claim(claim));
        for addition in &turn.additions {
            let Some(row) = self.runs.get_mut(&addition.run).filter(|row| row.ended.is_none()) else {
                return conflict("the run has ended before its groups were known");
            };
            row.resolution = addition.resolution.clone();
            for target in &addition.targets {
                let record = TargetRecord { target: target.clone(), remark: None };
                if row.targets.insert(target.server.clone(), record).is_some() {
                    return conflict("the target is there already");
                }
            }
            for (server, groups) in &addition.regrouped {
                if let Some(record) = row.targets.get_mut(server) {
                    record.target.groups = groups.clone();
                }
            }
        }
        for result in &turn.results {
            let attempt = self.attempts.get_mut(&result.attempt).filter(|attempt| attempt.answered.is_none());
            match attempt {
                Some(attempt) => {
                    (attempt.answered, attempt.result) = (Some(now), Some(result.result.to_owned()));
                    (attempt.status, attempt.code) = (result.status, result.code.clone());
                    (attempt.text, attempt.request_id) = (result.text.clone(), result.request_id.clone());
                }
                None if result.result == AttemptResult::INTERRUPTED => {}
                None => return conflict("the attempt has a result already"),
            }
            self.open.retain(|_, open| *open != result.attempt);
        }
        self.write_targets(turn, now)?;
        for end in &turn.ends {
            let Some(row) = self.runs.get_mut(&end.run).filter(|row| row.ended.is_none()) else {
                return conflict("the run has ended already");
            };
            row.ended = Some((end.outcome, now));
            row.reason = Some(end.reason.clone()).filter(|reason| !reason.is_empty());
        }
        self.sizes.extend(turn.sizes.iter().cloned());
        for (server, since) in &turn.left_running {
            match since {
                Some(since) => self.left_running.insert(server.clone(), *since),
                None => self.left_running.remove(server),
            };
        }
        for missed in &turn.missed {
            // What was recorded although it was said not to be is not recorded again.
            if !self.missed.contains(missed) {
                self.missed.push(missed.clone());
                self.recorded.push(now);
            }
        }
        for one in turn.overrides.iter().chain(&turn.overrides_ended) {
            self.overrides.insert(one.id, one.clone());
        }
        self.marks.extend(turn.marks.iter().map(|mark| (mark.rule.clone(), mark.clone())));
        self.marks.retain(|rule, _| !turn.dropped_marks.contains(rule));
        if let Some(stored) = &turn.config {
            match self.configs.last_mut() {
                Some(last) if last.config == stored.config => last.since = last.since.min(stored.since),
                _ => self.configs.push(stored.clone()),
            }
        }
        Ok(())
    }

    fn write_targets(&mut self, turn: &Turn, now: Timestamp) -> Result<(), StoreError> {
        for change in &turn.changes {
            let record = self.runs.get_mut(&change.run).and_then(|row| row.targets.get_mut(&change.server));
            let open = |record: &&mut TargetRecord| {
                record.target.revision == change.revision && record.target.progress.outcome().is_none()
            };
            let Some(record) = record.filter(open) else {
                return conflict("the target was changed by somebody else");
            };
            record.target.progress = change.progress.clone();
            record.target.revision += 1;
            record.target.name = change.name.clone().or(record.target.name.take());
        }
        for intent in &turn.intents {
            let new = Try {
                action: intent.action,
                targets: intent.targets.clone(),
                intended: now,
                answered: None,
                result: None,
                status: None,
                code: None,
                text: None,
                request_id: None,
            };
            if self.attempts.insert(intent.attempt, new).is_some() {
                return conflict("the attempt is there already");
            }
            let servers: BTreeSet<&ServerId> = intent.targets.iter().map(|(_, server)| server).collect();
            for server in servers {
                if self.open.insert(server.clone(), intent.attempt).is_some() {
                    return conflict("a request for the server is open");
                }
            }
        }
        for (run, server, remark) in &turn.remarks {
            if let Some(record) = self.runs.get_mut(run).and_then(|row| row.targets.get_mut(server)) {
                record.remark = Some(remark.clone());
            }
        }
        Ok(())
    }

    fn record_of(&self, id: RunId) -> Option<RunRecord> {
        let row = self.runs.get(&id)?;
        Some(RunRecord {
            id,
            head: row.head.clone(),
            resolution: row.resolution.clone(),
            targets: row.targets.values().cloned().collect(),
            ended: row.ended,
            reason: row.reason.clone(),
            withdrawn: row.withdrawn,
        })
    }

    fn withdraw(&mut self, now: Timestamp) -> Withdrawn {
        let mut withdrawn = Withdrawn::default();
        let asked: BTreeSet<RunId> =
            self.attempts.values().flat_map(|attempt| attempt.targets.iter().map(|(run, _)| *run)).collect();
        for (id, row) in &mut self.runs {
            let touched = row.targets.values().any(|record| record.target.progress.asked == Asked::Yes);
            let by_rule = matches!(row.head.origin, Origin::Rule(_) | Origin::Keep { .. });
            if by_rule && row.withdrawn.is_none() && row.head.due > now && !asked.contains(id) && !touched {
                row.withdrawn = Some(now);
                withdrawn.runs.push(*id);
            }
        }
        let stands = |id: OverrideId| {
            let mut runs = self.runs.values().filter(|row| row.withdrawn.is_none());
            runs.any(|row| matches!(&row.head.origin, Origin::Keep { id: keep, .. } if *keep == id))
        };
        for one in self.overrides.values_mut() {
            let expired = matches!(&one.ended, Some((at, Ended::Expired)) if *at > now);
            if expired && one.until > now && !stands(one.id) {
                one.ended = None;
                withdrawn.overrides.push(one.id);
            }
        }
        let mut reopened: BTreeMap<RuleName, Timestamp> = BTreeMap::new();
        let rules: BTreeSet<RuleName> = self.missed.iter().map(|missed| missed.rule.clone()).collect();
        for rule in rules {
            let standing = |missed: &MissedRange| missed.rule == rule && missed.withdrawn.is_none();
            let after = self.missed.iter().filter(|missed| standing(missed) && missed.due_last > now);
            let Some(mut first) = after.map(|missed| missed.first).min() else { continue };
            loop {
                let more =
                    self.missed.iter_mut().filter(|missed| standing(missed) && missed.due_last >= first);
                let mut earliest = None;
                for missed in more {
                    missed.withdrawn = Some(now);
                    withdrawn.misses += 1;
                    earliest =
                        Some(earliest.map_or(missed.first, |known: Timestamp| known.min(missed.first)));
                }
                let Some(earliest) = earliest else { break };
                first = first.min(earliest);
            }
            reopened.insert(rule, first - Duration::from_secs(1));
        }
        for (rule, mark) in &self.marks {
            if mark.until > now {
                reopened.entry(rule.clone()).or_insert(now);
            }
        }
        for (rule, until) in reopened {
            for row in self.runs.values().filter(|row| row.withdrawn.is_none() && row.head.due > until) {
                if row.head.origin == Origin::Rule(rule.clone()) {
                    withdrawn.kept.insert((rule.clone(), row.head.planned, row.head.action));
                }
            }
            if let Some(mark) = self.marks.get_mut(&rule) {
                mark.until = mark.until.min(until);
            }
            withdrawn.reopened.push((rule, until));
        }
        withdrawn
    }

    fn opening(&self) -> Opening {
        let is_open = |row: &&Row| row.ended.is_none() && row.withdrawn.is_none();
        let open = |(id, row): (&RunId, &Row)| OpenRun {
            id: *id,
            head: row.head.clone(),
            targets: row.targets.values().map(|record| record.target.clone()).collect(),
            resolution: row.resolution.clone(),
        };
        let newest =
            self.attempts.values().map(|attempt| attempt.intended).max().unwrap_or(Timestamp::UNIX_EPOCH);
        let recent: Vec<&Try> = self
            .attempts
            .values()
            .filter(|attempt| attempt.intended > newest - Duration::from_hours(1))
            .collect();
        let mut unanswered = Vec::new();
        for attempt in &recent {
            let result = attempt.result.as_deref().unwrap_or(AttemptResult::INTERRUPTED);
            if matches!(result, "unanswered" | AttemptResult::INTERRUPTED) {
                let servers: BTreeSet<&ServerId> = attempt.targets.iter().map(|(_, server)| server).collect();
                unanswered.extend(
                    servers.into_iter().map(|server| (server.clone(), attempt.action, attempt.intended)),
                );
            }
        }
        let mut doubtful = Vec::new();
        for (id, row) in &self.runs {
            for record in row.targets.values().filter(|record| record.remark.is_none()) {
                if matches!(record.target.progress.outcome(), Some(Outcome::Unknown(_) | Outcome::Failed(_)))
                {
                    let (server, progress) = (record.target.server.clone(), record.target.progress.clone());
                    doubtful.push(Doubtful { run: *id, server, action: row.head.action, progress });
                }
            }
        }
        Opening {
            runs: self.runs.iter().filter(|(_, row)| is_open(row)).map(open).collect(),
            marks: self.marks.values().cloned().collect(),
            sizes: self.sizes.clone(),
            left_running: self.left_running.clone(),
            last_run: self.last_run,
            last_attempt: self.attempts.keys().next_back().map_or(0, |id| id.0),
            recent_attempts: recent.iter().map(|attempt| attempt.intended).collect(),
            unanswered,
            doubtful,
        }
    }

    fn concerns_rule(&self, one: &Override, rule: &str) -> bool {
        let last = self.runs.values().rfind(|row| row.head.origin.rule().is_some_and(|r| r.as_str() == rule));
        match &one.scope {
            Scope::Rule(name) => name.as_str() == rule,
            Scope::Group(group) => last.is_some_and(|row| row.head.groups.contains(group)),
            Scope::Server(_) => false,
        }
    }

    fn concerns_server(&self, one: &Override, server: &str) -> bool {
        let mut with_it = self.runs.values().filter_map(|row| {
            let mut targets = row.targets.values();
            let target = targets.find(|t| {
                t.target.server.no.as_str() == server || t.target.name.as_deref() == Some(server)
            })?;
            Some((row, &target.target))
        });
        match &one.scope {
            Scope::Rule(rule) => with_it.any(|(row, _)| row.head.origin.rule() == Some(rule)),
            Scope::Group(group) => with_it.any(|(_, target)| target.groups.contains(group)),
            Scope::Server(id) => id.no.as_str() == server || with_it.any(|(_, target)| target.server == *id),
        }
    }

    fn config_entries(&self) -> Vec<ConfigEntry> {
        let next = self.configs.iter().skip(1).map(|next| Some(next.since)).chain([None]);
        let entry = |(stored, until): (&StoredConfig, Option<Timestamp>)| ConfigEntry {
            hash: format!("{:016x}", stable(&format!("{}\0{}", stored.config.text, stored.config.sources))),
            since: stored.since,
            until,
            text: stored.config.text.clone(),
        };
        self.configs.iter().zip(next).map(entry).collect()
    }

    fn history(&self, query: &HistoryQuery) -> Vec<Entry> {
        let mut found: Vec<(Timestamp, Entry)> = Vec::new();
        let in_time = |from: Timestamp, to: Timestamp| {
            query.from.is_none_or(|begin| to >= begin) && query.to.is_none_or(|end| from < end)
        };
        for (id, row) in &self.runs {
            let rule = match &row.head.origin {
                Origin::Rule(rule) => Some(rule.as_str()),
                Origin::Person(_) | Origin::Keep { .. } => None,
            };
            let of_rule = query.rule.is_none() || query.rule.as_deref() == rule;
            let holds = |record: &TargetRecord| {
                let wanted = query.server.as_deref();
                wanted.is_none_or(|w| {
                    record.target.server.no.as_str() == w || record.target.name.as_deref() == Some(w)
                })
            };
            let of_server = query.server.is_none() || row.targets.values().any(holds);
            let failed =
                row.withdrawn.is_none() && row.ended.is_some_and(|(outcome, _)| outcome != RunOutcome::Done);
            let is_meant =
                of_rule && of_server && in_time(row.head.due, row.head.due) && (!query.failed || failed);
            if let Some(record) = self.record_of(*id).filter(|_| is_meant) {
                found.push((row.head.due, Entry::Run(record)));
            }
        }
        let of_rule =
            |missed: &&MissedRange| query.rule.as_deref().is_none_or(|rule| missed.rule.as_str() == rule);
        if query.server.is_none() {
            let missed =
                self.missed.iter().filter(of_rule).filter(|missed| in_time(missed.first, missed.last));
            found.extend(missed.map(|missed| (missed.last, Entry::Missed(missed.clone()))));
        }
        let at_work = |entry: &Entry, at: Timestamp| match entry {
            Entry::Run(run) => {
                run.head.claimed.min(run.head.due) <= at && run.ended.is_none_or(|(_, ended)| ended > at)
            }
            Entry::Missed(missed) => missed.first <= at && missed.due_last >= at,
            Entry::Override(one) => one.covers(at),
            Entry::Config(config) => config.since <= at && config.until.is_none_or(|until| until > at),
        };
        let holds_in = |from: Timestamp, to: Timestamp| {
            query.from.is_none_or(|begin| to > begin) && query.to.is_none_or(|end| from < end)
        };
        if query.whole && !query.failed {
            let configs = self.config_entries().into_iter();
            let configs =
                configs.filter(|config| holds_in(config.since, config.until.unwrap_or(Timestamp::MAX)));
            found.extend(configs.map(|config| (config.since, Entry::Config(config))));
            let held = self.overrides.values().filter(|one| holds_in(one.from, one.end()));
            let held = held.filter(|one| {
                query.rule.as_deref().is_none_or(|rule| self.concerns_rule(one, rule))
                    && query.server.as_deref().is_none_or(|server| self.concerns_server(one, server))
            });
            found.extend(held.map(|one| (one.from, Entry::Override(one.clone()))));
        }
        found.retain(|(_, entry)| query.at.is_none_or(|at| at_work(entry, at)));
        found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        found.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
        found.into_iter().map(|(_, entry)| entry).collect()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn open_state(&self) -> Result<Opening, StoreError> {
        Ok(self.0.lock().unwrap().opening())
    }

    async fn claimed(&self, occurrences: &[OccurrenceKey]) -> Result<BTreeSet<OccurrenceKey>, StoreError> {
        let held = self.0.lock().unwrap();
        Ok(occurrences.iter().filter(|key| held.is_claimed(key)).cloned().collect())
    }

    async fn record(&self, turn: &Turn) -> Result<(), StoreError> {
        let mut held = self.0.lock().unwrap();
        held.check(turn)?;
        held.write(turn)
    }

    async fn overrides(&self) -> Result<Vec<Override>, StoreError> {
        Ok(self.0.lock().unwrap().overrides.values().cloned().collect())
    }

    async fn last_config(&self) -> Result<Option<StoredConfig>, StoreError> {
        Ok(self.0.lock().unwrap().configs.last().cloned())
    }

    async fn config_at(&self, at: Timestamp) -> Result<Option<ConfigEntry>, StoreError> {
        let entries = self.0.lock().unwrap().config_entries();
        Ok(entries.into_iter().rfind(|config| config.since <= at))
    }

    async fn history(&self, query: &HistoryQuery) -> Result<Vec<Entry>, StoreError> {
        Ok(self.0.lock().unwrap().history(query))
    }

    async fn run(&self, id: RunId) -> Result<Option<(RunRecord, Vec<AttemptRecord>)>, StoreError> {
        let held = self.0.lock().unwrap();
        let of_run = |attempt: &Try| {
            let servers: BTreeSet<ServerId> = attempt
                .targets
                .iter()
                .filter(|(run, _)| *run == id)
                .map(|(_, server)| server.clone())
                .collect();
            servers.into_iter().collect::<Vec<_>>()
        };
        let record = |(id, attempt): (&AttemptId, &Try)| AttemptRecord {
            id: *id,
            action: attempt.action,
            servers: of_run(attempt),
            intended: attempt.intended,
            answered: attempt.answered,
            result: attempt.result.clone(),
            status: attempt.status,
            code: attempt.code.clone(),
            text: attempt.text.clone(),
            request_id: attempt.request_id.clone(),
        };
        let attempts =
            held.attempts.iter().filter(|(_, attempt)| !of_run(attempt).is_empty()).map(record).collect();
        Ok(held.record_of(id).map(|run| (run, attempts)))
    }

    async fn withdraw(&self, now: Timestamp) -> Result<Withdrawn, StoreError> {
        Ok(self.0.lock().unwrap().withdraw(now))
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut held = self.0.lock().unwrap();
        let count = held.runs.len() + held.missed.len();
        held.runs
            .retain(|_, row| row.ended.map(|(_, at)| at).or(row.withdrawn).is_none_or(|at| at >= before));
        let recorded = std::mem::take(&mut held.recorded);
        let mut of_missed = recorded.iter();
        held.missed.retain(|_| of_missed.next().is_some_and(|at| *at >= before));
        held.recorded = recorded.into_iter().filter(|at| *at >= before).collect();
        held.overrides.retain(|_, one| one.ended.as_ref().is_none_or(|(at, _)| *at >= before));
        Ok(u64::try_from(count - held.runs.len() - held.missed.len()).unwrap_or(0))
    }
}

impl MemoryStore {
    /// The configuration that was last in force.
    #[must_use]
    pub(crate) fn config(&self) -> Option<ConfigText> {
        self.0.lock().unwrap().configs.last().map(|stored| stored.config.clone())
    }
}
