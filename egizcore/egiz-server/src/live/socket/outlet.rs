//! The way out to one WebSocket client: numbers frames, gathers them, and gives up on a client that leaves its socket full.

use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures::SinkExt as _;
use futures::stream::SplitSink;
use prometheus_client::metrics::counter::Counter;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

use super::End;
use crate::live::columns::{MAGIC, Part};
use crate::live::{playback, search};

/// The way out.
pub(super) struct Outlet {
    pub(super) sink: SplitSink<WebSocket, Message>,
    frames: Counter,
    patience: Duration,
}

impl Outlet {
    pub(super) fn new(sink: SplitSink<WebSocket, Message>, frames: Counter, patience: Duration) -> Self {
        Self { sink, frames, patience }
    }

    /// A frame of a subscription, the next in its sequence: its name, and the members behind `seq` up to the closing brace.
    pub(super) async fn frame(
        &mut self,
        subscription: u32,
        seq: &mut u64,
        event: &str,
        rest: &[u8],
    ) -> Result<(), End> {
        *seq += 1;
        let mut number = itoa::Buffer::new();
        let mut out = Vec::with_capacity(64 + event.len() + rest.len());
        out.extend_from_slice(b"{\"event\":\"");
        out.extend_from_slice(event.as_bytes());
        out.extend_from_slice(b"\",\"subscription\":");
        out.extend_from_slice(number.format(subscription).as_bytes());
        out.extend_from_slice(b",\"seq\":");
        out.extend_from_slice(number.format(*seq).as_bytes());
        out.push(b',');
        out.extend_from_slice(rest);
        self.text(out).await
    }

    /// A part of a column table.
    pub(super) async fn part(&mut self, subscription: u32, seq: &mut u64, part: &Part) -> Result<(), End> {
        match part {
            Part::Text(event, rest) => self.frame(subscription, seq, event, rest).await,
            Part::Binary(rest) => {
                *seq += 1;
                let mut out = Vec::with_capacity(16 + rest.len());
                out.extend_from_slice(MAGIC);
                out.extend_from_slice(&subscription.to_le_bytes());
                out.extend_from_slice(&seq.to_le_bytes());
                out.extend_from_slice(rest);
                self.frames.inc();
                self.feed(Message::Binary(out.into())).await
            }
        }
    }

    /// A frame of a search.
    pub(super) async fn found(&mut self, frame: &search::Frame) -> Result<(), End> {
        let search::Frame { search, seq, event, rest } = frame;
        let mut out = format!("{{\"event\":\"{event}\",\"search\":{search},\"seq\":{seq}").into_bytes();
        out.extend_from_slice(rest);
        self.text(out).await
    }

    /// A frame of a playback.
    pub(super) async fn played(&mut self, frame: &playback::Frame) -> Result<(), End> {
        let playback::Frame { playback, seq, event, rest } = frame;
        let mut out = Vec::with_capacity(80 + rest.len());
        out.extend_from_slice(
            format!("{{\"event\":\"{event}\",\"playback\":{playback},\"seq\":{seq}").as_bytes(),
        );
        out.extend_from_slice(rest);
        self.text(out).await
    }

    /// A frame that belongs to no subscription.
    pub(super) async fn text(&mut self, frame: Vec<u8>) -> Result<(), End> {
        self.frames.inc();
        let text = Utf8Bytes::try_from(Bytes::from(frame)).map_err(|_| End::Close(1011, "internal"))?;
        self.feed(Message::Text(text)).await
    }

    pub(super) async fn feed(&mut self, message: Message) -> Result<(), End> {
        Self::in_time(timeout(self.patience, self.sink.feed(message)).await)
    }

    pub(super) async fn flush(&mut self) -> Result<(), End> {
        Self::in_time(timeout(self.patience, self.sink.flush()).await)
    }

    fn in_time(result: Result<Result<(), axum::Error>, tokio::time::error::Elapsed>) -> Result<(), End> {
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Close(1013, "write-timeout")),
        }
    }
}

/// Whether reading failed because the client sent too large a frame.
pub(super) fn is_oversize(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<tungstenite::Error>());
    matches!(source, Some(tungstenite::Error::Capacity(_)))
}
