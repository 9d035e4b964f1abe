//! From notices to one message: its title, its lines, and its shapes for chats and programs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::korean;
use crate::domain::notice::{Language, Notice, NoticeKind, Urgency};

/// The most notices that are written out in one message.
const LINES_MAX: usize = 10;
/// The most characters of one notice in a message.
const TEXT_CHARS_MAX: usize = 900;
/// The most characters of a Slack section, from Slack's reference for block elements.
const SECTION_CHARS_MAX: usize = 2900;

/// A notice as it waits for its delivery: what it said, and how often it came again meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// When it was so.
    pub at: Timestamp,
    /// The kind, as in `notify.NAME.on`.
    pub kind: String,
    /// `needs-a-person` or `good-to-know`.
    pub urgency: String,
    /// Whole sentences.
    pub text: String,
    /// The rule that it is about.
    pub rule: Option<String>,
    /// The groups that it is about.
    pub groups: Vec<String>,
    /// The run that it is about.
    pub run: Option<i64>,
    /// How often the same was not told before, since it had been told a short while ago.
    pub repeated: u32,
}

impl Item {
    /// A notice as it waits, in a language.
    #[must_use]
    pub fn new(notice: &Notice, repeated: u32, language: Language) -> Self {
        Self {
            at: notice.at,
            kind: notice.kind.word().to_owned(),
            urgency: notice.urgency.word().to_owned(),
            text: notice.words(language).to_owned(),
            rule: notice.about.rule.as_ref().map(ToString::to_string),
            groups: notice.about.groups.iter().map(ToString::to_string).collect(),
            run: notice.about.run.map(|run| run.0),
            repeated,
        }
    }

    /// What is told without being a notice: a test, a summary.
    #[must_use]
    pub fn by_itself(kind: &str, at: Timestamp, text: String) -> Self {
        let urgency = Urgency::GoodToKnow.word().to_owned();
        let (rule, groups, run) = (None, Vec::new(), None);
        Self { at, kind: kind.to_owned(), urgency, text, rule, groups, run, repeated: 0 }
    }

    fn needs_a_person(&self) -> bool {
        self.urgency == Urgency::NeedsAPerson.word()
    }

    fn words(&self, language: Language) -> String {
        let mut text: String = self.text.chars().take(TEXT_CHARS_MAX).collect();
        if text.len() < self.text.len() {
            text.push('…');
        }
        match (self.repeated, language) {
            (0, _) => text,
            (1, Language::English) => format!("{text} (and once more before, within the last hour)"),
            (times, Language::English) => {
                format!("{text} (and {times} times more before, within the last hour)")
            }
            (times, Language::Korean) => format!("{text} (지난 한 시간 안에 같은 일이 {times}번 더 있었음)"),
        }
    }

    /// The kind for people.
    fn kind_shown(&self, language: Language) -> String {
        let known = NoticeKind::from_word(&self.kind);
        match (language, known, self.kind.as_str()) {
            (Language::Korean, Some(kind), _) => korean::notice_kind(kind).to_owned(),
            (Language::Korean, None, "test") => "시험".to_owned(),
            (Language::Korean, None, "summary") => "요약".to_owned(),
            (_, _, word) => word.to_owned(),
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its identity, the same each time it is tried.
    pub id: String,
    /// The machine that it comes from.
    pub host: String,
    /// The language of its title and of what stands around the items.
    pub language: Language,
    /// What it tells, oldest first.
    pub items: Vec<Item>,
}

impl Message {
    /// One line: how much there is, and whether it needs anybody.
    #[must_use]
    pub fn title(&self) -> String {
        let urgent = self.items.iter().filter(|item| item.needs_a_person()).count();
        let (language, all) = (self.language, self.items.len());
        let kind = self.items.first().map(|item| item.kind_shown(language)).unwrap_or_default();
        let what = match (all, urgent) {
            (1, 1) => language.pick(format!("{kind}: needs a person"), format!("{kind}: 확인이 필요합니다")),
            (1, _) => kind,
            (_, 0) => language.pick(format!("{all} things to know"), format!("알아 둘 일 {all}건")),
            (_, _) if urgent == all => language
                .pick(format!("{urgent} things need a person"), format!("확인이 필요한 일 {urgent}건")),
            (_, _) => language.pick(
                format!("{urgent} of {all} things need a person"),
                format!("{all}건 중 {urgent}건은 확인이 필요합니다"),
            ),
        };
        language.pick(format!("Sunup on {}: {what}", self.host), format!("Sunup({}): {what}", self.host))
    }

    /// What is written out, the urgent first; and how many are not.
    fn lines(&self) -> (Vec<&Item>, usize) {
        let mut items: Vec<&Item> = self.items.iter().collect();
        items.sort_by_key(|item| !item.needs_a_person());
        let more = items.len().saturating_sub(LINES_MAX);
        items.truncate(LINES_MAX);
        (items, more)
    }

    fn more(&self, count: usize) -> String {
        self.language.pick(
            format!("and {count} more: see `sunup history --failed` and the log"),
            format!("그 밖에 {count}건: `sunup history --failed`와 로그를 봐 주세요"),
        )
    }

    /// The whole as plain text.
    #[must_use]
    pub fn text(&self) -> String {
        let (items, more) = self.lines();
        let mut lines = vec![self.title()];
        lines.extend(items.into_iter().map(|item| format!("- {}", item.words(self.language))));
        if more > 0 {
            lines.push(format!("- {}", self.more(more)));
        }
        lines.join("\n")
    }

    /// What an incoming webhook of Slack takes: blocks, and a text for notifications.
    #[must_use]
    pub fn slack(&self) -> Value {
        let (items, more) = self.lines();
        let mut blocks = vec![json!({
            "type": "header",
            "text": { "type": "plain_text", "text": self.title().chars().take(150).collect::<String>() },
        })];
        for item in items {
            let mark = if item.needs_a_person() { ":red_circle:" } else { ":information_source:" };
            let text: String = format!(
                "{mark} *{}*  {}",
                item.kind_shown(self.language),
                escaped(&item.words(self.language))
            )
            .chars()
            .take(SECTION_CHARS_MAX)
            .collect();
            blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } }));
        }
        if more > 0 {
            let text = self.more(more);
            blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": text }] }));
        }
        json!({ "text": escaped(&self.title()), "blocks": blocks })
    }

    /// What programs take.
    #[must_use]
    pub fn json(&self) -> Value {
        let at = self.items.iter().map(|item| item.at).max().unwrap_or(Timestamp::UNIX_EPOCH);
        json!({
            "type": "sunup.notices",
            "timestamp": at,
            "data": {
                "host": self.host,
                "title": self.title(),
                "text": self.text(),
                "needs_a_person": self.items.iter().any(Item::needs_a_person),
                "notices": self.items,
            },
        })
    }
}

/// Slack reads `&`, `<` and `>` as its own marks, from its reference for formatting text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notice::{About, NoticeKind};

    fn item(kind: NoticeKind, urgency: Urgency, text: &str) -> Item {
        let (at, about) = ("2026-11-23T08:50:00Z".parse().unwrap(), About::default());
        Item::new(
            &Notice { at, kind, urgency, text: text.into(), korean: "한국어".into(), about },
            0,
            Language::English,
        )
    }

    fn message(items: Vec<Item>) -> Message {
        Message { id: "msg_1".into(), host: "office".into(), language: Language::English, items }
    }

    #[test]
    fn a_title_says_how_much_there_is_and_whether_it_needs_anybody() {
        let urgent = || item(NoticeKind::Failed, Urgency::NeedsAPerson, "a");
        let calm = || item(NoticeKind::Late, Urgency::GoodToKnow, "b");
        let title = |items: Vec<Item>| message(items).title();

        assert_eq!(title(vec![urgent()]), "Sunup on office: failed: needs a person");
        assert_eq!(title(vec![calm()]), "Sunup on office: late");
        assert_eq!(title(vec![calm(), calm()]), "Sunup on office: 2 things to know");
        assert_eq!(title(vec![urgent(), urgent()]), "Sunup on office: 2 things need a person");
        assert_eq!(title(vec![urgent(), calm()]), "Sunup on office: 1 of 2 things need a person");
    }

    #[test]
    fn people_are_told_in_korean_if_they_want() {
        let notice = |kind, urgency| {
            let (text, korean) = ("it failed".into(), "실패했습니다".into());
            let at = "2026-11-23T08:50:00Z".parse().unwrap();
            Item::new(
                &Notice { at, kind, urgency, text, korean, about: About::default() },
                2,
                Language::Korean,
            )
        };
        let told = |items| Message { language: Language::Korean, ..message(items) }.text();
        let urgent = notice(NoticeKind::Failed, Urgency::NeedsAPerson);

        assert_eq!(
            told(vec![urgent.clone()]),
            "Sunup(office): 실패: 확인이 필요합니다\n- 실패했습니다 (지난 한 시간 안에 같은 일이 2번 더 있었음)"
        );
        let many = told(vec![urgent; 12]);
        assert!(many.starts_with("Sunup(office): 확인이 필요한 일 12건\n"), "{many}");
        assert!(many.ends_with("- 그 밖에 2건: `sunup history --failed`와 로그를 봐 주세요"), "{many}");
    }

    #[test]
    fn many_notices_are_one_message_with_the_urgent_first_and_the_rest_counted() {
        let mut items: Vec<Item> =
            (0..60).map(|n| item(NoticeKind::Late, Urgency::GoodToKnow, &format!("late {n}"))).collect();
        items.push(item(NoticeKind::Failed, Urgency::NeedsAPerson, "it failed"));

        let text = message(items).text();

        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[1]), (12, "- it failed"));
        assert_eq!(lines[11], "- and 51 more: see `sunup history --failed` and the log");
    }

    #[test]
    fn slack_gets_blocks_in_which_nothing_is_taken_for_a_mark_and_none_is_too_long() {
        let long = "<!channel> & ".repeat(500);
        let value = message(vec![item(NoticeKind::Failed, Urgency::NeedsAPerson, &long)]).slack();

        let section = value["blocks"][1]["text"]["text"].as_str().unwrap();
        assert!(section.starts_with(":red_circle: *failed*  &lt;!channel&gt; &amp; "), "{section}");
        assert!(!section.contains("<!channel>") && section.chars().count() <= SECTION_CHARS_MAX);
        assert_eq!(value["blocks"][0]["text"]["text"], "Sunup on office: failed: needs a person");
    }

    #[test]
    fn what_came_again_meanwhile_is_counted() {
        let once = Item { repeated: 1, ..item(NoticeKind::Late, Urgency::GoodToKnow, "late.") };
        let often = Item { repeated: 59, ..once.clone() };

        let text = message(vec![once, often]).text();

        assert!(
            text.contains("late. (and once more before") && text.contains("(and 59 times more before"),
            "{text}"
        );
    }
}
