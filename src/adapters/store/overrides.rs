//! Overrides in the journal.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::SqliteStore;
use super::history::{Odd, moment, moment_or_none, odd};
use super::record::{Failure, Tx, micros, one_row};
use crate::domain::name::OverrideId;
use crate::domain::overrides::{Ended, Kind, Override, Scope};
use crate::ports::store::{HistoryQuery, StoreError};

pub(super) async fn add(tx: &mut Tx<'_>, one: &Override) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO overrides (id, kind, stays, follows, scope, name, since, until, reason, who) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(one.id.0)
    .bind(one.kind.word())
    .bind(one.kind.stays())
    .bind(one.kind.follows())
    .bind(one.scope.word())
    .bind(one.scope.name())
    .bind(micros(one.from))
    .bind(micros(one.until))
    .bind(&one.reason)
    .bind(&one.who)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn end(tx: &mut Tx<'_>, one: &Override) -> Result<(), Failure> {
    let Some((at, how)) = &one.ended else { return Ok(()) };
    let lifted_by = match how {
        Ended::Expired => None,
        Ended::Lifted(who) => Some(who.as_str()),
    };
    let done = sqlx::query("UPDATE overrides SET ended = ?, lifted_by = ? WHERE id = ? AND ended IS NULL")
        .bind(micros(*at))
        .bind(lifted_by)
        .bind(one.id.0)
        .execute(&mut **tx)
        .await?;
    one_row(done.rows_affected(), || format!("override {} has ended before", one.id.0))
}

pub(super) async fn all(store: &SqliteStore) -> Result<Vec<Override>, StoreError> {
    store.read(read_all(store).await)
}

async fn read_all(store: &SqliteStore) -> Result<Vec<Override>, Odd> {
    let rows = sqlx::query("SELECT * FROM overrides ORDER BY id").fetch_all(&store.reader).await?;
    rows.iter().map(of_row).collect()
}

/// How many of a server's newest runs tell which groups and rules it is of.
const RECENT_RUNS: i64 = 50;

/// The overrides that held within the times asked for: of a rule also those of its groups, of a server also those of its groups and rules,
/// as its newest runs name them.
pub(super) async fn matching(store: &SqliteStore, query: &HistoryQuery) -> Result<Vec<Override>, Odd> {
    let mut sql: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT * FROM overrides WHERE 1 = 1");
    if let Some(rule) = &query.rule {
        sql.push(" AND (scope = 'rule' AND name = ").push_bind(rule);
        sql.push(" OR scope = 'group' AND name IN (SELECT value FROM json_each(");
        sql.push("(SELECT groups FROM runs WHERE rule = ").push_bind(rule);
        sql.push(" ORDER BY planned DESC LIMIT 1))))");
    }
    if let Some(server) = &query.server {
        let recent = |sql: &mut QueryBuilder<Sqlite>| {
            sql.push("(SELECT * FROM targets WHERE server = ").push_bind(server.clone());
            sql.push(" OR name = ").push_bind(server.clone());
            sql.push(" ORDER BY run DESC LIMIT ").push_bind(RECENT_RUNS).push(") t");
        };
        sql.push(" AND (scope = 'server' AND (substr(name, instr(name, '/') + 1) = ")
            .push_bind(server.clone());
        sql.push(" OR name IN (SELECT t.account || '/' || t.server FROM ");
        recent(&mut sql);
        sql.push(")) OR scope = 'group' AND name IN (SELECT j.value FROM ");
        recent(&mut sql);
        sql.push(", json_each(t.groups) j) OR scope = 'rule' AND name IN (SELECT r.rule FROM ");
        recent(&mut sql);
        sql.push(" JOIN runs r ON r.id = t.run WHERE r.rule IS NOT NULL))");
    }
    let ends = "min(until, coalesce(ended, until)) > ";
    if let Some(from) = query.from {
        sql.push(" AND ").push(ends).push_bind(micros(from));
    }
    if let Some(to) = query.to {
        sql.push(" AND since < ").push_bind(micros(to));
    }
    if let Some(at) = query.at {
        sql.push(" AND since <= ").push_bind(micros(at)).push(" AND ").push(ends).push_bind(micros(at));
    }
    sql.push(" ORDER BY since DESC, id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql.build().fetch_all(&store.reader).await?.iter().map(of_row).collect()
}

fn of_row(row: &SqliteRow) -> Result<Override, Odd> {
    let (scope, name): (String, String) = (row.try_get("scope")?, row.try_get("name")?);
    let lifted_by: Option<String> = row.try_get("lifted_by")?;
    let kind: String = row.try_get("kind")?;
    // Journals of older versions, opened to read, know no other kind.
    let (stays, follows): (Option<String>, Option<String>) = match kind.as_str() {
        "pause" => (None, None),
        _ => (row.try_get("stays")?, row.try_get("follows")?),
    };
    let known = Kind::from_words(&kind, stays.as_deref(), follows.as_deref());
    let ended = moment_or_none(row, "ended")?;
    Ok(Override {
        id: OverrideId(row.try_get("id")?),
        kind: known.ok_or_else(|| odd(format!("unknown override `{kind}`")))?,
        scope: Scope::from_words(&scope, &name).ok_or_else(|| odd(format!("unknown {scope} `{name}`")))?,
        from: moment(row, "since")?,
        until: moment(row, "until")?,
        reason: row.try_get("reason")?,
        who: row.try_get("who")?,
        ended: ended.map(|at| (at, lifted_by.map_or(Ended::Expired, Ended::Lifted))),
    })
}
