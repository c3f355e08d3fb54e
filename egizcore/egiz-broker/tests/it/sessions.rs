//! Sessions that outlive their connection, and their program.

use egiz_broker::{BrokerConfig, Refusal};

use crate::harness::{Client, Server, Then, server, server_with};
use crate::packets::{
    AGAIN, Connect, QOS_1, QOS_2, V3, V5, acknowledged, counted, granted, packet, publish, publish_with,
    step, subscribe,
};

const RECEIVED: u8 = 0x50;
const RELEASE: u8 = 0x62;
const COMPLETE: u8 = 0x70;
/// Session expiry interval: an hour.
const HOUR: &[u8] = &[0x11, 0, 0, 0x0E, 0x10];

/// A client whose session is kept.
fn keeping(version: u8, id: &str) -> Connect<'_> {
    let properties = if version == V5 { HOUR } else { &[] };
    Connect { flags: 0, properties, ..Connect::of(version, id) }
}

/// Connects and says whether the session was there.
async fn present(server: &Server, connect: &Connect<'_>) -> (Client, bool) {
    let mut client = server.connecting(connect).await;
    let answer = client.packet("CONNACK").await;
    assert_eq!((answer[0], answer[3]), (0x20, 0), "{answer:?}");
    (client, answer[2] == 1)
}

/// A session that subscribes to `a` and is left.
async fn leave_session(server: &Server, version: u8, qos: u8) {
    let (mut client, was_there) = present(server, &keeping(version, "hearer")).await;
    assert!(!was_there);
    client.subscribe("a", qos).await;
    client.send(&packet(0xE0, &[])).await;
    client.expect_end().await;
}

/// The topic, packet id and payload of a PUBLISH of QoS 1 or 2 on a topic of one letter.
fn delivered(version: u8, packet: &[u8]) -> (u16, String) {
    let properties = usize::from(version == V5);
    let id = u16::from_be_bytes([packet[5], packet[6]]);
    (id, String::from_utf8_lossy(&packet[7 + properties..]).into_owned())
}

#[tokio::test]
async fn mqtt_3_1_2_4_a_session_is_there_again_and_a_clean_start_throws_it_away() {
    for version in [V3, V5] {
        let server = server().await;
        leave_session(&server, version, 1).await;
        let (client, was_there) = present(&server, &keeping(version, "hearer")).await;
        assert!(was_there);
        drop(client);
        let (client, was_there) = present(&server, &Connect::of(version, "hearer")).await;
        assert!(!was_there);
        drop(client);
        let (_client, was_there) = present(&server, &keeping(version, "hearer")).await;
        assert!(!was_there);
    }
}

#[tokio::test]
async fn mqtt_3_1_2_5_messages_of_qos_1_and_2_wait_for_a_client_that_is_away() {
    for version in [V3, V5] {
        let server = server().await;
        leave_session(&server, version, 2).await;
        let mut client = server.client(V3, "c").await;
        for number in 0..20 {
            client.say("a", &format!("{number}"), QOS_1).await;
            client.say("a", "not kept", 0).await;
            client.say("b", "not subscribed to", QOS_1).await;
        }
        let (mut hearer, was_there) = present(&server, &keeping(version, "hearer")).await;
        assert!(was_there);
        for number in 0..20_u16 {
            hearer.expect(&publish(version, QOS_1, "a", number + 1, &format!("{number}"))).await;
            hearer.send(&acknowledged(number + 1)).await;
        }
        client.say("a", "live", QOS_1).await;
        hearer.expect(&publish(version, QOS_1, "a", 21, "live")).await;
    }
}

#[tokio::test]
async fn mqtt_4_3_3_a_message_of_qos_2_is_taken_once_however_often_it_is_sent() {
    for version in [V3, V5] {
        let server = server().await;
        let mut hearer = server.client(V3, "hearer").await;
        hearer.subscribe("a", 0).await;
        let mut client = server.client(version, "c").await;
        client.ask(&publish(version, QOS_2, "a", 7, "hi"), &step(RECEIVED, 7)).await;
        client.ask(&publish(version, QOS_2 | AGAIN, "a", 7, "hi"), &step(RECEIVED, 7)).await;
        client.ask(&step(RELEASE, 7), &step(COMPLETE, 7)).await;
        client.ask(&publish(version, QOS_2, "a", 7, "another"), &step(RECEIVED, 7)).await;
        hearer.expect(&publish(V3, 0, "a", 0, "hi")).await;
        hearer.expect(&publish(V3, 0, "a", 0, "another")).await;
        hearer.expect_nothing_but_life().await;
    }
}

#[tokio::test]
async fn mqtt5_4_3_3_a_release_of_an_unknown_id_is_told_so() {
    let server = server().await;
    let mut client = server.client(V5, "c").await;
    client.ask(&step(RELEASE, 9), &packet(COMPLETE, &[0, 9, 0x92])).await;
    client.ask(&step(RECEIVED, 9), &packet(RELEASE, &[0, 9, 0x92])).await;
    let mut client = server.client(V3, "d").await;
    client.ask(&step(RELEASE, 9), &step(COMPLETE, 9)).await;
}

#[tokio::test]
async fn mqtt_4_3_3_a_delivery_of_qos_2_goes_step_by_step() {
    for connect in
        [Connect::of(V3, "hearer"), Connect::of(V5, "hearer"), keeping(V3, "kept"), keeping(V5, "kept")]
    {
        let server = server().await;
        let mut hearer = server.connect(&connect).await;
        hearer.subscribe("a", 2).await;
        let mut client = server.client(V3, "c").await;
        client.ask(&publish(V3, QOS_2, "a", 7, "hi"), &step(RECEIVED, 7)).await;
        hearer.expect(&publish(connect.version, QOS_2, "a", 1, "hi")).await;
        hearer.ask(&step(RECEIVED, 1), &step(RELEASE, 1)).await;
        hearer.ask(&step(RECEIVED, 1), &step(RELEASE, 1)).await;
        hearer.send(&step(COMPLETE, 1)).await;
        hearer.expect_nothing_but_life().await;
    }
}

#[tokio::test]
async fn mqtt_4_4_0_1_what_was_not_answered_comes_again_with_its_id() {
    for version in [V3, V5] {
        let server = server().await;
        let (mut hearer, _) = present(&server, &keeping(version, "hearer")).await;
        hearer.subscribe("a", 2).await;
        let mut client = server.client(V3, "c").await;
        client.say("a", "one", QOS_1).await;
        client.ask(&publish(V3, QOS_2, "a", 7, "two"), &step(RECEIVED, 7)).await;
        client.ask(&publish(V3, QOS_2, "a", 8, "three"), &step(RECEIVED, 8)).await;
        hearer.expect(&publish(version, QOS_1, "a", 1, "one")).await;
        hearer.expect(&publish(version, QOS_2, "a", 2, "two")).await;
        hearer.expect(&publish(version, QOS_2, "a", 3, "three")).await;
        hearer.ask(&step(RECEIVED, 2), &step(RELEASE, 2)).await;
        drop(hearer);
        client.say("a", "four", QOS_1).await;
        let (mut hearer, was_there) = present(&server, &keeping(version, "hearer")).await;
        assert!(was_there);
        hearer.expect(&step(RELEASE, 2)).await;
        hearer.expect(&publish(version, QOS_1 | AGAIN, "a", 1, "one")).await;
        hearer.expect(&publish(version, QOS_2 | AGAIN, "a", 3, "three")).await;
        hearer.expect(&publish(version, QOS_1, "a", 4, "four")).await;
        hearer.expect_nothing_but_life().await;
    }
}

#[tokio::test]
async fn after_a_crash_every_message_that_was_acknowledged_is_there() {
    for version in [V3, V5] {
        let server = server().await;
        leave_session(&server, version, 1).await;
        let mut client = server.client(V3, "c").await;
        for number in 0..50 {
            client.say("a", &format!("{number}"), QOS_1).await;
        }
        client.say("status", "kept", QOS_1 | crate::packets::RETAIN).await;
        let server = server.crash().await;
        let (mut hearer, was_there) = present(&server, &keeping(version, "hearer")).await;
        assert!(was_there);
        for number in 0..50 {
            let (id, payload) = delivered(version, &hearer.packet("the message").await);
            assert_eq!(payload, format!("{number}"));
            hearer.send(&acknowledged(id)).await;
        }
        hearer.expect_nothing_but_life().await;
        hearer.send(&subscribe(version, 9, &[("status", 0)])).await;
        hearer.packet("SUBACK").await;
        assert!(hearer.packet("the retained message").await.ends_with(b"kept"));
    }
}

/// A delivery of QoS 2 with a crash after each of its steps: the message comes once.
#[tokio::test]
async fn after_a_crash_a_delivery_of_qos_2_goes_on_where_it_was() {
    for crash_after in 0..4 {
        let server = server().await;
        let (mut hearer, _) = present(&server, &keeping(V3, "hearer")).await;
        hearer.subscribe("a", 2).await;
        let mut client = server.client(V3, "c").await;
        client.ask(&publish(V3, QOS_2, "a", 7, "once"), &step(RECEIVED, 7)).await;
        let sent = publish(V3, QOS_2, "a", 1, "once");
        let again = publish(V3, QOS_2 | AGAIN, "a", 1, "once");
        if crash_after > 0 {
            hearer.expect(&sent).await;
        }
        if crash_after > 1 {
            hearer.ask(&step(RECEIVED, 1), &step(RELEASE, 1)).await;
        }
        if crash_after > 2 {
            hearer.send(&step(COMPLETE, 1)).await;
            hearer.expect_nothing_but_life().await;
        }
        let server = server.crash().await;
        let (mut hearer, was_there) = present(&server, &keeping(V3, "hearer")).await;
        assert!(was_there);
        match crash_after {
            // It may have been sent or not.
            0 => {
                let found = hearer.packet("the message").await;
                assert!(found == sent || found == again, "{found:02x?}");
                hearer.ask(&step(RECEIVED, 1), &step(RELEASE, 1)).await;
            }
            1 => {
                hearer.expect(&again).await;
                hearer.ask(&step(RECEIVED, 1), &step(RELEASE, 1)).await;
            }
            _ => hearer.expect(&step(RELEASE, 1)).await,
        }
        hearer.send(&step(COMPLETE, 1)).await;
        hearer.expect_nothing_but_life().await;
    }
}

#[tokio::test]
async fn after_a_crash_a_message_of_qos_2_that_was_received_is_not_taken_again() {
    let server = server().await;
    let (mut client, _) = present(&server, &keeping(V3, "c")).await;
    client.ask(&publish(V3, QOS_2, "a", 7, "hi"), &step(RECEIVED, 7)).await;
    client.ask(&publish(V3, QOS_2, "a", 8, "hi"), &step(RECEIVED, 8)).await;
    client.ask(&step(RELEASE, 8), &step(COMPLETE, 8)).await;
    let server = server.crash().await;
    let (mut client, was_there) = present(&server, &keeping(V3, "c")).await;
    assert!(was_there);
    client.ask(&publish(V3, QOS_2 | AGAIN, "a", 7, "hi"), &step(RECEIVED, 7)).await;
    assert!(server.intake.taken().is_empty(), "it was taken before");
    client.ask(&step(RELEASE, 7), &step(COMPLETE, 7)).await;
    client.ask(&publish(V3, QOS_2, "a", 8, "new"), &step(RECEIVED, 8)).await;
    assert_eq!(server.intake.taken(), ["a new"]);
}

#[tokio::test]
async fn a_client_hears_of_its_new_session_once_that_is_kept_or_is_refused() {
    for version in [V3, V5] {
        let server = server().await;
        server.intake.then(Then::Hold);
        let mut client = server.connecting(&keeping(version, "hearer")).await;
        server.intake.holds(1).await;
        client.expect_silence().await;
        server.intake.then(Then::Commit);
        server.intake.take_held(0).committed();
        assert_eq!(client.packet("CONNACK").await[3], 0);
        server.intake.then(Then::Refuse(Refusal::NoSpace));
        let mut refused = server.connecting(&keeping(version, "another")).await;
        assert_eq!(refused.packet("CONNACK").await[3], if version == V5 { 0x97 } else { 3 });
        refused.expect_end().await;
        // One that is there, and one that is not to be kept, need no space.
        drop(client);
        let (_client, was_there) = present(&server, &keeping(version, "hearer")).await;
        assert!(was_there);
        server.client(version, "c").await;
        server.intake.then(Then::Commit);
        let (_another, was_there) = present(&server, &keeping(version, "another")).await;
        assert!(!was_there);
    }
}

/// A message is read before its hearer subscribes, and committed after.
#[tokio::test]
async fn after_a_crash_a_message_of_qos_2_that_met_the_subscription_on_its_way_is_not_sent_twice() {
    let server = server().await;
    let (mut hearer, _) = present(&server, &keeping(V3, "hearer")).await;
    let mut client = server.client(V3, "c").await;
    server.intake.then(Then::Hold);
    client.send(&publish(V3, QOS_2, "a", 7, "once")).await;
    server.intake.holds(1).await;
    hearer.send(&subscribe(V3, 1, &[("a", 2)])).await;
    server.intake.holds(2).await;
    server.intake.then(Then::Commit);
    server.intake.take_held(1).committed();
    hearer.expect(&granted(V3, 1, &[2])).await;
    server.intake.take_held(0).committed();
    hearer.expect(&publish(V3, QOS_2, "a", 1, "once")).await;
    hearer.ask(&step(RECEIVED, 1), &step(RELEASE, 1)).await;
    let server = server.crash().await;
    let (mut hearer, was_there) = present(&server, &keeping(V3, "hearer")).await;
    assert!(was_there);
    hearer.expect(&step(RELEASE, 1)).await;
    hearer.send(&step(COMPLETE, 1)).await;
    hearer.expect_nothing_but_life().await;
}

#[tokio::test]
async fn after_a_crash_nothing_comes_that_is_older_than_the_subscription() {
    for version in [V3, V5] {
        let server = server().await;
        let (mut hearer, _) = present(&server, &keeping(version, "hearer")).await;
        let mut client = server.client(V3, "c").await;
        client.say("a", "before", QOS_1).await;
        hearer.subscribe("a", 1).await;
        drop(hearer);
        client.say("a", "after", QOS_1).await;
        let server = server.crash().await;
        let (mut hearer, was_there) = present(&server, &keeping(version, "hearer")).await;
        assert!(was_there);
        let (id, payload) = delivered(version, &hearer.packet("the message").await);
        assert_eq!(payload, "after");
        hearer.send(&acknowledged(id)).await;
        hearer.expect_nothing_but_life().await;
    }
}

#[tokio::test]
async fn mqtt5_3_1_2_23_a_session_is_kept_as_long_as_was_asked_for() {
    let server = server().await;
    leave_session(&server, V5, 1).await;
    server.advance(3599);
    let (client, was_there) = present(&server, &keeping(V5, "hearer")).await;
    assert!(was_there);
    drop(client);
    crate::harness::until("the client to be gone", || server.broker.status().clients == 0).await;
    server.advance(3600);
    crate::harness::until("the session to be gone", || server.broker.status().sessions == 0).await;
    let (_client, was_there) = present(&server, &keeping(V5, "hearer")).await;
    assert!(!was_there);
}

#[tokio::test]
async fn mqtt5_3_14_2_2_2_a_client_may_end_its_session_when_it_goes() {
    let server = server().await;
    let (mut client, _) = present(&server, &keeping(V5, "c")).await;
    client.send(&packet(0xE0, &[0, 5, 0x11, 0, 0, 0, 0])).await;
    client.expect_end().await;
    let server = server.crash().await;
    let (_client, was_there) = present(&server, &keeping(V5, "c")).await;
    assert!(!was_there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_ended_is_gone_for_the_next_connection_at_once() {
    let server = server().await;
    for _ in 0..50 {
        let (mut client, was_there) = present(&server, &keeping(V5, "c")).await;
        assert!(!was_there);
        // Good-bye, and the session is to be kept for no time.
        client.send(&packet(0xE0, &[0, 5, 0x11, 0, 0, 0, 0])).await;
    }
}

#[tokio::test]
async fn mqtt_3_1_4_3_a_session_that_is_taken_over_goes_on() {
    for version in [V3, V5] {
        let server = server().await;
        let (mut first, _) = present(&server, &keeping(version, "c")).await;
        first.subscribe("a", 1).await;
        let (mut second, was_there) = present(&server, &keeping(version, "c")).await;
        assert!(was_there);
        if version == V5 {
            first.expect(&crate::packets::disconnect(0x8E)).await;
        }
        first.expect_end().await;
        server.client(V3, "d").await.say("a", "hi", QOS_1).await;
        second.expect(&publish(version, QOS_1, "a", 1, "hi")).await;
    }
}

#[tokio::test]
async fn mqtt5_3_1_3_2_2_a_will_may_wait_and_is_not_sent_to_one_who_comes_back() {
    let server = server().await;
    let mut hearer = server.client(V3, "hearer").await;
    hearer.subscribe("status", 0).await;
    let connect = || {
        let mut connect = keeping(V5, "c");
        connect.flags |= 0x04;
        connect.payload.extend([&[5, 0x18, 0, 0, 0, 60][..], &counted("status"), &counted("gone")].concat());
        connect
    };
    let (client, _) = present(&server, &connect()).await;
    drop(client);
    crate::harness::until("the client to be gone", || server.broker.status().clients == 1).await;
    let (client, was_there) = present(&server, &connect()).await;
    assert!(was_there);
    server.advance(61);
    drop(client);
    crate::harness::until("the client to be gone", || server.broker.status().clients == 1).await;
    hearer.expect_nothing_but_life().await;
    server.advance(61);
    hearer.expect(&publish(V3, 0, "status", 0, "gone")).await;
}

#[tokio::test]
async fn mqtt5_3_3_2_5_a_message_that_expires_is_not_delivered_and_one_that_does_not_says_how_long_it_has() {
    let server = server().await;
    leave_session(&server, V5, 1).await;
    let mut client = server.client(V5, "c").await;
    for (id, seconds) in [(1, 10), (2, 100)] {
        let properties = [0x02, 0, 0, 0, seconds];
        client.ask(&publish_with(V5, QOS_1, "a", id, &properties, b"hi"), &acknowledged(id)).await;
    }
    server.advance(11);
    let (mut hearer, _) = present(&server, &keeping(V5, "hearer")).await;
    hearer.expect(&publish_with(V5, QOS_1, "a", 1, &[0x02, 0, 0, 0, 89], b"hi")).await;
    hearer.send(&acknowledged(1)).await;
    hearer.expect_nothing_but_life().await;
}

#[tokio::test]
async fn mqtt5_3_1_2_11_3_no_more_are_under_way_than_the_client_takes() {
    let server = server().await;
    let mut hearer =
        server.connect(&Connect { properties: &[0x21, 0, 2], ..Connect::of(V5, "hearer") }).await;
    hearer.subscribe("a", 2).await;
    let mut client = server.client(V3, "c").await;
    for number in 1..=4 {
        client.ask(&publish(V3, QOS_2, "a", number, "hi"), &step(RECEIVED, number)).await;
    }
    hearer.expect(&publish(V5, QOS_2, "a", 1, "hi")).await;
    hearer.expect(&publish(V5, QOS_2, "a", 2, "hi")).await;
    hearer.expect_nothing_but_life().await;
    hearer.ask(&step(RECEIVED, 1), &step(RELEASE, 1)).await;
    hearer.expect_nothing_but_life().await;
    hearer.ask(&step(COMPLETE, 1), &publish(V5, QOS_2, "a", 3, "hi")).await;
}

#[tokio::test]
async fn mqtt5_3_3_4_9_a_client_that_has_too_many_under_way_is_closed() {
    let server = server_with(BrokerConfig { receive_max: 2, ..BrokerConfig::default() }).await;
    let mut client = server.client(V5, "c").await;
    for id in 1..=2 {
        client.ask(&publish(V5, QOS_2, "a", id, "hi"), &step(RECEIVED, id)).await;
    }
    client.ask(&publish(V5, QOS_2, "a", 3, "hi"), &crate::packets::disconnect(0x93)).await;
    client.expect_end().await;
}

#[tokio::test]
async fn mqtt5_4_8_2_each_message_of_a_shared_subscription_goes_to_one_member() {
    let server = server().await;
    let mut members = Vec::new();
    for id in ["one", "two"] {
        let mut member = server.client(V5, id).await;
        member.subscribe("$share/g/a", 1).await;
        members.push(member);
    }
    let mut client = server.client(V3, "c").await;
    for number in 0..4 {
        client.say("a", &format!("{number}"), QOS_1).await;
    }
    for (member, own) in members.iter_mut().zip([["0", "2"], ["1", "3"]]) {
        for (id, payload) in (1..).zip(own) {
            member.expect(&publish(V5, QOS_1, "a", id, payload)).await;
        }
        member.expect_nothing_but_life().await;
    }
}

#[tokio::test]
async fn mqtt5_4_8_2_a_shared_subscription_waits_for_a_member_that_is_kept() {
    let server = server().await;
    let (mut client, _) = present(&server, &keeping(V5, "member")).await;
    client.subscribe("$share/g/a", 1).await;
    drop(client);
    crate::harness::until("the member to be gone", || server.broker.status().clients == 0).await;
    let mut client = server.client(V3, "c").await;
    for number in 0..4 {
        client.say("a", &format!("{number}"), QOS_1).await;
    }
    let (mut member, _) = present(&server, &keeping(V5, "member")).await;
    for number in 0..4_u16 {
        member.expect(&publish(V5, QOS_1, "a", number + 1, &format!("{number}"))).await;
    }
    member.expect_nothing_but_life().await;
    drop(member);
    crate::harness::until("the member to be gone", || server.broker.status().clients == 1).await;
    client.say("a", "after a crash", QOS_1).await;
    let server = server.crash().await;
    let (mut member, _) = present(&server, &keeping(V5, "member")).await;
    // Which of the messages were its own is forgotten, so none is left out.
    loop {
        let (id, payload) = delivered(V5, &member.packet("the message").await);
        member.send(&acknowledged(id)).await;
        if payload == "after a crash" {
            break;
        }
    }
    member.expect_nothing_but_life().await;
    server.client(V3, "d").await.say("a", "live", QOS_1).await;
    assert_eq!(delivered(V5, &member.packet("the message").await).1, "live");
}
