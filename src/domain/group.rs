//! Groups: which servers they hold, what they wait for, and how carefully they are started and stopped.

use std::time::Duration;

use super::guard::glob_matches;
use super::name::{AccountName, Action, GroupName, ServerNo};
use super::probe::Probe;
use super::server::Traits;

/// How long a readiness probe may take to pass, where the file says nothing.
pub const READY_WITHIN_DEFAULT: Duration = Duration::from_mins(5);

/// A tag of the provider's Resource Manager: a key, with a value or with any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// The key, 1 to 128 characters.
    pub key: String,
    /// The value, 1 to 256 characters; `None` takes any.
    pub value: Option<String>,
}

impl Tag {
    /// Reads `key=value` or `key`. `None` for an empty key or value, or one that is too long.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        let fits = |text: &str, most: usize| (1..=most).contains(&text.chars().count());
        let is_good = fits(key, 128) && value.as_deref().is_none_or(|value| fits(value, 256));
        is_good.then(|| Self { key: key.to_owned(), value })
    }
}

/// Terms that a server must meet, all of them. A term without words takes every server, one with several takes any of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// VPC numbers.
    pub vpc: Vec<String>,
    /// Subnet numbers.
    pub subnet: Vec<String>,
    /// Zone codes.
    pub zone: Vec<String>,
    /// Names, with `*` for any characters and `?` for one.
    pub name: Vec<String>,
    /// Spec codes.
    pub spec: Vec<String>,
    /// Hypervisor codes.
    pub hypervisor: Vec<String>,
    /// Tags.
    pub tag: Vec<Tag>,
}

impl Selector {
    /// Whether a server meets every term; `has_tag` says whether it carries a tag.
    #[must_use]
    pub fn matches(&self, traits: &Traits, has_tag: impl Fn(&Tag) -> bool) -> bool {
        let meets =
            |words: &[String], field: &str| words.is_empty() || words.iter().any(|word| word == field);
        let name = traits.name.as_deref();
        meets(&self.vpc, &traits.vpc)
            && meets(&self.subnet, &traits.subnet)
            && meets(&self.zone, &traits.zone)
            && meets(&self.spec, &traits.spec)
            && meets(&self.hypervisor, &traits.hypervisor)
            && (self.name.is_empty()
                || name.is_some_and(|name| self.name.iter().any(|glob| glob_matches(glob, name))))
            && (self.tag.is_empty() || self.tag.iter().any(has_tag))
    }
}

/// What takes a server out of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exclusion {
    /// One number.
    Number(ServerNo),
    /// Names, with `*` and `?`.
    Name(String),
}

/// What becomes of a group's servers when what they wait for does not come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterFailure {
    /// They are skipped.
    #[default]
    Skip,
    /// They are started all the same.
    Continue,
}

/// When a group that is up is ready for those that wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// What is tried.
    pub probe: Probe,
    /// How long it may take to pass, from when the servers are up.
    pub within: Duration,
}

/// How many times as large as at its last good run a group may have become, in hundredths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// 150 for one and a half times.
    pub hundredths: u32,
}

impl Growth {
    /// Whether a group of `now` servers is more than that many times `before`.
    #[must_use]
    pub fn is_passed(self, before: usize, now: usize) -> bool {
        let (before, now) = (u128::try_from(before).unwrap_or(0), u128::try_from(now).unwrap_or(0));
        now * 100 > before.max(1) * u128::from(self.hundredths)
    }
}

/// A set of servers that are started and stopped together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// The account that its servers belong to.
    pub account: AccountName,
    /// The numbers listed, without those excluded by number, in the order of the file.
    pub servers: Vec<ServerNo>,
    /// The servers that match are added.
    pub selector: Option<Selector>,
    /// What is taken out of both.
    pub exclude: Vec<Exclusion>,
    /// The groups that must be up before this one is started.
    pub after: Vec<GroupName>,
    /// What becomes of this one if they do not come up.
    pub after_failure: AfterFailure,
    /// When those that wait for this one may go; without it as soon as its servers run.
    pub ready: Option<Ready>,
    /// While this says so, a server of the group is not stopped.
    pub busy: Option<Probe>,
    /// How long a server may take from accepted to running.
    pub boot_within: Duration,
    /// How long a server may take from accepted to stopped.
    pub stop_within: Duration,
    /// At least so long between two servers of the group.
    pub stagger: Duration,
    /// So many servers that run are enough.
    pub any: Option<usize>,
    /// So many servers must get there before the rest are asked.
    pub canary: usize,
    /// After so many failures the rest are left alone.
    pub stop_after_failures: Option<usize>,
    /// How much larger than at its last good run it may be.
    pub on_growth: Option<Growth>,
}

impl Group {
    /// A group of numbers, with every other key as it is where the file says nothing.
    #[must_use]
    pub fn of_numbers(name: GroupName, account: AccountName, servers: Vec<ServerNo>) -> Self {
        let limit = Duration::from_mins(10);
        Self {
            name,
            account,
            servers,
            selector: None,
            exclude: Vec::new(),
            after: Vec::new(),
            after_failure: AfterFailure::default(),
            ready: None,
            busy: None,
            boot_within: limit,
            stop_within: limit,
            stagger: Duration::ZERO,
            any: None,
            canary: 0,
            stop_after_failures: None,
            on_growth: None,
        }
    }

    /// Whether only a list of the account's servers tells who belongs to the group.
    #[must_use]
    pub fn needs_list(&self) -> bool {
        self.selector.is_some() || self.exclude.iter().any(|out| matches!(out, Exclusion::Name(_)))
    }

    /// Whether a server of the account, as a list showed it, belongs to the group.
    #[must_use]
    pub fn holds(&self, no: &ServerNo, traits: &Traits, has_tag: impl Fn(&Tag) -> bool) -> bool {
        let excluded = |out: &Exclusion| match out {
            Exclusion::Number(number) => number == no,
            // A server without a name may be the one that was meant.
            Exclusion::Name(glob) => traits.name.as_deref().is_none_or(|name| glob_matches(glob, name)),
        };
        let selected = || self.selector.as_ref().is_some_and(|selector| selector.matches(traits, has_tag));
        (self.servers.contains(no) || selected()) && !self.exclude.iter().any(excluded)
    }

    /// What chooses the servers of the group beside their numbers, in words that differ if it does.
    #[must_use]
    pub fn chosen_words(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        if let Some(selector) = &self.selector {
            let tags: Vec<String> = selector
                .tag
                .iter()
                .map(|tag| {
                    tag.value.as_ref().map_or_else(|| tag.key.clone(), |value| format!("{}={value}", tag.key))
                })
                .collect();
            let terms: [(&str, &[String]); 7] = [
                ("vpc", &selector.vpc),
                ("subnet", &selector.subnet),
                ("zone", &selector.zone),
                ("name", &selector.name),
                ("spec", &selector.spec),
                ("hypervisor", &selector.hypervisor),
                ("tag", &tags),
            ];
            let given = terms.iter().filter(|(_, words)| !words.is_empty());
            parts.extend(given.map(|(key, words)| format!("{key} {}", words.join("|"))));
        }
        let out = self.exclude.iter().map(|out| match out {
            Exclusion::Number(no) => no.to_string(),
            Exclusion::Name(name) => name.clone(),
        });
        let out: Vec<String> = out.collect();
        if !out.is_empty() {
            parts.push(format!("without {}", out.join("|")));
        }
        format!("of {} by {}", self.name, parts.join(", "))
    }

    /// How long a server of the group may take to get where the action leads.
    #[must_use]
    pub fn limit(&self, action: Action) -> Duration {
        match action {
            Action::Start => self.boot_within,
            Action::Stop => self.stop_within,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_chooses_the_servers_is_said_in_words_that_differ_if_it_does() {
        let tag = |key: &str, value: Option<&str>| Tag { key: key.into(), value: value.map(str::to_owned) };
        let selector = Selector {
            vpc: vec!["75".into()],
            name: vec!["web-*".into(), "www".into()],
            tag: vec![tag("env", Some("dev")), tag("team", None)],
            ..Selector::default()
        };
        let out =
            vec![Exclusion::Number(ServerNo::parse("1044").unwrap()), Exclusion::Name("web-canary".into())];

        let words = group(selector.clone(), out).chosen_words();

        assert!(words.contains("vpc 75") && words.contains("name web-*|www"), "{words}");
        assert!(words.contains("tag env=dev|team"), "{words}");
        assert!(words.contains("1044") && words.contains("web-canary"), "{words}");
        assert_ne!(words, group(selector, Vec::new()).chosen_words());
    }

    fn group(selector: Selector, exclude: Vec<Exclusion>) -> Group {
        let (name, account) = (GroupName::new("web").unwrap(), AccountName::new("main").unwrap());
        let servers = vec![ServerNo::parse("1").unwrap()];
        Group { selector: Some(selector), exclude, ..Group::of_numbers(name, account, servers) }
    }

    fn traits(name: &str, vpc: &str, zone: &str) -> Traits {
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        Traits { name, vpc: vpc.into(), zone: zone.into(), spec: "c2".into(), ..Traits::default() }
    }

    #[test]
    fn all_terms_are_met_and_any_word_of_a_term_will_do() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let selector = Selector {
            vpc: words(&["75", "76"]),
            name: words(&["web-*", "app-?"]),
            zone: words(&["KR-1"]),
            ..Selector::default()
        };
        let no_tag = |_: &Tag| false;
        let table = [
            (traits("web-1", "75", "KR-1"), true),
            (traits("app-2", "76", "KR-1"), true),
            (traits("app-22", "76", "KR-1"), false),
            (traits("web-1", "77", "KR-1"), false),
            (traits("web-1", "75", "KR-2"), false),
            (traits("", "75", "KR-1"), false),
        ];

        for (traits, want) in table {
            assert_eq!(selector.matches(&traits, no_tag), want, "{traits:?}");
        }
        let tagged = Selector { tag: vec![Tag::parse("env=dev").unwrap()], ..Selector::default() };
        assert!(!tagged.matches(&Traits::default(), no_tag));
        assert!(tagged.matches(&Traits::default(), |tag| tag.value.as_deref() == Some("dev")));
    }

    #[test]
    fn numbers_and_selected_servers_are_joined_and_exclusions_win_over_both() {
        let selector = Selector { vpc: vec!["75".into()], ..Selector::default() };
        let (one, two) = (ServerNo::parse("1").unwrap(), ServerNo::parse("2").unwrap());
        let plain = group(selector.clone(), vec![]);
        let by_number = group(selector.clone(), vec![Exclusion::Number(two.clone())]);
        let by_name = group(selector, vec![Exclusion::Name("web-*".into())]);
        let no_tag = |_: &Tag| false;

        assert!(plain.holds(&one, &traits("x", "9", "KR-1"), no_tag), "listed by number");
        assert!(plain.holds(&two, &traits("x", "75", "KR-1"), no_tag), "selected");
        assert!(!plain.holds(&two, &traits("x", "9", "KR-1"), no_tag));
        assert!(!by_number.holds(&two, &traits("x", "75", "KR-1"), no_tag));
        assert!(!by_name.holds(&one, &traits("web-1", "75", "KR-1"), no_tag), "excluded although listed");
        assert!(!by_name.holds(&two, &traits("", "75", "KR-1"), no_tag), "a nameless server may be meant");
    }

    #[test]
    fn growth_is_a_factor_and_a_group_that_was_empty_counts_as_one() {
        let half_more = Growth { hundredths: 150 };

        let table = [(10, 15, false), (10, 16, true), (0, 1, false), (0, 2, true), (1, 1, false)];

        for (before, now, want) in table {
            assert_eq!(half_more.is_passed(before, now), want, "{before} {now}");
        }
    }

    #[test]
    fn tags_are_keys_with_or_without_a_value() {
        let tag = |key: &str, value: Option<&str>| Tag { key: key.into(), value: value.map(Into::into) };

        assert_eq!(Tag::parse("env=dev"), Some(tag("env", Some("dev"))));
        assert_eq!(Tag::parse("env"), Some(tag("env", None)));
        assert_eq!(Tag::parse("a=b=c"), Some(tag("a", Some("b=c"))));
        assert_eq!((Tag::parse("=x"), Tag::parse("x="), Tag::parse("")), (None, None, None));
    }
}
