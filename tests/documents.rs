//! What readers are given is true: the example is valid, the unit is sound, the documents name what exists.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use jiff::SignedDuration;
use jiff::civil::Date;
use sunup::domain::plan::{Explained, explained};
use sunup::domain::schedule::Fate;
use sunup::settings::Settings;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_example_configuration_is_valid_and_every_key_in_it_is_known() {
    let example = text("config/sunup.toml");

    let loaded = Settings::read(&example).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(loaded.warnings.is_empty());
    assert_eq!((loaded.settings.rules.len(), loaded.settings.groups.len()), (4, 2));

    // The keys that are commented out are offered as they are, so they must be valid too.
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.starts_with('[')
                    || rest
                        .split_once(" = ")
                        .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_')) =>
            {
                rest
            }
            _ => line,
        })
        // One of two is offered, and a file that is not there cannot be read.
        .filter(|line| {
            *line != "seconds = false"
                && !line.starts_with("site")
                && !line.starts_with("ics")
                && !line.starts_with("only")
        })
        .collect::<Vec<_>>()
        .join("\n");
    assert!(uncommented.matches("\nbatch").count() == 1 && uncommented.matches("\nfold").count() == 1);
    Settings::read(&uncommented).unwrap_or_else(|problems| panic!("{problems:#?}"));
}

#[test]
fn every_toml_example_in_the_documents_is_valid() {
    let mut checked = 0;
    for path in ["README.md", "README.ko.md", "docs/configuration.md", "docs/notices.md", "docs/metrics.md"] {
        let document = text(path);
        for block in document.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            if let Err(problems) = Settings::read(block) {
                panic!("{path}:\n{block}\n{problems:#?}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} examples were found");
}

/// The lines of a plan, as `docs/schedules.md` shows them.
fn planned(settings: &Settings, from: &str, to: &str) -> Vec<String> {
    let zone = settings.timezone.clone().unwrap();
    let midnight = |date: &str| zone.to_timestamp(date.parse::<Date>().unwrap().at(0, 0, 0, 0)).unwrap();
    let lines =
        explained(settings.rules.values(), midnight(from) - SignedDuration::from_secs(1), midnight(to));
    let show = |line: &Explained| {
        let occurrence = &line.occurrence;
        let zone = &settings.rules[&occurrence.rule].schedule.zone;
        let at = zone.to_datetime(occurrence.due).strftime("%a %-d %b %H:%M");
        let what = format!("{at} {} {}", occurrence.action, occurrence.rule);
        match &line.fate {
            Fate::Due => what,
            Fate::Moved(moved) => format!("~ {what}: {moved}"),
            Fate::Struck(cause) => format!("x {what}: {cause}"),
        }
    };
    lines.iter().map(show).collect()
}

#[test]
fn every_example_of_the_schedules_plans_what_stands_below_it() {
    let document = text("docs/schedules.md");
    let mut checked = 0;
    for part in document.split("```toml\n").skip(1) {
        let (example, rest) = part.split_once("```").unwrap();
        let zone = "timezone = \"Asia/Seoul\"\ncalendar = \"kr\"\n";
        let world = "[accounts.main]\nregion = \"KR\"\n[groups.db]\nservers = [\"1\"]\n[groups.web]\nservers = [\"2\"]\n\
                     [calendars.kr]\nbuiltin = \"kr\"\n";
        let whole = format!("{zone}{world}{example}");
        let settings =
            Settings::read(&whole).unwrap_or_else(|problems| panic!("{example}\n{problems:#?}")).settings;
        for plan in rest.split("```plan ").skip(1) {
            let (head, lines) = plan.split_once('\n').unwrap();
            let (from, to) = head.split_once(' ').unwrap();
            let want: Vec<&str> = lines.split("```").next().unwrap().lines().collect();

            assert_eq!(planned(&settings, from, to), want, "{example}");
            checked += 1;
        }
    }
    assert!(checked >= 12, "only {checked} plans were found");
}

#[test]
fn every_key_that_is_read_is_documented() {
    let (documented, reader) = (text("docs/configuration.md"), text("src/settings/reader.rs"));
    let calls = ["get(\"", "list(\"", "secret(\"", "one_or_list(\"", "several(\"", "named(\"", "single(\""];
    let mut keys: Vec<&str> = calls
        .iter()
        .flat_map(|call| reader.split(call).skip(1).filter_map(|rest| rest.split('"').next()))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    assert!(keys.len() > 30, "{keys:?}");

    let missing: Vec<&&str> = keys.iter().filter(|key| !documented.contains(&format!("`{key}`"))).collect();

    assert!(missing.is_empty(), "docs/configuration.md lacks {missing:?}");
}

/// A whole configuration in which each table has what it must have, with a line more in one of them. Some keys go with some kinds alone, so
/// there is more than one.
fn configurations(table: &str, line: &str) -> Vec<String> {
    let rest = "[groups.other]\nservers = [\"1\"]\n";
    let whole = |tables: &[(&str, &str)]| {
        let mut text = String::new();
        for (name, body) in tables {
            let more = if *name == table { line } else { "" };
            let head = if *name == "Top" { String::new() } else { format!("[{name}]\n") };
            text.push_str(&format!("{head}{body}{more}\n"));
        }
        text + rest
    };
    let start = ("Top", "timezone = \"UTC\"\n");
    let account = ("accounts.NAME", "region = \"KR\"\n");
    let group = ("groups.NAME", "vpc = \"75\"\n");
    let calendar = ("calendars.NAME", "");
    let limits = [("limits", ""), ("checks", ""), ("store", ""), ("log", "")];
    let kinds = [
        ("cron = \"0 9 * * *\"\nstart = [\"NAME\"]\n", "kind = \"slack\"\nurl = { env = \"U\" }\n"),
        (
            "hours = \"MON-FRI 09:00-18:00\"\nrun = [\"NAME\"]\nexcept = [\"NAME\"]\n",
            "kind = \"command\"\ncommand = [\"/m\"]\n",
        ),
    ];
    kinds
        .into_iter()
        .map(|(rule, notify)| {
            let mut tables = vec![start, account, group, calendar, ("rules.NAME", rule)];
            tables.extend(limits);
            tables.extend([("notify.NAME", notify), ("heartbeat", "url = { env = \"H\" }\n")]);
            tables.push(("http", "listen = \"127.0.0.1:1\"\n"));
            whole(&tables)
        })
        .collect()
}

#[test]
fn every_default_in_the_page_of_the_configuration_is_that_of_the_program() {
    let page = text("docs/configuration.md");
    let settings = |text: &str| {
        let read = Settings::read(text).ok()?.settings;
        Some(Settings { text: String::new(), ..read })
    };
    let (mut table, mut compared) = (String::new(), Vec::new());
    for line in page.lines() {
        if let Some(head) = line.strip_prefix("## ") {
            let named = head.split("`[").nth(1).and_then(|rest| rest.split(']').next());
            table = named.unwrap_or(head).to_owned();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, keys, default, ..] = cells.as_slice() else { continue };
        let default = default.trim_matches('`');
        let is_length = default.len() > 1
            && default[..default.len() - 1].chars().all(|c| c.is_ascii_digit())
            && default.ends_with(['s', 'm', 'h', 'd']);
        let value = if is_length { format!("\"{default}\"") } else { default.to_owned() };
        // Words tell defaults that are no values; of a site the environment decides where the file says nothing.
        let is_value = toml::from_str::<toml::Table>(&format!("x = {value}")).is_ok();
        if !keys.starts_with('`') || !is_value || *keys == "`site`" {
            continue;
        }
        for key in keys.split(", ").map(|key| key.trim_matches('`')) {
            let said = configurations(&table, &format!("{key} = {value}"));
            let unsaid = configurations(&table, "");
            let pairs = said.iter().zip(&unsaid);
            let both: Vec<_> =
                pairs.filter_map(|(said, unsaid)| Some((settings(said)?, settings(unsaid)?))).collect();
            assert!(
                !both.is_empty(),
                "`{key} = {value}` is not valid in [{table}]: {:#?}",
                Settings::read(&said[0])
            );
            for (said, unsaid) in both {
                assert_eq!(said, unsaid, "`{key}` of [{table}] is not {value} where nothing is said");
            }
            compared.push(key.to_owned());
        }
    }
    assert!(compared.len() >= 35, "{} were compared: {compared:?}", compared.len());
}

/// The keys that a function of the configuration's reader takes out of its table.
fn keys_of_reader(function: &str) -> std::collections::BTreeSet<String> {
    let reader = text("src/settings/reader.rs");
    let (_, rest) = reader.split_once(&format!("\nfn {function}(")).unwrap();
    let body = rest.split("\n}\n").next().unwrap();
    let calls =
        ["get(\"", "list(\"", "secret(\"", "several(\"", "named(\"", "single(\"", "term(\"", "part(\""];
    let after = |call: &&str| body.split(*call).skip(1).map(str::to_owned).collect::<Vec<String>>();
    calls.iter().flat_map(after).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn the_schema_knows_just_the_keys_that_the_reader_knows_and_is_what_the_command_prints() {
    let schema: serde_json::Value = serde_json::from_str(&text("config/sunup.schema.json")).unwrap();
    assert_eq!(printed(&["schema"]), text("config/sunup.schema.json"));
    let known = |shape: &serde_json::Value| {
        assert_eq!(shape["additionalProperties"], false, "{shape}");
        shape["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<std::collections::BTreeSet<String>>()
    };

    assert_eq!(known(&schema), keys_of_reader("file"));
    for table in [
        "account",
        "group",
        "calendar",
        "rule",
        "limits",
        "checks",
        "store",
        "log",
        "notify",
        "heartbeat",
        "http",
    ] {
        assert_eq!(known(&schema["$defs"][table]), keys_of_reader(table), "{table}");
    }
    assert_eq!(known(&schema["$defs"]["ready"]), keys_of_reader("probe"));
    let places = ["credential", "env", "file"].map(str::to_owned);
    assert_eq!(known(&schema["$defs"]["secret"]), places.into_iter().collect());
}

/// What a value of a configuration breaks of a schema: the parts of the language that ours uses.
fn breaks(
    value: &serde_json::Value,
    shape: &serde_json::Value,
    root: &serde_json::Value,
    at: &str,
) -> Vec<String> {
    if let Some(name) = shape["$ref"].as_str().and_then(|place| place.strip_prefix("#/$defs/")) {
        return breaks(value, &root["$defs"][name], root, at);
    }
    if let Some(choices) = shape["enum"].as_array() {
        return if choices.contains(value) {
            Vec::new()
        } else {
            vec![format!("{at}: {value} is no choice")]
        };
    }
    if let Some(shapes) = shape["oneOf"].as_array().filter(|_| shape["type"].is_null()) {
        let fits = shapes.iter().filter(|shape| breaks(value, shape, root, at).is_empty()).count();
        return if fits == 1 { Vec::new() } else { vec![format!("{at}: {value} fits {fits} shapes")] };
    }
    let is_of = match shape["type"].as_str().unwrap() {
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    };
    if !is_of {
        return vec![format!("{at}: {value} is no {}", shape["type"])];
    }
    let items = value.as_array().into_iter().flatten();
    let mut found: Vec<String> = items.flat_map(|item| breaks(item, &shape["items"], root, at)).collect();
    for (key, inner) in value.as_object().into_iter().flatten() {
        let known = &shape["properties"][key];
        match (known.is_null(), &shape["additionalProperties"]) {
            (false, _) => found.extend(breaks(inner, known, root, &format!("{at}.{key}"))),
            (true, serde_json::Value::Bool(false)) => found.push(format!("{at}: no key {key}")),
            (true, other) => found.extend(breaks(inner, other, root, &format!("{at}.{key}"))),
        }
    }
    found
}

#[test]
fn the_example_and_every_example_of_the_documents_fit_the_schema_and_mistakes_do_not() {
    let schema: serde_json::Value = serde_json::from_str(&text("config/sunup.schema.json")).unwrap();
    let judged = |toml: &str| {
        let value: toml::Value = toml::from_str(toml).unwrap();
        breaks(&serde_json::to_value(value).unwrap(), &schema, &schema, "")
    };

    for whole in ["config/sunup.toml", "config/examples/company.toml", "packaging/sunup.toml"] {
        assert_eq!(judged(&text(whole)), Vec::<String>::new(), "{whole}");
        assert!(Settings::read(&text(whole)).is_ok(), "{whole}");
    }
    for path in ["README.md", "README.ko.md", "docs/configuration.md", "docs/notices.md", "docs/metrics.md"] {
        for block in text(path).split("```toml\n").skip(1) {
            assert_eq!(judged(block.split("```").next().unwrap()), Vec::<String>::new(), "{path}");
        }
    }
    for wrong in [
        "timezon = \"UTC\"",
        "[rules.r]\nenabled = \"yes\"",
        "[log]\nlevel = \"loud\"",
        "[accounts.a]\nregion = \"KR\"\naccess_key = \"x\"",
    ] {
        assert_eq!(judged(wrong).len(), 1, "{wrong}");
    }
}

#[test]
fn the_exit_codes_of_the_help_are_those_of_the_program() {
    let help = Command::new(env!("CARGO_BIN_EXE_sunup")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let source = text("src/cli/exit.rs");
    for code in ["0", "1", "2", "3", "69", "75", "78"] {
        assert!(source.contains(&format!("=> {code},")), "{code}");
        assert!(help.split(['\n', ' ']).any(|word| word == code), "{code} is not in the help");
    }
    insta::assert_snapshot!("help", help);
}

#[test]
fn dashboard_and_alerts_name_only_metrics_that_there_are_and_the_page_names_all() {
    use sunup::domain::name::{Action, RuleName};
    use sunup::domain::outcome::{Outcome, ReasonKind, RunOutcome};
    use sunup::http::metrics::{Metrics, OnDisk};
    use sunup::ports::meter::{Happening, Meter};
    let settings = Settings::read(&text("config/sunup.toml")).unwrap().settings;
    let (metrics, rule, at) = (Metrics::new(), RuleName::new("r").unwrap(), jiff::Timestamp::UNIX_EPOCH);
    let (rule, action, second) = (&rule, Action::Start, SignedDuration::from_secs(1));
    let (outcome, took) = (&Outcome::Started, Some(second));
    for happening in [
        Happening::RunBegan { action, late: second },
        Happening::RunEnded { rule: Some(rule), action, outcome: RunOutcome::Done, ended: at },
        Happening::Missed { rule, action, cause: ReasonKind::Down, count: 1 },
        Happening::TargetEnded { action, outcome, took },
        Happening::Asked { action },
        Happening::Answered { result: "accepted", status: Some(200) },
    ] {
        metrics.note(happening);
    }
    let status =
        serde_json::json!({"accounts": [{"account": "main", "accepted_at": "2026-11-23T08:50:00Z"}]});
    let shown = metrics.text(&status, &settings, at, OnDisk { journal_bytes: Some(1), notices: 0 });
    let samples = shown.lines().filter(|line| !line.starts_with('#'));
    let names: std::collections::BTreeSet<&str> =
        samples.map(|line| line.split(['{', ' ']).next().unwrap()).collect();
    let used = |document: &str| {
        let words = document.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        words.filter(|word| word.starts_with("sunup_")).map(str::to_owned).collect::<Vec<String>>()
    };

    let dashboard: serde_json::Value = serde_json::from_str(&text("config/grafana-dashboard.json")).unwrap();
    for document in [dashboard.to_string(), text("config/prometheus-alerts.yml")] {
        let used = used(&document);
        assert!(used.len() > 5);
        for name in used {
            assert!(names.contains(name.as_str()), "there is no metric {name}");
        }
    }
    let page = used(&text("docs/metrics.md"));
    for name in names {
        let base =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(page.iter().any(|word| word == base), "docs/metrics.md lacks {base}");
    }
}

/// What a command of the program prints.
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sunup")).args(arguments).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands of the program, as its help lists them.
fn commands() -> Vec<String> {
    let help = printed(&["--help"]);
    let (_, listed) = help.split_once("Commands:\n").unwrap();
    let listed = listed.lines().take_while(|line| line.starts_with("  "));
    let found: Vec<String> = listed.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(found.len() > 10, "{found:?}");
    found.into_iter().filter(|command| command != "help").collect()
}

#[test]
fn every_command_has_a_manual_page_with_its_options() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();

    assert_eq!(printed(&["man", "--out", out]), "");

    let page = |name: &str| fs::read_to_string(folder.path().join(format!("{name}.1"))).unwrap();
    assert_eq!(page("sunup"), printed(&["man"]));
    for command in commands() {
        assert!(page("sunup").contains(&format!("sunup\\-{command}(1)")), "{command}");
        let own = page(&format!("sunup-{command}"));
        assert!(own.starts_with(".ie") && own.contains("\\-\\-config"), "{command}: {own}");
    }
    // `notify test` has one of its own.
    assert!(page("sunup-notify-test").contains("\\-\\-config"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2 + commands().len());
    let wrong =
        Command::new(env!("CARGO_BIN_EXE_sunup")).args(["man", "--out", "/nowhere"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn shells_are_given_scripts_that_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        for command in commands() {
            assert!(script.contains(&command), "{shell} lacks {command}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunup.bash");
    fs::write(&path, printed(&["completions", "bash"])).unwrap();
    let line = format!(
        "source {} && COMP_WORDS=(sunup pau) COMP_CWORD=1 && _sunup sunup pau sunup && echo \"${{COMPREPLY[*]}}\"",
        path.display()
    );
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "pause");
}

/// What `systemd-analyze` says of the shipped unit, with the drop-in beside it or without, and whether it found nothing wrong.
fn analyzed(arguments: &[&str], drop_in: Option<&str>) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    // The program is not installed where the unit expects it, which is the one thing that may differ.
    let copy = folder.path().join("sunup.service");
    let unit = text("systemd/sunup.service").replace("/usr/bin/sunup", env!("CARGO_BIN_EXE_sunup"));
    fs::write(&copy, unit).unwrap();
    if let Some(drop_in) = drop_in {
        let beside = folder.path().join("sunup.service.d");
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join("egress.conf"), text(drop_in)).unwrap();
    }

    let output = Command::new("systemd-analyze").args(arguments).arg(&copy).output();

    let output = output.expect("systemd-analyze is installed by scripts/test");
    let words = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&words).trim().to_owned())
}

#[test]
fn the_unit_is_sound_where_systemd_can_tell() {
    for drop_in in [None, Some("systemd/egress.conf")] {
        let (is_sound, words) = analyzed(&["verify", "--man=no"], drop_in);

        assert!(is_sound && words.is_empty(), "{words}");
    }
}

#[test]
fn the_unit_exposes_no_more_than_it_must() {
    // In tenths: 1.1 of 10. What is left is the network, which is what it is for, and the system's own root folder.
    let (is_low, words) = analyzed(&["security", "--offline=true", "--threshold=11"], None);

    assert!(is_low, "{words}");
}
