//! Writes to Things: conditions first, then the edit of the document, then only what came out different.
//!
//! A PUT below a Thing makes the objects on the way; the Thing itself must exist (`If-None-Match: *` or a PUT of the whole
//! creates it). PUT stores null, a merge patch removes by it. An edit that changes nothing makes no revision and no event.

mod adopt;
mod metadata;

use egiz_model::ThingId;
use egiz_model::record::{ThingWrite, WriteOperation};
use serde_json::Value as Json;

use crate::Change;
use crate::change::{ChangeKind, Refusal, WriteOutcome};
use crate::document::{self, Checked, invalid};
use crate::engine::{Context, Engine};
use crate::filter::Filter;
use crate::patch;
use crate::path::pointer_segments;
use crate::precondition::evaluate_write;
use crate::thing::Thing;

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
        check_path(write.path, &segments)?;
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
        let creates = match write.operation {
            WriteOperation::Put | WriteOperation::Merge => thing.is_some() || write.path.is_empty(),
            WriteOperation::Create | WriteOperation::Accept => true,
            WriteOperation::Patch | WriteOperation::Delete => false,
        };
        if target.is_some() || creates {
            let current = target.map(|thing| thing.entity_tag(write.path));
            evaluate_write(conditions.if_match, conditions.if_none_match, current.as_deref())?;
        }
        if !conditions.condition.is_empty() {
            let filter = Filter::parse(conditions.condition).map_err(Refusal::MalformedFilter)?;
            // A Thing that is not there has no state for which anything could hold.
            let holds = thing.map_or(!creates, |thing| filter.matches(thing));
            if !holds {
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
        let mut content =
            if write.content.is_empty() { Json::Object(serde_json::Map::new()) } else { json(write, "")? };
        if write.operation == WriteOperation::Merge {
            let mut document = Json::Object(serde_json::Map::new());
            json_patch::merge(&mut document, &content);
            content = document;
        }
        if content.is_null() {
            return Err(invalid("", "a Thing cannot be null".to_owned()));
        }
        let checked = self.check_document(write.thing, content)?;
        let id = ThingId::new(write.thing).map_err(|error| invalid("/thingId", error.to_string()))?;
        let revision = 1;
        let mut thing = Thing::new(id, revision, context.offset, context.header.received);
        self.adopt(&mut thing, checked, context, revision);
        let slot = self.insert(thing);
        changes.push(context.change(self.thing_mut(slot), slot, ChangeKind::Created));
        self.take_over_discovered(slot, context, changes);
        Ok(WriteOutcome::Created { revision })
    }

    fn delete_thing(&mut self, context: Context<'_>, slot: u32, changes: &mut Vec<Change>) -> WriteOutcome {
        let mut thing = self.take_out(slot).expect("the slot was looked up by id");
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
        let existed = edit_document(&mut document, write, segments, self.limits.thing_bytes_max)?;
        let puts_whole = segments.is_empty() && write.operation == WriteOperation::Put;
        if !puts_whole && document.get("thingId") != before.get("thingId") {
            return Err(invalid("/thingId", "it cannot be changed".to_owned()));
        }
        if document == before {
            return Ok(self.leave(slot, context));
        }
        let checked = self.check_document(write.thing, document)?;
        let mut thing = self.things[slot as usize].clone().expect("the slot was looked up by id");
        let revision = thing.revision + 1;
        let kinds = self.adopt(&mut thing, checked, context, revision);
        if kinds.is_empty() {
            return Ok(self.leave(slot, context));
        }
        thing.offset = context.offset;
        thing.revision = revision;
        thing.modified = context.header.received;
        changes.extend(kinds.into_iter().map(|kind| context.change(&thing, slot, kind)));
        self.things[slot as usize] = Some(thing);
        self.watch(slot);
        Ok(outcome(write.operation, existed, revision))
    }

    /// What comes of a write after which everything is as it was.
    fn leave(&mut self, slot: u32, context: Context<'_>) -> WriteOutcome {
        let thing = self.thing_mut(slot);
        thing.offset = context.offset;
        WriteOutcome::Unchanged { revision: thing.revision }
    }

    /// Whether a document may become the Thing: by its size, its rules, and the limits.
    fn check_document(&self, thing: &str, mut document: Json) -> Result<Checked, Refusal> {
        if let Json::Object(members) = &mut document {
            // Shown by the platform, ignored when they come back: what was read can be written.
            members.retain(|name, _| !name.starts_with('_'));
        }
        let (size, limit_bytes) = (document::byte_length(&document), self.limits.thing_bytes_max);
        if size > limit_bytes {
            return Err(Refusal::TooLarge { limit_bytes, size });
        }
        let checked = document::check(thing, document)?;
        self.check_room(&checked)?;
        Ok(checked)
    }
}

/// Whether a path may be written at all.
fn check_path(path: &str, segments: &[String]) -> Result<(), Refusal> {
    if segments.len() > patch::DEPTH_MAX {
        return Err(invalid(path, format!("it is nested deeper than {} levels", patch::DEPTH_MAX)));
    }
    match segments.first() {
        Some(own) if own.starts_with('_') && own != "_metadata" => {
            Err(invalid(path, "it is kept by the platform".to_owned()))
        }
        _ => Ok(()),
    }
}

fn outcome(operation: WriteOperation, existed: bool, revision: u64) -> WriteOutcome {
    match (operation, existed) {
        (WriteOperation::Delete, _) => WriteOutcome::Deleted { revision },
        (_, true) => WriteOutcome::Changed { revision },
        (_, false) => WriteOutcome::Created { revision },
    }
}

/// Carries the operation out on the document. Returns whether something was at the path before.
fn edit_document(
    document: &mut Json,
    write: &ThingWrite<'_>,
    segments: &[String],
    bytes_max: usize,
) -> Result<bool, Refusal> {
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
            let pointer = document::pointer_to(segments);
            let existed = document.pointer(&pointer).is_some();
            if patch.is_null() {
                document::remove(document, segments);
                return Ok(existed);
            }
            let mut merged = document.pointer(&pointer).cloned().unwrap_or_default();
            json_patch::merge(&mut merged, &patch);
            document::put(document, segments, merged)?;
            Ok(existed)
        }
        WriteOperation::Patch => {
            let pointer = document::pointer_to(segments);
            let Some(target) = document.pointer_mut(&pointer) else {
                return Err(Refusal::NotFound { what: format!("{}{}", write.thing, write.path) });
            };
            patch::apply(target, &pointer, write.content, bytes_max)?;
            Ok(true)
        }
    }
}

fn json(write: &ThingWrite<'_>, pointer: &str) -> Result<Json, Refusal> {
    serde_json::from_slice(write.content).map_err(|error| invalid(pointer, format!("it is no JSON: {error}")))
}
