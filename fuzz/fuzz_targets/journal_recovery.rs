//! Attacks the reading of one journal segment: whatever its bytes, recovery doesn't panic, takes no group whose checksum
//! doesn't match, keeps every group before the damage, and tells damage from a torn tail.
//!
//! What it finds is compared with a plain reader of the format ([`egiz_fuzz::damage`]) on raw bytes, and on segments that
//! were written whole and then damaged.
#![no_main]

use arbitrary::Arbitrary;
use egiz_fuzz::damage::{Damage, group_at, groups};
use egiz_journal::Batch;
use egiz_journal::format::{HEADER_BYTES, Header, begin_group, finish_group};
use egiz_journal::recovery::{Scan, scan_segment};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    /// Bytes as they are.
    Raw(&'a [u8]),
    /// Groups behind a good header.
    Written { base: u64, salt: u64, groups: Vec<Written<'a>>, damage: Vec<Damage> },
}

#[derive(Debug, Arbitrary)]
struct Written<'a> {
    records: Vec<&'a [u8]>,
    synced_before: bool,
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Raw(bytes) => {
            check(bytes);
        }
        Input::Written { base, salt, groups, damage } => {
            check_written(base >> 1, salt, &groups, &damage);
        }
    }
});

/// Compares what recovery finds with what the plain reader finds.
fn check(bytes: &[u8]) -> Option<Scan> {
    let (header, scan) = scan_segment(bytes).ok()?;
    let found = groups(bytes, header.base, header.salt);
    let (end, next) = found.last().map_or((HEADER_BYTES, header.base), |last| (last.end, last.next));
    assert_eq!((scan.valid_bytes, scan.next), (end as u64, next), "{scan:?}");
    assert_eq!(scan.flaw.is_some(), end < bytes.len(), "{scan:?}");
    if let Some(at) = scan.damaged_before {
        let behind = group_at(bytes, at as usize, header.salt).expect("a valid group is there");
        assert!(behind.at > end && behind.synced_before && behind.first >= next, "{scan:?}: {behind:?}");
    }
    Some(scan)
}

fn check_written(base: u64, salt: u64, written: &[Written<'_>], damage: &[Damage]) {
    let mut whole = Header { base, salt, previous: None }.encode().to_vec();
    let (mut next, mut group) = (base, Vec::new());
    let salt_is_known = written
        .iter()
        .flat_map(|group| &group.records)
        .any(|record| record.windows(8).any(|window| window == salt.to_le_bytes()));
    for Written { records, synced_before } in written.iter().take(8) {
        let mut batch = Batch::new();
        records.iter().take(8).for_each(|record| batch.push(record));
        begin_group(&mut group);
        for record in batch.iter() {
            group.extend_from_slice(&(record.len() as u32).to_le_bytes());
            group.extend_from_slice(record);
        }
        finish_group(&mut group, salt, next, batch.len() as u32, *synced_before);
        whole.extend_from_slice(&group);
        next += batch.len() as u64;
    }
    let all = groups(&whole, base, salt);
    let scan = check(&whole).expect("what was written is a segment");
    assert_eq!((scan.valid_bytes, scan.next, scan.flaw), (whole.len() as u64, next, None));

    let mut damaged = whole.clone();
    damage.iter().take(4).for_each(|damage| damage.strike(&mut damaged));
    let intact = whole.iter().zip(&damaged).take_while(|(was, is)| was == is).count();
    let Some(scan) = check(&damaged) else {
        assert!(intact < HEADER_BYTES, "a good header is read");
        return;
    };
    let kept = all.iter().filter(|group| group.end <= intact).map(|group| group.end).max();
    assert!(scan.valid_bytes >= kept.unwrap_or(HEADER_BYTES) as u64, "{scan:?} keeps less than {kept:?}");
    // A sender does not know the salt; one that did could hide a group inside a record.
    if !salt_is_known && damaged.len() >= whole.len() && intact >= HEADER_BYTES {
        let is_damage = all.iter().any(|group| {
            group.at as u64 > scan.valid_bytes
                && group.synced_before
                && group.first >= scan.next
                && damaged[group.at..group.end] == whole[group.at..group.end]
        });
        assert!(!is_damage || scan.damaged_before.is_some(), "damage is taken for a torn tail: {scan:?}");
    }
}
