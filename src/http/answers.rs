//! What the listener answers: metrics, whether the engine turns, and whether it can act.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::metrics::{Metrics, OnDisk};
use super::server::{Answer, BoxFuture, Page};
use crate::ports::clock::Clock;
use crate::settings::Settings;

/// Asks the engine how things are, as the control socket shows it; `None` if it does not answer in time.
pub type StatusFn = Arc<dyn Fn() -> BoxFuture<Option<Value>> + Send + Sync>;
/// Measures what is on disk.
pub type DiskFn = Arc<dyn Fn() -> OnDisk + Send + Sync>;

/// What the answers are made of.
#[derive(Clone)]
pub struct Sources {
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// How things are.
    pub status: StatusFn,
    /// The settings in force.
    pub settings: Arc<Mutex<Arc<Settings>>>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// What is on disk.
    pub disk: DiskFn,
}

/// The media type of metrics in text, from the `OpenMetrics` specification.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Answer for Sources {
    fn answer(&self, path: &str) -> Option<BoxFuture<Page>> {
        let this = self.clone();
        match path {
            "/metrics" => Some(Box::pin(async move { this.metrics().await })),
            "/healthz" => Some(Box::pin(async move { this.health().await })),
            "/readyz" => Some(Box::pin(async move { this.readiness().await })),
            _ => None,
        }
    }
}

impl Sources {
    async fn metrics(&self) -> Page {
        let Some(status) = (self.status)().await else {
            return Page::unavailable("the engine does not answer\n");
        };
        let settings = Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner));
        let text = self.metrics.text(&status, &settings, self.clock.now(), (self.disk)());
        Page { media: METRICS_TYPE, ..Page::good(&text) }
    }

    async fn health(&self) -> Page {
        match (self.status)().await {
            Some(_) => Page::good("alive: the engine turns\n"),
            None => Page::unavailable("the engine does not answer\n"),
        }
    }

    async fn readiness(&self) -> Page {
        let Some(status) = (self.status)().await else {
            return Page::unavailable("the engine does not answer\n");
        };
        match unready(&status) {
            reasons if reasons.is_empty() => Page::good("ready\n"),
            reasons => Page::unavailable(&format!("{}\n", reasons.join("\n"))),
        }
    }
}

/// Why the program could not act, or not as the file says.
fn unready(status: &Value) -> Vec<String> {
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let mut reasons = Vec::new();
    for (field, words) in
        [("held", "work is held"), ("config_problem", "the configuration file cannot be used")]
    {
        reasons.extend(text(status, field).map(|why| format!("{words}: {why}")));
    }
    for account in status.get("accounts").and_then(Value::as_array).into_iter().flatten() {
        let name = text(account, "account").unwrap_or_default();
        match (text(account, "trouble"), text(account, "accepted_at")) {
            (Some(trouble), _) => reasons.push(format!("account {name}: {trouble}")),
            (None, None) => reasons.push(format!("account {name}: the cloud has not taken its keys yet")),
            (None, Some(_)) => {}
        }
    }
    // An error may hold what a page must not break on.
    reasons.iter().map(|reason| reason.replace(['\n', '\r'], " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_ready_only_if_it_can_act_as_the_file_says() {
        let account = |trouble: Value, accepted: Value| json!([{"account": "main", "trouble": trouble, "accepted_at": accepted}]);
        let good = account(Value::Null, json!("2026-11-23T08:50:00Z"));
        let table = [
            (json!({"held": null, "config_problem": null, "accounts": good}), ""),
            (
                json!({"held": "the clock", "config_problem": null, "accounts": good}),
                "work is held: the clock",
            ),
            (
                json!({"held": null, "config_problem": "a\nb", "accounts": good}),
                "the configuration file cannot be used: a b",
            ),
            (json!({"accounts": account(json!("keys refused"), Value::Null)}), "account main: keys refused"),
            (
                json!({"accounts": account(Value::Null, Value::Null)}),
                "account main: the cloud has not taken its keys yet",
            ),
        ];

        for (status, want) in table {
            assert_eq!(unready(&status).join("; "), want);
        }
    }
}
