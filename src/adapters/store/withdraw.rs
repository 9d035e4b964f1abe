//! Taking back what a wrong clock decided: marked, never deleted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::{Connection, Row};

use super::SqliteStore;
use super::record::{BEGIN, Failure, Tx, micros};
use crate::domain::name::{Action, OverrideId, RuleName, RunId};
use crate::ports::store::{StoreError, Withdrawn};

/// Covered marks stand just before what is open again.
const BEFORE: i64 = 1_000_000;

/// See [`crate::ports::store::Store::withdraw`].
pub(super) async fn withdraw(store: &SqliteStore, now: Timestamp) -> Result<Withdrawn, StoreError> {
    store.check_place()?;
    let mut connection = store.connection().await?;
    let withdrawn = async {
        let mut tx = connection.begin_with(BEGIN).await?;
        let withdrawn = write(&mut tx, micros(now)).await?;
        tx.commit().await?;
        Ok(withdrawn)
    };
    let withdrawn = withdrawn.await;
    store.settled(&mut connection, withdrawn)
}

async fn write(tx: &mut Tx<'_>, now: i64) -> Result<Withdrawn, Failure> {
    let mut withdrawn = Withdrawn::default();
    let runs = sqlx::query(
        "UPDATE runs SET withdrawn = ?1 WHERE (rule IS NOT NULL OR keep IS NOT NULL) AND withdrawn IS NULL AND due > ?1 \
         AND NOT EXISTS (SELECT 1 FROM attempt_targets t WHERE t.run = runs.id) \
         AND NOT EXISTS (SELECT 1 FROM targets t WHERE t.run = runs.id AND json_extract(t.progress, '$.asked')) \
         RETURNING id",
    )
    .bind(now)
    .fetch_all(&mut **tx)
    .await?;
    withdrawn.runs = runs.iter().map(|row| RunId(row.get("id"))).collect();
    // One whose end had an effect has ended, whatever clock it went by.
    let overrides = sqlx::query(
        "UPDATE overrides SET ended = NULL WHERE ended > ?1 AND until > ?1 AND lifted_by IS NULL \
         AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.keep = overrides.id AND r.withdrawn IS NULL) RETURNING id",
    )
    .bind(now)
    .fetch_all(&mut **tx)
    .await?;
    withdrawn.overrides = overrides.iter().map(|row| OverrideId(row.get("id"))).collect();
    withdrawn.overrides.sort_unstable();
    let mut reopened = misses(tx, now, &mut withdrawn.misses).await?;
    let marks = sqlx::query("SELECT rule FROM marks WHERE until > ?").bind(now).fetch_all(&mut **tx).await?;
    for row in &marks {
        reopened.entry(row.get("rule")).or_insert(now);
    }
    for (rule, until) in reopened {
        withdrawn.kept.extend(kept(tx, &rule, until).await?);
        sqlx::query("UPDATE marks SET until = min(until, ?) WHERE rule = ?")
            .bind(until)
            .bind(&rule)
            .execute(&mut **tx)
            .await?;
        if let (Ok(rule), Ok(until)) = (RuleName::new(&rule), Timestamp::from_microsecond(until)) {
            withdrawn.reopened.push((rule, until));
        }
    }
    Ok(withdrawn)
}

/// Marks all ranges that reach past now, and those after where they begin: everything from there on is decided again.
async fn misses(tx: &mut Tx<'_>, now: i64, marked: &mut u64) -> Result<BTreeMap<String, i64>, Failure> {
    let mut reopened: BTreeMap<String, i64> = BTreeMap::new();
    let rows = sqlx::query(
        "SELECT rule, min(first) AS first FROM missed \
         WHERE withdrawn IS NULL AND coalesce(due_last, last) > ? GROUP BY rule",
    )
    .bind(now)
    .fetch_all(&mut **tx)
    .await?;
    for row in &rows {
        let (rule, mut first): (String, i64) = (row.get("rule"), row.get("first"));
        loop {
            let more = sqlx::query(
                "UPDATE missed SET withdrawn = ? WHERE rule = ? AND withdrawn IS NULL AND coalesce(due_last, last) >= ? \
                 RETURNING first",
            )
            .bind(now)
            .bind(&rule)
            .bind(first)
            .fetch_all(&mut **tx)
            .await?;
            *marked += u64::try_from(more.len()).unwrap_or(0);
            let Some(earliest) = more.iter().map(|row| row.get::<i64, _>("first")).min() else { break };
            first = first.min(earliest);
        }
        reopened.insert(rule, first - BEFORE);
    }
    Ok(reopened)
}

/// The runs of a rule that lie after a moment and stay.
async fn kept(
    tx: &mut Tx<'_>,
    rule: &str,
    after: i64,
) -> Result<BTreeSet<(RuleName, Timestamp, Action)>, Failure> {
    let rows = sqlx::query(
        "SELECT planned, action FROM runs WHERE rule = ? AND withdrawn IS NULL AND due > ? ORDER BY due",
    )
    .bind(rule)
    .bind(after)
    .fetch_all(&mut **tx)
    .await?;
    let of_row = |row: &sqlx::sqlite::SqliteRow| {
        let planned = Timestamp::from_microsecond(row.get("planned")).ok()?;
        Some((RuleName::new(rule).ok()?, planned, Action::from_word(row.get("action"))?))
    };
    Ok(rows.iter().filter_map(of_row).collect())
}
