//! The bytes of a manifest, version 1: what a backup consists of.
//!
//! ```text
//! manifest = "openegiz-backup " sha-256 of the rest in 64 hexadecimal digits "\n" JSON
//! ```
//!
//! In an encrypted repository these bytes are sealed as a whole. Paths are relative, with `/` between their parts; a manifest
//! whose paths would lead out of the folder that is restored is damaged. A golden file, `tests/golden/manifest-v1.json`, holds
//! the reader to version 1 for good.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use egiz_model::Timestamp;
use ring::digest;
use serde::{Deserialize, Serialize};

const MAGIC: &str = "openegiz-backup ";
/// The version that is written.
pub const VERSION: u32 = 1;
const PATH_BYTES_MAX: usize = 512;

/// A file's content: its length and its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Content {
    /// Bytes.
    pub bytes: u64,
    /// The checksum, in hexadecimal digits in JSON.
    #[serde(with = "hex_32")]
    pub sha256: [u8; 32],
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A segment of the journal, as far as it was committed.
    Journal,
    /// A snapshot of the live state.
    Snapshot,
    /// A file of history, or its manifest.
    History,
    /// The registry's database.
    Registry,
    /// A learned model or another file that goes along.
    Model,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Where it lies in the data folder.
    pub path: String,
    /// What it is for.
    pub kind: FileKind,
    /// Bytes.
    pub bytes: u64,
    /// The checksum.
    #[serde(with = "hex_32")]
    pub sha256: [u8; 32],
}

impl FileEntry {
    /// What is in it.
    #[must_use]
    pub fn content(&self) -> Content {
        Content { bytes: self.bytes, sha256: self.sha256 }
    }
}

/// What a backup consists of, and what of the journal is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format's version.
    pub version: u32,
    /// The backup's name.
    pub id: String,
    /// The version of the program that made it.
    pub program: String,
    /// The site that it is of.
    pub site: String,
    /// What was acknowledged before this moment is in it.
    pub begun: Timestamp,
    /// What was received after this moment is not.
    pub taken: Timestamp,
    /// The oldest record of the journal that is in it.
    pub journal_first: u64,
    /// The offset up to which the journal is in it.
    pub journal_next: u64,
    /// Where its newest snapshot ends; nothing where there was none.
    pub snapshot_next: Option<u64>,
    /// Where its history ends; nothing where none is kept.
    pub history_next: Option<u64>,
    /// Files that were named and could not be read when it was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The files, by path.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The bytes of the manifest.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_string_pretty(self).expect("it has only texts and numbers") + "\n";
        let sum = digest::digest(&digest::SHA256, json.as_bytes());
        format!("{MAGIC}{}\n{json}", to_hex(sum.as_ref())).into_bytes()
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
        let rest = text.strip_prefix(MAGIC).ok_or("it does not begin as one")?;
        let (sum, json) = rest.split_once('\n').ok_or("it is cut short")?;
        if sum != to_hex(digest::digest(&digest::SHA256, json.as_bytes()).as_ref()) {
            return Err("its checksum does not match".to_owned());
        }
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!("it has format version {version}, this program reads {VERSION}"));
        }
        let manifest: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for file in &self.files {
            check_path(&file.path)?;
            if !seen.insert(&file.path) {
                return Err(format!("it names {} twice", file.path));
            }
        }
        Ok(())
    }
}

/// Refuses a path that is not one below the folder that is restored.
fn check_path(path: &str) -> Result<(), String> {
    let is_part =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
    if path.len() <= PATH_BYTES_MAX && path.split('/').all(is_part) {
        return Ok(());
    }
    Err(format!("it names a file {path:?}, which is no path below the data folder"))
}

/// Writes bytes as hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads `N` bytes of hexadecimal digits as [`to_hex`] writes them.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(is_hex) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

mod hex_32 {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::to_hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        super::from_hex(&text).ok_or_else(|| D::Error::custom("a checksum is not 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests;
