//! The newest rows, in memory until they are sealed into parts.
//!
//! The head is small because it is sealed often: its rows are in the journal too, and a restart reads them from there. It
//! holds rows as they come; order and repetition are dealt with when they are read or sealed.

use std::collections::HashMap;
use std::sync::Arc;

use egiz_model::{Offset, Quality, QualityReason, Timestamp, ValueRef};

use crate::cell::{Cell, Texts};
use crate::table::Table;

/// Rows that are not in a part yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    things: HashMap<Arc<str>, HeadThing>,
    pub(crate) texts: Texts,
    cells: usize,
    pub(crate) rows: usize,
    /// The offset after the last record that is in it.
    pub(crate) next: Offset,
}

/// One Thing's rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeadThing {
    /// The definition that the Thing follows.
    pub(crate) family: Arc<str>,
    pub(crate) table: Table,
}

/// A row being written.
pub struct RowWriter<'a> {
    thing: &'a mut HeadThing,
    texts: &'a mut Texts,
    cells: &'a mut usize,
    hint: usize,
}

impl RowWriter<'_> {
    /// Sets a property's value, with how far it can be trusted.
    pub fn set(
        &mut self,
        feature: &str,
        property: &str,
        value: &ValueRef<'_>,
        quality: Quality,
        reason: QualityReason,
    ) {
        *self.cells += 1;
        self.thing.table.set(self.texts, feature, property, value, (quality, reason), &mut self.hint);
    }

    /// Notes that a property was taken away.
    pub fn remove(&mut self, feature: &str, property: &str) {
        *self.cells += 1;
        self.thing.table.remove(feature, property);
    }
}

impl Head {
    /// A head whose first record will be the one at this offset.
    pub(crate) fn from(next: Offset) -> Self {
        Self { next, ..Self::default() }
    }

    /// Begins a row of a Thing.
    pub(crate) fn row(
        &mut self,
        thing: &str,
        family: &str,
        source: Timestamp,
        received: Timestamp,
    ) -> RowWriter<'_> {
        if !self.things.contains_key(thing) {
            self.things.insert(thing.into(), HeadThing::default());
        }
        let of_thing = self.things.get_mut(thing).expect("it was just put there");
        if *of_thing.family != *family {
            of_thing.family = family.into();
        }
        of_thing.table.begin_row(source, received);
        self.rows += 1;
        RowWriter { thing: of_thing, texts: &mut self.texts, cells: &mut self.cells, hint: 0 }
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        // Vectors grow by doubling, so that up to half of them is room.
        self.cells * size_of::<Cell>() * 3 / 2
            + self.rows * 18
            + self.things.len() * 1024
            + self.texts.bytes()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(crate) fn thing(&self, id: &str) -> Option<&HeadThing> {
        self.things.get(id)
    }

    /// The Things in the order of their ids.
    pub(crate) fn sorted(&self) -> Vec<(&Arc<str>, &HeadThing)> {
        let mut things: Vec<_> = self.things.iter().collect();
        things.sort_by(|a, b| a.0.cmp(b.0));
        things
    }
}
