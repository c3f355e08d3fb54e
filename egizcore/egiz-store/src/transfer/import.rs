//! Reads a document into the registry: every item is checked and reported; if one is refused, nothing is written.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::Row;

use super::document::{DeviceItem, ImportedThing, RegistryDocument};
use crate::audit::{self, Author};
use crate::credential::CredentialHash;
use crate::database::{Write, commit};
use crate::device::{self, Device, DeviceKey, NewDevice};
use crate::error::StoreError;
use crate::store::Store;
use crate::template::{self, Template};

/// A document cannot be imported at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is not JSON of the expected form.
    #[error("document is not a registry export")]
    Form(#[source] serde_json::Error),
    /// It is something else.
    #[error("document has the format {found:?}, not \"openegiz-registry\"")]
    Format {
        /// What it says it is.
        found: String,
    },
    /// It is of a version that this program does not read.
    #[error("document has version {found}; this program reads version 1")]
    Version {
        /// Its version.
        found: u64,
    },
    /// The registry failed; nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What happens to an item whose key exists with other content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExisting {
    /// The item is refused, and with it the import.
    #[default]
    Refuse,
    /// What exists stays.
    Keep,
    /// The item replaces it. A device without a credential in the document keeps the one it has.
    Replace,
}

/// How to import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Report what would happen and write nothing.
    pub dry_run: bool,
    /// What happens to items whose key exists.
    pub on_existing: OnExisting,
}

/// What happened to one item, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It is new.
    Created,
    /// It replaced what was there.
    Replaced,
    /// The same was there already.
    Unchanged,
    /// Something else was there and stays.
    Kept,
    /// It is sound; the caller submits it as a record.
    ToSubmit,
    /// It broke a rule; nothing of the document is written.
    Refused {
        /// Which rule, with a JSON pointer into the item where that helps.
        reason: String,
    },
}

/// One item's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemReport {
    /// Where in the document, as a JSON pointer.
    pub pointer: String,
    /// The item's key, as far as it could be read.
    pub key: String,
    /// What happened.
    pub outcome: ImportOutcome,
}

/// The report of an import.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportReport {
    /// Whether templates and devices were written: not in a dry run, and not if an item was refused.
    pub applied: bool,
    /// One report per item, in the document's order: templates, Things, devices.
    pub items: Vec<ItemReport>,
    /// The Things to submit as records; empty if an item was refused.
    pub things: Vec<ImportedThing>,
}

impl ImportReport {
    /// The items that were refused.
    pub fn refused(&self) -> impl Iterator<Item = &ItemReport> {
        self.items.iter().filter(|item| matches!(item.outcome, ImportOutcome::Refused { .. }))
    }
}

impl Store {
    /// Imports a document in one transaction.
    ///
    /// # Errors
    /// When the database refuses. Faults of items are in the report instead.
    pub async fn import(
        &self,
        document: &RegistryDocument,
        options: ImportOptions,
        author: &Author,
    ) -> Result<ImportReport, ImportError> {
        let mut write = self.database.write().await?;
        let mut items = Vec::new();
        for (index, value) in document.templates.iter().enumerate() {
            let outcome = import_template(&mut write, value, options.on_existing, author).await?;
            items.push(report(format!("/templates/{index}"), value, &["name"], outcome));
        }
        let mut things = Vec::new();
        for (index, value) in document.things.iter().enumerate() {
            let outcome = match read::<ImportedThing>(value) {
                Ok(thing) => {
                    things.push(thing);
                    ImportOutcome::ToSubmit
                }
                Err(reason) => ImportOutcome::Refused { reason },
            };
            items.push(report(format!("/things/{index}"), value, &["thing_id"], outcome));
        }
        let mut endings = Vec::new();
        for (index, value) in document.devices.iter().enumerate() {
            let outcome = import_device(&mut write, value, options.on_existing, author).await?;
            if !options.dry_run
                && outcome == ImportOutcome::Replaced
                && let Ok((device, _)) = read_device(value)
            {
                endings.push(self.sign_ins.end_with(&device.key));
            }
            items.push(report(format!("/devices/{index}"), value, &["site", "name"], outcome));
        }
        let mut result = ImportReport { applied: false, items, things };
        if result.refused().next().is_some() {
            result.things.clear();
            return Ok(result);
        }
        if !options.dry_run {
            let details = json!({"items": result.items.len(), "to_submit": result.things.len()});
            audit::record(&mut write, author, "registry.import", "", details).await?;
            commit(write).await?;
            result.applied = true;
        }
        Ok(result)
    }
}

async fn import_template(
    write: &mut Write,
    value: &Value,
    on_existing: OnExisting,
    author: &Author,
) -> Result<ImportOutcome, StoreError> {
    let template = match Template::from_json(value) {
        Ok(template) => template,
        Err(error) => return Ok(ImportOutcome::Refused { reason: error.to_string() }),
    };
    let existing = sqlx::query(
        "SELECT name, body, version, created_micros, modified_micros FROM templates WHERE name = $1",
    )
    .bind(&template.name)
    .fetch_optional(&mut **write)
    .await
    .map_err(StoreError::during("import a template"))?;
    let existing = existing.as_ref().map(template::stored_row).transpose()?;
    let same = existing.map(|stored| stored.template == template);
    let outcome = decide(same, on_existing);
    if writes(&outcome) {
        template::upsert(write, &template, author.at).await?;
    }
    Ok(outcome)
}

async fn import_device(
    write: &mut Write,
    value: &Value,
    on_existing: OnExisting,
    author: &Author,
) -> Result<ImportOutcome, StoreError> {
    let (new, item) = match read_device(value) {
        Ok(read) => read,
        Err(reason) => return Ok(ImportOutcome::Refused { reason }),
    };
    let row = sqlx::query(
        "SELECT site, name, thing_id, credential, enabled, created_micros, credential_changed_micros
         FROM devices WHERE site = $1 AND name = $2",
    )
    .bind(&new.key.site)
    .bind(&new.key.name)
    .fetch_optional(&mut **write)
    .await
    .map_err(StoreError::during("import a device"))?;
    let existing = row.as_ref().map(device::device_row).transpose()?;
    let old_hash: Option<String> = row.as_ref().and_then(|row| row.get("credential"));
    let hash = item.credential.clone().or_else(|| old_hash.clone());
    let same = existing
        .as_ref()
        .map(|device| device.thing_id == new.thing_id && device.enabled == item.enabled && old_hash == hash);
    let outcome = decide(same, on_existing);
    if writes(&outcome) {
        let device = Device {
            key: new.key,
            thing_id: new.thing_id,
            has_credential: hash.is_some(),
            enabled: item.enabled,
            created: author.at,
            credential_changed: if old_hash == hash {
                existing.and_then(|device| device.credential_changed)
            } else {
                Some(author.at)
            },
        };
        device::replace(write, &device, hash.as_deref()).await?;
    }
    Ok(outcome)
}

/// Decides from whether something exists (`Some`) and is the same.
fn decide(same: Option<bool>, on_existing: OnExisting) -> ImportOutcome {
    match (same, on_existing) {
        (None, _) => ImportOutcome::Created,
        (Some(true), _) => ImportOutcome::Unchanged,
        (Some(false), OnExisting::Keep) => ImportOutcome::Kept,
        (Some(false), OnExisting::Replace) => ImportOutcome::Replaced,
        (Some(false), OnExisting::Refuse) => {
            ImportOutcome::Refused { reason: "exists already with other content".to_owned() }
        }
    }
}

fn writes(outcome: &ImportOutcome) -> bool {
    matches!(outcome, ImportOutcome::Created | ImportOutcome::Replaced)
}

fn read_device(value: &Value) -> Result<(NewDevice, DeviceItem), String> {
    let item: DeviceItem = read(value)?;
    let new = NewDevice {
        key: DeviceKey::new(item.site.clone(), item.name.clone()),
        thing_id: item.thing_id.clone(),
    };
    device::check_device(&new).map_err(|error| error.to_string())?;
    if let Some(hash) = &item.credential {
        CredentialHash::parse(hash).map_err(|error| format!("/credential: {error}"))?;
    }
    Ok((new, item))
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}

fn report(pointer: String, value: &Value, key: &[&str], outcome: ImportOutcome) -> ItemReport {
    let parts: Vec<_> = key.iter().filter_map(|member| value.get(member)?.as_str()).collect();
    let key = parts.join("/").chars().take(256).collect();
    ItemReport { pointer, key, outcome }
}
