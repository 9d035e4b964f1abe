//! What calendars rest on beside the configuration's text: computed holidays, and files. The journal keeps it with the text,
//! so that a restart and the past are judged by what was known then.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::ics::{self, FileDays};
use crate::domain::calendar::{Days, korea};

/// The computed holidays and the contents of files that a configuration uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// Computed holidays by the name of their calendar.
    pub builtin: BTreeMap<String, Builtin>,
    /// The all-day events of files, by the path as the configuration names it.
    pub files: BTreeMap<String, FileDays>,
}

/// Computed holidays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builtin {
    /// The holidays.
    pub days: Days,
    /// Up to when all of them are known.
    pub until: Date,
}

impl Sources {
    /// As one line of JSON, for the journal.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }

    /// What [`Self::to_json`] wrote. Anything else is nothing.
    #[must_use]
    pub fn from_json(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// A file's dates, and why they are not those of the file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The dates.
    pub days: FileDays,
    /// Why the file cannot be used; the dates are the last good ones.
    pub stale: Option<String>,
}

/// What is said of a file that cannot be used, while its last good content is in force.
#[must_use]
pub fn stale_words(path: &str, problem: &str) -> String {
    format!("the calendar file `{path}` cannot be used: {problem}; its last good content stays in force")
}

/// Where a configuration that is being read finds what its calendars rest on.
pub trait Shelf {
    /// The computed holidays of a name.
    fn builtin(&self, name: &str) -> Option<Builtin>;

    /// The dates of a file, by the path as the configuration names it.
    ///
    /// # Errors
    /// Why there are none.
    fn file(&self, path: &str) -> Result<Found, String>;
}

/// The holidays that this version computes, and no files.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Shelf for NoFiles {
    fn builtin(&self, name: &str) -> Option<Builtin> {
        let until = Date::new(korea::YEAR_MAX, 12, 31).ok()?;
        (name == korea::NAME).then(|| Builtin { days: korea::holidays().clone(), until })
    }

    fn file(&self, _: &str) -> Result<Found, String> {
        Err("files are not read here".into())
    }
}

/// The holidays that this version computes, and files as they are now; for a broken file, as they were last.
pub struct Fresh<'a> {
    /// Gives the text of a file, by the path as the configuration names it.
    pub read: &'a dyn Fn(&str) -> Result<String, String>,
    /// What was last good.
    pub last_good: Option<&'a Sources>,
}

impl Shelf for Fresh<'_> {
    fn builtin(&self, name: &str) -> Option<Builtin> {
        NoFiles.builtin(name)
    }

    fn file(&self, path: &str) -> Result<Found, String> {
        match (self.read)(path).and_then(|text| ics::read(&text)) {
            Ok(days) => Ok(Found { days, stale: None }),
            Err(problem) => match self.last_good.and_then(|sources| sources.files.get(path)) {
                Some(days) => Ok(Found { days: days.clone(), stale: Some(problem) }),
                None => Err(problem),
            },
        }
    }
}

/// What was known when the configuration came into force.
impl Shelf for Sources {
    fn builtin(&self, name: &str) -> Option<Builtin> {
        self.builtin.get(name).cloned().or_else(|| NoFiles.builtin(name))
    }

    fn file(&self, path: &str) -> Result<Found, String> {
        let days = self.files.get(path).cloned().ok_or("the journal does not know the file")?;
        Ok(Found { days, stale: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_come_back_from_the_journal_as_they_went() {
        let mut sources = Sources::default();
        sources.builtin.insert("kr".into(), NoFiles.builtin("kr").unwrap());
        sources.files.insert("a.ics".into(), vec![(Date::new(2026, 12, 31).unwrap(), "closed".into())]);

        assert_eq!(Sources::from_json(&sources.to_json()), sources);
        assert_eq!(Sources::from_json("nonsense"), Sources::default());
    }
}
