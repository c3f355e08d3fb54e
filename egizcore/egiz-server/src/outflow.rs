//! An answer that is written while it is sent, piece by piece: its body ends only where all of it was sent, and breaks off
//! otherwise, since the status that could have said so is with the client since long.

use std::time::Duration;

use axum::body::{Body, Bytes};
use egiz_api::{Code, Problem};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::app::App;
use crate::error::ApiError;

/// How many pieces wait for the client; at the bound whoever writes waits with it.
const PIECES_AHEAD: usize = 2;

/// Where the pieces go. Dropped without [`Self::end`], the body breaks off.
pub(crate) struct Outflow {
    /// A piece, or nothing at the end.
    sender: mpsc::Sender<Option<Bytes>>,
    pause: Duration,
}

/// A place among the streams under way.
///
/// # Errors
/// `overloaded`.
pub(crate) fn permit(app: &App) -> Result<OwnedSemaphorePermit, ApiError> {
    app.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, "as many streams as may be are under way")
            .limit(app.ports.settings.concurrent_streams_max as u64)
            .retry_after(5)
            .into()
    })
}

/// A body and where its pieces go; `held` is kept as long as the client listens.
pub(crate) fn open<H: Send + 'static>(pause: Duration, held: H) -> (Outflow, Body) {
    let (sender, receiver) = mpsc::channel::<Option<Bytes>>(PIECES_AHEAD);
    let pieces = futures::stream::unfold(Some((receiver, held)), |state| async move {
        let (mut receiver, held) = state?;
        match receiver.recv().await {
            Some(Some(piece)) => Some((Ok(piece), Some((receiver, held)))),
            Some(None) => None,
            None => Some((Err(std::io::Error::other("the answer was cut off")), None)),
        }
    });
    (Outflow { sender, pause }, Body::from_stream(pieces))
}

impl Outflow {
    /// Sends a piece; whether the client took the one that makes room for it in time.
    pub(crate) async fn send(&self, piece: Bytes) -> bool {
        self.hand_over(Some(piece)).await
    }

    /// Says that all was sent. Who takes nothing any more need not know.
    pub(crate) async fn end(self) {
        self.hand_over(None).await;
    }

    async fn hand_over(&self, piece: Option<Bytes>) -> bool {
        let is_taken = matches!(tokio::time::timeout(self.pause, self.sender.send(piece)).await, Ok(Ok(())));
        if !is_taken {
            tracing::debug!("a client left its stream, or took nothing of it");
        }
        is_taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn received(pieces: &[&'static str], is_ended: bool) -> Result<Bytes, axum::Error> {
        let (outflow, body) = open(Duration::from_secs(10), ());
        for piece in pieces {
            assert!(outflow.send(Bytes::from_static(piece.as_bytes())).await);
        }
        if is_ended {
            outflow.end().await;
        } else {
            drop(outflow);
        }
        axum::body::to_bytes(body, usize::MAX).await
    }

    /// Also where the client made the writer wait until there was room for nothing more.
    #[tokio::test]
    async fn a_stream_ends_only_where_all_was_sent() {
        assert_eq!(received(&["row\r\n"], true).await.unwrap(), "row\r\n");
        assert!(received(&["row\r\n", "row\r\n"], false).await.is_err());
        assert!(received(&[], false).await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up_after_the_pause() {
        let (outflow, _body) = open(Duration::from_millis(10), ());
        for _ in 0..PIECES_AHEAD {
            assert!(outflow.send(Bytes::from_static(b"row")).await);
        }
        assert!(!outflow.send(Bytes::from_static(b"row")).await);
    }
}
