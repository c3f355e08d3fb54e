//! Keeps the registry's table of Things in step with the engine: definition, attributes and revision, for whoever exports
//! or looks from SQL. Live values are not in it.
//!
//! The observer notes which Things changed where the table has a column; once a second they are written in one
//! transaction. At start the table is made anew if it is not where the engine is, so it can always be thrown away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use egiz_model::ThingId;
use egiz_store::{Store, ThingChange, ThingRow};
use egiz_twin::{Change, ChangeKind, Engine, ThingRef};
use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_secs(1);
/// Things written in one transaction.
const BATCH_THINGS: usize = 1000;

/// Things that are not in the table as they are; bounded by the number of Things.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dirty(Arc<Mutex<BTreeSet<ThingId>>>);

impl Dirty {
    /// Notes what the table has to follow.
    pub(crate) fn note(&self, changes: &[Change]) {
        let mut dirty = None;
        for change in changes {
            let in_table = matches!(
                change.kind,
                ChangeKind::Created | ChangeKind::Deleted | ChangeKind::Definition | ChangeKind::Attributes
            );
            if in_table {
                dirty.get_or_insert_with(|| self.0.lock()).insert(change.thing.clone());
            }
        }
    }
}

/// What the projection works with.
pub(crate) struct Projection {
    pub(crate) engine: Arc<RwLock<Engine>>,
    pub(crate) store: Store,
    pub(crate) dirty: Dirty,
}

impl Projection {
    /// Runs until `stop`, then writes what is left.
    ///
    /// # Errors
    /// Where the registry does not take it; it may be started again.
    pub(crate) async fn run(&self, stop: CancellationToken) -> anyhow::Result<()> {
        self.catch_up().await?;
        loop {
            let stopping = tokio::select! {
                () = tokio::time::sleep(PAUSE) => false,
                () = stop.cancelled() => true,
            };
            let changed = std::mem::take(&mut *self.dirty.0.lock());
            if let Err(error) = self.write(&changed).await {
                self.dirty.0.lock().extend(changed);
                return Err(error);
            }
            if stopping {
                return Ok(());
            }
        }
    }

    /// Writes the whole table anew where it lags behind.
    async fn catch_up(&self) -> anyhow::Result<()> {
        let wanted = self.engine.read().next_offset();
        if self.store.projection_offset().await? == wanted {
            return Ok(());
        }
        self.store.reset_projection().await?;
        let all: BTreeSet<ThingId> = self.engine.read().things().map(|thing| thing.id().clone()).collect();
        self.write(&all).await
    }

    async fn write(&self, changed: &BTreeSet<ThingId>) -> anyhow::Result<()> {
        let changed: Vec<&ThingId> = changed.iter().collect();
        for chunk in changed.chunks(BATCH_THINGS) {
            let (changes, next_offset) = {
                let engine = self.engine.read();
                let changes = chunk.iter().map(|id| match engine.thing(id.as_str()) {
                    Some(thing) => ThingChange::Upsert(row(thing)),
                    None => ThingChange::Delete { thing_id: (*id).clone() },
                });
                (changes.collect::<Vec<_>>(), engine.next_offset())
            };
            self.store.project_things(&changes, next_offset).await?;
        }
        Ok(())
    }
}

fn row(thing: ThingRef<'_>) -> ThingRow {
    let attributes: serde_json::Map<String, serde_json::Value> = thing
        .attributes()
        .map(|attribute| (attribute.name().to_string(), attribute.value().to_json()))
        .collect();
    ThingRow {
        thing_id: thing.id().clone(),
        definition: thing.definition().map(str::to_owned),
        attributes_json: serde_json::Value::Object(attributes).to_string(),
        template: None,
        revision: thing.revision(),
        journal_offset: thing.offset(),
        created: thing.created(),
        modified: thing.modified(),
    }
}
