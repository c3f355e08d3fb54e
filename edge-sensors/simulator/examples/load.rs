//! Publishes from many devices for some seconds and prints the report: the load of a measurement.
//!
//! ```text
//! cargo run --release -p egiz-simulator --example load -- 127.0.0.1 1883 2000 1000 30
//! ```
//! Arguments: broker's host and port, devices, interval in milliseconds, duration in seconds; MQTT 5, or
//! 3.1.1 with a sixth one. Each device holds
//! one socket: `ulimit -n` must allow them.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use egiz_simulator::config::Protocol;
use egiz_simulator::{Simulator, SimulatorConfig};
use tokio_util::sync::CancellationToken;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, devices, interval_ms, duration_s, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: load <host> <port> <devices> <interval_ms> <duration_s> [3.1.1]");
    };
    let config = SimulatorConfig {
        broker_host: host.clone(),
        broker_port: port.parse()?,
        devices: devices.parse()?,
        interval_ms: interval_ms.parse()?,
        protocol: if rest.is_empty() { Protocol::V5 } else { Protocol::V311 },
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::new(config, Arc::new(now_ms))?;
    let (handle, stop) = (simulator.handle(), CancellationToken::new());
    let running = tokio::spawn(simulator.run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(duration_s.parse()?)).await;
    let counts = handle.counts();
    stop.cancel();
    let report = running.await??;
    writeln!(std::io::stdout(), "before the end: {counts:?}\n{report:#?}")?;
    Ok(())
}
