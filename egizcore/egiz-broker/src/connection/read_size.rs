//! How much room a connection makes for what it reads: little while it is quiet, which most are, and much under load, when
//! a read should bring many packets at once.

use bytes::BytesMut;

const LEAST_BYTES: usize = 2 << 10;
const MOST_BYTES: usize = 64 << 10;
/// By how much the room grows and shrinks.
const STEP: usize = 4;

/// The room for the next read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadSize(usize);

impl Default for ReadSize {
    fn default() -> Self {
        Self(LEAST_BYTES)
    }
}

impl ReadSize {
    /// Makes room in a buffer, and gives memory back that is no longer needed.
    pub(super) fn prepare(self, buffer: &mut BytesMut) {
        if buffer.is_empty() && buffer.capacity() > self.0 * STEP {
            *buffer = BytesMut::new();
        }
        buffer.reserve(self.0);
    }

    /// Takes note of how much a read has brought.
    pub(super) fn note(&mut self, bytes: usize) {
        if bytes >= self.0 {
            self.0 = (self.0 * STEP).min(MOST_BYTES);
        } else if bytes < self.0 / STEP / STEP {
            self.0 = (self.0 / STEP).max(LEAST_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_follows_load_and_is_given_back() {
        let (mut size, mut buffer) = (ReadSize::default(), BytesMut::new());
        for _ in 0..10 {
            size.prepare(&mut buffer);
            assert!(buffer.capacity() >= size.0);
            size.note(size.0);
        }
        assert_eq!(size.0, MOST_BYTES);
        for _ in 0..10 {
            size.note(100);
            size.prepare(&mut buffer);
        }
        assert_eq!(size.0, LEAST_BYTES);
        assert!(buffer.capacity() <= LEAST_BYTES * STEP, "{}", buffer.capacity());
    }

    #[test]
    fn what_was_read_in_part_is_kept() {
        let (size, mut buffer) = (ReadSize::default(), BytesMut::with_capacity(MOST_BYTES));
        buffer.extend_from_slice(b"part");
        size.prepare(&mut buffer);
        assert_eq!(&buffer[..], b"part");
    }
}
