//! Reads the journal for a session that is behind, until it is live again or its client is gone.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::Offset;
use crate::broker::Shared;
use crate::delivery::{CaughtUp, Past};
use crate::gate::ArchiveReader;
use crate::message::Publish;
use crate::metrics::BrokerMetrics;
use crate::session::{HeldFilter, Session, is_read_for};

/// How long to wait before a journal that could not be read is tried again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Begins to read for a session's connection.
pub(crate) fn spawn(shared: &Arc<Shared>, session: &Arc<Session>, connection: u64) {
    let reader = Reader { shared: Arc::clone(shared), session: Arc::clone(session), connection };
    shared.runtime.spawn(async move {
        while let Err(error) = reader.run().await {
            tracing::error!(client.id = reader.session.client_id, %error, "the journal cannot be read for a client");
            BrokerMetrics::count(&reader.shared.metrics.failures, "journal-read");
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
    });
}

struct Reader {
    shared: Arc<Shared>,
    session: Arc<Session>,
    connection: u64,
}

/// What a session looks for.
struct Wanted {
    filters: BTreeMap<String, HeldFilter>,
    version: u64,
    shared_until: Offset,
    offsets: Vec<Offset>,
}

impl Wanted {
    fn contains(&self, offset: Offset, name: &str) -> bool {
        self.offsets.binary_search(&offset).is_ok()
            || self.filters.iter().any(|own| is_read_for(own, offset, name, self.shared_until))
    }
}

impl Reader {
    /// Reads until the session is live or its client is gone.
    async fn run(&self) -> io::Result<()> {
        let mut from = {
            let mut state = self.session.lock();
            if !state.goes_on_reading(self.connection) {
                return Ok(());
            }
            state.delivery.needed_from().unwrap_or(0)
        };
        let mut open = self.open(from).await?;
        while let Some(wanted) = self.wanted() {
            let (back, wanted, messages, more) = blocking(move || {
                let mut messages = Vec::new();
                let more = open.read(&|offset, name| wanted.contains(offset, name), &mut messages);
                (open, wanted, messages, more)
            })
            .await?;
            open = back;
            let more = more?;
            if self.session.lock().filters_version != wanted.version {
                // It looks for more than was looked for.
                open = self.open(from).await?;
                continue;
            }
            for (offset, message) in messages {
                if !self.deliver(offset, &message).await {
                    return Ok(());
                }
            }
            from = open.position();
            if !more {
                match self.caught_up(from) {
                    Some(CaughtUp::Live) | None => return Ok(()),
                    Some(CaughtUp::More) => {}
                    Some(CaughtUp::Again(offset)) => {
                        from = offset;
                        open = self.open(from).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Everything before `read_to` was read; `None` where the reader is to end.
    fn caught_up(&self, read_to: Offset) -> Option<CaughtUp> {
        let mut state = self.session.lock();
        if !state.goes_on_reading(self.connection) {
            return None;
        }
        let caught_up = state.delivery.caught_up(read_to);
        if caught_up == CaughtUp::Live {
            state.reading = None;
        }
        Some(caught_up)
    }

    async fn open(&self, from: Offset) -> io::Result<Box<dyn ArchiveReader>> {
        let archive = Arc::clone(&self.shared.surroundings.archive);
        let open = blocking(move || archive.open(from)).await??;
        let first = open.position();
        if first > from {
            // What the session had to wait for was longer than what the journal keeps.
            BrokerMetrics::count(&self.shared.metrics.dropped, "trimmed");
            tracing::error!(
                client.id = self.session.client_id,
                from,
                first,
                "messages for a client may be gone: the journal was trimmed beyond where it had come"
            );
            self.session.lock().delivery.forget_before(first);
        }
        Ok(open)
    }

    fn wanted(&self) -> Option<Wanted> {
        let mut state = self.session.lock();
        state.goes_on_reading(self.connection).then(|| Wanted {
            filters: state.filters.clone(),
            version: state.filters_version,
            shared_until: state.shared_until,
            offsets: state.delivery.looked_for(),
        })
    }

    /// Hands one message in; waits while there is no room. `false` where the reader is to end.
    async fn deliver(&self, offset: Offset, message: &Publish) -> bool {
        loop {
            // Made before the look, so that no news is missed.
            let room = self.session.room.notified();
            {
                let mut state = self.session.lock();
                if !state.goes_on_reading(self.connection) {
                    return false;
                }
                let Some(outbox) = state.online.as_ref().map(|online| Arc::clone(&online.outbox)) else {
                    return false;
                };
                let of_its_own = message.is_from(&self.session.client_id);
                let how = state.matching(offset, &message.topic, of_its_own);
                let now_micros = self.shared.now_micros();
                let past = state.delivery.offer_past(&outbox, offset, message, how, now_micros);
                self.session.hand_plans_over(&mut state.delivery);
                match past {
                    Past::Through => return true,
                    Past::Full => self.session.set_hungry(),
                }
            }
            room.await;
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
