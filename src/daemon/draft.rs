//! What one turn is going to record and do, and how what it changed becomes records.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::begin::Begun;
use super::book::{AFTERWATCH, Afterwatch, Book, is_watched_on};
use super::keeps::{Following, is_kept};
use super::lines::Line;
use crate::domain::name::{RunId, ServerId};
use crate::domain::outcome::{Outcome, RunOutcome};
use crate::domain::target::{Progress, State};
use crate::ports::notifier::{About, Notice, NoticeKind, Told, Urgency};
use crate::ports::store::{Change, End, Turn};

/// What one turn is going to record and do.
pub(super) struct Draft {
    pub(super) now: Timestamp,
    pub(super) turn: Turn,
    pub(super) lines: Vec<Line>,
    pub(super) notices: Vec<Notice>,
    /// What follows keeps that ended in this turn.
    pub(super) following: Vec<Following>,
    /// What is to be claimed in this turn, in order.
    pub(super) begun: Vec<Begun>,
    /// The runs of this turn's commands, in order.
    pub(super) command_runs: Vec<RunId>,
    before: BTreeMap<(RunId, ServerId), Progress>,
}

impl Draft {
    pub(super) fn new(now: Timestamp) -> Self {
        let turn = Turn { at: Some(now), ..Turn::default() };
        Self {
            now,
            turn,
            lines: Vec::new(),
            notices: Vec::new(),
            following: Vec::new(),
            begun: Vec::new(),
            command_runs: Vec::new(),
            before: BTreeMap::new(),
        }
    }

    pub(super) fn tell(&mut self, kind: NoticeKind, urgency: Urgency, told: Told) {
        self.tell_about(kind, urgency, told, About::default());
    }

    /// The same of something that the configuration names.
    pub(super) fn tell_about(&mut self, kind: NoticeKind, urgency: Urgency, told: Told, about: About) {
        let Told { en: text, ko: korean } = told;
        self.notices.push(Notice { at: self.now, kind, urgency, text, korean, about });
    }

    /// Remembers how a target stood before the turn, at its first change.
    pub(super) fn note_before(&mut self, run: RunId, server: &ServerId, progress: &Progress) {
        self.before.entry((run, server.clone())).or_insert_with(|| progress.clone());
    }
}

impl Book {
    /// Turns the changes of a turn into what is recorded, and ends the runs whose last target has ended.
    pub(super) fn finish(&mut self, draft: &mut Draft) {
        let before = std::mem::take(&mut draft.before);
        let new: BTreeSet<RunId> = draft.turn.claims.iter().map(|claim| claim.run).collect();
        let mut kept = Vec::new();
        for ((id, server), before) in before {
            let name = self.name_of(&server);
            let Some(run) = self.runs.get_mut(id) else {
                continue;
            };
            let Some(target) = run.targets.get_mut(&server) else {
                continue;
            };
            if target.progress == before {
                continue;
            }
            target.name = name.or(target.name.take());
            if worth_a_line(&before, &target.progress) {
                draft.lines.push(Line::of(id, run.head.action, target));
            }
            // What a run of this very turn has come to stands in its claim.
            if !new.contains(&id) {
                draft.turn.changes.push(Change {
                    run: id,
                    server: server.clone(),
                    name: target.name.clone(),
                    revision: target.revision,
                    progress: target.progress.clone(),
                });
                target.revision += 1;
            }
            if let Some(since) = target.progress.left_running(run.head.action) {
                draft.turn.left_running.push((server.clone(), since));
            }
            kept.extend(is_kept(target).then(|| (run.head.clone(), target.clone())));
            if is_watched_on(target.progress.outcome()) {
                let until = draft.now.saturating_add(AFTERWATCH).unwrap_or(Timestamp::MAX);
                let action = run.head.action;
                self.afterwatch.push(Afterwatch { run: id, server, action, until, next: draft.now });
            }
        }
        for (head, target) in &kept {
            self.note_kept(head, target);
        }
        for claim in &mut draft.turn.claims {
            if let Some(run) = self.runs.get(&claim.run) {
                claim.targets = run.targets.values().cloned().collect();
            }
        }
        let ended: Vec<RunId> =
            self.runs.iter().filter(|(_, run)| run.is_over()).map(|(id, _)| *id).collect();
        for id in ended {
            if let Some(run) = self.runs.remove(id) {
                self.no_room.remove(&id);
                let outcomes: Vec<&Outcome> =
                    run.targets.values().filter_map(|t| t.progress.outcome()).collect();
                let outcome = self.outcome_of(&run.head, run.targets.values(), &run.resolution);
                let reason = self.reason_of(&run);
                draft.turn.ends.push(End { run: id, outcome, reason: reason.clone() });
                if outcome == RunOutcome::Done {
                    self.note_sizes(draft, &run);
                }
                self.note_end(draft, id, &run.head, outcome, (&outcomes, &reason));
            }
        }
    }
}

/// A change that people want to read: another kind of state, or another reason to wait.
fn worth_a_line(before: &Progress, after: &Progress) -> bool {
    match (&before.state, &after.state) {
        (State::Waiting { why: old, .. }, State::Waiting { why: new, .. }) => {
            old.as_ref().map(|r| &r.text) != new.as_ref().map(|r| &r.text)
        }
        (old, new) => std::mem::discriminant(old) != std::mem::discriminant(new),
    }
}
