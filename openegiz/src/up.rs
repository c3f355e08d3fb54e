//! `openegiz up`: opens, wires, starts, waits, stops.
//!
//! Start: journal, history, snapshot, replay; then the parts; listeners last, so that whoever gets in meets a program that
//! is ready.
//! Stop, on SIGTERM or Ctrl-C: listeners, then work, then a last snapshot, then the journal; what is under way is finished.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use egiz_broker::{Broker, BrokerConfig, BrokerMetrics, Publish, Surroundings};
use egiz_ingest::{ClockRules, Ingest, IngestConfig, IngestMetrics, LineRules, PayloadLimits};
use egiz_journal::JournalMetrics;
use egiz_model::record::{Body, Header, Record};
use egiz_server::{
    Anonymous, ApiToken, InfluxSettings, Ports, RateLimit, Role, ServeOptions, ServerMetrics, ServerSettings,
    WriteGate,
};
use egiz_service::config::{self, Config, Loaded, Origin, UnknownDevices};
use egiz_service::health::Health;
use egiz_service::metrics::{BuildInfo, Metrics};
use egiz_service::shutdown::StopSignals;
use egiz_service::supervisor::{Phase, Restart, Supervisor, SupervisorMetrics, SupervisorOptions, TaskSpec};
use egiz_store::{Author, Store, StoreMetrics, StoreOptions};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::acceptor::{Acceptor, all_templates};
use crate::archive::JournalArchive;
use crate::backup::{self, BackupMetrics, BackupParts, BackupService};
use crate::caretaker::{Snapshots, Ticker, watch_journal};
use crate::certificates::CertificateMetrics;
use crate::door::{API_TOKEN_NAME, Door};
use crate::elsewhere::{Elsewhere, ElsewhereMetrics};
use crate::gate::Gate;
use crate::history::{History, HistorySettings};
use crate::influxdb::{self, Influxdb, InfluxdbMetrics, OnMoved};
use crate::intake::MqttIntake;
use crate::lines::IngestLines;
use crate::listeners::Doors;
use crate::metrics::{EngineCollector, HistoryCollector, HistoryMetrics, PipelineMetrics};
use crate::pipeline::{Followers, Pipeline, newly_discovered};
use crate::projection::{Dirty, Projection};
use crate::report::Report;
use crate::start::OpenedHistory;
use crate::{elsewhere, listeners, start, surroundings};

/// How long stopping may take.
const STOP_DEADLINE: Duration = Duration::from_secs(25);

/// What is run; all of it over one journal, engine and registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Everything.
    Platform,
    /// Everything, with a simulated factory besides.
    Demo,
    /// All but HTTP: no REST, no web client.
    BrokerAlone,
}

/// Runs the platform until it is told to stop.
///
/// # Errors
/// Where something cannot be opened or a part fails for good.
pub(crate) fn run(mut loaded: Loaded, what: What) -> anyhow::Result<()> {
    if what == What::Demo && loaded.origin("data.dir") == Some(&Origin::Default) {
        // A demonstration must not mix with a plant's own data.
        loaded.config.data.dir = "data/demo".into();
    }
    let config = &loaded.config;
    egiz_service::logging::init(
        config.log.format,
        &config.log.level,
        surroundings::clock(),
        std::io::stderr,
    )?;
    for notice in &loaded.notices {
        tracing::warn!(setting = notice.name, "{} {}", notice.name, notice.text);
    }
    let doors = listeners::doors(&loaded).context("the configuration is not usable")?;
    let elsewhere = Elsewhere::check(&loaded).context("the configuration is not usable")?;
    backup::check(&loaded).context("the configuration is not usable")?;
    let influxdb = Influxdb::check(&loaded).context("the configuration is not usable")?;
    surroundings::allow_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(platform(config, doors, &elsewhere, influxdb, what))
}

async fn platform(
    config: &Config,
    doors: Doors,
    elsewhere: &Elsewhere,
    influxdb: Option<Influxdb>,
    what: What,
) -> anyhow::Result<()> {
    let demo = what == What::Demo;
    let (clock, random) = (surroundings::clock(), surroundings::random());
    let mut metrics = Metrics::new(BuildInfo { version: env!("CARGO_PKG_VERSION"), revision: "unknown" });
    let registry = metrics.registry_mut();
    let health = Health::new(clock.clone());
    let (journal_part, twin_part) = (health.part("journal", true), health.part("twin", true));
    let (registry_part, mqtt_part) = (health.part("registry", true), health.part("mqtt", true));

    let opened = {
        let (config, clock, metrics) = (config.clone(), clock.clone(), JournalMetrics::register(registry));
        tokio::task::spawn_blocking(move || start::open(&config, metrics, clock)).await??
    };
    let engine = Arc::clone(&opened.state.engine);
    let kept = Arc::clone(&opened.state.kept);
    registry.register_collector(Box::new(EngineCollector(Arc::clone(&engine))));
    twin_part.up();

    let history_metrics = HistoryMetrics::register(registry);
    let (history, feed, history_thread) = match opened.history {
        None => (None, None, None),
        Some(OpenedHistory { historian, lost_parts }) => {
            let collector = HistoryCollector { historian: Arc::clone(&historian), lost_parts };
            registry.register_collector(Box::new(collector));
            let settings = HistorySettings {
                clock: clock.clone(),
                metrics: history_metrics,
                part: health.part("history", false),
                seal_bytes: usize::try_from(config.history.seal_bytes).unwrap_or(usize::MAX),
                lost_parts,
            };
            let (history, feed, thread) = History::start(historian, settings)?;
            (Some(history), Some(feed), Some(thread))
        }
    };

    let options =
        StoreOptions { metrics: StoreMetrics::register(registry), ..StoreOptions::new(random.clone()) };
    let store = Store::open(&config.data.dir.join(backup::REGISTRY), options).await?;
    let author = Author::new("openegiz", clock());
    store.seed_templates(&start::templates(config.templates.file.as_deref())?, &author).await?;
    if let Some(history) = &history {
        let corrections = egiz_server::restore_corrections(&store, &history.historian).await?;
        tracing::debug!(corrections, "the corrections of the past are in force");
    }
    registry_part.up();
    if what != What::BrokerAlone {
        say_who_gets_in(config, &store).await?;
    }

    let server_metrics = ServerMetrics::register(registry);
    let hub = egiz_server::live::Hub::new(Arc::clone(&engine), hub_settings(config), registry);
    let pipeline_metrics = PipelineMetrics::register(registry);
    let (heard, dirty) = (Arc::new(Notify::new()), Dirty::default());
    let changes = {
        let hub = hub.clone();
        Box::new(move |batch| hub.publish(batch))
    };
    let observer = {
        let (heard, dirty) = (Arc::clone(&heard), dirty.clone());
        Box::new(move |changes: &[egiz_twin::Change]| {
            dirty.note(changes);
            if newly_discovered(changes).next().is_some() {
                heard.notify_one();
            }
        })
    };
    let last_snapshot = engine.read().next_offset();
    let (pipeline, apply_thread) = Pipeline::start(
        Arc::clone(&opened.journal),
        opened.state,
        clock.clone(),
        pipeline_metrics.clone(),
        Followers { changes, observer, history: feed },
    )?;
    let writes: Arc<dyn WriteGate> = Arc::new(Gate(Arc::clone(&pipeline)));
    put_templates_in_force(&store, &engine, &*writes, clock()).await?;

    let ingest = Arc::new(Ingest::new(ingest_config(config), IngestMetrics::register(registry)));
    let intake =
        MqttIntake { pipeline: Arc::clone(&pipeline), ingest: Arc::clone(&ingest), clock: clock.clone() };
    let inside = Arc::new(elsewhere.inside(&random));
    let door = Door {
        store: store.clone(),
        site: config.site.name.clone(),
        anonymous: config.mqtt.allow_anonymous,
        api_token: api_token_digest(config),
        acl: doors.acl,
        inside: Arc::clone(&inside),
    };
    let surroundings = Surroundings {
        intake: Arc::new(intake),
        archive: Arc::new(JournalArchive(Arc::clone(&opened.journal))),
        gatekeeper: Arc::new(door),
        clock: {
            let clock = clock.clone();
            Arc::new(move || clock().as_micros())
        },
    };
    let broker = Broker::new(broker_config(config), surroundings, BrokerMetrics::register(registry));
    broker.restore_sessions(&kept.lock().sessions, opened.journal.status().next);
    broker.restore_retained(kept.lock().retained.iter().map(|(topic, message)| {
        Publish::new(topic, message.payload.to_vec().into(), message.qos, true)
            .with_encoded_properties(&message.properties)
            .received_at(clock().as_micros())
    }));
    let supervisor_metrics = SupervisorMetrics::register(registry);
    let certificate_metrics = CertificateMetrics::register(registry);
    let elsewhere_metrics = ElsewhereMetrics::register(registry);
    let backup_metrics = BackupMetrics::register(registry);
    let influxdb_metrics = InfluxdbMetrics::register(registry);
    let metrics = Arc::new(metrics);
    let influxdb = influxdb
        .map(|influxdb| {
            let surroundings = influxdb::Surroundings {
                journal: Arc::clone(&opened.journal_files),
                engine: Arc::clone(&engine),
                clock: clock.clone(),
                random: random.clone(),
                metrics: influxdb_metrics,
                part: health.part("influxdb", false),
            };
            influxdb.prepare(config, surroundings)
        })
        .transpose()?;

    let snapshots = Arc::new(Snapshots {
        engine: Arc::clone(&engine),
        kept,
        journal: Arc::clone(&opened.journal),
        folder: opened.snapshots,
        history: history.clone(),
        influxdb: influxdb.as_ref().map(|(_, hold)| Arc::clone(hold)),
        needed_from: std::sync::atomic::AtomicU64::new(0),
        interval: Duration::from_secs(config.twin.snapshot_interval_s),
        every_records: config.twin.snapshot_every_records,
        every_bytes: config.journal.max_total_bytes / 4,
        session_bytes_max: config.journal.max_total_bytes / 4 * 3,
        metrics: pipeline_metrics,
        last: parking_lot::Mutex::new(last_snapshot),
        publishing: parking_lot::Mutex::new(()),
    });
    let backup_parts = BackupParts {
        data: config.data.dir.clone(),
        site: config.site.name.clone(),
        journal: opened.journal_files,
        snapshots: Arc::clone(&snapshots),
        historian: history.as_ref().map(|history| Arc::clone(&history.historian)),
        store: store.clone(),
    };
    let backups = BackupService::new(
        config,
        backup_parts,
        (clock.clone(), random.clone()),
        || health.part("backup", false),
        backup_metrics,
    )?;

    let ports = Ports {
        engine: Arc::clone(&engine),
        progress: Arc::clone(pipeline.progress()),
        writes: Arc::clone(&writes),
        lines: Arc::new(IngestLines { ingest: Arc::clone(&ingest), rules: line_rules(config) }),
        store: store.clone(),
        history: history.as_ref().map(|history| Arc::clone(&history.historian)),
        backups: backups.clone().map(|backups| backups as Arc<dyn egiz_server::Backups>),
        program: Arc::new(Report { health: health.clone(), metrics, ingest: Arc::clone(&ingest) }),
        hub: hub.clone(),
        clock: clock.clone(),
        random: random.clone(),
        settings: Arc::new(server_settings(config, &store, demo).await?),
        metrics: server_metrics.clone(),
    };
    let supervisor = Supervisor::new(SupervisorOptions {
        clock: clock.clone(),
        random: random.clone(),
        health: health.clone(),
        metrics: supervisor_metrics,
        stop_deadline: STOP_DEADLINE,
    });

    {
        let snapshots = Arc::clone(&snapshots);
        supervisor
            .spawn(TaskSpec::new("snapshots", Phase::Storage), move |stop| Arc::clone(&snapshots).run(stop));
    }
    if let Some(history) = &history {
        let history = Arc::clone(history);
        supervisor.spawn(TaskSpec::new("history-maintenance", Phase::Storage), move |stop| {
            Arc::clone(&history).keep(stop)
        });
    }
    if let Some((writer, _)) = influxdb {
        let snapshots = Arc::clone(&snapshots);
        let on_moved: OnMoved = Arc::new(move || snapshots.release_more());
        let spec = TaskSpec::new("influxdb-writer", Phase::Work)
            .restart(Restart { give_up_after: u32::MAX, ..Restart::default() });
        supervisor.spawn(spec, move |stop| Arc::clone(&writer).run(Arc::clone(&on_moved), stop));
    }
    if let Some(backups) = backups {
        supervisor.spawn(TaskSpec::new("backups", Phase::Work), move |stop| Arc::clone(&backups).run(stop));
    }
    {
        let journal = Arc::clone(&opened.journal);
        supervisor.spawn(TaskSpec::new("journal-watch", Phase::Work), move |stop| {
            let (journal, part) = (Arc::clone(&journal), journal_part.clone());
            async move {
                watch_journal(journal, part, stop).await;
                anyhow::Ok(())
            }
        });
    }
    let ticker =
        Arc::new(Ticker { engine: Arc::clone(&engine), writes: Arc::clone(&writes), clock: clock.clone() });
    supervisor.spawn(TaskSpec::new("ticker", Phase::Work), move |stop| {
        let ticker = Arc::clone(&ticker);
        async move { ticker.run(stop).await }
    });
    let projection = Arc::new(Projection { engine: Arc::clone(&engine), store: store.clone(), dirty });
    supervisor.spawn(TaskSpec::new("registry-projection", Phase::Work), move |stop| {
        let projection = Arc::clone(&projection);
        async move { projection.run(stop).await }
    });
    if config.ingest.unknown_devices == UnknownDevices::Accept {
        let acceptor = Arc::new(Acceptor {
            engine: Arc::clone(&engine),
            writes,
            store: store.clone(),
            clock: clock.clone(),
            heard,
        });
        supervisor.spawn(TaskSpec::new("acceptor", Phase::Work), move |stop| {
            let acceptor = Arc::clone(&acceptor);
            async move { acceptor.run(stop).await }
        });
    }

    {
        let broker = broker.clone();
        supervisor.spawn(TaskSpec::new("mqtt-sessions", Phase::Work), move |stop| {
            let broker = broker.clone();
            async move {
                broker.keep_house(stop).await;
                anyhow::Ok(())
            }
        });
    }
    let urls = doors.listeners.open(&broker, &supervisor, &health, &certificate_metrics, clock.clone())?;
    mqtt_part.up();
    elsewhere
        .start(&elsewhere::Surroundings {
            pipeline: &pipeline,
            ingest: &ingest,
            broker: &broker,
            inside: &inside,
            supervisor: &supervisor,
            health: &health,
            clock: &clock,
            random: &random,
            metrics: &elsewhere_metrics,
            installation: &installation_name(&store).await?,
            packet_bytes_max: u32::try_from(config.mqtt.max_packet_bytes).unwrap_or(u32::MAX),
        })
        .await?;
    if what != What::BrokerAlone {
        serve_http(config, &supervisor, ports, server_metrics).await?;
    }
    if demo {
        crate::plant::in_demo(config, &supervisor);
    }
    announce(config, what, &urls);

    let mut signals = StopSignals::listen()?;
    let failure = tokio::select! {
        signal = signals.next() => {
            tracing::info!(?signal, "stopping");
            None
        }
        task = supervisor.critical_failure() => Some(task),
    };
    hub.shut_down();
    let report = supervisor.stop().await;
    if !report.not_stopped.is_empty() {
        tracing::warn!(tasks = ?report.not_stopped, "these did not stop in time and were ended");
    }
    let journal = Arc::clone(&opened.journal);
    tokio::task::spawn_blocking(move || {
        if let Some(history) = &history {
            history.stop();
        }
        journal.close();
        pipeline.stop();
        if apply_thread.join().is_err() {
            tracing::error!("the apply thread had panicked");
        }
        // Its queue ended with the apply thread; what was in it is taken in first.
        if history_thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the history thread had panicked");
        }
        snapshots.take()
    })
    .await??;
    store.close().await;
    match failure {
        None => {
            tracing::info!("stopped");
            Ok(())
        }
        Some(task) => anyhow::bail!("`{task}` failed for good; the log says why"),
    }
}

/// The name by which brokers elsewhere know this installation: made once, kept in the registry.
async fn installation_name(store: &Store) -> anyhow::Result<String> {
    let key = store.installation_key("mqtt-client").await?;
    Ok(key[..4].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Opens the HTTP listeners and starts serving on them.
async fn serve_http(
    config: &Config,
    supervisor: &Supervisor,
    ports: Ports,
    metrics: ServerMetrics,
) -> anyhow::Result<()> {
    let bind = |name: &'static str, address: std::net::SocketAddr| async move {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("{name} = \"{address}\" cannot be used; is another program listening there?")
        })?;
        anyhow::Ok(Arc::new(tokio::sync::Mutex::new(Some(listener))))
    };
    let options =
        ServeOptions { connections_max: config.http.max_connections, grace: Duration::from_secs(5) };
    let mut http = vec![(
        "http-listener",
        bind("http.listen", config.http.listen).await?,
        egiz_server::router(ports.clone()),
    )];
    if let Some(address) = config.http.vision_listen {
        http.push((
            "vision-listener",
            bind("http.vision_listen", address).await?,
            egiz_server::vision_router(ports),
        ));
    }
    for (name, listener, router) in http {
        let (options, metrics) = (options.clone(), metrics.clone());
        supervisor.spawn(TaskSpec::new(name, Phase::Intake).critical(), move |stop| {
            let (listener, router) = (Arc::clone(&listener), router.clone());
            let (options, metrics) = (options.clone(), metrics.clone());
            async move {
                let listener =
                    listener.lock().await.take().context("the listener was lost when the task failed")?;
                egiz_server::serve(listener, router, options, metrics, stop).await;
                anyhow::Ok(())
            }
        });
    }
    Ok(())
}

/// Tells the person at the terminal where to go.
#[expect(clippy::print_stdout, reason = "the address is what people wait for")]
fn announce(config: &Config, what: What, urls: &[String]) {
    let mqtt = urls.join(", ");
    if what == What::BrokerAlone {
        println!("the broker is ready at {mqtt}");
    } else {
        let name = if what == What::Demo { "the demo factory" } else { "OpenEgiz" };
        println!("{name} is live at http://{}", config.http.listen);
        if let Some(vision) = config.http.vision_listen {
            println!("  EgizVision     http://{vision}");
        }
        println!("  REST API       http://{}/api/docs", config.http.listen);
        println!("  MQTT           {mqtt}");
    }
    tracing::info!(http = %config.http.listen, mqtt, data = %config.data.dir.display(), "ready");
}

/// Brings the engine's templates to where the registry's are.
async fn put_templates_in_force(
    store: &Store,
    engine: &Arc<parking_lot::RwLock<egiz_twin::Engine>>,
    writes: &dyn WriteGate,
    now: egiz_model::Timestamp,
) -> anyhow::Result<()> {
    let mut records = Vec::new();
    let header = Header { received: now, principal: "openegiz", correlation: "" };
    for template in all_templates(store).await? {
        let json = template.to_json().to_string();
        let in_force = engine.read().template(&template.definition) == Some(&json);
        if !in_force {
            let body = Body::Template { definition: &template.definition, json: &json };
            records.push(Record { header, body }.to_bytes());
        }
    }
    if !records.is_empty() {
        writes.submit(records).await?;
    }
    Ok(())
}

/// Warns of what the configuration alone cannot know: that nobody gets in, or that a layout is not the one in force.
async fn say_who_gets_in(config: &Config, store: &Store) -> anyhow::Result<()> {
    let http = &config.http;
    if http.allow_anonymous == config::Anonymous::Never
        && config.api_token.is_none()
        && !store.has_api_tokens()
    {
        tracing::warn!(
            "nobody can sign in over HTTP: there is no token, and http.allow_anonymous is \"never\"; set http.api_token_file"
        );
    }
    if config.layout.file.is_some() && store.layout().await?.is_some() {
        tracing::warn!(
            "layout.file is not in force: another layout was put with PUT /api/v1/layout; DELETE takes it back"
        );
    }
    Ok(())
}

fn hub_settings(config: &Config) -> egiz_server::live::HubSettings {
    egiz_server::live::HubSettings {
        clients_max: config.http.websocket_max_clients,
        mailbox_events: config.http.websocket_queue_events,
        subscriptions_per_client_max: config.http.websocket_max_subscriptions,
        ping_interval: Duration::from_secs(config.http.websocket_ping_interval_s),
        ring_events: config.twin.resume_events,
        ..egiz_server::live::HubSettings::default()
    }
}

fn ingest_config(config: &Config) -> IngestConfig {
    IngestConfig {
        clocks: ClockRules {
            ahead_max_micros: i64::try_from(config.ingest.max_future_s)
                .unwrap_or(0)
                .saturating_mul(1_000_000),
        },
        limits: PayloadLimits {
            properties_max: config.ingest.max_payload_properties,
            depth_max: config.ingest.max_payload_depth,
        },
        rejected_kept: config.ingest.rejected_kept,
    }
}

fn line_rules(config: &Config) -> LineRules {
    LineRules {
        site: config.site.name.clone(),
        device_tags: config.influx.device_tags.clone(),
        feature_tag: config.influx.feature_tag.clone().unwrap_or_default(),
    }
}

pub(crate) fn broker_config(config: &Config) -> BrokerConfig {
    let mqtt = &config.mqtt;
    BrokerConfig {
        packet_bytes_max: usize::try_from(mqtt.max_packet_bytes).unwrap_or(usize::MAX),
        connections_max: mqtt.max_connections,
        connections_per_address_max: mqtt.max_connections_per_address,
        connect_bytes_max: usize::try_from(mqtt.max_connect_packet_bytes).unwrap_or(usize::MAX),
        connect_timeout: Duration::from_secs(mqtt.connect_timeout_s),
        keep_alive_max_s: mqtt.keep_alive_max_s,
        sessions_max: mqtt.max_sessions,
        session_expiry_max_s: mqtt.session_expiry_max_s,
        receive_max: mqtt.receive_maximum,
        sys_interval: Duration::from_secs(mqtt.sys_interval_s),
        durability: match config.journal.durability {
            config::Durability::Fsync => "fsync",
            config::Durability::Os => "os",
            config::Durability::Memory => "memory",
        },
        retained_messages_max: mqtt.max_retained_messages,
        retained_bytes_max: usize::try_from(mqtt.max_retained_bytes).unwrap_or(usize::MAX),
        ..BrokerConfig::default()
    }
}

fn api_token_digest(config: &Config) -> Option<[u8; 32]> {
    config.api_token.as_ref().map(|secret| Sha256::digest(secret.expose().as_bytes()).into())
}

async fn server_settings(config: &Config, store: &Store, demo: bool) -> anyhow::Result<ServerSettings> {
    let http = &config.http;
    let tokens = api_token_digest(config).map(|sha256| ApiToken {
        name: API_TOKEN_NAME.to_owned(),
        sha256,
        role: Role::Admin,
    });
    let rate_limit = (http.rate_limit_per_s > 0)
        .then_some(RateLimit { per_second: http.rate_limit_per_s, burst: http.rate_limit_burst });
    Ok(ServerSettings {
        sites: vec![config.site.name.clone()],
        version: env!("CARGO_PKG_VERSION").to_owned(),
        body_bytes_max: usize::try_from(http.max_body_bytes).unwrap_or(usize::MAX),
        json_depth_max: http.max_json_depth,
        accepts_devices: config.ingest.unknown_devices == UnknownDevices::Accept,
        request_timeout_ms: http.request_timeout_s * 1000,
        concurrent_requests_max: http.max_concurrent_requests,
        connections_max: http.max_connections,
        rate_limit,
        rate_limit_loopback: !http.rate_limit_exempt_loopback,
        tokens: tokens.into_iter().collect(),
        anonymous: match http.allow_anonymous {
            config::Anonymous::Never => Anonymous::Never,
            config::Anonymous::Loopback => Anonymous::Loopback,
            config::Anonymous::Always => Anonymous::Always,
        },
        strict_sites: http.strict_sites.clone(),
        allowed_origins: http.allowed_origins.clone(),
        allowed_hosts: http.allowed_hosts.clone(),
        cursor_key: store.installation_key("cursor").await?,
        layout: start::layout(config.layout.file.as_deref(), demo)?.map(Into::into),
        influx: InfluxSettings {
            database: config.influx.database.clone(),
            device_tags: config.influx.device_tags.clone(),
            body_bytes_max: usize::try_from(config.influx.max_body_bytes).unwrap_or(usize::MAX),
            unpacked_bytes_max: usize::try_from(config.influx.max_unpacked_bytes).unwrap_or(usize::MAX),
            retention_days: config.history.retention_days,
        },
        ..ServerSettings::default()
    })
}
