//! The outside contract: every type that crosses HTTP and WebSocket.
//!
//! Names in JSON are camelCase, times RFC 3339 in UTC, units stand in names. What a Thing looks like is described in
//! [`thing`]; the server writes it straight from the engine's state without building these types.
//!
//! Nothing here knows the engine, a database or a socket.

pub mod access;
pub mod backup;
pub mod bulk;
pub mod device;
pub mod health;
pub mod history;
pub mod live;
pub mod past;
pub mod playback;
pub mod problem;
pub mod query;
pub mod thing;

pub use access::{
    ApiToken, ApiTokenChange, ApiTokenPage, AuditEntry, AuditPage, MadeApiToken, NewApiToken, TokenRole,
};
pub use backup::{Backup, BackupPage, BackupProgress, BackupState};
pub use bulk::{BulkRequest, Difference, ItemOutcome, ItemResult, Summary};
pub use device::{
    AcceptRequest, Credential, Device, DevicePage, DiscoveredDevice, DiscoveredPage, NewDevice, RejectedPage,
    Site,
};
pub use health::{Health, HealthState, PartHealth, RejectedMessage};
pub use history::{
    FeatureAt, History, HistoryBucket, HistoryCondition, HistoryContext, HistoryGroup, HistoryGroupResult,
    HistoryInterval, HistoryIntervals, HistoryQuery, HistoryResult, HistorySample, HistoryState,
    HistoryWhere, MetadataAt, PastFeature, PastState, PastThing, PropertyHistory, ThingAt,
};
pub use past::{
    Annotation, AnnotationChange, AnnotationPage, Correction, CorrectionPage, NewAnnotation, NewCorrection,
};
pub use problem::{Code, FieldError, PROBLEM_MEDIA_TYPE, Problem};
pub use query::{Aggregate, AggregateQuery, Count, CountQuery, Figures, FilterForm, Group, Groups, Query};
pub use thing::{Connection, ConnectionState, Feature, PropertyMetadata, Thing, ThingPage};
