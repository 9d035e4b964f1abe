//! The HTTP listener as those who watch use it, and those who mean no good.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use jiff::SignedDuration;
use sunup::adapters::clock::SystemClock;
use sunup::ports::clock::Clock;

use crate::support::{Bench, cron_at, in_seconds};
use crate::wait::until;

/// A daemon with a listener on loopback, and the listener's address.
fn listening(more: &str, environment: &[(&str, &str)]) -> (Bench, crate::support::Process, String) {
    let bench = Bench::new(&["--boot", "1s..1s"]);
    bench.configure(&format!("[groups.web]\nservers = [\"1001\"]\n[http]\nlisten = \"127.0.0.1:0\"\n{more}"));
    let daemon = bench.daemon_by(&["env"], environment);
    bench.wait_until_in_force();
    let address = until("it listens", || {
        let log = bench.daemon_log();
        let (_, rest) = log.split_once("metrics and health are at ")?;
        Some(rest.split(['"', ' ', '\n']).next()?.to_owned())
    });
    (bench, daemon, address)
}

/// Sends bytes and reads until the other side closes, or for a while.
fn say(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // Whoever is turned away early may find the door shut while he still speaks.
    let _ = stream.write_all(bytes);
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

fn get(address: &str, path: &str, headers: &str) -> String {
    say(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n").as_bytes(),
    )
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn what_may_be_asked_is_answered_and_everything_else_is_turned_away() {
    let token = "token-0123456789";
    let (_bench, _daemon, address) = listening("token = { env = \"TOKEN\" }\n", &[("TOKEN", token)]);
    let auth = format!("Authorization: Bearer {token}\r\n");
    let request = |method: &str, path: &str, host: &str, more: &str| {
        let host = if host.is_empty() { String::new() } else { format!("Host: {host}\r\n") };
        format!("{method} {path} HTTP/1.1\r\n{host}{more}Connection: close\r\n\r\n")
    };
    let port = address.rsplit(':').next().unwrap();
    let here = format!("127.0.0.1:{port}");
    let long = format!("/{}", "a".repeat(20_000));
    let bulky = format!("{auth}X-Bulk: {}\r\n", "b".repeat(20_000));
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).chain([auth.clone()]).collect();
    let wrong = "Authorization: Bearer token-0123456780\r\n";
    let with_body = format!("{auth}Content-Length: 3\r\n");
    let table: Vec<(String, &str)> = vec![
        (request("GET", "/metrics", "localhost", &auth), "200"),
        (request("GET", "/healthz", "localhost", &auth), "200"),
        (request("GET", "/readyz", "localhost", &auth), "200"),
        (request("HEAD", "/metrics", "localhost", &auth), "200"),
        (request("GET", "/metrics?x=1", "localhost", &auth), "200"),
        (request("GET", "/metrics", &here, &auth), "200"),
        (request("GET", "/metrics", "LOCALHOST:1", &auth), "200"),
        (request("GET", "/metrics", "[::1]:7717", &auth), "200"),
        (request("GET", "/metrics", "127.1.2.3", &auth), "200"),
        (request("GET", "/metrics", "", &auth), "400"),
        (request("GET", "/metrics", "example.com", &auth), "421"),
        (request("GET", "/metrics", "localhost.example.com", &auth), "421"),
        (request("GET", "/metrics", "127.0.0.1.nip.io", &auth), "421"),
        (request("GET", "/metrics", "10.0.0.1", &auth), "421"),
        (request("GET", "/metrics", "0.0.0.0", &auth), "421"),
        (request("GET", "/metrics", "[fe80::1]", &auth), "421"),
        (request("GET", "/metrics", "evil", ""), "421"),
        (request("GET", "/metrics", "localhost", ""), "401"),
        (request("GET", "/healthz", "localhost", ""), "401"),
        (request("GET", "/metrics", "localhost", wrong), "401"),
        (request("GET", "/metrics", "localhost", "Authorization: Bearer \r\n"), "401"),
        (request("GET", "/metrics", "localhost", "Authorization: Basic dG9rZW4=\r\n"), "401"),
        (request("GET", "/metrics", "localhost", &format!("Authorization: {token}\r\n")), "401"),
        (request("GET", "/metrics", "localhost", &format!("Authorization: Bearer {token}x\r\n")), "401"),
        (request("GET", "/metrics", "localhost", "Authorization: Bearer \u{ff}\r\n"), "401"),
        (request("POST", "/metrics", "localhost", &auth), "405"),
        (request("PUT", "/metrics", "localhost", &with_body) + "abc", "405"),
        (request("DELETE", "/metrics", "localhost", &auth), "405"),
        (request("OPTIONS", "/metrics", "localhost", &auth), "405"),
        (request("TRACE", "/metrics", "localhost", &auth), "405"),
        (request("BREW", "/metrics", "localhost", &auth), "405"),
        (request("GET", "/", "localhost", &auth), "404"),
        (request("GET", "/metrics/", "localhost", &auth), "404"),
        (request("GET", "/../metrics", "localhost", &auth), "404"),
        (request("GET", "/v1/status", "localhost", &auth), "404"),
        (request("GET", "/v1/runs/1", "localhost", &auth), "404"),
        (request("GET", &long, "localhost", &auth), "431"),
        (request("GET", "/metrics", "localhost", &bulky), "431"),
        (request("GET", "/metrics", "localhost", &many), "431"),
        ("GET /metrics\r\n\r\n".into(), "400"),
        ("\u{0}\u{1}\u{2}\r\n\r\n".into(), "400"),
        ("GET /metrics HTTP/9.9\r\nHost: localhost\r\n\r\n".into(), "400"),
        (
            format!(
                "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n{auth}Connection: close\r\n\r\n"
            ),
            "200",
        ),
    ];
    assert!(table.len() >= 40);

    for (bytes, want) in &table {
        let answer = say(&address, bytes.as_bytes());
        let shown: String = bytes.chars().take(150).collect();
        let got = status(&answer);
        let is_fine = got == *want
            || (*want == "400" && got == "none")
            || (*want == "431" && ["414", "400", "none"].contains(&got));
        assert!(is_fine, "{shown:?}: wanted {want}, got {got}: {answer}");
        assert!(!answer.contains(token), "{shown:?}");
    }
}

#[test]
fn metrics_count_what_was_done_and_readiness_tells_what_is_wrong() {
    let due = SystemClock.now() + SignedDuration::from_secs(12);
    let cron = cron_at(due);
    let rule = format!("[rules.morning]\ncron = \"{cron}\"\nseconds = true\nstart = [\"web\"]\n");
    let (bench, daemon, address) = listening(&rule, &[]);

    bench.ended(1);
    let text = get(&address, "/metrics", "");
    let ready = get(&address, "/readyz", "");
    std::fs::write(bench.path("sunup.toml"), "timezone = 7\n").unwrap();
    daemon.signal("HUP");
    let broken = until("it says that the file is broken", || {
        Some(get(&address, "/readyz", "")).filter(|answer| status(answer) == "503")
    });

    for line in [
        "sunup_runs_ended_total{rule=\"morning\",action=\"start\",outcome=\"done\"} 1",
        "sunup_targets_ended_total{action=\"start\",outcome=\"started\",reason=\"\"} 1",
        "sunup_attempts_total{action=\"start\"} 1",
        "sunup_attempt_results_total{result=\"accepted\",code=\"200\"} 1",
        "sunup_time_to_goal_seconds_count{action=\"start\"} 1",
        "sunup_run_lateness_seconds_bucket{le=\"1.0\",action=\"start\"} 1",
        "sunup_account_usable{account=\"main\"} 1",
        "sunup_config_valid 1",
        "sunup_work_held 0",
        "sunup_open_runs 0",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert!(text.contains("sunup_last_done_timestamp_seconds{rule=\"morning\",action=\"start\"} "), "{text}");
    assert_eq!(status(&ready), "200");
    assert!(broken.contains("the configuration file cannot be used"), "{broken}");
    assert!(get(&address, "/metrics", "").contains("\nsunup_config_valid 0\n"));
    assert_eq!(status(&get(&address, "/healthz", "")), "200", "it is alive all the same");
}

#[test]
fn five_hundred_slow_clients_shift_no_start() {
    let due = in_seconds(25);
    let cron = cron_at(due);
    let rule = format!("[rules.morning]\ncron = \"{cron}\"\nseconds = true\nstart = [\"web\"]\n");
    let (bench, _daemon, address) = listening(&rule, &[]);

    let slow: Vec<TcpStream> = (0..500)
        .filter_map(|_| {
            let mut stream = TcpStream::connect(&address).ok()?;
            stream.write_all(b"GET /metrics HT").ok()?;
            Some(stream)
        })
        .collect();

    let run = bench.ended(1).remove(0);
    assert!(slow.len() > 400, "{}", slow.len());
    assert_eq!(run["outcome"], "done");
    let moment = |field: &str| run[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let late = moment("claimed").duration_since(moment("due"));
    // How late it is in figures is for the benchmarks; here nothing may wait for them.
    assert!(late < SignedDuration::from_secs(1), "{late}");
    drop(slow);
    assert_eq!(status(&get(&address, "/healthz", "")), "200");
    bench.audit();
}

#[test]
fn a_unix_socket_needs_no_host_and_is_for_the_group_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new(&[]);
    let path = bench.path("http.sock");
    bench.configure(&format!(
        "[groups.web]\nservers = [\"1001\"]\n[http]\nlisten = \"unix:{}\"\n",
        path.display()
    ));
    let _daemon = bench.daemon_in_force();

    let mut stream = until("it listens", || UnixStream::connect(&path).ok());
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();

    assert_eq!(status(&answer), "200");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
}

#[test]
fn other_machines_reach_it_only_over_tls_with_a_token_and_under_a_name_that_is_allowed() {
    let bench = Bench::new(&[]);
    let groups = "[groups.web]\nservers = [\"1001\"]\n";
    let open = format!("{groups}[http]\nlisten = \"0.0.0.0:0\"\n");
    for lacking in ["", "token = { env = \"T\" }\n"] {
        bench.configure(&format!("{open}{lacking}"));
        let refused = bench.shown_with(&["check"], 78);
        assert!(
            refused.contains("can be reached from other machines") && refused.contains("tls = "),
            "{refused}"
        );
    }
    let made = rcgen::generate_simple_self_signed(vec!["mon.example".into()]).unwrap();
    let (certificate, key) = (bench.path("tls.pem"), bench.path("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    bench.configure(&format!(
        "{open}token = {{ env = \"TOKEN\" }}\nhosts = [\"Mon.example\"]\ntls = {{ certificate = \"{}\", key = {{ file = \"{}\" }} }}\n",
        certificate.display(),
        key.display()
    ));
    let _daemon = bench.daemon_by(&["env"], &[("TOKEN", "token-0123456789")]);
    let port = until("it listens", || {
        let log = bench.daemon_log();
        let (_, rest) = log.split_once("metrics and health are at ")?;
        Some(rest.split(['"', ' ', '\n']).next()?.rsplit(':').next()?.to_owned())
    });
    let address = format!("127.0.0.1:{port}");
    let encrypted = |host: &str, token: &str| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "mon.example".try_into().unwrap();
        let client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut stream = rustls::StreamOwned::new(client, stream);
        let request = format!(
            "GET /healthz HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        status(&String::from_utf8_lossy(&heard)).to_owned()
    };

    assert_eq!(encrypted("mon.example", "token-0123456789"), "200");
    assert_eq!(encrypted("MON.EXAMPLE:7717", "token-0123456789"), "200");
    assert_eq!(encrypted("mon.example", "token-0123456780"), "401");
    assert_eq!(encrypted("other.example", "token-0123456789"), "421");
    assert_eq!(
        status(&get(&address, "/healthz", "Authorization: Bearer token-0123456789\r\n")),
        "none",
        "in the clear"
    );
}
