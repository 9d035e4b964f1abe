//! The HTTP face of the imitated cloud.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::answer::{Answer, Format, server};
use super::auth::{authenticate, signed_at};
use super::beside::{self, RESOURCES, RESOURCES_PATH};
use super::fault::{Effect, Fault, Target, What};
use super::log::{Log, Logged};
use super::model::{Change, Deed, Mishap, Model};
use super::request::Parameters;
use super::tap::{Cutter, Tap};
use super::{Now, fault};

pub use super::auth::Account;

/// The largest request body.
const FORM_BYTES_MAX: usize = 1024 * 1024;
/// How long a queued deed takes to happen after its failure was answered.
const QUEUED: Duration = Duration::from_secs(2);

/// How long keys of a role hold, in microseconds.
const ROLE_LIFETIME: i64 = 3_600_000_000;

/// The operations that are documented as needed.
const NEEDED: [&str; 5] =
    ["startServerInstances", "stopServerInstances", "getServerInstanceList", "getRegionList", RESOURCES];
/// The others that are imitated.
const OTHERS: [&str; 3] = ["rebootServerInstances", "getServerInstanceDetail", "getZoneList"];

/// How the sandbox is to behave.
pub struct Options {
    /// The key pairs that it knows.
    pub accounts: Vec<Account>,
    /// Only the operations that are documented as needed.
    pub strict: bool,
    /// Requests a second before it answers 429; `None` for no limit.
    pub rate: Option<u32>,
    /// Where each request and each change of state is written, as JSON Lines.
    pub log: Option<Box<dyn Write + Send>>,
    /// The faults to begin with.
    pub faults: Vec<Fault>,
}

/// The imitated cloud, ready to be served.
pub struct Sandbox {
    inner: Mutex<Inner>,
    accounts: Vec<Account>,
    strict: bool,
    rate: Option<u32>,
    log: Log,
    now: Now,
    began: i64,
}

struct Inner {
    model: Model,
    faults: Vec<Fault>,
    requests: u64,
    second: (i64, u32),
}

type Body = BoxBody<Bytes, std::io::Error>;

/// What becomes of the connection, beside the answer.
enum Delivery {
    Whole,
    Late(Duration),
    Slowly(Duration),
    Half,
    Cut,
}

/// An answer with how it is delivered and what happens later.
struct Reply {
    answer: Answer,
    html: bool,
    delivery: Delivery,
    fault: Option<String>,
    later: Option<(Deed, Vec<String>)>,
    account: String,
}

impl Sandbox {
    /// A sandbox over a fleet.
    #[must_use]
    pub fn new(model: Model, options: Options, now: Now) -> Arc<Self> {
        let began = now();
        Arc::new(Self {
            inner: Mutex::new(Inner { model, faults: options.faults, requests: 0, second: (0, 0) }),
            log: Log::new(
                options.log,
                options.accounts.iter().map(|account| account.access_key.clone()).collect(),
            ),
            accounts: options.accounts,
            strict: options.strict,
            rate: options.rate,
            now,
            began,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a listener until the task is dropped.
    ///
    /// # Errors
    /// When the listener can no longer be used.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> std::io::Result<()> {
        let address = listener.local_addr()?;
        let mut listener = Some(listener);
        loop {
            if let Some(pause) = self.refusing() {
                // A closed port is what refuses connections.
                listener = None;
                tokio::time::sleep(pause).await;
                continue;
            }
            let open = match listener.take() {
                Some(open) => open,
                None => TcpListener::bind(address).await?,
            };
            // Looked at again after a moment, in case a fault begins while nobody connects.
            if let Ok(accepted) = tokio::time::timeout(Duration::from_millis(200), open.accept()).await {
                let (stream, peer) = accepted?;
                tokio::spawn(connection(Arc::clone(&self), stream, peer));
            }
            listener = Some(open);
        }
    }

    fn refusing(&self) -> Option<Duration> {
        let age = (self.now)() - self.began;
        let until = self.lock().faults.iter().filter_map(|fault| fault.refuses_until(age)).max()?;
        let wait = u64::try_from((until - age).clamp(1000, 100_000)).unwrap_or(1000);
        Some(Duration::from_micros(wait))
    }

    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        cutter: Cutter,
    ) -> Option<Response<Body>> {
        let at = (self.now)();
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let form = Limited::new(body, FORM_BYTES_MAX).collect().await.ok()?.to_bytes();
        if let Some(path) = parts.uri.path().strip_prefix("/sandbox/") {
            return Some(self.admin(parts.method.as_str(), path, &form, peer));
        }
        if let Some(text) = self.metadata(parts.uri.path(), peer, at) {
            return Response::builder().body(whole(text.into_bytes())).ok();
        }
        let parameters = Parameters::read(parts.uri.query().unwrap_or(""), &String::from_utf8_lossy(&form));
        let format = match parameters.get("responseFormatType") {
            Some("json") => Format::Json,
            _ => Format::Xml,
        };
        let (format, operation) = match parts.uri.path() {
            RESOURCES_PATH => (Format::Json, RESOURCES),
            path => (format, path.strip_prefix("/vserver/v2/").unwrap_or(path)),
        };
        let servers = numbers_of(&parameters);
        let signed = authenticate(&self.accounts, parts.method.as_str(), &target, &parts.headers, at / 1000);
        let arrived = Arrived { at, operation, servers: &servers, signed: signed_at(&parts.headers) };
        let asked = signed.map(|account| Asked {
            account: &account.access_key,
            parameters: &parameters,
            body: &form,
        });
        let reply = self.settle(&arrived, &asked);
        self.deliver(reply, format, cutter).await
    }

    /// The metadata service of the machine that asks, which can only be this one. Its role has the first account's keys for an
    /// hour.
    fn metadata(&self, path: &str, peer: SocketAddr, at: i64) -> Option<String> {
        let ends = jiff::Timestamp::from_microsecond(at + ROLE_LIFETIME).ok()?;
        let text = beside::role(path, self.accounts.first(), &ends.to_string())?;
        peer.ip().is_loopback().then_some(text)
    }

    /// Judges a request and has its line stand before the changes that it sets off, with nothing of another request between them: so an
    /// audit knows what set them off.
    fn settle(&self, arrived: &Arrived<'_>, asked: &Result<Asked<'_>, &'static str>) -> Reply {
        let mut inner = self.lock();
        let (reply, changes) = match asked {
            Ok(asked) => self.reply(&mut inner, asked, arrived),
            Err(why) => {
                (Reply::plain(Answer::gateway(401, "200", "Authentication Failed", why), ""), Vec::new())
            }
        };
        let line = Logged {
            at: arrived.at,
            operation: arrived.operation,
            servers: arrived.servers,
            signature: asked.is_ok(),
            signed: arrived.signed,
            account: &reply.account,
            status: if matches!(reply.delivery, Delivery::Cut) { 0 } else { reply.answer.status },
            code: &reply.answer.code,
            fault: reply.fault.as_deref(),
        };
        self.log.request(&line, &changes);
        reply
    }

    /// What a signed request is answered with, and the changes that it sets off.
    fn reply(&self, inner: &mut Inner, asked: &Asked<'_>, arrived: &Arrived<'_>) -> (Reply, Vec<Change>) {
        let Asked { account, parameters, body } = *asked;
        let Arrived { at, operation, servers, .. } = *arrived;
        self.log.changes(&inner.model.advance(at));
        inner.requests += 1;
        let request_id = format!("5a4db0c5-0000-4000-8000-{:012x}", inner.requests);
        let plain = |answer| (Reply::plain(answer, account), Vec::new());
        if over_the_rate(inner, self.rate, at) {
            return plain(Answer::gateway(429, "420", "Rate Limited", ""));
        }
        let known = NEEDED.contains(&operation) || (!self.strict && OTHERS.contains(&operation));
        if !known {
            return plain(Answer::gateway(404, "300", "Not Found Exception", ""));
        }
        let target = Target { operation, account, servers, age: at - self.began };
        let Inner { model, faults, .. } = inner;
        let index = faults.iter_mut().position(|fault| fault.strikes(&target, || model.chance(1000)));
        let struck = index.and_then(|index| faults.get(index)).cloned();
        let call = Call { operation, account, parameters, body, servers, at, request_id: &request_id };
        call.answer(model, struck.as_ref())
    }

    async fn deliver(
        self: Arc<Self>,
        reply: Reply,
        format: Format,
        cutter: Cutter,
    ) -> Option<Response<Body>> {
        if let Some((deed, servers)) = reply.later {
            let (sandbox, account) = (Arc::clone(&self), reply.account.clone());
            tokio::spawn(async move {
                tokio::time::sleep(QUEUED).await;
                let at = (sandbox.now)();
                let mut inner = sandbox.lock();
                sandbox.log.changes(&inner.model.advance(at));
                let (changes, _) = inner.model.act(&account, deed, &servers, |_| Mishap::None, at);
                sandbox.log.changes(&changes);
            });
        }
        let (bytes, kind) = if reply.html {
            (b"<html><body><h1>It works!</h1></body></html>".to_vec(), "text/html")
        } else {
            reply.answer.bytes(format)
        };
        let length = bytes.len();
        let body = match reply.delivery {
            Delivery::Whole => whole(bytes),
            Delivery::Late(wait) => {
                tokio::time::sleep(wait).await;
                whole(bytes)
            }
            Delivery::Slowly(over) => slow(&bytes, over),
            Delivery::Half => half(&bytes, cutter),
            Delivery::Cut => {
                cutter.cut();
                return None;
            }
        };
        let response = Response::builder().status(reply.answer.status).header(CONTENT_TYPE, kind);
        response.header(CONTENT_LENGTH, length).body(body).ok()
    }

    /// The admin endpoint, for loopback alone: faults can be added and cleared, servers seen and put into a state.
    fn admin(&self, method: &str, path: &str, body: &[u8], peer: SocketAddr) -> Response<Body> {
        let text = String::from_utf8_lossy(body);
        let (status, value) = match (peer.ip().is_loopback(), method, path) {
            (false, ..) => (403, json!({"error": "the admin endpoint is for loopback alone"})),
            (true, "POST", "faults") => match fault::read(&text) {
                Ok(mut faults) => {
                    let age = (self.now)() - self.began;
                    faults.iter_mut().for_each(|fault| fault.begins_at(age));
                    let count = faults.len();
                    self.lock().faults.extend(faults);
                    (200, json!({"added": count}))
                }
                Err(error) => (400, json!({"error": error.to_string()})),
            },
            (true, "DELETE", "faults") => {
                self.lock().faults.clear();
                (200, json!({"added": 0}))
            }
            (true, "GET", "servers") => (200, self.servers()),
            (true, "POST", "servers") => self.force(&text),
            _ => (404, json!({"error": "POST or DELETE /sandbox/faults, GET or POST /sandbox/servers"})),
        };
        let mut response = Response::new(whole(value.to_string().into_bytes()));
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
        response
    }

    fn servers(&self) -> Value {
        let mut inner = self.lock();
        self.log.changes(&inner.model.advance((self.now)()));
        let shown = |s: &super::model::Server| json!({"account": s.account, "no": s.no, "name": s.name, "status": s.status, "operation": s.operation});
        Value::Array(inner.model.all().map(shown).collect())
    }

    /// `{"no": "1001", "status": "NSTOP", "operation": "NULL"}`, with `account` where there are several.
    fn force(&self, text: &str) -> (u16, Value) {
        let wanted: Value = serde_json::from_str(text).unwrap_or_default();
        let field = |name: &str| wanted.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let first = self.accounts.first().map(|account| account.access_key.clone());
        let (Some(no), Some(status), Some(account)) =
            (field("no"), field("status"), field("account").or(first))
        else {
            return (400, json!({"error": "name `no` and `status`"}));
        };
        let operation = field("operation").unwrap_or_else(|| "NULL".into());
        let at = (self.now)();
        let mut inner = self.lock();
        self.log.changes(&inner.model.advance(at));
        match inner.model.force(&account, &no, &status, &operation, at) {
            Some(change) => {
                self.log.changes(&[change]);
                (200, json!({"no": no}))
            }
            None => (404, json!({"error": format!("there is no server {no}")})),
        }
    }
}

fn numbers_of(parameters: &Parameters) -> Vec<String> {
    let mut servers = parameters.list("serverInstanceNoList");
    servers.extend(parameters.get("serverInstanceNo").map(ToOwned::to_owned));
    servers
}

fn over_the_rate(inner: &mut Inner, rate: Option<u32>, at: i64) -> bool {
    let second = at.div_euclid(1_000_000);
    if inner.second.0 != second {
        inner.second = (second, 0);
    }
    inner.second.1 += 1;
    rate.is_some_and(|rate| inner.second.1 > rate)
}

impl Reply {
    fn plain(answer: Answer, account: &str) -> Self {
        let account = account.to_owned();
        Self { answer, html: false, delivery: Delivery::Whole, fault: None, later: None, account }
    }
}

/// A request as it arrived.
#[derive(Clone, Copy)]
struct Arrived<'a> {
    at: i64,
    operation: &'a str,
    servers: &'a [String],
    /// When it says that it was signed.
    signed: Option<i64>,
}

/// What an authenticated request asks for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    account: &'a str,
    parameters: &'a Parameters,
    body: &'a [u8],
}

/// One call, authenticated.
struct Call<'a> {
    operation: &'a str,
    account: &'a str,
    parameters: &'a Parameters,
    body: &'a [u8],
    servers: &'a [String],
    at: i64,
    request_id: &'a str,
}

impl Call<'_> {
    fn deed(&self) -> Option<Deed> {
        match self.operation {
            "startServerInstances" => Some(Deed::Start),
            "stopServerInstances" => Some(Deed::Stop),
            "rebootServerInstances" => Some(Deed::Reboot),
            _ => None,
        }
    }

    fn answer(&self, model: &mut Model, struck: Option<&Fault>) -> (Reply, Vec<Change>) {
        let Some(fault) = struck else {
            return self.ordinary(model, |_| Mishap::None);
        };
        let meant = |no: &str| fault.server().is_none_or(|server| server == no);
        let (mut reply, changes) = match &fault.what {
            What::Status { status, code, message, effect } => {
                let answer = match status {
                    400 => Answer::server_error(400, code, message),
                    status => Answer::gateway(*status, code, message, ""),
                };
                self.hidden(model, *effect, answer, Delivery::Whole)
            }
            What::Refuse => self.hidden(model, Effect::None, self.empty(), Delivery::Cut),
            What::Reset(effect) => self.hidden(model, *effect, self.empty(), Delivery::Cut),
            What::Delay(by) => self.delivered(model, Delivery::Late(duration(*by))),
            What::Slow(over) => self.delivered(model, Delivery::Slowly(duration(*over))),
            What::Truncate => self.delivered(model, Delivery::Half),
            What::Garbage => {
                let (reply, changes) = self.ordinary(model, |_| Mishap::None);
                (Reply { html: true, ..reply }, changes)
            }
            What::Stale(by) => (self.list(model, self.at - by), vec![]),
            What::FallBack => {
                self.ordinary(model, |no| if meant(no) { Mishap::FallsBack } else { Mishap::None })
            }
            What::Stuck => self.ordinary(model, |no| if meant(no) { Mishap::Stuck } else { Mishap::None }),
            What::Busy => self.named_failure(
                fault,
                "3001008",
                "The storage allocated to the server is being manipulated.",
            ),
            What::NoCapacity => {
                self.named_failure(fault, "1100903", "Not enough capacity for the server spec.")
            }
            What::Partial => self.named_failure(fault, "1100904", "The server cannot be operated."),
        };
        reply.fault = Some(fault.name.clone());
        (reply, changes)
    }

    fn empty(&self) -> Answer {
        Answer::gateway(500, "900", "Unexpected Error", "")
    }

    /// The ordinary course of a call.
    fn ordinary(&self, model: &mut Model, mishap: impl Fn(&str) -> Mishap) -> (Reply, Vec<Change>) {
        let Some(deed) = self.deed() else {
            return (self.list(model, self.at), vec![]);
        };
        if self.servers.is_empty() {
            // Seen in practice: a missing parameter is answered as a fault of the endpoint.
            let answer = Answer::gateway(503, "500", "Endpoint Error", "");
            return (Reply::plain(answer, self.account), vec![]);
        }
        let (changes, done) = model.act(self.account, deed, self.servers, mishap, self.at);
        let reply = match done {
            Ok(()) => self.list(model, self.at),
            Err(refused) => {
                Reply::plain(Answer::server_error(400, &refused.code, &refused.text), self.account)
            }
        };
        (reply, changes)
    }

    fn delivered(&self, model: &mut Model, delivery: Delivery) -> (Reply, Vec<Change>) {
        let (reply, changes) = self.ordinary(model, |_| Mishap::None);
        (Reply { delivery, ..reply }, changes)
    }

    /// A failure that says nothing about the deed.
    fn hidden(
        &self,
        model: &mut Model,
        effect: Effect,
        answer: Answer,
        delivery: Delivery,
    ) -> (Reply, Vec<Change>) {
        let changes = match effect {
            Effect::Before => self.ordinary(model, |_| Mishap::None).1,
            Effect::None | Effect::After => vec![],
        };
        let later = self.deed().filter(|_| effect == Effect::After).map(|deed| (deed, self.servers.to_vec()));
        (Reply { delivery, later, ..Reply::plain(answer, self.account) }, changes)
    }

    /// One server is named as bad, and nothing is done for any.
    fn named_failure(&self, fault: &Fault, code: &str, reason: &str) -> (Reply, Vec<Change>) {
        let no = fault.server().or(self.servers.first().map(String::as_str)).unwrap_or("0");
        let text = format!("Operation of 1 servers failed. srv-{no}({no}) : {reason}");
        (Reply::plain(Answer::server_error(400, code, &text), self.account), vec![])
    }

    fn list(&self, model: &Model, moment: i64) -> Reply {
        if self.operation == RESOURCES {
            let found = beside::resources(model, self.account, self.body);
            return Reply::plain(Answer::of_service(found), self.account);
        }
        let (rows, list, items) = match self.operation {
            "getRegionList" => (1, "regionList", vec![json!({"regionCode": "KR", "regionName": "Korea"})]),
            "getZoneList" => {
                let zone = json!({"zoneCode": "KR-1", "zoneName": "KR-1", "regionCode": "KR", "zoneDescription": "sandbox"});
                (1, "zoneList", vec![zone])
            }
            _ => {
                let numbers = self.parameters.list("serverInstanceNoList");
                let admits = self.parameters.filter();
                let mut all: Vec<&super::model::Server> = match (numbers.is_empty(), self.deed()) {
                    (true, None) => model.of_account(self.account).collect(),
                    (true, Some(_)) => model.named(self.account, self.servers).collect(),
                    (false, _) => model.named(self.account, &numbers).collect(),
                };
                all.retain(|server| admits(server));
                let page: Vec<Value> = match self.parameters.page() {
                    Some((page, size)) => {
                        all.iter().skip((page - 1) * size).take(size).map(|s| server(s, moment)).collect()
                    }
                    None => all.iter().map(|s| server(s, moment)).collect(),
                };
                (all.len(), "serverInstanceList", page)
            }
        };
        let data =
            Map::from_iter([("totalRows".to_owned(), rows.into()), (list.to_owned(), Value::Array(items))]);
        Reply::plain(Answer::success(self.operation, self.request_id, data), self.account)
    }
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn whole(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never: Infallible| match never {}).boxed()
}

/// The body in twenty parts over a time.
fn slow(bytes: &[u8], over: Duration) -> Body {
    let size = bytes.len().div_ceil(20).max(1);
    let parts: Vec<Bytes> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
    let pause = over / u32::try_from(parts.len().max(1)).unwrap_or(1);
    let stream = stream::unfold(parts.into_iter(), move |mut parts| async move {
        let part = parts.next()?;
        tokio::time::sleep(pause).await;
        Some((Ok(Frame::data(part)), parts))
    });
    StreamBody::new(stream).boxed()
}

/// Half of the body, then a cut.
fn half(bytes: &[u8], cutter: Cutter) -> Body {
    let first = Bytes::copy_from_slice(bytes.get(..bytes.len() / 2).unwrap_or(bytes));
    let stream = stream::unfold(Some(first), move |part| {
        let cutter = cutter.clone();
        async move {
            match part {
                Some(part) => Some((Ok(Frame::data(part)), None)),
                None => {
                    // The first half is to arrive before the cut.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    cutter.cut();
                    Some((Err(std::io::ErrorKind::ConnectionReset.into()), None))
                }
            }
        }
    });
    StreamBody::new(stream).boxed()
}

async fn connection(sandbox: Arc<Sandbox>, stream: TcpStream, peer: SocketAddr) {
    let (tap, cutter) = Tap::new(stream);
    let service = service_fn(move |request| {
        let (sandbox, cutter) = (Arc::clone(&sandbox), cutter.clone());
        async move {
            let cut = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            sandbox.handle(request, peer, cutter).await.ok_or_else(cut)
        }
    });
    // A connection that ends badly is what some faults are for; the client is the one to tell.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tap), service).await;
}
