//! What people must know: one thing, what it is about, and whether it needs them.

use jiff::Timestamp;

use super::name::{GroupName, RuleName, RunId};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// What a notice is about. The words are those of `notify.NAME.on`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum NoticeKind {
            $($(#[$doc])* $variant,)+
        }

        impl NoticeKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in logs and in the configuration.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Reads [`NoticeKind::word`] back.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.word() == word)
            }
        }
    };
}

kinds! {
    /// A run ended other than well.
    Failed = "failed",
    /// A moment passed without a deed.
    Missed = "missed",
    /// A run began late.
    Late = "late",
    /// Something got better by itself.
    Recovered = "recovered",
    /// A limit held something back.
    Guard = "guard",
    /// The configuration.
    Config = "config",
    /// A person's override ended.
    Override = "override",
    /// Keys, clock, store: what keeps the program from acting.
    Trouble = "trouble",
}

/// Whether a notice needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It is good to know.
    GoodToKnow,
    /// It does.
    NeedsAPerson,
}

impl Urgency {
    /// The word in messages and in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NeedsAPerson => "needs-a-person",
            Self::GoodToKnow => "good-to-know",
        }
    }

    /// Reads [`Urgency::word`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::NeedsAPerson, Self::GoodToKnow].into_iter().find(|urgency| urgency.word() == word)
    }
}

/// What a notice is about, where it is about something that the configuration names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The rule.
    pub rule: Option<RuleName>,
    /// The groups; of a run all that it was made for.
    pub groups: Vec<GroupName>,
    /// The run.
    pub run: Option<RunId>,
}

/// A language in which people can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English, which the log has always.
    #[default]
    English,
    /// Korean.
    Korean,
}

impl Language {
    /// One of two texts.
    #[must_use]
    pub fn pick<T>(self, english: T, korean: T) -> T {
        match self {
            Self::English => english,
            Self::Korean => korean,
        }
    }
}

/// The words of a notice in each language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// In English.
    pub en: String,
    /// In Korean.
    pub ko: String,
}

impl Told {
    /// The same thing twice.
    #[must_use]
    pub fn new(en: impl Into<String>, ko: impl Into<String>) -> Self {
        Self { en: en.into(), ko: ko.into() }
    }
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// When it was so.
    pub at: Timestamp,
    /// What kind of thing it is.
    pub kind: NoticeKind,
    /// Whether it needs a person.
    pub urgency: Urgency,
    /// What happened, why, and what to do: whole sentences.
    pub text: String,
    /// The same in Korean.
    pub korean: String,
    /// What it is about; empty for what concerns everything.
    pub about: About,
}

/// Whom to tell what: the filters of one `[notify.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// These kinds.
    pub kinds: Vec<NoticeKind>,
    /// This urgent or more.
    pub least: Urgency,
    /// Of these rules; empty: of all.
    pub rules: Vec<RuleName>,
    /// Of these groups; empty: of all.
    pub groups: Vec<GroupName>,
}

impl Notice {
    /// What is told, in a language.
    #[must_use]
    pub fn words(&self, language: Language) -> &str {
        match language {
            Language::English => &self.text,
            Language::Korean => &self.korean,
        }
    }
}

impl Interest {
    /// Whether a notice is of interest. What concerns everything, such as keys, the clock or the journal, passes the filters by rule
    /// and group.
    #[must_use]
    pub fn takes(&self, notice: &Notice) -> bool {
        let About { rule, groups, .. } = &notice.about;
        let is_wanted = self.kinds.contains(&notice.kind) && notice.urgency >= self.least;
        let by_rule = self.rules.is_empty() || rule.as_ref().is_none_or(|rule| self.rules.contains(rule));
        let of_group = groups.iter().any(|group| self.groups.contains(group));
        let by_group = self.groups.is_empty() || groups.is_empty() || of_group;
        is_wanted && by_rule && by_group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(kind: NoticeKind, urgency: Urgency, rule: Option<&str>, groups: &[&str]) -> Notice {
        let about = About {
            rule: rule.map(|rule| RuleName::new(rule).unwrap()),
            groups: groups.iter().map(|group| GroupName::new(group).unwrap()).collect(),
            run: None,
        };
        Notice { at: Timestamp::UNIX_EPOCH, kind, urgency, text: "x".into(), korean: "x".into(), about }
    }

    #[test]
    fn a_notice_is_taken_by_kind_urgency_rule_and_group_and_what_concerns_everything_passes() {
        use NoticeKind::{Failed, Late, Trouble};
        use Urgency::{GoodToKnow, NeedsAPerson};
        let interest = |rules: &[&str], groups: &[&str]| Interest {
            kinds: vec![Failed, Trouble],
            least: NeedsAPerson,
            rules: rules.iter().map(|rule| RuleName::new(rule).unwrap()).collect(),
            groups: groups.iter().map(|group| GroupName::new(group).unwrap()).collect(),
        };
        let all = interest(&[], &[]);
        let office = interest(&["office"], &[]);
        let web = interest(&[], &["web"]);

        assert!(all.takes(&notice(Failed, NeedsAPerson, Some("night"), &["db"])));
        assert!(!all.takes(&notice(Late, NeedsAPerson, None, &[])), "the kind");
        assert!(!all.takes(&notice(Failed, GoodToKnow, None, &[])), "the urgency");
        assert!(office.takes(&notice(Failed, NeedsAPerson, Some("office"), &["db"])));
        assert!(!office.takes(&notice(Failed, NeedsAPerson, Some("night"), &["db"])));
        assert!(web.takes(&notice(Failed, NeedsAPerson, Some("night"), &["db", "web"])));
        assert!(!web.takes(&notice(Failed, NeedsAPerson, Some("night"), &["db"])));
        assert!(
            office.takes(&notice(Trouble, NeedsAPerson, None, &[]))
                && web.takes(&notice(Trouble, NeedsAPerson, None, &[]))
        );
    }

    #[test]
    fn words_are_read_back() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::from_word(kind.word()), Some(*kind));
        }
        for urgency in [Urgency::GoodToKnow, Urgency::NeedsAPerson] {
            assert_eq!(Urgency::from_word(urgency.word()), Some(urgency));
        }
        assert_eq!((NoticeKind::from_word("x"), Urgency::from_word("")), (None, None));
    }
}
