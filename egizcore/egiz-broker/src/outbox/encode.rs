//! PUBLISH as bytes.

use std::num::NonZeroU16;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::Outgoing;
use crate::message::Publish;
use crate::properties::Properties;

/// Appends a PUBLISH of 3.1.1.
pub(super) fn publish_v3(buffer: &mut BytesMut, message: &Publish, how: &Outgoing<'_>) {
    put_publish(buffer, message, how, &message.topic, None);
}

/// Appends a PUBLISH of 5.0; with a `known` alias the topic is left out.
pub(super) fn publish_v5(
    buffer: &mut BytesMut,
    message: &Publish,
    how: &Outgoing<'_>,
    alias: Option<NonZeroU16>,
    known: bool,
) {
    let topic = if known { "" } else { &*message.topic };
    let mut section = Vec::new();
    if let Some(alias) = alias {
        section.put_u8(0x23);
        section.put_u16(alias.get());
    }
    if let Some(seconds) = how.time_left_s {
        section.put_u8(0x02);
        section.put_u32(seconds);
    }
    for identifier in how.identifiers {
        section.put_u8(0x0B);
        put_length(&mut section, identifier.get() as usize);
    }
    if let Some(properties) = &message.properties {
        put_properties(&mut section, properties);
    }
    put_publish(buffer, message, how, topic, Some(&section));
}

/// What the publisher said, without the expiry, of which some has passed.
fn put_properties(section: &mut Vec<u8>, properties: &Properties) {
    if let Some(format) = properties.payload_format {
        section.put_slice(&[0x01, format]);
    }
    let content_type = properties.content_type.as_ref().map(ByteString::as_bytes);
    let response_topic = properties.response_topic.as_ref().map(ByteString::as_bytes);
    for (identifier, said) in
        [(0x03, content_type), (0x08, response_topic), (0x09, properties.correlation_data.as_ref())]
    {
        if let Some(bytes) = said {
            section.put_u8(identifier);
            put_counted(section, bytes);
        }
    }
    for (name, value) in &properties.user_properties {
        section.put_u8(0x26);
        put_counted(section, name.as_bytes());
        put_counted(section, value.as_bytes());
    }
}

/// With a property section in 5.0.
fn put_publish(
    buffer: &mut BytesMut,
    message: &Publish,
    how: &Outgoing<'_>,
    topic: &str,
    section: Option<&[u8]>,
) {
    let id_bytes = if how.id.is_some() { 2 } else { 0 };
    let section_bytes = section.map_or(0, |section| length_bytes(section.len()) + section.len());
    let length = 2 + topic.len() + id_bytes + section_bytes + message.payload.len();
    buffer.reserve(length + 5);
    buffer.put_u8(0x30 | (u8::from(how.again) << 3) | (how.qos << 1) | u8::from(how.retain));
    put_length(buffer, length);
    put_counted(buffer, topic.as_bytes());
    if let Some(id) = how.id {
        buffer.put_u16(id.get());
    }
    if let Some(section) = section {
        put_length(buffer, section.len());
        buffer.put_slice(section);
    }
    buffer.put_slice(&message.payload);
}

/// Bytes that came with their length before them, and so are not too many.
fn put_counted(buffer: &mut impl BufMut, bytes: &[u8]) {
    buffer.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    buffer.put_slice(bytes);
}

/// A variable byte integer (1.5.5).
fn put_length(buffer: &mut impl BufMut, mut length: usize) {
    loop {
        let octet = (length % 128) as u8;
        length /= 128;
        buffer.put_u8(if length > 0 { octet | 0x80 } else { octet });
        if length == 0 {
            return;
        }
    }
}

fn length_bytes(length: usize) -> usize {
    match length {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}
