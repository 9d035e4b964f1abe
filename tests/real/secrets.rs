//! Keys appear nowhere.

use std::fs;
use std::path::Path;

use crate::support::{Bench, in_seconds};
use crate::wait::until;

const ACCESS: &str = "CANARYACCESSKEY0123";
const SECRET: &str = "canary-secret-key-4567";

#[test]
fn no_secret_is_written_anywhere_at_the_most_verbose_level() {
    let bench = Bench::with_keys(ACCESS, SECRET, &["--servers", "2"]);
    let more = format!(
        "[groups.web]\nservers = [\"1001\"]\n[rules.launch]\nat = \"{}\"\nstart = [\"web\"]\n[log]\nlevel = \"trace\"\n",
        in_seconds(3)
    );
    bench.configure(&more);
    let mut daemon = bench.daemon();
    bench.ended(1);
    let commands: [&[&str]; 8] = [
        &["check"],
        &["plan"],
        &["status"],
        &["status", "--json"],
        &["history"],
        &["history", "1"],
        &["stop", "web", "--yes"],
        &["history", "2", "--json"],
    ];
    let mut written = String::new();
    for arguments in commands {
        let output = bench.output(arguments);
        written.push_str(&String::from_utf8_lossy(&output.stdout));
        written.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    // A key that is put into the file by mistake is not shown with the mistake.
    let text = fs::read_to_string(bench.path("sunup.toml")).unwrap();
    fs::write(
        bench.path("bad.toml"),
        text.replace("region = \"KR\"", &format!("secret_key = \"{SECRET}\nregion = 1")),
    )
    .unwrap();
    let bad = bench.path("bad.toml");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sunup"))
        .arg("check")
        .arg("--config")
        .arg(&bad)
        .output()
        .unwrap();
    written.push_str(&String::from_utf8_lossy(&output.stderr));
    daemon.signal("HUP");
    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(), 0);

    assert!(written.contains("account main, key …0123, accepted at 20"), "{written}");
    assert!(bench.daemon_log().len() > 10_000, "the most verbose level says little");
    assert!(written.len() > 500);
    for canary in [ACCESS, SECRET] {
        assert!(!written.contains(canary), "a command showed a key");
        search(bench.folder.path(), canary);
    }
}

#[test]
fn a_reload_with_other_keys_takes_them_and_tells_so_without_showing_them() {
    let bench = Bench::with_keys(ACCESS, SECRET, &["--servers", "1"]);
    bench.configure("[groups.web]\nservers = [\"1001\"]\n");
    let _daemon = bench.daemon_in_force();
    let key = || bench.status().unwrap()["accounts"][0].clone();
    let before = until("the keys are taken", || Some(key()).filter(|key| !key["accepted_at"].is_null()));
    fs::write(bench.path("access"), "ANOTHERACCESSKEY9876\n").unwrap();

    let reload = bench.output(&["reload"]);

    assert_eq!(reload.status.code(), Some(0), "{}", String::from_utf8_lossy(&reload.stderr));
    let after = until("the new keys are refused", || Some(key()).filter(|key| !key["trouble"].is_null()));
    assert_eq!((&before["key"], &after["key"]), (&"…0123".into(), &"…9876".into()));
    assert!(after["accepted_at"].is_null(), "{after}");
    assert!(bench.daemon_log().contains("account main: another access key is in use: …9876"));
    assert!(!bench.daemon_log().contains("ANOTHERACCESSKEY9876"));
}

/// Looks into every file that was written, whatever it is; the keys' own files are the exception.
fn search(folder: &Path, canary: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if matches!(name.as_str(), "access" | "secret" | "bad.toml") || !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "{} holds a key", path.display());
    }
}
