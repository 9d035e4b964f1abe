//! What the journal promises of overrides.

use sunup::domain::name::{Action, OverrideId, RunId};
use sunup::domain::overrides::{Ended, Kind, Override, Scope, Then};
use sunup::ports::store::{ConfigText, Entry, HistoryQuery, Origin, Store, StoreError, StoredConfig, Turn};

use crate::{asking, at, claim, claimed, turn};

fn pause(id: i64, scope: &str, name: &str) -> Override {
    Override {
        id: OverrideId(id),
        kind: Kind::Pause,
        scope: Scope::from_words(scope, name).unwrap(),
        from: at(0),
        until: at(3600),
        reason: "배포".into(),
        who: "kim".into(),
        ended: None,
    }
}

pub(crate) async fn are_kept_until_long_after_their_end(store: &dyn Store) {
    let (office, web) = (pause(1, "rule", "office"), pause(2, "group", "web"));
    store.record(&Turn { overrides: vec![office.clone(), web.clone()], ..turn(0) }).await.unwrap();
    let ended = |one: &Override, how: Ended| Override { ended: Some((at(60), how)), ..one.clone() };
    let lifted = ended(&office, Ended::Lifted("lee".into()));
    store.record(&Turn { overrides_ended: vec![lifted.clone()], ..turn(60) }).await.unwrap();

    let again = Turn { overrides_ended: vec![ended(&office, Ended::Expired)], ..turn(61) };
    let again = store.record(&again).await;
    let taken = store.record(&Turn { overrides: vec![pause(2, "rule", "night")], ..turn(61) }).await;

    assert!(matches!(again, Err(StoreError::Conflict { .. })), "it ends once: {again:?}");
    assert!(matches!(taken, Err(StoreError::Conflict { .. })), "{taken:?}");
    assert_eq!(store.overrides().await.unwrap(), [lifted, web.clone()]);
    store.prune(at(60)).await.unwrap();
    assert_eq!(store.overrides().await.unwrap().len(), 2, "it ended at that moment, not before");
    store.prune(at(10_000)).await.unwrap();
    assert_eq!(store.overrides().await.unwrap(), std::slice::from_ref(&web), "what is in force stays");
    let keep = |id, forbids, then| Override {
        kind: Kind::Keep { forbids, then },
        ..pause(id, "server", "main/1002")
    };
    let others = vec![
        Override { kind: Kind::Skip, ..pause(3, "rule", "office") },
        keep(4, Action::Stop, Then::Apply),
        keep(5, Action::Stop, Then::Act),
        keep(6, Action::Start, Then::Act),
        keep(7, Action::Start, Then::Leave),
    ];
    store.record(&Turn { overrides: others.clone(), ..turn(10_000) }).await.unwrap();
    assert_eq!(
        store.overrides().await.unwrap().get(1..),
        Some(others.as_slice()),
        "every kind comes back as it was"
    );
    let gone = others.iter().map(|one| ended(one, Ended::Expired)).collect();
    store.record(&Turn { overrides_ended: gone, ..turn(10_000) }).await.unwrap();
    store.prune(at(10_000)).await.unwrap();
    let expired = ended(&web, Ended::Expired);
    store.record(&Turn { overrides_ended: vec![expired.clone()], ..turn(10_001) }).await.unwrap();
    assert_eq!(store.overrides().await.unwrap(), [expired]);
}

/// The past that a query finds, one word for each entry, newest first.
async fn past(store: &dyn Store, change: impl FnOnce(&mut HistoryQuery)) -> Vec<String> {
    let mut query = HistoryQuery { whole: true, limit: 10, ..HistoryQuery::default() };
    change(&mut query);
    let entries = store.history(&query).await.unwrap();
    let word = |entry: &Entry| match entry {
        Entry::Run(run) => run.head.origin.words(),
        Entry::Missed(range) => format!("missed {}", range.rule),
        Entry::Override(one) => one.scope.to_string(),
        Entry::Config(config) => format!("text {}", config.text),
    };
    entries.iter().map(word).collect()
}

pub(crate) async fn and_configurations_are_part_of_the_past(store: &dyn Store) {
    for (text, moment) in [("a", 1), ("b", 2000)] {
        let config = ConfigText { text: text.into(), sources: String::new() };
        let config = Some(StoredConfig { config, since: at(moment) });
        store.record(&Turn { config, ..turn(moment) }).await.unwrap();
    }
    let run = claimed(store, "morning", 100, &["1001"]).await;
    let (change, intent) = asking(run, "1001", 1, 0);
    store.record(&Turn { changes: vec![change], intents: vec![intent], ..turn(101) }).await.unwrap();
    let from = |id, scope, name, from| Override { from: at(from), ..pause(id, scope, name) };
    let overrides = vec![
        from(1, "rule", "morning", 150),
        from(2, "group", "web", 200),
        from(3, "server", "main/1001", 250),
        from(4, "rule", "other", 300),
        from(5, "group", "other", 350),
        from(6, "server", "main/1002", 400),
    ];
    store.record(&Turn { overrides: overrides.clone(), ..turn(400) }).await.unwrap();
    let lifted = Override { ended: Some((at(500), Ended::Lifted("lee".into()))), ..overrides[5].clone() };
    store.record(&Turn { overrides_ended: vec![lifted], ..turn(500) }).await.unwrap();

    let all = past(store, |_| {}).await;
    let first = ["server main/1002", "group other", "rule other", "server main/1001", "group web"];
    assert_eq!(all[..2], ["text b", first[0]]);
    assert_eq!(all[2..6], first[1..]);
    assert_eq!(all[6..], ["rule morning", "rule morning", "text a"], "a pause, and the run before it");
    let of_rule = past(store, |query| query.rule = Some("morning".into())).await;
    assert_eq!(of_rule, ["text b", "group web", "rule morning", "rule morning", "text a"]);
    for server in ["1001", "srv"] {
        let of_server = past(store, |query| query.server = Some(server.into())).await;
        let want = ["text b", "server main/1001", "group web", "rule morning", "rule morning", "text a"];
        assert_eq!(of_server, want, "{server}");
    }
    let at_500 = past(store, |query| query.at = Some(at(500))).await;
    let want = ["group other", "rule other", "server main/1001", "group web", "rule morning", "rule morning"];
    assert_eq!(at_500, [want.as_slice(), &["text a"]].concat(), "what had ended by then is not there");
    assert_eq!(past(store, |query| query.at = Some(at(0))).await, Vec::<String>::new());
    let late = past(store, |query| query.from = Some(at(3600))).await;
    assert_eq!(late, ["text b"], "what ends at a moment does not reach it");
    let early = past(store, |query| query.to = Some(at(150))).await;
    assert_eq!(early, ["rule morning", "text a"]);
    assert_eq!(past(store, |query| query.failed = true).await, Vec::<String>::new());
    assert_eq!(past(store, |query| query.whole = false).await, ["rule morning"]);
    assert_eq!(past(store, |query| query.limit = 1).await, ["text b"]);

    let config =
        async |moment| store.config_at(at(moment)).await.unwrap().map(|c| (c.text, c.since, c.until));
    assert_eq!(config(0).await, None);
    assert_eq!(config(1999).await, Some(("a".into(), at(1), Some(at(2000)))));
    assert_eq!(config(2000).await, Some(("b".into(), at(2000), None)));
}

pub(crate) async fn that_a_wrong_clock_ended_hold_again(store: &dyn Store) {
    let until = |id, name, until| Override { until: at(until), ..pause(id, "rule", name) };
    let keep = Kind::Keep { forbids: Action::Stop, then: Then::Act };
    let made = vec![
        until(1, "expired", 5000),
        until(2, "lifted", 5000),
        until(3, "over", 900),
        Override { kind: keep, ..pause(4, "group", "web") },
        Override { kind: keep, ..pause(5, "group", "db") },
    ];
    let ended = |one: &Override| {
        let how = if one.id.0 == 2 { Ended::Lifted("lee".into()) } else { Ended::Expired };
        Override { ended: Some((if one.id.0 == 3 { at(900) } else { at(6000) }, how)), ..one.clone() }
    };
    store.record(&Turn { overrides: made.clone(), ..turn(0) }).await.unwrap();
    let overrides_ended: Vec<Override> = made.iter().map(ended).collect();
    store.record(&Turn { overrides_ended, ..turn(6000) }).await.unwrap();
    // What followed the keep of web was asked for; what followed that of db was not.
    let mut following = claim("x", 6000, &["1001"]);
    following.head.origin = Origin::Keep { id: OverrideId(4), who: "kim".into() };
    let mut unasked = claim("x", 6000, &["1002"]);
    unasked.head.origin = Origin::Keep { id: OverrideId(5), who: "kim".into() };
    unasked.run = RunId(6002);
    let claims = vec![following, unasked];
    store.record(&Turn { claims, ..turn(6000) }).await.unwrap();
    let (change, intent) = asking(RunId(6001), "1001", 1, 0);
    store.record(&Turn { changes: vec![change], intents: vec![intent], ..turn(6000) }).await.unwrap();

    let withdrawn = store.withdraw(at(1000)).await.unwrap();

    assert_eq!(withdrawn.runs, [RunId(6002)]);
    assert_eq!(withdrawn.overrides, [OverrideId(1), OverrideId(5)]);
    let in_force = store.overrides().await.unwrap().into_iter().filter(|one| one.ended.is_none());
    assert_eq!(in_force.map(|one| one.id.0).collect::<Vec<_>>(), [1, 5]);
}
