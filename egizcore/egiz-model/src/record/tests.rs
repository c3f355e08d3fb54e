use super::*;
use crate::{Quality, QualityReason, Value};
use proptest::prelude::*;

fn header() -> Header<'static> {
    Header {
        received: Timestamp::from_micros(1_706_352_600_250_000),
        principal: "oven-001",
        correlation: "c-1",
    }
}

fn telemetry() -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = TelemetryWriter::begin(
        &mut out,
        &header(),
        "factory:oven-001",
        Timestamp::from_seconds(1_706_352_600),
        QualityReason::None,
    );
    writer.feature("thermal");
    let mut zones = writer.sample("temperature_zones", Quality::Good);
    let start = zones.begin_list();
    zones.int(195);
    zones.float(192.5);
    zones.null();
    zones.end(start);
    writer.sample("door", Quality::Uncertain).text("open");
    writer.feature("electrical");
    writer.sample("voltage_l1", Quality::Good).float(229.8);
    writer.finish();
    out
}

/// One record of every kind, as this version writes them.
fn one_of_each() -> Vec<Vec<u8>> {
    let write = ThingWrite {
        thing: "factory:oven-001",
        operation: WriteOperation::Merge,
        path: "/features/status/properties",
        content: br#"{"anomaly":true}"#,
        preconditions: Preconditions {
            if_match: "\"rev:7\"",
            if_none_match: "",
            condition: "eq(attributes/type,\"oven\")",
        },
    };
    let message = Message {
        topic: "sensors/factory/oven-001/meta",
        qos: 1,
        retain: true,
        payload: b"{}",
        properties: &[1, 2, 3],
    };
    let bodies = [
        Body::ThingWrite(write),
        Body::Presence { thing: "factory:oven-001", online: true },
        Body::Tick,
        Body::Template { definition: "openegiz:tunnel-oven:1.0.0", json: "{}" },
        Body::Forget { thing: "factory:oven-002" },
        Body::Message(message),
        Body::Broker(&[1, 2, 3]),
    ];
    let mut records = vec![telemetry()];
    records.extend(bodies.map(|body| Record { header: header(), body }.to_bytes()));
    records
}

#[test]
fn a_message_is_read_as_it_was_written() {
    let bytes = telemetry();
    let record = Record::decode(&bytes).expect("what was written can be read");
    assert_eq!(record.header, header());
    let Body::Telemetry(telemetry) = &record.body else { panic!("telemetry was written") };
    assert_eq!(telemetry.thing, "factory:oven-001");
    let read: Vec<String> = telemetry
        .features()
        .flat_map(|feature| {
            feature.samples().map(move |sample| {
                format!(
                    "{}/{} {} {}",
                    feature.name,
                    sample.property,
                    sample.value.to_owned(),
                    sample.quality.as_str()
                )
            })
        })
        .collect();
    assert_eq!(
        read,
        [
            "thermal/temperature_zones [195,192.5,null] good",
            "thermal/door \"open\" uncertain",
            "electrical/voltage_l1 229.8 good"
        ]
    );
    assert_eq!(record.to_bytes(), bytes);
}

#[test]
fn every_kind_survives_a_round_trip() {
    for bytes in one_of_each() {
        assert_eq!(Record::decode(&bytes).expect("what was written can be read").to_bytes(), bytes);
    }
}

#[test]
fn a_record_cut_anywhere_is_refused() {
    for bytes in one_of_each() {
        for end in 0..bytes.len() {
            assert!(Record::decode(&bytes[..end]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Record::decode(&longer).is_err());
    }
}

#[test]
fn a_kind_from_a_later_version_is_named() {
    let mut bytes = telemetry();
    bytes[0] = 200;
    assert_eq!(Record::decode(&bytes).unwrap_err(), DecodeError::UnknownKind(200));
}

/// Run with `EGIZ_BLESS=1` only when a kind is added; what is there must never change.
#[test]
fn records_of_version_1_stay_readable() {
    if std::env::var_os("EGIZ_BLESS").is_some() {
        let mut out = Vec::new();
        for bytes in one_of_each() {
            format::ItemWriter::new(&mut out).bytes(&bytes);
        }
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/records-v1.bin"), out)
            .expect("the golden file can be written");
    }
    let golden: &[u8] = include_bytes!("../../tests/golden/records-v1.bin");
    let mut reader = format::ItemReader::new(golden);
    for written_now in one_of_each() {
        let kept = reader.bytes().expect("the golden file holds every kind");
        assert_eq!(kept, written_now);
        Record::decode(kept).expect("old records can be read");
    }
    assert!(reader.is_empty());
}

#[test]
fn a_value_nested_too_deep_is_refused() {
    let mut value = Value::Int(1);
    for _ in 0..40 {
        value = Value::List(Box::new([value]));
    }
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    assert_eq!(format::ItemReader::new(&bytes).value(format::DEPTH_MAX).unwrap_err(), DecodeError::TooDeep);
}

proptest! {
    #[test]
    fn outside_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::decode(&bytes);
    }

    #[test]
    fn flipped_bits_never_panic(position in any::<prop::sample::Index>(), bit in 0..8_u8, which in 0..8_usize) {
        let mut bytes = one_of_each().swap_remove(which);
        let at = position.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(Record { body: Body::Telemetry(telemetry), .. }) = Record::decode(&bytes) {
            for feature in telemetry.features() {
                for sample in feature.samples() {
                    let _ = sample.value.to_owned();
                }
            }
        }
    }
}
