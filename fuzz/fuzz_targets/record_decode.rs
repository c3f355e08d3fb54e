//! Attacks the record decoder with raw bytes: none makes it panic, and what it takes is written back to a record that says the
//! same and is applied alike by every replica.
#![no_main]

use std::sync::LazyLock;

use egiz_fuzz::{check_engine, plant, small_limits};
use egiz_model::record::Record;
use egiz_twin::Engine;
use libfuzzer_sys::fuzz_target;

static PLANT: LazyLock<Engine> = LazyLock::new(|| plant(small_limits()));

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = Record::decode(bytes) else { return };
    let written = record.to_bytes();
    let again = Record::decode(&written).expect("what was written can be read");
    assert_eq!(again.to_bytes(), written);
    assert_eq!(format!("{again:?}"), format!("{record:?}"));

    let (mut one, mut other) = (PLANT.clone(), PLANT.clone());
    let (mut changes, mut other_changes) = (Vec::new(), Vec::new());
    let offset = one.next_offset();
    let outcome = one.apply(offset, &record, &mut changes);
    assert_eq!(outcome, other.apply(offset, &again, &mut other_changes));
    assert_eq!(changes, other_changes);
    assert_eq!(one.digest(), other.digest());
    check_engine(&one);
});
