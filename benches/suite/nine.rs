//! Nine o'clock: many rules and servers due in one second, with all limits open.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use jiff::Timestamp;
use sunup::adapters::clock::SystemClock;
use sunup::adapters::ncp::sign::signature;
use sunup::ports::clock::Clock;

use crate::figures::{Figures, Goal, median};
use crate::place::{Failure, Place, Watch, float, pause, second_in, used, wait_for};

/// Servers in one request.
const BATCH: usize = 20;
/// Connections of the load generator.
const CONNECTIONS: usize = 8;

pub(crate) fn measure(figures: &mut Figures, runs: usize) -> Result<(), Failure> {
    for (rules, servers) in [(1000, 1000), (10, 20_000), (10_000, 10_000), (10, 100_000)] {
        let what = format!("{rules} rules, {servers} servers");
        let (mut found, mut raw) = (Vec::new(), Vec::new());
        // In turns: the machine is not as fast all the time.
        for _ in 0..runs.max(1) {
            found.push(morning(rules, servers)?);
            raw.push(raw_rate(servers.div_ceil(BATCH))?);
        }
        let all = |of: fn(&Morning) -> f64| found.iter().map(of).collect::<Vec<f64>>();
        let last = if servers == 100_000 { Goal::AtMost(60.0) } else { Goal::None };
        figures.note(format!("{what}: every request sent"), "s", &all(|m| m.sent), Goal::None);
        figures.note(format!("{what}: every server confirmed"), "s", &all(|m| m.confirmed), last);
        figures.note(format!("{what}: CPU of the daemon"), "s", &all(|m| m.cpu), Goal::None);
        figures.note(format!("{what}: most memory"), "MiB", &all(|m| m.memory), Goal::None);
        figures.point("nine", ("servers", "seconds"), "sent", (float(servers), median(&all(|m| m.sent))));
        figures.point(
            "nine",
            ("servers", "seconds"),
            "confirmed",
            (float(servers), median(&all(|m| m.confirmed))),
        );
        let rate = all(|m| m.rate);
        figures.note(format!("{what}: requests, first to last"), "a second", &rate, Goal::None);
        // Of a hundred thousand servers most of the time is reading their states.
        let wanted = if servers == 100_000 { Goal::None } else { Goal::AtLeast(0.5) };
        figures.note(format!("{what}: raw load generator, as many requests"), "a second", &raw, Goal::None);
        let shares: Vec<f64> = rate.iter().zip(&raw).map(|(ours, raw)| ours / raw).collect();
        figures.note(format!("{what}: share of the raw load generator"), "", &shares, wanted);
        if servers < 100_000 {
            match syncs(rules, servers)? {
                Some((turns, syncs)) => {
                    figures.note(format!("{what}: turns that record something"), "", &[turns], Goal::None);
                    figures.note(format!("{what}: syncs a turn"), "", &[syncs / turns], Goal::None);
                }
                None => println!("syncs are left out: strace is not installed"),
            }
        }
    }
    Ok(())
}

/// What a morning came to.
struct Morning {
    /// Seconds from due until the last request arrived.
    sent: f64,
    /// Seconds from due until the last run had ended, each server seen at its goal.
    confirmed: f64,
    /// Requests a second between the first and the last.
    rate: f64,
    cpu: f64,
    memory: f64,
}

/// When start requests arrived at the sandbox, in microseconds.
struct Arrived {
    count: usize,
    first: i64,
    last: i64,
}

impl Arrived {
    /// Requests a second between the first and the last.
    fn rate(&self) -> f64 {
        float(self.count) / seconds(self.last - self.first)
    }
}

fn arrived(place: &Place) -> Result<Arrived, Failure> {
    let moments: Vec<i64> = place.starts()?.iter().map(|(at, _)| *at).collect();
    let (Some(first), Some(last)) = (moments.iter().min(), moments.iter().max()) else {
        return Err("no request arrived".into());
    };
    Ok(Arrived { count: moments.len(), first: *first, last: *last })
}

fn seconds(micros: i64) -> f64 {
    crate::place::millis(micros) / 1000.0
}

/// A place with so many rules that are all due at a moment to come, with all servers among them.
fn prepared(rules: usize, servers: usize) -> Result<(Place, Timestamp), Failure> {
    let place = Place::new(servers, "1s..1s")?;
    let due = second_in(8 + i64::try_from(servers / 2500 + rules / 2000)?)?;
    let per = servers / rules;
    let mut text = String::new();
    for rule in 0..rules {
        let numbers: Vec<String> = (0..per).map(|n| format!("\"{}\"", 1001 + rule * per + n)).collect();
        let numbers = numbers.join(", ");
        text.push_str(&format!(
            "[groups.g{rule}]\nservers = [{numbers}]\n[rules.r{rule}]\nat = \"{due}\"\nstart = [\"g{rule}\"]\n"
        ));
    }
    place.configure(&text)?;
    Ok((place, due))
}

/// Waits until so many runs are done.
fn all_done(place: &Place, runs: usize) -> Result<(), Failure> {
    let mut ended = 0;
    let mut log = BufReader::new(fs::File::open(place.at("log"))?);
    let mut line = String::new();
    let began = Watch::start();
    while ended < runs {
        line.clear();
        match log.read_line(&mut line)? {
            0 if began.elapsed() > Duration::from_secs(300) => return Err("the runs never ended".into()),
            0 => pause(Duration::from_millis(10)),
            _ => ended += usize::from(line.contains("\"run.outcome\":\"done\"")),
        }
    }
    Ok(())
}

fn morning(rules: usize, servers: usize) -> Result<Morning, Failure> {
    let (place, due) = prepared(rules, servers)?;
    let (daemon, _) = place.daemon()?;
    wait_for(due)?;
    let before = used(&daemon)?;
    all_done(&place, rules)?;
    let confirmed = SystemClock.now().duration_since(due).as_secs_f64();
    let after = used(&daemon)?;
    let arrived = arrived(&place)?;
    Ok(Morning {
        sent: seconds(arrived.last - due.as_microsecond()),
        confirmed,
        rate: arrived.rate(),
        cpu: after.cpu - before.cpu,
        memory: after.memory.1,
    })
}

/// How many turns of such a morning record something, from due to the end of the last run, and how many syncs they take: each syncs the
/// journal's log once, and now and then the log is carried over into the journal.
fn syncs(rules: usize, servers: usize) -> Result<Option<(f64, f64)>, Failure> {
    let (place, due) = prepared(rules, servers)?;
    let Some(_daemon) = place.daemon_with_syncs()? else { return Ok(None) };
    wait_for(due)?;
    let count = || -> Result<(usize, usize), Failure> {
        let text = fs::read_to_string(place.at("syncs"))?;
        // A call that others come between ends with a line of its own, which names no file.
        let begun = || text.lines().filter(|line| line.contains("sync("));
        Ok((begun().filter(|line| line.contains("-wal>")).count(), begun().count()))
    };
    let before = count()?;
    all_done(&place, rules)?;
    let after = count()?;
    Ok(Some((float(after.0 - before.0), float(after.1 - before.1))))
}

/// How many of the same requests a second reach the sandbox, first to last, from a client that does nothing but send bytes that are ready.
fn raw_rate(requests: usize) -> Result<f64, Failure> {
    let place = Place::new(requests * BATCH, "1s..1s")?;
    let host = place.endpoint.trim_start_matches("http://").to_owned();
    let mut ready: Vec<Vec<u8>> = Vec::new();
    let timestamp = SystemClock.now().as_millisecond().to_string();
    for request in 0..requests {
        let mut target = "/vserver/v2/startServerInstances?responseFormatType=json&regionCode=KR".to_owned();
        for n in 0..BATCH {
            target.push_str(&format!("&serverInstanceNoList.{}={}", n + 1, 1001 + request * BATCH + n));
        }
        let signed = signature("GET", &target, &timestamp, "access", "secret");
        ready.push(
            format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nx-ncp-apigw-timestamp: {timestamp}\r\nx-ncp-iam-access-key: access\r\n\
                 x-ncp-apigw-signature-v2: {signed}\r\n\r\n"
            )
            .into_bytes(),
        );
    }
    let share = requests.div_ceil(CONNECTIONS);
    let threads: Vec<_> = ready
        .chunks(share)
        .map(|some| {
            let (some, host) = (some.to_vec(), host.clone());
            std::thread::spawn(move || send_all(&some, &host).map_err(|error| error.to_string()))
        })
        .collect();
    let mut good = 0;
    for thread in threads {
        good += thread.join().map_err(|_| "a thread of the load generator broke")??;
    }
    if good != requests {
        return Err(format!("{good} of {requests} requests were accepted").into());
    }
    Ok(arrived(&place)?.rate())
}

fn send_all(requests: &[Vec<u8>], host: &str) -> std::io::Result<usize> {
    let mut stream = BufReader::new(TcpStream::connect(host)?);
    stream.get_ref().set_nodelay(true)?;
    let mut good = 0;
    for request in requests {
        stream.get_mut().write_all(request)?;
        let (mut line, mut length, mut is_good) = (String::new(), 0, false);
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line)?;
            is_good |= line.starts_with("HTTP/1.1 200");
            let lower = line.to_ascii_lowercase();
            if let Some(text) = lower.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        good += usize::from(is_good);
    }
    Ok(good)
}
