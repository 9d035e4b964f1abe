//! The exit codes of every command. They are documented, and they stay.

use std::process::ExitCode;

use crate::ports::store::StoreError;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Everything was done.
    Done,
    /// Something that nobody foresaw.
    Unexpected,
    /// The command line was not understood.
    Usage,
    /// A run ended other than `done`.
    NotDone,
    /// The cloud or the store cannot be reached.
    Unavailable,
    /// Another daemon holds the journal.
    Held,
    /// The configuration is wrong.
    Config,
}

/// An error whose exit code is known.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) text: String,
}

impl Exit {
    pub(super) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::NotDone => 3,
            Self::Unavailable => 69,
            Self::Held => 75,
            Self::Config => 78,
        })
    }

    /// The exit code of an error.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        let of_store = |error: &StoreError| match error {
            StoreError::Held { .. } => Self::Held,
            StoreError::Unusable { .. } => Self::Unavailable,
            StoreError::Conflict { .. } => Self::Unexpected,
        };
        error
            .chain()
            .find_map(|cause| {
                let failure = cause.downcast_ref::<Failure>().map(|failure| failure.exit);
                failure.or_else(|| cause.downcast_ref::<StoreError>().map(of_store))
            })
            .unwrap_or(Self::Unexpected)
    }

    /// An error with this exit code.
    pub(super) fn with(self, text: impl Into<String>) -> anyhow::Error {
        Failure { exit: self, text: text.into() }.into()
    }
}
