//! Reads committed records in order, a group at a time, from large reads.

use std::sync::Arc;

use crate::batch::records;
use crate::format::{self, Flaw, GROUP_HEADER_BYTES, GroupHeader, HEADER_BYTES};
use crate::segments::{Segment, Segments};
use crate::window::{Source as _, Window};
use crate::{Offset, ReadError};

/// A place in the log. It sees what is committed by the time it gets there, and can be asked again for more later.
pub struct Cursor {
    segments: Arc<Segments>,
    /// As far as it was committed when it was last looked at.
    segment: Segment,
    window: Window,
    position: u64,
    /// The offset of the next group.
    next: Offset,
    /// Records before this one are skipped.
    from: Offset,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cursor").field("next", &self.next()).finish_non_exhaustive()
    }
}

impl Cursor {
    pub(crate) fn new(segments: Arc<Segments>, from: Offset) -> Result<Self, ReadError> {
        let segment = segments.holding(from)?;
        let window = Window::new(segments.open(&segment, from)?, segment.end);
        let next = segment.header.base;
        Ok(Self { segments, segment, window, position: HEADER_BYTES as u64, next, from })
    }

    /// The offset from which on nothing was given out yet.
    #[must_use]
    pub fn next(&self) -> Offset {
        self.next.max(self.from)
    }

    /// Calls `each` with the offset and the bytes of every record of the next group that has any at or after where the
    /// cursor began. Returns whether there was one; `false` means that everything committed has been read.
    ///
    /// # Errors
    /// Where the log was trimmed up to here, is damaged, or cannot be read.
    pub fn next_group(&mut self, mut each: impl FnMut(Offset, &[u8])) -> Result<bool, ReadError> {
        while self.has_group()? {
            let group = self.group_header()?;
            let at = self.position;
            if group.next() > self.from {
                let name = || self.segment.name();
                let bytes = self
                    .window
                    .at(at, GROUP_HEADER_BYTES + group.body_bytes)
                    .map_err(|source| ReadError::Io { file: name(), source })?;
                format::check_group(bytes, &group).map_err(|flaw| ReadError::Damaged {
                    file: name(),
                    position: at,
                    flaw,
                })?;
                for (offset, record) in (group.first..).zip(records(&bytes[GROUP_HEADER_BYTES..])) {
                    if offset >= self.from {
                        each(offset, record);
                    }
                }
            }
            self.position += group.whole_bytes();
            self.next = group.next();
            if self.next > self.from {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether there is a group at the position, which moves on to the following segment where this one ends.
    fn has_group(&mut self) -> Result<bool, ReadError> {
        while self.position >= self.segment.end {
            let segment = match self.segments.from(self.segment.header.base) {
                // It has grown, or has been made anew, which happens only to segments without records.
                (Some(now), _) if now.end > self.position => now,
                (Some(_), None) => return Ok(false),
                (Some(_), Some(following)) => following,
                // It is trimmed away. Nothing is lost if it had been read to its end.
                (None, Some(oldest)) if oldest.header.base == self.next => oldest,
                (None, oldest) => {
                    let first = oldest.map_or(0, |oldest| oldest.header.base);
                    return Err(ReadError::Trimmed { wanted: self.next(), first });
                }
            };
            if segment.header == self.segment.header {
                self.window.extend(segment.end);
            } else {
                self.window = Window::new(self.segments.open(&segment, self.next())?, segment.end);
                self.position = HEADER_BYTES as u64;
                self.next = segment.header.base;
            }
            self.segment = segment;
        }
        Ok(true)
    }

    fn group_header(&mut self) -> Result<GroupHeader, ReadError> {
        let salt = self.segment.header.salt;
        let bytes = self.window.at(self.position, GROUP_HEADER_BYTES);
        let bytes = bytes.map_err(|source| ReadError::Io { file: self.segment.name(), source })?;
        let group = match format::decode_group_header(bytes, salt) {
            Ok(group) if group.first != self.next => Err(Flaw::GroupOffset(group.first)),
            other => other,
        };
        group.map_err(|flaw| ReadError::Damaged { file: self.segment.name(), position: self.position, flaw })
    }
}
