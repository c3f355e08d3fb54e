//! Searching and summing over live state: the same state that the last write changed, so never behind it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use egiz_model::Value;

use crate::engine::Engine;
use crate::filter::Filter;
use crate::filter::evaluate::{first_value, numbers};
use crate::path::Path;
use crate::view::ThingRef;

/// What to search for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Which Things; `None` is all.
    pub filter: Option<Filter>,
    /// In which order; the Thing's id decides what these leave equal.
    pub sort: Vec<SortKey>,
    /// Only what comes after this position.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: usize,
}

/// One criterion of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// The value to sort by; the first where there are several.
    pub path: Path,
    /// Largest first.
    pub descending: bool,
}

/// A place in an order, for the next page.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    /// The values of the sort keys there; `None` where a Thing has none.
    pub keys: Vec<Option<Value>>,
    /// The Thing's id.
    pub thing: String,
}

/// A page of a search.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Slots of the Things, in order.
    pub slots: Vec<u32>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Position>,
}

/// What to sum.
#[derive(Debug, Clone, Default)]
pub struct AggregateQuery {
    /// Over which Things; `None` is all.
    pub filter: Option<Filter>,
    /// Things with equal values here make a group.
    pub group_by: Vec<Path>,
    /// What to compute of each group.
    pub aggregates: Vec<Aggregate>,
    /// At most so many groups.
    pub groups_max: usize,
}

/// One figure of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// How.
    pub function: AggregateFunction,
    /// Of which numbers; the elements of an array count each.
    pub path: Path,
}

/// How numbers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateFunction {
    /// How many numbers there are.
    Count,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The mean.
    Avg,
    /// The sum.
    Sum,
}

/// A group's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The values that its Things share; `None` where they have none.
    pub keys: Vec<Option<Value>>,
    /// How many Things it has.
    pub things: usize,
    /// The figures asked for; `None` where there is no number.
    pub values: Vec<Option<f64>>,
}

/// Why a query cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The position belongs to another order.
    #[error("the position does not belong to this query")]
    WrongPosition,
    /// Too many groups.
    #[error("there are more than {limit} groups; narrow the filter or group by less")]
    TooManyGroups {
        /// How many are allowed.
        limit: usize,
    },
}

impl Engine {
    /// A page of the Things that a query asks for.
    ///
    /// # Errors
    /// [`QueryError::WrongPosition`].
    pub fn search(&self, query: &Query) -> Result<Page, QueryError> {
        let wanted = |thing: &ThingRef<'_>| query.filter.as_ref().is_none_or(|filter| filter.matches(*thing));
        if let Some(after) = &query.after
            && after.keys.len() != query.sort.len()
        {
            return Err(QueryError::WrongPosition);
        }
        let only = query.filter.as_ref().and_then(Filter::single_thing);
        if query.sort.is_empty() {
            let start = query
                .after
                .as_ref()
                .map_or(std::ops::Bound::Unbounded, |after| std::ops::Bound::Excluded(after.thing.as_str()));
            let in_order =
                self.order.range::<str, _>((start, std::ops::Bound::Unbounded)).map(|(_, slot)| *slot);
            let found: Vec<u32> = match only {
                Some(id) => self
                    .slot_of(id)
                    .into_iter()
                    .filter(|slot| self.is_after(*slot, query))
                    .filter(|slot| self.thing_at(*slot).is_some_and(|thing| wanted(&thing)))
                    .collect(),
                None => in_order
                    .filter(|slot| self.thing_at(*slot).is_some_and(|thing| wanted(&thing)))
                    .take(query.limit.saturating_add(1))
                    .collect(),
            };
            return Ok(self.page(found, query.limit, |_| Vec::new()));
        }
        let keys_of = |thing: ThingRef<'_>| -> Vec<Option<Value>> {
            query.sort.iter().map(|key| first_value(&key.path, thing)).collect()
        };
        let mut found: Vec<(Vec<Option<Value>>, ThingRef<'_>)> =
            self.things().filter(wanted).map(|thing| (keys_of(thing), thing)).collect();
        if let Some(after) = &query.after {
            found.retain(|(keys, thing)| {
                compare(&query.sort, keys, thing.id().as_str(), &after.keys, &after.thing)
                    == Ordering::Greater
            });
        }
        found.sort_by(|a, b| compare(&query.sort, &a.0, a.1.id().as_str(), &b.0, b.1.id().as_str()));
        found.truncate(query.limit.saturating_add(1));
        let slots: Vec<u32> = found.iter().map(|(_, thing)| thing.slot()).collect();
        Ok(self.page(slots, query.limit, |index| found[index].0.clone()))
    }

    fn is_after(&self, slot: u32, query: &Query) -> bool {
        let id = self.thing_at(slot).map(|thing| thing.id().as_str().to_owned());
        query.after.as_ref().is_none_or(|after| id.is_some_and(|id| id > after.thing))
    }

    /// Cuts what was found to the limit; one more than that means that there is a next page.
    fn page(&self, mut slots: Vec<u32>, limit: usize, keys: impl Fn(usize) -> Vec<Option<Value>>) -> Page {
        if slots.len() <= limit {
            return Page { slots, next: None };
        }
        slots.truncate(limit);
        let next = slots.last().and_then(|slot| {
            Some(Position { keys: keys(limit - 1), thing: self.thing_at(*slot)?.id().as_str().to_owned() })
        });
        Page { slots, next }
    }

    /// How many Things satisfy a filter.
    #[must_use]
    pub fn count(&self, filter: Option<&Filter>) -> usize {
        match filter {
            None => self.len(),
            Some(filter) => self.things().filter(|thing| filter.matches(*thing)).count(),
        }
    }

    /// The figures of each group, ordered by the groups' values.
    ///
    /// # Errors
    /// [`QueryError::TooManyGroups`].
    pub fn aggregate(&self, query: &AggregateQuery) -> Result<Vec<Group>, QueryError> {
        let mut groups: BTreeMap<GroupKey, (usize, Vec<Sums>)> = BTreeMap::new();
        for thing in self.things() {
            if query.filter.as_ref().is_some_and(|filter| !filter.matches(thing)) {
                continue;
            }
            let key = GroupKey(query.group_by.iter().map(|path| first_value(path, thing)).collect());
            if groups.len() >= query.groups_max && !groups.contains_key(&key) {
                return Err(QueryError::TooManyGroups { limit: query.groups_max });
            }
            let empty = || (0, vec![Sums::default(); query.aggregates.len()]);
            let (things, sums) = groups.entry(key).or_insert_with(empty);
            *things += 1;
            for (aggregate, sums) in query.aggregates.iter().zip(sums) {
                numbers(&aggregate.path, thing, |number| sums.add(number));
            }
        }
        let figures = |sums: Vec<Sums>| {
            query
                .aggregates
                .iter()
                .zip(sums)
                .map(|(aggregate, sums)| sums.figure(aggregate.function))
                .collect()
        };
        Ok(groups
            .into_iter()
            .map(|(key, (things, sums))| Group { keys: key.0, things, values: figures(sums) })
            .collect())
    }
}

fn compare(
    sort: &[SortKey],
    a_keys: &[Option<Value>],
    a_id: &str,
    b_keys: &[Option<Value>],
    b_id: &str,
) -> Ordering {
    let by_keys = sort.iter().zip(a_keys).zip(b_keys).map(|((key, a), b)| {
        let ordering = compare_values(a.as_ref(), b.as_ref());
        if key.descending { ordering.reverse() } else { ordering }
    });
    by_keys.fold(Ordering::Equal, Ordering::then).then_with(|| a_id.cmp(b_id))
}

/// A total order: nothing, null, truth values, numbers, texts, arrays, objects.
fn compare_values(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let rank = |value: Option<&Value>| match value {
        None => 0,
        Some(Value::Null) => 1,
        Some(Value::Bool(_)) => 2,
        Some(Value::Int(_) | Value::Float(_)) => 3,
        Some(Value::Text(_)) => 4,
        Some(Value::List(_)) => 5,
        Some(Value::Map(_)) => 6,
    };
    match (a, b) {
        (Some(Value::Bool(a)), Some(Value::Bool(b))) => a.cmp(b),
        (Some(Value::Text(a)), Some(Value::Text(b))) => a.cmp(b),
        (Some(Value::Int(a)), Some(Value::Int(b))) => a.cmp(b),
        (Some(Value::List(a)), Some(Value::List(b))) => {
            let items = a.iter().zip(b).map(|(a, b)| compare_values(Some(a), Some(b)));
            items.fold(Ordering::Equal, Ordering::then).then_with(|| a.len().cmp(&b.len()))
        }
        (Some(Value::Map(_)), Some(Value::Map(_))) => a.map(Value::to_string).cmp(&b.map(Value::to_string)),
        _ => match (a.and_then(Value::as_f64), b.and_then(Value::as_f64)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => rank(a).cmp(&rank(b)),
        },
    }
}

/// Values that group, in their total order.
struct GroupKey(Vec<Option<Value>>);

impl Ord for GroupKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let pairs = self.0.iter().zip(&other.0);
        pairs.map(|(a, b)| compare_values(a.as_ref(), b.as_ref())).fold(Ordering::Equal, Ordering::then)
    }
}

impl PartialOrd for GroupKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for GroupKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for GroupKey {}

#[derive(Debug, Clone, Copy)]
struct Sums {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Default for Sums {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Sums {
    fn add(&mut self, number: f64) {
        self.count += 1;
        self.sum += number;
        self.min = self.min.min(number);
        self.max = self.max.max(number);
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    fn figure(&self, function: AggregateFunction) -> Option<f64> {
        match function {
            AggregateFunction::Count => Some(self.count as f64),
            _ if self.count == 0 => None,
            AggregateFunction::Min => Some(self.min),
            AggregateFunction::Max => Some(self.max),
            AggregateFunction::Avg => Some(self.sum / self.count as f64),
            AggregateFunction::Sum => Some(self.sum),
        }
    }
}
