//! Power loss at every instant: of the recorded actions, every prefix must open with everything that had been acknowledged
//! by then, whichever of what was not yet synced reached the disk, in pieces of a few bytes, and go on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use egiz_journal::{Durability, FileJournal, Journal as _, JournalConfig};
use proptest::prelude::*;

use crate::disk::{Action, Disk, DiskStorage, write_into};
use crate::{append, batch, clock, config, metrics, read};

/// Unsynced writes survive or are lost in pieces of this size: smaller than any disk's, so harsher.
const PIECE_BYTES: usize = 16;

struct Luck(u64);

impl Luck {
    fn is_good(&mut self) -> bool {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 63 == 1
    }
}

/// What is on the disk after `actions` and a power cut.
fn files_after(actions: &[Action], luck: &mut Luck) -> BTreeMap<String, Vec<u8>> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut contents: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for (index, action) in actions.iter().enumerate() {
        let later = &actions[index + 1..];
        match action {
            Action::Create(name, number) => {
                contents.insert(*number, Vec::new());
                if later.contains(&Action::SyncFolder) || luck.is_good() {
                    names.insert(name.clone(), *number);
                }
            }
            Action::Remove(name) => {
                if later.contains(&Action::SyncFolder) || luck.is_good() {
                    names.remove(name);
                }
            }
            Action::Write(number, position, bytes) => {
                let settled = is_settled(later, *number);
                let content = contents.entry(*number).or_default();
                for (piece, at) in bytes.chunks(PIECE_BYTES).zip((*position..).step_by(PIECE_BYTES)) {
                    if settled || luck.is_good() {
                        write_into(content, at, piece);
                    }
                }
            }
            Action::Truncate(number, length) => {
                if is_settled(later, *number) || luck.is_good() {
                    let length = usize::try_from(*length).expect("small files");
                    contents.entry(*number).or_default().resize(length, 0);
                }
            }
            Action::SyncFolder | Action::Sync(_) | Action::SyncFailed(_) => {}
        }
    }
    names.into_iter().map(|(name, number)| (name, contents[&number].clone())).collect()
}

/// Whether the next sync of this content succeeds; after one that failed, nothing is known whatever comes later.
fn is_settled(later: &[Action], number: usize) -> bool {
    let of_this =
        |action: &&Action| matches!(action, Action::Sync(n) | Action::SyncFailed(n) if *n == number);
    matches!(later.iter().find(of_this), Some(Action::Sync(_)))
}

/// A run of a journal, and how many records were acknowledged after how many actions.
struct Run {
    actions: Vec<Action>,
    acknowledged: Vec<(usize, Vec<Vec<u8>>)>,
    /// How many of the oldest records were no longer needed in the end.
    released: usize,
    /// Everything that was ever submitted.
    submitted: BTreeSet<Vec<u8>>,
}

/// What a run goes through besides appends.
#[derive(Debug, Clone, Copy)]
struct Weather {
    durability: Durability,
    /// The action from which the disk fails for a while; 0 is never.
    flaky_from: u64,
    /// Whether older records are released and go.
    trims: bool,
}

fn run(sizes: &[usize], weather: Weather) -> Run {
    let Weather { durability, flaky_from, trims } = weather;
    let total_bytes_max = if trims { 1000 } else { 1 << 20 };
    let config = JournalConfig { durability, total_bytes_max, ..config() };
    let disk = Arc::new(Disk::default());
    let (journal, _) =
        FileJournal::open_storage(Arc::new(DiskStorage(Arc::clone(&disk))), config, metrics(), clock())
            .expect("it opens");
    disk.flaky_from.store(flaky_from, Ordering::SeqCst);
    let mut records = Vec::new();
    let mut run = Run {
        actions: Vec::new(),
        acknowledged: vec![(0, Vec::new())],
        released: 0,
        submitted: BTreeSet::new(),
    };
    for (number, size) in sizes.iter().enumerate() {
        let record: Vec<u8> = number.to_le_bytes().into_iter().chain((0..*size).map(|at| at as u8)).collect();
        run.submitted.insert(record.clone());
        match append(&journal, batch(std::slice::from_ref(&record))) {
            Ok(first) => {
                assert_eq!(first, records.len() as u64);
                records.push(record);
                run.acknowledged.push((disk.actions.lock().len(), records.clone()));
                if trims {
                    run.released = records.len() - 1;
                    journal.release_before(first);
                }
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    journal.close();
    let first = journal.status().first;
    assert!(trims || first == 0);
    let seen: Vec<_> = read(&journal, first).into_iter().map(|(_, record)| record).collect();
    assert_eq!(seen, records[usize::try_from(first).expect("few")..], "what was refused is not seen");
    run.actions = disk.actions.lock().clone();
    run
}

fn check(run: &Run, durability: Durability, seed: u64) {
    let config = JournalConfig { durability, verify_all: seed.is_multiple_of(2), ..config() };
    let mut luck = Luck(seed | 1);
    for end in 0..=run.actions.len() {
        let disk = Arc::new(Disk::with_files(files_after(&run.actions[..end], &mut luck)));
        let open = || {
            let storage = Arc::new(DiskStorage(Arc::clone(&disk)));
            FileJournal::open_storage(storage, config, metrics(), clock())
                .unwrap_or_else(|error| panic!("after {end} of {:?}: {error}", run.actions))
        };
        let (journal, report) = open();
        let mut records = read(&journal, report.first);
        if durability == Durability::Fsync {
            let (_, promised) =
                run.acknowledged.iter().rev().find(|(actions, _)| *actions <= end).expect("there is a first");
            let from = usize::try_from(report.first).expect("few");
            assert!(from <= run.released, "nothing goes that is needed");
            let promised: Vec<_> = promised.iter().skip(from).collect();
            let has: Vec<_> = records.iter().map(|(_, record)| record).take(promised.len()).collect();
            assert_eq!(has, promised, "after {end} of {:?}", run.actions);
        }
        assert!(records.iter().all(|(_, record)| run.submitted.contains(record)));

        let next = append(&journal, batch(&["goes on"])).expect("committed");
        assert!(records.last().is_none_or(|(last, _)| *last < next));
        records.push((next, b"goes on".to_vec()));
        drop(journal);
        assert_eq!(read(&open().0, report.first), records, "and is the same when opened again");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn every_prefix_opens_with_everything_acknowledged(
        sizes in prop::collection::vec(0..120_usize, 1..14),
        trims in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let durability = Durability::Fsync;
        check(&run(&sizes, Weather { durability, flaky_from: 0, trims }), durability, seed);
    }

    #[test]
    fn also_where_the_disk_failed_for_a_while_before(
        sizes in prop::collection::vec(0..120_usize, 8..20),
        trims in any::<bool>(),
        seed in any::<u64>(),
        flaky_from in 4..30_u64,
    ) {
        let durability = Durability::Fsync;
        check(&run(&sizes, Weather { durability, flaky_from, trims }), durability, seed);
    }

    #[test]
    fn without_syncs_every_prefix_still_opens(
        sizes in prop::collection::vec(0..120_usize, 1..14),
        durability in prop_oneof![Just(Durability::Os), Just(Durability::Memory)],
        flaky_from in prop_oneof![Just(0), 4..20_u64],
        trims in any::<bool>(),
        seed in any::<u64>(),
    ) {
        check(&run(&sizes, Weather { durability, flaky_from, trims }), durability, seed);
    }

    /// The program crashes, not the machine: the caches are whole, but nothing in them is synced.
    #[test]
    fn what_is_shown_after_opening_is_on_the_disk(
        sizes in prop::collection::vec(0..120_usize, 1..14),
        seed in any::<u64>(),
    ) {
        let disk = Arc::new(Disk::default());
        let open = |disk: &Arc<Disk>, durability| {
            let config = JournalConfig { durability, ..config() };
            let storage = Arc::new(DiskStorage(Arc::clone(disk)));
            FileJournal::open_storage(storage, config, metrics(), clock()).expect("it opens").0
        };
        let journal = open(&disk, Durability::Memory);
        for size in &sizes {
            append(&journal, batch(&[vec![7; *size]])).expect("committed");
        }
        drop(journal);
        let shown = read(&open(&disk, Durability::Fsync), 0);
        prop_assert_eq!(shown.len(), sizes.len());
        let after = files_after(&disk.actions.lock(), &mut Luck(seed | 1));
        prop_assert_eq!(read(&open(&Arc::new(Disk::with_files(after)), Durability::Fsync), 0), shown);
    }
}
