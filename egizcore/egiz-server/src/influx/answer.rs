//! Answers to queries, as InfluxDB writes them: results of statements, each with series of rows, or an error.

use egiz_influx::Precision;
use egiz_influx::reckon::Scalar;
use egiz_model::Timestamp;

use crate::present;

/// A series of an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    pub(super) name: String,
    /// Those of GROUP BY.
    pub(super) tags: Vec<(String, String)>,
    pub(super) columns: Vec<String>,
    pub(super) values: Vec<Vec<Cell>>,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// A time in microseconds since 1970.
    Time(i64),
    /// A value.
    Value(Scalar),
}

impl Cell {
    pub(super) fn text(text: &str) -> Self {
        Self::Value(Scalar::Text(text.into()))
    }
}

/// What came of a statement.
pub(super) type Outcome = Result<Vec<Series>, String>;

/// How an answer is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// The unit of times; RFC 3339 where there is none.
    pub(super) epoch: Option<Precision>,
    /// Rows of one piece where the answer comes in pieces, each a document on a line of its own.
    pub(super) chunk_rows: Option<usize>,
    /// With line ends and spaces.
    pub(super) is_pretty: bool,
}

/// Writes the results of all statements.
pub(super) fn write(outcomes: &[Outcome], form: Form) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    match form.chunk_rows {
        None => {
            out.extend_from_slice(b"{\"results\":[");
            for (number, outcome) in outcomes.iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                match outcome {
                    Ok(series) => result(&mut out, number, series.iter().map(Piece::of), form, false),
                    Err(reason) => error(&mut out, number, reason),
                }
            }
            out.extend_from_slice(b"]}\n");
        }
        Some(rows) => chunked(&mut out, outcomes, rows.max(1), form),
    }
    if form.is_pretty && form.chunk_rows.is_none() {
        return pretty(&out).unwrap_or(out);
    }
    out
}

fn pretty(json: &[u8]) -> Option<Vec<u8>> {
    let json: serde_json::Value = serde_json::from_slice(json).ok()?;
    let mut pretty = serde_json::to_vec_pretty(&json).ok()?;
    pretty.push(b'\n');
    Some(pretty)
}

/// Some rows of a series.
struct Piece<'a> {
    series: &'a Series,
    rows: &'a [Vec<Cell>],
    goes_on: bool,
}

impl<'a> Piece<'a> {
    fn of(series: &'a Series) -> Self {
        Self { series, rows: &series.values, goes_on: false }
    }
}

fn chunked(out: &mut Vec<u8>, outcomes: &[Outcome], rows: usize, form: Form) {
    for (number, outcome) in outcomes.iter().enumerate() {
        let series = match outcome {
            Ok(series) => series,
            Err(reason) => {
                out.extend_from_slice(b"{\"results\":[");
                error(out, number, reason);
                out.extend_from_slice(b"]}\n");
                continue;
            }
        };
        let mut pieces = Vec::new();
        for one in series {
            let count = one.values.len().div_ceil(rows);
            for (index, rows) in one.values.chunks(rows).enumerate() {
                pieces.push(Piece { series: one, rows, goes_on: index + 1 < count });
            }
        }
        let last = pieces.len().saturating_sub(1);
        if pieces.is_empty() {
            out.extend_from_slice(b"{\"results\":[");
            result(out, number, std::iter::empty(), form, false);
            out.extend_from_slice(b"]}\n");
        }
        for (index, piece) in pieces.into_iter().enumerate() {
            out.extend_from_slice(b"{\"results\":[");
            result(out, number, std::iter::once(piece), form, index < last);
            out.extend_from_slice(b"]}\n");
        }
    }
}

fn error(out: &mut Vec<u8>, statement: usize, reason: &str) {
    out.extend_from_slice(format!("{{\"statement_id\":{statement},\"error\":").as_bytes());
    present::string(out, reason);
    out.push(b'}');
}

fn result<'a>(
    out: &mut Vec<u8>,
    statement: usize,
    pieces: impl Iterator<Item = Piece<'a>>,
    form: Form,
    goes_on: bool,
) {
    out.extend_from_slice(format!("{{\"statement_id\":{statement}").as_bytes());
    let mut is_first = true;
    for piece in pieces {
        out.extend_from_slice(if is_first { b",\"series\":[" } else { b"," });
        is_first = false;
        write_piece(out, &piece, form);
    }
    if !is_first {
        out.push(b']');
    }
    if goes_on {
        out.extend_from_slice(b",\"partial\":true");
    }
    out.push(b'}');
}

fn write_piece(out: &mut Vec<u8>, piece: &Piece<'_>, form: Form) {
    let Series { name, tags, columns, .. } = piece.series;
    let mut separator = b'{';
    let mut member = |out: &mut Vec<u8>, name: &str| {
        out.push(std::mem::replace(&mut separator, b','));
        present::string(out, name);
        out.push(b':');
    };
    if !name.is_empty() {
        member(out, "name");
        present::string(out, name);
    }
    if !tags.is_empty() {
        member(out, "tags");
        for (index, (key, value)) in tags.iter().enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            present::string(out, key);
            out.push(b':');
            present::string(out, value);
        }
        out.push(b'}');
    }
    member(out, "columns");
    for (index, column) in columns.iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        present::string(out, column);
    }
    out.push(b']');
    if !piece.rows.is_empty() {
        member(out, "values");
        for (index, row) in piece.rows.iter().enumerate() {
            out.push(if index == 0 { b'[' } else { b',' });
            for (index, cell) in row.iter().enumerate() {
                out.push(if index == 0 { b'[' } else { b',' });
                write_cell(out, cell, form.epoch);
            }
            out.push(b']');
        }
        out.push(b']');
    }
    if piece.goes_on {
        member(out, "partial");
        out.extend_from_slice(b"true");
    }
    out.push(b'}');
}

fn write_cell(out: &mut Vec<u8>, cell: &Cell, epoch: Option<Precision>) {
    match cell {
        Cell::Time(micros) => match epoch {
            Some(precision) => whole(out, precision.of_micros(*micros)),
            None => moment(out, *micros),
        },
        Cell::Value(Scalar::Null) => out.extend_from_slice(b"null"),
        Cell::Value(Scalar::Bool(truth)) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Cell::Value(Scalar::Integer(number)) => whole(out, *number),
        Cell::Value(Scalar::Float(number)) => float(out, *number),
        Cell::Value(Scalar::Text(text)) => present::string(out, text),
    }
}

fn whole(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A whole number stands without a fraction, as InfluxDB writes it.
#[expect(clippy::cast_possible_truncation, reason = "a whole number far inside of 64 bits")]
fn float(out: &mut Vec<u8>, number: f64) {
    const EXACT: f64 = 9e15;
    if number.fract() == 0.0 && number.abs() < EXACT {
        whole(out, number as i64);
    } else {
        out.extend_from_slice(ryu::Buffer::new().format(number).as_bytes());
    }
}

/// RFC 3339 with as many digits of a second as are not zero.
fn moment(out: &mut Vec<u8>, micros: i64) {
    let text = jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| Timestamp::from_micros(micros).to_string(), |time| time.to_string());
    present::string(out, &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(rows: i64) -> Series {
        let row = |second: i64| {
            let value = if second == 1 { Scalar::Null } else { Scalar::Float(1.5 * second as f64) };
            vec![Cell::Time(second * 1_500_000), Cell::Value(value)]
        };
        Series {
            name: "cpu".to_owned(),
            tags: vec![("host".to_owned(), "a\"b".to_owned())],
            columns: ["time", "mean"].map(str::to_owned).to_vec(),
            values: (0..rows).map(row).collect(),
        }
    }

    fn check(outcomes: &[Outcome], form: Form, expected: &str) {
        assert_eq!(String::from_utf8(write(outcomes, form)).expect("UTF-8"), expected);
    }

    const PLAIN: Form = Form { epoch: None, chunk_rows: None, is_pretty: false };

    #[test]
    fn answers_are_as_influxdb_writes_them() {
        check(
            &[Ok(vec![series(3)]), Ok(Vec::new()), Err("not \"now\"".to_owned())],
            PLAIN,
            "{\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"cpu\",\"tags\":{\"host\":\"a\\\"b\"},\"columns\":[\"time\",\
             \"mean\"],\"values\":[[\"1970-01-01T00:00:00Z\",0],[\"1970-01-01T00:00:01.5Z\",null],[\"1970-01-01T00:00:03Z\",3]]}]},\
             {\"statement_id\":1},{\"statement_id\":2,\"error\":\"not \\\"now\\\"\"}]}\n",
        );
    }

    #[test]
    fn pieces_say_that_more_comes() {
        check(
            &[Ok(vec![series(3)])],
            Form { epoch: Some(Precision::Milliseconds), chunk_rows: Some(2), is_pretty: false },
            "{\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"cpu\",\"tags\":{\"host\":\"a\\\"b\"},\"columns\":[\"time\",\
             \"mean\"],\"values\":[[0,0],[1500,null]],\"partial\":true}],\"partial\":true}]}\n\
             {\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"cpu\",\"tags\":{\"host\":\"a\\\"b\"},\"columns\":[\"time\",\
             \"mean\"],\"values\":[[3000,3]]}]}]}\n",
        );
    }
}
