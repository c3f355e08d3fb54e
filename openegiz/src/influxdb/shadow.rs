//! An engine of its own, at the record that the writer is at: what it judges is what the live engine judged, and so what history
//! has.
//!
//! A record alone does not say what is to be written: whether its device is a Thing yet, how far a value can be trusted, what
//! came of a write. The engine is a pure function of the records, so a second one that is given the same ones says the same,
//! however far behind the live one it is. It refuses to send anything, and to keep its place on disk.

use std::sync::Arc;

use egiz_influx::write::LineBuffer;
use egiz_journal::{Cursor, Journal, ReadError};
use egiz_model::record::{Body, Record};
use egiz_model::{Offset, Timestamp};
use egiz_twin::{Engine, Limits};

use super::naming::{Naming, NamingRules};
use crate::history::{Notes, Recorder};
use crate::snapshot::Snapshot;

/// Lines are gathered until they take this much, so that a large group of the journal's is the most beyond it.
const BYTES_AT_ONCE: usize = 4 << 20;
/// Records read at the most before somebody else has a turn.
const RECORDS_AT_ONCE: u64 = 50_000;

/// The engine with where it reads.
pub(super) struct Shadow {
    journal: Arc<dyn Journal>,
    engine: Engine,
    cursor: Option<Cursor>,
    notes: Notes,
    recorder: Recorder,
    naming: Naming,
}

/// What some records came to.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) lines: LineBuffer,
    /// Records that were read.
    pub(super) records: u64,
    /// When the first of them was received.
    pub(super) since: Option<Timestamp>,
    /// Values whose names InfluxDB does not take.
    pub(super) unnameable: u64,
    /// Whether the journal has no more at the moment.
    pub(super) is_end: bool,
}

impl Shadow {
    /// Brings a snapshot's engine back.
    ///
    /// # Errors
    /// Where the snapshot cannot be read.
    pub(super) fn restore(
        journal: Arc<dyn Journal>,
        snapshot: &Snapshot,
        limits: Limits,
        rules: NamingRules,
    ) -> anyhow::Result<Self> {
        let engine = Engine::restore(&snapshot.engine, limits)?;
        Ok(Self {
            journal,
            engine,
            cursor: None,
            notes: Notes::default(),
            recorder: Recorder::default(),
            naming: Naming::new(rules),
        })
    }

    /// The first record that it has not read.
    pub(super) fn next(&self) -> Offset {
        self.engine.next_offset()
    }

    /// The engine, to keep.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.engine.snapshot(&mut bytes);
        bytes
    }

    /// Reads on to a record, without lines; returns how many records and values were passed over.
    ///
    /// # Errors
    /// As for [`Self::gather`].
    pub(super) fn pass_over(&mut self, before: Offset) -> Result<(u64, u64), ReadError> {
        let (mut records, mut values) = (0, 0);
        while self.next() < before {
            let gathered = self.read(usize::MAX, before)?;
            records += gathered.records;
            values += gathered.lines.fields() as u64;
            if gathered.is_end {
                break;
            }
        }
        Ok((records, values))
    }

    /// Reads on until there are so many lines, or no more records.
    ///
    /// # Errors
    /// Where the journal was trimmed up to here, is damaged or cannot be read.
    pub(super) fn gather(&mut self, lines_max: usize) -> Result<Gathered, ReadError> {
        self.read(lines_max, Offset::MAX)
    }

    fn read(&mut self, lines_max: usize, before: Offset) -> Result<Gathered, ReadError> {
        let mut cursor = match self.cursor.take() {
            Some(cursor) => cursor,
            None => self.journal.read(self.engine.next_offset())?,
        };
        let mut gathered = Gathered::default();
        let mut changes = Vec::new();
        let Self { engine, notes, recorder, naming, .. } = self;
        loop {
            let lines = naming.lines();
            if lines.len() >= lines_max
                || lines.bytes() >= BYTES_AT_ONCE
                || gathered.records >= RECORDS_AT_ONCE
                || engine.next_offset() >= before
            {
                break;
            }
            let more = cursor.next_group(|offset, bytes| {
                gathered.records += 1;
                // What cannot be read was said when it was applied.
                let Ok(record) = Record::decode(bytes) else { return engine.skip(offset) };
                if gathered.since.is_none() && !matches!(record.body, Body::Tick) {
                    gathered.since = Some(record.header.received);
                }
                notes.apply(engine, offset, &record, &mut changes);
                changes.clear();
                for (_, note) in notes.take() {
                    recorder.prepare(bytes, &note, None);
                    note.write(&record, naming, recorder);
                }
            });
            if !more? {
                gathered.is_end = true;
                break;
            }
        }
        self.cursor = Some(cursor);
        gathered.lines = self.naming.take();
        gathered.unnameable = self.naming.take_unnameable();
        Ok(gathered)
    }
}
