//! Writing the journal: one transaction a turn, every statement conditional and judged by its row count.

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Row, Sqlite, Transaction};

use super::{SqliteStore, overrides, row};
use crate::domain::name::{GroupName, RunId, ServerId};
use crate::ports::store::{
    Addition, AttemptResult, Change, Claim, ConfigText, CoveredMark, End, Intent, MissedRange, Origin,
    Recorded, StoreError, Target, Turn,
};

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

pub(super) async fn record(store: &SqliteStore, turn: &Turn) -> Result<Recorded, StoreError> {
    if turn.is_empty() {
        return Ok(Recorded::default());
    }
    store.check_place()?;
    let mut connection = store.connection().await?;
    let recorded = async {
        let mut tx = connection.begin_with(BEGIN).await?;
        let recorded = write(&mut tx, turn).await?;
        tx.commit().await?;
        Ok(recorded)
    };
    let recorded = recorded.await;
    store.settled(&mut connection, recorded)
}

async fn write(tx: &mut Tx<'_>, turn: &Turn) -> Result<Recorded, Failure> {
    let now = micros(turn.at.unwrap_or(Timestamp::UNIX_EPOCH));
    let mut recorded = Recorded::default();
    for claim in &turn.claims {
        recorded.claimed.push(write_claim(tx, claim).await?);
    }
    for addition in &turn.additions {
        write_addition(tx, addition).await?;
    }
    for result in &turn.results {
        write_result(tx, result, now).await?;
    }
    for change in &turn.changes {
        write_change(tx, change).await?;
    }
    for intent in &turn.intents {
        write_intent(tx, intent, now).await?;
    }
    for end in &turn.ends {
        write_end(tx, end, now).await?;
    }
    for (group, servers) in &turn.sizes {
        write_size(tx, group, *servers, now).await?;
    }
    for (server, since) in &turn.left_running {
        write_left_running(tx, server, since.map(micros)).await?;
    }
    for missed in &turn.missed {
        write_missed(tx, missed, now).await?;
    }
    for mark in &turn.marks {
        write_mark(tx, mark).await?;
    }
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
    Ok(recorded)
}

pub(super) fn one_row(rows: u64, what: impl FnOnce() -> String) -> Result<(), Failure> {
    if rows == 1 { Ok(()) } else { Err(Failure::Conflict(what())) }
}

pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

async fn write_claim(tx: &mut Tx<'_>, claim: &Claim) -> Result<Option<RunId>, Failure> {
    let head = &claim.head;
    let waived: Vec<&str> = head.waived.iter().map(|waiver| waiver.word()).collect();
    let (rule, who, keep) = match &head.origin {
        Origin::Rule(rule) => (Some(rule.as_str()), None, None),
        Origin::Person(who) => (None, Some(who.as_str()), None),
        Origin::Keep { id, who } => (None, Some(who.as_str()), Some(id.0)),
    };
    let inserted = sqlx::query(
        "INSERT INTO runs (rule, who, keep, action, groups, planned, due, window_end, claimed, waived, pending, empty, \
         outcome, reason, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (rule, planned, action) WHERE rule IS NOT NULL AND withdrawn IS NULL DO NOTHING RETURNING id",
    )
    .bind(rule)
    .bind(who)
    .bind(keep)
    .bind(head.action.word())
    .bind(names(&head.groups)?)
    .bind(micros(head.planned))
    .bind(micros(head.due))
    .bind(micros(head.window_end))
    .bind(micros(head.claimed))
    .bind(serde_json::to_string(&waived)?)
    .bind(names(&claim.resolution.pending)?)
    .bind(names(&claim.resolution.empty)?)
    .bind(claim.ended.as_ref().map(|(outcome, _)| outcome.word()))
    .bind(claim.ended.as_ref().map(|(_, reason)| reason.as_str()).filter(|reason| !reason.is_empty()))
    .bind(claim.ended.as_ref().map(|_| micros(head.claimed)))
    .fetch_optional(&mut **tx)
    .await?;
    let Some(inserted) = inserted else { return Ok(None) };
    let run = RunId(inserted.get(0));
    for target in &claim.targets {
        write_target(tx, run, target).await?;
    }
    Ok(Some(run))
}

/// Names as a JSON list.
fn names<'a>(groups: impl IntoIterator<Item = &'a GroupName>) -> Result<String, serde_json::Error> {
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
    for target in &addition.targets {
        write_target(tx, run, target).await?;
    }
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

async fn write_end(tx: &mut Tx<'_>, end: &End, now: i64) -> Result<(), Failure> {
    let done =
        sqlx::query("UPDATE runs SET outcome = ?, reason = ?, ended = ? WHERE id = ? AND outcome IS NULL")
            .bind(end.outcome.word())
            .bind(Some(end.reason.as_str()).filter(|reason| !reason.is_empty()))
            .bind(now)
            .bind(end.run.0)
            .execute(&mut **tx)
            .await?;
    one_row(done.rows_affected(), || format!("run {} has ended before", end.run))
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

async fn write_left_running(tx: &mut Tx<'_>, server: &ServerId, since: Option<i64>) -> Result<(), Failure> {
    let sql = match since {
        Some(_) => {
            "INSERT INTO left_running (account, server, since) VALUES (?, ?, ?) ON CONFLICT (account, server) DO UPDATE \
             SET since = excluded.since"
        }
        None => "DELETE FROM left_running WHERE account = ? AND server = ?",
    };
    let query = sqlx::query(sql).bind(server.account.as_str()).bind(server.no.as_str());
    let query = match since {
        Some(since) => query.bind(since),
        None => query,
    };
    query.execute(&mut **tx).await?;
    Ok(())
}

async fn write_target(tx: &mut Tx<'_>, run: RunId, target: &Target) -> Result<(), Failure> {
    let outcome = target.progress.outcome();
    sqlx::query(
        "INSERT INTO targets (run, account, server, name, groups, limit_ms, state, progress, revision, outcome, reason) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(run.0)
    .bind(target.server.account.as_str())
    .bind(target.server.no.as_str())
    .bind(target.name.as_deref())
    .bind(names(&target.groups)?)
    .bind(i64::try_from(target.limit.as_millis()).unwrap_or(i64::MAX))
    .bind(target.progress.state.word())
    .bind(row::to_json(&target.progress)?)
    .bind(target.revision)
    .bind(outcome.map(|outcome| outcome.word()))
    .bind(outcome.and_then(|outcome| outcome.reason()).map(|reason| reason.to_string()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn write_change(tx: &mut Tx<'_>, change: &Change) -> Result<(), Failure> {
    let outcome = change.progress.outcome();
    let done = sqlx::query(
        "UPDATE targets SET name = coalesce(?, name), state = ?, progress = ?, revision = revision + 1, outcome = ?, reason = ? \
         WHERE run = ? AND account = ? AND server = ? AND revision = ? AND outcome IS NULL",
    )
    .bind(change.name.as_deref())
    .bind(change.progress.state.word())
    .bind(row::to_json(&change.progress)?)
    .bind(outcome.map(|outcome| outcome.word()))
    .bind(outcome.and_then(|outcome| outcome.reason()).map(|reason| reason.to_string()))
    .bind(change.run.0)
    .bind(change.server.account.as_str())
    .bind(change.server.no.as_str())
    .bind(change.revision)
    .execute(&mut **tx)
    .await?;
    one_row(done.rows_affected(), || {
        format!("server {} of run {} was changed by somebody else", change.server, change.run)
    })
}

async fn write_intent(tx: &mut Tx<'_>, intent: &Intent, now: i64) -> Result<(), Failure> {
    sqlx::query("INSERT INTO attempts (id, action, intended) VALUES (?, ?, ?)")
        .bind(intent.attempt.0)
        .bind(intent.action.word())
        .bind(now)
        .execute(&mut **tx)
        .await?;
    let mut servers: Vec<&ServerId> = Vec::new();
    for (run, server) in &intent.targets {
        sqlx::query("INSERT INTO attempt_targets (attempt, run, account, server) VALUES (?, ?, ?, ?)")
            .bind(intent.attempt.0)
            .bind(run.0)
            .bind(server.account.as_str())
            .bind(server.no.as_str())
            .execute(&mut **tx)
            .await?;
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    for server in servers {
        // The primary key refuses a second open request for a server.
        sqlx::query("INSERT INTO open_attempts (account, server, attempt) VALUES (?, ?, ?)")
            .bind(server.account.as_str())
            .bind(server.no.as_str())
            .bind(intent.attempt.0)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

async fn write_result(tx: &mut Tx<'_>, result: &AttemptResult, now: i64) -> Result<(), Failure> {
    let done = sqlx::query(
        "UPDATE attempts SET answered = ?, result = ?, status = ?, code = ?, text = ?, request_id = ? \
         WHERE id = ? AND answered IS NULL",
    )
    .bind(now)
    .bind(result.result)
    .bind(result.status)
    .bind(result.code.as_deref())
    .bind(result.text.as_deref())
    .bind(result.request_id.as_deref())
    .bind(result.attempt.0)
    .execute(&mut **tx)
    .await?;
    // An attempt found open by its target may have been answered in another run's name.
    if result.result != "interrupted" {
        one_row(done.rows_affected(), || format!("attempt {} has a result already", result.attempt))?;
    }
    sqlx::query("DELETE FROM open_attempts WHERE attempt = ?")
        .bind(result.attempt.0)
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

async fn write_mark(tx: &mut Tx<'_>, mark: &CoveredMark) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO marks (rule, fingerprint, until, closes) VALUES (?, ?, ?, ?) ON CONFLICT (rule) DO UPDATE \
         SET fingerprint = excluded.fingerprint, until = excluded.until, closes = excluded.closes",
    )
    .bind(mark.rule.as_str())
    .bind(&mark.fingerprint)
    .bind(micros(mark.until))
    .bind(mark.closes.map(micros))
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
