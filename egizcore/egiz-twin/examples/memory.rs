//! What a Thing takes in memory: `cargo run --release -p egiz-twin --example memory`.
//!
//! Counts what the engine asks of the allocator, everything included: index, order, names, values; and how much larger the
//! process became, which is that and what the allocator adds. Promised: at most 2 kB a Thing of ten properties. Prints also
//! what a snapshot takes, and how long it takes to write and to read.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::time::Instant;

use egiz_model::record::{Body, Header, Preconditions, Record, TelemetryWriter, ThingWrite, WriteOperation};
use egiz_model::{Quality, QualityReason, Timestamp};
use egiz_twin::{Engine, Limits};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes of the process that are in memory; 0 where the system does not say.
fn resident_bytes() -> usize {
    const PAGE_BYTES: usize = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    PAGE_BYTES * pages
}

fn main() {
    for things in [10_000, 100_000] {
        let before = (ALLOCATOR.current_usage(), resident_bytes());
        let engine = filled(things);
        let allocated = ALLOCATOR.current_usage() - before.0;
        let resident = resident_bytes().saturating_sub(before.1);
        println!(
            "{things} Things of ten properties: {} bytes a Thing allocated, {} resident, {} MB together",
            allocated / things,
            resident / things,
            resident / 1_000_000
        );

        let begun = Instant::now();
        let mut snapshot = Vec::new();
        engine.snapshot(&mut snapshot);
        let written = begun.elapsed();
        let begun = Instant::now();
        let restored = Engine::restore(&snapshot, Limits::default()).expect("it was just written");
        println!(
            "  snapshot: {} bytes a Thing, written in {} ms, read in {} ms ({} Things)",
            snapshot.len() / things,
            written.as_millis(),
            begun.elapsed().as_millis(),
            restored.len()
        );
    }
}

fn filled(things: usize) -> Engine {
    let mut engine = Engine::new(Limits::default());
    let mut changes = Vec::new();
    let mut bytes = Vec::new();
    for number in 0..things {
        let id = format!("factory:oven-{number:06}");
        let principal = format!("oven-{number:06}");
        let header = Header { received: Timestamp::from_seconds(1), principal: &principal, correlation: "" };
        let content = format!(
            "{{\"definition\":\"openegiz:tunnel-oven:1.0.0\",\"attributes\":{{\"type\":\"oven\",\"line\":\"{}\"}}}}",
            number % 10
        );
        let write = ThingWrite {
            thing: &id,
            operation: WriteOperation::Create,
            path: "",
            content: content.as_bytes(),
            preconditions: Preconditions::default(),
        };
        let record = Record { header, body: Body::ThingWrite(write) };
        engine.apply(engine.next_offset(), &record, &mut changes);

        bytes.clear();
        let source = Timestamp::from_seconds(2);
        let mut writer = TelemetryWriter::begin(&mut bytes, &header, &id, source, QualityReason::None);
        writer.feature("thermal");
        let mut zones = writer.sample("temperature_zones", Quality::Good);
        let start = zones.begin_list();
        (0..3).for_each(|zone| zones.float(190.5 + f64::from(zone)));
        zones.end(start);
        for name in ["humidity_percent", "door_open"] {
            writer.sample(name, Quality::Good).float(41.5);
        }
        writer.feature("electrical");
        for name in ["voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "power_kw"] {
            writer.sample(name, Quality::Good).float(230.25);
        }
        writer.feature("mechanical");
        for name in ["belt_speed", "vibration_rms"] {
            writer.sample(name, Quality::Good).float(0.75);
        }
        writer.finish();
        let record = Record::decode(&bytes).expect("it was just written");
        engine.apply(engine.next_offset(), &record, &mut changes);
        changes.clear();
    }
    engine
}
