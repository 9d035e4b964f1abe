//! Talking to the daemon over its control socket.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::exit::Exit;
use super::value::text;
use crate::settings::Settings;
use crate::settings::sources::Sources;

/// How long the daemon may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(45);
/// The largest answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What came of looking for a daemon.
pub(super) enum Daemon {
    /// It listens there.
    There(Client),
    /// Nobody does.
    Absent,
}

/// A daemon that listens.
pub(super) struct Client {
    path: std::path::PathBuf,
}

impl Client {
    /// Looks for the daemon.
    ///
    /// # Errors
    /// When there is a socket that this user may not use.
    pub(super) async fn find(path: &Path) -> anyhow::Result<Daemon> {
        match UnixStream::connect(path).await {
            Ok(_) => Ok(Daemon::There(Self { path: path.to_owned() })),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(Exit::Unavailable.with(format!(
                "the control socket `{}` is not yours to use; run the command with sudo, or join the group `sunup`",
                path.display()
            ))),
            Err(_) => Ok(Daemon::Absent),
        }
    }

    /// The daemon, where a command is nothing without it.
    ///
    /// # Errors
    /// When nobody listens, and as [`Self::find`].
    pub(super) async fn of_running(path: &Path) -> anyhow::Result<Self> {
        match Self::find(path).await? {
            Daemon::There(client) => Ok(client),
            Daemon::Absent => Err(Exit::Unavailable.with(format!(
                "no daemon listens at `{}`; start it with `sudo systemctl start sunup`, or name its socket with --socket",
                path.display()
            ))),
        }
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, String::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: &impl serde::Serialize) -> anyhow::Result<Value> {
        self.call(Method::POST, path, serde_json::to_string(body)?).await
    }

    /// The configuration that the daemon has in force.
    ///
    /// # Errors
    /// When it does not answer, or has a configuration that this version does not understand.
    pub(super) async fn settings(&self) -> anyhow::Result<Settings> {
        let running = self.get("/v1/config").await?;
        let sources = Sources::from_json(text(&running, "sources"));
        let read = Settings::read_with(text(&running, "text"), &sources).map_err(|_| {
            Exit::Unavailable.with("the daemon's configuration is not understood; is it of another version?")
        })?;
        Ok(read.settings)
    }

    async fn call(&self, method: Method, path: &str, body: String) -> anyhow::Result<Value> {
        let exchange = async {
            let stream = UnixStream::connect(&self.path).await?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let driver = tokio::spawn(connection);
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(hyper::header::HOST, "sunup")
                .body(Full::new(Bytes::from(body)))?;
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let body =
                Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(anyhow::Error::from_boxed)?;
            driver.abort();
            Ok::<_, anyhow::Error>((parts.status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(ANSWER_LIMIT, exchange)
            .await
            .map_err(|_| {
                Exit::Unavailable
                    .with(format!("the daemon did not answer within {}s", ANSWER_LIMIT.as_secs()))
            })?
            .context("the daemon's control socket broke off")?;
        let value: Value = serde_json::from_slice(&body).context("the daemon's answer is not understood")?;
        if status.is_success() {
            return Ok(value);
        }
        let problem = value.get("problem").and_then(Value::as_str).unwrap_or("the daemon gave no reason");
        let exit = match status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Exit::Usage,
            StatusCode::CONFLICT => Exit::Config,
            _ => Exit::Unavailable,
        };
        Err(exit.with(problem))
    }
}
