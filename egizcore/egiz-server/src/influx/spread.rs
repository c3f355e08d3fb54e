//! The columns of a SELECT, once it is known which fields and tags there are: `*` and regular expressions become columns of their
//! own, and each column gets its name.

use std::collections::BTreeSet;

use egiz_influx::influxql::{Column, Expression, Fields, Leaf, Select};
use egiz_influx::reckon::Scalar;

/// The most fields and functions of a SELECT once it is spread.
const LEAVES_MAX: usize = 512;

/// Columns and what they are reckoned of.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) outputs: Vec<Output>,
    /// Each about one field or tag.
    pub(super) leaves: Vec<Leaf>,
}

/// A column.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) name: String,
    expression: Expression,
    /// Where its leaves begin.
    first: usize,
}

impl Output {
    /// Its value in a row with these values of all leaves.
    pub(super) fn value(&self, leaves: &[Scalar]) -> Scalar {
        if let Expression::Leaf(index) = self.expression {
            return leaves[self.first + index].clone();
        }
        self.number(&self.expression, leaves).map_or(Scalar::Null, Scalar::of)
    }

    fn number(&self, expression: &Expression, leaves: &[Scalar]) -> Option<f64> {
        Some(match expression {
            Expression::Leaf(index) => leaves[self.first + index].number()?,
            Expression::Number(number) => *number,
            Expression::Of(operator, a, b) => {
                let (a, b) = (self.number(a, leaves)?, self.number(b, leaves)?);
                match operator {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    '/' => a / b,
                    _ => a % b,
                }
            }
        })
    }
}

/// The field or tag that a leaf of a plan is about.
pub(super) fn name_of(leaf: &Leaf) -> &str {
    match leaf.fields() {
        Fields::Name(name) => name,
        Fields::All | Fields::Matching(_) => "",
    }
}

/// Spreads the columns over these fields, and tags where samples are asked for as they came.
///
/// # Errors
/// In words, where there are too many.
pub(super) fn plan(
    select: &Select,
    fields: &BTreeSet<String>,
    tags: &BTreeSet<String>,
) -> Result<Plan, String> {
    let mut plan = Plan { outputs: Vec::new(), leaves: Vec::new() };
    for column in &select.columns {
        match column.leaves.as_slice() {
            [leaf] if !matches!(leaf.fields(), Fields::Name(_)) => {
                for name in named(leaf, fields, tags) {
                    let leaf = leaf.about(&name);
                    let shown = match leaf {
                        Leaf::Field(_) => name.clone(),
                        _ => format!("{}_{name}", leaf.name()),
                    };
                    plan.add(shown, Expression::Leaf(0), &[leaf])?;
                }
            }
            leaves => plan.add(shown(column), column.expression.clone(), leaves)?,
        }
    }
    Ok(plan)
}

/// The fields that a leaf is about, and the tags where it takes any.
fn named(leaf: &Leaf, fields: &BTreeSet<String>, tags: &BTreeSet<String>) -> Vec<String> {
    let takes_tags = matches!(leaf, Leaf::Field(_));
    let all: BTreeSet<&String> = fields.iter().chain(tags.iter().filter(|_| takes_tags)).collect();
    let is_wanted = |name: &str| match leaf.fields() {
        Fields::Matching(regex) => regex.is_match(name),
        _ => true,
    };
    all.into_iter().filter(|name| is_wanted(name)).cloned().collect()
}

fn shown(column: &Column) -> String {
    column.alias.clone().unwrap_or_else(|| {
        let names: Vec<&str> = column.leaves.iter().map(Leaf::name).collect();
        names.join("_")
    })
}

impl Plan {
    fn add(&mut self, name: String, expression: Expression, leaves: &[Leaf]) -> Result<(), String> {
        let first = self.leaves.len();
        self.leaves.extend_from_slice(leaves);
        if self.leaves.len() > LEAVES_MAX || self.outputs.len() == LEAVES_MAX {
            return Err(format!("the answer would have more than {LEAVES_MAX} columns; name the fields"));
        }
        let is_taken = |name: &str| self.outputs.iter().any(|output| output.name == name);
        let mut unique = name.clone();
        let mut number = 1;
        while is_taken(&unique) {
            unique = format!("{name}_{number}");
            number += 1;
        }
        self.outputs.push(Output { name: unique, expression, first });
        Ok(())
    }
}
