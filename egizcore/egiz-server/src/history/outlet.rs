//! What is written by a computation goes out as it comes, chunk by chunk.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use egiz_api::Code;
use tokio::sync::OwnedSemaphorePermit;

use super::historian;
use super::walk::Walk;
use crate::app::App;
use crate::error::ApiError;
use crate::outflow::{self, Outflow};

/// So much is written before it is sent.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// A body that `write` writes on a thread of its own.
///
/// # Errors
/// `history-off`.
pub(super) fn stream(
    app: &App,
    permit: OwnedSemaphorePermit,
    write: impl FnOnce(&Walk, &mut Outlet) -> Result<(), ApiError> + Send + 'static,
) -> Result<Body, ApiError> {
    let (walk, wanted) = Walk::begin(historian(app)?);
    let pause = Duration::from_millis(app.ports.settings.stream_pause_ms);
    let (outflow, body) = outflow::open(pause, wanted);
    let runtime = tokio::runtime::Handle::current();
    let mut outlet = Outlet { buffer: Vec::with_capacity(CHUNK_BYTES * 2), outflow, runtime };
    tokio::task::spawn_blocking(move || {
        let _place = permit;
        // An error is told to nobody: without its end the stream breaks off.
        if write(&walk, &mut outlet).and_then(|()| outlet.send(1)).is_ok() {
            outlet.end();
        }
    });
    Ok(body)
}

/// Where an answer goes, chunk by chunk.
pub(super) struct Outlet {
    buffer: Vec<u8>,
    outflow: Outflow,
    runtime: tokio::runtime::Handle,
}

impl Outlet {
    /// What is written and not sent yet.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Sends what is written, once it is enough; the client has a pause's time to take it.
    ///
    /// # Errors
    /// `timeout`, which nobody reads: the client is gone or takes nothing.
    pub(super) fn send(&mut self, at_least: usize) -> Result<(), ApiError> {
        if self.buffer.len() < at_least {
            return Ok(());
        }
        let chunk = Bytes::copy_from_slice(&self.buffer);
        self.buffer.clear();
        if self.runtime.block_on(self.outflow.send(chunk)) {
            Ok(())
        } else {
            Err(ApiError::new(Code::Timeout, "the client takes nothing"))
        }
    }

    /// Says that all was sent.
    fn end(self) {
        self.runtime.block_on(self.outflow.end());
    }
}

impl io::Write for &mut Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.send(CHUNK_BYTES).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
