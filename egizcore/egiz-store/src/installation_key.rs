//! Keys that belong to this installation: made by chance when first asked for, the same ever after and on every
//! replica, such as the one that binds the API's cursors. They are not part of an export.

use base64ct::{Base64UrlUnpadded, Encoding};
use sqlx::Row;

use crate::database::commit;
use crate::error::StoreError;
use crate::store::{Store, check_name};

impl Store {
    /// Gives the installation's key of this name, making it if there is none.
    ///
    /// # Errors
    /// When the name is out of range, the row is damaged or the database refuses.
    pub async fn installation_key(&self, name: &str) -> Result<[u8; 32], StoreError> {
        check_name("name", name)?;
        let failed = StoreError::during("read an installation key");
        let row_name = format!("key:{name}");
        let mut fresh = [0_u8; 32];
        (self.random)(&mut fresh);
        let mut write = self.database.write().await?;
        sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(&row_name)
            .bind(Base64UrlUnpadded::encode_string(&fresh))
            .execute(&mut *write)
            .await
            .map_err(&failed)?;
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(&row_name)
            .fetch_one(&mut *write)
            .await
            .map_err(&failed)?;
        commit(write).await?;
        let bytes = Base64UrlUnpadded::decode_vec(&row.get::<String, _>("value")).unwrap_or_default();
        bytes.try_into().map_err(|_| StoreError::Damaged {
            kind: "installation key",
            key: name.to_owned(),
            reason: "it is not 32 bytes of base64url".to_owned(),
        })
    }
}
