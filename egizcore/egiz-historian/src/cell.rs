//! What one property said at one time, in sixteen bytes.
//!
//! A cell is a number, a truth value, a text, or one of the ways in which there is none. Texts are kept once in a
//! [`Texts`] beside the cells. Lists are spread over several cells (`column.rs`); objects, and lists inside lists, are kept
//! as JSON text. Whole numbers and their floating twins are the same cell, as they are the same JSON value.

use std::collections::HashMap;
use std::sync::Arc;

use egiz_model::{Quality, QualityReason, Value};

/// What a cell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The message did not have the property.
    #[default]
    Absent,
    /// The property was taken away; it is there again with its next value.
    Removed,
    /// The sensor could not be read.
    Null,
    Bool,
    /// A whole number.
    Int,
    /// Any other finite number, and minus zero.
    Float,
    /// A text, by its number in [`Texts`].
    Text,
    /// An object or a nested list as JSON, by its number in [`Texts`].
    Json,
}

/// One property's value in one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cell {
    bits: u64,
    pub(crate) kind: Kind,
    pub(crate) quality: Quality,
    pub(crate) reason: QualityReason,
}

/// Whole numbers up to here are the same in a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

impl Cell {
    pub(crate) const ABSENT: Self = Self::of(Kind::Absent, 0);
    pub(crate) const REMOVED: Self = Self::of(Kind::Removed, 0);
    pub(crate) const NULL: Self = Self::of(Kind::Null, 0);

    const fn of(kind: Kind, bits: u64) -> Self {
        Self { bits, kind, quality: Quality::Good, reason: QualityReason::None }
    }

    pub(crate) const fn bool(truth: bool) -> Self {
        Self::of(Kind::Bool, truth as u64)
    }

    pub(crate) const fn int(number: i64) -> Self {
        Self::of(Kind::Int, number.cast_unsigned())
    }

    /// A finite number; anything else is no value.
    pub(crate) fn number(number: f64) -> Self {
        if !number.is_finite() {
            return Self::NULL;
        }
        let is_whole = number.fract() == 0.0
            && number.abs() <= EXACT_MAX
            && (number != 0.0 || number.is_sign_positive());
        if is_whole {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
            return Self::int(number as i64);
        }
        Self::of(Kind::Float, number.to_bits())
    }

    pub(crate) const fn text(number: u32) -> Self {
        Self::of(Kind::Text, number as u64)
    }

    pub(crate) const fn json(number: u32) -> Self {
        Self::of(Kind::Json, number as u64)
    }

    /// The same with a word on how far it can be trusted.
    pub(crate) const fn judged(mut self, quality: Quality, reason: QualityReason) -> Self {
        self.quality = quality;
        self.reason = reason;
        self
    }

    pub(crate) const fn is_absent(self) -> bool {
        matches!(self.kind, Kind::Absent)
    }

    pub(crate) const fn as_bool(self) -> bool {
        self.bits != 0
    }

    pub(crate) const fn as_int(self) -> i64 {
        self.bits.cast_signed()
    }

    pub(crate) const fn as_float(self) -> f64 {
        f64::from_bits(self.bits)
    }

    /// The number of the text in [`Texts`].
    pub(crate) fn text_number(self) -> u32 {
        u32::try_from(self.bits).unwrap_or(u32::MAX)
    }

    /// The number, whole or not.
    pub(crate) fn as_number(self) -> Option<f64> {
        match self.kind {
            #[expect(
                clippy::cast_precision_loss,
                reason = "beyond 2^53 the nearest double is what readers see"
            )]
            Kind::Int => Some(self.as_int() as f64),
            Kind::Float => Some(self.as_float()),
            _ => None,
        }
    }

    /// The value as the twin knows it; nothing where there is none.
    pub(crate) fn to_value(self, texts: &Texts) -> Option<Value> {
        Some(match self.kind {
            Kind::Absent | Kind::Removed => return None,
            Kind::Null => Value::Null,
            Kind::Bool => Value::Bool(self.as_bool()),
            Kind::Int => Value::Int(self.as_int()),
            Kind::Float => Value::Float(self.as_float()),
            Kind::Text => Value::text(texts.get(self.text_number())),
            Kind::Json => serde_json::from_str(texts.get(self.text_number()))
                .map_or(Value::Null, |json| Value::from_json(&json)),
        })
    }
}

/// Texts kept once each, for the cells of one table or one head.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    bytes: usize,
}

impl Texts {
    /// The text's number, new if need be.
    pub(crate) fn intern(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number =
            u32::try_from(self.texts.len()).expect("a head is sealed long before four billion texts");
        let text: Arc<str> = text.into();
        self.bytes += text.len() + 64;
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    /// The text with a number that [`Self::intern`] gave.
    pub(crate) fn get(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", |text| text)
    }

    /// About how much memory they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(number: f64, expected: Cell) {
        assert_eq!(Cell::number(number), expected, "{number}");
    }

    #[test]
    fn whole_numbers_are_whole_and_the_rest_is_kept_to_the_bit() {
        check(195.0, Cell::int(195));
        check(-3.0, Cell::int(-3));
        check(0.0, Cell::int(0));
        check(EXACT_MAX, Cell::int(9_007_199_254_740_992));
        assert_eq!(Cell::number(-0.0).as_float().to_bits(), (-0.0_f64).to_bits());
        assert_eq!(Cell::number(195.5).as_float(), 195.5);
        assert_eq!(Cell::number(1e300).kind, Kind::Float);
        check(f64::NAN, Cell::NULL);
        check(f64::INFINITY, Cell::NULL);
    }

    #[test]
    fn a_cell_takes_sixteen_bytes() {
        assert_eq!(size_of::<Cell>(), 16);
    }

    #[test]
    fn texts_are_kept_once() {
        let mut texts = Texts::default();
        let number = texts.intern("running");
        assert_eq!(texts.intern("running"), number);
        assert_ne!(texts.intern("stopped"), number);
        assert_eq!(texts.get(number), "running");
    }
}
