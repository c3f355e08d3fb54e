//! What becomes of messages, seen from outside.

mod external;
mod scripted;
mod slow_sink;

use egiz_ingest::{Ingest, IngestConfig, IngestMetrics, Mapped, RejectReason, Source};
use egiz_model::Timestamp;
use egiz_model::record::{Body, Record};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

fn ingest(kept: usize) -> (Ingest, Registry) {
    let mut registry = Registry::default();
    let metrics = IngestMetrics::register(&mut registry);
    (Ingest::new(IngestConfig { rejected_kept: kept, ..IngestConfig::default() }, metrics), registry)
}

fn message<'a>(topic: &'a str, payload: &'a str) -> Source<'a> {
    Source {
        received: Timestamp::from_seconds(1_706_352_601),
        principal: "oven-001",
        correlation: "",
        topic,
        qos: 1,
        retain: false,
        owed: false,
        payload: payload.as_bytes(),
        properties: &[],
    }
}

/// The kinds of record that a message leaves behind.
fn kinds(ingest: &Ingest, source: &Source<'_>) -> (Mapped, Vec<&'static str>) {
    let mut kinds = Vec::new();
    let mapped = ingest.map(source, &mut Vec::new(), |_, bytes| {
        kinds.push(match Record::decode(bytes).expect("a whole record").body {
            Body::Telemetry(_) => "telemetry",
            Body::Presence { online: true, .. } => "online",
            Body::Presence { online: false, .. } => "offline",
            Body::Message(_) => "message",
            _ => "other",
        });
    });
    (mapped, kinds)
}

#[test]
fn a_message_becomes_what_its_topic_says() {
    let (ingest, _) = ingest(10);
    let check =
        |topic, payload, expected| assert_eq!(kinds(&ingest, &message(topic, payload)), expected, "{topic}");
    check("sensors/factory/oven-001/telemetry", "{\"a\":{\"b\":1}}", (Mapped::Telemetry, vec!["telemetry"]));
    check("sensors/factory/oven-001/status", "offline", (Mapped::Status, vec!["offline"]));
    check("sensors/factory/oven-001/meta", "{}", (Mapped::Other, vec!["message"]));
    check("anything/else", "\u{0}", (Mapped::Other, vec!["message"]));
    check("sensors/factory/oven-001/telemetry", "{", (Mapped::Rejected, vec!["message"]));
}

#[test]
fn a_retained_message_is_kept_whole_beside_its_samples() {
    let (ingest, _) = ingest(10);
    let mut source = message("sensors/factory/oven-001/status", "online");
    source.retain = true;
    assert_eq!(kinds(&ingest, &source), (Mapped::Status, vec!["online", "message"]));
}

#[test]
fn a_message_nobody_waits_for_is_kept_only_as_samples() {
    let (ingest, _) = ingest(10);
    let mut source = message("anything/else", "x");
    source.qos = 0;
    assert_eq!(kinds(&ingest, &source), (Mapped::Other, vec![]));
}

#[test]
fn messages_not_understood_are_listed_newest_first_and_counted_beyond_the_bound() {
    let (ingest, registry) = ingest(2);
    for payload in ["[1]", "{", "{\"timestamp\":true}"] {
        kinds(&ingest, &message("sensors/factory/oven-001/telemetry", payload));
    }
    let (total, kept) = ingest.rejected();
    assert_eq!(total, 3);
    let reasons: Vec<_> = kept.iter().map(|message| (message.number, message.rejection.reason)).collect();
    assert_eq!(reasons, [(3, RejectReason::Timestamp), (2, RejectReason::NotJson)]);
    assert_eq!(kept[0].excerpt, b"{\"timestamp\":true}");
    assert_eq!(kept[0].topic, "sensors/factory/oven-001/telemetry");

    let mut text = String::new();
    encode(&mut text, &registry).expect("metrics can be written");
    for line in [
        "egiz_ingest_rejected_messages_total{reason=\"not-json\"} 1",
        "egiz_ingest_rejected_messages_total{reason=\"device-id\"} 0",
        "egiz_ingest_telemetry_messages_total 0",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn a_topic_that_names_no_thing_is_rejected_with_the_rule() {
    let (ingest, _) = ingest(10);
    kinds(&ingest, &message("sensors/fac tory/oven/telemetry", "{}"));
    let (_, kept) = ingest.rejected();
    assert!(kept[0].rejection.detail.contains("its site holds"), "{:?}", kept[0]);
}

#[test]
fn what_a_subscriber_is_owed_is_kept_beside_its_samples() {
    let (ingest, _) = ingest(10);
    let mut source = message("sensors/factory/oven-001/telemetry", r#"{"thermal":{"t":1}}"#);
    source.owed = true;
    assert_eq!(kinds(&ingest, &source).1, ["telemetry", "message"]);
}
