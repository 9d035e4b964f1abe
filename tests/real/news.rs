//! Notices and the heartbeat over real connections, and a receiver that hangs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use serde_json::Value;
use sunup::adapters::clock::SystemClock;
use sunup::ports::clock::Clock;

use crate::support::{Bench, cron_at};
use crate::wait::{until, until_seldom};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One request that a receiver got.
#[derive(Debug, Clone)]
struct Got {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A receiver that answers each request with the next of some statuses, and 200 when they are used up.
struct Receiver {
    port: u16,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    fn new(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, got) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let (kept, statuses) = (Arc::clone(&got), Mutex::new(statuses.to_vec()));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(request) = read(&stream) {
                    kept.lock().unwrap().push(request);
                    let mut statuses = statuses.lock().unwrap();
                    let status = if statuses.is_empty() { 200 } else { statuses.remove(0) };
                    let answer =
                        format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
                    let _ = (&stream).write_all(answer.as_bytes());
                }
            }
        });
        Self { port, got }
    }

    fn all(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Got> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Got { line: line.trim().to_owned(), headers, body: String::from_utf8(body).unwrap() })
}

/// A daemon whose next start cannot work, since its group matches nothing, and that tells these.
fn bench(notifiers: &str, due_in: i64) -> Bench {
    let bench = Bench::new(&[]);
    let due = SystemClock.now() + SignedDuration::from_secs(due_in);
    let cron = cron_at(due);
    bench.configure(&format!(
        "[groups.web]\nservers = [\"1001\"]\n[groups.none]\nname = \"nobody-*\"\n\
         [rules.web]\ncron = \"{cron}\"\nseconds = true\nstart = [\"web\"]\n\
         [rules.none]\ncron = \"{cron}\"\nseconds = true\nstart = [\"none\"]\n{notifiers}"
    ));
    bench
}

#[test]
fn what_fails_is_told_to_chats_and_webhooks_and_a_verifier_of_others_accepts_the_signature() {
    let (chat, hook) = (Receiver::new(&[]), Receiver::new(&[503]));
    let notifiers = "[notify.chat]\nkind = \"slack\"\nurl = { env = \"CHAT\" }\nallow_private = true\ndigest = \"1s\"\n\
                     [notify.hook]\nkind = \"webhook\"\nurl = { env = \"HOOK\" }\nsecret = { env = \"HOOK_SECRET\" }\n\
                     allow_private = true\ndigest = \"1s\"\non = [\"failed\", \"guard\"]\n";
    let bench = bench(notifiers, 12);
    let chat_url = format!("http://127.0.0.1:{}/services/T0/canary-chat", chat.port);
    let hook_url = format!("http://127.0.0.1:{}/canary-hook", hook.port);
    let environment = [("CHAT", chat_url.as_str()), ("HOOK", hook_url.as_str()), ("HOOK_SECRET", SECRET)];
    let _daemon = bench.daemon_by(&["env"], &environment);
    bench.wait_until_in_force();

    let told = until("the chat is told", || {
        chat.all().into_iter().find(|got| got.body.contains("(rule none) ended failed"))
    });
    let hooked = until("the webhook is told again after its failure", || {
        let all = hook.all();
        (all.len() >= 2).then_some(all)
    });

    assert_eq!(told.line, "POST /services/T0/canary-chat HTTP/1.1");
    assert!(told.json()["blocks"].as_array().unwrap().len() >= 2, "{}", told.body);
    let (first, second) = (&hooked[0], &hooked[1]);
    assert_eq!(
        (first.header("webhook-id"), &first.body),
        (second.header("webhook-id"), &second.body),
        "the same message"
    );
    let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(http::HeaderName::from_static(name), second.header(name).parse().unwrap());
    }
    verifier.verify(second.body.as_bytes(), &headers).unwrap();
    assert!(verifier.verify(second.body.replace("none", "nine").as_bytes(), &headers).is_err());
    let log = bench.daemon_log();
    assert!(log.contains("notifier hook could not tell anybody: it answered 503: no"), "{log}");
    assert!(!log.contains("canary") && !log.contains(SECRET), "{log}");
    bench.audit();
}

#[test]
fn a_receiver_that_hangs_shifts_no_start_and_a_test_says_why_nothing_arrived() {
    // It takes connections and never answers.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/canary", deaf.local_addr().unwrap().port());
    let notifiers = "[notify.deaf]\nkind = \"slack\"\nurl = { env = \"DEAF\" }\nallow_private = true\ndigest = \"0s\"\n\
                     [notify.shut]\nkind = \"slack\"\nurl = { env = \"DEAF\" }\n";
    let bench = bench(notifiers, 25);
    let _daemon = bench.daemon_by(&["env"], &[("DEAF", url.as_str())]);
    bench.wait_until_in_force();

    let hanging = bench.output(&["notify", "test", "deaf"]);
    let refused = bench.output(&["notify", "test", "shut"]);
    let nobody = bench.output(&["notify", "test", "dead"]);

    let words = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let codes = [&hanging, &refused, &nobody].map(|output| output.status.code());
    assert_eq!(
        codes,
        [Some(69), Some(69), Some(2)],
        "a name that is not there is a slip of the command line"
    );
    assert!(words(&hanging).contains("no answer within 10s"), "{}", words(&hanging));
    assert!(words(&refused).contains("not of the public internet"), "{}", words(&refused));
    assert!(words(&nobody).contains("the configuration has `deaf`, `shut`"), "{}", words(&nobody));
    assert!(!words(&hanging).contains("canary"));
    let ended = bench.ended(2);
    let web = ended.iter().find(|run| run["rule"] == "web").unwrap();
    assert_eq!(web["outcome"], "done");
    let claimed: jiff::Timestamp = web["claimed"].as_str().unwrap().parse().unwrap();
    let due: jiff::Timestamp = web["due"].as_str().unwrap().parse().unwrap();
    assert!(claimed.duration_since(due) < SignedDuration::from_secs(1), "{web}");
    bench.audit();
}

#[test]
fn what_was_not_told_before_kill_is_told_after_it() {
    let chat = Receiver::new(&[]);
    let notifiers =
        "[notify.chat]\nkind = \"slack\"\nurl = { env = \"CHAT\" }\nallow_private = true\ndigest = \"1h\"\n";
    let bench = bench(notifiers, 10);
    let url = format!("http://127.0.0.1:{}/x", chat.port);
    let daemon = bench.daemon_by(&["env"], &[("CHAT", url.as_str())]);
    bench.wait_until_in_force();
    let outbox = bench.path("outbox/chat");
    until("it waits on disk", || {
        let files = std::fs::read_dir(&outbox).into_iter().flatten().flatten();
        let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        texts.into_iter().any(|text| text.contains("(rule none) ended failed")).then_some(())
    });
    assert!(chat.all().is_empty(), "it is gathered for an hour");

    daemon.signal("KILL");
    drop(daemon);
    let _daemon = bench.daemon_by(&["env"], &[("CHAT", url.as_str())]);

    until("it is told", || {
        chat.all().iter().any(|got| got.body.contains("(rule none) ended failed")).then_some(())
    });
}

#[test]
fn the_heartbeat_tells_that_it_began_and_goes_on_as_long_as_the_engine_turns() {
    let watch = Receiver::new(&[]);
    let bench = bench("[heartbeat]\nurl = { env = \"BEAT\" }\nevery = \"10s\"\nallow_private = true\n", 7200);
    let url = format!("http://127.0.0.1:{}/ping/canary", watch.port);
    let _daemon = bench.daemon_by(&["env"], &[("BEAT", url.as_str())]);

    let lines = until("two beats", || {
        let lines: Vec<String> = watch.all().into_iter().map(|got| got.line).collect();
        (lines.len() >= 3).then_some(lines)
    });

    assert_eq!(lines[0], "GET /ping/canary/start HTTP/1.1");
    assert!(lines[1..].iter().all(|line| line == "GET /ping/canary HTTP/1.1"), "{lines:?}");
}

#[test]
fn a_summary_comes_at_its_time_in_the_language_that_is_set_whatever_happened() {
    let bench = Bench::new(&[]);
    // The next minute that is not too near.
    let soon = (SystemClock.now() + SignedDuration::from_secs(75)).in_tz("Asia/Seoul").unwrap();
    let told = bench.path("told");
    bench.configure(&format!(
        "[groups.web]\nservers = [\"1001\"]\n[rules.far]\nat = \"2099-01-01T00:00:00Z\"\nstart = [\"web\"]\n\
         [notify.team]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"printf '%s' \\\"$SUNUP_TEXT\\\" >> {}\"]\n\
         on = [\"failed\"]\ndigest = \"1s\"\nsummary = \"{}\"\n",
        told.display(),
        soon.strftime("%H:%M")
    ));
    let path = bench.path("sunup.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("language = \"ko\"\n{text}")).unwrap();
    let _daemon = bench.daemon_in_force();
    bench.shown(&["start", "web", "--yes"]);

    let summary = until_seldom("the summary is told", || std::fs::read_to_string(&told).ok());

    assert!(summary.contains("요약") && summary.contains("실행: 완료 1건; 놓친 시각 0번"), "{summary}");
    assert!(summary.contains("앞으로 이틀 동안 예정된 것이 없음"), "{summary}");
}
