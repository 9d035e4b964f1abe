//! The journal on embedded SQLite.

pub mod copy;
mod history;
mod lock;
mod overrides;
mod record;
mod row;
mod rows;
mod withdraw;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, SqlSafeStr};

use crate::domain::name::RunId;
use crate::domain::overrides::Override;
use crate::ports::store::{
    AttemptRecord, ConfigEntry, Entry, HistoryQuery, OccurrenceKey, Opening, RunRecord, Store, StoreError,
    StoredConfig, Turn, Withdrawn,
};
pub use lock::{Holder, holder};

/// The oldest SQLite without the WAL-reset bug, which loses writes silently (<https://sqlite.org/wal.html>).
const SQLITE_MIN: (u32, u32, u32) = (3, 51, 3);
/// How long a write waits for another process that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A journal in one SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    writer: SqlitePool,
    reader: SqlitePool,
    lock: Option<(lock::Lock, lock::Place)>,
}

impl SqliteStore {
    /// Opens the journal to write it, and makes it if there is none. The lock is held until the store is dropped.
    ///
    /// # Errors
    /// [`StoreError::Held`] if another process holds the lock; [`StoreError::Unusable`] for anything else. An existing
    /// file that is no journal is never written over.
    pub async fn open(path: &Path, holder: Holder) -> Result<Self, StoreError> {
        let ran_before = lock::was_held_before(path);
        let lock = lock::Lock::take(path, holder)?;
        refuse_to_begin_anew(path, ran_before)?;
        create_private(path).map_err(|error| unusable(path, &error))?;
        let writer = pool(path, options(path).create_if_missing(false), 1).await?;
        check_version(path, &writer).await?;
        migrate(path, &writer).await?;
        let reader = pool(path, options_to_read(path), 2).await?;
        let place = lock::Place::of(path).map_err(|error| unusable(path, &error))?;
        Ok(Self { path: path.to_owned(), writer, reader, lock: Some((lock, place)) })
    }

    /// Opens the journal to read it, beside whoever writes it.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if there is none, or if it cannot be read.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(unusable(path, &"there is no such file"));
        }
        let reader = pool(path, options_to_read(path), 1).await?;
        Ok(Self { path: path.to_owned(), writer: reader.clone(), reader, lock: None })
    }

    /// Looks through the whole file for damage, beside whoever writes it. Returns the version of its tables.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] with what is wrong, or with how its version and this program's differ.
    pub async fn examine(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("PRAGMA quick_check(1)").fetch_one(&self.reader).await;
        let verdict: String = row.and_then(|row| row.try_get(0)).map_err(|error| self.unusable(&error))?;
        if verdict != "ok" {
            return Err(self.unusable(&verdict));
        }
        self.known_version().await
    }

    /// The version of its tables, which this program knows.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] where they are of a newer version, or cannot be read.
    pub async fn known_version(&self) -> Result<i64, StoreError> {
        let known = version(&self.reader).await.map_err(|error| self.unusable(&error))?;
        let newest = MIGRATIONS.iter().map(|(version, _, _)| *version).max().unwrap_or(0);
        if known > newest {
            let what =
                format!("it is of version {known}, and this program knows {newest}: it is too old for it");
            return Err(self.unusable(&what));
        }
        Ok(known)
    }

    fn unusable(&self, error: &dyn std::fmt::Display) -> StoreError {
        unusable(&self.path, error)
    }

    /// Whether the files are still those that were opened. Whoever removes them would otherwise be answered with success.
    fn check_place(&self) -> Result<(), StoreError> {
        let Some((lock, place)) = &self.lock else { return Ok(()) };
        if lock.is_in_place() && lock::Place::of(&self.path).is_ok_and(|now| now == *place) {
            return Ok(());
        }
        Err(self.unusable(&"its files were removed or replaced while it was open; restart the daemon"))
    }

    /// Closes the connections, so that the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// The tables in their versions, oldest first.
const MIGRATIONS: [(i64, &str, &str); 7] = [
    (1, "journal", include_str!("../../migrations/0001_journal.sql")),
    (2, "calendars", include_str!("../../migrations/0002_calendars.sql")),
    (3, "groups", include_str!("../../migrations/0003_groups.sql")),
    (4, "withdrawn", include_str!("../../migrations/0004_withdrawn.sql")),
    (5, "overrides", include_str!("../../migrations/0005_overrides.sql")),
    (6, "keeps", include_str!("../../migrations/0006_keeps.sql")),
    (7, "left running", include_str!("../../migrations/0007_left_running.sql")),
];

/// Brings the tables up to date. An older journal is copied aside before, so that nothing can be lost on the way.
async fn migrate(path: &Path, writer: &SqlitePool) -> Result<(), StoreError> {
    let known = version(writer).await.map_err(|error| unusable(path, &error))?;
    let newest = MIGRATIONS.iter().map(|(version, _, _)| *version).max().unwrap_or(0);
    if known > 0 && known < newest {
        let aside = format!("{}.before-{newest}", path.display());
        if !Path::new(&aside).exists() {
            // SQLite copies into an empty file too, and this one is its owner's alone.
            create_private(Path::new(&aside)).map_err(|error| unusable(Path::new(&aside), &error))?;
            sqlx::query("VACUUM INTO ?").bind(&aside).execute(writer).await.map_err(|error| {
                unusable(path, &format!("it could not be copied to {aside} before it is changed: {error}"))
            })?;
        }
        tracing::info!("the journal is brought from version {known} to {newest}; a copy is at {aside}");
    }
    let migrations = MIGRATIONS.into_iter().map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    migrator.run(writer).await.map_err(|error| unusable(path, &error))
}

/// The version of the tables; 0 for a new file.
async fn version(writer: &SqlitePool) -> Result<i64, sqlx::Error> {
    let table = sqlx::query("SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'");
    if table.fetch_optional(writer).await?.is_none() {
        return Ok(0);
    }
    let row = sqlx::query("SELECT coalesce(max(version), 0) AS version FROM _sqlx_migrations");
    row.fetch_one(writer).await?.try_get("version")
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}

/// A copy is not in the mode of a journal until it is first written, and who only reads cannot change that.
fn options_to_read(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT)
}

async fn pool(
    path: &Path,
    options: SqliteConnectOptions,
    connections: u32,
) -> Result<SqlitePool, StoreError> {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .connect_with(options)
        .await
        .map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unusable { journal: path.display().to_string(), what: error.to_string() }
}

/// How much room a disk has for people other than root, in bytes.
///
/// # Errors
/// When the system does not tell.
pub fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// A journal that is gone or empty although its log holds data is not begun anew over it; one that is only gone is, and says so.
fn refuse_to_begin_anew(path: &Path, ran_before: bool) -> Result<(), StoreError> {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    if size(path) > 0 {
        return Ok(());
    }
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    if size(&log) > 0 {
        let what = format!(
            "it is missing or empty, and `{}` still holds data of it; put the journal back beside it, or move that file away to \
             begin anew",
            log.display()
        );
        return Err(unusable(path, &what));
    }
    if ran_before {
        tracing::error!(
            "the journal {} is gone or empty although sunup ran with it before: a new one is begun, and what was due before now \
             is not known",
            path.display()
        );
    }
    Ok(())
}

/// Makes an empty file that only its owner can read, unless there is one.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(|_| ()),
    }
}

async fn check_version(path: &Path, pool: &SqlitePool) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT sqlite_version()")
        .fetch_one(pool)
        .await
        .map_err(|error| unusable(path, &error))?;
    let text: String = row.get(0);
    let mut parts = text.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    let version = (part(), part(), part());
    if version < SQLITE_MIN {
        return Err(unusable(path, &format!("SQLite {text} can lose writes; 3.51.3 or later is needed")));
    }
    Ok(())
}

#[async_trait]
impl Store for SqliteStore {
    async fn open_state(&self) -> Result<Opening, StoreError> {
        history::open_state(self).await
    }

    async fn claimed(&self, occurrences: &[OccurrenceKey]) -> Result<BTreeSet<OccurrenceKey>, StoreError> {
        history::claimed(self, occurrences).await
    }

    async fn record(&self, turn: &Turn) -> Result<(), StoreError> {
        record::record(self, turn).await
    }

    async fn overrides(&self) -> Result<Vec<Override>, StoreError> {
        overrides::all(self).await
    }

    async fn last_config(&self) -> Result<Option<StoredConfig>, StoreError> {
        history::last_config(self).await
    }

    async fn config_at(&self, at: Timestamp) -> Result<Option<ConfigEntry>, StoreError> {
        history::config_at(self, at).await
    }

    async fn history(&self, query: &HistoryQuery) -> Result<Vec<Entry>, StoreError> {
        history::history(self, query).await
    }

    async fn run(&self, id: RunId) -> Result<Option<(RunRecord, Vec<AttemptRecord>)>, StoreError> {
        history::run(self, id).await
    }

    async fn withdraw(&self, now: Timestamp) -> Result<Withdrawn, StoreError> {
        withdraw::withdraw(self, now).await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        record::prune(self, before).await
    }
}
