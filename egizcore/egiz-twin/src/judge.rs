//! What speaks against a sample, and the same asked again for who keeps every sample.
//!
//! The twin holds only the newest sample of each property; history keeps them all, late ones too, and says of each what the
//! twin would have said. Nothing here changes anything.

use std::sync::Arc;

use egiz_model::record::{FeatureSamples, SampleRef, Telemetry};
use egiz_model::{Quality, QualityReason, Value, ValueRef};

use crate::Engine;
use crate::template::Rule;
use crate::thing::{Feature, Property, Thing};

impl Engine {
    /// Judges the samples of a message that was applied just before: one entry for each, in the order of the message, put
    /// in place of what is in `judged`; nothing for a sample that the Thing did not take up, at a limit or for its name.
    ///
    /// Answers with the definition that the Thing follows, empty without one; nothing where there is no such Thing.
    pub fn judge(
        &self,
        telemetry: &Telemetry<'_>,
        judged: &mut Vec<Option<(Quality, QualityReason)>>,
    ) -> Option<Arc<str>> {
        judged.clear();
        let thing = self.things[self.slot_of(telemetry.thing)? as usize].as_deref()?;
        let template = self.template_of(thing);
        for (hint, in_feature) in telemetry.features().enumerate() {
            let feature = self.feature_near(thing, &in_feature, hint);
            for (hint, sample) in in_feature.samples().enumerate() {
                let found = feature
                    .and_then(|feature| Some((feature, self.property_near(feature, sample.property, hint)?)));
                judged.push(found.map(|(feature, property)| {
                    let rule = template.and_then(|template| template.rule(feature.name, property.name));
                    judge_sample(&sample, telemetry.clock, rule)
                }));
            }
        }
        Some(thing.definition.clone().unwrap_or_default())
    }

    /// The feature with this name; `hint` is where it lies if the device keeps its order, which devices do.
    fn feature_near<'a>(
        &self,
        thing: &'a Thing,
        wanted: &FeatureSamples<'_>,
        hint: usize,
    ) -> Option<&'a Feature> {
        let at_hint = thing.features.get(hint);
        at_hint
            .filter(|feature| **self.names.text(feature.name) == *wanted.name)
            .or_else(|| thing.feature(self.names.find(wanted.name)?))
    }

    fn property_near<'a>(&self, feature: &'a Feature, wanted: &str, hint: usize) -> Option<&'a Property> {
        let at_hint = feature.properties.get(hint);
        at_hint
            .filter(|property| **self.names.text(property.name) == *wanted)
            .or_else(|| feature.property(self.names.find(wanted)?))
    }
}

/// The worst of what speaks against a sample.
pub(crate) fn judge_sample(
    sample: &SampleRef<'_>,
    clock: QualityReason,
    rule: Option<&Rule>,
) -> (Quality, QualityReason) {
    if matches!(sample.value, ValueRef::Null) {
        return (Quality::Bad, QualityReason::NoValue);
    }
    if sample.quality != Quality::Good {
        return (sample.quality, QualityReason::Reported);
    }
    let excludes =
        |value: &ValueRef<'_>| rule.zip(value.as_f64()).is_some_and(|(rule, number)| rule.excludes(number));
    let out_of_range = rule.is_some()
        && match &sample.value {
            ValueRef::List(items) => items.iter().any(|item| excludes(&item)),
            value => excludes(value),
        };
    if out_of_range {
        return (Quality::Uncertain, QualityReason::OutOfRange);
    }
    match clock {
        QualityReason::None => (Quality::Good, QualityReason::None),
        reason => (Quality::Uncertain, reason),
    }
}

/// What speaks against a value that somebody wrote.
pub(crate) fn judge_written(value: &Value, rule: Option<&Rule>) -> (Quality, QualityReason) {
    let excludes =
        |value: &Value| rule.zip(value.as_f64()).is_some_and(|(rule, number)| rule.excludes(number));
    match value {
        Value::Null => (Quality::Bad, QualityReason::NoValue),
        Value::List(items) if items.iter().any(excludes) => (Quality::Uncertain, QualityReason::OutOfRange),
        value if excludes(value) => (Quality::Uncertain, QualityReason::OutOfRange),
        _ => (Quality::Good, QualityReason::None),
    }
}
