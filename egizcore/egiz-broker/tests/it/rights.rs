//! Who may subscribe to more than it may hear: the filter is granted, and what is denied is not delivered.

use crate::harness::server;
use crate::packets::{Connect, QOS_1, RETAIN, V3, V5, packet, publish};

/// A client that the gatekeeper lets subscribe to everything and hear all but `secret`.
fn hearer(version: u8) -> Connect<'static> {
    let session = if version == V5 { &[0x11, 0, 0, 0x0E, 0x10][..] } else { &[] };
    let mut connect = Connect { flags: 0, properties: session, ..Connect::of(version, "hearer") };
    connect = connect.login("hearer", "x");
    connect
}

#[tokio::test]
async fn what_is_denied_is_not_heard_by_a_wildcard_live_retained_or_later() {
    for version in [V3, V5] {
        let server = server().await;
        let mut client = server.client(V3, "c").await;
        client.say("secret", "retained", RETAIN).await;
        client.say("open", "retained", RETAIN).await;
        let mut hearer_1 = server.connect(&hearer(version)).await;
        hearer_1.subscribe("#", 1).await;
        hearer_1.expect(&publish(version, RETAIN, "open", 0, "retained")).await;
        client.say("secret", "live", QOS_1).await;
        client.say("open", "live", 0).await;
        hearer_1.expect(&publish(version, 0, "open", 0, "live")).await;
        hearer_1.send(&packet(0xE0, &[])).await;
        hearer_1.expect_end().await;
        client.say("secret", "later", QOS_1).await;
        client.say("open", "later", QOS_1).await;
        let mut hearer_2 = server.connect(&hearer(version)).await;
        let heard = hearer_2.packet("what came meanwhile").await;
        assert!(heard.ends_with(b"later") && heard.windows(4).any(|at| at == b"open"), "{heard:?}");
        hearer_2.expect_nothing_but_life().await;
    }
}

#[tokio::test]
async fn a_member_of_a_shared_subscription_is_passed_over_where_it_may_not_hear() {
    let server = server().await;
    let mut denied = server.connect(&hearer(V5)).await;
    denied.subscribe("$share/g/#", 1).await;
    let mut member = server.client(V5, "member").await;
    member.subscribe("$share/g/#", 1).await;
    let mut client = server.client(V3, "c").await;
    for id in 1..=2 {
        client.say("secret", "for one", QOS_1).await;
        member.expect(&publish(V5, QOS_1, "secret", id, "for one")).await;
    }
    denied.expect_nothing_but_life().await;
}
