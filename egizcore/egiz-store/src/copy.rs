//! A copy of the whole registry while it is in use, for backups: one consistent moment, in a file of its own.

use std::path::Path;

use crate::database::create_private;
use crate::error::StoreError;
use crate::store::Store;

impl Store {
    /// Writes the registry as it is now into a new file, which only its owner can read. Reads and writes go on meanwhile.
    ///
    /// # Errors
    /// When the file exists with something in it or cannot be written, or the database refuses.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let failed = StoreError::during("write a copy of itself");
        create_private(path).map_err(|error| failed(error.into()))?;
        let name = path.to_str().ok_or_else(|| StoreError::invalid("path", "must be UTF-8"))?;
        sqlx::query("VACUUM INTO $1").bind(name).execute(self.database.reader()).await.map_err(failed)?;
        Ok(())
    }
}
