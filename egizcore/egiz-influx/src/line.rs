//! The line protocol, a line at a time: `measurement,tag=value field=1.5,other="text" 1700000000000000000`.
//!
//! ```text
//!  body ──► lines(): cut at line ends outside of quotes ──► parse(): one point, or the reason why not
//! ```
//!
//! It accepts what InfluxDB accepts, line ends with a carriage return and numbers such as `.5` and `5.` included, and refuses
//! what InfluxDB refuses in InfluxDB's words, so that who knows these finds them here; what is allowed stands behind them.
//! Each line is looked at for itself: one that is no UTF-8, or whose quotes are open at its end, spoils no other.
//!
//! # Source
//! The line protocol reference, <https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/>.

use std::borrow::Cow;

mod scan;

use scan::{Scanner, Stop, unescaped};

/// How large a line may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineLimits {
    /// Its bytes.
    pub line_bytes_max: usize,
    /// Its tags.
    pub tags_max: usize,
    /// Its fields.
    pub fields_max: usize,
}

impl Default for LineLimits {
    fn default() -> Self {
        Self { line_bytes_max: 64 * 1024, tags_max: 64, fields_max: 1_000 }
    }
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'a> {
    /// What is measured.
    pub measurement: Cow<'a, str>,
    /// Which one of them, in the order of the line; no name is there twice.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The values, at least one, in the order of the line.
    pub fields: Vec<(Cow<'a, str>, FieldValue<'a>)>,
    /// When, in the unit that goes with the request.
    pub time: Option<i64>,
}

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue<'a> {
    /// `1.5`: finite.
    Float(f64),
    /// `1i`.
    Integer(i64),
    /// `1u`.
    Unsigned(u64),
    /// `true`, `t` and so on.
    Boolean(bool),
    /// `"text"`.
    Text(Cow<'a, str>),
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It breaks the protocol; in InfluxDB's words, then the field, its value and what is allowed.
    #[error("{0}")]
    Syntax(String),
    /// It exceeds a limit.
    #[error("{0}")]
    Limit(String),
}

/// A line of a body, as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawLine<'a> {
    /// Where it begins, counting from 1.
    pub number: usize,
    /// Its bytes, without what ends it.
    pub bytes: &'a [u8],
}

/// Cuts a body into lines; empty ones and comments are passed over. A line goes on behind a line end within a text's quotes;
/// quotes that nothing closes end with their line.
pub fn lines(body: &[u8]) -> impl Iterator<Item = RawLine<'_>> {
    let (mut rest, mut next_number) = (body, 1);
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let is_comment = rest.trim_ascii_start().first() == Some(&b'#');
            let end = if is_comment { first_line_end(rest) } else { scan::line_end(rest) };
            let (whole, number) = (&rest[..end], next_number);
            next_number += 1 + whole.iter().filter(|byte| **byte == b'\n').count();
            rest = rest.get(end + 1..).unwrap_or_default();
            let bytes = whole.trim_ascii();
            if !bytes.is_empty() && !is_comment {
                return Some(RawLine { number, bytes });
            }
        }
        None
    })
}

/// Where a line that is a comment ends.
fn first_line_end(rest: &[u8]) -> usize {
    let leading = rest.len() - rest.trim_ascii_start().len();
    rest[leading..].iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| leading + at)
}

/// Reads a line.
///
/// # Errors
/// [`LineError`] says what is wrong with it.
pub fn parse(line: &[u8], limits: LineLimits) -> Result<Point<'_>, LineError> {
    if line.len() > limits.line_bytes_max {
        let (length, most) = (line.len(), limits.line_bytes_max);
        return Err(LineError::Limit(format!("the line has {length} bytes; at most {most} are allowed")));
    }
    let text = std::str::from_utf8(line).map_err(|error| {
        syntax(format!("invalid UTF-8 after byte {}; lines are UTF-8", error.valid_up_to()))
    })?;
    let mut scanner = Scanner::new(text);
    let (measurement, stop) = scanner.until(b", ");
    if measurement.is_empty() {
        return Err(syntax("missing measurement"));
    }
    let measurement = unescaped(measurement, b", ");
    let tags = if stop == Stop::At(b',') { tags(&mut scanner, limits)? } else { Vec::new() };
    scanner.skip_spaces();
    let fields = fields(&mut scanner, limits)?;
    scanner.skip_spaces();
    let time = match scanner.rest().trim() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            syntax(format!("bad timestamp: `{}` is no whole number of 64 bits", shortened(text)))
        })?),
    };
    Ok(Point { measurement, tags, fields, time })
}

type Tags<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn tags<'a>(scanner: &mut Scanner<'a>, limits: LineLimits) -> Result<Tags<'a>, LineError> {
    const SPECIAL: &[u8] = b",= ";
    let mut tags: Tags<'a> = Vec::new();
    loop {
        let (key, stop) = scanner.until(SPECIAL);
        if key.is_empty() {
            return Err(syntax("missing tag key"));
        }
        if stop != Stop::At(b'=') {
            return Err(syntax(format!("missing tag value: the tag `{}` has no `=`", shortened(key))));
        }
        let (value, stop) = scanner.until(SPECIAL);
        if value.is_empty() {
            return Err(syntax(format!("missing tag value: that of `{}` is empty", shortened(key))));
        }
        if stop == Stop::At(b'=') {
            let key = shortened(key);
            return Err(syntax(format!("invalid tag format: the value of `{key}` holds `=` without `\\`")));
        }
        let key = unescaped(key, SPECIAL);
        if tags.iter().any(|(other, _)| *other == key) {
            return Err(syntax(format!("duplicate tags: `{}` is there twice", shortened(&key))));
        }
        if tags.len() == limits.tags_max {
            let most = limits.tags_max;
            return Err(LineError::Limit(format!("the line has more than the {most} tags that are allowed")));
        }
        tags.push((key, unescaped(value, SPECIAL)));
        if stop != Stop::At(b',') {
            return Ok(tags);
        }
    }
}

type Fields<'a> = Vec<(Cow<'a, str>, FieldValue<'a>)>;

fn fields<'a>(scanner: &mut Scanner<'a>, limits: LineLimits) -> Result<Fields<'a>, LineError> {
    const SPECIAL: &[u8] = b",= ";
    if scanner.rest().is_empty() {
        return Err(syntax("missing fields"));
    }
    let mut fields = Vec::new();
    loop {
        let (key, stop) = scanner.until(SPECIAL);
        if stop != Stop::At(b'=') {
            let key = shortened(key);
            return Err(syntax(format!("missing field value: the field `{key}` has no `=`")));
        }
        if key.is_empty() {
            return Err(syntax("missing field key"));
        }
        let (value, stop) = field_value(key, scanner)?;
        if fields.len() == limits.fields_max {
            let most = limits.fields_max;
            return Err(LineError::Limit(format!(
                "the line has more than the {most} fields that are allowed"
            )));
        }
        fields.push((unescaped(key, SPECIAL), value));
        if stop != Stop::At(b',') {
            return Ok(fields);
        }
    }
}

fn field_value<'a>(key: &str, scanner: &mut Scanner<'a>) -> Result<(FieldValue<'a>, Stop), LineError> {
    let key = shortened(key);
    if scanner.rest().starts_with('"') {
        let Some(text) = scanner.quoted() else {
            return Err(syntax(format!("unbalanced quotes: nothing closes those of the field `{key}`")));
        };
        let (after, stop) = scanner.until(b", ");
        if !after.is_empty() {
            let after = shortened(after);
            return Err(syntax(format!("invalid field format: `{after}` stands behind the text of `{key}`")));
        }
        return Ok((FieldValue::Text(unescaped(text, b"\"\\")), stop));
    }
    let (text, stop) = scanner.until(b", ");
    if text.is_empty() {
        return Err(syntax(format!("missing field value: that of `{key}` is empty")));
    }
    let value = match text {
        "t" | "T" | "true" | "True" | "TRUE" => Some(FieldValue::Boolean(true)),
        "f" | "F" | "false" | "False" | "FALSE" => Some(FieldValue::Boolean(false)),
        _ => number(text),
    };
    match value {
        Some(value) => Ok((value, stop)),
        None => Err(syntax(format!(
            "invalid number: the field `{key}` is `{}`; allowed are finite numbers, whole ones of 64 bits with `i` or `u`, \
             true, false, and texts in quotes",
            shortened(text)
        ))),
    }
}

fn number(text: &str) -> Option<FieldValue<'static>> {
    if let Some(digits) = text.strip_suffix('i') {
        return digits.parse().ok().map(FieldValue::Integer);
    }
    if let Some(digits) = text.strip_suffix('u') {
        return digits.parse().ok().map(FieldValue::Unsigned);
    }
    // The words for infinity and for what is no number are none of the protocol's.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number = text.parse::<f64>().ok().filter(|number| is_plain && number.is_finite())?;
    Some(FieldValue::Float(number))
}

fn syntax(reason: impl Into<String>) -> LineError {
    LineError::Syntax(reason.into())
}

/// Keeps error texts short whatever the outside sends.
fn shortened(text: &str) -> &str {
    const SHOWN: usize = 64;
    &text[..text.floor_char_boundary(SHOWN)]
}

#[cfg(test)]
mod tests;
