//! The JSON that a device publishes: telemetry, status and meta.
//!
//! Numbers are written from integers in the sensor's step, as the firmware does, so that the text is exact: no
//! `195.00000000000003`.

use std::collections::BTreeMap;

use serde_json::json;

use crate::config::TimestampUnit;
use crate::kind::MachineKind;
use crate::plant::{Sample, Value};
use crate::property::{Form, properties};

/// Firmware version that simulated devices report.
pub const FIRMWARE: &str = concat!("simulator-", env!("CARGO_PKG_VERSION"));

/// Returns the topic name of a device's messages: `sensors/<site>/<device>/<leaf>`.
#[must_use]
pub fn topic(site: &str, device: &str, leaf: &str) -> String {
    format!("sensors/{site}/{device}/{leaf}")
}

/// Renders a telemetry payload: `{"device_id":…,"timestamp":…,"<feature>":{"<property>":…}}`.
#[must_use]
pub fn telemetry(
    device: &str,
    timestamp_ms: i64,
    unit: TimestampUnit,
    sequence: Option<u64>,
    sample: &Sample,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(768);
    out.extend_from_slice(b"{\"device_id\":\"");
    out.extend_from_slice(device.as_bytes());
    out.extend_from_slice(b"\",\"timestamp\":");
    write_scaled(&mut out, in_unit(timestamp_ms, unit), 0);
    if let Some(sequence) = sequence {
        out.extend_from_slice(b",\"device\":{\"sequence\":");
        out.extend_from_slice(sequence.to_string().as_bytes());
        out.push(b'}');
    }
    let mut feature = "";
    // The table keeps a feature's properties together, so each object is written once.
    for (property, value) in properties(sample.kind).zip(&sample.values) {
        if property.feature == feature {
            out.push(b',');
        } else {
            if !feature.is_empty() {
                out.push(b'}');
            }
            feature = property.feature;
            out.extend_from_slice(b",\"");
            out.extend_from_slice(feature.as_bytes());
            out.extend_from_slice(b"\":{");
        }
        out.push(b'"');
        out.extend_from_slice(property.name.as_bytes());
        out.extend_from_slice(b"\":");
        write_value(&mut out, value, property.form);
    }
    out.extend_from_slice(b"}}");
    out
}

/// Renders the retained status; `timestamp_ms` is absent in a will, which is written before its time is known.
#[must_use]
pub fn status(
    device: &str,
    is_online: bool,
    boot: u64,
    timestamp_ms: Option<i64>,
    unit: TimestampUnit,
) -> Vec<u8> {
    let mut status = json!({
        "device_id": device,
        "status": if is_online { "online" } else { "offline" },
        "boot": boot,
    });
    if let Some(timestamp_ms) = timestamp_ms {
        status["timestamp"] = json!(in_unit(timestamp_ms, unit));
    }
    status.to_string().into_bytes()
}

/// Renders the retained description: type, definition, firmware, and the unit of every property that has one.
#[must_use]
pub fn meta(device: &str, kind: MachineKind) -> Vec<u8> {
    let mut units: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for property in properties(kind).filter(|property| !property.unit.is_empty()) {
        units.entry(property.feature).or_default().insert(property.name, property.unit);
    }
    let meta = json!({
        "device_id": device,
        "type": kind.type_name(),
        "definition": kind.definition(),
        "firmware": FIRMWARE,
        "hardware": "simulated ESP32 node",
        "units": units,
    });
    meta.to_string().into_bytes()
}

fn in_unit(timestamp_ms: i64, unit: TimestampUnit) -> i64 {
    match unit {
        TimestampUnit::Seconds => timestamp_ms.div_euclid(1000),
        TimestampUnit::Milliseconds => timestamp_ms,
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value, form: Form) {
    let step = match form {
        Form::Number { step } | Form::Zones { step } => step,
        Form::Text => 1.0,
    };
    match value {
        Value::Number(number) => write_number(out, *number, step),
        Value::Zones(numbers) => {
            out.push(b'[');
            for (index, number) in numbers.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_number(out, *number, step);
            }
            out.push(b']');
        }
        // From this crate's own vocabulary: nothing to escape.
        Value::Text(text) => {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
    }
}

fn write_number(out: &mut Vec<u8>, number: f64, step: f64) {
    let decimals: u32 = match step {
        step if step >= 1.0 => 0,
        0.5 | 0.1 => 1,
        0.25 | 0.01 => 2,
        0.001 => 3,
        _ => 4,
    };
    write_scaled(out, (number * 10_f64.powi(decimals as i32)).round() as i64, decimals);
}

/// Writes `scaled / 10^decimals` without trailing zeros.
fn write_scaled(out: &mut Vec<u8>, scaled: i64, decimals: u32) {
    if scaled < 0 {
        out.push(b'-');
    }
    let (mut magnitude, mut decimals) = (scaled.unsigned_abs(), decimals);
    while decimals > 0 && magnitude.is_multiple_of(10) {
        magnitude /= 10;
        decimals -= 1;
    }
    let digits = format!("{magnitude:0width$}", width = decimals as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals as usize);
    out.extend_from_slice(whole.as_bytes());
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::write_number;

    #[test]
    fn numbers_are_exact_and_short() {
        for (number, step, expected) in [
            (195.0625, 0.0625, "195.0625"),
            (195.5, 0.0625, "195.5"),
            (195.0, 0.25, "195"),
            (-3.25, 0.0625, "-3.25"),
            (0.0, 0.1, "0"),
            (0.30000000000000004, 0.1, "0.3"),
            (12.034, 0.001, "12.034"),
            (1200.0, 1.0, "1200"),
        ] {
            let mut out = Vec::new();
            write_number(&mut out, number, step);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
