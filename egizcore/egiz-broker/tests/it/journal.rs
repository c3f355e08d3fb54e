//! A journal in memory: what was committed, in order, and the ledger that a restart makes of it.

use std::io;
use std::sync::Arc;

use egiz_broker::{Archive, ArchiveReader, Ledger, Offset, Placed, Publish, Receipt, Refusal};
use parking_lot::Mutex;

enum Record {
    Message(Publish),
    Note(Vec<u8>),
}

/// What was committed.
#[derive(Default)]
pub(crate) struct TestJournal(Mutex<Vec<Record>>);

impl TestJournal {
    fn commit(&self, publishes: Vec<Publish>, notes: Vec<Vec<u8>>, receipt: Receipt) {
        let (first, messages, end) = {
            let mut records = self.0.lock();
            let first = records.len() as Offset;
            records.extend(notes.into_iter().map(Record::Note));
            let messages: Vec<_> = (records.len() as Offset..).map(Some).take(publishes.len()).collect();
            records.extend(publishes.into_iter().map(Record::Message));
            (first, messages, records.len() as Offset)
        };
        receipt.committed(Placed { first, messages: &messages, end });
    }

    /// What a program that starts now knows of sessions.
    pub(crate) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for (offset, record) in (0..).zip(&*self.0.lock()) {
            if let Record::Note(note) = record {
                ledger.apply(offset, note).expect("a note of the broker's own");
            }
        }
        ledger
    }

    pub(crate) fn end(&self) -> Offset {
        self.0.lock().len() as Offset
    }

    /// The retained messages that a program that starts now knows of.
    pub(crate) fn retained(&self) -> Vec<Publish> {
        let records = self.0.lock();
        let messages = records.iter().filter_map(|record| match record {
            Record::Message(publish) if publish.retain() => Some(publish.clone()),
            _ => None,
        });
        messages.collect()
    }
}

/// A batch that waits for the test to decide.
pub(crate) struct Held {
    pub(crate) journal: Arc<TestJournal>,
    pub(crate) publishes: Vec<Publish>,
    pub(crate) notes: Vec<Vec<u8>>,
    pub(crate) receipt: Receipt,
}

impl Held {
    pub(crate) fn committed(self) {
        self.journal.commit(self.publishes, self.notes, self.receipt);
    }

    pub(crate) fn refused(self, refusal: Refusal) {
        self.receipt.refused(refusal);
    }
}

/// Reads a few records at a time, so that readers have to come back.
pub(crate) struct TestArchive(pub(crate) Arc<TestJournal>);

const STRETCH: usize = 3;

impl Archive for TestArchive {
    fn open(&self, from: Offset) -> io::Result<Box<dyn ArchiveReader>> {
        Ok(Box::new(Reading { journal: Arc::clone(&self.0), next: usize::try_from(from).expect("small") }))
    }
}

struct Reading {
    journal: Arc<TestJournal>,
    next: usize,
}

impl ArchiveReader for Reading {
    fn read(
        &mut self,
        wanted: &dyn Fn(Offset, &str) -> bool,
        out: &mut Vec<(Offset, Publish)>,
    ) -> io::Result<bool> {
        let records = self.journal.0.lock();
        let end = records.len().min(self.next + STRETCH);
        for (at, record) in records.iter().enumerate().take(end).skip(self.next) {
            let at = at as Offset;
            if let Record::Message(publish) = record
                && wanted(at, publish.topic())
            {
                out.push((at, publish.clone()));
            }
        }
        let more = end > self.next;
        self.next = end;
        Ok(more)
    }

    fn position(&self) -> Offset {
        self.next as Offset
    }
}
