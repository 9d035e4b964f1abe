//! The NCP client over real sockets: against the sandbox, and against servers that misbehave in ways that it cannot.

use std::io::{Read, Write};
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use sunup::adapters::clock::SystemClock;
use sunup::adapters::ncp::{Endpoints, KeyPair, KeySource, NcpCloud};
use sunup::domain::name::{Action, ServerNo};
use sunup::domain::outcome::ReasonKind;
use sunup::domain::retry::{Answer, Layer};
use sunup::ports::clock::{Clock, Reading};
use sunup::ports::cloud::{ClockVerdict, Cloud, Pace, ReadTrouble, Scope};
use sunup::sandbox::face::{Account, Options, Sandbox};
use sunup::sandbox::model::Model;
use sunup::sandbox::{fault, fleet};

/// No pace at all.
struct AtOnce;

#[async_trait]
impl Pace for AtOnce {
    async fn turn(&self) {}
}

/// The machine's clock, off by some seconds.
struct Off(i64);

impl Clock for Off {
    fn read(&self) -> Reading {
        let reading = SystemClock.read();
        Reading { wall: reading.wall + jiff::SignedDuration::from_secs(self.0), ..reading }
    }
}

fn client_with(base: &str, clock: Arc<dyn Clock>, keys: Result<KeyPair, String>) -> NcpCloud {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let keys = KeySource::Fixed(keys.map(Arc::new));
    NcpCloud::new("main", endpoints(base), keys, Ok(vec![]), clock, Arc::new(AtOnce))
}

fn endpoints(base: &str) -> Endpoints {
    Endpoints { servers: base.into(), resources: Ok(base.into()), region: "KR".into() }
}

fn keys() -> Result<KeyPair, String> {
    Ok(KeyPair { access: SecretString::from("access"), secret: SecretString::from("secret") })
}

fn client(base: &str) -> NcpCloud {
    client_with(base, Arc::new(SystemClock), keys())
}

/// A log that the test can read.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn count(&self, operation: &str) -> usize {
        let text = self.text();
        text.lines().filter(|line| line.contains("\"request\"") && line.contains(operation)).count()
    }
}

/// A sandbox in this process; its base URL and its log.
async fn sandbox(servers: u64, faults: &str) -> (String, Written) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let log = Written::default();
    let options = Options {
        accounts: vec![Account { access_key: "access".into(), secret_key: "secret".into() }],
        strict: true,
        rate: None,
        log: Some(Box::new(log.clone())),
        faults: fault::read(faults).unwrap(),
    };
    let model = Model::new(fleet::numbered("access", servers, (60_000_000, 60_000_000)), 1);
    let now = Arc::new(|| SystemClock.now().as_microsecond());
    tokio::spawn(Sandbox::new(model, options, now).serve(listener));
    (base, log)
}

/// A server that answers every request with the same bytes, and keeps what it was sent.
fn canned(answer: Vec<u8>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            requests.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            let _ = stream.write_all(&answer);
        }
    });
    (base, seen)
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
        .into_bytes()
}

/// An answer with a list of so many servers from 1001 on, and the count of rows that it tells.
fn listing(servers: u64, total_rows: Option<u64>) -> Vec<u8> {
    let code = |code: &str| serde_json::json!({ "code": code });
    let rows: Vec<_> = (1001..1001 + servers)
        .map(|no| serde_json::json!({"serverInstanceNo": no.to_string(), "serverInstanceStatus": code("RUN"), "serverInstanceOperation": code("NULL")}))
        .collect();
    let mut answer = serde_json::json!({"returnCode": "0", "serverInstanceList": rows});
    if let Some(total) = total_rows {
        answer["totalRows"] = total.into();
    }
    http("200 OK", "", &serde_json::json!({ "getServerInstanceListResponse": answer }).to_string())
}

fn no(number: u64) -> ServerNo {
    ServerNo::parse(&number.to_string()).unwrap()
}

#[tokio::test]
async fn a_start_is_signed_taken_and_seen_on_its_way() {
    let (base, _) = sandbox(3, "").await;
    let cloud = client(&base);

    let asked = cloud.ask(Action::Start, &[no(1001), no(1002)], jiff::Timestamp::MAX).await;
    let looked = cloud.look(&[no(1001), no(1003), no(7777)], Duration::from_secs(5)).await;

    let Answer::Accepted { listed, request_id } = asked.result else { panic!("{:?}", asked.result) };
    assert_eq!(listed.into_iter().collect::<Vec<_>>(), [no(1001), no(1002)]);
    assert!(request_id.is_some());
    assert!(matches!(asked.clock, ClockVerdict::Differs(difference) if difference.as_secs().abs() <= 2));
    let shown: Vec<String> =
        looked.result.unwrap().iter().map(|s| format!("{} {}", s.no, s.condition)).collect();
    assert_eq!(shown, ["1001 NSTOP/START", "1003 NSTOP/NULL"]);
}

#[tokio::test]
async fn a_list_is_read_with_all_its_pages_and_a_long_one_goes_as_a_form() {
    let (base, log) = sandbox(250, "").await;
    let all: Vec<ServerNo> = (1001..1251).map(no).collect();

    let looked = client(&base).look(&all, Duration::from_secs(5)).await;
    let asked = client(&base).ask(Action::Start, &all[..90], jiff::Timestamp::MAX).await;

    assert_eq!(looked.result.unwrap().len(), 250);
    assert_eq!(log.count("getServerInstanceList"), 3);
    assert!(matches!(asked.result, Answer::Accepted { listed, .. } if listed.len() == 90));
}

#[tokio::test]
async fn tagged_resources_are_read_up_to_the_page_that_says_it_is_the_last() {
    let (base, log) = sandbox(3, "").await;
    let tag = sunup::domain::group::Tag { key: "env".into(), value: None };
    let scope = Scope { vpcs: None, tags: [tag.clone()].into() };

    let listed = client(&base).list(&scope, Duration::from_secs(5)).await;

    let inventory = listed.result.unwrap();
    assert_eq!(inventory.servers.len(), 3);
    assert!(inventory.tagged[&tag].as_ref().unwrap().is_empty(), "no server carries it");
    assert_eq!(log.count("\"resources\""), 1);
}

#[tokio::test]
async fn a_mutating_request_is_sent_once_whatever_comes_of_it() {
    let table = [
        ("do = \"reset\"\neffect = \"before\"", "unanswered"),
        ("do = \"reset\"\neffect = \"none\"", "unanswered"),
        ("do = \"truncate\"", "unanswered"),
        ("do = \"garbage\"", "refused 200 Unreadable"),
        ("do = \"status\"\nstatus = 503", "refused 503 Gateway"),
        ("do = \"status\"\nstatus = 429\ncode = \"420\"", "refused 429 Gateway"),
        ("do = \"status\"\nstatus = 400\ncode = \"3001008\"", "refused 400 Server"),
        ("do = \"no-capacity\"", "refused 400 Server"),
    ];

    for (what, want) in table {
        let (base, log) = sandbox(1, &format!("[[fault]]\non = \"startServerInstances\"\n{what}\n")).await;
        let answer = client(&base).ask(Action::Start, &[no(1001)], jiff::Timestamp::MAX).await.result;
        let shown = match &answer {
            Answer::Accepted { .. } => "accepted".to_owned(),
            Answer::Refused(refusal) => format!("refused {} {:?}", refusal.status, refusal.layer),
            Answer::NotSent(_) | Answer::Withheld => "not sent".to_owned(),
            Answer::Unanswered(_) => "unanswered".to_owned(),
        };
        assert_eq!(shown, want, "{what}");
        assert_eq!(log.count("startServerInstances"), 1, "{what}");
    }
}

#[tokio::test]
async fn where_nothing_was_sent_that_is_known() {
    let unused = StdListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let refused = client(&format!("http://{address}"))
        .ask(Action::Start, &[no(1001)], jiff::Timestamp::MAX)
        .await
        .result;
    let (base, log) = sandbox(1, "").await;
    let keyless = client_with(&base, Arc::new(SystemClock), Err("file `/x`: it is not there".into()));

    let unsigned = keyless.ask(Action::Start, &[no(1001)], jiff::Timestamp::MAX).await.result;

    assert!(
        matches!(&refused, Answer::NotSent(reason) if reason.kind == ReasonKind::Unreachable),
        "{refused:?}"
    );
    assert!(
        matches!(&unsigned, Answer::NotSent(reason) if reason.kind == ReasonKind::Credentials),
        "{unsigned:?}"
    );
    assert_eq!(log.count("startServerInstances"), 0);
}

#[tokio::test]
async fn a_wrong_key_is_told_by_reads_and_asks_alike() {
    let (base, _) = sandbox(1, "").await;
    let wrong =
        Ok(KeyPair { access: SecretString::from("access"), secret: SecretString::from("canary-key") });
    let cloud = client_with(&base, Arc::new(SystemClock), wrong);

    let asked = cloud.ask(Action::Start, &[no(1001)], jiff::Timestamp::MAX).await.result;
    let greeted = cloud.greet().await.result.unwrap_err();
    let looked = cloud.look(&[no(1001)], Duration::from_secs(5)).await.result.unwrap_err();

    assert!(
        matches!(&asked, Answer::Refused(refusal) if refusal.status == 401 && refusal.code == "200"),
        "{asked:?}"
    );
    assert_eq!((greeted.trouble, looked.trouble), (ReadTrouble::Keys, ReadTrouble::Keys));
    assert!(!format!("{asked:?}{greeted:?}{looked:?}").contains("canary-key"));
}

#[tokio::test]
async fn a_clock_that_is_off_corrects_signing_after_the_first_answer_and_nothing_else() {
    let (base, _) = sandbox(1, "").await;
    let cloud = client_with(&base, Arc::new(Off(-3600)), keys());

    let first = cloud.greet().await;
    let second = cloud.greet().await;

    assert!(first.result.is_err(), "a signature of an hour ago was taken");
    assert!(second.result.is_ok(), "{:?}", second.result);
    let ClockVerdict::Differs(difference) = second.clock else { panic!("{:?}", second.clock) };
    assert!((3598..=3602).contains(&difference.as_secs()), "{difference}");
}

#[tokio::test]
async fn the_end_of_the_access_key_id_in_use_is_shown_and_of_no_keys_nothing() {
    let shown = |keys| client_with("http://127.0.0.1:1", Arc::new(SystemClock), keys).key_shown();
    let long =
        KeyPair { access: SecretString::from("ABCDEFGHIJKLMNOP1234"), secret: SecretString::from("secret") };

    assert_eq!(shown(Ok(long)).as_deref(), Some("…1234"));
    assert_eq!((shown(keys()), shown(Err("there are none".into()))), (None, None));
}

#[tokio::test]
async fn redirects_are_never_followed() {
    let (elsewhere, visits) = canned(http("200 OK", "", "{}"));
    let (base, _) = canned(http("302 Found", &format!("Location: {elsewhere}/\r\n"), ""));

    let answer = client(&base).ask(Action::Start, &[no(1001)], jiff::Timestamp::MAX).await.result;

    assert!(matches!(&answer, Answer::Refused(refusal) if refusal.status == 302), "{answer:?}");
    assert!(visits.lock().unwrap().is_empty());
}

#[tokio::test]
async fn each_attempt_is_signed_afresh_over_what_the_request_line_holds() {
    let (base, seen) = canned(http("200 OK", "", "{}"));
    let cloud = client(&base);
    cloud.ask(Action::Start, &[no(1001), no(1002)], jiff::Timestamp::MAX).await;
    cloud.ask(Action::Stop, &[no(1001)], jiff::Timestamp::MAX).await;

    let seen = seen.lock().unwrap();
    for request in seen.iter() {
        let header = |name: &str| {
            let line = request.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("{name} is missing in {request}"))
        };
        let line: Vec<&str> = request.lines().next().unwrap().split(' ').collect();
        let timestamp = header("x-ncp-apigw-timestamp");
        let signature =
            sunup::adapters::ncp::sign::signature(line[0], line[1], timestamp, "access", "secret");
        assert_eq!(header("x-ncp-apigw-signature-v2"), signature);
        let age = SystemClock.now().as_millisecond() - timestamp.parse::<i64>().unwrap();
        assert!((0..5000).contains(&age), "signed {age} ms ago");
    }
    assert!(seen[0].starts_with("GET /vserver/v2/startServerInstances?regionCode=KR&serverInstanceNoList.1=1001&serverInstanceNoList.2=1002&responseFormatType=json HTTP/1.1"));
    assert!(seen[1].starts_with("GET /vserver/v2/stopServerInstances?"));
}

#[tokio::test]
async fn answers_of_every_odd_shape_are_told_apart() {
    let xml = "<error><errorCode>210</errorCode><message>Permission Denied</message></error>";
    let large = "x".repeat(9 * 1024 * 1024);
    let table = [
        (http("401 Unauthorized", "", xml), Some((401, Layer::Gateway, "210"))),
        (http("502 Bad Gateway", "", "<html>no</html>"), Some((502, Layer::Unreadable, ""))),
        (http("200 OK", "", ""), Some((200, Layer::Unreadable, ""))),
        (http("500 Oops", "", &large), Some((500, Layer::Unreadable, ""))),
        (http("200 OK", "", &large), None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"start".to_vec(), None),
        (b"not http at all".to_vec(), None),
    ];

    for (answer, want) in table {
        let shown = String::from_utf8_lossy(answer.get(..60.min(answer.len())).unwrap()).into_owned();
        let (base, _) = canned(answer);
        let result = client(&base).ask(Action::Start, &[no(1001)], jiff::Timestamp::MAX).await.result;
        match want {
            Some((status, layer, code)) => {
                let Answer::Refused(refusal) = result else { panic!("{shown}: {result:?}") };
                assert_eq!(
                    (refusal.status, refusal.layer, refusal.code.as_str()),
                    (status, layer, code),
                    "{shown}"
                );
            }
            None => assert!(matches!(result, Answer::Unanswered(_)), "{shown}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn a_list_that_refuses_one_number_does_not_hide_the_others() {
    let faults = "[[fault]]\non = \"getServerInstanceList\"\nserver = \"9999\"\ndo = \"status\"\nstatus = 400\ncode = \"1300\"\n";
    let (base, log) = sandbox(3, faults).await;

    let looked = client(&base).look(&[no(1001), no(9999)], Duration::from_secs(5)).await;

    assert_eq!(looked.result.unwrap().len(), 1);
    assert_eq!(log.count("getServerInstanceList"), 2);
}

/// A TLS server with a certificate of an authority of its own; the authority's certificate in PEM form.
async fn tls_server() -> (String, String) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair as TlsKey};
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority_key = TlsKey::generate().unwrap();
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = TlsKey::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let body = "{\"getRegionListResponse\": {\"returnCode\": \"0\"}}";
            let _ = stream.write_all(&http("200 OK", "", body)).await;
            let _ = stream.shutdown().await;
        }
    });
    (base, root.pem())
}

#[tokio::test]
async fn tls_trusts_an_extra_authority_and_nobody_else() {
    let (base, pem) = tls_server().await;
    let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).unwrap();
    let (clock, pace) = (Arc::new(SystemClock), Arc::new(AtOnce));
    let keys = KeySource::Fixed(keys().map(Arc::new));
    let trusting = NcpCloud::new("main", endpoints(&base), keys, Ok(roots), clock, pace);

    let trusted = trusting.greet().await.result;
    let refused = client(&base).ask(Action::Start, &[no(1001)], jiff::Timestamp::MAX).await.result;

    assert!(trusted.is_ok(), "{trusted:?}");
    assert!(
        matches!(&refused, Answer::NotSent(reason) if reason.kind == ReasonKind::Unreachable),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_request_whose_time_has_passed_is_not_sent() {
    let (base, log) = sandbox(1, "").await;

    let late = client(&base).ask(Action::Start, &[no(1001)], jiff::Timestamp::UNIX_EPOCH).await.result;

    assert!(matches!(&late, Answer::NotSent(reason) if reason.text.contains("too late")), "{late:?}");
    assert_eq!(log.count("startServerInstances"), 0);
}

#[tokio::test]
async fn a_list_ends_with_the_page_that_is_not_full_or_with_the_rows_that_it_tells() {
    // Servers on each page, rows told, requests that are made, servers found.
    let table = [
        (1, None, 1, Some(1)),
        (99, None, 1, Some(99)),
        (100, Some(100), 1, Some(100)),
        (100, None, 2, None),
        (1, Some(3), 2, None),
        (0, Some(1), 1, None),
    ];

    for (servers, total_rows, requests, found) in table {
        let (base, seen) = canned(listing(servers, total_rows));
        let looked = client(&base).list(&Scope::default(), Duration::from_secs(5)).await.result;
        let shown = format!("{servers} of {total_rows:?}");
        assert_eq!(looked.as_ref().ok().map(|inventory| inventory.servers.len()), found, "{shown}");
        assert_eq!(seen.lock().unwrap().len(), requests, "{shown}");
        if let Err(error) = looked {
            assert!(error.reason.text.contains("fewer rows"), "{shown}: {}", error.reason.text);
        }
    }
}

#[tokio::test]
async fn what_a_failed_read_says_of_the_account_follows_the_answer() {
    let down = (ReasonKind::Api, ReadTrouble::Down);
    let odd = (ReasonKind::Api, ReadTrouble::Odd);
    let throttled = |seconds| (ReasonKind::Throttled, ReadTrouble::Throttled(seconds));
    let table = [
        (http("401 No", "", "{}"), (ReasonKind::Credentials, ReadTrouble::Keys)),
        (http("403 No", "", "{}"), (ReasonKind::Credentials, ReadTrouble::Keys)),
        (http("429 Slow", "", "{}"), throttled(None)),
        (http("429 Slow", "Retry-After: 7\r\n", "{}"), throttled(Some(Duration::from_secs(7)))),
        (http("500 Oops", "", "{}"), down),
        (http("503 Busy", "", "{}"), down),
        (http("404 Gone", "", "{}"), odd),
        (http("200 OK", "", "{\"getServerInstanceListResponse\": {\"returnCode\": \"0\"}}"), odd),
        (b"not http at all".to_vec(), (ReasonKind::NoAnswer, ReadTrouble::Down)),
    ];

    for (answer, want) in table {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let (base, seen) = canned(answer);
        let error = client(&base).look(&[no(1001)], Duration::from_secs(5)).await.result.unwrap_err();
        assert_eq!((error.reason.kind, error.trouble), want, "{shown}");
        assert_eq!(seen.lock().unwrap().len(), 1, "{shown}: only a refused filter is asked again without it");
    }
}

#[tokio::test]
async fn a_read_that_was_not_sent_tells_the_keys_from_the_connection() {
    let unused = StdListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let keyless = client_with(&base, Arc::new(SystemClock), Err("file `/x`: it is not there".into()));

    let unreachable = client(&base).greet().await.result.unwrap_err();
    let unsigned = keyless.greet().await.result.unwrap_err();

    assert_eq!(unreachable.trouble, ReadTrouble::Down);
    assert_eq!(unreachable.reason.text.matches("Connection refused").count(), 1, "{unreachable:?}");
    assert_eq!((unsigned.reason.kind, unsigned.trouble), (ReasonKind::Credentials, ReadTrouble::Keys));
}

#[tokio::test]
async fn a_list_is_asked_for_by_vpc_only_where_every_vpc_can_stand_in_a_query() {
    for (vpcs, want) in [(vec!["v1", "v2"], vec!["vpcNo=v1", "vpcNo=v2"]), (vec!["v1", "a&b"], vec![""])] {
        let (base, seen) = canned(listing(1, Some(1)));
        let scope = Scope { vpcs: Some(vpcs.into_iter().map(String::from).collect()), ..Scope::default() };

        client(&base).list(&scope, Duration::from_secs(5)).await.result.unwrap();

        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), want.len());
        for (request, want) in seen.iter().zip(want) {
            assert!(request.contains(want) && (request.contains("vpcNo") != want.is_empty()), "{request}");
        }
    }
}

#[tokio::test]
async fn a_machine_with_very_many_addresses_is_told_to_name_its_server() {
    let (base, seen) = canned(listing(1, Some(1)));
    let addresses =
        |count: u8| (1..=count).map(|last| std::net::IpAddr::from([10, 0, 0, last])).collect::<Vec<_>>();

    let most = client(&base).at_addresses(&addresses(32)).await.result.unwrap();
    let asked = seen.lock().unwrap().len();
    let error = client(&base).at_addresses(&addresses(33)).await.result.unwrap_err();

    assert_eq!((most.len(), asked), (32, 32));
    assert!(error.reason.text.contains("limits.self"), "{error:?}");
    assert_eq!((error.reason.kind, seen.lock().unwrap().len()), (ReasonKind::NotKnown, 32));
}

#[tokio::test]
async fn an_answer_of_two_mebibytes_is_read_and_the_last_moment_is_not_too_late() {
    /// A clock that stands still.
    struct Still;
    impl Clock for Still {
        fn read(&self) -> Reading {
            Reading { wall: jiff::Timestamp::UNIX_EPOCH, ..SystemClock.read() }
        }
    }
    let body = format!(
        "{{\"getRegionListResponse\": {{\"returnCode\": \"0\"}}, \"x\": \"{}\"}}",
        "x".repeat(2 << 20)
    );
    let (base, _) = canned(http("200 OK", "", &body));
    let (starts, _) = canned(http("200 OK", "", "{}"));
    let still = client_with(&starts, Arc::new(Still), keys());

    let large = client(&base).greet().await.result;
    let last = still.ask(Action::Start, &[no(1001)], jiff::Timestamp::UNIX_EPOCH).await.result;

    assert!(large.is_ok(), "{large:?}");
    assert!(matches!(last, Answer::Refused(_)), "{last:?}");
}

#[tokio::test]
async fn a_log_of_the_sandbox_tells_the_audit_what_each_request_set_off() {
    let (base, log) = sandbox(3, "").await;
    let cloud = client(&base);
    let servers = ["1001", "1002"].map(|no| ServerNo::parse(no).unwrap());
    cloud.ask(Action::Start, &servers, jiff::Timestamp::MAX).await;
    cloud.ask(Action::Start, &servers[..1], jiff::Timestamp::MAX).await;

    let read = sunup::audit::cloud::read(&log.text(), &["main".to_owned()]).unwrap();

    let took: Vec<String> = read.requests.iter().map(|request| request.took.join(" ")).collect();
    assert_eq!(took, ["main/1001 main/1002", ""], "{}", log.text());
}
