//! Makes Things of discovered devices where the configuration says so, from the template whose pattern fits best.
//!
//! It looks at the engine's list, not at events, so nothing is missed when much is heard at once. A device that the engine
//! refuses (there are as many Things as allowed) is tried again when something has changed or a minute has passed.

use std::sync::Arc;
use std::time::Duration;

use egiz_model::ThingId;
use egiz_model::record::{Body, Header, Preconditions, Record, ThingWrite, WriteOperation};
use egiz_server::{Clock, WriteGate};
use egiz_store::{PageRequest, Store, Template};
use egiz_twin::{Engine, Outcome, WriteOutcome};
use parking_lot::RwLock;
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Devices accepted with one commit.
const BATCH_DEVICES: usize = 256;
/// How long after a refusal nothing is tried.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// What the acceptor works with.
pub(crate) struct Acceptor {
    pub(crate) engine: Arc<RwLock<Engine>>,
    pub(crate) writes: Arc<dyn WriteGate>,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// Told when a device was discovered.
    pub(crate) heard: Arc<Notify>,
}

impl Acceptor {
    /// Runs until `stop`.
    ///
    /// # Errors
    /// Where the templates cannot be read or a write is not possible; it may be started again.
    pub(crate) async fn run(&self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let mut all_accepted = true;
            loop {
                let waiting: Vec<String> = self
                    .engine
                    .read()
                    .discovered()
                    .take(BATCH_DEVICES)
                    .map(|(id, _)| id.to_owned())
                    .collect();
                if waiting.is_empty() {
                    break;
                }
                all_accepted = self.accept(&waiting).await?;
                if !all_accepted {
                    break;
                }
            }
            let again = async {
                if all_accepted {
                    self.heard.notified().await;
                } else {
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
            };
            tokio::select! {
                () = again => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Asks for a Thing for each device; whether every one was made.
    async fn accept(&self, devices: &[String]) -> anyhow::Result<bool> {
        let templates = all_templates(&self.store).await?;
        let now = (self.clock)();
        let header = Header { received: now, principal: "openegiz/acceptor", correlation: "" };
        let mut records = Vec::with_capacity(devices.len());
        for device in devices {
            let name = ThingId::new(device).map_or_else(|_| device.clone(), |id| id.name().to_owned());
            let content = match egiz_store::best_match(&templates, &name) {
                Some(template) => {
                    json!({"definition": template.definition, "attributes": template.attributes})
                }
                None => json!({}),
            };
            let content = content.to_string();
            let write = ThingWrite {
                thing: device,
                operation: WriteOperation::Accept,
                path: "",
                content: content.as_bytes(),
                preconditions: Preconditions::default(),
            };
            records.push(Record { header, body: Body::ThingWrite(write) }.to_bytes());
        }
        let applied = self.writes.submit(records).await?;
        let refused = applied.iter().find_map(|applied| match &applied.outcome {
            Outcome::Write(WriteOutcome::Refused(refusal)) => Some(refusal),
            _ => None,
        });
        if let Some(refusal) = refused {
            tracing::warn!(%refusal, "a discovered device did not become a Thing");
        }
        Ok(refused.is_none())
    }
}

/// Every template of the registry.
///
/// # Errors
/// Where the registry cannot be read.
pub(crate) async fn all_templates(store: &Store) -> anyhow::Result<Vec<Template>> {
    let mut templates = Vec::new();
    let mut request = PageRequest::first(200);
    loop {
        let page = store.list_templates(request).await?;
        templates.extend(page.items.into_iter().map(|stored| stored.template));
        match page.next {
            Some(next) => request = PageRequest::after(next, 200),
            None => return Ok(templates),
        }
    }
}
