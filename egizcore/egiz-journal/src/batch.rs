//! The records of one submission, laid out as they go to disk: each with its length before it.
//!
//! One growing buffer and no allocation per record; the committer copies a batch into its group in one piece.

/// Records that are committed together: all or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    count: usize,
}

/// Bytes before each record.
pub(crate) const LENGTH_BYTES: usize = 4;

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for `bytes` of records and their lengths (4 bytes each).
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), count: 0 }
    }

    /// Adds a record.
    pub fn push(&mut self, record: &[u8]) {
        self.push_with(|out| out.extend_from_slice(record));
    }

    /// Adds the record that `write` appends to the buffer it is given, without a copy in between.
    ///
    /// # Panics
    /// Where `write` shortens the buffer: what is in it belongs to the records before.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        let start = self.bytes.len();
        write(&mut self.bytes);
        assert!(self.bytes.len() >= start, "a record is written by appending");
        // A record that does not fit its length field makes the batch larger than any that is accepted, so it is refused as a
        // whole when it is submitted.
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[length_at..start].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes it takes in the queue and on disk.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        records(&self.bytes)
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.bytes
    }
}

/// The records laid out in `bytes`; ends early where the layout does.
pub(crate) fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(record)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_in() {
        let mut batch = Batch::with_capacity(64);
        batch.push(b"one");
        batch.push(b"");
        batch.push_with(|out| out.extend_from_slice(b"three"));
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        assert_eq!((batch.len(), batch.byte_len()), (3, 8 + 12));
        assert!(Batch::new().is_empty());
    }
}
