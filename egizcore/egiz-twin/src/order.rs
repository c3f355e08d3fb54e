//! The one order over values: exact between whole and floating numbers, total over kinds, so that sorting, grouping and
//! comparing agree and no pair of values can confuse a sort.

use std::cmp::Ordering;

use egiz_model::Value;

/// A number, whole or not.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => Some(Self::Int(*number)),
            Value::Float(number) => Some(Self::Float(*number)),
            _ => None,
        }
    }

    /// By what they are worth; there is no NaN among values.
    pub(crate) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(&b),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Int(a), Self::Float(b)) => compare_mixed(a, b),
            (Self::Float(a), Self::Int(b)) => compare_mixed(b, a).reverse(),
        }
    }
}

fn compare_mixed(whole: i64, float: f64) -> Ordering {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if float >= TWO_TO_63 {
        Ordering::Less
    } else if float < -TWO_TO_63 {
        Ordering::Greater
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "it lies within the range of i64")]
        let floor = float.floor() as i64;
        whole.cmp(&floor).then(if float.fract() == 0.0 { Ordering::Equal } else { Ordering::Less })
    }
}

/// Kinds in order: null, truth values, numbers, texts, arrays, objects. Arrays go item by item, objects member by member
/// in the order of their names.
pub(crate) fn compare_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::List(a), Value::List(b)) => {
            let items = a.iter().zip(b).map(|(a, b)| compare_values(a, b));
            first_difference(items).then_with(|| a.len().cmp(&b.len()))
        }
        (Value::Map(a), Value::Map(b)) => {
            let (a, b) = (by_name(a), by_name(b));
            let members = a.iter().zip(&b).map(|(a, b)| a.0.cmp(b.0).then_with(|| compare_values(a.1, b.1)));
            first_difference(members).then_with(|| a.len().cmp(&b.len()))
        }
        _ => match (Number::of(a), Number::of(b)) {
            (Some(a), Some(b)) => a.compare(b),
            _ => rank(a).cmp(&rank(b)),
        },
    }
}

pub(crate) fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Float(_) => RANK_OF_NUMBERS,
        Value::Text(_) => RANK_OF_TEXTS,
        Value::List(_) => 4,
        Value::Map(_) => 5,
    }
}

pub(crate) const RANK_OF_NUMBERS: u8 = 2;
pub(crate) const RANK_OF_TEXTS: u8 = 3;

pub(crate) fn first_difference(mut orderings: impl Iterator<Item = Ordering>) -> Ordering {
    orderings.find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
}

fn by_name(members: &[(Box<str>, Value)]) -> Vec<(&str, &Value)> {
    let mut sorted: Vec<(&str, &Value)> = members.iter().map(|(name, value)| (&**name, value)).collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = Value> {
        let near =
            prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, 1 << 53, (1 << 53) + 1, i64::MAX]);
        prop_oneof![
            near.clone().prop_map(Value::Int),
            near.prop_map(|number| Value::Float(number as f64)),
            prop::sample::select(vec![-0.5, -0.0, 0.5, 1e300, -1e300]).prop_map(Value::Float),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            number(),
            "[ab]{0,2}".prop_map(|text| Value::text(&text)),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            let name = prop::sample::select(vec!["a", "b"]).prop_map(Box::from);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(|items| Value::List(items.into())),
                prop::collection::btree_map(name, inner, 0..3).prop_map(
                    |members: std::collections::BTreeMap<Box<str>, Value>| {
                        Value::Map(members.into_iter().rev().collect())
                    }
                ),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in value(), b in value(), c in value()) {
            prop_assert_eq!(compare_values(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare_values(&a, &b), compare_values(&b, &a).reverse());
            if compare_values(&a, &b).is_le() && compare_values(&b, &c).is_le() {
                prop_assert!(compare_values(&a, &c).is_le());
            }
        }
    }

    #[test]
    fn numbers_are_compared_by_what_they_are_worth() {
        let check = |a: Value, b: Value, expected| assert_eq!(compare_values(&a, &b), expected, "{a} {b}");
        check(Value::Int(1), Value::Float(1.0), Ordering::Equal);
        check(Value::Int(-1), Value::Float(-0.5), Ordering::Less);
        check(Value::Int(0), Value::Float(-0.0), Ordering::Equal);
        check(Value::Int((1 << 53) + 1), Value::Float((1_i64 << 53) as f64), Ordering::Greater);
        check(Value::Int(i64::MAX), Value::Float(9.3e18), Ordering::Less);
        check(Value::Int(i64::MAX), Value::Float(i64::MAX as f64), Ordering::Less);
    }
}
