//! What the journal remembers of servers that the last deed for them left running.

use std::collections::BTreeMap;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sunup::adapters::store::{Holder, SqliteStore};
use sunup::ports::store::{Store, Turn};

use crate::{at, server, turn};

pub(crate) async fn is_remembered_until_it_is_not_so(store: &dyn Store) {
    let left_running = vec![(server("1001"), Some(at(5))), (server("1002"), Some(at(6)))];
    store.record(&Turn { left_running, ..turn(6) }).await.unwrap();
    let left_running = vec![(server("1001"), Some(at(7))), (server("1002"), None), (server("1003"), None)];
    store.record(&Turn { left_running, ..turn(7) }).await.unwrap();

    let left = store.open_state().await.unwrap().left_running;

    assert_eq!(left, BTreeMap::from([(server("1001"), at(7))]));
}

#[tokio::test]
async fn an_older_journal_tells_of_it_by_its_newest_deeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunup.db");
    SqliteStore::open(&path, Holder::Daemon).await.unwrap().close().await;
    let options = SqliteConnectOptions::new().filename(&path);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let run = |id: i64, action: &str| {
        format!(
            "INSERT INTO runs (id, who, action, groups, planned, due, window_end, claimed, outcome, ended) \
             VALUES ({id}, 'kim', '{action}', '[]', 0, 0, 0, 0, 'done', {id}000000);"
        )
    };
    let target = |run: i64, no: &str, outcome: &str| {
        format!(
            "INSERT INTO targets (run, account, server, limit_ms, state, progress, revision, outcome, remark) \
             VALUES ({run}, 'main', '{no}', 0, 'ended', '{{}}', 0, '{outcome}', 'seen');"
        )
    };
    let rows = [
        "DELETE FROM _sqlx_migrations WHERE version = 7; DROP TABLE left_running;".to_owned(),
        run(1, "start") + &run(2, "stop") + &run(3, "start"),
        target(1, "1001", "started") + &target(2, "1001", "already"),
        target(1, "1002", "started") + &target(2, "1002", "stopped"),
        target(1, "1003", "started") + &target(3, "1003", "failed"),
        target(2, "1004", "stopped") + &target(3, "1004", "already"),
        target(1, "1005", "already") + &target(2, "1005", "skipped"),
    ];
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows.concat())).execute(&pool).await.unwrap();
    pool.close().await;

    let left =
        SqliteStore::open(&path, Holder::Daemon).await.unwrap().open_state().await.unwrap().left_running;

    let at_second = |second: i64| jiff::Timestamp::from_second(second).unwrap();
    let want = [("1001", 1), ("1004", 3), ("1005", 1)];
    assert_eq!(left, BTreeMap::from(want.map(|(no, second)| (server(no), at_second(second)))));
}

#[tokio::test]
async fn a_copy_that_is_put_back_tells_nothing_of_what_was_left_running() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, copy) = (folder.path().join("sunup.db"), folder.path().join("copy.db"));
    let store = SqliteStore::open(&journal, Holder::Daemon).await.unwrap();
    let left_running = vec![(server("1001"), Some(at(5)))];
    store.record(&Turn { left_running, ..turn(6) }).await.unwrap();
    store.copy_to(&copy).await.unwrap();
    store.close().await;
    drop(store);

    // Whatever was stopped between the copy and now is not in it.
    SqliteStore::put_back(&copy, &journal, "1").await.unwrap();

    let store = SqliteStore::open(&journal, Holder::Daemon).await.unwrap();
    assert_eq!(store.open_state().await.unwrap().left_running, BTreeMap::new());
}
