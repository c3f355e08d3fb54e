//! The broker's listeners as the configuration has them: checked, opened and served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use egiz_broker::{Broker, ListenerOptions, Origins, Tls, TlsError, TlsFiles, Transport};
use egiz_server::Clock;
use egiz_service::config::{
    ClientCertificates, Config, ConfigError, ConfigErrors, Loaded, MqttListener, MqttTransport,
};
use egiz_service::health::Health;
use egiz_service::supervisor::{Phase, Supervisor, TaskSpec};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use crate::acl::Acl;
use crate::certificates::{self, CertificateMetrics, Watch};

/// Connections that may wait to be accepted when everybody comes at once; the system may allow less.
const BACKLOG: u32 = 8192;

/// What the broker's side of the configuration means.
pub(crate) struct Doors {
    pub(crate) acl: Acl,
    pub(crate) listeners: Listeners,
}

/// Where the broker listens.
pub(crate) struct Listeners(Vec<Listener>);

struct Listener {
    /// The key of its address.
    key: String,
    address: SocketAddr,
    options: ListenerOptions,
}

/// Puts the configuration of listeners and rules to the test: certificates are read.
///
/// # Errors
/// Every fault.
pub(crate) fn doors(loaded: &Loaded) -> Result<Doors, ConfigErrors> {
    let config = &loaded.config;
    let mut errors = Vec::new();
    let acl = Acl::new(&config.mqtt_acl).unwrap_or_else(|bad| {
        let key = format!("mqtt.acl[{}].filter", bad.at);
        let filter = config.mqtt_acl.get(bad.at).map(|rule| format!("{:?}", rule.filter));
        let allowed = "a topic filter, where a level may be {client_id}, {username} or {device}".to_owned();
        errors.push(loaded.fault(&key, filter.unwrap_or_default(), bad.problem.to_owned(), allowed));
        Acl::default()
    });
    let mut listeners: Vec<_> = config
        .mqtt
        .listen
        .map(|address| Listener { key: "mqtt.listen".to_owned(), address, options: plain(config) })
        .into_iter()
        .collect();
    for (at, listener) in config.mqtt_listeners.iter().enumerate() {
        match options(listener) {
            Ok(options) => listeners.push(Listener {
                key: format!("mqtt.listeners[{at}].address"),
                address: listener.address,
                options,
            }),
            Err(error) => errors.push(tls_fault(loaded, at, listener, &error)),
        }
    }
    if errors.is_empty() {
        Ok(Doors { acl, listeners: Listeners(listeners) })
    } else {
        Err(ConfigErrors { errors })
    }
}

fn plain(config: &Config) -> ListenerOptions {
    ListenerOptions::new(&crate::up::broker_config(config))
}

fn options(listener: &MqttListener) -> Result<ListenerOptions, TlsError> {
    let tls = match (&listener.certificate_file, &listener.key_file) {
        (Some(certificate), Some(key)) => Some(Arc::new(Tls::load(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            client_authorities: listener.client_ca_file.clone(),
            client_certificate_optional: listener.client_certificates == ClientCertificates::Optional,
            tls_1_2: listener.tls_1_2,
        })?)),
        // One without the other was refused before.
        _ => None,
    };
    Ok(ListenerOptions {
        transport: match listener.transport {
            MqttTransport::Tcp => Transport::Tcp,
            MqttTransport::WebSocket => {
                Transport::WebSocket(Origins { allowed: listener.allowed_origins.clone() })
            }
        },
        tls,
        connect_timeout: Duration::from_secs(listener.connect_timeout_s),
        connect_bytes_max: usize::try_from(listener.max_connect_packet_bytes).unwrap_or(usize::MAX),
        connections_max: listener.max_connections,
        connections_per_address_max: listener.max_connections_per_address,
    })
}

/// The fault at the key whose file is at fault.
fn tls_fault(loaded: &Loaded, at: usize, listener: &MqttListener, error: &TlsError) -> ConfigError {
    let (TlsError::Unreadable { path, .. } | TlsError::NotPem { path, .. } | TlsError::Unusable { path, .. }) =
        error;
    let (name, allowed) = if listener.key_file.as_ref() == Some(path) {
        ("key_file", "a readable file with the certificate's private key in PEM, not encrypted")
    } else if listener.client_ca_file.as_ref() == Some(path) {
        ("client_ca_file", "a readable file with certificates in PEM")
    } else {
        ("certificate_file", "a readable file with the server's certificate in PEM")
    };
    let problem = match error {
        TlsError::Unreadable { error, .. } => format!("cannot be read: {error}"),
        TlsError::NotPem { what, error, .. } => format!("holds no {what}: {error}"),
        TlsError::Unusable { error, .. } => format!("cannot be used: {error}"),
    };
    let key = format!("mqtt.listeners[{at}].{name}");
    loaded.fault(&key, format!("{:?}", path.display().to_string()), problem, allowed.to_owned())
}

impl Listeners {
    /// Opens every listener, and lets clients in from then on. Returns their addresses, for people.
    ///
    /// # Errors
    /// Where an address cannot be used.
    pub(crate) fn open(
        self,
        broker: &Broker,
        supervisor: &Supervisor,
        health: &Health,
        metrics: &CertificateMetrics,
        clock: Clock,
    ) -> anyhow::Result<Vec<String>> {
        let mut opened = Vec::new();
        let mut urls = Vec::new();
        let mut watched = Vec::new();
        for Listener { key, address, options } in self.0 {
            let listener = bind(address).with_context(|| {
                format!("{key} = \"{address}\" cannot be used; is another program listening there?")
            })?;
            let address = listener.local_addr().context("a listener has no address")?;
            urls.push(format!("{}://{address}", scheme(&options)));
            watched.extend(options.tls.clone().map(|tls| (address, tls)));
            opened.push((listener, options));
        }
        if !watched.is_empty() {
            let watch = Arc::new(Watch {
                watched,
                clock,
                part: health.part("mqtt-certificates", false),
                metrics: metrics.clone(),
            });
            supervisor.spawn(TaskSpec::new("mqtt-certificates", Phase::Work), move |stop| {
                let watch = Arc::clone(&watch);
                async move { watch.run(stop).await }
            });
        } else {
            supervisor.spawn(TaskSpec::new("hang-up", Phase::Work), certificates::nothing_to_renew);
        }
        let broker = broker.clone();
        let opened = Arc::new(parking_lot::Mutex::new(Some(opened)));
        supervisor.spawn(TaskSpec::new("mqtt-listener", Phase::Intake).critical(), move |stop| {
            let (broker, opened) = (broker.clone(), opened.lock().take());
            async move {
                let opened = opened.context("the listeners were lost when the task failed")?;
                let mut serving = JoinSet::new();
                for (listener, options) in opened {
                    let (broker, stop) = (broker.clone(), stop.clone());
                    serving.spawn(async move { broker.listen(listener, options, stop).await });
                }
                while let Some(ended) = serving.join_next().await {
                    ended.context("a listener panicked")?;
                }
                anyhow::Ok(())
            }
        });
        Ok(urls)
    }
}

fn scheme(options: &ListenerOptions) -> &'static str {
    match (&options.transport, options.tls.is_some()) {
        (Transport::Tcp, false) => "mqtt",
        (Transport::Tcp, true) => "mqtts",
        (Transport::WebSocket(_), false) => "ws",
        (Transport::WebSocket(_), true) => "wss",
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
