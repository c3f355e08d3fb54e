//! What decoding and acknowledging cost with `rmqtt-codec` and with `mqtt-protocol-core`, and what the latter's connection
//! does with acknowledgements that come later. It belongs to ADR 0003 and to nothing else, and is no part of the build:
//!
//! ```text
//! cargo run --release --manifest-path docs/adr/0003-codec-spike/Cargo.toml
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use bytes::{BufMut as _, BytesMut};
use mqtt_protocol_core::mqtt::Version;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Connection, Event, role};
use mqtt_protocol_core::mqtt::packet::Packet;
use tokio_util::codec::Decoder as _;

struct Counting;
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        HELD.fetch_add(layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const TOPIC: &[u8] = b"sensors/factory/oven-001/telemetry";
const PACKETS: usize = 200;
const ROUNDS: usize = 5_000;

fn connect(level: u8) -> Vec<u8> {
    let mut body = vec![0, 4];
    body.extend_from_slice(b"MQTT");
    body.extend_from_slice(&[level, 2, 0, 0]);
    if level == 5 {
        body.push(0);
    }
    body.extend_from_slice(&[0, 1, b'a']);
    let mut out = vec![0x10, u8::try_from(body.len()).unwrap()];
    out.extend(body);
    out
}

/// `PACKETS` packets of a 300-byte payload, with ids from `first` on.
fn publishes(level: u8, qos: u8, first: u16) -> Vec<u8> {
    let mut out = Vec::new();
    for id in 0..PACKETS {
        let mut body = Vec::new();
        body.put_u16(u16::try_from(TOPIC.len()).unwrap());
        body.extend_from_slice(TOPIC);
        if qos > 0 {
            body.put_u16(first + u16::try_from(id).unwrap());
        }
        if level == 5 {
            body.push(0);
        }
        body.resize(body.len() + 300, b'x');
        out.push(0x30 | (qos << 1));
        out.push((body.len() % 128) as u8 | 0x80);
        out.push((body.len() / 128) as u8);
        out.extend(body);
    }
    out
}

fn report(what: &str, packets: usize, work: impl FnOnce()) {
    let (allocations, start) = (ALLOCATIONS.load(Relaxed), Instant::now());
    work();
    let each = start.elapsed().as_nanos() as f64 / packets as f64;
    let allocations = (ALLOCATIONS.load(Relaxed) - allocations) as f64 / packets as f64;
    println!("{what:<58} {each:>7.0} ns/packet {allocations:>6.2} allocations/packet");
}

fn rmqtt(level: u8, qos: u8) {
    let bytes = publishes(level, qos, 1);
    let mut codec = rmqtt_codec(level);
    report(&format!("rmqtt-codec 0.3.1, MQTT {level}, QoS {qos}: decode"), PACKETS * ROUNDS, || {
        for _ in 0..ROUNDS {
            // As from a socket: the read puts bytes into a buffer, the packets are slices of it.
            let mut buffer = BytesMut::from(&bytes[..]);
            let mut seen = 0;
            while let Some(packet) = codec.decode(&mut buffer).unwrap() {
                black_box(packet);
                seen += 1;
            }
            assert_eq!(seen, PACKETS);
        }
    });
}

fn rmqtt_codec(level: u8) -> rmqtt_codec::MqttCodec {
    if level == 5 {
        rmqtt_codec::MqttCodec::V5(rmqtt_codec::v5::Codec::new(0, 0))
    } else {
        rmqtt_codec::MqttCodec::V3(rmqtt_codec::v3::Codec::new(0))
    }
}

fn connected(level: u8) -> Connection<role::Server> {
    use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
    use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode};
    let version = if level == 5 { Version::V5_0 } else { Version::V3_1_1 };
    let mut connection = Connection::<role::Server>::new(version);
    let bytes = connect(level);
    let events = connection.recv(&mut Cursor::new(&bytes[..]));
    assert!(events.iter().any(|event| matches!(event, Event::NotifyPacketReceived(_))), "{events:?}");
    let answer: Packet = if level == 5 {
        v5_0::Connack::builder()
            .session_present(false)
            .reason_code(ConnectReasonCode::Success)
            .build()
            .unwrap()
            .into()
    } else {
        v3_1_1::Connack::builder()
            .session_present(false)
            .return_code(ConnectReturnCode::Accepted)
            .build()
            .unwrap()
            .into()
    };
    connection.send(answer);
    connection
}

fn acknowledge(level: u8, id: u16) -> Packet {
    use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
    if level == 5 {
        v5_0::Puback::builder().packet_id(id).build().unwrap().into()
    } else {
        v3_1_1::Puback::builder().packet_id(id).build().unwrap().into()
    }
}

fn core(level: u8, qos: u8) {
    let bytes = publishes(level, qos, 1);
    let mut connection = connected(level);
    report(
        &format!(
            "mqtt-protocol-core 0.7.9, MQTT {level}, QoS {qos}: {}",
            if qos == 0 { "decode" } else { "decode, acks 200 later" }
        ),
        PACKETS * ROUNDS,
        || {
            for _ in 0..ROUNDS {
                let buffer = BytesMut::from(&bytes[..]);
                let mut cursor = Cursor::new(&buffer[..]);
                let mut ids = Vec::with_capacity(PACKETS);
                while (cursor.position() as usize) < buffer.len() {
                    for event in connection.recv(&mut cursor) {
                        match event {
                            Event::NotifyPacketReceived(Packet::V3_1_1Publish(packet)) => {
                                ids.extend(packet.packet_id());
                                black_box(packet);
                            }
                            Event::NotifyPacketReceived(Packet::V5_0Publish(packet)) => {
                                ids.extend(packet.packet_id());
                                black_box(packet);
                            }
                            Event::RequestTimerCancel(_) | Event::RequestTimerReset { .. } => {}
                            other => panic!("{other:?}"),
                        }
                    }
                }
                for id in ids {
                    black_box(connection.send(acknowledge(level, id)));
                }
            }
        },
    );
}

/// What happens to acknowledgements that wait, and in which order they may go.
fn later(level: u8) {
    let mut connection = connected(level);
    let bytes = publishes(level, 1, 1);
    let mut cursor = Cursor::new(&bytes[..]);
    while (cursor.position() as usize) < bytes.len() {
        connection.recv(&mut cursor);
    }
    let backwards = connection.send(acknowledge(level, 200));
    let unknown = connection.send(acknowledge(level, 999));
    println!(
        "mqtt-protocol-core, MQTT {level}: 200 unanswered; an ack for the last first -> {}; one for an id never seen -> {}",
        named(&backwards),
        named(&unknown)
    );
}

/// A message of QoS 2 that comes again while the first still waits for its commit.
fn again(level: u8) {
    let mut connection = connected(level);
    let mut bytes = publishes(level, 2, 1);
    bytes.truncate(bytes.len() / PACKETS);
    let first = connection.recv(&mut Cursor::new(&bytes[..]));
    bytes[0] |= 8;
    let second = connection.recv(&mut Cursor::new(&bytes[..]));
    println!(
        "mqtt-protocol-core, MQTT {level}: QoS 2, nothing answered yet: {}; the same again -> {}",
        named(&first),
        named(&second)
    );
}

/// What a message to a client costs until it is acknowledged.
fn under_way() {
    use mqtt_protocol_core::mqtt::packet::{Qos, v3_1_1};
    // Without the flag for a clean session, so that the session outlives the connection.
    let mut bytes = connect(4);
    bytes[9] = 0;
    let mut connection = Connection::<role::Server>::new(Version::V3_1_1);
    connection.recv(&mut Cursor::new(&bytes[..]));
    use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
    connection.send(
        v3_1_1::Connack::builder()
            .session_present(false)
            .return_code(ConnectReturnCode::Accepted)
            .build()
            .unwrap()
            .into(),
    );
    let before = HELD.load(Relaxed);
    for _ in 0..1_000 {
        let id = connection.acquire_packet_id().unwrap();
        let packet = v3_1_1::Publish::builder()
            .topic_name("sensors/factory/oven-001/telemetry")
            .unwrap()
            .qos(Qos::AtLeastOnce)
            .packet_id(id)
            .payload(vec![b'x'; 300])
            .build()
            .unwrap();
        drop(connection.send(packet.into()));
    }
    let each = (HELD.load(Relaxed) - before) / 1_000;
    println!(
        "mqtt-protocol-core, a message of 300 bytes on its way to a client: {each} bytes, {} messages in the store",
        connection.get_stored_packets().len()
    );
}

fn named(events: &[Event]) -> String {
    let names: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::RequestSendPacket { packet, .. } => format!("sent {:?}", packet.packet_type()),
            Event::NotifyPacketReceived(_) => "received".to_owned(),
            Event::NotifyError(error) => format!("refused ({error:?})"),
            other => format!("{other:?}").chars().take(40).collect(),
        })
        .collect();
    names.join(", ")
}

fn idle() {
    let before = HELD.load(Relaxed);
    let held: Vec<_> = (0..1_000).map(|_| connected(5)).collect();
    let heap = (HELD.load(Relaxed) - before) / held.len();
    println!(
        "mqtt-protocol-core, one idle connection: {} bytes, its own {} included",
        heap,
        size_of::<Connection<role::Server>>()
    );
    let before = HELD.load(Relaxed);
    let held: Vec<_> = (0..1_000).map(|_| rmqtt_codec(5)).collect();
    let heap = (HELD.load(Relaxed) - before) / held.len();
    println!(
        "rmqtt-codec, one codec: {} bytes, its own {} included",
        heap,
        size_of::<rmqtt_codec::MqttCodec>()
    );
}

fn main() {
    for level in [4, 5] {
        for qos in [0, 1] {
            rmqtt(level, qos);
            core(level, qos);
        }
        later(level);
        again(level);
    }
    under_way();
    idle();
}
