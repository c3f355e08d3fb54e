//! SELECT: sources, groups, order and limits; its columns are `column.rs`.

use super::column::{Fields, Leaf, column};
use super::condition::{self, Conditions};
use super::parser::Parser;
use super::scan::Token;
use super::{Bounds, By, COLUMNS_MAX, Every, Fill, Filter, Pattern, QueryError, Select};

/// Reads what follows SELECT.
pub(super) fn select(parser: &mut Parser<'_>) -> Result<Select, QueryError> {
    let mut columns = Vec::new();
    loop {
        if columns.len() == COLUMNS_MAX {
            return Err(parser.fault(&format!("more than {COLUMNS_MAX} columns")));
        }
        columns.push(column(parser)?);
        if !parser.symbol(",")? {
            break;
        }
    }
    if parser.keyword("INTO")? {
        return Err(parser.unsupported("INTO; nothing is written by a query"));
    }
    parser.need_keyword("FROM")?;
    let mut select = Select {
        columns,
        from: measurements(parser)?,
        bounds: Bounds::default(),
        filter: Filter::Everything,
        every: None,
        by: By::default(),
        fill: Fill::default(),
        is_descending: false,
        limit: None,
        offset: 0,
        series_limit: None,
        series_offset: 0,
    };
    if parser.keyword("WHERE")? {
        let Conditions { bounds, filter } = condition::conditions(parser)?;
        (select.bounds, select.filter) = (bounds, filter);
    }
    if parser.keyword("GROUP")? {
        parser.need_keyword("BY")?;
        group_by(parser, &mut select)?;
    }
    rest(parser, &mut select)?;
    check(parser, &mut select)?;
    Ok(select)
}

fn check(parser: &Parser<'_>, select: &mut Select) -> Result<(), QueryError> {
    // The time is there in any case.
    select.columns.retain(|column| {
        !matches!(column.leaves.as_slice(), [Leaf::Field(Fields::Name(name))] if name.eq_ignore_ascii_case("time"))
    });
    let leaves = || select.columns.iter().flat_map(|column| &column.leaves);
    if leaves().next().is_none() {
        return Err(parser.fault("at least one field or function must be asked for"));
    }
    let aggregates = leaves().filter(|leaf| leaf.is_aggregate()).count();
    if aggregates > 0 && aggregates < leaves().count() {
        return Err(parser.fault("mixing aggregate and non-aggregate queries is not supported"));
    }
    if aggregates == 0 && select.every.is_some() {
        return Err(parser.fault("GROUP BY time requires at least one aggregate function"));
    }
    Ok(())
}

/// Reads measurements with commas between. Database and retention policy before one are passed over: there is one store.
pub(super) fn measurements(parser: &mut Parser<'_>) -> Result<Vec<Pattern>, QueryError> {
    let mut measurements = Vec::new();
    loop {
        if parser.symbol("(")? {
            return Err(parser.unsupported("subqueries"));
        }
        let mut measurement = parser.pattern()?;
        while parser.symbol(".")? {
            while parser.symbol(".")? {}
            measurement = parser.pattern()?;
        }
        if measurements.len() == COLUMNS_MAX {
            return Err(parser.fault(&format!("more than {COLUMNS_MAX} measurements")));
        }
        measurements.push(measurement);
        if !parser.symbol(",")? {
            return Ok(measurements);
        }
    }
}

fn group_by(parser: &mut Parser<'_>, select: &mut Select) -> Result<(), QueryError> {
    loop {
        if parser.symbol("*")? {
            select.by.is_all = true;
        } else {
            match parser.pattern()? {
                Pattern::Name(name) if name.eq_ignore_ascii_case("time") && parser.symbol("(")? => {
                    select.every = Some(every(parser)?);
                }
                pattern => {
                    parser.cast()?;
                    select.by.tags.push(pattern);
                }
            }
        }
        if !parser.symbol(",")? {
            return Ok(());
        }
    }
}

fn every(parser: &mut Parser<'_>) -> Result<Every, QueryError> {
    let length = duration(parser)?;
    let mut offset = 0;
    if parser.symbol(",")? {
        let is_negative = parser.symbol("-")?;
        offset = duration(parser)?;
        if is_negative {
            offset = -offset;
        }
    }
    parser.need_symbol(")")?;
    // Times are kept in microseconds.
    Ok(Every { length: (length / 1_000).max(1), offset: offset / 1_000 })
}

pub(super) fn duration(parser: &mut Parser<'_>) -> Result<i64, QueryError> {
    match parser.peek()? {
        Token::Duration(nanos) if nanos > 0 => {
            parser.next()?;
            Ok(nanos)
        }
        Token::Duration(_) | Token::Integer(0) => {
            parser.next()?;
            Ok(0)
        }
        _ => Err(parser.expected("a length of time as in 10s")),
    }
}

fn rest(parser: &mut Parser<'_>, select: &mut Select) -> Result<(), QueryError> {
    if parser.keyword("fill")? {
        parser.need_symbol("(")?;
        select.fill = fill(parser)?;
        parser.need_symbol(")")?;
    }
    if parser.keyword("ORDER")? {
        parser.need_keyword("BY")?;
        let name = parser.name()?;
        if !name.eq_ignore_ascii_case("time") {
            return Err(parser.unsupported("ORDER BY anything but time"));
        }
        select.is_descending = parser.keyword("DESC")?;
        if !select.is_descending {
            parser.keyword("ASC")?;
        }
    }
    if parser.keyword("LIMIT")? {
        select.limit = Some(parser.count()?).filter(|limit| *limit > 0);
    }
    if parser.keyword("OFFSET")? {
        select.offset = parser.count()?;
    }
    if parser.keyword("SLIMIT")? {
        select.series_limit = Some(parser.count()?).filter(|limit| *limit > 0);
    }
    if parser.keyword("SOFFSET")? {
        select.series_offset = parser.count()?;
    }
    if parser.keyword("tz")? {
        parser.need_symbol("(")?;
        match parser.peek()? {
            Token::Text(zone) if ["UTC", "Etc/UTC"].contains(&zone.as_str()) => {
                parser.next()?;
            }
            _ => {
                return Err(parser.unsupported("time zones but 'UTC'; offset the buckets with time(1d, 22h)"));
            }
        }
        parser.need_symbol(")")?;
    }
    Ok(())
}

fn fill(parser: &mut Parser<'_>) -> Result<Fill, QueryError> {
    const ALLOWED: &str = "null, none, previous, linear or a number";
    let is_negative = parser.symbol("-")?;
    #[expect(clippy::cast_precision_loss, reason = "the nearest double is what is shown")]
    let number = match parser.peek()? {
        Token::Integer(whole) => Some(whole as f64),
        Token::Number(number) => Some(number),
        _ => None,
    };
    if let Some(number) = number {
        parser.next()?;
        return Ok(Fill::Number(if is_negative { -number } else { number }));
    }
    for (word, fill) in
        [("null", Fill::Null), ("none", Fill::None), ("previous", Fill::Previous), ("linear", Fill::Linear)]
    {
        if !is_negative && parser.keyword(word)? {
            return Ok(fill);
        }
    }
    Err(parser.expected(ALLOWED))
}
