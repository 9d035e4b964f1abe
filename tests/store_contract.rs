//! The contract of the journal, written against its port: every store must keep it.

#[path = "store/left_running.rs"]
mod left_running;
#[path = "common/memory.rs"]
mod memory;
#[path = "store/overrides.rs"]
mod overrides;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sunup::adapters::store::{Holder, SqliteStore};
use sunup::domain::name::{AccountName, Action, AttemptId, GroupName, RuleName, RunId, ServerId, ServerNo};
use sunup::domain::outcome::{Outcome, Reason, ReasonKind, RunOutcome};
use sunup::domain::target::{Progress, State};
use sunup::ports::store::{
    Addition, AttemptResult, Change, Claim, ConfigText, CoveredMark, Doubtful, End, Entry, HistoryQuery,
    Intent, MissedRange, Origin, Resolution, RunHead, Store, StoreError, StoredConfig, Target, Turn, Waiver,
    Withdrawn,
};

fn at(seconds: u64) -> Timestamp {
    "2026-11-23T08:50:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(seconds)
}

fn server(no: &str) -> ServerId {
    ServerId { account: AccountName::new("main").unwrap(), no: ServerNo::parse(no).unwrap() }
}

/// The claim of the run whose number is one more than its moment.
fn claim(rule: &str, planned: u64, servers: &[&str]) -> Claim {
    let head = RunHead {
        origin: Origin::Rule(RuleName::new(rule).unwrap()),
        action: Action::Start,
        groups: vec![GroupName::new("web").unwrap()],
        planned: at(planned),
        due: at(planned),
        window_end: at(planned + 900),
        claimed: at(planned),
        waived: BTreeSet::from([Waiver::Limits]),
    };
    let target = |no: &&str| Target {
        server: server(no),
        name: None,
        groups: vec![GroupName::new("web").unwrap()],
        limit: Duration::from_secs(600),
        progress: Progress::fresh(at(planned)),
        revision: 0,
    };
    let resolution = Resolution::default();
    let run = RunId(i64::try_from(planned).unwrap() + 1);
    Claim { run, head, targets: servers.iter().map(target).collect(), resolution, ended: None }
}

fn end_of(run: RunId, outcome: RunOutcome) -> End {
    End { run, outcome, reason: String::new() }
}

fn turn(seconds: u64) -> Turn {
    Turn { at: Some(at(seconds)), ..Turn::default() }
}

async fn claimed(store: &dyn Store, rule: &str, planned: u64, servers: &[&str]) -> RunId {
    let claim = claim(rule, planned, servers);
    let run = claim.run;
    store.record(&Turn { claims: vec![claim], ..turn(planned) }).await.unwrap();
    run
}

fn asking(run: RunId, no: &str, attempt: i64, revision: i64) -> (Change, Intent) {
    let attempt = AttemptId(attempt);
    let state = State::Asking { attempt, since: at(0) };
    let progress = Progress { state, attempts: 1, ..Progress::fresh(at(0)) };
    let change = Change { run, server: server(no), name: Some("srv".into()), revision, progress };
    (change, Intent { attempt, action: Action::Start, targets: vec![(run, server(no))] })
}

/// Every promise of the port, one after another, each over its own journal.
async fn keeps_the_contract(open: impl AsyncFn() -> Box<dyn Store>) {
    claims_an_occurrence_once(open().await.as_ref()).await;
    records_all_of_a_turn_or_nothing(open().await.as_ref()).await;
    refuses_a_second_open_request_for_a_server(open().await.as_ref()).await;
    never_changes_an_outcome(open().await.as_ref()).await;
    finds_what_was_open(open().await.as_ref()).await;
    tells_the_past(open().await.as_ref()).await;
    keeps_the_configuration_that_was_last_in_force(open().await.as_ref()).await;
    forgets_only_what_has_ended(open().await.as_ref()).await;
    keeps_the_servers_of_each_request_together(open().await.as_ref()).await;
    gives_a_reason_to_what_ended_as_it_was_claimed(open().await.as_ref()).await;
    withdraws_what_lies_after_a_trusted_now(open().await.as_ref()).await;
    remembers_what_is_worth_another_look(open().await.as_ref()).await;
    overrides::that_a_wrong_clock_ended_hold_again(open().await.as_ref()).await;
    overrides::are_kept_until_long_after_their_end(open().await.as_ref()).await;
    left_running::is_remembered_until_it_is_not_so(open().await.as_ref()).await;
    overrides::and_configurations_are_part_of_the_past(open().await.as_ref()).await;
}

async fn claims_an_occurrence_once(store: &dyn Store) {
    let first = claimed(store, "morning", 0, &["1001"]).await;
    let key = |rule: &str, planned: u64, action: Action| (RuleName::new(rule).unwrap(), at(planned), action);
    let asked = [
        key("morning", 0, Action::Start),
        key("morning", 0, Action::Stop),
        key("morning", 60, Action::Start),
        key("noon", 0, Action::Start),
    ];
    let again = async |claims: Vec<Claim>| store.record(&Turn { claims, ..turn(5) }).await;

    assert_eq!(store.claimed(&asked).await.unwrap(), BTreeSet::from([key("morning", 0, Action::Start)]));
    let same = Claim { run: RunId(2), ..claim("morning", 0, &["1001"]) };
    let taken = Claim { run: first, ..claim("morning", 60, &["1001"]) };
    let twice = vec![claim("morning", 60, &[]), Claim { run: RunId(3), ..claim("morning", 60, &[]) }];
    for refused in [vec![same], vec![taken], twice] {
        assert!(matches!(again(refused).await, Err(StoreError::Conflict { .. })));
    }
    again(vec![claim("morning", 60, &["1001"])]).await.unwrap();
    assert_eq!(store.open_state().await.unwrap().last_run, 61, "the highest number that was given");
}

async fn records_all_of_a_turn_or_nothing(store: &dyn Store) {
    let run = claimed(store, "morning", 0, &["1001"]).await;
    let (change, intent) = asking(run, "1001", 1, 7);

    let turn = Turn {
        claims: vec![claim("night", 30, &["1001"])],
        changes: vec![change],
        intents: vec![intent],
        ..turn(30)
    };
    let refused = store.record(&turn).await;

    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    let state = store.open_state().await.unwrap();
    assert_eq!((state.runs.len(), state.last_attempt), (1, 0));
}

async fn refuses_a_second_open_request_for_a_server(store: &dyn Store) {
    let first = claimed(store, "morning", 0, &["1001"]).await;
    let second = claimed(store, "noon", 60, &["1001"]).await;
    let (change, intent) = asking(first, "1001", 1, 0);
    store.record(&Turn { changes: vec![change], intents: vec![intent], ..turn(60) }).await.unwrap();

    let (change, intent) = asking(second, "1001", 2, 0);
    let refused = store.record(&Turn { changes: vec![change], intents: vec![intent], ..turn(61) }).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");

    let result = AttemptResult {
        attempt: AttemptId(1),
        result: "accepted",
        status: Some(200),
        code: None,
        text: None,
        request_id: Some("r".into()),
    };
    let answered = Turn { results: vec![result], ..turn(62) };
    store.record(&answered).await.unwrap();
    let twice = store.record(&answered).await;
    assert!(matches!(twice, Err(StoreError::Conflict { .. })), "a result was taken twice: {twice:?}");
    let (change, intent) = asking(second, "1001", 2, 0);
    store.record(&Turn { changes: vec![change], intents: vec![intent], ..turn(63) }).await.unwrap();
}

async fn never_changes_an_outcome(store: &dyn Store) {
    let run = claimed(store, "morning", 0, &["1001"]).await;
    let ended = Progress::ended(Outcome::Started, at(9));
    let end = Change { run, server: server("1001"), name: None, revision: 0, progress: ended };
    let why = End { reason: "as wished".into(), ..end_of(run, RunOutcome::Done) };
    store.record(&Turn { changes: vec![end], ends: vec![why], ..turn(9) }).await.unwrap();

    let (change, _) = asking(run, "1001", 1, 1);
    let changed = store.record(&Turn { changes: vec![change], ..turn(10) }).await;
    let ended_again = store.record(&Turn { ends: vec![end_of(run, RunOutcome::Failed)], ..turn(10) }).await;

    assert!(matches!(changed, Err(StoreError::Conflict { .. })), "{changed:?}");
    assert!(matches!(ended_again, Err(StoreError::Conflict { .. })), "{ended_again:?}");
    let remark = vec![(run, server("1001"), "seen later".to_owned())];
    store.record(&Turn { remarks: remark, ..turn(11) }).await.unwrap();
    let (record, _) = store.run(run).await.unwrap().unwrap();
    assert_eq!(record.targets[0].target.progress.outcome(), Some(&Outcome::Started));
    assert_eq!(record.targets[0].remark.as_deref(), Some("seen later"));
    assert_eq!(
        (record.ended, record.reason.as_deref()),
        (Some((RunOutcome::Done, at(9))), Some("as wished"))
    );
}

async fn finds_what_was_open(store: &dyn Store) {
    let run = claimed(store, "morning", 0, &["1001", "1002"]).await;
    let (change, intent) = asking(run, "1001", 41, 0);
    let progress = change.progress.clone();
    let rule = RuleName::new("morning").unwrap();
    let mark = CoveredMark { rule, fingerprint: "cron …".into(), until: at(0), closes: Some(at(7)) };
    let marks = vec![mark.clone()];
    store.record(&Turn { changes: vec![change], intents: vec![intent], marks, ..turn(3) }).await.unwrap();

    let state = store.open_state().await.unwrap();

    assert_eq!(state.last_attempt, 41);
    assert_eq!(state.recent_attempts, [at(3)]);
    assert_eq!(state.unanswered, [(server("1001"), Action::Start, at(3))]);
    assert_eq!(state.marks, [mark]);
    let [open] = state.runs.as_slice() else { panic!("{:?}", state.runs) };
    assert_eq!((open.id, open.head.due, open.targets.len()), (run, at(0), 2));
    let target = open.targets.iter().find(|target| target.server == server("1001")).unwrap();
    assert_eq!((&target.progress, target.revision, target.name.as_deref()), (&progress, 1, Some("srv")));
}

async fn keeps_the_servers_of_each_request_together(store: &dyn Store) {
    let run = claimed(store, "morning", 0, &["1001", "1002", "1003"]).await;
    let (one, mut pair) = asking(run, "1001", 1, 0);
    let (two, _) = asking(run, "1002", 1, 0);
    let (three, alone) = asking(run, "1003", 2, 0);
    pair.targets.push((run, server("1002")));
    store
        .record(&Turn { changes: vec![one, two, three], intents: vec![pair, alone], ..turn(1) })
        .await
        .unwrap();

    let (_, attempts) = store.run(run).await.unwrap().unwrap();

    let shown: Vec<_> = attempts.iter().map(|attempt| (attempt.id.0, attempt.servers.clone())).collect();
    assert_eq!(shown, [(1, vec![server("1001"), server("1002")]), (2, vec![server("1003")])]);
}

async fn gives_a_reason_to_what_ended_as_it_was_claimed(store: &dyn Store) {
    let ended = |reason: &str| Some((RunOutcome::Skipped, reason.to_owned()));
    let told = Claim { ended: ended("nothing to do"), ..claim("morning", 0, &[]) };
    let silent = Claim { ended: ended(""), ..claim("noon", 1, &[]) };
    let runs = [told.run, silent.run];
    store.record(&Turn { claims: vec![told, silent], ..turn(1) }).await.unwrap();

    let mut reasons = Vec::new();
    for run in runs {
        reasons.push(store.run(run).await.unwrap().unwrap().0.reason);
    }

    assert_eq!(reasons, [Some("nothing to do".to_owned()), None]);
}

async fn tells_the_past(store: &dyn Store) {
    let run = claimed(store, "morning", 0, &["1001"]).await;
    let reason = Reason::new(ReasonKind::TooSlow, "slow");
    let ended = Progress::ended(Outcome::Failed(reason), at(700));
    let end =
        Change { run, server: server("1001"), name: Some("web-1".into()), revision: 0, progress: ended };
    let missed = MissedRange {
        rule: RuleName::new("night").unwrap(),
        action: Action::Stop,
        first: at(60),
        last: at(600),
        due_last: at(605),
        count: 10,
        cause: Reason::new(ReasonKind::Down, "not running"),
        withdrawn: None,
    };
    let ends = vec![end_of(run, RunOutcome::Failed)];
    store
        .record(&Turn { changes: vec![end], ends, missed: vec![missed.clone()], ..turn(700) })
        .await
        .unwrap();
    claimed(store, "noon", 300, &["1002"]).await;
    // A commit that failed may have arrived all the same.
    store.record(&Turn { missed: vec![missed.clone()], ..turn(701) }).await.unwrap();

    let query = |change: fn(&mut HistoryQuery)| {
        let mut query = HistoryQuery { limit: 10, ..HistoryQuery::default() };
        change(&mut query);
        query
    };
    let shown = async |query: HistoryQuery| -> Vec<String> {
        let entries = store.history(&query).await.unwrap();
        entries
            .iter()
            .map(|entry| match entry {
                Entry::Run(run) => run.head.origin.words(),
                Entry::Missed(range) => format!("missed {}", range.rule),
                Entry::Override(one) => format!("{} of {}", one.kind.word(), one.scope),
                Entry::Config(config) => format!("configuration {}", config.text),
            })
            .collect()
    };

    assert_eq!(shown(query(|_| {})).await, ["missed night", "rule noon", "rule morning"]);
    assert_eq!(shown(query(|q| q.failed = true)).await, ["missed night", "rule morning"]);
    assert_eq!(shown(query(|q| q.rule = Some("noon".into()))).await, ["rule noon"]);
    assert_eq!(shown(query(|q| q.server = Some("web-1".into()))).await, ["rule morning"]);
    assert_eq!(shown(query(|q| q.server = Some("1002".into()))).await, ["rule noon"]);
    assert_eq!(shown(query(|q| q.from = Some(at(301)))).await, ["missed night"]);
    assert_eq!(shown(query(|q| q.limit = 1)).await, ["missed night"]);
    let entries = store.history(&query(|q| q.rule = Some("night".into()))).await.unwrap();
    assert_eq!(entries, [Entry::Missed(missed)]);
    assert!(store.run(RunId(999)).await.unwrap().is_none());
}

async fn keeps_the_configuration_that_was_last_in_force(store: &dyn Store) {
    assert!(store.last_config().await.unwrap().is_none());
    let config = |text: &str, sources: &str| ConfigText { text: text.into(), sources: sources.into() };
    // The same text over other calendars is another configuration.
    for (text, sources, moment) in
        [("a", "", 1), ("b", "", 2), ("b", "", 3), ("a", "", 4), ("a", "{}", 5), ("a", "{}", 6)]
    {
        store
            .record(&Turn {
                config: Some(StoredConfig { config: config(text, sources), since: at(moment) }),
                ..turn(moment)
            })
            .await
            .unwrap();
    }

    let last = store.last_config().await.unwrap().unwrap();

    assert_eq!((last.config, last.since), (config("a", "{}"), at(5)));

    // A clock far ahead had recorded it, and the right one tells since when it holds.
    let again = StoredConfig { config: config("a", "{}"), since: at(3) };
    store.record(&Turn { config: Some(again), ..turn(7) }).await.unwrap();
    assert_eq!(store.last_config().await.unwrap().unwrap().since, at(3));
}

async fn forgets_only_what_has_ended(store: &dyn Store) {
    let old = claimed(store, "morning", 0, &["1001"]).await;
    let open = claimed(store, "noon", 1, &["1002"]).await;
    let ended = Progress::ended(Outcome::Already, at(2));
    let end = Change { run: old, server: server("1001"), name: None, revision: 0, progress: ended };
    let mark = CoveredMark {
        rule: RuleName::new("morning").unwrap(),
        fingerprint: "f".into(),
        until: at(0),
        closes: None,
    };
    let ends = vec![end_of(old, RunOutcome::Done)];
    store.record(&Turn { changes: vec![end], ends, marks: vec![mark], ..turn(2) }).await.unwrap();

    let range = missed("night", Action::Stop, 0, 1);
    store.record(&Turn { missed: vec![range], ..turn(2) }).await.unwrap();

    assert_eq!(store.prune(at(2)).await.unwrap(), 0);
    assert_eq!(store.prune(at(3)).await.unwrap(), 2, "the run and what was missed");

    assert!(store.run(old).await.unwrap().is_none());
    assert!(store.run(open).await.unwrap().is_some());
    assert_eq!(store.open_state().await.unwrap().marks.len(), 1);
}

fn missed(rule: &str, action: Action, first: u64, last: u64) -> MissedRange {
    MissedRange {
        rule: RuleName::new(rule).unwrap(),
        action,
        first: at(first),
        last: at(last),
        due_last: at(last),
        count: 2,
        cause: Reason::new(ReasonKind::Down, "not running"),
        withdrawn: None,
    }
}

async fn withdraws_what_lies_after_a_trusted_now(store: &dyn Store) {
    let past = claimed(store, "morning", 0, &["1001"]).await;
    let asked = claimed(store, "morning", 2000, &["1002"]).await;
    let waiting = claimed(store, "morning", 4000, &["1003"]).await;
    let (change, intent) = asking(asked, "1002", 1, 0);
    let mark = CoveredMark {
        rule: RuleName::new("morning").unwrap(),
        fingerprint: "f".into(),
        until: at(4000),
        closes: None,
    };
    let misses = vec![
        missed("morning", Action::Stop, 100, 200),
        missed("morning", Action::Start, 300, 1500),
        missed("morning", Action::Stop, 400, 500),
        missed("other", Action::Stop, 600, 700),
    ];
    let turn = Turn {
        changes: vec![change],
        intents: vec![intent],
        marks: vec![mark],
        missed: misses,
        ..turn(4000)
    };
    store.record(&turn).await.unwrap();

    let withdrawn = store.withdraw(at(1000)).await.unwrap();

    let morning = RuleName::new("morning").unwrap();
    assert_eq!((withdrawn.runs, withdrawn.misses), (vec![waiting], 2));
    // From the first of what is open again on, everything is decided again.
    assert_eq!(withdrawn.reopened, [(morning.clone(), at(299))]);
    assert_eq!(withdrawn.kept, BTreeSet::from([(morning, at(2000), Action::Start)]));
    let opening = store.open_state().await.unwrap();
    assert_eq!(opening.runs.iter().map(|run| run.id).collect::<Vec<_>>(), [past, asked]);
    assert_eq!(opening.marks[0].until, at(299));
    // It is marked, not deleted, and the occurrence can be claimed again.
    let (record, _) = store.run(waiting).await.unwrap().unwrap();
    assert_eq!(record.withdrawn, Some(at(1000)));
    let key = (RuleName::new("morning").unwrap(), at(4000), Action::Start);
    assert!(store.claimed(&[key]).await.unwrap().is_empty());
    let again = Claim { run: RunId(5000), ..claim("morning", 4000, &["1003"]) };
    store.record(&Turn { claims: vec![again], ..self::turn(4000) }).await.unwrap();
    assert_eq!(store.withdraw(at(5000)).await.unwrap(), Withdrawn::default());
}

async fn remembers_what_is_worth_another_look(store: &dyn Store) {
    let run = claimed(store, "morning", 0, &["1001", "1002"]).await;
    let unknown = Progress::ended(Outcome::Unknown(Reason::new(ReasonKind::NoAnswer, "lost")), at(900));
    let failed = Progress::ended(Outcome::Failed(Reason::new(ReasonKind::TooSlow, "slow")), at(900));
    let change = |no: &str, progress: &Progress| {
        let progress = progress.clone();
        Change { run, server: server(no), name: None, revision: 0, progress }
    };
    let changes = vec![change("1001", &unknown), change("1002", &failed)];
    let ends = vec![end_of(run, RunOutcome::Failed)];
    store.record(&Turn { changes, ends, ..turn(900) }).await.unwrap();
    let remarks = vec![(run, server("1002"), "seen".to_owned())];
    store.record(&Turn { remarks, ..turn(901) }).await.unwrap();

    let doubtful = store.open_state().await.unwrap().doubtful;

    assert_eq!(
        doubtful,
        [Doubtful { run, server: server("1001"), action: Action::Start, progress: unknown }]
    );
}

#[tokio::test]
async fn a_journal_that_is_gone_is_not_begun_anew_while_its_log_holds_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunup.db");
    let store = SqliteStore::open(&path, Holder::Daemon).await.unwrap();
    claimed(&store, "morning", 0, &["1001"]).await;
    let log = std::fs::read(folder.path().join("sunup.db-wal")).unwrap();
    store.close().await;
    drop(store);

    for emptied in [true, false] {
        std::fs::remove_file(&path).unwrap();
        if emptied {
            std::fs::write(&path, "").unwrap();
        }
        std::fs::write(folder.path().join("sunup.db-wal"), &log).unwrap();

        let Err(refused) = SqliteStore::open(&path, Holder::Daemon).await else {
            panic!("it was begun anew")
        };
        assert!(refused.to_string().contains("still holds data"), "{refused}");
        assert_eq!(std::fs::read(folder.path().join("sunup.db-wal")).unwrap(), log);
        std::fs::write(&path, "").unwrap();
    }
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    keeps_the_contract(async || {
        count.set(count.get() + 1);
        let path = folder.path().join(format!("{}.db", count.get()));
        let store: Box<dyn Store> = Box::new(SqliteStore::open(&path, Holder::Daemon).await.unwrap());
        store
    })
    .await;
}

#[tokio::test]
async fn the_journal_of_the_simulation_keeps_the_contract() {
    keeps_the_contract(async || {
        let store: Box<dyn Store> = Box::new(memory::MemoryStore::default());
        store
    })
    .await;
    assert!(memory::MemoryStore::default().config().is_none());
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunup.db");
    std::fs::write(&path, "precious, and no database at all").unwrap();

    let opened = SqliteStore::open(&path, Holder::Daemon).await;

    assert!(matches!(opened, Err(StoreError::Unusable { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious, and no database at all");
}

#[tokio::test]
async fn a_second_writer_is_refused_and_told_who_holds_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunup.db");
    let first = SqliteStore::open(&path, Holder::Daemon).await.unwrap();

    let Err(StoreError::Held { holder, .. }) = SqliteStore::open(&path, Holder::Command).await else {
        panic!("two writers at once")
    };
    assert_eq!(holder, format!("{} (daemon)", std::process::id()));

    drop(first);
    assert!(SqliteStore::open(&path, Holder::Command).await.is_ok());
}

#[tokio::test]
async fn a_journal_whose_files_were_removed_is_not_written_as_if_nothing_had_happened() {
    for removed in ["sunup.db", "sunup.db.lock"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sunup.db");
        let store = SqliteStore::open(&path, Holder::Daemon).await.unwrap();
        claimed(&store, "morning", 0, &["1001"]).await;

        std::fs::remove_file(folder.path().join(removed)).unwrap();

        let refused = store.record(&Turn { claims: vec![claim("noon", 1, &["1001"])], ..turn(1) }).await;
        assert!(matches!(refused, Err(StoreError::Unusable { .. })), "{removed}: {refused:?}");
    }
}

#[tokio::test]
async fn the_journal_can_be_read_beside_its_writer_and_others_cannot_read_its_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunup.db");
    let writer = SqliteStore::open(&path, Holder::Daemon).await.unwrap();
    let run = claimed(&writer, "morning", 0, &["1001"]).await;

    let reader = SqliteStore::open_to_read(&path).await.unwrap();

    assert!(reader.run(run).await.unwrap().is_some());
    assert!(reader.record(&Turn { claims: vec![claim("noon", 1, &["1"])], ..turn(1) }).await.is_err());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
}

#[tokio::test]
async fn a_journal_of_an_older_version_is_copied_aside_and_kept() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunup.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let first = include_str!("../migrations/0001_journal.sql");
    let first = Migration::new(1, "journal".into(), MigrationType::Simple, first.into_sql_str(), false);
    Migrator::with_migrations(vec![first]).run(&pool).await.unwrap();
    sqlx::query("INSERT INTO configs (hash, text) VALUES ('h', 'old text')").execute(&pool).await.unwrap();
    sqlx::query("INSERT INTO config_log (hash, since) VALUES ('h', 1000000)").execute(&pool).await.unwrap();
    pool.close().await;

    let store = SqliteStore::open(&path, Holder::Daemon).await.unwrap();

    let last = store.last_config().await.unwrap().unwrap();
    assert_eq!((last.config.text.as_str(), last.config.sources.as_str()), ("old text", ""));
    let aside = folder.path().join("sunup.db.before-7");
    assert_eq!(std::fs::metadata(&aside).unwrap().permissions().mode() & 0o777, 0o600);
    let copy = SqliteConnectOptions::new().filename(&aside).read_only(true);
    let copy = SqlitePoolOptions::new().connect_with(copy).await.unwrap();
    let row = sqlx::query("SELECT text FROM configs").fetch_one(&copy).await.unwrap();
    assert_eq!(sqlx::Row::get::<String, _>(&row, 0), "old text");
}

#[tokio::test]
async fn groups_that_become_known_later_add_targets_once_and_sizes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunup.db");
    let store = SqliteStore::open(&path, Holder::Daemon).await.unwrap();
    let group = |name: &str| GroupName::new(name).unwrap();
    let mut open = claim("morning", 0, &["1001"]);
    open.resolution.pending = BTreeSet::from([group("app"), group("web")]);
    let run = open.run;
    store.record(&Turn { claims: vec![open], ..turn(0) }).await.unwrap();

    let later = claim("x", 0, &["1002"]).targets;
    let resolution =
        Resolution { pending: BTreeSet::from([group("app")]), empty: BTreeSet::from([group("none")]) };
    let regrouped = vec![(server("1001"), vec![group("db")])];
    let addition = Addition { run, resolution: resolution.clone(), targets: later.clone(), regrouped };
    let sizes = vec![(group("web"), 1)];
    store.record(&Turn { additions: vec![addition.clone()], sizes, ..turn(1) }).await.unwrap();
    let sizes = vec![(group("web"), 7)];
    store.record(&Turn { sizes, ..turn(2) }).await.unwrap();

    let opening = store.open_state().await.unwrap();
    assert_eq!(opening.runs[0].resolution, resolution);
    assert_eq!(opening.runs[0].head.waived, BTreeSet::from([Waiver::Limits]));
    let mut targets = opening.runs[0].targets.clone();
    targets.sort_by(|one, other| one.server.cmp(&other.server));
    assert_eq!(targets[0].groups, [group("db")]);
    assert_eq!(targets[1], later[0]);
    assert_eq!(opening.sizes, BTreeMap::from([(group("web"), 7)]));
    let again = store.record(&Turn { additions: vec![addition], ..turn(3) }).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
}
