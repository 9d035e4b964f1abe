//! `sunup reload`: the daemon reads its configuration again, and says what that changes.

use super::client::Client;
use super::exit::Exit;
use super::value::list;
use super::{Common, load, show};

pub(super) fn main(common: &Common) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let client = Client::of_running(&load::socket(common)).await?;
        let told = client.post("/v1/reload", &serde_json::json!({})).await;
        if told.as_ref().is_err_and(|error| Exit::of(error) == Exit::Config) {
            show::word("nothing was changed: the configuration that was in force stays in force\n");
        }
        told
    })?;
    if common.json {
        show::line(&report.to_string());
    } else {
        print(&report);
    }
    Ok(Exit::Done)
}

/// What a configuration changes, as the daemon tells it.
pub(super) fn print(report: &serde_json::Value) {
    show::lines(list(report, "lines").iter().filter_map(|line| line.as_str()).map(str::to_owned));
}
