//! The control socket: JSON over HTTP/1.1 on a Unix socket, for commands on this machine. `docs/control-socket.md` describes it.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::engine::{Freshness, Input, PersonRun, Reach, config_text};
use super::groups::shown_id;
use super::overrides::{OverrideRequest, Shown};
use super::view;
use crate::domain::name::{AccountName, Action, GroupName, RunId, ServerId, ServerNo};
use crate::domain::overrides::Override;
use crate::ports::store::{HistoryQuery, Store, Waiver};
use crate::settings::Settings;

/// The largest request body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take to send its request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long one connection may last.
const CLIENT_LIMIT: Duration = Duration::from_secs(60);
/// How many clients are served at once.
const CLIENTS_MAX: usize = 32;
/// How long a fresh look at all groups may take.
const GROUPS_LIMIT: Duration = Duration::from_secs(40);
/// The most entries that one history answer holds.
pub const HISTORY_MAX: u32 = 10_000;

/// What `POST /v1/runs` takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// `start` or `stop`.
    pub action: String,
    /// Names of groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Numbers of servers, or names that a read has shown; `ACCOUNT/NUMBER` where several accounts could be meant.
    #[serde(default)]
    pub servers: Vec<String>,
    /// Also the groups that these wait for: for a start those that come before, for a stop those that come after.
    #[serde(default)]
    pub with_dependencies: bool,
    /// What is passed once: `dependents`, `limits`.
    #[serde(default)]
    pub waive: Vec<String>,
    /// The login name of the person, as the command claims it.
    pub who: String,
}

/// What `POST /v1/history` takes. Moments are RFC 3339.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryRequest {
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only with this server, by number or name.
    pub server: Option<String>,
    /// Only due at or after this moment.
    pub from: Option<Timestamp>,
    /// Only due before this moment.
    pub to: Option<Timestamp>,
    /// Only what was at work or in force at this moment.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Only those that ended other than `done`.
    #[serde(default)]
    pub failed: bool,
    /// Overrides and configurations too.
    #[serde(default)]
    pub whole: bool,
    /// At most so many, the newest ones.
    pub limit: Option<u32>,
}

impl HistoryRequest {
    /// The same for the journal.
    #[must_use]
    pub fn query(self) -> HistoryQuery {
        HistoryQuery {
            rule: self.rule,
            server: self.server,
            from: self.from,
            to: self.to,
            at: self.at,
            whole: self.whole,
            failed: self.failed,
            limit: self.limit.unwrap_or(20).min(HISTORY_MAX),
        }
    }
}

/// Reads a configuration again; what changed, as [`Report::json`] shows it, or why not, in words.
///
/// [`Report::json`]: super::changes::Report::json
pub type ReloadFn =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Value, String>> + Send>> + Send + Sync>;

/// What `POST /v1/notify/test` takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// The notifier.
    pub name: String,
    /// The login name of the person, as the command claims it.
    pub who: String,
}

/// Why a test message did not arrive, in words.
#[derive(Debug)]
pub enum TestFailure {
    /// There is no such notifier.
    Unknown(String),
    /// The notifier could tell nobody.
    NotTold(String),
}

/// Sends one test message.
pub type TestFn =
    Arc<dyn Fn(TestRequest) -> Pin<Box<dyn Future<Output = Result<(), TestFailure>> + Send>> + Send + Sync>;

/// What the socket needs of the daemon.
#[derive(Clone)]
pub struct Control {
    /// The engine's ear.
    pub inputs: mpsc::Sender<Input>,
    /// The journal, to read it.
    pub store: Arc<dyn Store>,
    /// The settings in force.
    pub settings: Arc<Mutex<Arc<Settings>>>,
    /// Reads the configuration again.
    pub reload: ReloadFn,
    /// Sends test messages.
    pub tests: TestFn,
}

/// Makes the socket: its folder must exist; one left behind by a process that is no more is replaced.
///
/// # Errors
/// When the system does not allow it.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

impl Control {
    /// Serves the socket until the task is dropped.
    pub async fn serve(self, listener: UnixListener) {
        let clients = Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&clients).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let control = self.clone();
                    tokio::spawn(async move {
                        control.connection(stream).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!("the control socket could not take a client: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self, stream: UnixStream) {
        let service = service_fn(move |request| {
            let control = self.clone();
            async move { Ok::<_, std::convert::Infallible>(control.answer(request).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service);
        // A client that asks and never reads must not hold its place for good.
        if let Ok(Err(error)) = tokio::time::timeout(CLIENT_LIMIT, served).await {
            tracing::debug!("a client of the control socket went away: {error}");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = tokio::time::timeout(HEAD_LIMIT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
        let Ok(Ok(body)) = body else {
            return response(StatusCode::BAD_REQUEST, &problem("the request's body could not be read"));
        };
        let body = body.to_bytes();
        let (status, value) = match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/v1/status") => self.status().await,
            (&Method::GET, "/v1/config") => (StatusCode::OK, self.config()),
            (&Method::GET, "/v1/groups") => self.groups(Freshness::Fresh).await,
            (&Method::GET, "/v1/groups/known") => self.groups(Freshness::LastKnown).await,
            (&Method::POST, "/v1/history") => self.history(&body).await,
            (&Method::POST, "/v1/runs") => self.start_run(&body).await,
            (&Method::GET, "/v1/overrides") => self.overrides().await,
            (&Method::POST, "/v1/overrides") => self.change_overrides(&body, Wish::Make).await,
            (&Method::POST, "/v1/overrides/end") => self.change_overrides(&body, Wish::End).await,
            (&Method::POST, "/v1/notify/test") => self.test(&body).await,
            (&Method::POST, "/v1/reload") => match (self.reload)().await {
                Ok(report) => (StatusCode::OK, report),
                Err(words) => (StatusCode::CONFLICT, problem(&words)),
            },
            (&Method::GET, path) => match path.strip_prefix("/v1/runs/").and_then(|id| id.parse().ok()) {
                Some(id) => self.run(RunId(id)).await,
                None => (StatusCode::NOT_FOUND, problem("there is no such thing here")),
            },
            _ => (StatusCode::NOT_FOUND, problem("there is no such thing here")),
        };
        response(status, &value)
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn status(&self) -> (StatusCode, Value) {
        let (reply, answer) = oneshot::channel();
        let sent = self.inputs.send(Input::Status(reply)).await.is_ok();
        match answer.await {
            Ok(status) if sent => (StatusCode::OK, status),
            _ => (StatusCode::SERVICE_UNAVAILABLE, problem("the daemon is about to end")),
        }
    }

    /// The configuration in force. Its text holds no secret: the file may not.
    fn config(&self) -> Value {
        let settings = Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner));
        let config = config_text(&settings);
        json!({"text": config.text, "sources": config.sources})
    }

    async fn groups(&self, freshness: Freshness) -> (StatusCode, Value) {
        let (reply, answer) = oneshot::channel();
        let sent = self.inputs.send(Input::Groups { freshness, reply }).await.is_ok();
        match tokio::time::timeout(GROUPS_LIMIT, answer).await {
            Ok(Ok(groups)) if sent => (StatusCode::OK, groups),
            Err(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                problem("the daemon holds all work back at present; `sunup status` says why"),
            ),
            _ => (StatusCode::SERVICE_UNAVAILABLE, problem("the daemon is about to end")),
        }
    }

    async fn history(&self, body: &[u8]) -> (StatusCode, Value) {
        let request: HistoryRequest = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(error) => return (StatusCode::BAD_REQUEST, problem(&error.to_string())),
        };
        let settings = self.settings();
        match self.store.history(&request.query()).await {
            Ok(entries) => {
                let lines = entries.iter().map(|entry| view::entry(entry, Some(&settings))).collect();
                (StatusCode::OK, Value::Array(lines))
            }
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, problem(&error.to_string())),
        }
    }

    async fn run(&self, id: RunId) -> (StatusCode, Value) {
        let settings = self.settings();
        match view::story_of(&*self.store, id, Some(&settings)).await {
            Ok(Some(story)) => (StatusCode::OK, story),
            Ok(None) => (StatusCode::NOT_FOUND, problem(&format!("there is no run {id}"))),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, problem(&error.to_string())),
        }
    }

    async fn overrides(&self) -> (StatusCode, Value) {
        match self.store.overrides().await {
            Ok(known) => (StatusCode::OK, self.shown(&known)),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, problem(&error.to_string())),
        }
    }

    fn shown(&self, overrides: &[Override]) -> Value {
        let zone = view::zone_of(Some(&self.settings()), None);
        json!(overrides.iter().map(|one| Shown::new(one, &zone)).collect::<Vec<_>>())
    }

    async fn change_overrides(&self, body: &[u8], wish: Wish) -> (StatusCode, Value) {
        let request = match serde_json::from_slice::<OverrideRequest>(body) {
            Ok(request) => request,
            Err(error) => return (StatusCode::BAD_REQUEST, problem(&error.to_string())),
        };
        let known = match self.store.overrides().await {
            Ok(known) => known,
            Err(error) => return (StatusCode::SERVICE_UNAVAILABLE, problem(&error.to_string())),
        };
        let servers = match request.server {
            Some(_) => self.groups(Freshness::LastKnown).await.1,
            None => Value::Null,
        };
        let settings = self.settings();
        let change = match wish {
            Wish::Make => request.made(&settings, &servers),
            Wish::End => request.ended(&settings, &servers, &known),
        };
        let change = match change {
            Ok(change) => change,
            Err(words) => return (StatusCode::BAD_REQUEST, problem(&words)),
        };
        let (reply, answer) = oneshot::channel();
        if self.inputs.send(Input::Override { change, reply }).await.is_err() {
            return ending();
        }
        match tokio::time::timeout(HEAD_LIMIT, answer).await {
            Ok(Ok(Ok(overrides))) => (StatusCode::OK, self.shown(&overrides)),
            Ok(Ok(Err(words))) => (StatusCode::BAD_REQUEST, problem(&words)),
            Ok(Err(_)) => ending(),
            Err(_) => held(),
        }
    }

    async fn test(&self, body: &[u8]) -> (StatusCode, Value) {
        let request = match serde_json::from_slice::<TestRequest>(body) {
            Ok(request) => TestRequest { who: login(&request.who), ..request },
            Err(error) => return (StatusCode::BAD_REQUEST, problem(&error.to_string())),
        };
        match (self.tests)(request).await {
            Ok(()) => (StatusCode::OK, json!({ "sent": true })),
            Err(TestFailure::Unknown(words)) => (StatusCode::BAD_REQUEST, problem(&words)),
            Err(TestFailure::NotTold(words)) => (StatusCode::BAD_GATEWAY, problem(&words)),
        }
    }

    async fn start_run(&self, body: &[u8]) -> (StatusCode, Value) {
        let wanted = serde_json::from_slice::<RunRequest>(body).map_err(|error| error.to_string());
        // Names, and numbers that only selectors choose, are known to the engine.
        let known = match &wanted {
            Ok(request) if !request.servers.is_empty() => self.groups(Freshness::LastKnown).await.1,
            _ => Value::Null,
        };
        let run = match wanted.and_then(|request| person_run(&request, &self.settings(), &known)) {
            Ok(run) => run,
            Err(words) => return (StatusCode::BAD_REQUEST, problem(&words)),
        };
        let (reply, answer) = oneshot::channel();
        if self.inputs.send(Input::Command { run, reply }).await.is_err() {
            return ending();
        }
        match tokio::time::timeout(HEAD_LIMIT, answer).await {
            Ok(Ok(Ok(id))) => (StatusCode::OK, json!({"run": id.0})),
            Ok(Ok(Err(words))) => (StatusCode::CONFLICT, problem(&words)),
            Ok(Err(_)) => ending(),
            Err(_) => held(),
        }
    }
}

/// What is wanted of overrides.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Make,
    End,
}

/// How the engine is, as `GET /v1/status` shows it; `None` if it does not answer in time. It answers between two turns.
pub async fn status_within(inputs: &mpsc::Sender<Input>, limit: Duration) -> Option<Value> {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        inputs.send(Input::Status(reply)).await.ok()?;
        answer.await.ok()
    };
    tokio::time::timeout(limit, asked).await.ok()?
}

fn ending() -> (StatusCode, Value) {
    (StatusCode::SERVICE_UNAVAILABLE, problem("the daemon is about to end"))
}

fn held() -> (StatusCode, Value) {
    let words = "the daemon holds all work back at present, so nothing was done; `sunup status` says why";
    (StatusCode::SERVICE_UNAVAILABLE, problem(words))
}

/// What a person wrote, without what could disturb a line of a log, and not too long.
pub(super) fn plain(text: &str, most: usize) -> String {
    let calm = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(calm).take(most).collect::<String>().trim().to_owned()
}

/// The login name of a person, as a command claims it.
pub(super) fn login(who: &str) -> String {
    let plain = |c: &char| c.is_alphanumeric() || " -_.@+".contains(*c);
    who.chars().filter(plain).take(64).collect()
}

/// Checks a command against the settings.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn person_run(request: &RunRequest, settings: &Settings, known: &Value) -> Result<PersonRun, String> {
    let action = Action::from_word(&request.action)
        .ok_or_else(|| format!("`{}` is neither start nor stop", request.action))?;
    if request.groups.is_empty() && request.servers.is_empty() {
        return Err("name a group, or a server with --server".into());
    }
    let mut groups = Vec::new();
    for name in &request.groups {
        match GroupName::new(name).ok().filter(|name| settings.groups.contains_key(name)) {
            Some(group) => groups.push(group),
            None => {
                let known: Vec<&str> = settings.groups.keys().map(GroupName::as_str).collect();
                return Err(format!(
                    "there is no group `{name}`; the configuration has `{}`",
                    known.join("`, `")
                ));
            }
        }
    }
    let servers: Result<Vec<ServerId>, String> =
        request.servers.iter().map(|text| server_id(text, settings, known)).collect();
    let waived: Result<BTreeSet<Waiver>, String> = request
        .waive
        .iter()
        .map(|word| Waiver::from_word(word).ok_or_else(|| format!("`{word}` cannot be waived")))
        .collect();
    let reach = if request.with_dependencies { Reach::WithDependencies } else { Reach::Alone };
    let who = login(&request.who);
    Ok(PersonRun { action, groups, servers: servers?, reach, waived: waived?, who })
}

/// A server by its number, with or without its account, or by a name that a read has shown. `known` is what the engine knows of
/// groups, as it shows it.
pub(super) fn server_id(text: &str, settings: &Settings, known: &Value) -> Result<ServerId, String> {
    let mut found: BTreeSet<ServerId> = BTreeSet::new();
    for server in known_servers(known) {
        let is_it = |field: &str| server.get(field).and_then(Value::as_str) == Some(text);
        if is_it("server") || is_it("name") {
            found.extend(shown_id(server));
        }
    }
    let (account, no) = match text.split_once('/') {
        Some((account, no)) => (Some(account), no),
        None => (None, text),
    };
    if let Some(no) = ServerNo::parse(no) {
        let named = |name: &&AccountName| account.is_none_or(|account| name.as_str() == account);
        let of = |account: &AccountName| ServerId { account: account.clone(), no: no.clone() };
        let listing = settings.groups.values().filter(|group| group.servers.contains(&no));
        found.extend(listing.map(|group| &group.account).filter(named).map(of));
        let accounts: Vec<&AccountName> = settings.accounts.keys().filter(named).collect();
        if let ([only], true) = (accounts.as_slice(), found.is_empty()) {
            found.insert(of(only));
        }
    }
    let found: Vec<ServerId> = found.into_iter().collect();
    match found.as_slice() {
        [server] => Ok(server.clone()),
        [] if ServerNo::parse(no).is_some() => Err(format!(
            "server {text} is in no group that is known, and there are several accounts: write ACCOUNT/{no}"
        )),
        [] => Err(format!(
            "no server `{text}` is known: write its number, or a name as `sunup groups` shows it"
        )),
        several => {
            let list: Vec<String> =
                several.iter().map(|server| format!("{}/{}", server.account, server.no)).collect();
            Err(format!("`{text}` may be any of {}: write one of these", list.join(", ")))
        }
    }
}

/// The servers of all groups, as the engine shows them.
fn known_servers(known: &Value) -> impl Iterator<Item = &Value> {
    let groups = known.get("groups").and_then(Value::as_array).into_iter().flatten();
    groups.filter_map(|group| group.get("servers").and_then(Value::as_array)).flatten()
}

fn problem(text: &str) -> Value {
    json!({ "problem": text })
}

fn response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}
