//! Aggregates and state durations, bucket by bucket.
//!
//! Of a list each item is reckoned for itself, since a list has no average. A property without a single number is left out
//! of an answer about numbers unless it was named.

use std::ops::ControlFlow;
use std::sync::Arc;

use egiz_api::{Code, History, HistoryBucket, HistoryState, Problem, PropertyHistory};
use egiz_historian::series::{
    Bucket, Fill, Gather, Hold, Numbers, Sample, Span, State, StateBucket, StateName, StateValue, States,
    Stream, Within, fill,
};
use egiz_historian::{ITEMS_MAX, Reading, Rows};
use egiz_model::{Quality, Timestamp, Value};
use serde_json::json;

use super::ask::{Ask, Asked, Gathering, VALUES_MAX};
use super::pieces::each_piece;
use super::raw::Plan;
use super::selection::{Key, Selection};
use super::walk::{Pace, Walk};
use super::{PROPERTIES_MAX, context, entry};
use crate::error::ApiError;

/// The aggregates of one Thing.
///
/// # Errors
/// `history-too-large`, `unavailable`.
pub(super) fn answer(
    walk: &Walk,
    ask: &Ask,
    asked: &Asked,
    within: Option<&Within>,
) -> Result<History, ApiError> {
    let of = Of { thing: &ask.thing, range: (ask.from, ask.to), selection: &ask.selection, within };
    let properties = properties(walk, &of, asked, &mut Budget::new("resolution"))?;
    let context = context::shown(within);
    Ok(History { thing_id: ask.thing.clone(), from: ask.from, to: ask.to, properties, context, cursor: None })
}

/// The buckets that an answer has: those of which anything lies within.
pub(super) fn shown<'a>(asked: &Asked, within: Option<&'a Within>) -> impl Iterator<Item = Span> + 'a {
    asked.buckets.clone().filter(move |span| within.is_none_or(|within| within.overlaps(*span)))
}

/// What lies between two stretches is read with them up to this length; beyond it, what held when the second one began is
/// looked up.
const BRIDGED_MICROS: i64 = 6 * 3_600_000_000;

/// Whose samples are looked at.
pub(super) struct Of<'a> {
    pub(super) thing: &'a str,
    pub(super) range: (Timestamp, Timestamp),
    pub(super) selection: &'a Selection,
    /// The stretches that count; all of the range where it is missing.
    pub(super) within: Option<&'a Within>,
}

impl Of<'_> {
    /// The ranges that are read one after the other.
    pub(super) fn ranges(&self) -> Vec<(Timestamp, Timestamp)> {
        match self.within {
            None => vec![self.range],
            Some(within) => {
                within.bridged(BRIDGED_MICROS).into_iter().map(|span| (span.start, span.end)).collect()
            }
        }
    }
}

/// How many values an answer may still have.
pub(super) struct Budget {
    left: u64,
    /// The parameter by which a smaller answer is asked for.
    parameter: &'static str,
}

impl Budget {
    pub(super) fn new(parameter: &'static str) -> Self {
        Self { left: VALUES_MAX, parameter }
    }

    /// Takes one property's share.
    ///
    /// # Errors
    /// `history-too-large`.
    pub(super) fn spend(&mut self, asked: &Asked) -> Result<(), ApiError> {
        match self.left.checked_sub(asked.values_of_property()) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let detail = format!(
                    "the answer would have more than {VALUES_MAX} values; ask for a coarser resolution, a shorter \
                     range, or fewer properties"
                );
                let problem = Problem::new(Code::HistoryTooLarge, detail.clone());
                Err(problem.in_parameter(self.parameter, detail).limit(VALUES_MAX).into())
            }
        }
    }
}

/// A stream and what it has finished.
struct Running<G: Gather> {
    stream: Stream<G>,
    done: Vec<G::Output>,
}

impl<G: Gather> Running<G> {
    fn new(asked: &Asked, gather: G) -> Self {
        Self { stream: Stream::new(asked.buckets.clone(), gather), done: Vec::new() }
    }

    fn push(&mut self, input: G::Input<'_>) -> Result<(), ApiError> {
        Ok(self.stream.push(input, &mut self.done)?)
    }

    fn finish(mut self) -> Vec<G::Output> {
        self.stream.finish(&mut self.done);
        self.done
    }
}

enum Gathered {
    Numbers(Vec<(String, Running<Numbers>)>),
    States(Box<Running<States>>),
}

struct Track {
    key: Key,
    gathered: Gathered,
    /// Whether anything of the asked kind was there.
    is_met: bool,
}

/// The buckets of every property that is asked for.
///
/// # Errors
/// `history-too-large`, `unavailable`.
pub(super) fn properties(
    walk: &Walk,
    of: &Of<'_>,
    asked: &Asked,
    budget: &mut Budget,
) -> Result<Vec<PropertyHistory>, ApiError> {
    let mut tracks: Vec<Track> = Vec::new();
    for key in of.selection.named() {
        place_of(&mut tracks, key, (asked, of.within), budget)?;
    }
    if matches!(asked.gathering, Gathering::Durations) {
        each_state(walk, of, |key, state| {
            let place = place_of(&mut tracks, key, (asked, of.within), budget)?;
            let track = &mut tracks[place];
            track.is_met |= state.quality != Quality::Bad;
            let Gathered::States(running) = &mut track.gathered else { return Ok(()) };
            running.push(state)
        })?;
    } else {
        each_piece(walk, of, asked.rollups(of.range), asked.looks_back(), |key, pieces| {
            let place = place_of(&mut tracks, key, (asked, of.within), budget)?;
            let track = &mut tracks[place];
            track.is_met |= pieces.has_numbers();
            let Gathered::Numbers(running) = &mut track.gathered else { return Ok(()) };
            for piece in pieces.iter() {
                for (_, running) in running.iter_mut() {
                    running.push(piece)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(finished(tracks, of, asked))
}

/// The place of a key's track, new if need be.
fn place_of(
    tracks: &mut Vec<Track>,
    key: &Key,
    (asked, within): (&Asked, Option<&Within>),
    budget: &mut Budget,
) -> Result<usize, ApiError> {
    if let Some(place) = tracks.iter().position(|track| track.key == *key) {
        return Ok(place);
    }
    if tracks.len() == PROPERTIES_MAX {
        return Err(super::too_many_properties());
    }
    budget.spend(asked)?;
    let gathered = match &asked.gathering {
        Gathering::Durations => {
            let states = States::new(asked.hold).within(within.cloned());
            Gathered::States(Box::new(Running::new(asked, states)))
        }
        Gathering::Numbers(aggregates) => {
            let running = aggregates.iter().map(|(name, aggregate)| {
                let numbers = Numbers::new(*aggregate, asked.hold).within(within.cloned());
                (name.clone(), Running::new(asked, numbers))
            });
            Gathered::Numbers(running.collect())
        }
    };
    tracks.push(Track { key: key.clone(), gathered, is_met: false });
    Ok(tracks.len() - 1)
}

/// Leaves out what was not asked for by name and has nothing to say, and puts the rest in order.
fn finished(mut tracks: Vec<Track>, of: &Of<'_>, asked: &Asked) -> Vec<PropertyHistory> {
    let selection = of.selection;
    let met: Vec<Key> = tracks.iter().filter(|track| track.is_met).map(|track| track.key.clone()).collect();
    tracks.retain(|track| track.is_met || selection.insists_on(&track.key, &met));
    tracks.sort_by(|a, b| selection.order(&a.key, &b.key));
    let finished = tracks.into_iter().map(|track| {
        let mut entry = entry(&track.key, track.is_met);
        entry.buckets = Some(match track.gathered {
            Gathered::Numbers(running) => number_buckets(running, asked.fill, of.within),
            Gathered::States(running) => {
                let mut buckets: Vec<_> = running.finish().into_iter().map(state_bucket).collect();
                keep_shown(&mut buckets, of.within);
                buckets
            }
        });
        entry
    });
    finished.collect()
}

/// Puts the aggregates of each bucket beside each other.
fn number_buckets(
    running: Vec<(String, Running<Numbers>)>,
    how: Fill,
    within: Option<&Within>,
) -> Vec<HistoryBucket> {
    let mut together: Vec<HistoryBucket> = Vec::new();
    for (name, running) in running {
        let buckets = running.finish();
        if together.is_empty() {
            together = buckets.iter().map(empty_bucket).collect();
        }
        for (bucket, one) in together.iter_mut().zip(buckets) {
            bucket.quality = bucket.quality.max(one.quality.unwrap_or_default());
            bucket.values.insert(name.clone(), one.value);
        }
    }
    keep_shown(&mut together, within);
    fill_together(&mut together, how);
    together
}

/// Leaves out the buckets of which nothing lies within.
fn keep_shown(buckets: &mut Vec<HistoryBucket>, within: Option<&Within>) {
    if let Some(within) = within {
        buckets.retain(|bucket| within.overlaps(Span::new(bucket.start, bucket.end)));
    }
}

/// Fills each aggregate for itself; with nothing to stand in for it, a bucket goes that has none at all.
pub(super) fn fill_together(buckets: &mut Vec<HistoryBucket>, how: Fill) {
    match how {
        Fill::Null => {}
        Fill::None => buckets.retain(|bucket| bucket.values.values().any(Option::is_some)),
        _ => {
            let names: Vec<String> =
                buckets.iter().take(1).flat_map(|bucket| bucket.values.keys().cloned()).collect();
            for name in names {
                let one = |bucket: &HistoryBucket| Bucket {
                    start: bucket.start,
                    end: bucket.end,
                    value: bucket.values.get(&name).copied().flatten(),
                    count: bucket.count,
                    excluded: bucket.excluded,
                    quality: None,
                    is_partial: bucket.partial,
                };
                let mut filled: Vec<Bucket> = buckets.iter().map(one).collect();
                fill(&mut filled, how);
                for (bucket, filled) in buckets.iter_mut().zip(filled) {
                    bucket.values.insert(name.clone(), filled.value);
                }
            }
        }
    }
}

fn empty_bucket(bucket: &Bucket) -> HistoryBucket {
    HistoryBucket {
        start: bucket.start,
        end: bucket.end,
        values: std::collections::BTreeMap::new(),
        states: None,
        unknown_s: None,
        count: bucket.count,
        excluded: bucket.excluded,
        quality: Quality::Good,
        partial: bucket.is_partial,
    }
}

fn state_bucket(bucket: StateBucket) -> HistoryBucket {
    let states = bucket.states.into_iter().map(|state| HistoryState {
        state: match state.state {
            StateName::Bool(truth) => json!(truth),
            StateName::Number(number) => Value::Float(number).to_json(),
            StateName::Text(text) => json!(text),
        },
        duration_s: state.seconds,
        entries: state.entries,
    });
    HistoryBucket {
        start: bucket.start,
        end: bucket.end,
        values: std::collections::BTreeMap::new(),
        states: Some(states.collect()),
        unknown_s: Some(bucket.unknown_seconds),
        count: bucket.count,
        excluded: bucket.excluded,
        quality: bucket.quality.unwrap_or_default(),
        partial: bucket.is_partial,
    }
}

/// Gives the numbers of each property and item, in order of time for each; what lies before the range first, where it is
/// looked at.
///
/// # Errors
/// `unavailable`; those of `each`.
pub(super) fn each_number(
    walk: &Walk,
    of: &Of<'_>,
    looks_back: bool,
    mut each: impl FnMut(&Key, &[Sample]) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let mut last = Last::default();
    for (begin, end) in of.ranges() {
        if looks_back {
            let mut carried: Vec<(Key, Sample)> = Vec::new();
            before(walk, of, begin, |key, time, reading| {
                if let Some(value) = reading.value.as_ref().and_then(Value::as_f64) {
                    carried.push((key.clone(), Sample { time, value, quality: reading.quality }));
                }
                Ok(())
            })?;
            for key in last.without(carried.iter().map(|(key, _)| key)) {
                let time = begin.plus_micros(-1);
                if last.is_new(&key, time) {
                    each(&key, &[Sample { time, value: 0.0, quality: Quality::Bad }])?;
                }
            }
            for (key, sample) in carried {
                if last.is_new(&key, sample.time) {
                    each(&key, &[sample])?;
                }
            }
        }
        walk.slices(of.thing, (begin, end), of.selection, Pace::All, |rows| {
            each_of_rows(rows, of, |key, samples| {
                if let Some(sample) = samples.last() {
                    last.is_new(key, sample.time);
                }
                each(key, samples)
            })
        })?;
    }
    Ok(())
}

/// Gives the numbers of some rows.
fn each_of_rows(
    rows: &Rows,
    of: &Of<'_>,
    mut each: impl FnMut(&Key, &[Sample]) -> Result<(), ApiError>,
) -> Result<ControlFlow<()>, ApiError> {
    for step in Plan::of(rows, of.selection).0 {
        let (feature, property) = (&*step.feature, &*step.property);
        let key =
            |item| Key { feature: Arc::clone(&step.feature), property: Arc::clone(&step.property), item };
        if of.selection.wants_whole(feature, property) {
            let whole = rows.samples(feature, property, None);
            if !whole.is_empty() {
                each(&key(None), &whole)?;
            }
            for item in 0..ITEMS_MAX {
                let samples = rows.samples(feature, property, Some(item));
                if samples.is_empty() {
                    break;
                }
                each(&key(Some(item)), &samples)?;
            }
        } else {
            for item in of.selection.items(feature, property) {
                each(&key(Some(item)), &rows.samples(feature, property, Some(item)))?;
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// When each property was given last: what held before a later range may have been given already.
#[derive(Default)]
struct Last(Vec<(Key, Timestamp)>);

impl Last {
    /// Whether a time is later than the last of a key; it is the last from now on.
    fn is_new(&mut self, key: &Key, time: Timestamp) -> bool {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, last)) if *last >= time => false,
            Some((_, last)) => {
                *last = time;
                true
            }
            None => {
                self.0.push((key.clone(), time));
                true
            }
        }
    }

    /// Those that were given and are not among these: they hold no more.
    fn without<'a>(&self, carried: impl Iterator<Item = &'a Key>) -> Vec<Key> {
        let carried: Vec<&Key> = carried.collect();
        self.0.iter().map(|(key, _)| key).filter(|key| !carried.contains(key)).cloned().collect()
    }
}

fn each_state(
    walk: &Walk,
    of: &Of<'_>,
    mut each: impl FnMut(&Key, State<'_>) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let mut last = Last::default();
    for (begin, end) in of.ranges() {
        let mut carried: Vec<(Key, Timestamp, Reading)> = Vec::new();
        before(walk, of, begin, |key, time, reading| {
            carried.push((key.clone(), time, reading.clone()));
            Ok(())
        })?;
        for key in last.without(carried.iter().map(|(key, ..)| key)) {
            let time = begin.plus_micros(-1);
            if last.is_new(&key, time) {
                each(&key, State { time, value: StateValue::Bool(false), quality: Quality::Bad })?;
            }
        }
        for (key, time, reading) in &carried {
            if last.is_new(key, *time) {
                each(key, state(*time, reading))?;
            }
        }
        walk.slices(of.thing, (begin, end), of.selection, Pace::All, |rows: &Rows| {
            let plan = Plan::of(rows, of.selection);
            for row in 0..rows.len() {
                for step in &plan.0 {
                    let Some(reading) = rows.reading(row, &step.feature, &step.property) else { continue };
                    spread(of.selection, (&step.feature, &step.property), &reading, |key, reading| {
                        if of.within.is_some() {
                            last.is_new(key, rows.time(row));
                        }
                        each(key, state(rows.time(row), reading))
                    })?;
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(())
}

/// Gives what held when a range began.
fn before(
    walk: &Walk,
    of: &Of<'_>,
    begin: Timestamp,
    mut each: impl FnMut(&Key, Timestamp, &Reading) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let Some(state) = walk.thing_at(of.thing, begin.plus_micros(-1))? else { return Ok(()) };
    for property in &state.properties {
        if of.selection.wants(&property.feature, &property.property) {
            spread(
                of.selection,
                (&property.feature, &property.property),
                &property.reading,
                |key, reading| each(key, property.time, reading),
            )?;
        }
    }
    Ok(())
}

/// Gives a reading, or each item of its list, as far as they are asked for.
fn spread(
    selection: &Selection,
    (feature, property): (&Arc<str>, &Arc<str>),
    reading: &Reading,
    mut each: impl FnMut(&Key, &Reading) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let key = |item| Key { feature: Arc::clone(feature), property: Arc::clone(property), item };
    let wants_whole = selection.wants_whole(feature, property);
    let Some(Value::List(items)) = &reading.value else {
        return if wants_whole { each(&key(None), reading) } else { Ok(()) };
    };
    for (item, value) in (0..ITEMS_MAX).zip(items) {
        if wants_whole || selection.items(feature, property).any(|wanted| wanted == item) {
            each(&key(Some(item)), &Reading { value: Some(value.clone()), ..*reading })?;
        }
    }
    Ok(())
}

fn state(time: Timestamp, reading: &Reading) -> State<'_> {
    let value = match &reading.value {
        Some(Value::Bool(truth)) => Some(StateValue::Bool(*truth)),
        Some(Value::Text(text)) => Some(StateValue::Text(text)),
        Some(number @ (Value::Int(_) | Value::Float(_))) => number.as_f64().map(StateValue::Number),
        Some(Value::Null | Value::List(_) | Value::Map(_)) | None => None,
    };
    match value {
        Some(value) => State { time, value, quality: reading.quality },
        None => State { time, value: StateValue::Bool(false), quality: Quality::Bad },
    }
}

/// Whether a bucket shows less than its whole span.
pub(super) fn is_partial(
    (start, end): (Timestamp, Timestamp),
    range: (Timestamp, Timestamp),
    hold: Hold,
) -> bool {
    start < range.0 || end > range.1 || end > hold.known_until
}
