//! Reads RQL, by recursive descent with a bounded depth.

use egiz_model::Value;

use super::{Filter, FilterError, Node, Operator};
use crate::path::Path;

/// How the paths of a filter are read.
pub(super) type ReadPath = fn(&str) -> Result<Path, String>;

pub(super) fn parse(text: &str, read_path: ReadPath) -> Result<Node, FilterError> {
    if text.len() > Filter::LENGTH_MAX {
        let message = format!("the filter has {} bytes; allowed are {}", text.len(), Filter::LENGTH_MAX);
        return Err(FilterError { position: 0, message });
    }
    let mut reader = Reader { text, at: 0, read_path };
    let node = reader.node(Filter::DEPTH_MAX)?;
    reader.skip_spaces();
    if reader.at < text.len() {
        return Err(reader.error("the filter ends here, yet more text follows"));
    }
    Ok(node)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    read_path: ReadPath,
}

const NAMES: &str = "and, or, not, eq, ne, gt, ge, lt, le, in, like, ilike, exists, empty";

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, message: impl Into<String>) -> FilterError {
        FilterError { position: self.text[..self.at].chars().count() + 1, message: message.into() }
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn expect(&mut self, character: char) -> Result<(), FilterError> {
        self.skip_spaces();
        if self.rest().starts_with(character) {
            self.at += character.len_utf8();
            return Ok(());
        }
        let found =
            self.rest().chars().next().map_or_else(|| "the end".to_owned(), |found| format!("`{found}`"));
        Err(self.error(format!("`{character}` is expected, not {found}")))
    }

    fn at_comma(&mut self) -> bool {
        self.skip_spaces();
        self.rest().starts_with(',')
    }

    fn node(&mut self, depth: usize) -> Result<Node, FilterError> {
        self.skip_spaces();
        let Some(below) = depth.checked_sub(1) else {
            return Err(
                self.error(format!("filters may lie at most {} deep inside each other", Filter::DEPTH_MAX))
            );
        };
        let name_at = self.at;
        let length =
            self.rest().find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(self.rest().len());
        let name = &self.rest()[..length];
        let unknown = self.error(format!("`{name}` is no filter; allowed are {NAMES}"));
        self.at += length;
        if name.is_empty() {
            return Err(self.error(format!("a filter is expected: {NAMES}")));
        }
        let operator = Operator::ALL.into_iter().find(|operator| operator.name() == name);
        if operator.is_none() && !NAMES.split(", ").any(|known| known == name) {
            self.at = name_at;
            return Err(unknown);
        }
        self.expect('(')?;
        let node = match (name, operator) {
            (_, Some(operator)) => {
                let path = self.path()?;
                self.expect(',')?;
                Node::Compare { path, operator, value: self.value()? }
            }
            ("and" | "or", _) => {
                let mut nodes = Vec::new();
                self.skip_spaces();
                if !self.rest().starts_with(')') {
                    nodes.push(self.node(below)?);
                }
                while self.at_comma() {
                    self.expect(',')?;
                    nodes.push(self.node(below)?);
                }
                if name == "and" { Node::And(nodes) } else { Node::Or(nodes) }
            }
            ("not", _) => Node::Not(Box::new(self.node(below)?)),
            ("in", _) => {
                let path = self.path()?;
                let mut values = Vec::new();
                while self.at_comma() {
                    self.expect(',')?;
                    values.push(self.value()?);
                }
                if values.is_empty() {
                    return Err(self.error("`in` takes at least one value after the path"));
                }
                Node::In { path, values }
            }
            ("like" | "ilike", _) => {
                let path = self.path()?;
                self.expect(',')?;
                self.skip_spaces();
                let at = self.at;
                let Value::Text(pattern) = self.value()? else {
                    self.at = at;
                    return Err(self.error("a pattern is a text in quotes, such as \"oven-*\""));
                };
                if pattern.len() > Filter::PATTERN_MAX {
                    self.at = at;
                    return Err(self.error(format!("a pattern has at most {} bytes", Filter::PATTERN_MAX)));
                }
                Node::Like { path, pattern: pattern.into(), ignore_case: name == "ilike" }
            }
            ("exists", _) => Node::Exists(self.path()?),
            _ => Node::Empty(self.path()?),
        };
        self.expect(')')?;
        Ok(node)
    }

    fn path(&mut self) -> Result<Path, FilterError> {
        self.skip_spaces();
        let at = self.at;
        let text = if self.rest().starts_with(['"', '\'']) {
            self.quoted()?
        } else {
            let length = self.rest().find([',', ')', '(']).unwrap_or(self.rest().len());
            let text = self.rest()[..length].trim_end().to_owned();
            self.at += length;
            text
        };
        (self.read_path)(&text).map_err(|message| {
            self.at = at;
            self.error(message)
        })
    }

    fn value(&mut self) -> Result<Value, FilterError> {
        self.skip_spaces();
        if self.rest().starts_with(['"', '\'']) {
            return Ok(Value::text(&self.quoted()?));
        }
        let length = self.rest().find([',', ')', '(']).unwrap_or(self.rest().len());
        let word = self.rest()[..length].trim_end();
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ => {
                let is_number = word.starts_with(|first: char| first.is_ascii_digit() || first == '-');
                match serde_json::from_str::<serde_json::Value>(word) {
                    Ok(number) if is_number && number.is_number() => Value::from_json(&number),
                    _ => {
                        return Err(self.error(format!(
                            "`{word}` is no value; allowed are a text in quotes, a number, true, false and null"
                        )));
                    }
                }
            }
        };
        self.at += length;
        Ok(value)
    }

    fn quoted(&mut self) -> Result<String, FilterError> {
        let start = self.at;
        let mut characters = self.rest().char_indices();
        let (_, quote) = characters.next().expect("the caller saw a quote");
        let mut text = String::new();
        while let Some((index, character)) = characters.next() {
            if character == quote {
                self.at = start + index + quote.len_utf8();
                return Ok(text);
            }
            if character != '\\' {
                text.push(character);
                continue;
            }
            let escaped = match characters.next().map(|(_, escaped)| escaped) {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('u') => unicode_escape(&mut characters).ok_or_else(|| {
                    self.at = start + index;
                    self.error("`\\u` is followed by four hexadecimal digits of a character")
                })?,
                Some(other @ ('"' | '\'' | '\\' | '/')) => other,
                _ => {
                    self.at = start + index;
                    return Err(self.error("allowed after `\\` are \" ' \\ / n t r b f and u"));
                }
            };
            text.push(escaped);
        }
        Err(self.error("the text's closing quote is missing"))
    }
}

/// Four digits, and four more where the first are half of a surrogate pair.
fn unicode_escape(characters: &mut std::str::CharIndices<'_>) -> Option<char> {
    let mut four =
        || (0..4).try_fold(0_u32, |number, _| Some(number * 16 + characters.next()?.1.to_digit(16)?));
    let first = four()?;
    if !(0xD800..0xDC00).contains(&first) {
        return char::from_u32(first);
    }
    if characters.next()?.1 != '\\' || characters.next()?.1 != 'u' {
        return None;
    }
    let mut four =
        || (0..4).try_fold(0_u32, |number, _| Some(number * 16 + characters.next()?.1.to_digit(16)?));
    let second = four()?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    char::from_u32(0x10000 + ((first - 0xD800) << 10) + second)
}
