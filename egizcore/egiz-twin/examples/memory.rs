//! What a Thing takes in memory: `cargo run --release -p egiz-twin --example memory`.
//!
//! Counts what the engine asks of the allocator, everything included: index, order, names, values; and how much larger the
//! process became, which is that and what the allocator adds. Promised: at most 2 kB a Thing of ten properties. Prints also
//! what a snapshot takes, and, since so many Things lie outside the processor's caches, what a message and a filter cost then
//! (the benches measure a thousand Things).
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::time::Instant;

use egiz_model::record::{Body, Header, Preconditions, Record, TelemetryWriter, ThingWrite, WriteOperation};
use egiz_model::{Quality, QualityReason, Timestamp};
use egiz_twin::{Engine, Filter, Limits};
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
        let mut engine = filled(things);
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
        drop((snapshot, restored));

        let messages: Vec<Vec<u8>> = (0..things).map(|number| message(number, 3, 1.0)).collect();
        let mut changes = Vec::new();
        let begun = Instant::now();
        for bytes in &messages {
            let record = Record::decode(bytes).expect("it was just written");
            changes.clear();
            engine.apply(engine.next_offset(), &record, &mut changes);
        }
        println!("  a message, each to another Thing: {} ns", begun.elapsed().as_nanos() / things as u128);
        for text in ["eq(attributes/line,\"3\")", "gt(features/electrical/properties/power_kw,500)"] {
            let filter = Filter::parse(text).expect("a filter");
            let begun = Instant::now();
            let count = engine.count(Some(&filter));
            println!("  {text}: {} ns a Thing, {count} match", begun.elapsed().as_nanos() / things as u128);
        }
    }
}

fn thing_id(number: usize) -> String {
    format!("factory:oven-{number:06}")
}

fn header(principal: &str) -> Header<'_> {
    Header { received: Timestamp::from_seconds(1), principal, correlation: "" }
}

/// Ten properties in three features, one of them an array.
fn message(number: usize, seconds: i64, wobble: f64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let source = Timestamp::from_seconds(seconds);
    let principal = format!("oven-{number:06}");
    let id = thing_id(number);
    let mut writer =
        TelemetryWriter::begin(&mut bytes, &header(&principal), &id, source, QualityReason::None);
    writer.feature("thermal");
    let mut zones = writer.sample("temperature_zones", Quality::Good);
    let start = zones.begin_list();
    (0..3).for_each(|zone| zones.float(190.5 + wobble + f64::from(zone)));
    zones.end(start);
    for name in ["humidity_percent", "door_open"] {
        writer.sample(name, Quality::Good).float(41.5 + wobble);
    }
    writer.feature("electrical");
    for name in ["voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "power_kw"] {
        writer.sample(name, Quality::Good).float(230.25 + wobble);
    }
    writer.feature("mechanical");
    for name in ["belt_speed", "vibration_rms"] {
        writer.sample(name, Quality::Good).float(0.75 + wobble);
    }
    writer.finish();
    bytes
}

fn filled(things: usize) -> Engine {
    let mut engine = Engine::new(Limits::default());
    let mut changes = Vec::new();
    for number in 0..things {
        let id = thing_id(number);
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
        let record = Record { header: header("loader"), body: Body::ThingWrite(write) };
        engine.apply(engine.next_offset(), &record, &mut changes);
        let bytes = message(number, 2, 0.0);
        let record = Record::decode(&bytes).expect("it was just written");
        engine.apply(engine.next_offset(), &record, &mut changes);
        changes.clear();
    }
    engine
}
