use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0xA5, 0x01, 0x00, 0x7E];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).expect("checked")),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(length).expect("checked").to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made")
}

fn pair() -> (DuplexStream, Frames<DuplexStream>) {
    let (client, server) = duplex(1 << 20);
    (client, Frames::new(server))
}

/// What the server reads of these bytes, and what it answers; the client says no more.
fn exchange(bytes: &[u8]) -> (Result<Vec<u8>, io::ErrorKind>, Vec<u8>) {
    runtime().block_on(async {
        let (mut client, mut frames) = pair();
        client.write_all(bytes).await.expect("it fits");
        client.shutdown().await.expect("it is open");
        let mut read = Vec::new();
        let result = frames.read_to_end(&mut read).await;
        drop(frames);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("it ends");
        (result.map(|_| read).map_err(|error| error.kind()), answer)
    })
}

#[test]
fn fragments_and_pings_between_them_are_one_stream() {
    let mut bytes = frame(0x02, b"one ");
    bytes.extend(frame(0x89, b"there?"));
    bytes.extend(frame(0x00, b""));
    bytes.extend(frame(0x8A, b"an answer that nobody asked for"));
    bytes.extend(frame(0x80, b"two "));
    bytes.extend(frame(0x82, b"three"));
    let (read, answer) = exchange(&bytes);
    assert_eq!(read, Ok(b"one two three".to_vec()));
    assert_eq!(answer, [&[0x8A, 6][..], b"there?"].concat());
}

#[test]
fn a_close_ends_the_stream_and_is_answered() {
    let mut bytes = frame(0x82, b"last");
    bytes.extend(frame(0x88, &[0x03, 0xE8]));
    bytes.extend(frame(0x82, b"too late"));
    assert_eq!(exchange(&bytes), (Ok(b"last".to_vec()), vec![0x88, 2, 0x03, 0xE8]));
}

#[test]
fn mqtt_6_0_0_1_anything_but_binary_data_ends_it_with_the_reason() {
    let mut unmasked = frame(0x82, b"x");
    unmasked[1] = 1;
    let mut endless = frame(0x82, &[0; 70_000]);
    endless[2] = 0x80;
    for (bytes, code) in [
        (frame(0x81, b"text"), UNSUPPORTED_DATA),
        (frame(0x01, b"text in fragments"), UNSUPPORTED_DATA),
        (frame(0x80, b"goes on from nothing"), PROTOCOL_ERROR),
        ([frame(0x02, b"a"), frame(0x82, b"begun anew")].concat(), PROTOCOL_ERROR),
        (frame(0xC2, b"compressed"), PROTOCOL_ERROR),
        (frame(0x83, b"unknown"), PROTOCOL_ERROR),
        (frame(0x09, b"a ping in fragments"), PROTOCOL_ERROR),
        (frame(0x89, &[0; 126]), PROTOCOL_ERROR),
        (unmasked, PROTOCOL_ERROR),
        (endless, PROTOCOL_ERROR),
    ] {
        let [high, low] = code.to_be_bytes();
        let answer = (Err(io::ErrorKind::InvalidData), vec![0x88, 2, high, low]);
        assert_eq!(exchange(&bytes), answer, "{:02x?}", &bytes[..6]);
    }
}

#[test]
fn what_came_before_a_fault_is_read() {
    runtime().block_on(async {
        let (mut client, mut frames) = pair();
        client.write_all(&[frame(0x82, b"good"), frame(0x81, b"bad")].concat()).await.expect("it fits");
        let mut read = [0; 100];
        assert_eq!(frames.read(&mut read).await.expect("the good part"), 4);
        assert_eq!(
            frames.read(&mut read).await.map_err(|error| error.kind()),
            Err(io::ErrorKind::InvalidData)
        );
    });
}

#[test]
fn a_ping_is_answered_while_the_writer_has_nothing_to_say_and_never_inside_a_frame() {
    runtime().block_on(async {
        // So small that a frame is written in parts.
        let (client, server) = duplex(16);
        let (mut reader, mut writer) = tokio::io::split(Frames::new(server));
        let (mut from_server, mut to_server) = tokio::io::split(client);
        let payload = vec![7; 1000];
        let write = async { writer.write_all(&payload).await.expect("it is read") };
        let pings = async {
            for _ in 0..20 {
                to_server.write_all(&frame(0x89, b"?")).await.expect("it is read");
            }
            to_server.write_all(&frame(0x82, b"!")).await.expect("it is read");
        };
        let read = async {
            let mut one = [0];
            reader.read_exact(&mut one).await.expect("it comes");
            // Reads on, so that a pong that still waits is written.
            tokio::select! { _ = reader.read(&mut one) => {}, () = std::future::pending() => {} }
        };
        let listen = async {
            let mut frames = Vec::new();
            while !(frames.contains(&1000) && frames.contains(&1)) {
                let first = from_server.read_u8().await.expect("a frame");
                let length = match from_server.read_u8().await.expect("a length") {
                    126 => usize::from(from_server.read_u16().await.expect("a length")),
                    short => usize::from(short),
                };
                let mut body = vec![0; length];
                from_server.read_exact(&mut body).await.expect("a payload");
                assert!(if first == 0x82 { body.iter().all(|byte| *byte == 7) } else { body == b"?" });
                frames.push(length);
            }
        };
        tokio::select! {
            _ = async { tokio::join!(write, pings, listen) } => {}
            () = read => {}
        }
    });
}

proptest! {
    #[test]
    fn a_stream_survives_any_cut_into_frames_and_reads(
        parts in prop::collection::vec((0_usize..300, any::<bool>(), any::<bool>()), 0..20),
        reads in prop::collection::vec(1_usize..400, 1..8),
    ) {
        let (mut sent, mut bytes, mut in_message) = (Vec::new(), Vec::new(), false);
        for (length, is_final, ping) in parts {
            let payload: Vec<u8> = (0..length).map(|at| (at * 31 + sent.len()) as u8).collect();
            sent.extend_from_slice(&payload);
            let opcode = if in_message { CONTINUATION } else { BINARY };
            bytes.extend(frame(opcode | if is_final { 0x80 } else { 0 }, &payload));
            in_message = !is_final;
            if ping {
                bytes.extend(frame(0x80 | PING, &payload[..length.min(125)]));
            }
        }
        let read = runtime().block_on(async {
            let (mut client, mut frames) = pair();
            client.write_all(&bytes).await.expect("it fits");
            client.shutdown().await.expect("it is open");
            let mut read = Vec::new();
            for size in reads.iter().cycle() {
                let mut buffer = vec![0; *size];
                match frames.read(&mut buffer).await.expect("no rule is broken") {
                    0 => break,
                    count => read.extend_from_slice(&buffer[..count]),
                }
            }
            read
        });
        prop_assert_eq!(sent, read);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = exchange(&bytes);
    }
}
