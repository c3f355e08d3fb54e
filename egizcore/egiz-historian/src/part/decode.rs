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
    /// One of these values alone.
    pub(super) fn only(&self, index: usize) -> Option<Self> {
        Some(match self {
            Self::Longs(values) => Self::Longs(vec![*values.get(index)?]),
            Self::Ints(values) => Self::Ints(vec![*values.get(index)?]),
            Self::Doubles(values) => Self::Doubles(vec![*values.get(index)?]),
            Self::Bools(values) => Self::Bools(vec![*values.get(index)?]),
            Self::Texts { words, numbers } => {
                Self::Texts { words: Arc::clone(words), numbers: vec![*numbers.get(index)?] }
            }
        })
    }

    /// Of a dictionary's values those with these numbers.
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

/// The value at `index` of those written plainly.
pub(super) fn plain_at(bytes: &[u8], kind: ValueKind, index: usize) -> Option<Values> {
    let width = match kind {
        ValueKind::Long | ValueKind::Double => 8,
        ValueKind::Int => 4,
        ValueKind::Bool => {
            let byte = bytes.get(index / 8)?;
            return Some(Values::Bools(vec![byte >> (index % 8) & 1 == 1]));
        }
        // Each has its length before it, so that there is no way to it but through all of them.
        ValueKind::Text => {
            let all = plain(bytes, kind, index.checked_add(1)?)?;
            return all.only(index);
        }
    };
    plain(bytes.get(index.checked_mul(width)?..)?, kind, 1)
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
                for index in 0..count {
                    numbers.push(packed_at(bytes, width, index)?);
                }
            }
        }
        if numbers.len() == before {
            return None;
        }
    }
    dictionary.pick(numbers)
}

/// The value at `index` of those written as numbers of a dictionary's.
pub(super) fn by_dictionary_at(bytes: &[u8], dictionary: &Values, index: usize) -> Option<Values> {
    let (width, rest) = bytes.split_first()?;
    if *width > 32 {
        return None;
    }
    let mut runs = Hybrid { rest, width: u32::from(*width) };
    let mut before = index;
    loop {
        let (count, number) = match runs.next()? {
            Run::Same { value, count } => (count, value),
            Run::Packed(bytes) => {
                let count = bytes.len().checked_mul(8)?.checked_div(usize::from(*width))?;
                (count, if before < count { packed_at(bytes, usize::from(*width), before)? } else { 0 })
            }
        };
        match before.checked_sub(count) {
            _ if count == 0 => return None,
            None => return dictionary.pick(vec![number]),
            Some(left) => before = left,
        }
    }
}

/// The number of `width` bits, 1 to 32, at `index`.
fn packed_at(bytes: &[u8], width: usize, index: usize) -> Option<u32> {
    let mask = u64::from(u32::MAX) >> (32 - width);
    let bit = index * width;
    let mut chunk = [0; 8];
    let from = bytes.get(bit / 8..)?;
    let length = from.len().min(8);
    chunk[..length].copy_from_slice(&from[..length]);
    u32::try_from(u64::from_le_bytes(chunk) >> (bit % 8) & mask).ok()
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
    let mut stretches = Stretches::new(bytes, wanted)?;
    out.clear();
    out.reserve(wanted);
    if wanted == 0 {
        return Some(out);
    }
    let mut last = stretches.first;
    out.push(last);
    while out.len() < wanted {
        let stretch = stretches.next(wanted - out.len())?;
        for (number, group) in (0..stretch.count).step_by(32).zip(0..) {
            let differences = stretch.unpack(group)?;
            out.extend(differences.iter().take(stretch.count - number).map(|difference| {
                last = last.wrapping_add(stretch.least).wrapping_add(difference.cast_signed());
                last
            }));
        }
    }
    Some(out)
}

/// The number at `index` of such numbers: the differences before it are only summed up.
pub(super) fn delta_at(bytes: &[u8], index: usize) -> Option<i64> {
    let mut stretches = Stretches::new(bytes, index.checked_add(1)?)?;
    let mut number = stretches.first.cast_unsigned();
    let mut missing = index;
    while missing > 0 {
        let stretch = stretches.next(missing)?;
        number = number.wrapping_add(stretch.sum()?);
        missing -= stretch.count;
    }
    Some(number.cast_signed())
}

/// Of the first `count` of such numbers, which go up: how many are below a bound, and the last of those.
pub(super) fn delta_below(bytes: &[u8], count: usize, bound: i64) -> Option<(usize, i64)> {
    let mut stretches = Stretches::new(bytes, count)?;
    let (mut below, mut last) = (1, stretches.first);
    if count == 0 || last >= bound {
        return Some((0, 0));
    }
    while below < count {
        let stretch = stretches.next(count - below)?;
        let end = last.wrapping_add(stretch.sum()?.cast_signed());
        if end < bound {
            (below, last) = (below + stretch.count, end);
            continue;
        }
        for number in 0..stretch.count {
            let difference = stretch.unpack(number / 32)?[number % 32];
            let next = last.wrapping_add(stretch.least).wrapping_add(difference.cast_signed());
            if next >= bound {
                return Some((below, last));
            }
            (below, last) = (below + 1, next);
        }
    }
    Some((below, last))
}

/// Packed differences, stretch by stretch.
struct Stretches<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
    of_stretch: usize,
    of_block: usize,
    /// Of the block at hand, what is left of it.
    widths: &'a [u8],
    least: i64,
    first: i64,
}

/// Differences of one width.
struct Stretch<'a> {
    least: i64,
    width: usize,
    /// How many of them are wanted.
    count: usize,
    /// With [`PADDING`] bytes behind.
    packed: &'a [u8],
}

impl<'a> Stretches<'a> {
    /// Nothing where there are fewer numbers than wanted.
    fn new(bytes: &'a [u8], wanted: usize) -> Option<Self> {
        let mut rest = bytes.get(..bytes.len().checked_sub(PADDING)?)?;
        let block = usize::try_from(leb128::read(&mut rest)?).ok()?;
        let of_block = usize::try_from(leb128::read(&mut rest)?).ok()?;
        let total = usize::try_from(leb128::read(&mut rest)?).ok()?;
        let first = unzigzag(leb128::read(&mut rest)?);
        let of_stretch = block.checked_div(of_block)?;
        let is_sound = of_stretch > 0 && of_stretch.is_multiple_of(32) && block <= 1 << 20 && total >= wanted;
        is_sound.then_some(Self { bytes, rest, of_stretch, of_block, widths: &[], least: 0, first })
    }

    /// The next ones, as many of them as are wanted, which is one at least.
    fn next(&mut self, wanted: usize) -> Option<Stretch<'a>> {
        if self.widths.is_empty() {
            self.least = unzigzag(leb128::read(&mut self.rest)?);
            (self.widths, self.rest) = self.rest.split_at_checked(self.of_block)?;
        }
        let (width, widths) = self.widths.split_first()?;
        self.widths = widths;
        let (width, count) = (usize::from(*width), self.of_stretch.min(wanted));
        let begin = self.bytes.len() - PADDING - self.rest.len();
        // The last one need not be written to its end.
        let length = (self.of_stretch / 8 * width).min(self.rest.len());
        if length < (count * width).div_ceil(8) || width > 64 {
            return None;
        }
        self.rest = &self.rest[length..];
        let packed = self.bytes.get(begin..begin + length + PADDING)?;
        Some(Stretch { least: self.least, width, count, packed })
    }
}

impl Stretch<'_> {
    /// All that are wanted, added up.
    fn sum(&self) -> Option<u64> {
        let mut sum = self.least.cast_unsigned().wrapping_mul(self.count as u64);
        for (begin, group) in (0..self.count).step_by(32).zip(0..) {
            let differences = self.unpack(group)?;
            let differences = &differences[..differences.len().min(self.count - begin)];
            sum = differences.iter().fold(sum, |sum, difference| sum.wrapping_add(*difference));
        }
        Some(sum)
    }

    /// The 32 of a group, those that are not wanted included.
    #[inline]
    fn unpack(&self, group: usize) -> Option<[u64; 32]> {
        unpack(self.packed.get(group * self.width * 4..)?, self.width)
    }
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
            let _ = delta_at(&padded, wanted);
            let _ = delta_below(&padded, wanted, 1000);
            let rows = presence(&bytes, wanted);
            prop_assert!(rows.is_none_or(|(rows, _)| rows.len() == wanted));
            for kind in kinds {
                let _ = plain(&bytes, kind, wanted);
            }
            let dictionary = Values::Longs(vec![1, 2, 3]);
            let _ = by_dictionary(&bytes, &dictionary, wanted);
        }
    }

    /// `numbers` as packed differences, in blocks of 128 with four stretches each.
    fn packed(numbers: &[i64]) -> Vec<u8> {
        let mut out = vec![0x80, 0x01, 4];
        let mut writer = egiz_model::record::format::ItemWriter::new(&mut out);
        writer.varint(numbers.len() as u64);
        writer.varint(crate::leb128::zigzag(numbers[0]));
        let differences: Vec<i64> = numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        for block in differences.chunks(128) {
            let least = block.iter().copied().min().unwrap_or_default();
            egiz_model::record::format::ItemWriter::new(&mut out).varint(crate::leb128::zigzag(least));
            let above: Vec<u64> = block.iter().map(|own| own.wrapping_sub(least).cast_unsigned()).collect();
            let stretches: Vec<&[u64]> = above.chunks(32).collect();
            let width = |stretch: &[u64]| 64 - stretch.iter().fold(0, |all, own| all | own).leading_zeros();
            let widths: Vec<u32> =
                (0..4).map(|number| stretches.get(number).map_or(0, |stretch| width(stretch))).collect();
            out.extend(widths.iter().map(|width| u8::try_from(*width).expect("at most 64")));
            for (stretch, width) in stretches.iter().zip(&widths) {
                let mut bits = vec![false; 32 * *width as usize];
                for (number, own) in stretch.iter().enumerate() {
                    for bit in 0..*width {
                        bits[number * *width as usize + bit as usize] = own >> bit & 1 == 1;
                    }
                }
                let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
                out.extend(bits.chunks(8).map(byte));
            }
        }
        out.extend([0; PADDING]);
        out
    }

    proptest! {
        #[test]
        fn one_number_is_what_it_is_among_all(
            numbers in prop::collection::vec(prop_oneof![-1000_i64..1000, any::<i64>()], 1..400),
            at in any::<prop::sample::Index>(),
        ) {
            let bytes = packed(&numbers);
            prop_assert_eq!(delta(&bytes, numbers.len(), Vec::new()), Some(numbers.clone()));
            let index = at.index(numbers.len());
            prop_assert_eq!(delta_at(&bytes, index), Some(numbers[index]));
            prop_assert_eq!(delta_at(&bytes, numbers.len()), None);
        }

        #[test]
        fn numbers_below_a_bound_are_counted(
            mut numbers in prop::collection::vec(0_i64..10_000, 1..400),
            bound in -1_i64..10_001,
            count in any::<prop::sample::Index>(),
        ) {
            numbers.sort_unstable();
            let bytes = packed(&numbers);
            let count = count.index(numbers.len() + 1);
            let below = numbers[..count].partition_point(|number| *number < bound);
            let last = below.checked_sub(1).map_or(0, |last| numbers[last]);
            prop_assert_eq!(delta_below(&bytes, count, bound), Some((below, last)));
        }

        #[test]
        fn one_value_is_what_it_is_among_all(bytes in prop::collection::vec(any::<u8>(), 0..300), index in 0_usize..600) {
            let same = |a: &Option<Values>, b: &Option<Values>| format!("{a:?}") == format!("{b:?}");
            for kind in [ValueKind::Long, ValueKind::Int, ValueKind::Double, ValueKind::Bool, ValueKind::Text] {
                let (one, all) = (plain_at(&bytes, kind, index), plain(&bytes, kind, index + 1));
                let all = all.map(|all| all.only(index).expect("it has so many"));
                prop_assert!(same(&one, &all), "{one:?} {all:?}");
            }
            let words: Vec<Arc<str>> = (0..200).map(|number| format!("w{number}").into()).collect();
            let words = Values::Texts { words: words.into(), numbers: (0..200).collect() };
            for dictionary in [Values::Ints((0..200).collect()), words] {
                if let Some(all) = by_dictionary(&bytes, &dictionary, index + 1) {
                    prop_assert_eq!(by_dictionary_at(&bytes, &dictionary, index), all.only(index));
                }
            }
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
