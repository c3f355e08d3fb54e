//! Appending, reading, rolling, trimming, opening again.

use std::fs::OpenOptions;
use std::io::Write as _;

use egiz_journal::{AppendError, Durability, Journal, JournalConfig, ReadError};
use proptest::prelude::*;

use crate::{append, batch, config, open, open_with, read, segment_files};

#[test]
fn offsets_are_consecutive_and_survive_opening_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, report) = open(folder.path());
    assert_eq!((report.first, report.next, report.torn_tail), (0, 0, None));
    assert_eq!(append(&journal, batch(&["a", "b"])), Ok(0));
    assert_eq!(append(&journal, batch(&["c"])), Ok(2));
    assert_eq!(append(&journal, batch::<&str>(&[])), Ok(3), "an empty batch is committed in its turn");
    drop(journal);
    let (journal, report) = open(folder.path());
    assert_eq!((report.next, report.torn_tail), (3, None));
    assert_eq!(append(&journal, batch(&["d"])), Ok(3));
    let records: Vec<_> = read(&journal, 1)
        .into_iter()
        .map(|(offset, record)| (offset, String::from_utf8(record).expect("text")))
        .collect();
    assert_eq!(records, [(1, "b".to_owned()), (2, "c".to_owned()), (3, "d".to_owned())]);
}

#[test]
fn released_segments_go_when_the_space_is_needed_and_no_sooner() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = JournalConfig { total_bytes_max: 2000, ..config() };
    let (journal, _) = open_with(folder.path(), config);
    let mut refused = None;
    for number in 0..100_u8 {
        if let Err(error) = append(&journal, batch(&[[number; 20]])) {
            refused = Some(error);
            break;
        }
    }
    assert!(
        matches!(&refused, Some(error @ AppendError::LimitReached { limit_bytes: 2000, .. }) if error.to_string().contains("journal.max_total_bytes allows 2000")),
        "{refused:?}"
    );
    let next = journal.status().next;
    assert!(journal.status().failing.is_some());

    journal.release_before(next);
    while journal.status().failing.is_some() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(append(&journal, batch(&["again"])), Ok(next), "it recovers by itself");
    let status = journal.status();
    assert!(status.first > 0 && status.disk_bytes <= 2400 && status.failing.is_none(), "{status:?}");
    assert!(matches!(journal.read(0), Err(ReadError::Trimmed { wanted: 0, first }) if first == status.first));
    assert_eq!(read(&journal, next), [(next, b"again".to_vec())]);
}

#[test]
fn a_cursor_goes_on_where_it_was_when_more_is_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    let mut cursor = journal.read(0).expect("empty is fine");
    assert!(!cursor.next_group(|_, _| panic!("nothing is there")).expect("readable"));
    let mut seen = Vec::new();
    for number in 0..50_u8 {
        append(&journal, batch(&[[number; 20]])).expect("committed");
        while cursor.next_group(|offset, record| seen.push((offset, record[0]))).expect("readable") {}
    }
    assert_eq!(seen, (0..50_u8).map(|number| (u64::from(number), number)).collect::<Vec<_>>());
}

#[test]
fn in_memory_durability_an_orderly_close_still_writes_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = JournalConfig { durability: Durability::Memory, ..config() };
    let (journal, _) = open_with(folder.path(), config);
    for number in 0..50_u8 {
        append(&journal, batch(&[[number; 20]])).expect("committed");
    }
    journal.close();
    assert_eq!(read(&journal, 0).len(), 50);
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Vec<u8>>),
    Reopen,
    Tear(u16),
    ReadFrom(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = prop::collection::vec(any::<u8>(), 0..40);
    let step = prop_oneof![
        4 => prop::collection::vec(record, 0..5).prop_map(Step::Append),
        1 => Just(Step::Reopen),
        1 => (1..60_u16).prop_map(Step::Tear),
        1 => any::<prop::sample::Index>().prop_map(Step::ReadFrom),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn it_behaves_like_a_list_that_outlives_the_program(steps in steps()) {
        let config = JournalConfig { durability: Durability::Os, ..config() };
        let folder = tempfile::tempdir().expect("a folder");
        let open = || open_with(folder.path(), config).0;
        let mut model: Vec<Vec<u8>> = Vec::new();
        let mut journal = Some(open());
        for step in steps {
            match step {
                Step::Append(records) => {
                    let first = append(journal.as_ref().expect("open"), batch(&records));
                    prop_assert_eq!(first, Ok(model.len() as u64));
                    model.extend(records);
                }
                Step::Reopen => {
                    drop(journal.take());
                    journal = Some(open());
                }
                Step::Tear(length) => {
                    // What a commit cut off by a crash leaves: bytes that are no whole group.
                    drop(journal.take());
                    let last = segment_files(folder.path()).pop().expect("a segment");
                    let mut file = OpenOptions::new().append(true).open(last).expect("writable");
                    file.write_all(&vec![b'G'; length.into()]).expect("written");
                    journal = Some(open());
                }
                Step::ReadFrom(index) => {
                    let from = index.index(model.len() + 1);
                    let expected: Vec<_> = (0..).zip(model.iter().cloned()).skip(from).collect();
                    prop_assert_eq!(read(journal.as_ref().expect("open"), from as u64), expected);
                }
            }
        }
        let expected: Vec<_> = (0..).zip(model).collect();
        prop_assert_eq!(read(journal.as_ref().expect("open"), 0), expected);
    }
}
