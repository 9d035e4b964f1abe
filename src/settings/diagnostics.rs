//! Problems of a configuration, and how they are shown: file, line, column, the place underlined, the cause, the remedy.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

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

    /// Line and column of the place, both from 1, the column in characters.
    #[must_use]
    pub fn line_and_column(&self, source: &str) -> (usize, usize) {
        let before = source.get(..self.span.start.min(source.len())).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |index| index + 1);
        let column = before.get(line_start..).map_or(0, |line| line.chars().count());
        (before.matches('\n').count() + 1, column + 1)
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
    let shown = problems.iter().map(|problem| {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let end = problem.span.end.min(source.len()).max(problem.span.start.min(source.len()));
        let span = problem.span.start.min(source.len())..end;
        let snippet = Snippet::source(source)
            .path(path)
            .annotation(AnnotationKind::Primary.span(span).label(problem.cause.as_str()));
        let mut group = level.primary_title(problem.title.as_str()).element(snippet);
        if !problem.remedy.is_empty() {
            group = group.element(Level::HELP.message(problem.remedy.as_str()));
        }
        renderer.render(&[group])
    });
    shown.collect::<Vec<_>>().join("\n\n")
}

/// The source with everything hidden that may be a secret on a line that names one: a key that was put into the file by
/// mistake must not be shown when the mistake is.
fn masked(source: &str) -> String {
    source.split_inclusive('\n').map(masked_line).collect()
}

fn masked_line(line: &str) -> String {
    const NAMES: [&str; 5] = ["access_key", "secret_key", "token", "secret", "password"];
    let lower = line.to_ascii_lowercase();
    let named = NAMES.iter().filter_map(|name| lower.find(name)).min();
    let value = named.and_then(|at| line.get(at..)?.find('=').map(|equals| at + equals + 1));
    let Some((head, tail)) = value.and_then(|from| line.split_at_checked(from)) else {
        return line.to_owned();
    };
    let (value, end) = match tail.strip_suffix('\n') {
        Some(value) => (value, "\n"),
        None => (tail, ""),
    };
    // A place of a secret is fit to be seen; anything else is not.
    if value.trim_start().starts_with('{') {
        return line.to_owned();
    }
    let hidden: String =
        value.chars().map(|c| if c.is_ascii() { if c == ' ' { ' ' } else { '*' } } else { c }).collect();
    format!("{head}{hidden}{end}")
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
        assert!(shown.contains("access_key = ********") && shown.contains("{ file = \"/x\" }"), "{shown}");
    }

    #[test]
    fn a_mistyped_word_finds_its_neighbour_and_a_strange_one_none() {
        assert_eq!(did_you_mean("timezon", ["timezone", "calendar"]), Some("timezone"));
        assert_eq!(did_you_mean("sevrers", ["servers", "account"]), Some("servers"));
        assert_eq!(did_you_mean("zzz", ["servers", "account"]), None);
    }
}
