//! As much of Thrift's compact protocol as page headers and page indexes need. Whatever bytes come, it ends and does not
//! panic; what it does not understand is nothing.
//!
//! # Source
//! Apache Thrift compact protocol.

use crate::leb128::{self, unzigzag};

/// Structures inside each other beyond this are no page header.
const DEPTH_MAX: u8 = 8;

const BOOL_TRUE: u8 = 1;
const BOOL_FALSE: u8 = 2;
const I8: u8 = 3;
const I16: u8 = 4;
pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
const SET: u8 = 10;
pub(super) const STRUCT: u8 = 12;

/// Reads fields one after the other.
pub(super) struct Compact<'a> {
    rest: &'a [u8],
}

impl<'a> Compact<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes were not read yet.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        leb128::read(&mut self.rest)
    }

    /// A whole number of any width.
    pub(super) fn int(&mut self) -> Option<i64> {
        self.varint().map(unzigzag)
    }

    /// The id and the type of a structure's next field; `Some(None)` at its end. `id` is that of the field before, 0 at the
    /// beginning, and becomes this one's.
    #[expect(clippy::option_option, reason = "bytes that are none, the end, or a field")]
    pub(super) fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *id = match head >> 4 {
            0 => self.int()?,
            more => id.checked_add(i64::from(more))?,
        };
        Some(Some(head & 0x0f))
    }

    /// How many items a list has, and of which type they are.
    pub(super) fn list(&mut self) -> Option<(usize, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => usize::try_from(self.varint()?).ok()?,
            count => usize::from(count),
        };
        // Each item takes a byte at least.
        (count <= self.rest.len()).then_some((count, head & 0x0f))
    }

    /// Passes over a field's value.
    pub(super) fn skip(&mut self, kind: u8) -> Option<()> {
        self.skip_within(kind, DEPTH_MAX)
    }

    fn skip_within(&mut self, kind: u8, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            BOOL_TRUE | BOOL_FALSE => {}
            I8 => drop(self.byte()?),
            I16 | I32 | I64 => drop(self.varint()?),
            DOUBLE => self.rest = self.rest.get(8..)?,
            BINARY => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.rest = self.rest.get(length..)?;
            }
            LIST | SET => {
                let (count, kind) = self.list()?;
                for _ in 0..count {
                    match kind {
                        // In lists, unlike in fields, truth values take a byte.
                        BOOL_TRUE | BOOL_FALSE => drop(self.byte()?),
                        kind => self.skip_within(kind, depth)?,
                    }
                }
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip_within(kind, depth)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_passed_over() {
        // 1: i32 -3, 2: struct { 1: binary "ab", 3: list of 2 i64 }, 16: double, end.
        let bytes =
            [0x15, 5, 0x1c, 0x18, 2, b'a', b'b', 0x29, 0x26, 2, 4, 0, 0x07, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut compact = Compact::new(&bytes);
        let mut id = 0;
        assert_eq!((compact.field(&mut id), id), (Some(Some(I32)), 1));
        assert_eq!(compact.int(), Some(-3));
        assert_eq!((compact.field(&mut id), id), (Some(Some(STRUCT)), 2));
        assert_eq!(compact.skip(STRUCT), Some(()));
        assert_eq!((compact.field(&mut id), id), (Some(Some(DOUBLE)), 16));
        assert_eq!(compact.skip(DOUBLE), Some(()));
        assert_eq!(compact.field(&mut id), Some(None));
        assert_eq!(compact.remaining(), 0);
        assert_eq!(compact.field(&mut id), None);
    }

    #[test]
    fn structures_without_end_are_nothing() {
        assert_eq!(Compact::new(&[0x1c; 100]).skip(STRUCT), None);
        assert_eq!(Compact::new(&[0xf9, 0xff, 0xff, 0xff, 0x7f]).skip(LIST), None);
    }
}
