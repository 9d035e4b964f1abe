//! `doctor` as people use it: what is wrong is named with what mends it, and nothing is changed by looking.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{Bench, json_lines};
use crate::wait::until;

const RULE: &str =
    "[groups.web]\nservers = [\"1001\"]\n[rules.web]\nhours = \"MON-FRI 08:50-19:30\"\nrun = [\"web\"]\n";

fn bench() -> Bench {
    let bench = Bench::new(&[]);
    bench.configure(RULE);
    bench
}

/// What it says: its exit code, and its lines.
fn doctor(bench: &Bench) -> (i32, Vec<Value>) {
    let output = bench.output(&["doctor", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("secret\""), "{text}");
    (output.status.code().unwrap(), json_lines(&text))
}

/// The lines about one thing with a verdict.
fn of<'a>(lines: &'a [Value], check: &str, verdict: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["check"] == check && line["verdict"] == verdict).collect()
}

/// That a trouble is found, with words of it and of its remedy.
fn finds(bench: &Bench, (code, check): (i32, &str), words: &str, remedy: &str) {
    let (ended, lines) = doctor(bench);
    let bad = of(&lines, check, "bad");
    assert_eq!(ended, code, "{lines:#?}");
    let told = bad.iter().any(|line| {
        line["text"].as_str().unwrap().contains(words) && line["remedy"].as_str().unwrap().contains(remedy)
    });
    assert!(told, "{words} / {remedy} in {lines:#?}");
}

#[test]
fn where_nothing_is_wrong_the_doctor_says_so_and_asks_for_no_start_or_stop() {
    let bench = bench();
    let _daemon = bench.daemon_in_force();

    let (code, lines) = doctor(&bench);

    assert_eq!(code, 0, "{lines:#?}");
    for check in [
        "configuration",
        "file modes",
        "keys",
        "permission",
        "clock",
        "journal",
        "room",
        "daemon",
        "zone data",
    ] {
        assert!(!of(&lines, check, "good").is_empty(), "{check}: {lines:#?}");
        assert!(of(&lines, check, "bad").is_empty(), "{check}: {lines:#?}");
    }
    let asked: Vec<Value> =
        bench.sandbox_log().into_iter().filter(|line| line["kind"] == "request").collect();
    assert!(asked.iter().any(|line| line["operation"] == "getServerInstanceList"));
    assert!(asked.iter().all(|line| line["operation"].as_str().unwrap().starts_with("get")), "{asked:#?}");
    let shown = String::from_utf8(bench.output(&["doctor"]).stdout).unwrap();
    assert!(
        shown.lines().any(|line| line.starts_with("good  keys           account main: the cloud takes them")),
        "{shown}"
    );
}

#[test]
fn each_trouble_is_named_with_what_mends_it() {
    let bench = bench();
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };

    mode("secret", 0o644);
    finds(&bench, (69, "keys"), "others can read it (mode 644)", "chmod 600");
    mode("secret", 0o600);
    fs::write(bench.path("secret"), "another\n").unwrap();
    finds(&bench, (69, "keys"), "Authentication Failed", "compare both keys with the console");
    fs::write(bench.path("secret"), "secret\n").unwrap();
    mode("sunup.toml", 0o666);
    finds(&bench, (69, "file modes"), "others may write", "chmod 640");
    bench.configure_at("http://127.0.0.1:1", RULE);
    mode("sunup.toml", 0o600);
    finds(&bench, (69, "cloud"), "getRegionList", "look at the network");
    bench.configure("[groups.web]\nserver = [\"1001\"]\n");
    finds(&bench, (78, "configuration"), "has ", "`sunup check` shows each");
    fs::remove_file(bench.path("sunup.toml")).unwrap();
    finds(&bench, (78, "configuration"), "cannot be read", "its path");
    bench.configure(RULE);
    fs::write(bench.path("sunup.db"), "precious, and no database at all").unwrap();
    mode("sunup.db", 0o644);
    finds(&bench, (69, "journal"), "cannot be used", "keep it");
    finds(&bench, (69, "file modes"), "everybody can reach", "chmod 600");
    assert_eq!(fs::read_to_string(bench.path("sunup.db")).unwrap(), "precious, and no database at all");
}

#[test]
fn without_its_credentials_the_doctor_prints_the_line_that_gives_them() {
    let bench = bench();
    let text = fs::read_to_string(bench.path("sunup.toml")).unwrap();
    let keys = text.lines().find(|line| line.starts_with("access_key")).unwrap();
    let secret = text.lines().find(|line| line.starts_with("secret_key")).unwrap();
    let named = text
        .replace(keys, "access_key = { credential = \"id\" }")
        .replace(secret, "secret_key = { credential = \"key\" }");
    fs::write(bench.path("sunup.toml"), named).unwrap();

    let (code, lines) = doctor(&bench);

    assert_eq!(code, 0, "{lines:#?}");
    let odd = of(&lines, "keys", "odd");
    let remedy = odd[0]["remedy"].as_str().unwrap();
    let want = "sudo systemd-run --pipe --wait --collect -p LoadCredential=id:/etc/sunup/keys/id \
                -p LoadCredential=key:/etc/sunup/keys/key sunup doctor --config";
    assert!(remedy.contains(want), "{remedy}");

    // In a unit they are there.
    let folder = bench.path("credentials");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("id"), "access\n").unwrap();
    fs::write(folder.join("key"), "secret\n").unwrap();
    let output = bench.command(&["doctor", "--json"]).env("CREDENTIALS_DIRECTORY", &folder).output().unwrap();
    let lines = json_lines(&String::from_utf8(output.stdout).unwrap());
    assert!(!of(&lines, "permission", "good").is_empty(), "{lines:#?}");
}

#[test]
fn a_new_key_pair_is_tried_before_the_daemon_uses_it() {
    let bench = Bench::with_keys("SUNUPTESTNEWPAIR0001", "secret", &[]);
    bench.configure(RULE);
    fs::write(bench.path("access"), "SUNUPTESTOLDPAIR0002\n").unwrap();
    let _daemon = bench.daemon();
    until("the daemon has taken the old pair up", || {
        (bench.status()?["accounts"][0]["key"] == "…0002").then_some(())
    });

    fs::write(bench.path("access"), "SUNUPTESTNEWPAIR0001\n").unwrap();
    let (_, lines) = doctor(&bench);

    let odd = of(&lines, "keys", "odd");
    let told = odd[0]["text"].as_str().unwrap();
    assert!(told.contains("takes them (access key …0001)") && told.contains("others (…0002)"), "{told}");
    assert!(odd[0]["remedy"].as_str().unwrap().contains("sunup reload"), "{odd:?}");
    bench.shown(&["reload"]);
    let (code, lines) = doctor(&bench);
    assert_eq!(code, 0, "{lines:#?}");
    assert!(of(&lines, "keys", "odd").is_empty(), "{lines:#?}");
}
