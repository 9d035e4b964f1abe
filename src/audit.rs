//! The checker: judges what became of planned moments from records alone. It shares no code with the engine, only formats.
//!
//! A [`history::History`] holds what the rules wanted, what the journal says, what the cloud saw and what went wrong on purpose;
//! [`judge`] says which promises it breaks, each with the shortest trace that shows it.

pub mod cloud;
pub mod history;
pub mod journal;
pub mod matching;
mod rules;
mod trace;
mod view;

use history::History;
pub use rules::Rule;

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub rule: Rule,
    /// What is wrong, for people.
    pub what: String,
    /// What shows it, in order of time, nothing else.
    pub trace: Vec<String>,
}

/// What a history comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What it breaks; nothing if it is valid.
    pub violations: Vec<Violation>,
    /// Why it proves nothing although nothing is broken.
    pub void: Option<String>,
    /// How many things were looked at: occurrences, targets and requests.
    pub judged: Judged,
}

/// How much was judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// Planned moments.
    pub occurrences: usize,
    /// Targets of runs.
    pub targets: usize,
    /// Requests that the cloud saw.
    pub requests: usize,
}

impl Verdict {
    /// Whether the history keeps every promise and proves something.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.violations.is_empty() && self.void.is_none()
    }
}

/// Judges a history by all rules.
#[must_use]
pub fn judge(history: &History) -> Verdict {
    let view = view::View::new(history);
    let mut violations = Vec::new();
    for rule in Rule::ALL {
        violations.extend(rule.check(&view));
    }
    let judged = Judged {
        occurrences: history.owed.len(),
        targets: history.journal.targets.len(),
        requests: history.requests.len(),
    };
    Verdict { violations, void: void(history), judged }
}

/// Why a history proves nothing: nothing fired, or what was to go wrong did not.
fn void(history: &History) -> Option<String> {
    if history.requests.is_empty() && history.cloud_known {
        return Some("nothing was asked of the cloud".to_owned());
    }
    let never: Vec<&str> =
        history.planned.iter().filter(|plan| plan.hits == 0).map(|plan| plan.name.as_str()).collect();
    if !never.is_empty() && never.len() == history.planned.len() {
        return Some(format!("none of the planned faults happened: {}", never.join(", ")));
    }
    None
}
