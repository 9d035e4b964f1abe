//! What comes from outside over sockets and files: the cloud's answers, rows of a journal, HTTP requests. Read as the program
//! reads them, by its own client, stores and server.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sunup::adapters::clock::SystemClock;
use sunup::adapters::ncp::{Endpoints, KeyPair, KeySource, NcpCloud};
use sunup::adapters::store::{Holder, SqliteStore};
use sunup::domain::name::{AccountName, Action, GroupName, RuleName, RunId, ServerId, ServerNo};
use sunup::domain::target::Progress;
use sunup::ports::clock::Clock;
use sunup::ports::cloud::{Cloud, Pace};
use sunup::ports::store::{Claim, HistoryQuery, Origin, Resolution, RunHead, Store, Target, Turn};
use sunup::sandbox::face::{Account, Options, Sandbox};
use sunup::sandbox::fleet;
use sunup::sandbox::model::Model;
use tokio::runtime::Runtime;

use crate::fuzz;

/// The longest that the sandbox may leave a connection without an answer or an end.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics wherever they are: one in a task ends nothing but that task.
fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

struct AtOnce;

#[async_trait]
impl Pace for AtOnce {
    async fn turn(&self) {}
}

/// A cloud whose every answer has the body that was put there last.
struct Canned {
    body: Mutex<Vec<u8>>,
    cloud: NcpCloud,
}

fn canned() -> &'static Canned {
    static CANNED: OnceLock<Canned> = OnceLock::new();
    CANNED.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || answer_all(stream));
            }
        });
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let endpoints = Endpoints { servers: base.clone(), resources: Ok(base), region: "KR".into() };
        let pair = KeyPair { access: SecretString::from("access"), secret: SecretString::from("secret") };
        let keys = KeySource::Fixed(Ok(Arc::new(pair)));
        let cloud =
            NcpCloud::new("main", endpoints, keys, Ok(vec![]), Arc::new(SystemClock), Arc::new(AtOnce));
        Canned { body: Mutex::default(), cloud }
    })
}

fn answer_all(mut stream: TcpStream) {
    let mut buffer = [0; 8192];
    while let Ok(length) = stream.read(&mut buffer)
        && length > 0
    {
        let body = canned().body.lock().unwrap().clone();
        // In one piece: in two the second waits for the first one's acknowledgement.
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend(body);
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

#[test]
fn answers_of_the_cloud_never_panic_whatever_they_are() {
    fuzz("answers", 6, |text| {
        *canned().body.lock().unwrap() = text.as_bytes().to_vec();
        let no = ServerNo::parse("1001").unwrap();
        runtime().block_on(async {
            let cloud = &canned().cloud;
            let asked = cloud.ask(Action::Start, std::slice::from_ref(&no), Timestamp::MAX).await;
            drop(format!("{asked:?}"));
            // What it lists is shown to people: nothing of it may forge a line.
            if let Ok(seen) = cloud.look(&[no], Duration::from_secs(5)).await.result {
                assert!(!format!("{seen:?}").contains('\u{1b}'));
            }
        });
    });
}

/// A journal with one of everything, and a connection that can write what no store would.
struct Rows {
    path: PathBuf,
    _folder: tempfile::TempDir,
    writer: SqlitePool,
}

/// Columns whose content is read by more than SQLite.
const COLUMNS: [(&str, &str); 14] = [
    ("targets", "progress"),
    ("targets", "progress"),
    ("targets", "server"),
    ("targets", "account"),
    ("targets", "state"),
    ("targets", "limit_ms"),
    ("runs", "groups"),
    ("runs", "action"),
    ("runs", "rule"),
    ("runs", "planned"),
    ("runs", "due"),
    ("runs", "window_end"),
    ("marks", "until"),
    ("marks", "rule"),
];

fn rows() -> &'static Rows {
    static ROWS: OnceLock<Rows> = OnceLock::new();
    ROWS.get_or_init(|| {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sunup.db");
            let store = SqliteStore::open(&path, Holder::Daemon).await.unwrap();
            store.record(&one_claim()).await.unwrap();
            store.close().await;
            let options = SqliteConnectOptions::new().filename(&path).pragma("ignore_check_constraints", "1");
            let writer = SqlitePool::connect_with(options.foreign_keys(false)).await.unwrap();
            let columns = "INSERT OR REPLACE INTO marks (rule, fingerprint, until) VALUES ('up', 'x', 1)";
            sqlx::query(columns).execute(&writer).await.unwrap();
            Rows { path, _folder: folder, writer }
        })
    })
}

fn one_claim() -> Turn {
    let now = SystemClock.now();
    let head = RunHead {
        origin: Origin::Rule(RuleName::new("up").unwrap()),
        action: Action::Start,
        groups: vec![GroupName::new("web").unwrap()],
        planned: now,
        due: now,
        window_end: now,
        claimed: now,
        waived: Default::default(),
    };
    let server =
        ServerId { account: AccountName::new("main").unwrap(), no: ServerNo::parse("1001").unwrap() };
    let target = Target {
        server,
        name: None,
        groups: vec![GroupName::new("web").unwrap()],
        limit: Duration::from_secs(600),
        progress: Progress::fresh(now),
        revision: 0,
    };
    let claim =
        Claim { run: RunId(1), head, targets: vec![target], resolution: Resolution::default(), ended: None };
    Turn { at: Some(now), claims: vec![claim], ..Turn::default() }
}

/// The edges of what a moment or a length can be, and anything between.
fn odd_number(sum: usize) -> i64 {
    let any = i64::from_ne_bytes(sum.to_ne_bytes());
    [i64::MIN, i64::MAX, -1, 0, 253_402_300_800_000_000, any][sum / COLUMNS.len() % 6]
}

#[test]
fn rows_of_a_journal_never_panic_whatever_they_are() {
    fuzz("rows", 7, |text| {
        let rows = rows();
        let sum =
            text.bytes().fold(text.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let (table, column) = COLUMNS[sum % COLUMNS.len()];
        runtime().block_on(async {
            let select = sqlx::AssertSqlSafe(format!("SELECT quote({column}) FROM {table} LIMIT 1"));
            let before: String = sqlx::query_scalar(select).fetch_one(&rows.writer).await.unwrap();
            let update = sqlx::AssertSqlSafe(format!("UPDATE {table} SET {column} = ?"));
            let update = sqlx::query(update);
            // The tables are strict: what is a number stays one, however odd.
            let update = match column {
                "limit_ms" | "planned" | "due" | "window_end" | "until" => update.bind(odd_number(sum)),
                _ => update.bind(text),
            };
            update.execute(&rows.writer).await.unwrap();

            let store = SqliteStore::open_to_read(&rows.path).await.unwrap();
            // Each either reads it or says what it cannot read.
            drop(store.open_state().await);
            drop(store.history(&HistoryQuery::default()).await);
            drop(store.run(RunId(1)).await);
            store.close().await;
            drop(sunup::audit::journal::read(&rows.path).await);
            drop(sunup::audit::journal::covered(&rows.path).await);

            let restore = sqlx::AssertSqlSafe(format!("UPDATE {table} SET {column} = {before}"));
            sqlx::query(restore).execute(&rows.writer).await.unwrap();
        });
    });
}

fn sandbox() -> SocketAddr {
    static SANDBOX: OnceLock<SocketAddr> = OnceLock::new();
    *SANDBOX.get_or_init(|| {
        count_panics();
        runtime().block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let account = Account { access_key: "access".into(), secret_key: "secret".into() };
            let options =
                Options { accounts: vec![account], strict: true, rate: None, log: None, faults: vec![] };
            let model = Model::new(fleet::numbered("access", 3, (1_000_000, 1_000_000)), 1);
            let now = Arc::new(|| SystemClock.now().as_microsecond());
            tokio::spawn(Sandbox::new(model, options, now).serve(listener));
            address
        })
    })
}

#[test]
fn http_requests_never_panic_whatever_they_are() {
    fuzz("http", 8, |text| {
        let mut stream = TcpStream::connect(sandbox()).unwrap();
        stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
        let mut answer = Vec::new();
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let ended = stream.read_to_end(&mut answer);
        let hangs = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!hangs, "no answer and no end within {ANSWER_LIMIT:?}");
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a task panicked");
    });
}
