//! Appending, reading, rolling, trimming, opening again.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use egiz_journal::{
    AppendError, Durability, FileJournal, Journal, JournalConfig, OpenError, ReadError, RecoveryReport,
};
use proptest::prelude::*;

use crate::{append, batch, block_on, config, metrics, read};

fn open(folder: &Path) -> (FileJournal, RecoveryReport) {
    FileJournal::open(folder, config(), metrics()).expect("it opens")
}

fn segment_files(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "egj")).collect();
    files.sort();
    files
}

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
fn a_second_program_cannot_open_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let _journal = open(folder.path());
    let error = FileJournal::open(folder.path(), config(), metrics()).expect_err("it is locked");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn a_closed_journal_commits_what_is_queued_and_refuses_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    let (done, answers) = std::sync::mpsc::channel();
    for number in 0..20 {
        let done = done.clone();
        let permit = block_on(journal.reserve(8));
        journal.submit(
            batch(&[[number]]),
            permit,
            Box::new(move |result| done.send(result.map(|committed| committed.first)).expect("kept")),
        );
    }
    journal.close();
    drop(done);
    assert_eq!(answers.iter().collect::<Result<Vec<_>, _>>(), Ok((0..20).collect()));
    assert_eq!(append(&journal, batch(&["late"])), Err(AppendError::Closed));
}

#[test]
fn the_queue_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) =
        FileJournal::open(folder.path(), JournalConfig { queue_bytes: 4096, ..config() }, metrics())
            .expect("it opens");
    let all = block_on(journal.reserve(1 << 30));
    block_on(async {
        let waiting = journal.reserve(1);
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures_now(waiting.as_mut()).await.is_none(), "there is no room");
        drop(all);
        assert!(futures_now(waiting.as_mut()).await.is_some(), "there is room");
    });
}

/// Polls once.
async fn futures_now<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| match std::pin::Pin::new(&mut future).poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[test]
fn a_tail_torn_anywhere_is_cut_off_and_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    append(&journal, batch(&["kept"])).expect("committed");
    let whole = fs::metadata(&segment_files(folder.path())[0]).expect("a segment").len();
    append(&journal, batch(&["torn", "too"])).expect("committed");
    drop(journal);
    let file = segment_files(folder.path()).remove(0);
    let bytes = fs::read(&file).expect("readable");
    for end in usize::try_from(whole).expect("small") + 1..bytes.len() {
        fs::write(&file, &bytes[..end]).expect("written");
        let (journal, report) = open(folder.path());
        assert_eq!(report.next, 1);
        let (cut, reason) = report.torn_tail.expect("it is reported");
        assert_eq!(cut, end as u64 - whole, "{reason}");
        assert_eq!(append(&journal, batch(&["after"])), Ok(1));
        assert_eq!(read(&journal, 0).len(), 2);
        drop(journal);
        for extra in segment_files(folder.path()).iter().skip(1) {
            fs::remove_file(extra).expect("removed");
        }
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
    bytes[60] ^= 1;
    fs::write(&file, bytes).expect("written");
    let error = FileJournal::open(folder.path(), config(), metrics()).expect_err("it is damaged");
    assert!(
        matches!(&error, OpenError::Damaged { position: 32, reason, .. } if reason.contains("valid group follows")),
        "{error}"
    );
}

#[test]
fn a_missing_segment_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    for number in 0..60_u8 {
        append(&journal, batch(&[[number; 20]])).expect("committed");
    }
    drop(journal);
    let files = segment_files(folder.path());
    assert!(files.len() > 3, "{files:?}");
    fs::remove_file(&files[1]).expect("removed");
    let error = FileJournal::open(folder.path(), config(), metrics()).expect_err("a hole");
    assert!(error.to_string().contains("the segment before it ends with offset"), "{error}");
}

#[test]
fn a_half_made_segment_is_taken_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    append(&journal, batch(&["kept"])).expect("committed");
    drop(journal);
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.path().join("00000000000000000001.egj"))
        .and_then(|mut file| file.write_all(b"EGIZ"))
        .expect("written");
    let (journal, report) = open(folder.path());
    assert!(report.torn_tail.is_some());
    assert_eq!(append(&journal, batch(&["next"])), Ok(1));
}

#[test]
fn released_segments_go_when_the_space_is_needed_and_no_sooner() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = JournalConfig { total_bytes_max: 2000, ..config() };
    let (journal, _) = FileJournal::open(folder.path(), config, metrics()).expect("it opens");
    let mut refused = None;
    for number in 0..100_u8 {
        if let Err(error) = append(&journal, batch(&[[number; 20]])) {
            refused = Some(error);
            break;
        }
    }
    assert!(
        matches!(&refused, Some(AppendError::NoSpace(reason)) if reason.contains("journal.max_total_bytes allows 2000")),
        "{refused:?}"
    );
    let next = journal.status().next;
    assert!(journal.status().failing.is_some());

    journal.release_before(next);
    std::thread::sleep(std::time::Duration::from_millis(100));
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
    let (journal, _) = FileJournal::open(folder.path(), config, metrics()).expect("it opens");
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
        let open = || FileJournal::open(folder.path(), config, metrics()).expect("it opens").0;
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
