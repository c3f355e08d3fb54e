//! Finds the broker's messages again in the journal.

use std::io;
use std::sync::Arc;

use egiz_broker::{Archive, ArchiveReader, Offset, Publish};
use egiz_journal::{Cursor, Journal, ReadError};
use egiz_model::record::Record;

/// The journal as the broker reads it.
pub(crate) struct JournalArchive(pub(crate) Arc<dyn Journal>);

impl Archive for JournalArchive {
    fn open(&self, from: Offset) -> io::Result<Box<dyn ArchiveReader>> {
        let cursor = match self.0.read(from) {
            Err(ReadError::Trimmed { first, .. }) => self.0.read(first),
            other => other,
        };
        Ok(Box::new(JournalReader(cursor.map_err(io::Error::other)?)))
    }
}

struct JournalReader(Cursor);

impl ArchiveReader for JournalReader {
    fn read(
        &mut self,
        wanted: &dyn Fn(Offset, &str) -> bool,
        out: &mut Vec<(Offset, Publish)>,
    ) -> io::Result<bool> {
        let more = self.0.next_group(|offset, bytes| match Record::decode_message(bytes) {
            Ok(Some((header, message))) if wanted(offset, message.topic) => {
                let payload = message.payload.to_vec().into();
                let publish = Publish::new(message.topic, payload, message.qos, message.retain)
                    .with_encoded_properties(message.properties)
                    .received_at(header.received.as_micros());
                out.push((offset, publish));
            }
            Ok(_) => {}
            Err(error) => tracing::error!(offset, %error, "a message cannot be read and is passed over"),
        });
        more.map_err(io::Error::other)
    }

    fn position(&self) -> Offset {
        self.0.next()
    }
}
