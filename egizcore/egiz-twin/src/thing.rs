//! How a Thing lies in memory: small, with names as symbols and a revision beside everything that has an entity tag.

use std::sync::Arc;

use egiz_model::{Offset, Quality, QualityReason, ThingId, Timestamp, Value};

use crate::names::Symbol;

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
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    pub(crate) last_seen: Option<Timestamp>,
    pub(crate) connection: Connection,
    pub(crate) definition: Option<Arc<str>>,
    pub(crate) definition_revision: u64,
    /// Index of the template in force for the definition.
    pub(crate) template: Option<u32>,
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
    pub(crate) definition: Option<Box<Value>>,
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
    /// What people added: a unit of its own and free members.
    pub(crate) metadata: Option<Box<Value>>,
}

impl Thing {
    pub(crate) fn new(id: ThingId, offset: Offset, now: Timestamp) -> Self {
        Self {
            id,
            revision: 0,
            offset,
            created: now,
            modified: now,
            last_seen: None,
            connection: Connection::Unknown,
            definition: None,
            definition_revision: 0,
            template: None,
            attributes_revision: 0,
            features_revision: 0,
            attributes: Vec::new(),
            features: Vec::new(),
        }
    }

    pub(crate) fn feature(&self, name: Symbol) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.name == name)
    }

    /// Where the feature lies, added at the end if it is new; `None` at the bound.
    pub(crate) fn feature_index(&mut self, name: Symbol, features_max: usize) -> Option<usize> {
        if let Some(index) = self.features.iter().position(|feature| feature.name == name) {
            return Some(index);
        }
        if self.features.len() >= features_max {
            return None;
        }
        self.features.reserve_exact(1);
        self.features.push(Feature::new(name));
        Some(self.features.len() - 1)
    }
}

impl Feature {
    pub(crate) fn new(name: Symbol) -> Self {
        Self {
            name,
            revision: 0,
            properties_revision: 0,
            desired_revision: 0,
            definition: None,
            properties: Vec::new(),
            desired: Vec::new(),
        }
    }

    pub(crate) fn property(&self, name: Symbol) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// Where the property lies. `hint` is where it lay in the message before: devices keep their order.
    pub(crate) fn property_index(&self, name: Symbol, hint: usize) -> Option<usize> {
        if self.properties.get(hint).is_some_and(|property| property.name == name) {
            return Some(hint);
        }
        self.properties.iter().position(|property| property.name == name)
    }
}
