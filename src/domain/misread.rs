//! Why a schedule's text is refused, with the place in it, and the words that such a text is cut into.

use std::ops::Range;

/// Why a text is not understood, with the place of the trouble in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Misread {
    /// What is wrong, naming the part and the value.
    pub problem: String,
    /// The bytes of the text that are meant.
    pub span: Range<usize>,
    /// What would be right.
    pub remedy: String,
}

/// One word of a text and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl<'a> Word<'a> {
    pub(super) fn span(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    pub(super) fn error(self, problem: String, remedy: impl Into<String>) -> Misread {
        Misread { problem, span: self.span(), remedy: remedy.into() }
    }

    pub(super) fn split(self, by: char) -> Vec<Word<'a>> {
        let mut at = self.at;
        let mut parts = Vec::new();
        for text in self.text.split(by) {
            parts.push(Word { text, at });
            at += text.len() + by.len_utf8();
        }
        parts
    }

    /// The words between white space.
    pub(super) fn words(self) -> Vec<Word<'a>> {
        let base = self.text.as_ptr().addr();
        let place = |word: &'a str| Word { text: word, at: self.at + word.as_ptr().addr() - base };
        self.text.split_whitespace().map(place).collect()
    }
}
