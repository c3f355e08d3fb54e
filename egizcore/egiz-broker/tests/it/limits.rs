//! Bounds: what happens at each, and that nothing grows beyond it.

use std::time::Duration;

use egiz_broker::BrokerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::harness::{Client, Server, server, server_with, until};
use crate::packets::{
    Connect, PING, QOS_1, QOS_2, V3, V5, acknowledged, counted, disconnect, granted, packet, publish,
    refused, step, subscribe,
};

/// Sends the same bytes until the broker stops reading; `false` if it took `most_bytes`.
async fn is_stopped(client: &mut Client, bytes: &[u8], most_bytes: usize) -> bool {
    let block = bytes.repeat((64 << 10) / bytes.len());
    for _ in 0..most_bytes / block.len() {
        match timeout(Duration::from_secs(2), client.stream.write_all(&block)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("the connection was closed: {error}"),
            Err(_) => return true,
        }
    }
    false
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_not_read_either() {
    for bytes in [PING.to_vec(), publish(V3, QOS_1, "a", 1, ""), subscribe(V3, 1, &[("a", 0)])] {
        let config = BrokerConfig { outbox_bytes_max: 64 << 10, ..BrokerConfig::default() };
        let server = server_with(config).await;
        let mut client = server.client(V3, "c").await;
        assert!(is_stopped(&mut client, &bytes, 12 << 20).await, "{bytes:?} pile up");
    }
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_and_does_not_hold_up_stopping() {
    let config = BrokerConfig { write_timeout: Duration::from_millis(300), ..BrokerConfig::default() };
    let server = server_with(config).await;
    let mut client = server.client(V3, "c").await;
    // However much it sends, it is gone in the end: writing fails.
    let flood = async { while client.stream.write_all(&PING.repeat(1000)).await.is_ok() {} };
    timeout(Duration::from_secs(20), flood).await.expect("it is closed");
    until("it to be gone", || server.broker.status().clients == 0).await;
    assert_eq!(server.metric("egiz_broker_closed_connections_total{reason=\"write-timeout\"}"), 1);

    let config = BrokerConfig {
        write_timeout: Duration::from_secs(3600),
        outbox_bytes_max: 64 << 10,
        ..BrokerConfig::default()
    };
    let server = server_with(config).await;
    let mut client = server.client(V3, "c").await;
    let flood = timeout(Duration::from_secs(1), client.stream.write_all(&PING.repeat(1 << 20))).await;
    assert!(flood.is_err(), "it is not read any more");
    server.stop().await;
}

#[tokio::test]
async fn mqtt5_4_9_a_subscriber_that_does_not_keep_up_is_served_from_the_journal() {
    let config = BrokerConfig { outbox_bytes_max: 64 << 10, ..BrokerConfig::default() };
    let server = server_with(config).await;
    let mut slow = server.client(V5, "slow").await;
    slow.subscribe("a", 1).await;
    let mut client = server.client(V3, "c").await;
    for number in 0..100 {
        client.say("a", &format!("{number} {}", "x".repeat(8 << 10)), QOS_1).await;
    }
    assert_eq!(server.metric("egiz_broker_fell_behind_total"), 1);
    for number in 0..100 {
        let message = slow.packet("the message").await;
        let text = format!("{number} x");
        assert!(
            message.windows(text.len()).any(|part| part == text.as_bytes()),
            "message {number}, in order"
        );
        let id = u16::from_be_bytes([message[6], message[7]]);
        slow.send(&acknowledged(id)).await;
    }
    slow.expect_nothing_but_life().await;
    client.say("a", "live again", QOS_1).await;
    assert!(slow.packet("the message").await.ends_with(b"live again"));
}

#[tokio::test]
async fn what_need_not_arrive_is_dropped_for_a_subscriber_that_does_not_keep_up() {
    let config = BrokerConfig { outbox_bytes_max: 64 << 10, ..BrokerConfig::default() };
    let server = server_with(config).await;
    let mut stalled = server.client(V5, "stalled").await;
    stalled.subscribe("a", 0).await;
    let mut client = server.client(V3, "c").await;
    for _ in 0..100 {
        client.say("a", &"x".repeat(8 << 10), 0).await;
    }
    assert_eq!(server.broker.status().clients, 2);
    assert!(server.metric("egiz_broker_dropped_messages_total{reason=\"subscriber-too-slow\"}") > 0);
}

#[tokio::test]
async fn mqtt5_3_2_2_3_6_a_packet_larger_than_announced_is_refused_before_it_is_read() {
    let server = server_with(BrokerConfig { packet_bytes_max: 1000, ..BrokerConfig::default() }).await;
    let mut client = server.client(V5, "c").await;
    client.ask(&[0x30, 0xE9, 0x07], &disconnect(0x95)).await;
    client.expect_end().await;
    let mut client = server.client(V5, "c").await;
    let largest = "x".repeat(1000 - 7);
    client.say("a", &largest, 0).await;
}

#[tokio::test]
async fn before_the_login_only_a_small_packet_is_read() {
    let server = server_with(BrokerConfig { connect_bytes_max: 100, ..BrokerConfig::default() }).await;
    let mut client = server.connecting(&Connect::of(V5, &"x".repeat(200))).await;
    client.expect_end().await;
    assert_eq!(server.metric("egiz_broker_refused_connects_total{reason=\"packet-too-large\"}"), 1);
}

/// Whether a new connection gets its CONNACK.
async fn is_let_in(server: &Server) -> bool {
    let mut client = server.dial().await;
    let mut answer = [0; 4];
    client.stream.write_all(&Connect::of(V3, "second").bytes()).await.is_ok()
        && client.stream.read_exact(&mut answer).await.is_ok()
}

#[tokio::test]
async fn connections_have_a_bound_in_all_and_from_one_address() {
    for (config, reason) in [
        (BrokerConfig { connections_max: 1, ..BrokerConfig::default() }, "too-many-connections"),
        (BrokerConfig { connections_per_address_max: 1, ..BrokerConfig::default() }, "too-many-from-address"),
    ] {
        let server = server_with(config).await;
        let first = server.client(V3, "first").await;
        server.dial().await.expect_end().await;
        assert_eq!(server.metric(&format!("egiz_broker_refused_connects_total{{reason=\"{reason}\"}}")), 1);
        drop(first);
        // The place is given back a moment after the client is gone.
        let again = async { while !is_let_in(&server).await {} };
        timeout(Duration::from_secs(20), again).await.expect("the place is given back");
    }
}

#[tokio::test]
async fn subscriptions_of_one_client_have_a_bound() {
    let server = server_with(BrokerConfig { subscriptions_max: 2, ..BrokerConfig::default() }).await;
    let mut client = server.client(V5, "c").await;
    client.ask(&subscribe(V5, 1, &[("a", 0), ("b", 0)]), &granted(V5, 1, &[0, 0])).await;
    client.ask(&subscribe(V5, 2, &[("a", 1), ("c", 0)]), &granted(V5, 2, &[1, 0x97])).await;
    client.ask(&subscribe(V5, 3, &[("a", 0), ("b", 0), ("c", 0)]), &disconnect(0x97)).await;
}

#[tokio::test]
async fn topics_have_a_bound_in_levels() {
    let server = server().await;
    let mut client = server.client(V5, "c").await;
    let deepest = "/".repeat(200);
    client.ask(&subscribe(V5, 1, &[(&deepest, 0)]), &granted(V5, 1, &[0])).await;
    client.ask(&publish(V5, 0, &deepest, 0, "hi"), &publish(V5, 0, &deepest, 0, "hi")).await;
    for deep in ["/".repeat(201), "/".repeat(65_535)] {
        let shared = format!("$share/g/{}", "/".repeat(201));
        let filters = [(deep.as_str(), 0), (&shared, 0), ("a", 0)];
        client.ask(&subscribe(V5, 1, &filters), &granted(V5, 1, &[0x8F, 0x8F, 0])).await;
        client.ask(&publish(V5, QOS_1, &deep, 2, ""), &refused(2, 0x90)).await;
        // The id is free again, and the connection goes on.
        client.ask(&publish(V5, QOS_2, &deep, 2, ""), &packet(0x50, &[0, 2, 0x90])).await;
        client.ask(&publish(V5, QOS_2, "b", 2, ""), &step(0x50, 2)).await;
        client.ask(&step(0x62, 2), &step(0x70, 2)).await;
        client.ask(&publish(V5, 0, &deep, 0, ""), &disconnect(0x90)).await;
        client.expect_end().await;
        let mut old = server.client(V3, "old").await;
        old.ask(&subscribe(V3, 1, &[(&deep, 0)]), &granted(V3, 1, &[0x80])).await;
        old.send(&publish(V3, QOS_1, &deep, 1, "")).await;
        old.expect_end().await;
        client = server.client(V5, "c").await;
    }
    let deep = "/".repeat(201);
    let mut willing = server.connecting(&Connect::of(V5, "willing").will(&deep, "gone", false)).await;
    assert_eq!(willing.packet("CONNACK").await[3], 0x90);
    assert_eq!(server.metric("egiz_broker_refused_messages_total{reason=\"topic-name-invalid\"}"), 4);
    // What is only passed on is not handled.
    client.subscribe("a", 0).await;
    let section = packet(0, &[&[0x08][..], &counted(&deep)].concat())[1..].to_vec();
    let message = packet(0x30, &[counted("a"), section].concat());
    client.ask(&message, &message).await;
}
