//! Reads committed records in order, a group at a time.

use std::sync::Arc;

use crate::batch::records;
use crate::format::{self, GROUP_HEADER_BYTES, HEADER_BYTES};
use crate::segments::{Segment, Segments, file_name};
use crate::{Offset, ReadError};

/// A place in the log. It sees what is committed by the time it gets there, and can be asked again for more later.
pub struct Cursor {
    segments: Arc<Segments>,
    base: Offset,
    position: u64,
    /// The offset of the next group.
    next: Offset,
    /// Records before this one are skipped.
    from: Offset,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Cursor")
            .field("next", &self.next)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl Cursor {
    pub(crate) fn new(segments: Arc<Segments>, from: Offset) -> Result<Self, ReadError> {
        let segment = segments.holding(from)?;
        Ok(Self {
            segments,
            base: segment.base,
            position: HEADER_BYTES as u64,
            next: segment.base,
            from,
            buffer: Vec::new(),
        })
    }

    /// Calls `each` with the offset and the bytes of every record of the next group that has any at or after where the
    /// cursor began. Returns whether there was one; `false` means that everything committed has been read.
    ///
    /// # Errors
    /// Where the log was trimmed up to here, is damaged, or cannot be read.
    pub fn next_group(&mut self, mut each: impl FnMut(Offset, &[u8])) -> Result<bool, ReadError> {
        loop {
            let Some(segment) = self.segments.starting_at(self.base) else {
                let (first, ..) = self.segments.extent();
                return Err(ReadError::Trimmed { wanted: self.next.max(self.from), first });
            };
            if self.position >= segment.committed_bytes {
                match self.segments.starting_at(segment.next) {
                    Some(following) if following.base != segment.base => {
                        self.base = following.base;
                        self.position = HEADER_BYTES as u64;
                        continue;
                    }
                    _ => return Ok(false),
                }
            }
            let header = self.read_header(&segment)?;
            let group_next = header.first + Offset::from(header.count);
            let body_at = self.position + GROUP_HEADER_BYTES as u64;
            if group_next <= self.from {
                self.position = body_at + header.body_bytes as u64;
                self.next = group_next;
                continue;
            }
            self.fill(&segment, body_at, header.body_bytes)?;
            format::check_group(&header, &self.buffer).map_err(|reason| self.damaged(&segment, reason))?;
            self.position = body_at + header.body_bytes as u64;
            self.next = group_next;
            for (offset, record) in (header.first..).zip(records(&self.buffer)) {
                if offset >= self.from {
                    each(offset, record);
                }
            }
            return Ok(true);
        }
    }

    fn read_header(&mut self, segment: &Segment) -> Result<format::GroupHeader, ReadError> {
        self.fill(segment, self.position, GROUP_HEADER_BYTES)?;
        let header =
            format::decode_group_header(&self.buffer).map_err(|reason| self.damaged(segment, reason))?;
        if header.first != self.next {
            return Err(self.damaged(segment, "a group's first offset does not follow on"));
        }
        Ok(header)
    }

    fn fill(&mut self, segment: &Segment, position: u64, count: usize) -> Result<(), ReadError> {
        self.buffer.resize(count, 0);
        let read = segment
            .file
            .read_at(&mut self.buffer, position)
            .map_err(|source| ReadError::Io { file: file_name(segment.base), source })?;
        if read < count {
            return Err(self.damaged(segment, "the file is shorter than what was committed"));
        }
        Ok(())
    }

    fn damaged(&self, segment: &Segment, reason: &str) -> ReadError {
        ReadError::Damaged {
            file: file_name(segment.base),
            position: self.position,
            reason: reason.to_owned(),
        }
    }
}
