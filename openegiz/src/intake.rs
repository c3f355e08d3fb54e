//! From the broker to the journal: maps every message of a read to its records and commits them as one batch.

use std::cell::RefCell;
use std::sync::Arc;

use async_trait::async_trait;
use egiz_broker::{ClientInfo, Intake, Publish, Receipt, Refusal, Room};
use egiz_ingest::{Ingest, Source};
use egiz_journal::{AppendError, Batch, Permit};

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

    fn submit(&self, client: &Arc<ClientInfo>, publishes: &[Publish], room: Room, receipt: Receipt) {
        let Ok(permit) = room.downcast::<Permit>() else {
            return receipt.refused(Refusal::Internal);
        };
        let received = (self.clock)();
        let mut batch = Batch::new();
        SCRATCH.with_borrow_mut(|scratch| {
            for publish in publishes {
                // Properties are kept with the message only; encoding them for every sample would be waste.
                let properties = if publish.retain() { publish.encoded_properties() } else { Vec::new() };
                let source = Source {
                    received,
                    principal: &client.principal,
                    correlation: correlation(publish),
                    topic: publish.topic(),
                    qos: publish.qos(),
                    retain: publish.retain(),
                    owed: false,
                    payload: publish.payload(),
                    properties: &properties,
                };
                self.ingest.map(&source, scratch, |_, record| batch.push(record));
            }
        });
        if batch.is_empty() {
            // Only messages that nobody asked to be kept.
            return receipt.committed();
        }
        let on_durable = move |result: &Result<(), AppendError>| match result {
            Ok(()) => receipt.committed(),
            Err(AppendError::NoSpace(_) | AppendError::LimitReached { .. }) => {
                receipt.refused(Refusal::NoSpace)
            }
            Err(_) => receipt.refused(Refusal::Internal),
        };
        self.pipeline.submit(batch, *permit, Box::new(on_durable));
    }
}

/// The correlation id that came along, if it has the right form.
fn correlation(publish: &Publish) -> &str {
    let text = publish.correlation();
    if egiz_service::correlation::CorrelationId::parse(text).is_some() { text } else { "" }
}
