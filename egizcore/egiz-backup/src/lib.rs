//! The backup repository: where backups lie, in which form, and how they are put there, checked, thinned out and fetched.
//!
//! ```text
//!  repository.json        format version, a name of its own, how keys are made where it is encrypted
//!  blobs/<name>           the bytes of files, each once however many backups have it; never changed
//!  backups/<id>.json      one small manifest for each backup, written last
//!  marks/<id>             who is at work, so that nothing is thinned out under a backup being made
//! ```
//!
//! A backup is its manifest: before that is there, there is no backup, and what was sent for it is only sent sooner. A blob is
//! named after its content, so what is there already is not sent again.
//!
//! It refuses to know what the files mean (the program does), to read the environment, to choose a clock or a random source,
//! and to give out one byte that does not match its checksum.

mod blob;
mod error;
mod fetch;
pub mod format;
pub mod keep;
mod key;
mod marks;
mod progress;
mod prune;
mod repository;
mod store;
mod target;
mod verify;

pub use error::{OpenError, RepositoryError};
pub use fetch::make_private;
pub use format::{Content, FileEntry, FileKind, Manifest};
pub use key::Passphrase;
pub use progress::{Progress, ProgressNow};
pub use prune::Pruned;
pub use repository::{BackupId, RandomSource, Repository};
pub use store::{Source, Stored};
pub use target::Target;
pub use verify::Verified;
