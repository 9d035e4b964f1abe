//! Each account: its keys, whether the cloud takes them, and how its clock compares. Reads only.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::Value;

use super::{Finding, unit};
use crate::adapters::clock::SystemClock;
use crate::adapters::{environment, secrets};
use crate::cli::value::{list, text};
use crate::cli::world;
use crate::daemon::engine::AccountLine;
use crate::ports::clock::Clock;
use crate::ports::cloud::{ClockVerdict, ReadError, ReadTrouble};
use crate::settings::secret::SecretSource;
use crate::settings::{Account, Keys, Settings};

/// How long the cloud of each account may take for all that is asked of it.
const LIMIT: Duration = Duration::from_secs(8);
/// A difference of the clocks under which nothing is started or stopped.
const CLOCK_BAD: SignedDuration = SignedDuration::from_secs(60);
/// One that somebody should know of.
const CLOCK_ODD: SignedDuration = SignedDuration::from_secs(5);

pub(super) async fn look(settings: &Settings, config: &Path, status: Option<&Value>) -> Vec<Finding> {
    world::choose_tls();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lines = world::accounts(settings, &clock);
    let looks = settings.accounts.values().map(|account| async {
        let name = &account.name;
        if let Some(finding) = keys(settings, account, config) {
            return vec![finding];
        }
        let Some(line) = lines.get(name) else { return Vec::new() };
        match tokio::time::timeout(LIMIT, asked(account, line, in_use(status, account))).await {
            Ok(found) => found,
            Err(_) => vec![Finding::bad(
                "cloud",
                format!("account {name}: no answer within {}s", LIMIT.as_secs()),
                "look at the network, the firewall and `endpoint`",
            )],
        }
    });
    join_all(looks).await.into_iter().flatten().collect()
}

/// What is wrong with an account's keys where they are kept; `None` if they can be had.
fn keys(settings: &Settings, account: &Account, config: &Path) -> Option<Finding> {
    let Keys::Named { access, secret } = &account.keys else { return None };
    let error = [access, secret].into_iter().find_map(|source| secrets::fetch(source).err())?;
    let by_systemd = [access, secret].into_iter().any(|source| matches!(source, SecretSource::Credential(_)));
    let what = format!("account {}: {}: {}", account.name, error.place, error.problem);
    if !by_systemd || environment::credentials_directory().is_some() {
        return Some(Finding::bad("keys", what, error.remedy));
    }
    // Only systemd can give them, and it gives them to units: this is the line that makes one of this command.
    let loaded = unit::loaded().map(|(_, loaded)| loaded).unwrap_or_default();
    let options: Vec<String> = unit::credentials_of(settings)
        .into_iter()
        .map(|name| {
            let path = loaded.get(&name).map(|path| path.display().to_string());
            let path = path.unwrap_or_else(|| format!("/etc/sunup/keys/{name}"));
            format!("-p LoadCredential={name}:{path}")
        })
        .collect();
    let line = format!(
        "run `sudo systemd-run --pipe --wait --collect {} sunup doctor --config {}`, which has them",
        options.join(" "),
        config.display()
    );
    let what =
        format!("account {}: its keys are given to units by systemd, so they were not tried", account.name);
    Some(Finding::odd("keys", what, line))
}

/// The access key id that a running daemon uses for an account, as it is shown.
fn in_use<'a>(status: Option<&'a Value>, account: &Account) -> Option<&'a str> {
    // Each process has temporary keys of its own.
    let Keys::Named { .. } = &account.keys else { return None };
    let is_it = |line: &&Value| text(line, "account") == account.name.as_str();
    let line = list(status?, "accounts").iter().find(is_it)?;
    line.get("key").and_then(Value::as_str)
}

async fn asked(account: &Account, line: &AccountLine, in_use: Option<&str>) -> Vec<Finding> {
    let name = &account.name;
    let greeted = line.cloud.greet().await;
    let mut found = vec![match &greeted.result {
        Ok(()) => taken(account, in_use, line.cloud.key_shown().as_deref()),
        Err(error) => refused(name.as_str(), "getRegionList", error),
    }];
    found.extend(clock(name.as_str(), greeted.clock));
    if greeted.result.is_ok() {
        let nowhere = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let listed = line.cloud.at_addresses(&nowhere).await;
        found.push(match &listed.result {
            Ok(_) => Finding::good(
                "permission",
                format!("account {name}: servers can be listed; whether starts and stops are permitted shows only when one is asked for"),
            ),
            Err(error) => refused(name.as_str(), "getServerInstanceList", error),
        });
    }
    found
}

/// The cloud takes the keys that were found. A new pair is tried before it is in force: the daemon may still use another.
fn taken(account: &Account, in_use: Option<&str>, found: Option<&str>) -> Finding {
    let name = &account.name;
    match (in_use, found) {
        (Some(used), Some(found)) if used != found => {
            let by_systemd = matches!(&account.keys, Keys::Named { access: SecretSource::Credential(_), .. });
            let remedy = match by_systemd {
                true => "`systemctl restart sunup` gives the unit the new ones",
                false => "`sunup reload` takes the new ones up",
            };
            let text = format!(
                "account {name}: the cloud takes them (access key {found}), and the daemon still uses others ({used})"
            );
            Finding::odd("keys", text, remedy)
        }
        (_, found) => {
            let key = found.map(|key| format!(" (access key {key})")).unwrap_or_default();
            Finding::good("keys", format!("account {name}: the cloud takes them{key}"))
        }
    }
}

fn refused(account: &str, operation: &str, error: &ReadError) -> Finding {
    let text = format!("account {account}: {operation}: {}", error.reason.text);
    match error.trouble {
        ReadTrouble::Keys => Finding::bad(
            "keys",
            text,
            "compare both keys with the console, look at the clock, and at what the sub account may do (docs/permissions.md)",
        ),
        ReadTrouble::Down => Finding::bad("cloud", text, "look at the network, the firewall and `endpoint`"),
        ReadTrouble::Throttled(_) => {
            Finding::odd("cloud", text, "try again in a minute; `rate` may be too high")
        }
        ReadTrouble::Odd => Finding::bad("cloud", text, "look at `endpoint` and `region` of the account"),
    }
}

fn clock(account: &str, verdict: ClockVerdict) -> Option<Finding> {
    const CHECK: &str = "clock";
    let difference = match verdict {
        ClockVerdict::Unheard => return None,
        ClockVerdict::Undated => {
            let text =
                format!("account {account}: the cloud's answers have no date, so nothing compares the clock");
            return Some(Finding::odd(
                CHECK,
                text,
                "see that this machine keeps its time, for instance with chrony",
            ));
        }
        ClockVerdict::Differs(difference) => difference,
    };
    let text =
        format!("account {account}: the cloud's clock minus this machine's is {}s", difference.as_secs());
    let remedy = "set the clock right, for instance with chrony or systemd-timesyncd";
    Some(match difference.abs() {
        size if size >= CLOCK_BAD => {
            Finding::bad(CHECK, format!("{text}: nothing is started or stopped"), remedy)
        }
        size if size >= CLOCK_ODD => Finding::odd(CHECK, text, remedy),
        _ => Finding::good(CHECK, text),
    })
}
