//! Words and tables for people, and JSON Lines for programs.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::ProgressBar;
use unicode_width::UnicodeWidthStr;

use crate::adapters::environment;

/// Prints one line of a result on standard output. A reader that went away (`| head`) is no error.
pub(super) fn line(text: &str) {
    let _ = writeln!(anstream::stdout(), "{text}");
}

/// Whether only results and errors are wanted.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on only results and errors are printed.
pub(super) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Prints words about a result on standard error, unless only results are wanted.
pub(super) fn word(text: &str) {
    if !is_quiet() {
        always(text);
    }
}

/// Prints on standard error what must be read: an error, a question.
pub(super) fn always(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Whether people look on: progress is shown on a terminal alone.
pub(super) fn is_watched() -> bool {
    std::io::stderr().is_terminal() && !is_quiet()
}

/// Shows on a terminal that something takes its time, until it is dropped.
pub(super) struct Busy(Option<ProgressBar>);

impl Busy {
    /// With words for what goes on.
    pub(super) fn new(text: &str) -> Self {
        Self(is_watched().then(|| {
            let bar = ProgressBar::new_spinner().with_message(text.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        }))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
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
    always(&format!("sunup: {text}"));
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
    let is_styled = anstream::stdout().current_choice() != anstream::ColorChoice::Never;
    let mut out = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    for line in lines {
        // Few of many lines have styles: taking them out of each costs as much as making it.
        let written = match is_styled || !line.contains('\u{1b}') {
            true => writeln!(out, "{line}"),
            false => writeln!(out, "{}", anstream::adapter::strip_str(&line)),
        };
        if written.is_err() {
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
