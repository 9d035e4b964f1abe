//! How each account fares: its pace, its breaker, and the trouble that people were told of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::book::Book;
use super::draft::Draft;
use super::places::{PLACES, Places};
use super::rate::Bucket;
use crate::domain::breaker::Breaker;
use crate::domain::budget::Budget;
use crate::domain::korean;
use crate::domain::name::{AccountName, ServerNo};
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::retry::Answer;
use crate::domain::target::shifted;
use crate::ports::cloud::Cloud;
use crate::ports::notifier::{NoticeKind, Told, Urgency};

/// What the engine needs of an account: its cloud, its pace and the size of its batches.
#[derive(Clone)]
pub struct AccountLine {
    /// The cloud of the account.
    pub cloud: Arc<dyn Cloud>,
    /// Its pace.
    pub bucket: Arc<Bucket>,
    /// The most servers in one request.
    pub batch: usize,
    /// Places on the wire for mutating requests.
    pub(super) places: Arc<Places>,
}

impl AccountLine {
    /// An account on which nothing is on the wire yet.
    pub fn new(cloud: Arc<dyn Cloud>, bucket: Arc<Bucket>, batch: usize) -> Self {
        Self { cloud, bucket, batch, places: Arc::new(Places::new(PLACES)) }
    }
}

/// What shows that an account's trouble has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Any good answer.
    AnyAnswer,
    /// Only an accepted start or stop: reads may be permitted where these are not.
    AcceptedRequest,
}

/// How an account fares.
pub(super) struct AccountState {
    pub(super) line: AccountLine,
    pub(super) breaker: Breaker,
    /// How many requests were repeated lately.
    pub(super) budget: Budget,
    /// Servers whose last request failed for no reason of theirs: the next one repeats it.
    pub(super) troubled: BTreeSet<ServerNo>,
    pub(super) looking: bool,
    pub(super) asks_open: usize,
    /// Whether all that was decided has left since nothing was open: if not, no more is decided at once than there are places on the wire.
    pub(super) is_quick: bool,
    pub(super) look_after: Timestamp,
    pub(super) look_failures: u32,
    pub(super) listing: bool,
    pub(super) list_after: Timestamp,
    /// The servers on which the program itself runs, once they are known.
    pub(super) own: Option<BTreeSet<ServerNo>>,
    pub(super) finding_own: bool,
    pub(super) find_own_after: Timestamp,
    pub(super) own_failures: u32,
    /// Counts changes of what the account or its groups are: what was read before one says nothing after it.
    pub(super) generation: u64,
    /// While keys are refused: one careful try, not before this moment.
    pub(super) careful: Option<Timestamp>,
    /// When the cloud last took what was signed with these keys.
    pub(super) accepted: Option<Timestamp>,
    /// The cloud's clock minus this machine's, as its last answer with a date told.
    pub(super) difference: Option<SignedDuration>,
    /// When it last answered something, or was greeted since something is due soon: its connection is open for a while.
    pub(super) talked: Timestamp,
    /// The trouble that people were told of, and what shows that it has passed.
    pub(super) told: Option<(Reason, Proof)>,
}

impl AccountState {
    pub(super) fn new(line: AccountLine) -> Self {
        Self {
            line,
            breaker: Breaker::Closed,
            budget: Budget::default(),
            troubled: BTreeSet::new(),
            looking: false,
            asks_open: 0,
            is_quick: true,
            look_after: Timestamp::UNIX_EPOCH,
            look_failures: 0,
            listing: false,
            list_after: Timestamp::UNIX_EPOCH,
            own: None,
            finding_own: false,
            find_own_after: Timestamp::UNIX_EPOCH,
            own_failures: 0,
            generation: 0,
            careful: None,
            accepted: None,
            difference: None,
            talked: Timestamp::UNIX_EPOCH,
            told: None,
        }
    }
}

impl AccountState {
    /// Takes what came of a request for servers: the next one for them repeats it, if it failed for no reason of theirs.
    pub(super) fn note_trouble(&mut self, servers: &[ServerNo], answer: &Answer) {
        let of_all = match answer {
            // Nothing was tried.
            Answer::Withheld => return,
            Answer::NotSent(_) | Answer::Unanswered(_) => true,
            Answer::Refused(refusal) => refusal.status == 429 || refusal.status >= 500,
            Answer::Accepted { .. } => false,
        };
        for no in servers {
            match of_all {
                true => drop(self.troubled.insert(no.clone())),
                false => drop(self.troubled.remove(no)),
            }
        }
    }

    /// The clock was set: what was put off stays put off for as long as it was.
    pub(super) fn shift(&mut self, by: SignedDuration) {
        self.breaker = self.breaker.shifted(by);
        self.budget.shift(by);
        for at in [&mut self.look_after, &mut self.list_after, &mut self.find_own_after] {
            *at = shifted(*at, by);
        }
        self.talked = shifted(self.talked, by);
        self.careful = self.careful.map(|at| shifted(at, by));
        self.accepted = self.accepted.map(|at| shifted(at, by));
    }
}

impl Book {
    /// Notes that an account has answered.
    pub(super) fn talked(&mut self, account: &AccountName, now: Timestamp) {
        if let Some(state) = self.accounts.get_mut(account) {
            state.talked = now;
        }
    }

    /// Takes new accounts over, or new keys of known ones.
    pub(super) fn take_accounts(&mut self, lines: BTreeMap<AccountName, AccountLine>) {
        for (name, line) in lines {
            match self.accounts.get_mut(&name) {
                Some(state) => {
                    let (was, is) = (state.line.cloud.key_shown(), line.cloud.key_shown());
                    if was != is {
                        state.accepted = None;
                        let shown = is.as_deref().unwrap_or("not shown");
                        tracing::info!(
                            account = name.as_str(),
                            "account {name}: another access key is in use: {shown}"
                        );
                    }
                    state.line = line;
                    (state.careful, state.look_after) = (None, Timestamp::UNIX_EPOCH);
                }
                None => {
                    // Reports of an account that had the name before must not be taken for this one's.
                    self.generations += 1;
                    let generation = self.generations;
                    self.accounts.insert(name, AccountState { generation, ..AccountState::new(line) });
                }
            }
        }
    }

    /// A read that cannot be used has come back: another one may go.
    pub(super) fn look_again(&mut self, account: &AccountName) {
        if let Some(state) = self.accounts.get_mut(account) {
            (state.looking, state.look_after) = (false, Timestamp::UNIX_EPOCH);
        }
    }

    /// Tells people of an account's trouble, once until it passes.
    pub(super) fn trouble(
        &mut self,
        draft: &mut Draft,
        account: &AccountName,
        reason: &Reason,
        proof: Proof,
    ) {
        let Some(state) = self.accounts.get_mut(account) else {
            return;
        };
        if state.told.as_ref().is_some_and(|(told, _)| told.kind == reason.kind) {
            return;
        }
        state.told = Some((reason.clone(), proof));
        let urgency = match reason.kind {
            ReasonKind::Credentials => Urgency::NeedsAPerson,
            _ => Urgency::GoodToKnow,
        };
        let remedy = match reason.kind {
            ReasonKind::Credentials => {
                " Check the keys, their permissions and the clock; open runs wait until their windows end."
            }
            _ => " It is tried again until the windows end.",
        };
        let korean_remedy = match reason.kind {
            ReasonKind::Credentials => {
                "키와 권한, 시계를 확인해 주세요(`sudo sunup doctor`). 진행 중인 실행은 기한까지 기다립니다."
            }
            _ => "기한까지 다시 시도합니다.",
        };
        let told = Told::new(
            format!("account {account}: {}.{remedy}", reason.text),
            format!("계정 {account}: {}. {korean_remedy}", korean::reason(reason)),
        );
        draft.tell(NoticeKind::Trouble, urgency, told);
    }

    /// An account's requests go well again.
    pub(super) fn trouble_passed(&mut self, draft: &mut Draft, account: &AccountName, seen: Proof) {
        let Some(state) = self.accounts.get_mut(account) else {
            return;
        };
        state.accepted = Some(draft.now);
        if seen == Proof::AcceptedRequest {
            state.careful = None;
        }
        let passed =
            |(_, proof): &mut (Reason, Proof)| *proof == Proof::AnyAnswer || seen == Proof::AcceptedRequest;
        if let Some((told, _)) = state.told.take_if(passed) {
            let text = format!("account {account}: requests go well again (it was: {}).", told.text);
            let ko = format!("계정 {account}: 요청이 다시 잘 됩니다(그동안: {}).", korean::reason(&told));
            draft.tell(NoticeKind::Recovered, Urgency::GoodToKnow, Told::new(text, ko));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{self, account};

    #[test]
    fn no_two_accounts_are_of_one_generation() {
        let mut book = scene::book("");
        book.accounts.clear();
        let names = ["main", "other", "third"].map(account);

        book.take_accounts(names.clone().map(|name| (name, scene::line())).into());

        let of = |name: &AccountName| book.accounts[name].generation;
        assert_eq!(names.iter().map(of).collect::<BTreeSet<_>>(), BTreeSet::from([1, 2, 3]));
    }
}
