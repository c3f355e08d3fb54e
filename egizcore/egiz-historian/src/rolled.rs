//! How rollups lie in a part: a row is a stretch of time, and each property has some columns for what is left of its samples.
//!
//! | column | is | where it is missing |
//! |---|---|---|
//! | `thermal.zone.count` | samples with a value | none |
//! | `….min`, `….max`, `….first`, `….last`, `….sum` | of the values | there is none |
//! | `….stddev` | the standard deviation of a sample | 0 |
//! | `….twa` | the time-weighted average, from the first sample to the row's end | no value was held |
//! | `….first_at`, `….last_at` | when, in seconds from the row's time, to the tenth before | |
//! | `….min_at`, `….max_at` | when, in whole minutes from the row's time | |
//! | `….covered` | for how many seconds a value was held | from `begins_at` to the row's end |
//! | `….increase` | what a counter counted; -1 where it is none, since it went down too often | `last` less `first` |
//! | `….good` | samples of good quality | `count` |
//! | `….excluded` | samples without a value | 0 |
//! | `….begins_at` | when the first sample came, with a value or without | `first_at` |
//! | `….uncertain` | true: a value of uncertain quality was held | false |
//! | `….held` | what is held at the end: 0 nothing, 1 `last`, but uncertain | `last`, and it is good |
//!
//! A list has these for each item: `thermal.zones.min[0]`.
//!
//! Sums are rounded to where the values' last digit is, which is what they are but for the rounding of floating point; `stddev`
//! and `twa` to a hundredth of a step of the values. So a property takes about fifteen bytes a row instead of fifty. Where
//! values have no steps, nothing is rounded.
//!
//! It refuses to know files, days, and what rollups are for.

use std::collections::BTreeMap;

use egiz_model::{Quality, Timestamp};

use crate::cell::{Cell, Kind};
use crate::column::ColumnKey;
use crate::series::{At, Rollup, Span, Summary};
use crate::table::{Column, Table};

/// What a column of rollups holds; the table above says of each what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stat {
    Count,
    Min,
    Max,
    First,
    Last,
    Sum,
    FirstAt,
    LastAt,
    MinAt,
    MaxAt,
    Stddev,
    Twa,
    Covered,
    Increase,
    Good,
    Excluded,
    BeginsAt,
    Uncertain,
    Held,
}

/// In the order of [`Stat`].
const STATS: [(&str, Stat); 19] = [
    ("count", Stat::Count),
    ("min", Stat::Min),
    ("max", Stat::Max),
    ("first", Stat::First),
    ("last", Stat::Last),
    ("sum", Stat::Sum),
    ("first_at", Stat::FirstAt),
    ("last_at", Stat::LastAt),
    ("min_at", Stat::MinAt),
    ("max_at", Stat::MaxAt),
    ("stddev", Stat::Stddev),
    ("twa", Stat::Twa),
    ("covered", Stat::Covered),
    ("increase", Stat::Increase),
    ("good", Stat::Good),
    ("excluded", Stat::Excluded),
    ("begins_at", Stat::BeginsAt),
    ("uncertain", Stat::Uncertain),
    ("held", Stat::Held),
];

/// The columns that show how fine a property's values are.
const VALUES: [&str; 5] = ["min", "max", "first", "last", "sum"];

const HELD_NOTHING: i64 = 0;
const HELD_UNCERTAIN: i64 = 1;

/// Rollups of the columns of one Thing, each in the order of time.
pub(crate) type ByColumn = BTreeMap<ColumnKey, Vec<Rollup>>;

/// The rows of a Thing's rollups. `divisor` says of a column of values what one over its step is, if it has steps.
pub(crate) fn table_of(rollups: &ByColumn, divisor: impl Fn(&ColumnKey) -> Option<f64>) -> Table {
    let mut times: Vec<i64> =
        rollups.values().flatten().map(|rollup| rollup.span.start.as_micros()).collect();
    times.sort_unstable();
    times.dedup();
    let mut table = Table { delays: vec![0; times.len()], times, columns: Vec::new() };
    for (key, of_column) in rollups {
        let rounding = Rounding::of(divisor(key));
        let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); STATS.len()];
        let mut row = 0;
        for rollup in of_column {
            let start = rollup.span.start.as_micros();
            row += table.times[row..].partition_point(|time| *time < start);
            for ((_, stat), cells) in STATS.iter().zip(&mut cells) {
                let cell = cell_of(*stat, rollup, &rounding);
                if !cell.is_absent() {
                    cells.resize(row, Cell::ABSENT);
                    cells.push(cell);
                }
            }
        }
        for ((name, _), cells) in STATS.iter().zip(cells) {
            if !cells.is_empty() {
                table.columns.push(Column { key: named(key, name), cells });
            }
        }
    }
    table
}

/// The rollups that lie in a Thing's rows, each `micros` long.
pub(crate) fn rollups_of(table: &Table, micros: i64) -> ByColumn {
    let mut columns: BTreeMap<ColumnKey, [Option<&Column>; STATS.len()]> = BTreeMap::new();
    for column in &table.columns {
        let Some((key, index)) = unnamed(&column.key) else { continue };
        columns.entry(key).or_default()[index] = Some(column);
    }
    let rollups = columns.into_iter().map(|(key, columns)| {
        let rollups = (0..table.len()).filter_map(|row| {
            let cell = |stat: Stat| {
                columns[stat as usize].map(|column| column.cell(row)).filter(|cell| !cell.is_absent())
            };
            rollup_of(cell, table.times[row], micros)
        });
        (key, rollups.collect())
    });
    rollups.filter(|(_, rollups): &(_, Vec<Rollup>)| !rollups.is_empty()).collect()
}

/// Whether a column in a part of rollups is about a property's values, and which property's.
pub(crate) fn column_of_values(key: &ColumnKey) -> Option<ColumnKey> {
    let (own, index) = unnamed(key)?;
    VALUES.contains(&STATS[index].0).then_some(own)
}

/// The property that a column in a part of rollups is about.
pub(crate) fn property_of(key: &ColumnKey) -> Option<ColumnKey> {
    unnamed(key).map(|(own, _)| own)
}

fn named(key: &ColumnKey, stat: &str) -> ColumnKey {
    ColumnKey { property: format!("{}.{stat}", key.property).into(), ..key.clone() }
}

fn unnamed(key: &ColumnKey) -> Option<(ColumnKey, usize)> {
    let (property, stat) = key.property.rsplit_once('.')?;
    let index = STATS.iter().position(|(name, _)| *name == stat)?;
    Some((ColumnKey { property: property.into(), ..key.clone() }, index))
}

/// What a quantity that cannot decrease never says.
const NO_COUNTER: f64 = -1.0;
/// A counter does not restart more often in one stretch of time.
const RESTARTS_MAX: f64 = 4.0;
const TENTH_MICROS: i64 = 100_000;
const MINUTE_MICROS: i64 = 60_000_000;

/// How far numbers are rounded: one over the step.
#[derive(Debug, Clone, Copy)]
struct Rounding {
    values: Option<f64>,
    /// Of what is reckoned from many.
    finer: Option<f64>,
}

/// Beyond this there are no steps in files.
const DIVISOR_MAX: f64 = 1e6;

impl Rounding {
    fn of(divisor: Option<f64>) -> Self {
        let finer = divisor.map(|divisor| 10_f64.powf((divisor * 1e2).log10().ceil()).min(DIVISOR_MAX));
        Self { values: divisor, finer }
    }
}

/// The number to the next multiple of one over `divisor`.
fn rounded(number: f64, divisor: Option<f64>) -> f64 {
    match divisor {
        // Beyond that a double has no digits after the point to round.
        Some(divisor) if (number * divisor).abs() < 9e15 => {
            let rounded = (number * divisor).round() / divisor;
            // Minus zero is a number of its own in files.
            if rounded == 0.0 { 0.0 } else { rounded }
        }
        _ => number,
    }
}

/// The number to the next multiple, if it is one but for the rounding of sums.
fn snapped(number: f64, divisor: Option<f64>) -> f64 {
    let near = rounded(number, divisor);
    if (near - number).abs() <= 1e-9 * (1.0 + number.abs()) { near } else { number }
}

fn cell_of(stat: Stat, rollup: &Rollup, rounding: &Rounding) -> Cell {
    let Rollup { span, begins, summary, held } = rollup;
    let number = |value: f64| if value.is_finite() { Cell::number(value) } else { Cell::ABSENT };
    let unless = |is_usual: bool, cell: Cell| if is_usual { Cell::ABSENT } else { cell };
    let count = |count: u64| Cell::int(i64::try_from(count).unwrap_or(i64::MAX));
    let offset = |time: Timestamp, step: i64| {
        let micros = time.micros_since(span.start);
        seconds(micros - micros.rem_euclid(step))
    };
    let value = |at: Option<At>| at.map_or(Cell::ABSENT, |at| number(at.value));
    let when = |at: Option<At>, step: i64| at.map_or(Cell::ABSENT, |at| number(offset(at.time, step)));
    let minute = |at: Option<At>| {
        at.map_or(Cell::ABSENT, |at| Cell::int(at.time.micros_since(span.start).div_euclid(MINUTE_MICROS)))
    };
    match stat {
        Stat::Count => unless(summary.count == 0, count(summary.count)),
        Stat::Min => value(summary.min),
        Stat::Max => value(summary.max),
        Stat::First => value(summary.first),
        Stat::Last => value(summary.last),
        Stat::Sum => unless(summary.count == 0, number(snapped(summary.sum, rounding.values))),
        Stat::FirstAt => when(summary.first, TENTH_MICROS),
        Stat::LastAt => when(summary.last, TENTH_MICROS),
        Stat::MinAt => minute(summary.min),
        Stat::MaxAt => minute(summary.max),
        Stat::Stddev => {
            let variance = summary.squared_deviations / degrees_of_freedom(summary.count);
            let stddev = rounded(variance.sqrt(), rounding.finer);
            unless(stddev == 0.0 || summary.count < 2, number(stddev))
        }
        Stat::Twa => {
            let twa = summary.integral / seconds(summary.covered_micros);
            unless(summary.covered_micros == 0, number(rounded(twa, rounding.finer)))
        }
        Stat::Covered => {
            let usual = usual_cover(*begins, *span, summary.count);
            unless(summary.covered_micros == usual, number(seconds(summary.covered_micros)))
        }
        Stat::Increase => {
            let increase = snapped(summary.increase, rounding.values);
            let most = summary.max.map_or(0.0, |max| max.value.abs() * RESTARTS_MAX);
            match usual_increase(summary, rounding) {
                None => Cell::ABSENT,
                Some(usual) if usual == increase => Cell::ABSENT,
                Some(_) if !(0.0..=most).contains(&increase) => number(NO_COUNTER),
                Some(_) => number(increase),
            }
        }
        Stat::Good => unless(summary.good == summary.count, count(summary.good)),
        Stat::Excluded => unless(summary.excluded == 0, count(summary.excluded)),
        Stat::BeginsAt => unless(
            summary.first.is_some_and(|first| first.time == *begins),
            number(offset(*begins, TENTH_MICROS)),
        ),
        Stat::Uncertain => unless(!summary.held_uncertain, Cell::bool(true)),
        Stat::Held => match held {
            None => Cell::int(HELD_NOTHING),
            Some((_, Quality::Good)) => Cell::ABSENT,
            Some(_) => Cell::int(HELD_UNCERTAIN),
        },
    }
}

fn rollup_of(cell: impl Fn(Stat) -> Option<Cell>, start: i64, micros: i64) -> Option<Rollup> {
    let begin = Timestamp::from_micros(start);
    let span = Span::new(begin, begin.plus_micros(micros));
    let number = |stat| cell(stat).and_then(Cell::as_number);
    let whole = |stat| cell(stat).filter(|cell| cell.kind == Kind::Int).map(Cell::as_int);
    let moment = |stat| number(stat).map(|offset| begin.plus_micros(micros_of(offset)));
    let at = |value, time| Some(At { value: number(value)?, time: moment(time)? });
    let count = whole(Stat::Count).unwrap_or(0).unsigned_abs();
    let excluded = whole(Stat::Excluded).unwrap_or(0).unsigned_abs();
    if count == 0 && excluded == 0 {
        return None;
    }
    let (first, last) = (at(Stat::First, Stat::FirstAt), at(Stat::Last, Stat::LastAt));
    let extreme = |value, minute| {
        let time = begin.plus_micros(whole(minute)?.saturating_mul(MINUTE_MICROS));
        // The minute may begin before the first sample.
        Some(At { time: time.max(first?.time).min(last?.time), value: number(value)? })
    };
    let begins = moment(Stat::BeginsAt).or(first.map(|first| first.time))?;
    let covered = number(Stat::Covered).map_or(usual_cover(begins, span, count), micros_of);
    let stddev = number(Stat::Stddev).unwrap_or(0.0);
    let mut summary = Summary {
        count,
        excluded,
        good: whole(Stat::Good).map_or(count, i64::unsigned_abs),
        // What was no finite number is not written.
        sum: if count == 0 { 0.0 } else { number(Stat::Sum).unwrap_or(f64::NAN) },
        squared_deviations: stddev * stddev * degrees_of_freedom(count),
        min: extreme(Stat::Min, Stat::MinAt),
        max: extreme(Stat::Max, Stat::MaxAt),
        first,
        last,
        increase: 0.0,
        integral: match covered {
            0 => 0.0,
            _ => number(Stat::Twa).unwrap_or(f64::NAN) * seconds(covered),
        },
        covered_micros: covered,
        held_uncertain: cell(Stat::Uncertain).is_some_and(|cell| cell.kind == Kind::Bool && cell.as_bool()),
    };
    summary.increase = match number(Stat::Increase) {
        Some(NO_COUNTER) => f64::NAN,
        Some(increase) => increase,
        None => usual_increase(&summary, &Rounding::of(None)).unwrap_or(0.0),
    };
    let held = match whole(Stat::Held) {
        Some(HELD_NOTHING) => None,
        Some(_) => last.map(|last| (last.value, Quality::Uncertain)),
        None => last.map(|last| (last.value, Quality::Good)),
    };
    Some(Rollup { span, begins, summary, held })
}

/// What the squared deviations are divided by.
#[expect(clippy::cast_precision_loss, reason = "there are fewer samples than 2^53")]
fn degrees_of_freedom(count: u64) -> f64 {
    count.saturating_sub(1).max(1) as f64
}

/// For how long a value is held where none is missing.
fn usual_cover(begins: Timestamp, span: Span, count: u64) -> i64 {
    if count == 0 { 0 } else { Span::new(begins, span.end).micros() }
}

/// What a counter counted that did not restart.
fn usual_increase(summary: &Summary, rounding: &Rounding) -> Option<f64> {
    let (first, last) = (summary.first?, summary.last?);
    Some(snapped(last.value - first.value, rounding.values))
}

#[expect(clippy::cast_precision_loss, reason = "stretches of time are hours long")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

#[expect(clippy::cast_possible_truncation, reason = "saturating; only damaged files have such lengths")]
fn micros_of(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

#[cfg(test)]
mod tests;
