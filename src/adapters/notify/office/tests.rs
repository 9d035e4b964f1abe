//! The office with programs as receivers: what they were given stands in a file.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::domain::notice::{About, Urgency};
use crate::ports::clock::Reading;

/// A clock that a test sets.
#[derive(Default)]
struct Hand(Mutex<Duration>);

impl Clock for Hand {
    fn read(&self) -> Reading {
        let boot = *self.0.lock().unwrap();
        Reading { wall: Timestamp::UNIX_EPOCH + boot, boot, awake: boot }
    }
}

fn settings(script: &str, more: &str) -> InForce {
    let text = format!(
        "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1\"]\n\
         [notify.file]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n{more}"
    );
    let settings = Settings::read(&text).unwrap_or_else(|problems| panic!("{problems:#?}")).settings;
    Arc::new(Mutex::new(Arc::new(settings)))
}

fn notice(kind: NoticeKind, text: &str) -> Notice {
    let (urgency, about) = (Urgency::NeedsAPerson, About::default());
    Notice { at: Timestamp::UNIX_EPOCH, kind, urgency, text: text.into(), korean: text.into(), about }
}

fn office(folder: &Path, settings: &InForce) -> Office {
    office_at(folder, settings, &Arc::default())
}

fn office_at(folder: &Path, settings: &InForce, clock: &Arc<Hand>) -> Office {
    let clock: Arc<dyn Clock> = clock.clone();
    Office::new(Spool::new(folder.join("outbox")), Arc::clone(settings), clock)
}

/// Has everything that is due delivered, and waits for it.
async fn deliver(office: &mut Office) {
    for outbox in office.outboxes.values_mut() {
        outbox.next = outbox.next.map(|_| Duration::ZERO);
    }
    office.send_due();
    while office.outboxes.values().any(|outbox| outbox.is_under_way) {
        let (name, result) = office.results.recv().await.unwrap();
        office.delivered(&name, result);
    }
}

fn messages(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("got")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn to_file(folder: &Path) -> String {
    format!("cat >> {0}; echo >> {0}", folder.join("got").display())
}

#[tokio::test]
async fn five_hundred_notices_of_one_moment_make_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = office(folder.path(), &settings(&to_file(folder.path()), ""));
    let letters = |n: usize| format!("rule {} failed", "ab".repeat(n + 1));

    for n in 0..500 {
        office.take(&notice(NoticeKind::Failed, &letters(n)));
    }
    deliver(&mut office).await;
    deliver(&mut office).await;

    let messages = messages(folder.path());
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["data"]["notices"].as_array().unwrap().len(), 500);
    assert!(office.spool.all().is_empty());
}

#[tokio::test]
async fn what_repeats_itself_is_told_once_an_hour_with_a_count_until_something_gets_better() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hand::default());
    let mut office = office_at(folder.path(), &settings(&to_file(folder.path()), ""), &clock);
    let name = NotifyName::new("file").unwrap();

    for run in 1..=60 {
        office.take(&notice(NoticeKind::Failed, &format!("run {run} (rule minutely) ended failed")));
    }
    assert_eq!(office.outboxes[&name].waiting.len(), 1);
    *clock.0.lock().unwrap() = QUIET;
    office.take(&notice(NoticeKind::Failed, "run 61 (rule minutely) ended failed"));
    let waiting = &office.outboxes[&name].waiting;
    assert_eq!((waiting.len(), waiting[1].1.repeated), (2, 59));

    office.take(&notice(NoticeKind::Recovered, "the journal can be written again."));
    office.take(&notice(NoticeKind::Failed, "run 62 (rule minutely) ended failed"));
    assert_eq!(office.outboxes[&name].waiting.len(), 4, "after it was well a failure is news");
}

#[tokio::test]
async fn what_could_not_be_told_is_kept_over_a_restart_and_told_once_under_one_identity() {
    let folder = tempfile::tempdir().unwrap();
    let broken = settings("exit 1", "");
    let mut first = office(folder.path(), &broken);
    first.take(&notice(NoticeKind::Failed, "it failed"));
    deliver(&mut first).await;
    assert_eq!(first.outboxes.values().next().unwrap().tries, 1);
    first.take(&notice(NoticeKind::Missed, "it was missed"));
    drop(first);

    let mut second = office(folder.path(), &settings(&to_file(folder.path()), ""));
    deliver(&mut second).await;
    deliver(&mut second).await;

    let messages = messages(folder.path());
    let texts: Vec<&str> = messages[0]["data"]["notices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["text"].as_str().unwrap())
        .collect();
    assert_eq!((messages.len(), texts), (1, vec!["it failed", "it was missed"]));
    assert!(second.spool.all().is_empty());
}

#[tokio::test]
async fn a_message_that_is_tried_again_is_the_same_message() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = office(folder.path(), &settings("exit 1", ""));
    office.take(&notice(NoticeKind::Failed, "it failed"));
    deliver(&mut office).await;

    office.take(&notice(NoticeKind::Missed, "it was missed"));
    let outbox = office.outboxes.values().next().unwrap();
    assert_eq!(
        (outbox.batch, outbox.waiting.len()),
        (Some(1), 2),
        "what came meanwhile goes in the next one"
    );
}

#[tokio::test]
async fn what_nobody_wants_is_not_kept_and_what_is_for_a_notifier_that_is_gone_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let in_force = settings("exit 1", "on = [\"missed\"]\n");
    let mut office = office(folder.path(), &in_force);

    office.take(&notice(NoticeKind::Failed, "it failed"));
    assert!(office.spool.all().is_empty());
    office.take(&notice(NoticeKind::Missed, "it was missed"));
    assert_eq!(office.spool.all().len(), 1);
    let without = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1\"]\n";
    *in_force.lock().unwrap() = Arc::new(Settings::read(without).unwrap().settings);
    office.send_due();

    assert!(office.outboxes.is_empty() && office.spool.all().is_empty());
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_no_other_and_not_who_tells() {
    let folder = tempfile::tempdir().unwrap();
    let quick = to_file(folder.path());
    let hanging = "[notify.hang]\nkind = \"command\"\ncommand = [\"/bin/sleep\", \"20\"]\n";
    let in_force = settings(&quick, hanging);
    let mut office = office(folder.path(), &in_force);
    office.take(&notice(NoticeKind::Failed, "it failed"));
    for outbox in office.outboxes.values_mut() {
        outbox.next = Some(Duration::ZERO);
    }

    office.send_due();
    let (first, result) = office.results.recv().await.unwrap();

    assert_eq!((first.as_str(), result), ("file", Ok(())));
    assert!(office.outboxes[&NotifyName::new("hang").unwrap()].is_under_way);
}

#[test]
fn waits_between_tries_grow_to_ten_minutes() {
    let seconds: Vec<u64> = (0..9).map(|tries| retry_after(tries).as_secs()).collect();

    assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
}

#[tokio::test]
async fn what_could_not_be_told_for_a_day_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hand::default());
    let mut office = office_at(folder.path(), &settings("exit 1", ""), &clock);
    office.take(&notice(NoticeKind::Failed, "it failed"));

    *clock.0.lock().unwrap() = Duration::from_hours(24);
    deliver(&mut office).await;
    assert_eq!(office.spool.all().len(), 1);
    *clock.0.lock().unwrap() += Duration::from_secs(1);
    deliver(&mut office).await;

    assert!(office.spool.all().is_empty());
}

#[test]
fn only_what_tells_the_same_of_the_same_counts_as_the_same() {
    let same = |one: &str, other: &str| {
        same_words(&notice(NoticeKind::Failed, one)) == same_words(&notice(NoticeKind::Failed, other))
    };
    let failed = |run: i64, rule: &str| {
        format!("run {run} (rule {rule}) ended failed: 3 failed. See `sunup history {run}`.")
    };

    assert!(same(&failed(12, "web1"), &failed(13, "web1")));
    assert!(!same(&failed(12, "web1"), &failed(12, "web2")));
    assert!(same(
        "rule r due at 2026-11-23T08:50:00Z begins 61s late.",
        "rule r due at 2026-11-24T08:50:00Z begins 75s late."
    ));
    assert!(!same("server 1001 is gone", "server 1002 is gone"));
    assert!(!same("account main1: keys", "account main2: keys"));
}
