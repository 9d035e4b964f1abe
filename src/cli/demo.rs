//! `sunup demo`: the daemon against the sandbox in one process, over real HTTP, with faults thrown in.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;

use super::exit::Exit;
use super::host::{Setup, host};
use super::sandbox::now;
use super::{show, world};
use crate::adapters::clock::SystemClock;
use crate::adapters::logging;
use crate::adapters::store::{Holder, SqliteStore};
use crate::daemon::engine::{Input, Mode};
use crate::daemon::signals;
use crate::daemon::view::counts;
use crate::domain::outcome::{Outcome, ReasonKind, RunOutcome};
use crate::ports::clock::Clock;
use crate::ports::store::{Entry, HistoryQuery, Store};
use crate::sandbox::face::{Account, Options as Face, Sandbox};
use crate::sandbox::fault;
use crate::sandbox::fleet;
use crate::sandbox::model::Model;
use crate::settings::{LogFormat, LogLevel, Settings};

/// How many servers the demo's cloud has.
const SERVERS: u64 = 7;
/// How long the demo runs if nobody says: until it is interrupted, or this.
const LONGEST: Duration = Duration::from_hours(2);
/// No rule is due in the last part, so that every run comes to its end.
const QUIET_END: i64 = 16;

/// A 429, a 5xx that hides that the deed was done, and a server that falls back once.
const FAULTS: &str = r#"
[[fault]]
on = "startServerInstances"
nth = 2
do = "status"
status = 429
code = "420"
message = "Rate Limited"

[[fault]]
on = "startServerInstances"
nth = 4
do = "status"
status = 503
effect = "before"

[[fault]]
on = "startServerInstances"
server = "1007"
nth = 1
do = "fall-back"
"#;

#[derive(Args)]
pub(super) struct Options {
    /// End after this time, such as 60s (at least 40s)
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    let lasts = match &options.lasts {
        None => LONGEST,
        Some(text) => crate::settings::duration::parse(text)
            .filter(|length| *length >= Duration::from_secs(40) && *length <= LONGEST)
            .ok_or_else(|| {
                Exit::Usage.with(format!("`{text}` cannot be: write 40s to 2h, such as `--for 60s`"))
            })?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(demo(lasts));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn demo(lasts: Duration) -> anyhow::Result<Exit> {
    let folder = tempfile::tempdir().context("no folder for the demo's journal")?;
    let listener =
        TcpListener::bind("127.0.0.1:0").await.context("no port on loopback for the demo's cloud")?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    tokio::spawn(cloud()?.serve(listener));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let text = configuration(folder.path(), &endpoint, clock.now(), lasts)?;
    let settings = match Settings::read(&text) {
        Ok(loaded) => Arc::new(loaded.settings),
        Err(problems) => return Err(super::load::not_valid(&problems, &text, Path::new("demo.toml"))),
    };
    logging::begin(
        Some(LogFormat::Text),
        LogLevel::Debug,
        settings.timezone.clone().unwrap_or(jiff::tz::TimeZone::UTC),
    );
    world::choose_tls();
    let store = Arc::new(SqliteStore::open(&folder.path().join("sunup.db"), Holder::Daemon).await?);
    show::word(&format!(
        "a cloud of {SERVERS} servers at {endpoint}, seven rules, and three faults to come; Ctrl-C ends it\n"
    ));
    let mut hosted = host(Setup::plain(Mode::Daemon, settings, clock, store.clone()))?;
    let mut signals = signals::Stream::new()?;
    tokio::select! {
        () = tokio::time::sleep(lasts) => {}
        _ = signals.next() => {}
        ended = hosted.ended() => ended?,
    }
    if hosted.inputs.send(Input::Shutdown).await.is_ok() {
        hosted.ended().await?;
    }
    let exit = summary(store.as_ref()).await?;
    store.close().await;
    Ok(exit)
}

fn cloud() -> anyhow::Result<Arc<Sandbox>> {
    let account = Account { access_key: "access".into(), secret_key: "secret".into() };
    let faults = fault::read(FAULTS)?;
    let face = Face { accounts: vec![account], strict: true, rate: None, log: None, faults };
    let servers = fleet::numbered("access", SERVERS, (2_000_000, 4_000_000));
    Ok(Sandbox::new(Model::new(servers, 7), face, now()))
}

fn configuration(folder: &Path, endpoint: &str, now: Timestamp, lasts: Duration) -> anyhow::Result<String> {
    for (name, key) in [("access", "access"), ("secret", "secret")] {
        let path = folder.join(name);
        fs::write(&path, key)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    let last = i64::try_from(lasts.as_secs())? - QUIET_END;
    let moments = |first: i64, every: usize| -> String {
        let begin = now.as_second() + 1;
        let all = (first..=last.max(first)).step_by(every).take(900);
        let moments = all.filter_map(|offset| Timestamp::from_second(begin + offset).ok());
        moments.map(|moment| format!("\"{moment}\"")).collect::<Vec<_>>().join(", ")
    };
    let night = moments(13, 20);
    let quiet = (now + SignedDuration::from_secs(3)).to_string();
    let quiet = quiet.split('.').next().unwrap_or_default();
    Ok(format!(
        r#"timezone = "Asia/Seoul"

[accounts.demo]
endpoint = "{endpoint}"
region = "KR"
access_key = {{ file = "{folder}/access" }}
secret_key = {{ file = "{folder}/secret" }}

[groups.db]
servers = ["1001", "1002"]

[groups.web]
servers = ["1003", "1004", "1005"]

[groups.batch]
servers = ["1006"]

[groups.flaky]
servers = ["1007"]

[rules.db-morning]
at = [{db_up}]
start = ["db"]

[rules.db-night]
at = [{night}]
stop = ["db"]

[rules.web-morning]
at = [{web_up}]
start = ["web"]

[rules.web-night]
at = [{web_down}]
stop = ["web"]

[rules.batch-morning]
at = [{batch_up}]
start = ["batch"]

[rules.batch-night]
at = [{batch_down}]
stop = ["batch"]

[rules.flaky-once]
at = "{quiet}Z"
start = ["flaky"]
"#,
        folder = folder.display(),
        db_up = moments(3, 20),
        web_up = moments(5, 20),
        web_down = moments(17, 20),
        batch_up = moments(7, 10),
        batch_down = moments(31, 60),
    ))
}

/// What a demo came to, read from its journal.
#[derive(Default)]
struct Tally {
    runs: usize,
    done: usize,
    open: usize,
    requests: usize,
    throttled: usize,
    errors: usize,
    fell_back: usize,
    outcomes: Vec<Outcome>,
}

async fn summary(store: &SqliteStore) -> anyhow::Result<Exit> {
    let mut tally = Tally::default();
    let mut attempts = BTreeSet::new();
    for entry in store.history(&HistoryQuery { limit: 10_000, ..HistoryQuery::default() }).await? {
        let Entry::Run(run) = entry else { continue };
        tally.runs += 1;
        tally.done += usize::from(matches!(run.ended, Some((RunOutcome::Done, _))));
        tally.open += usize::from(run.ended.is_none());
        for target in &run.targets {
            let progress = &target.target.progress;
            let fell_back =
                progress.trouble.as_ref().is_some_and(|reason| reason.kind == ReasonKind::FellBack);
            tally.fell_back += usize::from(fell_back);
            tally.outcomes.extend(progress.outcome().cloned());
        }
        let Some((_, records)) = store.run(run.id).await? else { continue };
        for attempt in records.into_iter().filter(|attempt| attempts.insert(attempt.id)) {
            tally.requests += 1;
            tally.throttled += usize::from(attempt.status == Some(429));
            tally.errors += usize::from(attempt.status.is_some_and(|status| status >= 500));
        }
    }
    let outcomes: Vec<&Outcome> = tally.outcomes.iter().collect();
    show::line(&format!(
        "\n{} runs: {} done, {} other, {} still open; {} requests to start or stop; servers: {}",
        tally.runs,
        tally.done,
        tally.runs - tally.done - tally.open,
        tally.open,
        tally.requests,
        counts(&outcomes)
    ));
    show::line(&format!(
        "on the way: {} answers 429, {} answers 5xx that hid what was done, {} servers that fell back",
        tally.throttled, tally.errors, tally.fell_back
    ));
    Ok(if tally.done + tally.open == tally.runs { Exit::Done } else { Exit::NotDone })
}
