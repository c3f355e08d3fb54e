//! Attacks what Telegraf and client libraries send: whatever stands in a body, the mapping neither panics nor invents. Every
//! line is either taken or refused with its number and a reason; what is taken becomes records that read back, hold as many
//! samples as the lines had fields, and the engine applies them.
//!
//! Input: a letter for the precision, the body.
#![no_main]

use std::sync::LazyLock;

use egiz_fuzz::{BEGIN_S, check_engine, plant, small_limits};
use egiz_influx::line::{self, LineLimits};
use egiz_influx::series::Series;
use egiz_influx::{Lines, Precision};
use egiz_ingest::{ClockRules, Ingest, IngestConfig, IngestMetrics, LineRules, PayloadLimits};
use egiz_model::record::{Body, Record};
use egiz_model::{Name, ThingId, Timestamp};
use egiz_twin::Engine;
use libfuzzer_sys::fuzz_target;

const PROPERTIES_MAX: usize = 8;

static PLANT: LazyLock<Engine> = LazyLock::new(|| plant(small_limits()));

fuzz_target!(|input: &[u8]| {
    let Some((&unit, body)) = input.split_first() else { return };
    let unit = [unit];
    let precision = std::str::from_utf8(&unit).ok().and_then(Precision::parse).unwrap_or_default();
    let source = Lines {
        received: Timestamp::from_seconds(BEGIN_S + 60),
        principal: "telegraf",
        correlation: "c-1",
        place: "/write",
        precision,
        body,
    };
    let limits = PayloadLimits { properties_max: PROPERTIES_MAX, depth_max: 4 };
    let config = IngestConfig { clocks: ClockRules::default(), limits, rejected_kept: 2 };
    let ingest = Ingest::new(config, IngestMetrics::default());
    let mut engine = PLANT.clone();
    let mut samples = 0;
    let mapped = ingest.map_lines(&source, &LineRules::default());
    for (thing, bytes) in &mapped.records {
        ThingId::check(thing).expect("a Thing id");
        let record = Record::decode(bytes).expect("what is written can be read");
        let Body::Telemetry(telemetry) = &record.body else { panic!("it is telemetry") };
        assert_eq!(telemetry.thing, *thing);
        let mut of_record = 0;
        for feature in telemetry.features() {
            Name::check(feature.name.as_str()).expect("the name of a feature");
            assert!(!Series::of_feature(feature.name.as_str()).measurement.is_empty());
            for sample in feature.samples() {
                Name::check(sample.property.as_str()).expect("the name of a property");
                assert!(sample.value.as_f64().is_none_or(f64::is_finite));
                of_record += 1;
            }
        }
        assert!((1..=PROPERTIES_MAX).contains(&of_record));
        samples += of_record;
        let offset = engine.next_offset();
        engine.apply(offset, &record, &mut Vec::new());
    }
    check_lines(body, (mapped.accepted, mapped.rejected), samples);
    assert!(mapped.first_rejected.windows(2).all(|pair| pair[0].number < pair[1].number));
    assert!(mapped.first_rejected.iter().all(|line| !line.reason.is_empty()));
    assert_eq!(ingest.rejected().0, mapped.rejected as u64);
    assert!(mapped.records.len() <= mapped.accepted);
    if !mapped.records.is_empty() {
        check_engine(&engine);
    }
});

/// Holds the numbers against the lines themselves.
fn check_lines(body: &[u8], (accepted, rejected): (usize, usize), samples: usize) {
    let limits = LineLimits { fields_max: PROPERTIES_MAX, ..LineLimits::default() };
    let (mut all, mut readable, mut fields) = (0, 0, 0);
    for raw in line::lines(body) {
        all += 1;
        assert!(!raw.bytes.is_empty() && raw.number > 0);
        if let Ok(point) = line::parse(raw.bytes, limits) {
            readable += 1;
            fields += point.fields.len();
        }
    }
    assert_eq!(accepted + rejected, all);
    assert!(accepted <= readable && samples <= fields);
}
