//! The way from a handler to the journal: wraps what is asked into records with the caller's name and correlation id.

use egiz_model::record::{Body, Header, Record};
use egiz_store::Author;

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::ports::Applied;

/// Encodes a record of the caller, received now.
pub(crate) fn record(app: &App, caller: &Caller, body: Body<'_>) -> Vec<u8> {
    let header = Header {
        received: (app.ports.clock)(),
        principal: &caller.principal,
        correlation: &caller.correlation,
    };
    Record { header, body }.to_bytes()
}

/// Submits a batch and waits until it is durable and applied.
///
/// # Errors
/// Those of the gate, as problems.
pub(crate) async fn batch(app: &App, records: Vec<Vec<u8>>) -> Result<Vec<Applied>, ApiError> {
    let count = records.len();
    let applied = app.ports.writes.submit(records).await?;
    if applied.len() != count {
        tracing::error!(count, answered = applied.len(), "the write gate answered another number of records");
        return Err(ApiError::new(
            egiz_api::Code::Internal,
            "the server failed; its log has more under this traceId",
        ));
    }
    Ok(applied)
}

/// Submits one record.
///
/// # Errors
/// Those of [`batch`].
pub(crate) async fn one(app: &App, record: Vec<u8>) -> Result<Applied, ApiError> {
    let mut applied = batch(app, vec![record]).await?;
    applied.pop().ok_or_else(|| ApiError::new(egiz_api::Code::Internal, "the server failed"))
}

/// On whose behalf the registry is changed.
pub(crate) fn author(app: &App, caller: &Caller) -> Author {
    Author::new(&*caller.principal, (app.ports.clock)())
}
