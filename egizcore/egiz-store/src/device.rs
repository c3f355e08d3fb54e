//! Devices: who may publish, and as which Thing. A device is keyed by site and name, the two levels of its topic.

use std::fmt;

use egiz_model::{ThingId, Timestamp};
use serde_json::json;
use sqlx::Row;
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Author};
use crate::credential::{CredentialHash, Secret};
use crate::database::{DbRow, Write, commit};
use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::store::{Store, check_name, moment, thing_id};

const KIND: &str = "device";

/// A device's key: the site and the device level of its topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKey {
    /// The site.
    pub site: String,
    /// The device's name, unique in its site.
    pub name: String,
}

impl DeviceKey {
    /// Makes a key.
    pub fn new(site: impl Into<String>, name: impl Into<String>) -> DeviceKey {
        DeviceKey { site: site.into(), name: name.into() }
    }
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.site, self.name)
    }
}

/// A device as the registry shows it; the credential's hash stays inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Site and name.
    pub key: DeviceKey,
    /// The Thing that it speaks for.
    pub thing_id: ThingId,
    /// Whether a credential is set; without one the device can sign in only where anonymous access is allowed.
    pub has_credential: bool,
    /// Whether it may sign in.
    pub enabled: bool,
    /// When it was created.
    pub created: Timestamp,
    /// When its credential was last set, replaced or removed.
    pub credential_changed: Option<Timestamp>,
}

/// A device to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Site and name.
    pub key: DeviceKey,
    /// The Thing that it speaks for.
    pub thing_id: ThingId,
}

/// A device whose credential was right.
#[derive(Debug, Clone)]
pub struct DeviceIdentity {
    /// Site and name: the topics it may use.
    pub key: DeviceKey,
    /// The Thing that it speaks for.
    pub thing_id: ThingId,
    /// Cancelled when the device is disabled or deleted or its credential changes: what it has opened is then to be closed.
    pub revoked: CancellationToken,
}

impl Store {
    /// Creates a device without a credential.
    ///
    /// # Errors
    /// When the site or name is out of range, the device exists, or the database refuses.
    pub async fn create_device(&self, device: &NewDevice, author: &Author) -> Result<(), StoreError> {
        check_device(device)?;
        let mut write = self.database.write().await?;
        let done = sqlx::query(
            "INSERT INTO devices (site, name, thing_id, credential, enabled, created_micros)
             VALUES ($1, $2, $3, NULL, TRUE, $4) ON CONFLICT (site, name) DO NOTHING",
        )
        .bind(&device.key.site)
        .bind(&device.key.name)
        .bind(device.thing_id.as_str())
        .bind(author.at.as_micros())
        .execute(&mut *write)
        .await
        .map_err(StoreError::during("create a device"))?;
        if done.rows_affected() == 0 {
            return Err(StoreError::already_exists(KIND, device.key.to_string()));
        }
        let details = json!({"thing_id": device.thing_id.as_str()});
        audit::record(&mut write, author, "device.create", &device.key.to_string(), details).await?;
        commit(write).await
    }

    /// Reads one device.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn device(&self, key: &DeviceKey) -> Result<Option<Device>, StoreError> {
        let row = sqlx::query(
            "SELECT site, name, thing_id, credential, enabled, created_micros, credential_changed_micros
             FROM devices WHERE site = $1 AND name = $2",
        )
        .bind(&key.site)
        .bind(&key.name)
        .fetch_optional(self.database.reader())
        .await
        .map_err(StoreError::during("read a device"))?;
        row.as_ref().map(device_row).transpose()
    }

    /// Lists devices by site and name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list_devices(
        &self,
        page: PageRequest<DeviceKey>,
    ) -> Result<Page<Device, DeviceKey>, StoreError> {
        let after = page.after.clone().unwrap_or_else(|| DeviceKey::new("", ""));
        let rows = sqlx::query(
            "SELECT site, name, thing_id, credential, enabled, created_micros, credential_changed_micros
             FROM devices WHERE (site, name) > ($1, $2) ORDER BY site, name LIMIT $3",
        )
        .bind(after.site)
        .bind(after.name)
        .bind(page.fetch_rows())
        .fetch_all(self.database.reader())
        .await
        .map_err(StoreError::during("list devices"))?;
        let items = rows.iter().map(device_row).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, &page, |device: &Device| device.key.clone()))
    }

    /// Allows or forbids a device to sign in.
    ///
    /// # Errors
    /// When the device does not exist or the database refuses.
    pub async fn enable_device(
        &self,
        key: &DeviceKey,
        enabled: bool,
        author: &Author,
    ) -> Result<(), StoreError> {
        let _ending = self.sign_ins.end_with(key);
        let mut write = self.database.write().await?;
        let done = sqlx::query("UPDATE devices SET enabled = $3 WHERE site = $1 AND name = $2")
            .bind(&key.site)
            .bind(&key.name)
            .bind(enabled)
            .execute(&mut *write)
            .await
            .map_err(StoreError::during("change a device"))?;
        found(done.rows_affected(), key)?;
        let details = json!({"enabled": enabled});
        audit::record(&mut write, author, "device.enable", &key.to_string(), details).await?;
        commit(write).await
    }

    /// Gives a device a new generated secret and returns it, the only time that it can be read. The old one stops
    /// to work at once.
    ///
    /// # Errors
    /// When the device does not exist or the database refuses.
    pub async fn generate_device_secret(
        &self,
        key: &DeviceKey,
        author: &Author,
    ) -> Result<Secret, StoreError> {
        let secret = Secret::generate(&self.random);
        let hash = CredentialHash::of_secret(&secret, &self.random);
        self.write_credential(key, Some(hash), "generated", author).await?;
        Ok(secret)
    }

    /// Gives a device a password that a person chose, 12 characters to 512 bytes.
    ///
    /// # Errors
    /// When the password breaks its rules, too many checks are waiting, the device does not exist, or the database
    /// refuses.
    pub async fn set_device_password(
        &self,
        key: &DeviceKey,
        password: &str,
        author: &Author,
    ) -> Result<(), StoreError> {
        let hash = self.verifier.hash(password, &self.random).await?;
        self.write_credential(key, Some(hash), "chosen", author).await
    }

    /// Takes a device's credential away.
    ///
    /// # Errors
    /// When the device does not exist or the database refuses.
    pub async fn remove_device_credential(&self, key: &DeviceKey, author: &Author) -> Result<(), StoreError> {
        self.write_credential(key, None, "removed", author).await
    }

    /// Deletes a device; its Thing stays.
    ///
    /// # Errors
    /// When the device does not exist or the database refuses.
    pub async fn delete_device(&self, key: &DeviceKey, author: &Author) -> Result<(), StoreError> {
        let _ending = self.sign_ins.end_with(key);
        let mut write = self.database.write().await?;
        let done = sqlx::query("DELETE FROM devices WHERE site = $1 AND name = $2")
            .bind(&key.site)
            .bind(&key.name)
            .execute(&mut *write)
            .await
            .map_err(StoreError::during("delete a device"))?;
        found(done.rows_affected(), key)?;
        audit::record(&mut write, author, "device.delete", &key.to_string(), json!({})).await?;
        commit(write).await
    }

    /// Checks a device's secret or password. `None` for a wrong one as for an unknown, disabled or credential-less
    /// device; the cost does not tell which.
    ///
    /// # Errors
    /// When too many checks are waiting or the database refuses.
    pub async fn authenticate_device(
        &self,
        key: &DeviceKey,
        presented: &str,
    ) -> Result<Option<DeviceIdentity>, StoreError> {
        loop {
            let changes = self.sign_ins.changes();
            let Some(thing_id) = self.check_device(key, presented).await? else { return Ok(None) };
            // A change that was committed meanwhile may be of this very credential.
            if let Some(revoked) = self.sign_ins.sign_in(key, changes) {
                return Ok(Some(DeviceIdentity { key: key.clone(), thing_id, revoked }));
            }
        }
    }

    async fn check_device(&self, key: &DeviceKey, presented: &str) -> Result<Option<ThingId>, StoreError> {
        let row =
            sqlx::query("SELECT thing_id, credential, enabled FROM devices WHERE site = $1 AND name = $2")
                .bind(&key.site)
                .bind(&key.name)
                .fetch_optional(self.database.reader())
                .await
                .map_err(StoreError::during("check a device"))?;
        let stored: Option<String> = row.as_ref().and_then(|row| row.get("credential"));
        let right = self.verifier.verify(presented, stored.as_deref()).await?;
        let enabled = row.filter(|row| row.get::<bool, _>("enabled"));
        enabled.filter(|_| right).map(|row| thing_id(&row)).transpose()
    }

    async fn write_credential(
        &self,
        key: &DeviceKey,
        hash: Option<CredentialHash>,
        how: &'static str,
        author: &Author,
    ) -> Result<(), StoreError> {
        let _ending = self.sign_ins.end_with(key);
        let mut write = self.database.write().await?;
        let done = sqlx::query(
            "UPDATE devices SET credential = $3, credential_changed_micros = $4 WHERE site = $1 AND name = $2",
        )
        .bind(&key.site)
        .bind(&key.name)
        .bind(hash.as_ref().map(CredentialHash::as_str))
        .bind(author.at.as_micros())
        .execute(&mut *write)
        .await
        .map_err(StoreError::during("change a device's credential"))?;
        found(done.rows_affected(), key)?;
        let details = json!({"credential": how});
        audit::record(&mut write, author, "device.credential", &key.to_string(), details).await?;
        commit(write).await
    }
}

/// Checks the fields of a new device.
pub(crate) fn check_device(device: &NewDevice) -> Result<(), StoreError> {
    check_name("site", &device.key.site)?;
    check_name("name", &device.key.name)
}

/// Writes a device with all its columns, for an import.
pub(crate) async fn replace(
    write: &mut Write,
    device: &Device,
    hash: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO devices (site, name, thing_id, credential, enabled, created_micros, credential_changed_micros)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (site, name) DO UPDATE SET thing_id = excluded.thing_id, credential = excluded.credential,
             enabled = excluded.enabled, credential_changed_micros = excluded.credential_changed_micros",
    )
    .bind(&device.key.site)
    .bind(&device.key.name)
    .bind(device.thing_id.as_str())
    .bind(hash)
    .bind(device.enabled)
    .bind(device.created.as_micros())
    .bind(device.credential_changed.map(Timestamp::as_micros))
    .execute(&mut **write)
    .await
    .map_err(StoreError::during("import a device"))?;
    Ok(())
}

pub(crate) fn device_row(row: &DbRow) -> Result<Device, StoreError> {
    Ok(Device {
        key: DeviceKey::new(row.get::<String, _>("site"), row.get::<String, _>("name")),
        thing_id: thing_id(row)?,
        has_credential: row.get::<Option<String>, _>("credential").is_some(),
        enabled: row.get("enabled"),
        created: moment(row, "created_micros"),
        credential_changed: row
            .get::<Option<i64>, _>("credential_changed_micros")
            .map(Timestamp::from_micros),
    })
}

fn found(rows: u64, key: &DeviceKey) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::not_found(KIND, key.to_string())) } else { Ok(()) }
}
