//! What waits to be told, on disk: one small file for each notice and receiver, so that a restart loses none.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::message::Item;
use crate::domain::name::NotifyName;

/// The most notices that wait for one receiver: what is older gives way.
pub const WAITING_MAX: usize = 1000;

/// How many notices wait in a folder.
#[must_use]
pub fn count(folder: &Path) -> usize {
    let is_whole = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    entries(folder)
        .iter()
        .map(|receiver| entries(receiver).iter().filter(|path| is_whole(path)).count())
        .sum()
}

/// The folder in which notices wait: `NAME/NUMBER.json`.
#[derive(Debug, Clone)]
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// A spool in a folder, which is made when it is needed.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, name: &NotifyName, number: u64) -> PathBuf {
        self.folder.join(name.as_str()).join(format!("{number:020}.json"))
    }

    /// Keeps a notice, durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, name: &NotifyName, number: u64, item: &Item) -> io::Result<()> {
        let path = self.path(name, number);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let draft = path.with_extension("new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(serde_json::to_string(item)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        fs::File::open(folder)?.sync_all()
    }

    /// Forgets a notice that was told.
    pub fn remove(&self, name: &NotifyName, number: u64) {
        // What is left behind is told twice at worst.
        let _ = fs::remove_file(self.path(name, number));
    }

    /// All that waits, in order. What cannot be read is left aside.
    #[must_use]
    pub fn all(&self) -> Vec<(NotifyName, u64, Item)> {
        let folders = entries(&self.folder).into_iter();
        let mut found: Vec<(NotifyName, u64, Item)> = Vec::new();
        for folder in folders {
            let Some(name) = folder.file_name().and_then(|name| NotifyName::new(name.to_str()?).ok()) else {
                continue;
            };
            for path in entries(&folder) {
                let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
                let is_whole = path.extension().is_some_and(|extension| extension == "json");
                let item = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
                if let (Some(number), Some(item), true) = (number, item, is_whole) {
                    found.push((name.clone(), number, item));
                }
            }
        }
        found.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        found
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notice::{About, Language, Notice, NoticeKind, Urgency};

    #[test]
    fn what_waits_is_found_again_in_order_and_what_was_told_is_gone() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let spool = Spool::new(place.path().join("outbox"));
        let item = |text: &str| {
            let (kind, urgency) = (NoticeKind::Failed, Urgency::NeedsAPerson);
            let (at, about) = (jiff::Timestamp::UNIX_EPOCH, About::default());
            Item::new(
                &Notice { at, kind, urgency, text: text.into(), korean: text.into(), about },
                0,
                Language::English,
            )
        };
        let (chat, mail) = (NotifyName::new("chat").unwrap(), NotifyName::new("mail").unwrap());
        assert!(spool.all().is_empty());

        for number in [10, 9, 2] {
            spool.put(&chat, number, &item(&number.to_string())).unwrap();
        }
        spool.put(&mail, 3, &item("mail")).unwrap();
        fs::write(place.path().join("outbox/chat/00000000000000000011.json"), "{half").unwrap();
        fs::write(place.path().join("outbox/chat/00000000000000000012.new"), "{}").unwrap();
        spool.remove(&chat, 9);

        let found: Vec<(String, u64)> = Spool::new(place.path().join("outbox"))
            .all()
            .iter()
            .map(|(name, number, _)| (name.to_string(), *number))
            .collect();
        assert_eq!(found, [("chat".into(), 2), ("chat".into(), 10), ("mail".into(), 3)]);
        let mode = |path: &str| fs::metadata(place.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("outbox/chat"), mode("outbox/mail/00000000000000000003.json")), (0o700, 0o600));
    }
}
