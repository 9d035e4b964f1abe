//! The tasks that talk to the cloud. Each owns one exchange and reports it to the engine.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::account::AccountLine;
use super::engine::Input;
use crate::domain::name::GroupName;
use crate::domain::name::{AccountName, Action, AttemptId, ServerNo};
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::probe::Probe;
use crate::domain::retry::Answer;
use crate::ports::clock::Clock;
use crate::ports::cloud::{ClockVerdict, Exchange, ReadError, ReadTrouble, Scope};
use crate::ports::host::Host;
use crate::ports::prober::Prober;

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
    /// Sends one request, unless its time has passed or the clock was set back while the intent was being recorded.
    ///
    /// `while_true`: from when it was decided until when that may be acted on, on the wall clock.
    pub(super) async fn ask(
        self,
        attempt: AttemptId,
        action: Action,
        servers: Vec<ServerNo>,
        while_true: RangeInclusive<Timestamp>,
    ) {
        let exchange = match still_true(&while_true, self.clock.now()) {
            Ok(()) => self.line.cloud.ask(action, &servers, *while_true.end()).await,
            Err(reason) => Exchange { result: Answer::NotSent(reason), clock: ClockVerdict::Unheard },
        };
        self.report(Input::Answered { attempt, exchange }).await;
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

    async fn report(&self, input: Input) {
        // The engine outlives its tasks except at the very end, when nobody waits for reports any more.
        let _ = self.reports.send(input).await;
    }
}

/// Whether what was decided may still be acted on.
fn still_true(while_true: &RangeInclusive<Timestamp>, now: Timestamp) -> Result<(), Reason> {
    if now > *while_true.end() {
        let words = "recording the intent took too long, so nothing was sent";
        return Err(Reason::new(ReasonKind::Store, words));
    }
    if now < *while_true.start() {
        let words = "the clock was set back while the intent was being recorded, so nothing was sent";
        return Err(Reason::new(ReasonKind::Clock, words));
    }
    Ok(())
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
    use super::*;

    #[test]
    fn what_was_decided_is_acted_on_neither_late_nor_under_a_clock_that_went_back() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let told = |now| still_true(&(at(100)..=at(110)), at(now)).map_err(|reason| reason.kind.word());

        assert_eq!([99, 100, 110, 111].map(told), [Err("clock"), Ok(()), Ok(()), Err("store")]);
    }
}
