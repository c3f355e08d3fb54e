//! The broker alone, for trying clients by hand: everybody may do everything, and messages are acknowledged at once and
//! kept nowhere. Loopback only.
//!
//! `cargo run --example standalone -- 1883`, then `mosquitto_sub -t '#' -v` and `mosquitto_pub -q 1 -t a -m hi`.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use egiz_broker::{
    Broker, BrokerConfig, BrokerMetrics, ClientInfo, Denied, EverythingRights, Gatekeeper, Intake, Login,
    Publish, Receipt, Room, TopicRights,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Holds everything for durable as it is.
struct Forgetful;

#[async_trait]
impl Intake for Forgetful {
    async fn reserve(&self, _bytes: usize) -> Room {
        Box::new(())
    }

    fn submit(&self, _client: &Arc<ClientInfo>, _publishes: &[Publish], _room: Room, receipt: Receipt) {
        receipt.committed();
    }
}

struct OpenDoor;

#[async_trait]
impl Gatekeeper for OpenDoor {
    async fn authenticate(&self, login: Login<'_>) -> Result<(String, Arc<dyn TopicRights>), Denied> {
        Ok((login.client_id.to_owned(), Arc::new(EverythingRights)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(1883), |port| port.parse())?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let metrics = BrokerMetrics::default();
    let broker = Broker::new(BrokerConfig::default(), Arc::new(Forgetful), Arc::new(OpenDoor), metrics);
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { broker.serve(listener, stop).await }
    });
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    serving.await?;
    Ok(())
}
