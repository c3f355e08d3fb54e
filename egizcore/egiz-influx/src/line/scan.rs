//! Moves over a line: up to a separator that nothing escapes, over a quoted text, to the end of the line.
//!
//! A backslash makes the next character an ordinary one where that is a separator, and stands for itself otherwise.

use std::borrow::Cow;

/// What ended a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// This separator, which is passed over.
    At(u8),
    /// The end of the line.
    End,
}

/// A place in a line.
pub(super) struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { rest: line }
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    pub(super) fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    /// The piece up to the first of these that no backslash stands before, as it is written.
    pub(super) fn until(&mut self, separators: &[u8]) -> (&'a str, Stop) {
        let bytes = self.rest.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'\\' if bytes.get(at + 1).is_some_and(|next| separators.contains(next)) => at += 2,
                byte if separators.contains(&byte) => {
                    let piece = &self.rest[..at];
                    self.rest = &self.rest[at + 1..];
                    return (piece, Stop::At(byte));
                }
                _ => at += 1,
            }
        }
        (std::mem::take(&mut self.rest), Stop::End)
    }

    /// The text between the quote here and the one that closes it, as it is written.
    pub(super) fn quoted(&mut self) -> Option<&'a str> {
        let inside = self.rest.strip_prefix('"')?;
        let end = closing_quote(inside.as_bytes())?;
        self.rest = &inside[end + 1..];
        Some(&inside[..end])
    }
}

/// The piece without the backslashes before the characters that they escape.
pub(super) fn unescaped<'a>(piece: &'a str, special: &[u8]) -> Cow<'a, str> {
    let bytes = piece.as_bytes();
    let is_escape =
        |at: usize| bytes[at] == b'\\' && bytes.get(at + 1).is_some_and(|next| special.contains(next));
    let Some(first) = (0..bytes.len()).find(|at| is_escape(*at)) else { return Cow::Borrowed(piece) };
    let mut text = String::with_capacity(piece.len());
    let (mut begin, mut at) = (0, first);
    while at < bytes.len() {
        if is_escape(at) {
            text.push_str(&piece[begin..at]);
            begin = at + 1;
            at += 2;
        } else {
            at += 1;
        }
    }
    text.push_str(&piece[begin..]);
    Cow::Owned(text)
}

/// Where the line at the beginning ends: at the first line end outside of a text's quotes, or of all bytes. Only fields are
/// texts: a quote in a tag is a letter like any other.
pub(super) fn line_end(bytes: &[u8]) -> usize {
    let mut at = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r')).unwrap_or(bytes.len());
    let mut is_in_fields = false;
    while at < bytes.len() {
        match bytes[at] {
            b'\n' => return at,
            b' ' => {
                is_in_fields = true;
                at += 1;
            }
            b'\\' if bytes.get(at + 1) != Some(&b'\n') => at += 2,
            b'=' if is_in_fields && bytes.get(at + 1) == Some(&b'"') => {
                at += 2;
                if let Some(length) = closing_quote(&bytes[at..]) {
                    at += length + 1;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// How far away the quote is that closes a text.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}
