//! Faults: where, when and what goes wrong. From a file, or from the admin endpoint.

use serde::Deserialize;

use super::{FileError, micros};

/// When the deed happens, seen from the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Never.
    #[default]
    None,
    /// Before it: the deed is done, and the answer hides it.
    Before,
    /// After it: the deed is done two seconds later, as if the request had been queued.
    After,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An HTTP status with a gateway error, or a server error where the status is 400.
    Status {
        /// The status.
        status: u16,
        /// The code in the body.
        code: String,
        /// The text in the body.
        message: String,
        /// Whether the deed is done.
        effect: Effect,
    },
    /// No connection is taken.
    Refuse,
    /// The connection is reset before the answer.
    Reset(Effect),
    /// The answer comes this many microseconds late.
    Delay(i64),
    /// The answer comes byte by byte over this many microseconds.
    Slow(i64),
    /// The answer breaks off halfway; the deed is done.
    Truncate,
    /// The answer is HTML with status 200; the deed is done.
    Garbage,
    /// A list shows what was this many microseconds ago.
    Stale(i64),
    /// The servers fall back to where they were.
    FallBack,
    /// The servers never get there.
    Stuck,
    /// The servers are busy with something else.
    Busy,
    /// There is no room.
    NoCapacity,
    /// One server fails and is named; the others are left alone.
    Partial,
}

/// One fault.
#[derive(Debug, Clone)]
pub struct Fault {
    on: String,
    server: Option<String>,
    account: Option<String>,
    nth: u64,
    times: u64,
    chance_permille: i64,
    after: i64,
    until: i64,
    seen: u64,
    struck: u64,
    /// What goes wrong.
    pub what: What,
    /// Its name in the log.
    pub name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    fault: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    on: Option<String>,
    server: Option<String>,
    account: Option<String>,
    nth: Option<u64>,
    times: Option<u64>,
    chance: Option<f64>,
    after: Option<String>,
    #[serde(rename = "for")]
    lasts: Option<String>,
    #[serde(rename = "do")]
    what: String,
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
    #[serde(default)]
    effect: Effect,
    by: Option<String>,
}

const KINDS: &str = "status, refuse, reset, delay, slow, truncate, garbage, stale, fall-back, stuck, busy, no-capacity, partial";
const OPERATIONS: [&str; 6] = [
    "any",
    "startServerInstances",
    "stopServerInstances",
    "rebootServerInstances",
    "getServerInstanceList",
    "getRegionList",
];

/// Reads a fault file: `[[fault]]` tables.
///
/// # Errors
/// When it is not understood.
pub fn read(text: &str) -> Result<Vec<Fault>, FileError> {
    let file: File = toml::from_str(text).map_err(|error| {
        FileError::new(format!("the faults are not understood: {error}"), "write `[[fault]]` tables")
    })?;
    file.fault.into_iter().map(fault).collect()
}

fn duration(text: Option<&String>, default: i64) -> Result<i64, FileError> {
    match text {
        None => Ok(default),
        Some(text) => micros(text).ok_or_else(|| {
            FileError::new(format!("`{text}` is no duration"), "write `1500ms`, `2s` or `5m`")
        }),
    }
}

fn fault(table: Table) -> Result<Fault, FileError> {
    let on = table.on.unwrap_or_else(|| "any".into());
    if !OPERATIONS.contains(&on.as_str()) {
        return Err(FileError::new(
            format!("unknown operation `{on}`"),
            format!("one of {}", OPERATIONS.join(", ")),
        ));
    }
    let by = table.by.as_ref();
    let what = match table.what.as_str() {
        "status" => What::Status {
            status: table.status.unwrap_or(503),
            code: table.code.unwrap_or_else(|| "500".into()),
            message: table.message.unwrap_or_else(|| "Endpoint Error".into()),
            effect: table.effect,
        },
        "refuse" => What::Refuse,
        "reset" => What::Reset(table.effect),
        "delay" => What::Delay(duration(by, 2_000_000)?),
        "slow" => What::Slow(duration(by, 5_000_000)?),
        "truncate" => What::Truncate,
        "garbage" => What::Garbage,
        "stale" => What::Stale(duration(by, 5_000_000)?),
        "fall-back" => What::FallBack,
        "stuck" => What::Stuck,
        "busy" => What::Busy,
        "no-capacity" => What::NoCapacity,
        "partial" => What::Partial,
        other => {
            return Err(FileError::new(format!("unknown fault `{other}`"), format!("one of {KINDS}")));
        }
    };
    let after = duration(table.after.as_ref(), 0)?;
    let lasts = duration(table.lasts.as_ref(), i64::MAX / 4)?;
    let permille = table.chance.map_or(Ok(1000), |chance| {
        let fine = (0.0..=1.0).contains(&chance);
        let counted = (0..=1000_i32).find(|n| f64::from(*n) >= chance * 1000.0).map(i64::from);
        counted
            .filter(|_| fine)
            .ok_or_else(|| FileError::new(format!("`chance` is {chance}"), "write 0.0 to 1.0"))
    })?;
    Ok(Fault {
        on,
        server: table.server,
        account: table.account,
        nth: table.nth.unwrap_or(1).max(1),
        times: table.times.unwrap_or(if table.nth.is_some() { 1 } else { u64::MAX }),
        chance_permille: permille,
        after,
        until: after + lasts,
        seen: 0,
        struck: 0,
        what,
        name: table.what,
    })
}

/// The request that a fault may strike.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The operation.
    pub operation: &'a str,
    /// The account's access key.
    pub account: &'a str,
    /// The servers it names.
    pub servers: &'a [String],
    /// Microseconds since the sandbox began.
    pub age: i64,
}

impl Fault {
    fn in_time(&self, age: i64) -> bool {
        (self.after..self.until).contains(&age)
    }

    /// Whether it strikes this request; counts it in any case.
    pub fn strikes(&mut self, target: &Target<'_>, chance: impl FnOnce() -> i64) -> bool {
        let meant = (self.on == "any" || self.on == target.operation)
            && self.account.as_deref().is_none_or(|account| account == target.account)
            && self.server.as_ref().is_none_or(|server| target.servers.contains(server))
            && self.in_time(target.age);
        if !meant {
            return false;
        }
        self.seen += 1;
        let strikes = self.seen >= self.nth && self.struck < self.times && chance() < self.chance_permille;
        self.struck += u64::from(strikes);
        strikes
    }

    /// Until when, in microseconds of the sandbox's age, no connection is to be taken.
    #[must_use]
    pub fn refuses_until(&self, age: i64) -> Option<i64> {
        (self.what == What::Refuse && self.in_time(age)).then_some(self.until)
    }

    /// Counts `after` and `for` from this age on: for faults that are added later.
    pub fn begins_at(&mut self, age: i64) {
        self.after += age;
        self.until += age;
    }

    /// The server that it is meant for, if it names one.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(operation: &'a str, servers: &'a [String], age: i64) -> Target<'a> {
        Target { operation, account: "access", servers, age }
    }

    #[test]
    fn a_fault_strikes_where_and_when_it_is_meant_to() {
        let text = "[[fault]]\non = \"startServerInstances\"\nserver = \"1001\"\nnth = 2\ndo = \"status\"\nstatus = 429\n";
        let mut fault = read(text).unwrap().remove(0);
        let (one, other) = (["1001".to_owned()], ["1002".to_owned()]);

        let mut strikes = |operation, servers| fault.strikes(&target(operation, servers, 0), || 0);

        assert!(!strikes("stopServerInstances", &one));
        assert!(!strikes("startServerInstances", &other));
        assert!(!strikes("startServerInstances", &one));
        assert!(strikes("startServerInstances", &one));
        assert!(!strikes("startServerInstances", &one));
    }

    #[test]
    fn times_and_chance_bound_it() {
        let mut windowed =
            read("[[fault]]\ndo = \"refuse\"\nafter = \"10s\"\nfor = \"5s\"\n").unwrap().remove(0);
        let mut half =
            read("[[fault]]\ndo = \"reset\"\nchance = 0.5\neffect = \"before\"\n").unwrap().remove(0);

        assert!(!windowed.strikes(&target("x", &[], 9_999_999), || 0));
        assert!(windowed.strikes(&target("x", &[], 10_000_000), || 0));
        assert_eq!(windowed.refuses_until(12_000_000), Some(15_000_000));
        assert_eq!(windowed.refuses_until(15_000_000), None);
        assert!(half.strikes(&target("x", &[], 0), || 499));
        assert!(!half.strikes(&target("x", &[], 0), || 500));
        assert_eq!(half.what, What::Reset(Effect::Before));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_choices() {
        for (text, hint) in [
            ("[[fault]]\ndo = \"explode\"", "fall-back"),
            ("[[fault]]\ndo = \"reset\"\non = \"start\"", "startServerInstances"),
            ("[[fault]]\ndo = \"delay\"\nby = \"soon\"", "1500ms"),
            ("[[fault]]\ndo = \"reset\"\nchance = 2.0", "0.0 to 1.0"),
        ] {
            assert!(read(text).unwrap_err().remedy.contains(hint), "{text}");
        }
    }
}
