//! One request to an address that a secret names: only to where it may go, pinned for the connection, and never passed on.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use super::plain;
use crate::domain::address::is_public;

/// How long a name may take to resolve.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the whole may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Parts of an address that are shorter tell nothing.
const PART_BYTES_MIN: usize = 4;
/// So much of an answer that is no success is shown.
const ANSWER_BYTES_MAX: usize = 300;

/// Sends a body to a secret address, or asks it with none.
///
/// After resolution no address of this machine or network is used unless `allow_private` says so; the connection goes to just what was
/// looked at; redirects are not followed and nothing is repeated.
///
/// # Errors
/// Why it did not arrive, in words without the address.
pub async fn send(
    address: &SecretString,
    allow_private: bool,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
) -> Result<(), String> {
    let url = url_of(address)?;
    let addresses = looked_up(&url, allow_private).await?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let client = reqwest::Client::builder()
        .user_agent(concat!("sunup/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(CONNECT_LIMIT)
        .timeout(LIMIT)
        .resolve_to_addrs(&host, &addresses)
        .build()
        .map_err(|error| format!("no client for it: {}", error.without_url()))?;
    let request = match body {
        Some(body) => client.post(url).body(body),
        None => client.get(url),
    };
    let hidden = parts_of(address);
    let sent = request.headers(headers).send().await;
    let mut response = sent.map_err(|error| redacted(&words(&error), &hidden))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let mut shown: Vec<u8> = Vec::new();
    while shown.len() < ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        shown.extend(chunk.iter().take(ANSWER_BYTES_MAX - shown.len()));
    }
    // Some receivers repeat what they were asked for.
    let shown = redacted(&plain(&shown), &hidden);
    let said = if shown.is_empty() { String::new() } else { format!(": {shown}") };
    let moved =
        if status.is_redirection() { " (it is elsewhere now, and redirects are not followed)" } else { "" };
    Err(format!("it answered {}{moved}{said}", status.as_u16()))
}

/// What an answer must not repeat of an address: its host, its path and query, and every part of these that could be a token.
pub(super) fn parts_of(address: &SecretString) -> Vec<String> {
    let text = address.expose_secret();
    let Ok(url) = reqwest::Url::parse(text) else { return vec![text.to_owned()] };
    let query = url.query().unwrap_or_default();
    let whole = [text, url.as_str(), url.path(), query, url.username(), url.password().unwrap_or_default()];
    let pieces = url.path().split('/').chain(query.split(['&', '=']));
    let decoded = url.query_pairs().flat_map(|(key, value)| [key.into_owned(), value.into_owned()]);
    let mut parts: Vec<String> =
        whole.into_iter().chain(pieces).chain(url.host_str()).map(str::to_owned).chain(decoded).collect();
    parts.retain(|part| part.len() >= PART_BYTES_MIN);
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts
}

/// A text without these.
pub(super) fn redacted(text: &str, parts: &[String]) -> String {
    parts.iter().fold(text.to_owned(), |text, part| text.replace(part.as_str(), "…"))
}

/// Whether an address may be used: its host is looked up, and nothing is sent.
///
/// # Errors
/// Why not, in words without the address.
pub async fn check(address: &SecretString, allow_private: bool) -> Result<(), String> {
    let url = url_of(address)?;
    looked_up(&url, allow_private).await.map(|_| ())
}

pub(super) fn url_of(address: &SecretString) -> Result<reqwest::Url, String> {
    reqwest::Url::parse(address.expose_secret()).map_err(|error| format!("its address is no URL: {error}"))
}

/// The same address with something at the end of its path.
#[must_use]
pub fn with_suffix(address: &SecretString, suffix: &str) -> SecretString {
    let bare = address.expose_secret().trim_end_matches('/');
    SecretString::from(format!("{bare}{suffix}"))
}

/// An error without the address that it names.
fn words(error: &reqwest::Error) -> String {
    match (error.is_timeout(), error.is_connect()) {
        (true, _) => format!("no answer within {}s", LIMIT.as_secs()),
        (false, true) => {
            let mut source = std::error::Error::source(error);
            let mut last = "no connection".to_owned();
            while let Some(inner) = source {
                last = format!("no connection: {inner}");
                source = inner.source();
            }
            last
        }
        (false, false) => "the connection broke before it answered".to_owned(),
    }
}

/// The addresses that a URL leads to, all of which are allowed.
async fn looked_up(url: &reqwest::Url, allow_private: bool) -> Result<Vec<SocketAddr>, String> {
    let host = url.host_str().ok_or("its address has no host")?;
    let port = url.port_or_known_default().ok_or("its address has no port")?;
    // Numbers in any spelling are read by the URL parser: what is left is an address or a name.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = resolved(bare, port, allow_private).await?;
    let is_here = addresses.iter().all(|address| address.ip().is_loopback());
    match url.scheme() {
        "https" => Ok(addresses),
        "http" if is_here => Ok(addresses),
        "http" => {
            Err("its address begins with http://, and what it says could be read on the way; write https://"
                .into())
        }
        other => Err(format!("its address begins with {other}://; write https://")),
    }
}

/// The addresses of a host, all of which are allowed. An address of version 6 stands without brackets.
pub(super) async fn resolved(host: &str, port: u16, allow_private: bool) -> Result<Vec<SocketAddr>, String> {
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => {
            let found = tokio::time::timeout(RESOLVE_LIMIT, tokio::net::lookup_host((host, port))).await;
            let found = found.map_err(|_| "its host's name took too long to resolve".to_owned())?;
            found.map_err(|error| format!("its host's name cannot be resolved: {error}"))?.collect()
        }
    };
    if addresses.is_empty() {
        return Err("its host has no address".into());
    }
    if let Some(special) =
        addresses.iter().map(SocketAddr::ip).find(|address| !allow_private && !is_public(*address))
    {
        return Err(format!(
            "it leads to {special}, which is not of the public internet; write `allow_private = true` if that is meant"
        ));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn looked(text: &str, allow_private: bool) -> Result<Vec<SocketAddr>, String> {
        looked_up(&reqwest::Url::parse(text).unwrap(), allow_private).await
    }

    #[tokio::test]
    async fn fifty_forbidden_addresses_in_every_spelling_are_refused() {
        let hosts = [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "0177.1",
            "017700000001",
            "0x7f.0x0.0x0.0x1",
            "127.0.0.1.",
            "localhost",
            "LOCALHOST",
            "0",
            "0.0.0.0",
            "0x0",
            "10.0.0.1",
            "10.1",
            "012.0.0.1",
            "0xa000001",
            "167772161",
            "172.16.0.1",
            "172.31.255.254",
            "2886729729",
            "192.168.1.1",
            "3232235777",
            "0xc0.0xa8.1.1",
            "192.168.257",
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "100.64.0.1",
            "100.127.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:a9fe:a9fe]",
            "[0:0:0:0:0:ffff:10.0.0.1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[::127.0.0.1]",
            "１２７.０.０.１",
            "①②⑦.0.0.1",
            "127%2E0%2E0%2E1",
        ];
        assert!(hosts.len() >= 50);

        for host in hosts {
            let refused = looked(&format!("https://{host}/hook"), false).await;
            let words = refused.expect_err(host);
            assert!(words.contains("not of the public internet"), "{host}: {words}");
        }
    }

    #[tokio::test]
    async fn private_addresses_are_used_where_that_is_allowed_and_plain_http_on_this_machine_alone() {
        assert!(looked("https://10.0.0.1/", true).await.is_ok());
        assert!(looked("http://127.0.0.1:9000/", true).await.is_ok());
        assert!(looked("http://127.0.0.1:9000/", false).await.is_err());
        assert!(looked("http://10.0.0.1/", true).await.unwrap_err().contains("write https://"));
        assert!(looked("http://1.1.1.1/", false).await.unwrap_err().contains("write https://"));
        assert!(looked("ftp://1.1.1.1/", false).await.unwrap_err().contains("ftp://"));
        assert_eq!(looked("https://1.1.1.1/", false).await, Ok(vec!["1.1.1.1:443".parse().unwrap()]));
    }

    #[test]
    fn what_a_receiver_repeats_of_the_address_is_not_shown() {
        let address = SecretString::from(
            "https://user:pa55word@hooks.example.com/services/T000/s3cr%65t?token=abcd1234",
        );
        let parts = parts_of(&address);

        for said in [
            "Cannot POST /services/T000/s3cr%65t",
            "certificate not valid for name \"hooks.example.com\"",
            "no token abcd1234",
            "pa55word",
        ] {
            let shown = redacted(said, &parts);
            for part in ["T000", "s3cr", "example", "abcd1234", "pa55word", "services"] {
                assert!(!shown.contains(part), "{said} {shown}");
            }
        }
        assert_eq!(redacted("no_service", &parts), "no_service");
    }

    #[tokio::test]
    async fn no_error_tells_the_address() {
        // Another test may have chosen it already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let secret = SecretString::from("https://127.0.0.1:1/T000/B000/canary");
        let refused = send(&secret, false, HeaderMap::new(), None).await.unwrap_err();
        let unreachable = send(&secret, true, HeaderMap::new(), Some(Vec::new())).await.unwrap_err();
        let odd = send(&SecretString::from("canary"), true, HeaderMap::new(), None).await.unwrap_err();

        for words in [refused, unreachable, odd] {
            assert!(!words.contains("canary") && !words.contains("T000"), "{words}");
        }
    }
}
