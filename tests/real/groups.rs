//! Groups against the sandbox in strict mode: selectors over thousands of servers, tags, roles, and the machine itself.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use sunup::adapters::host::Machine;
use sunup::ports::host::Host;

use crate::support::{Bench, in_seconds, json_lines, micros};

/// What the sandbox was asked, without what it answers to nobody.
fn operations(bench: &Bench) -> BTreeSet<String> {
    let requests = bench.sandbox_log().into_iter().filter(|line| line["kind"] == "request");
    requests.map(|line| line["operation"].as_str().unwrap().to_owned()).collect()
}

fn fleet(bench_fleet: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.toml");
    fs::write(&path, bench_fleet).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn four_hundred_of_five_thousand_servers_are_chosen_with_few_requests_and_every_target_ends_right() {
    let mut servers =
        "[[server]]\nno = \"105{n}\"\nname = \"web-{n}\"\nvpc = \"105\"\ncount = 400\n".to_owned();
    for vpc in (101..=112).filter(|vpc| *vpc != 105) {
        let count = if vpc == 112 { 420 } else { 418 };
        servers.push_str(&format!(
            "[[server]]\nno = \"{vpc}{{n}}\"\nname = \"other-{vpc}-{{n}}\"\nvpc = \"{vpc}\"\ncount = {count}\n"
        ));
    }
    let (_folder, path) = fleet(&servers);
    let bench = Bench::new(&["--fleet", &path, "--strict", "--boot", "2s..6s"]);
    let due = in_seconds(22);
    bench.configure(&format!(
        "[groups.web]\nvpc = \"105\"\nname = \"web-*\"\n[rules.launch]\nat = \"{due}\"\nstart = [\"web\"]\n\
         [limits]\nservers_per_run = 500\nself = []\n[checks]\npreflight = \"15s\"\n"
    ));
    let _daemon = bench.daemon();

    let run = bench.ended(1).remove(0);

    assert_eq!(run["outcome"], "done");
    let targets = run["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 400);
    assert!(targets.iter().all(|target| target["outcome"] == "started" && target["attempts"] == 1));
    let lists = bench.requests("getServerInstanceList");
    let before: Vec<&Value> = lists.iter().filter(|line| micros(line) < due.as_microsecond()).collect();
    assert_eq!(before.len(), 4, "four pages of a hundred, once");
    let starts = bench.requests("startServerInstances");
    assert_eq!(starts.len(), 20, "twenty servers a request");
    let took = micros(starts.last().unwrap()) - due.as_microsecond();
    assert!(took < 10_000_000, "the last request left {took} µs after due at five a second");
    // Servers are watched in hundreds, every three seconds and for six at most after the last request.
    assert!(lists.len() <= 4 + 4 * 4, "{} lists", lists.len());
    let needed = ["getRegionList", "getServerInstanceList", "startServerInstances"];
    assert_eq!(operations(&bench), needed.map(ToOwned::to_owned).into());
}

#[test]
fn a_group_by_tag_with_the_keys_of_a_role_needs_only_what_the_permissions_page_names() {
    let (_folder, path) = fleet(
        "[[server]]\nno = \"20{n}\"\nname = \"dev-{n}\"\ntags = { env = \"dev\" }\ncount = 150\nboot = \"1s\"\n\
         [[server]]\nno = \"30{n}\"\nname = \"prod-{n}\"\ntags = { env = \"prod\" }\ncount = 3\nboot = \"1s\"\n",
    );
    let bench = Bench::new(&["--fleet", &path, "--strict"]);
    let text = format!(
        "timezone = \"UTC\"\n[accounts.main]\nendpoint = \"{}\"\nregion = \"KR\"\nrole = true\n\
         [groups.dev]\ntag = \"env=dev\"\n[limits]\nservers_per_run = 200\nself = []\n",
        bench.endpoint
    );
    fs::write(bench.path("sunup.toml"), text).unwrap();
    let with_role = |arguments: &[&str]| {
        let mut command = bench.command(arguments);
        command.env("NCLOUD_METADATA_API_ENDPOINT", &bench.endpoint).output().unwrap()
    };

    let groups = with_role(&["groups", "--json"]);
    let start = with_role(&["start", "dev", "--json"]);

    let groups = json_lines(&String::from_utf8(groups.stdout).unwrap());
    assert_eq!(groups[0]["servers"].as_array().unwrap().len(), 150);
    assert_eq!(start.status.code(), Some(0), "{}", String::from_utf8_lossy(&start.stderr));
    let run = json_lines(&String::from_utf8(start.stdout).unwrap()).remove(0);
    let targets = run["targets"].as_array().unwrap();
    assert!(targets.len() == 150 && targets.iter().all(|t| t["outcome"] == "started"), "{run}");
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/permissions.md")).unwrap();
    for operation in operations(&bench) {
        let named = if operation == "resources" { "/api/v1/resources".to_owned() } else { operation };
        assert!(page.contains(&format!("{named}`")), "{named} is not in docs/permissions.md");
    }
    let refused = bench.sandbox_log().into_iter().filter(|line| line["status"].as_i64() > Some(399)).count();
    assert_eq!(refused, 0);
}

#[test]
fn the_server_with_this_machines_address_is_never_stopped() {
    let addresses = Machine.addresses().unwrap();
    let own = addresses.iter().find(|address| address.is_ipv4()).map(ToString::to_string);
    let (_folder, path) = fleet(&format!(
        "[[server]]\nno = \"7001\"\nname = \"here\"\nip = \"{}\"\nstate = \"RUN\"\n\
         [[server]]\nno = \"7002\"\nname = \"there\"\nip = \"203.0.113.7\"\nstate = \"RUN\"\n",
        own.as_deref().unwrap_or("203.0.113.8")
    ));
    let bench = Bench::new(&["--fleet", &path, "--strict"]);
    bench.configure("[groups.all]\nname = \"*\"\n");
    let _daemon = bench.daemon_in_force();

    let stop = bench.output(&["stop", "all", "--yes", "--json"]);

    let run = json_lines(&String::from_utf8(stop.stdout).unwrap()).remove(0);
    let outcomes: Vec<&str> =
        run["targets"].as_array().unwrap().iter().map(|t| t["outcome"].as_str().unwrap()).collect();
    // A machine without an address of its own is no server of anybody.
    let here = if own.is_some() { "skipped" } else { "stopped" };
    assert_eq!(outcomes, [here, "stopped"], "{run}");
    let stopped: Vec<Value> =
        bench.requests("stopServerInstances").iter().map(|line| line["servers"].clone()).collect();
    assert_eq!(stopped.iter().any(|servers| servers.to_string().contains("7001")), own.is_none());
}

#[test]
fn an_account_whose_keys_are_refused_changes_nothing_for_the_punctuality_of_another() {
    let bench = Bench::new(&["--servers", "4", "--strict"]);
    fs::copy(bench.path("access"), bench.path("other")).unwrap();
    let due = in_seconds(17);
    let folder = bench.folder.path().display();
    bench.configure(&format!(
        "[accounts.broken]\nendpoint = \"{}\"\nregion = \"KR\"\naccess_key = {{ file = \"{folder}/other\" }}\n\
         secret_key = {{ file = \"{folder}/other\" }}\n\
         [groups.web]\naccount = \"main\"\nname = \"srv-*\"\n[groups.far]\naccount = \"broken\"\nservers = [\"1001\"]\n\
         [rules.launch]\nat = \"{due}\"\nstart = [\"web\", \"far\"]\nwindow = \"25s\"\n[checks]\npreflight = \"15s\"\n",
        bench.endpoint
    ));
    let _daemon = bench.daemon();

    let run = bench.ended(1).remove(0);

    let starts = bench.requests("startServerInstances");
    let good = starts.iter().find(|line| line["signature"] == "valid").unwrap();
    let late = micros(good) - due.as_microsecond();
    assert!((0..1_000_000).contains(&late), "the request arrived {late} µs after due");
    let ended = |account: &str| -> Vec<String> {
        let targets = run["targets"].as_array().unwrap().iter().filter(|t| t["account"] == account);
        targets.map(|t| t["outcome"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ended("main"), ["started", "started", "started", "started"]);
    assert_eq!(ended("broken"), ["missed"]);
}
