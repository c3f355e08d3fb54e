//! Backups as a client asks for them; making them is the program's (e2e has that).

use std::sync::Arc;

use async_trait::async_trait;
use egiz_api::{Backup, BackupState};
use egiz_model::Timestamp;
use egiz_server::{BackupError, Backups};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::{Answer, Server};

/// Backups that are made when the test says so.
#[derive(Default)]
struct Shelf {
    made: Mutex<Vec<Backup>>,
    is_broken: Mutex<bool>,
}

impl Shelf {
    fn complete(&self) {
        self.made.lock().iter_mut().for_each(|backup| backup.state = BackupState::Complete);
    }

    fn look(&self) -> Result<Vec<Backup>, BackupError> {
        if *self.is_broken.lock() {
            return Err(BackupError::Failed("the share /mnt/nas is gone".to_owned()));
        }
        Ok(self.made.lock().iter().rev().cloned().collect())
    }
}

#[async_trait]
impl Backups for Shelf {
    fn begin(&self) -> Result<Backup, BackupError> {
        let mut made = self.made.lock();
        if let Some(running) = made.iter().find(|backup| backup.state == BackupState::Running) {
            return Err(BackupError::UnderWay(running.id.clone()));
        }
        let backup = Backup {
            id: format!("b-{}", made.len() + 1),
            state: BackupState::Running,
            begun: Timestamp::from_seconds(1_800_000_000),
            taken: None,
            journal_next: None,
            files: None,
            size_bytes: None,
            progress: None,
            detail: None,
        };
        made.push(backup.clone());
        Ok(backup)
    }

    async fn list(&self) -> Result<Vec<Backup>, BackupError> {
        self.look()
    }

    async fn get(&self, id: &str) -> Result<Option<Backup>, BackupError> {
        Ok(self.look()?.into_iter().find(|backup| backup.id == id))
    }
}

const PATH: &str = "/api/v1/backups";

async fn get(server: &Server, path: &str) -> Answer {
    Answer::of(server.get(path)).await
}

async fn post(server: &Server) -> Answer {
    Answer::of(server.request("POST", PATH)).await
}

#[tokio::test]
async fn a_backup_is_asked_for_followed_and_listed() {
    let shelf = Arc::new(Shelf::default());
    let server = Server::with_backups(Arc::clone(&shelf) as _).await;
    assert_eq!(get(&server, PATH).await.json(), json!({"items": []}));
    let begun = post(&server).await;
    assert_eq!((begun.status, begun.json()["state"].clone()), (202, json!("running")));
    let place = begun.header("location").expect("where it is").to_owned();
    assert_eq!(place, "/api/v1/backups/b-1");
    let again = post(&server).await;
    assert_eq!(again.status, 409, "{}", again.text);
    let problem = again.problem("backup-under-way");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("b-1")), "{problem}");
    shelf.complete();
    assert_eq!(get(&server, &place).await.json()["state"], "complete");
    assert_eq!(post(&server).await.status, 202);
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("a list");
        items.iter().map(|backup| backup["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&get(&server, PATH).await.json()), ["b-2", "b-1"]);
}

#[tokio::test]
async fn what_there_is_not_is_said_so() {
    let shelf = Arc::new(Shelf::default());
    let server = Server::with_backups(Arc::clone(&shelf) as _).await;
    let missing = get(&server, "/api/v1/backups/b-9").await;
    assert_eq!(missing.status, 404);
    missing.problem("backup-not-found");
    *shelf.is_broken.lock() = true;
    for path in [PATH, "/api/v1/backups/b-9"] {
        let broken = get(&server, path).await;
        assert_eq!(broken.status, 503);
        broken.problem("unavailable");
        assert!(!broken.text.contains("/mnt/nas"), "the reason is for the log: {}", broken.text);
    }
    let without = Server::start().await;
    for (method, path) in [("GET", PATH), ("POST", PATH), ("GET", "/api/v1/backups/b-1")] {
        let answer = Answer::of(without.request(method, path)).await;
        assert_eq!(answer.status, 404, "{method} {path}");
        answer.problem("backups-off");
    }
}
