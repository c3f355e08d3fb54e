//! Who wants to see what: an index of subscriptions, so that a change costs little however many there are.
//!
//! Equal interests share one *group*. Membership is a matrix of bits, one row a Thing and one column a group, so that the
//! groups of a changed Thing are one short row. For each thing that a filter can mention (attributes, a feature, the
//! connection, …) there is a row of the groups that mention it: only those filters are evaluated again. So a thousand
//! subscriptions over telemetry that none of them mentions cost sixteen words a change.
//!
//! Pure: the hub owns it, feeds it changes in order, and holds the engine's read lock meanwhile. The engine may already be
//! ahead of a change; membership follows the engine, so it is right in the end, and a Thing that has come or gone since is
//! reported as such.

mod bits;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use egiz_model::ThingId;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::engine::Engine;
use crate::filter::Filter;
use crate::path::Path;
use crate::{Change, ChangeKind};
use bits::{Matrix, Row, each_bit};

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
    /// The Thing belongs to the group; of a deleted Thing, did so until now.
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
    free: BinaryHeap<Reverse<u32>>,
    by_key: BTreeMap<String, GroupId>,
    by_thing: HashMap<ThingId, Vec<GroupId>, FxBuildHasher>,
    members: Matrix,
    mentions: Mentions,
}

#[derive(Debug)]
struct GroupState {
    key: String,
    target: Target,
    subscribers: usize,
}

/// Which groups look at what.
#[derive(Debug, Default)]
struct Mentions {
    /// Groups whose membership changes at all: of all Things, and of filters.
    open: Row,
    attributes: Row,
    definition: Row,
    connection: Row,
    /// The revision or the modification time: every change alters them.
    everything: Row,
    /// Some feature by wildcard, or features as such.
    any_feature: Row,
    features: BTreeMap<String, Row>,
}

impl Mentions {
    fn add(&mut self, group: GroupId, target: &Target) {
        self.open.set(group.0);
        let Target::Filter(filter) = target else { return };
        for path in filter.paths() {
            let row = match path {
                // Nothing but creation and deletion alters these.
                Path::ThingId | Path::Created => continue,
                Path::Definition => &mut self.definition,
                Path::Revision | Path::Modified => &mut self.everything,
                Path::Connection => &mut self.connection,
                Path::Attribute(_) => &mut self.attributes,
                Path::Feature(Some(name))
                | Path::Property { feature: Some(name), .. }
                | Path::Quality { feature: Some(name), .. }
                | Path::Reason { feature: Some(name), .. } => self.features.entry(name.clone()).or_default(),
                Path::Feature(None)
                | Path::Property { feature: None, .. }
                | Path::Quality { feature: None, .. }
                | Path::Reason { feature: None, .. } => &mut self.any_feature,
            };
            row.set(group.0);
        }
    }

    fn remove(&mut self, group: GroupId) {
        let Self { open, attributes, definition, connection, everything, any_feature, features } = self;
        for row in [open, attributes, definition, connection, everything, any_feature] {
            row.clear(group.0);
        }
        features.retain(|_, row| {
            row.clear(group.0);
            !row.is_empty()
        });
    }

    /// The groups to evaluate again after a change, as up to three rows.
    fn touched_by(&self, kind: &ChangeKind) -> [Option<&Row>; 3] {
        let everything = Some(&self.everything);
        match kind {
            ChangeKind::Created | ChangeKind::Deleted => [Some(&self.open), None, None],
            ChangeKind::Definition => [everything, Some(&self.definition), None],
            ChangeKind::Attributes => [everything, Some(&self.attributes), None],
            ChangeKind::Connection(_) => [everything, Some(&self.connection), None],
            ChangeKind::Feature { feature, .. } | ChangeKind::Desired { feature } => {
                [everything, Some(&self.any_feature), self.features.get(&**feature)]
            }
            ChangeKind::Metadata { .. } | ChangeKind::Discovered | ChangeKind::Template { .. } => {
                [everything, None, None]
            }
        }
    }
}

impl Interest {
    /// Adds a subscriber; equal targets share a group.
    pub fn add(&mut self, engine: &Engine, target: Target) -> GroupId {
        let key = key_of(&target);
        if let Some(group) = self.by_key.get(&key).copied() {
            if let Some(state) = self.groups[group.0 as usize].as_mut() {
                state.subscribers += 1;
            }
            return group;
        }
        let group = GroupId(self.free.pop().map_or_else(
            || {
                self.groups.push(None);
                u32::try_from(self.groups.len() - 1).expect("subscriptions are bounded far below 2^32")
            },
            |Reverse(index)| index,
        ));
        self.members.widen(self.groups.len());
        if let Target::Things(things) = &target {
            for thing in things {
                let groups = self.by_thing.entry(thing.clone()).or_default();
                if !groups.contains(&group) {
                    groups.push(group);
                }
            }
        } else {
            self.mentions.add(group, &target);
            for thing in engine.things().filter(|thing| holds(&target, *thing)) {
                self.members.set(thing.slot(), group.0);
            }
        }
        self.groups[group.0 as usize] = Some(GroupState { key: key.clone(), target, subscribers: 1 });
        self.by_key.insert(key, group);
        group
    }

    /// Takes a subscriber away; the last one takes the group along.
    pub fn remove(&mut self, group: GroupId) {
        let Some(place) = self.groups.get_mut(group.0 as usize) else { return };
        let Some(state) = place else { return };
        state.subscribers -= 1;
        if state.subscribers > 0 {
            return;
        }
        let Some(state) = place.take() else { return };
        self.by_key.remove(&state.key);
        self.mentions.remove(group);
        self.members.clear_column(group.0);
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
        self.free.push(Reverse(group.0));
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

    /// Calls `each` for every group that a change means something to, each group once.
    pub fn route(&mut self, engine: &Engine, change: &Change, mut each: impl FnMut(GroupId, Sight)) {
        if matches!(change.kind, ChangeKind::Discovered | ChangeKind::Template { .. }) {
            return;
        }
        for group in self.by_thing.get(&change.thing).into_iter().flatten() {
            each(*group, Sight::Seen);
        }
        let Self { groups, members, mentions, .. } = self;
        let row = members.row_mut(change.slot);
        if change.kind == ChangeKind::Deleted {
            each_bit(row, |group| each(GroupId(group), Sight::Seen));
            row.fill(0);
            return;
        }
        let touched = mentions.touched_by(&change.kind);
        // A slot may have been given to another Thing since.
        let thing = engine.thing_at(change.slot).filter(|thing| *thing.id() == change.thing);
        for (index, word) in row.iter_mut().enumerate() {
            let again = touched.iter().flatten().fold(0, |bits, row| bits | row.word(index));
            let was = *word;
            let mut is = was;
            for bit in bits::ones(again) {
                let state = groups[index * bits::WORD + bit as usize].as_ref();
                let belongs = state.zip(thing).is_some_and(|(state, thing)| holds(&state.target, thing));
                is = if belongs { is | 1 << bit } else { is & !(1 << bit) };
            }
            *word = is;
            for bit in bits::ones(was | is) {
                let sight = match (was >> bit & 1, is >> bit & 1) {
                    (1, 1) => Sight::Seen,
                    (0, _) => Sight::Entered,
                    _ => Sight::Left,
                };
                let group = u32::try_from(index * bits::WORD).unwrap_or(u32::MAX) + bit;
                each(GroupId(group), sight);
            }
        }
    }

    /// Whether a Thing belongs to a group now.
    #[must_use]
    pub fn holds(&self, engine: &Engine, group: GroupId, slot: u32) -> bool {
        let Some(state) = self.groups.get(group.0 as usize).and_then(Option::as_ref) else { return false };
        engine.thing_at(slot).is_some_and(|thing| holds(&state.target, thing))
    }
}

/// Equal for equal interests.
fn key_of(target: &Target) -> String {
    match target {
        Target::All => String::new(),
        Target::Things(things) => {
            let mut ids: Vec<&str> = things.iter().map(ThingId::as_str).collect();
            ids.sort_unstable();
            ids.dedup();
            format!("things {}", ids.join(" "))
        }
        Target::Filter(filter) => format!("filter {filter}"),
    }
}

fn holds(target: &Target, thing: crate::view::ThingRef<'_>) -> bool {
    match target {
        Target::All => true,
        Target::Things(things) => things.contains(thing.id()),
        Target::Filter(filter) => filter.matches(thing),
    }
}
