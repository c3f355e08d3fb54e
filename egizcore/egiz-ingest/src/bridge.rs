//! Forwards selected topics from the program's own broker to a central one, with store and forward.
//!
//! ```text
//!  own broker ─► local link ─► topic, loop check ─► remote link ─► central broker
//!      ▲                                                │ PUBACK
//!      └────────── PUBACK, in the order of arrival ◄────┘
//! ```
//!
//! The store is the own broker: the local link has a persistent session there, and a message is acknowledged only after the
//! central broker's PUBACK. While the central broker is away the local link is away as well, so an outage costs one session's
//! place in the journal and no memory here; how long an outage may last is how much the journal may hold. When either link
//! breaks, both are dropped: what was not acknowledged comes again, in its order, from the own broker.
//!
//! The local link's receive maximum bounds what is under way. Order is kept for each topic, since one connection carries all.
//! Delivery is at least once: what was under way when a link broke may arrive twice.
//!
//! With MQTT 5, a forwarded message carries the name of this installation as a user property, and one that carries it already
//! is not forwarded again; so two installations that bridge to each other do not send a message round for ever.

mod metrics;
mod relay;

pub use metrics::{BridgeCounters, BridgeMetrics};

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::acknowledger::Acknowledger;
use crate::client::{ClientStatus, Connect, OnStatus, RetryDelay, keep_connected};
use crate::external::{PARTING_LOOK, PARTING_PATIENCE};
use crate::filter::TopicFilter;
use crate::link::{Event, Link, Message, Problem, PublishRefusal, Requests, Wanted};

use relay::{NotForwarded, Relay, outgoing, remote_topic};

/// One bridge.
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// What to forward: filters below `local_prefix`.
    pub topics: Vec<TopicFilter>,
    /// Put before the filters for the own broker, and taken off its topics.
    pub local_prefix: String,
    /// Put before the topics for the central broker.
    pub remote_prefix: String,
    /// The name of this installation, for recognising its messages when they come round.
    pub installation: String,
    /// How to connect to the own broker. Its receive maximum is the window.
    pub connect_local: Connect,
    /// How to connect to the central broker. Its publish window is at least the local receive maximum.
    pub connect_remote: Connect,
    /// How long to wait before connecting again.
    pub retry_delay: RetryDelay,
    /// Whom to tell.
    pub on_status: OnStatus,
    /// Where to count.
    pub counters: BridgeCounters,
}

/// One pair of connections.
struct Pair<'a> {
    bridge: &'a Bridge,
    local: Requests,
    remote: Requests,
    acknowledger: Acknowledger,
    relay: Mutex<Relay>,
    stopping: AtomicBool,
    remote_packet_bytes_max: Option<u32>,
}

impl Bridge {
    /// Forwards until it is asked to stop; then waits a little for what is under way.
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
        if !subscribed.load(Ordering::Relaxed) {
            // What is published before the central broker was ever reached is to be forwarded, too.
            tokio::select! {
                seated = self.seat() => seated.map_err(own)?,
                () = stop.cancelled() => return Ok(()),
            }
            subscribed.store(true, Ordering::Relaxed);
        }
        let mut remote = Link::new(&(self.connect_remote)()?);
        // The central broker first: while it is away, nothing is to be fetched from the own one.
        let remote_packet_bytes_max = tokio::select! {
            connected = connected(&mut remote) => connected?,
            () = stop.cancelled() => return Ok(()),
        };
        let mut local = Link::new(&(self.connect_local)()?);
        let pair = Pair {
            bridge: self,
            local: local.requests(),
            remote: remote.requests(),
            acknowledger: Acknowledger::default(),
            relay: Mutex::default(),
            stopping: AtomicBool::new(false),
            remote_packet_bytes_max,
        };
        pair.acknowledger.open(pair.local.clone());
        tokio::select! {
            ended = pair.read_local(&mut local) => ended.map_err(own),
            ended = pair.read_remote(&mut remote) => ended,
            () = pair.part(stop) => Ok(()),
        }
    }

    /// Takes the session at the own broker with today's filters, and leaves. What comes meanwhile is not acknowledged.
    async fn seat(&self) -> Result<(), Problem> {
        let mut local = Link::new(&(self.connect_local)()?);
        let requests = local.requests();
        connected(&mut local).await?;
        self.subscribe(&requests)?;
        loop {
            match local.next().await? {
                Event::Subscribed(answers) => {
                    accepted(answers)?;
                    requests.disconnect().map_err(|_| Problem::not_queued())?;
                }
                Event::Disconnected => return Ok(()),
                _ => {}
            }
        }
    }

    fn subscribe(&self, local: &Requests) -> Result<(), Problem> {
        let filters = self.local_filters();
        let wanted = Wanted { filters: &filters, no_local: true, retain_as_published: true };
        local.subscribe(wanted).map_err(|_| Problem::not_queued())
    }

    fn local_filters(&self) -> Vec<String> {
        self.topics.iter().map(|filter| format!("{}{}", self.local_prefix, filter.as_str())).collect()
    }
}

/// A problem with the own broker, said so.
fn own(problem: Problem) -> Problem {
    Problem { text: format!("the program's own broker: {problem}"), ..problem }
}

fn accepted(answers: Vec<Option<String>>) -> Result<(), Problem> {
    answers
        .into_iter()
        .flatten()
        .next()
        .map_or(Ok(()), |why| Err(Problem::refused(format!("it refuses the subscription: {why}"))))
}

/// Waits until the broker took the connection.
async fn connected(link: &mut Link) -> Result<Option<u32>, Problem> {
    loop {
        if let Event::Connected { packet_bytes_max, .. } = link.next().await? {
            return Ok(packet_bytes_max);
        }
    }
}

impl Pair<'_> {
    async fn read_local(&self, link: &mut Link) -> Result<(), Problem> {
        let counters = &self.bridge.counters;
        let mut present = false;
        loop {
            match link.next().await? {
                Event::Connected { session_present, .. } => {
                    present = session_present;
                    counters.connections.inc();
                    if present {
                        self.ready(present);
                    } else {
                        // Somebody threw the session away since it was taken.
                        self.bridge.subscribe(&self.local)?;
                    }
                }
                Event::Subscribed(answers) => {
                    accepted(answers)?;
                    self.ready(present);
                }
                Event::Message(_) if self.stopping.load(Ordering::Relaxed) => {}
                Event::Message(message) => self.forward(message)?,
                Event::Disconnected => return Ok(()),
                Event::Sent(_) | Event::Acknowledged { .. } | Event::Other => {}
            }
            self.acknowledger.go_on();
        }
    }

    async fn read_remote(&self, link: &mut Link) -> Result<(), Problem> {
        loop {
            match link.next().await? {
                Event::Sent(packet_id) => self.relay.lock().sent(packet_id),
                Event::Acknowledged { packet_id, refused } => self.acknowledged(packet_id, refused)?,
                _ => {}
            }
        }
    }

    fn forward(&self, message: Message) -> Result<(), Problem> {
        let (bridge, counters) = (self.bridge, &self.bridge.counters);
        let ticket = self.acknowledger.arrive(message.packet_id, message.qos)?;
        let topic = remote_topic(&bridge.local_prefix, &bridge.topics, &bridge.remote_prefix, &message.topic);
        let passed_over = match topic {
            None => &counters.not_subscribed,
            Some(topic) => match outgoing(message, topic, &bridge.installation, self.remote_packet_bytes_max)
            {
                Err(NotForwarded::TooLarge) => &counters.too_large,
                Err(NotForwarded::Looped) => &counters.looped,
                Ok(outgoing) => {
                    // Under one lock, so that what goes out is noted in the order in which it goes out.
                    let mut relay = self.relay.lock();
                    if ticket.is_none() && relay.unpromised() >= relay::UNPROMISED_MAX {
                        &counters.queue_full
                    } else {
                        self.remote.publish(outgoing).map_err(|_| Problem::not_queued())?;
                        relay.published(ticket);
                        drop(relay);
                        counters
                            .under_way
                            .set(i64::try_from(self.acknowledger.under_way()).unwrap_or(i64::MAX));
                        return Ok(());
                    }
                }
            },
        };
        passed_over.inc();
        self.settle(ticket);
        Ok(())
    }

    fn acknowledged(&self, packet_id: u16, refused: Option<PublishRefusal>) -> Result<(), Problem> {
        let counters = &self.bridge.counters;
        let Some(ticket) = self.relay.lock().acknowledged(packet_id) else { return Ok(()) };
        match refused {
            None => {
                counters.forwarded.inc();
            }
            Some(refusal) if refusal.for_good => {
                // It would be refused for ever, and everything behind it would wait for ever.
                counters.refused.inc();
                let what = format!("the central broker does not take a message: {}", refusal.text);
                (self.bridge.on_status)(ClientStatus::LeftOut { what: &what });
            }
            Some(refusal) => {
                let text = format!("the central broker takes no messages: {}", refusal.text);
                return Err(Problem::stalled(text));
            }
        }
        self.settle(Some(ticket));
        Ok(())
    }

    fn settle(&self, ticket: Option<crate::window::Ticket>) {
        self.acknowledger.settle(ticket);
        let under_way = self.acknowledger.under_way();
        self.bridge.counters.under_way.set(i64::try_from(under_way).unwrap_or(i64::MAX));
    }

    fn ready(&self, session_present: bool) {
        self.bridge.counters.connected.set(1);
        (self.bridge.on_status)(ClientStatus::Connected { session_present });
    }

    /// Once asked to stop, fetches nothing more, and is done when all is acknowledged or patience is over.
    async fn part(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        self.stopping.store(true, Ordering::Relaxed);
        let until = tokio::time::Instant::now() + PARTING_PATIENCE;
        let mut parting = false;
        while tokio::time::Instant::now() < until {
            if !parting && self.acknowledger.under_way() == 0 {
                // Behind the acknowledgements in the queue; the local side ends when it went out.
                parting = self.local.disconnect().is_ok();
            }
            tokio::time::sleep(PARTING_LOOK).await;
        }
    }
}
