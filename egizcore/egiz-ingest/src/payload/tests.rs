use super::*;
use egiz_model::Timestamp;
use egiz_model::record::{Body, Record};
use proptest::prelude::*;

fn envelope() -> Envelope<'static> {
    let received = Timestamp::from_seconds(1_706_352_601);
    Envelope {
        header: Header { received, principal: "oven-001", correlation: "" },
        thing: "factory:oven-001",
        device: "oven-001",
    }
}

fn map(payload: &[u8]) -> Result<Vec<String>, Rejection> {
    let mut out = b"before".to_vec();
    let result =
        write_telemetry(&envelope(), payload, PayloadLimits::default(), ClockRules::default(), &mut out);
    if let Err(rejection) = result {
        assert_eq!(out, b"before", "a rejected message leaves nothing behind");
        return Err(rejection);
    }
    let record = Record::decode(&out[6..]).expect("a record was written");
    let Body::Telemetry(telemetry) = record.body else { panic!("telemetry was written") };
    let mut lines = vec![format!("{} {}", telemetry.source, telemetry.clock.as_str().unwrap_or("ok"))];
    for feature in telemetry.features() {
        lines.extend(
            feature
                .samples()
                .map(|sample| format!("{}/{}={}", feature.name, sample.property, sample.value.to_owned())),
        );
    }
    Ok(lines)
}

fn check(payload: &str, expected: &[&str]) {
    assert_eq!(map(payload.as_bytes()).expect("it is understood"), expected, "{payload}");
}

fn check_rejected(payload: impl AsRef<[u8]>, reason: RejectReason, part: &str) {
    let rejection = map(payload.as_ref()).expect_err("it is not understood");
    assert_eq!(rejection.reason, reason, "{rejection}");
    assert!(rejection.detail.contains(part), "{rejection}");
}

#[test]
fn the_product_documents_payload_becomes_samples() {
    check(
        r#"{"device_id":"oven-001","timestamp":1706352600,"thermal":{"temperature_zones":[195,192,193]}}"#,
        &["2024-01-27T10:50:00.000Z ok", "thermal/temperature_zones=[195,192,193]"],
    );
}

#[test]
fn numbers_texts_truths_nulls_and_objects_are_values() {
    check(
        r#"{"timestamp":"2024-01-27T10:50:00.5Z","a":{"f":1.5,"t":"x\n","b":true,"n":null,"o":{"p":[{"q":-3}]},"big":18446744073709551615}}"#,
        &[
            "2024-01-27T10:50:00.500Z ok",
            "a/f=1.5",
            "a/t=\"x\\n\"",
            "a/b=true",
            "a/n=null",
            "a/o={\"p\":[{\"q\":-3}]}",
            "a/big=1.8446744073709552e+19",
        ],
    );
}

#[test]
fn members_at_the_top_make_up_a_feature_of_their_own() {
    check(
        r#"{"temperature":21.5,"thermal":{"zone":1},"list":[1,[2]],"ok":false,"timestamp":null}"#,
        &[
            "2024-01-27T10:50:01.000Z clock-unset",
            "thermal/zone=1",
            "telemetry/temperature=21.5",
            "telemetry/list=[1,[2]]",
            "telemetry/ok=false",
        ],
    );
    check("{}", &["2024-01-27T10:50:01.000Z clock-unset"]);
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    check_rejected("", RejectReason::NotJson, "line 1 column 0");
    check_rejected("{\"a\":{\"b\":NaN}}", RejectReason::NotJson, "column");
    check_rejected("{\"a\":{\"b\":1e999}}", RejectReason::NotJson, "out of range");
    check_rejected("{\"a\":1} x", RejectReason::NotJson, "trailing");
    check_rejected(b"{\"a\":\"\xff\"}", RejectReason::NotJson, "unicode");
    check_rejected("[1,2]", RejectReason::Shape, "expected an object");
    check_rejected("5", RejectReason::Shape, "expected an object");
}

#[test]
fn a_refusal_names_field_value_and_what_is_allowed() {
    check_rejected(
        r#"{"device_id":"oven-002"}"#,
        RejectReason::DeviceId,
        "`oven-002`, yet the topic belongs to `oven-001`",
    );
    check_rejected(r#"{"timestamp":"yesterday"}"#, RejectReason::Timestamp, "RFC 3339");
    check_rejected(r#"{"timestamp":[1]}"#, RejectReason::Timestamp, "an array; allowed are seconds");
    check_rejected(r#"{"timestamp":{"s":1}}"#, RejectReason::Timestamp, "an object");
    check_rejected(r#"{"a":{"_b":1}}"#, RejectReason::Name, "`_b` is not a name");
    check_rejected(r#"{"a/b":1}"#, RejectReason::Name, "`a/b`");
    check_rejected(r#"{"":{"b":1}}"#, RejectReason::Name, "empty");
}

#[test]
fn limits_hold() {
    let many: Vec<String> = (0..=1000).map(|number| format!("\"p{number}\":1")).collect();
    check_rejected(
        format!("{{\"a\":{{{}}}}}", many.join(",")),
        RejectReason::Limit,
        "more than 1000 properties",
    );
    let deep = format!("{{\"a\":{{\"b\":{}1{}}}}}", "[".repeat(17), "]".repeat(17));
    check_rejected(deep, RejectReason::Limit, "deeper");
    let hostile = format!("{{\"a\":{{\"b\":{}", "[".repeat(100_000));
    check_rejected(hostile, RejectReason::Limit, "deeper");
    check_rejected(
        format!("{{\"timestamp\":{}", "[".repeat(100_000)),
        RejectReason::NotJson,
        "EOF while parsing",
    );
}

#[test]
fn a_status_is_read_in_each_of_its_forms() {
    for online in
        ["online", " online\n", "\"online\"", r#"{"status":"online","since":1}"#, r#"{"online":true}"#]
    {
        assert_eq!(read_status(online.as_bytes()), Ok(true), "{online}");
    }
    for offline in ["offline", r#"{"status":"offline"}"#, r#"{"online":false}"#] {
        assert_eq!(read_status(offline.as_bytes()), Ok(false), "{offline}");
    }
    for neither in ["", "up", "{}", "[]", "{\"status\":5}", "\u{fffd}"] {
        assert!(read_status(neither.as_bytes()).is_err(), "{neither}");
    }
}

proptest! {
    #[test]
    fn outside_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = map(&bytes);
        let _ = read_status(&bytes);
    }

    #[test]
    fn broken_json_never_panics(cut in any::<prop::sample::Index>(), put in any::<u8>()) {
        let mut bytes = br#"{"device_id":"oven-001","timestamp":1706352600,"thermal":{"z":[195,{"a":null}]},"x":"\u00e9"}"#.to_vec();
        let at = cut.index(bytes.len());
        bytes[at] = put;
        let _ = map(&bytes);
    }
}
