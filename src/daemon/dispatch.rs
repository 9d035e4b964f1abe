//! From wishes to requests: batches across runs, reads for all that is watched, and when to wake next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::account::AccountState;
use super::batch::{Candidate, Wishes, batch_size, batches, most_urgent, stagger, turn_of};
use super::book::{Book, OpenAttempt, policy};
use super::draft::Draft;
use super::forecast::look_ahead;
use super::gates::hold_and_free;
use super::lines::Line;
use super::listing;
use super::places::PLACES;
use super::waiting::{explain, share, withdraw_forbidden};
use super::warm::warm;
use crate::domain::budget::Turn;
use crate::domain::name::{AccountName, Action, AttemptId, GroupName, ServerId, ServerNo};
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::probe::Probe;
use crate::domain::target::{ATTEMPT_LIMIT, Event, State, Wish, deadline, later, wish};
use crate::planted::{Bug, is_planted};
use crate::ports::cloud::Scope;
use crate::ports::notifier::{NoticeKind, Told, Urgency};
use crate::ports::store::{Intent, Waiver};

/// The most mutating requests of an ordinary account that may be open at once.
const ASKS_OPEN: usize = 4;
/// The most of any account, however fast it may be asked: each turn passes over all open targets, so that many small turns cost more than
/// a few large ones. No more than [`PLACES`] of them are on the wire.
const ASKS_OPEN_MAX: usize = 1000;
/// A request whose intent took longer to record is not sent: what was decided then may no longer be right.
const DECISION_AGE_MAX: Duration = Duration::from_secs(5);
/// The shortest time between two reads of one account.
const LOOK_SPACING: Duration = Duration::from_secs(1);
/// The shortest time between two lists of one account.
const LIST_SPACING: Duration = Duration::from_secs(3);
/// How long a read may take while the breaker is open.
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// How often a server is looked at after its target ended.
const AFTERWATCH_EVERY: Duration = Duration::from_mins(1);

/// Something to be done once the turn is durable.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Ask {
        attempt: AttemptId,
        account: AccountName,
        action: Action,
        servers: Vec<ServerNo>,
        decided: Timestamp,
        not_after: Timestamp,
    },
    Look {
        account: AccountName,
        servers: Vec<ServerNo>,
        limit: Duration,
    },
    List {
        account: AccountName,
        scope: Scope,
        groups: Vec<GroupName>,
        limit: Duration,
    },
    FindOwn {
        account: AccountName,
    },
    Probe {
        probe: Probe,
    },
    Greet {
        account: AccountName,
    },
}

/// Servers that are to be looked at, each from a moment on, and when to come back.
#[derive(Debug, Default)]
pub(super) struct Looks {
    servers: BTreeMap<ServerId, Timestamp>,
    wake: Alarm,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn note(&mut self, server: &ServerId, from: Timestamp) {
        let earliest = self.servers.entry(server.clone()).or_insert(from);
        *earliest = from.min(*earliest);
    }

    pub(super) fn wake_at(&mut self, moment: Timestamp) {
        self.wake.at(moment);
    }
}

/// The earliest of the moments that somebody cares about.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Timestamp>);

impl Alarm {
    pub(super) fn at(&mut self, moment: Timestamp) {
        self.0 = Some(self.0.map_or(moment, |earlier| earlier.min(moment)));
    }

    pub(super) fn moment(&self) -> Timestamp {
        self.0.unwrap_or(Timestamp::MAX)
    }
}

/// Forms the requests that can go now. Intents stand in the draft; `alarm` learns when to come back.
pub(super) fn dispatch(book: &mut Book, draft: &mut Draft, alarm: &mut Alarm) -> Vec<Act> {
    let mut acts = Vec::new();
    for run in book.runs.values_mut() {
        run.is_closed |= draft.now >= run.head.window_end;
    }
    share(book, draft);
    withdraw_forbidden(book, draft);
    explain(book, draft);
    let held_for = hold_and_free(book, draft);
    let mut wishes = gather(book, draft.now, alarm);
    note_looks(held_for, &mut wishes, alarm);
    note_looks(look_ahead(book, draft), &mut wishes, alarm);
    note_looks(asked_for(book), &mut wishes, alarm);
    if let Some(first) = book.queue.first() {
        alarm.at(first.due);
    }
    watch_on(book, draft.now, &mut wishes, alarm);
    for (account, wishes) in wishes {
        ask(book, draft, &account, wishes.asks, alarm, &mut acts);
        look(book, draft.now, &account, &wishes.looks, alarm, &mut acts);
        find_own(book, draft.now, &account, alarm, &mut acts);
    }
    for (account, wanted) in listing::wanted(book, draft.now) {
        list(book, draft.now, &account, wanted, alarm, &mut acts);
    }
    acts.extend(book.probes.due(draft.now, alarm));
    acts.extend(warm(book, draft.now, alarm));
    acts
}

/// The servers of all groups, while somebody waits to be told how they stand.
fn asked_for(book: &Book) -> Looks {
    let mut looks = Looks::new();
    let Some(since) = book.wanted_lists else { return looks };
    for server in book.roster.servers() {
        let group_known = |group: &GroupName| book.roster.is_known_since(group, since);
        let seen = book.sights.get(server).is_some_and(|(sight, _)| sight.began >= since);
        // A list that is still to come shows its servers too.
        if !seen && book.roster.groups_of(server).iter().all(group_known) {
            looks.note(server, since);
        }
    }
    looks
}

fn note_looks(looks: Looks, all: &mut BTreeMap<AccountName, Wishes>, alarm: &mut Alarm) {
    alarm.at(looks.wake.moment());
    for (server, from) in looks.servers {
        if let Some(wishes) = all.get_mut(&server.account) {
            note_look(&mut wishes.looks, &server.no, from);
        }
    }
}

fn gather(book: &Book, now: Timestamp, alarm: &mut Alarm) -> BTreeMap<AccountName, Wishes> {
    let mut all: BTreeMap<AccountName, Wishes> = BTreeMap::new();
    for account in book.accounts.keys() {
        all.insert(account.clone(), Wishes::default());
    }
    for (id, run) in book.runs.iter() {
        for (server, target) in &run.targets {
            let opposite = book.unanswered.get(server).copied();
            let policy = policy(&run.head, target.limit, opposite);
            let Some(wishes) = all.get_mut(&server.account) else {
                alarm.at(deadline(&target.progress, &policy).unwrap_or(Timestamp::MAX));
                continue;
            };
            let account = book.accounts.get(&server.account);
            let lets_ask = account.is_some_and(|state| state.breaker.lets_ask());
            match wish(&target.progress, &policy, now) {
                Wish::Done => {}
                Wish::Rest(moment) => alarm.at(moment),
                // Nothing that is seen meanwhile counts.
                Wish::Ask | Wish::Look(_)
                    if matches!(target.progress.state, State::Waiting { .. })
                        && book.opposite_holds_the_wire(server, run.head.action) =>
                {
                    alarm.at(later(now, LOOK_SPACING));
                }
                Wish::Look(from) => note_look(&mut wishes.looks, &server.no, from),
                // A good read is what closes the breaker.
                Wish::Ask if !lets_ask => note_look(&mut wishes.looks, &server.no, now),
                // What is asked later is weighed then: the answer that makes room begins a turn.
                Wish::Ask if account.is_some_and(|state| asks_free(state) == 0) => {}
                Wish::Ask => wishes.asks.entry(run.head.action).or_default().push(Candidate {
                    run: *id,
                    server: server.clone(),
                    window_end: run.head.window_end,
                    batch_max: target.progress.batch_max.unwrap_or(usize::MAX),
                }),
            }
            if let Some(end) = deadline(&target.progress, &policy) {
                alarm.at(end);
            }
        }
        if !run.resolution.pending.is_empty() && run.head.window_end > now {
            alarm.at(run.head.window_end);
        }
    }
    for wishes in all.values_mut() {
        stagger(book, now, wishes, alarm);
    }
    all
}

fn note_look(looks: &mut Vec<(ServerNo, Timestamp)>, no: &ServerNo, from: Timestamp) {
    looks.push((no.clone(), from));
}

fn watch_on(book: &mut Book, now: Timestamp, all: &mut BTreeMap<AccountName, Wishes>, alarm: &mut Alarm) {
    book.afterwatch.retain(|watch| watch.until > now);
    for watch in &mut book.afterwatch {
        if watch.next <= now {
            watch.next = later(now, AFTERWATCH_EVERY);
            if let Some(wishes) = all.get_mut(&watch.server.account) {
                note_look(&mut wishes.looks, &watch.server.no, now);
            }
        }
        alarm.at(watch.next);
    }
}

fn ask(
    book: &mut Book,
    draft: &mut Draft,
    account: &AccountName,
    asks: BTreeMap<Action, Vec<Candidate>>,
    alarm: &mut Alarm,
    acts: &mut Vec<Act>,
) {
    let now = draft.now;
    let mut waiting = false;
    let waives =
        |candidate: &Candidate| book.runs.get(&candidate.run).is_some_and(|run| run.waives(Waiver::Limits));
    // What passes the limits goes apart: it must not wait for what does not.
    let mut parted: Vec<(Action, bool, Vec<Candidate>)> = Vec::new();
    for (action, candidates) in asks {
        // All runs of a server share one request, so it passes if one of them does.
        let passing: BTreeSet<ServerNo> =
            candidates.iter().filter(|candidate| waives(candidate)).map(|c| c.server.no.clone()).collect();
        let (waived, others): (Vec<Candidate>, Vec<Candidate>) =
            candidates.into_iter().partition(|candidate| passing.contains(&candidate.server.no));
        parted.extend([(action, true, waived), (action, false, others)]);
    }
    for (action, is_waived, candidates) in parted {
        let candidates = within_room(book, account, candidates);
        for batch in batches(candidates, batch_size(book, account)) {
            let Some(state) = book.accounts.get(account) else {
                return;
            };
            if !state.breaker.lets_ask() || asks_free(state) == 0 {
                break;
            }
            if let Some(from) = state.careful
                && (from > now || state.asks_open > 0)
            {
                alarm.at(from.max(later(now, Duration::from_millis(100))));
                break;
            }
            if let Some(free_at) = hourly_limit(book, now).filter(|_| !is_waived) {
                hold(book, draft, &batch, free_at);
                alarm.at(free_at);
                continue;
            }
            let turn = turn_of(book, account, &batch);
            let Some(state) = book.accounts.get_mut(account) else {
                return;
            };
            if let Some(free_at) = state.budget.retry_from(now).filter(|_| turn == Turn::Again) {
                alarm.at(free_at);
                continue;
            }
            match state.line.bucket.try_take() {
                Ok(()) => {
                    state.budget.note(turn, now);
                    acts.push(intend(book, draft, account, action, batch));
                }
                Err(wait) => {
                    waiting = true;
                    alarm.at(later(now, wait));
                    break;
                }
            }
        }
    }
    if let Some(state) = book.accounts.get(account) {
        state.line.bucket.set_asks_waiting(waiting);
    }
}

/// Of many candidates only as many as there is room for, the most urgent first, where that is all that holds requests back.
fn within_room(book: &Book, account: &AccountName, candidates: Vec<Candidate>) -> Vec<Candidate> {
    let Some(state) = book.accounts.get(account) else { return candidates };
    let free = asks_free(state);
    let hour_lasts = book.recent_asks.len().saturating_add(free) < book.settings.limits.requests_per_hour;
    let is_plain = state.careful.is_none() && state.troubled.is_empty() && book.runs.shared().is_empty();
    if hour_lasts && is_plain {
        return most_urgent(candidates, free.saturating_mul(batch_size(book, account)));
    }
    candidates
}

/// How many more mutating requests of an account may be open.
fn asks_free(state: &AccountState) -> usize {
    let most = if state.is_quick { ASKS_OPEN_MAX } else { PLACES };
    asks_open_max(state.line.bucket.rate_milli(), most).saturating_sub(state.asks_open)
}

/// How many mutating requests may be open at once, by the rate in thousandths a second: what a tenth of a second lets through.
fn asks_open_max(rate_milli: u64, most: usize) -> usize {
    usize::try_from(rate_milli / 10_000).unwrap_or(most).clamp(ASKS_OPEN, most)
}

/// When the next mutating request may go, if the hour's are used up.
fn hourly_limit(book: &mut Book, now: Timestamp) -> Option<Timestamp> {
    let hour_ago = now.saturating_sub(Duration::from_hours(1)).unwrap_or(now);
    while book.recent_asks.front().is_some_and(|at| *at <= hour_ago) {
        book.recent_asks.pop_front();
    }
    if book.recent_asks.len() < book.settings.limits.requests_per_hour {
        return None;
    }
    book.recent_asks.front().map(|oldest| later(*oldest, Duration::from_hours(1)))
}

fn hold(book: &mut Book, draft: &mut Draft, batch: &[Candidate], free_at: Timestamp) {
    let most = book.settings.limits.requests_per_hour;
    let words = format!(
        "`limits.requests_per_hour` is {most}, and the hour's requests are used up; raise it, or run it once by hand with \
         --over-limit"
    );
    let reason = Reason::new(ReasonKind::Limit, words.clone());
    for candidate in batch {
        book.happen(draft, candidate.run, &candidate.server, &Event::Held(&reason, free_at));
    }
    let hour_ago = draft.now.saturating_sub(Duration::from_hours(1)).unwrap_or(draft.now);
    if book.hour_told.is_none_or(|told| told <= hour_ago) {
        book.hour_told = Some(draft.now);
        let text = format!("{words}; what exceeds it waits until {free_at}.");
        let ko = format!(
            "`limits.requests_per_hour`가 {most}인데 이 시간의 요청을 모두 썼습니다. 값을 늘리거나 --over-limit로 한 번 실행해 주세요. 넘치는 것은 \
             {free_at}까지 기다립니다."
        );
        draft.tell(NoticeKind::Guard, Urgency::NeedsAPerson, Told::new(text, ko));
    }
}

fn intend(
    book: &mut Book,
    draft: &mut Draft,
    account: &AccountName,
    action: Action,
    batch: Vec<Candidate>,
) -> Act {
    book.last_attempt += 1;
    let attempt = AttemptId(book.last_attempt);
    let mut servers: Vec<ServerNo> = Vec::new();
    let mut not_after = later(draft.now, DECISION_AGE_MAX);
    let mut targets = Vec::new();
    let mut groups: BTreeSet<GroupName> = BTreeSet::new();
    for candidate in batch {
        let target = book.runs.get(&candidate.run).and_then(|run| run.targets.get(&candidate.server));
        groups.extend(target.into_iter().flat_map(|target| target.groups.iter().cloned()));
        book.happen(draft, candidate.run, &candidate.server, &Event::Asked(attempt));
        if !is_planted(Bug::WindowIgnored) {
            let latest = candidate.window_end.saturating_sub(ATTEMPT_LIMIT).unwrap_or(candidate.window_end);
            not_after = not_after.min(latest);
        }
        if !servers.contains(&candidate.server.no) {
            servers.push(candidate.server.no.clone());
            book.touched.insert(candidate.server.clone(), draft.now);
        }
        targets.push((candidate.run, candidate.server));
    }
    for group in groups {
        if book.settings.groups.get(&group).is_some_and(|group| !group.stagger.is_zero()) {
            book.staggered.insert(group, draft.now);
        }
    }
    let listed = servers.iter().map(|no| ServerId { account: account.clone(), no: no.clone() }).collect();
    draft.lines.push(Line::Asked { attempt, action, servers: listed });
    draft.turn.intents.push(Intent { attempt, action, targets });
    book.recent_asks.push_back(draft.now);
    book.attempts.insert(attempt, (account.clone(), OpenAttempt { action, servers: servers.clone() }));
    if let Some(state) = book.accounts.get_mut(account) {
        state.asks_open += 1;
    }
    Act::Ask { attempt, account: account.clone(), action, servers, decided: draft.now, not_after }
}

fn look(
    book: &mut Book,
    now: Timestamp,
    account: &AccountName,
    looks: &[(ServerNo, Timestamp)],
    alarm: &mut Alarm,
    acts: &mut Vec<Act>,
) {
    let Some(earliest) = looks.iter().map(|(_, from)| *from).min() else {
        return;
    };
    let Some(state) = book.accounts.get_mut(account) else {
        return;
    };
    if state.looking {
        return;
    }
    let from = earliest.max(state.look_after).max(state.breaker.lets_look_from().unwrap_or(earliest));
    if from > now {
        alarm.at(from);
        return;
    }
    state.looking = true;
    state.look_after = later(now, LOOK_SPACING);
    let limit = if state.breaker.lets_ask() { ATTEMPT_LIMIT } else { PROBE_LIMIT };
    // One read serves all that are watched, also those whose turn is a little later.
    let servers: BTreeSet<&ServerNo> = looks.iter().map(|(no, _)| no).collect();
    acts.push(Act::Look { account: account.clone(), servers: servers.into_iter().cloned().collect(), limit });
}

fn list(
    book: &mut Book,
    now: Timestamp,
    account: &AccountName,
    wanted: listing::Wanted,
    alarm: &mut Alarm,
    acts: &mut Vec<Act>,
) {
    let (Some(state), Some(scope)) = (book.accounts.get_mut(account), wanted.scope) else {
        return;
    };
    if state.listing {
        return;
    }
    let from = state.list_after.max(state.look_after.min(later(now, LIST_SPACING)));
    let from = from.max(state.breaker.lets_look_from().unwrap_or(from));
    if from > now {
        alarm.at(from);
        return;
    }
    state.listing = true;
    state.list_after = later(now, LIST_SPACING);
    let limit = if state.breaker.lets_ask() { ATTEMPT_LIMIT } else { PROBE_LIMIT };
    acts.push(Act::List { account: account.clone(), scope, groups: wanted.groups, limit });
}

/// Has the servers found on which the program itself runs, unless the configuration names them.
fn find_own(book: &mut Book, now: Timestamp, account: &AccountName, alarm: &mut Alarm, acts: &mut Vec<Act>) {
    if book.settings.limits.own.is_some() || !book.settings.accounts.contains_key(account) {
        return;
    }
    let Some(state) = book.accounts.get_mut(account) else { return };
    if state.finding_own {
        return;
    }
    // What was found holds until it is asked again; only while nothing is known somebody may wait for it.
    if state.find_own_after > now {
        if state.own.is_none() {
            alarm.at(state.find_own_after);
        }
        return;
    }
    state.finding_own = true;
    acts.push(Act::FindOwn { account: account.clone() });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{self, account, at, head};
    use crate::domain::name::RunId;
    use crate::domain::target::Progress;

    #[test]
    fn while_keys_are_refused_one_request_goes_at_a_time_and_not_before_its_moment() {
        let now = at("08:50:00");
        let sent = |careful: Option<&str>, open: usize| {
            let mut book = scene::book("");
            let targets = ["1001", "1002"].map(|no| (no, Progress::fresh(now)));
            scene::add(&mut book, 1, head("own", Action::Start, now), &targets);
            let state = book.accounts.get_mut(&account("main")).unwrap();
            (state.line.batch, state.careful, state.asks_open) = (1, careful.map(at), open);
            let candidate = |no: &str| Candidate {
                run: RunId(1),
                server: scene::server(no),
                window_end: at("09:05:00"),
                batch_max: usize::MAX,
            };
            let asks = BTreeMap::from([(Action::Start, vec![candidate("1001"), candidate("1002")])]);
            let (mut alarm, mut acts) = (Alarm::default(), Vec::new());
            ask(&mut book, &mut Draft::new(now), &account("main"), asks, &mut alarm, &mut acts);
            acts.len()
        };

        assert_eq!(sent(None, 1), 2);
        assert_eq!((sent(Some("08:50:00"), 0), sent(Some("08:49:59"), 0)), (1, 1));
        assert_eq!((sent(Some("08:50:01"), 0), sent(Some("08:49:59"), 1)), (0, 0));
    }

    #[test]
    fn a_tenth_of_a_seconds_requests_may_be_open_and_no_more_than_the_account_takes() {
        let rates = [1_000, 5_000, 100_000, 1_000_000, 100_000_000];
        assert_eq!(rates.map(|rate| asks_open_max(rate, ASKS_OPEN_MAX)), [4, 4, 10, 100, 1000]);
        assert_eq!(rates.map(|rate| asks_open_max(rate, PLACES)), [4, 4, 10, 64, 64]);
    }

    #[test]
    fn candidates_without_room_are_left_for_later_only_where_room_is_all_that_lacks() {
        let now = at("08:50:00");
        let left = |change: fn(&mut Book)| {
            let mut book = scene::book("[limits]\nrequests_per_hour = 30\n");
            let numbers: Vec<String> = (1001..1011).map(|no| no.to_string()).collect();
            let targets: Vec<_> = numbers.iter().map(|no| (no.as_str(), Progress::fresh(now))).collect();
            scene::add(&mut book, 1, head("own", Action::Start, now), &targets);
            book.accounts.get_mut(&account("main")).unwrap().line.batch = 2;
            change(&mut book);
            let candidate = |no: &String| Candidate {
                run: RunId(1),
                server: scene::server(no),
                window_end: at("09:05:00"),
                batch_max: usize::MAX,
            };
            within_room(&book, &account("main"), numbers.iter().map(candidate).collect()).len()
        };

        assert_eq!(left(|_| ()), ASKS_OPEN * 2, "two for each request that may be open");
        assert_eq!(left(|book| book.accounts.get_mut(&account("main")).unwrap().asks_open = 3), 2);
        assert_eq!(
            left(|book| book.accounts.get_mut(&account("main")).unwrap().careful = Some(Timestamp::MIN)),
            10
        );
        let trouble = |book: &mut Book| {
            let state = book.accounts.get_mut(&account("main")).unwrap();
            state.troubled.insert(ServerNo::parse("1001").unwrap());
        };
        assert_eq!(left(trouble), 10, "retries may be held back, and others then go before them");
        assert_eq!(
            left(|book| book.recent_asks.extend(vec![at("08:49:00"); 26])),
            10,
            "the hour's limit holds the rest"
        );
        let shared = |book: &mut Book| {
            let fresh = Progress::fresh(at("08:50:00"));
            scene::add(book, 2, head("other", Action::Start, at("08:50:00")), &[("1001", fresh)]);
        };
        assert_eq!(left(shared), 10, "a server of two runs stands here twice");
    }

    #[test]
    fn a_target_for_which_there_is_no_room_keeps_the_end_of_its_window() {
        let now = at("08:50:00");
        let mut book = scene::book("");
        let ready = Progress { askable: Some(now), ..Progress::fresh(now) };
        scene::add(&mut book, 1, head("own", Action::Start, now), &[("1001", ready)]);
        let mut gathered = |open: usize| {
            book.accounts.get_mut(&account("main")).unwrap().asks_open = open;
            let mut alarm = Alarm::default();
            let wishes = gather(&book, now, &mut alarm);
            (wishes.values().map(|wishes| wishes.asks.len()).sum::<usize>(), alarm.moment())
        };

        let end = head("own", Action::Start, now).window_end;
        assert_eq!((gathered(0), gathered(ASKS_OPEN)), ((1, end), (0, end)));
    }

    #[test]
    fn the_own_server_is_asked_for_when_it_is_time_and_waited_for_only_while_it_is_not_known() {
        let now = at("08:50:00");
        let found = |after: &str, is_known: bool| {
            let mut book = scene::book("");
            let state = book.accounts.get_mut(&account("main")).unwrap();
            state.find_own_after = at(after);
            state.own = is_known.then(BTreeSet::new);
            let (mut alarm, mut acts) = (Alarm::default(), Vec::new());
            find_own(&mut book, now, &account("main"), &mut alarm, &mut acts);
            (acts.len(), alarm.moment())
        };

        assert_eq!(found("08:50:00", true), (1, Timestamp::MAX));
        assert_eq!(found("08:50:01", true), (0, Timestamp::MAX));
        assert_eq!(found("08:50:01", false), (0, at("08:50:01")));
    }
}
