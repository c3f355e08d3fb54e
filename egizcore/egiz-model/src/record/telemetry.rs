//! One message of a device: samples of several properties, all of one source time.

use super::format::{DEPTH_MAX, DecodeError, EncodedName, ItemReader, ItemWriter};
use super::{Header, begin, kind};
use crate::value::ValueRef;
use crate::{Quality, QualityReason, Timestamp};

/// A device's message, borrowed from a record.
#[derive(Debug, Clone)]
pub struct Telemetry<'a> {
    /// The Thing that the device feeds.
    pub thing: &'a str,
    /// When the device measured, or the receive time where `clock` says that the device's own cannot be used.
    pub source: Timestamp,
    /// What was wrong with the device's clock: `None`, `ClockUnset` or `ClockAhead`.
    pub clock: QualityReason,
    features: &'a [u8],
}

/// The samples of one feature.
#[derive(Debug, Clone)]
pub struct FeatureSamples<'a> {
    /// The feature's name.
    pub name: EncodedName<'a>,
    samples: &'a [u8],
}

/// One property's value in a message.
#[derive(Debug, Clone, Copy)]
pub struct SampleRef<'a> {
    /// The property's name.
    pub property: EncodedName<'a>,
    /// What the device itself said of its trust in the value.
    pub quality: Quality,
    /// The value.
    pub value: ValueRef<'a>,
}

impl<'a> Telemetry<'a> {
    pub(super) fn decode(reader: &mut ItemReader<'a>) -> Result<Self, DecodeError> {
        let decoded = Self::decode_again(reader)?;
        let mut blocks = ItemReader::new(decoded.features);
        while !blocks.is_empty() {
            blocks.str()?;
            let mut samples = ItemReader::new(blocks.block()?);
            while !samples.is_empty() {
                samples.str()?;
                let quality = samples.byte()?;
                Quality::from_u8(quality)
                    .ok_or(DecodeError::Number { what: "a quality", number: quality.into() })?;
                samples.value(DEPTH_MAX)?;
            }
        }
        Ok(decoded)
    }

    /// Does not check the samples, which [`Self::decode`] did.
    pub(super) fn decode_again(reader: &mut ItemReader<'a>) -> Result<Self, DecodeError> {
        let thing = reader.str()?;
        let source = Timestamp::from_micros(reader.fixed_i64()?);
        let clock = reader.byte()?;
        let clock = QualityReason::from_u8(clock)
            .ok_or(DecodeError::Number { what: "the state of a clock", number: clock.into() })?;
        let features = reader.block()?;
        Ok(Self { thing, source, clock, features })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = ItemWriter::new(out);
        writer.str(self.thing);
        writer.fixed_i64(self.source.as_micros());
        writer.byte(self.clock as u8);
        let start = writer.begin();
        out.extend_from_slice(self.features);
        ItemWriter::new(out).end(start);
    }

    /// The features in the order in which the device sent them.
    pub fn features(&self) -> impl Iterator<Item = FeatureSamples<'a>> + use<'a> {
        let mut reader = ItemReader::new(self.features);
        std::iter::from_fn(move || {
            let name = reader.name_or_end()?;
            Some(FeatureSamples { name, samples: reader.block().ok()? })
        })
    }

    /// The encoded samples, for keeping a message as it is; [`Self::from_encoded`] reads them again.
    #[must_use]
    pub fn encoded_features(&self) -> &'a [u8] {
        self.features
    }

    /// A message put together from samples kept by [`Self::encoded_features`].
    #[must_use]
    pub fn from_encoded(thing: &'a str, source: Timestamp, clock: QualityReason, features: &'a [u8]) -> Self {
        Self { thing, source, clock, features }
    }
}

impl<'a> FeatureSamples<'a> {
    /// The samples in the order in which the device sent them.
    pub fn samples(&self) -> impl Iterator<Item = SampleRef<'a>> + use<'a> {
        let mut reader = ItemReader::new(self.samples);
        std::iter::from_fn(move || {
            let property = reader.name_or_end()?;
            let quality = Quality::from_u8(reader.byte().ok()?)?;
            Some(SampleRef { property, quality, value: reader.value_or_end()? })
        })
    }
}

/// Writes a telemetry record straight into a buffer, without an owned form in between.
///
/// Call [`Self::feature`] and after it [`Self::sample`] (then write exactly one value with the writer that it returns),
/// as often as needed, and [`Self::finish`] at the end; dropping the writer early leaves a torn record behind, which
/// the caller cuts off.
#[derive(Debug)]
pub struct TelemetryWriter<'a> {
    out: &'a mut Vec<u8>,
    source: usize,
    features: usize,
    feature: Option<usize>,
}

impl<'a> TelemetryWriter<'a> {
    /// Begins a record at the end of `out`.
    pub fn begin(
        out: &'a mut Vec<u8>,
        header: &Header<'_>,
        thing: &str,
        source: Timestamp,
        clock: QualityReason,
    ) -> Self {
        let mut writer = begin(out, kind::TELEMETRY, header);
        writer.str(thing);
        let source_at = writer.position();
        writer.fixed_i64(source.as_micros());
        writer.byte(clock as u8);
        let features = writer.begin();
        Self { out, source: source_at, features, feature: None }
    }

    /// Says when the device measured, where that is learnt only after the samples.
    pub fn set_source(&mut self, source: Timestamp, clock: QualityReason) {
        let place = &mut self.out[self.source..self.source + 9];
        place[..8].copy_from_slice(&source.as_micros().to_le_bytes());
        place[8] = clock as u8;
    }

    /// Adds a feature whose samples were encoded elsewhere by [`Self::encode_sample`].
    pub fn encoded_feature(&mut self, name: &str, samples: &[u8]) {
        self.feature(name);
        self.out.extend_from_slice(samples);
    }

    /// Begins one sample in a buffer of its own; write its value with what is returned.
    pub fn encode_sample<'w>(out: &'w mut Vec<u8>, property: &str, quality: Quality) -> ItemWriter<'w> {
        let mut writer = ItemWriter::new(out);
        writer.name(property);
        writer.byte(quality as u8);
        writer
    }

    /// Begins the samples of a feature.
    pub fn feature(&mut self, name: &str) {
        self.end_feature();
        let mut writer = ItemWriter::new(self.out);
        writer.name(name);
        self.feature = Some(writer.begin());
    }

    /// Begins one sample of the feature at hand; write its value with what is returned.
    pub fn sample(&mut self, property: &str, quality: Quality) -> ItemWriter<'_> {
        Self::encode_sample(self.out, property, quality)
    }

    /// Writes the value of the sample just begun.
    pub fn value(&mut self, value: &crate::Value) {
        value.encode(self.out);
    }

    /// Completes the record.
    pub fn finish(mut self) {
        self.end_feature();
        ItemWriter::new(self.out).end(self.features);
    }

    fn end_feature(&mut self) {
        if let Some(start) = self.feature.take() {
            ItemWriter::new(self.out).end(start);
        }
    }
}
