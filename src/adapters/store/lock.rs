//! One process writes a journal: a lock file beside it says which.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::unusable;
use crate::ports::store::StoreError;

/// What kind of process wants the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The daemon.
    Daemon,
    /// A command that carries out one run by itself.
    Command,
}

impl Holder {
    fn word(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Command => "command",
        }
    }
}

/// The lock, held until it is dropped. The system lets go of it when the process ends, however it ends.
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

/// Which file stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        std::fs::metadata(path).map(|meta| Self::from(&meta))
    }
}

impl From<&std::fs::Metadata> for Place {
    fn from(meta: &std::fs::Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

impl Lock {
    pub(super) fn take(journal: &Path, holder: Holder) -> Result<Self, StoreError> {
        let path = lock_path(journal);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| unusable(journal, &format!("lock file `{}`: {error}", path.display())))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let named = file.read_to_string(&mut text).is_ok() && !text.trim().is_empty();
                let holder = if named { text.trim().to_owned() } else { "unknown".to_owned() };
                return Err(StoreError::Held { journal: journal.display().to_string(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(journal, &error)),
        }
        let name = format!("{} ({})\n", std::process::id(), holder.word());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(name.as_bytes()))
            .map_err(|error| unusable(journal, &format!("lock file `{}`: {error}", path.display())))?;
        Ok(Self { file, path })
    }

    /// Whether the lock file still stands where others look for it.
    pub(super) fn is_in_place(&self) -> bool {
        let held = self.file.metadata().map(|meta| Place::from(&meta));
        matches!((held, Place::of(&self.path)), (Ok(held), Ok(there)) if held == there)
    }
}

/// Who holds a journal's lock; `None` if nobody does, or if that cannot be seen.
#[must_use]
pub fn holder(journal: &Path) -> Option<String> {
    let mut file = File::open(lock_path(journal)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text).ok()?;
            Some(text.trim().to_owned())
        }
        _ => None,
    }
}

/// Whether somebody has held a journal's lock before.
pub(super) fn was_held_before(journal: &Path) -> bool {
    lock_path(journal).exists()
}

fn lock_path(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_the_lock_is_told_to_others_for_as_long_as_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("sunup.db");
        assert!(!was_held_before(&journal) && holder(&journal).is_none());

        let lock = Lock::take(&journal, Holder::Daemon).unwrap();
        let name = format!("{} (daemon)", std::process::id());
        assert!(was_held_before(&journal));
        assert_eq!(holder(&journal).as_deref(), Some(name.as_str()));
        let held = Lock::take(&journal, Holder::Command).err().unwrap();
        assert!(matches!(&held, StoreError::Held { holder, .. } if *holder == name), "{held}");

        drop(lock);
        assert!(was_held_before(&journal) && holder(&journal).is_none());
        Lock::take(&journal, Holder::Command).unwrap();
    }

    #[test]
    fn a_holder_that_wrote_no_name_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("sunup.db");
        let file = File::create(lock_path(&journal)).unwrap();
        file.try_lock().unwrap();

        let held = Lock::take(&journal, Holder::Command).err().unwrap();

        assert!(matches!(&held, StoreError::Held { holder, .. } if holder == "unknown"), "{held}");
    }
}
