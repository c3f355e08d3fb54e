use super::*;
use proptest::prelude::*;

pub(crate) fn manifest() -> Manifest {
    let file =
        |path: &str, kind, bytes, fill| FileEntry { path: path.into(), kind, bytes, sha256: [fill; 32] };
    Manifest {
        version: VERSION,
        id: "20260301T020000000Z-0a1b2c3d".into(),
        program: "0.1.0".into(),
        site: "factory".into(),
        begun: Timestamp::from_micros(1_772_330_400_000_000),
        taken: Timestamp::from_micros(1_772_330_400_250_000),
        journal_first: 10,
        journal_next: 5_000,
        snapshot_next: Some(4_000),
        history_next: Some(4_200),
        missing: vec!["history/2026-02-01_openegiz-oven-1.0.0_000003.parquet".into()],
        files: vec![
            file("history/MANIFEST", FileKind::History, 120, 1),
            file("journal/00000000000000000010.egj", FileKind::Journal, 4096, 2),
            file("registry.sqlite", FileKind::Registry, 65_536, 3),
            file("snapshots/snapshot-00000000000000004000.egs", FileKind::Snapshot, 99, 4),
        ],
    }
}

/// The bytes of version 1; what is written must stay readable.
#[test]
fn version_1_stays_as_it_is() {
    let golden = include_str!("../../tests/golden/manifest-v1.json");
    assert_eq!(String::from_utf8(manifest().encode()).expect("text"), golden);
    assert_eq!(Manifest::decode(golden.as_bytes()), Ok(manifest()));
}

#[test]
fn every_damaged_byte_is_found() {
    let whole = manifest().encode();
    for at in 0..whole.len() {
        assert!(Manifest::decode(&whole[..at]).is_err(), "cut at {at}");
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(Manifest::decode(&flipped).is_err(), "flipped at {at}");
    }
}

#[test]
fn a_manifest_of_another_version_says_so() {
    let other = Manifest { version: 2, ..manifest() };
    let flaw = Manifest::decode(&other.encode()).expect_err("it is of another version");
    assert_eq!(flaw, "it has format version 2, this program reads 1");
}

#[test]
fn no_path_leads_out_of_the_folder() {
    for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/.", "a\\b", "a\0b", &"x".repeat(513)] {
        let mut bad = manifest();
        bad.files[0].path = path.into();
        let flaw = Manifest::decode(&bad.encode()).expect_err(path);
        assert!(flaw.contains("no path below the data folder"), "{flaw}");
    }
    let mut twice = manifest();
    twice.files[1].path = twice.files[0].path.clone();
    assert_eq!(Manifest::decode(&twice.encode()), Err("it names history/MANIFEST twice".into()));
}

proptest! {
    #[test]
    fn a_manifest_comes_back_as_it_was(
        numbers in any::<[u64; 3]>(),
        names in proptest::collection::btree_set("[a-z0-9]{1,20}/[a-z0-9][a-zA-Z0-9 _.-]{0,40}", 0..20),
        sum in any::<[u8; 32]>(),
    ) {
        let files = names.into_iter().map(|path| FileEntry {
            path, kind: FileKind::Model, bytes: numbers[0], sha256: sum,
        });
        let manifest = Manifest {
            journal_first: numbers[1], snapshot_next: None, history_next: Some(numbers[2]), missing: vec![],
            files: files.collect(), ..manifest()
        };
        prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Manifest::decode(&bytes).is_err());
    }
}
