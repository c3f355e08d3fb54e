//! Opening again: torn tails are cut and reported, damage is refused.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use egiz_journal::format::{Flaw, HEADER_BYTES, Header, begin_group, finish_group};
use egiz_journal::recovery::scan_segment;
use egiz_journal::{FileJournal, Journal, JournalConfig, OpenError};

use crate::{append, batch, clock, config, metrics, open, open_with, read, segment_files};

#[test]
fn a_tail_torn_anywhere_is_cut_off_and_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    append(&journal, batch(&["kept"])).expect("committed");
    let file = segment_files(folder.path()).remove(0);
    let whole = fs::metadata(&file).expect("a segment").len();
    append(&journal, batch(&["torn", "too"])).expect("committed");
    drop(journal);
    let bytes = fs::read(&file).expect("readable");
    for end in usize::try_from(whole).expect("small") + 1..bytes.len() {
        fs::write(&file, &bytes[..end]).expect("written");
        let (journal, report) = open(folder.path());
        assert_eq!(report.next, 1);
        let torn = report.torn_tail.expect("it is reported");
        assert_eq!((torn.bytes, torn.position, torn.offset), (end as u64 - whole, whole, 1), "{torn}");
        assert_eq!(append(&journal, batch(&["after"])), Ok(1));
        assert_eq!(read(&journal, 0).len(), 2);
    }
}

#[test]
fn a_tail_with_any_byte_wrong_is_cut_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    append(&journal, batch(&["kept"])).expect("committed");
    let file = segment_files(folder.path()).remove(0);
    let whole = usize::try_from(fs::metadata(&file).expect("a segment").len()).expect("small");
    append(&journal, batch(&["torn", "too"])).expect("committed");
    drop(journal);
    let bytes = fs::read(&file).expect("readable");
    for at in whole..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x55;
        fs::write(&file, bytes).expect("written");
        assert_eq!(open(folder.path()).1.next, 1);
    }
}

#[test]
fn damage_before_valid_records_is_refused_with_file_and_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    append(&journal, batch(&["first"])).expect("committed");
    append(&journal, batch(&["second"])).expect("committed");
    drop(journal);
    let file = segment_files(folder.path()).remove(0);
    let mut bytes = fs::read(&file).expect("readable");
    bytes[HEADER_BYTES + 36] ^= 1;
    fs::write(&file, bytes).expect("written");
    let error = FileJournal::open(folder.path(), config(), metrics(), clock()).expect_err("it is damaged");
    let OpenError::Damaged { position, flaw, valid_from, .. } = &error else { panic!("{error}") };
    assert_eq!((*position, *flaw, *valid_from), (48, Flaw::GroupChecksum, Some(48 + 32 + 9)));
    assert!(error.to_string().contains("00000000000000000000.egj is damaged at byte 48"), "{error}");
}

/// A device could send a payload that looks like a commit, to make a torn tail look like damage.
#[test]
fn a_record_that_looks_like_a_commit_does_not_stop_the_journal_from_opening() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    append(&journal, batch(&["kept"])).expect("committed");
    let mut forged = Vec::new();
    begin_group(&mut forged);
    forged.extend_from_slice(&[2, 0, 0, 0, b'h', b'i']);
    finish_group(&mut forged, 0xF0F0, 1 << 60, 1, true);
    append(&journal, batch(&[forged])).expect("committed");
    drop(journal);
    let file = segment_files(folder.path()).remove(0);
    let mut bytes = fs::read(&file).expect("readable");
    bytes[HEADER_BYTES + 32 + 8 + 8] ^= 1;
    fs::write(&file, bytes).expect("written");
    let (_, report) = open(folder.path());
    assert_eq!(report.next, 1);
    assert!(report.torn_tail.is_some());
}

/// A disk may write a commit where it does not belong; where that one ends, the next may begin with the same bytes.
#[test]
fn a_valid_commit_in_a_wrong_place_hides_no_damage() {
    const SALT: u64 = 0x1122_3344_5566_7788;
    let group = |first, record: &[u8], synced_before| {
        let mut group = Vec::new();
        begin_group(&mut group);
        group.extend_from_slice(&(record.len() as u32).to_le_bytes());
        group.extend_from_slice(record);
        finish_group(&mut group, SALT, first, 1, synced_before);
        group
    };
    let mut bytes = Header { base: 0, salt: SALT, previous: None }.encode().to_vec();
    bytes.extend_from_slice(&group(0, &[7; 60], true));
    let second_at = bytes.len();
    bytes.extend_from_slice(&group(1, b"acknowledged", true));
    let misplaced = group(2, &SALT.to_le_bytes()[..4], false);
    let misplaced_at = second_at + 4 - misplaced.len();
    bytes[misplaced_at..second_at + 4].copy_from_slice(&misplaced);
    let (_, scan) = scan_segment(&bytes).expect("its header is whole");
    assert_eq!(scan.valid_bytes, HEADER_BYTES as u64);
    assert_eq!(scan.damaged_before, Some(second_at as u64));
}

/// Sixty records of twenty bytes, in many segments.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    for number in 0..60_u8 {
        append(&journal, batch(&[[number; 20]])).expect("committed");
    }
    folder
}

fn refused(folder: &tempfile::TempDir, config: JournalConfig) -> String {
    FileJournal::open(folder.path(), config, metrics(), clock()).expect_err("it is damaged").to_string()
}

#[test]
fn a_missing_segment_is_refused() {
    let folder = filled();
    let files = segment_files(folder.path());
    assert!(files.len() > 3, "{files:?}");
    fs::remove_file(&files[1]).expect("removed");
    let error = refused(&folder, config());
    assert!(error.contains("the segment before it, which begins with offset"), "{error}");
}

#[test]
fn a_shortened_segment_is_refused() {
    let folder = filled();
    let file = segment_files(folder.path()).remove(1);
    let length = fs::metadata(&file).expect("a segment").len();
    let cut = OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(length - 1));
    cut.expect("cut");
    let error = refused(&folder, config());
    assert!(error.contains("bytes of") && error.contains("committed"), "{error}");
}

#[test]
fn a_damaged_header_is_refused() {
    for index in [0, 1] {
        let folder = filled();
        let file = segment_files(folder.path()).remove(index);
        let mut bytes = fs::read(&file).expect("readable");
        bytes[20] ^= 1;
        fs::write(&file, bytes).expect("written");
        let error = refused(&folder, config());
        assert!(error.contains("the checksum of the segment's header does not match"), "{error}");
    }
}

#[test]
fn damage_inside_an_older_segment_is_found_by_reading_it_or_by_verifying_all() {
    let folder = filled();
    let file = segment_files(folder.path()).remove(1);
    let mut bytes = fs::read(&file).expect("readable");
    bytes[HEADER_BYTES + 40] ^= 1;
    fs::write(&file, bytes).expect("written");
    let error = refused(&folder, JournalConfig { verify_all: true, ..config() });
    assert!(error.contains("a group's checksum does not match"), "{error}");
    let (journal, _) = open(folder.path());
    let mut cursor = journal.read(0).expect("the beginning is there");
    let error = loop {
        match cursor.next_group(|_, _| {}) {
            Ok(more) => assert!(more, "it does not read past damage"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("is damaged at byte 48"), "{error}");
}

#[test]
fn verifying_all_accepts_what_is_whole() {
    let folder = filled();
    let (journal, report) = open_with(folder.path(), JournalConfig { verify_all: true, ..config() });
    assert_eq!((report.next, report.torn_tail), (60, None));
    assert_eq!(read(&journal, 0).len(), 60);
}

#[test]
fn a_half_made_segment_is_taken_away() {
    let header = Header { base: 1, salt: 1, previous: None }.encode();
    for length in 0..HEADER_BYTES {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, _) = open(folder.path());
        append(&journal, batch(&["kept"])).expect("committed");
        drop(journal);
        fs::write(folder.path().join("00000000000000000001.egj"), &header[..length]).expect("written");
        let (journal, report) = open(folder.path());
        assert_eq!(report.half_made.as_deref(), Some("00000000000000000001.egj"));
        assert_eq!(append(&journal, batch(&["next"])), Ok(1));
    }
}

#[test]
fn offsets_that_somebody_has_seen_are_not_given_out_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    append(&journal, batch(&["a", "b"])).expect("committed");
    drop(journal);
    let ahead = JournalConfig { next_at_least: 10, ..config() };
    let (journal, report) = open_with(folder.path(), ahead);
    assert_eq!(report.next, 10);
    assert_eq!(append(&journal, batch(&["k"])), Ok(10));
    assert_eq!(append(&journal, batch(&["l"])), Ok(11));
    let expected = [(0, b"a".to_vec()), (1, b"b".to_vec()), (10, b"k".to_vec()), (11, b"l".to_vec())];
    assert_eq!(read(&journal, 0), expected);
    assert_eq!(read(&journal, 5), expected[2..]);
    drop(journal);
    let verified = JournalConfig { verify_all: true, ..ahead };
    let (journal, report) = open_with(folder.path(), verified);
    assert_eq!((report.next, report.segments), (12, 2), "it applies only where it is behind");
    assert_eq!(read(&journal, 0), expected);
}

#[test]
fn a_second_program_cannot_open_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let _journal = open(folder.path());
    let error = FileJournal::open(folder.path(), config(), metrics(), clock()).expect_err("it is locked");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
}

#[test]
fn only_its_owner_can_read_it() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("deep").join("journal");
    let _journal = open(&folder);
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert!(segment_files(&folder).iter().all(|file| mode(file) == 0o600));
}

#[test]
fn foreign_files_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["notes.txt", "1.egj", "0000000000000000000x.egj"] {
        let mut file = fs::File::create(folder.path().join(name)).expect("made");
        file.write_all(b"mine").expect("written");
    }
    let (journal, _) = open(folder.path());
    assert_eq!(append(&journal, batch(&["a"])), Ok(0));
    assert!(folder.path().join("1.egj").exists());
}
