//! Bytes at a place, read from a file in large pieces or taken from memory: what the scanner and the cursor walk over.

use std::io;
use std::sync::Arc;

use crate::storage::StoredFile;

/// Bytes read at once where less is asked for.
const READ_BYTES: usize = 256 << 10;

/// Something with bytes at positions.
pub(crate) trait Source {
    /// `count` bytes from `position`; fewer only at the end.
    fn at(&mut self, position: u64, count: usize) -> io::Result<&[u8]>;
}

impl Source for &[u8] {
    fn at(&mut self, position: u64, count: usize) -> io::Result<&[u8]> {
        let start = usize::try_from(position).map_or(self.len(), |start| start.min(self.len()));
        let end = start.saturating_add(count).min(self.len());
        Ok(&self[start..end])
    }
}

/// A piece of a file, and the means to move it.
pub(crate) struct Window {
    file: Arc<dyn StoredFile>,
    /// Nothing at or behind this position is looked at.
    end: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl Window {
    pub(crate) fn new(file: Arc<dyn StoredFile>, end: u64) -> Self {
        Self { file, end, start: 0, buffer: Vec::new() }
    }

    /// Lets it see up to `end`.
    pub(crate) fn extend(&mut self, end: u64) {
        self.end = end;
    }

    /// The place of `count` bytes at `position` in the buffer, read if they are not there.
    fn locate(&mut self, position: u64, count: usize) -> io::Result<std::ops::Range<usize>> {
        let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let count = count.min(left);
        let inside = position
            .checked_sub(self.start)
            .and_then(|ahead| usize::try_from(ahead).ok())
            .filter(|ahead| self.buffer.len().checked_sub(*ahead).is_some_and(|have| have >= count));
        if let Some(ahead) = inside {
            return Ok(ahead..ahead + count);
        }
        self.start = position;
        self.buffer.resize(count.max(READ_BYTES).min(left), 0);
        let read = self.file.read_at(&mut self.buffer, position);
        self.buffer.truncate(*read.as_ref().unwrap_or(&0));
        read.map(|read| 0..count.min(read))
    }
}

impl Source for Window {
    fn at(&mut self, position: u64, count: usize) -> io::Result<&[u8]> {
        let range = self.locate(position, count)?;
        Ok(&self.buffer[range])
    }
}
