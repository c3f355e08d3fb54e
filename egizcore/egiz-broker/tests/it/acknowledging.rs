//! PUBACK: only after the commit, in packet order, while the connection goes on reading.

use egiz_broker::Refusal;

use crate::harness::{Then, server, until};
use crate::packets::{Connect, PING, PONG, QOS_1, V3, V5, acknowledged, publish, refused};

#[tokio::test]
async fn mqtt_4_3_2_2_a_message_is_acknowledged_only_after_its_commit_while_reading_goes_on() {
    for version in [V3, V5] {
        let server = server().await;
        server.intake.then(Then::Hold);
        let mut client = server.client(version, "c").await;
        client.send(&publish(version, QOS_1, "a", 7, "hi")).await;
        server.intake.holds(1).await;
        client.ask(PING, PONG).await;
        server.intake.take_held(0).committed();
        client.expect(&acknowledged(7)).await;
    }
}

#[tokio::test]
async fn mqtt_4_6_0_2_acknowledgements_keep_the_order_of_the_messages_whatever_the_order_of_commits() {
    let server = server().await;
    server.intake.then(Then::Hold);
    let mut client = server.client(V5, "c").await;
    for id in 1..=3 {
        client.send(&publish(V5, QOS_1, "a", id, "hi")).await;
        server.intake.holds(usize::from(id)).await;
    }
    server.intake.take_held(2).committed();
    server.intake.take_held(1).refused(Refusal::NoSpace);
    client.ask(PING, PONG).await;
    server.intake.take_held(0).committed();
    client.expect(&acknowledged(1)).await;
    client.expect(&refused(2, 0x97)).await;
    client.expect(&acknowledged(3)).await;
}

#[tokio::test]
async fn mqtt_4_6_0_2_a_denied_message_is_not_answered_before_those_ahead_of_it() {
    let server = server().await;
    server.intake.then(Then::Hold);
    let mut client = server.connect(&Connect::of(V5, "c").login("device", "secret")).await;
    client.send(&publish(V5, QOS_1, "sensors/factory/oven-001/telemetry", 1, "hi")).await;
    server.intake.holds(1).await;
    client.send(&publish(V5, QOS_1, "sensors/factory/oven-002/telemetry", 2, "hi")).await;
    client.ask(PING, PONG).await;
    server.intake.take_held(0).committed();
    client.expect(&acknowledged(1)).await;
    client.expect(&refused(2, 0x87)).await;
}

#[tokio::test]
async fn subscribers_hear_a_publishers_messages_in_order_whatever_the_order_of_commits() {
    let server = server().await;
    let mut hearer = server.client(V3, "hearer").await;
    hearer.subscribe("a", 0).await;
    server.intake.then(Then::Hold);
    let mut client = server.client(V3, "c").await;
    for id in 1..=2 {
        client.send(&publish(V3, QOS_1, "a", id, &id.to_string())).await;
        server.intake.holds(usize::from(id)).await;
    }
    server.intake.take_held(1).committed();
    server.intake.take_held(0).committed();
    hearer.expect(&publish(V3, 0, "a", 0, "1")).await;
    hearer.expect(&publish(V3, 0, "a", 0, "2")).await;
}

#[tokio::test]
async fn mqtt5_3_4_2_1_a_refused_commit_is_told_with_its_reason() {
    for (refusal, code) in [(Refusal::NoSpace, 0x97), (Refusal::Internal, 0x80)] {
        let server = server().await;
        server.intake.then(Then::Refuse(refusal));
        let mut client = server.client(V5, "c").await;
        client.ask(&publish(V5, QOS_1, "a", 7, "hi"), &refused(7, code)).await;
        server.intake.then(Then::Commit);
        client.ask(&publish(V5, QOS_1, "a", 7, "hi"), &acknowledged(7)).await;
    }
}

#[tokio::test]
async fn in_3_1_1_a_refused_commit_ends_the_connection_and_nothing_after_it_is_acknowledged() {
    let server = server().await;
    server.intake.then(Then::Hold);
    let mut client = server.client(V3, "c").await;
    for id in 1..=2 {
        client.send(&publish(V3, QOS_1, "a", id, "hi")).await;
        server.intake.holds(usize::from(id)).await;
    }
    let (first, second) = (server.intake.take_held(0), server.intake.take_held(0));
    first.refused(Refusal::NoSpace);
    second.committed();
    client.expect_end().await;
    assert_eq!(server.metric("egiz_broker_closed_connections_total{reason=\"no-space\"}"), 1);
}

#[tokio::test]
async fn a_receipt_that_is_forgotten_refuses() {
    let server = server().await;
    server.intake.then(Then::Hold);
    let mut client = server.client(V5, "c").await;
    client.send(&publish(V5, QOS_1, "a", 7, "hi")).await;
    server.intake.holds(1).await;
    drop(server.intake.take_held(0));
    client.expect(&refused(7, 0x80)).await;
}

#[tokio::test]
async fn a_denied_message_in_3_1_1_ends_the_connection_after_those_ahead_of_it_are_handed_over() {
    let server = server().await;
    let mut client = server.connect(&Connect::of(V3, "c").login("device", "secret")).await;
    let own = publish(V3, 0, "sensors/factory/oven-001/telemetry", 0, "own");
    let other = publish(V3, 0, "sensors/factory/oven-002/telemetry", 0, "other");
    client.send(&[own, other].concat()).await;
    client.expect_end().await;
    assert_eq!(server.intake.taken(), ["sensors/factory/oven-001/telemetry own"]);
    assert_eq!(server.metric("egiz_broker_refused_messages_total{reason=\"not-authorized\"}"), 1);
}

#[tokio::test]
async fn without_room_the_socket_is_not_read_and_nothing_is_lost() {
    let server = server().await;
    let mut client = server.client(V5, "c").await;
    let closed = server.intake.close().await;
    client.send(&publish(V5, QOS_1, "a", 1, "hi")).await;
    client.send(PING).await;
    let mut chunk = [0; 1];
    let answer = client.stream.try_read(&mut chunk);
    assert!(answer.is_err(), "nothing is answered: {answer:?}");
    drop(closed);
    client.expect(&acknowledged(1)).await;
    client.expect(PONG).await;
    until("the message", || server.intake.taken() == ["a hi"]).await;
}
