//! The unit that is in force: whether there is one, and whether it is given the credentials that the configuration names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::settings::secret::SecretSource;
use crate::settings::{Keys, Settings};

/// Where systemd looks for units, the first one wins.
const FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const CHECK: &str = "unit";

/// The credentials that accounts name.
pub(super) fn credentials_of(settings: &Settings) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for account in settings.accounts.values() {
        let Keys::Named { access, secret } = &account.keys else { continue };
        for source in [access, secret] {
            if let SecretSource::Credential(name) = source {
                names.push(name.clone());
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

/// The credentials that the unit in force loads, with their files; `None` without a unit.
pub(super) fn loaded() -> Option<(PathBuf, BTreeMap<String, PathBuf>)> {
    let folder = FOLDERS.iter().find(|folder| Path::new(folder).join("sunup.service").exists())?;
    let unit = Path::new(folder).join("sunup.service");
    let mut texts = vec![fs::read_to_string(&unit).unwrap_or_default()];
    for folder in FOLDERS {
        let mut drop_ins: Vec<PathBuf> = fs::read_dir(Path::new(folder).join("sunup.service.d"))
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default();
        drop_ins.sort();
        texts.extend(drop_ins.iter().filter_map(|path| fs::read_to_string(path).ok()));
    }
    Some((unit, credentials_in(&texts.concat())))
}

/// The lines `LoadCredential=NAME:PATH` of a unit's text.
fn credentials_in(text: &str) -> BTreeMap<String, PathBuf> {
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.trim().split_once('=')?;
        matches!(key.trim(), "LoadCredential" | "LoadCredentialEncrypted").then(|| value.trim())
    });
    let pairs = values.filter_map(|value| value.split_once(':'));
    pairs.map(|(name, path)| (name.to_owned(), PathBuf::from(path))).collect()
}

pub(super) fn look(settings: &Settings) -> Vec<Finding> {
    let Some((unit, loaded)) = loaded() else {
        let text = "there is no unit sunup.service";
        return vec![Finding::odd(CHECK, text, "install it as the README says, or run `sunup run` by hand")];
    };
    let mut found = vec![Finding::good(CHECK, format!("{} is in force", unit.display()))];
    let wanted = credentials_of(settings);
    for name in wanted.iter().filter(|name| !loaded.contains_key(*name)) {
        let text = format!("the unit loads no credential `{name}`, which the configuration names");
        let remedy = format!(
            "`systemctl edit sunup` and add under [Service]: LoadCredential={name}:/etc/sunup/keys/{name}"
        );
        found.push(Finding::bad(CHECK, text, remedy));
    }
    // systemd starts no unit whose credentials are missing.
    let missing = |path: &Path| matches!(fs::metadata(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
    for (name, path) in loaded.iter().filter(|(_, path)| path.is_absolute() && missing(path)) {
        let text = format!(
            "credential `{name}`: there is no file {}, so systemd does not start the unit",
            path.display()
        );
        found.push(Finding::bad(CHECK, text, "put the key alone into that file, with mode 600"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credentials_of_a_unit_are_read_with_their_files() {
        let text = "[Service]\nLoadCredential=a:/keys/a\n# LoadCredential=no:/keys/no\n LoadCredential = b:/keys/b \n\
                    LoadCredentialEncrypted=c:/keys/c\nLoadCredential=\n";

        let found = credentials_in(text);

        let shown: Vec<String> =
            found.iter().map(|(name, path)| format!("{name} {}", path.display())).collect();
        assert_eq!(shown, ["a /keys/a", "b /keys/b", "c /keys/c"]);
    }
}
