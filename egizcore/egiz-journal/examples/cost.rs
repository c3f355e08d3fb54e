//! What a commit costs on this disk: rate, latency, and CPU time of the committer's thread.
//!
//! ```text
//! cargo run --release -p egiz-journal --example cost -- <folder> [writers=1] [in_flight=1] [batch=1] [record_bytes=200]
//!     [linger_micros=0] [durability=fsync|os|memory] [rate=0] [seconds=3]
//! ```
//!
//! Each writer keeps `in_flight` submissions of `batch` records under way; with a `rate`, it begins so many a second at most,
//! whether the ones before are answered or not. Linux only: the CPU time is read from procfs.

#![expect(clippy::print_stdout, reason = "it is a program that prints its findings")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use egiz_journal::{Batch, Durability, FileJournal, Journal, JournalConfig, JournalMetrics};
use prometheus_client::registry::Registry;

struct Load {
    in_flight: usize,
    batch: usize,
    record_bytes: usize,
    /// Between two submissions of a writer.
    interval: Duration,
    until: Instant,
}

#[derive(Default)]
struct Seen {
    records: AtomicU64,
    committer_cpu_nanos: AtomicU64,
    latencies: Mutex<Vec<Duration>>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().ok_or("name a folder on the disk to measure")?);
    let given: HashMap<_, _> = args
        .filter_map(|arg| arg.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect();
    let number = |key: &str, default: u64| given.get(key).map_or(Ok(default), |value| value.parse::<u64>());
    let durability = match given.get("durability").map(String::as_str) {
        Some("os") => Durability::Os,
        Some("memory") => Durability::Memory,
        _ => Durability::Fsync,
    };
    let (writers, seconds) = (number("writers", 1)?, number("seconds", 3)?);
    let load = Load {
        in_flight: usize::try_from(number("in_flight", 1)?)?,
        batch: usize::try_from(number("batch", 1)?)?,
        record_bytes: usize::try_from(number("record_bytes", 200)?)?,
        interval: Duration::from_secs(1).checked_div(u32::try_from(number("rate", 0)?)?).unwrap_or_default(),
        until: Instant::now() + Duration::from_secs(seconds),
    };
    let config = JournalConfig {
        durability,
        linger: Duration::from_micros(number("linger_micros", 0)?),
        total_bytes_max: 512 << 20,
        ..JournalConfig::default()
    };
    let mut registry = Registry::default();
    let metrics = JournalMetrics::register(&mut registry);
    let (journal, _) = FileJournal::open(&folder, config, metrics, Arc::new(|| 0))?;
    let (journal, seen) = (Arc::new(journal), Arc::new(Seen::default()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        (0..writers).for_each(|_| drop(scope.spawn(|| write(&journal, &load, &seen))));
    });
    let elapsed = begun.elapsed().as_secs_f64();
    journal.close();

    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    let groups: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("egiz_journal_groups_total ")?.parse().ok())
        .ok_or("no groups")?;
    let records = seen.records.load(Ordering::Relaxed) as f64;
    let mut latencies = std::mem::take(&mut *seen.latencies.lock().map_err(|_| "a writer panicked")?);
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_micros();
    println!(
        "{:.0} records/s, {:.0} commits/s, {:.1} records a commit, committer CPU {:.3} us/record, latency p50 {} us, p99 {} us",
        records / elapsed,
        groups / elapsed,
        records / groups,
        seen.committer_cpu_nanos.load(Ordering::Relaxed) as f64 / 1e3 / records,
        at(0.5),
        at(0.99),
    );
    Ok(())
}

fn write(journal: &FileJournal, load: &Load, seen: &Arc<Seen>) {
    let record = vec![b'x'; load.record_bytes];
    let (done, answers) = mpsc::channel();
    let mut under_way = 0;
    let mut latencies = Vec::new();
    let mut due = Instant::now();
    while Instant::now() < load.until || under_way > 0 {
        if under_way < load.in_flight && Instant::now() < load.until {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due += load.interval;
            let mut batch = Batch::with_capacity(load.batch * (load.record_bytes + 4));
            (0..load.batch).for_each(|_| batch.push(&record));
            let permit = journal.reserve_blocking(batch.byte_len());
            let (done, seen) = (done.clone(), Arc::clone(seen));
            let begun = Instant::now();
            let on_commit = move |result: Result<egiz_journal::Committed, _>| {
                let committed = result.expect("the disk works");
                let before = seen.records.fetch_add(committed.batch.len() as u64, Ordering::Relaxed);
                // Reading procfs costs more than committing; now and then is enough.
                if before >> 14 != (before + committed.batch.len() as u64) >> 14 {
                    let cpu = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
                    let nanos = cpu.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
                    seen.committer_cpu_nanos.store(nanos, Ordering::Relaxed);
                }
                // The other side may have stopped waiting.
                let _ = done.send((committed.first + committed.batch.len() as u64, begun.elapsed()));
            };
            journal.submit(batch, permit, Box::new(on_commit));
            under_way += 1;
        } else if let Ok((next, latency)) = answers.recv() {
            under_way -= 1;
            latencies.push(latency);
            journal.release_before(next);
        }
    }
    if let Ok(mut all) = seen.latencies.lock() {
        all.extend(latencies);
    }
}
