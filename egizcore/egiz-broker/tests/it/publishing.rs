//! PUBLISH: topics, qualities of service, properties and aliases.

use crate::harness::{server, until};
use crate::packets::{
    Connect, QOS_1, RETAIN, V3, V5, acknowledged, counted, disconnect, granted, publish, publish_with,
    refused, subscribe_with,
};

/// A session expiry of an hour.
const HOUR: &[u8] = &[0x11, 0, 0, 0x0E, 0x10];

#[tokio::test]
async fn mqtt_4_3_messages_reach_subscribers_at_the_lower_quality_of_both() {
    let server = server().await;
    for (version, other) in [(V3, V5), (V5, V3), (V3, V3), (V5, V5)] {
        let mut hearer = server.client(version, "hearer").await;
        hearer.subscribe("zero", 0).await;
        hearer.subscribe("one", 1).await;
        let mut client = server.client(other, "c").await;
        client.say("zero", "a", 0).await;
        hearer.expect(&publish(version, 0, "zero", 0, "a")).await;
        client.say("zero", "b", QOS_1).await;
        hearer.expect(&publish(version, 0, "zero", 0, "b")).await;
        client.say("one", "c", 0).await;
        hearer.expect(&publish(version, 0, "one", 0, "c")).await;
        client.say("one", "d", QOS_1).await;
        hearer.expect(&publish(version, QOS_1, "one", 1, "d")).await;
        hearer.send(&acknowledged(1)).await;
    }
}

#[tokio::test]
async fn mqtt5_3_3_2_17_user_properties_and_the_others_are_passed_on_untouched_and_in_order() {
    let server = server().await;
    let mut hearer = server.client(V5, "hearer").await;
    hearer.subscribe("a", 1).await;
    let mut client = server.client(V5, "c").await;
    let user = |name: &str, value: &str| [&[0x26][..], &counted(name), &counted(value)].concat();
    let sent = [user("k", "1"), user("a", "ü"), user("k", "1"), user("", "")];
    let others = [
        vec![0x01, 1],
        vec![0x02, 0, 0, 1, 0],
        [&[0x03][..], &counted("text/plain")].concat(),
        [&[0x08][..], &counted("answer/here")].concat(),
        [&[0x09][..], &counted([0, 255, 7])].concat(),
    ];
    let properties = [sent.concat(), others.concat()].concat();
    client.send(&publish_with(V5, QOS_1, "a", 1, &properties, b"hi")).await;
    let heard = hearer.packet("the message").await;
    let has = |wanted: &[u8]| heard.windows(wanted.len()).any(|window| window == wanted);
    assert!(has(&sent.concat()), "{heard:02x?}");
    for other in &others {
        assert!(has(other), "{other:02x?} in {heard:02x?}");
    }
    let nothing = publish(V5, QOS_1, "a", 1, "hi").len();
    assert_eq!(heard.len(), nothing + properties.len(), "nothing is added");
    // To a client of 3.1.1 they cannot be said.
    let mut old = server.client(V3, "old").await;
    old.subscribe("a", 0).await;
    client.send(&publish_with(V5, 0, "a", 1, &properties, b"hi")).await;
    old.expect(&publish(V3, 0, "a", 0, "hi")).await;
}

/// The payload is passed on as it is, whatever is said of it: that it is UTF-8 the server may check, and does not.
#[tokio::test]
async fn mqtt5_3_3_2_4_the_payload_format_reaches_every_subscriber_unaltered() {
    let server = server().await;
    let mut live = server.client(V5, "live").await;
    live.subscribe("a", 2).await;
    let mut by_alias =
        server.connect(&Connect { properties: &[0x22, 0, 1], ..Connect::of(V5, "by-alias") }).await;
    by_alias.subscribe("a", 0).await;
    let mut by_identifier = server.client(V5, "by-identifier").await;
    by_identifier.send(&subscribe_with(V5, 1, &[0x0B, 5], &[("a", 0)])).await;
    by_identifier.expect(&granted(V5, 1, &[0])).await;
    let mut sharing = server.client(V5, "sharing").await;
    sharing.subscribe("$share/g/a", 0).await;
    let waiting = Connect { properties: HOUR, ..Connect::of(V5, "waiting") };
    server.connect(&waiting).await.subscribe("a", 1).await;
    until("one client to be away", || server.broker.status().clients == 4).await;
    let mut client = server.client(V5, "c").await;
    let said = [(&[][..], "none"), (&[0x01, 0], "zero"), (&[0x01, 1], "one")];
    for (number, (format, what)) in (1..).zip(said) {
        let bytes: &[u8] = &[0xff, 0xfe, 0, b'!'];
        client.send(&publish_with(V5, QOS_1 | RETAIN, "a", 1, format, bytes)).await;
        assert_eq!(client.packet("PUBACK").await, acknowledged(1), "{what}");
        live.expect(&publish_with(V5, QOS_1, "a", number, format, bytes)).await;
        let alias = [&[0x23, 0, 1], format].concat();
        let topic = if number == 1 { "a" } else { "" };
        by_alias.expect(&publish_with(V5, 0, topic, 0, &alias, bytes)).await;
        let identifier = [&[0x0B, 5], format].concat();
        by_identifier.expect(&publish_with(V5, 0, "a", 0, &identifier, bytes)).await;
        sharing.expect(&publish_with(V5, 0, "a", 0, format, bytes)).await;
        let mut late = server.client(V5, "late").await;
        late.subscribe("a", 0).await;
        late.expect(&publish_with(V5, RETAIN, "a", 0, format, bytes)).await;
    }
    // From the journal, after a crash as well.
    let server = server.crash().await;
    let mut waiting = server.connect(&Connect { flags: 0, ..waiting }).await;
    for (number, (format, _)) in (1..).zip(said) {
        waiting.expect(&publish_with(V5, QOS_1, "a", number, format, &[0xff, 0xfe, 0, b'!'])).await;
    }
    let mut client = server.client(V5, "c").await;
    client.ask(&publish_with(V5, 0, "a", 0, &[0x01, 2], b""), &disconnect(0x81)).await;
    let mut client = server.client(V5, "c").await;
    client.ask(&publish_with(V5, 0, "a", 0, &[0x01, 0, 0x01, 0], b""), &disconnect(0x82)).await;
}

#[tokio::test]
async fn a_message_that_is_to_live_for_no_time_reaches_those_who_are_there() {
    let server = server().await;
    let mut hearer = server.client(V5, "hearer").await;
    hearer.subscribe("a", 1).await;
    let mut client = server.client(V5, "c").await;
    let message = publish_with(V5, QOS_1 | RETAIN, "a", 1, &[0x02, 0, 0, 0, 0], b"hi");
    client.ask(&message, &acknowledged(1)).await;
    hearer.expect(&publish_with(V5, QOS_1, "a", 1, &[0x02, 0, 0, 0, 0], b"hi")).await;
    server.advance(1);
    let mut late = server.client(V5, "late").await;
    late.subscribe("a", 0).await;
    late.expect_nothing_but_life().await;
}

#[tokio::test]
async fn mqtt5_3_3_2_3_4_aliases_of_one_connection_are_not_known_in_another() {
    let server = server().await;
    let mut hearer = server.client(V5, "hearer").await;
    hearer.subscribe("#", 0).await;
    let mut client = server.client(V5, "c").await;
    client.send(&publish_with(V5, 0, "long/topic", 0, &[0x23, 0, 3], b"1")).await;
    client.send(&publish_with(V5, 0, "", 0, &[0x23, 0, 3], b"2")).await;
    client.send(&publish_with(V5, 0, "other", 0, &[0x23, 0, 3], b"3")).await;
    client.send(&publish_with(V5, 0, "", 0, &[0x23, 0, 3], b"4")).await;
    for (topic, payload) in [("long/topic", "1"), ("long/topic", "2"), ("other", "3"), ("other", "4")] {
        hearer.expect(&publish(V5, 0, topic, 0, payload)).await;
    }
    let mut stranger = server.client(V5, "stranger").await;
    stranger.ask(&publish_with(V5, 0, "", 0, &[0x23, 0, 3], b""), &disconnect(0x82)).await;
}

#[tokio::test]
async fn mqtt_3_3_2_publishes_that_break_a_rule_end_the_connection_with_the_reason() {
    let server = server().await;
    for (bytes, code, what) in [
        (publish(V5, 0, "a/#", 0, ""), 0x81, "3.3.2-2: no wildcards"),
        (publish(V5, 0, "a\0", 0, ""), 0x81, "1.5.4-2: no NUL"),
        (publish(V5, 0, "", 0, ""), 0x82, "3.3.2-8: no topic and no alias"),
        (publish_with(V5, 0, "a", 0, &[0x23, 0, 65], b""), 0x94, "3.3.2-9: an alias beyond the maximum"),
        (publish(V5, QOS_1, "a", 0, ""), 0x81, "2.2.1-2: packet id 0"),
        (publish(V5, 6, "a", 1, ""), 0x81, "3.3.1-4: QoS 3"),
        (publish(V5, 8, "a", 1, ""), 0x81, "3.3.1-2: DUP with QoS 0"),
        (publish_with(V5, 0, "a", 0, &[0x0B, 1], b""), 0x82, "3.3.4-6: a subscription identifier"),
        (
            publish_with(V5, 0, "a", 0, &[0x08, 0, 1, b'#'], b""),
            0x82,
            "3.3.2-14: a response topic with a wildcard",
        ),
        (publish_with(V5, 0, "a", 0, &[0x21, 0, 1], b""), 0x81, "2.2.2-2: a property of another packet"),
    ] {
        let mut client = server.client(V5, "c").await;
        client.send(&bytes).await;
        let answer = client.packet(what).await;
        assert_eq!(answer, disconnect(code), "{what}: {answer:02x?}");
        client.expect_end().await;
    }
}

#[tokio::test]
async fn mqtt_3_3_5_2_a_device_publishes_under_its_own_topics_only() {
    let server = server().await;
    let mut client = server.connect(&Connect::of(V5, "c").login("device", "secret")).await;
    let own = "devices/factory/oven-001/reply";
    client.ask(&publish(V5, QOS_1, own, 1, "hi"), &acknowledged(1)).await;
    for other in ["sensors/factory/oven-002/telemetry", "$SYS/x", "devices/factory/oven-001"] {
        client.ask(&publish(V5, QOS_1, other, 2, "hi"), &refused(2, 0x87)).await;
    }
    assert_eq!(server.intake.taken(), [format!("{own} hi")]);
}
