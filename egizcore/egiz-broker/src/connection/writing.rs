//! The task that writes what gathers in a connection's outbox.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::CLOSING_GRACE;
use crate::broker::Shared;
use crate::listener::Writer;
use crate::metrics::BrokerMetrics;
use crate::outbox::Outbox;
use crate::session::Session;

/// Writes until the outbox is closed; then what is left, for a moment.
pub(super) async fn write(
    shared: Arc<Shared>,
    mut writer: Writer,
    outbox: Arc<Outbox>,
    session: Arc<Session>,
) {
    let closed = async {
        outbox.closed.cancelled().await;
        tokio::time::sleep(CLOSING_GRACE).await;
    };
    tokio::select! {
        () = write_on(&shared, &mut writer, &outbox, &session) => {}
        () = closed => {}
    }
    outbox.close();
    // The peer may be gone already, or not read what TLS has to say.
    let _ = timeout(CLOSING_GRACE, writer.shutdown()).await;
}

async fn write_on(shared: &Shared, writer: &mut Writer, outbox: &Outbox, session: &Arc<Session>) {
    let mut bytes = BytesMut::new();
    loop {
        bytes = outbox.take(bytes);
        if bytes.is_empty() {
            if outbox.is_closed() {
                return;
            }
            outbox.changed.notified().await;
            continue;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match timeout(shared.config.write_timeout, writer.write(rest)).await {
                Ok(Ok(count @ 1..)) => {
                    shared.metrics.sent_bytes.inc_by(count as u64);
                    rest = &rest[count..];
                }
                Ok(_) => return,
                Err(_) => return BrokerMetrics::count(&shared.metrics.closed, "write-timeout"),
            }
        }
        // TLS and WebSocket may still hold a part of it.
        match timeout(shared.config.write_timeout, writer.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => return BrokerMetrics::count(&shared.metrics.closed, "write-timeout"),
        }
        // There is room for what waits.
        session.pump(shared.now_micros());
    }
}
