//! Problems of a configuration, and how they are shown: file, line, column, the place underlined, the cause, the remedy.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::bundle;

/// The most problems that are shown; whoever has more mends these first.
const SHOWN_MAX: usize = 100;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is not valid.
    Error,
    /// The file is valid, but does something odd.
    Warning,
}

/// One problem of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, naming the thing.
    pub title: String,
    /// The bytes of the file that are meant.
    pub span: Range<usize>,
    /// Why that is wrong, shown at the place.
    pub cause: String,
    /// What would be right.
    pub remedy: String,
}

impl Problem {
    /// An error at a place.
    #[must_use]
    pub fn error(
        span: Range<usize>,
        title: impl Into<String>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let severity = Severity::Error;
        Self { severity, title: title.into(), span, cause: cause.into(), remedy: remedy.into() }
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(
        span: Range<usize>,
        title: impl Into<String>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, title, cause, remedy) }
    }

    /// Line and column of the place in a text that is one file, both from 1, the column in characters.
    #[must_use]
    pub fn line_and_column(&self, source: &str) -> (usize, usize) {
        let before = source.get(..self.span.start.min(source.len())).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |index| index + 1);
        let column = before.get(line_start..).map_or(0, |line| line.chars().count());
        (before.matches('\n').count() + 1, column + 1)
    }
}

impl Problem {
    /// The file, line and column of the place in a configuration that may include files, by the path of the file that includes them.
    #[must_use]
    pub fn place(&self, whole: &str, path: &str) -> (String, usize, usize) {
        let (path, own, first) = bundle::place(whole, self.span.start, path);
        let span = self.span.start.saturating_sub(first)..self.span.end.saturating_sub(first);
        let (line, column) = Self { span, ..self.clone() }.line_and_column(own);
        (path, line, column)
    }
}

/// How many characters of a text from elsewhere are shown.
const WORDS_CHARS_MAX: usize = 200;

/// A text from elsewhere on one line, without what would write on a terminal: controls and marks that turn text around become
/// spaces, and what is very long is cut.
#[must_use]
pub fn words(text: &str) -> String {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let plain: String =
        text.chars().take(WORDS_CHARS_MAX * 4).map(|c| if odd(c) { ' ' } else { c }).collect();
    let joined = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match joined.char_indices().nth(WORDS_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", joined.get(..cut).unwrap_or(&joined)),
        None => joined,
    }
}

/// How problems are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// No colours.
    Plain,
    /// Colours of a terminal.
    Colored,
}

/// Shows problems as text, each with its source line.
#[must_use]
pub fn render(problems: &[Problem], source: &str, path: &str, style: Style) -> String {
    let masked = masked(source);
    let source = masked.as_str();
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Colored => Renderer::styled(),
    };
    let shown = problems.iter().take(SHOWN_MAX).map(|problem| {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let (path, own, first) = bundle::place(source, problem.span.start, path);
        let start = problem.span.start.saturating_sub(first).min(own.len());
        let span = start..problem.span.end.saturating_sub(first).clamp(start, own.len());
        let snippet = Snippet::source(own)
            .path(path)
            .annotation(AnnotationKind::Primary.span(span).label(problem.cause.as_str()));
        let mut group = level.primary_title(problem.title.as_str()).element(snippet);
        if !problem.remedy.is_empty() {
            group = group.element(Level::HELP.message(problem.remedy.as_str()));
        }
        renderer.render(&[group])
    });
    let mut shown: Vec<String> = shown.collect();
    if problems.len() > SHOWN_MAX {
        shown.push(format!("and {} more problems", problems.len() - SHOWN_MAX));
    }
    shown.join("\n\n")
}

/// Words that make a line one that may hold a secret, wherever it stands.
const SECRET_WORDS: [&str; 6] = ["key", "secret", "token", "password", "account", "credential"];
/// Keys of an account whose values are fit to be seen.
const OPEN_KEYS: [&str; 6] = ["site", "endpoint", "region", "rate", "batch", "ca_file"];

/// The source with everything hidden that may be a secret: a key that was put into the file by mistake, in whatever shape,
/// must not be shown when the mistake is. Of the tables of accounts only what is surely open stays.
fn masked(source: &str) -> String {
    let (mut in_accounts, mut in_value, mut in_text) = (false, false, false);
    let mut lines = String::with_capacity(source.len());
    for line in source.split_inclusive('\n') {
        let text = line.trim_start();
        let fences = text.matches("\"\"\"").count() + text.matches("'''").count();
        // A list inside a value looks like a header, but no header of ours but those of accounts has quotes.
        let quoted = text.contains(['"', '\'']) && !text.contains("accounts");
        let header = text.starts_with('[') && text.contains(']') && !text.contains(['=', ',']);
        if header && !quoted && !in_text {
            in_accounts = text.contains("accounts");
            in_value = false;
            lines.push_str(line);
            continue;
        }
        // A value may go on over several lines; the next assignment ends it at the latest.
        in_value &= in_text || !text.contains('=');
        in_value |= if in_accounts { !is_open(text) } else { may_hold_a_secret(text) };
        // A text over several lines ends where its quotes do, whatever stands in it.
        in_text = in_value && (in_text != (fences % 2 == 1));
        if in_value {
            lines.push_str(&masked_line(line));
        } else {
            lines.push_str(line);
        }
    }
    lines
}

fn may_hold_a_secret(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    !lower.starts_with('#') && SECRET_WORDS.iter().any(|word| lower.contains(word))
}

/// A comment, an empty line, or an assignment to a key that holds no secret.
fn is_open(line: &str) -> bool {
    let value = |key: &&str| line.strip_prefix(*key).and_then(|rest| rest.trim_start().strip_prefix('='));
    let assigned = OPEN_KEYS.iter().find_map(value);
    line.trim().is_empty()
        || line.starts_with('#')
        || assigned.is_some_and(|value| !value.contains(['@', '{', ',']))
}

/// A line of which only the punctuation of TOML stays, and the first word if a value is assigned to it. Every hidden character keeps its place.
fn masked_line(line: &str) -> String {
    let text = line.trim_start();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let word = if text.contains('=') { text.find(|c| !is_word(c)).unwrap_or(0) } else { 0 };
    let first = line.len() - text.len() + word;
    let (head, tail) = line.split_at_checked(first).unwrap_or(("", line));
    let hide = |c: char| {
        if c.is_ascii_alphanumeric() || (c.is_ascii_punctuation() && !"=[]{}\"',".contains(c)) {
            '*'
        } else {
            c
        }
    };
    format!("{head}{}", tail.chars().map(hide).collect::<String>())
}

/// The nearest of the known words, if one is near enough to be meant.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |other: &&str| strsim::damerau_levenshtein(word, other) <= 1 + word.chars().count() / 4;
    known.into_iter().filter(near).min_by_key(|other| strsim::damerau_levenshtein(word, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_so_that_korean_lines_point_right() {
        let source = "a = 1\n# 주석\nnote = \"서울\" x\n";
        let at = source.rfind('x').unwrap();

        let problem = Problem::error(at..at + 1, "t", "c", "r");

        assert_eq!(problem.line_and_column(source), (3, 13));
    }

    #[test]
    fn a_key_put_into_the_file_is_not_shown_where_the_mistake_is() {
        let source =
            "[accounts.a]\naccess_key = \"canary\"\nSecret_Key='canary'\nsecret_key = { file = \"/x\" }\n";
        let at = source.find("\"canary").unwrap();
        let problems =
            [Problem::error(at..at + 8, "t", "c", "r"), Problem::error(at + 9..source.len(), "t", "c", "r")];

        let shown = render(&problems, source, "sunup.toml", Style::Plain);

        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("access_key = \"******\""), "{shown}");
    }

    #[test]
    fn whatever_shape_a_key_was_put_into_it_is_not_shown() {
        let lines = [
            "access_key = { value = \"canary\" }",
            "access_key = { file = \"/x\", literal = \"canary\" }",
            "access_key = { canary = \"x\" }",
            "access_key = [\n  \"canary\",\n]",
            "access_key = [\n[\"canary\"]\n]",
            "access_key.\"canary\" = 1",
            "access_key = { file = \"/x\" } , secret_key = \"canary\"",
            "acces_key = \"canary\"",
            "ncloud_access = 'canary'",
            "access_key canary",
            "access_key: canary",
            "secret_key = \"\"\"\ncanary\n\"\"\"",
            "secret_key = \"\"\"\nfirst=\ncanary\n\"\"\"",
            "endpoint = \"https://canary:pw@host\"",
            "[accounts.a.access_key]\nvalue = \"canary\"",
            "[accounts.\"b\"]\nncloud = \"canary\"",
        ];

        for line in lines {
            let inside = format!("[accounts.a]\nregion = 'KR'\n{line}\n[groups.web]\nservers = ['1001']\n");
            // A header stands for itself.
            let dotted = if line.starts_with('[') { line.to_owned() } else { format!("accounts.a.{line}\n") };
            for source in [inside, dotted] {
                let problem = Problem::error(0..source.len(), "t", "c", "r");
                let shown = render(&[problem], &source, "sunup.toml", Style::Plain);
                assert!(!shown.contains("canary"), "{shown}");
            }
        }
        let open =
            masked("[accounts.a]\nregion = 'KR'\nendpoint = 'http://x'\n[rules.r]\ncron = '0 9 * * *'\n");
        assert!(open.contains("'KR'") && open.contains("http://x") && open.contains("0 9 * * *"));
    }

    #[test]
    fn a_mistyped_word_finds_its_neighbour_and_a_strange_one_none() {
        assert_eq!(did_you_mean("timezon", ["timezone", "calendar"]), Some("timezone"));
        assert_eq!(did_you_mean("sevrers", ["servers", "account"]), Some("servers"));
        assert_eq!(did_you_mean("zzz", ["servers", "account"]), None);
    }
}
