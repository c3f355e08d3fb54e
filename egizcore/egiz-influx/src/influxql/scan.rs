//! Tokens of InfluxQL. What `/` is depends on where it stands, so the parser asks for a regular expression where one may be.

use regex::{Regex, RegexBuilder};

use super::PATTERN_BYTES_MAX;

/// The memory that a compiled regular expression may take.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A bare word: a keyword or a name.
    Word(String),
    /// A name in double quotes.
    Quoted(String),
    /// A text in single quotes.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Number(f64),
    /// A length of time in nanoseconds.
    Duration(i64),
    /// An operator or a mark.
    Symbol(&'static str),
    /// The end.
    End,
}

/// Longer ones first.
const SYMBOLS: [&str; 21] = [
    "::", "=~", "!~", "!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ",", ";", ".", "*", "/", "+", "-",
    "%", "$",
];

/// Reads the token at the beginning of a text without leading space; how long it is.
///
/// # Errors
/// In words, what it is not.
pub(super) fn token(text: &str) -> Result<(Token, usize), String> {
    let Some(first) = text.chars().next() else { return Ok((Token::End, 0)) };
    if first.is_alphabetic() || first == '_' {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        return Ok((Token::Word(text[..end].to_owned()), end));
    }
    if first == '"' || first == '\'' {
        let (inside, length) = quoted(text, first)?;
        return Ok((if first == '"' { Token::Quoted(inside) } else { Token::Text(inside) }, length));
    }
    let second_is_digit = text.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    if first.is_ascii_digit() || (first == '.' && second_is_digit) {
        return number(text);
    }
    let symbol = SYMBOLS.iter().find(|symbol| text.starts_with(**symbol));
    symbol
        .map(|symbol| (Token::Symbol(symbol), symbol.len()))
        .ok_or_else(|| format!("`{first}` begins nothing known"))
}

fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let mut inside = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Ok((inside, at + 1));
        }
        if character != '\\' {
            inside.push(character);
            continue;
        }
        match characters.next() {
            Some((_, 'n')) => inside.push('\n'),
            Some((_, escaped @ ('\\' | '"' | '\''))) => inside.push(escaped),
            Some((_, other)) => inside.extend(['\\', other]),
            None => break,
        }
    }
    Err(format!("nothing closes the quotes {quote}"))
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if unit(&text[digits..]).is_some() {
        return duration(text);
    }
    let mut end = digits;
    if text[digits..].starts_with('.') {
        let fraction = &text[digits + 1..];
        end += 1 + fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
    } else if let Ok(whole) = text[..digits].parse() {
        return Ok((Token::Integer(whole), digits));
    }
    let number = text[..end].parse::<f64>().map_err(|_| format!("`{}` is no number", &text[..end]))?;
    Ok((Token::Number(number), end))
}

/// `1h30m`: counts with units.
fn duration(text: &str) -> Result<(Token, usize), String> {
    let mut nanos = 0_i64;
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Some((length, of_unit)) = (digits > 0).then(|| unit(&rest[digits..])).flatten() else { break };
        let count: Option<i64> = rest[..digits].parse().ok();
        let sum = count.and_then(|count| count.checked_mul(of_unit)).and_then(|part| nanos.checked_add(part));
        nanos = sum.ok_or_else(|| "the length of time is more than 292 years".to_owned())?;
        at += digits + length;
    }
    Ok((Token::Duration(nanos), at))
}

/// The unit at the beginning: its length in the text, and in nanoseconds.
fn unit(text: &str) -> Option<(usize, i64)> {
    const UNITS: [(&str, i64); 11] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("u", 1_000),
        ("µ", 1_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
        ("w", 604_800_000_000_000),
    ];
    let (name, nanos) = UNITS.iter().find(|(name, _)| text.starts_with(name))?;
    Some((name.len(), *nanos))
}

/// Reads `/…/` at the beginning; how long it is. Inside, `\/` stands for a slash.
///
/// # Errors
/// In words, what is wrong with it.
pub(super) fn regex(text: &str) -> Result<(Regex, usize), String> {
    let mut pattern = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some((_, '/'))) => {
                pattern.push('/');
                characters.next();
            }
            ('\\', Some((_, next))) => {
                pattern.extend(['\\', *next]);
                characters.next();
            }
            ('/', _) => return Ok((compiled(&pattern)?, at + 1)),
            (other, _) => pattern.push(other),
        }
    }
    Err("nothing closes the regular expression; it ends with /".to_owned())
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        let length = pattern.len();
        return Err(format!(
            "the regular expression has {length} bytes; at most {PATTERN_BYTES_MAX} are allowed"
        ));
    }
    let built = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).nest_limit(64).build();
    built.map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("the regular expression /{pattern}/ cannot be used: {reason}")
    })
}
