//! The office through which notices go out: gathered, kept on disk, and tried until they have arrived, each receiver on its own.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use super::LogNotifier;
use super::courier;
use super::message::{Item, Message};
use super::spool::{Spool, WAITING_MAX};
use crate::domain::hash;
use crate::domain::name::NotifyName;
use crate::domain::notice::{Language, Notice, NoticeKind, Told};
use crate::ports::clock::Clock;
use crate::ports::notifier::Notifier;
use crate::settings::{Notify, Settings};

/// How many notices may wait for the office itself.
const INBOX_MAX: usize = 10_000;
/// The most notices in one message.
const BATCH_MAX: usize = 500;
/// The same is not told again within this time.
const QUIET: Duration = Duration::from_hours(1);
/// The first wait after a failed delivery; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// The longest wait.
const RETRY_MAX: Duration = Duration::from_mins(10);
/// What could not be told for so long is given up.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// With nothing to tell the office looks again after so long.
const IDLE: Duration = Duration::from_hours(1);
/// What was left from before a restart is told so soon after it.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(2);

/// The settings in force, which a reload replaces.
pub type InForce = Arc<Mutex<Arc<Settings>>>;

/// Tells people through the notifiers of the settings in force, and the log.
#[derive(Debug, Clone)]
pub struct News {
    inbox: mpsc::Sender<Post>,
}

/// What is handed in.
#[derive(Debug)]
enum Post {
    Notice(Notice),
    /// For one notifier alone, whatever else it wants to know.
    Summary(NotifyName, Timestamp, Told),
}

impl News {
    /// Opens the office; what was not told before a restart is told now. `folder` is where notices wait.
    #[must_use]
    pub fn open(folder: PathBuf, settings: InForce, clock: Arc<dyn Clock>) -> Self {
        let (inbox, notices) = mpsc::channel(INBOX_MAX);
        let office = Office::new(Spool::new(folder), settings, clock);
        tokio::spawn(office.run(notices));
        Self { inbox }
    }
}

impl Notifier for News {
    fn tell(&self, notice: &Notice) {
        LogNotifier.tell(notice);
        if self.inbox.try_send(Post::Notice(notice.clone())).is_err() {
            tracing::error!("a notice could not be passed on to the notifiers; it stands in the log alone");
        }
    }

    fn summarize(&self, to: &NotifyName, at: Timestamp, told: &Told) {
        LogNotifier.summarize(to, at, told);
        if self.inbox.try_send(Post::Summary(to.clone(), at, told.clone())).is_err() {
            tracing::error!("a summary could not be passed on to notifier {to}; it stands in the log alone");
        }
    }
}

/// Sends one message that says that it is a test.
///
/// # Errors
/// Why it did not arrive.
pub async fn test(notify: &Notify, who: &str, language: Language, clock: &dyn Clock) -> Result<(), String> {
    let now = clock.now();
    let text = language.pick(
        format!(
            "This is a test of notifier {} by {who}. Nothing happened, and nothing needs to be done.",
            notify.name
        ),
        format!("{who}이(가) 알림 {}을(를) 시험했습니다. 아무 일도 없었고, 할 일도 없습니다.", notify.name),
    );
    let item = Item::by_itself("test", now, text);
    let id = format!("msg_{:016x}", hash::stable(&format!("test {} {now}", notify.name)));
    courier::deliver(notify, &Message { id, host: host(), language, items: vec![item] }, now).await
}

/// What waits for one receiver.
#[derive(Debug, Default)]
struct Outbox {
    waiting: VecDeque<(u64, Item)>,
    /// How many of them, from the first on, make up the message that is under way or is tried again.
    batch: Option<usize>,
    is_under_way: bool,
    /// When it is sent, in time since boot.
    next: Option<Duration>,
    tries: u32,
    /// What was told lately, when in time since boot, and how often it came again since.
    told: BTreeMap<String, (Duration, u32)>,
}

impl Outbox {
    /// `None` if the same was told a short while ago; otherwise how often it was left out since it was told. News that something is
    /// well again lets everything be told anew.
    fn repeats(&mut self, notice: &Notice, now: Duration) -> Option<u32> {
        if notice.kind == NoticeKind::Recovered {
            self.told.clear();
            return Some(0);
        }
        self.told.retain(|_, (told, _)| now.saturating_sub(*told) < QUIET.saturating_mul(2));
        let key = same_words(notice);
        match self.told.get_mut(&key) {
            Some((told, count)) if now.saturating_sub(*told) < QUIET => {
                *count += 1;
                None
            }
            known => {
                let before = known.map_or(0, |(_, count)| *count);
                self.told.insert(key, (now, 0));
                Some(before)
            }
        }
    }
}

/// What two notices have in common that tell the same: kind, rule and words, but for numbers of runs, moments and lengths of time.
fn same_words(notice: &Notice) -> String {
    let mut key = format!("{} {:?}", notice.kind.word(), notice.about.rule);
    let mut before = "";
    for word in notice.text.split_whitespace() {
        let is_number = word.chars().any(|c| c.is_ascii_digit());
        let is_moment = word.contains('T') && word.contains(':');
        let is_length =
            is_number && word.trim_end_matches(['.', ',', ';']).ends_with('s') && !word.contains('-');
        let counts_runs = matches!(before, "run" | "`sunup" | "history");
        before = word;
        key.push(' ');
        if !(is_number && (is_moment || is_length || counts_runs)) {
            key.push_str(word);
        }
    }
    key
}

/// What came of a delivery.
type Delivered = (NotifyName, Result<(), String>);

struct Office {
    spool: Spool,
    settings: InForce,
    clock: Arc<dyn Clock>,
    outboxes: BTreeMap<NotifyName, Outbox>,
    number: u64,
    results: mpsc::Receiver<Delivered>,
    report: mpsc::Sender<Delivered>,
    has_trouble: bool,
}

impl Office {
    fn new(spool: Spool, settings: InForce, clock: Arc<dyn Clock>) -> Self {
        let mut outboxes: BTreeMap<NotifyName, Outbox> = BTreeMap::new();
        let mut last = 0;
        for (name, number, item) in spool.all() {
            last = last.max(number);
            let outbox = outboxes.entry(name).or_default();
            outbox.waiting.push_back((number, item));
            outbox.next = Some(clock.read().boot + LEFT_OVER_AFTER);
        }
        let (report, results) = mpsc::channel(64);
        Self { spool, settings, clock, outboxes, number: last, results, report, has_trouble: false }
    }

    async fn run(mut self, mut notices: mpsc::Receiver<Post>) {
        loop {
            let next = self
                .outboxes
                .values()
                .filter(|outbox| !outbox.is_under_way)
                .filter_map(|outbox| outbox.next)
                .min();
            let rest = next.map_or(IDLE, |next| next.saturating_sub(self.clock.read().boot));
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(Post::Notice(notice)) => self.take(&notice),
                    Some(Post::Summary(to, at, told)) => self.take_summary(&to, at, &told),
                    // What waits is on disk: the next daemon tells it.
                    None => return,
                },
                Some((name, result)) = self.results.recv() => self.delivered(&name, result),
                () = tokio::time::sleep(rest) => {}
            }
            self.send_due();
        }
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&mut self, notice: &Notice) {
        let settings = self.settings();
        for notify in settings.notifiers.values().filter(|notify| notify.interest.takes(notice)) {
            let now = self.clock.read().boot;
            let outbox = self.outboxes.entry(notify.name.clone()).or_default();
            let Some(repeated) = outbox.repeats(notice, now) else { continue };
            let item = Item::new(notice, repeated, settings.language);
            self.put(notify, item);
        }
    }

    fn take_summary(&mut self, to: &NotifyName, at: Timestamp, told: &Told) {
        let settings = self.settings();
        let Some(notify) = settings.notifiers.get(to) else { return };
        let text = settings.language.pick(&told.en, &told.ko).clone();
        self.put(notify, Item::by_itself("summary", at, text));
    }

    /// Puts something into a notifier's box, and on disk.
    fn put(&mut self, notify: &Notify, item: Item) {
        let now = self.clock.read().boot;
        self.number += 1;
        if let Err(error) = self.spool.put(&notify.name, self.number, &item) {
            if !self.has_trouble {
                tracing::warn!(
                    "notices cannot be kept on disk, so that a restart loses what was not told yet: {error}"
                );
            }
            self.has_trouble = true;
        }
        let outbox = self.outboxes.entry(notify.name.clone()).or_default();
        outbox.waiting.push_back((self.number, item));
        let in_batch = outbox.batch.unwrap_or(0);
        if outbox.waiting.len() > WAITING_MAX
            && let Some((number, left_out)) = outbox.waiting.remove(in_batch)
        {
            let name = &notify.name;
            tracing::error!(
                notifier = name.as_str(),
                "too much waits for notifier {name}; given up: {}",
                left_out.text
            );
            self.spool.remove(&notify.name, number);
        }
        outbox.next.get_or_insert(now + notify.digest);
    }

    fn send_due(&mut self) {
        let (settings, reading) = (self.settings(), self.clock.read());
        let (now, wall) = (reading.boot, reading.wall);
        let gone: Vec<NotifyName> =
            self.outboxes.keys().filter(|name| !settings.notifiers.contains_key(*name)).cloned().collect();
        for name in gone {
            let outbox = self.outboxes.remove(&name).unwrap_or_default();
            if !outbox.waiting.is_empty() {
                let count = outbox.waiting.len();
                tracing::warn!(
                    "{count} notices for notifier {name} are given up: the configuration no longer has it"
                );
            }
            outbox.waiting.iter().for_each(|(number, _)| self.spool.remove(&name, *number));
        }
        for (name, outbox) in &mut self.outboxes {
            let is_due = outbox.next.is_some_and(|next| next <= now);
            let Some(notify) = settings.notifiers.get(name).filter(|_| is_due && !outbox.is_under_way) else {
                continue;
            };
            let count = *outbox.batch.get_or_insert(outbox.waiting.len().min(BATCH_MAX));
            let numbers: Vec<String> = outbox
                .waiting
                .iter()
                .take(count)
                .map(|(number, item)| format!("{number} {}", item.at))
                .collect();
            if numbers.is_empty() {
                (outbox.batch, outbox.next) = (None, None);
                continue;
            }
            let id = format!("msg_{:016x}", hash::stable(&format!("{name} {}", numbers.join(" "))));
            let items = outbox.waiting.iter().take(count).map(|(_, item)| item.clone()).collect();
            let message = Message { id, host: host(), language: settings.language, items };
            let (notify, report) = (notify.clone(), self.report.clone());
            outbox.is_under_way = true;
            tokio::spawn(async move {
                let result = courier::deliver(&notify, &message, wall).await;
                // An office that has closed tells it after the next start.
                let _ = report.send((notify.name, result)).await;
            });
        }
    }

    fn delivered(&mut self, name: &NotifyName, result: Result<(), String>) {
        let reading = self.clock.read();
        let (now, wall) = (reading.boot, reading.wall);
        let Some(outbox) = self.outboxes.get_mut(name) else { return };
        outbox.is_under_way = false;
        let count = outbox.batch.unwrap_or(0);
        match result {
            Ok(()) => {
                if outbox.tries > 0 {
                    tracing::info!(notifier = name.as_str(), "notifier {name} works again");
                }
                outbox.tries = 0;
                outbox.batch = None;
                outbox.waiting.drain(..count).for_each(|(number, _)| self.spool.remove(name, number));
                // What came meanwhile has waited long enough.
                outbox.next = (!outbox.waiting.is_empty()).then_some(now + Duration::from_secs(1));
            }
            Err(words) => {
                if outbox.tries == 0 {
                    tracing::warn!(
                        notifier = name.as_str(),
                        "notifier {name} could not tell anybody: {words}; it is tried again for a day. `sunup notify test {name}` tries it now"
                    );
                }
                outbox.next = Some(now + retry_after(outbox.tries));
                outbox.tries += 1;
                let is_old = |(_, item): &(u64, Item)| wall.duration_since(item.at) > AGE_MAX;
                let old = outbox.waiting.iter().take(count).filter(|entry| is_old(entry)).count();
                if old > 0 {
                    tracing::error!(
                        notifier = name.as_str(),
                        "{old} notices could not be told for a day and are given up: {words}"
                    );
                    outbox.waiting.drain(..old).for_each(|(number, _)| self.spool.remove(name, number));
                    outbox.batch = None;
                }
            }
        }
    }
}

fn retry_after(tries: u32) -> Duration {
    RETRY_FIRST.saturating_mul(2_u32.saturating_pow(tries.min(16))).min(RETRY_MAX)
}

/// The name of this machine.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
