//! What the engine of a world meets outside: a cloud in memory, somebody to tell, probes and a machine.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sunup::domain::group::Tag;
use sunup::domain::name::{Action, NotifyName, ServerNo};
use sunup::domain::outcome::{Reason, ReasonKind};
use sunup::domain::probe::{Probe, Probed};
use sunup::domain::retry::{Answer, Layer, Refusal};
use sunup::ports::cloud::{
    ClockVerdict, Cloud, Exchange, Inventory, ReadError, ReadTrouble, Scope, ServerView,
};
use sunup::ports::host::Host;
use sunup::ports::notifier::{Notice, Notifier, Told};
use sunup::ports::prober::Prober;
use sunup::sandbox::model::{Deed, Mishap, Server};

use crate::shown::view;
use crate::world::{Outside, Shared};

/// What a mutating request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done, and the answer says so.
    Done,
    /// It is done, and the answer is lost.
    DoneUnheard,
    /// It is not done, and no answer comes.
    Lost,
    /// Nothing could be sent.
    Unsent,
    /// The gateway asks to wait 20 s.
    Throttled,
    /// It is accepted, and the servers fall back.
    FallsBack,
    /// The gateway refuses the keys.
    Keys,
}

/// How a server is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// A batch with it is refused, it is named, and the others are not acted on.
    Named,
    /// A batch with it is refused and nobody is named or acted on.
    Unnamed,
    /// A batch with it is refused, nobody is named, and the others are acted on.
    UnnamedOthersDone,
    /// A batch with it is answered by a fault of the endpoint.
    Fault,
    /// There is no room for it: named.
    NoRoom,
    /// It is accepted and never gets anywhere.
    Stuck,
}

pub(crate) struct Sky {
    pub(crate) outside: Shared,
    pub(crate) key: String,
}

impl Sky {
    fn views(&self, outside: &mut Outside) -> Vec<ServerView> {
        let now = outside.micros();
        outside.model.advance(now);
        let shown = |server: &Server| view(server, &server.status, &server.operation);
        outside.model.of_account(&self.key).map(shown).collect()
    }

    /// Why reads of this account fail now.
    fn failure(&self, outside: &Outside) -> Option<ReadError> {
        let is_out = outside.outage.is_some_and(|(from, to)| (from..to).contains(&outside.wall));
        if !outside.reachable || is_out {
            let reason = Reason::new(ReasonKind::Unreachable, "connection refused");
            return Some(ReadError { reason, trouble: ReadTrouble::Down });
        }
        outside.locked_out.contains(&self.key).then(|| {
            let reason = Reason::new(ReasonKind::Credentials, "HTTP 401, code 200");
            ReadError { reason, trouble: ReadTrouble::Keys }
        })
    }
}

pub(crate) struct Knocker(pub(crate) Shared);

#[async_trait]
impl Prober for Knocker {
    async fn probe(&self, probe: &Probe, _: Duration) -> Probed {
        let outside = self.0.lock().unwrap();
        let words = probe.to_string();
        match outside.opens.get(&words) {
            Some(from) if outside.wall >= *from => Probed::Yes,
            _ if outside.shut.contains(&words) => Probed::No("refused".into()),
            _ => Probed::Unclear("no answer".into()),
        }
    }
}

pub(crate) struct Home;

impl Host for Home {
    fn addresses(&self) -> Result<Vec<IpAddr>, String> {
        Ok(vec!["10.9.9.9".parse().unwrap()])
    }
}

fn refusal(status: u16, code: &str, retry_after: Option<Duration>) -> Answer {
    let (layer, text) = (Layer::Gateway, "refused".to_owned());
    Answer::Refused(Refusal { status, layer, code: code.into(), text, request_id: None, retry_after })
}

#[async_trait]
impl Cloud for Sky {
    async fn ask(&self, action: Action, servers: &[ServerNo], _: Timestamp) -> Exchange<Answer> {
        let answers_later = self.outside.lock().unwrap().answers_later;
        if answers_later {
            tokio::task::yield_now().await;
        }
        let mut outside = self.outside.lock().unwrap();
        let numbers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let line = format!("{} {action} {}", outside.wall.strftime("%H:%M:%S"), numbers.join(" "));
        outside.asked.push(line);
        let fate = match self.failure(&outside).map(|error| error.trouble) {
            Some(ReadTrouble::Keys) => Fate::Keys,
            Some(_) => Fate::Unsent,
            None => outside.fates.pop_front().unwrap_or(Fate::Done),
        };
        let now = outside.micros();
        outside.model.advance(now);
        let deed = match action {
            Action::Start => Deed::Start,
            Action::Stop => Deed::Stop,
        };
        let mishap = if fate == Fate::FallsBack { Mishap::FallsBack } else { Mishap::None };
        if let (Fate::Done, Some(answer)) = (fate, self.refuse_bad(&mut outside, deed, &numbers, now)) {
            return Exchange { result: answer, clock: ClockVerdict::Differs(outside.difference) };
        }
        let done = matches!(fate, Fate::Done | Fate::DoneUnheard | Fate::FallsBack);
        let stuck: Vec<String> =
            outside.bad.iter().filter(|(_, bad)| **bad == Bad::Stuck).map(|(no, _)| no.clone()).collect();
        let mishap = |no: &str| if stuck.iter().any(|bad| bad == no) { Mishap::Stuck } else { mishap };
        let acted = done.then(|| outside.model.act(&self.key, deed, &numbers, mishap, now).1);
        let lost = Answer::Unanswered(Reason::new(ReasonKind::NoAnswer, "the connection broke"));
        let result = match (fate, acted) {
            (Fate::DoneUnheard | Fate::Lost, _) => lost,
            (Fate::Unsent, _) => Answer::NotSent(Reason::new(ReasonKind::Unreachable, "connection refused")),
            (Fate::Throttled, _) => refusal(429, "420", Some(Duration::from_secs(20))),
            (Fate::Keys, _) => refusal(401, "200", None),
            (_, Some(Err(refused))) => Answer::Refused(Refusal {
                status: 400,
                layer: Layer::Server,
                code: refused.code,
                text: refused.text,
                request_id: None,
                retry_after: None,
            }),
            _ => Answer::Accepted { listed: servers.iter().cloned().collect(), request_id: None },
        };
        Exchange { result, clock: ClockVerdict::Differs(outside.difference) }
    }

    async fn look(&self, servers: &[ServerNo], _: Duration) -> Exchange<Result<Vec<ServerView>, ReadError>> {
        let mut outside = self.outside.lock().unwrap();
        outside.reads += 1;
        if let Some(error) = self.failure(&outside) {
            return Exchange { result: Err(error), clock: ClockVerdict::Unheard };
        }
        let wanted: BTreeSet<&ServerNo> = servers.iter().collect();
        let mut views = self.views(&mut outside);
        views.retain(|view| wanted.contains(&view.no));
        Exchange { result: Ok(views), clock: ClockVerdict::Differs(outside.difference) }
    }

    async fn list(&self, scope: &Scope, _: Duration) -> Exchange<Result<Inventory, ReadError>> {
        let mut outside = self.outside.lock().unwrap();
        outside.lists += 1;
        if let Some(error) = self.failure(&outside) {
            return Exchange { result: Err(error), clock: ClockVerdict::Unheard };
        }
        let mut servers = self.views(&mut outside);
        servers.retain(|view| scope.vpcs.as_ref().is_none_or(|vpcs| vpcs.contains(&view.traits.vpc)));
        let tagged = |tag: &Tag| {
            let carries = |server: &&Server| {
                let value = server.tags.iter().find(|(key, _)| *key == tag.key).map(|(_, value)| value);
                value.is_some_and(|value| tag.value.as_ref().is_none_or(|wanted| wanted == value))
            };
            let found = outside.model.of_account(&self.key).filter(carries);
            (tag.clone(), Ok(found.map(|server| ServerNo::parse(&server.no).unwrap()).collect()))
        };
        let tagged = scope.tags.iter().map(tagged).collect();
        Exchange {
            result: Ok(Inventory { servers, tagged }),
            clock: ClockVerdict::Differs(outside.difference),
        }
    }

    async fn at_addresses(&self, _: &[IpAddr]) -> Exchange<Result<Vec<ServerNo>, ReadError>> {
        let outside = self.outside.lock().unwrap();
        let result = match (self.failure(&outside), &outside.own) {
            (Some(error), _) => Err(error),
            (None, Some(own)) => Ok(own.iter().map(|no| ServerNo::parse(no).unwrap()).collect()),
            (None, None) => {
                let reason = Reason::new(ReasonKind::Api, "the list cannot be read");
                Err(ReadError { reason, trouble: ReadTrouble::Odd })
            }
        };
        Exchange { result, clock: ClockVerdict::Differs(outside.difference) }
    }

    async fn greet(&self) -> Exchange<Result<(), ReadError>> {
        let mut outside = self.outside.lock().unwrap();
        if let Some(error) = self.failure(&outside) {
            return Exchange { result: Err(error), clock: ClockVerdict::Unheard };
        }
        let now = outside.wall;
        outside.greeted.push(now);
        Exchange { result: Ok(()), clock: ClockVerdict::Differs(outside.difference) }
    }
}

impl Sky {
    /// What a batch with a bad server comes to.
    fn refuse_bad(&self, outside: &mut Outside, deed: Deed, numbers: &[String], now: i64) -> Option<Answer> {
        let (no, bad) = numbers.iter().find_map(|no| Some((no.clone(), *outside.bad.get(no)?)))?;
        let server = |code: &str, text: String| {
            let (layer, request_id, retry_after) = (Layer::Server, None, None);
            let refusal = Refusal { status: 400, layer, code: code.into(), text, request_id, retry_after };
            Some(Answer::Refused(refusal))
        };
        match bad {
            Bad::Named => server("1100904", format!("Operation of 1 servers failed. x({no}) : refused.")),
            Bad::Unnamed => server("1100904", "The operation failed.".into()),
            Bad::UnnamedOthersDone => {
                let others: Vec<String> = numbers.iter().filter(|other| **other != no).cloned().collect();
                let _ = outside.model.act(&self.key, deed, &others, |_| Mishap::None, now);
                server("1100904", "The operation failed.".into())
            }
            Bad::NoRoom => server("1100903", format!("x({no}) : Not enough capacity for the server spec.")),
            Bad::Fault => Some(refusal(503, "500", None)),
            Bad::Stuck => None,
        }
    }
}

pub(crate) struct Ear(pub(crate) Shared);

impl Notifier for Ear {
    fn tell(&self, notice: &Notice) {
        let is_hangul = |c: char| ('\u{ac00}'..='\u{d7a3}').contains(&c);
        assert!(notice.korean.chars().any(is_hangul), "nobody is told in Korean: {notice:?}");
        let mut outside = self.0.lock().unwrap();
        outside.notices.push(format!("{}: {}", notice.kind.word(), notice.text));
        outside.korean.push(notice.korean.clone());
    }

    fn summarize(&self, to: &NotifyName, _: Timestamp, told: &Told) {
        self.0.lock().unwrap().notices.push(format!("summary for {to}: {}", told.en));
    }
}
