//! Bytes of a packet, stepped over from the front.

use super::{Fault, MALFORMED};

pub(super) struct Walk<'a>(pub(super) &'a [u8]);

impl<'a> Walk<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(taken)
    }

    /// So many bytes, as they are.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A string or binary data with its length before it.
    pub(super) fn counted(&mut self) -> Result<&'a [u8], Fault> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(usize::from(length))
    }

    /// A section with its length before it.
    pub(super) fn section(&mut self) -> Result<&'a [u8], Fault> {
        let mut length = 0;
        for index in 0..4 {
            let [octet] = self.array()?;
            length |= usize::from(octet & 0x7f) << (7 * index);
            if octet & 0x80 == 0 {
                return self.take(length);
            }
        }
        Err(MALFORMED)
    }
}
