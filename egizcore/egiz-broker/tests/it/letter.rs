//! Statements of the specifications that no flow of its own shows: held to the letter, one by one.

use std::time::Duration;

use egiz_broker::Refusal;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::harness::{Client, Server, Then, server};
use crate::packets::{
    AGAIN, Connect, PING, PONG, QOS_1, QOS_2, RETAIN, V3, V5, acknowledged, counted, disconnect, granted,
    packet, publish, publish_with, refused, step, subscribe,
};

const RECEIVED: u8 = 0x50;
const RELEASE: u8 = 0x62;
const COMPLETE: u8 = 0x70;
/// A session expiry of an hour.
const HOUR: &[u8] = &[0x11, 0, 0, 0x0E, 0x10];

/// A client of 5.0 that hears everything below `a` and one that speaks.
async fn pair(qos: u8) -> (Server, Client, Client) {
    let server = server().await;
    let mut hearer = server.client(V5, "hearer").await;
    hearer.subscribe("a/#", qos).await;
    let speaker = server.client(V5, "speaker").await;
    (server, hearer, speaker)
}

/// The connection ends, with a CONNACK that refuses or without a word.
async fn refused_or_closed(client: &mut Client, what: &str) {
    let mut rest = Vec::new();
    let read = client.stream.read_to_end(&mut rest);
    // A reset is an end, too.
    let _ = timeout(Duration::from_secs(20), read).await.unwrap_or_else(|_| panic!("{what}: it stays open"));
    assert!(rest.is_empty() || (rest[0] == 0x20 && rest[3] != 0), "{what}: {rest:02x?}");
}

#[tokio::test]
async fn mqtt5_1_5_4_3_a_byte_order_mark_stays_where_it_is() {
    let (_server, mut hearer, mut speaker) = pair(0).await;
    for topic in ["a/\u{FEFF}", "a/\u{FEFF}b"] {
        speaker.say(topic, "hi", 0).await;
        hearer.expect(&publish(V5, 0, topic, 0, "hi")).await;
    }
}

#[tokio::test]
async fn mqtt5_1_5_4_1_every_string_is_well_formed() {
    let server = server().await;
    // A surrogate half; an overlong form; a byte that is never in UTF-8.
    for bad in [&[0xED, 0xA0, 0x80][..], &[0xC0, 0xAF], &[0xFF]] {
        let text = counted(bad);
        let pair = [&[0x26][..], &counted("name"), &text].concat();
        let content_type = [&[0x03][..], &text].concat();
        let response_topic = [&[0x08][..], &text].concat();
        for properties in [&pair, &content_type, &response_topic] {
            let mut client = server.client(V5, "c").await;
            client.send(&publish_with(V5, 0, "a", 0, properties, b"")).await;
            assert_eq!(client.packet("DISCONNECT").await[0], 0xE0, "{properties:02x?}");
            client.expect_end().await;
        }
        for (first, options) in [(0x82, &[0][..]), (0xA2, &[])] {
            let mut client = server.client(V5, "c").await;
            client.send(&packet(first, &[&[0, 1, 0][..], &text, options].concat())).await;
            assert_eq!(client.packet("DISCONNECT").await[0], 0xE0);
            client.expect_end().await;
        }
        for (flags, payload) in [
            (0x06, [counted("c"), vec![0], text.clone(), counted("gone")].concat()),
            (0x82, [counted("c"), text.clone()].concat()),
        ] {
            let connect = Connect { flags, payload, ..Connect::of(V5, "") };
            refused_or_closed(&mut server.connecting(&connect).await, "not UTF-8").await;
        }
    }
}

#[tokio::test]
async fn mqtt_3_1_2_1_another_protocol_name_is_not_let_in() {
    let server = server().await;
    for name in ["MQTX", "mqtt", "MQTTX", "HTTP"] {
        let mut client = server.dial().await;
        let body = [counted(name), vec![4, 2, 0, 0], counted("c")].concat();
        client.send(&packet(0x10, &body)).await;
        refused_or_closed(&mut client, name).await;
    }
}

#[tokio::test]
async fn mqtt_3_1_2_9_what_the_flags_announce_must_be_there() {
    let server = server().await;
    for (version, flags, payload) in [
        (V3, 0x06, counted("c")),
        (V5, 0x06, counted("c")),
        (V3, 0xC2, [counted("c"), counted("user")].concat()),
        (V5, 0x42, counted("c")),
        (V5, 2, [counted("c"), counted("nobody announced this")].concat()),
    ] {
        let mut client = server.connecting(&Connect { flags, payload, ..Connect::of(version, "") }).await;
        refused_or_closed(&mut client, &format!("{flags:#x}")).await;
    }
}

#[tokio::test]
async fn mqtt_3_1_2_16_a_will_that_is_not_to_be_retained_is_not() {
    let (server, mut hearer, _speaker) = pair(0).await;
    drop(server.connect(&Connect::of(V5, "c").will("a/status", "gone", false)).await);
    hearer.expect(&publish(V5, 0, "a/status", 0, "gone")).await;
    assert_eq!(server.broker.status().retained, 0);
}

#[tokio::test]
async fn mqtt_3_1_3_5_ids_of_up_to_23_letters_and_digits_are_let_in() {
    let server = server().await;
    for id in ["0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ", "a"] {
        server.client(V3, id).await;
        server.client(V5, id).await;
    }
}

#[tokio::test]
async fn mqtt5_3_2_2_16_every_id_that_is_assigned_is_new() {
    let server = server().await;
    let mut ids = std::collections::HashSet::new();
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = server.connecting(&Connect::of(V5, "")).await;
        assert!(ids.insert(client.packet("CONNACK").await));
        clients.push(client);
    }
    for client in &mut clients {
        client.ask(PING, PONG).await;
    }
}

#[tokio::test]
async fn mqtt_3_1_4_6_nothing_behind_a_refused_connect_is_taken() {
    let server = server().await;
    for version in [V3, V5] {
        let connect = Connect::of(version, "c").login("device", "wrong").bytes();
        let mut client = server.dial().await;
        client.version = version;
        let behind = publish(version, 0, "sensors/factory/oven-001/telemetry", 0, "hi");
        client.send(&[connect, behind].concat()).await;
        assert_eq!(client.packet("CONNACK").await[0], 0x20);
        client.expect_end().await;
    }
    assert!(server.intake.taken().is_empty());
}

#[tokio::test]
async fn mqtt_3_3_1_3_a_repetition_is_the_publishers_affair() {
    let (_server, mut hearer, mut speaker) = pair(1).await;
    speaker.ask(&publish(V5, QOS_1 | AGAIN, "a/b", 1, "hi"), &acknowledged(1)).await;
    hearer.expect(&publish(V5, QOS_1, "a/b", 1, "hi")).await;
}

#[tokio::test]
async fn mqtt_4_3_2_5_an_id_that_was_acknowledged_means_another_message() {
    let (_server, mut hearer, mut speaker) = pair(0).await;
    for flags in [QOS_1, QOS_1, QOS_1 | AGAIN] {
        speaker.ask(&publish(V5, flags, "a/b", 1, "hi"), &acknowledged(1)).await;
        hearer.expect(&publish(V5, 0, "a/b", 0, "hi")).await;
    }
}

#[tokio::test]
async fn mqtt_3_3_1_8_a_message_that_is_not_to_be_retained_leaves_the_retained_one_alone() {
    let (_server, mut hearer, mut speaker) = pair(0).await;
    speaker.say("a/b", "kept", RETAIN).await;
    hearer.expect(&publish(V5, 0, "a/b", 0, "kept")).await;
    for payload in ["passing", ""] {
        speaker.say("a/b", payload, 0).await;
        hearer.expect(&publish(V5, 0, "a/b", 0, payload)).await;
    }
    hearer.subscribe("a/#", 0).await;
    hearer.expect(&publish(V5, RETAIN, "a/b", 0, "kept")).await;
}

#[tokio::test]
async fn mqtt5_3_3_2_8_alias_0_is_refused_and_the_highest_one_taken() {
    let (_server, mut hearer, mut speaker) = pair(0).await;
    speaker.send(&publish_with(V5, 0, "a/b", 0, &[0x23, 0, 64], b"1")).await;
    speaker.send(&publish_with(V5, 0, "", 0, &[0x23, 0, 64], b"2")).await;
    for payload in ["1", "2"] {
        hearer.expect(&publish(V5, 0, "a/b", 0, payload)).await;
    }
    speaker.ask(&publish_with(V5, 0, "a/b", 0, &[0x23, 0, 0], b""), &disconnect(0x94)).await;
    speaker.expect_end().await;
}

#[tokio::test]
async fn mqtt5_3_1_2_25_a_message_that_is_too_large_counts_as_sent() {
    let server = server().await;
    let connect = Connect { properties: &[0x21, 0, 1, 0x27, 0, 0, 0, 30], ..Connect::of(V5, "hearer") };
    let mut hearer = server.connect(&connect).await;
    hearer.subscribe("a", 2).await;
    let mut speaker = server.client(V5, "speaker").await;
    let large = "x".repeat(40);
    // One under way is all that the hearer takes: what is passed over must not hold the place.
    speaker.say("a", &large, QOS_1).await;
    speaker.ask(&publish(V5, QOS_2, "a", 2, &large), &step(RECEIVED, 2)).await;
    speaker.say("a", "small", QOS_1).await;
    let found = hearer.packet("the message").await;
    assert!(found.ends_with(b"small") && found[0] == 0x32, "{found:02x?}");
}

#[tokio::test]
async fn mqtt5_3_5_2_1_a_message_of_qos_2_that_is_refused_is_told_why_and_its_id_is_free() {
    let (server, mut hearer, mut speaker) = pair(0).await;
    server.intake.then(Then::Refuse(Refusal::NoSpace));
    speaker.ask(&publish(V5, QOS_2, "a/b", 7, "lost"), &packet(RECEIVED, &[0, 7, 0x97])).await;
    server.intake.then(Then::Commit);
    // The same id is another message (MQTT-4.3.3-9).
    speaker.ask(&publish(V5, QOS_2, "a/b", 7, "new"), &step(RECEIVED, 7)).await;
    speaker.ask(&step(RELEASE, 7), &step(COMPLETE, 7)).await;
    hearer.expect(&publish(V5, 0, "a/b", 0, "new")).await;
}

#[tokio::test]
async fn mqtt_3_6_1_1_reserved_flags_of_every_packet_are_as_they_must_be() {
    let server = server().await;
    for bytes in [
        &b"\x60\x02\x00\x01"[..],
        b"\x6f\x02\x00\x01",
        b"\x51\x02\x00\x01",
        b"\x71\x02\x00\x01",
        b"\xE1\x00",
        b"\xF1\x00",
        b"\xA2\x03\x00\x01\x00",
        b"\x82\x03\x00\x01\x00",
        b"\x82\x07\x00\x01\x00\x00\x01a\x40",
        b"\x82\x07\x00\x01\x00\x00\x01a\x30",
    ] {
        let mut client = server.client(V5, "c").await;
        client.send(bytes).await;
        let answer = client.packet("DISCONNECT").await;
        assert!(answer[0] == 0xE0 && [0x81, 0x82].contains(&answer[2]), "{bytes:02x?}: {answer:02x?}");
        client.expect_end().await;
    }
    let mut client = server.client(V3, "c").await;
    client.send(b"\xA2\x02\x00\x01").await;
    client.expect_end().await;
}

#[tokio::test]
async fn mqtt5_3_8_3_4_no_local_makes_no_sense_for_a_shared_subscription() {
    let server = server().await;
    let mut client = server.client(V5, "c").await;
    client.ask(&subscribe(V5, 1, &[("$share/g/a", 4)]), &disconnect(0x82)).await;
    client.expect_end().await;
}

#[tokio::test]
async fn mqtt_3_8_4_3_a_filter_said_again_replaces_its_subscription() {
    for version in [V3, V5] {
        let server = server().await;
        let mut speaker = server.client(V3, "speaker").await;
        speaker.say("a", "kept", RETAIN).await;
        let mut hearer = server.client(version, "hearer").await;
        for qos in [0, 1] {
            hearer.ask(&subscribe(version, 1, &[("a", qos)]), &granted(version, 1, &[qos])).await;
            // Retained messages come again (MQTT-3.8.4-4 of 5.0).
            hearer.expect(&publish(version, RETAIN, "a", 0, "kept")).await;
        }
        speaker.say("a", "hi", QOS_1).await;
        hearer.expect(&publish(version, QOS_1, "a", 1, "hi")).await;
        hearer.expect_nothing_but_life().await;
        assert_eq!(server.broker.status().subscriptions, 1);
    }
}

#[tokio::test]
async fn mqtt_3_10_4_3_what_was_begun_is_finished_after_unsubscribing() {
    let (_server, mut hearer, mut speaker) = pair(2).await;
    speaker.ask(&publish(V5, QOS_2, "a/b", 7, "hi"), &step(RECEIVED, 7)).await;
    hearer.expect(&publish(V5, QOS_2, "a/b", 1, "hi")).await;
    let unsubscribe = packet(0xA2, &[&[0, 5, 0][..], &counted("a/#")].concat());
    hearer.ask(&unsubscribe, &packet(0xB0, &[0, 5, 0, 0])).await;
    hearer.ask(&step(RECEIVED, 1), &step(RELEASE, 1)).await;
    hearer.send(&step(COMPLETE, 1)).await;
    hearer.expect_nothing_but_life().await;
}

#[tokio::test]
async fn mqtt5_4_3_3_7_what_was_sent_does_not_expire() {
    let (server, mut hearer, mut speaker) = pair(2).await;
    let message = publish_with(V5, QOS_2, "a/b", 7, &[0x02, 0, 0, 0, 5], b"hi");
    speaker.ask(&message, &step(RECEIVED, 7)).await;
    hearer.expect(&publish_with(V5, QOS_2, "a/b", 1, &[0x02, 0, 0, 0, 5], b"hi")).await;
    server.advance(60);
    speaker.ask(&step(RELEASE, 7), &step(COMPLETE, 7)).await;
    hearer.ask(&step(RECEIVED, 1), &step(RELEASE, 1)).await;
    hearer.send(&step(COMPLETE, 1)).await;
    hearer.expect_nothing_but_life().await;
}

#[tokio::test]
async fn mqtt5_4_4_0_2_what_a_client_refused_is_not_sent_again() {
    let server = server().await;
    let kept = || Connect { flags: 0, properties: HOUR, ..Connect::of(V5, "hearer") };
    let mut hearer = server.connect(&kept()).await;
    hearer.subscribe("a", 2).await;
    let mut speaker = server.client(V5, "speaker").await;
    speaker.say("a", "one", QOS_1).await;
    speaker.ask(&publish(V5, QOS_2, "a", 7, "two"), &step(RECEIVED, 7)).await;
    hearer.expect(&publish(V5, QOS_1, "a", 1, "one")).await;
    hearer.expect(&publish(V5, QOS_2, "a", 2, "two")).await;
    hearer.send(&refused(1, 0x80)).await;
    hearer.send(&packet(RECEIVED, &[0, 2, 0x80])).await;
    hearer.expect_nothing_but_life().await;
    drop(hearer);
    let mut hearer = server.connect(&kept()).await;
    hearer.expect_nothing_but_life().await;
}

#[tokio::test]
async fn mqtt5_4_8_2_6_what_a_member_refused_goes_to_nobody_else() {
    let server = server().await;
    let mut members = Vec::new();
    for id in ["one", "two"] {
        let mut member = server.client(V5, id).await;
        member.subscribe("$share/g/a", 1).await;
        members.push(member);
    }
    server.client(V3, "c").await.say("a", "hi", QOS_1).await;
    members[0].expect(&publish(V5, QOS_1, "a", 1, "hi")).await;
    members[0].send(&refused(1, 0x80)).await;
    for member in &mut members {
        member.expect_nothing_but_life().await;
    }
}

#[tokio::test]
async fn mqtt5_4_8_2_3_a_shared_subscription_has_its_own_quality() {
    let server = server().await;
    let mut member = server.client(V5, "member").await;
    member.subscribe("$share/g/a", 0).await;
    server.client(V3, "c").await.say("a", "hi", QOS_1).await;
    member.expect(&publish(V5, 0, "a", 0, "hi")).await;
}

#[tokio::test]
async fn mqtt5_4_8_2_4_a_member_that_lost_its_connection_gets_the_rest_of_its_message() {
    let server = server().await;
    let kept = || Connect { flags: 0, properties: HOUR, ..Connect::of(V5, "member") };
    let mut member = server.connect(&kept()).await;
    member.subscribe("$share/g/a", 2).await;
    let mut speaker = server.client(V5, "speaker").await;
    speaker.ask(&publish(V5, QOS_2, "a", 7, "hi"), &step(RECEIVED, 7)).await;
    member.expect(&publish(V5, QOS_2, "a", 1, "hi")).await;
    member.ask(&step(RECEIVED, 1), &step(RELEASE, 1)).await;
    drop(member);
    crate::harness::until("the member to be gone", || server.broker.status().clients == 1).await;
    let mut member = server.connect(&kept()).await;
    member.expect(&step(RELEASE, 1)).await;
    member.send(&step(COMPLETE, 1)).await;
    member.expect_nothing_but_life().await;
}

#[tokio::test]
async fn mqtt_4_7_3_1_a_topic_has_a_letter_at_least_and_none_is_changed() {
    let (server, mut hearer, mut speaker) = pair(0).await;
    // A null letter in a filter, and a filter of nothing.
    for filter in ["", "a\0"] {
        let mut client = server.client(V5, "c").await;
        client.send(&subscribe(V5, 1, &[(filter, 0)])).await;
        let answer = client.packet("an answer").await;
        assert!(answer.ends_with(&[0x8F]) || answer[0] == 0xE0, "{answer:02x?}");
    }
    // Nothing is folded, trimmed or decoded (MQTT-4.7.3-4).
    for topic in ["a/B", "a/b ", "a//b", "a/b/", "a/%62", "a/\u{E9}", "a/e\u{301}"] {
        speaker.say(topic, "hi", 0).await;
        hearer.expect(&publish(V5, 0, topic, 0, "hi")).await;
    }
}

#[tokio::test]
async fn mqtt_1_5_3_1_every_string_is_well_formed_in_3_1_1_too() {
    let server = server().await;
    for bad in [&[0xED, 0xA0, 0x80][..], &[0xC0, 0xAF], &[0xFF], b"a\0b"] {
        let text = counted(bad);
        for packet in [
            packet(0x30, &text),
            packet(0x82, &[&[0, 1][..], &text, &[0]].concat()),
            packet(0xA2, &[&[0, 1][..], &text].concat()),
        ] {
            let mut client = server.client(V3, "c").await;
            client.send(&packet).await;
            // A filter that is no filter may be answered so; nothing else may.
            let mut rest = [0; 5];
            let read =
                timeout(Duration::from_secs(20), client.stream.read(&mut rest)).await.expect("an answer");
            let is_refused = packet[0] == 0x82 && rest == [0x90, 3, 0, 1, 0x80];
            assert!(read.is_err() || matches!(read, Ok(0)) || is_refused, "{packet:02x?}: {rest:02x?}");
        }
        for (flags, payload) in [
            (0x06, [counted("c"), text.clone(), counted("gone")].concat()),
            (0x82, [counted("c"), text.clone()].concat()),
        ] {
            let connect = Connect { flags, payload, ..Connect::of(V3, "") };
            refused_or_closed(&mut server.connecting(&connect).await, "not UTF-8").await;
        }
    }
}

#[tokio::test]
async fn mqtt_3_1_2_2_a_client_of_an_unknown_level_is_told() {
    let server = server().await;
    let mut client = server.connecting(&Connect { version: 6, ..Connect::of(V3, "c") }).await;
    client.expect(&[0x20, 2, 0, 1]).await;
    client.expect_end().await;
}

#[tokio::test]
async fn mqtt_3_1_2_7_a_session_that_ends_leaves_what_is_retained() {
    let server = server().await;
    let mut client = server.client(V3, "c").await;
    client.say("a", "kept", RETAIN).await;
    client.send(&packet(0xE0, &[])).await;
    client.expect_end().await;
    let mut client = server.client(V3, "c").await;
    client.subscribe("a", 0).await;
    client.expect(&publish(V3, RETAIN, "a", 0, "kept")).await;
}
