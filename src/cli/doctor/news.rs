//! Whether people could be told: secrets at hand, addresses that may be used, programs that are there. Nothing is sent.

use std::os::unix::fs::PermissionsExt;

use super::Finding;
use crate::adapters::notify::{mail, post};
use crate::adapters::secrets;
use crate::settings::secret::SecretSource;
use crate::settings::{NotifyKind, Settings};

const CHECK: &str = "notifiers";

pub(super) async fn look(settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    if settings.notifiers.is_empty() {
        found.push(Finding::odd(
            CHECK,
            "nobody is told when something fails, but the log",
            "add `[notify.NAME]`, see docs/notices.md",
        ));
    }
    for (name, notify) in &settings.notifiers {
        let problem = match &notify.kind {
            NotifyKind::Slack { url } => address(url, notify.allow_private).await,
            NotifyKind::Webhook { url, secret } => {
                let secret = secret.as_ref().map_or(Ok(()), fetched);
                match secret {
                    Ok(()) => address(url, notify.allow_private).await,
                    Err(problem) => Err(problem),
                }
            }
            NotifyKind::Email { smtp, from, to } => mail_server(smtp, (from, to), notify.allow_private).await,
            NotifyKind::Command { command } => command.first().map_or(Ok(()), |program| executable(program)),
        };
        found.push(match problem {
            Ok(()) => Finding::good(
                CHECK,
                format!("notifier {name} looks well; `sunup notify test {name}` sends one message"),
            ),
            Err(problem) => Finding::bad(
                CHECK,
                format!("notifier {name}: {problem}"),
                format!("see docs/notices.md; `sunup notify test {name}` tries it"),
            ),
        });
    }
    if let Some(heartbeat) = &settings.heartbeat {
        found.push(match address(&heartbeat.url, heartbeat.allow_private).await {
            Ok(()) => Finding::good("heartbeat", format!("told every {}s", heartbeat.every.as_secs())),
            Err(problem) => Finding::bad("heartbeat", problem, "mend `[heartbeat]`"),
        });
    }
    found
}

fn fetched(source: &SecretSource) -> Result<(), String> {
    secrets::fetch(source).map(|_| ()).map_err(|error| error.to_string())
}

async fn address(source: &SecretSource, allow_private: bool) -> Result<(), String> {
    let url = secrets::fetch(source).map_err(|error| error.to_string())?;
    post::check(&url, allow_private).await
}

async fn mail_server(
    smtp: &SecretSource,
    people: (&str, &[String]),
    allow_private: bool,
) -> Result<(), String> {
    let server = secrets::fetch(smtp).map_err(|error| error.to_string())?;
    mail::check(&server, people, allow_private).await
}

fn executable(program: &str) -> Result<(), String> {
    match std::fs::metadata(program) {
        Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => Ok(()),
        Ok(_) => Err(format!("`{program}` is no program that can be run")),
        Err(error) => Err(format!("`{program}`: {error}")),
    }
}
