//! What the configuration of groups takes, refuses and warns of.

use sunup::settings::Settings;
use sunup::settings::diagnostics::Severity;

const TOP: &str = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n";

/// The titles of what is wrong (`error: …`) or odd (`warning: …`).
fn told(groups: &str) -> Vec<String> {
    let problems = match Settings::read(&format!("{TOP}{groups}")) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    let word = |severity| if severity == Severity::Error { "error" } else { "warning" };
    problems.iter().map(|problem| format!("{}: {}", word(problem.severity), problem.title)).collect()
}

#[test]
fn every_mistake_in_a_group_is_told_by_its_name() {
    let table = [
        ("[groups.web]\n", "error: group `web` has no server"),
        ("[groups.web]\nvpc = []\n", "error: `vpc` of group `web` is an empty list"),
        ("[groups.web]\nname = \"\"\n", "error: `name` has an empty word"),
        ("[groups.web]\nvpc = \"7*\"\n", "error: `vpc` takes no pattern"),
        ("[groups.web]\ntag = \"=x\"\n", "error: `=x` is no tag"),
        ("[groups.web]\nservers = [\"web-1\"]\n", "error: `web-1` is no server instance number"),
        ("[groups.web]\nname = \"*\"\nexclude = [\"group:db\"]\n", "error: `group:db` can be no server"),
        (
            "[groups.web]\nname = \"*\"\n[limits]\nprotect = [\"main/201\"]\n",
            "error: `main/201` can be no server",
        ),
        (
            "[groups.web]\nname = \"*\"\nhypervisor = \"VMWARE\"\n",
            "warning: `VMWARE` is no hypervisor that is known",
        ),
        ("[groups.web]\nservers = [\"1\"]\nany = 2\n", "error: `any` is 2 and the group has 1 servers"),
        ("[groups.web]\nname = \"*\"\ncanary = -1\n", "error: `canary` is -1"),
        ("[groups.web]\nname = \"*\"\non_growth = 0.5\n", "error: `on_growth` is 0.5"),
        ("[groups.web]\nname = \"*\"\non_growth = nan\n", "error: `on_growth` is NaN"),
        ("[groups.web]\nname = \"*\"\nafter = [\"dd\"]\n", "error: unknown group `dd`"),
        ("[groups.web]\nname = \"*\"\nbusy = { tcp = \"h:0\" }\n", "error: `h:0` is no address"),
        (
            "[groups.web]\nname = \"*\"\nbusy = { tcp = \"h:1\", within = \"5m\" }\n",
            "error: `busy` has no `within`",
        ),
        ("[groups.web]\nname = \"*\"\nbusy = { status = 200 }\n", "error: `busy` does not say what to ask"),
        (
            "[groups.web]\nname = \"*\"\nbusy = { http = \"http://u:p@h/\" }\n",
            "error: a probe's URL cannot hold a user name or a password",
        ),
        (
            "[groups.web]\nname = \"*\"\nbusy = { http = \"ftp://h/\" }\n",
            "error: `ftp://h/` is no URL that can be asked",
        ),
        ("[groups.web]\nname = \"*\"\nbusy = \"tcp:5\"\n", "error: `busy` of group `web` has the wrong type"),
        (
            "[groups.web]\nname = \"*\"\nready = { tcp = \"h:1\" }\n",
            "warning: `ready` of group `web` is asked by nobody",
        ),
        ("[groups.web]\nname = \"*\"\n[checks]\npreflight = \"1s\"\n", "error: `1s` is too short"),
        ("[groups.web]\nname = \"*\"\n[checks]\nrehearse = \"2d\"\n", "error: `2d` is too long"),
    ];

    for (groups, want) in table {
        assert_eq!(told(groups), [want], "{groups}");
    }
}

#[test]
fn groups_that_wait_for_each_other_are_an_error_that_shows_the_circle() {
    let group =
        |name: &str, after: &str| format!("[groups.{name}]\nservers = [\"1\"]\nafter = [\"{after}\"]\n");

    let circle = told(&[group("web", "app"), group("app", "db"), group("db", "web")].concat());
    let itself = told(&group("web", "web"));

    assert_eq!(circle, ["error: groups wait for each other: `app` → `db` → `web` → `app`"]);
    assert_eq!(itself, ["error: groups wait for each other: `web` → `web`"]);
}

#[test]
fn a_long_chain_is_read_in_time_and_a_window_that_is_shorter_is_warned_of() {
    let mut text = String::new();
    for n in 0..3000 {
        let after = if n == 0 { String::new() } else { format!("after = [\"g{}\"]\n", n - 1) };
        text.push_str(&format!("[groups.g{n}]\nservers = [\"{}\"]\n{after}", 1001 + n));
    }
    let rule = "[rules.r]\ncron = \"50 8 * * *\"\nstart = [\"g2999\"]\nwindow = \"1h\"\n";

    let told = told(&format!("{text}{rule}"));

    assert_eq!(told, ["warning: the window `1h` is shorter than what the start may wait for"]);
}

#[test]
fn a_group_that_comes_after_one_that_no_rule_starts_is_warned_of() {
    let text = format!(
        "{TOP}[groups.db]\nservers = [\"1\"]\n[groups.web]\nname = \"web-*\"\nafter = [\"db\"]\n\
         [rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n"
    );
    let settings = Settings::read(&text).unwrap().settings;

    let advice = sunup::settings::advice::of(&settings, "2026-11-23T00:00:00Z".parse().unwrap());

    assert!(advice.iter().any(|line| line.contains("comes after `db`, which no rule starts")), "{advice:?}");
}
