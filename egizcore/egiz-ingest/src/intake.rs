//! From one MQTT message to what the journal keeps of it; lines come in beside it (`lines.rs`).

use std::sync::Arc;

use egiz_model::Timestamp;
use egiz_model::record::{Body, Header, Message, Record};

use crate::clock::ClockRules;
use crate::metrics::IngestMetrics;
use crate::payload::{Envelope, PayloadLimits, RejectReason, Rejection, read_status, write_telemetry};
use crate::rejected::{RejectedList, RejectedMessage};
use crate::topic::{DeviceTopic, TopicKind};

/// What ingest is told once.
#[derive(Debug, Clone, Copy, Default)]
pub struct IngestConfig {
    /// Which source times are believed.
    pub clocks: ClockRules,
    /// How large a message may be in itself.
    pub limits: PayloadLimits,
    /// How many messages that were not understood are kept for inspection.
    pub rejected_kept: usize,
}

/// A message and where it came from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// When the platform took it in.
    pub received: Timestamp,
    /// Who published it.
    pub principal: &'a str,
    /// The correlation id that came along, or empty.
    pub correlation: &'a str,
    /// Topic name.
    pub topic: &'a str,
    /// Quality of service, 0 to 2.
    pub qos: u8,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Whether a subscriber is owed it, so that it is to be kept whole whatever it says.
    pub owed: bool,
    /// Payload.
    pub payload: &'a [u8],
    /// MQTT 5 properties to pass on, in the broker's own encoding.
    pub properties: &'a [u8],
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapped {
    /// Samples of a Thing.
    Telemetry,
    /// Presence of a device.
    Status,
    /// Kept as it is: not a topic that feeds Things.
    Other,
    /// Kept as it is, because it was not understood.
    Rejected,
}

/// What one record says of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its samples, or the device's presence.
    Content,
    /// The message itself, as it came.
    Whole,
}

/// Maps messages to records.
#[derive(Debug)]
pub struct Ingest {
    config: IngestConfig,
    metrics: IngestMetrics,
    rejected: RejectedList,
}

impl Ingest {
    /// Makes a mapper.
    #[must_use]
    pub fn new(config: IngestConfig, metrics: IngestMetrics) -> Self {
        Self { rejected: RejectedList::new(config.rejected_kept), config, metrics }
    }

    /// Calls `append` with each record that the journal is to keep of `source`: the samples or the presence, and the
    /// message itself where somebody may ask for it again (it is retained, owed to a subscriber, feeds no Thing, or was not
    /// understood). `scratch` is overwritten; keeping it between calls saves allocations.
    pub fn map(
        &self,
        source: &Source<'_>,
        scratch: &mut Vec<u8>,
        mut append: impl FnMut(Part, &[u8]),
    ) -> Mapped {
        scratch.clear();
        let result = match DeviceTopic::parse(source.topic) {
            Some(topic) => self.map_device_message(topic, source, scratch),
            None => Ok(Mapped::Other),
        };
        if !scratch.is_empty() {
            append(Part::Content, scratch);
        }
        let mapped = match result {
            Ok(mapped) => mapped,
            Err(rejection) => {
                self.metrics.rejected_for(rejection.reason).inc();
                self.rejected.keep(
                    source.received,
                    source.principal,
                    source.topic,
                    source.payload,
                    rejection,
                );
                Mapped::Rejected
            }
        };
        match mapped {
            Mapped::Telemetry => self.metrics.telemetry.inc(),
            Mapped::Status => self.metrics.status.inc(),
            Mapped::Other => self.metrics.other.inc(),
            Mapped::Rejected => 0,
        };
        let keep_whole = source.retain
            || source.owed
            || (source.qos > 0 && matches!(mapped, Mapped::Other | Mapped::Rejected));
        if keep_whole {
            let message = Message {
                topic: source.topic,
                qos: source.qos,
                retain: source.retain,
                payload: source.payload,
                properties: source.properties,
            };
            let record = Record { header: header(source), body: Body::Message(message) };
            scratch.clear();
            record.encode(scratch);
            append(Part::Whole, scratch);
        }
        mapped
    }

    pub(crate) fn config(&self) -> &IngestConfig {
        &self.config
    }

    pub(crate) fn metrics(&self) -> &IngestMetrics {
        &self.metrics
    }

    /// Counts a line that was not understood, and keeps it in the list where there is room for one of its body.
    pub(crate) fn note_rejected(
        &self,
        is_kept: bool,
        source: &egiz_influx::Lines<'_>,
        line: &[u8],
        rejection: Rejection,
    ) {
        self.metrics.rejected_for(rejection.reason).inc();
        if is_kept {
            self.rejected.keep(source.received, source.principal, source.place, line, rejection);
        } else {
            self.rejected.count();
        }
    }

    fn map_device_message(
        &self,
        topic: DeviceTopic<'_>,
        source: &Source<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Mapped, Rejection> {
        let mut thing = String::with_capacity(64);
        topic.write_thing_id(&mut thing).map_err(|broken| Rejection {
            reason: RejectReason::Name,
            detail: format!("the topic names no Thing: {broken}"),
        })?;
        match topic.kind {
            TopicKind::Telemetry => {
                let envelope = Envelope { header: header(source), thing: &thing, device: topic.device };
                write_telemetry(&envelope, source.payload, self.config.limits, self.config.clocks, out)?;
                Ok(Mapped::Telemetry)
            }
            // An empty payload clears the retained status; it says nothing about the device.
            TopicKind::Status if source.payload.is_empty() => Ok(Mapped::Other),
            TopicKind::Status => {
                let online = read_status(source.payload)?;
                Record { header: header(source), body: Body::Presence { thing: &thing, online } }.encode(out);
                Ok(Mapped::Status)
            }
        }
    }

    /// The messages last rejected, newest first, and how many there have been since the program started.
    #[must_use]
    pub fn rejected(&self) -> (u64, Vec<Arc<RejectedMessage>>) {
        self.rejected.newest_first()
    }
}

fn header<'a>(source: &Source<'a>) -> Header<'a> {
    Header { received: source.received, principal: source.principal, correlation: source.correlation }
}
