//! The files in force at one moment, for who copies them while history goes on.
//!
//! It refuses to copy anything itself, and to wait: while the files are told, no other manifest can be put in force, so each of
//! them is there; it is for making links, not for reading.

use egiz_model::Offset;

use super::Historian;
use crate::manifest::Manifest;

/// A file in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInForce<'a> {
    /// Its name in the history's folder.
    pub name: &'a str,
    /// Its length; nothing for the manifest, whose length is that of the file.
    pub bytes: Option<u64>,
    /// Whether it could be opened. One that could not is named in the manifest all the same, and may be missing.
    pub is_usable: bool,
}

impl Historian {
    /// Tells each file that belongs to the history now, the manifest last. Returns the offset of the first record that is
    /// in none of them.
    ///
    /// # Errors
    /// The first that `each` gives.
    pub fn files_in_force<E>(
        &self,
        mut each: impl FnMut(FileInForce<'_>) -> Result<(), E>,
    ) -> Result<Offset, E> {
        let _changing = self.changing.lock();
        let published = std::sync::Arc::clone(&self.state.lock().published);
        for (entry, part) in published.manifest.parts.iter().zip(&published.parts) {
            each(FileInForce { name: &entry.name, bytes: Some(entry.bytes), is_usable: part.is_some() })?;
        }
        if published.manifest != Manifest::default() {
            each(FileInForce { name: Manifest::FILE_NAME, bytes: None, is_usable: true })?;
        }
        Ok(published.manifest.next_offset)
    }
}
