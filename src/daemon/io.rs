//! The tasks that talk to the cloud. Each owns one exchange and reports it to the engine.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{SemaphorePermit, mpsc};

use super::account::AccountLine;
use super::engine::Input;
use super::places::WAIT_MAX;
use crate::domain::name::GroupName;
use crate::domain::name::{AccountName, Action, AttemptId, ServerNo};
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::probe::Probe;
use crate::domain::retry::Answer;
use crate::ports::clock::Clock;
use crate::ports::cloud::{ClockVerdict, Exchange, ReadError, ReadTrouble, Scope};
use crate::ports::host::Host;
use crate::ports::prober::Prober;

/// Held by each request until it has its place on the wire: whoever has the other end learns when all have.
pub(super) type Leaving = mpsc::Sender<Infallible>;

/// How late tokio's timer may be: it counts whole milliseconds.
const TIMER_LATE_MAX: Duration = Duration::from_millis(2);

/// What a task needs to talk and to report.
#[derive(Clone)]
pub(super) struct Talk {
    pub(super) account: AccountName,
    /// [`super::account::AccountState::generation`] when the task began.
    pub(super) generation: u64,
    pub(super) line: AccountLine,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) reports: mpsc::Sender<Input>,
}

impl Talk {
    /// Sends one request once there is a place for it on the wire, unless its time has passed, the clock was set back since it was decided,
    /// or another one failed while it waited.
    ///
    /// `while_true`: from when it was decided until when that may be acted on, on the wall clock.
    pub(super) fn ask(
        self,
        attempt: AttemptId,
        action: Action,
        servers: Vec<ServerNo>,
        while_true: RangeInclusive<Timestamp>,
        leaving: Leaving,
    ) -> impl Future<Output = ()> {
        let failures = self.line.places.failures();
        async move {
            let place = self.place(&while_true, failures).await;
            drop(leaving);
            let exchange = match place {
                Ok(place) => {
                    let exchange = self.line.cloud.ask(action, &servers, *while_true.end()).await;
                    if tells_of_trouble(&exchange.result) {
                        self.line.places.note_failure();
                    }
                    drop(place);
                    exchange
                }
                Err(result) => Exchange { result, clock: ClockVerdict::Unheard },
            };
            self.report(Input::Answered { attempt, exchange }).await;
        }
    }

    /// Looks at servers.
    pub(super) async fn look(self, servers: Vec<ServerNo>, limit: Duration, epoch: u64) {
        let began = self.clock.now();
        let exchange = self.line.cloud.look(&servers, limit).await;
        let (account, generation) = (self.account.clone(), self.generation);
        self.report(Input::Looked { account, generation, began, epoch, servers, exchange }).await;
    }

    /// Lists the account's servers.
    pub(super) async fn list(self, scope: Scope, groups: Vec<GroupName>, limit: Duration, epoch: u64) {
        let began = self.clock.now();
        let exchange = self.line.cloud.list(&scope, limit).await;
        let (account, generation) = (self.account.clone(), self.generation);
        self.report(Input::Listed { account, generation, began, epoch, scope, groups, exchange }).await;
    }

    /// Finds the servers that have this machine's addresses.
    pub(super) async fn find_own(self, host: Arc<dyn Host>) {
        let found = match host.addresses() {
            Ok(addresses) => self.line.cloud.at_addresses(&addresses).await.result,
            Err(problem) => {
                let reason = Reason::new(ReasonKind::Protected, problem);
                Err(ReadError { reason, trouble: ReadTrouble::Odd })
            }
        };
        let (account, generation) = (self.account.clone(), self.generation);
        self.report(Input::FoundOwn { account, generation, found }).await;
    }

    /// Asks for nothing but a signed answer: keys and clock are judged by it.
    pub(super) async fn greet(self, epoch: u64) {
        let exchange = self.line.cloud.greet().await;
        let account = self.account.clone();
        self.report(Input::Greeted { account, epoch, exchange }).await;
    }

    /// A place on the wire, while what was decided may still be acted on.
    async fn place(
        &self,
        while_true: &RangeInclusive<Timestamp>,
        failures: usize,
    ) -> Result<SemaphorePermit<'_>, Answer> {
        still_true(while_true, self.clock.now()).map_err(Answer::NotSent)?;
        let place = self.line.places.take(failures).await.ok_or(Answer::Withheld)?;
        still_true(while_true, self.clock.now()).map_err(Answer::NotSent)?;
        Ok(place)
    }

    async fn report(&self, input: Input) {
        // The engine outlives its tasks except at the very end, when nobody waits for reports any more.
        let _ = self.reports.send(input).await;
    }
}

/// Whether an answer speaks against sending more just now, and not only of the servers that it is about.
fn tells_of_trouble(answer: &Answer) -> bool {
    match answer {
        Answer::Accepted { .. } => false,
        Answer::Refused(refusal) => matches!(refusal.status, 401 | 403 | 429 | 500..),
        Answer::NotSent(_) | Answer::Unanswered(_) | Answer::Withheld => true,
    }
}

/// Whether what was decided may still be acted on.
fn still_true(while_true: &RangeInclusive<Timestamp>, now: Timestamp) -> Result<(), Reason> {
    if now > *while_true.end() {
        let words = "recording the intent took too long, so nothing was sent";
        return Err(Reason::new(ReasonKind::Store, words));
    }
    if now < *while_true.start() {
        let words = "the clock was set back while the request was made ready, so nothing was sent";
        return Err(Reason::new(ReasonKind::Clock, words));
    }
    Ok(())
}

/// Waits until all requests have their place on the wire, but not longer than there is time to spare: what is due does not wait for them.
/// Everything else may, log lines and answers above all: none of it can send anything sooner, and answers that come meanwhile are heard
/// together. Returns whether there is still time to spare.
pub(super) async fn all_left(mut left: mpsc::Receiver<Infallible>, spare: Duration) -> bool {
    let spare = spare.saturating_sub(TIMER_LATE_MAX);
    // Nothing is ever sent: it ends when the last request lets go.
    tokio::time::timeout(spare.min(WAIT_MAX), left.recv()).await.is_ok() || spare > WAIT_MAX
}

/// Asks a probe's question and reports the answer.
pub(super) async fn probe(
    prober: Arc<dyn Prober>,
    probe: Probe,
    limit: Duration,
    reports: mpsc::Sender<Input>,
) {
    let answer = prober.probe(&probe, limit).await;
    // As above: nobody waits for reports at the very end.
    let _ = reports.send(Input::Probed { probe, answer }).await;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::daemon::places::Places;
    use crate::daemon::scene;
    use crate::domain::retry::{Layer, Refusal};

    #[test]
    fn what_was_decided_is_acted_on_neither_late_nor_under_a_clock_that_went_back() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let told = |now| still_true(&(at(100)..=at(110)), at(now)).map_err(|reason| reason.kind.word());

        assert_eq!([99, 100, 110, 111].map(told), [Err("clock"), Ok(()), Ok(()), Err("store")]);
    }

    #[tokio::test]
    async fn a_request_waits_for_its_place_and_is_withheld_if_another_one_fails_meanwhile() {
        let decided = scene::at("08:50:00");
        let (reports, mut inputs) = mpsc::channel(8);
        let line = AccountLine { places: Arc::new(Places::new(1)), ..scene::line() };
        let clock = Arc::new(scene::Stopped(decided));
        let talk = Talk { account: scene::account("main"), generation: 0, line, clock, reports };
        let (leaving, _left) = mpsc::channel(1);
        let ask = |attempt| {
            let (while_true, leaving) = (decided..=scene::at("08:50:05"), leaving.clone());
            Box::pin(talk.clone().ask(AttemptId(attempt), Action::Start, vec![], while_true, leaving))
        };
        let waiting = || leaving.strong_count() - 1;
        let (mut first, mut second, mut third) = (ask(1), ask(2), ask(3));

        // The cloud never answers.
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        assert_eq!(waiting(), 2);
        drop(first);
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(waiting(), 1, "the place is the second one's");
        talk.line.places.note_failure();
        drop(second);
        assert!(third.as_mut().now_or_never().is_some());
        let Some(Input::Answered { attempt: AttemptId(3), exchange }) = inputs.recv().await else {
            panic!("no answer")
        };
        assert_eq!((exchange.result, waiting()), (Answer::Withheld, 0));
    }

    #[test]
    fn a_refusal_speaks_against_others_unless_it_is_about_its_own_servers() {
        let refused = |status| {
            let (layer, code, text) = (Layer::Server, String::new(), String::new());
            Answer::Refused(Refusal { status, layer, code, text, request_id: None, retry_after: None })
        };

        let told = [200, 400, 401, 403, 404, 429, 500, 503].map(|status| tells_of_trouble(&refused(status)));
        assert_eq!(told, [false, false, true, true, false, true, true, true]);
        assert!(tells_of_trouble(&Answer::NotSent(scene::reason(ReasonKind::Unreachable))));
        assert!(!tells_of_trouble(&Answer::Accepted { listed: [].into(), request_id: None }));
    }

    #[tokio::test(start_paused = true)]
    async fn everything_else_waits_for_requests_to_leave_but_not_beyond_what_is_due() {
        let waited = async |leaves_after: Option<u64>, spare: u64| {
            let (leaving, left) = mpsc::channel(1);
            let mut leaving = vec![leaving];
            let mut waiting = Box::pin(all_left(left, Duration::from_millis(spare)));
            for millis in 0..u64::MAX {
                if leaves_after == Some(millis) {
                    leaving.clear();
                }
                if let Some(is_time_to_spare) = waiting.as_mut().now_or_never() {
                    return (millis, is_time_to_spare);
                }
                tokio::time::advance(Duration::from_millis(1)).await;
            }
            panic!("it never ends")
        };

        assert_eq!(waited(Some(0), 60_000).await, (0, true));
        assert_eq!(waited(Some(300), 60_000).await, (300, true));
        assert_eq!(waited(None, 60_000).await, (1000, true), "WAIT_MAX");
        assert_eq!(waited(None, 10).await, (8, false), "a little sooner, since a timer may be late");
        assert_eq!(waited(None, 0).await, (0, false));
    }
}
