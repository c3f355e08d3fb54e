//! The bytes of a record, version 1.
//!
//! ```text
//! record    = kind:u8 received:i64le principal:str correlation:str body
//! str,bytes = length:varint octets              varint = unsigned LEB128, at most 5 octets (u32)
//! value     = 0 | 1 (false) | 2 (true) | 3 zigzag-varint64 | 4 f64le | 5 str | 6 size:u32le value* | 7 size:u32le (str value)*
//! telemetry = thing:str source:i64le clock:u8 size:u32le (feature:str size:u32le (property:str quality:u8 value)*)*
//! write     = thing:str operation:u8 path:str content:bytes if-match:str if-none-match:str condition:str
//! ```
//!
//! A kind, a tag or an operation once given a number keeps it. A reader that meets an unknown kind says so and can go
//! on with the next record, since the journal frames records. Checksums are the journal's. `tests/golden/records-v1.bin`
//! must be readable by every later version.

use crate::value::{EncodedList, EncodedMap, ValueRef};

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside an item.
    #[error("the record is cut short")]
    CutShort,
    /// More bytes than the record needs.
    #[error("the record has bytes left over")]
    Trailing,
    /// A kind from a later version.
    #[error("record kind {0} is not known to this version")]
    UnknownKind(u8),
    /// A number outside its list.
    #[error("{what} cannot be {number}")]
    Number {
        /// Which field.
        what: &'static str,
        /// The number found.
        number: u64,
    },
    /// Text that is not UTF-8.
    #[error("a text in the record is not UTF-8")]
    NotUtf8,
    /// Arrays and objects inside each other beyond the limit.
    #[error("a value in the record is nested deeper than 32 levels")]
    TooDeep,
}

/// How deep arrays and objects may lie inside each other.
pub const DEPTH_MAX: usize = 32;

/// Tags of the values.
pub(crate) mod tag {
    pub(crate) const NULL: u8 = 0;
    pub(crate) const FALSE: u8 = 1;
    pub(crate) const TRUE: u8 = 2;
    pub(crate) const INT: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const TEXT: u8 = 5;
    pub(crate) const LIST: u8 = 6;
    pub(crate) const MAP: u8 = 7;
}

/// A name of a block that was checked when its record was decoded. Comparing it does not look at its encoding again, which
/// is most of what reading telemetry would cost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EncodedName<'a>(&'a [u8]);

impl<'a> EncodedName<'a> {
    /// The name; empty where the block had not been checked and this is no text.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }
}

impl PartialEq<str> for EncodedName<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl std::fmt::Display for EncodedName<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl std::fmt::Debug for EncodedName<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self.as_str(), formatter)
    }
}

/// Appends items to a buffer.
#[derive(Debug)]
pub struct ItemWriter<'a>(&'a mut Vec<u8>);

impl<'a> ItemWriter<'a> {
    /// Writes at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    /// A writer to the same place, for passing on while this one waits.
    pub fn again(&mut self) -> ItemWriter<'_> {
        ItemWriter(self.0)
    }

    /// Where the next octet will lie in the buffer.
    #[must_use]
    pub fn position(&self) -> usize {
        self.0.len()
    }

    /// One octet.
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// One octet, 0 or 1.
    pub fn flag(&mut self, flag: bool) {
        self.0.push(u8::from(flag));
    }

    /// Eight octets, little endian.
    pub fn fixed_i64(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// An unsigned number in as few octets as it needs.
    pub fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number as u8 & 0x7f) | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A text with its length.
    pub fn str(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Octets with their length. Anything beyond 4 GiB is cut; limits far below that are checked at the door.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(u32::MAX as usize)];
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// The value null.
    pub fn null(&mut self) {
        self.0.push(tag::NULL);
    }

    /// A truth value.
    pub fn bool(&mut self, truth: bool) {
        self.0.push(if truth { tag::TRUE } else { tag::FALSE });
    }

    /// A whole number.
    pub fn int(&mut self, number: i64) {
        self.0.push(tag::INT);
        self.varint(((number << 1) ^ (number >> 63)) as u64);
    }

    /// A number; NaN and infinities, which JSON does not have, become null.
    pub fn float(&mut self, number: f64) {
        if !number.is_finite() {
            return self.null();
        }
        self.0.push(tag::FLOAT);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// A text value.
    pub fn text(&mut self, text: &str) {
        self.0.push(tag::TEXT);
        self.str(text);
    }

    /// The name of a member, a feature or a property.
    pub fn name(&mut self, name: &str) {
        self.str(name);
    }

    /// Begins an array; values follow, then [`Self::end`] with what is returned here.
    pub fn begin_list(&mut self) -> usize {
        self.0.push(tag::LIST);
        self.begin()
    }

    /// Begins an object; names and values follow in turn, then [`Self::end`].
    pub fn begin_map(&mut self) -> usize {
        self.0.push(tag::MAP);
        self.begin()
    }

    /// Begins a sized block.
    pub fn begin(&mut self) -> usize {
        self.0.extend_from_slice(&[0; 4]);
        self.0.len()
    }

    /// Ends the block that began at `start`.
    pub fn end(&mut self, start: usize) {
        let size = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.0[start - 4..start].copy_from_slice(&size.to_le_bytes());
    }
}

/// Reads items from a buffer; never panics on any bytes.
#[derive(Debug, Clone)]
pub struct ItemReader<'a> {
    rest: &'a [u8],
}

impl<'a> ItemReader<'a> {
    /// Reads `bytes` from the front.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::CutShort)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::CutShort)
    }

    /// One octet.
    ///
    /// # Errors
    /// At the end of the bytes.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// One octet that is 0 or 1.
    ///
    /// # Errors
    /// At the end of the bytes or for another number.
    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::Number { what: "a flag", number: other.into() }),
        }
    }

    /// Eight octets, little endian.
    ///
    /// # Errors
    /// At the end of the bytes.
    pub fn fixed_i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// An unsigned number of at most 64 bits.
    ///
    /// # Errors
    /// At the end of the bytes, or when the number goes on beyond 64 bits.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let octet = self.byte()?;
            number |= u64::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                let overflow = shift == 63 && octet > 1;
                return if overflow { Err(too_long(number)) } else { Ok(number) };
            }
        }
        Err(too_long(number))
    }

    /// A text.
    ///
    /// # Errors
    /// At the end of the bytes or for octets that are not UTF-8.
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::NotUtf8)
    }

    /// Octets with their length.
    ///
    /// # Errors
    /// At the end of the bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::CutShort)?;
        self.take(length)
    }

    /// A sized block.
    ///
    /// # Errors
    /// At the end of the bytes.
    pub fn block(&mut self) -> Result<&'a [u8], DecodeError> {
        let size = u32::from_le_bytes(self.array()?);
        self.take(size as usize)
    }

    /// A value, checked to its innermost item; `depth` levels may lie inside each other.
    ///
    /// # Errors
    /// For anything that [`ItemWriter`] would not have written.
    pub fn value(&mut self, depth: usize) -> Result<ValueRef<'a>, DecodeError> {
        Ok(match self.byte()? {
            tag::NULL => ValueRef::Null,
            tag::FALSE => ValueRef::Bool(false),
            tag::TRUE => ValueRef::Bool(true),
            tag::INT => {
                let zigzag = self.varint()?;
                ValueRef::Int((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
            }
            tag::FLOAT => {
                let number = f64::from_le_bytes(self.array()?);
                if !number.is_finite() {
                    return Err(DecodeError::Number { what: "a number", number: number.to_bits() });
                }
                ValueRef::Float(number)
            }
            tag::TEXT => ValueRef::Text(self.str()?),
            tag::LIST => {
                let block = self.block()?;
                let depth = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
                let mut items = ItemReader::new(block);
                while !items.is_empty() {
                    items.value(depth)?;
                }
                ValueRef::List(EncodedList(block))
            }
            tag::MAP => {
                let block = self.block()?;
                let depth = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
                let mut members = ItemReader::new(block);
                while !members.is_empty() {
                    members.str()?;
                    members.value(depth)?;
                }
                ValueRef::Map(EncodedMap(block))
            }
            other => return Err(DecodeError::Number { what: "the tag of a value", number: other.into() }),
        })
    }

    /// The next value of a block that was checked before; `None` at its end.
    pub(crate) fn value_or_end(&mut self) -> Option<ValueRef<'a>> {
        match *self.rest.first()? {
            tag::LIST => {
                self.byte().ok()?;
                self.block().ok().map(|block| ValueRef::List(EncodedList(block)))
            }
            tag::MAP => {
                self.byte().ok()?;
                self.block().ok().map(|block| ValueRef::Map(EncodedMap(block)))
            }
            _ => self.value(0).ok(),
        }
    }

    /// The next name of a block that was checked before; `None` at its end.
    pub(crate) fn text_or_end(&mut self) -> Option<&'a str> {
        if self.is_empty() { None } else { self.str().ok() }
    }

    /// As [`Self::text_or_end`], for names that are mostly only compared.
    pub(crate) fn name_or_end(&mut self) -> Option<EncodedName<'a>> {
        if self.is_empty() { None } else { self.bytes().ok().map(EncodedName) }
    }
}

fn too_long(number: u64) -> DecodeError {
    DecodeError::Number { what: "a number of more than 64 bits", number }
}
