//! What the journal promises of overrides.

use sunup::domain::name::{Action, OverrideId};
use sunup::domain::overrides::{Ended, Kind, Override, Scope, Then};
use sunup::ports::store::{Store, StoreError, Turn};

use crate::{at, turn};

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
