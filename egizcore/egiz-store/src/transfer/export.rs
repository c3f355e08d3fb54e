//! Writes the document from one consistent view of the registry.

use serde_json::{Value, json};
use sqlx::Row;

use super::document::{DeviceItem, FORMAT, RegistryDocument, VERSION};
use crate::audit::Author;
use crate::database::DbRow;
use crate::error::StoreError;
use crate::store::{Store, moment, thing_id, to_u64};
use crate::template::stored_row;

/// What to export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// Include the hashes of devices' credentials, so that devices can sign in after an import elsewhere. They are
    /// one-way, but those of chosen passwords can be attacked off-line: treat such a document as a secret.
    pub credential_hashes: bool,
}

impl Store {
    /// Exports templates, Things and devices, each in key order.
    ///
    /// # Errors
    /// When a row is damaged or the database refuses.
    pub async fn export(
        &self,
        options: ExportOptions,
        author: &Author,
    ) -> Result<RegistryDocument, StoreError> {
        let failed = StoreError::during("export");
        let mut view = self.database.reader().begin().await.map_err(&failed)?;
        let templates = sqlx::query(
            "SELECT name, body, version, created_micros, modified_micros FROM templates ORDER BY name",
        )
        .fetch_all(&mut *view)
        .await
        .map_err(&failed)?;
        let things = sqlx::query(
            "SELECT thing_id, definition, attributes, template, revision, created_micros, modified_micros
             FROM things ORDER BY thing_id",
        )
        .fetch_all(&mut *view)
        .await
        .map_err(&failed)?;
        let devices =
            sqlx::query("SELECT site, name, thing_id, credential, enabled FROM devices ORDER BY site, name")
                .fetch_all(&mut *view)
                .await
                .map_err(&failed)?;
        view.commit().await.map_err(&failed)?;
        let document = RegistryDocument {
            format: FORMAT.to_owned(),
            version: VERSION,
            exported: author.at,
            templates: templates
                .iter()
                .map(|row| Ok(stored_row(row)?.template.to_json()))
                .collect::<Result<_, StoreError>>()?,
            things: things.iter().map(thing_item).collect::<Result<_, StoreError>>()?,
            devices: devices
                .iter()
                .map(|row| device_item(row, options))
                .collect::<Result<_, StoreError>>()?,
        };
        if options.credential_hashes {
            self.add_audit(author, "registry.export", "", json!({"credential_hashes": true})).await?;
        }
        Ok(document)
    }
}

fn thing_item(row: &DbRow) -> Result<Value, StoreError> {
    let thing_id = thing_id(row)?;
    let attributes: String = row.get("attributes");
    let attributes: Value = serde_json::from_str(&attributes).map_err(|error| StoreError::Damaged {
        kind: "Thing",
        key: thing_id.to_string(),
        reason: error.to_string(),
    })?;
    Ok(json!({
        "thing_id": thing_id.as_str(),
        "definition": row.get::<Option<String>, _>("definition"),
        "attributes": attributes,
        "template": row.get::<Option<String>, _>("template"),
        "revision": to_u64(row.get("revision")),
        "created": moment(row, "created_micros").to_string(),
        "modified": moment(row, "modified_micros").to_string(),
    }))
}

fn device_item(row: &DbRow, options: ExportOptions) -> Result<Value, StoreError> {
    let credential: Option<String> = row.get("credential");
    let item = DeviceItem {
        site: row.get("site"),
        name: row.get("name"),
        thing_id: thing_id(row)?,
        enabled: row.get("enabled"),
        credential: credential.filter(|_| options.credential_hashes),
    };
    Ok(serde_json::to_value(item).expect("a struct of texts and booleans always has a JSON form"))
}
