//! WHERE: bounds of time, and conditions on tags.
//!
//! Bounds of time stand beside each other with AND; under OR they have no one range and are refused.

use egiz_model::Timestamp;

use super::parser::Parser;
use super::scan::Token;
use super::{Bounds, Filter, QueryError, Test};

/// What a WHERE says.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    pub(super) bounds: Bounds,
    pub(super) filter: Filter,
}

/// Reads what follows WHERE.
pub(super) fn conditions(parser: &mut Parser<'_>) -> Result<Conditions, QueryError> {
    let mut left = all_of(parser)?;
    while parser.keyword("OR")? {
        let right = all_of(parser)?;
        if left.bounds != Bounds::default() || right.bounds != Bounds::default() {
            return Err(parser.unsupported("time under OR; allowed is time with AND"));
        }
        left.filter = Filter::Or(Box::new(left.filter), Box::new(right.filter));
    }
    Ok(left)
}

fn all_of(parser: &mut Parser<'_>) -> Result<Conditions, QueryError> {
    let mut left = one(parser)?;
    while parser.keyword("AND")? {
        let right = one(parser)?;
        left.bounds = Bounds {
            from: left.bounds.from.max(right.bounds.from),
            to: match (left.bounds.to, right.bounds.to) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        };
        left.filter = match (left.filter, right.filter) {
            (Filter::Everything, filter) | (filter, Filter::Everything) => filter,
            (a, b) => Filter::And(Box::new(a), Box::new(b)),
        };
    }
    Ok(left)
}

fn one(parser: &mut Parser<'_>) -> Result<Conditions, QueryError> {
    if parser.symbol("(")? {
        return parser.deeper(|parser| {
            let inside = conditions(parser)?;
            parser.need_symbol(")")?;
            Ok(inside)
        });
    }
    parser.count_condition()?;
    let name = parser.name()?;
    let is_tag = parser.cast()?;
    if name.eq_ignore_ascii_case("time") && !is_tag {
        return Ok(Conditions { bounds: bounds(parser)?, filter: Filter::Everything });
    }
    let test = test(parser, &name)?;
    Ok(Conditions { bounds: Bounds::default(), filter: Filter::Tag(name, test) })
}

fn test(parser: &mut Parser<'_>, name: &str) -> Result<Test, QueryError> {
    if parser.symbol("=~")? {
        return Ok(Test::Matches(parser.need_regex()?));
    }
    if parser.symbol("!~")? {
        return Ok(Test::MatchesNot(parser.need_regex()?));
    }
    let is_equal = parser.symbol("=")?;
    let is_unequal = !is_equal && (parser.symbol("!=")? || parser.symbol("<>")?);
    match parser.peek()? {
        Token::Text(text) if is_equal => {
            parser.next()?;
            Ok(Test::Equal(text))
        }
        Token::Text(text) if is_unequal => {
            parser.next()?;
            Ok(Test::NotEqual(text))
        }
        _ if is_equal || is_unequal => Err(parser.expected(
            "a text in single quotes; conditions hold tags against texts, and are not supported on fields",
        )),
        Token::Symbol("<" | ">" | "<=" | ">=") => {
            let name: String = name.chars().take(64).collect();
            Err(parser.unsupported(&format!(
                "the condition on the field \"{name}\"; allowed are conditions on time and on tags with =, !=, =~ and !~"
            )))
        }
        _ => Err(parser.expected("=, !=, =~ or !~")),
    }
}

fn bounds(parser: &mut Parser<'_>) -> Result<Bounds, QueryError> {
    let Token::Symbol(operator @ ("=" | "<" | "<=" | ">" | ">=")) = parser.peek()? else {
        return Err(parser.expected("=, <, <=, > or >="));
    };
    parser.next()?;
    let nanos = moment(parser)?;
    // Times are kept in microseconds.
    let (floor, is_whole) = (nanos.div_euclid(1_000), nanos.rem_euclid(1_000) == 0);
    let ceiling = if is_whole { floor } else { floor + 1 };
    Ok(match operator {
        ">" => Bounds { from: Some(floor + 1), to: None },
        ">=" => Bounds { from: Some(ceiling), to: None },
        "<" => Bounds { from: None, to: Some(ceiling) },
        "<=" => Bounds { from: None, to: Some(floor + 1) },
        _ => Bounds { from: Some(ceiling), to: Some(floor + 1) },
    })
}

/// `now() - 1h`, `1700000000s`, `'2024-01-01T00:00:00Z'`, sums of them; in nanoseconds since 1970.
fn moment(parser: &mut Parser<'_>) -> Result<i64, QueryError> {
    let mut sum = part(parser)?;
    loop {
        let sign = if parser.symbol("+")? {
            1
        } else if parser.symbol("-")? {
            -1
        } else {
            return Ok(sum);
        };
        let step = part(parser)?.checked_mul(sign);
        sum = step
            .and_then(|step| sum.checked_add(step))
            .ok_or_else(|| parser.fault("the time is outside of the years 1678 to 2262"))?;
    }
}

fn part(parser: &mut Parser<'_>) -> Result<i64, QueryError> {
    const ALLOWED: &str =
        "now(), a length of time, nanoseconds since 1970, or a time as in '2024-01-31T12:00:00Z'";
    if parser.symbol("-")? {
        return Ok(part_unsigned(parser, ALLOWED)?.saturating_neg());
    }
    part_unsigned(parser, ALLOWED)
}

fn part_unsigned(parser: &mut Parser<'_>, allowed: &str) -> Result<i64, QueryError> {
    match parser.peek()? {
        Token::Integer(nanos) | Token::Duration(nanos) => {
            parser.next()?;
            Ok(nanos)
        }
        Token::Word(word) if word.eq_ignore_ascii_case("now") => {
            parser.next()?;
            parser.need_symbol("(")?;
            parser.need_symbol(")")?;
            Ok(parser.now)
        }
        Token::Text(text) => {
            let Some(time) = written(&text) else { return Err(parser.expected(allowed)) };
            parser.next()?;
            Ok(time.as_micros().saturating_mul(1_000))
        }
        _ => Err(parser.expected(allowed)),
    }
}

/// A time as InfluxQL writes it: with `T` or a space, with or without a zone, maybe only a day.
fn written(text: &str) -> Option<Timestamp> {
    let mut text = text.trim().replacen(' ', "T", 1);
    if !text.contains('T') {
        text.push_str("T00:00:00");
    }
    let of_day = text.split_once('T').map_or("", |(_, of_day)| of_day);
    if !of_day.ends_with(['Z', 'z']) && !of_day.contains(['+', '-']) {
        text.push('Z');
    }
    Timestamp::parse(&text).ok()
}
