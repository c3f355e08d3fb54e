//! InfluxQL, the part of it that dashboards use: the text of a query becomes statements.
//!
//! ```text
//!  text ──► scan: tokens ──► parser ──► statement: SHOW …, CREATE DATABASE
//!                                  └──► select: columns, GROUP BY, fill ──► condition: time bounds, tags
//! ```
//!
//! What is not in it is refused with its name: subqueries, INTO, DELETE and DROP, conditions on fields, time zones but UTC.
//! Bounds: [`QUERY_BYTES_MAX`], [`STATEMENTS_MAX`], [`DEPTH_MAX`], [`COLUMNS_MAX`], [`OPERATIONS_MAX`], [`CONDITIONS_MAX`], and for regular expressions
//! [`PATTERN_BYTES_MAX`] and the memory that one may take; matching takes time in proportion to the text.
//!
//! # Source
//! The InfluxQL reference, <https://docs.influxdata.com/influxdb/v1/query_language/spec/>.

mod column;
mod condition;
mod parser;
mod scan;
mod select;
mod statement;
#[cfg(test)]
mod tests;

use regex::Regex;

pub use column::{Column, Expression, Fields, Leaf};

/// The longest query.
pub const QUERY_BYTES_MAX: usize = 64 * 1024;
/// The most statements of a query.
pub const STATEMENTS_MAX: usize = 64;
/// The deepest parentheses.
pub const DEPTH_MAX: usize = 32;
/// The most columns of a SELECT, before `*` is spread.
pub const COLUMNS_MAX: usize = 64;
/// The most operations of a query's arithmetic.
pub const OPERATIONS_MAX: usize = 256;
/// The most conditions of a query.
pub const CONDITIONS_MAX: usize = 512;
/// The longest regular expression.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing query: {0}")]
pub struct QueryError(pub(crate) String);

/// One statement.
#[derive(Debug, Clone)]
pub enum Statement {
    /// `SHOW DATABASES`.
    ShowDatabases,
    /// `SHOW RETENTION POLICIES`.
    ShowRetentionPolicies,
    /// `SHOW MEASUREMENTS`, of the measurements in [`Show::from`].
    ShowMeasurements(Show),
    /// `SHOW TAG KEYS`.
    ShowTagKeys(Show),
    /// `SHOW TAG VALUES … WITH KEY …`.
    ShowTagValues(Show, Keys),
    /// `SHOW FIELD KEYS`.
    ShowFieldKeys(Show),
    /// `SHOW SERIES`.
    ShowSeries(Show),
    /// `CREATE DATABASE`, which changes nothing: there is one store.
    CreateDatabase,
    /// `SELECT`.
    Select(Box<Select>),
}

/// What a SHOW is about.
#[derive(Debug, Clone, Default)]
pub struct Show {
    /// Of which measurements; nothing stands for all.
    pub from: Vec<Pattern>,
    /// Of which series. Bounds of time are read and passed over.
    pub filter: Filter,
    /// The most rows of each series of the answer.
    pub limit: Option<usize>,
    /// Rows passed over before.
    pub offset: usize,
}

/// A name, or those that a regular expression finds.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// This name.
    Name(String),
    /// Such names.
    Matching(Regex),
}

impl Pattern {
    /// Whether it stands for a name.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Matching(regex) => regex.is_match(name),
        }
    }
}

/// The keys that SHOW TAG VALUES is about.
#[derive(Debug, Clone)]
pub enum Keys {
    /// `=`, `IN (…)`, `=~`: those that one of these stands for.
    Any(Vec<Pattern>),
    /// `!=`, `!~`: all others.
    AllBut(Pattern),
}

impl Keys {
    /// Whether a key is meant.
    #[must_use]
    pub fn fit(&self, key: &str) -> bool {
        match self {
            Self::Any(patterns) => patterns.iter().any(|pattern| pattern.fits(key)),
            Self::AllBut(pattern) => !pattern.fits(key),
        }
    }
}

/// A condition on tags.
#[derive(Debug, Clone, Default)]
pub enum Filter {
    /// No condition.
    #[default]
    Everything,
    /// Both hold.
    And(Box<Filter>, Box<Filter>),
    /// One holds.
    Or(Box<Filter>, Box<Filter>),
    /// A tag's value passes the test; a tag that a series does not have is the empty text.
    Tag(String, Test),
}

/// What a tag's value is held against.
#[derive(Debug, Clone)]
pub enum Test {
    /// `=`.
    Equal(String),
    /// `!=`.
    NotEqual(String),
    /// `=~`.
    Matches(Regex),
    /// `!~`.
    MatchesNot(Regex),
}

impl Test {
    /// Whether a value passes.
    #[must_use]
    pub fn passes(&self, value: &str) -> bool {
        match self {
            Self::Equal(own) => own == value,
            Self::NotEqual(own) => own != value,
            Self::Matches(regex) => regex.is_match(value),
            Self::MatchesNot(regex) => !regex.is_match(value),
        }
    }
}

impl Filter {
    /// Whether it holds where `passes` says so of a tag.
    pub fn holds(&self, passes: &dyn Fn(&str, &Test) -> bool) -> bool {
        match self {
            Self::Everything => true,
            Self::And(a, b) => a.holds(passes) && b.holds(passes),
            Self::Or(a, b) => a.holds(passes) || b.holds(passes),
            Self::Tag(key, test) => passes(key, test),
        }
    }
}

/// Bounds of time in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// The first moment.
    pub from: Option<i64>,
    /// The first moment after.
    pub to: Option<i64>,
}

/// A SELECT.
#[derive(Debug, Clone)]
pub struct Select {
    /// What is asked for.
    pub columns: Vec<Column>,
    /// Of which measurements.
    pub from: Vec<Pattern>,
    /// When.
    pub bounds: Bounds,
    /// Of which series.
    pub filter: Filter,
    /// `GROUP BY time(…)`.
    pub every: Option<Every>,
    /// The tags that tell series of the answer apart.
    pub by: By,
    /// What stands in empty buckets.
    pub fill: Fill,
    /// Whether the newest comes first.
    pub is_descending: bool,
    /// The most rows of each series of the answer.
    pub limit: Option<usize>,
    /// Rows passed over before.
    pub offset: usize,
    /// The most series.
    pub series_limit: Option<usize>,
    /// Series passed over before.
    pub series_offset: usize,
}

impl Select {
    /// Whether its columns are aggregates, and not samples as they came.
    #[must_use]
    pub fn is_aggregate(&self) -> bool {
        self.columns.iter().any(|column| column.leaves.iter().any(Leaf::is_aggregate))
    }
}

/// Buckets of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    /// Their length in microseconds.
    pub length: i64,
    /// How far after the turn of one they begin.
    pub offset: i64,
}

impl Every {
    /// Where the bucket begins in which a time lies.
    #[must_use]
    pub fn start_of(self, time: i64) -> i64 {
        let since = time.saturating_sub(self.offset);
        since.saturating_sub(since.rem_euclid(self.length)).saturating_add(self.offset)
    }
}

/// The tags of GROUP BY.
#[derive(Debug, Clone, Default)]
pub struct By {
    /// `*`: all of them.
    pub is_all: bool,
    /// Names and regular expressions.
    pub tags: Vec<Pattern>,
}

/// What stands in empty buckets.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Fill {
    /// Nothing; 0 where values are counted.
    #[default]
    Null,
    /// They are left out.
    None,
    /// What stood before.
    Previous,
    /// A straight line between neighbours.
    Linear,
    /// This number.
    Number(f64),
}

/// What a function makes of the samples of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregate {
    /// The arithmetic mean.
    Mean,
    /// The value in the middle, or the mean of both.
    Median,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The sum.
    Sum,
    /// How many.
    Count,
    /// The earliest.
    First,
    /// The latest.
    Last,
    /// The value of this rank in percent, one that was measured.
    Percentile(f64),
    /// The standard deviation of a sample.
    Stddev,
    /// The greatest less the least.
    Spread,
}

/// What a function makes of values one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// The change in so many microseconds; without a number in the length of a bucket, or a second.
    Derivative {
        /// The length.
        unit: Option<i64>,
        /// Whether negative changes are left out.
        is_non_negative: bool,
    },
    /// The change since the value before.
    Difference {
        /// Whether negative changes are left out.
        is_non_negative: bool,
    },
    /// The sum of all values so far.
    CumulativeSum,
    /// The mean of so many values.
    MovingAverage(usize),
}

/// Reads a query; `now` is in microseconds since 1970.
///
/// # Errors
/// [`QueryError`] says where and what is allowed, or what is not supported.
pub fn parse(text: &str, now: i64) -> Result<Vec<Statement>, QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        let length = text.len();
        return Err(QueryError(format!(
            "the query has {length} bytes; at most {QUERY_BYTES_MAX} are allowed"
        )));
    }
    statement::all(&mut parser::Parser::new(text, now))
}
