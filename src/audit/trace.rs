//! What a person reads of a violation: the events that show it, in order of time, and nothing else.

use jiff::Timestamp;

use super::history::{Attempt, Micros, Missed, Owed, Request, Run, State, Target};
use super::view::View;
use super::{Rule, Violation};

/// Events with their true moments.
#[derive(Debug, Default)]
pub(super) struct Trace(Vec<(Micros, String)>);

/// A moment of wall time for people.
pub(super) fn moment(wall: Micros) -> String {
    Timestamp::from_microsecond(wall).map_or_else(|_| wall.to_string(), |at| at.to_string())
}

impl Trace {
    pub(super) fn owed(mut self, view: &View<'_>, owed: &Owed) -> Self {
        let words = format!("rule {} plans a {}", owed.rule, owed.deed.word());
        self.0.push((view.right(owed.planned), words));
        self
    }

    pub(super) fn run(mut self, view: &View<'_>, run: &Run) -> Self {
        let whose = run.rule.as_ref().map_or("a command".to_owned(), |rule| format!("rule {rule}"));
        let words = format!(
            "run {} of {whose} is claimed: {}, due at {}, window until {}",
            run.id,
            run.deed.word(),
            moment(run.due),
            moment(run.window_end)
        );
        self.0.push((view.true_of(run.claimed), words));
        if let Some((outcome, at)) = &run.ended {
            self.0.push((view.true_of(*at), format!("run {} ends {outcome}", run.id)));
        }
        if let Some(at) = run.withdrawn {
            self.0.push((view.true_of(at), format!("run {} is taken back", run.id)));
        }
        self
    }

    pub(super) fn target(mut self, view: &View<'_>, target: &Target) -> Self {
        if let Some((outcome, kind, at)) = &target.ended {
            let kind = kind.as_ref().map(|kind| format!(" ({kind})")).unwrap_or_default();
            let words = format!("server {} of run {} ends {outcome}{kind}", target.server, target.run);
            self.0.push((view.true_of(*at), words));
        }
        self
    }

    pub(super) fn attempt(mut self, view: &View<'_>, attempt: &Attempt) -> Self {
        let servers: Vec<&str> = attempt.targets.iter().map(|(_, server)| server.as_str()).collect();
        let words =
            format!("attempt {} to {} {} is recorded", attempt.id, attempt.deed.word(), servers.join(" "));
        self.0.push((view.durable_at(attempt), words));
        if let (Some(at), Some((_, result))) = (view.answered_at(attempt), &attempt.answered) {
            self.0.push((at, format!("attempt {}: {result}", attempt.id)));
        }
        self
    }

    pub(super) fn request(mut self, request: &Request) -> Self {
        let (deed, servers) = (request.deed.word(), request.servers.join(" "));
        self.0.push((request.left, format!("a request to {deed} {servers} leaves")));
        let took = if request.took.is_empty() { "nothing".to_owned() } else { request.took.join(" ") };
        self.0.push((request.at, format!("it arrives: sets off {took}, HTTP {}", request.status)));
        self
    }

    pub(super) fn state(mut self, state: &State) -> Self {
        self.0
            .push((state.at, format!("server {} is at {}/{}", state.server, state.status, state.operation)));
        self
    }

    pub(super) fn missed(mut self, view: &View<'_>, missed: &Missed) -> Self {
        let words = format!(
            "rule {} is said to have missed {} times to {} from {} to {}: {}",
            missed.rule,
            missed.count,
            missed.deed.word(),
            moment(missed.first),
            moment(missed.last),
            missed.kind
        );
        self.0.push((view.right(missed.last), words));
        self
    }

    pub(super) fn shows(mut self, view: &View<'_>, rule: Rule, what: String) -> Violation {
        self.0.sort();
        self.0.dedup();
        let line = |(at, words): (Micros, String)| format!("{} {words}", moment(view.wall(at)));
        Violation { rule, what, trace: self.0.into_iter().map(line).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_as_people_write_it_and_as_its_number_where_no_calendar_has_it() {
        assert_eq!(moment(1_800_000_000_000_000), "2027-01-15T08:00:00Z");
        assert_eq!(moment(Micros::MAX), Micros::MAX.to_string());
    }
}
