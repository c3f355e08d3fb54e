//! Prints what one machine would publish, without a broker and as fast as it computes: one JSON line per
//! `every_s` simulated seconds, events of faults between them.
//!
//! ```text
//! cargo run --release -p egiz-simulator --example trace -- oven-001 3600 10 heater_element_loss 1800
//! ```
//! Arguments: device, duration and interval in simulated seconds, then optionally a fault and its development.

use std::io::Write;

use anyhow::Context;
use egiz_simulator::config::TimestampUnit;
use egiz_simulator::plant::device_index;
use egiz_simulator::{FaultKind, Plant, SimulatorConfig, payload};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [device, duration_s, every_s, fault @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: trace <device> <duration_s> <every_s> [<fault> <develop_s>]");
    };
    let (duration_s, every_s): (f64, f64) = (duration_s.parse()?, every_s.parse()?);
    let machine = device_index(device).with_context(|| format!("no device {device:?}"))?;
    let config = SimulatorConfig {
        devices: SimulatorConfig::default().devices.max(machine + 1),
        ..Default::default()
    };
    let mut plant = Plant::new(&config)?;
    if let [kind, develop_s] = fault {
        let kind = FaultKind::ALL
            .into_iter()
            .find(|known| known.name() == kind)
            .with_context(|| format!("no fault {kind:?}"))?;
        plant.inject(device, kind, develop_s.parse()?, None)?;
    }
    let mut out = std::io::stdout().lock();
    while plant.elapsed_s() < duration_s {
        plant.step(every_s);
        for event in plant.drain_truth() {
            writeln!(
                out,
                "# {} {} {:?} {:.2}",
                event.device,
                event.fault.name(),
                event.event,
                event.severity
            )?;
        }
        let sample = plant.sample(machine).context("the plant has the machine")?;
        let time_ms = (plant.elapsed_s() * 1000.0) as i64;
        out.write_all(&payload::telemetry(device, time_ms, TimestampUnit::Milliseconds, None, &sample))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
