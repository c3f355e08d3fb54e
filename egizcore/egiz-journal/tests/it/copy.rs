//! Copying a log that goes on, and cutting the copy.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use egiz_journal::cut::cut_before;
use egiz_journal::{FileJournal, Journal, JournalConfig, OpenError};
use proptest::prelude::*;

use crate::{append, batch, config, open, open_with, read};

/// Copies what is committed, as a backup does.
fn copy(journal: &FileJournal, from: &Path, to: &Path) -> u64 {
    fs::create_dir_all(to).expect("made");
    let segments = journal.committed_segments();
    for segment in &segments {
        let mut bytes = fs::read(from.join(&segment.name)).expect("it is there");
        bytes.truncate(usize::try_from(segment.bytes).expect("small"));
        assert_eq!(bytes.len() as u64, segment.bytes, "committed bytes are in the file");
        fs::write(to.join(&segment.name), bytes).expect("written");
    }
    segments.last().expect("there is always one").next
}

#[test]
fn a_copy_made_while_records_are_appended_is_whole_up_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let (original, copies) = (folder.path().join("original"), folder.path().join("copies"));
    let (journal, _) = open(&original);
    let (journal, stop) = (Arc::new(journal), Arc::new(AtomicBool::new(false)));
    let appending = {
        let (journal, stop) = (Arc::clone(&journal), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                append(&journal, batch(&[number.to_be_bytes(), (number + 1).to_be_bytes()])).expect("room");
                number += 2;
            }
        })
    };
    for round in 0..20 {
        let to = copies.join(round.to_string());
        let acknowledged = journal.status().next;
        let next = copy(&journal, &original, &to);
        assert!(next >= acknowledged);
        let (copied, report) = open_with(&to, JournalConfig { verify_all: true, ..config() });
        assert_eq!((report.torn_tail, report.next), (None, next));
        for (offset, record) in read(&copied, 0) {
            assert_eq!(record, offset.to_be_bytes());
        }
    }
    stop.store(true, Ordering::Relaxed);
    appending.join().expect("it appends");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn what_is_left_of_a_cut_log_is_what_came_before(
        sizes in proptest::collection::vec((1_usize..6, 0_usize..120), 1..12),
        place in 0.0_f64..1.2,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, _) = open(folder.path());
        for (count, bytes) in &sizes {
            let records: Vec<Vec<u8>> = (0..*count).map(|at| vec![at as u8; *bytes]).collect();
            append(&journal, batch(&records)).expect("room");
        }
        let before = read(&journal, 0);
        drop(journal);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
        let offset = (before.len() as f64 * place) as u64;
        cut_before(folder.path(), offset).expect("cut");
        // Cutting again changes nothing.
        cut_before(folder.path(), offset).expect("cut");
        let (journal, report) = open_with(folder.path(), JournalConfig { verify_all: true, ..config() });
        let expected: Vec<_> = before.into_iter().filter(|(at, _)| *at < offset).collect();
        prop_assert_eq!(report.torn_tail, None);
        prop_assert_eq!(read(&journal, 0), expected.clone());
        prop_assert_eq!(append(&journal, batch(&["more"])), Ok(expected.len() as u64));
    }
}

#[test]
fn an_open_log_is_not_cut_and_neither_is_one_that_begins_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open_with(folder.path(), JournalConfig { next_at_least: 100, ..config() });
    append(&journal, batch(&["a"])).expect("room");
    assert!(matches!(cut_before(folder.path(), 100), Err(OpenError::InUse { .. })));
    drop(journal);
    let error = cut_before(folder.path(), 50).expect_err("it begins with 100");
    assert!(error.to_string().contains("record 50"), "{error}");
}
