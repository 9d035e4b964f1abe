//! Where a secret is to be found. The configuration names the place, never the secret.

use std::path::PathBuf;

/// The place of one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A systemd credential by name, below `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// A file that nobody but its owner can read.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
}

impl std::fmt::Display for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "credential `{name}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
            Self::Env(name) => write!(f, "variable `{name}`"),
        }
    }
}
