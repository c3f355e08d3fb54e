//! What the tests share: a repeatable random source, authors and sample rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use egiz_model::{ThingId, Timestamp};
use egiz_store::{Author, DeviceKey, NewDevice, StoreOptions, Template, ThingRow};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Options whose secrets are the same in every run.
pub(crate) fn options() -> StoreOptions {
    let counter = AtomicU64::new(1);
    StoreOptions::new(Arc::new(move |buffer: &mut [u8]| {
        for chunk in buffer.chunks_mut(32) {
            let block = Sha256::digest(counter.fetch_add(1, Ordering::Relaxed).to_le_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }))
}

pub(crate) fn author() -> Author {
    Author::new("tester", Timestamp::from_seconds(1_700_000_000))
}

pub(crate) fn id(text: &str) -> ThingId {
    ThingId::new(text).unwrap()
}

pub(crate) fn thing(id: &str, offset: u64) -> ThingRow {
    ThingRow {
        thing_id: ThingId::new(id).unwrap(),
        definition: Some("openegiz:oven:1.0.0".to_owned()),
        attributes_json: r#"{"line":"line-1"}"#.to_owned(),
        template: None,
        revision: offset + 1,
        journal_offset: offset,
        created: Timestamp::from_micros(1_000),
        modified: Timestamp::from_micros(2_000),
    }
}

pub(crate) fn template(name: &str) -> Template {
    Template::from_json(&json!({
        "name": name,
        "definition": format!("openegiz:{name}:1.0.0"),
        "title": "A template",
        "devices": [format!("{name}-*")],
        "features": {"thermal": {"temperature": {"unit": "°C", "max": 300.0}}},
    }))
    .expect("the sample is sound")
}

pub(crate) fn device(name: &str) -> NewDevice {
    NewDevice { key: DeviceKey::new("factory", name), thing_id: id(&format!("factory:{name}")) }
}
