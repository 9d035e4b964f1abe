//! From the due instant to the arrival of the request at the sandbox, whose log stamps microseconds.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sunup::adapters::clock::SystemClock;
use sunup::adapters::ncp::{Endpoints, KeyPair, KeySource, NcpCloud};
use sunup::daemon::rate::Bucket;
use sunup::domain::name::{Action, ServerNo};
use sunup::ports::clock::Clock;
use sunup::ports::cloud::Cloud;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::figures::{Figures, Goal, median, share};
use crate::place::{Ended, Failure, Place, millis, pause, second_in, until, wait_for};

/// The word by which the program is started again as a scheduler to compare with.
pub(crate) const CHILD: &str = "--as-tokio-cron-scheduler";
/// Where `scripts/bench` installs a replacement of cron to compare with.
const YACRON: &str = "target/bench/yacron/bin/yacron";
/// How many clients of the listener send a byte now and then.
const SLOW: usize = 500;

/// One way to be late.
struct Case {
    what: &'static str,
    /// Rules that are not due.
    idle: usize,
    /// Rules that are due at each moment.
    together: usize,
    moments: usize,
    slow_clients: usize,
    goals: [Goal; 2],
}

pub(crate) fn measure(figures: &mut Figures, runs: usize) -> Result<(), Failure> {
    let alone = [Goal::AtMost(2.0), Goal::AtMost(10.0)];
    let few = runs.max(1);
    let case =
        |what, idle, together, moments, goals| Case { what, idle, together, moments, slow_clients: 0, goals };
    let none = [Goal::None, Goal::None];
    let crowd = [Goal::None, Goal::AtMost(100.0)];
    let mut ours = f64::NAN;
    for case in [
        case("1 rule, 1 due", 0, 1, 12 * few, none),
        case("1,000 rules idle, 1 due", 1000, 1, 20 * few, alone),
        Case {
            slow_clients: SLOW,
            ..case("the same with 500 slow clients on the listener", 1000, 1, 20 * few, alone)
        },
        case("10,000 rules idle, 1 due", 10_000, 1, 6 * few, none),
        case("1,000 rules, 10 due together", 990, 10, few, none),
        case("1,000 rules, 100 due together", 900, 100, few, none),
        case("1,000 rules due together", 0, 1000, few, crowd),
        case("10,000 rules due together", 0, 10_000, few, none),
    ] {
        let late = ours_late(&case)?;
        let early = late.iter().filter(|late| **late < 0.0).count();
        let wanted = case.together * case.moments;
        if late.len() != wanted || early > 0 {
            return Err(format!("{}: {} of {wanted} arrived, {early} early", case.what, late.len()).into());
        }
        figures.note(format!("{}: p50", case.what), "ms", &[median(&late)], case.goals[0]);
        figures.note(format!("{}: p99", case.what), "ms", &[share(&late, 99)], case.goals[1]);
        figures.note(format!("{}: max", case.what), "ms", &[share(&late, 100)], Goal::None);
        if case.idle == 1000 && case.slow_clients == 0 {
            ours = median(&late);
        }
        if case.idle == 0 || case.together > 1 {
            let at = crate::place::float(case.together);
            let axes = ("rules due together", "lateness in ms");
            figures.point("lateness", axes, "p50", (at, median(&late)));
            figures.point("lateness", axes, "p99", (at, share(&late, 99)));
        }
    }
    // It looks each half second from its start on, so that one start is late by one phase alone: several are needed.
    let starts: Vec<Vec<f64>> =
        (0..2 * few + 1).map(|_| scheduler_late(1000, 8)).collect::<Result<_, _>>()?;
    let theirs: Vec<f64> = starts.concat();
    figures.note("tokio-cron-scheduler, 1,000 jobs, 1 due: p50", "ms", &[median(&theirs)], Goal::None);
    figures.note("tokio-cron-scheduler, 1,000 jobs, 1 due: p99", "ms", &[share(&theirs, 99)], Goal::None);
    figures.note("its p50 beside ours", "times", &[median(&theirs) / ours], Goal::AtLeast(50.0));
    match cron_late(3)? {
        Some(late) => figures.note("Debian's cron with curl: p50", "ms", &[median(&late)], Goal::None),
        None => println!("Debian's cron is left out: it is not installed, or this is not root"),
    }
    match yacron_late(3)? {
        Some(late) => figures.note("yacron with curl: p50", "ms", &[median(&late)], Goal::None),
        None => println!("yacron is left out: it is not installed"),
    }
    Ok(())
}

fn rules(case: &Case, first: Timestamp, apart: i64) -> (String, BTreeMap<String, Timestamp>) {
    let (mut text, mut due) = (String::new(), BTreeMap::new());
    for n in 0..case.idle {
        let (minute, hour) = (n % 60, n / 60 % 24);
        text.push_str(&format!("[rules.idle{n}]\ncron = \"{minute} {hour} 1 1 *\"\nstart = [\"g0\"]\n"));
    }
    for n in 0..case.together * case.moments {
        let moment = i64::try_from(n / case.together).unwrap_or_default();
        let at = first + SignedDuration::from_secs(moment * apart);
        let server = 1001 + n;
        text.push_str(&format!(
            "[groups.g{n}]\nservers = [\"{server}\"]\n[rules.r{n}]\nat = \"{at}\"\nstart = [\"g{n}\"]\n"
        ));
        due.insert(server.to_string(), at);
    }
    (text, due)
}

/// The milliseconds from each due moment to its request.
fn ours_late(case: &Case) -> Result<Vec<f64>, Failure> {
    let servers = case.together * case.moments;
    let place = Place::new(servers, "1s..1s")?;
    // Time to read so many servers before, and to finish with one crowd before the next comes.
    let apart = if case.together > 1 { 4 + i64::try_from(case.together / 1000)? } else { 1 };
    let first = second_in(8 + i64::try_from((servers + case.idle) / 1000)?)?;
    let (mut text, due) = rules(case, first, apart);
    if case.slow_clients > 0 {
        text.push_str("[http]\nlisten = \"127.0.0.1:0\"\n");
    }
    place.configure(&text)?;
    let (_daemon, _) = place.daemon()?;
    let mut clients = slow_clients(&place, case.slow_clients)?;
    let last = first + SignedDuration::from_secs(apart * i64::try_from(case.moments)? + 2);
    while SystemClock.now() < last {
        for client in &mut clients {
            let _ = client.write_all(b"T");
        }
        pause(Duration::from_secs(1));
    }
    let mut late = Vec::new();
    for (at, servers) in place.starts()? {
        let moments = servers.iter().filter_map(|server| due.get(server));
        late.extend(moments.map(|due| millis(at - due.as_microsecond())));
    }
    Ok(late)
}

fn slow_clients(place: &Place, count: usize) -> Result<Vec<TcpStream>, Failure> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let address = until("the listener", || {
        let log = fs::read_to_string(place.at("log")).ok()?;
        let (_, rest) = log.split_once("metrics and health are at ")?;
        Some(rest.split(['"', ' ', '\n']).next()?.to_owned())
    })?;
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = TcpStream::connect(&address)?;
        let _ = client.write_all(b"GET /metrics HT");
        clients.push(client);
    }
    Ok(clients)
}

/// The same request by a bare scheduler: one of so many jobs is due each second, whose request tells by its server which it is.
fn scheduler_late(jobs: usize, seconds: usize) -> Result<Vec<f64>, Failure> {
    let place = Place::new(seconds + 10, "1s..1s")?;
    let child = Command::new(std::env::current_exe()?)
        .args([CHILD, &place.endpoint, &jobs.to_string()])
        .stdin(Stdio::null())
        .spawn()?;
    let _child = Ended(child);
    until("enough requests", || (place.starts().ok()?.len() >= seconds).then_some(()))?;
    // It may be late by up to half a second, never by a whole one.
    Ok(place.starts()?.iter().map(|(at, _)| millis(at.rem_euclid(1_000_000))).collect())
}

/// This program as a bare scheduler: one job each second, the others once a year; each job sends a signed request.
pub(crate) fn child(arguments: &[String]) -> Result<(), Failure> {
    let [endpoint, jobs] = arguments else { return Err("an address and a number of jobs".into()) };
    let jobs: usize = jobs.parse()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bucket = Arc::new(Bucket::new(10_000, Arc::clone(&clock)));
    let keys = KeyPair { access: "access".to_owned().into(), secret: "secret".to_owned().into() };
    let endpoints = Endpoints {
        servers: endpoint.clone(),
        resources: Err("tags are not used".into()),
        region: "KR".into(),
    };
    let keys = KeySource::Fixed(Ok(Arc::new(keys)));
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cloud = Arc::new(NcpCloud::new("main", endpoints, keys, Ok(Vec::new()), clock, bucket));
    let next = Arc::new(AtomicU32::new(1001));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let scheduler = JobScheduler::new().await?;
        for n in 0..jobs {
            let when =
                if n == 0 { "* * * * * *".to_owned() } else { format!("{} {} 3 1 1 *", n % 60, n / 60 % 60) };
            let (cloud, next) = (Arc::clone(&cloud), Arc::clone(&next));
            let job = Job::new_async(when.as_str(), move |_, _| {
                let (cloud, next) = (Arc::clone(&cloud), Arc::clone(&next));
                Box::pin(async move {
                    let no = next.fetch_add(1, Ordering::Relaxed).to_string();
                    if let Some(no) = ServerNo::parse(&no) {
                        cloud.ask(Action::Start, &[no], Timestamp::MAX).await;
                    }
                })
            })?;
            scheduler.add(job).await?;
        }
        scheduler.start().await?;
        std::future::pending::<Result<(), Failure>>().await
    })
}

/// A command that sends the request. It is not signed; the sandbox logs it all the same.
fn curl(place: &Place) -> String {
    let endpoint = &place.endpoint;
    format!(
        "curl -s -o /dev/null '{endpoint}/vserver/v2/startServerInstances?regionCode=KR&serverInstanceNoList.1=1001'"
    )
}

/// How late each request is that a daemon's command sends at each minute.
fn minutely(daemon: &mut Command, place: &Place, minutes: usize) -> Result<Vec<f64>, Failure> {
    let quiet = daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _daemon = Ended(quiet.spawn()?);
    wait_for(second_in(61 * i64::try_from(minutes)?)?)?;
    Ok(place.starts()?.iter().map(|(at, _)| millis(at.rem_euclid(60_000_000))).collect())
}

/// What a minute's line of a crontab comes to.
fn cron_late(minutes: usize) -> Result<Option<Vec<f64>>, Failure> {
    let (table, program) = (Path::new("/etc/cron.d/sunup-bench"), Path::new("/usr/sbin/cron"));
    let place = Place::new(1, "1s..1s")?;
    if !program.exists() || fs::write(table, format!("* * * * * root {}\n", curl(&place))).is_err() {
        return Ok(None);
    }
    let late = minutely(Command::new(program).arg("-f"), &place, minutes);
    fs::remove_file(table)?;
    late.map(Some)
}

/// The same by a younger replacement of cron.
fn yacron_late(minutes: usize) -> Result<Option<Vec<f64>>, Failure> {
    let program = Path::new(YACRON);
    let place = Place::new(1, "1s..1s")?;
    if !program.exists() {
        return Ok(None);
    }
    let table = place.at("yacron.yaml");
    let job = format!("jobs:\n  - name: start\n    command: {}\n    schedule: \"* * * * *\"\n", curl(&place));
    fs::write(&table, job)?;
    minutely(Command::new(program).arg("-c").arg(table), &place, minutes).map(Some)
}
