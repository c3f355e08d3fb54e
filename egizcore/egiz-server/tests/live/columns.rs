//! Columns, decoded as a browser does, equal the engine's state.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Server, described};

#[derive(Default)]
struct Table {
    things: BTreeMap<u64, String>,
    slots: BTreeMap<u64, String>,
    values: BTreeMap<String, Value>,
    seq: u64,
}

impl Table {
    fn text(&mut self, frame: &Value) {
        self.seq += 1;
        assert_eq!(frame["seq"], self.seq, "no gap: {frame}");
        for thing in frame["things"].as_array().into_iter().flatten() {
            self.things.insert(
                thing["thing"].as_u64().expect("a number"),
                thing["thingId"].as_str().expect("an id").to_owned(),
            );
        }
        for slot in frame["slots"].as_array().into_iter().flatten() {
            let thing = &self.things[&slot["thing"].as_u64().expect("a number")];
            let index = slot["index"].as_u64().map_or(String::new(), |index| format!("[{index}]"));
            let name = format!(
                "{thing} {}{index} {}",
                slot["property"].as_str().expect("a name"),
                slot["type"].as_str().expect("a type")
            );
            self.slots.insert(slot["slot"].as_u64().expect("a number"), name);
        }
        for text in frame["texts"].as_array().into_iter().flatten() {
            self.values.insert(self.slots[&text[0].as_u64().expect("a slot")].clone(), text[1].clone());
        }
        for (slot, value) in frame["slot"]
            .as_array()
            .into_iter()
            .flatten()
            .zip(frame["value"].as_array().into_iter().flatten())
        {
            self.values.insert(self.slots[&slot.as_u64().expect("a slot")].clone(), value.clone());
        }
        if frame["event"] == "ThingDeleted" {
            let gone = frame["thingId"].as_str().expect("an id");
            self.values.retain(|name, _| !name.starts_with(&format!("{gone} ")));
        }
    }

    fn binary(&mut self, bytes: &[u8]) {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        assert_eq!(&bytes[..4], b"EGC1");
        self.seq += 1;
        assert_eq!(u64_at(8), self.seq, "no gap");
        let count = u32_at(32) as usize;
        let values_at = (40 + 4 * count).next_multiple_of(8);
        assert_eq!(bytes.len(), values_at + 9 * count);
        for index in 0..count {
            let number = f64::from_bits(u64_at(values_at + 8 * index));
            let value = if number.is_nan() { Value::Null } else { json!(number) };
            self.values.insert(self.slots[&u64::from(u32_at(40 + 4 * index))].clone(), value);
        }
    }

    async fn until(&mut self, client: &mut Client, expected: &Value) {
        for _ in 0..10_000 {
            match client.next_message().await {
                Message::Text(text) => self.text(&described(serde_json::from_str(&text).expect("JSON"))),
                Message::Binary(bytes) => self.binary(&bytes),
                other => panic!("unexpected {other:?}"),
            }
            if json!(self.values) == *expected {
                return;
            }
        }
        panic!("{:?} is not {expected}", self.values);
    }
}

async fn check(format: &str, truth: Value, whole: Value) {
    let server = Server::start().await;
    server.put("s:a", "", &json!({"features": {"f": {"properties": {"x": 1.5, "ok": true, "word": "on", "zones": [1, 2], "none": null}}}}));
    let mut client = server.client().await;
    client.subscribe(json!({"format": format, "tickMs": 50})).await;
    let mut table = Table::default();
    let expected = |x: Value, second: Value| json!({"s:a x number": x, "s:a ok boolean": truth, "s:a word text": "on", "s:a zones[0] number": whole, "s:a zones[1] number": second, "s:a none number": null});
    let two = json!(2.0);
    table.until(&mut client, &expected(json!(1.5), two.clone())).await;

    for step in 0..40 {
        server.put("s:a", "/features/f/properties/x", &json!(f64::from(step) + 0.25));
    }
    table.until(&mut client, &expected(json!(39.25), two.clone())).await;
    assert!(table.seq < 40, "newest values, not every one");

    server.put("s:b", "", &json!({"features": {"g": {"properties": {"y": 7.5}}}}));
    let mut both = expected(json!(39.25), two);
    both["s:b y number"] = json!(7.5);
    table.until(&mut client, &both).await;
    server.delete("s:a", "");
    table.until(&mut client, &json!({"s:b y number": 7.5})).await;
}

#[tokio::test]
async fn json_columns_equal_the_engine() {
    check("columns", json!(true), json!(1.0)).await;
}

#[tokio::test]
async fn binary_columns_equal_the_engine() {
    check("columns-binary", json!(1.0), json!(1.0)).await;
}

#[tokio::test]
async fn only_the_wanted_features_have_slots() {
    let server = Server::start().await;
    server.put(
        "s:a",
        "",
        &json!({"features": {"f": {"properties": {"x": 1.5}}, "g": {"properties": {"y": 2.5}}}}),
    );
    let mut client = server.client().await;
    client.subscribe(json!({"format": "columns", "fields": "g"})).await;
    Table::default().until(&mut client, &json!({"s:a y number": 2.5})).await;
}

#[tokio::test]
async fn what_is_removed_becomes_null_and_arrays_shrink() {
    for format in ["columns", "columns-binary"] {
        let server = Server::start().await;
        let properties = json!({"x": 1.5, "zones": [1.5, 2.5, 3.5]});
        server.put(
            "s:a",
            "",
            &json!({"features": {"f": {"properties": properties}, "g": {"properties": {"y": 2.5}}}}),
        );
        let mut client = server.client().await;
        client.subscribe(json!({"format": format, "tickMs": 50})).await;
        let mut table = Table::default();
        let mut expected = json!({"s:a x number": 1.5, "s:a y number": 2.5, "s:a zones[0] number": 1.5, "s:a zones[1] number": 2.5, "s:a zones[2] number": 3.5});
        table.until(&mut client, &expected).await;
        server.delete("s:a", "/features/f/properties/x");
        server.put("s:a", "/features/f/properties/zones", &json!([1.5, 2.5]));
        server.delete("s:a", "/features/g");
        for gone in ["s:a x number", "s:a zones[2] number", "s:a y number"] {
            expected[gone] = Value::Null;
        }
        table.until(&mut client, &expected).await;
    }
}

#[tokio::test]
async fn a_large_table_comes_in_pieces_and_numbers_are_never_given_twice() {
    let server = Server::start().await;
    for thing in 0..2000 {
        server.silo(&format!("s:{thing}"), thing);
    }
    let mut client = server.client().await;
    client.subscribe(json!({"format": "columns", "tickMs": 50})).await;
    let mut table = Table::default();
    let mut last = Value::Bool(true);
    while table.values.len() < 2000 {
        let frame = client.next().await;
        assert!(frame.to_string().len() < 256 << 10, "a frame is bounded");
        if frame["event"] == "Slots" {
            last = frame["more"].clone();
        }
        table.text(&frame);
    }
    assert_eq!((last, table.things.len()), (json!(false), 2000));
    let newest = *table.things.iter().next_back().expect("Things").0;
    let gone = table.things[&newest].clone();
    server.delete(&gone, "");
    server.silo("s:new", 1);
    while !table.values.contains_key("s:new percent number") {
        let frame = client.next().await;
        table.text(&frame);
    }
    assert_eq!(table.things[&(newest + 1)], "s:new");
}

/// The values of every Thing as columns show them.
fn truth(server: &Server) -> Value {
    let engine = server.engine.read();
    let mut truth = BTreeMap::new();
    for thing in engine.things() {
        for feature in thing.features() {
            for property in feature.properties() {
                let name = format!("{} {} number", thing.id(), property.name());
                truth.insert(name, property.value().to_json());
            }
        }
    }
    json!(truth)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_that_share_a_table_come_late_and_fall_behind_all_end_with_the_truth() {
    let server = Server::start().await;
    let mut seed = 11_u64;
    let mut chance = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut viewers = Vec::new();
    for round in 0..40 {
        for _ in 0..200 {
            let thing = format!("s:{}", chance(30));
            let level = chance(1000);
            match chance(20) {
                0 => server.delete(&thing, ""),
                _ => server.silo(&thing, i64::try_from(level).expect("small")),
            }
        }
        if round % 8 == 0 {
            let mut client = server.client().await;
            let format = if round % 16 == 0 { "columns" } else { "columns-binary" };
            client.subscribe(json!({"format": format, "tickMs": 50 + 10 * round})).await;
            viewers.push((client, Table::default()));
        }
        tokio::time::sleep(Duration::from_millis(chance(20))).await;
    }
    for (client, table) in &mut viewers {
        let expected: Value = serde_json::from_str(&truth(&server).to_string()).expect("JSON");
        let expected = expected.as_object().expect("an object").iter();
        let as_float = |value: &Value| value.as_f64().map_or(Value::Null, |number| json!(number));
        let expected: serde_json::Map<String, Value> =
            expected.map(|(name, value)| (name.clone(), as_float(value))).collect();
        table.until(client, &Value::Object(expected)).await;
    }
}
