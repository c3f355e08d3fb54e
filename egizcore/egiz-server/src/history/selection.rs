//! Which properties are meant: `thermal/zone`, `thermal/zones/0`, or a whole feature.
//!
//! Names stand with `/` between, and inside a name `~1` stands for `/` and `~0` for `~`, as everywhere in this API. Whether
//! such a property exists is not known here.

use std::cmp::Ordering;
use std::sync::Arc;

use egiz_historian::ITEMS_MAX;

use crate::target;

/// A property, or one item of its lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) feature: Arc<str>,
    pub(crate) property: Arc<str>,
    pub(crate) item: Option<u8>,
}

/// What is asked for; nothing in it stands for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selection(Vec<Selector>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Selector {
    Feature(Arc<str>),
    Property(Key),
}

/// The most that one request may name.
pub(super) const NAMES_MAX: usize = 64;

impl Key {
    /// As in a URL: `thermal/zones/0`.
    pub(crate) fn path(&self) -> String {
        let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
        let mut path = format!("{}/{}", escaped(&self.feature), escaped(&self.property));
        if let Some(item) = self.item {
            path = format!("{path}/{item}");
        }
        path
    }
}

impl Selection {
    /// What the parameters `feature` and `property` mean together.
    ///
    /// # Errors
    /// Which of them is wrong, and why.
    pub(super) fn of_parameters(
        feature: Option<&str>,
        property: Option<&str>,
    ) -> Result<Self, (&'static str, String)> {
        let mut selectors = Vec::new();
        match (feature, property) {
            (None, None) => {}
            (Some(features), None) => {
                for text in features.split(',') {
                    let name = name(text).map_err(|reason| ("feature", reason))?;
                    selectors.push(Selector::Feature(name));
                }
            }
            (Some(feature), Some(properties)) => {
                let feature = name(feature).map_err(|reason| ("feature", reason))?;
                for text in properties.split(',') {
                    let key = key_of(&feature, text).map_err(|reason| ("property", reason))?;
                    selectors.push(Selector::Property(key));
                }
            }
            (None, Some(properties)) => {
                for text in properties.split(',') {
                    let selector = selector(text, false).map_err(|reason| ("property", reason))?;
                    selectors.push(selector);
                }
            }
        }
        let at_fault = if property.is_some() { "property" } else { "feature" };
        Self::bounded(selectors).map_err(|reason| (at_fault, reason))
    }

    /// What a list of paths means; a name alone is a feature.
    ///
    /// # Errors
    /// Which of them is wrong, and why.
    pub(super) fn of_list(paths: &[String]) -> Result<Self, (usize, String)> {
        let mut selectors = Vec::with_capacity(paths.len());
        for (index, path) in paths.iter().enumerate() {
            selectors.push(selector(path, true).map_err(|reason| (index, reason))?);
        }
        Self::bounded(selectors).map_err(|reason| (NAMES_MAX, reason))
    }

    fn bounded(mut selectors: Vec<Selector>) -> Result<Self, String> {
        if selectors.len() > NAMES_MAX {
            return Err(format!("it names {}, and at most {NAMES_MAX} are allowed", selectors.len()));
        }
        let mut seen: Vec<Selector> = Vec::with_capacity(selectors.len());
        selectors.retain(|selector| {
            let is_new = !seen.contains(selector);
            seen.push(selector.clone());
            is_new
        });
        Ok(Self(selectors))
    }

    /// Whether anything of a property is asked for.
    pub(super) fn wants(&self, feature: &str, property: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|selector| match selector {
                Selector::Feature(name) => **name == *feature,
                Selector::Property(key) => *key.feature == *feature && *key.property == *property,
            })
    }

    /// Whether the property as a whole is asked for, and not only items of it.
    pub(super) fn wants_whole(&self, feature: &str, property: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|selector| match selector {
                Selector::Feature(name) => **name == *feature,
                Selector::Property(key) => {
                    key.item.is_none() && *key.feature == *feature && *key.property == *property
                }
            })
    }

    /// The items of a property that are asked for by number.
    pub(super) fn items(&self, feature: &str, property: &str) -> impl Iterator<Item = u8> {
        self.0.iter().filter_map(move |selector| match selector {
            Selector::Property(key) if *key.feature == *feature && *key.property == *property => key.item,
            _ => None,
        })
    }

    /// The properties and items that are named one by one, in the order in which they were.
    pub(super) fn named(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().filter_map(|selector| match selector {
            Selector::Feature(_) => None,
            Selector::Property(key) => Some(key),
        })
    }

    /// Whether an answer shows this although there is nothing to show: it was named, and not as a list whose items are among
    /// those `met`.
    pub(super) fn insists_on(&self, key: &Key, met: &[Key]) -> bool {
        let is_spread = key.item.is_none()
            && met.iter().any(|met| met.feature == key.feature && met.property == key.property);
        !is_spread && self.named().any(|named| named == key)
    }

    /// Which of two an answer shows first: what was named in that order, then the rest by name.
    pub(super) fn order(&self, a: &Key, b: &Key) -> Ordering {
        let place = |key: &Key| {
            let is_it = |named: &Key| {
                named == key
                    || (named.item.is_none()
                        && named.feature == key.feature
                        && named.property == key.property)
            };
            self.named().position(is_it).unwrap_or(usize::MAX)
        };
        (place(a), a).cmp(&(place(b), b))
    }

    /// Whether every property and item is named one by one.
    pub(super) fn is_closed(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|selector| matches!(selector, Selector::Property(_)))
    }

    /// The selection as a text, the same for the same.
    pub(super) fn text(&self) -> String {
        let texts: Vec<String> = self
            .0
            .iter()
            .map(|selector| match selector {
                Selector::Feature(name) => name.replace('~', "~0").replace('/', "~1"),
                Selector::Property(key) => key.path(),
            })
            .collect();
        texts.join(",")
    }
}

fn selector(text: &str, may_be_feature: bool) -> Result<Selector, String> {
    match text.split_once('/') {
        Some((feature, rest)) => Ok(Selector::Property(key_of(&name(feature)?, rest)?)),
        None if may_be_feature => Ok(Selector::Feature(name(text)?)),
        None => Err(format!(
            "`{}` is no feature/property or feature/property/item; or name the feature in `feature`",
            short(text)
        )),
    }
}

fn key_of(feature: &Arc<str>, text: &str) -> Result<Key, String> {
    let (property, item) = match text.split_once('/') {
        None => (text, None),
        Some((property, item)) => {
            let number = item.parse().ok().filter(|number| *number < ITEMS_MAX && !item.starts_with('+'));
            let Some(number) = number else {
                let most = ITEMS_MAX - 1;
                return Err(format!("`{}` is no item of a list; they are 0 to {most}", short(item)));
            };
            (property, Some(number))
        }
    };
    Ok(Key { feature: Arc::clone(feature), property: name(property)?, item })
}

fn name(text: &str) -> Result<Arc<str>, String> {
    if text.is_empty() {
        return Err("a name is empty".to_owned());
    }
    if text.contains('/') {
        return Err(format!("`{}` is no name; inside a name `~1` stands for `/`", short(text)));
    }
    Ok(target::name_of(text).into())
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(feature: Option<&str>, property: Option<&str>, expected: Result<&str, (&str, &str)>) {
        match (Selection::of_parameters(feature, property), expected) {
            (Ok(selection), Ok(text)) => assert_eq!(selection.text(), text),
            (Err((at, reason)), Err((wanted, part))) => {
                assert_eq!(at, wanted);
                assert!(reason.contains(part), "{reason}");
            }
            (read, expected) => panic!("{feature:?} {property:?}: {read:?}, wanted {expected:?}"),
        }
    }

    #[test]
    fn features_and_properties_are_named_alone_or_together() {
        check(None, None, Ok(""));
        check(Some("thermal,electrical"), None, Ok("thermal,electrical"));
        check(Some("thermal"), Some("zone,zones/0"), Ok("thermal/zone,thermal/zones/0"));
        check(None, Some("thermal/zone,electrical/u1,thermal/zone"), Ok("thermal/zone,electrical/u1"));
        check(None, Some("a~1b/c~0d"), Ok("a~1b/c~0d"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        check(None, Some("zone"), Err(("property", "feature/property")));
        check(None, Some("thermal/zones/64"), Err(("property", "0 to 63")));
        check(None, Some("thermal/zones/+1"), Err(("property", "0 to 63")));
        check(None, Some("thermal/zone/0/1"), Err(("property", "0 to 63")));
        check(None, Some("thermal/,x/y"), Err(("property", "empty")));
        check(Some("a/b"), None, Err(("feature", "~1")));
        check(Some("a"), Some(""), Err(("property", "empty")));
        let many = vec!["a/b"; 65].join(",");
        check(None, Some(&many), Err(("property", "65")));
    }

    #[test]
    fn an_item_is_not_the_whole() {
        let selection = Selection::of_parameters(None, Some("f/list/2")).expect("known");
        assert!(selection.wants("f", "list") && !selection.wants_whole("f", "list"));
        assert_eq!(selection.items("f", "list").collect::<Vec<_>>(), [2]);
        assert!(!selection.wants("f", "other"));
    }
}
