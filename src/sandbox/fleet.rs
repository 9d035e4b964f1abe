//! Fleets: which servers there are, from numbers or from a file.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::model::Server;
use super::{FileError, span};

/// The most servers that a sandbox holds.
const SERVERS_MAX: u64 = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    server: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    no: String,
    name: Option<String>,
    vpc: Option<String>,
    subnet: Option<String>,
    zone: Option<String>,
    spec: Option<String>,
    ip: Option<String>,
    hypervisor: Option<String>,
    kind: Option<String>,
    product: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    state: Option<String>,
    operation: Option<String>,
    boot: Option<String>,
    count: Option<u64>,
    account: Option<String>,
}

/// `count` stopped servers numbered from 1001, named `srv-1001` and so on.
#[must_use]
pub fn numbered(account: &str, count: u64, boot: (i64, i64)) -> Vec<Server> {
    let server = |no: u64| {
        let mut server = Server::new(account, &no.to_string(), &format!("srv-{no}"), "NSTOP", "NULL");
        server.boot = boot;
        server.ip = format!("10.{}.{}.{}", no / 65_536 % 256, no / 256 % 256, no % 256);
        server
    };
    (1001..1001 + count.min(SERVERS_MAX)).map(server).collect()
}

/// Reads a range of boot times such as `2s..6s`.
///
/// # Errors
/// When it is not one.
pub fn boot(text: &str) -> Result<(i64, i64), FileError> {
    span(text).ok_or_else(|| {
        FileError::new(format!("`{text}` is no range of durations"), "write `2s..6s`, or `3s`")
    })
}

/// Reads a fleet file: `[[server]]` tables. `account` names the access key of tables that name none.
///
/// # Errors
/// When it is not understood.
pub fn read(text: &str, account: &str, default_boot: (i64, i64)) -> Result<Vec<Server>, FileError> {
    let file: File = toml::from_str(text).map_err(|error| {
        FileError::new(format!("the fleet file is not understood: {error}"), "write `[[server]]` tables")
    })?;
    let mut servers = Vec::new();
    for table in file.server {
        let many = table.count.is_some();
        if many && !table.no.contains("{n}") {
            return Err(FileError::new(
                format!("server `{}` has `count` without `{{n}}` in `no`", table.no),
                "write `no = \"10{n}\"`",
            ));
        }
        for n in 1..=table.count.unwrap_or(1).min(SERVERS_MAX) {
            let fill = |text: &str| text.replace("{n}", &n.to_string());
            let no = fill(&table.no);
            let name = table.name.as_deref().map_or_else(|| format!("srv-{no}"), fill);
            let state = table.state.as_deref().unwrap_or("NSTOP");
            let operation = table.operation.as_deref().unwrap_or("NULL");
            let mut server =
                Server::new(table.account.as_deref().unwrap_or(account), &no, &name, state, operation);
            let set = |field: &mut String, value: &Option<String>| {
                if let Some(value) = value {
                    *field = fill(value);
                }
            };
            set(&mut server.vpc, &table.vpc);
            set(&mut server.subnet, &table.subnet);
            set(&mut server.zone, &table.zone);
            set(&mut server.spec, &table.spec);
            set(&mut server.ip, &table.ip);
            set(&mut server.hypervisor, &table.hypervisor);
            set(&mut server.kind, &table.kind);
            set(&mut server.product, &table.product);
            server.tags = table.tags.iter().map(|(key, value)| (key.clone(), fill(value))).collect();
            server.boot = match &table.boot {
                Some(text) => boot(text)?,
                None => default_boot,
            };
            servers.push(server);
        }
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_counts_make_servers() {
        let text = "[[server]]\nno = \"7\"\nstate = \"RUN\"\nzone = \"KR-2\"\n[[server]]\nno = \"20{n}\"\nname = \"web-{n}\"\ncount = 2\nboot = \"1s\"\n";

        let servers = read(text, "access", (1, 2)).unwrap();

        let shown: Vec<String> =
            servers.iter().map(|s| format!("{} {} {} {}", s.no, s.name, s.status, s.zone)).collect();
        assert_eq!(shown, ["7 srv-7 RUN KR-2", "201 web-1 NSTOP KR-1", "202 web-2 NSTOP KR-1"]);
        assert_eq!((servers[0].boot, servers[1].boot), ((1, 2), (1_000_000, 1_000_000)));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "[[server]]\nnumber = \"7\"",
            "[[server]]\nno = \"7\"\ncount = 2",
            "[[server]]\nno = \"7\"\nboot = \"6s..2s\"",
            "x",
        ] {
            assert!(read(text, "access", (1, 2)).is_err(), "{text}");
        }
    }
}
