//! A filter over properties whose values come from elsewhere than the live state, such as from history.
//!
//! It is the same language. A property may be named shortly, `business_context/batch_id`, or as in every filter,
//! `features/business_context/properties/batch_id`; what lies inside a value follows. Paths of anything but one property are
//! refused: nothing would ever be there, and the filter would be one for nothing without saying so.

use egiz_model::Value;

use super::evaluate::{Found, Places, inside, matches};
use super::{FilterError, Node, collect_paths, parse};
use crate::path::Path;

/// A filter over the values of some properties.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyFilter {
    node: Node,
    properties: Vec<(String, String)>,
}

impl PropertyFilter {
    /// The most properties that one filter may look at.
    pub const PROPERTIES_MAX: usize = 16;

    /// Reads RQL.
    ///
    /// # Errors
    /// Says where and what is allowed there.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let node = parse::parse(text, property_path)?;
        let mut paths = Vec::new();
        collect_paths(&node, &mut paths);
        let mut properties: Vec<(String, String)> = paths
            .into_iter()
            .filter_map(|path| {
                property_of(path).map(|(feature, name, _)| (feature.to_owned(), name.to_owned()))
            })
            .collect();
        properties.sort_unstable();
        properties.dedup();
        let message = match properties.len() {
            0 => "it looks at no property".to_owned(),
            1..=Self::PROPERTIES_MAX => return Ok(Self { node, properties }),
            many => {
                format!("it looks at {many} properties, and at most {} are allowed", Self::PROPERTIES_MAX)
            }
        };
        Err(FilterError { position: 0, message })
    }

    /// The properties that it looks at, by feature and name.
    #[must_use]
    pub fn properties(&self) -> &[(String, String)] {
        &self.properties
    }

    /// Whether it is satisfied where each property, by feature and name, has this value or none.
    #[must_use]
    pub fn matches<'a>(&self, value_of: &impl Fn(&str, &str) -> Option<&'a Value>) -> bool {
        matches(&self.node, Given(value_of))
    }
}

struct Given<'f, F>(&'f F);

impl<F> Clone for Given<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Given<'_, F> {}

impl<'a, F: Fn(&str, &str) -> Option<&'a Value>> Places<'a> for Given<'_, F> {
    fn at(self, path: &Path, mut wanted: impl FnMut(Found<'a>) -> bool) -> bool {
        let Some((feature, name, inner)) = property_of(path) else { return false };
        let value = (self.0)(feature, name).and_then(|value| inside(value, inner));
        value.is_some_and(|value| wanted(Found::Value(value)))
    }
}

fn property_of(path: &Path) -> Option<(&str, &str, &[String])> {
    let Path::Property { feature: Some(feature), inner, desired: false } = path else { return None };
    let (name, inner) = inner.split_first()?;
    Some((feature, name, inner))
}

fn property_path(text: &str) -> Result<Path, String> {
    let trimmed = text.strip_prefix('/').unwrap_or(text);
    let head = trimmed.split('/').next().unwrap_or_default();
    let is_long = matches!(head, "features" | "attributes" | "_metadata") || !trimmed.contains('/');
    let long = match trimmed.split_once('/') {
        Some((feature, inner)) if !is_long => format!("features/{feature}/properties/{inner}"),
        _ => trimmed.to_owned(),
    };
    Path::parse(&long).ok().filter(|path| property_of(path).is_some()).ok_or_else(|| {
        format!(
            "`{text}` is no property; allowed are <feature>/<property>/… and features/<feature>/properties/<property>/…"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: bool) {
        let filter = PropertyFilter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let batch = Value::text("B-117");
        let zones = Value::List([Value::Int(190), Value::Int(192)].into());
        let value_of = |feature: &str, name: &str| match (feature, name) {
            ("business_context", "batch_id") => Some(&batch),
            ("thermal", "zones") => Some(&zones),
            _ => None,
        };
        assert_eq!(filter.matches(&value_of), expected, "{text}");
    }

    #[test]
    fn properties_are_named_in_short_or_in_full() {
        check("eq(business_context/batch_id,\"B-117\")", true);
        check("eq(features/business_context/properties/batch_id,\"B-117\")", true);
        check("in(business_context/batch_id,\"B-1\",\"B-117\")", true);
        check("like(business_context/batch_id,\"B-2*\")", false);
        check("and(gt(thermal/zones/1,191),exists(business_context/batch_id))", true);
        check("eq(business_context/recipe,\"rye\")", false);
        check("not(exists(business_context/recipe))", true);
    }

    #[test]
    fn the_properties_are_told_once_each() {
        let filter = PropertyFilter::parse("or(eq(b/x,1),eq(a/y,2),eq(b/x,3))").expect("RQL");
        assert_eq!(filter.properties(), [("a".into(), "y".into()), ("b".into(), "x".into())]);
    }

    #[test]
    fn what_is_no_property_is_refused() {
        for text in [
            "eq(thingId,\"a:b\")",
            "eq(attributes/type,\"oven\")",
            "eq(batch_id,1)",
            "exists(features/thermal)",
            "eq(features/*/properties/x,1)",
            "eq(features/a/desiredProperties/x,1)",
            "eq(_metadata/a/b/quality,\"good\")",
            "eq(a//b,1)",
        ] {
            let error = PropertyFilter::parse(text).expect_err(text);
            assert!(error.position > 0 && error.message.contains("<feature>/<property>"), "{text}: {error}");
        }
        let many: Vec<String> = (0..17).map(|number| format!("eq(f/p{number},1)")).collect();
        let error = PropertyFilter::parse(&format!("or({})", many.join(","))).expect_err("too many");
        assert!(error.to_string().contains("17 properties"), "{error}");
        assert!(PropertyFilter::parse("and()").expect_err("nothing").to_string().contains("no property"));
    }
}
