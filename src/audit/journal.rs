//! Reads a journal file as plain records. By its format alone: nothing of the program that wrote it is used.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{Row, SqlitePool};

use super::history::{Attempt, Deed, Journal, Keep, Missed, Pause, Run, Target};

/// Why a journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be opened, or is no journal.
    #[error("the journal cannot be read: {0}")]
    Unreadable(#[from] sqlx::Error),
    /// A row does not say what it must.
    #[error("the journal has a row that is not understood: {0}")]
    Odd(String),
}

/// A journal as it is now, beside whoever writes it.
///
/// # Errors
/// [`ReadError`].
pub async fn read(path: &Path) -> Result<Journal, ReadError> {
    let pool = open(path).await?;
    let journal = read_all(&pool).await;
    pool.close().await;
    journal
}

/// A configuration that was in force, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Since when, wall time.
    pub since: i64,
    /// Its text.
    pub text: String,
    /// What its calendars rested on, as JSON.
    pub sources: String,
}

/// How far a rule is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// The rule.
    pub rule: String,
    /// Up to which moment, wall time.
    pub until: i64,
}

/// The configurations that were in force, oldest first.
///
/// # Errors
/// [`ReadError`].
pub async fn configurations(path: &Path) -> Result<Vec<Configuration>, ReadError> {
    let sql =
        "SELECT l.since, c.text, c.sources FROM config_log l JOIN configs c ON c.hash = l.hash ORDER BY l.id";
    let of_row = |row: &SqliteRow| {
        Ok(Configuration {
            since: row.try_get("since")?,
            text: row.try_get("text")?,
            sources: row.try_get("sources")?,
        })
    };
    rows(path, sql).await?.iter().map(of_row).collect()
}

/// How far each rule is decided.
///
/// # Errors
/// [`ReadError`].
pub async fn covered(path: &Path) -> Result<Vec<Covered>, ReadError> {
    let of_row = |row: &SqliteRow| Ok(Covered { rule: row.try_get("rule")?, until: row.try_get("until")? });
    rows(path, "SELECT rule, until FROM marks ORDER BY rule").await?.iter().map(of_row).collect()
}

async fn open(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    SqlitePoolOptions::new().max_connections(1).connect_with(options).await
}

async fn rows(path: &Path, sql: &'static str) -> Result<Vec<SqliteRow>, ReadError> {
    let pool = open(path).await?;
    let rows = sqlx::query(sql).fetch_all(&pool).await;
    pool.close().await;
    Ok(rows?)
}

async fn read_all(pool: &SqlitePool) -> Result<Journal, ReadError> {
    // One transaction: what is read belongs together.
    let mut tx = pool.begin().await?;
    let mut journal = Journal::default();
    for row in sqlx::query("SELECT * FROM runs ORDER BY id").fetch_all(&mut *tx).await? {
        journal.runs.push(run(&row)?);
    }
    for row in sqlx::query("SELECT * FROM targets ORDER BY run, account, server").fetch_all(&mut *tx).await? {
        journal.targets.push(target(&row)?);
    }
    for row in sqlx::query("SELECT * FROM attempts ORDER BY id").fetch_all(&mut *tx).await? {
        journal.attempts.push(attempt(&row)?);
    }
    let rows = sqlx::query(
        "SELECT attempt, run, account, server FROM attempt_targets ORDER BY attempt, run, account, server",
    );
    for row in rows.fetch_all(&mut *tx).await? {
        let (id, run): (i64, i64) = (row.try_get("attempt")?, row.try_get("run")?);
        let found = journal.attempts.binary_search_by_key(&id, |attempt| attempt.id).ok();
        if let Some(attempt) = found.and_then(|index| journal.attempts.get_mut(index)) {
            attempt.targets.push((run, server(&row)?));
        }
    }
    for row in sqlx::query("SELECT * FROM missed ORDER BY id").fetch_all(&mut *tx).await? {
        journal.missed.push(missed(&row)?);
    }
    // A journal of before there were any has no table for them.
    let table = sqlx::query("SELECT 1 FROM sqlite_master WHERE name = 'overrides'").fetch_optional(&mut *tx);
    if table.await?.is_some() {
        for row in sqlx::query("SELECT * FROM overrides ORDER BY id").fetch_all(&mut *tx).await? {
            let kind: String = row.try_get("kind")?;
            match kind.as_str() {
                "keep" => journal.keeps.push(keep(&row)?),
                _ => journal.pauses.push(pause(&row)?),
            }
        }
    }
    Ok(journal)
}

fn server(row: &SqliteRow) -> Result<String, ReadError> {
    let (account, no): (String, String) = (row.try_get("account")?, row.try_get("server")?);
    Ok(format!("{account}/{no}"))
}

fn deed(row: &SqliteRow) -> Result<Deed, ReadError> {
    let word: String = row.try_get("action")?;
    Deed::from_word(&word).ok_or_else(|| ReadError::Odd(format!("action `{word}`")))
}

fn run(row: &SqliteRow) -> Result<Run, ReadError> {
    let outcome: Option<String> = row.try_get("outcome")?;
    let ended: Option<i64> = row.try_get("ended")?;
    Ok(Run {
        id: row.try_get("id")?,
        rule: row.try_get("rule")?,
        deed: deed(row)?,
        planned: row.try_get("planned")?,
        due: row.try_get("due")?,
        window_end: row.try_get("window_end")?,
        claimed: row.try_get("claimed")?,
        ended: outcome.zip(ended),
        withdrawn: row.try_get("withdrawn")?,
        is_whole: ["pending", "empty"].iter().all(|column| {
            let groups: Option<String> = row.try_get(*column).ok();
            groups.is_none_or(|groups| groups == "[]")
        }),
        breaks_keeps: list(row, "waived").iter().any(|waived| waived == "keeps"),
    })
}

/// A JSON list of words; empty in journals of before there was one.
fn list(row: &SqliteRow, column: &str) -> Vec<String> {
    let text: Option<String> = row.try_get(column).ok();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn target(row: &SqliteRow) -> Result<Target, ReadError> {
    let progress: String = row.try_get("progress")?;
    let odd = || ReadError::Odd(format!("progress `{progress}`"));
    let value: serde_json::Value = serde_json::from_str(&progress).map_err(|_| odd())?;
    let ended = match value.pointer("/state/ended") {
        None => None,
        Some(ended) => {
            let text = |key: &str| ended.pointer(key).and_then(serde_json::Value::as_str).map(str::to_owned);
            let at: jiff::Timestamp = text("/at").and_then(|at| at.parse().ok()).ok_or_else(odd)?;
            Some((text("/outcome").ok_or_else(odd)?, text("/reason/kind"), at.as_microsecond()))
        }
    };
    Ok(Target { run: row.try_get("run")?, server: server(row)?, groups: list(row, "groups"), ended })
}

fn attempt(row: &SqliteRow) -> Result<Attempt, ReadError> {
    let (answered, result): (Option<i64>, Option<String>) =
        (row.try_get("answered")?, row.try_get("result")?);
    Ok(Attempt {
        id: row.try_get("id")?,
        deed: deed(row)?,
        targets: Vec::new(),
        intended: row.try_get("intended")?,
        answered: answered.zip(result),
        status: row.try_get("status")?,
    })
}

fn pause(row: &SqliteRow) -> Result<Pause, ReadError> {
    let (scope, name): (String, String) = (row.try_get("scope")?, row.try_get("name")?);
    let (until, ended): (i64, Option<i64>) = (row.try_get("until")?, row.try_get("ended")?);
    Ok(Pause {
        id: row.try_get("id")?,
        rule: (scope == "rule").then_some(name),
        from: row.try_get("since")?,
        until: ended.map_or(until, |ended| ended.min(until)),
    })
}

fn keep(row: &SqliteRow) -> Result<Keep, ReadError> {
    let (scope, name): (String, String) = (row.try_get("scope")?, row.try_get("name")?);
    let stays: String = row.try_get("stays")?;
    let (until, ended): (i64, Option<i64>) = (row.try_get("until")?, row.try_get("ended")?);
    Ok(Keep {
        id: row.try_get("id")?,
        forbids: if stays == "on" { Deed::Stop } else { Deed::Start },
        group: (scope == "group").then(|| name.clone()),
        server: (scope == "server").then_some(name),
        from: row.try_get("since")?,
        until: ended.map_or(until, |ended| ended.min(until)),
    })
}

fn missed(row: &SqliteRow) -> Result<Missed, ReadError> {
    Ok(Missed {
        id: row.try_get("id")?,
        rule: row.try_get("rule")?,
        deed: deed(row)?,
        first: row.try_get("first")?,
        last: row.try_get("last")?,
        count: row.try_get("count")?,
        kind: row.try_get("kind")?,
        recorded: row.try_get("recorded")?,
        withdrawn: row.try_get("withdrawn")?,
    })
}
