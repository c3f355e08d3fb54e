//! The suite over SQLite, in a file and in memory, and what only a file can show.

use egiz_store::{Expected, OpenError, Role, Store, ThingChange};

use crate::conformance::suite;
use crate::support::{author, id, options, template, thing};

mod file {
    use super::*;

    async fn open() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("registry.db"), options()).await.unwrap();
        (directory, store)
    }

    suite!(open());
}

mod memory {
    use super::*;

    async fn open() -> ((), Store) {
        ((), Store::open_in_memory(options()).await.unwrap())
    }

    suite!(open());
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    let store = Store::open(&path, options()).await.unwrap();
    store.put_template(&template("oven"), Expected::Absent, &author()).await.unwrap();
    store.project_things(&[ThingChange::Upsert(thing("f:a", 7))], 8).await.unwrap();
    let token = store.create_api_token("script", Role::Viewer, &author()).await.unwrap();
    let disabled = store.create_api_token("old", Role::Viewer, &author()).await.unwrap();
    store.enable_api_token("old", false, &author()).await.unwrap();
    // Not closed first: a killed program does not close either.
    let again = Store::open(&path, options()).await.unwrap();
    assert_eq!(again.template("oven").await.unwrap().unwrap().version, 1);
    assert_eq!(again.projection_offset().await.unwrap(), 8);
    assert_eq!(again.authenticate_api_token(token.expose()).unwrap().role, Role::Viewer);
    assert!(again.authenticate_api_token(disabled.expose()).is_none());
    store.close().await;
    again.close().await;
}

#[tokio::test]
async fn a_copy_is_a_registry_of_its_own_and_only_its_owners() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("registry.db"), directory.path().join("copy.db"));
    let store = Store::open(&path, options()).await.unwrap();
    store.put_template(&template("oven"), Expected::Absent, &author()).await.unwrap();
    store.copy_to(&copy).await.unwrap();
    store.put_template(&template("mixer"), Expected::Absent, &author()).await.unwrap();
    assert!(store.copy_to(&copy).await.is_err(), "what is there is not written over");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o077, 0);
    }
    let copied = Store::open(&copy, options()).await.unwrap();
    assert!(copied.template("oven").await.unwrap().is_some());
    assert!(copied.template("mixer").await.unwrap().is_none(), "it is of the moment when it was made");
    copied.close().await;
    store.close().await;
}

#[tokio::test]
async fn a_dropped_write_is_rolled_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("registry.db"), options()).await.unwrap();
    for _ in 0..20 {
        let things: Vec<_> = (0..2_000).map(|n| ThingChange::Upsert(thing(&format!("f:{n}"), n))).collect();
        let call = store.project_things(&things, 2_000);
        let _ = tokio::time::timeout(std::time::Duration::from_micros(300), call).await;
        let cursor = store.projection_offset().await.unwrap();
        let last = store.thing(&id("f:1999")).await.unwrap();
        assert_eq!(cursor == 2_000, last.is_some(), "rows and cursor go together");
    }
    store.put_template(&template("oven"), Expected::Absent, &author()).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_no_registry_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    std::fs::write(&path, "this is not a database, it only has the name of one".repeat(40)).unwrap();
    let error = Store::open(&path, options()).await.unwrap_err();
    assert!(matches!(&error, OpenError::Open { path: named, .. } if *named == path), "{error}");
    let missing = directory.path().join("none").join("registry.db");
    assert!(matches!(Store::open(&missing, options()).await, Err(OpenError::Open { .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("registry.db"), options()).await.unwrap();
    store.put_template(&template("oven"), Expected::Absent, &author()).await.unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name());
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{entry:?}");
    }
    assert!(names.len() >= 2, "the write-ahead log is there, too: {names:?}");
    store.close().await;
}
