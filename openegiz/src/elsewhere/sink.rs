//! From external brokers to the journal, as messages of the program's own broker go.

use std::cell::RefCell;
use std::sync::Arc;

use async_trait::async_trait;
use egiz_ingest::{Ingest, Message, Receipt, Room, Sink, Source};
use egiz_journal::{AppendError, Batch, Permit};

use egiz_model::Offset;
use egiz_service::correlation::{SHORT_NAME, TRACEPARENT};

use crate::correlation;
use crate::pipeline::Pipeline;

/// Maps messages to records and commits them.
pub(super) struct Records {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) ingest: Arc<Ingest>,
    pub(super) clock: egiz_server::Clock,
}

thread_local! {
    /// Kept between messages, so that mapping one allocates nothing.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[async_trait]
impl Sink for Records {
    async fn reserve(&self, bytes: usize) -> Room {
        Box::new(self.pipeline.reserve(bytes).await)
    }

    fn submit(&self, broker: &str, messages: &[Message], room: Room, receipt: Receipt) {
        let Ok(permit) = room.downcast::<Permit>() else {
            return receipt(Err("the room is not the journal's".to_owned()));
        };
        let received = (self.clock)();
        let mut batch = Batch::new();
        SCRATCH.with_borrow_mut(|scratch| {
            for message in messages {
                let source = Source {
                    received,
                    principal: broker,
                    correlation: correlation_of(message),
                    topic: &message.topic,
                    qos: message.qos,
                    // Retained messages are the external broker's to keep and to give.
                    retain: false,
                    owed: false,
                    payload: &message.payload,
                    properties: &[],
                };
                self.ingest.map(&source, scratch, |_, record| batch.push(record));
            }
        });
        if batch.is_empty() {
            // Only messages that nobody asked to be kept.
            return receipt(Ok(()));
        }
        let on_durable = move |result: Result<Offset, &AppendError>| {
            receipt(result.map(|_| ()).map_err(ToString::to_string));
        };
        self.pipeline.submit(batch, *permit, Box::new(on_durable));
    }
}

fn correlation_of(message: &Message) -> &str {
    correlation::of(message.user_property(SHORT_NAME), message.user_property(TRACEPARENT))
}
