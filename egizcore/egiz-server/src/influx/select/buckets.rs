//! The buckets of one group of series.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use egiz_influx::influxql::{Aggregate, Fill, Leaf, Select};
use egiz_influx::reckon::{Bucket, Scalar, fill, transform};

use super::super::gather::Values;
use super::Budget;

/// Buckets by where they begin, each with a place for every leaf.
#[derive(Default)]
pub(super) struct Group(BTreeMap<i64, Vec<Bucket>>);

/// Whether a leaf makes nothing of what is no number.
pub(super) fn is_of_numbers(leaf: &Leaf) -> bool {
    !matches!(aggregate_of(leaf), Aggregate::Count | Aggregate::First | Aggregate::Last)
}

fn aggregate_of(leaf: &Leaf) -> Aggregate {
    match leaf {
        Leaf::Aggregate(aggregate, _) => *aggregate,
        Leaf::Transform(_, inside) => aggregate_of(inside),
        // A field alone does not stand beside functions.
        Leaf::Field(_) => Aggregate::Last,
    }
}

impl Group {
    /// Takes a sample of a leaf's field in.
    pub(super) fn take(
        &mut self,
        select: &Select,
        leaves: &[Leaf],
        (index, time, value): (usize, i64, &Scalar),
        budget: &mut Budget,
    ) -> Result<(), String> {
        let start = select.every.map_or(select.bounds.from.unwrap_or(0), |every| every.start_of(time));
        let buckets = match self.0.entry(start) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                budget.spend(leaves.len())?;
                new.insert(leaves.iter().map(|leaf| Bucket::new(aggregate_of(leaf))).collect())
            }
        };
        if Bucket::keeps_samples(aggregate_of(&leaves[index])) {
            budget.spend(1)?;
        }
        buckets[index].take(time, value);
        Ok(())
    }

    /// The values of each leaf.
    pub(super) fn finish(
        self,
        select: &Select,
        leaves: &[Leaf],
        (from, to): (i64, i64),
        budget: &mut Budget,
    ) -> Result<Vec<Values>, String> {
        let (Some(first), Some(last)) = (self.0.keys().next().copied(), self.0.keys().next_back().copied())
        else {
            return Ok(leaves.iter().map(|_| Values::new()).collect());
        };
        let Some(every) = select.every else { return Ok(self.alone(leaves)) };
        let mut values: Vec<Values> = leaves.iter().map(|_| Values::new()).collect();
        let mut known = self.0;
        if select.fill == Fill::None {
            for (start, buckets) in known {
                for (values, bucket) in values.iter_mut().zip(buckets) {
                    values.push((start, bucket.value().0));
                }
            }
        } else {
            let first = if from == i64::MIN { first } else { every.start_of(from) };
            let last = if to == i64::MAX { last } else { every.start_of(to.saturating_sub(1)) };
            let count = usize::try_from(last.saturating_sub(first) / every.length).unwrap_or(usize::MAX);
            budget.spend(count.saturating_mul(leaves.len()))?;
            let mut start = first;
            while start <= last {
                let mut buckets = known.remove(&start).unwrap_or_default().into_iter();
                for values in &mut values {
                    let value = buckets.next().map_or(Scalar::Null, |bucket| bucket.value().0);
                    values.push((start, value));
                }
                start = start.saturating_add(every.length);
            }
        }
        for (leaf, values) in leaves.iter().zip(&mut values) {
            if aggregate_of(leaf) == Aggregate::Count {
                // What was counted and is 0 is as empty as what was not looked at.
                values
                    .iter_mut()
                    .filter(|(_, value)| *value == Scalar::Integer(0))
                    .for_each(|(_, value)| *value = Scalar::Null);
                fill(values, select.fill, Scalar::Integer(0));
            } else {
                fill(values, select.fill, Scalar::Null);
            }
            if let Leaf::Transform(how, _) = leaf {
                *values = transform(*how, values, Some(every.length));
            }
        }
        Ok(values)
    }

    /// The values of the whole range; a selector that stands alone has the time of its sample.
    fn alone(self, leaves: &[Leaf]) -> Vec<Values> {
        let mut values: Vec<Values> = leaves.iter().map(|_| Values::new()).collect();
        for (start, buckets) in self.0 {
            for ((bucket, leaf), values) in buckets.into_iter().zip(leaves).zip(&mut values) {
                let (value, time) = bucket.value();
                let is_alone = leaves.len() == 1 && aggregate_of(leaf).is_selector();
                let one = vec![(time.filter(|_| is_alone).unwrap_or(start), value)];
                *values = match leaf {
                    Leaf::Transform(how, _) => transform(*how, &one, None),
                    _ => one,
                };
            }
        }
        values
    }
}
