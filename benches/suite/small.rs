//! Small things that everything else is made of.

use std::hint::black_box;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::Sha256;
use sunup::adapters::ncp::sign::signature;
use sunup::adapters::store::{Holder, SqliteStore};
use sunup::domain::name::{Action, GroupName, RuleName, RunId};
use sunup::ports::store::{Claim, Origin, Resolution, RunHead, Store, Turn};
use sunup::settings::Settings;

use crate::figures::{Figures, Goal};
use crate::place::{Failure, Place, Watch, float};

/// How often a small thing is done for one figure.
const TIMES: usize = 20_000;
const FROM: Timestamp = Timestamp::constant(1_795_000_000, 0);

pub(crate) fn measure(figures: &mut Figures, runs: usize) -> Result<(), Failure> {
    let target = format!(
        "/vserver/v2/startServerInstances?regionCode=KR{}",
        (1..=20).map(|n| format!("&serverInstanceNoList.{n}={}", 1000 + n)).collect::<String>()
    );
    let sign = || signature("GET", &target, "1795426931242", "access", "secret");
    let signed = per_call(runs, || black_box(sign()).len());
    figures.note("signing a request of 20 servers", "µs", &signed, Goal::None);
    let bare = || {
        Hmac::<Sha256>::new_from_slice(b"secret")
            .map(|mac| mac.chain_update(target.as_bytes()).finalize().into_bytes().len())
            .unwrap_or_default()
    };
    figures.note("HMAC-SHA256 alone over the same bytes", "µs", &per_call(runs, bare), Goal::None);
    next_occurrences(figures, runs)?;
    page(figures, runs)?;
    let folder = tempfile::tempdir()?;
    claims(figures, runs, "a claim with its sync", folder.path())?;
    match tempfile::tempdir_in("/dev/shm") {
        Ok(memory) => claims(figures, runs, "a claim in memory, where a sync costs nothing", memory.path())?,
        Err(error) => println!("claims without a sync are left out: {error}"),
    }
    Ok(())
}

/// Microseconds a call, once for each run.
fn per_call(runs: usize, mut call: impl FnMut() -> usize) -> Vec<f64> {
    let mut once = || {
        let began = Watch::start();
        let mut sum = 0_usize;
        for _ in 0..TIMES {
            sum = sum.wrapping_add(call());
        }
        black_box(sum);
        began.elapsed().as_secs_f64() * 1e6 / float(TIMES)
    };
    (0..runs.max(1)).map(|_| once()).collect()
}

fn next_occurrences(figures: &mut Figures, runs: usize) -> Result<(), Failure> {
    let text = "timezone = \"Asia/Seoul\"\n[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1001\"]\n\
        [rules.r]\ncron = \"50 8 * * MON-FRI\"\nstart = [\"web\"]\n";
    let settings = Settings::read(text).map_err(|problems| format!("{problems:?}"))?.settings;
    let rule = settings.rules.values().next().ok_or("a rule")?;
    let ours = per_call(runs, || {
        let next = sunup::domain::plan::next(rule, black_box(FROM), Timestamp::MAX);
        usize::from(next.is_some())
    });
    figures.note("the next occurrence of `50 8 * * MON-FRI`", "µs", &ours, Goal::None);
    let croner: croner::Cron = "50 8 * * MON-FRI".parse()?;
    let zone = TimeZone::get("Asia/Seoul")?;
    let theirs = per_call(runs, || {
        let from = black_box(FROM).to_zoned(zone.clone());
        usize::from(croner.find_next_occurrence(&from, false).is_ok())
    });
    figures.note("the same by croner alone, without our rules for clock changes", "µs", &theirs, Goal::None);
    Ok(())
}

/// A list of 1,000 servers by the client, ten pages of it, from the sandbox.
fn page(figures: &mut Figures, runs: usize) -> Result<(), Failure> {
    let place = Place::new(1000, "1s..1s")?;
    place.configure("[groups.all]\nname = \"srv-*\"\n")?;
    let mut took = Vec::new();
    for _ in 0..runs.max(1) {
        took.push(place.timed(&["groups"])? * 1000.0);
    }
    figures.note("`groups` over 1,000 servers without a daemon: ten pages", "ms", &took, Goal::None);
    Ok(())
}

fn claims(figures: &mut Figures, runs: usize, what: &str, folder: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (rule, group) = (RuleName::new("morning")?, GroupName::new("web")?);
    let took: Result<Vec<f64>, Failure> = runtime.block_on(async {
        let store = SqliteStore::open(&folder.join("claims.db"), Holder::Daemon).await?;
        let mut took = Vec::new();
        for n in 0..i64::try_from(100 * runs.max(1))? {
            let at = Timestamp::from_second(FROM.as_second() + n)?;
            let head = RunHead {
                origin: Origin::Rule(rule.clone()),
                action: Action::Start,
                groups: vec![group.clone()],
                planned: at,
                due: at,
                window_end: at,
                claimed: at,
                waived: Default::default(),
            };
            let (targets, resolution) = (Vec::new(), Resolution::default());
            let claim = Claim { run: RunId(n + 1), head, targets, resolution, ended: None };
            let turn = Turn { at: Some(at), claims: vec![claim], ..Turn::default() };
            let began = Watch::start();
            store.record(&turn).await?;
            took.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        store.close().await;
        Ok(took)
    });
    figures.note(what, "ms", &took?, Goal::None);
    Ok(())
}
