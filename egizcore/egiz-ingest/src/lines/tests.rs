use egiz_influx::Precision;
use egiz_model::record::{Body, Record};

use super::*;
use crate::{IngestConfig, IngestMetrics};

const RECEIVED_S: i64 = 1_800_000_000;

fn ingest() -> Ingest {
    Ingest::new(IngestConfig { rejected_kept: 100, ..IngestConfig::default() }, IngestMetrics::default())
}

fn source(body: &str) -> Lines<'_> {
    Lines {
        received: Timestamp::from_seconds(RECEIVED_S),
        principal: "telegraf",
        correlation: "c-1",
        place: "/write?db=plant",
        precision: Precision::Seconds,
        body: body.as_bytes(),
    }
}

/// The records as text: Thing, seconds after 1,700,000,000, clock, samples.
fn mapped(ingest: &Ingest, body: &str) -> (Vec<String>, MappedLines) {
    let mut records = Vec::new();
    let mapped = ingest.map_lines(&source(body), &LineRules::default());
    for (thing, bytes) in &mapped.records {
        let record = Record::decode(bytes).expect("what is written can be read");
        assert_eq!((record.header.principal, record.header.correlation), ("telegraf", "c-1"));
        let Body::Telemetry(telemetry) = record.body else { panic!("it is telemetry") };
        assert_eq!(telemetry.thing, *thing);
        let mut text = format!(
            "{thing} {} {:?}",
            telemetry.source.as_micros() / 1_000_000 - 1_700_000_000,
            telemetry.clock
        );
        for feature in telemetry.features() {
            for sample in feature.samples() {
                text.push_str(&format!(
                    " {}.{}={}",
                    feature.name.as_str(),
                    sample.property.as_str(),
                    sample.value.to_owned().to_json()
                ));
            }
        }
        records.push(text);
    }
    (records, mapped)
}

fn check(body: &str, expected: &[&str]) {
    let (records, mapped) = mapped(&ingest(), body);
    assert_eq!(records, expected, "{body}");
    assert_eq!(mapped.rejected, 0, "{mapped:?}");
}

#[test]
fn a_line_is_a_message_of_its_device() {
    check(
        "thermal,device_id=oven-001 zone=195.5,open=false,word=\"run\",n=3i,big=18446744073709551615u 1700000001",
        &["factory:oven-001 1 None thermal.zone=195.5 thermal.open=false thermal.word=\"run\" thermal.n=3 \
           thermal.big=1.8446744073709552e+19"],
    );
    check("m,host=a,thing_id=plant-2:b v=1 1700000001", &["plant-2:b 1 None m.v=1.0"]);
    check("m,host=a,device_id=b,thing_id=c v=1 1700000001", &["factory:c 1 None m.v=1.0"]);
    check("m,host=plc:502 v=1 1700000001", &["factory:plc:502 1 None m.v=1.0"]);
    check("mqtt_consumer,host=a,feature=thermal v=1 1700000001", &["factory:a 1 None thermal.v=1.0"]);
}

#[test]
fn other_tags_belong_to_the_feature() {
    check(
        "disk,path=/,host=a,device=sda1 used=1i 1700000001\ndisk,host=a,device=sda1,path=/ free=2i 1700000001",
        &["factory:a 1 None disk,device=sda1,path=%2F.used=1 disk,device=sda1,path=%2F.free=2"],
    );
}

#[test]
fn lines_of_one_thing_and_time_are_one_record() {
    check(
        "cpu,host=a v=1i 1700000001\nmem,host=a v=2i 1700000001\ncpu,host=b v=3i 1700000001\ncpu,host=a v=4i 1700000002",
        &["factory:a 1 None cpu.v=1 mem.v=2", "factory:b 1 None cpu.v=3", "factory:a 2 None cpu.v=4"],
    );
}

#[test]
fn times_go_by_the_rules_for_clocks() {
    let received = RECEIVED_S - 1_700_000_000;
    check("m,host=a v=1", &[&format!("factory:a {received} ClockUnset m.v=1.0")]);
    check("m,host=a v=1 5", &[&format!("factory:a {received} ClockUnset m.v=1.0")]);
    check("m,host=a v=1 1900000000", &[&format!("factory:a {received} ClockAhead m.v=1.0")]);
}

#[test]
fn a_line_that_is_not_understood_spoils_no_other_and_is_kept_with_the_reason() {
    let ingest = ingest();
    let long = format!("m,host=a,t={} v=1", "x".repeat(130));
    let body = format!(
        "m,host=a v=1 1700000001\nfoo\nm,room=1 v=1\nm,host=a\\ b v=1\nm,host=a _v=1\n{long}\nm,host=a v=1 \
         9223372036854775807\nm,host=b v=2 1700000001"
    );
    let (records, mapped) = mapped(&ingest, &body);
    assert_eq!(records, ["factory:a 1 None m.v=1.0", "factory:b 1 None m.v=2.0"]);
    assert_eq!((mapped.accepted, mapped.rejected), (2, 6));
    let reasons: Vec<String> =
        mapped.first_rejected.iter().map(|line| format!("{}: {}", line.number, line.reason)).collect();
    for (reason, expected) in reasons.iter().zip([
        "2: missing fields",
        "3: missing device: the line has none of the tags thing_id, device_id, host",
        "4: invalid device: the tag `host` is `a b`",
        "5: invalid field key: `_v`",
        "6: invalid series",
        "7: bad timestamp: 9223372036854775807",
    ]) {
        assert!(reason.starts_with(expected), "{reason}");
    }
    let (count, kept) = ingest.rejected();
    assert_eq!((count, kept.len()), (6, 6));
    assert_eq!(kept[5].topic, "/write?db=plant");
    assert_eq!(kept[5].excerpt, b"foo");
    assert_eq!(kept[5].rejection.reason, RejectReason::LineProtocol);
}

#[test]
fn a_body_of_nothing_but_faults_is_counted_and_told_in_part() {
    let ingest = ingest();
    let (_, mapped) = mapped(&ingest, &"foo\n".repeat(1_000));
    assert_eq!((mapped.rejected, mapped.first_rejected.len()), (1_000, TOLD_OF_A_BODY));
    let (count, kept) = ingest.rejected();
    assert_eq!((count, kept.len()), (1_000, KEPT_OF_A_BODY));
}
