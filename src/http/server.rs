//! The listener: loopback or a Unix socket, reads alone, with limits on who, how much and how long.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::settings::{Http, Listen};

/// The most connections at one time; others wait.
const CONNECTIONS_MAX: usize = 64;
/// How long the head of a request may take.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may last.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long after a failed accept the next is tried.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Something that comes later.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: StatusCode,
    /// The media type.
    pub media: &'static str,
    /// The text.
    pub text: String,
}

impl Page {
    /// A page of plain text.
    #[must_use]
    pub fn good(text: &str) -> Self {
        Self::new(StatusCode::OK, text)
    }

    /// The same with 503.
    #[must_use]
    pub fn unavailable(text: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    fn new(status: StatusCode, text: &str) -> Self {
        Self { status, media: "text/plain; charset=utf-8", text: text.to_owned() }
    }
}

/// Who knows the pages.
pub trait Answer: Send + Sync {
    /// The page at a path; `None` if there is none.
    fn answer(&self, path: &str) -> Option<BoxFuture<Page>>;
}

/// Who may ask.
#[derive(Clone)]
pub struct Doorkeeper {
    /// The digest of the token that a request must bring, if one is asked for.
    token: Option<[u8; 32]>,
    /// The names that the `Host` of a request may have besides those of loopback; `None` where it is not looked at. A page in a browser
    /// must not read it under another name.
    hosts: Option<Arc<[String]>>,
}

impl Doorkeeper {
    /// A doorkeeper for a place, who asks for the token with a digest (SHA-256) or for none.
    #[must_use]
    pub fn new(http: &Http, token: Option<[u8; 32]>) -> Self {
        let Listen::Tcp(address) = &http.listen else { return Self { token, hosts: None } };
        let mut hosts = http.hosts.clone();
        // An address of its own is a name of its own.
        hosts.extend((!address.ip().is_unspecified()).then(|| address.ip().to_string()));
        Self { token, hosts: Some(hosts.into()) }
    }

    /// Why a request is turned away.
    fn refuses(&self, request: &Request<Incoming>) -> Option<(StatusCode, &'static str)> {
        if let Some(hosts) = &self.hosts {
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
            match host.map(|host| is_one_of(host, hosts)) {
                None => return Some((StatusCode::BAD_REQUEST, "the request names no host\n")),
                Some(false) => {
                    return Some((
                        StatusCode::MISDIRECTED_REQUEST,
                        "write localhost, 127.0.0.1, [::1] or one of `http.hosts` as the host\n",
                    ));
                }
                Some(true) => {}
            }
        }
        let token = self.token?;
        let brought = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let brought = brought.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        // Digests are compared, so that the time it takes tells nothing.
        let digest: [u8; 32] = Sha256::digest(brought.trim().as_bytes()).into();
        (digest != token)
            .then_some((StatusCode::UNAUTHORIZED, "bring the token: `Authorization: Bearer TOKEN`\n"))
    }
}

/// Whether the host of a request, with or without a port, is loopback or one of some names in small letters.
fn is_one_of(host: &str, hosts: &[String]) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback
        || bare.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|name| name.eq_ignore_ascii_case(bare))
}

/// A listener that is bound.
pub enum Bound {
    /// On an address, encrypted or not.
    Tcp(TcpListener, Option<TlsAcceptor>),
    /// On a Unix socket.
    Unix(UnixListener),
}

impl Bound {
    /// Binds a place.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub async fn to(listen: &Listen, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?, tls)),
            Listen::Unix(path) => unix(path).map(Self::Unix),
        }
    }

    /// The address, where it has one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener, _) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Answers for ever.
    pub async fn serve(self, door: Doorkeeper, pages: Arc<dyn Answer>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (door, pages) = (door.clone(), Arc::clone(&pages));
            let accepted = match &self {
                Self::Tcp(listener, tls) => listener.accept().await.map(|(stream, _)| {
                    let tls = tls.clone();
                    tokio::spawn(async move {
                        match tls {
                            Some(tls) => encrypted(&tls, stream, door, pages).await,
                            None => connection(stream, door, pages).await,
                        }
                        drop(place);
                    })
                }),
                Self::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(async move {
                        connection(stream, door, pages).await;
                        drop(place);
                    })
                }),
            };
            if let Err(error) = accepted {
                tracing::warn!("the HTTP listener could not take a client: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// A socket left behind by a process that is no more is replaced; nothing else is.
fn unix(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

async fn encrypted(tls: &TlsAcceptor, stream: TcpStream, door: Doorkeeper, pages: Arc<dyn Answer>) {
    match tokio::time::timeout(HEAD_LIMIT, tls.accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, door, pages).await,
        Ok(Err(error)) => tracing::debug!("a client of the HTTP listener did not speak TLS: {error}"),
        Err(_) => tracing::debug!("a client of the HTTP listener was too slow to speak TLS"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    door: Doorkeeper,
    pages: Arc<dyn Answer>,
) {
    let service = service_fn(move |request| {
        let (door, pages) = (door.clone(), Arc::clone(&pages));
        async move { Ok::<_, Infallible>(answer(&door, pages.as_ref(), &request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_LIMIT, served).await {
        tracing::debug!("a client of the HTTP listener went away: {error}");
    }
}

async fn answer(door: &Doorkeeper, pages: &dyn Answer, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if let Some((status, words)) = door.refuses(request) {
        return response(Page::new(status, words));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return response(Page::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are known here\n"));
    }
    match pages.answer(request.uri().path()) {
        Some(page) => response(page.await),
        None => response(Page::new(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n")),
    }
}

fn response(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page.text)));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    match page.status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_and_those_that_are_allowed_are_taken_as_the_host() {
        let hosts = ["mon.example".to_owned(), "fe80::1".to_owned()];
        let is_here = |host: &str| is_one_of(host, &[]);
        for host in [
            "localhost",
            "LOCALHOST:7717",
            "127.0.0.1",
            "127.0.0.1:7717",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:7717",
        ] {
            assert!(is_here(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "example.com:7717",
            "localhost.example.com",
            "127.0.0.1.nip.io",
            "10.0.0.1",
            "[fe80::1]",
            "0.0.0.0",
        ] {
            assert!(!is_here(host), "{host}");
        }
        for host in ["mon.example", "MON.example:7717", "[fe80::1]:7717"] {
            assert!(is_one_of(host, &hosts) && !is_here(host), "{host}");
        }
        assert!(!is_one_of("other.mon.example", &hosts));
    }
}
