//! Statements one after the other, and all of them but SELECT.

use super::condition::{self, Conditions};
use super::parser::Parser;
use super::scan::Token;
use super::{Keys, Pattern, QueryError, STATEMENTS_MAX, Show, Statement, select};

/// Reads every statement.
pub(super) fn all(parser: &mut Parser<'_>) -> Result<Vec<Statement>, QueryError> {
    let mut statements = Vec::new();
    loop {
        while parser.symbol(";")? {}
        if parser.peek()? == Token::End {
            return Ok(statements);
        }
        if statements.len() == STATEMENTS_MAX {
            return Err(parser.fault(&format!("more than {STATEMENTS_MAX} statements")));
        }
        statements.push(one(parser)?);
        if parser.peek()? != Token::End && !parser.symbol(";")? {
            return Err(parser.expected("; or the end of the statement"));
        }
    }
}

fn one(parser: &mut Parser<'_>) -> Result<Statement, QueryError> {
    if parser.keyword("SELECT")? {
        return Ok(Statement::Select(Box::new(select::select(parser)?)));
    }
    if parser.keyword("SHOW")? {
        return show(parser);
    }
    if parser.keyword("CREATE")? {
        return create(parser);
    }
    for (word, what) in [
        ("DROP", "DROP; what is kept goes by history.retention_days"),
        ("DELETE", "DELETE; what is kept goes by history.retention_days"),
        ("ALTER", "ALTER; history.retention_days says what is kept"),
        ("EXPLAIN", "EXPLAIN"),
        ("GRANT", "GRANT; tokens have roles, see /api/v1/tokens"),
        ("REVOKE", "REVOKE; tokens have roles, see /api/v1/tokens"),
        ("SET", "SET; tokens have roles, see /api/v1/tokens"),
        ("KILL", "KILL"),
    ] {
        if parser.keyword(word)? {
            return Err(parser.unsupported(what));
        }
    }
    Err(parser.expected("SELECT, SHOW or CREATE DATABASE"))
}

fn create(parser: &mut Parser<'_>) -> Result<Statement, QueryError> {
    if !parser.keyword("DATABASE")? {
        return Err(
            parser.unsupported("CREATE of anything but DATABASE; history.retention_days says what is kept")
        );
    }
    parser.name()?;
    if parser.keyword("WITH")? {
        // Durations, replication and the name of a policy: there is one store, and its configuration says how long.
        while !matches!(parser.peek()?, Token::End | Token::Symbol(";")) {
            parser.next()?;
        }
    }
    Ok(Statement::CreateDatabase)
}

fn show(parser: &mut Parser<'_>) -> Result<Statement, QueryError> {
    if parser.keyword("DATABASES")? {
        return Ok(Statement::ShowDatabases);
    }
    if parser.keyword("RETENTION")? {
        parser.need_keyword("POLICIES")?;
        on_database(parser)?;
        return Ok(Statement::ShowRetentionPolicies);
    }
    if parser.keyword("MEASUREMENTS")? {
        on_database(parser)?;
        let mut from = Vec::new();
        if parser.keyword("WITH")? {
            parser.need_keyword("MEASUREMENT")?;
            from.push(if parser.symbol("=")? {
                Pattern::Name(parser.name()?)
            } else {
                parser.need_symbol("=~")?;
                Pattern::Matching(parser.need_regex()?)
            });
        }
        return Ok(Statement::ShowMeasurements(rest(parser, from)?));
    }
    if parser.keyword("SERIES")? {
        on_database(parser)?;
        let from = from(parser)?;
        return Ok(Statement::ShowSeries(rest(parser, from)?));
    }
    if parser.keyword("FIELD")? {
        parser.need_keyword("KEYS")?;
        on_database(parser)?;
        let from = from(parser)?;
        return Ok(Statement::ShowFieldKeys(rest(parser, from)?));
    }
    if parser.keyword("TAG")? {
        if parser.keyword("KEYS")? {
            on_database(parser)?;
            let from = from(parser)?;
            return Ok(Statement::ShowTagKeys(rest(parser, from)?));
        }
        parser.need_keyword("VALUES")?;
        on_database(parser)?;
        let from = from(parser)?;
        parser.need_keyword("WITH")?;
        parser.need_keyword("KEY")?;
        let keys = keys(parser)?;
        return Ok(Statement::ShowTagValues(rest(parser, from)?, keys));
    }
    Err(parser
        .expected("DATABASES, RETENTION POLICIES, MEASUREMENTS, SERIES, TAG KEYS, TAG VALUES or FIELD KEYS"))
}

fn on_database(parser: &mut Parser<'_>) -> Result<(), QueryError> {
    if parser.keyword("ON")? {
        parser.name()?;
    }
    Ok(())
}

fn from(parser: &mut Parser<'_>) -> Result<Vec<Pattern>, QueryError> {
    if parser.keyword("FROM")? { select::measurements(parser) } else { Ok(Vec::new()) }
}

fn keys(parser: &mut Parser<'_>) -> Result<Keys, QueryError> {
    if parser.symbol("=")? {
        return Ok(Keys::Any(vec![Pattern::Name(parser.name()?)]));
    }
    if parser.symbol("!=")? || parser.symbol("<>")? {
        return Ok(Keys::AllBut(Pattern::Name(parser.name()?)));
    }
    if parser.symbol("=~")? {
        return Ok(Keys::Any(vec![Pattern::Matching(parser.need_regex()?)]));
    }
    if parser.symbol("!~")? {
        return Ok(Keys::AllBut(Pattern::Matching(parser.need_regex()?)));
    }
    if !parser.keyword("IN")? {
        return Err(parser.expected("=, !=, =~, !~ or IN"));
    }
    parser.need_symbol("(")?;
    let mut names = vec![Pattern::Name(parser.name()?)];
    while parser.symbol(",")? {
        names.push(Pattern::Name(parser.name()?));
    }
    parser.need_symbol(")")?;
    Ok(Keys::Any(names))
}

/// WHERE, LIMIT and OFFSET.
fn rest(parser: &mut Parser<'_>, from: Vec<Pattern>) -> Result<Show, QueryError> {
    let mut show = Show { from, ..Show::default() };
    if parser.keyword("WHERE")? {
        let Conditions { filter, .. } = condition::conditions(parser)?;
        show.filter = filter;
    }
    if parser.keyword("ORDER")? {
        return Err(parser.unsupported("ORDER BY in SHOW; the answers are in order"));
    }
    if parser.keyword("LIMIT")? {
        show.limit = Some(parser.count()?);
    }
    if parser.keyword("OFFSET")? {
        show.offset = parser.count()?;
    }
    Ok(show)
}
