//! A real client library, in both versions.

use std::time::Duration;

use tokio::time::timeout;

use crate::harness::server;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn rumqttc_publishes_and_hears_over_3_1_1() {
    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
    let server = server().await;
    let mut options = MqttOptions::new("c", "127.0.0.1", server.address.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe("a/#", QoS::AtLeastOnce).await.expect("queued");
    let conversation = async {
        let (mut heard, mut acknowledged) = (0, 0);
        while heard < 3 || acknowledged < 2 {
            match events.poll().await.expect("the connection holds") {
                Event::Incoming(Packet::SubAck(_)) => {
                    client.publish("a/0", QoS::AtMostOnce, false, "hi").await.expect("queued");
                    client.publish("a/1", QoS::AtLeastOnce, false, "hi").await.expect("queued");
                    client.publish("a/2", QoS::AtLeastOnce, true, "hi").await.expect("queued");
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    assert_eq!(&publish.payload[..], b"hi");
                    heard += 1;
                }
                Event::Incoming(Packet::PubAck(_)) => acknowledged += 1,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, conversation).await.expect("everything arrives");
    assert_eq!(server.intake.taken(), ["a/0 hi", "a/1 hi", "a/2 hi"]);
}

#[tokio::test]
async fn rumqttc_publishes_and_hears_over_5() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};
    let server = server().await;
    let mut options = MqttOptions::new("c", "127.0.0.1", server.address.port());
    options.set_keep_alive(Duration::from_secs(30));
    options.set_credentials("device", "secret");
    let (client, mut events) = AsyncClient::new(options, 10);
    let topic = "devices/factory/oven-001/reply";
    client.subscribe("devices/factory/oven-001/#", QoS::AtLeastOnce).await.expect("queued");
    let properties = PublishProperties {
        user_properties: vec![("batch".to_owned(), "17".to_owned())],
        correlation_data: Some(vec![1, 2].into()),
        ..PublishProperties::default()
    };
    let conversation = async {
        let (mut heard, mut acknowledged) = (false, false);
        while !heard || !acknowledged {
            match events.poll().await.expect("the connection holds") {
                Event::Incoming(Packet::SubAck(_)) => {
                    let publish = client.publish_with_properties(
                        topic,
                        QoS::AtLeastOnce,
                        false,
                        "hi",
                        properties.clone(),
                    );
                    publish.await.expect("queued");
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    let found = publish.properties.expect("they are passed on");
                    assert_eq!(found.user_properties, properties.user_properties);
                    assert_eq!(found.correlation_data, properties.correlation_data);
                    heard = true;
                }
                Event::Incoming(Packet::PubAck(_)) => acknowledged = true,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, conversation).await.expect("everything arrives");
}
