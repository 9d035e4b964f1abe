//! What a summary tells: how the runs of a day or a week ended, what is held back now, and what comes next.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::view::{moment, zone_of};
use crate::domain::korean;
use crate::domain::outcome::RunOutcome;
use crate::domain::overrides::Overrides;
use crate::domain::plan;
use crate::ports::notifier::Told;
use crate::ports::store::{Entry, HistoryQuery, RunRecord, Store, StoreError};
use crate::settings::Settings;

/// The most entries of the past that are counted.
const ENTRIES_MAX: u32 = 10_000;
/// The most of each kind that is written out.
const SHOWN_MAX: usize = 5;
/// How long before it ended a run may have been due.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(48);
/// How far the coming moments are looked for.
const AHEAD: SignedDuration = SignedDuration::from_hours(48);

/// What to tell of the time between two moments.
///
/// # Errors
/// Where the journal cannot be read.
pub(super) async fn told(
    store: &dyn Store,
    settings: &Settings,
    from: Timestamp,
    to: Timestamp,
) -> Result<Told, StoreError> {
    // A run counts when it ended, which may be long after it was due.
    let due_from = from.checked_sub(LOOK_BACK).unwrap_or(from);
    let query =
        HistoryQuery { from: Some(due_from), to: Some(to), limit: ENTRIES_MAX, ..HistoryQuery::default() };
    let entries = store.history(&query).await?;
    let overrides = Overrides::new(store.overrides().await?);
    Ok(written(&entries, &overrides, settings, from, to))
}

/// What ended in a time.
#[derive(Default)]
struct Tally<'e> {
    ended: BTreeMap<&'static str, (RunOutcome, usize)>,
    missed: u64,
    open: usize,
    /// The runs that did not end well.
    bad: Vec<(&'e RunRecord, RunOutcome)>,
}

impl<'e> Tally<'e> {
    fn of(entries: &'e [Entry], from: Timestamp, to: Timestamp) -> Self {
        let mut tally = Self::default();
        for entry in entries {
            match entry {
                Entry::Run(run) if run.withdrawn.is_none() => match run.ended {
                    None => tally.open += 1,
                    Some((outcome, at)) if at >= from && at < to => {
                        tally.ended.entry(outcome.word()).or_insert((outcome, 0)).1 += 1;
                        let is_bad =
                            matches!(outcome, RunOutcome::Failed | RunOutcome::Partial | RunOutcome::Missed);
                        tally.bad.extend(is_bad.then_some((run, outcome)));
                    }
                    Some(_) => {}
                },
                Entry::Missed(range) if range.withdrawn.is_none() && range.last >= from => {
                    tally.missed += range.count;
                }
                _ => {}
            }
        }
        tally
    }
}

fn written(
    entries: &[Entry],
    overrides: &Overrides,
    settings: &Settings,
    from: Timestamp,
    to: Timestamp,
) -> Told {
    let zone = zone_of(Some(settings), None);
    let Tally { ended, missed, open, bad } = Tally::of(entries, from, to);
    let since = moment(from, &zone);
    let counts: Vec<String> =
        ended.values().map(|(outcome, count)| format!("{count} {}", outcome.word())).collect();
    let counts =
        if counts.is_empty() { "no runs".to_owned() } else { format!("runs: {}", counts.join(", ")) };
    let ko_counts: Vec<String> = ended
        .values()
        .map(|(outcome, count)| format!("{} {count}건", korean::run_outcome(*outcome)))
        .collect();
    let ko_counts = if ko_counts.is_empty() {
        "실행 없음".to_owned()
    } else {
        format!("실행: {}", ko_counts.join(", "))
    };
    let mut en = vec![format!("since {since} {counts}; {missed} moments missed")];
    let mut ko = vec![format!("{since}부터 {ko_counts}; 놓친 시각 {missed}번")];
    if !bad.is_empty() {
        let list: Vec<String> = bad
            .iter()
            .take(SHOWN_MAX)
            .map(|(run, outcome)| format!("run {} ({}) {}", run.id, run.head.origin.words(), outcome.word()))
            .collect();
        en.push(format!("not well: {}; see `sunup history --failed`", list.join(", ")));
        let list: Vec<String> = bad
            .iter()
            .take(SHOWN_MAX)
            .map(|(run, outcome)| {
                let origin = run.head.origin.korean();
                format!("실행 {}({origin}) {}", run.id, korean::run_outcome(*outcome))
            })
            .collect();
        ko.push(format!("잘되지 않은 것: {} (`sunup history --failed`)", list.join(", ")));
    }
    if open > 0 {
        en.push(format!("not ended yet: {open} runs"));
        ko.push(format!("아직 끝나지 않은 실행 {open}건"));
    }
    let held: Vec<String> = overrides.in_force().take(SHOWN_MAX).map(|one| one.words(&zone)).collect();
    if !held.is_empty() {
        en.push(format!("in force now: {}", held.join("; ")));
        ko.push(format!("지금 적용 중인 예외: {}", held.join("; ")));
    }
    let until = to.checked_add(AHEAD).unwrap_or(Timestamp::MAX);
    let happens = |next: &plan::Occurrence| {
        let rule = settings.rules.get(&next.rule);
        rule.is_some_and(|rule| overrides.of_rule(rule, next.due).is_none())
    };
    let next: Vec<_> =
        plan::occurrences(settings.rules.values(), to, until).filter(happens).take(SHOWN_MAX).collect();
    let lines = |of: &dyn Fn(&plan::Occurrence) -> String| next.iter().map(of).collect::<Vec<_>>().join(", ");
    if next.is_empty() {
        en.push("nothing comes within two days".into());
        ko.push("앞으로 이틀 동안 예정된 것이 없음".into());
    } else {
        en.push(format!(
            "next: {}",
            lines(&|o| format!("{} {} at {}", o.rule, o.action, moment(o.due, &zone)))
        ));
        ko.push(format!(
            "다음: {}",
            lines(&|o| format!("{} {} {}", moment(o.due, &zone), o.rule, korean::action(o.action)))
        ));
    }
    Told::new(format!("{}.", en.join(". ")), format!("{}.", ko.join(". ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene::{self, at};

    #[test]
    fn a_time_without_runs_is_told_as_such_with_what_comes_next() {
        let settings = scene::settings("[rules.morning]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n");
        let told = written(&[], &Overrides::default(), &settings, at("08:00:00"), at("08:30:00"));

        assert!(told.en.contains("no runs; 0 moments missed"), "{}", told.en);
        assert!(told.en.contains("next: morning start at 2026-11-23T08:50:00"), "{}", told.en);
        assert!(told.ko.contains("실행 없음") && told.ko.contains("morning 시작"), "{}", told.ko);
        let idle = written(&[], &Overrides::default(), &scene::settings(""), at("08:00:00"), at("08:30:00"));
        assert!(idle.en.contains("nothing comes within two days"), "{}", idle.en);
    }
}
