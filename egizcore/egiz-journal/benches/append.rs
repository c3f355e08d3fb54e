//! Durable appends: throughput by batch size, and the latency of a lone record.
//!
//! Promise: at least 1 million records of 200 bytes a second with `fsync` in batches of a thousand and more, on two cores and
//! a disk that takes 300 MB/s, at no more than 0.3 µs of the committer's CPU time a record (for that figure see the example
//! `cost`); and a lone record waits for one write and sync, never for the linger. Reading back: at least 3 million records a
//! second, so that a million replay in a third of a second.

use std::hint::black_box;
use std::sync::{Arc, mpsc};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use egiz_journal::{Batch, FileJournal, Journal, JournalConfig, JournalMetrics, LINGER_MAX, Offset};
use prometheus_client::registry::Registry;

const RECORD: [u8; 200] = [b'x'; 200];
/// Submissions under way at once: what many connections look like to the journal.
const IN_FLIGHT: usize = 16;

fn open(folder: &tempfile::TempDir, config: JournalConfig) -> FileJournal {
    let metrics = JournalMetrics::register(&mut Registry::default());
    FileJournal::open(folder.path(), config, metrics, Arc::new(|| 0)).expect("it opens").0
}

fn submit(journal: &FileJournal, records: usize, done: &mpsc::Sender<Offset>) {
    let mut batch = Batch::with_capacity(records * (RECORD.len() + 4));
    (0..records).for_each(|_| batch.push(&RECORD));
    let permit = journal.reserve_blocking(batch.byte_len());
    let done = done.clone();
    let on_commit = move |result: Result<egiz_journal::Committed, _>| {
        let committed = result.expect("the disk works");
        done.send(committed.first + committed.batch.len() as Offset).expect("somebody waits");
    };
    journal.submit(batch, permit, Box::new(on_commit));
}

fn durable_appends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("durable append, 16 batches under way");
    for records in [1, 16, 256, 4096] {
        let folder = tempfile::tempdir_in(".").expect("a folder on a disk");
        let config = JournalConfig { total_bytes_max: 512 << 20, ..JournalConfig::default() };
        let journal = open(&folder, config);
        let (done, committed) = mpsc::channel();
        group.throughput(Throughput::Elements((records * IN_FLIGHT) as u64));
        group.bench_function(BenchmarkId::from_parameter(records), |bencher| {
            bencher.iter(|| {
                (0..IN_FLIGHT).for_each(|_| submit(&journal, records, &done));
                for _ in 0..IN_FLIGHT {
                    journal.release_before(committed.recv().expect("committed"));
                }
            });
        });
    }
    group.finish();
}

fn lone_record(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("latency of a lone record");
    for (name, linger) in [("no linger", std::time::Duration::ZERO), ("linger 2 ms", LINGER_MAX)] {
        let folder = tempfile::tempdir_in(".").expect("a folder on a disk");
        let journal = open(&folder, JournalConfig { linger, ..JournalConfig::default() });
        let (done, committed) = mpsc::channel();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                submit(&journal, 1, &done);
                committed.recv().expect("committed")
            });
        });
    }
    group.finish();
}

fn replay(criterion: &mut Criterion) {
    const RECORDS: usize = 1 << 19;
    let mut group = criterion.benchmark_group("read back from the start");
    for records in [1, 16, 1024] {
        let folder = tempfile::tempdir_in(".").expect("a folder on a disk");
        let config = JournalConfig {
            durability: egiz_journal::Durability::Os,
            // A group for each batch, as under a light load.
            group_bytes_max: 1,
            ..JournalConfig::default()
        };
        let journal = open(&folder, config);
        let (done, committed) = mpsc::channel();
        for _ in 0..RECORDS / records {
            submit(&journal, records, &done);
        }
        committed.iter().take(RECORDS / records).for_each(drop);
        group.sample_size(10);
        group.throughput(Throughput::Elements(RECORDS as u64));
        group.bench_function(BenchmarkId::new("records in a commit", records), |bencher| {
            bencher.iter(|| {
                let mut cursor = journal.read(0).expect("it is there");
                let mut bytes = 0;
                while cursor.next_group(|_, record| bytes += black_box(record).len()).expect("whole") {}
                assert_eq!(bytes, RECORDS * RECORD.len());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, durable_appends, lone_record, replay);
criterion_main!(benches);
