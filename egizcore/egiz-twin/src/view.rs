//! Things as readers see them: borrowed, with names as texts.

use std::sync::Arc;

use egiz_model::{Offset, Quality, QualityReason, ThingId, Timestamp, Value};

use crate::Connection;
use crate::document;
use crate::engine::Engine;
use crate::names::Symbol;
use crate::path::pointer_segments;
use crate::precondition::entity_tag;
use crate::template::Template;
use crate::thing::{Attribute, Feature, Property, Thing};

/// A Thing.
#[derive(Clone, Copy)]
pub struct ThingRef<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) thing: &'a Thing,
    pub(crate) slot: u32,
}

/// An attribute, or a desired property.
#[derive(Clone, Copy)]
pub struct AttributeRef<'a> {
    engine: &'a Engine,
    attribute: &'a Attribute,
}

/// A feature.
#[derive(Clone, Copy)]
pub struct FeatureRef<'a> {
    engine: &'a Engine,
    template: Option<&'a Template>,
    feature: &'a Feature,
}

/// A property.
#[derive(Clone, Copy)]
pub struct PropertyRef<'a> {
    engine: &'a Engine,
    template: Option<&'a Template>,
    feature: Symbol,
    property: &'a Property,
}

impl std::fmt::Debug for ThingRef<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("ThingRef").field(&self.thing.id).field(&self.thing.revision).finish()
    }
}

impl<'a> ThingRef<'a> {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &'a ThingId {
        &self.thing.id
    }

    /// Where the engine keeps it; reused after a deletion.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Counts up with every change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.thing.revision
    }

    /// The last record that touched it.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.thing.offset
    }

    /// The record that created it: another one for a Thing that was deleted and made again.
    #[must_use]
    pub fn created_offset(&self) -> Offset {
        self.thing.created_offset
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.thing.created
    }

    /// When it changed last.
    #[must_use]
    pub fn modified(&self) -> Timestamp {
        self.thing.modified
    }

    /// When its device was heard last.
    #[must_use]
    pub fn last_seen(&self) -> Option<Timestamp> {
        self.thing.last_seen
    }

    /// Whether its device is heard.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.thing.connection
    }

    /// The template that it refers to.
    #[must_use]
    pub fn definition(&self) -> Option<&'a str> {
        self.thing.definition.as_deref()
    }

    /// Attributes in the order in which they were set.
    pub fn attributes(&self) -> impl Iterator<Item = AttributeRef<'a>> + use<'a> {
        let engine = self.engine;
        self.thing.attributes.iter().map(move |attribute| AttributeRef { engine, attribute })
    }

    /// Features in the order in which they appeared.
    pub fn features(&self) -> impl Iterator<Item = FeatureRef<'a>> + use<'a> {
        let (engine, template) = (self.engine, self.engine.template_of(self.thing));
        self.thing.features.iter().map(move |feature| FeatureRef { engine, template, feature })
    }

    /// The feature with this name.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<FeatureRef<'a>> {
        let feature = self.thing.feature(self.engine.names.find(name)?)?;
        Some(FeatureRef { engine: self.engine, template: self.engine.template_of(self.thing), feature })
    }

    /// The property with these names.
    #[must_use]
    pub fn property(&self, feature: &str, property: &str) -> Option<PropertyRef<'a>> {
        self.feature(feature)?.property(property)
    }

    /// What lies at a JSON pointer, as JSON; the whole Thing for an empty one. Metadata lies at
    /// `/_metadata/<feature>/<property>`.
    #[must_use]
    pub fn get(&self, pointer: &str) -> Option<serde_json::Value> {
        let segments = pointer_segments(pointer).ok()?;
        match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["_metadata", feature, property, inner @ ..] => {
                let metadata = self.property(feature, property)?.metadata_json();
                inner.iter().try_fold(&metadata, |value, name| value.get(name)).cloned()
            }
            ["features", feature, "properties", property, inner @ ..] => {
                let value = self.property(feature, property)?.value();
                inner
                    .iter()
                    .try_fold(value, |value, segment| document::step(value, segment))
                    .map(Value::to_json)
            }
            ["attributes", name, inner @ ..] => {
                let name = self.engine.names.find(name)?;
                let attribute = self.thing.attributes.iter().find(|attribute| attribute.name == name)?;
                inner
                    .iter()
                    .try_fold(&attribute.value, |value, segment| document::step(value, segment))
                    .map(Value::to_json)
            }
            _ => document::of_thing(self.engine, self.thing).pointer(pointer).cloned(),
        }
    }

    /// The entity tag, with its quotes, of what lies at a JSON pointer: `"rev:<n>@<offset>"`, where n is the Thing's
    /// revision at the last change there or below, and the offset that of the record that created the Thing, so that a tag
    /// never comes again; a removal counts for what it was removed from.
    #[must_use]
    pub fn entity_tag(&self, pointer: &str) -> String {
        entity_tag(self.part_revision(pointer), self.thing.created_offset)
    }

    fn part_revision(&self, pointer: &str) -> u64 {
        let thing = self.thing;
        let segments = pointer_segments(pointer).unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let attribute_of = |list: &[Attribute], name: &str| {
            let name = self.engine.names.find(name)?;
            list.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.revision)
        };
        let part = match segments.as_slice() {
            ["definition"] => Some(thing.definition_revision),
            ["attributes"] => Some(thing.attributes_revision),
            ["attributes", name, ..] => {
                attribute_of(&thing.attributes, name).or(Some(thing.attributes_revision))
            }
            ["features"] => Some(thing.features_revision),
            ["features", feature, inner @ ..] => {
                self.feature(feature).map(|FeatureRef { feature, .. }| match inner {
                    ["definition", ..] => {
                        feature.definition.as_ref().map_or(feature.revision, |definition| definition.revision)
                    }
                    ["properties"] => feature.properties_revision,
                    ["properties", property, ..] => self
                        .engine
                        .names
                        .find(property)
                        .and_then(|name| feature.property(name))
                        .map_or(feature.properties_revision, |property| property.revision),
                    ["desiredProperties"] => feature.desired_revision,
                    ["desiredProperties", name, ..] => {
                        attribute_of(&feature.desired, name).unwrap_or(feature.desired_revision)
                    }
                    _ => feature.revision,
                })
            }
            ["_metadata", feature, property, ..] => {
                self.property(feature, property).map(|PropertyRef { property, .. }| {
                    let metadata = property.metadata.as_ref().map_or(0, |metadata| metadata.revision);
                    property.revision.max(metadata)
                })
            }
            _ => None,
        };
        part.unwrap_or(thing.revision)
    }

    /// The whole Thing as JSON: `thingId`, `definition`, `attributes`, `features`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        document::of_thing(self.engine, self.thing)
    }
}

impl<'a> AttributeRef<'a> {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &'a Arc<str> {
        self.engine.names.text(self.attribute.name)
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &'a Value {
        &self.attribute.value
    }
}

impl<'a> FeatureRef<'a> {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &'a Arc<str> {
        self.engine.names.text(self.feature.name)
    }

    /// The Thing's revision at the last change to anything in it.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.feature.revision
    }

    /// What it refers to, if anything.
    #[must_use]
    pub fn definition(&self) -> Option<&'a Value> {
        self.feature.definition.as_ref().map(|definition| &definition.value)
    }

    /// Properties in the order in which they appeared.
    pub fn properties(&self) -> impl Iterator<Item = PropertyRef<'a>> + use<'a> {
        let (engine, template, feature) = (self.engine, self.template, self.feature.name);
        self.feature.properties.iter().map(move |property| PropertyRef {
            engine,
            template,
            feature,
            property,
        })
    }

    /// The property with this name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<PropertyRef<'a>> {
        let property = self.feature.property(self.engine.names.find(name)?)?;
        Some(PropertyRef {
            engine: self.engine,
            template: self.template,
            feature: self.feature.name,
            property,
        })
    }

    /// Desired properties in the order in which they were set.
    pub fn desired(&self) -> impl Iterator<Item = AttributeRef<'a>> + use<'a> {
        let engine = self.engine;
        self.feature.desired.iter().map(move |attribute| AttributeRef { engine, attribute })
    }
}

impl<'a> PropertyRef<'a> {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &'a Arc<str> {
        self.engine.names.text(self.property.name)
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &'a Value {
        &self.property.value
    }

    /// How far to trust it.
    #[must_use]
    pub fn quality(&self) -> Quality {
        self.property.quality
    }

    /// Why not further.
    #[must_use]
    pub fn reason(&self) -> QualityReason {
        self.property.reason
    }

    /// When it was measured.
    #[must_use]
    pub fn source(&self) -> Timestamp {
        self.property.source
    }

    /// When the platform took it in.
    #[must_use]
    pub fn received(&self) -> Timestamp {
        self.property.received
    }

    /// The Thing's revision at its last change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.property.revision
    }

    /// The unit: what somebody set for this property, else the template's.
    #[must_use]
    pub fn unit(&self) -> Option<&'a str> {
        let own = self.metadata().and_then(|metadata| metadata.member("unit")?.as_str());
        own.or_else(|| self.template?.rule(self.feature, self.property.name)?.unit.as_deref())
    }

    /// What people added.
    #[must_use]
    pub fn metadata(&self) -> Option<&'a Value> {
        let metadata = self.property.metadata.as_ref().map(|metadata| &metadata.value);
        metadata.filter(|members| matches!(members, Value::Map(members) if !members.is_empty()))
    }

    /// Everything known about the value, as JSON.
    #[must_use]
    pub fn metadata_json(&self) -> serde_json::Value {
        let mut all = match self.metadata().map(Value::to_json) {
            Some(serde_json::Value::Object(members)) => members,
            _ => serde_json::Map::new(),
        };
        if let Some(unit) = self.unit() {
            all.insert("unit".into(), unit.into());
        }
        all.insert("quality".into(), self.quality().as_str().into());
        if let Some(reason) = self.reason().as_str() {
            all.insert("reason".into(), reason.into());
        }
        all.insert("sourceTime".into(), self.source().to_string().into());
        all.insert("receiveTime".into(), self.received().to_string().into());
        all.insert("revision".into(), self.revision().into());
        serde_json::Value::Object(all)
    }
}
