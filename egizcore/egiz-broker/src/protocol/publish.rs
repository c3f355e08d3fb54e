//! PUBLISH of 5.0 as bytes, read by hand: the codec does not say all that is to be passed on; see `properties`.

use std::num::NonZeroU16;

use bytes::Bytes;
use bytestring::ByteString;

use super::walk::Walk;
use super::{Fault, MALFORMED, PROTOCOL_ERROR, TOPIC_ALIAS};
use crate::properties::Properties;

/// A PUBLISH as it was sent. What of it is kept is a part of the read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Empty where an alias stands for it.
    pub(super) topic: ByteString,
    pub(super) topic_alias: Option<NonZeroU16>,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) packet_id: Option<NonZeroU16>,
    /// `None` where nothing is said.
    pub(super) properties: Option<Box<Properties>>,
    pub(super) payload: Bytes,
}

/// Reads what follows the fixed header, whose first byte is `first`.
///
/// # Errors
/// [`MALFORMED`], [`PROTOCOL_ERROR`], [`TOPIC_ALIAS`].
pub(super) fn read(first: u8, body: &Bytes) -> Result<Sent, Fault> {
    let qos = first >> 1 & 3;
    // Quality 3 is none (MQTT-3.3.1-4), and DUP has no meaning with QoS 0 (MQTT-3.3.1-2).
    if qos == 3 || (qos == 0 && first & 8 != 0) {
        return Err(MALFORMED);
    }
    let mut rest = Walk(body);
    let topic = text(body, rest.counted()?)?;
    let packet_id = match qos {
        0 => None,
        _ => Some(NonZeroU16::new(u16::from_be_bytes(rest.array()?)).ok_or(MALFORMED)?),
    };
    let (properties, topic_alias) = read_properties(body, rest.section()?)?;
    let is_plain = properties == Properties::default();
    Ok(Sent {
        topic,
        topic_alias,
        qos,
        retain: first & 1 != 0,
        packet_id,
        properties: (!is_plain).then(|| Box::new(properties)),
        payload: body.slice_ref(rest.0),
    })
}

/// The publisher's properties in a section of `body`, and the topic alias.
fn read_properties(body: &Bytes, section: &[u8]) -> Result<(Properties, Option<NonZeroU16>), Fault> {
    let (mut said, mut topic_alias) = (Properties::default(), None);
    let mut rest = Walk(section);
    while !rest.0.is_empty() {
        let [identifier] = rest.array()?;
        match identifier {
            0x01 => {
                let [format @ 0..=1] = rest.array()? else { return Err(MALFORMED) };
                once(&mut said.payload_format, format)?;
            }
            0x02 => once(&mut said.message_expiry_interval, u32::from_be_bytes(rest.array()?))?,
            0x03 => once(&mut said.content_type, text(body, rest.counted()?)?)?,
            0x08 => once(&mut said.response_topic, text(body, rest.counted()?)?)?,
            0x09 => once(&mut said.correlation_data, body.slice_ref(rest.counted()?))?,
            0x23 => {
                // Alias 0 is none (MQTT-3.3.2-8).
                let alias = NonZeroU16::new(u16::from_be_bytes(rest.array()?)).ok_or(TOPIC_ALIAS)?;
                once(&mut topic_alias, alias)?;
            }
            0x26 => {
                let name = text(body, rest.counted()?)?;
                said.user_properties.push((name, text(body, rest.counted()?)?));
            }
            // A client does not send subscription identifiers (MQTT-3.3.4-6).
            0x0B => return Err(PROTOCOL_ERROR),
            _ => return Err(MALFORMED),
        }
    }
    Ok((said, topic_alias))
}

fn text(body: &Bytes, part: &[u8]) -> Result<ByteString, Fault> {
    ByteString::try_from(body.slice_ref(part)).map_err(|_| MALFORMED)
}

/// A property that is said a second time is an error.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(PROTOCOL_ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Publish;
    use crate::outbox::{Outbox, Outgoing, Takes};
    use crate::protocol::Version;
    use bytes::{Buf as _, BytesMut};
    use proptest::prelude::*;

    fn check(first: u8, body: &'static [u8], expected: Result<Option<Properties>, Fault>) {
        let found = read(first, &Bytes::from_static(body));
        let found = found.map(|sent| sent.properties.map(|properties| *properties));
        assert_eq!(found, expected, "{body:02x?}");
    }

    #[test]
    fn mqtt5_3_3_2_4_a_payload_format_of_0_is_not_none() {
        let format = |format| Properties { payload_format: Some(format), ..Properties::default() };
        check(0x30, b"\x00\x01a\x00hi", Ok(None));
        check(0x30, b"\x00\x01a\x02\x01\x00hi", Ok(Some(format(0))));
        check(0x30, b"\x00\x01a\x02\x01\x01hi", Ok(Some(format(1))));
        check(0x30, b"\x00\x01a\x02\x01\x02hi", Err(MALFORMED));
    }

    #[test]
    fn mqtt5_3_3_2_properties_are_said_once_and_whole() {
        check(0x30, b"\x00\x01a\x04\x01\x00\x01\x00", Err(PROTOCOL_ERROR));
        check(0x30, b"\x00\x01a\x06\x23\x00\x01\x23\x00\x01", Err(PROTOCOL_ERROR));
        check(0x30, b"\x00\x01a\x03\x23\x00\x00", Err(TOPIC_ALIAS));
        check(0x30, b"\x00\x01a\x02\x0B\x01", Err(PROTOCOL_ERROR));
        // A property of another packet; one that is longer than its section; a section that is longer than the packet.
        check(0x30, b"\x00\x01a\x03\x21\x00\x01", Err(MALFORMED));
        check(0x30, b"\x00\x01a\x03\x02\x00\x00\x00\x01", Err(MALFORMED));
        check(0x30, b"\x00\x01a\x03\x01\x00", Err(MALFORMED));
        check(0x30, b"\x00\x01a\xff\xff\xff\xff\x01", Err(MALFORMED));
        check(0x30, b"\x00\x01a", Err(MALFORMED));
        // Quality 3; DUP with QoS 0; packet id 0.
        check(0x36, b"\x00\x01a\x00\x01\x00", Err(MALFORMED));
        check(0x38, b"\x00\x01a\x00", Err(MALFORMED));
        check(0x32, b"\x00\x01a\x00\x00\x00", Err(MALFORMED));
    }

    fn text() -> impl Strategy<Value = ByteString> {
        // Short ones, and some whose length takes two bytes, so that the section's does, too.
        prop_oneof!["[a-zü]{0,4}", "x{200,300}"].prop_map(ByteString::from)
    }

    fn properties() -> impl Strategy<Value = Properties> {
        let bytes = prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from);
        let said = (
            prop::option::of(0..=1_u8),
            prop::option::of(any::<u32>()),
            prop::option::of(text()),
            prop::option::of(text()),
            prop::option::of(bytes),
            prop::collection::vec((text(), text()), 0..4),
        );
        said.prop_map(|(payload_format, expiry, content_type, response_topic, correlation_data, users)| {
            Properties {
                payload_format,
                message_expiry_interval: expiry,
                content_type,
                response_topic,
                correlation_data,
                user_properties: users,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_for_a_subscriber_is_what_was_read(properties in properties(), qos in 0..=2_u8, retain: bool, takes_aliases: bool) {
            let is_plain = properties == Properties::default();
            let message = Publish {
                properties: (!is_plain).then(|| Box::new(properties.clone())),
                ..Publish::new("a/b", Bytes::from_static(b"hi"), qos, retain)
            };
            let takes = Takes {
                version: Version::V5,
                packet_bytes_max: None,
                topic_aliases_max: u16::from(takes_aliases),
            };
            let outbox = Outbox::new(takes, 1, usize::MAX);
            let id = NonZeroU16::new(7).filter(|_| qos > 0);
            let time_left_s = properties.message_expiry_interval;
            outbox.publish(&message, &Outgoing { qos, retain, id, time_left_s, ..Outgoing::default() });
            let mut written = outbox.take(BytesMut::new()).freeze();
            let frame = super::super::strict::frame(&written, usize::MAX).expect("it is well formed").expect("it is whole");
            prop_assert_eq!(frame.total, written.len());
            written.advance(frame.header);
            let expected = Sent {
                topic: message.topic,
                topic_alias: NonZeroU16::new(1).filter(|_| takes_aliases),
                qos,
                retain,
                packet_id: id,
                properties: message.properties,
                payload: message.payload,
            };
            prop_assert_eq!(read(frame.first, &written), Ok(expected));
        }
    }
}
