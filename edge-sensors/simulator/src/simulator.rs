//! The plant in real time: a pacemaker that steps and samples it, and one connection per device.
//!
//! The pacemaker cuts the interval into slices and samples a part of the devices in each, so that load is
//! even and devices are out of step, as real ones are. When the machine cannot keep up by more than an interval,
//! simulated time pauses (`late_slices` counts it); nothing is queued but in the devices' outboxes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, SimulatorConfig, TimestampSource};
use crate::credentials::{self, Credentials, CredentialsError};
use crate::device::{Counts, Device, DeviceContext, LedgerEntry};
use crate::fault::FaultKind;
use crate::kind::MachineKind;
use crate::link::LinkOptions;
use crate::noise::Noise;
use crate::outbox::{Message, Outbox};
use crate::payload;
use crate::plant::{InjectError, Plant, device_name};
use crate::truth::{TruthLog, TruthRecord};

/// Returns the time of the computer, ms since 1970-01-01 UTC.
pub type WallClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Shortest and longest slice, and how many an interval has at best.
const SLICE_MIN_MS: u64 = 10;
const SLICE_MAX_MS: u64 = 100;
const SLICES: u64 = 20;

/// Why the simulator did not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The configuration is wrong.
    #[error("the simulator's configuration is refused")]
    Config(#[from] ConfigError),
    /// The credentials are wrong.
    #[error("the simulator's credentials are refused")]
    Credentials(#[from] CredentialsError),
    /// The file for the truth can't be opened.
    #[error("can't open {path} for the truth about faults")]
    Truth {
        /// File.
        path: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The plant's own computation panicked.
    #[error("the simulated plant failed")]
    Plant(#[source] tokio::task::JoinError),
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Number of devices.
    pub devices: usize,
    /// Messages that the sensors produced.
    pub generated: u64,
    /// Messages handed to a connection, repeats after a reconnect included.
    pub published: u64,
    /// Messages that the broker acknowledged.
    pub acknowledged: u64,
    /// Messages that the broker acknowledged with a refusal (MQTT 5 only); not sent again.
    pub refused: u64,
    /// Messages dropped from full outboxes.
    pub dropped: u64,
    /// Messages neither acknowledged, refused nor dropped at the end.
    pub outstanding: u64,
    /// Connections accepted by the broker.
    pub connections: u64,
    /// Connections after each device's first one.
    pub reconnects: u64,
    /// Attempts and connections that ended with an error.
    pub connection_failures: u64,
    /// Slices left out because the computer did not keep up.
    pub late_slices: u64,
    /// Events in the truth.
    pub truth_events: u64,
    /// Devices whose task panicked.
    pub failed_devices: u64,
    /// Ids of all acknowledged messages, if asked for.
    pub ledger: Vec<LedgerEntry>,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { devices, generated, published, acknowledged, refused, dropped, outstanding, .. } = self;
        writeln!(formatter, "{devices} devices made {generated} messages and sent {published}.")?;
        writeln!(
            formatter,
            "Acknowledged {acknowledged}, refused {refused}, dropped {dropped}, without an answer {outstanding}."
        )?;
        let Report { connections, reconnects, connection_failures, .. } = self;
        write!(
            formatter,
            "Connections {connections}, of which {reconnects} again; failed attempts {connection_failures}. \
             Events of faults {}.",
            self.truth_events
        )?;
        if self.late_slices > 0 {
            write!(formatter, "\nThis computer did not keep up: {} slices were left out.", self.late_slices)?;
        }
        if self.failed_devices > 0 {
            write!(formatter, "\nDevices that failed: {}.", self.failed_devices)?;
        }
        Ok(())
    }
}

/// Counts of a running simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveCounts {
    /// Messages that the sensors produced.
    pub generated: u64,
    /// Messages that the broker acknowledged.
    pub acknowledged: u64,
    /// Messages dropped from full outboxes.
    pub dropped: u64,
    /// Devices connected now.
    pub online: u64,
}

/// One device of the plant, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Name, such as `oven-001`.
    pub device: String,
    /// Kind of machine.
    pub kind: MachineKind,
    /// Topic name of its telemetry.
    pub topic: String,
}

/// Lists the devices that a configuration simulates, without building the plant.
///
/// # Errors
/// Returns what is wrong with the configuration.
pub fn devices(config: &SimulatorConfig) -> Result<Vec<DeviceInfo>, ConfigError> {
    config.validate()?;
    Ok((0..config.devices)
        .map(|machine| {
            let device = device_name(machine);
            let topic = payload::topic(&config.site, &device, "telemetry");
            DeviceInfo { device, kind: crate::plant::kind_of(machine), topic }
        })
        .collect())
}

/// The plant and its truth, under one lock: a slice changes both.
struct World {
    plant: Plant,
    truth: TruthLog,
    /// Per device: number and timestamp of its last message.
    last: Vec<(u64, i64)>,
}

/// What pacemaker, devices and handles share.
struct Shared {
    config: SimulatorConfig,
    world: Mutex<World>,
    context: Arc<DeviceContext>,
    /// Outbox and telemetry topic per device.
    outboxes: Vec<(Arc<Mutex<Outbox>>, String)>,
    names: Vec<String>,
    start_ms: i64,
    clock: WallClock,
}

/// A simulator that is ready to run.
pub struct Simulator {
    shared: Arc<Shared>,
    devices: Vec<Device>,
}

/// Reaches into a running simulator; cheap to clone.
#[derive(Clone)]
pub struct SimulatorHandle {
    shared: Arc<Shared>,
}

/// Builds and runs a simulator until `shutdown`.
///
/// # Errors
/// Returns why it did not start. A broker that is absent or goes away is no error: devices try again.
pub async fn run(
    config: SimulatorConfig,
    shutdown: CancellationToken,
    clock: WallClock,
) -> Result<Report, SimulatorError> {
    Simulator::new(config, clock)?.run(shutdown).await
}

impl Simulator {
    /// Checks the configuration, reads the credentials and lets the plant run warm (about 0.1 s of computing).
    ///
    /// # Errors
    /// Returns why it can't start.
    pub fn new(config: SimulatorConfig, clock: WallClock) -> Result<Self, SimulatorError> {
        let plant = Plant::new(&config)?;
        let names: Vec<String> = (0..config.devices).map(device_name).collect();
        let mut credentials = read_credentials(&config, &names)?;
        let truth = TruthLog::open(config.truth_path.as_deref()).map_err(|source| SimulatorError::Truth {
            path: config.truth_path.as_deref().unwrap_or("-".as_ref()).display().to_string(),
            source,
        })?;
        let start_ms = clock();
        let context = Arc::new(DeviceContext {
            counts: Counts::default(),
            ledger: config.ledger.then(|| Mutex::new(Vec::new())),
            clock: clock.clone(),
            timestamp_unit: config.timestamp_unit,
            drain: Duration::from_millis(config.drain_ms),
            // Differs between runs, so that the will of an old one is recognised.
            boot: start_ms.unsigned_abs(),
            seed: config.seed,
        });
        let devices: Vec<Device> = names
            .iter()
            .enumerate()
            .map(|(machine, name)| new_device(&config, machine, name, context.boot, &mut credentials))
            .collect();
        let outboxes =
            devices.iter().map(|device| (device.outbox.clone(), device.telemetry_topic.clone())).collect();
        let world = Mutex::new(World { plant, truth, last: vec![(0, i64::MIN); config.devices] });
        let shared = Shared { config, world, context, outboxes, names, start_ms, clock };
        Ok(Simulator { shared: Arc::new(shared), devices })
    }

    /// Returns a handle that works before, while and after the simulator runs.
    #[must_use]
    pub fn handle(&self) -> SimulatorHandle {
        SimulatorHandle { shared: self.shared.clone() }
    }

    /// Connects the devices and publishes until `shutdown`; then every connected device sends what it still has
    /// and says that it is offline, within the drain time.
    ///
    /// # Errors
    /// Returns [`SimulatorError::Plant`] if the computation panicked.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Report, SimulatorError> {
        let Simulator { shared, devices } = self;
        // Devices go after the pacemaker, so that the last samples are sent; and with this future if it is dropped.
        let stop = CancellationToken::new();
        let _guard = stop.clone().drop_guard();
        let mut tasks = JoinSet::new();
        for device in devices {
            let delay =
                Duration::from_secs_f64(device.machine as f64 / f64::from(shared.config.connects_per_s));
            tasks.spawn(device.run(shared.context.clone(), delay, stop.clone()));
        }
        let late_slices = pace(&shared, &shutdown).await?;
        stop.cancel();
        let mut failed_devices = 0;
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                failed_devices += 1;
                tracing::error!(%error, "a simulated device failed");
            }
        }
        Ok(shared.report(late_slices, failed_devices))
    }
}

/// Samples the devices slice by slice until `stop`; returns how many slices were left out.
async fn pace(shared: &Arc<Shared>, stop: &CancellationToken) -> Result<u64, SimulatorError> {
    let interval_ms = shared.config.interval_ms;
    let slice_ms = (interval_ms / SLICES).clamp(SLICE_MIN_MS, SLICE_MAX_MS).min(interval_ms);
    let count = interval_ms.div_ceil(slice_ms) as usize;
    let mut due = vec![Vec::new(); count];
    for machine in 0..shared.config.devices {
        due[Noise::new(shared.config.seed ^ 0x51_1CE5, machine as u64).index(count)].push(machine);
    }
    let due = Arc::new(due);
    let slice = Duration::from_millis(interval_ms) / count as u32;
    let slice_s = slice.as_secs_f64() * shared.config.speed;
    let mut late_slices = 0;
    let mut next = Instant::now();
    for index in (0..count).cycle() {
        if stop.run_until_cancelled(sleep_until(next)).await.is_none() {
            break;
        }
        let (work, due) = (shared.clone(), due.clone());
        tokio::task::spawn_blocking(move || work.slice(slice_s, &due[index]))
            .await
            .map_err(SimulatorError::Plant)?;
        next += slice;
        let behind = Instant::now().saturating_duration_since(next);
        if behind > slice * count as u32 {
            late_slices += (behind.as_nanos() / slice.as_nanos()) as u64;
            next = Instant::now();
        }
    }
    Ok(late_slices)
}

impl Shared {
    fn time_ms(&self, plant: &Plant) -> i64 {
        match self.config.timestamp_source {
            TimestampSource::Wall => (self.clock)(),
            TimestampSource::Simulated => self.start_ms + (plant.elapsed_s() * 1000.0).round() as i64,
        }
    }

    /// Steps the plant and samples the devices that are due.
    fn slice(&self, step_s: f64, due: &[usize]) {
        let mut world = self.world.lock();
        let world = &mut *world;
        world.plant.step(step_s);
        let time_ms = self.time_ms(&world.plant);
        self.book_truth(world, time_ms);
        let (mut dropped, mut published) = (0, 0);
        for &machine in due {
            let Some(sample) = world.plant.sample(machine) else { continue };
            let (sequence, last_ms) = &mut world.last[machine];
            *sequence += 1;
            // A clock that is set back must not give two messages one id.
            *last_ms = time_ms.max(last_ms.saturating_add(1));
            let (sequence, timestamp_ms) = (*sequence, *last_ms);
            let payload = payload::telemetry(
                &self.names[machine],
                timestamp_ms,
                self.config.timestamp_unit,
                self.config.include_sequence.then_some(sequence),
                &sample,
            );
            let (outbox, topic) = &self.outboxes[machine];
            let message = Message { payload: payload.into(), sequence, timestamp_ms };
            let (lost, sent) = outbox.lock().push(message, topic);
            dropped += lost;
            published += sent;
        }
        let counts = &self.context.counts;
        counts.generated.fetch_add(due.len() as u64, Ordering::Relaxed);
        counts.dropped.fetch_add(dropped, Ordering::Relaxed);
        counts.published.fetch_add(published, Ordering::Relaxed);
    }

    fn book_truth(&self, world: &mut World, time_ms: i64) {
        for event in world.plant.drain_truth() {
            world.truth.append(event, time_ms);
        }
    }

    fn report(&self, late_slices: u64, failed_devices: u64) -> Report {
        let counts = &self.context.counts;
        let connections = counts.connections.load(Ordering::Relaxed);
        Report {
            devices: self.config.devices,
            generated: counts.generated.load(Ordering::Relaxed),
            published: counts.published.load(Ordering::Relaxed),
            acknowledged: counts.acknowledged.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
            dropped: counts.dropped.load(Ordering::Relaxed),
            outstanding: self.outboxes.iter().map(|(outbox, _)| outbox.lock().outstanding()).sum(),
            connections,
            reconnects: counts.reconnects.load(Ordering::Relaxed),
            connection_failures: counts.connection_failures.load(Ordering::Relaxed),
            late_slices,
            truth_events: self.world.lock().truth.total(),
            failed_devices,
            ledger: self.context.ledger.as_ref().map(|ledger| ledger.lock().clone()).unwrap_or_default(),
        }
    }
}

impl SimulatorHandle {
    /// Starts a fault now on the first zone or phase; it fails after `develop_s` simulated seconds.
    ///
    /// # Errors
    /// Returns why it is refused.
    pub fn inject(&self, device: &str, kind: FaultKind, develop_s: f64) -> Result<u64, InjectError> {
        self.inject_at(device, kind, develop_s, None)
    }

    /// Starts a fault now on a zone or phase, counted from 0.
    ///
    /// # Errors
    /// Returns why it is refused.
    pub fn inject_at(
        &self,
        device: &str,
        kind: FaultKind,
        develop_s: f64,
        element: Option<usize>,
    ) -> Result<u64, InjectError> {
        self.change(|plant| plant.inject(device, kind, develop_s, element))
    }

    /// Repairs all faults of a device now and returns how many there were.
    ///
    /// # Errors
    /// Returns [`InjectError::UnknownDevice`].
    pub fn repair(&self, device: &str) -> Result<usize, InjectError> {
        self.change(|plant| plant.repair(device))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Plant) -> Result<T, InjectError>) -> Result<T, InjectError> {
        let mut world = self.shared.world.lock();
        let result = change(&mut world.plant);
        let time_ms = self.shared.time_ms(&world.plant);
        self.shared.book_truth(&mut world, time_ms);
        result
    }

    /// Returns the last 10,000 records of the truth, oldest first.
    #[must_use]
    pub fn truth(&self) -> Vec<TruthRecord> {
        self.shared.world.lock().truth.records()
    }

    /// Returns counts as of now.
    #[must_use]
    pub fn counts(&self) -> LiveCounts {
        let counts = &self.shared.context.counts;
        LiveCounts {
            generated: counts.generated.load(Ordering::Relaxed),
            acknowledged: counts.acknowledged.load(Ordering::Relaxed),
            dropped: counts.dropped.load(Ordering::Relaxed),
            online: counts.online.load(Ordering::Relaxed),
        }
    }
}

fn read_credentials(config: &SimulatorConfig, names: &[String]) -> Result<Credentials, CredentialsError> {
    let Some(path) = &config.credentials_path else { return Ok(Credentials::new()) };
    let credentials = credentials::read(path)?;
    let missing: Vec<_> = names.iter().filter(|name| !credentials.contains_key(*name)).collect();
    match missing.first() {
        Some(first) => Err(CredentialsError::Missing {
            path: path.clone(),
            count: missing.len(),
            device: (*first).clone(),
        }),
        None => Ok(credentials),
    }
}

fn new_device(
    config: &SimulatorConfig,
    machine: usize,
    name: &str,
    boot: u64,
    credentials: &mut Credentials,
) -> Device {
    let status_topic = payload::topic(&config.site, name, "status");
    Device {
        machine,
        name: name.to_owned(),
        telemetry_topic: payload::topic(&config.site, name, "telemetry"),
        meta_topic: payload::topic(&config.site, name, "meta"),
        meta: payload::meta(name, crate::plant::kind_of(machine)).into(),
        outbox: Arc::new(Mutex::new(Outbox::new(config.buffer_messages, config.in_flight))),
        options: LinkOptions {
            protocol: config.protocol,
            host: config.broker_host.clone(),
            port: config.broker_port,
            keep_alive_s: config.keep_alive_s,
            window: config.in_flight,
            // The site is part of it: two sites may share a broker.
            client_id: format!("{}-{name}", config.site),
            credential: credentials.remove(name),
            will_topic: status_topic.clone(),
            will: payload::status(name, false, boot, None, config.timestamp_unit),
        },
        status_topic,
    }
}
