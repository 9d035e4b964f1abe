//! Writing the journal: one transaction a turn, every statement conditional and judged by its row count.

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Sqlite, Transaction};

use super::{SqliteStore, overrides, rows};
use crate::domain::name::GroupName;
use crate::ports::store::{Addition, Claim, ConfigText, MissedRange, StoreError, Turn};

pub(super) type Tx<'a> = Transaction<'a, Sqlite>;

/// What a failed statement means, before the journal's name is added.
pub(super) enum Failure {
    Sql(sqlx::Error),
    Shape(serde_json::Error),
    Conflict(String),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let taken = error.as_database_error().is_some_and(|error| error.is_unique_violation());
        if taken { Self::Conflict(error.to_string()) } else { Self::Sql(error) }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Shape(error)
    }
}

impl SqliteStore {
    fn failed(&self, failure: Failure) -> StoreError {
        match failure {
            Failure::Sql(error) => self.unusable(&error),
            Failure::Shape(error) => self.unusable(&error),
            Failure::Conflict(what) => StoreError::Conflict { what },
        }
    }

    /// What a transaction came to. A failed commit can leave the connection in a state that nobody knows, so it is given up.
    pub(super) fn settled<T>(
        &self,
        connection: &mut PoolConnection<Sqlite>,
        result: Result<T, Failure>,
    ) -> Result<T, StoreError> {
        if result.is_err() {
            connection.close_on_drop();
        }
        result.map_err(|failure| self.failed(failure))
    }

    pub(super) async fn connection(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.writer.acquire().await.map_err(|error| self.unusable(&error))
    }
}

/// A deferred transaction could find the database locked halfway.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

pub(super) async fn record(store: &SqliteStore, turn: &Turn) -> Result<(), StoreError> {
    if turn.is_empty() {
        return Ok(());
    }
    store.check_place()?;
    let mut connection = store.connection().await?;
    let recorded = async {
        let mut tx = connection.begin_with(BEGIN).await?;
        write(&mut tx, turn).await?;
        tx.commit().await?;
        Ok(())
    };
    let recorded = recorded.await;
    store.settled(&mut connection, recorded)
}

async fn write(tx: &mut Tx<'_>, turn: &Turn) -> Result<(), Failure> {
    let now = micros(turn.at.unwrap_or(Timestamp::UNIX_EPOCH));
    write_claims(tx, &turn.claims).await?;
    for addition in &turn.additions {
        write_addition(tx, addition).await?;
    }
    rows::end_attempts(tx, &turn.results, now).await?;
    rows::change_targets(tx, &turn.changes).await?;
    rows::add_intents(tx, &turn.intents, now).await?;
    rows::end_runs(tx, &turn.ends, now).await?;
    for (group, servers) in &turn.sizes {
        write_size(tx, group, *servers, now).await?;
    }
    rows::note_left_running(tx, &turn.left_running).await?;
    for missed in &turn.missed {
        write_missed(tx, missed, now).await?;
    }
    rows::set_marks(tx, &turn.marks).await?;
    for rule in &turn.dropped_marks {
        sqlx::query("DELETE FROM marks WHERE rule = ?").bind(rule.as_str()).execute(&mut **tx).await?;
    }
    if let Some(stored) = &turn.config {
        write_config(tx, &stored.config, micros(stored.since)).await?;
    }
    for (run, server, remark) in &turn.remarks {
        sqlx::query(
            "UPDATE targets SET remark = ? WHERE run = ? AND account = ? AND server = ? AND state = 'ended'",
        )
        .bind(remark)
        .bind(run.0)
        .bind(server.account.as_str())
        .bind(server.no.as_str())
        .execute(&mut **tx)
        .await?;
    }
    for one in &turn.overrides {
        overrides::add(tx, one).await?;
    }
    for one in &turn.overrides_ended {
        overrides::end(tx, one).await?;
    }
    Ok(())
}

pub(super) fn one_row(rows: u64, what: impl FnOnce() -> String) -> Result<(), Failure> {
    if rows == 1 { Ok(()) } else { Err(Failure::Conflict(what())) }
}

pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

async fn write_claims(tx: &mut Tx<'_>, claims: &[Claim]) -> Result<(), Failure> {
    rows::add_runs(tx, claims).await?;
    let targets = claims.iter().flat_map(|claim| claim.targets.iter().map(|target| (claim.run, target)));
    rows::add_targets(tx, &targets.collect::<Vec<_>>()).await
}

/// Names as a JSON list.
pub(super) fn names<'a>(
    groups: impl IntoIterator<Item = &'a GroupName>,
) -> Result<String, serde_json::Error> {
    serde_json::to_string(&groups.into_iter().map(GroupName::as_str).collect::<Vec<_>>())
}

async fn write_addition(tx: &mut Tx<'_>, addition: &Addition) -> Result<(), Failure> {
    let run = addition.run;
    let done = sqlx::query("UPDATE runs SET pending = ?, empty = ? WHERE id = ? AND outcome IS NULL")
        .bind(names(&addition.resolution.pending)?)
        .bind(names(&addition.resolution.empty)?)
        .bind(run.0)
        .execute(&mut **tx)
        .await?;
    one_row(done.rows_affected(), || format!("run {run} has ended before its groups were known"))?;
    let targets: Vec<_> = addition.targets.iter().map(|target| (run, target)).collect();
    rows::add_targets(tx, &targets).await?;
    for (server, groups) in &addition.regrouped {
        sqlx::query("UPDATE targets SET groups = ? WHERE run = ? AND account = ? AND server = ?")
            .bind(names(groups)?)
            .bind(run.0)
            .bind(server.account.as_str())
            .bind(server.no.as_str())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

async fn write_size(tx: &mut Tx<'_>, group: &GroupName, servers: usize, now: i64) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO group_sizes (name, servers, recorded) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE \
         SET servers = excluded.servers, recorded = excluded.recorded",
    )
    .bind(group.as_str())
    .bind(i64::try_from(servers).unwrap_or(i64::MAX))
    .bind(now)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A commit that failed may have arrived all the same: what is there already is not recorded again.
async fn write_missed(tx: &mut Tx<'_>, missed: &MissedRange, now: i64) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO missed (rule, action, first, last, due_last, count, kind, reason, recorded) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 WHERE NOT EXISTS (SELECT 1 FROM missed WHERE withdrawn IS NULL \
         AND rule = ?1 AND action = ?2 AND first = ?3 AND last = ?4 AND count = ?6)",
    )
    .bind(missed.rule.as_str())
    .bind(missed.action.word())
    .bind(micros(missed.first))
    .bind(micros(missed.last))
    .bind(micros(missed.due_last))
    .bind(i64::try_from(missed.count).unwrap_or(i64::MAX))
    .bind(missed.cause.kind.word())
    .bind(&missed.cause.text)
    .bind(now)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn write_config(tx: &mut Tx<'_>, config: &ConfigText, since: i64) -> Result<(), Failure> {
    let whole = match config.sources.is_empty() {
        true => config.text.clone(),
        false => format!("{}\0{}", config.text, config.sources),
    };
    let hash: String = Sha256::digest(whole.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    sqlx::query("INSERT INTO configs (hash, text, sources) VALUES (?, ?, ?) ON CONFLICT (hash) DO NOTHING")
        .bind(&hash)
        .bind(&config.text)
        .bind(&config.sources)
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "INSERT INTO config_log (hash, since) SELECT ?1, ?2 \
         WHERE ?1 IS NOT (SELECT hash FROM config_log ORDER BY id DESC LIMIT 1)",
    )
    .bind(&hash)
    .bind(since)
    .execute(&mut **tx)
    .await?;
    // What a clock far ahead recorded counts from the moment that the right one tells.
    sqlx::query(
        "UPDATE config_log SET since = ?1 WHERE id = (SELECT max(id) FROM config_log) AND since > ?1",
    )
    .bind(since)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn prune(store: &SqliteStore, before: Timestamp) -> Result<u64, StoreError> {
    let mut connection = store.connection().await?;
    let pruned = async {
        let mut tx = connection.begin_with(BEGIN).await?;
        let rows = forget(&mut tx, micros(before)).await?;
        tx.commit().await?;
        Ok(rows)
    };
    let pruned = pruned.await;
    store.settled(&mut connection, pruned)
}

async fn forget(tx: &mut Tx<'_>, before: i64) -> Result<u64, Failure> {
    let runs = sqlx::query("DELETE FROM runs WHERE coalesce(ended, withdrawn) < ?")
        .bind(before)
        .execute(&mut **tx)
        .await?;
    let missed = sqlx::query("DELETE FROM missed WHERE recorded < ?").bind(before).execute(&mut **tx).await?;
    sqlx::query("DELETE FROM overrides WHERE ended < ?").bind(before).execute(&mut **tx).await?;
    sqlx::query(
        "DELETE FROM attempts WHERE answered IS NOT NULL AND answered < ? \
         AND id NOT IN (SELECT attempt FROM attempt_targets) AND id < (SELECT max(id) FROM attempts)",
    )
    .bind(before)
    .execute(&mut **tx)
    .await?;
    Ok(runs.rows_affected() + missed.rows_affected())
}
