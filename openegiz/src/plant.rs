//! The simulated plant: as a program of its own, and as part of the demo.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use egiz_service::config::Config;
use egiz_service::shutdown::StopSignals;
use egiz_service::supervisor::{Phase, Supervisor, TaskSpec};
use egiz_simulator::{SimulatorConfig, WallClock};
use tokio_util::sync::CancellationToken;

use crate::cli::SimulateOptions;
use crate::surroundings;

/// Faults of the demo: often enough that one develops while somebody looks, rarely enough that most machines are well.
const DEMO_FAULTS_PER_MACHINE_PER_DAY: f64 = 6.0;

fn wall_clock() -> WallClock {
    let clock = surroundings::clock();
    Arc::new(move || clock().as_millis())
}

/// `openegiz simulate`: runs until it is told to stop, then prints what it did.
///
/// # Errors
/// Where the configuration is wrong or a file cannot be used.
pub(crate) fn simulate(options: &SimulateOptions) -> anyhow::Result<()> {
    let mut config = match &options.config {
        None => SimulatorConfig::default(),
        Some(path) => {
            let text =
                fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
            toml::from_str(&text).with_context(|| format!("{} is not usable", path.display()))?
        }
    };
    if let Some(broker) = &options.broker {
        let (host, port) = broker.rsplit_once(':').unwrap_or((broker, "1883"));
        host.clone_into(&mut config.broker_host);
        config.broker_port = port
            .parse()
            .with_context(|| format!("--broker {broker}: `{port}` is no port; allowed is host:port"))?;
    }
    if let Some(devices) = options.devices {
        config.devices = devices;
    }
    if options.truth.is_some() {
        config.truth_path.clone_from(&options.truth);
    }
    // On standard error: the truth may go to standard output.
    let format = egiz_service::config::LogFormat::Human;
    egiz_service::logging::init(format, "info", surroundings::clock(), std::io::stderr)?;
    let broker = format!("{}:{}", config.broker_host, config.broker_port);
    tracing::info!(devices = config.devices, broker, site = config.site, "simulating; Ctrl-C ends it");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let report = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut signals = StopSignals::listen()?;
        let stopping = stop.clone();
        tokio::spawn(async move {
            signals.next().await;
            stopping.cancel();
        });
        anyhow::Ok(egiz_simulator::run(config, stop, wall_clock()).await?)
    })?;
    tell(&report.to_string());
    Ok(())
}

/// Runs the simulated factory against the embedded broker. The truth about its faults goes beside the data.
pub(crate) fn in_demo(config: &Config, supervisor: &Supervisor) {
    let Some(listen) = config.mqtt.listen else {
        tracing::warn!("no simulated factory: it would use mqtt.listen, which is off");
        return;
    };
    let host = if listen.ip().is_unspecified() { "127.0.0.1".to_owned() } else { listen.ip().to_string() };
    let plant = SimulatorConfig {
        broker_host: host,
        broker_port: listen.port(),
        site: config.site.name.clone(),
        faults_per_machine_per_day: DEMO_FAULTS_PER_MACHINE_PER_DAY,
        fault_develop_min_s: 300.0,
        fault_develop_max_s: 1800.0,
        fault_repair_s: 300.0,
        truth_path: Some(truth_beside(&config.data.dir)),
        ..SimulatorConfig::default()
    };
    supervisor.spawn(TaskSpec::new("simulated-plant", Phase::Intake), move |stop| {
        let plant = plant.clone();
        async move { egiz_simulator::run(plant, stop, wall_clock()).await.map(|_| ()) }
    });
}

fn truth_beside(data: &Path) -> std::path::PathBuf {
    data.join("simulated-faults.jsonl")
}

#[expect(clippy::print_stdout, reason = "the report is what was asked for")]
fn tell(text: &str) {
    println!("{text}");
}
