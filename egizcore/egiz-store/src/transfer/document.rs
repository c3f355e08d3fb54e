//! The document's form, version 1. A golden file in `tests/golden` holds it: a new version reads it for ever.

use egiz_model::{ThingId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::import::ImportError;

pub(super) const FORMAT: &str = "openegiz-registry";
pub(super) const VERSION: u64 = 1;

/// An exported registry. Items stay JSON until they are imported, so that one faulty item does not hide the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryDocument {
    /// Always `openegiz-registry`.
    pub format: String,
    /// The form of the items: 1.
    pub version: u64,
    /// When it was exported.
    pub exported: Timestamp,
    /// Templates in the form of [`Template::to_json`](crate::Template::to_json).
    #[serde(default)]
    pub templates: Vec<Value>,
    /// The registry part of Things: [`ImportedThing`], and for reading only their revision and times.
    #[serde(default)]
    pub things: Vec<Value>,
    /// Devices, with the hash of their credential only if the export was asked for it.
    #[serde(default)]
    pub devices: Vec<Value>,
}

impl RegistryDocument {
    /// Reads a document's outer form; the items are checked by the import.
    ///
    /// # Errors
    /// When the text is not JSON of this form or the version is unknown.
    pub fn from_json(text: &str) -> Result<RegistryDocument, ImportError> {
        let document: RegistryDocument = serde_json::from_str(text).map_err(ImportError::Form)?;
        if document.format != FORMAT {
            return Err(ImportError::Format { found: document.format });
        }
        if document.version != VERSION {
            return Err(ImportError::Version { found: document.version });
        }
        Ok(document)
    }

    /// Writes the document as indented JSON with a final line feed.
    pub fn to_json(&self) -> String {
        // Members in order of their names, so that two exports of the same registry are the same text.
        let mut sorted = self.clone();
        for item in sorted.templates.iter_mut().chain(&mut sorted.things).chain(&mut sorted.devices) {
            item.sort_all_objects();
        }
        let mut text = serde_json::to_string_pretty(&sorted)
            .expect("JSON values with text keys always have a text form");
        text.push('\n');
        text
    }
}

/// The part of a Thing that the registry knows; the caller submits it as a record.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedThing {
    /// Its id.
    pub thing_id: ThingId,
    /// `namespace:name:version`, if it has one.
    #[serde(default)]
    pub definition: Option<String>,
    /// Its attributes.
    #[serde(default)]
    pub attributes: Map<String, Value>,
    /// The template that it was accepted from.
    #[serde(default)]
    pub template: Option<String>,
    /// Its revision where it was exported; information only, the journal gives the new one.
    #[serde(default)]
    pub revision: u64,
    /// When it was created there.
    #[serde(default)]
    pub created: Timestamp,
    /// When it last changed there.
    #[serde(default)]
    pub modified: Timestamp,
}

/// A device as exported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceItem {
    pub(super) site: String,
    pub(super) name: String,
    pub(super) thing_id: ThingId,
    #[serde(default = "enabled")]
    pub(super) enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) credential: Option<String>,
}

fn enabled() -> bool {
    true
}
