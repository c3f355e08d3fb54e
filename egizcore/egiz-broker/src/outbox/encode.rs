//! PUBLISH as bytes. By hand where a message carries no properties, which is nearly always; by the codec where it does.

use std::num::NonZeroU16;

use bytes::{BufMut as _, BytesMut};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{self, PublishProperties};
use tokio_util::codec::Encoder as _;

use super::Outgoing;
use crate::message::Publish;

/// Appends a PUBLISH of 3.1.1.
pub(super) fn publish_v3(buffer: &mut BytesMut, message: &Publish, how: &Outgoing<'_>) {
    plain(buffer, message, how, &message.topic, &[]);
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
    if message.properties.is_none() && how.identifiers.is_empty() {
        return match alias {
            None => plain(buffer, message, how, topic, &[0]),
            Some(alias) => {
                let [high, low] = alias.get().to_be_bytes();
                plain(buffer, message, how, topic, &[3, 0x23, high, low]);
            }
        };
    }
    let properties = PublishProperties {
        topic_alias: alias,
        subscription_ids: how.identifiers.to_vec(),
        message_expiry_interval: how.time_left_s,
        ..message.properties.as_deref().cloned().unwrap_or_default()
    };
    let packet = v5::Packet::Publish(Box::new(rmqtt_codec::types::Publish {
        dup: how.again,
        retain: how.retain,
        qos: match how.qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        },
        topic: topic.into(),
        packet_id: how.id,
        payload: message.payload.clone(),
        properties: Some(properties),
    }));
    let before = buffer.len();
    if v5::Codec::default().encode(packet, buffer).is_err() {
        tracing::error!(topic = &*message.topic, "a message's properties could not be encoded");
        buffer.truncate(before);
    }
}

/// `properties` is the whole property section, with its length.
fn plain(buffer: &mut BytesMut, message: &Publish, how: &Outgoing<'_>, topic: &str, properties: &[u8]) {
    let id_bytes = if how.id.is_some() { 2 } else { 0 };
    let length = 2 + topic.len() + id_bytes + properties.len() + message.payload.len();
    buffer.reserve(length + 5);
    buffer.put_u8(0x30 | (u8::from(how.again) << 3) | (how.qos << 1) | u8::from(how.retain));
    let mut rest = length;
    loop {
        let octet = (rest % 128) as u8;
        rest /= 128;
        buffer.put_u8(if rest > 0 { octet | 0x80 } else { octet });
        if rest == 0 {
            break;
        }
    }
    buffer.put_u16(u16::try_from(topic.len()).unwrap_or(u16::MAX));
    buffer.put_slice(topic.as_bytes());
    if let Some(id) = how.id {
        buffer.put_u16(id.get());
    }
    buffer.put_slice(properties);
    buffer.put_slice(&message.payload);
}
