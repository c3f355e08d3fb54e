//! The way of REST and WebSocket writes into the pipeline.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use egiz_journal::{AppendError, Batch};
use egiz_server::{Applied, SubmitError, WriteGate};

use crate::pipeline::Pipeline;

/// How long a write may wait for room before its caller is told to come back.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// The gate.
pub(crate) struct Gate(pub(crate) Arc<Pipeline>);

#[async_trait]
impl WriteGate for Gate {
    async fn submit(&self, records: Vec<Vec<u8>>) -> Result<Vec<Applied>, SubmitError> {
        let mut batch = Batch::new();
        for record in &records {
            batch.push(record);
        }
        let room = tokio::time::timeout(ROOM_WAIT, self.0.reserve(batch.byte_len())).await;
        let Ok(permit) = room else { return Err(SubmitError::Busy { retry_after_s: 1 }) };
        self.0.write(batch, permit).await.map_err(|error| match error {
            AppendError::NoSpace(_) | AppendError::LimitReached { .. } => SubmitError::NoSpace,
            AppendError::Closed => SubmitError::ShuttingDown,
            other => SubmitError::Failed(other.to_string()),
        })
    }
}
