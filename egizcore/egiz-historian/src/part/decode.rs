//! The encodings that our columns use, from bytes to values. Whatever bytes come, it ends and does not panic; bytes that
//! are no values are nothing.
//!
//! A page is decoded up to the row that is asked for: what lies behind costs nothing. The bytes handed in are followed by
//! [`PADDING`] bytes of anything, so that packed numbers can be loaded without looking for their end each time.
//!
//! # Source
//! Apache Parquet format, `Encodings.md`: PLAIN, RLE/bit-packing hybrid, `DELTA_BINARY_PACKED`.

use std::sync::Arc;

use crate::leb128::{self, unzigzag};

/// Bytes that must follow those that are decoded: 32 numbers of [`FAST_WIDTH_MAX`] bits, and eight bytes.
pub(super) const PADDING: usize = FAST_WIDTH_MAX * 4 + 8;

/// Numbers of more bits than this are unpacked one by one.
const FAST_WIDTH_MAX: usize = 32;

/// Which rows of a page have a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presence {
    /// All of this many rows.
    All(usize),
    /// Those that say so.
    Some(Vec<bool>),
}

/// Values of one column, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    Longs(Vec<i64>),
    Ints(Vec<i32>),
    Doubles(Vec<f64>),
    Bools(Vec<bool>),
    /// Which word each is.
    Texts {
        words: Arc<[Arc<str>]>,
        numbers: Vec<u32>,
    },
}

/// Which of these the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Long,
    Int,
    Double,
    Bool,
    Text,
}

impl Presence {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::All(rows) => *rows,
            Self::Some(rows) => rows.len(),
        }
    }

    /// How many of the first rows have a value.
    pub(super) fn count_before(&self, row: usize) -> usize {
        match self {
            Self::All(_) => row,
            Self::Some(rows) => rows.iter().take(row).filter(|is_there| **is_there).count(),
        }
    }

    pub(super) fn is_there(&self, row: usize) -> bool {
        match self {
            Self::All(rows) => row < *rows,
            Self::Some(rows) => rows.get(row).copied().unwrap_or_default(),
        }
    }
}

impl Values {
    /// These values by their numbers.
    fn pick(&self, numbers: Vec<u32>) -> Option<Self> {
        fn each<T: Clone>(values: &[T], numbers: &[u32]) -> Option<Vec<T>> {
            numbers.iter().map(|number| values.get(*number as usize).cloned()).collect()
        }
        Some(match self {
            Self::Longs(values) => Self::Longs(each(values, &numbers)?),
            Self::Ints(values) => Self::Ints(each(values, &numbers)?),
            Self::Doubles(values) => Self::Doubles(each(values, &numbers)?),
            Self::Bools(values) => Self::Bools(each(values, &numbers)?),
            Self::Texts { words, .. } => {
                let is_sound = numbers.iter().all(|number| (*number as usize) < words.len());
                is_sound.then(|| Self::Texts { words: Arc::clone(words), numbers })?
            }
        })
    }
}

/// The definition levels of a page's first `wanted` rows, where 1 is a value and 0 is none; and the bytes after the levels
/// of all rows.
pub(super) fn presence(bytes: &[u8], wanted: usize) -> Option<(Presence, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (levels, values) = (rest.get(..length)?, rest.get(length..)?);
    let mut runs = Hybrid { rest: levels, width: 1 };
    let mut rows: Vec<bool> = Vec::new();
    while rows.len() < wanted {
        match runs.next()? {
            Run::Same { count: 0, .. } => return None,
            Run::Same { value: 1, count } if rows.is_empty() && count >= wanted => {
                return Some((Presence::All(wanted), values));
            }
            Run::Same { value, count } => {
                let count = count.min(wanted - rows.len());
                rows.resize(rows.len() + count, value == 1);
            }
            Run::Packed(bytes) => {
                let bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
                let before = rows.len();
                rows.extend(bits.take(wanted - before));
                if rows.len() == before {
                    return None;
                }
            }
        }
    }
    Some((Presence::Some(rows), values))
}

/// The first `wanted` values written plainly.
pub(super) fn plain(bytes: &[u8], kind: ValueKind, wanted: usize) -> Option<Values> {
    fn fixed<const N: usize, T>(bytes: &[u8], wanted: usize, of: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
        let bytes = bytes.get(..wanted.checked_mul(N)?)?;
        Some(bytes.as_chunks::<N>().0.iter().map(|chunk| of(*chunk)).collect())
    }
    Some(match kind {
        ValueKind::Long => Values::Longs(fixed(bytes, wanted, i64::from_le_bytes)?),
        ValueKind::Int => Values::Ints(fixed(bytes, wanted, i32::from_le_bytes)?),
        ValueKind::Double => Values::Doubles(fixed(bytes, wanted, f64::from_le_bytes)?),
        ValueKind::Bool => {
            let bytes = bytes.get(..wanted.div_ceil(8))?;
            Values::Bools((0..wanted).map(|index| bytes[index / 8] >> (index % 8) & 1 == 1).collect())
        }
        ValueKind::Text => {
            let mut rest = bytes;
            let mut words: Vec<Arc<str>> = Vec::new();
            for _ in 0..wanted {
                let (length, after) = rest.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
                words.push(std::str::from_utf8(after.get(..length)?).ok()?.into());
                rest = &after[length..];
            }
            let numbers = (0..u32::try_from(words.len()).ok()?).collect();
            Values::Texts { words: words.into(), numbers }
        }
    })
}

/// The first `wanted` values written as numbers of a dictionary's.
pub(super) fn by_dictionary(bytes: &[u8], dictionary: &Values, wanted: usize) -> Option<Values> {
    let (width, rest) = bytes.split_first()?;
    if *width > 32 {
        return None;
    }
    let mut runs = Hybrid { rest, width: u32::from(*width) };
    let mut numbers: Vec<u32> = Vec::with_capacity(wanted);
    while numbers.len() < wanted {
        let before = numbers.len();
        match runs.next()? {
            Run::Same { value, count } => numbers.resize(before + count.min(wanted - before), value),
            Run::Packed(bytes) => {
                let width = runs.width as usize;
                let count = bytes.len().checked_mul(8)?.checked_div(width)?.min(wanted - before);
                let mask = u64::from(u32::MAX) >> (32 - width);
                for index in 0..count {
                    let bit = index * width;
                    let mut chunk = [0; 8];
                    let from = &bytes[bit / 8..];
                    let length = from.len().min(8);
                    chunk[..length].copy_from_slice(&from[..length]);
                    numbers.push(u32::try_from(u64::from_le_bytes(chunk) >> (bit % 8) & mask).ok()?);
                }
            }
        }
        if numbers.len() == before {
            return None;
        }
    }
    dictionary.pick(numbers)
}

/// A stretch of a hybrid encoding.
enum Run<'a> {
    Same { value: u32, count: usize },
    Packed(&'a [u8]),
}

/// Runs of equal values, and groups of eight packed ones.
struct Hybrid<'a> {
    rest: &'a [u8],
    width: u32,
}

impl<'a> Hybrid<'a> {
    fn next(&mut self) -> Option<Run<'a>> {
        let head = leb128::read(&mut self.rest)?;
        let count = usize::try_from(head >> 1).ok()?;
        if head & 1 == 1 {
            // The last group may be cut short by writers that save its padding.
            let length = count.checked_mul(self.width as usize)?.min(self.rest.len());
            let (packed, rest) = self.rest.split_at(length);
            self.rest = rest;
            return Some(Run::Packed(packed));
        }
        let (bytes, rest) = self.rest.split_at_checked(self.width.div_ceil(8) as usize)?;
        self.rest = rest;
        let mut value = [0; 4];
        value[..bytes.len()].copy_from_slice(bytes);
        Some(Run::Same { value: u32::from_le_bytes(value), count })
    }
}

/// The first `wanted` of numbers written as packed differences. `bytes` ends with [`PADDING`] bytes that are not theirs.
/// `out` is used for what it has room for; what is in it goes.
pub(super) fn delta(bytes: &[u8], wanted: usize, mut out: Vec<i64>) -> Option<Vec<i64>> {
    let mut rest = bytes.get(..bytes.len().checked_sub(PADDING)?)?;
    let block = usize::try_from(leb128::read(&mut rest)?).ok()?;
    let minis = usize::try_from(leb128::read(&mut rest)?).ok()?;
    let total = usize::try_from(leb128::read(&mut rest)?).ok()?;
    let first = unzigzag(leb128::read(&mut rest)?);
    let of_mini = block.checked_div(minis)?;
    if of_mini == 0 || !of_mini.is_multiple_of(32) || block > 1 << 20 || total < wanted {
        return None;
    }
    out.clear();
    out.reserve(wanted);
    if wanted == 0 {
        return Some(out);
    }
    out.push(first);
    let mut last = first;
    while out.len() < wanted {
        let least = unzigzag(leb128::read(&mut rest)?);
        let widths = rest.get(..minis)?;
        rest = &rest[minis..];
        for width in widths {
            let count = of_mini.min(wanted - out.len());
            if count == 0 {
                break;
            }
            let width = usize::from(*width);
            let begin = bytes.len() - PADDING - rest.len();
            // The last one need not be written to its end.
            let length = (of_mini / 8 * width).min(rest.len());
            if length < (count * width).div_ceil(8) || width > 64 {
                return None;
            }
            rest = &rest[length..];
            let packed = bytes.get(begin..begin + length + PADDING)?;
            for (number, group) in (0..count).step_by(32).zip(0..) {
                let differences = unpack(packed.get(group * width * 4..)?, width)?;
                out.extend(differences.iter().take(count - number).map(|difference| {
                    last = last.wrapping_add(least).wrapping_add(difference.cast_signed());
                    last
                }));
            }
        }
    }
    Some(out)
}

/// 32 numbers of so many bits each. The bytes go on for [`PADDING`] after them.
fn unpack(bytes: &[u8], width: usize) -> Option<[u64; 32]> {
    macro_rules! by_width {
        ($($width:literal)*) => {
            match width {
                0 => Some([0; 32]),
                $($width => Some(unpack_width::<$width>(bytes.first_chunk()?)),)*
                33..=64 => {
                    let mask = u64::MAX >> (64 - width);
                    let mut numbers = [0; 32];
                    for (index, number) in numbers.iter_mut().enumerate() {
                        let bit = index * width;
                        let mut chunk = [0; 16];
                        let from = bytes.get(bit / 8..).unwrap_or_default();
                        let length = from.len().min(16);
                        chunk[..length].copy_from_slice(&from[..length]);
                        #[expect(clippy::cast_possible_truncation, reason = "the mask would cut it anyway")]
                        let bits = (u128::from_le_bytes(chunk) >> (bit % 8)) as u64;
                        *number = bits & mask;
                    }
                    Some(numbers)
                }
                _ => None,
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

/// With the width known, the loop is laid out flat and every shift is a constant.
#[inline]
fn unpack_width<const WIDTH: usize>(bytes: &[u8; PADDING]) -> [u64; 32] {
    let mask = u64::MAX >> (64 - WIDTH);
    std::array::from_fn(|index| {
        let bit = index * WIDTH;
        let chunk =
            bytes[bit / 8..].first_chunk::<8>().expect("the array is long enough for 32 of any width");
        u64::from_le_bytes(*chunk) >> (bit % 8) & mask
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Bytes from a damaged file end in values or in nothing.
        #[test]
        fn whatever_bytes_come_it_ends(bytes in prop::collection::vec(any::<u8>(), 0..200), wanted in 0_usize..5000) {
            let kinds = [ValueKind::Long, ValueKind::Int, ValueKind::Double, ValueKind::Bool, ValueKind::Text];
            let padded: Vec<u8> = bytes.iter().copied().chain([0; PADDING]).collect();
            prop_assert!(delta(&padded, wanted, Vec::new()).is_none_or(|values| values.len() == wanted));
            let rows = presence(&bytes, wanted);
            prop_assert!(rows.is_none_or(|(rows, _)| rows.len() == wanted));
            for kind in kinds {
                let _ = plain(&bytes, kind, wanted);
            }
            let dictionary = Values::Longs(vec![1, 2, 3]);
            let _ = by_dictionary(&bytes, &dictionary, wanted);
        }
    }

    #[test]
    fn packed_differences_of_any_width() {
        // Two blocks of 128, the second with one value: 5, then steps of 1; then 2^40 more.
        let mut bytes = vec![0x80, 0x01, 4, 0x82, 0x01, 10];
        bytes.extend([2, 0, 0, 0, 0]);
        bytes.extend([0, 41, 0, 0, 0]);
        bytes.extend((1_u64 << 40).to_le_bytes());
        bytes.extend([0; PADDING]);
        let values = delta(&bytes, 130, Vec::new()).expect("they are whole");
        assert_eq!((values[0], values[1], values[128], values[129]), (5, 6, 133, 133 + (1 << 40)));
        assert_eq!(delta(&bytes, 3, vec![1, 2]), Some(vec![5, 6, 7]));
        assert_eq!(delta(&bytes, 131, Vec::new()), None);
    }
}
