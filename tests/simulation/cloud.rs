//! The cloud of the simulation: the sandbox's servers behind a network and an API in which everything goes wrong.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use sunup::audit::history::{Deed as Asked, Micros, Read, Request, SECOND, Wrong};
use sunup::domain::name::{Action, ServerNo};
use sunup::domain::outcome::{Reason, ReasonKind};
use sunup::domain::probe::{Probe, Probed};
use sunup::domain::retry::{Answer, Layer, Refusal};
use sunup::domain::target::ATTEMPT_LIMIT;
use sunup::ports::cloud::{
    ClockVerdict, Cloud, Exchange, Inventory, ReadError, ReadTrouble, Scope, ServerView,
};
use sunup::ports::host::Host;
use sunup::ports::prober::Prober;
use sunup::sandbox::model::{Deed, Mishap};

use crate::outside::{Crash, Outside, Truth};
use crate::shown::view;

/// The access key and the secret of the simulation: they must stand nowhere.
pub(crate) const SECRETS: [&str; 2] = ["sim-access-key-7f3a", "sim-secret-key-91bc"];

/// What a request meets on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    /// Nothing can be sent.
    Unsent,
    /// It never arrives.
    LostBefore,
    /// It is done, and the answer is lost.
    LostAfter,
    /// It travels for long, is done, and nobody hears of it.
    Slow(Micros),
    /// The gateway refuses: 429 or 401.
    Refused(u16, &'static str),
    /// A 5xx, done or not.
    Broken {
        done: bool,
    },
    /// A 400 without names; nothing is done.
    Unnamed,
    /// Done, and the servers fall back.
    FallsBack,
}

const KEYS: Fate = Fate::Refused(401, "200");

impl Truth {
    /// What the next request meets.
    fn fate(&mut self) -> Fate {
        let now = self.now();
        if now < self.outage_until {
            return Fate::Unsent;
        }
        if now < self.keys_until {
            return KEYS;
        }
        let weather = self.weather;
        if !self.chance.percent(weather) {
            return Fate::Fine;
        }
        match self.chance.between(0, 99) {
            0..=34 => Fate::LostAfter,
            35..=44 => Fate::LostBefore,
            45..=54 => Fate::Slow(self.chance.between(1, 8) * SECOND),
            55..=62 => Fate::Unsent,
            63..=70 => Fate::Refused(429, "420"),
            71..=80 => Fate::Broken { done: self.chance.percent(50) },
            81..=89 => Fate::Unnamed,
            _ => Fate::FallsBack,
        }
    }

    /// Why a read fails now, if it does.
    fn read_fails(&mut self) -> Option<ReadError> {
        let now = self.now();
        let error = |kind, text: &str, trouble| Some(ReadError { reason: Reason::new(kind, text), trouble });
        if now < self.outage_until {
            return error(ReasonKind::Unreachable, "connection refused", ReadTrouble::Down);
        }
        if now < self.keys_until {
            return error(ReasonKind::Credentials, "HTTP 401, code 200", ReadTrouble::Keys);
        }
        let weather = self.weather / 4;
        if !self.chance.percent(weather) {
            return None;
        }
        self.hit("failed read");
        self.note(Wrong::Cloud, now, now + 30 * SECOND, None);
        match self.chance.between(0, 2) {
            0 => error(ReasonKind::NoAnswer, "no answer", ReadTrouble::Down),
            1 => error(ReasonKind::Throttled, "HTTP 429", ReadTrouble::Throttled(None)),
            _ => error(ReasonKind::Api, "HTTP 500", ReadTrouble::Down),
        }
    }

    /// The servers as a read shows them, which may be a little old.
    fn views(&mut self, began: Micros, wanted: Option<&[ServerNo]>) -> Vec<ServerView> {
        self.advance();
        let weather = self.weather;
        let age = if self.chance.percent(weather / 3) { self.chance.between(1, 2500) * 1000 } else { 0 };
        if age > 0 {
            self.hit("stale read");
        }
        let now = self.now();
        let mut views = Vec::new();
        let mut shown = Vec::new();
        for server in self.model.all() {
            let is_wanted = wanted.is_none_or(|numbers| numbers.iter().any(|no| no.as_str() == server.no));
            let (status, operation) = server.as_of(now - age);
            if status == "TERMT" || !is_wanted {
                continue;
            }
            shown.push((format!("main/{}", server.no), status.to_owned(), operation.to_owned()));
            views.push(view(server, status, operation));
        }
        self.reads.push(Read { began, ended: now, shown });
        views
    }
}

fn refusal(status: u16, layer: Layer, code: &str, text: &str) -> Answer {
    let (request_id, retry_after) = (None, None);
    Answer::Refused(Refusal { status, layer, code: code.into(), text: text.into(), request_id, retry_after })
}

fn lost() -> Answer {
    Answer::Unanswered(Reason::new(ReasonKind::NoAnswer, "no answer within 10s"))
}

/// A request that is under way: it goes on whatever becomes of whoever sent it.
struct Sent {
    outside: Outside,
    action: Action,
    servers: Vec<ServerNo>,
    left: Micros,
    signed: Micros,
}

impl Sent {
    /// Travels, arrives, is done or not, and is answered or not. The number of the request in the record comes with the answer.
    async fn travel(self, fate: Fate) -> Option<(Answer, usize)> {
        let pause = self.outside.with(|truth| truth.chance.between(5, 60));
        let mut way = Duration::from_millis(u64::try_from(pause).unwrap());
        if let Fate::Slow(by) = fate {
            way += Duration::from_micros(u64::try_from(by).unwrap());
        }
        tokio::time::sleep(way).await;
        if fate == Fate::LostBefore {
            return None;
        }
        let (answer, index) = self.outside.with(|truth| self.arrive(truth, fate));
        tokio::time::sleep(Duration::from_millis(20)).await;
        match fate {
            Fate::LostAfter | Fate::Slow(_) => None,
            _ => Some((answer, index)),
        }
    }

    fn arrive(&self, truth: &mut Truth, fate: Fate) -> (Answer, usize) {
        truth.advance();
        let now = truth.now();
        let numbers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        let (deed, asked) = match self.action {
            Action::Start => (Deed::Start, Asked::Start),
            Action::Stop => (Deed::Stop, Asked::Stop),
        };
        let mut took = Vec::new();
        let answer = match fate {
            Fate::Refused(status, code) => refusal(status, Layer::Gateway, code, "refused"),
            Fate::Unnamed => refusal(400, Layer::Server, "1100904", "The operation failed, try again later."),
            Fate::Broken { done: false } => refusal(503, Layer::Gateway, "500", "Endpoint Error"),
            _ => {
                let mishap = if fate == Fate::FallsBack { Mishap::FallsBack } else { Mishap::None };
                let (changes, result) = truth.model.act(SECRETS[0], deed, &numbers, |_| mishap, now);
                took = changes.iter().map(|change| format!("main/{}", change.no)).collect();
                truth.changed(changes);
                match (fate, result) {
                    (Fate::Broken { .. }, _) => refusal(504, Layer::Gateway, "510", "Endpoint Timeout"),
                    (_, Err(refused)) => refusal(400, Layer::Server, &refused.code, &refused.text),
                    (_, Ok(())) => {
                        Answer::Accepted { listed: self.servers.iter().cloned().collect(), request_id: None }
                    }
                }
            }
        };
        let status = match &answer {
            Answer::Accepted { .. } => 200,
            Answer::Refused(refusal) => i64::from(refusal.status),
            _ => 0,
        };
        let line = format!("{now} {} {} {fate:?} {status} {}", asked.word(), numbers.join(" "), took.len());
        truth.trace.push(line);
        truth.requests.push(Request {
            left: self.left,
            at: now,
            deed: asked,
            servers: numbers.iter().map(|no| format!("main/{no}")).collect(),
            took,
            status,
            heard: None,
            signed: Some(self.signed),
        });
        (answer, truth.requests.len() - 1)
    }
}

impl Outside {
    fn verdict(&self) -> ClockVerdict {
        ClockVerdict::Differs(SignedDuration::from_micros(-self.wrong_by()))
    }

    /// Counts a request towards a crash that is to come: whether it comes now, and whether the request is gone by then.
    fn crashes(&self) -> Option<bool> {
        self.with(|truth| match &mut truth.crash {
            Some(Crash::Request { left: 0, gone }) => Some(*gone),
            Some(Crash::Request { left, .. }) => {
                *left -= 1;
                None
            }
            _ => None,
        })
    }

    async fn read(&self, wanted: Option<&[ServerNo]>) -> Result<Vec<ServerView>, ReadError> {
        let (began, pause) = self.with(|truth| (truth.now(), truth.chance.between(10, 120)));
        tokio::time::sleep(Duration::from_millis(u64::try_from(pause).unwrap())).await;
        self.with(|truth| match truth.read_fails() {
            Some(error) => Err(error),
            None => Ok(truth.views(began, wanted)),
        })
    }
}

#[async_trait]
impl Cloud for Outside {
    async fn ask(&self, action: Action, servers: &[ServerNo], not_after: Timestamp) -> Exchange<Answer> {
        if self.crashes() == Some(false) {
            self.with(|truth| truth.hit("crash before a request"));
            self.vanish().await;
        }
        let (left, signed, fate) = self.with(|truth| {
            let fate = truth.fate();
            let now = truth.now();
            if fate != Fate::Fine {
                truth.hit("fault of a request");
                let numbers = servers.len();
                let server = (numbers == 1).then(|| format!("main/{}", servers[0]));
                truth.note(Wrong::Cloud, now, now + 15 * SECOND, server);
                if matches!(fate, Fate::LostAfter) {
                    truth.hit("answer lost after the deed");
                }
                if fate == KEYS {
                    truth.note(Wrong::Keys, now, now, None);
                }
            }
            (now, truth.wall(), fate)
        });
        if signed > not_after.as_microsecond() {
            let reason = Reason::new(ReasonKind::Store, "its time has passed, so nothing was sent");
            return Exchange { result: Answer::NotSent(reason), clock: ClockVerdict::Unheard };
        }
        if fate == Fate::Unsent {
            let reason = Reason::new(ReasonKind::Unreachable, "connection refused");
            return Exchange { result: Answer::NotSent(reason), clock: ClockVerdict::Unheard };
        }
        let sent = Sent { outside: self.clone(), action, servers: servers.to_vec(), left, signed };
        let under_way = tokio::spawn(sent.travel(fate));
        let crashing = self.with(|truth| matches!(truth.crash, Some(Crash::Request { left: 0, gone: true })));
        if crashing {
            self.with(|truth| truth.hit("crash during a request"));
            self.vanish().await;
        }
        match tokio::time::timeout(ATTEMPT_LIMIT, under_way).await {
            Ok(Ok(Some((answer, index)))) => {
                self.with(|truth| {
                    let now = truth.now();
                    truth.requests[index].heard = Some(now);
                });
                Exchange { result: answer, clock: self.verdict() }
            }
            Ok(_) => {
                // The connection broke; it takes as long as it takes to see that.
                Exchange { result: lost(), clock: ClockVerdict::Unheard }
            }
            Err(_) => Exchange { result: lost(), clock: ClockVerdict::Unheard },
        }
    }

    async fn look(&self, servers: &[ServerNo], _: Duration) -> Exchange<Result<Vec<ServerView>, ReadError>> {
        Exchange { result: self.read(Some(servers)).await, clock: self.verdict() }
    }

    async fn list(&self, _: &Scope, _: Duration) -> Exchange<Result<Inventory, ReadError>> {
        let servers = self.read(None).await;
        let inventory = servers.map(|servers| Inventory { servers, ..Inventory::default() });
        Exchange { result: inventory, clock: self.verdict() }
    }

    async fn at_addresses(&self, _: &[IpAddr]) -> Exchange<Result<Vec<ServerNo>, ReadError>> {
        Exchange { result: self.read(Some(&[])).await.map(|_| Vec::new()), clock: self.verdict() }
    }

    async fn greet(&self) -> Exchange<Result<(), ReadError>> {
        let result = self.read(Some(&[])).await.map(|_| ());
        let clock = if result.is_ok() { self.verdict() } else { ClockVerdict::Unheard };
        Exchange { result, clock }
    }
}

#[async_trait]
impl Prober for Outside {
    async fn probe(&self, _: &Probe, _: Duration) -> Probed {
        Probed::Yes
    }
}

impl Host for Outside {
    fn addresses(&self) -> Result<Vec<IpAddr>, String> {
        Ok(Vec::new())
    }
}
