//! An answer that is written while it is sent, a chunk after another; it ends only where all of it was sent.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use egiz_api::{Code, Problem};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::historian;
use super::walk::Walk;
use crate::app::App;
use crate::error::ApiError;

/// So much is written before it is sent.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// How many chunks wait for the client; at the bound the reading waits with it.
const CHUNKS_AHEAD: usize = 2;

/// A place among the streams under way.
///
/// # Errors
/// `overloaded` where there is none.
pub(super) fn permit(app: &App) -> Result<OwnedSemaphorePermit, ApiError> {
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, "as many streams as may be are under way")
            .limit(app.ports.settings.concurrent_streams_max as u64)
            .retry_after(5)
    })?;
    Ok(permit)
}

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
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let mut outlet = Outlet {
        buffer: Vec::with_capacity(CHUNK_BYTES * 2),
        sender,
        pause: Duration::from_millis(app.ports.settings.stream_pause_ms),
        runtime: tokio::runtime::Handle::current(),
    };
    tokio::task::spawn_blocking(move || {
        let _place = permit;
        // An error is told to nobody: the status is sent long since. Without its end the stream breaks off, which is how
        // the client learns that something is missing.
        if write(&walk, &mut outlet).and_then(|()| outlet.send(1)).is_ok() {
            outlet.end();
        }
    });
    Ok(body(receiver, wanted))
}

/// What is on its way to the client.
enum Piece {
    Chunk(Bytes),
    /// All was sent.
    End,
}

/// The pieces as a body, which breaks off where they stop without their end. `wanted` is held until then.
fn body<W: Send + 'static>(receiver: mpsc::Receiver<Piece>, wanted: W) -> Body {
    let stream = futures::stream::unfold(Some((receiver, wanted)), |state| async move {
        let (mut receiver, wanted) = state?;
        match receiver.recv().await {
            Some(Piece::Chunk(chunk)) => Some((Ok(chunk), Some((receiver, wanted)))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the history could not be read to its end")), None)),
        }
    });
    Body::from_stream(stream)
}

/// Where an answer goes, chunk by chunk.
pub(super) struct Outlet {
    buffer: Vec<u8>,
    sender: mpsc::Sender<Piece>,
    pause: Duration,
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
        self.hand_over(Piece::Chunk(chunk))
    }

    /// Says that all was sent.
    fn end(&mut self) {
        // Who takes nothing any more need not know.
        let _ = self.hand_over(Piece::End);
    }

    fn hand_over(&self, piece: Piece) -> Result<(), ApiError> {
        match self.runtime.block_on(tokio::time::timeout(self.pause, self.sender.send(piece))) {
            Ok(Ok(())) => Ok(()),
            _ => Err(ApiError::new(Code::Timeout, "the client takes nothing")),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn received(pieces: Vec<Piece>) -> Result<Bytes, axum::Error> {
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        for piece in pieces {
            assert!(sender.try_send(piece).is_ok());
        }
        drop(sender);
        axum::body::to_bytes(body(receiver, ()), usize::MAX).await
    }

    /// Also where the client made the reader wait until there was room for nothing more.
    #[tokio::test]
    async fn a_stream_ends_only_where_all_was_sent() {
        let rows = || Piece::Chunk(Bytes::from_static(b"row\r\n"));
        assert_eq!(received(vec![rows(), Piece::End]).await.unwrap(), "row\r\n");
        assert!(received(vec![rows(), rows()]).await.is_err());
        assert!(received(vec![]).await.is_err());
    }
}
