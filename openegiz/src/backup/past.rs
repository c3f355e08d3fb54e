//! Which backups bring back a moment. Pure.
//!
//! ```text
//!            base                      T            later
//!  ───────────┤ everything of it       │              ├───────────
//!             └─ journal of later ─────┘ cut here
//! ```
//!
//! Everything comes from the newest backup that was taken at or before the moment, the *base*; the journal goes on from there
//! with that of the next backup, *later*, and is cut at the first record received after the moment. So nothing of what came
//! after the moment is in history, in snapshots or in the registry: none of them was there yet. The cut is exact as to the
//! journal. What only the registry has (devices, credentials, API tokens, templates, the audit trail) is as it was when the base
//! was taken.
//!
//! It refuses a moment before the first backup or after the last, and one between two backups whose journals do not meet.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};
use egiz_backup::{FileEntry, FileKind, Manifest};
use egiz_model::Timestamp;

/// What is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) base: Manifest,
    /// Whose journal goes on, and where in time it is cut.
    pub(super) later: Option<(Manifest, Timestamp)>,
}

/// Plans for a moment, with all backups there are, the oldest first.
///
/// # Errors
/// Where the moment cannot be brought back exactly; says which can.
pub(super) fn plan(mut backups: Vec<Manifest>, at: Timestamp) -> anyhow::Result<Plan> {
    backups.sort_by_key(|backup| backup.taken);
    let Some((oldest, newest)) = backups.first().zip(backups.last()) else {
        bail!("--at {at}: there are no backups");
    };
    ensure!(
        oldest.taken <= at,
        "--at {at}: the oldest backup, {}, was taken at {}, and what was before cannot be brought back; allowed: that time to {}",
        oldest.id,
        oldest.taken,
        newest.taken
    );
    ensure!(
        at <= newest.taken,
        "--at {at}: the newest backup, {}, was taken at {}, and what came after is in none; allowed: {} to that time; leave --at away to restore all of it",
        newest.id,
        newest.taken,
        oldest.taken
    );
    let after = backups.partition_point(|backup| backup.taken <= at);
    let base = backups[after - 1].clone();
    if base.taken == at || after == backups.len() {
        return Ok(Plan { base, later: None });
    }
    let later = backups[after].clone();
    ensure!(
        later.journal_first <= base.journal_next,
        "--at {at}: the journal of backup {} ends with record {}, and that of the next, {}, begins with {}: the records between were trimmed before a backup had them. Allowed are {} itself and times from {} on; more frequent backups or a larger journal.max_total_bytes leave no gap",
        base.id,
        base.journal_next,
        later.id,
        later.journal_first,
        base.taken,
        later.taken
    );
    ensure!(
        later.journal_next >= base.journal_next,
        "--at {at}: the journal of backup {} ends with record {}, before that of the one before it, {}, does ({}): they are of two different plants, or one was made after a restore of an older one",
        later.id,
        later.journal_next,
        base.id,
        base.journal_next
    );
    Ok(Plan { base, later: Some((later, at)) })
}

impl Plan {
    /// The plan of one backup as it is.
    pub(super) fn of(base: Manifest) -> Self {
        Self { base, later: None }
    }

    /// The files to fetch. Where both backups have a file of the journal, it is the later one's, which is as long or longer.
    pub(super) fn files(&self) -> Vec<FileEntry> {
        let mut files: BTreeMap<&str, &FileEntry> =
            self.base.files.iter().map(|file| (file.path.as_str(), file)).collect();
        for file in self.journal_of_later() {
            files.insert(&file.path, file);
        }
        files.into_values().cloned().collect()
    }

    /// Files that must begin with what the base has under their names: if not, the later journal is not the base's continued.
    pub(super) fn must_begin_with(&self) -> Vec<FileEntry> {
        let of_base = |path: &str| self.base.files.iter().find(|file| file.path == path);
        self.journal_of_later().filter_map(|file| of_base(&file.path)).cloned().collect()
    }

    fn journal_of_later(&self) -> impl Iterator<Item = &FileEntry> {
        let later = self.later.iter().flat_map(|(later, _)| &later.files);
        later.filter(|file| file.kind == FileKind::Journal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(id: &str, taken_s: i64, journal: (u64, u64), files: &[(&str, FileKind, u64)]) -> Manifest {
        let id = egiz_backup::BackupId::parse(&format!("20260301T02000{id}000Z-00000000")).expect("a name");
        let files = files.iter().map(|(path, kind, bytes)| FileEntry {
            path: (*path).to_owned(),
            kind: *kind,
            bytes: *bytes,
            sha256: [u8::try_from(*bytes).expect("small"); 32],
        });
        let taken = Timestamp::from_seconds(taken_s);
        let (journal_first, journal_next) = journal;
        Manifest {
            taken,
            journal_first,
            journal_next,
            files: files.collect(),
            ..Manifest::begin(&id, "0", "f", taken)
        }
    }

    fn check(backups: &[Manifest], at_s: i64, expected: Result<(i64, Option<i64>), &str>) {
        let found = plan(backups.to_vec(), Timestamp::from_seconds(at_s));
        let seconds = |manifest: &Manifest| manifest.taken.as_micros() / 1_000_000;
        match (found, expected) {
            (Ok(plan), Ok(expected)) => {
                let later = plan.later.as_ref().map(|(later, _)| seconds(later));
                assert_eq!((seconds(&plan.base), later), expected, "at {at_s}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("at {at_s}: {found:?}, wanted {expected:?}"),
        }
    }

    #[test]
    fn the_base_is_the_newest_before_and_the_journal_the_nexts() {
        let backups =
            [backup("1", 100, (0, 10), &[]), backup("2", 200, (5, 20), &[]), backup("3", 300, (25, 40), &[])];
        check(&backups, 99, Err("the oldest backup"));
        check(&backups, 100, Ok((100, None)));
        check(&backups, 150, Ok((100, Some(200))));
        check(&backups, 200, Ok((200, None)));
        check(&backups, 250, Err("were trimmed"));
        check(&backups, 300, Ok((300, None)));
        check(&backups, 301, Err("the newest backup"));
        check(&[], 301, Err("there are no backups"));
        let other = [backup("1", 100, (0, 10), &[]), backup("2", 200, (0, 3), &[])];
        check(&other, 150, Err("two different plants"));
    }

    #[test]
    fn only_the_journal_comes_from_the_later_one() {
        use FileKind::{History, Journal};
        let base = backup(
            "1",
            100,
            (0, 10),
            &[("history/a", History, 1), ("journal/0", Journal, 2), ("journal/5", Journal, 3)],
        );
        let later = backup(
            "2",
            200,
            (5, 20),
            &[("history/b", History, 4), ("journal/5", Journal, 5), ("journal/12", Journal, 6)],
        );
        let plan = plan(vec![base, later], Timestamp::from_seconds(150)).expect("they meet");
        let names = |files: Vec<FileEntry>| -> Vec<(String, u64)> {
            files.into_iter().map(|file| (file.path, file.bytes)).collect()
        };
        let expected = [("history/a", 1), ("journal/0", 2), ("journal/12", 6), ("journal/5", 5)];
        assert_eq!(names(plan.files()), expected.map(|(path, bytes)| (path.to_owned(), bytes)));
        assert_eq!(names(plan.must_begin_with()), [("journal/5".to_owned(), 3)]);
    }
}
