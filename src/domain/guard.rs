//! The limits that no rule and no person passes: protected servers, servers that are never stopped, and sizes.

use super::name::{Action, GroupName, ServerNo};
use super::outcome::{Reason, ReasonKind};

/// A pattern over servers: a number, a name with `*` and `?`, or `group:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// One number.
    Number(ServerNo),
    /// All members of a group.
    Group(GroupName),
    /// Names, with `*` for any characters and `?` for one.
    Name(String),
}

impl Pattern {
    /// Whether it means a server.
    #[must_use]
    pub fn matches(&self, server: &Subject<'_>) -> bool {
        match self {
            Self::Number(no) => no == server.no,
            Self::Group(group) => server.groups.contains(group),
            Self::Name(glob) => match server.name {
                Naming::Named(name) => glob_matches(glob, name),
                // The pattern may have meant it, so a server without a name counts as protected.
                Naming::Nameless => true,
                // It is judged again before anything is asked.
                Naming::NotYetSeen => false,
            },
        }
    }

    /// The pattern as the file has it.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Number(no) => no.to_string(),
            Self::Group(group) => format!("group:{group}"),
            Self::Name(glob) => glob.clone(),
        }
    }
}

/// What is known of a server's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming<'a> {
    /// A read showed it.
    Named(&'a str),
    /// A read showed that it has none.
    Nameless,
    /// No read has shown the server yet.
    NotYetSeen,
}

/// The server that a guard is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its number.
    pub no: &'a ServerNo,
    /// Its name.
    pub name: Naming<'a>,
    /// The groups of the configuration that hold it.
    pub groups: &'a [GroupName],
}

/// The limits of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most servers that one run may touch.
    pub servers_per_run: usize,
    /// The most mutating requests in an hour.
    pub requests_per_hour: usize,
    /// Servers that are never started nor stopped.
    pub protect: Vec<Pattern>,
    /// Servers that are never stopped.
    pub never_stop: Vec<Pattern>,
    /// The servers on which the program runs; `None` has them found out by their addresses.
    pub own: Option<Vec<Pattern>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { servers_per_run: 50, requests_per_hour: 500, protect: vec![], never_stop: vec![], own: None }
    }
}

impl Limits {
    /// Why the action must not touch the server, if a pattern forbids it. Nothing overrides this.
    #[must_use]
    pub fn forbid(&self, action: Action, server: &Subject<'_>) -> Option<Reason> {
        self.lists(action).find_map(|(key, patterns)| {
            let pattern = patterns.iter().find(|pattern| pattern.matches(server))?;
            let words = format!("`limits.{key}` holds `{}`", pattern.words());
            Some(Reason::new(ReasonKind::Protected, words))
        })
    }

    /// Whether there are patterns at all that could forbid the action.
    #[must_use]
    pub fn has_patterns(&self, action: Action) -> bool {
        self.lists(action).any(|(_, patterns)| !patterns.is_empty())
    }

    fn lists(&self, action: Action) -> impl Iterator<Item = (&'static str, &[Pattern])> {
        let stops = [("never_stop", &*self.never_stop), ("self", self.own.as_deref().unwrap_or_default())];
        let stops = stops.into_iter().filter(move |_| action == Action::Stop);
        std::iter::once(("protect", &*self.protect)).chain(stops)
    }

    /// Why a run over this many servers must not begin.
    #[must_use]
    pub fn forbid_size(&self, servers: usize) -> Option<Reason> {
        (servers > self.servers_per_run).then(|| {
            let words = format!(
                "the run would touch {servers} servers and `limits.servers_per_run` is {}; raise it, or run it once by hand with \
                 --over-limit",
                self.servers_per_run
            );
            Reason::new(ReasonKind::Limit, words)
        })
    }
}

/// Whether `*` (any characters) and `?` (one character) of the pattern cover the whole text.
#[must_use]
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    // reach[i]: whether the pattern read so far covers the first i characters.
    let mut reach = vec![false; text.len() + 1];
    if let Some(first) = reach.first_mut() {
        *first = true;
    }
    for part in glob {
        let mut next = vec![false; text.len() + 1];
        let mut any_before = false;
        for (index, slot) in next.iter_mut().enumerate() {
            let here = reach.get(index).copied().unwrap_or(false);
            any_before |= here;
            let before = index.checked_sub(1);
            let char_before = before.and_then(|i| text.get(i));
            let reached_before = before.and_then(|i| reach.get(i)).copied().unwrap_or(false);
            *slot = match part {
                '*' => any_before,
                '?' => reached_before,
                literal => reached_before && char_before == Some(&literal),
            };
        }
        reach = next;
    }
    reach.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_cover_whole_names() {
        let table = [
            ("web-*", "web-1", true),
            ("web-*", "web-", true),
            ("web-*", "my-web-1", false),
            ("*prod*", "db-prod-2", true),
            ("db-?", "db-1", true),
            ("db-?", "db-12", false),
            ("**", "", true),
            ("", "x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ];

        for (glob, text, want) in table {
            assert_eq!(glob_matches(glob, text), want, "{glob} {text}");
        }
    }

    #[test]
    fn protected_servers_are_never_touched_and_own_ones_never_stopped() {
        let no = ServerNo::parse("1001").unwrap();
        let group = GroupName::new("prod").unwrap();
        let groups = [group.clone()];
        let subject = Subject { no: &no, name: Naming::Named("web-1"), groups: &groups };
        let nameless = Subject { name: Naming::Nameless, ..subject };
        let unseen = Subject { name: Naming::NotYetSeen, ..subject };
        let protect = |pattern| Limits { protect: vec![pattern], ..Limits::default() };
        let own = Limits { own: Some(vec![Pattern::Number(no.clone())]), ..Limits::default() };

        for limits in [
            protect(Pattern::Number(no.clone())),
            protect(Pattern::Group(group)),
            protect(Pattern::Name("web-*".into())),
        ] {
            assert!(limits.forbid(Action::Start, &subject).is_some(), "{limits:?}");
            assert!(limits.forbid(Action::Stop, &subject).is_some(), "{limits:?}");
        }
        assert!(protect(Pattern::Name("db-*".into())).forbid(Action::Stop, &subject).is_none());
        assert!(protect(Pattern::Name("db-*".into())).forbid(Action::Stop, &nameless).is_some());
        assert!(protect(Pattern::Name("web-*".into())).forbid(Action::Stop, &unseen).is_none());
        assert!(own.forbid(Action::Stop, &subject).is_some());
        assert!(own.forbid(Action::Start, &subject).is_none());
        assert!(Limits::default().forbid_size(50).is_none());
        assert!(Limits::default().forbid_size(51).is_some());
    }
}
