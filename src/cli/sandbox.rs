//! `sunup sandbox`: the imitation of the NCP API alone.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;

use super::exit::Exit;
use super::show;
use crate::adapters::clock::SystemClock;
use crate::daemon::signals;
use crate::ports::clock::Clock;
use crate::sandbox::face::{Account, Options as Face, Sandbox};
use crate::sandbox::fault::{self, Fault};
use crate::sandbox::model::{Model, Server};
use crate::sandbox::{Now, fleet};

#[derive(Args)]
pub(super) struct Options {
    /// Where it listens; loopback, unless you know what you do
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    /// So many stopped servers, numbered from 1001
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    servers: u64,
    /// How long servers take to boot and to stop
    #[arg(long, value_name = "RANGE", default_value = "2s..6s")]
    boot: String,
    /// A file of `[[server]]` tables instead of numbered servers
    #[arg(long, value_name = "FILE")]
    fleet: Option<PathBuf>,
    /// A file of `[[fault]]` tables
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// The access key id that it knows
    #[arg(long, value_name = "KEY", default_value = "access")]
    access_key: String,
    /// The secret key that it knows
    #[arg(long, value_name = "KEY", default_value = "secret")]
    secret_key: String,
    /// A further account, as ACCESS:SECRET; its servers come from the fleet file
    #[arg(long, value_name = "KEYS")]
    account: Vec<String>,
    /// Answer 429 beyond so many requests a second
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Only the operations that Sunup needs
    #[arg(long)]
    strict: bool,
    /// Write every request and every change of state to this file, as JSON Lines
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// The time for a sandbox, from the machine's clock.
pub(super) fn now() -> Now {
    Arc::new(|| SystemClock.now().as_microsecond())
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Options) -> anyhow::Result<Exit> {
    let servers = servers(options)?;
    let count = servers.len();
    let log: Option<Box<dyn std::io::Write + Send>> = match &options.log {
        Some(path) => {
            Some(Box::new(File::create(path).with_context(|| format!("the log `{}`", path.display()))?))
        }
        None => None,
    };
    let mut accounts =
        vec![Account { access_key: options.access_key.clone(), secret_key: options.secret_key.clone() }];
    for pair in &options.account {
        let (access, secret) =
            pair.split_once(':').ok_or_else(|| Exit::Usage.with("write `--account ACCESS:SECRET`"))?;
        accounts.push(Account { access_key: access.to_owned(), secret_key: secret.to_owned() });
    }
    let faults = faults(options.faults.as_deref())?;
    let face = Face { accounts, strict: options.strict, rate: options.rate, log, faults };
    let now = now();
    let seed = now().unsigned_abs();
    let sandbox = Sandbox::new(Model::new(servers, seed), face, now);
    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        Exit::Unavailable
            .with(format!("{} cannot be listened on: {error}; name another with --listen", options.listen))
    })?;
    show::line(&format!("sandbox with {count} servers at http://{}", listener.local_addr()?));
    let mut signals = signals::Stream::new()?;
    tokio::select! {
        served = sandbox.serve(listener) => served?,
        _ = signals.next() => {}
    }
    Ok(Exit::Done)
}

fn servers(options: &Options) -> anyhow::Result<Vec<Server>> {
    let boot = fleet::boot(&options.boot).map_err(|error| Exit::Usage.with(error.to_string()))?;
    match &options.fleet {
        None => Ok(fleet::numbered(&options.access_key, options.servers, boot)),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("the fleet file `{}`", path.display()))?;
            fleet::read(&text, &options.access_key, boot)
                .map_err(|error| Exit::Config.with(error.to_string()))
        }
    }
}

fn faults(path: Option<&Path>) -> anyhow::Result<Vec<Fault>> {
    let Some(path) = path else { return Ok(vec![]) };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("the fault file `{}`", path.display()))?;
    fault::read(&text).map_err(|error| Exit::Config.with(error.to_string()))
}
