//! Metadata that people add to a property: `/_metadata/<feature>/<property>` as a whole, or anything in it.
//!
//! Quality and times follow from the samples and cannot be written; they are shown, and ignored when they come back.

use egiz_model::Value;
use egiz_model::record::ThingWrite;
use serde_json::Value as Json;

use crate::change::{Change, ChangeKind, Refusal, WriteOutcome};
use crate::document::{byte_length, invalid, value_of};
use crate::engine::{Context, Engine};
use crate::thing::Versioned;

/// Members that follow from the samples.
const READ_ONLY: [&str; 5] = ["quality", "reason", "sourceTime", "receiveTime", "revision"];

impl Engine {
    pub(super) fn write_metadata(
        &mut self,
        context: Context<'_>,
        slot: u32,
        write: &ThingWrite<'_>,
        segments: &[String],
        changes: &mut Vec<Change>,
    ) -> Result<WriteOutcome, Refusal> {
        let [feature, property, inner @ ..] = segments else {
            let reason = "metadata is written at /_metadata/<feature>/<property>".to_owned();
            return Err(invalid(write.path, reason));
        };
        if inner.first().is_some_and(|name| READ_ONLY.contains(&name.as_str())) {
            let reason = format!("it is kept by the platform, as {} are", READ_ONLY.join(", "));
            return Err(invalid(write.path, reason));
        }
        let bytes_max = self.limits.thing_bytes_max;
        let names = self.names.find(feature).zip(self.names.find(property));
        let thing = self.thing_mut(slot);
        let (weight, revision) = (thing.weight, thing.revision);
        let found = names.and_then(|(feature, property)| {
            let feature = thing.features.iter_mut().find(|found| found.name == feature)?;
            feature.properties.iter_mut().find(|found| found.name == property)
        });
        let Some(found) = found else {
            return Err(Refusal::NotFound { what: format!("{}{}", write.thing, write.path) });
        };
        let before = found.metadata.as_ref().map_or(Value::Map([].into()), |own| own.value.clone());
        let mut document = before.to_json();
        let existed = super::edit_document(&mut document, write, inner, bytes_max)?;
        let Json::Object(mut members) = document else {
            return Err(invalid(write.path, "metadata is an object".to_owned()));
        };
        members.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
        let after = Json::Object(members);
        let size = weight + byte_length(&after);
        if size > bytes_max {
            return Err(Refusal::TooLarge { limit_bytes: bytes_max, size });
        }
        let after = value_of(write.path, &after)?;
        if before == after {
            return Ok(WriteOutcome::Unchanged { revision });
        }
        let revision = revision + 1;
        // An emptied place keeps the revision at which it was emptied.
        found.metadata = Some(Box::new(Versioned { revision, value: after }));
        thing.revision = revision;
        thing.modified = context.header.received;
        thing.offset = context.offset;
        let kind =
            ChangeKind::Metadata { feature: feature.as_str().into(), property: property.as_str().into() };
        changes.push(context.change(thing, slot, kind));
        let thing = self.things[slot as usize].as_deref_mut().expect("the slot was looked up by id");
        thing.weight = thing.weigh(&self.names);
        Ok(super::outcome(write.operation, existed, revision))
    }
}
