//! Writes what is played as JSON, in the form of `GET /api/v1/state`: no tree in between, one pass, in pieces of bounded size.

use egiz_api::history::reason;
use egiz_historian::PropertyState;
use egiz_model::{Quality, Timestamp, Value};

use crate::fields::Shown;
use crate::present;

/// A piece is closed when it has so many bytes, at the next Thing.
pub(super) const PIECE_BYTES: usize = 128 << 10;

/// The members of a `KeyFrame` or `Changes` frame behind its `seq`, being written.
pub(super) struct Piece {
    out: Vec<u8>,
    things: usize,
}

impl Piece {
    /// Begins a piece with moments.
    pub(super) fn begin(moments: &[(&str, Timestamp)]) -> Self {
        let mut out = Vec::with_capacity(1024);
        for (name, moment) in moments {
            key(&mut out, b',', name);
            present::moment(&mut out, *moment);
        }
        out.extend_from_slice(b",\"things\":[");
        Self { out, things: 0 }
    }

    /// Adds a Thing with these properties, by feature and name; without any it is not shown.
    pub(super) fn thing(&mut self, id: &str, properties: &[PropertyState]) {
        if properties.is_empty() {
            return;
        }
        let out = &mut self.out;
        if self.things > 0 {
            out.push(b',');
        }
        self.things += 1;
        out.extend_from_slice(b"{\"thingId\":");
        present::string(out, id);
        out.extend_from_slice(b",\"features\":{");
        for (number, of_feature) in properties.chunk_by(|a, b| a.feature == b.feature).enumerate() {
            if number > 0 {
                out.push(b',');
            }
            present::string(out, &of_feature[0].feature);
            out.extend_from_slice(b":{\"properties\":{");
            for (number, property) in of_feature.iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                present::string(out, &property.property);
                out.push(b':');
                sample(out, property);
            }
            out.extend_from_slice(b"}}");
        }
        out.extend_from_slice(b"}}");
    }

    /// Things in it.
    pub(super) fn things(&self) -> usize {
        self.things
    }

    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= PIECE_BYTES
    }

    /// Ends it.
    pub(super) fn end(mut self, conflated: u64, more: bool) -> Vec<u8> {
        self.out.push(b']');
        if conflated > 0 {
            key(&mut self.out, b',', "conflated");
            self.out.extend_from_slice(itoa::Buffer::new().format(conflated).as_bytes());
        }
        key(&mut self.out, b',', "more");
        self.out.extend_from_slice(if more { b"true}" } else { b"false}" });
        self.out
    }
}

/// As [`egiz_api::HistorySample`].
fn sample(out: &mut Vec<u8>, property: &PropertyState) {
    key(out, b'{', "time");
    present::moment(out, property.time);
    key(out, b',', "value");
    let value = property.reading.value.as_ref();
    present::value(out, value.unwrap_or(&Value::Null), &Shown::of(None));
    if property.reading.quality != Quality::Good {
        key(out, b',', "quality");
        present::string(out, property.reading.quality.as_str());
    }
    if let Some(reason) = reason(property.reading.reason).and_then(|reason| reason.as_str()) {
        key(out, b',', "reason");
        present::string(out, reason);
    }
    if property.delay_s > 0 {
        key(out, b',', "receivedAfterS");
        out.extend_from_slice(itoa::Buffer::new().format(property.delay_s).as_bytes());
    }
    if value.is_none() {
        out.extend_from_slice(b",\"removed\":true");
    }
    out.push(b'}');
}

fn key(out: &mut Vec<u8>, before: u8, name: &str) {
    out.push(before);
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
