//! Retained messages.

use bytes::Bytes;
use egiz_broker::{BrokerConfig, Refusal};

use crate::harness::{Then, server, server_with};
use crate::packets::{
    Connect, QOS_1, RETAIN, V3, V5, acknowledged, counted, granted, packet, publish, subscribe,
};

#[tokio::test]
async fn mqtt_3_3_1_6_a_new_subscription_gets_the_last_retained_message_marked_as_such() {
    for version in [V3, V5] {
        let server = server().await;
        let mut client = server.client(version, "c").await;
        client.say("a/b", "old", RETAIN | QOS_1).await;
        client.say("a/b", "new", RETAIN | QOS_1).await;
        client.say("a/c", "live", QOS_1).await;
        let mut hearer = server.client(version, "hearer").await;
        hearer.subscribe("a/+", 1).await;
        hearer.expect(&publish(version, RETAIN | QOS_1, "a/b", 1, "new")).await;
        // To a subscription that is there it comes as any other (MQTT-3.3.1-9).
        client.say("a/b", "newest", RETAIN).await;
        hearer.expect(&publish(version, 0, "a/b", 0, "newest")).await;
        // Empty clears it (MQTT-3.3.1-10).
        client.say("a/b", "", RETAIN).await;
        hearer.expect(&publish(version, 0, "a/b", 0, "")).await;
        let mut late = server.client(version, "late").await;
        late.subscribe("a/+", 1).await;
        late.expect_nothing_but_life().await;
        assert_eq!(server.broker.status().retained, 0);
    }
}

#[tokio::test]
async fn mqtt5_3_3_1_9_retain_handling_says_when_retained_messages_are_wanted() {
    const IF_NEW: u8 = 0x10;
    const NEVER: u8 = 0x20;
    let server = server().await;
    server.client(V5, "c").await.say("a", "kept", RETAIN).await;
    let kept = publish(V5, RETAIN, "a", 0, "kept");
    let mut hearer = server.client(V5, "hearer").await;
    hearer.subscribe("a", NEVER).await;
    hearer.expect_nothing_but_life().await;
    hearer.subscribe("a", 0).await;
    hearer.expect(&kept).await;
    hearer.subscribe("a", IF_NEW).await;
    hearer.expect_nothing_but_life().await;
    let mut other = server.client(V5, "other").await;
    other.subscribe("a", IF_NEW).await;
    other.expect(&kept).await;
}

#[tokio::test]
async fn mqtt5_3_3_1_12_retain_as_published_keeps_the_mark() {
    let server = server().await;
    let mut hearer = server.client(V5, "hearer").await;
    hearer.subscribe("a", 8).await;
    let mut client = server.client(V5, "c").await;
    client.say("a", "kept", RETAIN).await;
    hearer.expect(&publish(V5, RETAIN, "a", 0, "kept")).await;
    client.say("a", "live", 0).await;
    hearer.expect(&publish(V5, 0, "a", 0, "live")).await;
}

#[tokio::test]
async fn beyond_the_bound_a_message_is_delivered_but_not_retained_and_counted() {
    let server = server_with(BrokerConfig { retained_messages_max: 1, ..BrokerConfig::default() }).await;
    let mut client = server.client(V5, "c").await;
    client.subscribe("#", 0).await;
    client.ask(&publish(V5, RETAIN, "a", 0, "1"), &publish(V5, 0, "a", 0, "1")).await;
    client.ask(&publish(V5, RETAIN, "b", 0, "1"), &publish(V5, 0, "b", 0, "1")).await;
    client.expect_nothing_but_life().await;
    assert_eq!(server.broker.status().retained, 1);
    assert_eq!(server.metric("egiz_broker_dropped_messages_total{reason=\"retained-full\"}"), 1);
}

#[tokio::test]
async fn messages_kept_over_a_restart_are_there_again() {
    let server = server().await;
    let message = egiz_broker::Publish::new("a", Bytes::from_static(b"kept"), 1, true);
    server.broker.restore_retained([message]);
    let mut hearer = server.client(V3, "hearer").await;
    hearer.ask(&subscribe(V3, 1, &[("#", 0)]), &granted(V3, 1, &[0])).await;
    hearer.expect(&publish(V3, RETAIN, "a", 0, "kept")).await;
}

#[tokio::test]
async fn what_the_broker_says_of_itself_is_there_from_the_beginning_and_takes_nobodys_room() {
    let server = server_with(BrokerConfig { retained_messages_max: 0, ..BrokerConfig::default() }).await;
    let mut client = server.client(V3, "c").await;
    client.subscribe("$SYS/broker/durability", 0).await;
    client.expect(&publish(V3, RETAIN, "$SYS/broker/durability", 0, "fsync")).await;
    assert_eq!(server.broker.status().retained, 0);
}

#[tokio::test]
async fn mqtt_3_3_1_5_a_retained_message_is_heard_of_only_when_it_can_be_found() {
    for version in [V3, V5] {
        let server = server().await;
        let mut hearer = server.client(version, "hearer").await;
        hearer.subscribe("a", 0).await;
        let mut client = server.client(version, "c").await;
        server.intake.then(Then::Hold);
        client.say("a", "kept", RETAIN).await;
        server.intake.holds(1).await;
        // What the client says next does not overtake it (MQTT-4.6.0-6).
        client.say("a", "live", 0).await;
        server.intake.holds(2).await;
        hearer.expect_nothing_but_life().await;
        server.intake.take_held(0).committed();
        hearer.expect(&publish(version, 0, "a", 0, "kept")).await;
        hearer.expect_nothing_but_life().await;
        assert_eq!(server.broker.status().retained, 1);
        server.intake.take_held(0).committed();
        hearer.expect(&publish(version, 0, "a", 0, "live")).await;
        // Nothing is under way any more: QoS 0 waits for nobody.
        client.say("a", "at once", 0).await;
        hearer.expect(&publish(version, 0, "a", 0, "at once")).await;
    }
}

#[tokio::test]
async fn messages_of_qos_0_that_waited_are_delivered_where_there_is_no_space_to_retain_them() {
    let server = server().await;
    let mut hearer = server.client(V5, "hearer").await;
    hearer.subscribe("a", 0).await;
    server.intake.then(Then::Refuse(Refusal::NoSpace));
    server.client(V5, "c").await.say("a", "kept", RETAIN).await;
    hearer.expect(&publish(V5, 0, "a", 0, "kept")).await;
    assert_eq!(server.broker.status().retained, 0);
}

#[tokio::test]
async fn a_subscription_takes_effect_between_what_its_client_published_and_what_it_publishes_next() {
    for (version, expiry) in [(V3, &[][..]), (V5, &[][..]), (V5, &[0x11, 0, 0, 0x0E, 0x10])] {
        for qos in [0, QOS_1] {
            let server = server().await;
            let connect = Connect { properties: expiry, ..Connect::of(version, "c") };
            let mut client = server.connect(&connect).await;
            let before = publish(version, qos | RETAIN, "a", 1, "before");
            let behind = publish(version, 0, "a", 0, "behind");
            client.send(&[before, subscribe(version, 2, &[("a", 0)]), behind.clone()].concat()).await;
            if qos > 0 {
                client.expect(&acknowledged(1)).await;
            }
            client.expect(&granted(version, 2, &[0])).await;
            client.expect(&publish(version, RETAIN, "a", 0, "before")).await;
            client.expect(&behind).await;
            client.expect_nothing_but_life().await;
        }
    }
}

#[tokio::test]
async fn mqtt_4_6_0_6_nothing_newer_comes_before_the_retained_message() {
    let server = server().await;
    let mut client = server.client(V5, "c").await;
    client.say("a", "kept", RETAIN).await;
    let hour = Connect { properties: &[0x11, 0, 0, 0x0E, 0x10], ..Connect::of(V5, "hearer") };
    let mut hearer = server.connect(&hour).await;
    server.intake.then(Then::Hold);
    hearer.send(&subscribe(V5, 1, &[("a", 0)])).await;
    server.intake.holds(1).await;
    client.say("a", "missed", 0).await;
    server.intake.holds(2).await;
    hearer.expect_nothing_but_life().await;
    server.intake.take_held(0).committed();
    hearer.expect(&granted(V5, 1, &[0])).await;
    hearer.expect(&publish(V5, RETAIN, "a", 0, "kept")).await;
    client.say("a", "live", 0).await;
    hearer.expect(&publish(V5, 0, "a", 0, "live")).await;
}

#[tokio::test]
async fn a_subscription_that_was_ended_before_it_took_effect_does_not() {
    let server = server().await;
    let hour = Connect { properties: &[0x11, 0, 0, 0x0E, 0x10], ..Connect::of(V5, "hearer") };
    let mut hearer = server.connect(&hour).await;
    server.intake.then(Then::Hold);
    hearer.send(&subscribe(V5, 1, &[("a", 0)])).await;
    server.intake.holds(1).await;
    hearer.send(&packet(0xA2, &[&[0, 2, 0][..], &counted("a")].concat())).await;
    server.intake.holds(2).await;
    server.intake.then(Then::Commit);
    server.intake.take_held(0).committed();
    server.intake.take_held(0).committed();
    hearer.expect(&granted(V5, 1, &[0])).await;
    hearer.expect(&packet(0xB0, &[0, 2, 0, 0])).await;
    server.client(V5, "c").await.say("a", "hi", 0).await;
    hearer.expect_nothing_but_life().await;
    assert_eq!(server.broker.status().subscriptions, 0);
}
