//! What the broker does by itself, once in a while: notes how far deliveries are, ends sessions whose time is over, publishes
//! wills whose time has come, and says on `$SYS` how it stands.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Offset;
use crate::broker::{Broker, Shared};
use crate::gate::{ClientInfo, Receipt, Refusal};
use crate::ledger::Note;
use crate::message::Publish;
use crate::metrics::BrokerMetrics;
use crate::wills::DelayedWill;

/// How often deliveries that went on are noted. After a crash what was delivered since comes again, where it may.
const NOTE_INTERVAL: Duration = Duration::from_millis(250);
/// How often sessions and wills are looked at.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often sessions for which nothing comes are looked at, so that the journal can be trimmed behind them.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);
/// By how many records such a session must be further than was noted, or the notes themselves would fill the journal.
const IDLE_RECORDS: Offset = 50_000;

impl Broker {
    /// Does what is due until `stop`.
    pub async fn keep_house(&self, stop: CancellationToken) {
        let begun = Instant::now();
        let shared = &self.0;
        let (mut expiry, mut idle, mut sys) = (begun, begun, begun);
        let says = !shared.config.sys_interval.is_zero();
        if says {
            shared.publish_sys(Duration::ZERO);
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(NOTE_INTERVAL) => {}
                () = stop.cancelled() => break,
            }
            let mut notes = Vec::new();
            if expiry.elapsed() >= EXPIRY_INTERVAL {
                expiry = Instant::now();
                let (ended, wills) = shared.expire(shared.now_micros());
                notes.extend(ended);
                for will in wills {
                    shared.publish_will(will);
                }
            }
            let all = idle.elapsed() >= IDLE_INTERVAL;
            if all {
                idle = Instant::now();
            }
            notes.extend(shared.progress(all, IDLE_RECORDS));
            if all || !notes.is_empty() {
                shared.commit_notes(&notes).await;
            }
            if says && sys.elapsed() >= shared.config.sys_interval {
                sys = Instant::now();
                shared.publish_sys(begun.elapsed());
            }
        }
        // A restart in good order finds everything as it was left.
        shared.commit_notes(&shared.progress(true, 1)).await;
    }
}

impl Shared {
    /// Notes on how far deliveries are: of the sessions where they went on, or of all that are so many records further.
    fn progress(&self, all: bool, records_least: Offset) -> Vec<Note> {
        let head = self.head.load(Ordering::Acquire);
        let mut notes = Vec::new();
        for session in self.sessions.all() {
            let touched = session.take_touched();
            if touched || all {
                let mut state = session.lock();
                if state.persisted {
                    let least = if touched { 1 } else { records_least };
                    notes.extend(state.settled(&session.client_id, head, least));
                }
            }
        }
        notes
    }

    /// Commits notes of the broker's own. They also tell how far the journal has been offered to the sessions: commits are
    /// settled in order, so that everything before them has been.
    async fn commit_notes(self: &Arc<Self>, notes: &[Note]) {
        let shared = Arc::clone(self);
        let receipt = Receipt::new(move |result| match result {
            Ok(placed) => {
                shared.head.fetch_max(placed.end, Ordering::AcqRel);
            }
            Err(_) => BrokerMetrics::count(&shared.metrics.failures, "notes-not-kept"),
        });
        self.submit_notes(&self.itself, notes, receipt).await;
    }

    /// Commits notes on a client, and waits until they are kept.
    pub(crate) async fn keep(&self, client: &Arc<ClientInfo>, notes: &[Note]) -> Result<(), Refusal> {
        let (settle, settled) = oneshot::channel();
        let receipt = Receipt::new(move |result| {
            // Who waited may be gone.
            let _ = settle.send(result.map(|_| ()));
        });
        self.submit_notes(client, notes, receipt).await;
        settled.await.unwrap_or(Err(Refusal::Internal))
    }

    /// Hands notes over once there is room for them; the receipt says what became of them.
    pub(crate) async fn submit_notes(&self, client: &Arc<ClientInfo>, notes: &[Note], receipt: Receipt) {
        let bytes: Vec<_> = notes.iter().map(Note::to_bytes).collect();
        let intake = &self.surroundings.intake;
        let room = intake.reserve(bytes.iter().map(|note| note.len() + 64).sum()).await;
        intake.submit(client, &[], &bytes, room, receipt);
    }

    /// Publishes the will of a client that is not connected, and strikes it out.
    pub(crate) fn publish_will(self: &Arc<Self>, will: DelayedWill) {
        let note = will.struck_out().to_bytes();
        let DelayedWill { client, mut message, .. } = will;
        let allowed = client.rights.may_publish(&message.topic);
        if !allowed {
            BrokerMetrics::count(&self.metrics.refused, "not-authorized");
        }
        let shared = Arc::clone(self);
        self.runtime.spawn(async move {
            let intake = Arc::clone(&shared.surroundings.intake);
            let room = intake.reserve(message.byte_len() + note.len()).await;
            let route = shared.routes.find(&message.topic, None);
            message.received_micros = shared.now_micros();
            message.owed = route.owes(message.qos);
            let messages = if allowed { vec![message.clone()] } else { Vec::new() };
            let receipt = Receipt::new(move |result| match result {
                Ok(placed) if allowed => {
                    shared.retain(&message);
                    let offset = placed.messages.first().copied().flatten();
                    shared.distribute(&message, &route, None, offset);
                }
                Ok(_) => {}
                Err(_) => BrokerMetrics::count(&shared.metrics.refused, "will-not-kept"),
            });
            intake.submit(&client, &messages, &[note], room, receipt);
        });
    }

    /// Says on `$SYS` how the broker stands. Not kept: a restart says it anew.
    fn publish_sys(self: &Arc<Self>, uptime: Duration) {
        let sessions = self.sessions.len() as u64;
        let connected = self.metrics.connections.get();
        let total = |family: &dyn Fn(u8) -> u64| (0..=2).map(family).sum::<u64>();
        let of = |qos| crate::metrics::Qos { qos };
        let received = total(&|qos| self.metrics.received.get_or_create(&of(qos)).get());
        let sent = total(&|qos| self.metrics.sent.get_or_create(&of(qos)).get());
        let figures = [
            ("version", format!("OpenEgiz {}", env!("CARGO_PKG_VERSION"))),
            ("uptime", format!("{} seconds", uptime.as_secs())),
            ("durability", self.config.durability.to_owned()),
            ("clients/connected", connected.to_string()),
            ("clients/total", sessions.to_string()),
            ("clients/disconnected", sessions.saturating_sub(connected).to_string()),
            ("subscriptions/count", self.routes.len().to_string()),
            ("retained messages/count", self.metrics.retained.get().to_string()),
            ("messages/received", received.to_string()),
            ("messages/sent", sent.to_string()),
            ("messages/acknowledged", self.metrics.acknowledged.get().to_string()),
            ("bytes/received", self.metrics.received_bytes.get().to_string()),
            ("bytes/sent", self.metrics.sent_bytes.get().to_string()),
        ];
        for (name, value) in figures {
            let topic = format!("$SYS/broker/{name}");
            let message = Publish::new(&topic, Bytes::from(value), 0, true);
            self.retain_sys(&message);
            self.distribute(&message, &self.routes.find(&topic, None), None, None);
        }
    }
}
