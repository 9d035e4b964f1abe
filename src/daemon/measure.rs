//! What a turn has brought, for those who count.

use super::claims::rule_of;
use super::lines::Line;
use crate::domain::target::State;
use crate::ports::meter::{Happening, Meter};
use crate::ports::store::Turn;

/// Counts what a turn recorded. `lines` tell of it.
pub(super) fn measure(meter: &dyn Meter, lines: &[Line], turn: &Turn) {
    for line in lines {
        match line {
            Line::RunStarted { head, .. } => {
                meter.note(Happening::RunBegan {
                    action: head.action,
                    late: head.claimed.duration_since(head.due),
                });
            }
            Line::RunEnded { head, outcome, ended, .. } => {
                let (rule, action) = (rule_of(head), head.action);
                meter.note(Happening::RunEnded { rule, action, outcome: *outcome, ended: *ended });
            }
            Line::Target { action, progress, .. } => {
                let State::Ended { outcome, at } = &progress.state else { continue };
                let took = progress.first_asked.filter(|_| outcome.is_at_goal());
                let took = took.map(|asked| at.duration_since(asked));
                meter.note(Happening::TargetEnded { action: *action, outcome, took });
            }
            Line::Asked { action, .. } => meter.note(Happening::Asked { action: *action }),
            _ => {}
        }
    }
    for result in &turn.results {
        meter.note(Happening::Answered { result: result.result, status: result.status });
    }
    for missed in &turn.missed {
        let (rule, action) = (&missed.rule, missed.action);
        meter.note(Happening::Missed { rule, action, cause: missed.cause.kind, count: missed.count });
    }
}
