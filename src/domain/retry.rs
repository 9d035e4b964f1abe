//! What an answer of the cloud says about the deed: surely not done, maybe done, or hopeless; and how long to wait.

use std::collections::BTreeSet;
use std::time::Duration;

use super::name::ServerNo;
use super::outcome::{Reason, ReasonKind};

/// Which part of the cloud an error body comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The API gateway: `{"error": {"errorCode": …}}`.
    Gateway,
    /// The server API behind it: `{"responseError": {"returnCode": …}}`.
    Server,
    /// Nobody that we know: HTML, nothing, half a document, or a success that is none.
    Unreadable,
}

/// An answer other than success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Where it comes from.
    pub layer: Layer,
    /// `errorCode` or `returnCode`; empty where the body has none.
    pub code: String,
    /// The cloud's own text, unchanged, or the first bytes of an unreadable body.
    pub text: String,
    /// The request id, where the answer has one.
    pub request_id: Option<String>,
    /// The wait that the answer asked for.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// The refusal for people: status, code, text and request id, unchanged.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = format!("HTTP {}", self.status);
        if !self.code.is_empty() {
            words.push_str(&format!(", code {}", self.code));
        }
        if !self.text.is_empty() {
            words.push_str(&format!(": {}", self.text));
        }
        if let Some(id) = &self.request_id {
            words.push_str(&format!(" (request {id})"));
        }
        words
    }
}

/// What came of one mutating request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A success: the cloud took it and listed these servers.
    Accepted {
        /// The numbers in the answer's list.
        listed: BTreeSet<ServerNo>,
        /// The request id, where the answer has one.
        request_id: Option<String>,
    },
    /// An answer other than success.
    Refused(Refusal),
    /// Nothing was written to the wire: no address, no connection, no TLS, no keys.
    NotSent(Reason),
    /// It was not sent: others of the account were on the wire for long, or one of them failed. It is decided again.
    Withheld,
    /// Something was written and no whole answer came back.
    Unanswered(Reason),
}

/// How long to wait before asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Full jitter: up to [`BACKOFF_BASE`], doubled with each try, at most [`BACKOFF_MAX`].
    Backoff,
    /// Just this long.
    Fixed(Duration),
}

/// Whether anything was heard of a request that may have worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// An answer came: the deed, if done, shows soon.
    Answer,
    /// Nothing came: the request may still be on its way.
    Nothing,
}

/// What follows if a read shows that a request which may have worked did nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Ask again after the wait.
    Retry {
        /// How long to wait.
        wait: Wait,
        /// How many servers the next request may name.
        batch_max: usize,
    },
    /// The cloud will not do it.
    Fail,
}

/// What an answer means for one server of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aftermath {
    /// The cloud took it.
    Accepted,
    /// Surely not done.
    NotDone {
        /// Why.
        reason: Reason,
        /// How long to wait.
        wait: Wait,
        /// How many servers the next request may name.
        batch_max: usize,
    },
    /// It may have been done: a read decides.
    MaybeDone {
        /// Why nobody knows.
        reason: Reason,
        /// Whether an answer came.
        heard: Heard,
        /// What follows if it was not done.
        then: Then,
    },
    /// Surely not done, and repeating cannot mend it.
    Hopeless(Reason),
    /// Nothing was tried: it is as if nothing had been decided.
    Undecided,
}

/// The longest first wait of a back-off.
pub const BACKOFF_BASE: Duration = Duration::from_millis(500);
/// The longest wait of a back-off.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The wait between careful tries while the gateway says `200`: key, signature or clock wrong.
pub const KEYS_WAIT: Duration = Duration::from_secs(30);
/// The wait between careful tries while the gateway says `210`: permission denied.
pub const PERMISSION_WAIT: Duration = Duration::from_mins(2);
/// The wait after "being manipulated" and its like.
pub const BUSY_WAIT: Duration = Duration::from_secs(7);
/// The wait while the cloud has no room.
pub const CAPACITY_WAIT: Duration = Duration::from_mins(3);

/// Codes of the server API that pass by themselves, seen in public reports or retried by the provider's own software.
const PASSING_CODES: [&str; 7] = ["3001008", "1000", "3000100", "1007009", "3000", "1250000", "1200004"];
/// Texts that speak of something that passes.
const PASSING_TEXTS: [&str; 4] = ["being manipulated", "in operation", "try again", "later"];
/// Texts that speak of missing room. No code for it is published.
const CAPACITY_TEXTS: [&str; 4] = ["capacity", "insufficient", "not enough", "resource"];

/// What an answer means for `server`, one of the `servers` of the request.
#[must_use]
pub fn aftermath(answer: &Answer, server: &ServerNo, servers: &[ServerNo]) -> Aftermath {
    let batch = servers.len();
    match answer {
        Answer::Accepted { listed, .. } if listed.contains(server) => Aftermath::Accepted,
        Answer::Accepted { .. } => Aftermath::MaybeDone {
            reason: Reason::new(ReasonKind::Api, "the answer was a success but did not list the server"),
            heard: Heard::Answer,
            then: Then::Retry { wait: Wait::Backoff, batch_max: batch },
        },
        Answer::NotSent(reason) if reason.kind == ReasonKind::Credentials => {
            Aftermath::NotDone { reason: reason.clone(), wait: Wait::Fixed(KEYS_WAIT), batch_max: batch }
        }
        Answer::NotSent(reason) => {
            Aftermath::NotDone { reason: reason.clone(), wait: Wait::Backoff, batch_max: batch }
        }
        Answer::Withheld => Aftermath::Undecided,
        Answer::Unanswered(reason) => Aftermath::MaybeDone {
            reason: reason.clone(),
            heard: Heard::Nothing,
            then: Then::Retry { wait: Wait::Backoff, batch_max: batch },
        },
        Answer::Refused(refusal) => after_refusal(refusal, server, servers),
    }
}

fn after_refusal(refusal: &Refusal, server: &ServerNo, servers: &[ServerNo]) -> Aftermath {
    let batch = servers.len();
    let reason = |kind| Reason::new(kind, refusal.words());
    let not_done = |kind, wait, batch_max| Aftermath::NotDone { reason: reason(kind), wait, batch_max };
    let maybe = |kind, then| Aftermath::MaybeDone { reason: reason(kind), heard: Heard::Answer, then };
    let again = Then::Retry { wait: Wait::Backoff, batch_max: batch };
    // One server may be what the cloud stumbles over: in two steps it is alone, and a short fault does not cost a request each.
    let after_fault = Then::Retry { wait: Wait::Backoff, batch_max: if batch > 5 { 5 } else { 1 } };
    match refusal.status {
        429 => {
            let wait = refusal.retry_after.map_or(Wait::Backoff, Wait::Fixed);
            not_done(ReasonKind::Throttled, wait, batch)
        }
        401 if refusal.code == "210" => {
            not_done(ReasonKind::Credentials, Wait::Fixed(PERMISSION_WAIT), batch)
        }
        401 => not_done(ReasonKind::Credentials, Wait::Fixed(KEYS_WAIT), batch),
        413 if batch > 1 => not_done(ReasonKind::Refused, Wait::Fixed(Duration::ZERO), batch / 2),
        300..=399 | 403 | 413 => Aftermath::Hopeless(reason(ReasonKind::Refused)),
        404 if refusal.layer == Layer::Gateway => Aftermath::Hopeless(reason(ReasonKind::Refused)),
        400 if refusal.layer == Layer::Gateway => Aftermath::Hopeless(reason(ReasonKind::Refused)),
        500..=599 => maybe(kind_of(refusal, server, servers), after_fault),
        _ if refusal.layer == Layer::Server => {
            maybe(kind_of(refusal, server, servers), after_server_error(refusal, server, servers))
        }
        200..=299 | 408 => maybe(ReasonKind::Api, again),
        _ => maybe(ReasonKind::Refused, Then::Fail),
    }
}

/// The kind of an error, for one server of the request: that there is no room is said of the servers that the text names, or
/// of the only one.
fn kind_of(refusal: &Refusal, server: &ServerNo, servers: &[ServerNo]) -> ReasonKind {
    let is_about_it = is_named(refusal, server) || servers.len() == 1;
    if refusal.layer == Layer::Server && is_about_it && has_no_room(refusal, servers) {
        ReasonKind::Capacity
    } else {
        ReasonKind::Api
    }
}

/// `NAME(NUMBER)` is the form in which the cloud names the server that an error is about.
fn is_named(refusal: &Refusal, no: &ServerNo) -> bool {
    refusal.text.contains(&format!("({no})"))
}

/// Whether the cloud says that it has no room. What servers are called says nothing about it, and known codes mean what they mean.
fn has_no_room(refusal: &Refusal, servers: &[ServerNo]) -> bool {
    let is_name = |word: &&str| servers.iter().any(|no| word.contains(&format!("({no})")));
    let words: Vec<&str> = refusal.text.split_whitespace().filter(|word| !is_name(word)).collect();
    !PASSING_CODES.contains(&refusal.code.as_str()) && speaks_of(&words.join(" "), &CAPACITY_TEXTS)
}

fn after_server_error(refusal: &Refusal, server: &ServerNo, servers: &[ServerNo]) -> Then {
    let batch = servers.len();
    let named = is_named(refusal, server);
    if !named && servers.iter().any(|other| is_named(refusal, other)) {
        // The error speaks of another server of the batch; this one may have been left out only because of it.
        return Then::Retry { wait: Wait::Fixed(Duration::ZERO), batch_max: batch };
    }
    if !named && batch > 1 {
        // Nobody knows whom it means: requests for one server each tell, within the rate.
        return Then::Retry { wait: Wait::Fixed(Duration::ZERO), batch_max: 1 };
    }
    if has_no_room(refusal, servers) {
        return Then::Retry { wait: Wait::Fixed(CAPACITY_WAIT), batch_max: batch };
    }
    if PASSING_CODES.contains(&refusal.code.as_str()) || speaks_of(&refusal.text, &PASSING_TEXTS) {
        return Then::Retry { wait: Wait::Fixed(BUSY_WAIT), batch_max: batch };
    }
    Then::Fail
}

fn speaks_of(text: &str, markers: &[&str]) -> bool {
    let text = text.to_lowercase();
    markers.iter().any(|marker| text.contains(marker))
}

/// How long the wait is for the `tries`-th try in a row (from 1), where `seed` stands for chance.
///
/// Chance comes from outside the program's state, so that the same progress always waits equally long.
#[must_use]
pub fn wait_for(wait: Wait, tries: u32, seed: u64) -> Duration {
    match wait {
        Wait::Fixed(wait) => wait,
        Wait::Backoff => {
            let doubled = BACKOFF_BASE.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1).min(16)));
            let longest = doubled.min(BACKOFF_MAX);
            let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
            Duration::from_millis(scramble(seed) % (millis + 1))
        }
    }
}

/// A well-mixed number from a seed (the finaliser of splitmix64).
#[must_use]
pub fn scramble(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no(text: &str) -> ServerNo {
        ServerNo::parse(text).unwrap()
    }

    fn refused(status: u16, layer: Layer, code: &str, text: &str) -> Answer {
        let retry_after = None;
        Answer::Refused(Refusal {
            status,
            layer,
            code: code.into(),
            text: text.into(),
            request_id: None,
            retry_after,
        })
    }

    fn verdict(answer: &Answer, batch: usize) -> String {
        let servers: Vec<ServerNo> = (1001..).take(batch).map(|n: u32| no(&n.to_string())).collect();
        match aftermath(answer, &no("1001"), &servers) {
            Aftermath::Accepted => "accepted".into(),
            Aftermath::NotDone { reason, wait, batch_max } => {
                format!("not done ({}), {}, batch {batch_max}", reason.kind.word(), show(wait))
            }
            Aftermath::MaybeDone { then: Then::Retry { wait, batch_max }, reason, .. } => {
                format!("look ({}), then {}, batch {batch_max}", reason.kind.word(), show(wait))
            }
            Aftermath::MaybeDone { then: Then::Fail, reason, .. } => {
                format!("look ({}), then fail", reason.kind.word())
            }
            Aftermath::Hopeless(reason) => format!("hopeless ({})", reason.kind.word()),
            Aftermath::Undecided => "undecided".into(),
        }
    }

    fn show(wait: Wait) -> String {
        match wait {
            Wait::Backoff => "back off".into(),
            Wait::Fixed(wait) => format!("wait {}s", wait.as_secs()),
        }
    }

    #[test]
    fn every_row_of_the_gateway_table_decides_what_is_done_next() {
        let table = [
            (400, "100", "hopeless (refused)"),
            (401, "200", "not done (credentials), wait 30s, batch 1"),
            (401, "210", "not done (credentials), wait 120s, batch 1"),
            (403, "", "hopeless (refused)"),
            (404, "300", "hopeless (refused)"),
            (413, "430", "hopeless (refused)"),
            (429, "400", "not done (throttled), back off, batch 1"),
            (429, "410", "not done (throttled), back off, batch 1"),
            (429, "420", "not done (throttled), back off, batch 1"),
            (500, "900", "look (api), then back off, batch 1"),
            (503, "500", "look (api), then back off, batch 1"),
            (504, "510", "look (api), then back off, batch 1"),
            (302, "", "hopeless (refused)"),
            (200, "210", "look (api), then back off, batch 1"),
        ];

        for (status, code, want) in table {
            assert_eq!(
                verdict(&refused(status, Layer::Gateway, code, "x"), 1),
                want,
                "HTTP {status}, code {code}"
            );
        }
        let too_large = refused(413, Layer::Gateway, "430", "Request Entity Too Large");
        assert_eq!(verdict(&too_large, 20), "not done (refused), wait 0s, batch 10");
    }

    #[test]
    fn every_row_of_the_server_table_decides_what_is_done_next() {
        let manipulated = "Operation of 1 servers failed. web-1(1001) : The storage allocated to the server is being manipulated.";
        let table = [
            (400, "3001008", manipulated, "look (api), then wait 7s, batch 1"),
            (400, "1100031", "The server cannot be controlled by the NCLOD API.", "look (api), then fail"),
            (500, "1000", "Please try your call again later.", "look (api), then back off, batch 1"),
            (500, "3000100", "External interworking failed.", "look (api), then back off, batch 1"),
            (400, "1007009", "another settings change is in progress", "look (api), then wait 7s, batch 1"),
            (400, "3000", "please", "look (api), then wait 7s, batch 1"),
            (400, "1250000", "please", "look (api), then wait 7s, batch 1"),
            (400, "1200004", "busy", "look (api), then wait 7s, batch 1"),
            (400, "1401", "product not found", "look (api), then fail"),
            (400, "10712", "product not found", "look (api), then fail"),
            (400, "800", "authority or parameter error", "look (api), then fail"),
            (400, "1300", "unknown error", "look (api), then fail"),
            (400, "25013", "an object is being worked on", "look (api), then fail"),
            (400, "25017", "a server is being worked on", "look (api), then fail"),
            (400, "25033", "a port forwarding is being worked on", "look (api), then fail"),
            (400, "23006", "create and terminate overlap", "look (api), then fail"),
            (400, "23003", "earlier termination unfinished", "look (api), then fail"),
            (400, "24002", "disk still mounted", "look (api), then fail"),
            (400, "99999", "the server is in operation", "look (api), then wait 7s, batch 1"),
            (400, "99999", "no such thing", "look (api), then fail"),
            (400, "99999", "Not enough capacity for the spec.", "look (capacity), then wait 180s, batch 1"),
            (200, "3001008", manipulated, "look (api), then wait 7s, batch 1"),
        ];

        for (status, code, text, want) in table {
            assert_eq!(
                verdict(&refused(status, Layer::Server, code, text), 1),
                want,
                "HTTP {status}, code {code}: {text}"
            );
        }
    }

    #[test]
    fn one_bad_server_of_a_batch_is_told_from_the_others() {
        let other = refused(400, Layer::Server, "99999", "Operation of 1 servers failed. web-2(1002) : no.");
        let me = refused(400, Layer::Server, "99999", "Operation of 1 servers failed. web-1(1001) : no.");
        let stranger = refused(400, Layer::Server, "99999", "Operation failed (70707).");
        let nobody = refused(400, Layer::Server, "99999", "Operation failed.");

        assert_eq!(verdict(&other, 20), "look (api), then wait 0s, batch 20");
        assert_eq!(verdict(&me, 20), "look (api), then fail");
        assert_eq!(verdict(&stranger, 1), "look (api), then fail");
        let named_badly = refused(400, Layer::Server, "99999", "resource-api-1(1001) : no.");
        let fault = refused(503, Layer::Gateway, "500", "Endpoint Error");
        assert_eq!(verdict(&nobody, 20), "look (api), then wait 0s, batch 1");
        assert_eq!(verdict(&named_badly, 1), "look (api), then fail", "a name says nothing about room");
        assert_eq!(verdict(&fault, 20), "look (api), then back off, batch 5");
        assert_eq!(verdict(&fault, 5), "look (api), then back off, batch 1");
        assert_eq!(verdict(&nobody, 1), "look (api), then fail");
    }

    #[test]
    fn what_was_never_sent_is_surely_not_done_and_a_lost_answer_is_looked_after() {
        let refused_keys = Answer::NotSent(Reason::new(ReasonKind::Credentials, "no key"));
        let no_connection = Answer::NotSent(Reason::new(ReasonKind::Unreachable, "connection refused"));
        let lost = Answer::Unanswered(Reason::new(ReasonKind::NoAnswer, "reset"));

        assert_eq!(verdict(&refused_keys, 1), "not done (credentials), wait 30s, batch 1");
        assert_eq!(verdict(&no_connection, 1), "not done (unreachable), back off, batch 1");
        assert_eq!(verdict(&Answer::Withheld, 1), "undecided");
        assert_eq!(verdict(&lost, 1), "look (no-answer), then back off, batch 1");
        assert!(matches!(
            aftermath(&lost, &no("1001"), &[no("1001")]),
            Aftermath::MaybeDone { heard: Heard::Nothing, .. }
        ));
    }

    #[test]
    fn a_server_that_an_accepted_answer_does_not_list_is_looked_after() {
        let accepted = Answer::Accepted { listed: [no("1001")].into(), request_id: None };

        let both = [no("1001"), no("1002")];
        assert_eq!(aftermath(&accepted, &no("1001"), &both), Aftermath::Accepted);
        assert!(matches!(aftermath(&accepted, &no("1002"), &both), Aftermath::MaybeDone { .. }));
    }

    #[test]
    fn unreadable_answers_are_maybe_done() {
        assert_eq!(
            verdict(&refused(200, Layer::Unreadable, "", "<html>"), 1),
            "look (api), then back off, batch 1"
        );
        assert_eq!(
            verdict(&refused(502, Layer::Unreadable, "", "<html>"), 1),
            "look (api), then back off, batch 1"
        );
        assert_eq!(verdict(&refused(404, Layer::Unreadable, "", "<html>"), 1), "look (refused), then fail");
    }

    #[test]
    fn the_wait_that_the_cloud_named_is_kept() {
        let asked = Answer::Refused(Refusal {
            status: 429,
            layer: Layer::Gateway,
            code: "420".into(),
            text: "Rate Limited".into(),
            request_id: None,
            retry_after: Some(Duration::from_secs(20)),
        });

        assert_eq!(verdict(&asked, 1), "not done (throttled), wait 20s, batch 1");
    }

    #[test]
    fn back_off_is_jittered_doubles_and_has_a_cap() {
        for tries in 1..40 {
            let longest = (0..200).map(|seed| wait_for(Wait::Backoff, tries, seed)).max().unwrap();
            let shortest = (0..200).map(|seed| wait_for(Wait::Backoff, tries, seed)).min().unwrap();
            let cap = BACKOFF_BASE.saturating_mul(2_u32.saturating_pow(tries - 1)).min(BACKOFF_MAX);
            assert!(longest <= cap, "try {tries}: {longest:?} > {cap:?}");
            assert!(
                longest > cap * 9 / 10 && shortest < cap / 10,
                "try {tries}: {shortest:?} to {longest:?} of {cap:?}"
            );
        }
    }
}
