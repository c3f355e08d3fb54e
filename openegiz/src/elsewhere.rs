//! Brokers elsewhere as the configuration has them: checked, made and supervised. `[[mqtt.external]]` and `[[mqtt.bridge]]`.

mod bridges;
mod report;
mod sink;

pub(crate) use bridges::Inside;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use egiz_broker::Broker;
use egiz_ingest::{
    AddressError, Bridge, BridgeMetrics, BrokerAddress, Connect, Credentials, ExternalBroker,
    ExternalMetrics, FilterError, Ingest, LinkOptions, Problem, ProblemKind, Protocol, RetryDelay, TlsRoots,
    TopicFilter, tls_client,
};
use egiz_service::RandomSource;
use egiz_service::backoff::Backoff;
use egiz_service::config::{self, ConfigError, ConfigErrors, Loaded, MqttProtocol};
use egiz_service::health::Health;
use egiz_service::supervisor::{Phase, Restart, Supervisor, TaskSpec};
use prometheus_client::registry::Registry;

use crate::pipeline::Pipeline;

/// How soon a broker that went away is tried again: it is met within seconds of its return.
const RETURNING: Backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(2) };
/// How soon a broker that refused is tried again: nothing but a person changes that.
const REFUSING: Backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(10) };

/// What the configuration says of brokers elsewhere, understood.
pub(crate) struct Elsewhere {
    external: Vec<(Remote, config::ExternalBroker)>,
    bridges: Vec<(Remote, config::BridgeTo)>,
}

/// Where a broker is and how to sign in there.
#[derive(Debug, Clone)]
struct Remote {
    address: BrokerAddress,
    protocol: Protocol,
    username: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    client_id: Option<String>,
    topics: Vec<TopicFilter>,
}

/// What the clients are given by the program.
pub(crate) struct Surroundings<'a> {
    pub(crate) pipeline: &'a Arc<Pipeline>,
    pub(crate) ingest: &'a Arc<Ingest>,
    pub(crate) broker: &'a Broker,
    pub(crate) inside: &'a Inside,
    pub(crate) supervisor: &'a Supervisor,
    pub(crate) health: &'a Health,
    pub(crate) clock: &'a egiz_server::Clock,
    pub(crate) random: &'a RandomSource,
    pub(crate) metrics: &'a ElsewhereMetrics,
    /// The installation's own name for clients: the same after each start, another for each installation.
    pub(crate) installation: &'a str,
    pub(crate) packet_bytes_max: u32,
}

/// What the clients count.
pub(crate) struct ElsewhereMetrics {
    external: ExternalMetrics,
    bridge: BridgeMetrics,
}

impl ElsewhereMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        Self { external: ExternalMetrics::register(registry), bridge: BridgeMetrics::register(registry) }
    }
}

impl Elsewhere {
    /// Puts the configuration to the test: addresses, filters, and files, which are read.
    ///
    /// # Errors
    /// Every fault.
    pub(crate) fn check(loaded: &Loaded) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let mut external = Vec::new();
        for (at, broker) in loaded.config.mqtt_external.iter().enumerate() {
            let read = RemoteKeys {
                path: format!("mqtt.external[{at}]"),
                url: &broker.url,
                protocol: broker.protocol,
                username: broker.username.as_ref(),
                password_file: broker.password_file.as_ref(),
                ca_file: broker.ca_file.as_ref(),
                client_id: broker.client_id.as_ref(),
                topics: &broker.topics,
            };
            external.extend(read.check(loaded, &mut errors).map(|remote| (remote, broker.clone())));
            if let Some(group) = broker.group.as_ref().filter(|group| group.contains(['/', '+', '#'])) {
                let problem = "holds / + or #".to_owned();
                let allowed = "a name without them, or \"\" for none".to_owned();
                errors.push(loaded.fault(&read.key("group"), format!("{group:?}"), problem, allowed));
            }
        }
        let mut bridges = Vec::new();
        for (at, bridge) in loaded.config.mqtt_bridges.iter().enumerate() {
            let read = RemoteKeys {
                path: format!("mqtt.bridge[{at}]"),
                url: &bridge.url,
                protocol: bridge.protocol,
                username: bridge.username.as_ref(),
                password_file: bridge.password_file.as_ref(),
                ca_file: bridge.ca_file.as_ref(),
                client_id: bridge.client_id.as_ref(),
                topics: &bridge.topics,
            };
            bridges.extend(read.check(loaded, &mut errors).map(|remote| (remote, bridge.clone())));
            for (key, prefix) in
                [("local_prefix", &bridge.local_prefix), ("remote_prefix", &bridge.remote_prefix)]
            {
                if let Some(prefix) = prefix.as_ref().filter(|prefix| prefix.contains(['+', '#', '$'])) {
                    let problem = "holds + # or $".to_owned();
                    let allowed = "the beginning of a topic, as in \"plants/munich/\"".to_owned();
                    errors.push(loaded.fault(&read.key(key), format!("{prefix:?}"), problem, allowed));
                }
            }
        }
        if errors.is_empty() { Ok(Self { external, bridges }) } else { Err(ConfigErrors { errors }) }
    }

    /// Makes the credentials with which bridges sign in at the program's own broker.
    pub(crate) fn inside(&self, random: &RandomSource) -> Inside {
        Inside::new(self.bridges.iter().map(|(_, bridge)| &*bridge.name), random)
    }

    /// Starts the clients.
    ///
    /// # Errors
    /// Where the bridges' own listener cannot be opened.
    pub(crate) async fn start(&self, surroundings: &Surroundings<'_>) -> anyhow::Result<()> {
        for (remote, broker) in &self.external {
            self.start_external(remote, broker, surroundings);
        }
        if self.bridges.is_empty() {
            return Ok(());
        }
        let port = bridges::listen_inside(surroundings).await.context("bridges cannot be served")?;
        for (remote, bridge) in &self.bridges {
            bridges::start(remote, bridge, port, surroundings);
        }
        Ok(())
    }

    fn start_external(
        &self,
        remote: &Remote,
        broker: &config::ExternalBroker,
        surroundings: &Surroundings<'_>,
    ) {
        let task = format!("mqtt-external-{}", broker.name);
        let part = report::Reporter::new(surroundings.health, &task, &remote.address);
        let limits = Limits {
            receive_maximum: broker.receive_maximum,
            publish_window: 1,
            packet_bytes_max: surroundings.packet_bytes_max,
            session_expiry_s: broker.session_expiry_s,
        };
        let client = Arc::new(ExternalBroker {
            name: broker.name.clone(),
            filters: remote.topics.clone(),
            group: broker.group.clone(),
            payload_bytes_max: surroundings.packet_bytes_max as usize,
            connect: remote.connect(&broker.name, surroundings.installation, limits),
            retry_delay: retry_delay(surroundings.random),
            on_status: part.on_status(),
            sink: Arc::new(sink::Records {
                pipeline: Arc::clone(surroundings.pipeline),
                ingest: Arc::clone(surroundings.ingest),
                clock: surroundings.clock.clone(),
            }),
            counters: surroundings.metrics.external.of(&broker.name),
        });
        spawn(surroundings.supervisor, task, part, move |stop| {
            let client = Arc::clone(&client);
            async move { client.run(&stop).await }
        });
    }
}

/// The keys that both kinds have, as written.
struct RemoteKeys<'a> {
    path: String,
    url: &'a str,
    protocol: MqttProtocol,
    username: Option<&'a String>,
    password_file: Option<&'a PathBuf>,
    ca_file: Option<&'a PathBuf>,
    client_id: Option<&'a String>,
    topics: &'a [String],
}

impl RemoteKeys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    fn check(&self, loaded: &Loaded, errors: &mut Vec<ConfigError>) -> Option<Remote> {
        let before = errors.len();
        let mut fault = |name: &str, value: &str, problem: String, allowed: &str| {
            errors.push(loaded.fault(&self.key(name), format!("{value:?}"), problem, allowed.to_owned()));
        };
        let address = self.url.parse::<BrokerAddress>();
        if let Err(error) = &address {
            // A password may have been written there.
            let shown =
                self.url.rsplit_once('@').map_or(self.url.to_owned(), |(_, host)| format!("…@{host}"));
            fault("url", &shown, error.to_string(), AddressError::ALLOWED);
        }
        let mut topics = Vec::new();
        for topic in self.topics {
            match topic.parse::<TopicFilter>() {
                Ok(filter) => topics.push(filter),
                Err(error) => fault("topics", topic, error.to_string(), FilterError::ALLOWED),
            }
        }
        if let Some(path) = self.password_file
            && let Err(problem) = password(path)
        {
            let allowed = "a readable file with a password of 1 to 1024 bytes";
            fault("password_file", &path.display().to_string(), problem, allowed);
        }
        if let Some(path) = self.ca_file
            && let Err(error) = tls_client(TlsRoots::File(path))
        {
            let problem = egiz_service::supervisor::error_chain(&error);
            fault(
                "ca_file",
                &path.display().to_string(),
                problem,
                "a readable file with certificates in PEM",
            );
        }
        let address = address.ok().filter(|_| errors.len() == before)?;
        Some(Remote {
            address,
            protocol: match self.protocol {
                MqttProtocol::Five => Protocol::Five,
                MqttProtocol::Three => Protocol::Three,
            },
            username: self.username.cloned(),
            password_file: self.password_file.cloned(),
            ca_file: self.ca_file.cloned(),
            client_id: self.client_id.cloned(),
            topics,
        })
    }
}

/// How much a connection may hold.
#[derive(Debug, Clone, Copy)]
struct Limits {
    receive_maximum: u16,
    publish_window: u16,
    packet_bytes_max: u32,
    session_expiry_s: u32,
}

impl Remote {
    /// How to connect. Password and authorities are read each time, so that new ones need no restart.
    fn connect(&self, name: &str, installation: &str, limits: Limits) -> Connect {
        let remote = self.clone();
        let client_id = self.client_id.clone().unwrap_or_else(|| format!("openegiz-{installation}-{name}"));
        Arc::new(move || {
            let unusable = |what: &str, why: String| Problem::refused(format!("{what}: {why}"));
            let credentials = match (&remote.username, &remote.password_file) {
                (None, _) => None,
                (Some(username), None) => {
                    Some(Credentials { username: username.clone(), password: String::new() })
                }
                (Some(username), Some(path)) => Some(Credentials {
                    username: username.clone(),
                    password: password(path).map_err(|why| unusable("password_file", why))?,
                }),
            };
            let roots = remote.ca_file.as_deref().map_or(TlsRoots::System, TlsRoots::File);
            let tls = remote.address.tls.then(|| tls_client(roots)).transpose();
            Ok(LinkOptions {
                address: remote.address.clone(),
                tls: tls
                    .map_err(|error| unusable("ca_file", egiz_service::supervisor::error_chain(&error)))?,
                protocol: remote.protocol,
                client_id: client_id.clone(),
                credentials,
                receive_maximum: limits.receive_maximum,
                publish_window: limits.publish_window,
                packet_bytes_max: limits.packet_bytes_max,
                session_expiry_s: limits.session_expiry_s,
            })
        })
    }
}

fn password(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let password = text.trim();
    if !(1..=1024).contains(&password.len()) {
        return Err(format!("holds {} bytes", password.len()));
    }
    Ok(password.to_owned())
}

fn retry_delay(random: &RandomSource) -> RetryDelay {
    let random = Arc::clone(random);
    Arc::new(move |kind, failures| {
        let backoff = match kind {
            ProblemKind::Unreachable | ProblemKind::Stalled => RETURNING,
            ProblemKind::Refused => REFUSING,
        };
        backoff.random_delay(failures, &random)
    })
}

/// Supervises a client. It ends only when it is asked to; if it panics it begins anew, however often.
fn spawn<F>(
    supervisor: &Supervisor,
    task: String,
    reporter: report::Reporter,
    run: impl Fn(tokio_util::sync::CancellationToken) -> F + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    // Tasks are named for the life of the program, and the configuration does not change during it.
    let spec = TaskSpec::new(task.leak(), Phase::Intake).restart(Restart {
        backoff: REFUSING,
        give_up_after: u32::MAX,
        ..Restart::default()
    });
    supervisor.spawn(spec, move |stop| {
        // The supervisor has just said that the task runs; the client knows better.
        reporter.connecting();
        let running = run(stop);
        async move {
            running.await;
            anyhow::Ok(())
        }
    });
}

/// Makes the bridge's client; here because both kinds are made of the same parts.
fn bridge(
    remote: &Remote,
    settings: &config::BridgeTo,
    connect_local: Connect,
    reporter: &report::Reporter,
    surroundings: &Surroundings<'_>,
) -> Bridge {
    let limits = Limits {
        receive_maximum: 16,
        publish_window: settings.window,
        packet_bytes_max: surroundings.packet_bytes_max,
        // Nothing is subscribed to there.
        session_expiry_s: 0,
    };
    Bridge {
        name: settings.name.clone(),
        topics: remote.topics.clone(),
        local_prefix: settings.local_prefix.clone().unwrap_or_default(),
        remote_prefix: settings.remote_prefix.clone().unwrap_or_default(),
        installation: surroundings.installation.to_owned(),
        connect_local,
        connect_remote: remote.connect(&settings.name, surroundings.installation, limits),
        retry_delay: retry_delay(surroundings.random),
        on_status: reporter.on_status(),
        counters: surroundings.metrics.bridge.of(&settings.name),
    }
}
