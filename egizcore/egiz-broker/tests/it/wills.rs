//! Wills: published when a connection breaks, not when its client says good-bye.

use std::time::Duration;

use crate::harness::{Client, Server, server};
use crate::packets::{
    Connect, PING, PONG, QOS_1, RETAIN, V3, V5, counted, disconnect, packet, publish, publish_with,
};

async fn with_hearer(version: u8) -> (Server, Client, Client) {
    let server = server().await;
    let mut hearer = server.client(V3, "hearer").await;
    hearer.subscribe("#", 1).await;
    let client = server.connect(&Connect::of(version, "c").will("status", "offline", false)).await;
    (server, hearer, client)
}

#[tokio::test]
async fn mqtt_3_1_2_8_a_broken_connection_publishes_its_will() {
    for version in [V3, V5] {
        let (server, mut hearer, client) = with_hearer(version).await;
        drop(client);
        hearer.expect(&publish(V3, QOS_1, "status", 1, "offline")).await;
        assert_eq!(server.intake.taken(), ["status offline"], "it is kept, too");
        let (_server, mut hearer, mut client) = with_hearer(version).await;
        client.send(&publish(version, 6, "a", 1, "breaks a rule")).await;
        hearer.expect(&publish(V3, QOS_1, "status", 1, "offline")).await;
    }
}

#[tokio::test]
async fn mqtt_3_1_2_10_a_good_bye_discards_the_will() {
    for version in [V3, V5] {
        let (server, mut hearer, mut client) = with_hearer(version).await;
        client.send(&packet(0xE0, &[])).await;
        client.expect_end().await;
        server.client(V3, "marker").await.say("marker", "", 0).await;
        hearer.expect(&publish(V3, 0, "marker", 0, "")).await;
    }
}

#[tokio::test]
async fn mqtt_3_1_2_10_a_good_bye_counts_although_its_client_is_back_already() {
    for version in [V3, V5] {
        let (server, mut hearer, mut client) = with_hearer(version).await;
        // The broker has no room, so that it reads the good-bye only when the client has connected anew.
        let no_room = server.intake.close().await;
        client.send(&publish(version, 0, "a", 0, "last")).await;
        client.send(&packet(0xE0, &[])).await;
        drop(client);
        let mut again = server.connecting(&Connect::of(version, "c")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(no_room);
        assert_eq!(again.packet("CONNACK").await[3], 0);
        hearer.expect(&publish(V3, 0, "a", 0, "last")).await;
        server.client(V3, "marker").await.say("marker", "", 0).await;
        hearer.expect(&publish(V3, 0, "marker", 0, "")).await;
    }
}

#[tokio::test]
async fn mqtt5_3_14_2_1_a_client_may_go_with_its_will() {
    let (_server, mut hearer, mut client) = with_hearer(V5).await;
    client.send(&disconnect(0x04)).await;
    hearer.expect(&publish(V3, QOS_1, "status", 1, "offline")).await;
}

#[tokio::test]
async fn mqtt_3_1_4_3_a_takeover_publishes_the_will_of_the_old_connection() {
    let (server, mut hearer, mut client) = with_hearer(V5).await;
    let mut new = server.client(V5, "c").await;
    client.expect(&disconnect(0x8E)).await;
    hearer.expect(&publish(V3, QOS_1, "status", 1, "offline")).await;
    new.ask(PING, PONG).await;
}

#[tokio::test]
async fn mqtt_3_1_2_17_a_will_may_be_retained() {
    let (server, mut hearer, _client) = with_hearer(V3).await;
    drop(server.connect(&Connect::of(V3, "other").will("other/status", "offline", true)).await);
    hearer.expect(&publish(V3, QOS_1, "other/status", 1, "offline")).await;
    let mut late = server.client(V3, "late").await;
    late.subscribe("other/#", 0).await;
    late.expect(&publish(V3, RETAIN, "other/status", 0, "offline")).await;
}

#[tokio::test]
async fn a_device_cannot_leave_a_will_outside_its_own_topics() {
    let server = server().await;
    let mut hearer = server.client(V3, "hearer").await;
    hearer.subscribe("#", 0).await;
    for (id, topic) in
        [("one", "sensors/factory/oven-002/status"), ("two", "sensors/factory/oven-001/status")]
    {
        let device = Connect::of(V3, id).will(topic, "offline", false).login("device", "secret");
        drop(server.connect(&device).await);
        crate::harness::until("the device to be gone", || server.broker.status().clients == 1).await;
    }
    hearer.expect(&publish(V3, 0, "sensors/factory/oven-001/status", 0, "offline")).await;
}

/// A power cut takes the broker and its clients together: who does not come back was not there to say good-bye.
#[tokio::test]
async fn after_a_crash_the_wills_of_those_who_do_not_come_back_in_time_are_published() {
    /// Without keep-alive.
    const SILENCE_S: i64 = 60;
    let server = server().await;
    let mut cut_off = Vec::new();
    for id in ["lost", "back", "gone"] {
        let topic = format!("status/{id}");
        let mut client = server.connect(&Connect::of(V5, id).will(&topic, "offline", true)).await;
        client.ask(PING, PONG).await;
        if id == "gone" {
            client.send(&disconnect(0)).await;
            client.expect_end().await;
        } else {
            cut_off.push(client);
        }
    }
    let server = server.crash().await;
    let mut hearer = server.client(V3, "hearer").await;
    hearer.subscribe("status/#", 1).await;
    let mut back = server.client(V5, "back").await;
    back.ask(PING, PONG).await;
    // Half the time that the keep-alive allows for silence.
    server.advance(SILENCE_S / 2);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    hearer.expect_nothing_but_life().await;
    server.advance(SILENCE_S);
    hearer.expect(&publish(V3, QOS_1, "status/lost", 1, "offline")).await;
    hearer.send(&crate::packets::acknowledged(1)).await;
    hearer.expect_nothing_but_life().await;

    // It is retained, and not published again.
    let server = server.crash().await;
    let mut hearer = server.client(V3, "hearer").await;
    hearer.subscribe("status/#", 0).await;
    hearer.expect(&publish(V3, RETAIN, "status/lost", 0, "offline")).await;
    server.advance(2 * SILENCE_S);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    hearer.expect_nothing_but_life().await;
}

#[tokio::test]
async fn mqtt5_3_1_3_2_3_a_will_says_its_payload_format_unaltered() {
    let server = server().await;
    let mut hearer = server.client(V5, "hearer").await;
    hearer.subscribe("status", 0).await;
    for format in [&[][..], &[0x01, 0], &[0x01, 1]] {
        let section = counted(format)[1..].to_vec();
        let payload = [counted("c"), section, counted("status"), counted([0xff])].concat();
        let connect = Connect { flags: 0x06, payload, ..Connect::of(V5, "") };
        drop(server.connect(&connect).await);
        hearer.expect(&publish_with(V5, 0, "status", 0, format, &[0xff])).await;
    }
    // One that waits is kept in the journal, and outlives a crash.
    let section = [0x01, 0, 0x18, 0, 0, 0, 60];
    let payload = [counted("c"), counted(section)[1..].to_vec(), counted("status"), counted("hi")].concat();
    let mut client = server.connect(&Connect { flags: 0x06, payload, ..Connect::of(V5, "") }).await;
    client.ask(PING, PONG).await;
    let server = server.crash().await;
    let mut hearer = server.client(V5, "hearer").await;
    hearer.subscribe("status", 0).await;
    server.advance(3600);
    hearer.expect(&publish_with(V5, 0, "status", 0, &[0x01, 0], b"hi")).await;
}
