//! Reading the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::record::micros;
use super::{SqliteStore, overrides, row};
use crate::domain::name::{
    AccountName, Action, AttemptId, GroupName, OverrideId, RuleName, RunId, ServerId, ServerNo,
};
use crate::domain::outcome::{Reason, ReasonKind, RunOutcome};
use crate::ports::store::{
    AttemptRecord, ConfigEntry, ConfigText, CoveredMark, Doubtful, Entry, HistoryQuery, MissedRange,
    OccurrenceKey, OpenRun, Opening, Origin, Resolution, RunHead, RunRecord, StoreError, StoredConfig,
    Target, TargetRecord, Waiver,
};

/// What a row does not tell although it should.
pub(super) struct Odd(String);

impl From<sqlx::Error> for Odd {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

pub(super) fn odd(what: impl Into<String>) -> Odd {
    Odd(what.into())
}

impl SqliteStore {
    pub(super) fn read<T>(&self, result: Result<T, Odd>) -> Result<T, StoreError> {
        result.map_err(|Odd(what)| self.unusable(&what))
    }
}

pub(super) fn moment(row: &SqliteRow, column: &str) -> Result<Timestamp, Odd> {
    let micros: i64 = row.try_get(column)?;
    Timestamp::from_microsecond(micros)
        .map_err(|_| odd(format!("column `{column}` holds no moment: {micros}")))
}

pub(super) fn moment_or_none(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, Odd> {
    let micros: Option<i64> = row.try_get(column)?;
    if micros.is_some() { moment(row, column).map(Some) } else { Ok(None) }
}

fn rule_name(text: &str) -> Result<RuleName, Odd> {
    RuleName::new(text).map_err(|error| odd(format!("rule `{text}`: {error}")))
}

fn action(row: &SqliteRow) -> Result<Action, Odd> {
    let word: String = row.try_get("action")?;
    Action::from_word(&word).ok_or_else(|| odd(format!("unknown action `{word}`")))
}

fn server(row: &SqliteRow) -> Result<ServerId, Odd> {
    let account: String = row.try_get("account")?;
    let number: String = row.try_get("server")?;
    let account = AccountName::new(&account).map_err(|error| odd(format!("account `{account}`: {error}")))?;
    let no = ServerNo::from_answer(&number).ok_or_else(|| odd("an empty server number"))?;
    Ok(ServerId { account, no })
}

fn head(row: &SqliteRow) -> Result<RunHead, Odd> {
    let rule: Option<String> = row.try_get("rule")?;
    let who: Option<String> = row.try_get("who")?;
    // Journals of older versions, opened to read, have no such column.
    let keep: Option<i64> = row.try_get("keep").unwrap_or_default();
    let origin = match (rule, who.unwrap_or_default(), keep) {
        (Some(rule), _, _) => Origin::Rule(rule_name(&rule)?),
        (None, who, Some(id)) => Origin::Keep { id: OverrideId(id), who },
        (None, who, None) => Origin::Person(who),
    };
    let waived = words(row, "waived")?;
    let waived = waived
        .iter()
        .map(|word| Waiver::from_word(word).ok_or_else(|| odd(format!("unknown waiver `{word}`"))));
    Ok(RunHead {
        origin,
        action: action(row)?,
        groups: groups(row, "groups")?,
        planned: moment(row, "planned")?,
        due: moment(row, "due")?,
        window_end: moment(row, "window_end")?,
        claimed: moment(row, "claimed")?,
        waived: waived.collect::<Result<_, Odd>>()?,
    })
}

/// A JSON list of words.
fn words(row: &SqliteRow, column: &str) -> Result<Vec<String>, Odd> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| odd(format!("column `{column}`: {error}")))
}

fn groups<C: FromIterator<GroupName>>(row: &SqliteRow, column: &str) -> Result<C, Odd> {
    let name = |word: &String| GroupName::new(word).map_err(|error| odd(format!("group `{word}`: {error}")));
    words(row, column)?.iter().map(name).collect()
}

fn resolution(row: &SqliteRow) -> Result<Resolution, Odd> {
    Ok(Resolution { pending: groups(row, "pending")?, empty: groups(row, "empty")? })
}

fn target(row: &SqliteRow) -> Result<TargetRecord, Odd> {
    let progress: String = row.try_get("progress")?;
    let limit: i64 = row.try_get("limit_ms")?;
    let target = Target {
        server: server(row)?,
        name: row.try_get("name")?,
        groups: groups(row, "groups")?,
        limit: Duration::from_millis(u64::try_from(limit).unwrap_or(0)),
        progress: row::from_json(&progress)
            .ok_or_else(|| odd(format!("progress is not understood: {progress}")))?,
        revision: row.try_get("revision")?,
    };
    Ok(TargetRecord { target, remark: row.try_get("remark")? })
}

fn run_record(row: &SqliteRow) -> Result<RunRecord, Odd> {
    let outcome: Option<String> = row.try_get("outcome")?;
    let ended = moment_or_none(row, "ended")?;
    let outcome = match outcome {
        Some(word) => {
            Some(RunOutcome::from_word(&word).ok_or_else(|| odd(format!("unknown outcome `{word}`")))?)
        }
        None => None,
    };
    let id = RunId(row.try_get("id")?);
    Ok(RunRecord {
        id,
        head: head(row)?,
        resolution: resolution(row)?,
        targets: vec![],
        ended: outcome.zip(ended),
        reason: row.try_get("reason")?,
        withdrawn: moment_or_none(row, "withdrawn")?,
    })
}

pub(super) async fn open_state(store: &SqliteStore) -> Result<Opening, StoreError> {
    store.read(read_open_state(store).await)
}

async fn read_open_state(store: &SqliteStore) -> Result<Opening, Odd> {
    let rows = sqlx::query("SELECT * FROM runs WHERE outcome IS NULL AND withdrawn IS NULL ORDER BY id")
        .fetch_all(&store.writer)
        .await?;
    let mut runs: BTreeMap<RunId, OpenRun> = BTreeMap::new();
    for row in &rows {
        let id = RunId(row.try_get("id")?);
        runs.insert(id, OpenRun { id, head: head(row)?, targets: Vec::new(), resolution: resolution(row)? });
    }
    let rows = sqlx::query(
        "SELECT t.* FROM targets t JOIN runs r ON r.id = t.run WHERE r.outcome IS NULL AND r.withdrawn IS NULL",
    )
    .fetch_all(&store.writer)
    .await?;
    for row in &rows {
        let id = RunId(row.try_get("run")?);
        if let Some(run) = runs.get_mut(&id) {
            run.targets.push(target(row)?.target);
        }
    }
    let mut marks = Vec::new();
    for row in &sqlx::query("SELECT * FROM marks").fetch_all(&store.writer).await? {
        let rule: String = row.try_get("rule")?;
        let until = moment(row, "until")?;
        let closes: Option<i64> = row.try_get("closes")?;
        let closes = closes.map(|_| moment(row, "closes")).transpose()?;
        let (rule, fingerprint) = (rule_name(&rule)?, row.try_get("fingerprint")?);
        marks.push(CoveredMark { rule, fingerprint, until, closes });
    }
    // A number is never given again, even of a run that was forgotten.
    let last_run = sqlx::query("SELECT seq FROM sqlite_sequence WHERE name = 'runs'");
    let last_run = last_run.fetch_optional(&store.writer).await?;
    let last = sqlx::query(
        "SELECT coalesce(max(id), 0) AS last, coalesce(max(intended), 0) AS newest FROM attempts",
    )
    .fetch_one(&store.writer)
    .await?;
    let newest = moment(&last, "newest")?;
    let hour_before = newest.saturating_sub(Duration::from_hours(1)).unwrap_or(Timestamp::UNIX_EPOCH);
    let recent = sqlx::query("SELECT intended FROM attempts WHERE intended > ? ORDER BY intended")
        .bind(micros(hour_before))
        .fetch_all(&store.writer)
        .await?;
    let unanswered = sqlx::query(
        "SELECT DISTINCT a.id, a.action, a.intended, t.account, t.server FROM attempts a \
         JOIN attempt_targets t ON t.attempt = a.id \
         WHERE a.intended > ? AND coalesce(a.result, 'interrupted') IN ('unanswered', 'interrupted') ORDER BY a.id",
    )
    .bind(micros(hour_before))
    .fetch_all(&store.writer)
    .await?;
    let unanswered: Result<Vec<_>, Odd> =
        unanswered.iter().map(|row| Ok((server(row)?, action(row)?, moment(row, "intended")?))).collect();
    let recent_attempts: Result<Vec<_>, _> = recent.iter().map(|row| moment(row, "intended")).collect();
    Ok(Opening {
        sizes: sizes(store).await?,
        left_running: left_running(store).await?,
        runs: runs.into_values().collect(),
        marks,
        last_run: last_run.map_or(Ok(0), |row| row.try_get("seq"))?,
        last_attempt: last.try_get("last")?,
        recent_attempts: recent_attempts?,
        unanswered: unanswered?,
        doubtful: doubtful(store).await?,
    })
}

pub(super) async fn claimed(
    store: &SqliteStore,
    occurrences: &[OccurrenceKey],
) -> Result<BTreeSet<OccurrenceKey>, StoreError> {
    if occurrences.is_empty() {
        return Ok(BTreeSet::new());
    }
    let key = |(rule, planned, action): &OccurrenceKey| (rule.to_string(), micros(*planned), action.word());
    let keys: Vec<_> = occurrences.iter().map(key).collect();
    let read = async {
        let keys = serde_json::to_string(&keys).map_err(|error| odd(error.to_string()))?;
        // The order of the tables matters: each occurrence is looked up in the index of claims.
        let rows = sqlx::query(
            "SELECT rule, planned, action FROM jsonb_each(?1) CROSS JOIN runs ON rule = value->>0 AND planned = value->>1 \
             AND action = value->>2 WHERE rule IS NOT NULL AND withdrawn IS NULL",
        )
        .bind(keys)
        .fetch_all(&store.writer)
        .await?;
        let key = |row: &SqliteRow| {
            let rule: String = row.try_get("rule")?;
            Ok((rule_name(&rule)?, moment(row, "planned")?, action(row)?))
        };
        rows.iter().map(key).collect()
    };
    store.read(read.await)
}

async fn sizes(store: &SqliteStore) -> Result<BTreeMap<GroupName, usize>, Odd> {
    let rows = sqlx::query("SELECT name, servers FROM group_sizes").fetch_all(&store.writer).await?;
    let size = |row: &SqliteRow| {
        let (name, servers): (String, i64) = (row.try_get("name")?, row.try_get("servers")?);
        let name = GroupName::new(&name).map_err(|error| odd(format!("group `{name}`: {error}")))?;
        Ok((name, usize::try_from(servers).unwrap_or(0)))
    };
    rows.iter().map(size).collect()
}

async fn left_running(store: &SqliteStore) -> Result<BTreeMap<ServerId, Timestamp>, Odd> {
    let rows =
        sqlx::query("SELECT account, server, since FROM left_running").fetch_all(&store.writer).await?;
    rows.iter().map(|row| Ok((server(row)?, moment(row, "since")?))).collect()
}

/// How many of the newest runs are looked through for targets that are still worth a look.
const DOUBTFUL_RUNS_MAX: i64 = 1000;

async fn doubtful(store: &SqliteStore) -> Result<Vec<Doubtful>, Odd> {
    let rows = sqlx::query(
        "SELECT t.*, r.action FROM targets t JOIN runs r ON r.id = t.run \
         WHERE r.id > (SELECT coalesce(max(id), 0) FROM runs) - ? \
         AND t.outcome IN ('unknown', 'failed') AND t.remark IS NULL ORDER BY r.id",
    )
    .bind(DOUBTFUL_RUNS_MAX)
    .fetch_all(&store.writer)
    .await?;
    let doubtful = |row: &SqliteRow| {
        let target = target(row)?.target;
        let run = RunId(row.try_get("run")?);
        Ok(Doubtful { run, server: target.server, action: action(row)?, progress: target.progress })
    };
    rows.iter().map(doubtful).collect()
}

pub(super) async fn last_config(store: &SqliteStore) -> Result<Option<StoredConfig>, StoreError> {
    let read = async {
        let row = sqlx::query(
            "SELECT c.text, c.sources, l.since FROM config_log l JOIN configs c ON c.hash = l.hash ORDER BY l.id DESC LIMIT 1",
        )
        .fetch_optional(&store.reader)
        .await?;
        match row {
            Some(row) => {
                let config = ConfigText { text: row.try_get("text")?, sources: row.try_get("sources")? };
                Ok(Some(StoredConfig { config, since: moment(&row, "since")? }))
            }
            None => Ok(None),
        }
    };
    store.read(read.await)
}

pub(super) async fn history(store: &SqliteStore, query: &HistoryQuery) -> Result<Vec<Entry>, StoreError> {
    store.read(read_history(store, query).await)
}

async fn read_history(store: &SqliteStore, query: &HistoryQuery) -> Result<Vec<Entry>, Odd> {
    let mut found: Vec<(Timestamp, Entry)> = Vec::new();
    for mut record in matching_runs(store, query).await? {
        record.targets = targets_of(store, record.id).await?;
        found.push((record.head.due, Entry::Run(record)));
    }
    if query.server.is_none() {
        for missed in matching_misses(store, query).await? {
            found.push((missed.last, Entry::Missed(missed)));
        }
    }
    if query.whole && !query.failed {
        for one in overrides::matching(store, query).await? {
            found.push((one.from, Entry::Override(one)));
        }
        for config in matching_configs(store, query).await? {
            found.push((config.since, Entry::Config(config)));
        }
    }
    found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    found.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}

async fn matching_runs(store: &SqliteStore, query: &HistoryQuery) -> Result<Vec<RunRecord>, Odd> {
    let mut sql: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT * FROM runs WHERE 1 = 1");
    if let Some(rule) = &query.rule {
        sql.push(" AND rule = ").push_bind(rule);
    }
    if let Some(server) = &query.server {
        sql.push(" AND id IN (SELECT run FROM targets WHERE server = ").push_bind(server);
        sql.push(" OR name = ").push_bind(server).push(")");
    }
    if let Some(from) = query.from {
        sql.push(" AND due >= ").push_bind(micros(from));
    }
    if let Some(to) = query.to {
        sql.push(" AND due < ").push_bind(micros(to));
    }
    if let Some(at) = query.at {
        sql.push(" AND min(due, claimed) <= ").push_bind(micros(at));
        sql.push(" AND coalesce(ended > ").push_bind(micros(at)).push(", 1)");
    }
    if query.failed {
        // A run in which nothing went wrong is none of these: newer ones took over, other hours want the servers, or a person paused it.
        sql.push(
            " AND outcome IS NOT NULL AND withdrawn IS NULL AND outcome <> 'done' AND (NOT EXISTS (SELECT 1 FROM targets t WHERE t.run = runs.id) \
             OR EXISTS (SELECT 1 FROM targets t WHERE t.run = runs.id \
             AND t.outcome NOT IN ('started', 'stopped', 'already', 'superseded') \
             AND NOT (t.outcome = 'skipped' AND (t.reason LIKE 'wanted:%' OR t.reason LIKE 'paused:%' OR t.reason LIKE 'kept:%' \
             OR t.reason LIKE 'hand-stopped:%')))) \
             AND coalesce(reason, '') NOT LIKE 'paused:%'",
        );
    }
    sql.push(" ORDER BY due DESC, id DESC LIMIT ").push_bind(i64::from(query.limit));
    let rows = sql.build().fetch_all(&store.reader).await?;
    rows.iter().map(run_record).collect()
}

async fn matching_misses(store: &SqliteStore, query: &HistoryQuery) -> Result<Vec<MissedRange>, Odd> {
    let mut sql: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT * FROM missed WHERE 1 = 1");
    if let Some(rule) = &query.rule {
        sql.push(" AND rule = ").push_bind(rule);
    }
    if let Some(from) = query.from {
        sql.push(" AND last >= ").push_bind(micros(from));
    }
    if let Some(to) = query.to {
        sql.push(" AND first < ").push_bind(micros(to));
    }
    if let Some(at) = query.at {
        sql.push(" AND first <= ").push_bind(micros(at));
        sql.push(" AND coalesce(due_last, last) >= ").push_bind(micros(at));
    }
    if query.failed {
        sql.push(" AND kind <> 'paused'");
    }
    sql.push(" ORDER BY last DESC LIMIT ").push_bind(i64::from(query.limit));
    let rows = sql.build().fetch_all(&store.reader).await?;
    let missed = |row: &SqliteRow| {
        let rule: String = row.try_get("rule")?;
        let kind: String = row.try_get("kind")?;
        let count: i64 = row.try_get("count")?;
        let kind = ReasonKind::from_word(&kind).ok_or_else(|| odd(format!("unknown reason `{kind}`")))?;
        Ok(MissedRange {
            rule: rule_name(&rule)?,
            action: action(row)?,
            first: moment(row, "first")?,
            last: moment(row, "last")?,
            due_last: moment(
                row,
                if row.try_get::<Option<i64>, _>("due_last")?.is_some() { "due_last" } else { "last" },
            )?,
            withdrawn: moment_or_none(row, "withdrawn")?,
            count: u64::try_from(count).unwrap_or(0),
            cause: Reason { kind, text: row.try_get("reason")? },
        })
    };
    rows.iter().map(missed).collect()
}

/// The configurations that were in force within the times asked for. They concern every rule and every server.
async fn matching_configs(store: &SqliteStore, query: &HistoryQuery) -> Result<Vec<ConfigEntry>, Odd> {
    let mut sql = configs();
    if let Some(from) = query.from {
        sql.push(" AND coalesce(until > ").push_bind(micros(from)).push(", 1)");
    }
    if let Some(to) = query.to {
        sql.push(" AND since < ").push_bind(micros(to));
    }
    if let Some(at) = query.at {
        sql.push(" AND since <= ").push_bind(micros(at));
        sql.push(" AND coalesce(until > ").push_bind(micros(at)).push(", 1)");
    }
    sql.push(" ORDER BY since DESC, id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql.build().fetch_all(&store.reader).await?.iter().map(config).collect()
}

/// Every time that a configuration came into force, with the time that the next one did, ready for conditions.
fn configs() -> QueryBuilder<Sqlite> {
    QueryBuilder::new(
        "SELECT l.*, c.text FROM (SELECT *, lead(since) OVER (ORDER BY id) AS until FROM config_log) l \
         JOIN configs c ON c.hash = l.hash WHERE 1 = 1",
    )
}

fn config(row: &SqliteRow) -> Result<ConfigEntry, Odd> {
    Ok(ConfigEntry {
        hash: row.try_get("hash")?,
        since: moment(row, "since")?,
        until: moment_or_none(row, "until")?,
        text: row.try_get("text")?,
    })
}

pub(super) async fn config_at(store: &SqliteStore, at: Timestamp) -> Result<Option<ConfigEntry>, StoreError> {
    let query = HistoryQuery { at: Some(at), limit: 1, ..HistoryQuery::default() };
    let found = matching_configs(store, &query).await;
    store.read(found.map(|found| found.into_iter().next()))
}

async fn targets_of(store: &SqliteStore, run: RunId) -> Result<Vec<TargetRecord>, Odd> {
    let rows = sqlx::query("SELECT * FROM targets WHERE run = ? ORDER BY account, length(server), server")
        .bind(run.0)
        .fetch_all(&store.reader)
        .await?;
    rows.iter().map(target).collect()
}

pub(super) async fn run(
    store: &SqliteStore,
    id: RunId,
) -> Result<Option<(RunRecord, Vec<AttemptRecord>)>, StoreError> {
    store.read(read_run(store, id).await)
}

async fn read_run(store: &SqliteStore, id: RunId) -> Result<Option<(RunRecord, Vec<AttemptRecord>)>, Odd> {
    let Some(row) =
        sqlx::query("SELECT * FROM runs WHERE id = ?").bind(id.0).fetch_optional(&store.reader).await?
    else {
        return Ok(None);
    };
    let mut record = run_record(&row)?;
    record.targets = targets_of(store, id).await?;
    let rows = sqlx::query(
        "SELECT a.*, t.account, t.server FROM attempts a JOIN attempt_targets t ON t.attempt = a.id \
         WHERE t.run = ? ORDER BY a.id, t.account, length(t.server), t.server",
    )
    .bind(id.0)
    .fetch_all(&store.reader)
    .await?;
    let mut attempts: Vec<AttemptRecord> = Vec::new();
    for row in &rows {
        let attempt = AttemptId(row.try_get("id")?);
        let server = server(row)?;
        match attempts.last_mut() {
            Some(last) if last.id == attempt => last.servers.push(server),
            _ => attempts.push(AttemptRecord {
                id: attempt,
                action: action(row)?,
                servers: vec![server],
                intended: moment(row, "intended")?,
                answered: moment_or_none(row, "answered")?,
                result: row.try_get("result")?,
                status: row.try_get("status")?,
                code: row.try_get("code")?,
                text: row.try_get("text")?,
                request_id: row.try_get("request_id")?,
            }),
        }
    }
    Ok(Some((record, attempts)))
}
