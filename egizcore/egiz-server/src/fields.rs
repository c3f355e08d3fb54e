//! Field selection: `thingId,attributes(type,line),features/*/properties/x`.
//!
//! Grammar: a list of paths with commas; a path is names with `/` between, `*` for any name, and may end in a list in
//! parentheses that goes on from there. Inside a name `~1` stands for `/`, `~0` for `~`. Arrays are not selected into.
//! What is named but missing is left out, never null.

use egiz_api::{Code, Problem};

use crate::error::ApiError;
use crate::target;

/// The longest selection in bytes.
const BYTES_MAX: usize = 4096;
/// The most levels of a selection.
const DEPTH_MAX: usize = 32;

/// A parsed selection: a tree of names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    members: Vec<(Box<str>, Fields)>,
    /// Whether a path ends here: all below is shown.
    whole: bool,
}

/// What of a value is to be shown: everything, or what these branches name.
#[derive(Debug, Clone)]
pub(crate) enum Shown<'f> {
    Everything,
    Branches(Vec<&'f Fields>),
}

impl Fields {
    /// Reads a selection.
    ///
    /// # Errors
    /// `invalid-parameter` with the position.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let refused = |position: usize, reason: &str| -> ApiError {
            let reason = format!("at position {position}: {reason}");
            Problem::new(Code::InvalidParameter, format!("`fields` {reason}"))
                .in_parameter("fields", reason)
                .into()
        };
        if text.len() > BYTES_MAX {
            return Err(refused(BYTES_MAX, "the selection is longer than 4096 bytes"));
        }
        let mut root = Fields::default();
        let mut parser = Parser { text, position: 0 };
        parser.list(&mut root, 0).map_err(|reason| refused(parser.position, reason))?;
        if parser.position < text.len() {
            return Err(refused(parser.position, "there is a `)` too many"));
        }
        Ok(root)
    }

    fn entry(&mut self, name: &str) -> &mut Fields {
        let index = self.members.iter().position(|(member, _)| &**member == name).unwrap_or_else(|| {
            self.members.push((name.into(), Fields::default()));
            self.members.len() - 1
        });
        &mut self.members[index].1
    }
}

impl<'f> Shown<'f> {
    /// What `fields` select, or everything.
    pub(crate) fn of(fields: Option<&'f Fields>) -> Self {
        fields.map_or(Self::Everything, |fields| Self::Branches(vec![fields]))
    }

    /// What is shown of the member `name`; `None` if nothing is.
    pub(crate) fn member(&self, name: &str) -> Option<Shown<'f>> {
        let Self::Branches(branches) = self else { return Some(Self::Everything) };
        let mut found = Vec::new();
        for branch in branches {
            for (member, below) in &branch.members {
                if &**member == name || &**member == "*" {
                    if below.whole {
                        return Some(Self::Everything);
                    }
                    found.push(below);
                }
            }
        }
        (!found.is_empty()).then_some(Self::Branches(found))
    }

    /// Whether everything is shown.
    pub(crate) fn is_everything(&self) -> bool {
        matches!(self, Self::Everything)
    }
}

struct Parser<'t> {
    text: &'t str,
    position: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn list(&mut self, node: &mut Fields, depth: usize) -> Result<(), &'static str> {
        loop {
            self.path(node, depth)?;
            match self.peek() {
                Some(b',') => self.position += 1,
                _ => return Ok(()),
            }
        }
    }

    fn path(&mut self, node: &mut Fields, depth: usize) -> Result<(), &'static str> {
        let mut node = node;
        let mut depth = depth;
        if self.peek() == Some(b'/') {
            self.position += 1;
        }
        loop {
            depth += 1;
            if depth > DEPTH_MAX {
                return Err("it is deeper than 32 levels");
            }
            let start = self.position;
            while self.peek().is_some_and(|byte| !matches!(byte, b'/' | b',' | b'(' | b')')) {
                self.position += 1;
            }
            let name = self.text[start..self.position].trim();
            if name.is_empty() {
                return Err("a name is missing");
            }
            node = node.entry(&target::name_of(name));
            match self.peek() {
                Some(b'/') => self.position += 1,
                Some(b'(') => {
                    self.position += 1;
                    self.list(node, depth)?;
                    if self.peek() != Some(b')') {
                        return Err("a `)` is missing");
                    }
                    self.position += 1;
                    return Ok(());
                }
                _ => {
                    node.whole = true;
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shows(fields: &str, path: &[&str]) -> bool {
        let fields = Fields::parse(fields).expect("a selection");
        let mut shown = Shown::of(Some(&fields));
        for name in path {
            match shown.member(name) {
                Some(below) => shown = below,
                None => return false,
            }
        }
        true
    }

    #[test]
    fn a_selection_names_paths() {
        assert!(shows("thingId,attributes(type,line)", &["attributes", "line"]));
        assert!(!shows("thingId,attributes(type,line)", &["attributes", "maker"]));
        assert!(shows("/attributes", &["attributes", "maker", "deep"]));
        assert!(shows("features/*/properties/x", &["features", "a", "properties", "x"]));
        assert!(!shows("features/*/properties/x", &["features", "a", "properties", "y"]));
        let both = "features/*/properties/x,features/a(properties(y,z/w))";
        assert!(shows(both, &["features", "a", "properties", "x"]));
        assert!(shows(both, &["features", "a", "properties", "z", "w"]));
        assert!(!shows(both, &["features", "b", "properties", "y"]));
        assert!(shows("a/b,a", &["a", "c"]));
        assert!(shows("a~1b", &["a/b"]));
    }

    #[test]
    fn a_broken_selection_says_where() {
        for (text, position) in [("", 0), ("a,", 2), ("a(b", 3), ("a)", 1), ("a//b", 2), ("a(b))", 4)] {
            let problem = Fields::parse(text).expect_err("refused").0;
            assert!(problem.detail.contains(&format!("position {position}:")), "{text}: {}", problem.detail);
        }
        assert!(Fields::parse(&"a/".repeat(40)).is_err());
        assert!(Fields::parse(&"a(".repeat(2000)).is_err());
    }

    proptest! {
        #[test]
        fn outside_text_never_panics(text in "[a-c/,()*~1° ]{0,40}") {
            let _ = Fields::parse(&text);
        }
    }
}
