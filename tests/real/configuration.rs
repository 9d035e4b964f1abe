//! Reloads, broken files and two daemons.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Bench, in_seconds, json_lines};
use crate::wait::until;

const GROUPS: &str = "[groups.web]\nservers = [\"1001\"]\n";

#[test]
fn a_second_daemon_gives_way_and_names_the_first() {
    let bench = Bench::new(&[]);
    bench.configure(GROUPS);
    let first = bench.daemon_in_force();

    let second = bench.output(&["run"]);

    assert_eq!(second.status.code(), Some(75));
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(words.contains(&first.0.id().to_string()), "{words}");
}

#[test]
fn a_reload_takes_a_good_file_over_and_never_fires_the_past() {
    let bench = Bench::new(&[]);
    bench.configure(GROUPS);
    let daemon = bench.daemon_in_force();
    let past = in_seconds(-60);
    bench.configure(&format!(
        "{GROUPS}[rules.new]\nat = [\"{past}\", \"2099-01-01T00:00:00Z\"]\nstart = [\"web\"]\n"
    ));

    daemon.signal("HUP");

    let next = until("the new rule is in force", || {
        let status = bench.status()?;
        (status["rules"] == 1).then(|| status["next"].clone())
    });
    assert_eq!(next[0]["due"], "2099-01-01T09:00:00+09:00");
    assert!(bench.history().is_empty());
    assert!(bench.requests("startServerInstances").is_empty());
}

#[test]
fn a_reload_by_command_says_what_it_changes_and_refuses_a_broken_file_with_every_problem() {
    let bench = Bench::new(&[]);
    let far = |name: &str, when: &str| format!("[rules.{name}]\n{when}\n");
    let morning = far("morning", "cron = \"0 50 8 * * *\"\nseconds = true\nstart = [\"web\"]");
    let hours = far("always", "hours = \"MON-SUN 00:00-24:00\"\nuntil = \"2099-12-31\"\nrun = [\"web\"]");
    bench.configure(&format!("{GROUPS}{morning}"));
    let absent = bench.output(&["reload"]);
    assert_eq!(absent.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("no daemon listens at"), "{absent:?}");
    let _daemon = bench.daemon_in_force();
    let said = |arguments: &[&str]| {
        let output = bench.output(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said(&["reload"]).contains("no rule changed\nthe next 7 days: the same occurrences"));

    bench.configure(&format!(
        "{GROUPS}{}{hours}[limits]\nrequests_per_hour = 77\n",
        morning.replace("50 8", "40 8")
    ));
    let before = said(&["check", "--against-running"]);
    let after = said(&["reload"]);

    for text in [&before, &after] {
        assert!(
            text.contains("rules: 1 added (always), 1 changed (morning)\nalso changed: limits"),
            "{text}"
        );
        assert!(text.contains("start (rule morning), was 08:50:00"), "{text}");
        assert!(text.contains("starts nothing now") && text.contains("sunup start web"), "{text}");
    }
    assert!(bench.history().is_empty(), "nothing of the past is fired");
    let again = json_lines(&said(&["check", "--against-running", "--json"]));
    assert_eq!(again.last().unwrap()["changed"], "no rule changed");
    fs::write(bench.path("sunup.toml"), "rules = 7\n").unwrap();
    let broken = bench.output(&["reload"]);
    assert_eq!(broken.status.code(), Some(78));
    let broken = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert!(broken.contains("rules") && broken.contains("stays in force"), "{broken}");
    assert_eq!(bench.status().unwrap()["rules"], 2, "the last good one stays in force");
}

#[test]
fn a_broken_file_keeps_the_last_good_configuration_in_force_also_over_a_restart() {
    let bench = Bench::new(&[]);
    bench.configure(&format!("{GROUPS}[rules.far]\nat = \"2099-01-01T00:00:00Z\"\nstart = [\"web\"]\n"));
    let mut daemon = bench.daemon_in_force();
    fs::write(bench.path("sunup.toml"), "rules = 7\n").unwrap();

    daemon.signal("HUP");
    let status =
        until("the trouble is told", || bench.status().filter(|status| !status["config_problem"].is_null()));
    assert_eq!(status["rules"], 1);
    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(), 0);

    let _daemon = bench.daemon_in_force();
    let status = bench.status().unwrap();
    assert_eq!(status["rules"], 1);
    assert!(status["config_problem"].as_str().unwrap().contains("problem"), "{status}");
}

#[test]
fn while_the_file_is_broken_commands_show_what_is_in_force_and_say_so() {
    let bench = Bench::new(&[]);
    bench.configure(&format!("{GROUPS}[rules.far]\nat = \"2099-01-01T00:00:00Z\"\nstart = [\"web\"]\n"));
    let mut daemon = bench.daemon_in_force();
    fs::write(bench.path("sunup.toml"), "rules = 7\n").unwrap();
    let far = ["plan", "--from", "2098-12-31", "--to", "2099-02-01"];
    let commands: [(&[&str], &str); 5] = [
        (&far, "far"),
        (&["why", "1001"], "far: starts web"),
        (&["groups"], "web"),
        (&["start", "web", "--dry-run"], "1001"),
        (&["status"], "far"),
    ];

    for is_running in [true, false] {
        for (arguments, words) in commands {
            let output = bench.command_of_unit(arguments).output().unwrap();
            let (out, err) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let told = arguments == ["status"] && is_running;
            assert_eq!(output.status.code(), Some(0), "{is_running} {arguments:?}: {out}{err}");
            assert!(out.contains(words), "{is_running} {arguments:?}: {out}{err}");
            assert!(told || err.contains("that file is not in force"), "{is_running} {arguments:?}: {err}");
            assert!(told || err.contains("has 1 problem"), "{is_running} {arguments:?}: {err}");
        }
        // Whoever names a file means it.
        assert!(bench.shown_with(&far, 78).contains("`rules`"));
        if is_running {
            daemon.signal("TERM");
            assert_eq!(daemon.exit_code(), 0);
        }
    }
}

#[test]
fn a_broken_file_without_a_journal_ends_with_78_and_every_problem() {
    let bench = Bench::new(&[]);
    bench.configure("[groups.web]\nservers = [\"x\"]\n[rules.r]\ncron = \"0 25 * * *\"\nstart = [\"wbe\"]\n");

    let run = bench.output(&["run"]);
    let check = bench.output(&["check"]);

    let words = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!((run.status.code(), check.status.code()), (Some(78), Some(78)));
    for part in ["3 problems", "no server instance number", "`25` is no hour", "did you mean `web`?"] {
        assert!(words.contains(part), "{part} is missing in:\n{words}");
    }
}

#[test]
fn what_was_due_while_nobody_ran_is_recorded_as_missed_or_done_late_and_told() {
    let bench = Bench::new(&[]);
    let rules = |first, second| {
        format!(
            "{GROUPS}[groups.db]\nservers = [\"1002\"]\n\
             [rules.gone]\nat = \"{first}\"\nstart = [\"web\"]\nwindow = \"15s\"\n\
             [rules.open]\nat = \"{second}\"\nstart = [\"db\"]\nwindow = \"10m\"\n"
        )
    };
    bench.configure(&rules(in_seconds(4), in_seconds(5)));
    let mut daemon = bench.daemon_in_force();
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    let over = in_seconds(21);
    until("the first window has passed", || (in_seconds(0) >= over).then_some(()));

    let _daemon = bench.daemon();
    let entries = bench.ended(2);

    let outcome =
        |rule: &str| entries.iter().find(|entry| entry["rule"] == rule).map(|entry| entry["outcome"].clone());
    assert_eq!(outcome("gone"), Some("missed".into()));
    assert_eq!(outcome("open"), Some("done".into()));
    assert!(bench.daemon_log().contains("rule gone did not start"), "{}", bench.daemon_log());
    let why = bench.shown(&["why", "1001"]);
    assert!(
        why.contains("the last run with it by then: gone start due") && why.contains(": missed ("),
        "{why}"
    );
    assert!(why.contains("to start it now: `sunup start --server 1001`"), "{why}");
    assert!(!bench.shown(&["why", "1002"]).contains("to start it now"), "that one came up");
}

#[test]
fn included_files_add_groups_and_rules_and_each_problem_names_its_own_file() {
    let bench = Bench::new(&[]);
    let include = "include = \"teams\"\n";
    let folder = bench.path("teams");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let main = |top: &str| {
        bench.configure(GROUPS);
        let text = fs::read_to_string(bench.path("sunup.toml")).unwrap();
        fs::write(bench.path("sunup.toml"), format!("{top}{text}")).unwrap();
    };
    main(include);
    let absent = bench.shown_with(&["check"], 78);
    assert!(absent.contains("teams` is included and cannot be read"), "{absent}");
    fs::create_dir(&folder).unwrap();
    write("b.toml", "[rules.b]\nat = \"2099-01-01T00:00:00Z\"\nstart = [\"web\", \"db\"]\n");
    write("a.toml", "[groups.db]\nservers = [\"1002\"]");
    write("a.toml~", "nonsense");
    write(".hidden.toml", "nonsense");
    let _daemon = bench.daemon_in_force();
    assert_eq!(bench.status().unwrap()["rules"], 1);

    let mode =
        |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&bench.path("sunup.toml"), 0o640);
    mode(&folder.join("b.toml"), 0o600);
    let hidden = bench.shown(&["check"]);
    assert!(hidden.contains("teams/b.toml` cannot be read by the group"), "{hidden}");
    mode(&folder.join("b.toml"), 0o640);
    assert!(!bench.shown(&["check"]).contains("cannot be read by the group"));

    let far = "at = \"2099-01-01T00:00:00Z\"\nstart = [\"web\"]\n";
    write("c.toml", &format!("# 팀\n[rules.b]\n{far}[groups.web]\nservers = [\"1003\"]\n"));
    let clash = bench.shown_with(&["reload"], 78);
    for words in [
        "rule `b` is defined twice",
        "group `web` is defined twice",
        "teams/c.toml:2:8",
        "teams/b.toml already, on line 1",
    ] {
        assert!(clash.contains(words), "{words}: {clash}");
    }
    write("c.toml", &format!("timezone = \"UTC\"\n[limits]\nself = [\"1001\"]\n[rules.c]\ncorn = 7\n{far}"));
    let odd = json_lines(&String::from_utf8(bench.output(&["check", "--json"]).stdout).unwrap());
    let place = |key: &str| {
        let odd = odd.iter().find(|problem| problem["problem"].as_str().unwrap().contains(key)).unwrap();
        (odd["line"].as_u64().unwrap(), odd["column"].as_u64().unwrap())
    };
    assert!(odd.iter().all(|problem| problem["file"].as_str().unwrap().ends_with("teams/c.toml")), "{odd:?}");
    assert_eq!((place("`timezone`"), place("`limits`"), place("`corn`")), ((1, 1), (2, 2), (5, 1)));
    write("c.toml", "[rules.c\n");
    let broken = bench.shown_with(&["check"], 78);
    assert!(broken.contains("teams/c.toml:1:"), "{broken}");
    assert_eq!(bench.status().unwrap()["rules"], 1, "the last good one stays in force");

    write("c.toml", &format!("[rules.c]\n{far}"));
    let said = bench.shown(&["reload"]);
    assert!(said.contains("rules: 1 added (c)"), "{said}");
    let whole = bench.shown(&["history", "--configuration"]);
    assert!(whole.contains("## sunup: included from teams/c.toml\n[rules.c]"), "{whole}");
    // What was printed is a whole of its own, and can be looked at as such.
    let whole = bench.output(&["history", "--configuration"]).stdout;
    let apart = Bench::new(&[]);
    fs::write(apart.path("sunup.toml"), whole).unwrap();
    assert!(apart.shown(&["check"]).contains("rule c"));
    mode(&folder.join("c.toml"), 0o666);
    let open = bench.shown_with(&["doctor"], 69);
    assert!(open.contains("others may write") && open.contains("teams/c.toml"), "{open}");
    fs::write(folder.join("c.toml"), [0xff, 0xfe]).unwrap();
    let unreadable = bench.shown_with(&["reload"], 78);
    assert!(unreadable.contains("teams/c.toml` is included and cannot be read"), "{unreadable}");
}
