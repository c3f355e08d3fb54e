//! The same ingest from a broker that is not the program's own: Mosquitto, EMQX, HiveMQ.
//!
//! ```text
//!  broker ─► read ─► queue of at most the receive maximum ─► submit (waits for room in the journal's queue)
//!    ▲                                                          │ committed
//!    └──────────── PUBACK, in the order of arrival ◄────────────┘
//! ```
//!
//! A message is acknowledged after the journal's commit and not before, so the broker keeps what a crash took. The session is
//! persistent: what arrives at the broker while the program is away waits there. The receive maximum is the back-pressure:
//! a broker that keeps to it sends no more than that before acknowledgements come, and they come with commits. Reading then
//! never waits for the journal, so a slow disk does not look like a dead client. A broker that sends more all the same
//! (Mosquitto 2.0.11 with a backlog, see `acknowledger`) is slowed by not reading its socket once the queue holds its
//! messages or its bytes. Pings rest meanwhile, too: where the disk stands still for longer than the broker waits for
//! pings, it ends the connection, and what was not acknowledged comes again.
//!
//! Messages that were under way when a connection broke come again; the engine recognises them by device and time.
//!
//! It does not map payloads (`Ingest` does, where the sink calls it) and knows nothing of the journal but the [`Sink`].

mod metrics;

pub use metrics::{ExternalCounters, ExternalMetrics};

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::acknowledger::Acknowledger;
use crate::client::{ClientStatus, Connect, OnStatus, RetryDelay, keep_connected};
use crate::filter::TopicFilter;
use crate::link::{Event, Link, Message, Problem, Requests, Wanted};
use crate::window::Ticket;

/// Messages handed over as one batch; enough to share a commit, few enough to keep the latency of one.
const BATCH_MESSAGES_MAX: usize = 512;
/// Bytes that wait for room in the sink's queue. Beyond it the socket is not read, and QoS 0 is passed over and counted. A
/// message that is larger takes all of it and goes alone.
const QUEUE_BYTES_MAX: u32 = 16 << 20;
/// How long stopping waits for commits that are under way, so that their acknowledgements still go out.
pub(crate) const PARTING_PATIENCE: Duration = Duration::from_secs(2);
/// How often it looks whether they did.
pub(crate) const PARTING_LOOK: Duration = Duration::from_millis(10);

/// Room for a batch in the sink's queue; what it is is the sink's business.
pub type Room = Box<dyn Any + Send>;

/// Where messages are committed.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Waits until there is room for `bytes`.
    ///
    /// # Cancel safety
    /// May be dropped while waiting.
    async fn reserve(&self, bytes: usize) -> Room;

    /// Takes a batch from the broker of that name. Never waits. `receipt` is called once, from the commit, on any thread;
    /// with why, if the batch was not kept.
    fn submit(&self, broker: &str, messages: &[Message], room: Room, receipt: Receipt);
}

/// Told what became of a batch.
pub type Receipt = Box<dyn FnOnce(Result<(), String>) + Send>;

/// The client of one external broker.
pub struct ExternalBroker {
    /// Its name, the principal of its messages.
    pub name: String,
    /// What to subscribe to, with QoS 1.
    pub filters: Vec<TopicFilter>,
    /// Shared with other programs of this group: each message goes to one of them.
    pub group: Option<String>,
    /// A larger payload is passed over.
    pub payload_bytes_max: usize,
    /// How to connect.
    pub connect: Connect,
    /// How long to wait before connecting again.
    pub retry_delay: RetryDelay,
    /// Whom to tell.
    pub on_status: OnStatus,
    /// Where messages go.
    pub sink: Arc<dyn Sink>,
    /// Where to count.
    pub counters: ExternalCounters,
}

/// A message on its way to the sink.
struct Queued {
    ticket: Option<Ticket>,
    message: Message,
    /// Its part of [`QUEUE_BYTES_MAX`], given back when the sink has taken it.
    bytes: OwnedSemaphorePermit,
}

/// What one connection's reading and submitting share with the commits that outlive it.
struct Shared {
    acknowledger: Acknowledger,
    /// Why the connection must end although the broker is well.
    failed: Mutex<Option<Problem>>,
    failed_now: Notify,
}

impl Shared {
    fn fail(&self, problem: Problem) {
        *self.failed.lock() = Some(problem);
        self.failed_now.notify_one();
    }
}

impl ExternalBroker {
    /// Takes messages in until it is asked to stop; then waits a little for what is being committed, acknowledges it and
    /// parts. The session stays at the broker.
    pub async fn run(&self, stop: &CancellationToken) {
        let subscribed = AtomicBool::new(false);
        keep_connected(stop, &self.retry_delay, &self.on_status, || async {
            let ended = self.connection(stop, &subscribed).await;
            self.counters.connected.set(0);
            self.counters.under_way.set(0);
            if ended.is_err() {
                self.counters.failures.inc();
            }
            ended
        })
        .await;
    }

    async fn connection(&self, stop: &CancellationToken, subscribed: &AtomicBool) -> Result<(), Problem> {
        let options = (self.connect)()?;
        let mut link = Link::new(&options);
        let shared = Arc::new(Shared {
            acknowledger: Acknowledger::default(),
            failed: Mutex::new(None),
            failed_now: Notify::new(),
        });
        shared.acknowledger.open(link.requests());
        // One half for what the receive maximum lets through, so that reading does not wait; the other for QoS 0.
        let places = usize::from(options.receive_maximum);
        let (queue, queued) = mpsc::channel(2 * places);
        let reader = Reader {
            broker: self,
            shared: &shared,
            queue,
            places,
            bytes: Arc::new(Semaphore::new(QUEUE_BYTES_MAX as usize)),
            stop,
            subscribed,
            session_present: false,
        };
        let ended = tokio::select! {
            ended = reader.read(&mut link) => ended,
            never = self.submit(queued, &shared) => match never {},
        };
        // Commits that are still under way find it closed and acknowledge nothing.
        shared.acknowledger.close();
        ended
    }

    /// Hands messages over in batches, waiting for room.
    async fn submit(
        &self,
        mut queued: mpsc::Receiver<Queued>,
        shared: &Arc<Shared>,
    ) -> std::convert::Infallible {
        let mut batch = Vec::with_capacity(BATCH_MESSAGES_MAX);
        loop {
            batch.clear();
            if queued.recv_many(&mut batch, BATCH_MESSAGES_MAX).await == 0 {
                // The reader has ended, and with it this.
                std::future::pending::<()>().await;
            }
            let (mut tickets, mut messages, mut held) = (Vec::new(), Vec::new(), Vec::new());
            for Queued { ticket, message, bytes } in batch.drain(..) {
                tickets.extend(ticket);
                messages.push(message);
                held.push(bytes);
            }
            let bytes = messages.iter().map(Message::byte_len).sum();
            let room = self.sink.reserve(bytes).await;
            let (shared, counters) = (Arc::clone(shared), self.counters.clone());
            let receipt = Box::new(move |result: Result<(), String>| match result {
                Ok(()) => {
                    let settled = shared.acknowledger.settle(tickets);
                    counters.acknowledged.inc_by(settled.acknowledged);
                    counters.stale_acknowledgements.inc_by(settled.stale);
                    counters
                        .under_way
                        .set(i64::try_from(shared.acknowledger.under_way()).unwrap_or(i64::MAX));
                }
                // An acknowledgement with an error would make the broker forget the message: better to part and get it again.
                Err(why) => shared.fail(Problem::stalled(format!("messages cannot be kept: {why}"))),
            });
            self.sink.submit(&self.name, &messages, room, receipt);
            // From here on they are in the sink's own bound.
            drop(held);
        }
    }
}

/// The reading side of one connection.
struct Reader<'a> {
    broker: &'a ExternalBroker,
    shared: &'a Arc<Shared>,
    queue: mpsc::Sender<Queued>,
    places: usize,
    bytes: Arc<Semaphore>,
    stop: &'a CancellationToken,
    /// Whether this program has subscribed since it started.
    subscribed: &'a AtomicBool,
    session_present: bool,
}

impl Reader<'_> {
    /// Reads until the connection is over. When asked to stop, lets what is being committed be acknowledged, then parts;
    /// what comes meanwhile is not taken and comes again.
    async fn read(mut self, link: &mut Link) -> Result<(), Problem> {
        let requests = link.requests();
        let mut stop_by = None;
        let mut parting = false;
        let mut look = tokio::time::interval(PARTING_LOOK);
        loop {
            let next = link.next();
            tokio::pin!(next);
            // The poll under way is not dropped for the sake of the others.
            let event = loop {
                tokio::select! {
                    event = &mut next => break event,
                    () = self.shared.failed_now.notified() => {
                        let problem = self.shared.failed.lock().take();
                        return Err(problem.unwrap_or_else(Problem::not_queued));
                    }
                    () = self.stop.cancelled(), if stop_by.is_none() => {
                        stop_by = Some(tokio::time::Instant::now() + PARTING_PATIENCE);
                    }
                    now = look.tick(), if stop_by.is_some() => {
                        if stop_by.is_some_and(|until| now >= until) {
                            return Ok(());
                        }
                        if !parting && self.shared.acknowledger.under_way() == 0 {
                            // Behind the acknowledgements in the queue.
                            parting = requests.disconnect().is_ok();
                        }
                    }
                }
            };
            match event {
                Ok(Event::Disconnected) | Err(_) if stop_by.is_some() => return Ok(()),
                Ok(Event::Message(_)) if stop_by.is_some() => {}
                event => self.handle(event?, &requests).await?,
            }
            // What was told may be an acknowledgement that went out and left its place to the next.
            self.broker.counters.acknowledged.inc_by(self.shared.acknowledger.go_on());
        }
    }

    async fn handle(&mut self, event: Event, requests: &Requests) -> Result<(), Problem> {
        match event {
            Event::Connected { session_present, .. } => {
                self.broker.counters.connections.inc();
                self.session_present = session_present;
                // The filters of the session may be those of an earlier configuration.
                if session_present && self.subscribed.load(Ordering::Relaxed) {
                    self.ready();
                    return Ok(());
                }
                let filters = self.filters();
                let wanted = Wanted { filters: &filters, no_local: false, retain_as_published: false };
                requests.subscribe(wanted).map_err(|_| Problem::not_queued())
            }
            Event::Subscribed(answers) => {
                let refused: Vec<_> = self
                    .filters()
                    .into_iter()
                    .zip(answers)
                    .filter_map(|(filter, why)| why.map(|why| format!("{filter} ({why})")))
                    .collect();
                if !refused.is_empty() {
                    let text = format!("the broker refuses to subscribe to {}", refused.join(", "));
                    return Err(Problem::refused(text));
                }
                self.subscribed.store(true, Ordering::Relaxed);
                self.ready();
                Ok(())
            }
            Event::Message(message) => self.take(message).await,
            Event::Sent(_) | Event::Acknowledged { .. } | Event::Disconnected | Event::Other => Ok(()),
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), Problem> {
        let counters = &self.broker.counters;
        counters.messages.inc();
        let acknowledger = &self.shared.acknowledger;
        let ticket = acknowledger.arrive(message.packet_id, message.qos)?;
        counters.under_way.set(i64::try_from(acknowledger.under_way()).unwrap_or(i64::MAX));
        let byte_len = u32::try_from(message.byte_len()).unwrap_or(u32::MAX).clamp(1, QUEUE_BYTES_MAX);
        let mut bytes = None;
        let passed_over = if !self.broker.filters.iter().any(|filter| filter.matches(&message.topic)) {
            // The session still has the filters of an earlier configuration.
            Some(&counters.not_subscribed)
        } else if message.payload.len() > self.broker.payload_bytes_max {
            Some(&counters.too_large)
        } else {
            bytes = Arc::clone(&self.bytes).try_acquire_many_owned(byte_len).ok();
            // QoS 0 has no back-pressure; it must not take the places of messages that are promised.
            let full = bytes.is_none() || self.queue.capacity() <= self.places;
            (ticket.is_none() && full).then_some(&counters.queue_full)
        };
        if let Some(counter) = passed_over {
            counter.inc();
            let settled = acknowledger.settle(ticket);
            counters.acknowledged.inc_by(settled.acknowledged);
            return Ok(());
        }
        // There is room unless the broker sends more than was agreed or the messages are large. Then its socket is not read
        // until there is; the queue is emptied by the other half, so this ends, unless the disk stands still.
        let queued = async {
            let bytes = match bytes {
                Some(bytes) => bytes,
                None => Arc::clone(&self.bytes).acquire_many_owned(byte_len).await.ok()?,
            };
            self.queue.send(Queued { ticket, message, bytes }).await.ok()
        };
        tokio::select! {
            queued = queued => queued.ok_or_else(Problem::not_queued),
            // It is not acknowledged, so it comes again.
            () = self.stop.cancelled() => Ok(()),
        }
    }

    fn ready(&self) {
        self.broker.counters.connected.set(1);
        (self.broker.on_status)(ClientStatus::Connected { session_present: self.session_present });
    }

    fn filters(&self) -> Vec<String> {
        self.broker.filters.iter().map(|filter| filter.shared(self.broker.group.as_deref())).collect()
    }
}
