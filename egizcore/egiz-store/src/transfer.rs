//! Export and import of the registry as one JSON document: to move a site, to keep its configuration in version
//! control, to look at it. Not a backup of telemetry, and not of the audit trail or API tokens.
//!
//! Templates and devices are imported here, all or nothing. Things are a projection of the journal, so writing them
//! here would be undone by the next record: the import checks them and hands them back for the caller to submit as
//! records. The document is held in memory as a whole; a registry of 100,000 Things is some tens of megabytes.

mod document;
mod export;
mod import;

pub use document::{ImportedThing, RegistryDocument};
pub use export::ExportOptions;
pub use import::{ImportError, ImportOptions, ImportOutcome, ImportReport, ItemReport, OnExisting};
