//! `sunup notify test`: one message through a notifier, to see that it arrives.

use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::{Client, Daemon};
use super::exit::Exit;
use super::{Common, load, show, world};
use crate::adapters::clock::SystemClock;
use crate::adapters::environment;
use crate::adapters::notify::office;
use crate::daemon::control::{TestFailure, TestFn, TestRequest};
use crate::domain::name::NotifyName;
use crate::ports::clock::Clock;
use crate::settings::Settings;

#[derive(Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Send one message through a notifier, and say whether it arrived
    Test {
        /// The name of a notifier of the configuration
        name: String,
    },
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    let What::Test { name } = &options.what;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test(common, name))
}

async fn test(common: &Common, name: &str) -> anyhow::Result<Exit> {
    let who = environment::login_name();
    match Client::find(&load::socket(common)).await? {
        // The daemon has the secrets.
        Daemon::There(client) => {
            client.post("/v1/notify/test", &TestRequest { name: name.to_owned(), who }).await?;
        }
        Daemon::Absent => {
            show::word(
                "no daemon is running, so this command sends it by itself, with the secrets that it can read",
            );
            world::choose_tls();
            let settings = load::settings(common)?;
            send(&settings, name, &who, &SystemClock).await.map_err(|failure| match failure {
                TestFailure::Unknown(words) => Exit::Usage.with(words),
                TestFailure::NotTold(words) => Exit::Unavailable.with(words),
            })?;
        }
    }
    if common.json {
        show::line(&json!({ "notifier": name, "sent": true }).to_string());
    } else {
        show::line(&format!("notifier {name} took the message: look whether it is there"));
    }
    Ok(Exit::Done)
}

/// Sends test messages by the settings in force.
pub(super) fn tester(settings: Arc<Mutex<Arc<Settings>>>, clock: Arc<dyn Clock>) -> TestFn {
    Arc::new(move |request| {
        let settings = Arc::clone(&settings.lock().unwrap_or_else(PoisonError::into_inner));
        let clock = Arc::clone(&clock);
        Box::pin(async move { send(&settings, &request.name, &request.who, clock.as_ref()).await })
    })
}

async fn send(settings: &Settings, name: &str, who: &str, clock: &dyn Clock) -> Result<(), TestFailure> {
    let notify = NotifyName::new(name).ok().and_then(|name| settings.notifiers.get(&name));
    let Some(notify) = notify else {
        let known: Vec<&str> = settings.notifiers.keys().map(NotifyName::as_str).collect();
        return Err(TestFailure::Unknown(match known.is_empty() {
            true => {
                format!("there is no notifier `{name}`; the configuration has none: add `[notify.{name}]`")
            }
            false => format!("there is no notifier `{name}`; the configuration has `{}`", known.join("`, `")),
        }));
    };
    office::test(notify, who, settings.language, clock)
        .await
        .map_err(|words| TestFailure::NotTold(format!("notifier {name} could not tell anybody: {words}")))
}
