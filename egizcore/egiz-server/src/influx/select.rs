//! SELECT over history: series into groups, samples into buckets or rows, and these into the rows of the answer.
//!
//! ```text
//!  catalog ──► groups by tags ──► gather: each Thing once ──► buckets ─► fill ─► chains ─┐
//!                                                       └──► values ──────────► chains ─┼─► rows
//!                                                       └──► rows as they came ─────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use egiz_influx::influxql::{Fill, Leaf, Select};
use egiz_influx::reckon::Scalar;

use super::answer::{Cell, Series as Answer};
use super::catalog::{self, Devices, Series};
use super::gather::{self, Reading, Values};
use super::query::Fault;
use super::spread::{self, Plan, name_of};
use crate::app::App;
use crate::history::walk::Walk;

mod buckets;

use buckets::Group;

/// The most values of an answer, and of what it is reckoned of at a time.
const VALUES_MAX: usize = 500_000;

/// How many values may still come.
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: VALUES_MAX }
    }

    fn spend(&mut self, count: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(count).ok_or_else(|| {
            format!(
                "the answer would take more than {VALUES_MAX} values; ask for a shorter range of time, a longer \
                 GROUP BY time, fewer fields, or a LIMIT"
            )
        })?;
        Ok(())
    }
}

/// The series of the answer.
///
/// # Errors
/// Where history cannot be read, and where too much is asked for.
pub(super) fn run(
    app: &App,
    walk: &Walk,
    now: i64,
    select: &Select,
    budget: &mut Budget,
) -> Result<Vec<Answer>, Fault> {
    let wanted = |measurement: &str| select.from.iter().any(|from| from.fits(measurement));
    let devices = Devices::of(app);
    let mut series = catalog::series(app, Some(walk.historian()), &wanted)?;
    series.retain(|one| devices.pass(one, &select.filter));
    let mut answers = Vec::new();
    for of_measurement in series.chunk_by(|a, b| a.measurement == b.measurement) {
        answers.extend(measurement(walk, now, select, of_measurement, budget)?);
    }
    answers.drain(..select.series_offset.min(answers.len()));
    answers.truncate(select.series_limit.unwrap_or(usize::MAX));
    Ok(answers)
}

/// What a measurement is asked for.
struct Question<'a> {
    walk: &'a Walk,
    select: &'a Select,
    plan: &'a Plan,
    series: &'a [Series],
    /// The group of each series.
    group_of: Vec<usize>,
    groups: usize,
    /// The fields among the names of the leaves.
    fields: Vec<String>,
    range: (i64, i64),
}

fn measurement(
    walk: &Walk,
    now: i64,
    select: &Select,
    series: &[Series],
    budget: &mut Budget,
) -> Result<Vec<Answer>, Fault> {
    let fields: BTreeSet<String> = series.iter().flat_map(|one| one.fields.keys().cloned()).collect();
    let mut tags: BTreeSet<String> = series.iter().flat_map(|one| one.tags.keys().cloned()).collect();
    let by = group_tags(select, &tags);
    tags.retain(|tag| !by.contains(tag));
    let plan = spread::plan(select, &fields, &tags).map_err(Fault::Statement)?;
    let names: BTreeSet<&str> = plan.leaves.iter().map(name_of).collect();
    let fields: Vec<String> = fields.into_iter().filter(|field| names.contains(field.as_str())).collect();
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    let key = |one: &Series| by.iter().map(|tag| one.tag(tag).to_owned()).collect::<Vec<String>>();
    let keys: BTreeSet<Vec<String>> = series.iter().map(key).collect();
    let keys: Vec<Vec<String>> = keys.into_iter().collect();
    let group_of = series.iter().map(|one| keys.binary_search(&key(one)).unwrap_or_default()).collect();
    let end = if select.every.is_some() { now.saturating_add(1) } else { i64::MAX };
    let range = (select.bounds.from.unwrap_or(i64::MIN), select.bounds.to.unwrap_or(end));
    let question =
        Question { walk, select, plan: &plan, series, group_of, groups: keys.len(), fields, range };
    let has_chain = plan.leaves.iter().any(|leaf| matches!(leaf, Leaf::Transform(..)));
    let of_groups = match (select.is_aggregate(), has_chain) {
        (true, _) => question.buckets(budget)?,
        (false, true) => question.chains(budget)?,
        (false, false) => question.rows(budget)?,
    };
    let mut answers = Vec::new();
    for (key, mut rows) in keys.into_iter().zip(of_groups) {
        if select.is_descending {
            rows.reverse();
        }
        rows.drain(..select.offset.min(rows.len()));
        rows.truncate(select.limit.unwrap_or(usize::MAX));
        if rows.is_empty() {
            continue;
        }
        budget.spend(rows.len() * plan.outputs.len()).map_err(Fault::Statement)?;
        let columns = std::iter::once("time".to_owned());
        answers.push(Answer {
            name: series[0].measurement.to_string(),
            tags: by.iter().cloned().zip(key).collect(),
            columns: columns.chain(plan.outputs.iter().map(|output| output.name.clone())).collect(),
            values: rows.iter().map(|row| row.cells(&plan)).collect(),
        });
    }
    Ok(answers)
}

/// The tags of GROUP BY; those that are named are there even if no series has them.
fn group_tags(select: &Select, known: &BTreeSet<String>) -> Vec<String> {
    let mut tags = BTreeSet::new();
    for pattern in &select.by.tags {
        match pattern {
            egiz_influx::influxql::Pattern::Name(name) => {
                tags.insert(name.clone());
            }
            pattern => tags.extend(known.iter().filter(|tag| pattern.fits(tag)).cloned()),
        }
    }
    if select.by.is_all {
        tags.extend(known.iter().cloned());
    }
    tags.into_iter().collect()
}

/// A row: a value of each leaf at a time.
struct Row {
    time: i64,
    leaves: Vec<Scalar>,
}

impl Row {
    fn cells(&self, plan: &Plan) -> Vec<Cell> {
        let values = plan.outputs.iter().map(|output| Cell::Value(output.value(&self.leaves)));
        std::iter::once(Cell::Time(self.time)).chain(values).collect()
    }

    fn has_any(&self) -> bool {
        self.leaves.iter().any(|value| *value != Scalar::Null)
    }
}

/// The values of each leaf, put beside each other by time.
fn beside<'v>(leaves: impl ExactSizeIterator<Item = &'v Values>) -> Vec<Row> {
    let count = leaves.len();
    let mut rows: BTreeMap<i64, Vec<Scalar>> = BTreeMap::new();
    for (index, values) in leaves.enumerate() {
        for (time, value) in values {
            let row = rows.entry(*time).or_insert_with(|| vec![Scalar::Null; count]);
            row[index] = value.clone();
        }
    }
    rows.into_iter().map(|(time, leaves)| Row { time, leaves }).collect()
}

impl Question<'_> {
    fn field_place(&self, leaf: &Leaf) -> Option<usize> {
        self.fields.iter().position(|field| field == name_of(leaf))
    }

    /// The series of one Thing after the other, with the place of the first among all.
    fn things(&self) -> impl Iterator<Item = (usize, &[Series])> {
        let mut begin = 0;
        self.series.chunk_by(|a, b| a.thing == b.thing).map(move |of_thing| {
            let at = begin;
            begin += of_thing.len();
            (at, of_thing)
        })
    }

    fn reading<'q>(&'q self, series: &'q [Series], is_numbers_only: bool) -> Reading<'q> {
        Reading { series, fields: &self.fields, range: self.range, is_numbers_only }
    }

    /// Samples as they came, a row for each series and time.
    fn rows(&self, budget: &mut Budget) -> Result<Vec<Vec<Row>>, Fault> {
        let keep = self.select.limit.map(|limit| limit.saturating_add(self.select.offset));
        let mut groups: Vec<Vec<Row>> = (0..self.groups).map(|_| Vec::new()).collect();
        for (at, of_thing) in self.things() {
            let of_series =
                std::cell::RefCell::new(of_thing.iter().map(|_| Vec::<Row>::new()).collect::<Vec<_>>());
            let is_enough = || {
                let series = of_series.borrow();
                !self.select.is_descending
                    && keep.is_some_and(|keep| series.iter().all(|rows| rows.len() >= keep))
            };
            let each = |place: usize, columns: Vec<Values>| {
                let rows = self.rows_of(&of_thing[place], &columns);
                budget.spend(rows.len() * self.plan.leaves.len())?;
                let mut series = of_series.borrow_mut();
                let all = &mut series[place];
                all.extend(rows);
                if let Some(keep) = keep.filter(|keep| all.len() > *keep) {
                    budget.left += (all.len() - keep) * self.plan.leaves.len();
                    if self.select.is_descending {
                        all.drain(..all.len() - keep);
                    } else {
                        all.truncate(keep);
                    }
                }
                Ok(())
            };
            gather::read(self.walk, &self.reading(of_thing, false), each, is_enough)?;
            for (place, rows) in of_series.into_inner().into_iter().enumerate() {
                groups[self.group_of[at + place]].extend(rows);
            }
        }
        for group in &mut groups {
            group.sort_by_key(|row| row.time);
        }
        Ok(groups)
    }

    fn rows_of(&self, series: &Series, columns: &[Values]) -> Vec<Row> {
        let places: Vec<Option<usize>> = self.plan.leaves.iter().map(|leaf| self.field_place(leaf)).collect();
        let empty = Values::new();
        let mut rows = beside(places.iter().map(|place| place.map_or(&empty, |place| &columns[place])));
        for row in &mut rows {
            for ((leaf, place), value) in self.plan.leaves.iter().zip(&places).zip(&mut row.leaves) {
                let tag = series.tags.get(name_of(leaf)).filter(|_| place.is_none());
                if let Some(tag) = tag {
                    *value = Scalar::Text(tag.as_str().into());
                }
            }
        }
        rows
    }

    /// Values that follow from samples.
    fn chains(&self, budget: &mut Budget) -> Result<Vec<Vec<Row>>, Fault> {
        let leaves = &self.plan.leaves;
        let mut groups: Vec<Vec<Values>> =
            (0..self.groups).map(|_| leaves.iter().map(|_| Values::new()).collect()).collect();
        for (at, of_thing) in self.things() {
            let each = |place: usize, columns: Vec<Values>| {
                let group = &mut groups[self.group_of[at + place]];
                for (leaf, all) in leaves.iter().zip(group) {
                    let Some(place) = self.field_place(leaf) else { continue };
                    budget.spend(columns[place].len())?;
                    all.extend(columns[place].iter().cloned());
                }
                Ok(())
            };
            gather::read(self.walk, &self.reading(of_thing, true), each, || false)?;
        }
        let of_group = |mut group: Vec<Values>| {
            for (leaf, values) in leaves.iter().zip(&mut group) {
                values.sort_by_key(|(time, _)| *time);
                if let Leaf::Transform(how, _) = leaf {
                    *values = egiz_influx::reckon::transform(*how, values, None);
                }
            }
            beside(group.iter())
        };
        Ok(groups.into_iter().map(of_group).collect())
    }

    /// Aggregates of buckets of time, or of the whole range.
    fn buckets(&self, budget: &mut Budget) -> Result<Vec<Vec<Row>>, Fault> {
        let leaves = &self.plan.leaves;
        let is_numbers_only = leaves.iter().all(buckets::is_of_numbers);
        let mut groups: Vec<Group> = (0..self.groups).map(|_| Group::default()).collect();
        let places: Vec<Option<usize>> = leaves.iter().map(|leaf| self.field_place(leaf)).collect();
        for (at, of_thing) in self.things() {
            let each = |place: usize, columns: Vec<Values>| {
                let group = &mut groups[self.group_of[at + place]];
                for (index, place) in places.iter().enumerate() {
                    let Some(place) = place else { continue };
                    for (time, value) in &columns[*place] {
                        group.take(self.select, leaves, (index, *time, value), budget)?;
                    }
                }
                Ok(())
            };
            gather::read(self.walk, &self.reading(of_thing, is_numbers_only), each, || false)?;
        }
        let mut answers = Vec::with_capacity(groups.len());
        for group in groups {
            let values = group.finish(self.select, leaves, self.range, budget).map_err(Fault::Statement)?;
            let mut rows = beside(values.iter());
            let has_chain = leaves.iter().any(|leaf| matches!(leaf, Leaf::Transform(..)));
            if self.select.fill == Fill::None || has_chain || self.select.every.is_none() {
                rows.retain(Row::has_any);
            }
            answers.push(rows);
        }
        Ok(answers)
    }
}
