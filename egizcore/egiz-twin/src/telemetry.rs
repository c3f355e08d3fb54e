//! A device's message, applied: per property newer replaces, older is late, the same again is a duplicate.

use std::sync::Arc;

use egiz_model::record::{SampleRef, Telemetry};
use egiz_model::{Quality, QualityReason, Timestamp, Value};

use crate::change::TelemetryOutcome;
use crate::engine::{Context, Engine};
use crate::names::Symbol;
use crate::template::Template;
use crate::thing::{Connection, Property, Thing};
use crate::{Change, ChangeKind};

impl Engine {
    pub(crate) fn apply_telemetry(
        &mut self,
        context: Context<'_>,
        telemetry: &Telemetry<'_>,
        changes: &mut Vec<Change>,
    ) -> TelemetryOutcome {
        self.counters.telemetry_messages += 1;
        let Some(slot) = self.slot_of(telemetry.thing) else {
            self.hear_unknown(context, telemetry, changes);
            return TelemetryOutcome::default();
        };
        let mut outcome = self.take_samples(slot, context, telemetry, changes);
        let thing = self.thing_mut(slot);
        outcome.revision = Some(thing.revision);
        if thing.connection == Connection::Live {
            // Its deadline is watched already; `last_seen` moved with the samples.
            return outcome;
        }
        thing.connection = Connection::Live;
        if outcome.changed == 0 {
            thing.revision += 1;
            thing.modified = context.header.received;
            outcome.revision = Some(thing.revision);
        }
        let change = context.change(thing, slot, ChangeKind::Connection(Connection::Live));
        changes.push(change);
        self.watch(slot);
        outcome
    }

    fn hear_unknown(&mut self, context: Context<'_>, telemetry: &Telemetry<'_>, changes: &mut Vec<Change>) {
        self.counters.messages_unknown += 1;
        let header = context.header;
        let heard =
            self.discovered.hear(telemetry, header.received, header.principal, self.limits.discovered_max);
        self.counters.discovered_evicted += u64::from(heard.evicted);
        if heard.is_new
            && let Ok(thing) = egiz_model::ThingId::new(telemetry.thing)
        {
            changes.push(Change {
                thing,
                slot: 0,
                revision: 0,
                offset: context.offset,
                received: header.received,
                source: Some(telemetry.source),
                principal: header.principal.into(),
                correlation: context.correlation(),
                kind: ChangeKind::Discovered,
            });
        }
    }

    /// Brings a message's samples into the Thing: at most one new revision, and one change for each changed feature.
    pub(crate) fn take_samples(
        &mut self,
        slot: u32,
        context: Context<'_>,
        telemetry: &Telemetry<'_>,
        changes: &mut Vec<Change>,
    ) -> TelemetryOutcome {
        let Self { things, names, templates, limits, counters, .. } = self;
        let thing = things[slot as usize].as_deref_mut().expect("the slot was looked up by id");
        let template = thing.template.and_then(|index| templates.get(index as usize));
        let now = context.header.received;
        let revision = thing.revision + 1;
        let mut outcome = TelemetryOutcome::default();
        let mut changes_of_features: smallvec::SmallVec<[ChangeKind; 4]> = smallvec::SmallVec::new();
        for samples in telemetry.features() {
            let feature = names
                .intern(samples.name, limits.names_max)
                .and_then(|name| Some((name, thing.feature_index(name, limits.features_max)?)));
            let Some((feature_name, index)) = feature else {
                outcome.refused += u32::try_from(samples.samples().count()).unwrap_or(u32::MAX);
                continue;
            };
            let feature = &mut thing.features[index];
            let mut changed: Vec<(Arc<str>, Option<Value>)> = Vec::new();
            for (hint, sample) in samples.samples().enumerate() {
                let Some(name) = names.intern(sample.property, limits.names_max) else {
                    outcome.refused += 1;
                    continue;
                };
                let taken = Taken { sample, name, source: telemetry.source, received: now, revision };
                let (quality, reason) = judge(&sample, telemetry.clock, template, feature_name, name);
                match feature.property_index(name, hint) {
                    Some(index) => match taken.update(&mut feature.properties[index], quality, reason) {
                        Effect::Changed => {
                            changed.push(changed_property(names.text(name), &feature.properties[index]))
                        }
                        Effect::Refreshed => {}
                        Effect::Late => outcome.late += 1,
                        Effect::Duplicate => outcome.duplicate += 1,
                    },
                    None if feature.properties.len() < limits.properties_max => {
                        feature.properties.reserve_exact(1);
                        feature.properties.push(taken.into_new(quality, reason));
                        let last = feature.properties.len() - 1;
                        changed.push(changed_property(names.text(name), &feature.properties[last]));
                    }
                    None => outcome.refused += 1,
                }
            }
            if !changed.is_empty() {
                outcome.changed += u32::try_from(changed.len()).unwrap_or(u32::MAX);
                feature.revision = revision;
                feature.properties_revision = revision;
                thing.features_revision = revision;
                let feature = Arc::clone(names.text(feature_name));
                changes_of_features.push(ChangeKind::Feature {
                    feature,
                    properties: changed,
                    removed: false,
                });
            }
        }
        thing.offset = context.offset;
        thing.last_seen = Some(thing.last_seen.map_or(now, |seen| seen.max(now)));
        if outcome.changed > 0 {
            thing.revision = revision;
            thing.modified = now;
        }
        for kind in changes_of_features {
            let mut change = context.change(thing, slot, kind);
            change.source = Some(telemetry.source);
            changes.push(change);
        }
        let samples = telemetry.features().map(|feature| feature.samples().count() as u64).sum::<u64>();
        counters.samples += samples;
        counters.samples_changed += u64::from(outcome.changed);
        counters.samples_late += u64::from(outcome.late);
        counters.samples_duplicate += u64::from(outcome.duplicate);
        counters.samples_refused += u64::from(outcome.refused);
        outcome
    }

    /// Gives a new Thing what was last heard of its device.
    pub(crate) fn take_over_discovered(
        &mut self,
        slot: u32,
        context: Context<'_>,
        changes: &mut Vec<Change>,
    ) {
        let id = self.thing_mut(slot).id.clone();
        let Some(device) = self.discovered.forget(id.as_str()) else { return };
        let telemetry = device.last_message(id.as_str());
        let before = self.thing_mut(slot).revision;
        let silent_since = device.last_heard;
        let taken = self.take_samples(slot, context, &telemetry, changes);
        let thing: &mut Thing = self.thing_mut(slot);
        // Creation and first values are one revision.
        if taken.changed > 0 {
            thing.revision = before;
            for change in changes.iter_mut().rev().take_while(|change| change.offset == context.offset) {
                change.revision = before;
            }
            for feature in &mut thing.features {
                feature.revision = before;
                feature.properties_revision = before;
                for property in &mut feature.properties {
                    property.revision = property.revision.min(before);
                }
            }
            thing.features_revision = before;
        }
        thing.last_seen = Some(silent_since);
        thing.connection = Connection::Live;
        self.watch(slot);
    }
}

/// A sample on its way into a property.
struct Taken<'a> {
    sample: SampleRef<'a>,
    name: Symbol,
    source: Timestamp,
    received: Timestamp,
    revision: u64,
}

enum Effect {
    Changed,
    /// Newer, and the same value: only its times moved.
    Refreshed,
    Late,
    Duplicate,
}

impl Taken<'_> {
    fn update(&self, property: &mut Property, quality: Quality, reason: QualityReason) -> Effect {
        if self.source < property.source {
            return Effect::Late;
        }
        let same = property.quality == quality
            && property.reason == reason
            && property.value.same_as(&self.sample.value);
        if same && self.source == property.source {
            return Effect::Duplicate;
        }
        property.source = self.source;
        property.received = self.received;
        if same {
            return Effect::Refreshed;
        }
        property.quality = quality;
        property.reason = reason;
        property.value = self.sample.value.to_owned();
        property.revision = self.revision;
        Effect::Changed
    }

    fn into_new(self, quality: Quality, reason: QualityReason) -> Property {
        Property {
            name: self.name,
            quality,
            reason,
            revision: self.revision,
            source: self.source,
            received: self.received,
            value: self.sample.value.to_owned(),
            metadata: None,
        }
    }
}

fn changed_property(name: &Arc<str>, property: &Property) -> (Arc<str>, Option<Value>) {
    (Arc::clone(name), Some(property.value.clone()))
}

/// The worst of what speaks against a sample.
fn judge(
    sample: &SampleRef<'_>,
    clock: QualityReason,
    template: Option<&Template>,
    feature: Symbol,
    property: Symbol,
) -> (Quality, QualityReason) {
    if matches!(sample.value, egiz_model::ValueRef::Null) {
        return (Quality::Bad, QualityReason::NoValue);
    }
    if sample.quality != Quality::Good {
        return (sample.quality, QualityReason::Reported);
    }
    let out_of_range = sample
        .value
        .as_f64()
        .zip(template.and_then(|template| template.rule(feature, property)))
        .is_some_and(|(number, rule)| rule.excludes(number));
    if out_of_range {
        return (Quality::Uncertain, QualityReason::OutOfRange);
    }
    match clock {
        QualityReason::None => (Quality::Good, QualityReason::None),
        reason => (Quality::Uncertain, reason),
    }
}
