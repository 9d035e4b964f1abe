//! The names of things: accounts, groups, rules, servers, runs and attempts, each its own type.

use std::fmt;
use std::sync::Arc;

/// The most characters that a name in the configuration may have.
pub const NAME_CHARS_MAX: usize = 64;

/// Why a text cannot be the name of an account, a group or a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no character.
    #[error("the name is empty")]
    Empty,
    /// The name is longer than [`NAME_CHARS_MAX`].
    #[error("the name has more than {NAME_CHARS_MAX} characters")]
    TooLong,
    /// The name holds a character that would be ambiguous in commands and logs.
    #[error("`{0}` cannot stand in a name: letters, digits, `-`, `_` and `.` can")]
    Character(char),
}

fn checked(text: &str) -> Result<Arc<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.chars().count() > NAME_CHARS_MAX {
        return Err(NameError::TooLong);
    }
    match text.chars().find(|c| !c.is_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        Some(odd) => Err(NameError::Character(odd)),
        None => Ok(text.into()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text of letters, digits, `-`, `_` and `.`, at most [`NAME_CHARS_MAX`] characters long.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with the text.
            pub fn new(text: &str) -> Result<Self, NameError> {
                checked(text).map(Self)
            }

            /// The name as it stands in the configuration.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// The name of an account: one NCP site, region and key pair.
    AccountName
}
name! {
    /// The name of a group of servers.
    GroupName
}
name! {
    /// The name of a calendar.
    CalendarName
}
name! {
    /// The name of a rule.
    RuleName
}
name! {
    /// The name of a notifier.
    NotifyName
}

/// A server instance number as the cloud writes it: digits in the configuration, any non-empty text in answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerNo(Arc<str>);

impl ServerNo {
    /// The most digits that a number in the configuration may have.
    pub const DIGITS_MAX: usize = 20;

    /// Takes a number that a person wrote.
    ///
    /// Returns `None` unless the text is 1 to [`Self::DIGITS_MAX`] ASCII digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits =
            !text.is_empty() && text.len() <= Self::DIGITS_MAX && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| Self(text.into()))
    }

    /// Takes a number from an answer of the cloud, where samples hold masked numbers such as `******8773`.
    ///
    /// Returns `None` for an empty text.
    #[must_use]
    pub fn from_answer(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The number as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What makes a server one server: its account and its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId {
    /// The account that the server belongs to.
    pub account: AccountName,
    /// The number of the server in that account.
    pub no: ServerNo,
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.no)
    }
}

/// The number of a run in the journal, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an override in the journal, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OverrideId(pub i64);

/// The number of an attempt in the journal, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub i64);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is done to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Take the server down.
    Stop,
    /// Bring the server up. Ordered after [`Action::Stop`]: at equal due the start comes last and wins.
    Start,
}

impl Action {
    /// The word for the action in the configuration, commands, logs and the journal.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }

    /// Reads [`Action::word`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "start" => Some(Self::Start),
            "stop" => Some(Self::Stop),
            _ => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_letters_of_any_script_and_refuse_what_commands_would_split() {
        let table = [
            ("office", Ok(())),
            ("사무실-1", Ok(())),
            ("", Err(NameError::Empty)),
            ("a b", Err(NameError::Character(' '))),
            ("a/b", Err(NameError::Character('/'))),
        ];

        for (text, want) in table {
            assert_eq!(RuleName::new(text).map(|_| ()), want, "{text:?}");
        }
        assert_eq!(GroupName::new(&"x".repeat(65)), Err(NameError::TooLong));
    }

    #[test]
    fn server_numbers_of_people_are_digits_and_those_of_answers_any_text() {
        assert!(ServerNo::parse("1001").is_some());
        assert!(ServerNo::parse("1001a").is_none());
        assert!(ServerNo::parse("").is_none());
        assert!(ServerNo::from_answer("******8773").is_some());
        assert!(ServerNo::from_answer("").is_none());
    }
}
