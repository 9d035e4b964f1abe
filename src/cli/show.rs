//! Words and tables for people, and JSON Lines for programs.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use unicode_width::UnicodeWidthStr;

use crate::adapters::environment;

/// Prints one line of a result on standard output. A reader that went away (`| head`) is no error.
pub(super) fn line(text: &str) {
    let _ = writeln!(anstream::stdout(), "{text}");
}

/// Prints words about a result on standard error.
pub(super) fn word(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Prints an error with its causes, once.
pub(super) fn problem(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    word(&format!("sunup: {text}"));
}

/// `1 server`, `2 servers`.
pub(super) fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// A table without lines, as wide as the terminal allows.
pub(super) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head.to_vec());
    table
}

/// A table as text without spaces at the ends of lines.
pub(super) fn trimmed(table: &Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Prints many lines of a result, and flushes once. A reader that went away (`| head`) is no error.
pub(super) fn lines(lines: impl IntoIterator<Item = String>) {
    let mut out = std::io::BufWriter::with_capacity(64 * 1024, anstream::stdout().lock());
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
    let _ = out.flush();
}

/// A text filled up with spaces to a width in columns of a terminal, where Korean letters take two.
pub(super) fn padded(text: &str, columns: usize) -> String {
    let width = UnicodeWidthStr::width(text);
    format!("{text}{}", " ".repeat(columns.saturating_sub(width)))
}

/// The columns that a text takes on a terminal.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Prints a text of a result as it is, with its own ends of lines.
pub(super) fn raw(text: &str) {
    let _ = write!(anstream::stdout(), "{text}");
}

/// The width of the terminal: what `COLUMNS` says, or the terminal itself, or 80 where there is none.
pub(super) fn columns() -> usize {
    let named = environment::variable("COLUMNS").and_then(|columns| columns.trim().parse().ok());
    let found = || terminal_size::terminal_size().map(|(terminal_size::Width(width), _)| usize::from(width));
    named.or_else(found).unwrap_or(80)
}
