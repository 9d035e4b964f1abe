//! Probes over TCP and HTTP: no redirects, no proxies, no secrets.

use std::io::ErrorKind;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpStream;

use crate::domain::probe::{Probe, Probed};
use crate::ports::prober::Prober;

/// Asks over the network of this machine.
///
/// Its HTTP client is made at the first HTTP probe: the root certificates that it holds weigh half a megabyte. One that cannot be made
/// does not fail here: each HTTP probe then says so.
#[derive(Default)]
pub struct NetworkProber {
    http: OnceLock<Result<reqwest::Client, String>>,
}

impl NetworkProber {
    fn client(&self) -> Result<&reqwest::Client, &String> {
        let make = || {
            let client = reqwest::Client::builder()
                .user_agent(concat!("sunup/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .pool_max_idle_per_host(0)
                .no_proxy()
                .build();
            client.map_err(|error| error.to_string())
        };
        self.http.get_or_init(make).as_ref()
    }

    async fn http(&self, url: &str, status: u16, limit: Duration) -> Probed {
        let http = match self.client() {
            Ok(http) => http,
            Err(problem) => return Probed::Unclear(problem.clone()),
        };
        match http.get(url).timeout(limit).send().await {
            Ok(response) => Probed::of_status(response.status().as_u16(), status),
            Err(error) if error.is_timeout() => Probed::Unclear(no_answer(limit)),
            Err(error) if error.is_connect() => Probed::Unclear("no connection".into()),
            Err(_) => Probed::Unclear("no answer that could be read".into()),
        }
    }
}

fn no_answer(limit: Duration) -> String {
    format!("no answer within {}s", limit.as_secs())
}

async fn tcp(address: &str, limit: Duration) -> Probed {
    match tokio::time::timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Probed::Yes,
        // The machine is there and nothing listens.
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            Probed::No("the connection was refused".into())
        }
        Ok(Err(error)) => Probed::Unclear(error.to_string()),
        Err(_) => Probed::Unclear(no_answer(limit)),
    }
}

#[async_trait]
impl Prober for NetworkProber {
    async fn probe(&self, probe: &Probe, limit: Duration) -> Probed {
        match probe {
            Probe::Tcp(address) => tcp(address, limit).await,
            Probe::Http { url, status } => self.http(url, *status, limit).await,
        }
    }
}
