use proptest::prelude::*;

use super::*;
use crate::Batch;
use crate::recovery::scan_segment;

const SALT: u64 = 0x5EED_0000_CAFE_F00D;

fn segment() -> Vec<u8> {
    let mut bytes = Header { base: 7, salt: SALT, previous: Some((2, 4711)) }.encode().to_vec();
    for (first, records) in [(7, vec![&b"alpha"[..], b""]), (9, vec![b"gamma"])] {
        let mut batch = Batch::new();
        records.iter().for_each(|record| batch.push(record));
        let mut group = Vec::new();
        begin_group(&mut group);
        group.extend_from_slice(batch.encoded());
        finish_group(&mut group, SALT, first, u32::try_from(records.len()).expect("few"), first == 9);
        bytes.extend_from_slice(&group);
    }
    bytes
}

#[test]
fn segments_of_version_1_stay_readable() {
    let golden: &[u8] = include_bytes!("../../tests/golden/segment-v1.egj");
    assert_eq!(golden, segment(), "and are written the same");
    let header = Header::decode(golden).expect("a header");
    assert_eq!(header, Header { base: 7, salt: SALT, previous: Some((2, 4711)) });
    let group = &golden[HEADER_BYTES..][..GROUP_HEADER_BYTES + 13];
    let group_header = decode_group_header(group, SALT).expect("a group");
    assert_eq!(group_header, GroupHeader { body_bytes: 13, count: 2, first: 7, synced_before: false });
    assert_eq!(check_group(group, &group_header), Ok(()));
    assert_eq!(records(&group[GROUP_HEADER_BYTES..]).collect::<Vec<_>>(), [&b"alpha"[..], b""]);
    let (_, scan) = scan_segment(golden).expect("a segment");
    assert_eq!((scan.valid_bytes, scan.next, scan.flaw), (golden.len() as u64, 10, None));
}

#[test]
fn a_later_version_is_named_and_not_guessed_at() {
    let mut bytes = segment();
    bytes[8] = 2;
    assert_eq!(Header::decode(&bytes), Err(Flaw::Version(2)));
}

proptest! {
    #[test]
    fn no_flipped_bit_goes_unnoticed(at in 0..segment().len(), bit in 0..8_u8) {
        let mut bytes = segment();
        bytes[at] ^= 1 << bit;
        prop_assert!(!scan_segment(&bytes).is_ok_and(|(_, scan)| scan.flaw.is_none()));
    }

    #[test]
    fn any_bytes_are_scanned_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0..5_usize) {
        let _ = scan_segment(&bytes);
        let whole = segment();
        let cut = whole.len() * at / 5;
        bytes.splice(..0, whole[..cut].iter().copied());
        let _ = scan_segment(&bytes);
    }
}
