//! What speaks against a sample, and the words on it for who keeps every sample.
//!
//! The twin holds only the newest sample of each property; history keeps them all, late ones too, and says of each what the
//! twin would have said.

use std::sync::Arc;

use egiz_model::record::SampleRef;
use egiz_model::{Quality, QualityReason, Value, ValueRef};

use crate::recording::RecordingRules;
use crate::template::{Rule, Template};

/// How far a value can be trusted, and why.
pub type Trust = (Quality, QualityReason);

/// What the engine made of the samples of one message; see [`Engine::apply_judging`](crate::Engine::apply_judging).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// The definition that the Thing follows, empty without one; nothing where the record was no message of a Thing.
    pub definition: Option<Arc<str>>,
    /// Which samples are worth keeping, where the Thing's template says so.
    pub recording: Option<Arc<RecordingRules>>,
    /// One entry for each sample, in the order of the message; nothing for one that the Thing did not take up, at a limit or
    /// for its name.
    pub samples: Vec<Option<Trust>>,
}

impl Judged {
    /// Forgets what it says of an earlier record.
    pub(crate) fn clear(&mut self) {
        self.definition = None;
        self.recording = None;
        self.samples.clear();
    }

    pub(crate) fn begin(
        &mut self,
        definition: Option<&Arc<str>>,
        template: Option<&Template>,
    ) -> &mut Vec<Option<Trust>> {
        self.definition = Some(definition.cloned().unwrap_or_default());
        self.recording = template.and_then(|template| template.recording.clone());
        &mut self.samples
    }
}

/// The worst of what speaks against a sample.
pub(crate) fn judge_sample(sample: &SampleRef<'_>, clock: QualityReason, rule: Option<&Rule>) -> Trust {
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
pub(crate) fn judge_written(value: &Value, rule: Option<&Rule>) -> Trust {
    let excludes =
        |value: &Value| rule.zip(value.as_f64()).is_some_and(|(rule, number)| rule.excludes(number));
    match value {
        Value::Null => (Quality::Bad, QualityReason::NoValue),
        Value::List(items) if items.iter().any(excludes) => (Quality::Uncertain, QualityReason::OutOfRange),
        value if excludes(value) => (Quality::Uncertain, QualityReason::OutOfRange),
        _ => (Quality::Good, QualityReason::None),
    }
}
