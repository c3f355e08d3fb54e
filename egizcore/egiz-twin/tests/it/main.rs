//! The engine through its public interface: records in, state and changes out.

mod documentation;
mod interest;
mod model;
mod presence;
mod query;
mod replicas;
mod snapshot;
mod telemetry;
mod write;

use egiz_model::record::{Body, Header, Preconditions, Record, TelemetryWriter, ThingWrite, WriteOperation};
use egiz_model::{Offset, Quality, QualityReason, Timestamp, Value};
use egiz_twin::{Change, Engine, Judged, Limits, Outcome, TelemetryOutcome, WriteOutcome};
use serde_json::{Value as Json, json};

/// An engine with the next offset and a clock that goes on a second with each record.
struct Plant {
    engine: Engine,
    changes: Vec<Change>,
    now_s: i64,
    /// The bytes of the record applied last.
    last: Vec<u8>,
    /// What the engine made of its samples.
    judged: Judged,
}

const BEGIN_S: i64 = 1_800_000_000;

impl Plant {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self {
            engine: Engine::new(limits),
            changes: Vec::new(),
            now_s: BEGIN_S,
            last: Vec::new(),
            judged: Judged::default(),
        }
    }

    fn next_offset(&self) -> Offset {
        self.engine.next_offset()
    }

    /// Applies a record as the journal would give it: through its bytes.
    fn apply(&mut self, bytes: &[u8]) -> Outcome {
        self.now_s += 1;
        self.changes.clear();
        self.last = bytes.to_vec();
        let record = Record::decode(bytes).expect("a record");
        let offset = self.next_offset();
        self.engine.apply_judging(offset, &record, &mut self.changes, &mut self.judged)
    }

    fn header(&self) -> Header<'static> {
        Header { received: Timestamp::from_seconds(self.now_s), principal: "tester", correlation: "c-1" }
    }

    fn body(&mut self, body: Body<'_>) -> Outcome {
        let bytes = Record { header: self.header(), body }.to_bytes();
        self.apply(&bytes)
    }

    /// A message of one device; `features` as in the product document's payload.
    fn hear(&mut self, thing: &str, source_s: i64, features: Json) -> TelemetryOutcome {
        let bytes = telemetry(&self.header(), thing, source_s, &features);
        match self.apply(&bytes) {
            Outcome::Telemetry(outcome) => outcome,
            other => panic!("telemetry came to {other:?}"),
        }
    }

    fn write(&mut self, operation: WriteOperation, thing: &str, path: &str, content: &Json) -> WriteOutcome {
        self.write_if(operation, thing, path, content, Preconditions::default())
    }

    fn write_if(
        &mut self,
        operation: WriteOperation,
        thing: &str,
        path: &str,
        content: &Json,
        preconditions: Preconditions<'_>,
    ) -> WriteOutcome {
        let content = content.to_string();
        let content = if operation == WriteOperation::Delete { &[][..] } else { content.as_bytes() };
        match self.body(Body::ThingWrite(ThingWrite { thing, operation, path, content, preconditions })) {
            Outcome::Write(outcome) => outcome,
            other => panic!("a write came to {other:?}"),
        }
    }

    fn put(&mut self, thing: &str, path: &str, content: Json) -> WriteOutcome {
        self.write(WriteOperation::Put, thing, path, &content)
    }

    fn get(&self, thing: &str, path: &str) -> Option<Json> {
        self.engine.thing(thing)?.get(path)
    }

    fn kinds(&self) -> Vec<String> {
        self.changes.iter().map(|change| format!("{:?}", change.kind)).collect()
    }
}

fn telemetry(header: &Header<'_>, thing: &str, source_s: i64, features: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    let source = Timestamp::from_seconds(source_s);
    let mut writer = TelemetryWriter::begin(&mut out, header, thing, source, QualityReason::None);
    for (feature, properties) in features.as_object().expect("features") {
        writer.feature(feature);
        for (property, value) in properties.as_object().expect("properties") {
            // The value is written by its own encoder; the writer's borrow ends before.
            writer.sample(property, Quality::Good);
            writer.value(&Value::from_json(value));
        }
    }
    writer.finish();
    out
}

fn oven() -> Json {
    json!({"attributes": {"type": "oven"}, "features": {"thermal": {"properties": {"zone": 190}}}})
}
