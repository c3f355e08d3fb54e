//! Attacks the MQTT protocol of one connection: whatever bytes a client sends, cut wherever the network cuts them, nothing
//! panics, no more than one packet is ever waited for, what is passed on keeps MQTT's rules, and after a fault nothing more
//! is taken.
//!
//! Input: one byte of flags, one for the size of the pieces, then packets.
//!
//! ```text
//! flags 0..1  what comes first: nothing (the input is raw), a CONNECT of 3.1.1, or one of 5
//! flag  2     the rest is (first byte, length, body)*, whose lengths are written as MQTT wants them
//! ```
#![no_main]

use bytes::BytesMut;
use egiz_broker::Publish;
use egiz_broker::protocol::{Event, Fault, Protocol, ProtocolLimits};
use egiz_broker::topic;
use libfuzzer_sys::fuzz_target;

const LIMITS: ProtocolLimits =
    ProtocolLimits { packet_bytes_max: 512, connect_bytes_max: 256, topic_aliases_max: 4, filters_max: 4 };

const CONNECT_3: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c";
const CONNECT_5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c";

fuzz_target!(|input: &[u8]| {
    let Some((&[flags, piece], rest)) = input.split_first_chunk::<2>() else { return };
    let mut bytes = match flags & 3 {
        1 => CONNECT_3.to_vec(),
        2 => CONNECT_5.to_vec(),
        _ => Vec::new(),
    };
    if flags & 4 == 0 {
        bytes.extend_from_slice(rest);
    } else {
        push_packets(rest, &mut bytes);
    }
    let whole = run(&bytes, bytes.len().max(1));
    let in_pieces = run(&bytes, usize::from(piece) % 61 + 1);
    assert_eq!(whole, in_pieces, "how the bytes are cut makes no difference");
});

/// Frames packets, so that a changed body does not make the whole stream unreadable.
fn push_packets(mut rest: &[u8], out: &mut Vec<u8>) {
    while let Some((&[first, length], behind)) = rest.split_first_chunk::<2>() {
        let (body, behind) = behind.split_at(usize::from(length).min(behind.len()));
        out.push(first);
        if body.len() < 128 {
            out.push(body.len() as u8);
        } else {
            out.extend_from_slice(&[body.len() as u8 | 0x80, (body.len() >> 7) as u8]);
        }
        out.extend_from_slice(body);
        rest = behind;
    }
}

/// What comes of `bytes` in pieces of `piece` bytes.
fn run(bytes: &[u8], piece: usize) -> (Vec<String>, Option<Fault>) {
    let mut protocol = Protocol::new(LIMITS);
    let mut buffer = BytesMut::new();
    let mut events = Vec::new();
    for part in bytes.chunks(piece) {
        buffer.extend_from_slice(part);
        loop {
            let bytes_max =
                if protocol.version().is_some() { LIMITS.packet_bytes_max } else { LIMITS.connect_bytes_max };
            match protocol.receive(&mut buffer) {
                Ok(Some(event)) => {
                    check(&event, events.is_empty());
                    events.push(format!("{event:?}"));
                }
                Ok(None) => {
                    assert!(buffer.len() < bytes_max, "{} bytes are waiting", buffer.len());
                    break;
                }
                Err(fault) => {
                    for _ in 0..2 {
                        let after = protocol.receive(&mut buffer);
                        assert!(after.is_err(), "after {fault} it takes {after:?}");
                        buffer.extend_from_slice(b"\xc0\x00");
                    }
                    return (events, Some(fault));
                }
            }
        }
    }
    (events, None)
}

/// What the broker may rely on.
fn check(event: &Event, is_first: bool) {
    assert_eq!(matches!(event, Event::Connect(_)), is_first, "CONNECT comes first and once: {event:?}");
    match event {
        Event::Connect(connect) => {
            assert!(connect.receive_max > 0);
            connect.will.iter().for_each(check_publish);
        }
        Event::Publish(publish, id) => {
            assert_eq!(publish.qos() > 0, id.is_some());
            check_publish(publish);
        }
        Event::Subscribe { filters, .. } => {
            assert!(!filters.is_empty() && filters.len() <= LIMITS.filters_max);
            // A filter that is none is refused one by one, in the SUBACK.
            assert!(filters.iter().all(|subscribe| subscribe.qos <= 2), "{filters:?}");
        }
        Event::Unsubscribe { filters, .. } => {
            assert!(!filters.is_empty() && filters.len() <= LIMITS.filters_max);
        }
        Event::Release(_) | Event::Acknowledge(_) | Event::Received(..) | Event::Complete(_) => {}
        Event::Ping | Event::Disconnect { .. } => {}
    }
}

/// A message that can be passed on, and kept and found again.
fn check_publish(publish: &Publish) {
    assert!(topic::is_name(publish.topic()), "{publish:?}");
    assert!(publish.qos() <= 2);
    assert!(publish.byte_len() >= publish.payload().len());
    let kept = Publish::new(publish.topic(), publish.payload().clone(), publish.qos(), publish.retain())
        .with_encoded_properties(&publish.encoded_properties());
    assert_eq!(kept, *publish, "kept properties are read back");
}
