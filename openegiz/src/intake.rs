//! From the broker to the journal: maps every message of a read to its records and commits them as one batch.

use std::cell::RefCell;
use std::sync::Arc;

use async_trait::async_trait;
use egiz_broker::{ClientInfo, Intake, Placed, Publish, Receipt, Refusal, Room};
use egiz_ingest::{Ingest, Part, Source};
use egiz_journal::{AppendError, Batch, Permit};
use egiz_model::Offset;
use egiz_model::record::{Body, Header, Record};

use crate::correlation;
use crate::pipeline::Pipeline;

/// The way of MQTT messages.
pub(crate) struct MqttIntake {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) clock: egiz_server::Clock,
}

thread_local! {
    /// Kept between messages, so that mapping one allocates nothing.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[async_trait]
impl Intake for MqttIntake {
    async fn reserve(&self, bytes: usize) -> Room {
        Box::new(self.pipeline.reserve(bytes).await)
    }

    fn submit(
        &self,
        client: &Arc<ClientInfo>,
        publishes: &[Publish],
        notes: &[Vec<u8>],
        room: Room,
        receipt: Receipt,
    ) {
        let Ok(permit) = room.downcast::<Permit>() else {
            return receipt.refused(Refusal::Internal);
        };
        let received = (self.clock)();
        let mut batch = Batch::new();
        for note in notes {
            let header = Header { received, principal: &client.principal, correlation: "" };
            batch.push(&Record { header, body: Body::Broker(note) }.to_bytes());
        }
        // Where in the batch the messages are that can be read again.
        let mut messages = Vec::with_capacity(publishes.len());
        SCRATCH.with_borrow_mut(|scratch| {
            for publish in publishes {
                // Nobody is sent a message of QoS 0 again, so that encoding its properties would be waste.
                let properties = if publish.retain() || publish.qos() > 0 {
                    publish.encoded_properties()
                } else {
                    Vec::new()
                };
                let source = Source {
                    received,
                    principal: &client.principal,
                    correlation: correlation::of(
                        publish.user_property("correlation-id"),
                        publish.user_property("traceparent"),
                    ),
                    topic: publish.topic(),
                    qos: publish.qos(),
                    retain: publish.retain(),
                    owed: publish.is_owed(),
                    payload: publish.payload(),
                    properties: &properties,
                };
                let mut whole = None;
                self.ingest.map(&source, scratch, |part, record| {
                    if part == Part::Whole {
                        whole = Some(batch.len() as Offset);
                    }
                    batch.push(record);
                });
                messages.push(whole);
            }
        });
        if batch.is_empty() && !publishes.is_empty() {
            // Only messages that nobody asked to be kept.
            return receipt.committed(Placed::default());
        }
        let records = batch.len() as Offset;
        let on_durable = move |result: Result<Offset, &AppendError>| match result {
            Ok(first) => {
                messages.iter_mut().flatten().for_each(|offset| *offset += first);
                receipt.committed(Placed { first, messages: &messages, end: first + records });
            }
            Err(AppendError::NoSpace(_) | AppendError::LimitReached { .. }) => {
                receipt.refused(Refusal::NoSpace)
            }
            Err(_) => receipt.refused(Refusal::Internal),
        };
        self.pipeline.submit(batch, *permit, Box::new(on_durable));
    }
}
