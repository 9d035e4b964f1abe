//! Fetching secrets from where the configuration says they are.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::environment;
use crate::settings::secret::SecretSource;

/// The largest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;

/// Why a secret could not be had: the place, the reason and the remedy. Never the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}; {remedy}")]
pub struct SecretError {
    /// Where it should have been.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
    /// What would mend it.
    pub remedy: String,
}

/// Fetches one secret. Space at both ends is dropped, since editors end files with a line break.
///
/// # Errors
/// [`SecretError`] when it is not there, empty, too large, not text, or readable by others.
pub fn fetch(source: &SecretSource) -> Result<SecretString, SecretError> {
    let whole = fetch_lines(source)?;
    let text = whole.expose_secret().trim();
    if text.contains(char::is_whitespace) {
        let (place, problem) = (source.to_string(), "it has spaces in it".into());
        return Err(SecretError { place, problem, remedy: "put the key alone on one line".into() });
    }
    Ok(SecretString::from(text))
}

/// The same for a secret of several lines, such as a private key.
///
/// # Errors
/// As [`fetch`], but for spaces.
pub fn fetch_lines(source: &SecretSource) -> Result<SecretString, SecretError> {
    let failed = |problem: String, remedy: String| SecretError { place: source.to_string(), problem, remedy };
    let text = match source {
        SecretSource::Env(name) => environment::variable(name).ok_or_else(|| {
            failed("the variable is not set".into(), format!("set `{name}` for the daemon"))
        })?,
        SecretSource::File(path) => {
            read_private(path).map_err(|(problem, remedy)| failed(problem, remedy))?
        }
        SecretSource::Credential(name) => {
            let Some(folder) = environment::credentials_directory() else {
                let remedy = format!(
                    "run as a unit with `LoadCredential={name}:/path`, or `systemd-run -p LoadCredential={name}:/path …`"
                );
                return Err(failed("systemd gave no credentials to this process".into(), remedy));
            };
            // systemd keeps the folder to the unit; the mode is its business.
            read_limited(&folder.join(name)).map_err(|problem| {
                failed(problem, format!("add `LoadCredential={name}:/path` to the unit"))
            })?
        }
    };
    if text.trim().is_empty() {
        return Err(failed("it is empty".into(), "put the key into it".into()));
    }
    Ok(SecretString::from(text))
}

/// The digest of a secret (SHA-256), to compare with.
///
/// # Errors
/// As [`fetch`].
pub fn digest(source: &SecretSource) -> Result<[u8; 32], SecretError> {
    fetch(source).map(|secret| Sha256::digest(secret.expose_secret().as_bytes()).into())
}

fn read_private(path: &Path) -> Result<String, (String, String)> {
    let there = "create the file, or name another".to_owned();
    let meta = fs::metadata(path).map_err(|error| (error.to_string(), there))?;
    if meta.mode() & 0o077 != 0 {
        let problem = format!("others can read it (mode {:03o})", meta.mode() & 0o777);
        return Err((problem, format!("run `chmod 600 {}`", path.display())));
    }
    read_limited(path).map_err(|problem| (problem, "put the key alone into the file".into()))
}

fn read_limited(path: &Path) -> Result<String, String> {
    let meta = fs::metadata(path).map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is no plain file".into());
    }
    if meta.len() > SECRET_BYTES_MAX {
        return Err(format!("it is larger than {SECRET_BYTES_MAX} bytes"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(mode: u32, text: &str) -> (tempfile::TempDir, SecretSource) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, SecretSource::File(path))
    }

    #[test]
    fn a_secret_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        for mode in [0o644, 0o640, 0o604, 0o660] {
            let (_folder, source) = file(mode, "canary-secret\n");
            let error = fetch(&source).unwrap_err();
            assert!(error.remedy.starts_with("run `chmod 600 "), "{error}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
        let (_folder, source) = file(0o600, "canary-secret\n");
        assert!(fetch(&source).is_ok());
    }

    #[test]
    fn an_empty_or_broken_secret_is_refused_without_being_shown() {
        for text in ["", " \n", "two words", "line\nline", &"x".repeat(5000)] {
            let (_folder, source) = file(0o600, text);
            assert!(fetch(&source).is_err(), "{text:?}");
        }
        assert!(fetch(&SecretSource::File("/nonexistent/key".into())).is_err());
        assert!(fetch(&SecretSource::Env("SUNUP_TEST_NO_SUCH_VARIABLE".into())).is_err());
    }
}
