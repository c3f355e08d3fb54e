//! What the engine costs. Promised: a telemetry message of about 300 bytes with ten properties is applied in at most 1.5 µs,
//! a filter is evaluated in well under a microsecond a Thing, and a thousand subscriptions cost a change little.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use egiz_model::record::{Body, Header, Preconditions, Record, TelemetryWriter, ThingWrite, WriteOperation};
use egiz_model::{Quality, QualityReason, Timestamp};
use egiz_twin::interest::{Interest, Target};
use egiz_twin::{Engine, Filter, Limits, Path, Query, SortKey};

const THINGS: usize = 1000;

fn header(seconds: i64) -> Header<'static> {
    Header { received: Timestamp::from_seconds(seconds), principal: "oven-001", correlation: "" }
}

fn id(number: usize) -> String {
    format!("factory:oven-{number:05}")
}

/// Ten properties in three features, one of them an array: the product document's payload.
fn message(thing: &str, seconds: i64, change: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let source = Timestamp::from_seconds(seconds);
    let mut writer = TelemetryWriter::begin(&mut out, &header(seconds), thing, source, QualityReason::None);
    let wobble = change as f64 / 8.0;
    writer.feature("thermal");
    let mut zones = writer.sample("temperature_zones", Quality::Good);
    let start = zones.begin_list();
    for zone in [195.0, 192.5, 193.25] {
        zones.float(zone + wobble);
    }
    zones.end(start);
    writer.sample("humidity_percent", Quality::Good).float(41.5 + wobble);
    writer.sample("door_open", Quality::Good).bool(false);
    writer.feature("electrical");
    for (name, value) in [
        ("voltage_l1", 230.1),
        ("voltage_l2", 229.8),
        ("voltage_l3", 231.0),
        ("current_l1", 18.25),
        ("power_kw", 12.5),
    ] {
        writer.sample(name, Quality::Good).float(value + wobble);
    }
    writer.feature("mechanical");
    writer.sample("belt_speed", Quality::Good).float(0.75 + wobble);
    writer.sample("vibration_rms", Quality::Good).float(1.125 + wobble);
    writer.finish();
    out
}

fn engine() -> Engine {
    let mut engine = Engine::new(Limits::default());
    let mut changes = Vec::new();
    for number in 0..THINGS {
        let kind = ["oven", "mixer", "proofer", "packer"][number % 4];
        let content = format!("{{\"attributes\":{{\"type\":\"{kind}\",\"line\":\"{}\"}}}}", number % 10);
        let write = ThingWrite {
            thing: &id(number),
            operation: WriteOperation::Create,
            path: "",
            content: content.as_bytes(),
            preconditions: Preconditions::default(),
        };
        let record = Record { header: header(1), body: Body::ThingWrite(write) };
        engine.apply(engine.next_offset(), &record, &mut changes);
        let bytes = message(&id(number), 2, number as i64 % 16);
        let record = Record::decode(&bytes).expect("it was just written");
        engine.apply(engine.next_offset(), &record, &mut changes);
    }
    engine
}

fn apply(criterion: &mut Criterion) {
    let mut engine = engine();
    let mut changes = Vec::new();
    let mut group = criterion.benchmark_group("apply");
    let record_bytes = message(&id(0), 3, 0).len() as u64;
    group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes: record_bytes });
    for (name, step) in [("every value changed", 1), ("nothing changed", 0)] {
        // Two rounds of messages over all Things, decoded anew each time as from the journal.
        let rounds: Vec<Vec<u8>> = (0..2 * THINGS)
            .map(|turn| message(&id(turn % THINGS), 3, (turn / THINGS) as i64 * step))
            .collect();
        let mut turn = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let record = Record::decode(&rounds[turn % rounds.len()]).expect("it was just written");
                turn += 1;
                changes.clear();
                black_box(engine.apply(engine.next_offset(), &record, &mut changes));
            });
        });
    }
    let bytes = message(&id(7), 3, 0);
    group.bench_function("decoding alone", |bencher| {
        bencher.iter(|| black_box(Record::decode(black_box(&bytes)).expect("it was just written")));
    });
    let mut turn = 0;
    group.bench_function("a property put", |bencher| {
        bencher.iter(|| {
            turn += 1;
            let thing = id(turn % THINGS);
            let content = turn.to_string();
            let write = ThingWrite {
                thing: &thing,
                operation: WriteOperation::Put,
                path: "/features/status/properties/anomaly_score",
                content: content.as_bytes(),
                preconditions: Preconditions::default(),
            };
            let record = Record { header: header(4), body: Body::ThingWrite(write) };
            changes.clear();
            black_box(engine.apply(engine.next_offset(), &record, &mut changes));
        });
    });
    group.finish();
}

fn query(criterion: &mut Criterion) {
    let engine = engine();
    let mut group = criterion.benchmark_group("a filter over 1000 Things");
    group.throughput(Throughput::Elements(THINGS as u64));
    for text in [
        "eq(attributes/type,\"oven\")",
        "gt(features/thermal/properties/temperature_zones,196)",
        "and(in(attributes/line,\"1\",\"2\"),lt(features/electrical/properties/power_kw,13),eq(_connection,\"live\"))",
        "like(attributes/type,\"*oof*\")",
    ] {
        let filter = Filter::parse(text).expect(text);
        group.bench_function(text, |bencher| bencher.iter(|| black_box(engine.count(Some(&filter)))));
    }
    let sort = vec![SortKey {
        path: Path::parse("features/electrical/properties/power_kw").expect("a path"),
        descending: true,
    }];
    let query = Query { sort, limit: 25, ..Query::default() };
    group.bench_function("sorted, the first 25", |bencher| {
        bencher.iter(|| black_box(engine.search(&query).expect("it can be answered")));
    });
    group.finish();
    let one = Filter::parse("eq(thingId,\"factory:oven-00500\")").expect("a filter");
    let query = Query { filter: Some(one), limit: 25, ..Query::default() };
    criterion.bench_function("a search by id", |bencher| {
        bencher.iter(|| black_box(engine.search(&query).expect("it can be answered")));
    });
}

fn interest(criterion: &mut Criterion) {
    let mut engine = engine();
    let mut interest = Interest::default();
    for number in 0..1000 {
        let text = match number % 4 {
            0 => format!("and(eq(attributes/type,\"oven\"),eq(attributes/line,\"{}\"))", number / 4),
            1 => format!("eq(attributes/line,\"{number}\")"),
            2 => format!("like(thingId,\"*-{number:05}\")"),
            _ => format!("gt(features/thermal/properties/humidity_percent,{number})"),
        };
        interest.add(&engine, Target::Filter(Filter::parse(&text).expect("a filter")));
    }
    let mut changes = Vec::new();
    for number in 0..THINGS {
        let bytes = message(&id(number), 5, 3);
        let record = Record::decode(&bytes).expect("it was just written");
        engine.apply(engine.next_offset(), &record, &mut changes);
    }
    let mut turn = 0;
    criterion.bench_function(
        "a change among 1000 subscriptions, a quarter of which mention one of its three features",
        |bencher| {
            bencher.iter(|| {
                turn += 1;
                interest.route(&engine, &changes[turn % changes.len()], |group, sight| {
                    black_box((group, sight));
                });
            });
        },
    );
}

criterion_group!(benches, apply, query, interest);
criterion_main!(benches);
