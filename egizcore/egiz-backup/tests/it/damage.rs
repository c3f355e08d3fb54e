//! What is damaged is refused by name, whatever it is and wherever it is looked at.

use egiz_backup::{OpenError, Progress, RepositoryError};

use crate::support::{Bench, contents};

const KEY: &str = "a key of a plant in a test";

#[tokio::test]
async fn a_blob_that_is_cut_flipped_or_gone_is_named() {
    for key in [None, Some(KEY)] {
        let bench = Bench::new(key);
        let repository = bench.open().await;
        let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 11) as u8).collect();
        let stored = bench.make(&repository, 1, &[("history/large", &large), ("journal/1", b"one")]).await;
        let stored = stored.expect("made");
        let ids = repository.backups().await.expect("listed");
        let blobs = bench.backups().join("blobs");
        for (name, whole) in contents(&blobs) {
            let path = blobs.join(&name);
            let mut changed =
                vec![whole[..whole.len() - 1].to_vec(), Vec::new(), [&whole[..], b"x"].concat()];
            for at in [0, whole.len() / 2, whole.len() - 1] {
                let mut flipped = whole.clone();
                flipped[at] ^= 1;
                changed.push(flipped);
            }
            for bytes in changed.iter().map(Some).chain([None]) {
                match bytes {
                    Some(bytes) => std::fs::write(&path, bytes).expect("written"),
                    None => std::fs::remove_file(&path).expect("removed"),
                }
                let found = repository.verify(&ids, &Progress::default()).await.expect("read through");
                let [RepositoryError::BlobDamaged { blob, .. }] = &found.faults[..] else {
                    panic!("{name}: {found:?}")
                };
                assert_eq!(*blob, name);
                let to = bench.folder.path().join("restored");
                let refused = repository.fetch(&stored.manifest.files, &to, &Progress::default()).await;
                assert!(refused.expect_err("damaged").to_string().contains(&name));
            }
            // A blob of another length is one the storage damaged: the next backup mends it.
            let mended =
                bench.make(&repository, 2, &[("history/large", &large), ("journal/1", b"one")]).await;
            assert_eq!(mended.expect("made").blobs_sent, 1);
            assert_eq!(std::fs::read(&path).expect("it is there again"), whole);
        }
    }
}

#[tokio::test]
async fn a_manifest_that_is_cut_flipped_or_anothers_is_named() {
    for key in [None, Some(KEY)] {
        let bench = Bench::new(key);
        let repository = bench.open().await;
        bench.make(&repository, 1, &[("journal/1", b"one")]).await.expect("made");
        bench.make(&repository, 2, &[("journal/1", b"two")]).await.expect("made");
        let ids = repository.backups().await.expect("listed");
        let path = |at: usize| bench.backups().join(format!("backups/{}.json", ids[at]));
        let whole = std::fs::read(path(0)).expect("it is there");
        let other = std::fs::read(path(1)).expect("it is there");
        let mut changed: Vec<Vec<u8>> =
            (0..whole.len()).step_by(7).map(|end| whole[..end].to_vec()).collect();
        changed.extend((0..whole.len()).step_by(5).map(|at| {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            flipped
        }));
        changed.push(other);
        for bytes in changed {
            std::fs::write(path(0), bytes).expect("written");
            let error = repository.manifest(&ids[0]).await.expect_err("damaged");
            assert!(matches!(error, RepositoryError::ManifestDamaged { .. }), "{error:?}");
            assert!(error.to_string().contains(ids[0].as_str()), "{error}");
        }
        let found = repository.verify(&ids, &Progress::default()).await.expect("read through");
        assert_eq!(found.faults.len(), 1);
        // What a damaged manifest names is not known: nothing goes.
        repository.prune(&ids[1..]).await.expect_err("it cannot know what to keep");
        assert_eq!(repository.backups().await.expect("listed").len(), 2);
    }
}

#[tokio::test]
async fn a_repository_that_is_none_or_damaged_says_so() {
    let bench = Bench::new(None);
    assert!(matches!(bench.open_with(None).await, Err(OpenError::Missing { .. })));
    bench.open().await;
    let path = bench.backups().join("repository.json");
    let whole = std::fs::read_to_string(&path).expect("it is there");
    for text in [whole.replace(": 1", ": 2"), whole.replace("id", "ix"), String::new()] {
        std::fs::write(&path, text).expect("written");
        let error = bench.open_with(None).await.expect_err("damaged");
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_file_that_changes_under_way_makes_no_backup() {
    let bench = Bench::new(None);
    let repository = bench.open().await;
    let mut sources = bench.sources(&[("journal/1", b"one")]);
    sources[0].bytes = 2;
    let begun = egiz_model::Timestamp::from_seconds(0);
    let id = egiz_backup::BackupId::parse("19700101T000000000Z-00000000").expect("a name");
    let about = egiz_backup::Manifest::begin(&id, "0.1.0", "factory", begun);
    let failed = repository.make(about, sources, &Progress::default()).await;
    assert!(matches!(failed, Err(RepositoryError::Changed { .. })));
    assert_eq!(repository.backups().await.expect("listed"), []);
}
