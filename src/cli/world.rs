//! From settings to accounts that can be talked to: keys fetched, clients built.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::adapters::ncp::role::{ADDRESS, RoleKeys};
use crate::adapters::ncp::{Endpoints, KeyPair, KeySource, NcpCloud};
use crate::adapters::{environment, secrets};
use crate::daemon::engine::AccountLine;
use crate::daemon::rate::Bucket;
use crate::domain::name::AccountName;
use crate::ports::clock::Clock;
use crate::ports::cloud::Pace;
use crate::settings::secret::SecretSource;
use crate::settings::{Account, Endpoint, Keys, Settings, Site};

/// The provider's variables for the access key id, in its own order.
const ACCESS_VARIABLES: [&str; 2] = ["NCLOUD_ACCESS_KEY_ID", "NCLOUD_ACCESS_KEY"];
/// The provider's variables for the secret key.
const SECRET_VARIABLES: [&str; 2] = ["NCLOUD_SECRET_KEY", "NCLOUD_SECRET_ACCESS_KEY"];

/// Chooses the one TLS implementation of the process. A second call changes nothing.
pub(super) fn choose_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// The accounts of a configuration. One whose keys cannot be had is there all the same, and says why when it is used.
pub(super) fn accounts(settings: &Settings, clock: &Arc<dyn Clock>) -> BTreeMap<AccountName, AccountLine> {
    settings.accounts.values().map(|account| (account.name.clone(), line(account, clock))).collect()
}

fn line(account: &Account, clock: &Arc<dyn Clock>) -> AccountLine {
    let bucket = Arc::new(Bucket::new(account.rate, Arc::clone(clock)));
    let pace: Arc<dyn Pace> = bucket.clone();
    let base = base_url(&account.endpoint);
    let keys = match (&base, &account.keys) {
        (Ok(_), Keys::Role) => role_keys(),
        (Ok(_), _) => KeySource::Fixed(keys(account).map(Arc::new)),
        (Err(problem), _) => KeySource::Fixed(Err(problem.clone())),
    };
    if let KeySource::Fixed(Err(problem)) = &keys {
        tracing::error!(account = account.name.as_str(), "account {} is held: {problem}", account.name);
    }
    let roots = account.ca_file.as_deref().map_or(Ok(vec![]), extra_roots);
    let servers = base.unwrap_or_else(|_| Site::Public.base_url().to_owned());
    let resources = resources_url(account, &servers);
    let endpoints = Endpoints { servers, resources, region: account.region.clone() };
    let cloud = NcpCloud::new(account.name.as_str(), endpoints, keys, roots, Arc::clone(clock), pace);
    AccountLine::new(Arc::new(cloud), bucket, account.batch)
}

/// What the file names beats the provider's variable, which beats the public site.
fn base_url(endpoint: &Endpoint) -> Result<String, String> {
    match endpoint {
        Endpoint::Site(site) => Ok(site.base_url().to_owned()),
        Endpoint::Url(url) => Ok(url.clone()),
        Endpoint::Default => match environment::variable("NCLOUD_API_GW") {
            Some(url) => {
                Settings::checked_endpoint(&url).map_err(|why| format!("variable `NCLOUD_API_GW`: {why}"))
            }
            None => Ok(Site::Public.base_url().to_owned()),
        },
    }
}

/// Where the tags are asked for: beside the server API where the endpoint is not a site's.
fn resources_url(account: &Account, servers: &str) -> Result<String, String> {
    let site = match account.endpoint {
        Endpoint::Site(site) => site,
        Endpoint::Default if servers == Site::Public.base_url() => Site::Public,
        Endpoint::Url(_) | Endpoint::Default => return Ok(servers.to_owned()),
    };
    site.resources_url().map(ToOwned::to_owned).ok_or_else(|| {
        let name = &account.name;
        format!("where the financial site keeps tags is not known, so groups of account {name} cannot be chosen by `tag`")
    })
}

/// The keys of the machine's role. A wrong address is told with the first request.
fn role_keys() -> KeySource {
    let address = environment::variable("NCLOUD_METADATA_API_ENDPOINT");
    let address = address.unwrap_or_else(|| ADDRESS.to_owned());
    match Settings::checked_metadata_endpoint(&address) {
        Ok(address) => KeySource::Role(Arc::new(RoleKeys::new(&address))),
        Err(why) => KeySource::Fixed(Err(format!("variable `NCLOUD_METADATA_API_ENDPOINT`: {why}"))),
    }
}

fn keys(account: &Account) -> Result<KeyPair, String> {
    let fetch = |source: &SecretSource| secrets::fetch(source).map_err(|error| error.to_string());
    match &account.keys {
        Keys::Named { access, secret } => Ok(KeyPair { access: fetch(access)?, secret: fetch(secret)? }),
        // A role's keys are fetched when they are needed.
        Keys::Role => Err("the keys of a role do not stand anywhere".into()),
        Keys::Environment => {
            let from = |names: [&'static str; 2]| {
                let name = names.into_iter().find(|name| environment::variable(name).is_some());
                let name = name.ok_or_else(|| {
                    format!(
                        "there is no key: name `access_key` and `secret_key` for the account, or set `{}`",
                        names.join("` or `")
                    )
                })?;
                fetch(&SecretSource::Env(name.to_owned()))
            };
            Ok(KeyPair { access: from(ACCESS_VARIABLES)?, secret: from(SECRET_VARIABLES)? })
        }
    }
}

fn extra_roots(path: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("`ca_file` `{}`: {error}", path.display());
    let pem = std::fs::read(path).map_err(|error| failed(&error))?;
    let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(&error))?;
    if roots.is_empty() { Err(failed(&"it holds no certificate in PEM form")) } else { Ok(roots) }
}
