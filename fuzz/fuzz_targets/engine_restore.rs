//! Attacks snapshots: damaged bytes are refused or give an engine that can be read, written, and goes on working; none panics.
#![no_main]

use egiz_fuzz::{apply, check_engine, header, read_wholly, small_limits};
use egiz_model::record::{Body, Preconditions, Record, TelemetryWriter, ThingWrite, WriteOperation};
use egiz_model::{Quality, QualityReason};
use egiz_twin::Engine;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut engine) = Engine::restore(bytes, small_limits()) else { return };
    check_engine(&engine);
    let ids: Vec<String> = engine
        .things()
        .map(|thing| thing.id().to_string())
        .chain(engine.discovered().map(|(id, _)| id.to_owned()))
        .take(4)
        .collect();
    for (second, thing) in (0..).zip(&ids) {
        let mut telemetry = Vec::new();
        let header = header(second);
        let mut writer =
            TelemetryWriter::begin(&mut telemetry, &header, thing, header.received, QualityReason::None);
        writer.feature("thermal");
        writer.sample("zone", Quality::Good).float(200.0);
        writer.finish();
        let record = Record::decode(&telemetry).expect("it was written here");
        engine.apply(engine.next_offset(), &record, &mut Vec::new());
        let write = |operation, path, content| {
            let preconditions = Preconditions::default();
            Body::ThingWrite(ThingWrite { thing, operation, path, content, preconditions })
        };
        let bodies = [
            write(WriteOperation::Merge, "", &br#"{"attributes":{"n":1}}"#[..]),
            write(WriteOperation::Put, "/features/x", br#"{"properties":{"y":1}}"#),
            Body::Presence { thing, online: false },
            Body::Tick,
            Body::Template { definition: "openegiz:oven:1.0.0", json: r#"{"stale_after_s":1}"# },
            write(WriteOperation::Accept, "", b""),
            write(WriteOperation::Delete, "", b""),
        ];
        for body in bodies {
            apply(&mut engine, &Record { header, body }, &mut Vec::new());
        }
    }
    // It is not looked at again whether it can be restored: damage may have put its numbers at the end of what is believed.
    read_wholly(&engine);
});
