//! The journal from outside: what is committed is there, whatever happens to the program or the disk.

mod crash;
mod faulty;
mod journal;
mod power_loss;

use std::sync::mpsc;
use std::time::Duration;

use egiz_journal::{
    AppendError, Batch, Durability, FileJournal, Journal, JournalConfig, JournalMetrics, Offset,
};
use prometheus_client::registry::Registry;

fn config() -> JournalConfig {
    JournalConfig { durability: Durability::Fsync, segment_bytes: 400, ..JournalConfig::default() }
}

fn metrics() -> JournalMetrics {
    JournalMetrics::register(&mut Registry::default())
}

fn batch<R: AsRef<[u8]>>(records: &[R]) -> Batch {
    let mut batch = Batch::new();
    records.iter().for_each(|record| batch.push(record.as_ref()));
    batch
}

/// Waits for a future without a runtime: the journal's room is given back by its own thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(future)
}

/// Appends and waits for the commit; the first offset.
fn append(journal: &FileJournal, batch: Batch) -> Result<Offset, AppendError> {
    let (done, committed) = mpsc::channel();
    let permit = block_on(journal.reserve(batch.byte_len()));
    journal.submit(
        batch,
        permit,
        Box::new(move |result| done.send(result.map(|committed| committed.first)).expect("somebody waits")),
    );
    committed.recv_timeout(Duration::from_secs(30)).expect("every batch is answered")
}

/// Everything from `from` on.
fn read(journal: &FileJournal, from: Offset) -> Vec<(Offset, Vec<u8>)> {
    let mut cursor = journal.read(from).expect("it is there");
    let mut records = Vec::new();
    while cursor.next_group(|offset, record| records.push((offset, record.to_vec()))).expect("it is whole") {}
    records
}
