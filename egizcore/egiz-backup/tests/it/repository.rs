//! Made, listed, fetched, thinned out.

use egiz_backup::{FileEntry, OpenError, Progress, Repository, RepositoryError};
use proptest::prelude::*;

use crate::support::{Bench, contents};

const KEY: &str = "a key of a plant in a test";

async fn fetched(bench: &Bench, repository: &Repository, files: &[FileEntry]) -> Vec<(String, Vec<u8>)> {
    let folder = bench.folder.path().join("restored");
    let _ = std::fs::remove_dir_all(&folder);
    repository.fetch(files, &folder, &Progress::default()).await.expect("all of it is there");
    contents(&folder)
}

fn owned(files: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect()
}

#[tokio::test]
async fn what_is_there_already_is_not_sent_again() {
    for key in [None, Some(KEY)] {
        let bench = Bench::new(key);
        let repository = bench.open().await;
        let large = vec![7; (9 << 20) + 5];
        let first: &[(&str, &[u8])] = &[("history/a", &large), ("journal/1", b"one"), ("journal/2", b"")];
        let stored = bench.make(&repository, 1, first).await.expect("made");
        assert_eq!(stored.blobs_sent, 3, "an empty file is one, too: {stored:?}");
        let again = bench.make(&repository, 2, first).await.expect("made");
        assert_eq!(again.blobs_sent, 0);
        let second: &[(&str, &[u8])] =
            &[("history/a", &large), ("journal/1", b"one more"), ("journal/3", b"one")];
        let grown = bench.make(&repository, 3, second).await.expect("made");
        assert_eq!(grown.blobs_sent, 1, "content counts, not names");

        let repository = bench.open_with(key).await.expect("it is there");
        let ids = repository.backups().await.expect("listed");
        assert_eq!(ids.len(), 3);
        for (id, files) in ids.iter().zip([first, first, second]) {
            let manifest = repository.manifest(id).await.expect("readable");
            assert_eq!(fetched(&bench, &repository, &manifest.files).await, owned(files));
        }
        let found = repository.verify(&ids, &Progress::default()).await.expect("read through");
        assert!(found.faults.is_empty(), "{found:?}");
        assert_eq!((found.backups, found.blobs), (3, 4));
    }
}

#[tokio::test]
async fn the_key_must_be_the_one_and_nothing_shows_through_it() {
    let bench = Bench::new(Some(KEY));
    let repository = bench.open().await;
    bench.make(&repository, 1, &[("history/secret-name", b"secret content")]).await.expect("made");
    assert!(matches!(bench.open_with(None).await, Err(OpenError::KeyMissing { .. })));
    assert!(matches!(bench.open_with(Some("another key of a plant")).await, Err(OpenError::KeyWrong { .. })));
    let plain = Bench::new(None);
    plain.open().await;
    assert!(matches!(plain.open_with(Some(KEY)).await, Err(OpenError::NotEncrypted { .. })));

    let sum = "7a5ce4b0d8df4c3f13cd9c4f4a8a9a37c8b8d2e8a1a0e2c1";
    for (name, bytes) in contents(&bench.backups()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("secret") && !text.contains(KEY) && !name.contains(sum), "{name}");
    }
}

#[tokio::test]
async fn thinning_out_takes_what_no_backup_needs_and_nothing_else() {
    let bench = Bench::new(None);
    let repository = bench.open().await;
    bench.make(&repository, 1, &[("journal/1", b"one"), ("journal/2", b"old")]).await.expect("made");
    bench.make(&repository, 2, &[("journal/1", b"one"), ("journal/2", b"new")]).await.expect("made");
    let ids = repository.backups().await.expect("listed");
    let pruned = repository.prune(&ids[..1]).await.expect("pruned");
    assert_eq!((pruned.backups.as_slice(), pruned.blobs, pruned.bytes), (&ids[..1], 1, 3));
    assert_eq!(repository.backups().await.expect("listed"), &ids[1..]);
    let found = repository.verify(&ids[1..], &Progress::default()).await.expect("read through");
    assert!(found.faults.is_empty());
    assert!(matches!(repository.manifest(&ids[0]).await, Err(RepositoryError::NoSuchBackup(_))));
    assert_eq!(repository.prune(&[]).await.expect("pruned").blobs, 0);
}

#[tokio::test]
async fn nothing_is_thinned_out_while_a_backup_is_made() {
    let bench = Bench::new(None);
    let repository = bench.open().await;
    let mark = bench.backups().join("marks/backup-20260301T020000000Z-0a1b2c3d-00000001");
    std::fs::create_dir_all(mark.parent().expect("it has one")).expect("made");
    std::fs::write(&mark, "at work\n").expect("written");
    let Err(RepositoryError::Busy { who, .. }) = repository.prune(&[]).await else { panic!("it went on") };
    assert!(who.contains("20260301T020000000Z"), "{who}");
    // Two backups go together; one that began while things are removed does not.
    bench.make(&repository, 1, &[("journal/1", b"one")]).await.expect("made");
    std::fs::rename(&mark, mark.with_file_name("prune-0-00000001")).expect("renamed");
    let refused = bench.make(&repository, 2, &[("journal/1", b"one")]).await;
    assert!(matches!(refused, Err(RepositoryError::Busy { .. })), "{refused:?}");
    // Who knows that it is its own, from before it was killed, takes it away.
    std::fs::rename(mark.with_file_name("prune-0-00000001"), mark.with_file_name("prune-north-0-00000001"))
        .expect("renamed");
    bench.open().await.owned_by("nort").clear_own_marks().await.expect("cleared");
    assert_eq!(contents(&bench.backups().join("marks")).len(), 1, "another's");
    bench.open().await.owned_by("north").clear_own_marks().await.expect("cleared");
    assert_eq!(contents(&bench.backups().join("marks")), []);
    std::fs::write(mark.with_file_name("prune-0-00000001"), "at work\n").expect("written");
    // A program that was killed holds nobody up for ever.
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3_700);
    let file =
        std::fs::File::options().write(true).open(mark.with_file_name("prune-0-00000001")).expect("there");
    file.set_modified(long_ago).expect("set");
    bench.make(&repository, 3, &[("journal/1", b"one")]).await.expect("made");
    assert_eq!(contents(&bench.backups().join("marks")), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_files_come_back(
        sizes in proptest::collection::vec(
            prop_oneof![0_usize..3, Just((1 << 20) - 1), Just(1 << 20), Just((1 << 20) + 1), Just((8 << 20) + 1), 0_usize..3_000_000],
            1..5,
        ),
        fill in any::<u8>(),
        is_encrypted in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let bench = Bench::new(is_encrypted.then_some(KEY));
            let repository = bench.open().await;
            let files: Vec<(String, Vec<u8>)> = sizes.iter().enumerate().map(|(at, size)| {
                let bytes = (0..*size).map(|place| (place / 7) as u8 ^ fill ^ at as u8).collect();
                (format!("history/{at}"), bytes)
            }).collect();
            let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
            let stored = bench.make(&repository, 1, &borrowed).await.expect("made");
            assert_eq!(fetched(&bench, &repository, &stored.manifest.files).await, files);
        });
    }
}
