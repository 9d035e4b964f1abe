//! Reads a log of the cloud, as the sandbox writes it: one JSON object a line for each request and each change of state.

use std::collections::BTreeMap;

use serde_json::Value;

use super::history::{Deed, Fault, Micros, Read, Request, SECOND, State, Wrong};

/// What a log of the cloud tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudLog {
    /// Requests to start or stop.
    pub requests: Vec<Request>,
    /// Reads that were answered, with the states as they were.
    pub reads: Vec<Read>,
    /// Changes of state.
    pub states: Vec<State>,
    /// The requests that met a fault.
    pub faults: Vec<Fault>,
}

/// Why a log was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line} of the log is not understood: {what}")]
pub struct LogError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// How long a fault of one request may keep what follows back.
const FAULT_LASTS: Micros = 15 * SECOND;
/// How long after its arrival an answer is taken to have been heard, where the log cannot tell.
const HEARD_AFTER: Micros = 0;

/// Reads a log. `accounts` are the names of its accounts, in the order of their numbers from 1 on.
///
/// # Errors
/// [`LogError`] names the first line that is not understood. A last line that breaks off is left out.
pub fn read(text: &str, accounts: &[String]) -> Result<CloudLog, LogError> {
    let mut log = CloudLog::default();
    let mut now: BTreeMap<String, (String, String)> = BTreeMap::new();
    let lines = text.lines().count();
    for (index, line) in text.lines().enumerate() {
        let value: Value = match serde_json::from_str(line) {
            Ok(value) => value,
            Err(_) if index + 1 == lines && !text.ends_with('\n') => break,
            Err(error) => return Err(LogError { line: index + 1, what: error.to_string() }),
        };
        take(&mut log, &mut now, &value, accounts).ok_or_else(|| LogError {
            line: index + 1,
            what: "a field is missing or of another kind".into(),
        })?;
    }
    Ok(log)
}

fn take(
    log: &mut CloudLog,
    now: &mut BTreeMap<String, (String, String)>,
    value: &Value,
    accounts: &[String],
) -> Option<()> {
    let at = value.get("at")?.as_i64()?;
    let account = usize::try_from(value.get("account")?.as_u64()?).ok()?;
    let name = account.checked_sub(1).and_then(|index| accounts.get(index)).map_or("?", String::as_str);
    let numbers = value.get("servers")?.as_array()?.iter().filter_map(Value::as_str);
    let servers: Vec<String> = numbers.map(|no| format!("{name}/{no}")).collect();
    if value.get("kind")?.as_str()? == "state" {
        let (status, operation) = (value.get("status")?.as_str()?, value.get("operation")?.as_str()?);
        for server in servers {
            now.insert(server.clone(), (status.to_owned(), operation.to_owned()));
            // The first change after a request, at its very moment, is what it set off.
            let by = log.requests.iter_mut().rev().take_while(|request| request.at >= at);
            for request in by.filter(|request| request.servers.contains(&server)) {
                request.took.push(server.clone());
            }
            log.states.push(State { at, server, status: status.into(), operation: operation.into() });
        }
        return Some(());
    }
    let fault = value.get("fault").and_then(Value::as_str);
    if fault.is_some() {
        let server = servers.first().filter(|_| servers.len() == 1).cloned();
        log.faults.push(Fault { from: at, to: at + FAULT_LASTS, wrong: Wrong::Cloud, server });
    }
    let (operation, status) = (value.get("operation")?.as_str()?, value.get("status")?.as_i64()?);
    match Deed::from_word(operation) {
        Some(deed) => {
            let heard = (fault.is_none() && status > 0).then_some(at + HEARD_AFTER);
            // What has not changed yet is taken to be where it can be asked.
            for server in &servers {
                let status = if deed == Deed::Start { "NSTOP" } else { "RUN" };
                now.entry(server.clone()).or_insert_with(|| (status.to_owned(), "NULL".to_owned()));
            }
            let (took, signed) = (Vec::new(), value.get("signed").and_then(Value::as_i64));
            log.requests.push(Request { left: at, at, deed, servers, took, status, heard, signed });
        }
        // A read that met a fault may have shown something else.
        None if operation == "getServerInstanceList" && status == 200 && fault.is_none() => {
            let shown = now
                .iter()
                .map(|(server, (status, operation))| (server.clone(), status.clone(), operation.clone()));
            log.reads.push(Read { began: at, ended: at, shown: shown.collect() });
        }
        None => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"{"at":1,"kind":"state","account":1,"servers":["1001"],"status":"NSTOP","operation":"NULL"}
{"at":2,"kind":"request","operation":"getServerInstanceList","servers":[],"account":1,"status":200,"fault":null,"signed":1}
{"at":3,"kind":"request","operation":"startServerInstances","servers":["1001","1002"],"account":1,"status":200,"fault":null,"signed":2}
{"at":3,"kind":"state","account":1,"servers":["1001"],"status":"NSTOP","operation":"START"}
{"at":9,"kind":"state","account":1,"servers":["1002"],"status":"NSTOP","operation":"START"}
{"at":10,"kind":"request","operation":"getServerInstanceList","servers":["1002"],"account":2,"status":503,"fault":"status"}
{"at":11,"kind":"request","operation":"stopServerInstances","servers":["1003"],"account":7,"status":0,"fault":"reset"}
{"at":12,"kind":"request","operation":"getServerInstanceList","servers":[],"account":1,"status":200,"fault":null}
"#;

    fn accounts() -> Vec<String> {
        vec!["main".into(), "other".into()]
    }

    #[test]
    fn a_log_tells_requests_what_they_set_off_reads_and_faults() {
        let log = read(LOG, &accounts()).unwrap();

        let requests: Vec<_> = log
            .requests
            .iter()
            .map(|request| {
                (request.at, request.servers.join(" "), request.took.join(" "), request.heard, request.signed)
            })
            .collect();
        let start = (3, "main/1001 main/1002".to_owned(), "main/1001".to_owned(), Some(3), Some(2));
        assert_eq!(requests, [start, (11, "?/1003".into(), String::new(), None, None)]);
        assert_eq!(log.states.iter().map(|state| state.at).collect::<Vec<_>>(), [1, 3, 9]);
        let reads: Vec<_> = log.reads.iter().map(|read| (read.began, read.shown.len())).collect();
        assert_eq!(reads, [(2, 1), (12, 3)], "what met a fault shows nothing");
        let faults: Vec<_> = log
            .faults
            .iter()
            .map(|fault| (fault.from, fault.to - fault.from, fault.server.clone()))
            .collect();
        let lasts = 15_000_000;
        assert_eq!(faults, [(10, lasts, Some("other/1002".into())), (11, lasts, Some("?/1003".into()))]);
    }

    #[test]
    fn only_an_answer_without_a_fault_is_heard_and_only_a_good_list_shows_servers() {
        let request = |operation: &str, status: i64, fault: &str| {
            let line = format!(
                r#"{{"at":2,"kind":"request","operation":"{operation}","servers":["1001"],"account":1,"status":{status},"fault":{fault}}}"#
            );
            read(&format!("{line}\n"), &accounts()).unwrap()
        };
        let heard = |status, fault| request("startServerInstances", status, fault).requests[0].heard;
        assert_eq!(
            [heard(200, "null"), heard(0, "null"), heard(200, r#""late""#), heard(0, r#""reset""#)],
            [Some(2 + HEARD_AFTER), None, None, None]
        );
        let shows = |operation, status, fault| request(operation, status, fault).reads.len();
        assert_eq!(shows("getServerInstanceList", 200, "null"), 1);
        assert_eq!(shows("getServerInstanceList", 500, "null"), 0);
        assert_eq!(shows("getServerInstanceList", 200, r#""stale""#), 0);
        assert_eq!(shows("getRegionList", 200, "null"), 0);
    }

    #[test]
    fn a_last_line_that_breaks_off_is_left_out_and_any_other_one_is_named() {
        let cut = format!("{LOG}{{\"at\":13,\"ki");
        assert_eq!(read(&cut, &accounts()).unwrap().reads.len(), 2);
        for (odd, line) in
            [(format!("{{\"at\"\n{LOG}"), 1), (format!("{LOG}{{\"at\"\n"), 9), (format!("{LOG}{{}}"), 9)]
        {
            assert_eq!(read(&odd, &accounts()).err().unwrap().line, line, "{odd}");
        }
    }
}
