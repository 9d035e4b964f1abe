//! The cloud as a state machine of servers. Pure: every call is told the time.

use std::collections::{BTreeMap, BTreeSet};

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The access key of the account that owns it.
    pub account: String,
    /// `serverInstanceNo`.
    pub no: String,
    /// `serverName`.
    pub name: String,
    /// `vpcNo`.
    pub vpc: String,
    /// `subnetNo`.
    pub subnet: String,
    /// `zoneCode`.
    pub zone: String,
    /// `serverSpecCode`.
    pub spec: String,
    /// A private address.
    pub ip: String,
    /// `hypervisorType.code`.
    pub hypervisor: String,
    /// `serverInstanceType.code`.
    pub kind: String,
    /// `serverProductCode`.
    pub product: String,
    /// Tags: key and value.
    pub tags: Vec<(String, String)>,
    /// How long it takes to boot, shortest and longest, in microseconds.
    pub boot: (i64, i64),
    /// `serverInstanceStatus.code`.
    pub status: String,
    /// `serverInstanceOperation.code`.
    pub operation: String,
    /// What it will turn into by itself, in order.
    course: Vec<Turn>,
    /// What it was: moment, status, operation; newest last.
    past: Vec<(i64, String, String)>,
}

/// A state to come.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Turn {
    at: i64,
    status: &'static str,
    operation: &'static str,
}

/// How many past states of a server are kept for stale reads.
const PAST_MAX: usize = 50;

impl Server {
    /// A server at rest in a state.
    #[must_use]
    pub fn new(account: &str, no: &str, name: &str, status: &str, operation: &str) -> Self {
        Self {
            account: account.into(),
            no: no.into(),
            name: name.into(),
            vpc: "75".into(),
            subnet: "36".into(),
            zone: "KR-1".into(),
            spec: "ci4-g3".into(),
            ip: String::new(),
            hypervisor: "KVM".into(),
            kind: "CPU".into(),
            product: "SVR.VSVR.CPU.C004.M008.G003".into(),
            tags: Vec::new(),
            boot: (2_000_000, 6_000_000),
            status: status.into(),
            operation: operation.into(),
            course: Vec::new(),
            past: vec![(i64::MIN, status.into(), operation.into())],
        }
    }

    /// Status and operation as they were at a moment.
    #[must_use]
    pub fn as_of(&self, moment: i64) -> (&str, &str) {
        let then = self.past.iter().rev().find(|(at, _, _)| *at <= moment).or(self.past.first());
        then.map_or((self.status.as_str(), self.operation.as_str()), |(_, status, operation)| {
            (status, operation)
        })
    }

    fn turn(&mut self, at: i64, status: &str, operation: &str) {
        self.status = status.into();
        self.operation = operation.into();
        self.past.push((at, status.into(), operation.into()));
        if self.past.len() > PAST_MAX {
            self.past.remove(0);
        }
    }
}

/// `serverInstanceStatusName` for a pair of codes.
#[must_use]
pub fn status_name(status: &str, operation: &str) -> &'static str {
    match (status, operation) {
        (_, "START") => "booting",
        (_, "SHTDN") => "shutting down",
        (_, "HSHTD") => "hard shutting down",
        (_, "RESTA") => "rebooting",
        (_, "HREST") => "hard rebooting",
        (_, "SETUP") => "setting up",
        (_, "TERMT") => "terminating",
        (_, "CHNG") => "changingSpec",
        (_, "COPY") => "copying",
        ("INIT", _) => "init",
        ("CREAT", _) => "creating",
        ("RUN", _) => "running",
        ("NSTOP", _) => "stopped",
        _ => "repairing",
    }
}

/// What a server's way takes it to, beside the ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It gets there.
    None,
    /// It falls back to where it was.
    FallsBack,
    /// It never gets there.
    Stuck,
}

/// A change of state that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When, in microseconds.
    pub at: i64,
    /// The account's access key.
    pub account: String,
    /// The server.
    pub no: String,
    /// Its new status.
    pub status: String,
    /// Its new operation.
    pub operation: String,
}

/// A refusal of the server API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// `returnCode`.
    pub code: String,
    /// `returnMessage`.
    pub text: String,
}

/// What is asked of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// `startServerInstances`.
    Start,
    /// `stopServerInstances`.
    Stop,
    /// `rebootServerInstances`.
    Reboot,
}

/// All servers.
#[derive(Debug, Clone)]
pub struct Model {
    servers: BTreeMap<(String, String), Server>,
    /// When servers change by themselves next.
    coming: BTreeSet<(i64, (String, String))>,
    chance: u64,
}

impl Model {
    /// A cloud with these servers; `seed` stands for chance.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = Server>, seed: u64) -> Self {
        let servers = servers.into_iter().map(|server| ((server.account.clone(), server.no.clone()), server));
        Self { servers: servers.collect(), coming: BTreeSet::new(), chance: seed }
    }

    /// A number below `bound`, from the seed.
    pub fn chance(&mut self, bound: i64) -> i64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.chance >> 33).unwrap_or(0) % bound.max(1)
    }

    /// Lets time pass: everything that is to have happened by now has happened.
    pub fn advance(&mut self, now: i64) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some((at, key)) = self.coming.first().cloned().filter(|(at, _)| *at <= now) {
            self.coming.pop_first();
            let Some(server) = self.servers.get_mut(&key) else { continue };
            // It may have been set on another course since.
            while server.course.first().is_some_and(|turn| turn.at <= at) {
                let turn = server.course.remove(0);
                server.turn(turn.at, turn.status, turn.operation);
                changes.push(change_of(server, turn.at));
            }
            if let Some(next) = server.course.first() {
                self.coming.insert((next.at, key));
            }
        }
        changes.sort_by_key(|change| change.at);
        changes
    }

    /// The servers of an account, in order of their numbers.
    pub fn of_account(&self, account: &str) -> impl Iterator<Item = &Server> {
        let from = (account.to_owned(), String::new());
        self.servers
            .range(from..)
            .map(|(_, server)| server)
            .take_while(move |server| server.account == account)
    }

    /// Those of an account that have one of these numbers, in order of their numbers, each once.
    pub fn named<'m>(&'m self, account: &str, numbers: &[String]) -> impl Iterator<Item = &'m Server> {
        let numbers: BTreeSet<(String, String)> =
            numbers.iter().map(|no| (account.to_owned(), no.clone())).collect();
        numbers.into_iter().filter_map(|key| self.servers.get(&key))
    }

    /// All servers.
    pub fn all(&self) -> impl Iterator<Item = &Server> {
        self.servers.values()
    }

    /// Puts a server into a state by force, as a person or another program would.
    pub fn force(
        &mut self,
        account: &str,
        no: &str,
        status: &str,
        operation: &str,
        now: i64,
    ) -> Option<Change> {
        let server = self.servers.get_mut(&(account.to_owned(), no.to_owned()))?;
        server.course.clear();
        server.turn(now, status, operation);
        Some(change_of(server, now))
    }

    /// Carries a deed out for every server that can take it; names the others.
    ///
    /// # Errors
    /// [`Refused`] names the servers that could not take it. The others were acted on all the same.
    pub fn act(
        &mut self,
        account: &str,
        deed: Deed,
        numbers: &[String],
        mishap: impl Fn(&str) -> Mishap,
        now: i64,
    ) -> (Vec<Change>, Result<(), Refused>) {
        let (mut changes, mut bad) = (Vec::new(), Vec::new());
        for no in numbers {
            let length = self.length_for(account, no);
            match self.servers.get_mut(&(account.to_owned(), no.clone())) {
                None => bad.push(("1300", format!("unknown({no}) : The server does not exist."))),
                Some(server) => match refusal(server, deed) {
                    Some((code, reason)) => bad.push((code, format!("{}({no}) : {reason}", server.name))),
                    None => {
                        changes.push(set_off(server, deed, mishap(no), length, now));
                        let key = (account.to_owned(), no.clone());
                        self.coming.extend(server.course.first().map(|turn| (turn.at, key)));
                    }
                },
            }
        }
        (changes, refused(&bad))
    }

    fn length_for(&mut self, account: &str, no: &str) -> i64 {
        let boot =
            self.servers.get(&(account.to_owned(), no.to_owned())).map_or((0, 0), |server| server.boot);
        boot.0 + self.chance(boot.1 - boot.0 + 1)
    }
}

fn refused(bad: &[(&'static str, String)]) -> Result<(), Refused> {
    let Some((code, _)) = bad.first() else {
        return Ok(());
    };
    let reasons: Vec<&str> = bad.iter().map(|(_, reason)| reason.as_str()).collect();
    let text = format!("Operation of {} servers failed. {}", bad.len(), reasons.join(" "));
    Err(Refused { code: (*code).to_owned(), text })
}

/// Why a server cannot take a deed now. The codes for a wrong state are made up: none is published.
fn refusal(server: &Server, deed: Deed) -> Option<(&'static str, &'static str)> {
    if server.operation != "NULL" {
        return Some(("3001008", "The storage allocated to the server is being manipulated."));
    }
    match (deed, server.status.as_str()) {
        (Deed::Start, "NSTOP" | "FSTOP" | "ST_FL" | "SD_FL" | "RS_FL")
        | (Deed::Stop | Deed::Reboot, "RUN") => None,
        (Deed::Start, _) => Some(("1100901", "The server is not stopped.")),
        (Deed::Stop | Deed::Reboot, _) => Some(("1100902", "The server is not running.")),
    }
}

fn set_off(server: &mut Server, deed: Deed, mishap: Mishap, length: i64, now: i64) -> Change {
    let from: &'static str = if server.status == "RUN" { "RUN" } else { "NSTOP" };
    let (operation, course): (&str, Vec<(i64, &'static str, &'static str)>) = match (deed, mishap) {
        (Deed::Start, Mishap::None) => {
            ("START", vec![(length * 7 / 10, "RUN", "SETUP"), (length, "RUN", "NULL")])
        }
        (Deed::Stop, Mishap::None) => ("SHTDN", vec![(length, "NSTOP", "NULL")]),
        (Deed::Reboot, _) => ("RESTA", vec![(length, "RUN", "NULL")]),
        (Deed::Start, Mishap::FallsBack) => ("START", vec![(length, from, "NULL")]),
        (Deed::Stop, Mishap::FallsBack) => ("SHTDN", vec![(length, from, "NULL")]),
        (Deed::Start, Mishap::Stuck) => ("START", vec![]),
        (Deed::Stop, Mishap::Stuck) => ("SHTDN", vec![]),
    };
    server.turn(now, from, operation);
    server.course = course
        .into_iter()
        .map(|(after, status, operation)| Turn { at: now + after, status, operation })
        .collect();
    change_of(server, now)
}

fn change_of(server: &Server, at: i64) -> Change {
    Change {
        at,
        account: server.account.clone(),
        no: server.no.clone(),
        status: server.status.clone(),
        operation: server.operation.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let mut server = Server::new("access", "1001", "srv-1001", "NSTOP", "NULL");
        server.boot = (10, 10);
        Model::new([server], 1)
    }

    fn act(model: &mut Model, deed: Deed, mishap: Mishap, now: i64) -> Result<(), Refused> {
        model.act("access", deed, &["1001".into()], |_| mishap, now).1
    }

    fn state(model: &Model) -> String {
        model.all().map(|server| format!("{}/{}", server.status, server.operation)).collect()
    }

    #[test]
    fn a_start_goes_over_booting_and_setup_to_running() {
        let mut model = model();

        act(&mut model, Deed::Start, Mishap::None, 0).unwrap();
        assert_eq!(state(&model), "NSTOP/START");
        model.advance(7);
        assert_eq!(state(&model), "RUN/SETUP");
        model.advance(10);
        assert_eq!(state(&model), "RUN/NULL");

        act(&mut model, Deed::Stop, Mishap::None, 20).unwrap();
        assert_eq!(state(&model), "RUN/SHTDN");
        model.advance(30);
        assert_eq!(state(&model), "NSTOP/NULL");
    }

    #[test]
    fn mishaps_fall_back_or_never_finish() {
        let (mut falls, mut stuck) = (model(), model());

        act(&mut falls, Deed::Start, Mishap::FallsBack, 0).unwrap();
        act(&mut stuck, Deed::Start, Mishap::Stuck, 0).unwrap();
        falls.advance(1000);
        stuck.advance(1000);

        assert_eq!((state(&falls).as_str(), state(&stuck).as_str()), ("NSTOP/NULL", "NSTOP/START"));
    }

    #[test]
    fn a_wrong_state_is_refused_with_the_servers_name_and_number() {
        let mut model = model();

        let not_running = act(&mut model, Deed::Stop, Mishap::None, 0).unwrap_err();
        act(&mut model, Deed::Start, Mishap::None, 0).unwrap();
        let busy = act(&mut model, Deed::Start, Mishap::None, 1).unwrap_err();
        let unknown = model.act("access", Deed::Start, &["9".into()], |_| Mishap::None, 1).1.unwrap_err();

        assert!(not_running.text.contains("srv-1001(1001)"), "{not_running:?}");
        assert_eq!(busy.code, "3001008");
        assert!(unknown.text.contains("(9)"), "{unknown:?}");
    }

    #[test]
    fn a_past_state_can_be_asked_for() {
        let mut model = model();
        act(&mut model, Deed::Start, Mishap::None, 100).unwrap();
        model.advance(200);

        let server = model.all().next().unwrap();

        assert_eq!(server.as_of(50), ("NSTOP", "NULL"));
        assert_eq!(server.as_of(105), ("NSTOP", "START"));
        assert_eq!(server.as_of(300), ("RUN", "NULL"));
    }
}
