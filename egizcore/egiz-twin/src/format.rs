//! The bytes of an engine's snapshot, version 2.
//!
//! ```text
//! snapshot   = "EGIZTWIN" version:i64le next-offset:varint counters:(count (varint)*)
//!              names:(count (str)*) templates:(count (definition:str json:str)*)
//!              slots:varint things:(count (slot:varint thing)*) discovered:(count device*)
//! thing      = id:str revision offset created-offset created:i64le modified:i64le seen:u8 last-seen:i64le connection:u8 definition:str
//!              definition-revision attributes-revision features-revision members features:(count feature*)
//! feature    = name revision properties-revision desired-revision versioned properties:(count property*) members
//! property   = name quality:u8 reason:u8 revision source:i64le received:i64le value versioned
//! members    = (count (name revision value)*)       versioned = 0 | 1 revision value
//! device     = id:str first:i64le last:i64le messages principal:str source:i64le clock:u8 samples:bytes
//! ```
//! A name is its number in `names`; numbers without a type, and counts, are varints.
//!
//! Texts and values are encoded as in records ([`egiz_model::record::format`]). The checksum is the snapshot file's. What
//! follows from the rest (indexes, deadlines, free slots, which template a Thing has) is built anew. Things and templates
//! come by id, so that equal states give equal bytes. Golden files: `tests/golden/snapshot-v*.bin`.
//!
//! Version 1 lacks `created-offset`; its Things have 0 there, so that entity tags given out by it do not hold any more.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use egiz_model::record::DecodeError;
use egiz_model::record::format::{DEPTH_MAX, ItemReader, ItemWriter};
use egiz_model::{Quality, QualityReason, ThingId, Timestamp};

use crate::Limits;
use crate::discovered::KeptDevice;
use crate::engine::Engine;
use crate::names::Symbol;
use crate::template::Template;
use crate::thing::{Attribute, Connection, Feature, Property, Thing, Versioned};

const MAGIC: &[u8; 8] = b"EGIZTWIN";
const VERSION: i64 = 2;
/// The first version with `created-offset`.
const VERSION_WITH_CREATED_OFFSET: i64 = 2;

/// Why bytes are no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// They do not begin as a snapshot does.
    #[error("it is no snapshot of the twin engine")]
    NotASnapshot,
    /// A later version wrote them.
    #[error("the snapshot has version {0}, which this program does not know")]
    Version(i64),
    /// They are damaged.
    #[error("the snapshot is damaged")]
    Damaged(#[from] DecodeError),
    /// They contradict themselves.
    #[error("the snapshot is damaged: {0}")]
    Contradiction(&'static str),
}

impl Engine {
    /// Appends the whole state to `out`.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        let mut writer = ItemWriter::new(out);
        writer.fixed_i64(VERSION);
        writer.varint(self.next_offset);
        let mut counters = self.counters;
        writer.varint(counters.all_mut().count() as u64);
        counters.all_mut().for_each(|count| writer.varint(*count));
        writer.varint(self.names.len() as u64);
        self.names.iter().for_each(|name| writer.str(name));
        writer.varint(self.templates.len() as u64);
        for template in self.templates.iter() {
            writer.str(&template.definition);
            writer.str(&template.json);
        }
        writer.varint(self.things.len() as u64);
        writer.varint(self.order.len() as u64);
        for slot in self.order.values() {
            if let Some(thing) = &self.things[*slot as usize] {
                ItemWriter::new(out).varint(u64::from(*slot));
                write_thing(thing, out);
            }
        }
        let mut writer = ItemWriter::new(out);
        writer.varint(self.discovered.len() as u64);
        for (id, device) in self.discovered.in_turn() {
            writer.str(id);
            writer.fixed_i64(device.first_heard.as_micros());
            writer.fixed_i64(device.last_heard.as_micros());
            writer.varint(device.messages);
            writer.str(&device.principal);
            writer.fixed_i64(device.source.as_micros());
            writer.byte(device.clock as u8);
            writer.bytes(&device.samples);
        }
    }

    /// The engine that wrote a snapshot, under these limits from now on.
    ///
    /// # Errors
    /// [`RestoreError`]; never panics on any bytes.
    pub fn restore(bytes: &[u8], limits: Limits) -> Result<Self, RestoreError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(RestoreError::NotASnapshot)?;
        let mut reader = ItemReader::new(rest);
        let version = reader.fixed_i64()?;
        if !(1..=VERSION).contains(&version) {
            return Err(RestoreError::Version(version));
        }
        let mut engine = Self::new(limits);
        engine.next_offset = number(&mut reader)?;
        let mut counters = engine.counters;
        let mut places = counters.all_mut();
        for _ in 0..reader.varint()? {
            let count = number(&mut reader)?;
            if let Some(place) = places.next() {
                *place = count;
            }
        }
        drop(places);
        engine.counters = counters;
        for _ in 0..reader.varint()? {
            let before = engine.names.len();
            engine.names.intern(reader.str()?, usize::MAX);
            if engine.names.len() == before {
                return Err(RestoreError::Contradiction("a name is there twice"));
            }
        }
        for _ in 0..reader.varint()? {
            let (definition, json) = (reader.str()?, reader.str()?);
            if engine.templates.number_of(definition).is_some() {
                return Err(RestoreError::Contradiction("a template is there twice"));
            }
            let template = Template::read(definition, json, &mut engine.names, limits.names_max);
            engine.templates.put(template);
        }
        restore_things(&mut engine, &mut reader, version)?;
        for _ in 0..reader.varint()? {
            let id = reader.str()?;
            if engine.discovered.get(id).is_some() {
                return Err(RestoreError::Contradiction("a device is there twice"));
            }
            let kept = KeptDevice {
                first_heard: moment(&mut reader)?,
                last_heard: moment(&mut reader)?,
                messages: number(&mut reader)?,
                principal: reader.str()?,
                source: moment(&mut reader)?,
                clock: reason(&mut reader)?,
                samples: reader.bytes()?,
            };
            engine.discovered.restore(id, kept.into());
        }
        if !reader.is_empty() {
            return Err(RestoreError::Damaged(DecodeError::Trailing));
        }
        Ok(engine)
    }
}

fn restore_things(
    engine: &mut Engine,
    reader: &mut ItemReader<'_>,
    version: i64,
) -> Result<(), RestoreError> {
    // The lowest free slot is always taken first, so there were once as many Things; damage must not make us reserve more.
    const SLOTS_MAX: usize = 1 << 22;
    let slots = reader.varint()?;
    let count = reader.varint()?;
    if slots > engine.limits.things_max.max(SLOTS_MAX) as u64 || count > slots {
        return Err(RestoreError::Contradiction("there are more Things than places for them"));
    }
    let mut used = BTreeSet::new();
    for _ in 0..count {
        let slot = reader.varint()?;
        let thing = read_thing(engine, reader, version)?;
        let slot = u32::try_from(slot).ok().filter(|slot| u64::from(*slot) < slots && used.insert(*slot));
        let Some(slot) = slot else { return Err(RestoreError::Contradiction("a place is used twice")) };
        if engine.slot_of(thing.id.as_str()).is_some() {
            return Err(RestoreError::Contradiction("a Thing is there twice"));
        }
        while engine.things.len() <= slot as usize {
            engine.things.push(None);
        }
        engine.insert_at(slot, thing);
        engine.watch(slot);
    }
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    engine.things.resize_with(slots as usize, || None);
    engine.free_slots = (0..slots).filter(|slot| !used.contains(slot)).map(Reverse).collect();
    Ok(())
}

fn write_thing(thing: &Thing, out: &mut Vec<u8>) {
    let mut writer = ItemWriter::new(out);
    writer.str(thing.id.as_str());
    writer.varint(thing.revision);
    writer.varint(thing.offset);
    writer.varint(thing.created_offset);
    writer.fixed_i64(thing.created.as_micros());
    writer.fixed_i64(thing.modified.as_micros());
    writer.flag(thing.last_seen.is_some());
    writer.fixed_i64(thing.last_seen.unwrap_or_default().as_micros());
    writer.byte(thing.connection as u8);
    writer.str(thing.definition.as_deref().unwrap_or_default());
    writer.varint(thing.definition_revision);
    writer.varint(thing.attributes_revision);
    writer.varint(thing.features_revision);
    write_members(&thing.attributes, out);
    ItemWriter::new(out).varint(thing.features.len() as u64);
    for feature in &thing.features {
        let mut writer = ItemWriter::new(out);
        writer.varint(u64::from(feature.name.0));
        writer.varint(feature.revision);
        writer.varint(feature.properties_revision);
        writer.varint(feature.desired_revision);
        write_versioned(feature.definition.as_deref(), out);
        ItemWriter::new(out).varint(feature.properties.len() as u64);
        for property in &feature.properties {
            let mut writer = ItemWriter::new(out);
            writer.varint(u64::from(property.name.0));
            writer.byte(property.quality as u8);
            writer.byte(property.reason as u8);
            writer.varint(property.revision);
            writer.fixed_i64(property.source.as_micros());
            writer.fixed_i64(property.received.as_micros());
            property.value.encode(out);
            write_versioned(property.metadata.as_deref(), out);
        }
        write_members(&feature.desired, out);
    }
}

fn write_members(members: &[Attribute], out: &mut Vec<u8>) {
    ItemWriter::new(out).varint(members.len() as u64);
    for member in members {
        let mut writer = ItemWriter::new(out);
        writer.varint(u64::from(member.name.0));
        writer.varint(member.revision);
        member.value.encode(out);
    }
}

fn write_versioned(versioned: Option<&Versioned>, out: &mut Vec<u8>) {
    let mut writer = ItemWriter::new(out);
    writer.flag(versioned.is_some());
    if let Some(Versioned { revision, value }) = versioned {
        writer.varint(*revision);
        value.encode(out);
    }
}

fn read_thing(engine: &Engine, reader: &mut ItemReader<'_>, version: i64) -> Result<Thing, RestoreError> {
    let id = thing_id(reader)?;
    let revision = number(reader)?;
    let offset = number(reader)?;
    let created_offset = if version >= VERSION_WITH_CREATED_OFFSET { number(reader)? } else { 0 };
    let created = moment(reader)?;
    let modified = moment(reader)?;
    let seen = reader.flag()?;
    let last_seen = moment(reader)?;
    let connection = reader.byte()?;
    let connection = Connection::ALL
        .into_iter()
        .find(|known| *known as u8 == connection)
        .ok_or(DecodeError::Number { what: "a connection", number: connection.into() })?;
    let definition = Some(reader.str()?).filter(|definition| !definition.is_empty());
    let template = definition.and_then(|definition| engine.templates.number_of(definition));
    let definition = definition.map(|definition| engine.shared_definition(definition));
    let mut thing = Thing {
        id,
        revision,
        offset,
        created_offset,
        created,
        modified,
        last_seen: seen.then_some(last_seen),
        connection,
        definition,
        definition_revision: number(reader)?,
        template,
        weight: 0,
        attributes_revision: number(reader)?,
        features_revision: number(reader)?,
        attributes: read_members(engine, reader)?,
        features: Vec::new(),
    };
    for _ in 0..reader.varint()? {
        thing.features.push(read_feature(engine, reader)?);
    }
    thing.features.shrink_to_fit();
    thing.weight = thing.weigh(&engine.names);
    Ok(thing)
}

fn read_feature(engine: &Engine, reader: &mut ItemReader<'_>) -> Result<Feature, RestoreError> {
    let mut feature = Feature {
        name: symbol(engine, reader)?,
        revision: number(reader)?,
        properties_revision: number(reader)?,
        desired_revision: number(reader)?,
        definition: read_versioned(reader)?,
        properties: Vec::new(),
        desired: Vec::new(),
    };
    for _ in 0..reader.varint()? {
        let name = symbol(engine, reader)?;
        let quality = reader.byte()?;
        let quality = Quality::from_u8(quality)
            .ok_or(DecodeError::Number { what: "a quality", number: quality.into() })?;
        feature.properties.push(Property {
            name,
            quality,
            reason: reason(reader)?,
            revision: number(reader)?,
            source: moment(reader)?,
            received: moment(reader)?,
            value: reader.value(DEPTH_MAX)?.to_owned(),
            metadata: read_versioned(reader)?,
        });
    }
    feature.properties.shrink_to_fit();
    feature.desired = read_members(engine, reader)?;
    Ok(feature)
}

fn read_members(engine: &Engine, reader: &mut ItemReader<'_>) -> Result<Vec<Attribute>, RestoreError> {
    let mut members = Vec::new();
    for _ in 0..reader.varint()? {
        members.push(Attribute {
            name: symbol(engine, reader)?,
            revision: number(reader)?,
            value: reader.value(DEPTH_MAX)?.to_owned(),
        });
    }
    members.shrink_to_fit();
    Ok(members)
}

fn read_versioned(reader: &mut ItemReader<'_>) -> Result<Option<Box<Versioned>>, RestoreError> {
    if !reader.flag()? {
        return Ok(None);
    }
    let revision = number(reader)?;
    Ok(Some(Box::new(Versioned { revision, value: reader.value(DEPTH_MAX)?.to_owned() })))
}

/// A count, a revision or an offset. They go up by one a record; one that could come near the end of its range is damage.
fn number(reader: &mut ItemReader<'_>) -> Result<u64, RestoreError> {
    let number = reader.varint()?;
    if number > i64::MAX as u64 {
        return Err(RestoreError::Contradiction("a number is larger than any that is written"));
    }
    Ok(number)
}

fn thing_id(reader: &mut ItemReader<'_>) -> Result<ThingId, RestoreError> {
    ThingId::new(reader.str()?).map_err(|_| RestoreError::Contradiction("a Thing's id breaks the rules"))
}

fn symbol(engine: &Engine, reader: &mut ItemReader<'_>) -> Result<Symbol, RestoreError> {
    let number = reader.varint()?;
    u32::try_from(number)
        .ok()
        .filter(|number| (*number as usize) < engine.names.len())
        .map(Symbol)
        .ok_or(RestoreError::Contradiction("a name is missing"))
}

fn moment(reader: &mut ItemReader<'_>) -> Result<Timestamp, RestoreError> {
    Ok(Timestamp::from_micros(reader.fixed_i64()?))
}

fn reason(reader: &mut ItemReader<'_>) -> Result<QualityReason, RestoreError> {
    let number = reader.byte()?;
    Ok(QualityReason::from_u8(number)
        .ok_or(DecodeError::Number { what: "a reason", number: number.into() })?)
}
