//! Whether devices are heard: they come, go, and fall silent.
//!
//! ```text
//!               message, online              silent beyond the deadline, seen at a tick
//! any but live ─────────────────────► live ────────────────────────────────────────────► stale
//! any but offline ──offline (often a last will)──► offline
//! ```

use crate::engine::{Context, Engine};
use crate::thing::{Connection, Thing};
use crate::{Change, ChangeKind};

impl Engine {
    /// Has the Thing's silence watched from now on.
    pub(crate) fn watch(&mut self, slot: u32) {
        let Some(thing) = self.things[slot as usize].as_deref() else { return };
        if let (Connection::Live, Some(last_seen), Some(patience)) =
            (thing.connection, thing.last_seen, self.stale_after(thing))
        {
            self.deadlines.watch(slot, last_seen.plus_micros(patience));
        }
    }

    fn stale_after(&self, thing: &Thing) -> Option<i64> {
        self.template_of(thing)
            .and_then(|template| template.stale_after_micros)
            .or(self.limits.stale_after_micros)
    }

    pub(crate) fn apply_presence(
        &mut self,
        context: Context<'_>,
        id: &str,
        online: bool,
        changes: &mut Vec<Change>,
    ) {
        let Some(slot) = self.slot_of(id) else { return };
        let now = context.header.received;
        let thing = self.thing_mut(slot);
        thing.offset = context.offset;
        let connection = if online {
            thing.last_seen = Some(thing.last_seen.map_or(now, |seen| seen.max(now)));
            Connection::Live
        } else {
            Connection::Offline
        };
        if thing.connection != connection {
            thing.connection = connection;
            thing.revision += 1;
            thing.modified = now;
            changes.push(context.change(thing, slot, ChangeKind::Connection(connection)));
        }
        self.watch(slot);
    }

    pub(crate) fn apply_tick(&mut self, context: Context<'_>, changes: &mut Vec<Change>) {
        let now = context.header.received;
        let mut silent = Vec::new();
        // A Thing put back into the heap is due later than now, so this ends.
        while let Some(slot) = self.deadlines.take_due(now) {
            let Some(thing) = self.things.get(slot as usize).and_then(Option::as_deref) else { continue };
            let patience = self.stale_after(thing);
            let (Connection::Live, Some(last_seen), Some(patience)) =
                (thing.connection, thing.last_seen, patience)
            else {
                continue;
            };
            let due = last_seen.plus_micros(patience);
            if due > now {
                self.deadlines.watch(slot, due);
            } else {
                silent.push(slot);
            }
        }
        // The heap's order depends on when its entries were made; that of the slots is the same on every replica.
        silent.sort_unstable();
        for slot in silent {
            self.counters.stale += 1;
            let thing = self.thing_mut(slot);
            thing.connection = Connection::Stale;
            thing.revision += 1;
            thing.modified = now;
            thing.offset = context.offset;
            changes.push(context.change(thing, slot, ChangeKind::Connection(Connection::Stale)));
        }
    }
}
