//! What all parts of the parser share: a place in the text, a look at the next token, and errors that say where.

use regex::Regex;

use super::scan::{self, Token};
use super::{CONDITIONS_MAX, DEPTH_MAX, OPERATIONS_MAX, Pattern, QueryError};

/// A place in a query.
pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    operations: usize,
    conditions: usize,
    /// Nanoseconds since 1970.
    pub(super) now: i64,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, now_micros: i64) -> Self {
        Self { text, at: 0, depth: 0, operations: 0, conditions: 0, now: now_micros.saturating_mul(1_000) }
    }

    fn skip_space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("--") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    pub(super) fn peek(&mut self) -> Result<Token, QueryError> {
        self.skip_space();
        let (token, _) = scan::token(&self.text[self.at..]).map_err(|reason| self.fault(&reason))?;
        Ok(token)
    }

    pub(super) fn next(&mut self) -> Result<Token, QueryError> {
        self.skip_space();
        let (token, length) = scan::token(&self.text[self.at..]).map_err(|reason| self.fault(&reason))?;
        self.at += length;
        Ok(token)
    }

    /// Takes this symbol if it is next.
    pub(super) fn symbol(&mut self, symbol: &str) -> Result<bool, QueryError> {
        let is_it = matches!(self.peek()?, Token::Symbol(next) if next == symbol);
        if is_it {
            self.next()?;
        }
        Ok(is_it)
    }

    /// Takes this keyword if it is next.
    pub(super) fn keyword(&mut self, keyword: &str) -> Result<bool, QueryError> {
        let is_it = matches!(self.peek()?, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        if is_it {
            self.next()?;
        }
        Ok(is_it)
    }

    pub(super) fn need_symbol(&mut self, symbol: &str) -> Result<(), QueryError> {
        if self.symbol(symbol)? { Ok(()) } else { Err(self.expected(symbol)) }
    }

    pub(super) fn need_keyword(&mut self, keyword: &str) -> Result<(), QueryError> {
        if self.keyword(keyword)? { Ok(()) } else { Err(self.expected(keyword)) }
    }

    /// A name, bare or in double quotes.
    pub(super) fn name(&mut self) -> Result<String, QueryError> {
        match self.peek()? {
            Token::Word(name) | Token::Quoted(name) => {
                self.next()?;
                Ok(name)
            }
            _ => Err(self.expected("a name, in double quotes where it is not one word")),
        }
    }

    /// A number of rows.
    pub(super) fn count(&mut self) -> Result<usize, QueryError> {
        match self.peek()? {
            Token::Integer(count) => {
                self.next()?;
                usize::try_from(count).map_err(|_| self.expected("a whole number"))
            }
            _ => Err(self.expected("a whole number")),
        }
    }

    /// A regular expression, if one is next.
    pub(super) fn regex(&mut self) -> Result<Option<Regex>, QueryError> {
        self.skip_space();
        if !self.text[self.at..].starts_with('/') {
            return Ok(None);
        }
        let (regex, length) = scan::regex(&self.text[self.at..]).map_err(|reason| self.fault(&reason))?;
        self.at += length;
        Ok(Some(regex))
    }

    pub(super) fn need_regex(&mut self) -> Result<Regex, QueryError> {
        match self.regex()? {
            Some(regex) => Ok(regex),
            None => Err(self.expected("a regular expression as in /^a.*$/")),
        }
    }

    pub(super) fn pattern(&mut self) -> Result<Pattern, QueryError> {
        match self.regex()? {
            Some(regex) => Ok(Pattern::Matching(regex)),
            None => self.name().map(Pattern::Name),
        }
    }

    /// Passes over `::tag`, `::field` and the like, which say what a name is; whether it was `::tag`.
    pub(super) fn cast(&mut self) -> Result<bool, QueryError> {
        if !self.symbol("::")? {
            return Ok(false);
        }
        Ok(self.name()?.eq_ignore_ascii_case("tag"))
    }

    /// Goes a level deeper for as long as `inside` takes.
    pub(super) fn deeper<T>(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        if self.depth == DEPTH_MAX {
            return Err(self.fault(&format!("parentheses lie deeper than {DEPTH_MAX} inside each other")));
        }
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    /// Counts an operation of arithmetic.
    pub(super) fn count_operation(&mut self) -> Result<(), QueryError> {
        self.operations += 1;
        if self.operations > OPERATIONS_MAX {
            return Err(self.fault(&format!("more than {OPERATIONS_MAX} operations")));
        }
        Ok(())
    }

    /// Counts a condition.
    pub(super) fn count_condition(&mut self) -> Result<(), QueryError> {
        self.conditions += 1;
        if self.conditions > CONDITIONS_MAX {
            return Err(self.fault(&format!("more than {CONDITIONS_MAX} conditions")));
        }
        Ok(())
    }

    /// The error that something else is here than what is allowed.
    pub(super) fn expected(&mut self, allowed: &str) -> QueryError {
        self.skip_space();
        let rest = &self.text[self.at..];
        let found: String = match scan::token(rest) {
            Ok((Token::End, _)) => "EOF".to_owned(),
            Ok((_, length)) => rest[..length].chars().take(40).collect(),
            Err(_) => rest.chars().take(1).collect(),
        };
        self.fault(&format!("found {found}, expected {allowed}"))
    }

    /// The error that something is not supported here.
    pub(super) fn unsupported(&mut self, what: &str) -> QueryError {
        self.fault(&format!("not supported: {what}"))
    }

    /// An error with its place.
    pub(super) fn fault(&self, reason: &str) -> QueryError {
        let before = &self.text[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        QueryError(format!("{reason} at line {line}, char {column}"))
    }
}
