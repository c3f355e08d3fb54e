//! A device's message, applied: per property newer replaces, older is late, the same again is a duplicate.

use std::sync::Arc;

use egiz_model::record::format::EncodedName;
use egiz_model::record::{FeatureSamples, SampleRef, Telemetry};
use egiz_model::{Name, Timestamp, Value};

use crate::change::TelemetryOutcome;
use crate::engine::{Context, Engine};
use crate::judge::{Judged, Trust, judge_sample};
use crate::names::{Names, Symbol};
use crate::template::Template;
use crate::thing::{Connection, Feature, Property, Thing, weigh, weigh_feature, weigh_member};
use crate::{Change, ChangeKind, Counters, Limits};

impl Engine {
    pub(crate) fn apply_telemetry(
        &mut self,
        context: Context<'_>,
        telemetry: &Telemetry<'_>,
        changes: &mut Vec<Change>,
        judged: Option<&mut Judged>,
    ) -> TelemetryOutcome {
        self.counters.telemetry_messages += 1;
        let Some(slot) = self.slot_of(telemetry.thing) else {
            self.hear_unknown(context, telemetry, changes);
            return TelemetryOutcome::default();
        };
        let revision = self.thing_mut(slot).revision + 1;
        let message = Message { telemetry, received: context.header.received, revision };
        let mut outcome = self.take_samples(slot, context, &message, changes, judged);
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
        let Ok(thing) = egiz_model::ThingId::new(telemetry.thing) else { return };
        let heard =
            self.discovered.hear(telemetry, header.received, context.principal, self.limits.discovered_max);
        self.counters.discovered_evicted += u64::from(heard.evicted);
        if heard.is_new {
            changes.push(Change {
                thing,
                slot: 0,
                revision: 0,
                offset: context.offset,
                received: header.received,
                source: Some(telemetry.source),
                principal: Arc::clone(context.principal),
                correlation: context.correlation(),
                kind: ChangeKind::Discovered,
            });
        }
    }

    /// Brings a message's samples into the Thing: at most one new revision, and one change for each changed feature.
    fn take_samples(
        &mut self,
        slot: u32,
        context: Context<'_>,
        message: &Message<'_>,
        changes: &mut Vec<Change>,
        judged: Option<&mut Judged>,
    ) -> TelemetryOutcome {
        let Self { things, names, templates, limits, counters, .. } = self;
        let thing = things[slot as usize].as_deref_mut().expect("the slot was looked up by id");
        let template = thing.template.and_then(|number| templates.get(number));
        let judged = judged.map(|judged| judged.begin(thing.definition.as_ref(), template));
        let mut taking = Taking { message, names, limits, template, tally: Tally::default(), judged };
        let first_change = changes.len();
        for (hint, in_feature) in message.telemetry.features().enumerate() {
            if let Some(kind) = taking.take_feature(thing, &in_feature, hint) {
                let mut change = context.change(thing, slot, kind);
                change.revision = message.revision;
                change.source = Some(message.telemetry.source);
                changes.push(change);
            }
        }
        let tally = taking.tally;
        thing.offset = context.offset;
        thing.last_seen = Some(thing.last_seen.map_or(message.received, |seen| seen.max(message.received)));
        if changes.len() > first_change {
            thing.revision = message.revision;
            thing.modified = context.header.received;
        }
        tally.count(counters);
        TelemetryOutcome {
            revision: None,
            changed: tally.changed,
            late: tally.late,
            duplicate: tally.duplicate,
            refused: tally.refused,
        }
    }

    /// Gives a new Thing what was last heard of its device, as part of its first revision.
    pub(crate) fn take_over_discovered(
        &mut self,
        slot: u32,
        context: Context<'_>,
        changes: &mut Vec<Change>,
    ) {
        let thing = self.thing_mut(slot);
        let (id, revision) = (thing.id.clone(), thing.revision);
        let Some(device) = self.discovered.forget(id.as_str()) else { return };
        let telemetry = device.last_message(id.as_str());
        let message = Message { telemetry: &telemetry, received: device.last_heard, revision };
        self.take_samples(slot, context, &message, changes, None);
        self.thing_mut(slot).connection = Connection::Live;
        self.watch(slot);
    }
}

/// A message on its way into a Thing.
struct Message<'a> {
    telemetry: &'a Telemetry<'a>,
    /// When the platform took it in.
    received: Timestamp,
    /// The Thing's revision if anything changes.
    revision: u64,
}

/// What became of a message's samples.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    changed: u32,
    unchanged: u32,
    late: u32,
    duplicate: u32,
    refused: u32,
}

impl Tally {
    fn count(&self, counters: &mut Counters) {
        let [changed, unchanged, late, duplicate, refused] =
            [self.changed, self.unchanged, self.late, self.duplicate, self.refused].map(u64::from);
        counters.samples += changed + unchanged + late + duplicate + refused;
        counters.samples_changed += changed;
        counters.samples_unchanged += unchanged;
        counters.samples_late += late;
        counters.samples_duplicate += duplicate;
        counters.samples_refused += refused;
    }
}

/// What taking a message's samples needs.
struct Taking<'a> {
    message: &'a Message<'a>,
    names: &'a mut Names,
    limits: &'a Limits,
    template: Option<&'a Template>,
    tally: Tally,
    /// For whoever keeps every sample.
    judged: Option<&'a mut Vec<Option<Trust>>>,
}

enum Effect {
    /// The property at this index is different now.
    Changed(usize),
    /// Newer, and the same value: only its times moved.
    Unchanged,
    Late,
    Duplicate,
    /// At a limit, or for its name.
    Refused,
}

impl Taking<'_> {
    /// Takes the samples of one feature; returns what is different.
    fn take_feature(
        &mut self,
        thing: &mut Thing,
        in_feature: &FeatureSamples<'_>,
        hint: usize,
    ) -> Option<ChangeKind> {
        let features_before = thing.features.len();
        let mut index = self.find_feature(thing, in_feature.name, hint);
        let mut changed: Vec<(Arc<str>, Option<Value>)> = Vec::new();
        for (hint, sample) in in_feature.samples().enumerate() {
            if index.is_none() && Name::check(sample.property.as_str()).is_ok() {
                index = self.add_feature(thing, in_feature.name.as_str());
            }
            let Some(index) = index else {
                self.tally.refused += 1;
                self.note(None);
                continue;
            };
            let feature = &mut thing.features[index];
            let (effect, trust) = self.take(&sample, feature, &mut thing.weight, hint);
            self.note(trust);
            match effect {
                Effect::Changed(property) => {
                    if changed.is_empty() {
                        changed.reserve_exact(feature.properties.len());
                    }
                    let property = &feature.properties[property];
                    let name = Arc::clone(self.names.text(property.name));
                    changed.push((name, Some(property.value.clone())));
                    self.tally.changed += 1;
                }
                Effect::Unchanged => self.tally.unchanged += 1,
                Effect::Late => self.tally.late += 1,
                Effect::Duplicate => self.tally.duplicate += 1,
                Effect::Refused => self.tally.refused += 1,
            }
        }
        if changed.is_empty() {
            if thing.features.len() > features_before {
                // Nothing in it was taken, so it was not there.
                thing.features.pop();
                thing.weight -= weigh_feature(in_feature.name.as_str());
            }
            return None;
        }
        let feature = &mut thing.features[index?];
        feature.revision = self.message.revision;
        feature.properties_revision = self.message.revision;
        thing.features_revision = self.message.revision;
        let feature = Arc::clone(self.names.text(feature.name));
        Some(ChangeKind::Feature { feature, properties: changed, removed: false })
    }

    /// Where the feature lies; `hint` is where if the device keeps its order, which devices do.
    fn find_feature(&self, thing: &Thing, name: EncodedName<'_>, hint: usize) -> Option<usize> {
        if thing.features.get(hint).is_some_and(|feature| name == **self.names.text(feature.name)) {
            return Some(hint);
        }
        let symbol = self.names.find(name.as_str())?;
        thing.features.iter().position(|feature| feature.name == symbol)
    }

    /// Makes a new feature; `None` at a limit or for its name.
    fn add_feature(&mut self, thing: &mut Thing, name: &str) -> Option<usize> {
        let weight = thing.weight + weigh_feature(name);
        if thing.features.len() >= self.limits.features_max || weight > self.limits.thing_bytes_max {
            return None;
        }
        let symbol = self.new_name(name)?;
        thing.weight = weight;
        thing.features.reserve_exact(1);
        thing.features.push(Feature::new(symbol, self.message.revision));
        Some(thing.features.len() - 1)
    }

    fn new_name(&mut self, name: &str) -> Option<Symbol> {
        Name::check(name).ok()?;
        self.names.intern(name, self.limits.names_max)
    }

    fn note(&mut self, trust: Option<Trust>) {
        if let Some(judged) = &mut self.judged {
            judged.push(trust);
        }
    }

    /// What the sample does, and how far it can be trusted where the Thing has the property.
    fn take(
        &mut self,
        sample: &SampleRef<'_>,
        feature: &mut Feature,
        weight: &mut usize,
        hint: usize,
    ) -> (Effect, Option<Trust>) {
        let at_hint = feature
            .properties
            .get(hint)
            .is_some_and(|property| sample.property == **self.names.text(property.name));
        let index = if at_hint {
            Some(hint)
        } else {
            self.names
                .find(sample.property.as_str())
                .and_then(|name| feature.properties.iter().position(|property| property.name == name))
        };
        let Some(index) = index else { return self.take_new(sample, feature, weight) };
        let rule =
            self.template.and_then(|template| template.rule(feature.name, feature.properties[index].name));
        let trust = judge_sample(sample, self.message.telemetry.clock, rule);
        let property = &mut feature.properties[index];
        let effect = self.replace(sample, (index, property), trust, weight);
        (effect, Some(trust))
    }

    fn replace(
        &self,
        sample: &SampleRef<'_>,
        (index, property): (usize, &mut Property),
        (quality, reason): Trust,
        weight: &mut usize,
    ) -> Effect {
        let source = self.message.telemetry.source;
        if source < property.source {
            return Effect::Late;
        }
        let same_value = property.value.same_as(&sample.value);
        let same = same_value && (property.quality, property.reason) == (quality, reason);
        if same && source == property.source {
            return Effect::Duplicate;
        }
        if !same_value {
            let value = sample.value.to_owned();
            let heavier = *weight - weigh(&property.value).min(*weight) + weigh(&value);
            if heavier > self.limits.thing_bytes_max && heavier > *weight {
                return Effect::Refused;
            }
            *weight = heavier;
            property.value = value;
        }
        property.source = source;
        property.received = self.message.received;
        if same {
            return Effect::Unchanged;
        }
        property.quality = quality;
        property.reason = reason;
        property.revision = self.message.revision;
        Effect::Changed(index)
    }

    fn take_new(
        &mut self,
        sample: &SampleRef<'_>,
        feature: &mut Feature,
        weight: &mut usize,
    ) -> (Effect, Option<Trust>) {
        if feature.properties.len() >= self.limits.properties_max {
            return (Effect::Refused, None);
        }
        let (property, value) = (sample.property.as_str(), sample.value.to_owned());
        let heavier = *weight + weigh_member(property, &value);
        if heavier > self.limits.thing_bytes_max {
            return (Effect::Refused, None);
        }
        let Some(name) = self.new_name(property) else { return (Effect::Refused, None) };
        *weight = heavier;
        let rule = self.template.and_then(|template| template.rule(feature.name, name));
        let (quality, reason) = judge_sample(sample, self.message.telemetry.clock, rule);
        feature.properties.reserve_exact(1);
        feature.properties.push(Property {
            name,
            quality,
            reason,
            revision: self.message.revision,
            source: self.message.telemetry.source,
            received: self.message.received,
            value,
            metadata: None,
        });
        (Effect::Changed(feature.properties.len() - 1), Some((quality, reason)))
    }
}
