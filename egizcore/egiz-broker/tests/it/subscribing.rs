//! SUBSCRIBE and UNSUBSCRIBE: what is granted, and what arrives for it.

use crate::harness::server;
use crate::packets::{
    Connect, QOS_1, RETAIN, V3, V5, acknowledged, counted, granted, packet, publish, publish_with, subscribe,
    subscribe_with,
};

#[tokio::test]
async fn mqtt_3_8_4_each_filter_is_answered_in_order() {
    let server = server().await;
    for (version, invalid, denied) in [(V3, 0x80, 0x80), (V5, 0x8F, 0x87)] {
        let mut client = server.connect(&Connect::of(version, "c").login("device", "secret")).await;
        let own = "devices/factory/oven-001/#";
        let filters =
            [(own, 2), ("a#", 0), (own, 0), ("$share/g/a", 0), ("$share/+/a", 0), ("$share/g", 0), ("#", 1)];
        client
            .ask(
                &subscribe(version, 7, &filters),
                &granted(version, 7, &[2, invalid, 0, denied, invalid, invalid, denied]),
            )
            .await;
    }
}

/// Rights that keep their reason to themselves: the client learns that it may not, and not why.
#[tokio::test]
async fn where_the_rights_do_not_tell_why_the_answer_does_not_either() {
    let server = server().await;
    for (version, told) in [(V3, 0x80), (V5, 0x80)] {
        let mut client = server.connect(&Connect::of(version, "c").login("hearer", "x")).await;
        client.ask(&subscribe(version, 7, &[("secret", 1)]), &granted(version, 7, &[told])).await;
    }
    let mut client = server.connect(&Connect::of(V5, "c").login("hearer", "x")).await;
    client.ask(&publish(V5, QOS_1, "secret", 1, "hi"), &[0x40, 3, 0, 1, 0x80]).await;
    client.ask(&publish(V5, QOS_1, "other", 2, "hi"), &[0x40, 3, 0, 2, 0x87]).await;
}

#[tokio::test]
async fn mqtt_3_3_5_1_overlapping_subscriptions_deliver_once_at_the_highest_quality() {
    let server = server().await;
    for version in [V3, V5] {
        let mut hearer = server.client(version, "hearer").await;
        for (filter, qos) in [("a/#", 0), ("a/+", 1), ("a/b", 0)] {
            hearer.subscribe(filter, qos).await;
        }
        let mut client = server.client(V3, "c").await;
        client.say("a/b", "once", QOS_1).await;
        client.say("a/b", "then", 0).await;
        hearer.expect(&publish(version, QOS_1, "a/b", 1, "once")).await;
        hearer.expect(&publish(version, 0, "a/b", 0, "then")).await;
    }
}

#[tokio::test]
async fn mqtt5_3_3_4_3_subscription_identifiers_come_back_with_the_message() {
    let server = server().await;
    let mut hearer = server.client(V5, "hearer").await;
    for (filter, identifier) in [("a/b", 7), ("a/+", 3)] {
        hearer.ask(&subscribe_with(V5, 1, &[0x0B, identifier], &[(filter, 0)]), &granted(V5, 1, &[0])).await;
    }
    let mut client = server.client(V5, "c").await;
    client.say("a/b", "hi", 0).await;
    hearer.expect(&publish_with(V5, 0, "a/b", 0, &[0x0B, 3, 0x0B, 7], b"hi")).await;
    client.say("a/c", "hi", 0).await;
    hearer.expect(&publish_with(V5, 0, "a/c", 0, &[0x0B, 3], b"hi")).await;
}

#[tokio::test]
async fn mqtt5_3_8_3_3_no_local_keeps_a_clients_own_messages_from_it() {
    let server = server().await;
    let mut client = server.client(V5, "c").await;
    client.subscribe("a", 4).await;
    client.subscribe("b", 0).await;
    client.send(&[publish(V5, 0, "a", 0, "own"), publish(V5, 0, "b", 0, "other")].concat()).await;
    client.expect(&publish(V5, 0, "b", 0, "other")).await;
}

#[tokio::test]
async fn mqtt5_3_8_3_3_no_local_holds_for_what_is_found_again() {
    const NO_LOCAL: u8 = 4;
    let hour = || Connect { flags: 0, properties: &[0x11, 0, 0, 0x0E, 0x10], ..Connect::of(V5, "c") };
    // What its client retained.
    let mut server = server().await;
    let mut client = server.connect(&hour()).await;
    client.say("a", "kept", RETAIN | QOS_1).await;
    client.subscribe("a", NO_LOCAL | 1).await;
    client.expect_nothing_but_life().await;
    // What is in the journal, somebody else's subscription having asked for it.
    let mut hearer = server.connect(&Connect { payload: counted("hearer"), ..hour() }).await;
    hearer.subscribe("a", 1).await;
    hearer.expect(&publish(V5, RETAIN | QOS_1, "a", 1, "kept")).await;
    client.say("a", "own", QOS_1).await;
    hearer.expect(&publish(V5, QOS_1, "a", 2, "own")).await;
    server.client(V5, "other").await.say("a", "others", QOS_1).await;
    client.expect(&publish(V5, QOS_1, "a", 1, "others")).await;
    server = server.crash().await;
    let mut client = server.connecting(&hour()).await;
    assert_eq!(client.packet("CONNACK").await[2..4], [1, 0]);
    client.expect(&publish(V5, QOS_1, "a", 1, "others")).await;
    client.expect_nothing_but_life().await;
    client.subscribe("a", NO_LOCAL | 1).await;
    client.expect_nothing_but_life().await;
}

#[tokio::test]
async fn mqtt_4_7_2_1_a_leading_wildcard_does_not_match_dollar_topics() {
    let server = server().await;
    let mut hearer = server.client(V3, "hearer").await;
    for filter in ["#", "+/x"] {
        hearer.subscribe(filter, 0).await;
    }
    // Clients may not publish there (MQTT-4.7.2-1 leaves it to the server), so the refusal is what can be seen outside.
    let mut client = server.client(V5, "c").await;
    client.ask(&publish(V5, QOS_1, "$SYS/x", 1, "no"), &[0x40, 3, 0, 1, 0x87]).await;
    client.say("y/x", "yes", 0).await;
    hearer.expect(&publish(V3, 0, "y/x", 0, "yes")).await;
}

#[tokio::test]
async fn mqtt_3_10_4_after_unsubscribing_nothing_comes() {
    let server = server().await;
    let mut hearer = server.client(V5, "hearer").await;
    hearer.subscribe("a", 0).await;
    hearer.subscribe("b", 0).await;
    let unsubscribe = packet(0xA2, &[0, 5, 0, 0, 1, b'a', 0, 1, b'z']);
    hearer.ask(&unsubscribe, &packet(0xB0, &[0, 5, 0, 0, 0x11])).await;
    let mut old = server.client(V3, "old").await;
    old.ask(&packet(0xA2, &[0, 5, 0, 1, b'a']), &packet(0xB0, &[0, 5])).await;
    let mut client = server.client(V3, "c").await;
    client.say("a", "gone", 0).await;
    client.say("b", "there", 0).await;
    hearer.expect(&publish(V5, 0, "b", 0, "there")).await;
}

#[tokio::test]
async fn mqtt5_3_3_4_9_no_more_are_under_way_than_the_client_takes() {
    let server = server().await;
    let one = Connect { properties: &[0x21, 0, 1], ..Connect::of(V5, "hearer") };
    let mut hearer = server.connect(&one).await;
    hearer.subscribe("a", 1).await;
    let mut client = server.client(V3, "c").await;
    for payload in ["1", "2", "3"] {
        client.say("a", payload, QOS_1).await;
    }
    for (id, payload) in [(1, "1"), (2, "2"), (3, "3")] {
        hearer.expect(&publish(V5, QOS_1, "a", id, payload)).await;
        hearer.expect_nothing_but_life().await;
        hearer.send(&acknowledged(id)).await;
    }
}

#[tokio::test]
async fn mqtt5_3_1_2_24_a_message_larger_than_the_client_takes_is_not_sent_to_it() {
    let server = server().await;
    let small = Connect { properties: &[0x27, 0, 0, 0, 30], ..Connect::of(V5, "hearer") };
    let mut hearer = server.connect(&small).await;
    hearer.subscribe("a", 0).await;
    let mut client = server.client(V3, "c").await;
    client.say("a", &"x".repeat(40), 0).await;
    client.say("a", "small", 0).await;
    hearer.expect(&publish(V5, 0, "a", 0, "small")).await;
    assert_eq!(
        server.metric("egiz_broker_dropped_messages_total{reason=\"larger-than-subscriber-takes\"}"),
        1
    );
}
