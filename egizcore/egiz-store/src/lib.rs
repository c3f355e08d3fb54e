//! The registry in SQL: Things, templates, devices, API tokens, what people say about the past, and the audit trail.
//!
//! What people configure lives here; what machines say lives in the journal. The `things` table is a
//! *projection* of the journal: one consumer writes it, together with its cursor, and it can be thrown away and
//! rebuilt. Everything else here is the only copy, so every change is durable before it is answered and leaves an
//! audit entry in the same transaction.
//!
//! SQLite is the embedded backend. The SQL is the subset that PostgreSQL shares; what is not lies in one module
//! (`database`). This crate is the only one that links SQLite. It opens no socket, reads no environment and
//! chooses no clock and no random source: moments come with each call, random bytes from the [`RandomSource`] given at opening.

mod annotation;
mod api_token;
mod audit;
mod copy;
mod correction;
mod credential;
mod database;
mod device;
mod error;
mod installation_key;
mod layout;
mod metrics;
mod page;
mod sign_ins;
mod store;
mod template;
mod thing;
mod transfer;

pub use annotation::{Annotation, AnnotationQuery, StoredAnnotation, TEXT_CHARACTERS_MAX};
pub use api_token::{ApiIdentity, ApiToken, Role};
pub use audit::{AuditEntry, Author};
pub use correction::{NewCorrection, REASON_CHARACTERS_MAX, StoredCorrection};
pub use credential::{CredentialError, CredentialHash, Secret, VerifierLimits};
pub use device::{Device, DeviceIdentity, DeviceKey, NewDevice};
pub use error::{OpenError, StoreError};
pub use metrics::StoreMetrics;
pub use page::{MAX_PAGE_ITEMS, Page, PageRequest};
pub use store::{RandomSource, Store, StoreOptions};
pub use template::{
    Expected, Fault, PropertyTemplate, PropertyType, StoredTemplate, Template, TemplateError, best_match,
    parse_templates,
};
pub use thing::{Projected, ThingChange, ThingRow};
pub use transfer::{
    ExportOptions, ImportError, ImportOptions, ImportOutcome, ImportReport, ImportedThing, ItemReport,
    OnExisting, RegistryDocument,
};
