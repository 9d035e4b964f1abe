//! The first configuration, written from what the account has.

use crate::support::Bench;

fn ran(bench: &Bench, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = bench.command(arguments);
    command.envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn init_writes_a_configuration_that_is_good_groups_servers_by_name_and_starts_nothing_yet() {
    let fleet = tempfile::tempdir().unwrap();
    let path = fleet.path().join("fleet.toml");
    let servers = "[[server]]\nno = \"20{n}\"\nname = \"web-{n}\"\ncount = 3\n[[server]]\nno = \"301\"\nname = \"db\"\n";
    std::fs::write(&path, servers).unwrap();
    let bench = Bench::new(&["--fleet", path.to_str().unwrap()]);
    let endpoint = bench.endpoint.clone();
    let keys = [("NCLOUD_ACCESS_KEY_ID", "access"), ("NCLOUD_SECRET_KEY", "secret")];

    let (code, out, err) = ran(&bench, &["init", "--endpoint", &endpoint], &keys);
    let (again, _, words) = ran(&bench, &["init", "--endpoint", &endpoint], &keys);
    let (checked, _, problems) = ran(&bench, &["check"], &keys);
    let (_, plan, told) = ran(&bench, &["plan", "--days", "3"], &keys);

    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("2 groups") && err.contains("enabled = true"), "{out}{err}");
    assert_eq!((again, checked), (2, 0), "{problems}");
    assert!(words.contains("is there already and is not written over"), "{words}");
    let text = std::fs::read_to_string(bench.path("sunup.toml")).unwrap();
    assert!(text.contains("[groups.\"web\"]\n# 201: web-1\n# 202: web-2\n# 203: web-3\nservers = [\"201\", \"202\", \"203\"]"), "{text}");
    assert!(text.contains("[groups.\"db\"]"), "{text}");
    assert!(plan.is_empty() && told.contains("nothing is planned"), "{plan}{told}");
}

#[test]
fn init_does_without_the_cloud_what_can_be_done_and_says_what_is_missing() {
    let bench = Bench::new(&[]);

    let (code, out, err) = ran(&bench, &["init", "--offline", "--server", "1001,1002", "--print"], &[]);
    let (no_keys, _, missing) = ran(&bench, &["init", "--print"], &[]);
    let (no_server, ..) = ran(&bench, &["init", "--offline"], &[]);
    let (wrong, _, problem) =
        ran(&bench, &["init", "--server", "1001", "--print", "--hours", "sometimes"], &[]);
    let (zone, _, odd) = ran(&bench, &["init", "--server", "1001", "--print", "--timezone", "Mars"], &[]);

    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("servers = [\"1001\", \"1002\"]") && out.contains("credential = \"ncloud-access-key\""),
        "{out}"
    );
    assert_eq!((no_keys, no_server, wrong, zone), (69, 2, 2, 2));
    assert!(missing.contains("credential") && missing.contains("--offline --server"), "{missing}");
    assert!(problem.contains("sometimes") && odd.contains("Mars"), "{problem}{odd}");
    assert!(!bench.path("sunup.toml").exists());
}
