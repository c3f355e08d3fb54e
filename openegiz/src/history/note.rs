//! What history needs to know of a record beyond its bytes, taken from the engine when the record is applied.
//!
//! Of telemetry that is how far each sample can be trusted, which definition the Thing follows and what that says is worth
//! keeping; the samples themselves
//! are read from the record again, off the lock. Of a write it is what came of it: the values that are different, and the
//! properties that are gone. Every other record leaves nothing for history.

use std::sync::Arc;

use egiz_historian::{Intake, RowWriter};
use egiz_model::record::format::{DEPTH_MAX, ItemReader};
use egiz_model::record::{Body, Record};
use egiz_model::{Offset, Quality, QualityReason, Timestamp, Value, ValueRef};
use egiz_twin::{
    Change, ChangeKind, Engine, Judged, Outcome, PropertyRef, RecordedSample, RecordingRules, ThingRef, Trust,
};

use super::Recorder;

/// What history needs to know of one record.
#[derive(Debug, PartialEq)]
pub(crate) enum Note {
    /// Of a device's message.
    Telemetry {
        definition: Arc<str>,
        /// One entry for each sample, nothing for one that was not taken up; empty where all are good.
        judged: Box<[Option<Trust>]>,
        /// Which of them are worth keeping, where the Thing's template says so.
        recording: Option<Arc<RecordingRules>>,
    },
    /// Of a write.
    Write {
        definition: Arc<str>,
        /// The new values.
        values: Vec<Written>,
        /// The properties that are gone, by feature and name.
        gone: Vec<Property>,
    },
}

type Property = (Arc<str>, Arc<str>);

/// A value that came of a write.
#[derive(Debug, PartialEq)]
pub(crate) struct Written {
    property: Property,
    /// Encoded as in records.
    value: Vec<u8>,
    trust: Trust,
    source: Timestamp,
    received: Timestamp,
}

/// Notes on the records applied under one hold of the engine's lock.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    notes: Vec<(Offset, Note)>,
    judged: Judged,
}

/// What a Thing had before it was written to.
#[derive(Debug)]
struct Before {
    definition: Arc<str>,
    properties: Vec<Property>,
}

impl Notes {
    /// Applies a record, and notes what came of it.
    pub(crate) fn apply(
        &mut self,
        engine: &mut Engine,
        offset: Offset,
        record: &Record<'_>,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let before = Before::of(engine, record);
        let changes_before = changes.len();
        let outcome = engine.apply_judging(offset, record, changes, &mut self.judged);
        let note = match &record.body {
            Body::Telemetry(_) => self.of_telemetry(),
            Body::ThingWrite(write) if changes.len() > changes_before => {
                of_write(engine.thing(write.thing), before, &changes[changes_before..])
            }
            _ => None,
        };
        self.notes.extend(note.map(|note| (offset, note)));
        outcome
    }

    fn of_telemetry(&mut self) -> Option<Note> {
        const GOOD: Option<Trust> = Some((Quality::Good, QualityReason::None));
        let definition = self.judged.definition.take()?;
        let samples = &self.judged.samples;
        if samples.iter().all(Option::is_none) {
            return None;
        }
        let all_good = samples.iter().all(|judged| *judged == GOOD);
        let judged = if all_good { Box::default() } else { samples.as_slice().into() };
        Some(Note::Telemetry { definition, judged, recording: self.judged.recording.take() })
    }

    /// The notes since the last time, by offset.
    pub(crate) fn take(&mut self) -> Vec<(Offset, Note)> {
        std::mem::take(&mut self.notes)
    }
}

impl Before {
    /// What a record may take away.
    fn of(engine: &Engine, record: &Record<'_>) -> Option<Self> {
        let Body::ThingWrite(write) = &record.body else { return None };
        engine.thing(write.thing).map(|thing| Self {
            definition: definition_of(thing),
            properties: properties_of(thing).map(|(feature, property)| name_of(feature, property)).collect(),
        })
    }
}

fn of_write(now: Option<ThingRef<'_>>, before: Option<Before>, changes: &[Change]) -> Option<Note> {
    let definition = match (now, &before) {
        (Some(thing), _) => definition_of(thing),
        (None, Some(before)) => Arc::clone(&before.definition),
        (None, None) => return None,
    };
    let is_new = changes.iter().any(|change| matches!(change.kind, ChangeKind::Created));
    let changed = |feature: &str, property: &str| {
        changes.iter().any(|change| match &change.kind {
            ChangeKind::Feature { feature: changed, properties, .. } => {
                **changed == *feature && properties.iter().any(|(name, _)| **name == *property)
            }
            _ => false,
        })
    };
    let is_there =
        |(feature, property): &Property| now.is_some_and(|thing| thing.property(feature, property).is_some());
    let values: Vec<Written> = now
        .into_iter()
        .flat_map(properties_of)
        .filter(|(feature, property)| is_new || changed(feature, property.name()))
        .map(|(feature, property)| Written {
            property: name_of(feature, property),
            value: encoded(property.value()),
            trust: (property.quality(), property.reason()),
            source: property.source(),
            received: property.received(),
        })
        .collect();
    let properties = before.map(|before| before.properties).unwrap_or_default();
    let gone: Vec<Property> = properties.into_iter().filter(|property| !is_there(property)).collect();
    (!values.is_empty() || !gone.is_empty()).then_some(Note::Write { definition, values, gone })
}

fn definition_of(thing: ThingRef<'_>) -> Arc<str> {
    thing.definition().map(Arc::from).unwrap_or_default()
}

fn properties_of(thing: ThingRef<'_>) -> impl Iterator<Item = (&Arc<str>, PropertyRef<'_>)> {
    thing.features().flat_map(|feature| feature.properties().map(move |property| (feature.name(), property)))
}

fn name_of(feature: &Arc<str>, property: PropertyRef<'_>) -> Property {
    (Arc::clone(feature), Arc::clone(property.name()))
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

/// Where rows go: into history, or elsewhere besides.
pub(crate) trait Rows {
    /// A row being written.
    type Row<'a>: Row
    where
        Self: 'a;

    /// Begins a row: what a Thing of a definition said at one time.
    fn row(&mut self, thing: &str, definition: &str, source: Timestamp, received: Timestamp)
    -> Self::Row<'_>;
}

/// A row being written; it is whole when it is dropped.
pub(crate) trait Row {
    /// Sets a property's value, with how far it can be trusted.
    fn set(
        &mut self,
        feature: &str,
        property: &str,
        value: &ValueRef<'_>,
        quality: Quality,
        reason: QualityReason,
    );

    /// Notes that a property was taken away.
    fn remove(&mut self, feature: &str, property: &str);
}

impl Rows for Intake<'_> {
    type Row<'a>
        = RowWriter<'a>
    where
        Self: 'a;

    fn row(
        &mut self,
        thing: &str,
        definition: &str,
        source: Timestamp,
        received: Timestamp,
    ) -> RowWriter<'_> {
        Intake::row(self, thing, definition, source, received)
    }
}

impl Row for RowWriter<'_> {
    fn set(
        &mut self,
        feature: &str,
        property: &str,
        value: &ValueRef<'_>,
        quality: Quality,
        reason: QualityReason,
    ) {
        RowWriter::set(self, feature, property, value, quality, reason);
    }

    fn remove(&mut self, feature: &str, property: &str) {
        RowWriter::remove(self, feature, property);
    }
}

impl Note {
    /// Writes the rows of the record that it is about, as far as they are worth keeping.
    pub(crate) fn write<R: Rows>(&self, record: &Record<'_>, rows: &mut R, recorder: &mut Recorder) {
        match (self, &record.body) {
            (Self::Telemetry { definition, judged, recording }, Body::Telemetry(telemetry)) => {
                let samples = || {
                    let mut judged = judged.iter().copied();
                    let samples = telemetry.features().flat_map(|in_feature| {
                        let feature = in_feature.name;
                        in_feature.samples().map(move |sample| (feature, sample))
                    });
                    samples.filter_map(move |(feature, sample)| {
                        let trust = judged.next().unwrap_or(Some((Quality::Good, QualityReason::None)))?;
                        Some((feature, sample, trust))
                    })
                };
                let kept: Option<Vec<bool>> = recording.as_ref().map(|rules| {
                    let kept = samples().map(|(feature, sample, trust)| {
                        let name = (feature.as_str(), sample.property.as_str());
                        let sample = RecordedSample { time: telemetry.source, value: &sample.value, trust };
                        recorder.keeps(telemetry.thing, rules, name, &sample)
                    });
                    kept.collect()
                });
                // A message of which nothing is kept is no row.
                if kept.as_ref().is_some_and(|kept| !kept.contains(&true)) {
                    return;
                }
                let received = record.header.received;
                let mut row = rows.row(telemetry.thing, definition, telemetry.source, received);
                let mut kept = kept.iter().flatten();
                for (feature, sample, (quality, reason)) in samples() {
                    if *kept.next().unwrap_or(&true) {
                        row.set(feature.as_str(), sample.property.as_str(), &sample.value, quality, reason);
                    }
                }
            }
            (Self::Write { definition, values, gone }, Body::ThingWrite(write)) => {
                for of_time in values.chunk_by(|a, b| (a.source, a.received) == (b.source, b.received)) {
                    let mut row = rows.row(write.thing, definition, of_time[0].source, of_time[0].received);
                    for Written { property: (feature, property), value, trust, .. } in of_time {
                        let value =
                            ItemReader::new(value).value(DEPTH_MAX).expect("the engine holds no deeper ones");
                        row.set(feature, property, &value, trust.0, trust.1);
                        let written = Some((of_time[0].source, &value, *trust));
                        recorder.written(write.thing, (feature, property), written);
                    }
                }
                if !gone.is_empty() {
                    let now = record.header.received;
                    let mut row = rows.row(write.thing, definition, now, now);
                    for (feature, property) in gone {
                        row.remove(feature, property);
                        recorder.written(write.thing, (feature, property), None);
                    }
                }
            }
            _ => {}
        }
    }
}
