//! From notices to one message: its title, its lines, and its shapes for chats and programs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::notice::{Notice, Urgency};

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
    /// A notice as it waits.
    #[must_use]
    pub fn new(notice: &Notice, repeated: u32) -> Self {
        Self {
            at: notice.at,
            kind: notice.kind.word().to_owned(),
            urgency: notice.urgency.word().to_owned(),
            text: notice.text.clone(),
            rule: notice.about.rule.as_ref().map(ToString::to_string),
            groups: notice.about.groups.iter().map(ToString::to_string).collect(),
            run: notice.about.run.map(|run| run.0),
            repeated,
        }
    }

    fn needs_a_person(&self) -> bool {
        self.urgency == Urgency::NeedsAPerson.word()
    }

    fn words(&self) -> String {
        let mut text: String = self.text.chars().take(TEXT_CHARS_MAX).collect();
        if text.len() < self.text.len() {
            text.push('…');
        }
        match self.repeated {
            0 => text,
            1 => format!("{text} (and once more before, within the last hour)"),
            times => format!("{text} (and {times} times more before, within the last hour)"),
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
    /// What it tells, oldest first.
    pub items: Vec<Item>,
}

impl Message {
    /// One line: how much there is, and whether it needs anybody.
    #[must_use]
    pub fn title(&self) -> String {
        let urgent = self.items.iter().filter(|item| item.needs_a_person()).count();
        let what = match (self.items.as_slice(), urgent) {
            ([one], 1) => format!("{}: needs a person", one.kind),
            ([one], _) => one.kind.clone(),
            (all, 0) => format!("{} things to know", all.len()),
            (all, urgent) if urgent == all.len() => format!("{urgent} things need a person"),
            (all, urgent) => format!("{urgent} of {} things need a person", all.len()),
        };
        format!("Sunup on {}: {what}", self.host)
    }

    /// What is written out, the urgent first; and how many are not.
    fn lines(&self) -> (Vec<&Item>, usize) {
        let mut items: Vec<&Item> = self.items.iter().collect();
        items.sort_by_key(|item| !item.needs_a_person());
        let more = items.len().saturating_sub(LINES_MAX);
        items.truncate(LINES_MAX);
        (items, more)
    }

    fn more(count: usize) -> String {
        format!("and {count} more: see `sunup history --failed` and the log")
    }

    /// The whole as plain text.
    #[must_use]
    pub fn text(&self) -> String {
        let (items, more) = self.lines();
        let mut lines = vec![self.title()];
        lines.extend(items.into_iter().map(|item| format!("- {}", item.words())));
        if more > 0 {
            lines.push(format!("- {}", Self::more(more)));
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
            let text: String = format!("{mark} *{}*  {}", item.kind, escaped(&item.words()))
                .chars()
                .take(SECTION_CHARS_MAX)
                .collect();
            blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } }));
        }
        if more > 0 {
            let text = Self::more(more);
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
        Item::new(&Notice { at, kind, urgency, text: text.into(), about }, 0)
    }

    fn message(items: Vec<Item>) -> Message {
        Message { id: "msg_1".into(), host: "office".into(), items }
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
