//! Searching and summing over live state: the same state that the last write changed, so never behind it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use egiz_model::Value;

use crate::engine::Engine;
use crate::filter::evaluate::{Found, first_found, first_value, numbers};
use crate::filter::{Filter, Narrowed};
use crate::order::{compare_values, first_difference};
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
    /// The values of the sort keys there, moments in microseconds; `None` where a Thing has none.
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
    /// Things with equal values here make a group; an array is one value.
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
        if let Some(after) = &query.after
            && after.keys.len() != query.sort.len()
        {
            return Err(QueryError::WrongPosition);
        }
        let enough = query.limit.saturating_add(1);
        if query.sort.is_empty() {
            let after = query.after.as_ref().map(|after| after.thing.as_str());
            let found = self.matching(query.filter.as_ref(), after).take(enough).map(|thing| thing.slot());
            return Ok(self.page(found.collect(), query.limit, |_| Vec::new()));
        }
        let stride = query.sort.len();
        let mut keys: Vec<Option<Found<'_>>> = Vec::new();
        let mut found: Vec<Candidate<'_>> = Vec::new();
        for thing in self.matching(query.filter.as_ref(), None) {
            found.push(Candidate { first_key: keys.len(), id: thing.id().as_str(), slot: thing.slot() });
            keys.extend(query.sort.iter().map(|key| first_found(&key.path, thing)));
        }
        let order = |a: &Candidate<'_>, b: &Candidate<'_>| {
            compare(&query.sort, a.place(&keys, stride), b.place(&keys, stride))
        };
        if let Some(after) = &query.after {
            let after_keys: Vec<Option<Found<'_>>> =
                after.keys.iter().map(|key| key.as_ref().map(Found::Value)).collect();
            let after = (after_keys.as_slice(), after.thing.as_str());
            found.retain(|found| compare(&query.sort, found.place(&keys, stride), after).is_gt());
        }
        if found.len() > enough {
            found.select_nth_unstable_by(enough, order);
            found.truncate(enough);
        }
        found.sort_unstable_by(order);
        let slots: Vec<u32> = found.iter().map(|found| found.slot).collect();
        let values = |index: usize| -> Vec<Option<Value>> {
            found[index]
                .place(&keys, stride)
                .0
                .iter()
                .map(|key| key.as_ref().map(Found::sort_value))
                .collect()
        };
        Ok(self.page(slots, query.limit, values))
    }

    /// The Things that satisfy a filter, by id; only those behind `after`.
    fn matching<'a>(
        &'a self,
        filter: Option<&'a Filter>,
        after: Option<&'a str>,
    ) -> Box<dyn Iterator<Item = ThingRef<'a>> + 'a> {
        let from = |start: Bound<&'a str>| {
            self.order.range::<str, _>((start, Bound::Unbounded)).filter_map(|(_, slot)| self.thing_at(*slot))
        };
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let Some(filter) = filter else { return Box::new(from(behind)) };
        match filter.narrowed() {
            Narrowed::Not => Box::new(from(behind).filter(|thing| filter.matches(*thing))),
            Narrowed::To(mut ids) => {
                ids.retain(|id| after.is_none_or(|after| *id > after));
                ids.sort_unstable();
                ids.dedup();
                let things = ids.into_iter().filter_map(|id| self.thing(id));
                Box::new(things.filter(|thing| filter.matches(*thing)))
            }
            Narrowed::Prefix(prefix) => {
                let start =
                    after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
                let things = from(start).take_while(move |thing| thing.id().as_str().starts_with(prefix));
                Box::new(things.filter(|thing| filter.matches(*thing)))
            }
        }
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
        if filter.is_none() { self.len() } else { self.matching(filter, None).count() }
    }

    /// The figures of each group, ordered by the groups' values.
    ///
    /// # Errors
    /// [`QueryError::TooManyGroups`].
    pub fn aggregate(&self, query: &AggregateQuery) -> Result<Vec<Group>, QueryError> {
        let mut groups: BTreeMap<GroupKey, (usize, Vec<Sums>)> = BTreeMap::new();
        for thing in self.matching(query.filter.as_ref(), None) {
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

/// A place in an order: the values of the sort keys, and the id. Nothing comes before everything.
type Place<'a, 'k> = (&'k [Option<Found<'a>>], &'k str);

/// A Thing that a search found, with its keys among those of all.
struct Candidate<'a> {
    first_key: usize,
    id: &'a str,
    slot: u32,
}

impl<'a> Candidate<'a> {
    fn place<'f, 'k>(&self, keys: &'k [Option<Found<'f>>], stride: usize) -> Place<'f, 'k>
    where
        'a: 'k,
    {
        (&keys[self.first_key..self.first_key + stride], self.id)
    }
}

fn compare(sort: &[SortKey], a: Place<'_, '_>, b: Place<'_, '_>) -> Ordering {
    let by_keys = sort.iter().zip(a.0).zip(b.0).map(|((key, a), b)| {
        let ordering = match (a, b) {
            (Some(a), Some(b)) => a.compare_for_sorting(b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        if key.descending { ordering.reverse() } else { ordering }
    });
    first_difference(by_keys).then_with(|| a.1.cmp(b.1))
}

/// Values that group, in their total order.
struct GroupKey(Vec<Option<Value>>);

impl Ord for GroupKey {
    fn cmp(&self, other: &Self) -> Ordering {
        first_difference(self.0.iter().zip(&other.0).map(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => compare_values(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        }))
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
