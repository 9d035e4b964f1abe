//! What the journal keeps is what the checker reads of it, by the file's format alone.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use sunup::adapters::store::{Holder, SqliteStore};
use sunup::audit::history::{Attempt, Deed, Journal, Keep, Missed, Pause, Run, Target};
use sunup::audit::journal::{self, Configuration, Covered};
use sunup::domain::name::{
    AccountName, Action, AttemptId, GroupName, OverrideId, RuleName, RunId, ServerId, ServerNo,
};
use sunup::domain::outcome::{Outcome, Reason, ReasonKind, RunOutcome};
use sunup::domain::overrides::{Ended, Kind, Override, Scope, Then};
use sunup::domain::target::{Progress, State};
use sunup::ports::store::{
    AttemptResult, Change, Claim, ConfigText, CoveredMark, End, Intent, MissedRange, Origin, Resolution,
    RunHead, Store, StoredConfig, Target as Record, Turn, Waiver,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn micros(seconds: i64) -> i64 {
    at(seconds).as_microsecond()
}

fn server(no: &str) -> ServerId {
    ServerId { account: AccountName::new("main").unwrap(), no: ServerNo::parse(no).unwrap() }
}

fn rule(name: &str) -> RuleName {
    RuleName::new(name).unwrap()
}

fn claim(origin: Origin, action: Action, seconds: i64, pending: &[&str]) -> Claim {
    let target = |no: &str| Record {
        server: server(no),
        name: None,
        groups: vec![GroupName::new("web").unwrap()],
        limit: Duration::from_secs(600),
        progress: Progress::fresh(at(seconds)),
        revision: 0,
    };
    let pending = pending.iter().map(|name| GroupName::new(name).unwrap()).collect();
    Claim {
        run: RunId(if seconds == 0 { 1 } else { 2 }),
        head: RunHead {
            origin,
            action,
            groups: Vec::new(),
            planned: at(seconds),
            due: at(seconds + 2),
            window_end: at(seconds + 900),
            claimed: at(seconds + 3),
            waived: if seconds == 10 { [Waiver::Keeps].into() } else { BTreeSet::new() },
        },
        targets: ["1001", "1002"].map(target).to_vec(),
        resolution: Resolution { pending, empty: BTreeSet::new() },
        ended: None,
    }
}

fn change(no: &str, revision: i64, progress: Progress) -> Change {
    Change { run: RunId(1), server: server(no), name: None, revision, progress }
}

/// A run that was asked for and ended, a command that is open, a range, pauses and configurations.
async fn written(store: &SqliteStore) {
    let claims = vec![
        claim(Origin::Rule(rule("morning")), Action::Start, 0, &[]),
        claim(Origin::Person("kim".into()), Action::Stop, 10, &["web"]),
    ];
    store.record(&Turn { at: Some(at(3)), claims, ..Turn::default() }).await.unwrap();
    let attempt = AttemptId(1);
    let asking = |no: &str| {
        let state = State::Asking { attempt, since: at(4) };
        change(no, 0, Progress { state, ..Progress::fresh(at(0)) })
    };
    let targets = vec![(RunId(1), server("1001")), (RunId(1), server("1002"))];
    let intents = vec![Intent { attempt, action: Action::Start, targets }];
    let changes = vec![asking("1001"), asking("1002")];
    store.record(&Turn { at: Some(at(4)), changes, intents, ..Turn::default() }).await.unwrap();
    let answered = AttemptResult {
        attempt,
        result: "accepted",
        status: Some(200),
        code: None,
        text: None,
        request_id: None,
    };
    let reason = Reason::new(ReasonKind::TooSlow, "slow");
    let changes = vec![
        change("1001", 1, Progress::ended(Outcome::Started, at(60))),
        change("1002", 1, Progress::ended(Outcome::Failed(reason), at(70))),
    ];
    let ends = vec![End { run: RunId(1), outcome: RunOutcome::Partial, reason: String::new() }];
    let missed = MissedRange {
        rule: rule("night"),
        action: Action::Stop,
        first: at(-600),
        last: at(-60),
        due_last: at(-55),
        count: 10,
        cause: Reason::new(ReasonKind::Down, "not running"),
        withdrawn: None,
    };
    let mark = |name: &str, seconds: i64| CoveredMark {
        rule: rule(name),
        fingerprint: "f".into(),
        until: at(seconds),
        closes: None,
    };
    let config = ConfigText { text: "timezone = \"UTC\"".into(), sources: "{}".into() };
    let pause = |id: i64, scope: &str, name: &str| Override {
        id: OverrideId(id),
        kind: Kind::Pause,
        scope: Scope::from_words(scope, name).unwrap(),
        from: at(100),
        until: at(900),
        reason: String::new(),
        who: "kim".into(),
        ended: None,
    };
    let kind = Kind::Keep { forbids: Action::Stop, then: Then::Apply };
    let keep = |id: i64, scope: &str, name: &str| Override { kind, ..pause(id, scope, name) };
    let (office, web) = (pause(1, "rule", "office"), pause(2, "group", "web"));
    let turn = Turn {
        at: Some(at(70)),
        results: vec![answered],
        changes,
        ends,
        missed: vec![missed],
        marks: vec![mark("night", 7), mark("morning", 8)],
        config: Some(StoredConfig { config, since: at(-1000) }),
        overrides: vec![office.clone(), web, keep(3, "server", "main/1002"), keep(4, "group", "web")],
        overrides_ended: vec![Override { ended: Some((at(300), Ended::Lifted("lee".into()))), ..office }],
        ..Turn::default()
    };
    store.record(&turn).await.unwrap();
}

#[tokio::test]
async fn what_the_journal_keeps_is_what_the_checker_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunup.db");
    let store = SqliteStore::open(&path, Holder::Daemon).await.unwrap();
    written(&store).await;

    let read = journal::read(&path).await.unwrap();

    let run = |id, rule: Option<&str>, deed, seconds, ended: Option<(&str, i64)>, is_whole| Run {
        id,
        rule: rule.map(str::to_owned),
        deed,
        planned: micros(seconds),
        due: micros(seconds + 2),
        window_end: micros(seconds + 900),
        claimed: micros(seconds + 3),
        ended: ended.map(|(word, at)| (word.to_owned(), micros(at))),
        withdrawn: None,
        is_whole,
        breaks_keeps: id == 2,
    };
    let target = |run, no: &str, ended: Option<(&str, Option<&str>, i64)>| Target {
        run,
        server: format!("main/{no}"),
        groups: vec!["web".into()],
        ended: ended.map(|(word, kind, at)| (word.to_owned(), kind.map(str::to_owned), micros(at))),
    };
    let keep = |id, group: Option<&str>, server: Option<&str>| Keep {
        id,
        forbids: Deed::Stop,
        group: group.map(str::to_owned),
        server: server.map(str::to_owned),
        from: micros(100),
        until: micros(900),
    };
    let want = Journal {
        runs: vec![
            run(1, Some("morning"), Deed::Start, 0, Some(("partial", 70)), true),
            run(2, None, Deed::Stop, 10, None, false),
        ],
        targets: vec![
            target(1, "1001", Some(("started", None, 60))),
            target(1, "1002", Some(("failed", Some("too-slow"), 70))),
            target(2, "1001", None),
            target(2, "1002", None),
        ],
        attempts: vec![Attempt {
            id: 1,
            deed: Deed::Start,
            targets: vec![(1, "main/1001".into()), (1, "main/1002".into())],
            intended: micros(4),
            answered: Some((micros(70), "accepted".into())),
            status: Some(200),
        }],
        missed: vec![Missed {
            id: 1,
            rule: "night".into(),
            deed: Deed::Stop,
            first: micros(-600),
            last: micros(-60),
            count: 10,
            kind: "down".into(),
            recorded: micros(70),
            withdrawn: None,
        }],
        pauses: vec![
            Pause { id: 1, rule: Some("office".into()), from: micros(100), until: micros(300) },
            Pause { id: 2, rule: None, from: micros(100), until: micros(900) },
        ],
        keeps: vec![keep(3, None, Some("main/1002")), keep(4, Some("web"), None)],
    };
    assert_eq!(read, want);
    let config =
        Configuration { since: micros(-1000), text: "timezone = \"UTC\"".into(), sources: "{}".into() };
    assert_eq!(journal::configurations(&path).await.unwrap(), [config]);
    let covered = |rule: &str, seconds| Covered { rule: rule.into(), until: micros(seconds) };
    assert_eq!(journal::covered(&path).await.unwrap(), [covered("morning", 8), covered("night", 7)]);
}

#[tokio::test]
async fn what_is_no_journal_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunup.db");
    std::fs::write(&path, "precious, and no database at all, which is longer than a page's header").unwrap();

    let error = journal::read(&path).await.unwrap_err().to_string();

    assert!(error.starts_with("the journal cannot be read:"), "{error}");
}
