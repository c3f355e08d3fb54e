//! One language for queries, conditions and subscriptions: RQL as Eclipse Ditto's users know it.
//!
//! ```text
//! filter = and(filter,…) | or(filter,…) | not(filter) | comparison
//! comparison = eq|ne|gt|ge|lt|le(path,value) | in(path,value,…) | like|ilike(path,"pattern") | exists(path) | empty(path)
//! value = "text" | 'text' | number | true | false | null          pattern: * any characters, ? one character
//! path = as in [`crate::Path`], in quotes where it holds a comma, a parenthesis, a quote or space at its ends
//! ```
//!
//! A comparison holds when any value at the path satisfies it; a path with `*` and an array have several values. `ne` is
//! `not(eq)`, so it holds where nothing is at the path. Values of different kinds are never equal and never ordered.
//! Reading is bounded in length and depth, patterns in their length; evaluating allocates nothing. What it means in full, with
//! examples that are tested, stands in `docs/rql.md`.

pub(crate) mod evaluate;
mod parse;
mod properties;

use std::fmt;

use egiz_model::Value;

use crate::path::Path;
use crate::view::ThingRef;

pub use properties::PropertyFilter;

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
    /// The longest pattern of `like` and `ilike`, in bytes.
    pub const PATTERN_MAX: usize = 256;
    /// How many values the simple form may name.
    pub const SIMPLE_VALUES_MAX: usize = 1024;

    /// Reads RQL.
    ///
    /// # Errors
    /// Says where and what is allowed there.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::parse(text, Path::parse).map(Self)
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
        let values: usize = members.values().map(|value| value.as_array().map_or(1, Vec::len)).sum();
        if values > Self::SIMPLE_VALUES_MAX {
            let allowed = Self::SIMPLE_VALUES_MAX;
            return Err(wrong(format!("it names {values} values; allowed are {allowed}")));
        }
        let mut all = Vec::with_capacity(members.len());
        for (name, wanted) in members {
            let plain = !name.contains('/') && Path::parse(name).is_err();
            let path = if plain { format!("attributes/{}", name.replace('~', "~0")) } else { name.clone() };
            let path = Path::parse(&path).map_err(wrong)?;
            let scalar = |value: &serde_json::Value| {
                if value.is_object() || value.is_array() {
                    let allowed = "a text, a number, a truth value, null or a list of these";
                    return Err(wrong(format!("`{name}` is compared with {value}; allowed are {allowed}")));
                }
                Ok(Value::from_json(value))
            };
            all.push(match wanted {
                serde_json::Value::Array(values) if values.is_empty() => {
                    return Err(wrong(format!("the list of `{name}` is empty, so nothing could match")));
                }
                serde_json::Value::Array(values) => {
                    Node::In { path, values: values.iter().map(scalar).collect::<Result<_, _>>()? }
                }
                value => Node::Compare { path, operator: Operator::Eq, value: scalar(value)? },
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
        match self.narrowed() {
            Narrowed::To(ids) if ids.len() == 1 => ids.first().copied(),
            _ => None,
        }
    }

    /// What the filter says of the id at the top, for not looking at every Thing.
    pub(crate) fn narrowed(&self) -> Narrowed<'_> {
        match &self.0 {
            Node::And(nodes) => nodes.iter().find_map(narrow),
            node => narrow(node),
        }
        .unwrap_or(Narrowed::Not)
    }

    /// Every path that it looks at.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let mut paths = Vec::new();
        collect_paths(&self.0, &mut paths);
        paths
    }
}

/// Which ids a filter allows.
#[derive(Debug, PartialEq)]
pub(crate) enum Narrowed<'a> {
    /// Any.
    Not,
    /// Only these.
    To(Vec<&'a str>),
    /// Only those that begin so.
    Prefix(&'a str),
}

fn narrow(node: &Node) -> Option<Narrowed<'_>> {
    match node {
        Node::Compare { path: Path::ThingId, operator: Operator::Eq, value: Value::Text(id) } => {
            Some(Narrowed::To(vec![id]))
        }
        Node::In { path: Path::ThingId, values } => {
            Some(Narrowed::To(values.iter().filter_map(Value::as_str).collect()))
        }
        Node::Like { path: Path::ThingId, pattern, ignore_case: false } => {
            let prefix = pattern.split(['*', '?']).next().filter(|prefix| !prefix.is_empty())?;
            Some(Narrowed::Prefix(prefix))
        }
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
                write!(formatter, "{}({},{value})", operator.name(), Written(path))
            }
            Self::In { path, values } => {
                write!(formatter, "in({}", Written(path))?;
                values.iter().try_for_each(|value| write!(formatter, ",{value}"))?;
                formatter.write_str(")")
            }
            Self::Like { path, pattern, ignore_case } => {
                let name = if *ignore_case { "ilike" } else { "like" };
                write!(formatter, "{name}({},{})", Written(path), Value::text(pattern))
            }
            Self::Exists(path) => write!(formatter, "exists({})", Written(path)),
            Self::Empty(path) => write!(formatter, "empty({})", Written(path)),
        }
    }
}

/// A path as it stands in a filter: in quotes where it would not be read back otherwise.
struct Written<'a>(&'a Path);

impl fmt::Display for Written<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let is_plain = text.trim() == text && !text.contains([',', '(', ')', '"', '\'', '\\']);
        if is_plain { formatter.write_str(&text) } else { Value::text(&text).fmt(formatter) }
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
