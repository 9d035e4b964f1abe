//! `sunup reload`: the daemon reads its configuration again, and says what that changes.

use super::client::{Client, Daemon};
use super::exit::Exit;
use super::value::list;
use super::{Common, load, show};

pub(super) fn main(common: &Common) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = load::socket(common);
    let report = runtime.block_on(async {
        match Client::find(&socket).await? {
            Daemon::There(client) => client.post("/v1/reload", &serde_json::json!({})).await,
            Daemon::Absent => Err(absent(&socket)),
        }
    })?;
    if common.json {
        show::line(&report.to_string());
    } else {
        print(&report);
    }
    Ok(Exit::Done)
}

/// Nobody listens who could be asked.
pub(super) fn absent(socket: &std::path::Path) -> anyhow::Error {
    Exit::Unavailable.with(format!(
        "no daemon listens at `{}`; start it with `sudo systemctl start sunup`, or name its socket with --socket",
        socket.display()
    ))
}

/// What a configuration changes, as the daemon tells it.
pub(super) fn print(report: &serde_json::Value) {
    show::lines(list(report, "lines").iter().filter_map(|line| line.as_str()).map(str::to_owned));
}
