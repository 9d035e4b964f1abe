//! What `plan`, `why` and `check` print, compared whole.

use std::fs;
use std::process::Output;

use icalendar::parser::{read_calendar, unfold};

use crate::support::{Bench, json_lines};

const OFFICE: &str = r#"
[groups.db]
servers = ["1001", "1002"]
[groups.web]
servers = ["1003"]
[groups."개발"]
servers = ["1004"]

[calendars.company]
builtin  = "kr"
dates    = ["2026-12-31 year end"]

[rules.office]
hours = "WORKDAYS 08:50-19:30"
calendar = "company"
run   = ["db", "web"]

[rules.morning]
cron   = "50 8 * * MON-FRI"
start  = ["개발"]
except = ["company"]

[rules.night]
cron = "0 20 * * *"
stop = ["개발"]

[rules.newyork]
hours = "MON-FRI 21:00-02:30"
timezone = "America/New_York"
run = ["web"]
"#;

fn bench() -> Bench {
    let bench = Bench::new(&[]);
    bench.configure(OFFICE);
    bench
}

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_plan_shows_each_day_with_what_is_struck_and_why() {
    let bench = bench();

    insta::assert_snapshot!("plan", stdout(bench.output(&["plan", "--from", "2026-12-24", "--days", "2"])));
    let spring = ["plan", "--from", "2027-03-13", "--days", "3", "--rule", "newyork"];
    bench.configure(&OFFICE.replace("21:00-02:30", "22:00-02:30").replace("MON-FRI 22", "SAT 22"));
    insta::assert_snapshot!("plan_over_a_jump", stdout(bench.output(&spring)));
}

#[test]
fn the_week_is_drawn_for_wide_and_narrow_terminals_with_and_without_colour() {
    let bench = bench();
    let week = |columns: &str, color: bool| {
        let mut command = bench.command(&["plan", "--week", "--from", "2026-12-21", "--group", "web"]);
        command.env("COLUMNS", columns).env(if color { "CLICOLOR_FORCE" } else { "NO_COLOR" }, "1");
        stdout(command.output().unwrap())
    };

    let (narrow, wide, widest) = (week("60", false), week("100", false), week("140", false));
    insta::assert_snapshot!("week_narrow", narrow);
    insta::assert_snapshot!("week_wide", wide);
    insta::assert_snapshot!("week_widest", widest);
    let colored = week("100", true);
    assert!(colored.contains("\u{1b}[") && !wide.contains('\u{1b}'));
    assert_eq!(anstream::adapter::strip_str(&colored).to_string(), wide);
}

#[test]
fn the_feed_is_an_icalendar_file_that_a_reader_understands() {
    let bench = bench();

    let feed = stdout(bench.output(&["plan", "--ics", "--from", "2026-12-24", "--days", "3"]));

    assert!(feed.lines().all(|line| line.len() <= 75), "a line is longer than 75 bytes");
    assert_eq!(feed.matches('\n').count(), feed.matches("\r\n").count());
    let unfolded = unfold(&feed);
    let calendar = read_calendar(&unfolded).unwrap();
    let property = |name: &str, event: usize| {
        calendar.components[event].find_prop(name).map(|p| p.val.as_str().to_owned()).unwrap_or_default()
    };
    let lines = json_lines(&stdout(bench.output(&["plan", "--json", "--from", "2026-12-24", "--days", "3"])));
    let happening: Vec<_> = lines.iter().filter(|line| line["skipped"].is_null()).collect();
    assert_eq!(calendar.components.len(), happening.len());
    assert_eq!(property("DTSTART", 0), "20261223T235000Z");
    assert_eq!(property("SUMMARY", 0), "start 개발");
    let again = stdout(bench.output(&["plan", "--ics", "--from", "2026-12-24", "--days", "3"]));
    let ids = |feed: &str| {
        feed.lines().filter(|l| l.starts_with("UID:")).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ids(&feed), ids(&again), "an occurrence has another id in each feed");
}

#[test]
fn the_difference_to_another_configuration_is_told_as_added_removed_and_moved() {
    let bench = bench();
    let other = fs::read_to_string(bench.path("sunup.toml")).unwrap();
    let other =
        other.replace("08:50-19:30", "09:00-19:30").replace("2026-12-31 year end", "2026-12-30 year end");
    fs::write(bench.path("other.toml"), other.replace("stop = [\"개발\"]", "stop = [\"개발\", \"db\"]"))
        .unwrap();

    let told =
        stdout(bench.output(&["plan", "--against", "other.toml", "--from", "2026-12-29", "--days", "3"]));
    let json = stdout(bench.output(&[
        "plan",
        "--against",
        "other.toml",
        "--from",
        "2026-12-29",
        "--days",
        "3",
        "--json",
    ]));

    insta::assert_snapshot!("against", told);
    assert_eq!(json_lines(&json).len(), told.lines().count());
    let same = stdout(bench.output(&["plan", "--against", "sunup.toml", "--days", "30"]));
    assert_eq!(same, "");
}

#[test]
fn why_tells_what_decides_about_a_server_at_a_moment() {
    let bench = bench();
    let why = |server: &str, at: &str| {
        let told = stdout(bench.output(&["why", server, "--at", at]));
        // The words of the rules end with their next moment, which goes on.
        let folder = bench.folder.path().display().to_string();
        let lines = told.lines().map(|line| line.split("; next ").next().unwrap().replace(&folder, "FOLDER"));
        lines.collect::<Vec<_>>().join("\n")
    };

    insta::assert_snapshot!("why_up", why("1003", "2026-12-24T10:00"));
    insta::assert_snapshot!("why_holiday", why("1001", "2026-12-25T10:00"));
    let none = bench.output(&["why", "nobody"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no group holds a server `nobody`"));
    let json = json_lines(&stdout(bench.output(&["why", "1001", "--at", "2026-12-25T10:00", "--json"])));
    assert_eq!(
        (json[0]["meant"].as_str(), json[0]["skipped"].as_array().map(Vec::len)),
        (Some("down"), Some(2))
    );
}

#[test]
fn a_check_says_each_rule_in_words_and_warns_of_what_is_odd() {
    let bench = bench();
    let words = |bench: &Bench| {
        let output = bench.output(&["check"]);
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (told, _) = words(&bench);
    for part in [
        "rule office: keeps db, web up from 08:50 to 19:30 on working days (calendar company) in Asia/Seoul; next",
        "rule morning: starts 개발 at 08:50 on Monday to Friday in Asia/Seoul, except the holidays of calendar company; next",
        "rule night: stops 개발 at 20:00 every day in Asia/Seoul; next",
        "calendar company, the next dates:",
    ] {
        assert!(told.contains(part), "{part} is missing in:\n{told}");
    }
    assert_eq!(told.lines().skip_while(|line| !line.starts_with("calendar")).count(), 11, "{told}");

    bench.configure(
        "[groups.web]\nservers = [\"1\"]\n[calendars.old]\ndates = [\"2020-01-01\"]\nworkdays = [\"2099-01-03\"]\n\
         [calendars.short]\ndates = [\"2021-01-01\"]\n\
         [rules.a]\ncron = \"0 9 * * *\"\nstart = [\"web\"]\nexcept = [\"short\"]\n\
         [rules.b]\ncron = \"0 9 * * *\"\nstop = [\"web\"]\n\
         [rules.c]\ncron = \"5 9 * * MON-FRI\"\nstop = [\"web\"]\nexcept = [\"old\"]\n\
         [rules.d]\nhours = \"MON-SUN 08:00-10:00\"\nrun = [\"web\"]\n\
         [rules.gone]\nat = \"2020-01-01T00:00\"\nstart = [\"web\"]\n\
         [rules.over]\ncron = \"0 9 * * *\"\nuntil = \"2020-01-01\"\nstart = [\"web\"]\n\
         [rules.leap]\ncron = \"0 9 29 2 *\"\nstart = [\"web\"]\ntimezone = \"EST\"\n\
         [rules.often]\ncron = \"*/10 0 9 * * *\"\nseconds = true\nstart = [\"web\"]\n",
    );
    let (_, warned) = words(&bench);
    for part in [
        "`0 9 29 2 *` comes in leap years alone",
        "`EST` is an abbreviation of a time zone",
        "`*/10 0 9 * * *` fires more than once a minute",
        "rule `gone` has passed: its last moment was 2020-01-01T00:00:00+09:00",
        "rule `over` has no occurrence any more",
        "calendar `short` ended on 2021-01-01",
        "start and stop server main/1 at the same moment",
        "while rule `d` wants it up until",
        "(`boot_within`): leave more time between them",
    ] {
        assert!(warned.contains(part), "{part} is missing in:\n{warned}");
    }

    // A Saturday.
    bench.configure(
        "[groups.web]\nservers = [\"1\"]\n[calendars.c]\nbuiltin = \"kr\"\nworkdays = [\"2099-01-03\"]\n\
         [rules.a]\ncron = \"0 9 * * MON-FRI\"\nstart = [\"web\"]\nexcept = [\"c\"]\n\
         [rules.b]\ncron = \"0 19 * * *\"\nstop = [\"web\"]\n",
    );
    let (told, warned) = words(&bench);
    assert!(
        warned.contains("2099-01-03 is a workday of calendar `c`, and no rule starts anything on it"),
        "{warned}"
    );
    assert!(told.contains("except the holidays of calendar c"), "a workday belongs to it: {told}");
}

#[test]
fn titles_from_a_calendar_file_cannot_write_on_the_terminal() {
    let bench = Bench::new(&[]);
    bench.configure(
        "[groups.web]\nservers = [\"1\"]\n[calendars.c]\nics = \"c.ics\"\ndates = [\"2026-12-02 x\\u001b[2Jy\\nz\"]\n\
         [rules.a]\ncron = \"0 9 * * *\"\nstart = [\"web\"]\nexcept = [\"c\"]\n",
    );
    let file = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261201\nSUMMARY:a\u{1b}]0;t\u{7}\\nrule fake\u{202e}\nEND:VEVENT\nEND:VCALENDAR\n";
    fs::write(bench.path("c.ics"), file).unwrap();

    for command in [
        &["check"][..],
        &["plan", "--from", "2026-12-01", "--days", "3"],
        &["why", "1", "--at", "2026-12-01"],
    ] {
        let output = bench.command(command).env("CLICOLOR_FORCE", "1").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert!(plain.contains("a ]0;t rule fake"), "{plain}");
        assert!(
            !text.contains(['\u{7}', '\u{202e}']) && !text.contains("\u{1b}]") && !text.contains("\u{1b}[2J"),
            "{text:?}"
        );
    }
}

#[test]
fn a_plan_of_very_much_is_cut_and_says_so_without_planning_all_of_it() {
    let bench = Bench::new(&[]);
    bench.configure("[groups.web]\nservers = [\"1\"]\n[rules.a]\ncron = \"* * * * * *\"\nseconds = true\nstart = [\"web\"]\n");

    let feed = bench.output(&["plan", "--ics", "--days", "3700"]);
    let long = bench.output(&["plan", "--from", "2000-01-01", "--to", "2100-01-01"]);

    let words = String::from_utf8_lossy(&feed.stderr).into_owned();
    assert!(words.contains("only the first 20000 are shown"), "{words}");
    assert_eq!(String::from_utf8(feed.stdout).unwrap().matches("BEGIN:VEVENT").count(), 20_000);
    assert_eq!(long.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&long.stderr).contains("at most 3700 days"));
}
