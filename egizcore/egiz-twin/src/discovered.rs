//! Devices that were heard and are no Things yet: what somebody who adds a machine wants to see.
//!
//! Bounded; at the bound the least recently heard is forgotten and counted. The last message is kept up to a size, so that
//! a device accepted as a Thing has its values at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use egiz_model::record::Telemetry;
use egiz_model::{QualityReason, Timestamp};

/// A message larger than this is not kept with the device.
const KEPT_BYTES_MAX: usize = 4096;

/// A device that was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// When it was heard first.
    pub first_heard: Timestamp,
    /// When it was heard last.
    pub last_heard: Timestamp,
    /// How many messages it has sent.
    pub messages: u64,
    /// Who it was, as the broker's door knows it.
    pub principal: Arc<str>,
    pub(crate) source: Timestamp,
    pub(crate) clock: QualityReason,
    pub(crate) samples: Box<[u8]>,
    /// Its place in the order of hearing.
    turn: u64,
}

impl Discovered {
    /// Its last message, read as one of the Thing `thing`.
    #[must_use]
    pub fn last_message<'a>(&'a self, thing: &'a str) -> Telemetry<'a> {
        Telemetry::from_encoded(thing, self.source, self.clock, &self.samples)
    }
}

/// The devices by id, and in the order in which they were last heard.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiscoveredDevices {
    by_id: BTreeMap<Arc<str>, Discovered>,
    by_turn: BTreeMap<u64, Arc<str>>,
    next_turn: u64,
}

/// What hearing a device came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) is_new: bool,
    pub(crate) evicted: bool,
}

impl DiscoveredDevices {
    pub(crate) fn hear(
        &mut self,
        telemetry: &Telemetry<'_>,
        now: Timestamp,
        principal: &Arc<str>,
        max: usize,
    ) -> Heard {
        let turn = self.next_turn;
        self.next_turn += 1;
        let samples = telemetry.encoded_features();
        let samples: Box<[u8]> =
            if samples.len() <= KEPT_BYTES_MAX { samples.into() } else { Box::default() };
        if let Some(device) = self.by_id.get_mut(telemetry.thing) {
            device.last_heard = now;
            device.messages += 1;
            device.source = telemetry.source;
            device.clock = telemetry.clock;
            device.samples = samples;
            if let Some(id) = self.by_turn.remove(&device.turn) {
                self.by_turn.insert(turn, id);
            }
            device.turn = turn;
            return Heard { is_new: false, evicted: false };
        }
        if max == 0 {
            return Heard { is_new: false, evicted: false };
        }
        let mut evicted = false;
        if self.by_id.len() >= max
            && let Some((_, oldest)) = self.by_turn.pop_first()
        {
            self.by_id.remove(&oldest);
            evicted = true;
        }
        let device = Discovered {
            first_heard: now,
            last_heard: now,
            messages: 1,
            principal: Arc::clone(principal),
            source: telemetry.source,
            clock: telemetry.clock,
            samples,
            turn,
        };
        self.insert(telemetry.thing.into(), device);
        Heard { is_new: true, evicted }
    }

    fn insert(&mut self, id: Arc<str>, device: Discovered) {
        self.by_turn.insert(device.turn, Arc::clone(&id));
        self.by_id.insert(id, device);
    }

    /// Puts back what a snapshot holds, in the order of hearing.
    pub(crate) fn restore(&mut self, id: &str, mut device: Discovered) {
        device.turn = self.next_turn;
        self.next_turn += 1;
        self.insert(id.into(), device);
    }

    pub(crate) fn forget(&mut self, id: &str) -> Option<Discovered> {
        let device = self.by_id.remove(id)?;
        self.by_turn.remove(&device.turn);
        Some(device)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Discovered> {
        self.by_id.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Discovered)> {
        self.by_id.iter().map(|(id, device)| (&**id, device))
    }

    /// In the order of hearing, for snapshots.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = (&str, &Discovered)> {
        self.by_turn.values().filter_map(|id| Some((&**id, self.by_id.get(id)?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}

/// What a snapshot knows of a device.
pub(crate) struct KeptDevice<'a> {
    pub(crate) first_heard: Timestamp,
    pub(crate) last_heard: Timestamp,
    pub(crate) messages: u64,
    pub(crate) principal: &'a str,
    pub(crate) source: Timestamp,
    pub(crate) clock: QualityReason,
    pub(crate) samples: &'a [u8],
}

impl From<KeptDevice<'_>> for Discovered {
    fn from(kept: KeptDevice<'_>) -> Self {
        Self {
            first_heard: kept.first_heard,
            last_heard: kept.last_heard,
            messages: kept.messages,
            principal: kept.principal.into(),
            source: kept.source,
            clock: kept.clock,
            samples: kept.samples.into(),
            turn: 0,
        }
    }
}
