//! One language for queries, conditions and subscriptions: RQL as Eclipse Ditto's users know it.
//!
//! ```text
//! filter = and(filter,…) | or(filter,…) | not(filter) | comparison
//! comparison = eq|ne|gt|ge|lt|le(path,value) | in(path,value,…) | like|ilike(path,"pattern") | exists(path) | empty(path)
//! value = "text" | 'text' | number | true | false | null          pattern: * any characters, ? one character
//! ```
//!
//! A comparison holds when any value at the path satisfies it; a path with `*` and an array have several values. `ne` is
//! `not(eq)`, so it holds where nothing is at the path. Values of different kinds are never equal and never ordered.
//! Reading is bounded in length and depth; evaluating allocates nothing.

pub(crate) mod evaluate;
mod parse;

use std::fmt;

use egiz_model::Value;

use crate::path::Path;
use crate::view::ThingRef;

/// A filter over the state of a Thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(pub(crate) Node);

/// A filter's inner form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Compare { path: Path, operator: Operator, value: Value },
    In { path: Path, values: Vec<Value> },
    Like { path: Path, pattern: String, ignore_case: bool },
    Exists(Path),
    Empty(Path),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {message}")]
pub struct FilterError {
    /// Where in the text, in characters from 1; 0 where it is no matter of place.
    pub position: usize,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Filter {
    /// The longest text that is read, in bytes.
    pub const LENGTH_MAX: usize = 8192;
    /// How deep filters may lie inside each other.
    pub const DEPTH_MAX: usize = 16;

    /// Reads RQL.
    ///
    /// # Errors
    /// Says where and what is allowed there.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(Self)
    }

    /// Reads the simple form `{"type":"oven"}`: a plain name is an attribute, `attributes/…`, `features/…` and the other
    /// paths are themselves, a list means any of its values; all members must hold.
    ///
    /// # Errors
    /// Names the member and what is allowed.
    pub fn from_simple(json: &serde_json::Value) -> Result<Self, FilterError> {
        let wrong = |message: String| FilterError { position: 0, message };
        let members = json
            .as_object()
            .ok_or_else(|| wrong(format!("{json} is no object such as {{\"type\":\"oven\"}}")))?;
        let mut all = Vec::with_capacity(members.len());
        for (name, wanted) in members {
            let plain = !name.contains('/') && Path::parse(name).is_err();
            let path = if plain { format!("attributes/{}", name.replace('~', "~0")) } else { name.clone() };
            let path = Path::parse(&path).map_err(wrong)?;
            all.push(match wanted {
                serde_json::Value::Array(values) => Node::In { path, values: values.iter().map(Value::from_json).collect() },
                serde_json::Value::Object(_) => {
                    return Err(wrong(format!("`{name}` is compared with an object; allowed are a text, a number, a truth value, null or a list of these")));
                }
                value => Node::Compare { path, operator: Operator::Eq, value: Value::from_json(value) },
            });
        }
        Ok(Self(match all.len() {
            1 => all.swap_remove(0),
            _ => Node::And(all),
        }))
    }

    /// Whether a Thing satisfies it.
    #[must_use]
    pub fn matches(&self, thing: ThingRef<'_>) -> bool {
        evaluate::matches(&self.0, thing)
    }

    /// The Thing that alone can match, where the filter says `eq(thingId,…)` at the top.
    #[must_use]
    pub fn single_thing(&self) -> Option<&str> {
        match &self.0 {
            Node::And(nodes) => nodes.iter().find_map(single),
            node => single(node),
        }
    }

    /// Every path that it looks at.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let mut paths = Vec::new();
        collect_paths(&self.0, &mut paths);
        paths
    }
}

fn single(node: &Node) -> Option<&str> {
    match node {
        Node::Compare { path: Path::ThingId, operator: Operator::Eq, value: Value::Text(id) } => Some(id),
        _ => None,
    }
}

fn collect_paths<'a>(node: &'a Node, paths: &mut Vec<&'a Path>) {
    match node {
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|node| collect_paths(node, paths)),
        Node::Not(node) => collect_paths(node, paths),
        Node::Compare { path, .. }
        | Node::In { path, .. }
        | Node::Like { path, .. }
        | Node::Exists(path)
        | Node::Empty(path) => paths.push(path),
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |formatter: &mut fmt::Formatter<'_>, name: &str, nodes: &[Node]| {
            write!(formatter, "{name}(")?;
            for (index, node) in nodes.iter().enumerate() {
                write!(formatter, "{}{node}", if index > 0 { "," } else { "" })?;
            }
            formatter.write_str(")")
        };
        match self {
            Self::And(nodes) => list(formatter, "and", nodes),
            Self::Or(nodes) => list(formatter, "or", nodes),
            Self::Not(node) => write!(formatter, "not({node})"),
            Self::Compare { path, operator, value } => {
                write!(formatter, "{}({path},{value})", operator.name())
            }
            Self::In { path, values } => {
                write!(formatter, "in({path}")?;
                values.iter().try_for_each(|value| write!(formatter, ",{value}"))?;
                formatter.write_str(")")
            }
            Self::Like { path, pattern, ignore_case } => {
                let name = if *ignore_case { "ilike" } else { "like" };
                write!(formatter, "{name}({path},{})", Value::text(pattern))
            }
            Self::Exists(path) => write!(formatter, "exists({path})"),
            Self::Empty(path) => write!(formatter, "empty({path})"),
        }
    }
}

impl Operator {
    pub(crate) const ALL: [Self; 6] = [Self::Eq, Self::Ne, Self::Gt, Self::Ge, Self::Lt, Self::Le];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::Lt => "lt",
            Self::Le => "le",
        }
    }
}

#[cfg(test)]
mod tests;
