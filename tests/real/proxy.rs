//! A TCP proxy between the daemon and the sandbox that stops at named places of a request until the test says how it goes on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::wait::HANG;

/// How far a request or its answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The request has arrived here, and the cloud has nothing of it.
    Asked,
    /// The cloud has half of the request.
    HalfAsked,
    /// The cloud has the request; its answer is not waited for.
    Passed,
    /// The answer has arrived here, and the daemon has nothing of it.
    Answered,
    /// The daemon has half of the answer.
    HalfAnswered,
    /// The daemon has the answer.
    Delivered,
}

impl Place {
    pub(crate) const ALL: [Self; 6] =
        [Self::Asked, Self::HalfAsked, Self::Passed, Self::Answered, Self::HalfAnswered, Self::Delivered];
}

/// Where to stop: the first request of an operation, perhaps only after one of another operation was delivered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) operation: &'static str,
    pub(crate) after: Option<&'static str>,
    pub(crate) place: Place,
}

/// How it goes on.
enum Go {
    On,
    Cut,
}

struct Trap {
    point: Point,
    hit: Sender<Sender<Go>>,
}

/// What is asked for is waited for here.
pub(crate) struct Hit(Receiver<Sender<Go>>);

/// A request that stands still; without an answer it does so until the end of the test, as if the network held it.
pub(crate) struct Held(Sender<Go>);

impl Hit {
    pub(crate) fn wait(&self) -> Held {
        Held(self.0.recv_timeout(HANG).expect("the point was not reached"))
    }
}

impl Held {
    /// Both connections are closed; what was on its way is lost.
    pub(crate) fn cut(&self) {
        let _ = self.0.send(Go::Cut);
    }

    /// The request goes on as if nothing had been.
    pub(crate) fn pass(&self) {
        let _ = self.0.send(Go::On);
    }
}

#[derive(Default)]
struct Plan {
    traps: Vec<Trap>,
    delivered: Vec<String>,
}

/// The proxy; it lives as long as the test's process.
pub(crate) struct Proxy {
    /// Where the daemon finds it.
    pub(crate) endpoint: String,
    plan: Arc<Mutex<Plan>>,
}

impl Proxy {
    pub(crate) fn before(endpoint: &str) -> Self {
        let cloud = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let plan = Arc::new(Mutex::new(Plan::default()));
        let shared = plan.clone();
        thread::spawn(move || {
            for daemon in listener.incoming().map_while(Result::ok) {
                let (plan, cloud) = (shared.clone(), cloud.clone());
                thread::spawn(move || {
                    let _ = TcpStream::connect(cloud).map(|cloud| serve(&plan, &daemon, &cloud));
                });
            }
        });
        Self { endpoint, plan }
    }

    /// Stops the first request that comes to the point.
    pub(crate) fn stop_at(&self, point: Point) -> Hit {
        let (hit, reached) = channel();
        self.plan.lock().unwrap().traps.push(Trap { point, hit });
        Hit(reached)
    }
}

/// Carries requests and answers, one after the other, until either side ends or a trap cuts.
fn serve(plan: &Mutex<Plan>, daemon: &TcpStream, cloud: &TcpStream) {
    let mut from_daemon = BufReader::new(daemon);
    let mut from_cloud = BufReader::new(cloud);
    while carry(plan, &mut from_daemon, &mut from_cloud).is_some() {}
    let _ = daemon.shutdown(Shutdown::Both);
    let _ = cloud.shutdown(Shutdown::Both);
}

fn carry(
    plan: &Mutex<Plan>,
    from_daemon: &mut BufReader<&TcpStream>,
    from_cloud: &mut BufReader<&TcpStream>,
) -> Option<()> {
    let request = message(from_daemon)?;
    let first = String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next()?).into_owned();
    let path = first.split([' ', '?']).nth(1)?;
    let operation = path.rsplit('/').next()?.to_owned();
    let trap = take_trap(plan, &operation);
    let reach = |place: Place| match &trap {
        Some(trap) if trap.point.place == place => {
            let (go, goes) = channel();
            trap.hit.send(go).ok()?;
            matches!(goes.recv().ok()?, Go::On).then_some(())
        }
        _ => Some(()),
    };
    let (mut daemon, mut cloud) = (*from_daemon.get_ref(), *from_cloud.get_ref());

    reach(Place::Asked)?;
    let (head, tail) = request.split_at(request.len() / 2);
    cloud.write_all(head).ok()?;
    reach(Place::HalfAsked)?;
    cloud.write_all(tail).ok()?;
    reach(Place::Passed)?;
    let answer = message(from_cloud)?;
    reach(Place::Answered)?;
    let (head, tail) = answer.split_at(answer.len() / 2);
    daemon.write_all(head).ok()?;
    reach(Place::HalfAnswered)?;
    daemon.write_all(tail).ok()?;
    reach(Place::Delivered)?;
    plan.lock().unwrap().delivered.push(operation);
    Some(())
}

fn take_trap(plan: &Mutex<Plan>, operation: &str) -> Option<Trap> {
    let mut plan = plan.lock().unwrap();
    let Plan { traps, delivered } = &mut *plan;
    let index = traps.iter().position(|trap| {
        let ready = trap.point.after.is_none_or(|after| delivered.iter().any(|done| done == after));
        trap.point.operation == operation && ready
    })?;
    Some(traps.remove(index))
}

/// One message with its body, as its `Content-Length` says.
fn message(from: &mut BufReader<&TcpStream>) -> Option<Vec<u8>> {
    let (mut whole, mut length) = (Vec::new(), 0);
    loop {
        let began = whole.len();
        from.read_until(b'\n', &mut whole).ok().filter(|read| *read > 0)?;
        let line = String::from_utf8_lossy(&whole[began..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    whole.extend(body);
    Some(whole)
}
