//! A disk that refuses for a while, and the journal on it: nobody is told a lie, and it recovers by itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use egiz_journal::{AppendError, FileJournal, Journal, JournalConfig};

use crate::disk::{Disk, DiskStorage, EIO, ENOSPC};
use crate::{append, batch, clock, config, metrics, read};

fn open(disk: &Arc<Disk>, config: JournalConfig) -> FileJournal {
    let storage = Arc::new(DiskStorage(Arc::clone(disk)));
    FileJournal::open_storage(storage, config, metrics(), clock()).expect("it opens").0
}

/// Nobody submits anything meanwhile.
fn wait_until_healthy(journal: &FileJournal) {
    let begun = Instant::now();
    while journal.status().failing.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", journal.status());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn fails_and_recovers(code: i32, only_syncs: bool, is_expected: fn(&AppendError) -> bool) {
    let disk = Arc::new(Disk::default());
    let journal = open(&disk, config());
    append(&journal, batch(&["before"])).expect("committed");

    disk.only_syncs.store(only_syncs, Ordering::SeqCst);
    disk.broken.store(code, Ordering::SeqCst);
    for _ in 0..3 {
        let error = append(&journal, batch(&["refused"])).expect_err("the disk is broken");
        assert!(is_expected(&error), "{error}");
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(journal.status().failing.is_some());
    assert_eq!(read(&journal, 0).len(), 1, "it stays readable");

    disk.broken.store(0, Ordering::SeqCst);
    wait_until_healthy(&journal);
    assert_eq!(append(&journal, batch(&["after"])), Ok(1), "it takes writes again without a restart");
    let expected = [(0, b"before".to_vec()), (1, b"after".to_vec())];
    assert_eq!(read(&journal, 0), expected);
    drop(journal);
    assert_eq!(read(&open(&disk, config()), 0), expected, "and says the same when opened again");
}

#[test]
fn a_disk_without_space_refuses_and_recovers() {
    fails_and_recovers(ENOSPC, false, |error| matches!(error, AppendError::NoSpace(_)));
}

#[test]
fn a_disk_that_fails_to_write_refuses_and_recovers() {
    fails_and_recovers(EIO, false, |error| matches!(error, AppendError::Io(_)));
}

#[test]
fn a_failed_sync_is_never_trusted() {
    fails_and_recovers(EIO, true, |error| matches!(error, AppendError::Io(_)));
}

#[test]
fn it_stays_refusing_until_what_was_refused_would_fit() {
    let disk = Arc::new(Disk::default());
    let journal = open(&disk, JournalConfig { segment_bytes: 10_000, ..config() });
    append(&journal, batch(&[[1; 100]])).expect("committed");
    disk.space.store(1000, Ordering::SeqCst);
    let error = append(&journal, batch(&[[2; 2000]])).expect_err("it does not fit");
    assert!(matches!(error, AppendError::NoSpace(_)), "{error}");
    std::thread::sleep(Duration::from_millis(200));
    assert!(journal.status().failing.is_some(), "a small probe would have gone through");
    disk.space.store(0, Ordering::SeqCst);
    wait_until_healthy(&journal);
    assert_eq!(append(&journal, batch(&[[2; 2000]])), Ok(1));
}

#[test]
fn a_restart_after_a_failed_sync_finds_no_refused_record_in_the_way() {
    let disk = Arc::new(Disk::default());
    let journal = open(&disk, config());
    append(&journal, batch(&["before"])).expect("committed");
    disk.only_syncs.store(true, Ordering::SeqCst);
    disk.broken.store(EIO, Ordering::SeqCst);
    append(&journal, batch(&["refused"])).expect_err("the disk is broken");
    drop(journal);
    disk.broken.store(0, Ordering::SeqCst);
    let journal = open(&disk, config());
    let next = append(&journal, batch(&["after"])).expect("committed");
    let records = read(&journal, 0);
    assert_eq!(records.first(), Some(&(0, b"before".to_vec())));
    assert_eq!(records.last(), Some(&(next, b"after".to_vec())));
}
