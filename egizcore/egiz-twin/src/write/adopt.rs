//! Makes a Thing what a checked document says, part by part: what comes out as it was keeps its revision and its place.
//!
//! Nothing here can fail: [`Engine::check_room`] has looked at the limits before, so that a refused write leaves nothing
//! behind, not even names.

use std::sync::Arc;

use egiz_model::Value;

use crate::change::{ChangeKind, Refusal};
use crate::document::{Checked, CheckedFeature};
use crate::engine::{Context, Engine};
use crate::judge::judge_written;
use crate::names::Symbol;
use crate::template::Template;
use crate::thing::{Attribute, Feature, Property, Thing, Versioned};

impl Engine {
    /// Whether what the document holds keeps within the limits.
    pub(super) fn check_room(&self, checked: &Checked) -> Result<(), Refusal> {
        let limits = &self.limits;
        let within = |what, count: usize, limit| {
            if count > limit { Err(Refusal::LimitReached { what, limit }) } else { Ok(()) }
        };
        within("attributes", checked.attributes.len(), limits.properties_max)?;
        within("features", checked.features.len(), limits.features_max)?;
        for feature in &checked.features {
            within("properties", feature.properties.len(), limits.properties_max)?;
            within("desired properties", feature.desired.len(), limits.properties_max)?;
        }
        let in_features = checked.features.iter().flat_map(|feature| {
            let members = feature.properties.iter().chain(&feature.desired).map(|(name, _)| &**name);
            members.chain([&*feature.name])
        });
        let new = self.names.count_new(checked.attributes.iter().map(|(name, _)| &**name).chain(in_features));
        within("distinct names", self.names.len() + new, limits.names_max.max(self.names.len()))
    }

    /// Makes `thing` what the document says, as of `revision`; returns what is different.
    pub(super) fn adopt(
        &mut self,
        thing: &mut Thing,
        checked: Checked,
        context: Context<'_>,
        revision: u64,
    ) -> Vec<ChangeKind> {
        let mut kinds = Vec::new();
        if thing.definition.as_deref() != checked.definition.as_deref() {
            let definition = checked.definition.as_deref();
            thing.template = definition.and_then(|definition| self.templates.number_of(definition));
            thing.definition = definition.map(|definition| self.shared_definition(definition));
            thing.definition_revision = revision;
            kinds.push(ChangeKind::Definition);
        }
        if self.adopt_members(&mut thing.attributes, checked.attributes, revision) {
            thing.attributes_revision = revision;
            kinds.push(ChangeKind::Attributes);
        }
        let kinds_before = kinds.len();
        let mut gone = Vec::new();
        let new: Vec<(Symbol, CheckedFeature)> =
            checked.features.into_iter().map(|feature| (self.intern(&feature.name), feature)).collect();
        thing.features.retain(|feature| {
            let stays = new.iter().any(|(name, _)| *name == feature.name);
            if !stays {
                gone.push(self.feature_change(feature.name, Vec::new(), true));
            }
            stays
        });
        for (name, checked) in new {
            let found = thing.features.iter().position(|feature| feature.name == name);
            let index = found.unwrap_or_else(|| {
                thing.features.reserve_exact(1);
                thing.features.push(Feature::new(name, revision));
                thing.features.len() - 1
            });
            let before = kinds.len();
            let written = Written { context, revision, template: thing.template };
            self.adopt_feature(&mut thing.features[index], checked, written, &mut kinds);
            if found.is_none() && kinds.len() == before {
                // An empty feature is a feature, too.
                kinds.push(self.feature_change(name, Vec::new(), false));
            }
            if kinds.len() > before {
                thing.features[index].revision = revision;
            }
        }
        kinds.append(&mut gone);
        if kinds.len() > kinds_before {
            thing.features_revision = revision;
        }
        thing.weight = thing.weigh(&self.names);
        kinds
    }

    fn adopt_feature(
        &mut self,
        feature: &mut Feature,
        checked: CheckedFeature,
        written: Written<'_>,
        kinds: &mut Vec<ChangeKind>,
    ) {
        let Written { context, revision, template } = written;
        let definition = feature.definition.as_ref().map(|definition| &definition.value);
        let definition_changed = definition != checked.definition.as_ref();
        if definition_changed {
            feature.definition = checked.definition.map(|value| Box::new(Versioned { revision, value }));
        }
        let new: Vec<(Symbol, Value)> =
            checked.properties.into_iter().map(|(name, value)| (self.intern(&name), value)).collect();
        let mut changed = Vec::new();
        let mut gone = Vec::new();
        feature.properties.retain(|property| {
            let stays = new.iter().any(|(name, _)| *name == property.name);
            if !stays {
                gone.push((Arc::clone(self.names.text(property.name)), None));
            }
            stays
        });
        let template: Option<&Template> = template.and_then(|number| self.templates.get(number));
        let now = context.header.received;
        for (name, value) in new {
            let found = feature.properties.iter_mut().find(|property| property.name == name);
            if found.as_ref().is_some_and(|property| property.value == value) {
                continue;
            }
            changed.push((Arc::clone(self.names.text(name)), Some(value.clone())));
            let rule = template.and_then(|template| template.rule(feature.name, name));
            let (quality, reason) = judge_written(&value, rule);
            let metadata = found.as_ref().and_then(|property| property.metadata.clone());
            let property =
                Property { name, quality, reason, revision, source: now, received: now, value, metadata };
            match found {
                Some(found) => *found = property,
                None => {
                    feature.properties.reserve_exact(1);
                    feature.properties.push(property);
                }
            }
        }
        changed.append(&mut gone);
        if !changed.is_empty() {
            feature.properties_revision = revision;
        }
        if !changed.is_empty() || definition_changed {
            kinds.push(self.feature_change(feature.name, changed, false));
        }
        if self.adopt_members(&mut feature.desired, checked.desired, revision) {
            feature.desired_revision = revision;
            kinds.push(ChangeKind::Desired { feature: Arc::clone(self.names.text(feature.name)) });
        }
    }

    fn adopt_members(
        &mut self,
        members: &mut Vec<Attribute>,
        new: Vec<(String, Value)>,
        revision: u64,
    ) -> bool {
        let new: Vec<(Symbol, Value)> =
            new.into_iter().map(|(name, value)| (self.intern(&name), value)).collect();
        let before = members.len();
        members.retain(|member| new.iter().any(|(name, _)| *name == member.name));
        let mut changed = members.len() < before;
        for (name, value) in new {
            match members.iter_mut().find(|member| member.name == name) {
                Some(member) if member.value == value => {}
                Some(member) => {
                    changed = true;
                    *member = Attribute { name, revision, value };
                }
                None => {
                    changed = true;
                    members.reserve_exact(1);
                    members.push(Attribute { name, revision, value });
                }
            }
        }
        changed
    }

    fn feature_change(
        &self,
        name: Symbol,
        properties: Vec<(Arc<str>, Option<Value>)>,
        removed: bool,
    ) -> ChangeKind {
        ChangeKind::Feature { feature: Arc::clone(self.names.text(name)), properties, removed }
    }

    fn intern(&mut self, name: &str) -> Symbol {
        self.names.intern(name, usize::MAX).expect("the room for names was checked")
    }
}

/// When and how a feature is written.
#[derive(Clone, Copy)]
struct Written<'a> {
    context: Context<'a>,
    revision: u64,
    template: Option<u32>,
}
