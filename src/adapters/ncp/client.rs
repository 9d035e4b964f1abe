//! One account's client: sends each request once, signed just before it leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};

use super::encode::{Operation, Parameters, Wire, is_plain, wire};
use super::read::{Said, Success, TakenUp, read, read_request};
use super::role::RoleKeys;
use super::sent::{Failed, Sent, Urgent};
use super::sign::signature;
use super::tags;
use crate::domain::group::Tag;
use crate::domain::name::{Action, ServerNo};
use crate::domain::outcome::{Reason, ReasonKind};
use crate::domain::retry::{Answer, Layer, Refusal};
use crate::ports::clock::Clock;
use crate::ports::cloud::{
    ClockVerdict, Cloud, Exchange, Inventory, Pace, ReadError, ReadTrouble, Scope, ServerView,
};

pub use crate::domain::target::ATTEMPT_LIMIT;

/// The longest that a connection may take to be made, TLS included.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// The largest answer that is read.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A difference between the clocks that is worth a line in the log.
const CLOCK_DIFFERENCE_LARGE: SignedDuration = SignedDuration::from_secs(30);
/// A change of that difference that is worth another line.
const CLOCK_DIFFERENCE_NEWS: SignedDuration = SignedDuration::from_secs(5);
/// The `Date` header counts whole seconds: smaller differences say nothing.
const CLOCK_DIFFERENCE_NOISE: SignedDuration = SignedDuration::from_secs(2);
/// So many characters of an access key id are shown.
const KEY_CHARS_SHOWN: usize = 4;
/// Of a shorter id none are. The provider's have twenty.
const KEY_CHARS_MIN: usize = 12;
/// How many servers one page of a list holds.
const PAGE_SIZE: u32 = 100;
/// The most addresses of one machine that are asked for.
const ADDRESSES_MAX: usize = 32;
/// The most pages that one list may have.
const PAGES_MAX: u32 = 2000;

/// The keys of an account, or why there are none.
pub struct KeyPair {
    /// The access key id.
    pub access: SecretString,
    /// The secret key.
    pub secret: SecretString,
}

/// Where an account's keys come from.
pub enum KeySource {
    /// They are as they are, or cannot be had.
    Fixed(Result<Arc<KeyPair>, String>),
    /// Temporary ones of the machine's role.
    Role(Arc<RoleKeys>),
}

/// Where an account's requests go.
pub struct Endpoints {
    /// The server API: scheme and host.
    pub servers: String,
    /// The Resource Manager, which knows the tags: scheme and host, or why there is none.
    pub resources: Result<String, String>,
    /// The region code.
    pub region: String,
}

/// The NCP API of one account.
pub struct NcpCloud {
    account: String,
    base: String,
    resources: Result<String, String>,
    region: String,
    keys: KeySource,
    http: Result<reqwest::Client, String>,
    clock: Arc<dyn Clock>,
    pace: Arc<dyn Pace>,
    /// The cloud's clock minus ours, in milliseconds: corrects the time of signing and nothing else.
    correction_ms: AtomicI64,
}

impl NcpCloud {
    /// A client for an account. Keys that cannot be had, and trust roots that cannot be read, do not fail here: every
    /// call then says so, and other accounts go on.
    pub fn new(
        account: &str,
        endpoints: Endpoints,
        keys: KeySource,
        extra_roots: Result<Vec<reqwest::Certificate>, String>,
        clock: Arc<dyn Clock>,
        pace: Arc<dyn Pace>,
    ) -> Self {
        let http = extra_roots.and_then(http_client);
        Self {
            account: account.to_owned(),
            base: endpoints.servers,
            resources: endpoints.resources,
            region: endpoints.region,
            keys,
            http,
            clock,
            pace,
            correction_ms: AtomicI64::new(0),
        }
    }

    /// Sends one request once.
    async fn send(
        &self,
        operation: Operation,
        parameters: &Parameters,
        limit: Duration,
    ) -> Exchange<Sent<Success>> {
        let wire = wire(&self.base, operation, parameters);
        self.exchange(&self.base, &wire, Urgent::read(limit), |body| read(operation, body)).await
    }

    /// Sends one request once, and reads what the answer says.
    async fn exchange<T>(
        &self,
        base: &str,
        wire: &Wire,
        urgent: Urgent,
        read: impl FnOnce(&[u8]) -> Said<T>,
    ) -> Exchange<Sent<T>> {
        let limit = urgent.limit;
        let not_sent = |kind, text: String| Exchange {
            result: Sent::Unsent(Reason::new(kind, text)),
            clock: ClockVerdict::Unheard,
        };
        let keys = match &self.keys {
            KeySource::Fixed(keys) => keys.clone(),
            KeySource::Role(role) => RoleKeys::current(role, self.clock.now()).await,
        };
        let keys = match keys {
            Ok(keys) => keys,
            Err(problem) => return not_sent(ReasonKind::Credentials, problem),
        };
        let http = match &self.http {
            Ok(http) => http,
            Err(problem) => return not_sent(ReasonKind::Unreachable, problem.clone()),
        };
        let request = match self.signed(http, base, wire, &keys, limit) {
            Ok(request) => request,
            Err(error) => return not_sent(ReasonKind::Unreachable, chain(&error)),
        };
        // Fetching keys may have taken its time.
        if self.clock.now() > urgent.not_after {
            return not_sent(ReasonKind::Store, "the keys came too late, so nothing was sent".into());
        }
        match http.execute(request).await {
            Err(error) if error.is_connect() || error.is_builder() => {
                not_sent(ReasonKind::Unreachable, format!("no connection to {base}: {}", chain(&error)))
            }
            Err(error) => {
                let result = Sent::Lost(loss(base, &error, limit));
                Exchange { result, clock: ClockVerdict::Unheard }
            }
            Ok(response) => {
                let received = self.receive(base, response, limit, read).await;
                if let (KeySource::Role(role), Sent::Refused(Refusal { status: 401, .. })) =
                    (&self.keys, &received.result)
                {
                    // The metadata service may have newer ones than those that were just refused.
                    role.refused();
                }
                received
            }
        }
    }

    fn signed(
        &self,
        http: &reqwest::Client,
        base: &str,
        wire: &Wire,
        keys: &KeyPair,
        limit: Duration,
    ) -> reqwest::Result<reqwest::Request> {
        let url = format!("{base}{}", wire.target);
        let mut request = match &wire.body {
            None => http.get(url),
            Some((kind, body)) => http.post(url).header(CONTENT_TYPE, *kind).body(body.clone()),
        }
        .timeout(limit)
        .build()?;
        // What is signed is what the request line will hold, not what it was made from.
        let path = request.url().path();
        let target = request.url().query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let timestamp =
            (self.clock.now().as_millisecond() + self.correction_ms.load(Ordering::Relaxed)).to_string();
        let (access, secret) = (keys.access.expose_secret(), keys.secret.expose_secret());
        let signature = signature(wire.method, &target, &timestamp, access, secret);
        let headers = [
            ("x-ncp-apigw-timestamp", timestamp.as_str()),
            ("x-ncp-iam-access-key", access),
            ("x-ncp-apigw-signature-v2", signature.as_str()),
        ];
        for (name, value) in headers {
            if let Ok(mut value) = HeaderValue::from_str(value) {
                value.set_sensitive(true);
                request.headers_mut().insert(name, value);
            }
        }
        Ok(request)
    }

    async fn receive<T>(
        &self,
        base: &str,
        mut response: reqwest::Response,
        limit: Duration,
        read: impl FnOnce(&[u8]) -> Said<T>,
    ) -> Exchange<Sent<T>> {
        let clock = self.compare_clocks(response.headers());
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        let broken = loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_BYTES_MAX => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => break Some(format!("the answer is larger than {BODY_BYTES_MAX} bytes")),
                Ok(None) => break None,
                Err(error) => break Some(loss(base, &error, limit).text),
            }
        };
        let refusal = |layer, code, text, request_id| {
            Sent::Refused(Refusal { status, layer, code, text, request_id, retry_after })
        };
        let result = match (broken, read(&body)) {
            // Without a whole answer a success is none; a refusal stands in the status line already.
            (Some(problem), _) if status < 300 => Sent::Lost(Reason::new(ReasonKind::NoAnswer, problem)),
            (Some(problem), _) => refusal(Layer::Unreadable, String::new(), problem, None),
            (None, Said::Success(success)) if (200..300).contains(&status) => Sent::Success(success),
            (None, Said::Success(_)) => {
                let text = "an answer in the form of a success".to_owned();
                refusal(Layer::Unreadable, String::new(), text, None)
            }
            (None, Said::Error { layer, code, text, request_id }) => refusal(layer, code, text, request_id),
        };
        Exchange { result, clock }
    }

    /// Measures the difference on every answer; a large one is logged and corrects the time of signing.
    fn compare_clocks(&self, headers: &HeaderMap) -> ClockVerdict {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        // The header says `GMT`, which the parser of mail dates knows as an obsolete zone.
        let Some(theirs) = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok())
        else {
            return ClockVerdict::Undated;
        };
        let difference = theirs.duration_since(self.clock.now());
        let noise = difference.abs() <= CLOCK_DIFFERENCE_NOISE;
        let millis = if noise { 0 } else { i64::try_from(difference.as_millis()).unwrap_or(0) };
        let before = self.correction_ms.swap(millis, Ordering::Relaxed);
        if is_worth_telling(difference, SignedDuration::from_millis(before - millis)) {
            tracing::warn!(
                account = self.account,
                clock.difference_s = difference.as_secs(),
                "this machine's clock differs from the cloud's by {}s: set it, for example with chrony",
                difference.as_secs()
            );
        }
        ClockVerdict::Differs(difference)
    }

    /// All pages of a list, each read paced and within the limit.
    async fn pages(&self, filter: &Parameters, limit: Duration) -> Exchange<Result<Vec<ServerView>, Failed>> {
        let mut found: BTreeMap<ServerNo, ServerView> = BTreeMap::new();
        let mut clock = ClockVerdict::Unheard;
        let mut rows = 0_u64;
        for page in 1..=PAGES_MAX {
            self.pace.turn().await;
            let parameters = filter.clone().page(page, PAGE_SIZE);
            let sent = self.send(Operation::List, &parameters, limit).await;
            clock = sent.clock;
            let success = match sent.result {
                Sent::Success(success) => success,
                other => {
                    return Exchange { result: Err(Failed(other)), clock };
                }
            };
            let Some(servers) = success.servers else {
                let reason = Reason::new(ReasonKind::Api, "the answer holds no list of servers");
                return Exchange { result: Err(Failed(Sent::Lost(reason))), clock };
            };
            let (before, count) = (found.len(), u64::try_from(servers.len()).unwrap_or(u64::MAX));
            rows += count;
            found.extend(servers.into_iter().map(|server| (server.no.clone(), server)));
            // Without a count of rows a page that is not full is the last one.
            let complete = success.total_rows.map_or(count < u64::from(PAGE_SIZE), |total| rows >= total);
            if complete {
                return Exchange { result: Ok(found.into_values().collect()), clock };
            }
            if found.len() == before {
                break;
            }
        }
        let text = "the list of servers has fewer rows than it says".to_owned();
        Exchange { result: Err(Failed(Sent::Lost(Reason::new(ReasonKind::Api, text)))), clock }
    }
}

#[async_trait]
impl Cloud for NcpCloud {
    async fn ask(&self, action: Action, servers: &[ServerNo], not_after: Timestamp) -> Exchange<Answer> {
        let parameters = Parameters::of_region(&self.region).servers(servers);
        let operation = Operation::of(action);
        let wire = wire(&self.base, operation, &parameters);
        let urgent = Urgent { limit: ATTEMPT_LIMIT, not_after };
        let sent = self.exchange(&self.base, &wire, urgent, |body| read_request(operation, body)).await;
        let result = match sent.result {
            Sent::Success(TakenUp { listed, request_id }) => Answer::Accepted { listed, request_id },
            Sent::Refused(refusal) => Answer::Refused(refusal),
            Sent::Unsent(reason) => Answer::NotSent(reason),
            Sent::Lost(reason) => Answer::Unanswered(reason),
        };
        Exchange { result, clock: sent.clock }
    }

    async fn look(
        &self,
        servers: &[ServerNo],
        limit: Duration,
    ) -> Exchange<Result<Vec<ServerView>, ReadError>> {
        let mut found = Vec::new();
        let mut clock = ClockVerdict::Unheard;
        for some in servers.chunks(usize::try_from(PAGE_SIZE).unwrap_or(100)) {
            let region = Parameters::of_region(&self.region);
            let mut pages = self.pages(&region.clone().servers(some), limit).await;
            if matches!(&pages.result, Err(failed) if failed.refused_filter()) {
                // One number that the API does not know must not hide the others: read all and pick.
                pages = self.pages(&region, limit).await;
            }
            clock = pages.clock;
            match pages.result {
                Ok(servers) => found.extend(servers.into_iter().filter(|server| some.contains(&server.no))),
                Err(failed) => {
                    return Exchange { result: Err(failed.error()), clock };
                }
            }
        }
        Exchange { result: Ok(found), clock }
    }

    async fn list(&self, scope: &Scope, limit: Duration) -> Exchange<Result<Inventory, ReadError>> {
        let region = Parameters::of_region(&self.region);
        let filters = match &scope.vpcs {
            Some(vpcs) if vpcs.iter().all(|vpc| is_plain(vpc)) => {
                vpcs.iter().map(|vpc| region.clone().vpc(vpc)).collect()
            }
            _ => vec![region],
        };
        let mut inventory = Inventory::default();
        let mut clock = ClockVerdict::Unheard;
        for filter in filters {
            let mut pages = self.pages(&filter, limit).await;
            if matches!(&pages.result, Err(failed) if failed.refused_filter()) {
                // A VPC that the API does not know must not hide the others: everything is compared again anyway.
                pages = self.pages(&Parameters::of_region(&self.region), limit).await;
            }
            clock = pages.clock;
            match pages.result {
                Ok(servers) => inventory.servers.extend(servers),
                Err(failed) => return Exchange { result: Err(failed.error()), clock },
            }
        }
        for tag in &scope.tags {
            let tagged = self.tagged(tag, &inventory.servers, limit).await;
            clock = tagged.clock;
            // Another service with permissions of its own: its troubles leave the list as it is.
            inventory.tagged.insert(tag.clone(), tagged.result);
        }
        Exchange { result: Ok(inventory), clock }
    }

    async fn at_addresses(&self, addresses: &[IpAddr]) -> Exchange<Result<Vec<ServerNo>, ReadError>> {
        let mut found = Vec::new();
        let mut clock = ClockVerdict::Unheard;
        // The provider's networks have no IPv6, and an address that the filter does not understand must not end the search.
        let addresses: Vec<&IpAddr> = addresses.iter().filter(|address| address.is_ipv4()).collect();
        if addresses.len() > ADDRESSES_MAX {
            let text = format!(
                "this machine has more than {ADDRESSES_MAX} addresses; `limits.self` can name its server"
            );
            let reason = Reason::new(ReasonKind::NotKnown, text);
            let result = Err(ReadError { reason, trouble: ReadTrouble::Odd });
            return Exchange { result, clock };
        }
        for address in addresses {
            let filter = Parameters::of_region(&self.region).address(*address);
            let pages = self.pages(&filter, ATTEMPT_LIMIT).await;
            clock = pages.clock;
            match pages.result {
                // Whether the filter matches whole addresses is not documented; more than one hit would show that it does not,
                // and then all of them count, since a stop of this machine is what must not happen.
                Ok(servers) => found.extend(servers.into_iter().map(|server| server.no)),
                Err(failed) => return Exchange { result: Err(failed.error()), clock },
            }
        }
        Exchange { result: Ok(found), clock }
    }

    async fn greet(&self) -> Exchange<Result<(), ReadError>> {
        self.pace.turn().await;
        let sent = self.send(Operation::Regions, &Parameters::default(), ATTEMPT_LIMIT).await;
        let result = match sent.result {
            Sent::Success(_) => Ok(()),
            other => Err(Failed(other).error()),
        };
        Exchange { result, clock: sent.clock }
    }

    fn key_shown(&self) -> Option<String> {
        match &self.keys {
            KeySource::Fixed(pair) => pair.as_ref().ok()?.shown(),
            KeySource::Role(role) => role.in_use()?.shown(),
        }
    }
}

impl KeyPair {
    /// The last characters of the access key id; `None` for one so short that they would tell it.
    fn shown(&self) -> Option<String> {
        let id = self.access.expose_secret();
        let from = id.char_indices().rev().nth(KEY_CHARS_SHOWN - 1).map(|(index, _)| index)?;
        let is_long = id.chars().count() >= KEY_CHARS_MIN;
        id.get(from..).filter(|_| is_long).map(|end| format!("…{end}"))
    }
}

impl NcpCloud {
    /// The servers that carry a tag, of those that a list has shown.
    async fn tagged(
        &self,
        tag: &Tag,
        servers: &[ServerView],
        limit: Duration,
    ) -> Exchange<Result<BTreeSet<ServerNo>, ReadError>> {
        let base = match &self.resources {
            Ok(base) => base,
            Err(problem) => {
                let reason = Reason::new(ReasonKind::Api, problem.clone());
                let result = Err(ReadError { reason, trouble: ReadTrouble::Odd });
                return Exchange { result, clock: ClockVerdict::Unheard };
            }
        };
        let known: BTreeMap<&str, &ServerView> =
            servers.iter().map(|server| (server.no.as_str(), server)).collect();
        let mut found = BTreeSet::new();
        let mut clock = ClockVerdict::Unheard;
        for page in 0..PAGES_MAX {
            self.pace.turn().await;
            let wire = tags::wire(tag, &self.region, page);
            let sent = self.exchange(base, &wire, Urgent::read(limit), tags::read).await;
            clock = sent.clock;
            match sent.result {
                Sent::Success(resources) => {
                    found.extend(resources.items.iter().filter_map(|item| item.server_among(&known)));
                    if !resources.has_more {
                        return Exchange { result: Ok(found), clock };
                    }
                }
                other => return Exchange { result: Err(other.trouble()), clock },
            }
        }
        let reason = Reason::new(ReasonKind::Api, "the list of tagged resources does not end");
        Exchange { result: Err(ReadError { reason, trouble: ReadTrouble::Odd }), clock }
    }
}

/// Whether a difference between the clocks is large, and other than the one that was told before.
fn is_worth_telling(difference: SignedDuration, change: SignedDuration) -> bool {
    difference.abs() >= CLOCK_DIFFERENCE_LARGE && change.abs() > CLOCK_DIFFERENCE_NEWS
}

fn loss(base: &str, error: &reqwest::Error, limit: Duration) -> Reason {
    let text = if error.is_timeout() {
        format!("no whole answer from {base} within {}s", limit.as_secs())
    } else {
        format!("the connection to {base} broke: {}", chain(error))
    };
    Reason::new(ReasonKind::NoAnswer, text)
}

fn http_client(extra_roots: Vec<reqwest::Certificate>) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .user_agent(concat!("sunup/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_LIMIT)
        .tcp_user_timeout(ATTEMPT_LIMIT)
        .pool_idle_timeout(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .tls_certs_merge(extra_roots)
        .build()
        .map_err(|error| {
            format!("no trusted root certificates: {}; install the package `ca-certificates`, or name a file in `ca_file`", chain(&error))
        })
}

/// The wait that the answer asks for, in its form of seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

/// An error with its sources on one line. Without the URL, which the caller names as far as it should be seen.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let text = error.to_string();
        if !words.iter().any(|word| word.contains(&text)) {
            words.push(text);
        }
        source = error.source();
    }
    if words.is_empty() { "the request could not be made".into() } else { words.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_http_answer_is_read() {
        let parsed = rfc2822::DateTimeParser::new().parse_timestamp("Mon, 23 Nov 2026 08:50:00 GMT");

        assert_eq!(parsed.ok(), Some("2026-11-23T08:50:00Z".parse::<Timestamp>().unwrap()));
    }

    #[test]
    fn a_large_difference_of_the_clocks_is_told_once() {
        let told = |difference: i64, change: i64| {
            is_worth_telling(SignedDuration::from_secs(difference), SignedDuration::from_millis(change))
        };

        assert!(told(30, 30_000) && told(-30, -30_000) && told(31, 5_001));
        assert!(!told(29, 29_000), "a small one");
        assert!(!told(3600, 5_000) && !told(3600, 0), "told before");
    }

    #[test]
    fn of_an_access_key_id_its_end_alone_is_shown_and_of_a_short_one_nothing() {
        let shown = |id: &str| KeyPair { access: id.into(), secret: "s3cr3t-s3cr3t".into() }.shown();

        assert_eq!(shown("ABCDEFGHIJKLMNOP1234").as_deref(), Some("…1234"));
        assert_eq!(shown("ABCDEFGH1234").as_deref(), Some("…1234"));
        assert_eq!((shown("ABCDEFG1234"), shown("")), (None, None));
    }

    #[test]
    fn a_wait_in_seconds_is_honoured_and_nothing_else_is() {
        let headers =
            |value: &str| HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);

        assert_eq!(retry_after(&headers("20")), Some(Duration::from_secs(20)));
        assert_eq!(retry_after(&headers("99999999")), Some(Duration::from_secs(3600)));
        assert_eq!(retry_after(&headers("soon")), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
