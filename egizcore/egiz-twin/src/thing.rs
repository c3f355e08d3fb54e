//! How a Thing lies in memory: small, with names as symbols and a revision beside everything that has an entity tag.

use std::sync::Arc;

use egiz_model::{Offset, Quality, QualityReason, ThingId, Timestamp, Value};

use crate::names::{Names, Symbol};

/// Whether a Thing's device is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Connection {
    /// No device has ever been heard.
    #[default]
    Unknown = 0,
    /// Heard within its deadline.
    Live = 1,
    /// Silent beyond its deadline.
    Stale = 2,
    /// It, or its last will, said that it is gone.
    Offline = 3,
}

impl Connection {
    pub(crate) const ALL: [Self; 4] = [Self::Unknown, Self::Live, Self::Stale, Self::Offline];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Offline => "offline",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Thing {
    pub(crate) id: ThingId,
    pub(crate) revision: u64,
    /// The last record that touched it, whether it changed anything or not.
    pub(crate) offset: Offset,
    /// The record that created it: tells it from one of the same id that was deleted before.
    pub(crate) created_offset: Offset,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    pub(crate) last_seen: Option<Timestamp>,
    pub(crate) connection: Connection,
    pub(crate) definition: Option<Arc<str>>,
    pub(crate) definition_revision: u64,
    /// Index of the template in force for the definition.
    pub(crate) template: Option<u32>,
    /// About as many bytes as the Thing has as JSON; follows from the rest.
    pub(crate) weight: usize,
    pub(crate) attributes_revision: u64,
    pub(crate) features_revision: u64,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) features: Vec<Feature>,
}

#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    pub(crate) name: Symbol,
    pub(crate) revision: u64,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) struct Feature {
    pub(crate) name: Symbol,
    /// Of the last change to anything in it.
    pub(crate) revision: u64,
    pub(crate) properties_revision: u64,
    pub(crate) desired_revision: u64,
    pub(crate) definition: Option<Box<Versioned>>,
    pub(crate) properties: Vec<Property>,
    /// Kept apart: most features have none.
    pub(crate) desired: Vec<Attribute>,
}

#[derive(Debug, Clone)]
pub(crate) struct Property {
    pub(crate) name: Symbol,
    pub(crate) quality: Quality,
    pub(crate) reason: QualityReason,
    pub(crate) revision: u64,
    pub(crate) source: Timestamp,
    pub(crate) received: Timestamp,
    pub(crate) value: Value,
    /// What people added: a unit of its own and free members, an object.
    pub(crate) metadata: Option<Box<Versioned>>,
}

/// A value that few have, with the Thing's revision at its last change.
#[derive(Debug, Clone)]
pub(crate) struct Versioned {
    pub(crate) revision: u64,
    pub(crate) value: Value,
}

impl Thing {
    /// A Thing without anything in it, at its first revision.
    pub(crate) fn new(id: ThingId, revision: u64, offset: Offset, now: Timestamp) -> Self {
        Self {
            id,
            revision,
            offset,
            created_offset: offset,
            created: now,
            modified: now,
            last_seen: None,
            connection: Connection::Unknown,
            definition: None,
            definition_revision: revision,
            template: None,
            weight: 0,
            attributes_revision: revision,
            features_revision: revision,
            attributes: Vec::new(),
            features: Vec::new(),
        }
    }

    pub(crate) fn feature(&self, name: Symbol) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.name == name)
    }

    /// About as many bytes as the Thing has as JSON.
    pub(crate) fn weigh(&self, names: &Names) -> usize {
        let members = |members: &[Attribute]| -> usize {
            members.iter().map(|member| weigh_member(names.text(member.name), &member.value)).sum()
        };
        let features: usize = self
            .features
            .iter()
            .map(|feature| {
                let properties: usize = feature
                    .properties
                    .iter()
                    .map(|property| {
                        let metadata =
                            property.metadata.as_ref().map_or(0, |metadata| weigh(&metadata.value));
                        weigh_member(names.text(property.name), &property.value) + metadata
                    })
                    .sum();
                let definition = feature.definition.as_ref().map_or(0, |definition| weigh(&definition.value));
                weigh_feature(names.text(feature.name)) + properties + members(&feature.desired) + definition
            })
            .sum();
        members(&self.attributes) + features
    }
}

/// About as many bytes as a feature without properties has as JSON.
pub(crate) fn weigh_feature(name: &str) -> usize {
    name.len() + 22
}

/// About as many bytes as a named value has as JSON.
pub(crate) fn weigh_member(name: &str, value: &Value) -> usize {
    name.len() + 4 + weigh(value)
}

/// About as many bytes as a value has as JSON: exact for texts, a usual number of digits for numbers.
pub(crate) fn weigh(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Int(_) | Value::Float(_) => 8,
        Value::Text(text) => text.len() + 2,
        Value::List(items) => 2 + items.iter().map(|item| weigh(item) + 1).sum::<usize>(),
        Value::Map(members) => {
            2 + members.iter().map(|(name, value)| weigh_member(name, value)).sum::<usize>()
        }
    }
}

impl Feature {
    /// A feature without anything in it, as of a revision of its Thing.
    pub(crate) fn new(name: Symbol, revision: u64) -> Self {
        Self {
            name,
            revision,
            properties_revision: revision,
            desired_revision: revision,
            definition: None,
            properties: Vec::new(),
            desired: Vec::new(),
        }
    }

    pub(crate) fn property(&self, name: Symbol) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }
}
