//! What the engine makes of what it hears: answers, reads, greetings and new settings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Cause, Engine, Phase, Reload, config_text};
use crate::daemon::account::Proof;
use crate::daemon::claims;
use crate::daemon::draft::Draft;
use crate::daemon::lines::{Line, WITHHELD};
use crate::daemon::reload::switch;
use crate::daemon::{overrides, view};
use crate::domain::breaker::Breaker;
use crate::domain::name::{AccountName, Action, AttemptId, RunId, ServerId, ServerNo};
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::retry::{Aftermath, Answer, Heard, KEYS_WAIT, Then, aftermath};
use crate::domain::server::{Found, Sight};
use crate::domain::target::{Event, SETTLE_AFTER_ANSWER, State};
use crate::planted::{Bug, is_planted};
use crate::ports::cloud::{Exchange, ReadError, ReadTrouble, ServerView};
use crate::ports::notifier::{NoticeKind, Told, Urgency};
use crate::ports::store::{AttemptResult, StoredConfig};

/// The longest that a look is put off because the cloud asked to slow down.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(60);

impl Engine {
    pub(super) fn config_trouble(&mut self, problem: Option<String>) {
        if let Some(problem) = &problem {
            let text =
                format!("the configuration was not taken over; the last good one stays in force: {problem}");
            let ko = format!(
                "설정을 적용하지 않았습니다. 마지막으로 올바른 설정이 그대로 쓰입니다. `sudo sunup check`로 확인해 고쳐 주세요: {problem}"
            );
            self.tell(NoticeKind::Config, Urgency::NeedsAPerson, Told::new(text, ko));
        }
        self.parts.config_problem = problem;
    }

    pub(super) fn calendar_trouble(&mut self, problem: Option<String>) {
        if problem == self.parts.calendar_problem {
            return;
        }
        match &problem {
            Some(problem) => {
                let ko = format!(
                    "달력 파일을 쓸 수 없습니다. 마지막으로 올바른 내용이 쓰입니다. 고쳐 주세요: {problem}"
                );
                let told = Told::new(format!("{problem}; mend it."), ko);
                self.tell(NoticeKind::Config, Urgency::NeedsAPerson, told);
            }
            None => tracing::info!("all calendar files can be used again"),
        }
        self.parts.calendar_problem = problem;
    }

    pub(super) fn reload(&mut self, draft: &mut Draft, reload: Reload) {
        // What is due by now belongs to the settings that were in force.
        claims::claim_due(&mut self.book, draft, &self.absence, &[]);
        let before = Arc::clone(&self.book.settings);
        let difference = switch(&mut self.book, draft, &reload.settings, reload.lines);
        overrides::tell_of_what_is_gone(&self.book, draft, &before);
        // Whoever brings new keys wants to know at once whether the cloud takes them.
        self.greet |= self.book.accounts.values().any(|account| account.accepted.is_none());
        let config = config_text(&reload.settings);
        draft.turn.config = Some(StoredConfig { config, since: draft.now });
        self.parts.settings = reload.settings;
        self.config_since = draft.now;
        match reload.cause {
            Cause::Configuration => {
                self.parts.config_problem = None;
                tracing::info!("the configuration was read again: {}", difference.words());
            }
            Cause::Calendars => tracing::info!("calendar files were read again: {}", difference.words()),
        }
        if let Some(reply) = reload.reply {
            self.reloaded.push((reply, difference));
        }
    }

    pub(super) fn answered(&mut self, draft: &mut Draft, attempt: AttemptId, exchange: &Exchange<Answer>) {
        let Some((account, open)) = self.book.attempts.remove(&attempt) else {
            return;
        };
        let answer = &exchange.result;
        if matches!(answer, Answer::Accepted { .. } | Answer::Refused(_)) {
            self.book.talked(&account, draft.now);
        }
        draft.lines.push(Line::Answered { attempt, action: open.action, answer: answer.clone() });
        if !(is_planted(Bug::ResultLost) && matches!(answer, Answer::Refused(_))) {
            draft.turn.results.push(result_of(attempt, answer));
        }
        for no in &open.servers {
            let server = ServerId { account: account.clone(), no: no.clone() };
            let aftermath = aftermath(answer, no, &open.servers);
            match &aftermath {
                Aftermath::MaybeDone { heard: Heard::Nothing, .. } => {
                    self.book.unanswered.insert(server.clone(), (open.action, draft.now));
                }
                Aftermath::Accepted => {
                    let same = |(action, _): &(Action, Timestamp)| *action == open.action;
                    if self.book.unanswered.get(&server).is_some_and(same) {
                        self.book.unanswered.remove(&server);
                    }
                }
                _ => {}
            }
            // What was taken, or may have been, shows a little later: sights until then say nothing to those that wait.
            let settles = match &aftermath {
                Aftermath::Accepted | Aftermath::MaybeDone { .. } => SETTLE_AFTER_ANSWER,
                Aftermath::NotDone { .. } | Aftermath::Hopeless(_) | Aftermath::Undecided => Duration::ZERO,
            };
            let settled = draft.now.saturating_add(settles).unwrap_or(Timestamp::MAX);
            self.book.touched.insert(server.clone(), settled);
            for run in self.book.open_targets_of(&server) {
                self.book.happen(draft, run, &server, &Event::Answered(attempt, &aftermath));
                if let Aftermath::MaybeDone { reason, then: Then::Retry { .. }, .. } = &aftermath {
                    self.tell_no_room(draft, run, &server, reason);
                }
            }
        }
        if let Some(state) = self.book.accounts.get_mut(&account) {
            state.note_trouble(&open.servers, answer);
        }
        self.note_answer(draft, &account, answer);
    }

    /// Tells people once for each run that the cloud has no room: it may take long, and another spec or zone would help.
    fn tell_no_room(&mut self, draft: &mut Draft, id: RunId, server: &ServerId, reason: &Reason) {
        let Some(run) = self.book.runs.get(&id).filter(|_| reason.kind == ReasonKind::Capacity) else {
            return;
        };
        let until = view::moment(run.head.window_end, &view::zone_of(Some(&self.book.settings), None));
        let text = format!(
            "run {id} ({}): the cloud has no room for server {} ({}). It is tried again every few minutes until {until}; a \
             server of another spec or in another zone may start.",
            run.head.origin.words(),
            server.no,
            reason.text
        );
        if self.book.no_room.insert(id) {
            let ko = format!(
                "실행 {id}({}): 서버 {}을(를) 시작할 자리가 클라우드에 없습니다({}). {until}까지 몇 분마다 다시 시도합니다. 사양이나 존이 \
                 다른 서버는 시작될 수 있습니다.",
                run.head.origin.korean(),
                server.no,
                reason.text
            );
            draft.tell(NoticeKind::Trouble, Urgency::NeedsAPerson, Told::new(text, ko));
        }
    }

    fn note_answer(&mut self, draft: &mut Draft, account: &AccountName, answer: &Answer) {
        let Some(state) = self.book.accounts.get_mut(account) else {
            return;
        };
        state.asks_open = state.asks_open.saturating_sub(1);
        state.is_quick |= state.asks_open == 0;
        let down = match answer {
            Answer::Accepted { .. } => {
                state.breaker = Breaker::Closed;
                state.line.bucket.fine();
                return self.book.trouble_passed(draft, account, Proof::AcceptedRequest);
            }
            Answer::Refused(refusal) if refusal.status == 429 => {
                state.line.bucket.throttled();
                return;
            }
            Answer::Refused(refusal) if refusal.status == 401 => {
                state.careful = draft.now.saturating_add(KEYS_WAIT).ok();
                let reason = Reason::new(ReasonKind::Credentials, refusal.words());
                return self.book.trouble(draft, account, &reason, Proof::AcceptedRequest);
            }
            Answer::Refused(refusal) if refusal.status >= 500 => {
                Reason::new(ReasonKind::Api, refusal.words())
            }
            Answer::Refused(_) => return,
            Answer::Withheld => {
                state.is_quick = false;
                // What was not sent leaves the hour as it was.
                self.book.recent_asks.pop_back();
                return;
            }
            Answer::NotSent(reason) if reason.kind == ReasonKind::Store => return,
            Answer::NotSent(reason) if reason.kind == ReasonKind::Credentials => {
                return self.book.trouble(draft, account, reason, Proof::AnyAnswer);
            }
            Answer::NotSent(reason) | Answer::Unanswered(reason) => reason.clone(),
        };
        state.breaker = state.breaker.failed(draft.now);
        if !state.breaker.lets_ask() {
            self.book.trouble(draft, account, &down, Proof::AnyAnswer);
        }
    }

    pub(super) fn looked(
        &mut self,
        draft: &mut Draft,
        account: &AccountName,
        began: Timestamp,
        servers: &[ServerNo],
        exchange: Exchange<Result<Vec<ServerView>, ReadError>>,
    ) {
        let Some(state) = self.book.accounts.get_mut(account) else {
            return;
        };
        state.looking = false;
        let views = match exchange.result {
            Ok(mut views) => {
                if is_planted(Bug::SkippedPage) {
                    views.pop();
                }
                views
            }
            Err(error) => return self.look_failed(draft, account, &error),
        };
        (state.breaker, state.look_failures) = (Breaker::Closed, 0);
        state.line.bucket.fine();
        self.book.trouble_passed(draft, account, Proof::AnyAnswer);
        let mut views: BTreeMap<ServerNo, ServerView> =
            views.into_iter().map(|view| (view.no.clone(), view)).collect();
        for no in servers {
            let server = ServerId { account: account.clone(), no: no.clone() };
            let (found, traits) = match views.remove(no) {
                Some(view) => (Found::Server(view.condition), Some(view.traits)),
                None => (Found::Absent, None),
            };
            self.book.see(draft, &server, &Sight { began, found }, traits);
        }
    }

    pub(super) fn look_failed(&mut self, draft: &mut Draft, account: &AccountName, error: &ReadError) {
        let Some(state) = self.book.accounts.get_mut(account) else {
            return;
        };
        state.look_failures = state.look_failures.saturating_add(1);
        let wait = match error.trouble {
            ReadTrouble::Throttled(asked) => {
                state.line.bucket.throttled();
                asked.unwrap_or(Duration::from_secs(2)).min(LOOK_WAIT_MAX)
            }
            ReadTrouble::Keys => Duration::from_secs(30),
            ReadTrouble::Down => {
                state.breaker = state.breaker.failed(draft.now);
                Duration::from_secs(1)
            }
            ReadTrouble::Odd => Duration::from_secs(u64::from(state.look_failures.min(10))),
        };
        state.look_after = draft.now.saturating_add(wait).unwrap_or(Timestamp::MAX);
        let reason = error.reason.clone();
        tracing::debug!(account = account.as_str(), "a look failed: {reason}");
        let worth_telling = error.trouble == ReadTrouble::Keys || state.look_failures >= 2;
        // Targets that wait for a look remember why there was none, for their windows' end.
        for (run, server) in self.book.all_open() {
            let waits =
                self.book.runs.get(&run).and_then(|run| run.targets.get(&server)).is_some_and(|target| {
                    let its_turn =
                        matches!(target.progress.state, State::Waiting { until, .. } if until <= draft.now);
                    its_turn && target.progress.askable.is_none()
                });
            if waits && server.account == *account {
                let until = draft.now.saturating_add(wait).unwrap_or(Timestamp::MAX);
                self.book.happen(draft, run, &server, &Event::Held(&reason, until));
            }
        }
        if worth_telling {
            self.book.trouble(draft, account, &reason, Proof::AnyAnswer);
        }
    }

    pub(super) fn greeted(
        &mut self,
        draft: &mut Draft,
        account: &AccountName,
        epoch: u64,
        exchange: &Exchange<Result<(), ReadError>>,
    ) {
        let failed = exchange.result.as_ref().err();
        let current = epoch == self.watch.epoch();
        let held =
            if current { self.watch.hear(exchange.clock, failed.map(|error| &error.reason)) } else { None };
        if let Some(why) = held {
            if !matches!(self.phase, Phase::AtWork) {
                self.absence.then(self.held_since, why);
            }
            tracing::info!(
                account = account.as_str(),
                "the clock agrees with the cloud's: rules are in force"
            );
        }
        match failed {
            None => self.book.trouble_passed(draft, account, Proof::AnyAnswer),
            Some(error) => self.book.trouble(draft, account, &error.reason, Proof::AnyAnswer),
        }
    }
}

fn result_of(attempt: AttemptId, answer: &Answer) -> AttemptResult {
    let plain = |result, text: Option<String>| AttemptResult {
        attempt,
        result,
        status: None,
        code: None,
        text,
        request_id: None,
    };
    match answer {
        Answer::Accepted { request_id, .. } => {
            AttemptResult { status: Some(200), request_id: request_id.clone(), ..plain("accepted", None) }
        }
        Answer::Refused(refusal) => AttemptResult {
            status: Some(refusal.status),
            code: Some(refusal.code.clone()).filter(|code| !code.is_empty()),
            request_id: refusal.request_id.clone(),
            ..plain("refused", Some(refusal.text.clone()))
        },
        Answer::NotSent(reason) => plain("not-sent", Some(reason.text.clone())),
        Answer::Withheld => plain("not-sent", Some(WITHHELD.to_owned())),
        Answer::Unanswered(reason) => plain("unanswered", Some(reason.text.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::outcome::{Reason, ReasonKind};
    use crate::domain::retry::{Layer, Refusal};

    #[test]
    fn the_record_of_an_answer_keeps_what_support_asks_for() {
        let accepted = Answer::Accepted { listed: BTreeSet::new(), request_id: Some("r-1".into()) };
        let refusal = Refusal {
            status: 400,
            layer: Layer::Unreadable,
            code: String::new(),
            text: "no".into(),
            request_id: Some("r-2".into()),
            retry_after: None,
        };
        let coded = Refusal { code: "24010".into(), ..refusal.clone() };
        let unsent = Answer::NotSent(Reason::new(ReasonKind::Unreachable, "no route"));
        let told = |answer: &Answer| {
            let result = result_of(AttemptId(1), answer);
            (result.result, result.status, result.code, result.text, result.request_id)
        };
        let text = |text: &str| Some(text.to_owned());

        assert_eq!(told(&accepted), ("accepted", Some(200), None, None, text("r-1")));
        assert_eq!(told(&Answer::Refused(refusal)), ("refused", Some(400), None, text("no"), text("r-2")));
        assert_eq!(told(&Answer::Refused(coded)).2, text("24010"));
        assert_eq!(told(&unsent), ("not-sent", None, None, text("no route"), None));
    }
}
