//! Bridges: how they get to the program's own broker.
//!
//! A bridge is an MQTT client of the own broker like any other, so that its store is an ordinary persistent session. It comes
//! in by a listener of its own on the loopback interface, whatever the others are, and signs in with a secret that is made at
//! start, is known to this process only, and lets it listen and nothing else.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Context as _;
use egiz_ingest::{BrokerAddress, Connect, Credentials, LinkOptions, Protocol};
use egiz_service::RandomSource;
use egiz_service::config::BridgeTo;
use egiz_service::supervisor::{Phase, TaskSpec};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;

use super::report::Reporter;
use super::{Remote, Surroundings, bridge, spawn};

/// How the own broker keeps a bridge's session: until the journal has no room for what it waits for.
const SESSION_EXPIRY_S: u32 = u32::MAX;

/// Who comes in from inside the program. The secrets live as long as the process.
#[derive(Default)]
pub(crate) struct Inside(Vec<Insider>);

struct Insider {
    username: String,
    secret: String,
    sha256: [u8; 32],
}

impl Inside {
    pub(super) fn new<'a>(bridges: impl Iterator<Item = &'a str>, random: &RandomSource) -> Self {
        let insider = |name: &str| {
            let mut bytes = [0; 32];
            random(&mut bytes);
            let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let sha256 = Sha256::digest(secret.as_bytes()).into();
            Insider { username: username(name), secret, sha256 }
        };
        Self(bridges.map(insider).collect())
    }

    /// Whether this is one of them, who may listen to everything and publish nothing.
    pub(crate) fn knows(&self, username: &str, password: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(password.as_bytes()).into();
        self.0.iter().any(|insider| insider.username == username && insider.sha256.ct_eq(&digest).into())
    }

    fn credentials(&self, bridge: &str) -> Option<Credentials> {
        let username = username(bridge);
        let insider = self.0.iter().find(|insider| insider.username == username)?;
        Some(Credentials { username, password: insider.secret.clone() })
    }
}

/// No device and no site has a name like this.
fn username(bridge: &str) -> String {
    format!("$bridge/{bridge}")
}

/// Opens the listener for bridges and returns its port.
///
/// # Errors
/// Where the loopback interface cannot be used.
pub(super) async fn listen_inside(surroundings: &Surroundings<'_>) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port on loopback")?;
    let port = listener.local_addr().context("a listener has no address")?.port();
    let listener = Arc::new(parking_lot::Mutex::new(Some(listener)));
    let broker = surroundings.broker.clone();
    let spec = TaskSpec::new("mqtt-bridge-listener", Phase::Intake).critical();
    surroundings.supervisor.spawn(spec, move |stop| {
        let (broker, listener) = (broker.clone(), listener.lock().take());
        async move {
            let listener = listener.context("the listener was lost when the task failed")?;
            broker.serve(listener, stop).await;
            anyhow::Ok(())
        }
    });
    Ok(port)
}

/// Starts a bridge.
pub(super) fn start(remote: &Remote, settings: &BridgeTo, port: u16, surroundings: &Surroundings<'_>) {
    let options = LinkOptions {
        address: BrokerAddress { host: Ipv4Addr::LOCALHOST.to_string(), port, tls: false },
        tls: None,
        protocol: Protocol::Five,
        client_id: format!("openegiz-bridge-{}", settings.name),
        credentials: surroundings.inside.credentials(&settings.name),
        receive_maximum: settings.window,
        publish_window: 1,
        packet_bytes_max: surroundings.packet_bytes_max,
        session_expiry_s: SESSION_EXPIRY_S,
    };
    let connect_local: Connect = Arc::new(move || Ok(options.clone()));
    let task = format!("mqtt-bridge-{}", settings.name);
    let reporter = Reporter::new(surroundings.health, &task, &remote.address);
    let client = Arc::new(bridge(remote, settings, connect_local, &reporter, surroundings));
    spawn(surroundings.supervisor, task, reporter, move |stop| {
        let client = Arc::clone(&client);
        async move { client.run(&stop).await }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insiders_sign_in_with_their_own_secret_only() {
        let count = std::sync::atomic::AtomicU8::new(0);
        let random: RandomSource =
            Arc::new(move |bytes| bytes.fill(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
        let inside = Inside::new(["a", "b"].into_iter(), &random);
        let [a, b] = ["a", "b"].map(|name| inside.credentials(name).expect("it is one"));
        assert_ne!(a.password, b.password);
        assert!(inside.knows(&a.username, &a.password) && inside.knows(&b.username, &b.password));
        assert!(!inside.knows(&a.username, &b.password) && !inside.knows("a", &a.password));
        assert!(!inside.knows(&a.username, "") && !Inside::default().knows("", ""));
    }
}
