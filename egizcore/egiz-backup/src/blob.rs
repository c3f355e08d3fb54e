//! One blob: a file's bytes on their way into the repository and back, piece by piece, in bounded memory.
//!
//! Reading, checksums and sealing of a piece happen beside the asynchronous work; the storage has at most
//! [`PARTS_UNDER_WAY`] parts of a blob at once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStoreExt as _, WriteMultipart};
use ring::digest;

use crate::error::RepositoryError;
use crate::format::{Content, FileEntry, to_hex};
use crate::key::{Cipher, PIECE_BYTES, TAG_BYTES};
use crate::repository::{Repository, computed};

/// What is sent in one request; a smaller blob is sent whole.
const PART_BYTES: usize = 8 << 20;
const PARTS_UNDER_WAY: usize = 4;

/// The blobs that are there, with their stored lengths.
pub(crate) type Known = HashMap<String, u64>;

/// Reads a file once to learn what is in it.
pub(crate) async fn content_of(path: &Path, bytes: u64) -> Result<Content, RepositoryError> {
    let own = path.to_owned();
    computed(move || {
        let failed = |error| RepositoryError::file("read", &own)(error);
        let mut file = File::open(&own).map_err(failed)?;
        let (mut hash, mut length) = (digest::Context::new(&digest::SHA256), 0);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = read_piece(&mut file, &mut piece).map_err(failed)?;
            hash.update(&piece[..count]);
            length += count as u64;
            if count < PIECE_BYTES {
                break;
            }
        }
        if length != bytes {
            return Err(RepositoryError::Changed { path: own.display().to_string() });
        }
        Ok(Content { bytes, sha256: sum(hash) })
    })
    .await
}

impl Repository {
    /// The name of the blob with this content.
    pub(crate) fn blob_name(&self, content: &Content) -> String {
        match &self.keys {
            None => to_hex(&content.sha256),
            Some(keys) => keys.blob_name(&content.sha256),
        }
    }

    /// The length that the blob has in the storage.
    pub(crate) fn stored_bytes(&self, content: &Content) -> u64 {
        if self.keys.is_none() {
            content.bytes
        } else {
            content.bytes + pieces(content.bytes) * TAG_BYTES as u64
        }
    }

    /// The blobs that are there.
    pub(crate) async fn known_blobs(&self) -> Result<Known, RepositoryError> {
        self.store
            .list(Some(&self.path("blobs")))
            .map_ok(|object| (object.location.filename().unwrap_or_default().to_owned(), object.size))
            .try_collect()
            .await
            .map_err(RepositoryError::storage("list", "blobs"))
    }

    fn cipher(&self, name: &str) -> Option<Cipher> {
        self.keys.as_ref().map(|keys| keys.blob(name))
    }

    /// Sends a file as a blob; returns the bytes sent.
    pub(crate) async fn send_blob(&self, path: &Path, content: &Content) -> Result<u64, RepositoryError> {
        let name = self.blob_name(content);
        let location = self.path(&format!("blobs/{name}"));
        let object = || format!("blobs/{name}");
        let file = File::open(path).map_err(RepositoryError::file("read", path))?;
        let mut reader = Reader {
            file,
            cipher: self.cipher(&name),
            hash: digest::Context::new(&digest::SHA256),
            number: 0,
            left: content.bytes,
        };
        let stored = self.stored_bytes(content);
        let changed = || RepositoryError::Changed { path: path.display().to_string() };
        let failed = |error| RepositoryError::file("read", path)(error);
        if stored <= PART_BYTES as u64 {
            let mut pieces = Vec::new();
            loop {
                let (rest, piece) = reader.next().await.map_err(failed)?;
                reader = rest;
                let Some(piece) = piece else { break };
                pieces.push(piece);
            }
            if sum(reader.hash) != content.sha256 {
                return Err(changed());
            }
            self.store
                .put(&location, pieces.into_iter().collect())
                .await
                .map_err(RepositoryError::storage("write", object()))?;
            return Ok(stored);
        }
        let upload =
            self.store.put_multipart(&location).await.map_err(RepositoryError::storage("write", object()))?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        loop {
            let (rest, piece) = match reader.next().await {
                Ok(read) => read,
                Err(error) => {
                    // What was sent of it counts for nothing; where it cannot be taken back, it lies there unseen.
                    let _ = upload.abort().await;
                    return Err(failed(error));
                }
            };
            reader = rest;
            let Some(piece) = piece else { break };
            if let Err(error) = upload.wait_for_capacity(PARTS_UNDER_WAY).await {
                let _ = upload.abort().await;
                return Err(RepositoryError::storage("write", object())(error));
            }
            upload.put(piece);
        }
        if sum(reader.hash) != content.sha256 {
            let _ = upload.abort().await;
            return Err(changed());
        }
        upload.finish().await.map_err(RepositoryError::storage("write", object()))?;
        Ok(stored)
    }

    /// Fetches a file's blob, checks it, and writes it to `to` where that is given; synced when it returns.
    pub(crate) async fn fetch_blob(
        &self,
        entry: &FileEntry,
        to: Option<&Path>,
    ) -> Result<(), RepositoryError> {
        let name = self.blob_name(&entry.content());
        let damaged = |flaw: String| RepositoryError::BlobDamaged {
            path: entry.path.clone(),
            blob: name.clone(),
            flaw,
        };
        let object = || format!("blobs/{name}");
        let found = match self.store.get(&self.path(&object())).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Err(damaged("is missing".to_owned())),
            Err(source) => return Err(RepositoryError::storage("read", object())(source)),
        };
        let stored = self.stored_bytes(&entry.content());
        if found.meta.size != stored {
            return Err(damaged(format!("has {} bytes of {stored}", found.meta.size)));
        }
        let file = match to {
            None => None,
            Some(path) => Some((File::create(path).map_err(RepositoryError::file("written", path))?, path)),
        };
        let cipher = self.cipher(&name);
        let piece_bytes = PIECE_BYTES + if cipher.is_some() { TAG_BYTES } else { 0 };
        let mut writer = Writer {
            file: file.map(|(file, path)| (file, path.to_owned())),
            cipher,
            hash: digest::Context::new(&digest::SHA256),
            number: 0,
            last: pieces(entry.bytes) - 1,
        };
        let mut buffer = Vec::with_capacity(piece_bytes);
        let mut stream = found.into_stream();
        while let Some(bytes) = stream.next().await {
            let mut bytes = bytes.map_err(RepositoryError::storage("read", object()))?;
            while !bytes.is_empty() {
                let part = bytes.split_to(bytes.len().min(piece_bytes - buffer.len()));
                buffer.extend_from_slice(&part);
                if buffer.len() == piece_bytes {
                    writer = writer.take(std::mem::take(&mut buffer)).await?.map_err(damaged)?;
                    buffer.reserve(piece_bytes);
                }
            }
        }
        if !buffer.is_empty() || writer.number <= writer.last && writer.cipher.is_some() {
            writer = writer.take(buffer).await?.map_err(damaged)?;
        }
        writer.finish(entry.sha256).await?.map_err(damaged)
    }
}

/// Into how many pieces a content of this length is cut; an empty one has one.
fn pieces(bytes: u64) -> u64 {
    bytes.div_ceil(PIECE_BYTES as u64).max(1)
}

fn sum(hash: digest::Context) -> [u8; 32] {
    hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Fills the buffer as far as the file goes.
fn read_piece(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A file on its way into the repository.
struct Reader {
    file: File,
    cipher: Option<Cipher>,
    hash: digest::Context,
    /// The number of the next piece.
    number: u64,
    /// Bytes that were not read yet.
    left: u64,
}

impl Reader {
    /// The next piece as it is stored; nothing behind the last.
    async fn next(mut self) -> std::io::Result<(Self, Option<Bytes>)> {
        if self.left == 0 && self.number > 0 {
            return Ok((self, None));
        }
        computed(move || {
            let wanted = usize::try_from(self.left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let mut piece = vec![0; wanted];
            let count = read_piece(&mut self.file, &mut piece)?;
            // Where the file became shorter, the checksum says so.
            piece.truncate(count);
            self.hash.update(&piece);
            self.left -= wanted as u64;
            if let Some(cipher) = &self.cipher {
                cipher.seal(self.number, self.left == 0, &mut piece);
            }
            self.number += 1;
            Ok((self, Some(piece.into())))
        })
        .await
    }
}

/// A blob on its way back.
struct Writer {
    file: Option<(File, std::path::PathBuf)>,
    cipher: Option<Cipher>,
    hash: digest::Context,
    number: u64,
    /// The number of the last piece.
    last: u64,
}

impl Writer {
    /// Takes the next piece as it is stored; the inner error is what is wrong with it.
    async fn take(mut self, mut piece: Vec<u8>) -> Result<Result<Self, String>, RepositoryError> {
        computed(move || {
            if let Some(cipher) = &self.cipher
                && !cipher.open(self.number, self.number == self.last, &mut piece)
            {
                return Ok(Err(format!("is damaged in its piece {}", self.number)));
            }
            self.number += 1;
            self.hash.update(&piece);
            if let Some((file, path)) = &mut self.file {
                file.write_all(&piece).map_err(|error| RepositoryError::file("written", path)(error))?;
            }
            Ok(Ok(self))
        })
        .await
    }

    async fn finish(self, sha256: [u8; 32]) -> Result<Result<(), String>, RepositoryError> {
        computed(move || {
            if sum(self.hash) != sha256 {
                return Ok(Err("does not match its checksum".to_owned()));
            }
            if let Some((file, path)) = &self.file {
                file.sync_all().map_err(|error| RepositoryError::file("written", path)(error))?;
            }
            Ok(Ok(()))
        })
        .await
    }
}
