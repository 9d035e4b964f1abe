//! The sandbox's log: one JSON object a line for each request and each change of state.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::model::Change;

/// Where lines go; nowhere if it is `None`.
pub(super) struct Log {
    out: Option<Mutex<Box<dyn Write + Send>>>,
    accounts: Vec<String>,
}

/// One request, as it is logged.
pub(super) struct Logged<'a> {
    pub(super) at: i64,
    pub(super) operation: &'a str,
    pub(super) servers: &'a [String],
    pub(super) signature: bool,
    /// When it says that it was signed, in microseconds of the client's clock.
    pub(super) signed: Option<i64>,
    pub(super) account: &'a str,
    pub(super) status: u16,
    pub(super) code: &'a str,
    pub(super) fault: Option<&'a str>,
}

impl Log {
    pub(super) fn new(out: Option<Box<dyn Write + Send>>, accounts: Vec<String>) -> Self {
        Self { out: out.map(Mutex::new), accounts }
    }

    /// Accounts are logged by number, from 1: an access key id has no place in a log. 0 stands for an unknown one.
    fn number(&self, account: &str) -> usize {
        self.accounts.iter().position(|known| known == account).map_or(0, |index| index + 1)
    }

    /// A request, and the changes that it set off.
    pub(super) fn request(&self, line: &Logged<'_>, changes: &[Change]) {
        let request = json!({
            "at": line.at,
            "kind": "request",
            "operation": line.operation,
            "servers": line.servers,
            "signature": if line.signature { "valid" } else { "invalid" },
            "signed": line.signed,
            "account": self.number(line.account),
            "status": line.status,
            "code": line.code,
            "fault": line.fault,
        });
        let changes = changes.iter().map(|change| self.change(change));
        self.write(&std::iter::once(request).chain(changes).collect::<Vec<_>>());
    }

    pub(super) fn changes(&self, changes: &[Change]) {
        self.write(&changes.iter().map(|change| self.change(change)).collect::<Vec<_>>());
    }

    fn change(&self, change: &Change) -> Value {
        json!({
            "at": change.at,
            "kind": "state",
            "account": self.number(&change.account),
            "servers": [change.no],
            "status": change.status,
            "operation": change.operation,
        })
    }

    /// What happened together is one write: a file takes longer for each than all else that an answer needs.
    fn write(&self, lines: &[Value]) {
        let Some(out) = self.out.as_ref().filter(|_| !lines.is_empty()) else { return };
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written must not stop the rehearsal; the reader will see that it ends.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
