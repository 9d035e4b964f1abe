//! Probes: a small question to a server or a service, and what its answer means.

use std::fmt;

use super::name::ServerNo;

/// What is asked. `{name}` and `{no}` in it stand for the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// A TCP connection to `host:port`.
    Tcp(String),
    /// An HTTP GET of a URL.
    Http {
        /// The URL, `http://` or `https://`.
        url: String,
        /// The status that is looked for.
        status: u16,
    },
}

impl Probe {
    /// Whether it is another question for each server.
    #[must_use]
    pub fn is_about_a_server(&self) -> bool {
        let (Self::Tcp(text) | Self::Http { url: text, .. }) = self;
        text.contains("{name}") || text.contains("{no}")
    }

    /// The question about one server. `None` if it needs a name and the server has none.
    #[must_use]
    pub fn filled(&self, no: &ServerNo, name: Option<&str>) -> Option<Self> {
        // Only what can stand in a host name or a path as it is.
        let is_plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let name = name.filter(is_plain);
        let fill = |text: &str| {
            let text = text.replace("{no}", no.as_str());
            match name {
                Some(name) => Some(text.replace("{name}", name)),
                None => (!text.contains("{name}")).then_some(text),
            }
        };
        Some(match self {
            Self::Tcp(address) => Self::Tcp(fill(address)?),
            Self::Http { url, status } => Self::Http { url: fill(url)?, status: *status },
        })
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Http { url, status } => write!(f, "{url} with status {status}"),
        }
    }
}

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// The connection was made, or the status was the one that is looked for.
    Yes,
    /// A clear answer that it is not so: the connection was refused, or a status that says so.
    No(String),
    /// Nothing, or nothing that can be understood.
    Unclear(String),
}

impl Probed {
    /// What an HTTP status says where `wanted` is looked for.
    ///
    /// Another success, or that there is no such page, is a clear no; redirections, refusals and faults of the other side
    /// are unclear.
    #[must_use]
    pub fn of_status(status: u16, wanted: u16) -> Self {
        let words = format!("it answered with status {status}");
        match status {
            _ if status == wanted => Self::Yes,
            200..=299 | 404 | 410 => Self::No(words),
            _ => Self::Unclear(words),
        }
    }

    /// Whether a server that is asked whether it is busy counts as busy: unclear counts as busy.
    #[must_use]
    pub fn counts_as_busy(&self) -> bool {
        !matches!(self, Self::No(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_stands_where_the_braces_are() {
        let no = ServerNo::parse("1001").unwrap();
        let probe = Probe::Tcp("{name}.internal:{no}".into());

        assert!(probe.is_about_a_server());
        assert_eq!(probe.filled(&no, Some("db-1")), Some(Probe::Tcp("db-1.internal:1001".into())));
        assert_eq!(probe.filled(&no, None), None);
        let fixed = Probe::Http { url: "http://h/health".into(), status: 200 };
        assert!(!fixed.is_about_a_server());
        assert_eq!(fixed.filled(&no, None), Some(fixed));
    }

    #[test]
    fn an_unclear_answer_counts_as_busy_and_only_a_clear_no_does_not() {
        let table =
            [(200, true), (204, false), (404, false), (410, false), (301, true), (401, true), (503, true)];

        for (status, busy) in table {
            assert_eq!(Probed::of_status(status, 200).counts_as_busy(), busy, "{status}");
        }
        assert!(Probed::Unclear("no answer".into()).counts_as_busy());
    }
}
