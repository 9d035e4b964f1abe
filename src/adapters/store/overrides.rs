//! Overrides in the journal.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::history::{Odd, moment, moment_or_none, odd};
use super::record::{Failure, Tx, micros, one_row};
use crate::domain::name::OverrideId;
use crate::domain::overrides::{Ended, Kind, Override, Scope};
use crate::ports::store::StoreError;

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
