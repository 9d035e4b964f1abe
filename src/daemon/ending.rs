//! How runs end: their outcome, what their targets do not say of it, and who is told.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Book, Run};
use super::claims::rule_of;
use super::draft::Draft;
use super::lines::Line;
use super::view::counts;
use crate::domain::korean;
use crate::domain::name::{Action, GroupName, RunId};
use crate::domain::outcome::{Outcome, Reason, ReasonKind, RunOutcome};
use crate::ports::notifier::{About, NoticeKind, Told, Urgency};
use crate::ports::store::{Origin, Resolution, RunHead, Target};

impl Book {
    /// How a run ended, or would end.
    pub(super) fn outcome_of<'t>(
        &self,
        head: &RunHead,
        targets: impl Iterator<Item = &'t Target>,
        resolution: &Resolution,
    ) -> RunOutcome {
        let outcomes: Vec<(&[GroupName], &Outcome)> = targets
            .filter_map(|target| Some((target.groups.as_slice(), target.progress.outcome()?)))
            .collect();
        let groups = head.groups.iter().filter_map(|name| self.settings.groups.get(name));
        let quotas = match head.action {
            Action::Start => groups.filter_map(|group| Some((group.name.clone(), group.any?))).collect(),
            Action::Stop => BTreeMap::new(),
        };
        RunOutcome::of_groups(&outcomes, &quotas, resolution.pending.len(), resolution.empty.len())
    }

    /// What the targets of a run do not say of its end.
    pub(super) fn reason_of(&self, run: &Run) -> String {
        let mut reasons: Vec<String> =
            run.resolution.empty.iter().map(|group| format!("group {group} matches no server")).collect();
        for group in &run.resolution.pending {
            let account = self.settings.groups.get(group).and_then(|group| self.accounts.get(&group.account));
            let told = account.and_then(|account| account.told.as_ref()).map(|(reason, _)| reason);
            let told = self.group_trouble.get(group).or(told).map(ToString::to_string);
            let why = told.unwrap_or_else(|| "no list could be read".to_owned());
            reasons.push(format!("the servers of group {group} never became known ({why})"));
        }
        reasons.join("; ")
    }

    /// Remembers how many servers the groups of a good run had.
    pub(super) fn note_sizes(&mut self, draft: &mut Draft, run: &Run) {
        let by_rule = rule_of(&run.head).is_some();
        for name in &run.head.groups {
            // Of a group that was paused the run says nothing.
            if by_rule && self.overrides.of_group(name, run.head.due).is_some() {
                continue;
            }
            // What the run was about, not what the group may have become meanwhile.
            let size = run.targets.values().filter(|target| target.groups.contains(name)).count();
            let watched = self.settings.groups.get(name).is_some_and(|group| group.on_growth.is_some());
            if watched && self.sizes.insert(name.clone(), size) != Some(size) {
                draft.turn.sizes.push((name.clone(), size));
            }
        }
    }

    /// Says that a run ended, and tells people if it did not end well.
    pub(super) fn note_end(
        &mut self,
        draft: &mut Draft,
        id: RunId,
        head: &RunHead,
        outcome: RunOutcome,
        (outcomes, reason): (&[&Outcome], &str),
    ) {
        // Where nobody was meant, the reason tells more than that.
        let counts =
            if outcomes.is_empty() && !reason.is_empty() { reason.to_owned() } else { counts(outcomes) };
        let ended = draft.now;
        let is_as_planned = outcomes.iter().all(|outcome| outcome.is_as_planned())
            && !outcomes.is_empty()
            && reason.is_empty();
        draft.lines.push(Line::RunEnded {
            run: id,
            head: head.clone(),
            outcome,
            counts: counts.clone(),
            is_as_planned,
            ended,
        });
        let on_purpose = outcomes.iter().all(|outcome| is_quiet(outcome));
        let is_well =
            is_as_planned || outcome == RunOutcome::Done || (outcome == RunOutcome::Skipped && on_purpose);
        if is_well || is_slip(head, outcomes) {
            return;
        }
        let mut why: BTreeSet<String> =
            outcomes.iter().filter_map(|o| o.reason()).map(|r| r.to_string()).collect();
        why.extend(Some(reason.to_owned()).filter(|reason| !reason.is_empty()));
        let why: Vec<String> = why.into_iter().take(REASONS_MAX).collect();
        let is_limit = |o: &&Outcome| o.reason().is_some_and(|reason| reason.kind == ReasonKind::Limit);
        let by_guard = outcome == RunOutcome::Skipped && outcomes.iter().any(is_limit);
        let kind = if by_guard { NoticeKind::Guard } else { NoticeKind::Failed };
        let text = format!(
            "run {id} ({}) ended {}: {counts}. Why: {}. See `sunup history {id}`.",
            head.origin.words(),
            outcome.word(),
            why.join("; ")
        );
        self.last_failed = Some((id, text.clone()));
        let about = About { run: Some(id), ..about(head) };
        let ko = in_korean((id, head), outcome, outcomes, reason);
        draft.tell_about(kind, Urgency::NeedsAPerson, Told::new(text, ko), about);
    }
}

/// How many reasons are written out.
const REASONS_MAX: usize = 3;

fn in_korean(
    (id, head): (RunId, &RunHead),
    outcome: RunOutcome,
    outcomes: &[&Outcome],
    reason: &str,
) -> String {
    let mut why: BTreeSet<String> =
        outcomes.iter().filter_map(|o| o.reason()).map(|reason| korean::reason(&reason)).collect();
    why.extend(Some(reason.to_owned()).filter(|reason| !reason.is_empty()));
    let why: Vec<String> = why.into_iter().take(REASONS_MAX).collect();
    format!(
        "실행 {id}({}, {})이(가) 끝났습니다: {}. {}. 이유: {}. 자세한 내용은 `sunup history {id}`.",
        head.origin.korean(),
        korean::action(head.action),
        korean::run_outcome(outcome),
        korean::counts(outcomes),
        why.join("; ")
    )
}

/// What a notice of a run is about.
pub(super) fn about(head: &RunHead) -> About {
    About { rule: rule_of(head).cloned(), groups: head.groups.clone(), run: None }
}

/// Whether a person named servers by number that do not exist, and nothing else went wrong: a slip, which the person was told.
fn is_slip(head: &RunHead, outcomes: &[&Outcome]) -> bool {
    let is_gone = |reason: Reason| reason.kind == ReasonKind::Gone;
    let named = head.groups.is_empty() && matches!(head.origin, Origin::Person(_));
    let mut reasons = outcomes.iter().filter_map(|outcome| outcome.reason()).peekable();
    named && reasons.peek().is_some() && reasons.all(is_gone)
}

/// Whether an outcome is nothing that a person would want to know: the configuration asked for it, or a newer wish did.
fn is_quiet(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Skipped(reason) => matches!(reason.kind, ReasonKind::Wanted | ReasonKind::Protected),
        Outcome::Superseded { .. } => true,
        other => other.is_as_planned(),
    }
}
