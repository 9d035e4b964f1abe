//! Calendar files beside a running daemon: changed, broken, mended, and broken over a restart.

use std::fs;

use crate::support::{Bench, json_lines};
use crate::wait::until;

const RULE: &str = "[groups.web]\nservers = [\"1001\"]\n[calendars.closed]\nics = \"closed.ics\"\nics_match = \"*closed*\"\n\
                    [rules.far]\ncron = \"0 9 1 1 *\"\nstart = [\"web\"]\nexcept = [\"closed\"]\n";

fn file(date: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:{date}\r\n\
         SUMMARY:closed for inventory\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
}

/// The year of the next start, by the daemon.
fn next_year(bench: &Bench) -> Option<String> {
    let due = bench.status()?["next"][0]["due"].as_str()?.to_owned();
    due.get(..4).map(ToOwned::to_owned)
}

#[test]
fn a_calendar_file_is_read_again_when_it_changes_and_keeps_its_last_good_content_when_it_breaks() {
    let bench = Bench::new(&[]);
    bench.configure(RULE);
    fs::write(bench.path("closed.ics"), file("20270102")).unwrap();
    let mut daemon = bench.daemon_in_force();
    assert_eq!(next_year(&bench).as_deref(), Some("2027"));

    // Nobody reloads anything: the file is looked at every minute.
    fs::write(bench.path("closed.ics"), file("20270101")).unwrap();
    until("the changed file is in force", || (next_year(&bench)? == "2028").then_some(()));

    fs::write(bench.path("closed.ics"), "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n").unwrap();
    daemon.signal("HUP");
    let status = until("the broken file is told", || {
        bench.status().filter(|status| !status["calendar_problem"].is_null())
    });
    assert!(status["calendar_problem"].as_str().unwrap().contains("breaks off"), "{status}");
    assert!(status["config_problem"].is_null(), "{status}");
    assert_eq!(next_year(&bench).as_deref(), Some("2028"));
    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(), 0);

    let _daemon = bench.daemon_in_force();
    assert_eq!(next_year(&bench).as_deref(), Some("2028"));
    assert!(!bench.status().unwrap()["calendar_problem"].is_null());
    // The plan rests on what the daemon rests on; the check says what is wrong.
    let plan = bench.output(&["plan", "--json", "--from", "2026-12-31", "--days", "3"]);
    assert_eq!(plan.status.code(), Some(0), "{}", String::from_utf8_lossy(&plan.stderr));
    let lines = json_lines(&String::from_utf8(plan.stdout).unwrap());
    assert_eq!(lines[0]["skipped"], "closed for inventory (calendar closed)");
    let check = bench.output(&["check"]);
    assert_eq!(check.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&check.stderr).contains("breaks off"));

    fs::write(bench.path("closed.ics"), file("20270102")).unwrap();
    until("the mended file is in force", || (next_year(&bench)? == "2027").then_some(()));
    until("the trouble is over", || bench.status()?["calendar_problem"].is_null().then_some(()));
}

#[test]
fn a_calendar_file_that_was_never_good_ends_the_start_with_78_and_its_content_is_not_shown() {
    let bench = Bench::new(&[]);
    bench.configure(RULE);
    fs::copy(bench.path("secret"), bench.path("closed.ics")).unwrap();

    let run = bench.output(&["run"]);

    assert_eq!(run.status.code(), Some(78));
    let words = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(words.contains("calendar file `closed.ics` cannot be used"), "{words}");
    assert!(!words.contains("secret\n"), "{words}");
}
