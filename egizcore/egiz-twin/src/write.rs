//! Writes to Things: conditions first, then the edit of the document, then only what came out different.
//!
//! A PUT below a Thing makes the objects on the way; the Thing itself must exist (`If-None-Match: *` or a PUT of the whole
//! creates it). PUT stores null, a merge patch removes by it. An edit that changes nothing makes no revision and no event.

use std::sync::Arc;

use egiz_model::record::{ThingWrite, WriteOperation};
use egiz_model::{Quality, QualityReason, ThingId, Value};
use serde_json::Value as Json;

use crate::Change;
use crate::change::{ChangeKind, Refusal, WriteOutcome};
use crate::document::{self, Checked, CheckedFeature, invalid};
use crate::engine::{Context, Engine};
use crate::filter::Filter;
use crate::names::Symbol;
use crate::path::pointer_segments;
use crate::precondition::evaluate_write;
use crate::thing::{Attribute, Feature, Property, Thing};

impl Engine {
    pub(crate) fn apply_write(
        &mut self,
        context: Context<'_>,
        write: &ThingWrite<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<WriteOutcome, Refusal> {
        ThingId::check(write.thing).map_err(|reason| invalid("/thingId", reason.to_owned()))?;
        let segments =
            pointer_segments(write.path).map_err(|reason| invalid(write.path, reason.to_owned()))?;
        let slot = self.slot_of(write.thing);
        self.check_conditions(slot, write)?;
        let Some(slot) = slot else { return self.write_to_missing(context, write, &segments, changes) };
        match write.operation {
            WriteOperation::Create | WriteOperation::Accept => {
                Err(Refusal::AlreadyExists { thing: write.thing.to_owned() })
            }
            WriteOperation::Delete if segments.is_empty() => Ok(self.delete_thing(context, slot, changes)),
            _ if segments.first().is_some_and(|first| first == "_metadata") => {
                self.write_metadata(context, slot, write, &segments[1..], changes)
            }
            _ => self.edit(context, slot, write, &segments, changes),
        }
    }

    /// `If-Match`, `If-None-Match`, then the condition on the state.
    fn check_conditions(&self, slot: Option<u32>, write: &ThingWrite<'_>) -> Result<(), Refusal> {
        let conditions = &write.preconditions;
        let thing = slot.and_then(|slot| self.thing_at(slot));
        let target = thing.filter(|thing| write.path.is_empty() || thing.get(write.path).is_some());
        // Where the plain answer would be "not found", preconditions do not count.
        let may_create =
            matches!(write.operation, WriteOperation::Put | WriteOperation::Merge | WriteOperation::Create);
        if target.is_some() || may_create {
            let current = target.map(|thing| thing.entity_tag(write.path));
            evaluate_write(conditions.if_match, conditions.if_none_match, current.as_deref())?;
        }
        if !conditions.condition.is_empty() {
            let filter = Filter::parse(conditions.condition).map_err(Refusal::MalformedFilter)?;
            if thing.is_some_and(|thing| !filter.matches(thing)) {
                return Err(Refusal::Condition);
            }
        }
        Ok(())
    }

    fn write_to_missing(
        &mut self,
        context: Context<'_>,
        write: &ThingWrite<'_>,
        segments: &[String],
        changes: &mut Vec<Change>,
    ) -> Result<WriteOutcome, Refusal> {
        let creates = match write.operation {
            WriteOperation::Create => true,
            WriteOperation::Put | WriteOperation::Merge => segments.is_empty(),
            WriteOperation::Accept => {
                if self.discovered.get(write.thing).is_none() {
                    return Err(Refusal::NotDiscovered { thing: write.thing.to_owned() });
                }
                true
            }
            WriteOperation::Patch | WriteOperation::Delete => false,
        };
        if !creates {
            return Err(Refusal::NotFound { what: write.thing.to_owned() });
        }
        if self.len() >= self.limits.things_max {
            return Err(Refusal::LimitReached { what: "Things", limit: self.limits.things_max });
        }
        let content =
            if write.content.is_empty() { Json::Object(serde_json::Map::new()) } else { json(write, "")? };
        let content = if write.operation == WriteOperation::Merge {
            let mut document = Json::Object(serde_json::Map::new());
            json_patch::merge(&mut document, &content);
            document
        } else {
            content
        };
        if content.is_null() {
            return Err(invalid("", "a Thing cannot be null".to_owned()));
        }
        let checked = document::check(write.thing, content)?;
        let id = ThingId::new(write.thing).map_err(|error| invalid("/thingId", error.to_string()))?;
        let mut thing = Thing::new(id, context.offset, context.header.received);
        thing.revision = 1;
        self.adopt(&mut thing, checked, context, 1)?;
        self.check_size(&thing)?;
        let slot = self.insert(thing);
        changes.push(context.change(self.thing_mut(slot), slot, ChangeKind::Created));
        self.take_over_discovered(slot, context, changes);
        Ok(WriteOutcome::Created { revision: 1 })
    }

    fn delete_thing(&mut self, context: Context<'_>, slot: u32, changes: &mut Vec<Change>) -> WriteOutcome {
        let Some(mut thing) = self.take_out(slot) else { return WriteOutcome::Deleted { revision: 0 } };
        thing.revision += 1;
        changes.push(context.change(&thing, slot, ChangeKind::Deleted));
        WriteOutcome::Deleted { revision: thing.revision }
    }

    fn edit(
        &mut self,
        context: Context<'_>,
        slot: u32,
        write: &ThingWrite<'_>,
        segments: &[String],
        changes: &mut Vec<Change>,
    ) -> Result<WriteOutcome, Refusal> {
        let before = self.thing_at(slot).expect("the slot was looked up by id").to_json();
        let mut document = before.clone();
        let existed = edit_document(&mut document, write, segments)?;
        let checked = document::check(write.thing, document)?;
        let mut thing = self.things[slot as usize].clone().expect("the slot was looked up by id");
        let revision = thing.revision + 1;
        thing.offset = context.offset;
        let kinds = self.adopt(&mut thing, checked, context, revision)?;
        if kinds.is_empty() {
            self.thing_mut(slot).offset = context.offset;
            return Ok(WriteOutcome::Unchanged { revision: revision - 1 });
        }
        self.check_size(&thing)?;
        thing.revision = revision;
        thing.modified = context.header.received;
        changes.extend(kinds.into_iter().map(|kind| context.change(&thing, slot, kind)));
        self.things[slot as usize] = Some(thing);
        self.watch(slot);
        Ok(match (write.operation, existed) {
            (WriteOperation::Delete, _) => WriteOutcome::Deleted { revision },
            (_, true) => WriteOutcome::Changed { revision },
            (_, false) => WriteOutcome::Created { revision },
        })
    }

    fn check_size(&self, thing: &Thing) -> Result<(), Refusal> {
        let size = document::of_thing(self, thing).to_string().len();
        let limit_bytes = self.limits.thing_bytes_max;
        if size > limit_bytes { Err(Refusal::TooLarge { limit_bytes, size }) } else { Ok(()) }
    }

    /// Makes `thing` what the document says; returns what is different.
    fn adopt(
        &mut self,
        thing: &mut Thing,
        checked: Checked,
        context: Context<'_>,
        revision: u64,
    ) -> Result<Vec<ChangeKind>, Refusal> {
        let mut kinds = Vec::new();
        if thing.definition.as_deref() != checked.definition.as_deref() {
            thing.definition = checked.definition.as_deref().map(Arc::from);
            thing.definition_revision = revision;
            thing.template =
                checked.definition.and_then(|definition| self.template_index.get(&*definition).copied());
            kinds.push(ChangeKind::Definition);
        }
        if self.adopt_members(&mut thing.attributes, checked.attributes, revision)? {
            thing.attributes_revision = revision;
            kinds.push(ChangeKind::Attributes);
        }
        if checked.features.len() > self.limits.features_max {
            return Err(Refusal::LimitReached { what: "features", limit: self.limits.features_max });
        }
        let features_before = kinds.len();
        let mut features = Vec::with_capacity(checked.features.len());
        for new in checked.features {
            let name = self.intern(&new.name)?;
            let old = thing.features.iter().position(|feature| feature.name == name);
            let mut feature =
                old.map_or_else(|| Feature::new(name), |index| thing.features.swap_remove(index));
            let before = kinds.len();
            self.adopt_feature(&mut feature, new, context, revision, &mut kinds)?;
            if old.is_none() && kinds.len() == before {
                // An empty feature is a feature, too.
                kinds.push(self.feature_change(name, Vec::new(), false));
            }
            if kinds.len() > before {
                feature.revision = revision;
            }
            features.push(feature);
        }
        let removed: Vec<Symbol> = thing.features.iter().map(|feature| feature.name).collect();
        kinds.extend(removed.into_iter().map(|name| self.feature_change(name, Vec::new(), true)));
        thing.features = features;
        if kinds.len() > features_before {
            thing.features_revision = revision;
        }
        Ok(kinds)
    }

    fn adopt_feature(
        &mut self,
        feature: &mut Feature,
        new: CheckedFeature,
        context: Context<'_>,
        revision: u64,
        kinds: &mut Vec<ChangeKind>,
    ) -> Result<(), Refusal> {
        if new.properties.len() > self.limits.properties_max {
            return Err(Refusal::LimitReached { what: "properties", limit: self.limits.properties_max });
        }
        let definition = new.definition.map(Box::new);
        let definition_changed = feature.definition != definition;
        feature.definition = definition;
        let mut changed = Vec::new();
        let mut properties = Vec::with_capacity(new.properties.len());
        for (name, value) in new.properties {
            let name = self.intern(&name)?;
            let old = feature.properties.iter().position(|property| property.name == name);
            match old.map(|index| feature.properties.swap_remove(index)) {
                Some(property) if property.value == value => properties.push(property),
                old => {
                    changed.push((Arc::clone(self.names.text(name)), Some(value.clone())));
                    properties.push(Property {
                        name,
                        quality: if matches!(value, Value::Null) { Quality::Bad } else { Quality::Good },
                        reason: if matches!(value, Value::Null) {
                            QualityReason::NoValue
                        } else {
                            QualityReason::None
                        },
                        revision,
                        source: context.header.received,
                        received: context.header.received,
                        value,
                        metadata: old.and_then(|old| old.metadata),
                    });
                }
            }
        }
        for gone in &feature.properties {
            changed.push((Arc::clone(self.names.text(gone.name)), None));
        }
        feature.properties = properties;
        if !changed.is_empty() || definition_changed {
            feature.properties_revision = revision;
            kinds.push(self.feature_change(feature.name, changed, false));
        }
        if self.adopt_members(&mut feature.desired, new.desired, revision)? {
            feature.desired_revision = revision;
            kinds.push(ChangeKind::Desired { feature: Arc::clone(self.names.text(feature.name)) });
        }
        Ok(())
    }

    fn adopt_members(
        &mut self,
        members: &mut Vec<Attribute>,
        new: Vec<(String, Value)>,
        revision: u64,
    ) -> Result<bool, Refusal> {
        let mut changed = false;
        let mut adopted = Vec::with_capacity(new.len());
        for (name, value) in new {
            let name = self.intern(&name)?;
            let old = members.iter().position(|member| member.name == name);
            match old.map(|index| members.swap_remove(index)) {
                Some(member) if member.value == value => adopted.push(member),
                _ => {
                    changed = true;
                    adopted.push(Attribute { name, revision, value });
                }
            }
        }
        changed |= !members.is_empty();
        *members = adopted;
        Ok(changed)
    }

    fn feature_change(
        &self,
        name: Symbol,
        properties: Vec<(Arc<str>, Option<Value>)>,
        removed: bool,
    ) -> ChangeKind {
        ChangeKind::Feature { feature: Arc::clone(self.names.text(name)), properties, removed }
    }

    fn intern(&mut self, name: &str) -> Result<Symbol, Refusal> {
        let limit = self.limits.names_max;
        self.names.intern(name, limit).ok_or(Refusal::LimitReached { what: "distinct names", limit })
    }

    /// Metadata that people add to a property: `/_metadata/<feature>/<property>` as a whole or one member of it.
    fn write_metadata(
        &mut self,
        context: Context<'_>,
        slot: u32,
        write: &ThingWrite<'_>,
        segments: &[String],
        changes: &mut Vec<Change>,
    ) -> Result<WriteOutcome, Refusal> {
        let [feature, property, inner @ ..] = segments else {
            return Err(invalid(
                write.path,
                "metadata is written at /_metadata/<feature>/<property>".to_owned(),
            ));
        };
        if inner.len() > 1 || inner.first().is_some_and(|name| READ_ONLY_METADATA.contains(&name.as_str())) {
            return Err(invalid(
                write.path,
                format!("it is kept by the platform; {} are", READ_ONLY_METADATA.join(", ")),
            ));
        }
        let names = self.names.find(feature).zip(self.names.find(property));
        let (Some(slot_thing), Some((feature_name, property_name))) =
            (self.things[slot as usize].as_deref_mut(), names)
        else {
            return Err(Refusal::NotFound { what: write.path.to_owned() });
        };
        let found =
            slot_thing.features.iter_mut().find(|feature| feature.name == feature_name).and_then(|feature| {
                feature.properties.iter_mut().find(|property| property.name == property_name)
            });
        let Some(found) = found else { return Err(Refusal::NotFound { what: write.path.to_owned() }) };
        let before = found.metadata.as_deref().map(Value::to_json);
        let mut document = before.clone().unwrap_or_else(|| Json::Object(serde_json::Map::new()));
        let existed = edit_document(&mut document, write, inner)?;
        let Json::Object(mut members) = document else {
            return Err(invalid(write.path, "metadata is an object".to_owned()));
        };
        members.retain(|name, _| !READ_ONLY_METADATA.contains(&name.as_str()));
        let after = (!members.is_empty()).then_some(Json::Object(members));
        if before == after {
            return Ok(WriteOutcome::Unchanged { revision: slot_thing.revision });
        }
        let revision = slot_thing.revision + 1;
        found.metadata = after.map(|after| Box::new(Value::from_json(&after)));
        found.revision = revision;
        slot_thing.revision = revision;
        slot_thing.modified = context.header.received;
        slot_thing.offset = context.offset;
        let kind =
            ChangeKind::Metadata { feature: feature.as_str().into(), property: property.as_str().into() };
        changes.push(context.change(slot_thing, slot, kind));
        Ok(match (write.operation, existed) {
            (WriteOperation::Delete, _) => WriteOutcome::Deleted { revision },
            (_, true) => WriteOutcome::Changed { revision },
            (_, false) => WriteOutcome::Created { revision },
        })
    }
}

/// Members of metadata that follow from the samples.
const READ_ONLY_METADATA: [&str; 5] = ["quality", "reason", "sourceTime", "receiveTime", "revision"];

/// Carries the operation out on the document. Returns whether something was at the path before.
fn edit_document(document: &mut Json, write: &ThingWrite<'_>, segments: &[String]) -> Result<bool, Refusal> {
    match write.operation {
        WriteOperation::Put | WriteOperation::Create | WriteOperation::Accept => {
            let content = json(write, write.path)?;
            if segments.is_empty() && content.is_null() {
                return Err(invalid("", "a Thing cannot be null".to_owned()));
            }
            document::put(document, segments, content)
        }
        WriteOperation::Delete => {
            if document::remove(document, segments) {
                Ok(true)
            } else {
                Err(Refusal::NotFound { what: format!("{}{}", write.thing, write.path) })
            }
        }
        WriteOperation::Merge => {
            let patch = json(write, write.path)?;
            if segments.is_empty() && !patch.is_object() {
                return Err(invalid("", "a merge patch of the whole is an object".to_owned()));
            }
            let existed = document.pointer(write_pointer(segments).as_str()).is_some();
            if patch.is_null() {
                document::remove(document, segments);
                return Ok(existed);
            }
            let mut merged = document.pointer(write_pointer(segments).as_str()).cloned().unwrap_or_default();
            json_patch::merge(&mut merged, &patch);
            document::put(document, segments, merged)?;
            Ok(existed)
        }
        WriteOperation::Patch => {
            let patch: json_patch::Patch = serde_json::from_slice(write.content)
                .map_err(|error| invalid(write.path, format!("it is no JSON patch: {error}")))?;
            let pointer = write_pointer(segments);
            let Some(target) = document.pointer_mut(&pointer) else {
                return Err(Refusal::NotFound { what: format!("{}{}", write.thing, write.path) });
            };
            json_patch::patch(target, &patch).map_err(|error| {
                let pointer = format!("{pointer}{}", error.path);
                // A test of something that is not there fails like one of something else.
                match patch.0.get(error.operation) {
                    Some(json_patch::PatchOperation::Test(_)) => Refusal::PatchTestFailed { pointer },
                    _ => invalid(&pointer, format!("operation {}: {}", error.operation, error.kind)),
                }
            })?;
            Ok(true)
        }
    }
}

fn write_pointer(segments: &[String]) -> String {
    document::pointer_to(segments)
}

fn json(write: &ThingWrite<'_>, pointer: &str) -> Result<Json, Refusal> {
    serde_json::from_slice(write.content).map_err(|error| invalid(pointer, format!("it is no JSON: {error}")))
}
