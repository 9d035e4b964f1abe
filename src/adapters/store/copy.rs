//! Copies of the journal: a consistent one beside whoever writes it, one put back, and the mark of a journal that another host has now.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::lock::{Holder, Lock};
use super::{SqliteStore, create_private, unusable};
use crate::ports::store::StoreError;

/// What Sunup left running when a copy was made says nothing of what it did since: its own stops must not be taken for those of others.
async fn forget_left_running(path: &Path) -> Result<(), sqlx::Error> {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
    let is_there = "SELECT count(*) FROM sqlite_schema WHERE name = 'left_running'";
    let (count,): (i64,) = sqlx::query_as(is_there).fetch_one(&mut connection).await?;
    if count > 0 {
        sqlx::query("DELETE FROM left_running").execute(&mut connection).await?;
    }
    connection.close().await
}

impl SqliteStore {
    /// Copies the journal into a new file that only its owner can read, and looks the copy through. It is whole or not there.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the file is there already, cannot be written, or is not sound.
    pub async fn copy_to(&self, target: &Path) -> Result<(), StoreError> {
        if fs::symlink_metadata(target).is_ok() {
            return Err(unusable(
                target,
                &"the file is there already, and is not written over; name another one",
            ));
        }
        let draft = with_end(target, ".new");
        let failed = |error: &dyn std::fmt::Display| unusable(target, error);
        // One left by a copy that was broken off.
        let _ = fs::remove_file(&draft);
        create_private(&draft).map_err(|error| failed(&error))?;
        let done = self.copy_as(&draft, target).await;
        if done.is_err() {
            // Half a copy is worth nothing.
            let _ = fs::remove_file(&draft);
        }
        done
    }

    async fn copy_as(&self, draft: &Path, target: &Path) -> Result<(), StoreError> {
        let shown = draft.display().to_string();
        let copied = sqlx::query("VACUUM INTO ?").bind(&shown).execute(&self.reader).await;
        copied.map_err(|error| unusable(target, &error))?;
        Self::open_to_read(draft).await?.examine().await?;
        settle(draft, target).map_err(|error| unusable(target, &error))
    }

    /// Puts a copy in the place of a journal that nobody writes. The one that was there is moved aside, and where to is told.
    ///
    /// # Errors
    /// [`StoreError::Held`] while somebody writes the journal; [`StoreError::Unusable`] when the copy is not sound, of a newer version,
    /// or cannot be written. The journal is as it was then.
    pub async fn put_back(copy: &Path, journal: &Path, stamp: &str) -> Result<Option<PathBuf>, StoreError> {
        Self::open_to_read(copy).await?.examine().await?;
        let _lock = Lock::take(journal, Holder::Command)?;
        let failed = |error: io::Error| unusable(journal, &error);
        let draft = with_end(journal, ".restored");
        let _ = fs::remove_file(&draft);
        let mut from = File::open(copy).map_err(failed)?;
        let mut to = File::options().write(true).create_new(true).mode(0o600).open(&draft).map_err(failed)?;
        io::copy(&mut from, &mut to).map_err(failed)?;
        to.sync_all().map_err(failed)?;
        drop(to);
        forget_left_running(&draft).await.map_err(|error| unusable(journal, &error))?;
        let aside = with_end(journal, &format!(".before-restore-{stamp}"));
        let was_there = journal.exists();
        // The log goes with its journal: beside another one it would be read as that one's.
        for end in ["", "-wal", "-shm"] {
            let old = with_end(journal, end);
            if old.exists() {
                fs::rename(&old, with_end(&aside, end)).map_err(failed)?;
            }
        }
        if let Err(error) = settle(&draft, journal) {
            // The journal is as it was.
            for end in ["", "-wal", "-shm"] {
                let _ = fs::rename(with_end(&aside, end), with_end(journal, end));
            }
            return Err(failed(error));
        }
        give_to_owner(journal).map_err(failed)?;
        Ok(was_there.then_some(aside))
    }
}

/// Gives a draft its name, durable when this returns.
fn settle(draft: &Path, target: &Path) -> io::Result<()> {
    File::open(draft)?.sync_all()?;
    fs::rename(draft, target)?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Copies a journal that nobody writes, and marks it as one that another host has from now on: nothing here goes on with it. Nobody can
/// write in between, and without the mark there is no copy.
///
/// # Errors
/// [`StoreError::Held`] while somebody writes it; [`StoreError::Unusable`] when the copy or the mark cannot be made.
pub async fn retire(journal: &Path, target: &Path, words: &str) -> Result<(), StoreError> {
    let _lock = Lock::take(journal, Holder::Command)?;
    SqliteStore::open_to_read(journal).await?.copy_to(target).await?;
    let mark = with_end(journal, ".retired");
    let write = || {
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o644).open(&mark)?;
        file.write_all(words.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(target);
        unusable(journal, &format!("`{}`: {error}", mark.display()))
    })
}

/// Gives what root made beside a journal to whom the folder belongs, so that the daemon can use it.
fn give_to_owner(journal: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let folder = journal.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner = fs::metadata(folder)?;
    for end in ["", ".lock"] {
        let path = with_end(journal, end);
        if path.exists() && fs::metadata(&path)?.uid() != owner.uid() {
            chown(&path, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

/// What the mark of a retired journal says; `None` if it has none.
#[must_use]
pub fn retired(journal: &Path) -> Option<String> {
    let text = fs::read_to_string(with_end(journal, ".retired"));
    match text {
        Ok(text) => Some(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // One that cannot be read is a mark all the same.
        Err(error) => Some(format!("it has a mark that cannot be read: {error}")),
    }
}

/// Takes the mark away.
///
/// # Errors
/// When it cannot be removed.
pub fn adopt(journal: &Path) -> io::Result<()> {
    match fs::remove_file(with_end(journal, ".retired")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
