//! The journal kept elsewhere, put back, and moved to another host.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::Bench;

const GROUP: &str = "[groups.web]\nservers = [\"1001\"]\n";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_backup_beside_a_running_daemon_is_whole_and_is_put_back_on_another_host() {
    let (old, new) = (Bench::new(&["--boot", "1s..1s"]), Bench::new(&["--boot", "1s..1s"]));
    old.configure(GROUP);
    new.configure(GROUP);
    let daemon = old.daemon_in_force();
    old.shown_with(&["start", "web"], 0);
    let copy = old.path("copy.db");

    let made = old.shown_with(&["backup", text(&copy)], 0);
    let twice = old.shown_with(&["backup", text(&copy)], 69);
    old.shown_with(&["stop", "web", "--yes"], 0);
    let held = old.shown_with(&["restore", text(&copy)], 75);
    drop(daemon);
    let put_back = old.shown_with(&["restore", text(&copy)], 0);
    let moved = new.shown_with(&["restore", text(&copy)], 0);

    assert!(made.contains("is a whole copy of"), "{made}");
    assert!(twice.contains("is there already, and is not written over"), "{twice}");
    assert!(held.contains("another daemon holds the journal"), "{held}");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        put_back.contains("the one that was there is") && !moved.contains("the one that was there"),
        "{put_back}{moved}"
    );
    for bench in [&old, &new] {
        let runs: Vec<String> = bench.history().iter().map(|run| run["action"].to_string()).collect();
        assert_eq!(runs, ["\"start\""], "what came after the copy is not in it");
    }
    let aside = std::fs::read_dir(old.path(""))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap());
    assert!(aside.into_iter().any(|name| name.starts_with("sunup.db.before-restore-")));
    let _daemon = new.daemon_in_force();
    new.shown_with(&["start", "web"], 0);
    assert_eq!(new.history().len(), 2);
}

#[test]
fn a_journal_that_was_retired_is_gone_on_with_only_by_adopting_it() {
    let bench = Bench::new(&["--boot", "1s..1s"]);
    bench.configure(GROUP);
    let daemon = bench.daemon_in_force();
    let copy = bench.path("copy.db");
    let running = bench.shown_with(&["backup", "--retire", text(&copy)], 75);
    assert!(running.contains("systemctl disable --now sunup") && !copy.exists(), "{running}");
    drop(daemon);

    let retired = bench.shown_with(&["backup", "--retire", text(&copy)], 0);
    let refused = bench.shown_with(&["run"], 78);
    let by_hand = bench.shown_with(&["start", "web"], 78);

    assert!(retired.contains("`sunup run --adopt` lifts that"), "{retired}");
    for words in [&refused, &by_hand] {
        assert!(words.contains("by tester, and another host has it"), "{words}");
    }
    assert!(refused.contains("`sunup run --adopt`"), "{refused}");
    let mut adopting = bench.command(&["run", "--adopt"]).spawn().unwrap();
    bench.wait_until_in_force();
    adopting.kill().unwrap();
    adopting.wait().unwrap();
    let _daemon = bench.daemon_in_force();
    bench.shown_with(&["start", "web"], 0);
    bench.audit();
}

#[test]
fn what_is_no_sound_copy_is_not_put_back_and_the_journal_stays() {
    let bench = Bench::new(&["--boot", "1s..1s"]);
    bench.configure(GROUP);
    let daemon = bench.daemon_in_force();
    bench.shown_with(&["start", "web"], 0);
    drop(daemon);
    let (odd, half) = (bench.path("odd.db"), bench.path("half.db"));
    std::fs::write(&odd, "precious, and no database at all, which is longer than a page's header").unwrap();
    bench.shown_with(&["backup", text(&half)], 0);
    let whole = std::fs::read(&half).unwrap();
    std::fs::write(&half, &whole[..whole.len() / 2]).unwrap();

    let words =
        [text(&odd), text(&half), "/nowhere/copy.db"].map(|path| bench.shown_with(&["restore", path], 69));
    let nowhere = bench.shown_with(&["backup", "/nowhere/copy.db"], 69);

    assert!(words[2].contains("there is no such file"), "{words:?}");
    assert!(nowhere.contains("/nowhere/copy.db"), "{nowhere}");
    assert_eq!(bench.history().len(), 1);
}

#[test]
fn check_refuses_a_journal_that_a_newer_version_has_written() {
    let bench = Bench::new(&[]);
    bench.configure(GROUP);
    bench.shown(&["check", "--journal"]);
    let mut daemon = bench.daemon_in_force();
    bench.shown(&["check", "--journal"]);
    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(), 0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        use sqlx::{Connection, SqliteConnection};
        let mut journal =
            SqliteConnection::connect(&format!("sqlite://{}", bench.path("sunup.db").display())).await.unwrap();
        let newer = "UPDATE _sqlx_migrations SET version = 99 WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
        sqlx::query(newer).execute(&mut journal).await.unwrap();
        journal.close().await.unwrap();
    });

    let refused = bench.shown_with(&["check", "--journal"], 69);

    assert!(refused.contains("version 99") && refused.contains("too old for it"), "{refused}");
    bench.shown(&["check"]);
}
