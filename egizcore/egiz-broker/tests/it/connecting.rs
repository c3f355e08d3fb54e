//! CONNECT and how connections end.

use std::time::Duration;

use egiz_broker::BrokerConfig;

use crate::harness::{Client, server, server_with, until};
use crate::packets::{Connect, PING, PONG, QOS_2, V3, V5, counted, disconnect, packet, publish, step};

#[tokio::test]
async fn mqtt_3_2_0_1_a_client_is_let_in_without_a_session() {
    let server = server().await;
    for clean in [0, 2] {
        let mut client = server.connecting(&Connect { flags: clean, ..Connect::of(V3, "c") }).await;
        client.expect(&[0x20, 2, 0, 0]).await;
    }
}

/// The value of a one, two or four byte property of a CONNACK; for a string its length.
fn property(packet: &[u8], wanted: u8) -> Option<u32> {
    let mut at = &packet[5..];
    while let [id, rest @ ..] = at {
        let (value, length) = match id {
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => (u32::from(rest[0]), 1),
            0x13 | 0x21 | 0x22 => (u32::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
            0x11 | 0x27 => (u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]), 4),
            0x12 => {
                let length = u16::from_be_bytes([rest[0], rest[1]]);
                (u32::from(length), 2 + usize::from(length))
            }
            other => panic!("property {other:#x} was not expected"),
        };
        if *id == wanted {
            return Some(value);
        }
        at = &rest[length..];
    }
    None
}

#[tokio::test]
async fn mqtt5_3_2_2_3_a_client_is_told_what_the_server_can_do() {
    let server = server().await;
    let mut client =
        server.connecting(&Connect { properties: &[0x11, 0, 0, 0, 60], ..Connect::of(V5, "") }).await;
    let answer = client.packet("CONNACK").await;
    assert_eq!((answer[2], answer[3]), (0, 0));
    assert_eq!(property(&answer, 0x24), None, "every QoS");
    assert_eq!(property(&answer, 0x11), None, "the session is kept as long as was asked for");
    assert_eq!(property(&answer, 0x2A), None, "shared subscriptions are there");
    assert_eq!(property(&answer, 0x21), Some(8192), "receive maximum");
    assert_eq!(property(&answer, 0x27), Some(1 << 20), "maximum packet size");
    assert_eq!(property(&answer, 0x22), Some(64), "topic alias maximum");
    assert!(property(&answer, 0x12).is_some_and(|length| length > 0), "an id is assigned (MQTT-3.1.3-6)");
}

#[tokio::test]
async fn mqtt_3_1_3_8_an_empty_id_needs_a_clean_session() {
    let server = server().await;
    let mut client = server.connecting(&Connect { flags: 0, ..Connect::of(V3, "") }).await;
    client.expect(&[0x20, 2, 0, 2]).await;
    client.expect_end().await;
    server.client(V3, "").await;
}

#[tokio::test]
async fn mqtt_3_1_4_2_who_may_not_come_in_is_told_why() {
    let server = server().await;
    for (username, v3, v5) in [("device", 4, 0x86), ("banned", 5, 0x87)] {
        let mut client = server.connecting(&Connect::of(V3, "c").login(username, "wrong")).await;
        client.expect(&[0x20, 2, 0, v3]).await;
        client.expect_end().await;
        let mut client = server.connecting(&Connect::of(V5, "c").login(username, "wrong")).await;
        client.expect(&[0x20, 3, 0, v5, 0]).await;
        client.expect_end().await;
    }
    assert_eq!(server.metric("egiz_broker_refused_connects_total{reason=\"bad-credentials\"}"), 2);
}

#[tokio::test]
async fn mqtt_3_1_4_3_a_second_connection_with_the_same_id_ends_the_first() {
    let server = server().await;
    let mut old = server.client(V5, "same").await;
    let mut between = server.client(V3, "same").await;
    old.expect(&disconnect(0x8E)).await;
    old.expect_end().await;
    let mut new = server.client(V5, "same").await;
    between.expect_end().await;
    new.ask(PING, PONG).await;
    until("the others to be forgotten", || server.metric("egiz_broker_connections") == 1).await;
}

#[tokio::test]
async fn mqtt_3_1_2_24_a_client_silent_for_one_and_a_half_keep_alives_is_closed() {
    let server = server().await;
    let mut silent = server.connect(&Connect { keep_alive_s: 1, ..Connect::of(V5, "silent") }).await;
    let mut exempt = server.client(V5, "exempt").await;
    silent.expect(&disconnect(0x8D)).await;
    silent.expect_end().await;
    exempt.ask(PING, PONG).await;
}

#[tokio::test]
async fn mqtt5_3_1_2_21_the_servers_keep_alive_is_told_to_who_asks_for_a_longer_one() {
    let server = server_with(BrokerConfig { keep_alive_max_s: 60, ..BrokerConfig::default() }).await;
    for (asked, told) in [(0, Some(60)), (61, Some(60)), (30, None)] {
        let mut client = server.connecting(&Connect { keep_alive_s: asked, ..Connect::of(V5, "c") }).await;
        assert_eq!(property(&client.packet("CONNACK").await, 0x13), told, "{asked}");
    }
}

/// Whatever a server may say before it closes: nothing, a CONNACK with a refusal, or a DISCONNECT with a reason.
async fn expect_refusal(client: &mut Client, what: &str) {
    use tokio::io::AsyncReadExt as _;
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), client.stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "{what}: the connection stays open");
    let is_refusal = match rest.first() {
        None => true,
        Some(0x20) => rest[3] != 0,
        Some(0xE0) => rest.get(2).is_some_and(|code| *code >= 0x80),
        Some(_) => false,
    };
    assert!(is_refusal, "{what}: {rest:02x?}");
}

#[tokio::test]
async fn mqtt_3_1_malformed_connects_are_refused() {
    let server = server().await;
    for (version, flags, payload, what) in [
        (V3, 3, counted("c"), "3.1.2-3: the reserved flag is zero"),
        (V5, 3, counted("c"), "3.1.2-3: the reserved flag is zero"),
        (
            V3,
            0x42,
            [counted("c"), counted("p")].concat(),
            "3.1.2-22: no password without a user name in 3.1.1",
        ),
        (V3, 0x82, counted("c"), "3.1.2-19: the user name flag needs a user name"),
        (V3, 0x0A, counted("c"), "3.1.2-13: no will QoS without a will"),
        (V3, 0x22, counted("c"), "3.1.2-15: no will retain without a will"),
        (V3, 0x1E, [counted("c"), counted("t"), counted("m")].concat(), "3.1.2-14: will QoS 3"),
        (V3, 2, counted([0xff]), "1.5.3-1: the id is UTF-8"),
        (V5, 2, counted([0xff]), "1.5.4-1: the id is UTF-8"),
        (V3, 2, counted("a\0b"), "1.5.3-2: no NUL in strings"),
        (V5, 2, counted("a\0b"), "1.5.4-2: no NUL in strings"),
        (V3, 2, [counted("c"), vec![1, 2, 3]].concat(), "nothing follows the payload"),
    ] {
        let mut client = server.connecting(&Connect { flags, payload, ..Connect::of(version, "") }).await;
        expect_refusal(&mut client, what).await;
    }
}

#[tokio::test]
async fn mqtt5_3_1_2_11_forbidden_property_values_are_refused() {
    let server = server().await;
    for (properties, what) in [
        (&[0x21, 0, 0][..], "3.1.2.11.3: receive maximum 0"),
        (&[0x27, 0, 0, 0, 0], "3.1.2.11.4: maximum packet size 0"),
        (&[0x21, 0, 9, 0x21, 0, 9], "a property twice"),
        (&[0x23, 0, 1], "a property of another packet"),
        (&[0x7f, 0], "an unknown property"),
        (&[0x16, 0, 1, 1], "3.1.2.11.10: authentication data without a method"),
    ] {
        let mut client = server.connecting(&Connect { properties, ..Connect::of(V5, "c") }).await;
        expect_refusal(&mut client, what).await;
    }
}

#[tokio::test]
async fn mqtt5_4_12_0_1_an_unknown_authentication_method_is_refused() {
    let server = server().await;
    let properties = [&[0x15][..], &counted("SCRAM")].concat();
    let mut client = server.connecting(&Connect { properties: &properties, ..Connect::of(V5, "c") }).await;
    client.expect(&[0x20, 3, 0, 0x8C, 0]).await;
}

#[tokio::test]
async fn mqtt_packets_that_break_the_rules_end_the_connection() {
    let server = server().await;
    for (bytes, what) in [
        (&b"\xC0\x01\x00"[..], "PINGREQ has no payload"),
        (b"\xC1\x00", "2.2.2-1: flags are reserved"),
        (b"\x41\x02\x00\x01", "2.2.2-1: flags are reserved"),
        (b"\x80\x06\x00\x01\x00\x01a\x00", "3.8.1-1: SUBSCRIBE's flags"),
        (b"\xA0\x05\x00\x01\x00\x01a", "3.10.1-1: UNSUBSCRIBE's flags"),
        (b"\x82\x06\x00\x00\x00\x01a\x00", "2.3.1-1: a packet id is not zero"),
        (b"\x82\x06\x00\x01\x00\x01a\x03", "3.8.3-4: QoS 3"),
        (b"\x82\x02\x00\x01", "3.8.3-3: at least one filter"),
        (b"\x20\x02\x00\x00", "CONNACK is the server's"),
        (b"\xF0\x00", "3.1.1 has no AUTH"),
        (b"\x00\x00", "type 0 is reserved"),
        (b"\x30\xff\xff\xff\xff\x01", "2.2.3: at most four bytes of length"),
        (b"\xE0\x01\x00", "DISCONNECT has no payload in 3.1.1"),
    ] {
        let mut client = server.client(V3, "c").await;
        client.send(bytes).await;
        expect_refusal(&mut client, what).await;
    }
}

#[tokio::test]
async fn mqtt5_3_14_2_2_a_session_expiry_cannot_appear_at_the_end() {
    let server = server().await;
    let mut client = server.client(V5, "c").await;
    client.send(&packet(0xE0, &[0, 5, 0x11, 0, 0, 0, 60])).await;
    client.expect(&disconnect(0x82)).await;
    client.expect_end().await;
}

#[tokio::test]
async fn a_client_that_does_not_log_in_is_closed() {
    let config = BrokerConfig { connect_timeout: Duration::from_millis(200), ..BrokerConfig::default() };
    let server = server_with(config).await;
    let mut silent = server.dial().await;
    silent.expect_end().await;
    // A check that takes as long as it likes does not hold the connection either.
    let mut waiting = server.connecting(&Connect::of(V5, "c").login("never", "")).await;
    waiting.expect(&[0x20, 3, 0, 0x89, 0]).await;
    waiting.expect_end().await;
    assert_eq!(server.metric("egiz_broker_refused_connects_total{reason=\"connect-timeout\"}"), 1);
}

#[tokio::test]
async fn mqtt5_4_13_1_stopping_tells_the_clients() {
    let server = server().await;
    let mut client = server.client(V5, "c").await;
    server.stop_soon();
    client.expect(&disconnect(0x8B)).await;
    client.expect_end().await;
    server.stop().await;
}

#[tokio::test]
async fn mqtt5_4_7_3_1_a_will_topic_that_is_no_topic_name_is_not_let_in() {
    let server = server().await;
    for (topic, code) in [("", 0x82), ("a/#", 0x81), ("a\0", 0x81)] {
        let mut client = server.connecting(&Connect::of(V5, "c").will(topic, "", false)).await;
        client.expect(&[0x20, 3, 0, code, 0]).await;
        client.expect_end().await;
    }
}

#[tokio::test]
async fn in_3_1_a_connack_says_nothing_of_the_session() {
    let server = server().await;
    for _ in 0..2 {
        let mut client = server.dial().await;
        client.send(b"\x10\x0f\x00\x06MQIsdp\x03\x00\x00\x00\x00\x01c").await;
        client.expect(&[0x20, 2, 0, 0]).await;
        client.expect_nothing_but_life().await;
    }
}

#[tokio::test]
async fn a_client_that_goes_on_sending_still_hears_why_it_was_told_to_go() {
    let server = server_with(BrokerConfig { receive_max: 1, ..BrokerConfig::default() }).await;
    let mut client = server.client(V5, "c").await;
    let two = [publish(V5, QOS_2, "a", 1, ""), publish(V5, QOS_2, "a", 2, "")].concat();
    client.send(&[two, PING.repeat(1000)].concat()).await;
    until("it to be told", || {
        server.metric("egiz_broker_closed_connections_total{reason=\"receive-maximum-exceeded\"}") == 1
    })
    .await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        client.send(PING).await;
    }
    client.expect(&step(0x50, 1)).await;
    client.expect(&disconnect(0x93)).await;
    client.expect_end().await;
    // Before it is let in, too.
    let mut stranger = server.dial().await;
    let connect = Connect { version: 9, ..Connect::of(V5, "c") };
    stranger.send(&[connect.bytes(), PING.repeat(1000)].concat()).await;
    stranger.expect(&[0x20, 2, 0, 1]).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        stranger.send(PING).await;
    }
    stranger.expect_end().await;
}
