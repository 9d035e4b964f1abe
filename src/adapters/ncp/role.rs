//! Temporary keys of the NCP server role, from the metadata service of the machine: renewed before they end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;

use super::client::KeyPair;
use super::read::moment;

/// Where the metadata service is, unless a variable says otherwise.
pub const ADDRESS: &str = "http://169.254.169.254";
/// Where it keeps the role's keys.
const PATH: &str = "/latest/meta-data/iam/security-credentials/";
/// How long one of its answers may take: it is on the machine's own link.
const LIMIT: Duration = Duration::from_secs(3);
/// Keys are renewed so long before they end.
const RENEW_BEFORE: Duration = Duration::from_mins(10);
/// Keys that hold for longer are used while new ones are fetched.
const HELD_LONG_ENOUGH: Duration = Duration::from_mins(1);
/// How long a service that did not answer is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// How long keys are taken to hold that do not say so.
const LIFETIME_UNKNOWN: Duration = Duration::from_mins(10);
/// The largest answer.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// The keys of the machine's role.
pub struct RoleKeys {
    base: String,
    http: Result<reqwest::Client, String>,
    held: Mutex<Held>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    keys: Option<(Arc<KeyPair>, Timestamp)>,
    /// Not before this moment the service is asked again.
    ask_from: Timestamp,
    problem: Option<String>,
    /// The cloud did not take them.
    refused: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    expiration: Option<String>,
}

/// Without the keys.
impl std::fmt::Debug for RoleKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoleKeys").field("base", &self.base).finish_non_exhaustive()
    }
}

impl RoleKeys {
    /// The keys that the metadata service at an address gives: scheme and host.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let http = reqwest::Client::builder()
            .connect_timeout(LIMIT)
            .timeout(LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .build();
        let held = Held { ask_from: Timestamp::MIN, ..Held::default() };
        Self {
            base: base.trim_end_matches('/').to_owned(),
            http: http.map_err(|error| error.to_string()),
            held: Mutex::new(held),
            one_at_a_time: tokio::sync::Mutex::default(),
        }
    }

    /// Keys that hold now.
    ///
    /// # Errors
    /// Why there are none, with the remedy. Keys that could not be renewed are given as long as they hold.
    pub async fn current(role: &Arc<Self>, now: Timestamp) -> Result<Arc<KeyPair>, String> {
        let hold_on = now.saturating_add(HELD_LONG_ENOUGH).unwrap_or(Timestamp::MAX);
        if role.wants_to_ask(now) {
            match role.holds_past(hold_on) {
                // A request that is due does not wait for new keys while the old ones are good.
                true => drop(tokio::spawn(Self::renew(Arc::clone(role), now))),
                false => Self::renew(Arc::clone(role), now).await,
            }
        }
        let held = role.held.lock().unwrap_or_else(PoisonError::into_inner);
        match (&held.keys, &held.problem) {
            (Some((keys, ends)), _) if *ends > now => Ok(Arc::clone(keys)),
            (_, Some(problem)) => Err(problem.clone()),
            _ => Err("the keys of the server role have ended and there are no new ones".into()),
        }
    }

    /// The keys that were fetched last, whether they still hold or not.
    #[must_use]
    pub fn in_use(&self) -> Option<Arc<KeyPair>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.keys.as_ref().map(|(keys, _)| Arc::clone(keys))
    }

    /// The cloud did not take the keys: newer ones are asked for with the next request.
    pub fn refused(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        (held.ask_from, held.refused) = (Timestamp::MIN, true);
    }

    /// One asks, the others wait for what it hears.
    async fn renew(role: Arc<Self>, now: Timestamp) {
        let _turn = role.one_at_a_time.lock().await;
        if role.wants_to_ask(now) {
            let fetched = role.fetch().await;
            role.take(now, fetched);
        }
    }

    fn holds_past(&self, moment: Timestamp) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        !held.refused && held.keys.as_ref().is_some_and(|(_, ends)| *ends > moment)
    }

    fn wants_to_ask(&self, now: Timestamp) -> bool {
        now >= self.held.lock().unwrap_or_else(PoisonError::into_inner).ask_from
    }

    fn take(&self, now: Timestamp, fetched: Result<Credentials, String>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let later = |by: Duration| now.saturating_add(by).unwrap_or(Timestamp::MAX);
        match fetched {
            Ok(fetched) => {
                let ends = fetched.expiration.as_deref().and_then(moment);
                let ends = ends.unwrap_or_else(|| later(LIFETIME_UNKNOWN));
                let lifetime = Duration::try_from(ends.duration_since(now)).unwrap_or(Duration::ZERO);
                let before = RENEW_BEFORE.min(lifetime / 2);
                let renew = ends.saturating_sub(before).unwrap_or(ends);
                held.ask_from = renew.max(later(RETRY_AFTER));
                let keys = KeyPair {
                    access: SecretString::from(fetched.access_key_id),
                    secret: SecretString::from(fetched.secret_access_key),
                };
                (held.keys, held.problem, held.refused) = (Some((Arc::new(keys), ends)), None, false);
            }
            Err(problem) => {
                let text = format!(
                    "the metadata service at {} gave no keys: {problem}; check that this machine is an NCP server with a role",
                    self.base
                );
                if held.problem.as_ref() != Some(&text) {
                    tracing::warn!("{text}");
                }
                (held.problem, held.ask_from) = (Some(text), later(RETRY_AFTER));
            }
        }
    }

    async fn fetch(&self) -> Result<Credentials, String> {
        let names = self.get(&format!("{}{PATH}", self.base)).await?;
        let name = names.lines().next().unwrap_or("").trim();
        let is_good = !name.is_empty()
            && name.len() <= 128
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+=,@".contains(c));
        if !is_good {
            return Err("it names no role".into());
        }
        let text = self.get(&format!("{}{PATH}{name}", self.base)).await?;
        // The text holds keys, so what is wrong with it is not quoted.
        serde_json::from_str(&text).map_err(|_| format!("its answer about role {name} is not understood"))
    }

    async fn get(&self, url: &str) -> Result<String, String> {
        let http = self.http.as_ref().map_err(Clone::clone)?;
        let mut response = http.get(url).send().await.map_err(|error| super::client::chain(&error))?;
        if !response.status().is_success() {
            return Err(format!("it answered with status {}", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| super::client::chain(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_BYTES_MAX {
                return Err("its answer is too large".into());
            }
        }
        String::from_utf8(body).map_err(|_| "its answer is no text".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(by: Duration) -> Timestamp {
        NOW.saturating_add(by).unwrap()
    }

    #[test]
    fn keys_are_good_until_they_end_or_the_cloud_refuses_them() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let role = RoleKeys::new("http://localhost");
        let keys = Credentials {
            access_key_id: "a".into(),
            secret_access_key: "s".into(),
            expiration: Some("1970-01-01T01:00:00Z".into()),
        };
        assert!(!role.holds_past(NOW), "there are none yet");

        role.take(NOW, Ok(keys));
        let hour = Duration::from_hours(1);
        assert!(role.holds_past(after(hour - Duration::from_secs(1))) && !role.holds_past(after(hour)));
        assert!(role.wants_to_ask(after(hour - RENEW_BEFORE)));
        assert!(!role.wants_to_ask(after(hour - RENEW_BEFORE - Duration::from_secs(1))));

        role.refused();
        assert!(!role.holds_past(NOW) && role.wants_to_ask(NOW));
    }

    #[tokio::test]
    async fn a_role_of_an_odd_name_is_none() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        for name in ["", "two words", "a/b", &"r".repeat(129)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let role = RoleKeys::new(&format!("http://{}", listener.local_addr().unwrap()));
            let answer = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{name}",
                name.len()
            );
            let served = tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            });

            let problem = role.fetch().await.err().unwrap();
            served.await.unwrap();

            assert_eq!(problem, "it names no role", "{name:?}");
        }
    }
}
