//! One device's connection: connect, announce, send, and connect again.
//!
//! ```text
//!  (start delay) ──► connecting ──CONNACK──► online: status, meta, then telemetry ──stop──► the rest,
//!                        ▲  └──────error──┐      │                                offline status, disconnect
//!                        └── back-off ◄───┴─error┘
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::TimestampUnit;
use crate::link::{Link, LinkError, LinkEvent, LinkOptions, Publisher};
use crate::noise::Noise;
use crate::outbox::Outbox;
use crate::payload;
use crate::simulator::WallClock;

/// Shortest and longest pause before the next connection, ms.
const BACK_OFF_MIN_MS: u64 = 100;
const BACK_OFF_MAX_MS: u64 = 2000;

/// Counts over all devices since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) generated: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) connection_failures: AtomicU64,
    pub(crate) online: AtomicU64,
}

/// The id of an acknowledged message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LedgerEntry {
    /// Index of the device in the plant.
    pub machine: usize,
    /// Running number of the device's message, from 1.
    pub sequence: u64,
    /// Timestamp in the payload, ms; unique per device.
    pub timestamp_ms: i64,
}

/// What device tasks share.
pub(crate) struct DeviceContext {
    pub(crate) counts: Counts,
    pub(crate) ledger: Option<Mutex<Vec<LedgerEntry>>>,
    pub(crate) clock: WallClock,
    pub(crate) timestamp_unit: TimestampUnit,
    pub(crate) drain: Duration,
    pub(crate) boot: u64,
    pub(crate) seed: u64,
}

/// One device.
pub(crate) struct Device {
    pub(crate) machine: usize,
    pub(crate) name: String,
    pub(crate) telemetry_topic: String,
    pub(crate) status_topic: String,
    pub(crate) meta_topic: String,
    pub(crate) meta: Bytes,
    pub(crate) outbox: Arc<Mutex<Outbox>>,
    pub(crate) options: LinkOptions,
}

impl Device {
    /// Runs until `shutdown`; then says good-bye within the drain time.
    pub(crate) async fn run(self, context: Arc<DeviceContext>, delay: Duration, shutdown: CancellationToken) {
        let mut noise = Noise::new(context.seed ^ 0xBAC_C0FF, self.machine as u64);
        let mut failures = 0u32;
        let mut connections = 0u32;
        if shutdown.run_until_cancelled(sleep(delay)).await.is_none() {
            return;
        }
        loop {
            let is_proven = match self.connection(&context, &shutdown, &mut connections).await {
                Ended::Stopped => return,
                Ended::Failed { is_proven, error } => {
                    let total = context.counts.connection_failures.fetch_add(1, Ordering::Relaxed) + 1;
                    // Thousands of devices fail together: only each doubling is worth a line.
                    if total.is_power_of_two() {
                        let error: &dyn std::error::Error = &error;
                        tracing::warn!(device = self.name, total, error, "connection to the broker failed");
                    }
                    is_proven
                }
            };
            failures = if is_proven { 0 } else { failures + 1 };
            let pause = Duration::from_millis(back_off_ms(failures, noise.unit()));
            if shutdown.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Lives through one connection.
    async fn connection(
        &self,
        context: &DeviceContext,
        shutdown: &CancellationToken,
        connections: &mut u32,
    ) -> Ended {
        let (publisher, mut link) = Link::new(&self.options);
        let mut is_online = false;
        let mut is_proven = false;
        let ended = loop {
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    if is_online {
                        self.leave(context, &mut link, &publisher).await;
                    }
                    break Ended::Stopped;
                }
                event = link.poll() => event,
            };
            match event {
                Ok(LinkEvent::Connected) => {
                    is_online = true;
                    *connections += 1;
                    context.counts.connections.fetch_add(1, Ordering::Relaxed);
                    if *connections > 1 {
                        context.counts.reconnects.fetch_add(1, Ordering::Relaxed);
                    }
                    context.counts.online.fetch_add(1, Ordering::Relaxed);
                    let mut outbox = self.outbox.lock();
                    outbox.connect(publisher.clone());
                    outbox.control(&self.status_topic, &self.status(context, true));
                    outbox.control(&self.meta_topic, &self.meta);
                    let sent = outbox.send(&self.telemetry_topic);
                    context.counts.published.fetch_add(sent, Ordering::Relaxed);
                }
                Ok(event) => is_proven |= self.settle(context, event),
                Err(error) => break Ended::Failed { is_proven, error },
            }
        };
        if is_online {
            context.counts.online.fetch_sub(1, Ordering::Relaxed);
        }
        self.outbox.lock().disconnect();
        ended
    }

    /// Books an event; returns whether it was an acknowledgement.
    fn settle(&self, context: &DeviceContext, event: LinkEvent) -> bool {
        match event {
            LinkEvent::Sent(packet_id) => self.outbox.lock().sent(packet_id),
            LinkEvent::Acknowledged { packet_id, is_accepted } => {
                let mut outbox = self.outbox.lock();
                let message = outbox.acknowledged(packet_id);
                let sent = outbox.send(&self.telemetry_topic);
                drop(outbox);
                context.counts.published.fetch_add(sent, Ordering::Relaxed);
                if let Some(message) = message {
                    let count =
                        if is_accepted { &context.counts.acknowledged } else { &context.counts.refused };
                    count.fetch_add(1, Ordering::Relaxed);
                    if let (Some(ledger), true) = (&context.ledger, is_accepted) {
                        let (sequence, timestamp_ms) = (message.sequence, message.timestamp_ms);
                        ledger.lock().push(LedgerEntry { machine: self.machine, sequence, timestamp_ms });
                    }
                }
                return true;
            }
            LinkEvent::Connected | LinkEvent::Other => {}
        }
        false
    }

    /// Sends what is left, says that the device goes offline, and disconnects.
    async fn leave(&self, context: &DeviceContext, link: &mut Link, publisher: &Publisher) {
        let deadline = Instant::now() + context.drain;
        if !self.drain(context, link, deadline).await {
            return;
        }
        self.outbox.lock().control(&self.status_topic, &self.status(context, false));
        if !self.drain(context, link, deadline).await {
            return;
        }
        publisher.disconnect();
        // Ends with an error as soon as the packet is out and the broker has closed.
        while let Ok(Ok(_)) = timeout_at(deadline, link.poll()).await {}
    }

    /// Waits until everything is acknowledged; returns false when connection or time end before.
    async fn drain(&self, context: &DeviceContext, link: &mut Link, deadline: Instant) -> bool {
        while !self.outbox.lock().is_empty() {
            match timeout_at(deadline, link.poll()).await {
                Ok(Ok(event)) => {
                    self.settle(context, event);
                }
                // The report counts what is left.
                Ok(Err(_)) | Err(_) => return false,
            }
        }
        true
    }

    fn status(&self, context: &DeviceContext, is_online: bool) -> Bytes {
        let now_ms = (context.clock)();
        payload::status(&self.name, is_online, context.boot, Some(now_ms), context.timestamp_unit).into()
    }
}

enum Ended {
    Stopped,
    Failed {
        /// The broker acknowledged something on this connection.
        is_proven: bool,
        error: LinkError,
    },
}

/// Doubles with every failure in a row, within the bounds; `chance` in `0..1` spreads the devices.
fn back_off_ms(failures: u32, chance: f64) -> u64 {
    let longest = (BACK_OFF_MIN_MS << failures.clamp(1, 10)).min(BACK_OFF_MAX_MS);
    BACK_OFF_MIN_MS + (chance * (longest - BACK_OFF_MIN_MS) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::back_off_ms;

    #[test]
    fn back_off_grows_within_its_bounds() {
        for failures in 0..100 {
            for chance in [0.0, 0.5, 0.999] {
                assert!((100..=2000).contains(&back_off_ms(failures, chance)));
            }
        }
        assert!(back_off_ms(1, 0.999) < 201);
        assert!(back_off_ms(9, 0.999) > 1990);
    }
}
