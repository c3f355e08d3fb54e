//! Which samples go into history: all, but for properties whose template says that fewer are worth keeping.
//!
//! What a rule is and what it keeps is `egiz_twin::RecordingRule`'s; here is the sample kept before, which it needs. After a
//! start that is looked up in history, so that the same samples are kept however often the program was restarted.
//!
//! It refuses to judge what somebody wrote over REST: that is kept.

use std::collections::HashMap;
use std::sync::Arc;

use egiz_historian::Historian;
use egiz_model::record::{Body, Record};
use egiz_model::{Timestamp, Value, ValueRef};
use egiz_twin::{RecordedSample, RecordingRules, Trust};

use super::Note;

/// Things whose last samples are remembered. With more of them, all are forgotten and looked up again.
const THINGS_MAX: usize = 100_000;

/// Remembers the sample of each property that was kept last, where a rule needs it.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    things: HashMap<Box<str>, OfThing>,
    skipped: u64,
}

#[derive(Debug)]
struct OfThing {
    rules: Arc<RecordingRules>,
    /// By feature and property.
    last: HashMap<(Box<str>, Box<str>), RecordedSample<Value>>,
}

impl Recorder {
    /// Looks up what was kept last of the Thing of a record, where its note has rules that are new here. History must not be
    /// locked, and everything before the record must be in it; without history, the next sample of each property is kept.
    pub(crate) fn prepare(&mut self, bytes: &[u8], note: &Note, historian: Option<&Historian>) {
        let Note::Telemetry { recording: Some(rules), .. } = note else { return };
        let Ok(record) = Record::decode_again(bytes) else { return };
        let Body::Telemetry(telemetry) = &record.body else { return };
        if self.things.get(telemetry.thing).is_some_and(|known| Arc::ptr_eq(&known.rules, rules)) {
            return;
        }
        if self.things.len() >= THINGS_MAX {
            self.things.clear();
        }
        // Where history cannot be read, a sample more is kept of each property.
        let state = historian
            .and_then(|historian| historian.thing_at(telemetry.thing, Timestamp::MAX).ok().flatten());
        let properties = state.into_iter().flat_map(|state| state.properties);
        let last = properties.filter_map(|state| {
            rules.of(&state.feature, &state.property)?;
            let trust = (state.reading.quality, state.reading.reason);
            let sample = RecordedSample { time: state.time, value: state.reading.value?, trust };
            Some((((&*state.feature).into(), (&*state.property).into()), sample))
        });
        let of_thing = OfThing { rules: Arc::clone(rules), last: last.collect() };
        self.things.insert(telemetry.thing.into(), of_thing);
    }

    /// Whether a sample that a device sent is kept; remembers it if it is.
    pub(super) fn keeps(
        &mut self,
        thing: &str,
        rules: &Arc<RecordingRules>,
        (feature, property): (&str, &str),
        sample: &RecordedSample<&ValueRef<'_>>,
    ) -> bool {
        let Some(rule) = rules.of(feature, property) else { return true };
        let Some(of_thing) = self.things.get_mut(thing) else { return true };
        of_thing.rules = Arc::clone(rules);
        let key = (feature.into(), property.into());
        let before = of_thing.last.get_mut(&key);
        if !rule.keeps(sample, before.as_deref()) {
            self.skipped += 1;
            return false;
        }
        let kept =
            || RecordedSample { time: sample.time, value: sample.value.to_owned(), trust: sample.trust };
        match before {
            Some(before) if before.time >= sample.time => {}
            Some(before) => *before = kept(),
            None => {
                of_thing.last.insert(key, kept());
            }
        }
        true
    }

    /// Takes note of a value that somebody wrote, or that a property is gone.
    pub(super) fn written(
        &mut self,
        thing: &str,
        (feature, property): (&str, &str),
        written: Option<(Timestamp, &ValueRef<'_>, Trust)>,
    ) {
        let Some(of_thing) = self.things.get_mut(thing) else { return };
        let key = (feature.into(), property.into());
        match written {
            Some((time, value, trust)) if of_thing.rules.of(feature, property).is_some() => {
                of_thing.last.insert(key, RecordedSample { time, value: value.to_owned(), trust });
            }
            _ => {
                of_thing.last.remove(&key);
            }
        }
    }

    /// How many samples were not kept since this was asked the last time.
    pub(super) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }
}
