//! What happens to a factory, one record at a time: the only input of the twin engine.
//!
//! A record is decoded borrowed ([`Record::decode`]) from the bytes that the journal keeps, live and on replay alike,
//! so there is one path. Time comes with the record: [`Header::received`] is when the platform took it in, and a
//! telemetry record has the device's own time besides.
//!
//! Records say what happened or what was asked for, never what came of it: whether a conditional write applies is
//! decided by the engine when it gets there, identically on every replica.

pub mod format;
mod telemetry;
mod write;

pub use format::DecodeError;
pub use telemetry::{FeatureSamples, SampleRef, Telemetry, TelemetryWriter};
pub use write::{Preconditions, ThingWrite, WriteOperation};

use crate::Timestamp;
use format::{ItemReader, ItemWriter};

/// What every record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// When the platform took it in.
    pub received: Timestamp,
    /// Who caused it: a device's or user's name, or a part of the platform. At most 256 bytes.
    pub principal: &'a str,
    /// The correlation id that the cause brought along, or empty. At most 128 bytes.
    pub correlation: &'a str,
}

/// A record with its header.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// When, by whom, in which context.
    pub header: Header<'a>,
    /// What.
    pub body: Body<'a>,
}

/// What a record says.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// A device measured something.
    Telemetry(Telemetry<'a>),
    /// Somebody asks to create, change or delete a Thing or a part of it.
    ThingWrite(ThingWrite<'a>),
    /// A device came or went.
    Presence {
        /// The Thing that the device feeds.
        thing: &'a str,
        /// Whether it is there now.
        online: bool,
    },
    /// Time has passed; silent Things may have become stale.
    Tick,
    /// A template was put in force, or withdrawn where the JSON is empty.
    Template {
        /// The definition that Things refer to.
        definition: &'a str,
        /// The template as JSON; the engine reads units, ranges and the stale deadline.
        json: &'a str,
    },
    /// A discovered device is to be forgotten; it is heard anew if it sends again.
    Forget {
        /// The id that it would have had.
        thing: &'a str,
    },
    /// An MQTT message that the broker must find again: retained, owed to a subscriber, or outside the telemetry topics.
    Message(Message<'a>),
    /// The MQTT broker's own notes on its sessions, in its own encoding.
    Broker(&'a [u8]),
}

/// An MQTT message as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Quality of service it was published with, 0 to 2.
    pub qos: u8,
    /// Whether it replaces the topic's retained message (an empty payload removes it).
    pub retain: bool,
    /// The payload as sent.
    pub payload: &'a [u8],
    /// MQTT 5 properties to pass on, in the broker's own encoding.
    pub properties: &'a [u8],
}

/// Numbers of the record kinds on disk; never reused.
mod kind {
    pub(super) const TELEMETRY: u8 = 1;
    pub(super) const THING_WRITE: u8 = 2;
    pub(super) const PRESENCE: u8 = 3;
    pub(super) const TICK: u8 = 4;
    pub(super) const TEMPLATE: u8 = 5;
    pub(super) const FORGET: u8 = 6;
    pub(super) const MESSAGE: u8 = 7;
    pub(super) const BROKER: u8 = 8;
}

impl<'a> Record<'a> {
    /// Reads a record from the bytes that the journal kept. Everything inside is checked here, so that walking through
    /// it later cannot fail.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are cut short, malformed, or of a kind that this version does not know.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::decode_with(bytes, Telemetry::decode)
    }

    /// Reads a record that was decoded before, and does not check a device's samples a second time. Where it is another, walking
    /// through its samples ends early.
    ///
    /// # Errors
    /// As for [`Self::decode`].
    pub fn decode_again(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::decode_with(bytes, Telemetry::decode_again)
    }

    fn decode_with(
        bytes: &'a [u8],
        telemetry: impl FnOnce(&mut ItemReader<'a>) -> Result<Telemetry<'a>, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let mut reader = ItemReader::new(bytes);
        let kind = reader.byte()?;
        let header = Header {
            received: Timestamp::from_micros(reader.fixed_i64()?),
            principal: reader.str()?,
            correlation: reader.str()?,
        };
        let body = match kind {
            kind::TELEMETRY => Body::Telemetry(telemetry(&mut reader)?),
            kind::THING_WRITE => Body::ThingWrite(ThingWrite::decode(&mut reader)?),
            kind::PRESENCE => Body::Presence { thing: reader.str()?, online: reader.flag()? },
            kind::TICK => Body::Tick,
            kind::TEMPLATE => Body::Template { definition: reader.str()?, json: reader.str()? },
            kind::FORGET => Body::Forget { thing: reader.str()? },
            kind::MESSAGE => Body::Message(Message {
                topic: reader.str()?,
                qos: reader.byte()?,
                retain: reader.flag()?,
                payload: reader.bytes()?,
                properties: reader.bytes()?,
            }),
            kind::BROKER => Body::Broker(reader.bytes()?),
            other => return Err(DecodeError::UnknownKind(other)),
        };
        if reader.is_empty() { Ok(Self { header, body }) } else { Err(DecodeError::Trailing) }
    }

    /// Appends the record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.body {
            Body::Telemetry(telemetry) => {
                begin(out, kind::TELEMETRY, &self.header);
                telemetry.encode(out);
            }
            Body::ThingWrite(write) => {
                begin(out, kind::THING_WRITE, &self.header);
                write.encode(out);
            }
            Body::Presence { thing, online } => {
                let mut writer = begin(out, kind::PRESENCE, &self.header);
                writer.str(thing);
                writer.flag(*online);
            }
            Body::Tick => {
                begin(out, kind::TICK, &self.header);
            }
            Body::Template { definition, json } => {
                let mut writer = begin(out, kind::TEMPLATE, &self.header);
                writer.str(definition);
                writer.str(json);
            }
            Body::Forget { thing } => begin(out, kind::FORGET, &self.header).str(thing),
            Body::Message(message) => {
                let mut writer = begin(out, kind::MESSAGE, &self.header);
                writer.str(message.topic);
                writer.byte(message.qos);
                writer.flag(message.retain);
                writer.bytes(message.payload);
                writer.bytes(message.properties);
            }
            Body::Broker(notes) => begin(out, kind::BROKER, &self.header).bytes(notes),
        }
    }

    /// Reads a record only if it is a [`Body::Message`]: what walks over many records in search of messages does not look
    /// into the others.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_message(bytes: &'a [u8]) -> Result<Option<(Header<'a>, Message<'a>)>, DecodeError> {
        if bytes.first() != Some(&kind::MESSAGE) {
            return Ok(None);
        }
        let record = Self::decode(bytes)?;
        let Body::Message(message) = record.body else { return Ok(None) };
        Ok(Some((record.header, message)))
    }

    /// The record's own buffer.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

fn begin<'w>(out: &'w mut Vec<u8>, kind: u8, header: &Header<'_>) -> ItemWriter<'w> {
    let mut writer = ItemWriter::new(out);
    writer.byte(kind);
    writer.fixed_i64(header.received.as_micros());
    writer.str(header.principal);
    writer.str(header.correlation);
    writer
}

#[cfg(test)]
mod tests;
