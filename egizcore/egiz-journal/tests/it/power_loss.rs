//! Power loss at every instant: of the recorded writes and syncs, every prefix must open with everything that had been
//! acknowledged by then, whichever of the writes not yet synced reached the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use egiz_journal::{FileJournal, Journal as _};
use proptest::prelude::*;

use crate::faulty::{Action, Disk, DiskStorage, write_into};
use crate::{append, batch, config, metrics, read};

/// The files after `actions`, where of each file's actions since its last sync only those picked survived. File creation
/// and removal survive once the folder is synced, and here also without: the worse case is the other way round.
fn files_after(actions: &[Action], mut survives: impl FnMut() -> bool) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (index, action) in actions.iter().enumerate() {
        let name = match action {
            Action::Create(name)
            | Action::Write(name, ..)
            | Action::Truncate(name, _)
            | Action::Remove(name) => name,
            Action::Sync(_) | Action::SyncFolder => continue,
        };
        let settled =
            actions[index..].iter().any(|later| matches!(later, Action::Sync(synced) if synced == name));
        match action {
            Action::Create(_) => {
                let folder_synced = actions[index..].contains(&Action::SyncFolder);
                if folder_synced || survives() {
                    files.insert(name.clone(), Vec::new());
                }
            }
            Action::Remove(_) => {
                files.remove(name);
            }
            Action::Write(_, position, bytes) => {
                if let Some(file) = files.get_mut(name) {
                    if settled || survives() {
                        write_into(file, *position, bytes);
                    } else if survives() {
                        write_into(file, *position, &bytes[..bytes.len() / 3]);
                    }
                }
            }
            Action::Truncate(_, length) => {
                if let Some(file) = files.get_mut(name)
                    && (settled || survives())
                {
                    file.resize(usize::try_from(*length).expect("small files"), 0);
                }
            }
            Action::Sync(_) | Action::SyncFolder => {}
        }
    }
    files
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn every_prefix_opens_with_everything_acknowledged(sizes in prop::collection::vec(0..120_usize, 1..14), luck in any::<u64>()) {
        let disk = Arc::new(Disk::default());
        let (journal, _) = FileJournal::open_storage(Arc::new(DiskStorage(Arc::clone(&disk))), config(), metrics()).expect("it opens");
        // How many records were acknowledged when this many actions had been done.
        let mut acknowledged = vec![(disk.actions.lock().len(), 0_usize)];
        for (number, size) in sizes.iter().enumerate() {
            append(&journal, batch(&[vec![number as u8; *size]])).expect("committed");
            acknowledged.push((disk.actions.lock().len(), number + 1));
        }
        journal.close();
        let actions = disk.actions.lock().clone();
        let mut luck = luck | 1;
        for end in 0..=actions.len() {
            let survives = || {
                luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                luck >> 63 == 1
            };
            let after = Disk::default();
            *after.files.lock() = files_after(&actions[..end], survives);
            let (journal, _) = FileJournal::open_storage(Arc::new(DiskStorage(Arc::new(after))), config(), metrics()).expect("every prefix opens");
            let records = read(&journal, 0);
            let expected = acknowledged.iter().rev().find(|(actions, _)| *actions <= end).map_or(0, |(_, count)| *count);
            prop_assert!(records.len() >= expected, "{} of {expected} records after {end} actions", records.len());
            for (offset, record) in records {
                let number = usize::try_from(offset).expect("few");
                prop_assert_eq!(record, vec![number as u8; sizes[number]]);
            }
        }
    }
}
