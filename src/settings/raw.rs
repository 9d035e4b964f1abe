//! The shapes of the file: optional fields with their places, nothing checked but the types.

use std::ops::Range;

use serde::Deserialize;

/// A value with the bytes of the file that it comes from.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// The top of the file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) include: Vec<At<String>>,
    pub(super) language: Option<At<String>>,
    pub(super) timezone: Option<At<String>>,
    pub(super) calendar: Vec<At<String>>,
    pub(super) calendars: Vec<(At<String>, Calendar)>,
    pub(super) accounts: Vec<(At<String>, Account)>,
    pub(super) groups: Vec<(At<String>, Group)>,
    pub(super) rules: Vec<(At<String>, Rule)>,
    pub(super) limits: Limits,
    pub(super) checks: Checks,
    pub(super) store: Store,
    pub(super) log: Log,
    pub(super) notify: Vec<(At<String>, Notify)>,
    pub(super) heartbeat: Heartbeat,
    pub(super) http: Http,
}

/// `[http]`.
#[derive(Debug, Default)]
pub(super) struct Http {
    pub(super) listen: Option<At<String>>,
    pub(super) token: Option<At<Secret>>,
    pub(super) tls: Tls,
    pub(super) hosts: Vec<At<String>>,
}

/// `tls` of `[http]`.
#[derive(Debug, Default)]
pub(super) struct Tls {
    pub(super) certificate: Option<At<String>>,
    pub(super) key: Option<At<Secret>>,
}

/// `[notify.NAME]`.
#[derive(Debug, Default)]
pub(super) struct Notify {
    pub(super) kind: Option<At<String>>,
    pub(super) url: Option<At<Secret>>,
    pub(super) secret: Option<At<Secret>>,
    pub(super) smtp: Option<At<Secret>>,
    pub(super) from: Option<At<String>>,
    pub(super) to: Option<(Range<usize>, Vec<At<String>>)>,
    pub(super) command: Option<(Range<usize>, Vec<At<String>>)>,
    pub(super) on: Option<(Range<usize>, Vec<At<String>>)>,
    pub(super) least: Option<At<String>>,
    pub(super) rules: Option<Vec<At<String>>>,
    pub(super) groups: Option<Vec<At<String>>>,
    pub(super) digest: Option<At<String>>,
    pub(super) summary: Option<At<String>>,
    pub(super) allow_private: Option<At<bool>>,
}

/// `[heartbeat]`.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    pub(super) url: Option<At<Secret>>,
    pub(super) every: Option<At<String>>,
    pub(super) allow_private: Option<At<bool>>,
}

/// `[accounts.NAME]`.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) site: Option<At<String>>,
    pub(super) endpoint: Option<At<String>>,
    pub(super) region: Option<At<String>>,
    pub(super) access_key: Option<At<Secret>>,
    pub(super) secret_key: Option<At<Secret>>,
    pub(super) role: Option<At<bool>>,
    pub(super) ca_file: Option<At<String>>,
    pub(super) rate: Option<At<i64>>,
    pub(super) batch: Option<At<i64>>,
}

/// A secret's place, or a literal that is to be refused without being shown.
#[derive(Debug)]
pub(super) enum Secret {
    Place(SecretPlace),
    Literal,
}

/// `{ credential = "…" }`, `{ file = "…" }` or `{ env = "…" }`: exactly one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretPlace {
    pub(super) credential: Option<String>,
    pub(super) file: Option<String>,
    pub(super) env: Option<String>,
}

/// `[groups.NAME]`.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) account: Option<At<String>>,
    pub(super) servers: Option<Vec<At<String>>>,
    pub(super) vpc: Vec<At<String>>,
    pub(super) subnet: Vec<At<String>>,
    pub(super) zone: Vec<At<String>>,
    pub(super) name: Vec<At<String>>,
    pub(super) spec: Vec<At<String>>,
    pub(super) hypervisor: Vec<At<String>>,
    pub(super) tag: Vec<At<String>>,
    pub(super) exclude: Vec<At<String>>,
    pub(super) after: Vec<At<String>>,
    pub(super) after_failure: Option<At<String>>,
    pub(super) ready: Option<At<Probe>>,
    pub(super) busy: Option<At<Probe>>,
    pub(super) boot_within: Option<At<String>>,
    pub(super) stop_within: Option<At<String>>,
    pub(super) stagger: Option<At<String>>,
    pub(super) any: Option<At<i64>>,
    pub(super) canary: Option<At<i64>>,
    pub(super) stop_after_failures: Option<At<i64>>,
    pub(super) on_growth: Option<At<f64>>,
}

/// `{ tcp = "host:port" }` or `{ http = "url", status = 200 }`, with `within`.
#[derive(Debug, Default)]
pub(super) struct Probe {
    pub(super) tcp: Option<At<String>>,
    pub(super) http: Option<At<String>>,
    pub(super) status: Option<At<i64>>,
    pub(super) within: Option<At<String>>,
}

/// `[calendars.NAME]`.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    pub(super) builtin: Option<At<String>>,
    pub(super) ics: Option<At<String>>,
    pub(super) ics_match: Option<Vec<At<String>>>,
    pub(super) dates: Vec<At<String>>,
    pub(super) workdays: Vec<At<String>>,
    pub(super) cancel: Vec<At<String>>,
}

/// `[rules.NAME]`.
#[derive(Debug, Default)]
pub(super) struct Rule {
    pub(super) cron: Option<At<String>>,
    pub(super) hours: Option<At<String>>,
    pub(super) at: Option<Vec<At<String>>>,
    pub(super) start: Option<(Range<usize>, Vec<At<String>>)>,
    pub(super) stop: Option<(Range<usize>, Vec<At<String>>)>,
    pub(super) run: Option<(Range<usize>, Vec<At<String>>)>,
    pub(super) calendar: Option<Vec<At<String>>>,
    pub(super) except: Vec<At<String>>,
    pub(super) only: Vec<At<String>>,
    pub(super) except_edge: Option<At<String>>,
    pub(super) from: Option<At<String>>,
    pub(super) until: Option<At<String>>,
    pub(super) jitter: Option<At<String>>,
    pub(super) timezone: Option<At<String>>,
    pub(super) seconds: Option<At<bool>>,
    pub(super) enabled: Option<At<bool>>,
    pub(super) note: Option<At<String>>,
    pub(super) window: Option<At<String>>,
    pub(super) start_window: Option<At<String>>,
    pub(super) stop_window: Option<At<String>>,
    pub(super) missed: Option<At<String>>,
    pub(super) after_keep: Option<At<String>>,
    pub(super) hand_stopped: Option<At<String>>,
    pub(super) gap: Option<At<String>>,
    pub(super) fold: Option<At<String>>,
}

/// `[limits]`.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) servers_per_run: Option<At<i64>>,
    pub(super) requests_per_hour: Option<At<i64>>,
    pub(super) protect: Vec<At<String>>,
    pub(super) never_stop: Vec<At<String>>,
    pub(super) own: Option<Vec<At<String>>>,
}

/// `[checks]`.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) preflight: Option<At<String>>,
    pub(super) rehearse: Option<At<String>>,
}

/// `[store]`.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) url: Option<At<String>>,
    pub(super) keep: Option<At<String>>,
}

/// `[log]`.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) format: Option<At<String>>,
    pub(super) level: Option<At<String>>,
}
