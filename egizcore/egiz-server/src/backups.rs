//! Backups over HTTP: asked for, listed, looked at. Making them is the program's; the target is its configuration's alone, so
//! that no request can send a plant's data elsewhere.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use egiz_api::{Backup, BackupPage, Code, Problem};

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::NoParams;
use crate::ports::{BackupError, Backups};
use crate::{respond, target};

const PREFIX: &str = "/api/v1/backups/";

/// The backups there are, and the one being made.
#[utoipa::path(get, path = "/api/v1/backups", tag = "program",
    responses(
        (status = 200, description = "The backups, the newest first", body = BackupPage),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(State(app): State<App>, _: NoParams) -> Result<Response, ApiError> {
    let items = service(&app)?.list().await.map_err(refused)?;
    Ok(respond::json(StatusCode::OK, &BackupPage { items }))
}

/// Begins a backup; where it is kept, and how far it is, is at `Location`.
#[utoipa::path(post, path = "/api/v1/backups", tag = "program",
    responses(
        (status = 202, description = "It is being made", body = Backup),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn begin(State(app): State<App>, _: NoParams, caller: Caller) -> Result<Response, ApiError> {
    let begun = service(&app)?.begin().map_err(refused)?;
    tracing::info!(
        backup = begun.id,
        by = &*caller.principal,
        correlation_id = &*caller.correlation,
        "a backup was asked for"
    );
    let mut response = respond::json(StatusCode::ACCEPTED, &begun);
    respond::set_location(&mut response, &format!("{PREFIX}{}", begun.id));
    Ok(response)
}

/// One backup: how far it is, or what is in it.
#[utoipa::path(get, path = "/api/v1/backups/{backupId}", tag = "program",
    params(("backupId" = String, Path, description = "The backup's id")),
    responses(
        (status = 200, description = "The backup", body = Backup),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(State(app): State<App>, _: NoParams, uri: Uri) -> Result<Response, ApiError> {
    let id = target::segment_after(uri.path(), PREFIX)?;
    match service(&app)?.get(&id).await.map_err(refused)? {
        Some(backup) => Ok(respond::json(StatusCode::OK, &backup)),
        None => Err(ApiError::new(Code::BackupNotFound, format!("there is no backup {id}"))),
    }
}

fn service(app: &App) -> Result<&dyn Backups, ApiError> {
    app.ports.backups.as_deref().ok_or_else(|| {
        ApiError::new(Code::BackupsOff, "backup.to of the configuration names no place for backups")
    })
}

fn refused(error: BackupError) -> ApiError {
    match error {
        BackupError::UnderWay(id) => {
            ApiError::new(Code::BackupUnderWay, format!("backup {id} is being made"))
        }
        BackupError::Failed(error) => {
            tracing::warn!("the backups cannot be read: {error}");
            let detail = "the storage of the backups cannot be read; the log says why";
            Problem::new(Code::Unavailable, detail).retry_after(30).into()
        }
    }
}
