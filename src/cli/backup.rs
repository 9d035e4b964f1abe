//! `sunup backup` and `sunup restore`: the journal kept elsewhere, and moved to another host.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::client::{Client, Daemon};
use super::exit::Exit;
use super::pause::wait;
use super::{Common, load, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::environment;
use crate::adapters::store::{SqliteStore, copy};
use crate::ports::clock::Clock;
use crate::settings::{Settings, StoreLocation};

#[derive(Args)]
pub(super) struct Backup {
    /// The file to write; it must not be there yet
    file: PathBuf,
    /// Keep this host from going on with the journal, which another one has from now on; the daemon must not run
    #[arg(long)]
    retire: bool,
}

#[derive(Args)]
pub(super) struct Restore {
    /// A file that `sunup backup` has written
    file: PathBuf,
}

/// Where the journal is, even if the configuration is broken.
fn place(common: &Common) -> StoreLocation {
    Settings::store_of(&std::fs::read_to_string(load::path(common)).unwrap_or_default())
}

pub(super) fn backup(common: &Common, options: &Backup) -> anyhow::Result<Exit> {
    let journal = load::journal(&place(common));
    wait(async {
        if options.retire
            && let Daemon::There(_) = Client::find(&load::socket(common)).await?
        {
            return Err(Exit::Held.with("the daemon runs: `systemctl disable --now sunup` first, so that nothing is done after the copy"));
        }
        if options.retire {
            let at = SystemClock.now();
            let words =
                format!("it was retired at {at} by {}, and another host has it", environment::login_name());
            copy::retire(&journal, &options.file, &words).await?;
        } else {
            SqliteStore::open_to_read(&journal).await?.copy_to(&options.file).await?;
        }
        Ok(())
    })?;
    if common.json {
        show::line(
            &json!({"backup": options.file, "journal": journal, "retired": options.retire}).to_string(),
        );
        return Ok(Exit::Done);
    }
    show::line(&format!("{} is a whole copy of {}", options.file.display(), journal.display()));
    if options.retire {
        show::word("this host does not go on with its journal any more; `sunup run --adopt` lifts that");
    }
    Ok(Exit::Done)
}

pub(super) fn restore(common: &Common, options: &Restore) -> anyhow::Result<Exit> {
    let journal = load::journal(&place(common));
    let stamp = SystemClock.now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let aside = wait(async { Ok(SqliteStore::put_back(&options.file, &journal, &stamp).await?) })?;
    if common.json {
        show::line(&json!({"restored": options.file, "journal": journal, "moved_aside": aside}).to_string());
        return Ok(Exit::Done);
    }
    show::line(&format!("{} is the journal {} now", options.file.display(), journal.display()));
    if let Some(aside) = aside {
        show::word(&format!("the one that was there is {}; remove it once you are sure", aside.display()));
    }
    if let Some(words) = copy::retired(&journal) {
        show::word(&format!(
            "the journal of this host is marked: {words}; start with `sunup run --adopt` once"
        ));
    }
    show::word(
        "runs that were open when the copy was made are looked at when the daemon starts; what was due since is done or recorded as missed",
    );
    Ok(Exit::Done)
}
