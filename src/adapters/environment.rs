//! The environment of the process: the one place that reads it.

use std::path::PathBuf;

/// A variable's value; `None` if it is unset, empty or not text.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the environment's one home")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The first of several variables that is set.
#[must_use]
pub fn first_of(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| variable(name))
}

/// The folder in which systemd puts the unit's credentials.
#[must_use]
pub fn credentials_directory() -> Option<PathBuf> {
    variable("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// The folder in which the unit keeps its state.
#[must_use]
pub fn state_directory() -> PathBuf {
    // systemd lists several folders with colons; the unit asks for one.
    let named = variable("STATE_DIRECTORY").and_then(|list| list.split(':').next().map(PathBuf::from));
    named.unwrap_or_else(|| PathBuf::from("/var/lib/sunup"))
}

/// The folder for sockets.
#[must_use]
pub fn runtime_directory() -> PathBuf {
    let named = variable("RUNTIME_DIRECTORY").and_then(|list| list.split(':').next().map(PathBuf::from));
    named.unwrap_or_else(|| PathBuf::from("/run/sunup"))
}

/// The login name of the person who runs a command, as the environment claims it.
#[must_use]
pub fn login_name() -> String {
    first_of(&["SUDO_USER", "LOGNAME", "USER"])
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}
