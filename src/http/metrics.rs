//! Metrics after Prometheus' conventions.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use serde_json::Value;

use crate::domain::plan;
use crate::ports::meter::{Happening, Meter};
use crate::settings::Settings;

/// From due to claim: a timer that works stays in the first.
const LATE_SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 60.0, 300.0, 900.0, 3600.0];
/// From the first request to the goal.
const TOOK_SECONDS: [f64; 11] = [10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1200.0];

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    rule: String,
    action: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MissLabels {
    rule: String,
    action: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabels {
    action: String,
    outcome: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabel {
    action: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: String,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    operation: String,
    result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: String,
    action: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccountLabel {
    account: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: String,
}

/// What is measured on disk at each scrape.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnDisk {
    /// The size of the journal's file.
    pub journal_bytes: Option<u64>,
    /// How many notices wait for their delivery.
    pub notices: usize,
}

/// What has been counted since the program began, and how things stand.
pub struct Metrics {
    registry: Registry,
    series: Series,
    scraping: Mutex<()>,
}

/// All that is counted or shown.
struct Series {
    runs: Family<RunLabels, Counter>,
    missed: Family<MissLabels, Counter>,
    targets: Family<TargetLabels, Counter>,
    late: Family<ActionLabel, Histogram>,
    took: Family<ActionLabel, Histogram>,
    attempts: Family<ActionLabel, Counter>,
    results: Family<ResultLabels, Counter>,
    reads: Family<ReadLabels, Counter>,
    last_done: Family<RuleLabels, Seconds>,
    next_due: Family<RuleLabels, Seconds>,
    open_runs: Gauge,
    overdue: Gauge,
    overrides: Family<KindLabel, Gauge>,
    account_usable: Family<AccountLabel, Gauge>,
    account_accepted: Family<AccountLabel, Seconds>,
    account_rate: Family<AccountLabel, Seconds>,
    account_breaker: Family<AccountLabel, Gauge>,
    account_clock: Family<AccountLabel, Seconds>,
    config_since: Seconds,
    notices_waiting: Gauge,
    held: Gauge,
    config_valid: Gauge,
    calendars_valid: Gauge,
    journal: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let (mut registry, series) = (Registry::with_prefix("sunup"), Series::new());
        series.register(&mut registry);
        Self { registry, series, scraping: Mutex::default() }
    }

    /// All of it as text. `status` is what the control socket shows.
    #[must_use]
    pub fn text(&self, status: &Value, settings: &Settings, now: Timestamp, disk: OnDisk) -> String {
        // Series that are made anew at each scrape must not be missing from another one.
        let _one_at_a_time = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_status(status);
        self.series.next_due.clear();
        for rule in settings.rules.values() {
            if let Some(next) = plan::next(rule, now, Timestamp::MAX) {
                let labels = RuleLabels { rule: rule.name.to_string(), action: next.action.word().into() };
                self.series.next_due.get_or_create(&labels).set(seconds(next.due));
            }
        }
        self.series.journal.set(disk.journal_bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(0));
        self.series.notices_waiting.set(i64::try_from(disk.notices).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing into a text cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn take_status(&self, status: &Value) {
        self.series.overdue.set(status.get("overdue_s").and_then(Value::as_i64).unwrap_or(0));
        let list = |field: &str| status.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let is_fine = |field: &str| i64::from(status.get(field).is_none_or(Value::is_null));
        let word = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
        self.series.open_runs.set(i64::try_from(list("open_runs").len()).unwrap_or(i64::MAX));
        self.series.held.set(1 - is_fine("held"));
        self.series.config_valid.set(is_fine("config_problem"));
        self.series.calendars_valid.set(is_fine("calendar_problem"));
        for kind in ["pause", "skip", "keep"] {
            let count =
                list("overrides").iter().filter(|one| word(one, "kind").as_deref() == Some(kind)).count();
            self.series
                .overrides
                .get_or_create(&KindLabel { kind: kind.into() })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        if let Some(since) = word(status, "config_since").and_then(|at| at.parse().ok()) {
            self.series.config_since.set(seconds(since));
        }
        self.series.account_rate.clear();
        self.series.account_breaker.clear();
        self.series.account_clock.clear();
        self.series.account_usable.clear();
        self.series.account_accepted.clear();
        for account in list("accounts") {
            let label = AccountLabel { account: word(&account, "account").unwrap_or_default() };
            let number = |field: &str| account.get(field).and_then(Value::as_f64);
            if let Some(rate) = number("rate_milli") {
                self.series.account_rate.get_or_create(&label).set(rate / 1000.0);
            }
            if let Some(difference) = number("clock_difference_ms") {
                self.series.account_clock.get_or_create(&label).set(difference / 1000.0);
            }
            let is_open = word(&account, "breaker").as_deref() == Some("open");
            self.series.account_breaker.get_or_create(&label).set(i64::from(is_open));
            let usable = i64::from(word(&account, "trouble").is_none());
            self.series.account_usable.get_or_create(&label).set(usable);
            let accepted = word(&account, "accepted_at").and_then(|at| at.parse().ok());
            if let Some(at) = accepted {
                self.series.account_accepted.get_or_create(&label).set(seconds(at));
            }
        }
    }
}

impl Series {
    fn new() -> Self {
        Self {
            runs: Family::default(),
            missed: Family::default(),
            targets: Family::default(),
            late: Family::new_with_constructor(|| Histogram::new(LATE_SECONDS)),
            took: Family::new_with_constructor(|| Histogram::new(TOOK_SECONDS)),
            attempts: Family::default(),
            results: Family::default(),
            reads: Family::default(),
            last_done: Family::default(),
            next_due: Family::default(),
            open_runs: Gauge::default(),
            overdue: Gauge::default(),
            overrides: Family::default(),
            account_usable: Family::default(),
            account_accepted: Family::default(),
            account_rate: Family::default(),
            account_breaker: Family::default(),
            account_clock: Family::default(),
            config_since: Seconds::default(),
            notices_waiting: Gauge::default(),
            held: Gauge::default(),
            config_valid: Gauge::default(),
            calendars_valid: Gauge::default(),
            journal: Gauge::default(),
        }
    }

    fn register(&self, registry: &mut Registry) {
        self.register_counters(registry);
        self.register_gauges(registry);
    }

    fn register_counters(&self, registry: &mut Registry) {
        registry.register(
            "runs_ended",
            "Runs that ended; rule is empty for commands and what follows a keep",
            self.runs.clone(),
        );
        registry.register(
            "occurrences_missed",
            "Occurrences that passed without a deed",
            self.missed.clone(),
        );
        registry.register("targets_ended", "Servers in runs, by how they ended", self.targets.clone());
        registry.register_with_unit(
            "run_lateness",
            "From due to the claim",
            Unit::Seconds,
            self.late.clone(),
        );
        registry.register_with_unit(
            "time_to_goal",
            "From the first request for a server until it was seen at its goal",
            Unit::Seconds,
            self.took.clone(),
        );
        registry.register("attempts", "Requests that start or stop servers", self.attempts.clone());
        registry.register(
            "attempt_results",
            "What came of them; code is the HTTP status, empty without an answer",
            self.results.clone(),
        );
        registry.register(
            "reads",
            "Reads of the cloud that came back, by what they were for and how they went",
            self.reads.clone(),
        );
        registry.register_with_unit(
            "last_done_timestamp",
            "When a run of a rule last ended done, since the program began",
            Unit::Seconds,
            self.last_done.clone(),
        );
    }

    fn register_accounts(&self, registry: &mut Registry) {
        registry.register(
            "account_rate",
            "Requests a second to the account as things stand; throttling lowers it",
            self.account_rate.clone(),
        );
        registry.register(
            "account_breaker_open",
            "1 while only one read at a time tries whether the cloud answers again",
            self.account_breaker.clone(),
        );
        registry.register_with_unit(
            "account_clock_difference",
            "The cloud's clock minus this machine's",
            Unit::Seconds,
            self.account_clock.clone(),
        );
    }

    fn register_gauges(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "next_due_timestamp",
            "When a rule is due next",
            Unit::Seconds,
            self.next_due.clone(),
        );
        registry.register("open_runs", "Runs that have not ended", self.open_runs.clone());
        registry.register_with_unit(
            "overdue",
            "For how long something due has not been claimed",
            Unit::Seconds,
            self.overdue.clone(),
        );
        registry.register("overrides_in_force", "Pauses, skips and keeps by people", self.overrides.clone());
        registry.register(
            "account_usable",
            "1 if the cloud answers and takes the keys of the account",
            self.account_usable.clone(),
        );
        registry.register_with_unit(
            "account_accepted_timestamp",
            "When the cloud last took the keys of the account",
            Unit::Seconds,
            self.account_accepted.clone(),
        );
        self.register_accounts(registry);
        registry.register_with_unit(
            "config_since_timestamp",
            "Since when the configuration is in force",
            Unit::Seconds,
            self.config_since.clone(),
        );
        registry.register(
            "notices_waiting",
            "Notices that wait for their delivery, those of all notifiers",
            self.notices_waiting.clone(),
        );
        registry.register(
            "work_held",
            "1 while nothing is done, since the clock or the journal cannot be trusted",
            self.held.clone(),
        );
        registry.register(
            "config_valid",
            "0 while the configuration file cannot be used and the last good one is in force",
            self.config_valid.clone(),
        );
        registry.register(
            "calendars_valid",
            "0 while a calendar file cannot be used as it is",
            self.calendars_valid.clone(),
        );
        registry.register_with_unit(
            "journal_size",
            "Size of the journal's file",
            Unit::Bytes,
            self.journal.clone(),
        );
        let build: Family<Vec<(String, String)>, Gauge> = Family::default();
        build.get_or_create(&vec![("version".into(), env!("CARGO_PKG_VERSION").into())]).set(1);
        registry.register("build_info", "The version that runs", build);
    }
}

impl Meter for Metrics {
    fn note(&self, happening: Happening<'_>) {
        match happening {
            Happening::RunBegan { action, late } => {
                self.series.late.get_or_create(&label(action.word())).observe(span(late));
            }
            Happening::RunEnded { rule, action, outcome, ended } => {
                let (rule, action) =
                    (rule.map(ToString::to_string).unwrap_or_default(), action.word().to_owned());
                if outcome.word() == "done" && !rule.is_empty() {
                    let labels = RuleLabels { rule: rule.clone(), action: action.clone() };
                    self.series.last_done.get_or_create(&labels).set(seconds(ended));
                }
                self.series
                    .runs
                    .get_or_create(&RunLabels { rule, action, outcome: outcome.word().into() })
                    .inc();
            }
            Happening::Missed { rule, action, cause, count } => {
                let labels = MissLabels {
                    rule: rule.to_string(),
                    action: action.word().into(),
                    reason: cause.word().into(),
                };
                self.series.missed.get_or_create(&labels).inc_by(count);
            }
            Happening::TargetEnded { action, outcome, took } => {
                let reason = outcome.reason().map(|reason| reason.kind.word()).unwrap_or_default();
                let labels = TargetLabels {
                    action: action.word().into(),
                    outcome: outcome.word().into(),
                    reason: reason.into(),
                };
                self.series.targets.get_or_create(&labels).inc();
                if let Some(took) = took {
                    self.series.took.get_or_create(&label(action.word())).observe(span(took));
                }
            }
            Happening::Read { operation, result } => {
                let labels = ReadLabels { operation: operation.into(), result: result.into() };
                self.series.reads.get_or_create(&labels).inc();
            }
            Happening::Asked { action } => {
                self.series.attempts.get_or_create(&label(action.word())).inc();
            }
            Happening::Answered { result, status } => {
                let code = status.map(|status| status.to_string()).unwrap_or_default();
                self.series.results.get_or_create(&ResultLabels { result: result.into(), code }).inc();
            }
        }
    }
}

fn label(action: &str) -> ActionLabel {
    ActionLabel { action: action.to_owned() }
}

fn span(length: SignedDuration) -> f64 {
    length.as_secs_f64().max(0.0)
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::{Action, RuleName};
    use crate::domain::outcome::{Outcome, Reason, ReasonKind, RunOutcome};
    use serde_json::json;

    fn settings() -> Settings {
        let text = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1\"]\n\
                    [rules.office]\ncron = \"50 8 * * *\"\nstart = [\"web\"]\n";
        Settings::read(text).unwrap().settings
    }

    #[test]
    fn what_happened_is_counted_under_its_names() {
        let metrics = Metrics::new();
        let rule = RuleName::new("office").unwrap();
        let at: Timestamp = "2026-11-23T08:51:00Z".parse().unwrap();
        let failed = Outcome::Failed(Reason::new(ReasonKind::TooSlow, "slow"));
        let second = SignedDuration::from_secs(1);
        let (action, rule) = (Action::Start, &rule);
        let table = [
            Happening::RunBegan { action, late: SignedDuration::from_millis(3) },
            Happening::TargetEnded { action, outcome: &Outcome::Started, took: Some(second * 40) },
            Happening::TargetEnded { action, outcome: &failed, took: None },
            Happening::RunEnded { rule: Some(rule), action, outcome: RunOutcome::Done, ended: at },
            Happening::RunEnded { rule: None, action, outcome: RunOutcome::Failed, ended: at },
            Happening::Missed { rule, action, cause: ReasonKind::Down, count: 3 },
            Happening::Asked { action },
            Happening::Answered { result: "accepted", status: Some(200) },
            Happening::Answered { result: "unanswered", status: None },
            Happening::Read { operation: "look", result: "good" },
        ];

        table.into_iter().for_each(|happening| metrics.note(happening));
        let status = json!({
            "held": null, "config_since": "2026-11-23T08:00:00Z", "config_problem": "broken", "calendar_problem": null, "open_runs": [1, 2], "overdue_s": 130,
            "overrides": [{"kind": "keep"}],
            "accounts": [{"account": "main", "trouble": null, "accepted_at": "2026-11-23T08:50:00Z", "rate_milli": 2500, "breaker": "open",
                "clock_difference_ms": -1500}, {"account": "x", "trouble": "keys"}],
        });
        let text = metrics.text(
            &status,
            &settings(),
            "2026-11-23T08:00:00Z".parse().unwrap(),
            OnDisk { journal_bytes: Some(4096), notices: 3 },
        );

        for line in [
            "sunup_runs_ended_total{rule=\"office\",action=\"start\",outcome=\"done\"} 1",
            "sunup_runs_ended_total{rule=\"\",action=\"start\",outcome=\"failed\"} 1",
            "sunup_occurrences_missed_total{rule=\"office\",action=\"start\",reason=\"down\"} 3",
            "sunup_targets_ended_total{action=\"start\",outcome=\"started\",reason=\"\"} 1",
            "sunup_targets_ended_total{action=\"start\",outcome=\"failed\",reason=\"too-slow\"} 1",
            "sunup_run_lateness_seconds_bucket{le=\"0.005\",action=\"start\"} 1",
            "sunup_time_to_goal_seconds_bucket{le=\"45.0\",action=\"start\"} 1",
            "sunup_attempts_total{action=\"start\"} 1",
            "sunup_attempt_results_total{result=\"accepted\",code=\"200\"} 1",
            "sunup_attempt_results_total{result=\"unanswered\",code=\"\"} 1",
            "sunup_open_runs 2",
            "sunup_overdue_seconds 130",
            "sunup_work_held 0",
            "sunup_config_valid 0",
            "sunup_calendars_valid 1",
            "sunup_overrides_in_force{kind=\"keep\"} 1",
            "sunup_overrides_in_force{kind=\"pause\"} 0",
            "sunup_account_usable{account=\"main\"} 1",
            "sunup_account_usable{account=\"x\"} 0",
            "sunup_journal_size_bytes 4096",
            "sunup_notices_waiting 3",
            "sunup_reads_total{operation=\"look\",result=\"good\"} 1",
            "sunup_account_rate{account=\"main\"} 2.5",
            "sunup_account_breaker_open{account=\"main\"} 1",
            "sunup_account_breaker_open{account=\"x\"} 0",
            "sunup_account_clock_difference_seconds{account=\"main\"} -1.5",
            "sunup_config_since_timestamp_seconds 1795420800.0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        assert!(
            text.contains("sunup_next_due_timestamp_seconds{rule=\"office\",action=\"start\"} 1795423800.0"),
            "{text}"
        );
        assert!(text.contains("sunup_build_info{version=\""), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
