//! The journal from outside: what is committed is there, whatever happens to the program or the disk.

mod copy;
mod crash;
mod disk;
mod faulty;
mod journal;
mod power_loss;
mod queue;
mod recovery;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use egiz_journal::{
    AppendError, Batch, Clock, Committed, Durability, FileJournal, Journal, JournalConfig, JournalMetrics,
    Offset, RecoveryReport,
};
use prometheus_client::registry::Registry;

const NOW_MICROS: i64 = 1_700_000_000_000_000;

/// Small segments, so that a few records make several.
fn config() -> JournalConfig {
    JournalConfig { durability: Durability::Fsync, segment_bytes: 400, ..JournalConfig::default() }
}

fn metrics() -> JournalMetrics {
    JournalMetrics::register(&mut Registry::default())
}

fn clock() -> Clock {
    Arc::new(|| NOW_MICROS)
}

fn open(folder: &Path) -> (FileJournal, RecoveryReport) {
    open_with(folder, config())
}

fn open_with(folder: &Path, config: JournalConfig) -> (FileJournal, RecoveryReport) {
    FileJournal::open(folder, config, metrics(), clock()).expect("it opens")
}

/// The segments' files, oldest first.
fn segment_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "egj")).collect();
    files.sort();
    files
}

fn batch<R: AsRef<[u8]>>(records: &[R]) -> Batch {
    let mut batch = Batch::new();
    records.iter().for_each(|record| batch.push(record.as_ref()));
    batch
}

/// Submits; the answer comes over the channel.
fn submit(journal: &FileJournal, batch: Batch) -> mpsc::Receiver<Result<Committed, AppendError>> {
    let (done, committed) = mpsc::channel();
    let permit = journal.reserve_blocking(batch.byte_len());
    journal.submit(batch, permit, Box::new(move |result| done.send(result).expect("somebody waits")));
    committed
}

/// Appends and waits for the commit; the first offset.
fn append(journal: &FileJournal, batch: Batch) -> Result<Offset, AppendError> {
    let answer = submit(journal, batch).recv_timeout(Duration::from_secs(30));
    answer.expect("every batch is answered").map(|committed| committed.first)
}

/// Everything from `from` on.
fn read(journal: &FileJournal, from: Offset) -> Vec<(Offset, Vec<u8>)> {
    let mut cursor = journal.read(from).expect("it is there");
    let mut records = Vec::new();
    while cursor.next_group(|offset, record| records.push((offset, record.to_vec()))).expect("it is whole") {}
    records
}
