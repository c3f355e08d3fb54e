//! The columns of a SELECT: expressions over fields and functions.

use regex::Regex;

use super::parser::Parser;
use super::scan::Token;
use super::select::duration;
use super::{Aggregate, COLUMNS_MAX, QueryError, Transform};

/// A column of the answer.
#[derive(Debug, Clone)]
pub struct Column {
    /// What is reckoned of the leaves.
    pub expression: Expression,
    /// The fields and functions in it.
    pub leaves: Vec<Leaf>,
    /// Its name, where one was given.
    pub alias: Option<String>,
}

/// What is reckoned of numbers.
#[derive(Debug, Clone)]
pub enum Expression {
    /// The leaf of this number.
    Leaf(usize),
    /// A number.
    Number(f64),
    /// An operation on two.
    Of(char, Box<Expression>, Box<Expression>),
}

/// A field or a function.
#[derive(Debug, Clone)]
pub enum Leaf {
    /// Values as they came.
    Field(Fields),
    /// One value of a bucket.
    Aggregate(Aggregate, Fields),
    /// Values that follow from each other.
    Transform(Transform, Box<Leaf>),
}

/// Which fields.
#[derive(Debug, Clone)]
pub enum Fields {
    /// This one.
    Name(String),
    /// All, and of a SELECT without functions the tags, too.
    All,
    /// Those that the regular expression finds.
    Matching(Regex),
}

impl Leaf {
    /// Whether it has an aggregate inside.
    #[must_use]
    pub fn is_aggregate(&self) -> bool {
        match self {
            Self::Field(_) => false,
            Self::Aggregate(..) => true,
            Self::Transform(_, inside) => inside.is_aggregate(),
        }
    }

    /// The fields that it is about.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        match self {
            Self::Field(fields) | Self::Aggregate(_, fields) => fields,
            Self::Transform(_, inside) => inside.fields(),
        }
    }

    /// The same about one field.
    #[must_use]
    pub fn about(&self, field: &str) -> Self {
        let fields = Fields::Name(field.to_owned());
        match self {
            Self::Field(_) => Self::Field(fields),
            Self::Aggregate(aggregate, _) => Self::Aggregate(*aggregate, fields),
            Self::Transform(transform, inside) => Self::Transform(*transform, Box::new(inside.about(field))),
        }
    }

    /// The name of a column of nothing else: that of the outermost function, or the field's.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Field(Fields::Name(name)) => name,
            Self::Field(_) => "",
            Self::Aggregate(aggregate, _) => aggregate.name(),
            Self::Transform(transform, _) => transform.name(),
        }
    }
}

impl Aggregate {
    /// The function's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::First => "first",
            Self::Last => "last",
            Self::Percentile(_) => "percentile",
            Self::Stddev => "stddev",
            Self::Spread => "spread",
        }
    }

    /// Whether the value is one that was measured, with its time.
    #[must_use]
    pub fn is_selector(self) -> bool {
        matches!(self, Self::Min | Self::Max | Self::First | Self::Last | Self::Percentile(_))
    }
}

impl Transform {
    /// The function's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Derivative { is_non_negative: false, .. } => "derivative",
            Self::Derivative { is_non_negative: true, .. } => "non_negative_derivative",
            Self::Difference { is_non_negative: false } => "difference",
            Self::Difference { is_non_negative: true } => "non_negative_difference",
            Self::CumulativeSum => "cumulative_sum",
            Self::MovingAverage(_) => "moving_average",
        }
    }
}

const FUNCTIONS: &str = "mean, median, min, max, sum, count, first, last, percentile, stddev, spread, derivative, \
     non_negative_derivative, difference, non_negative_difference, cumulative_sum, moving_average";

/// Reads a column.
pub(super) fn column(parser: &mut Parser<'_>) -> Result<Column, QueryError> {
    let mut leaves = Vec::new();
    let expression = sum(parser, &mut leaves)?;
    let is_alone = matches!(expression, Expression::Leaf(_));
    if !is_alone && leaves.iter().any(|leaf| !matches!(leaf.fields(), Fields::Name(_))) {
        return Err(parser.unsupported("arithmetic with * or regular expressions"));
    }
    let alias = if parser.keyword("AS")? { Some(parser.name()?) } else { None };
    Ok(Column { expression, leaves, alias })
}

fn sum(parser: &mut Parser<'_>, leaves: &mut Vec<Leaf>) -> Result<Expression, QueryError> {
    let mut left = product(parser, leaves)?;
    loop {
        let operator = if parser.symbol("+")? {
            '+'
        } else if parser.symbol("-")? {
            '-'
        } else {
            return Ok(left);
        };
        parser.count_operation()?;
        let right = product(parser, leaves)?;
        left = Expression::Of(operator, Box::new(left), Box::new(right));
    }
}

fn product(parser: &mut Parser<'_>, leaves: &mut Vec<Leaf>) -> Result<Expression, QueryError> {
    let mut left = factor(parser, leaves)?;
    loop {
        let operator = if parser.symbol("*")? {
            '*'
        } else if parser.symbol("/")? {
            '/'
        } else if parser.symbol("%")? {
            '%'
        } else {
            return Ok(left);
        };
        parser.count_operation()?;
        let right = factor(parser, leaves)?;
        left = Expression::Of(operator, Box::new(left), Box::new(right));
    }
}

fn factor(parser: &mut Parser<'_>, leaves: &mut Vec<Leaf>) -> Result<Expression, QueryError> {
    if parser.symbol("(")? {
        return parser.deeper(|parser| {
            let inside = sum(parser, leaves)?;
            parser.need_symbol(")")?;
            Ok(inside)
        });
    }
    if parser.symbol("-")? {
        let operand = parser.deeper(|parser| factor(parser, leaves))?;
        return Ok(Expression::Of('-', Box::new(Expression::Number(0.0)), Box::new(operand)));
    }
    #[expect(clippy::cast_precision_loss, reason = "arithmetic is that of doubles")]
    match parser.peek()? {
        Token::Integer(whole) => {
            parser.next()?;
            return Ok(Expression::Number(whole as f64));
        }
        Token::Number(number) => {
            parser.next()?;
            return Ok(Expression::Number(number));
        }
        _ => {}
    }
    if leaves.len() == COLUMNS_MAX {
        return Err(parser.fault(&format!("more than {COLUMNS_MAX} fields in one column")));
    }
    leaves.push(leaf(parser)?);
    Ok(Expression::Leaf(leaves.len() - 1))
}

fn leaf(parser: &mut Parser<'_>) -> Result<Leaf, QueryError> {
    if parser.symbol("*")? {
        parser.cast()?;
        return Ok(Leaf::Field(Fields::All));
    }
    if let Some(regex) = parser.regex()? {
        return Ok(Leaf::Field(Fields::Matching(regex)));
    }
    let is_word = matches!(parser.peek()?, Token::Word(_));
    let name = parser.name()?;
    if is_word && parser.symbol("(")? {
        let leaf = parser.deeper(|parser| function(parser, &name))?;
        parser.need_symbol(")")?;
        return Ok(leaf);
    }
    parser.cast()?;
    Ok(Leaf::Field(Fields::Name(name)))
}

/// Reads the arguments of a function.
fn function(parser: &mut Parser<'_>, name: &str) -> Result<Leaf, QueryError> {
    let name = name.to_ascii_lowercase();
    let plain = match name.as_str() {
        "mean" => Some(Aggregate::Mean),
        "median" => Some(Aggregate::Median),
        "min" => Some(Aggregate::Min),
        "max" => Some(Aggregate::Max),
        "sum" => Some(Aggregate::Sum),
        "count" => Some(Aggregate::Count),
        "first" => Some(Aggregate::First),
        "last" => Some(Aggregate::Last),
        "stddev" => Some(Aggregate::Stddev),
        "spread" => Some(Aggregate::Spread),
        _ => None,
    };
    if let Some(aggregate) = plain {
        return Ok(Leaf::Aggregate(aggregate, argument(parser)?));
    }
    if name == "percentile" {
        let fields = argument(parser)?;
        parser.need_symbol(",")?;
        return Ok(Leaf::Aggregate(Aggregate::Percentile(percent(parser)?), fields));
    }
    let is_non_negative = name.starts_with("non_negative_");
    let transform = match name.as_str() {
        "derivative" | "non_negative_derivative" => Transform::Derivative { unit: None, is_non_negative },
        "difference" | "non_negative_difference" => Transform::Difference { is_non_negative },
        "cumulative_sum" => Transform::CumulativeSum,
        "moving_average" => Transform::MovingAverage(0),
        _ => {
            let name: String = name.chars().take(40).collect();
            return Err(parser.unsupported(&format!("the function {name}(); allowed are {FUNCTIONS}")));
        }
    };
    let inside = leaf(parser)?;
    if matches!(inside, Leaf::Transform(..)) {
        return Err(parser.unsupported("a function of values one after the other inside another one"));
    }
    let transform = match transform {
        Transform::Derivative { is_non_negative, .. } => {
            let unit = if parser.symbol(",")? { Some((duration(parser)? / 1_000).max(1)) } else { None };
            Transform::Derivative { unit, is_non_negative }
        }
        Transform::MovingAverage(_) => {
            parser.need_symbol(",")?;
            match parser.count()? {
                count @ 1..=10_000 => Transform::MovingAverage(count),
                count => {
                    return Err(
                        parser.fault(&format!("moving_average of {count} values; allowed are 1 to 10000"))
                    );
                }
            }
        }
        other => other,
    };
    Ok(Leaf::Transform(transform, Box::new(inside)))
}

fn argument(parser: &mut Parser<'_>) -> Result<Fields, QueryError> {
    match leaf(parser)? {
        Leaf::Field(fields) => Ok(fields),
        _ => Err(parser.unsupported("a function inside this one; allowed is a field")),
    }
}

fn percent(parser: &mut Parser<'_>) -> Result<f64, QueryError> {
    #[expect(clippy::cast_precision_loss, reason = "at most 100")]
    let number = match parser.peek()? {
        Token::Integer(whole) => whole as f64,
        Token::Number(number) => number,
        _ => f64::NAN,
    };
    if !(0.0..=100.0).contains(&number) {
        return Err(parser.expected("a number from 0 to 100"));
    }
    parser.next()?;
    Ok(number)
}
