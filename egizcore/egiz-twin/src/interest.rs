//! Who wants to see what: an index of subscriptions, so that a change costs little however many there are.
//!
//! Equal interests share one *group*. A group remembers which Things it holds; a change looks up the groups of its Thing,
//! and a group's filter is evaluated again only when the change touches something that the filter mentions. So a thousand
//! subscriptions with twenty filters over telemetry that none of them mentions cost one look-up a change.
//!
//! Pure: the hub owns it, feeds it changes in order, and holds the engine's read lock meanwhile. The engine may already be
//! ahead of a change; membership follows the engine, so it is right in the end, and a Thing that has come or gone since is
//! reported as such.

use std::collections::BTreeMap;

use egiz_model::ThingId;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::engine::Engine;
use crate::filter::Filter;
use crate::path::Path;
use crate::{Change, ChangeKind};

/// What somebody wants to see.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Every Thing.
    All,
    /// These Things, existing or not yet.
    Things(Vec<ThingId>),
    /// Things that satisfy a filter.
    Filter(Filter),
}

/// A group's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(u32);

/// What a change means to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The Thing belongs to the group.
    Seen,
    /// The Thing belongs to the group from now on.
    Entered,
    /// The Thing no longer belongs to the group.
    Left,
}

/// The index.
#[derive(Debug, Default)]
pub struct Interest {
    groups: Vec<Option<GroupState>>,
    free: Vec<u32>,
    by_key: BTreeMap<String, GroupId>,
    by_thing: HashMap<ThingId, Vec<GroupId>, FxBuildHasher>,
    /// Groups whose membership must be looked at for every change: all and filters.
    open: Vec<GroupId>,
}

#[derive(Debug)]
struct GroupState {
    key: String,
    target: Target,
    subscribers: usize,
    /// By slot: whether the Thing there belongs to the group. Unused for single Things.
    members: Vec<bool>,
    mentions: Mentions,
}

/// Which kinds of change can alter a filter's answer.
#[derive(Debug, Default)]
struct Mentions {
    attributes: bool,
    definition: bool,
    connection: bool,
    /// The revision or the modification time: every change alters them.
    everything: bool,
    /// Some feature by wildcard, or features as such.
    any_feature: bool,
    features: Vec<String>,
}

impl Mentions {
    fn of(filter: &Filter) -> Self {
        let mut mentions = Self::default();
        for path in filter.paths() {
            match path {
                Path::ThingId | Path::Created => {}
                Path::Definition => mentions.definition = true,
                Path::Revision | Path::Modified => mentions.everything = true,
                Path::Connection => mentions.connection = true,
                Path::Attribute(_) => mentions.attributes = true,
                Path::Feature(Some(name)) | Path::Property { feature: Some(name), .. } => {
                    mentions.features.push(name.clone());
                }
                Path::Feature(None) | Path::Property { feature: None, .. } => mentions.any_feature = true,
            }
        }
        mentions
    }

    fn touched_by(&self, kind: &ChangeKind) -> bool {
        self.everything
            || match kind {
                ChangeKind::Created | ChangeKind::Deleted => true,
                ChangeKind::Definition => self.definition,
                ChangeKind::Attributes => self.attributes,
                ChangeKind::Feature { feature, .. } | ChangeKind::Desired { feature } => {
                    self.any_feature || self.features.iter().any(|name| **name == **feature)
                }
                ChangeKind::Connection(_) => self.connection,
                ChangeKind::Metadata { .. } | ChangeKind::Discovered | ChangeKind::Template { .. } => false,
            }
    }
}

impl Interest {
    /// Adds a subscriber; equal targets share a group.
    pub fn add(&mut self, engine: &Engine, target: Target) -> GroupId {
        let key = match &target {
            Target::All => String::new(),
            Target::Things(things) => {
                let mut ids: Vec<&str> = things.iter().map(ThingId::as_str).collect();
                ids.sort_unstable();
                ids.dedup();
                format!("things {}", ids.join(" "))
            }
            Target::Filter(filter) => format!("filter {filter}"),
        };
        if let Some(group) = self.by_key.get(&key).copied() {
            if let Some(state) = self.state_mut(group) {
                state.subscribers += 1;
            }
            return group;
        }
        let mentions = match &target {
            Target::Filter(filter) => Mentions::of(filter),
            _ => Mentions::default(),
        };
        let mut members = vec![false; engine.things.len()];
        if !matches!(target, Target::Things(_)) {
            for thing in engine.things() {
                members[thing.slot() as usize] = holds(&target, thing);
            }
        }
        let state = GroupState { key: key.clone(), target, subscribers: 1, members, mentions };
        let group = match self.free.pop() {
            Some(index) => GroupId(index),
            None => {
                self.groups.push(None);
                GroupId(
                    u32::try_from(self.groups.len() - 1).expect("subscriptions are bounded far below 2^32"),
                )
            }
        };
        match &state.target {
            Target::Things(things) => {
                for thing in things {
                    let groups = self.by_thing.entry(thing.clone()).or_default();
                    if !groups.contains(&group) {
                        groups.push(group);
                    }
                }
            }
            Target::All | Target::Filter(_) => self.open.push(group),
        }
        self.groups[group.0 as usize] = Some(state);
        self.by_key.insert(key, group);
        group
    }

    /// Takes a subscriber away; the last one takes the group along.
    pub fn remove(&mut self, group: GroupId) {
        let Some(state) = self.state_mut(group) else { return };
        state.subscribers -= 1;
        if state.subscribers > 0 {
            return;
        }
        let Some(state) = self.groups[group.0 as usize].take() else { return };
        self.by_key.remove(&state.key);
        self.open.retain(|open| *open != group);
        if let Target::Things(things) = &state.target {
            for thing in things {
                if let Some(groups) = self.by_thing.get_mut(thing) {
                    groups.retain(|other| *other != group);
                    if groups.is_empty() {
                        self.by_thing.remove(thing);
                    }
                }
            }
        }
        self.free.push(group.0);
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether nobody wants to see anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Calls `each` for every group that a change means something to.
    pub fn route(&mut self, engine: &Engine, change: &Change, mut each: impl FnMut(GroupId, Sight)) {
        if matches!(change.kind, ChangeKind::Discovered | ChangeKind::Template { .. }) {
            return;
        }
        for group in self.by_thing.get(&change.thing).into_iter().flatten() {
            each(*group, Sight::Seen);
        }
        let slot = change.slot as usize;
        for group in &self.open {
            let Some(state) = self.groups[group.0 as usize].as_mut() else { continue };
            if state.members.len() <= slot {
                state.members.resize(slot + 1, false);
            }
            let was = state.members[slot];
            if change.kind == ChangeKind::Deleted {
                state.members[slot] = false;
                if was {
                    each(*group, Sight::Seen);
                }
                continue;
            }
            let is = if state.mentions.touched_by(&change.kind) || change.kind == ChangeKind::Created {
                // A slot may have been given to another Thing since.
                let now = engine.thing_at(change.slot).filter(|thing| *thing.id() == change.thing);
                now.is_some_and(|thing| holds(&state.target, thing))
            } else {
                was
            };
            state.members[slot] = is;
            match (was, is) {
                (true, true) => each(*group, Sight::Seen),
                (false, true) => each(*group, Sight::Entered),
                (true, false) => each(*group, Sight::Left),
                (false, false) => {}
            }
        }
    }

    /// Whether a Thing belongs to a group now.
    #[must_use]
    pub fn holds(&self, engine: &Engine, group: GroupId, slot: u32) -> bool {
        let Some(state) = self.groups.get(group.0 as usize).and_then(Option::as_ref) else { return false };
        engine.thing_at(slot).is_some_and(|thing| holds(&state.target, thing))
    }

    fn state_mut(&mut self, group: GroupId) -> Option<&mut GroupState> {
        self.groups.get_mut(group.0 as usize)?.as_mut()
    }
}

fn holds(target: &Target, thing: crate::view::ThingRef<'_>) -> bool {
    match target {
        Target::All => true,
        Target::Things(things) => things.contains(thing.id()),
        Target::Filter(filter) => filter.matches(thing),
    }
}
