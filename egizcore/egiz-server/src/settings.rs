//! The server's settings, checked by whoever reads the configuration; defaults are those of a machine on loopback.

use bytes::Bytes;

/// Bounds, tokens, origins and files of the HTTP side.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The sites of this installation. With exactly one, a bare name stands for `<site>:<name>`.
    pub sites: Vec<String>,
    /// The program's version, shown in `/api/v1/site`.
    pub version: String,
    /// The largest request body in bytes; an import's line may be as long.
    pub body_bytes_max: usize,
    /// The largest document of a registry import in bytes.
    pub registry_bytes_max: usize,
    /// The deepest nesting of JSON in a body, 1 to 32.
    pub json_depth_max: usize,
    /// The longest URL in bytes.
    pub uri_bytes_max: usize,
    /// The most that all header fields together may take, in bytes.
    pub header_bytes_max: usize,
    /// How long an answer may take, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long a read waits for what was acknowledged before it and for `min-offset`, in milliseconds.
    pub min_offset_wait_ms: u64,
    /// Whether devices that are heard for the first time become Things by themselves.
    pub accepts_devices: bool,
    /// The most requests under way at once; more are answered 503.
    pub concurrent_requests_max: usize,
    /// The most connections at once; more wait in the listener's backlog.
    pub connections_max: usize,
    /// The most imports, bulk changes and streamed answers under way at once; more are answered 503.
    pub concurrent_streams_max: usize,
    /// How long the client of such a stream may send or take nothing, in milliseconds.
    pub stream_pause_ms: u64,
    /// The rate of one client (token, or address without one); `None` does not limit.
    pub rate_limit: Option<RateLimit>,
    /// Whether clients on loopback are limited, too.
    pub rate_limit_loopback: bool,
    /// Bearer tokens besides those of the registry.
    pub tokens: Vec<ApiToken>,
    /// Sites whose Things are changed only under a condition, `*` for all.
    pub strict_sites: Vec<String>,
    /// Who may do everything without a token, as `anonymous`.
    pub anonymous: Anonymous,
    /// Origins besides the server's own whose pages may ask for changes and read answers, as `https://example.org`.
    pub allowed_origins: Vec<String>,
    /// Host names that the server answers to besides addresses, `localhost` and names that public DNS cannot hold;
    /// looked at only for those who bring no token.
    pub allowed_hosts: Vec<String>,
    /// Bounds of the answers kept under `Idempotency-Key`.
    pub idempotency: IdempotencySettings,
    /// The key that cursors are bound to; the same after a restart and on every replica, so that cursors live on.
    pub cursor_key: [u8; 32],
    /// The factory's layout as JSON, for `/api/v1/layout`.
    pub layout: Option<Bytes>,
    /// What is said and taken in InfluxDB's protocols.
    pub influx: InfluxSettings,
}

/// What is said and taken in InfluxDB's protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfluxSettings {
    /// The name of the one database.
    pub database: String,
    /// The tags that name the Thing.
    pub device_tags: Vec<String>,
    /// The largest body of lines in bytes, as it is sent.
    pub body_bytes_max: usize,
    /// The same, unpacked.
    pub unpacked_bytes_max: usize,
    /// For how many days samples are kept, which the retention policy says.
    pub retention_days: u32,
}

impl Default for InfluxSettings {
    fn default() -> Self {
        Self {
            database: "openegiz".to_owned(),
            device_tags: ["thing_id", "device_id", "host"].map(str::to_owned).to_vec(),
            body_bytes_max: 8 * 1024 * 1024,
            unpacked_bytes_max: 32 * 1024 * 1024,
            retention_days: 30,
        }
    }
}

/// A token bucket's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests that flow in each second.
    pub per_second: u32,
    /// Requests that may come at once.
    pub burst: u32,
}

/// Bounds of the answers that are kept so that a request can be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencySettings {
    /// The most keys; beyond it the oldest goes.
    pub entries_max: usize,
    /// The most bytes in all; beyond it likewise.
    pub bytes_max: usize,
    /// How long an answer is kept, in seconds.
    pub kept_s: i64,
}

impl Default for IdempotencySettings {
    fn default() -> Self {
        Self { entries_max: 10_000, bytes_max: 16 * 1024 * 1024, kept_s: 24 * 60 * 60 }
    }
}

/// Who may come in without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    /// Nobody.
    Never,
    /// Whoever connects from this machine, and not through a proxy that says for whom.
    Loopback,
    /// Anybody.
    Always,
}

/// A bearer token that may come in.
#[derive(Debug, Clone)]
pub struct ApiToken {
    /// Who it stands for; becomes the principal of writes.
    pub name: String,
    /// SHA-256 of the token's text.
    pub sha256: [u8; 32],
    /// What it may do.
    pub role: Role,
}

/// What a client may do; each level includes the ones before, and `Service` equals `Operator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Read.
    Viewer,
    /// Read, and change Things.
    Operator,
    /// A program that works on Things, such as the anomaly service.
    Service,
    /// Everything: devices, templates, imports, bulk changes.
    Admin,
}

impl From<egiz_store::Role> for Role {
    fn from(role: egiz_store::Role) -> Self {
        match role {
            egiz_store::Role::Viewer => Self::Viewer,
            egiz_store::Role::Operator => Self::Operator,
            egiz_store::Role::Service => Self::Service,
            egiz_store::Role::Admin => Self::Admin,
        }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            sites: vec!["factory".to_owned()],
            version: env!("CARGO_PKG_VERSION").to_owned(),
            body_bytes_max: 1024 * 1024,
            registry_bytes_max: 32 * 1024 * 1024,
            json_depth_max: 32,
            uri_bytes_max: 8 * 1024,
            header_bytes_max: 32 * 1024,
            request_timeout_ms: 10_000,
            min_offset_wait_ms: 2_000,
            accepts_devices: false,
            concurrent_requests_max: 512,
            connections_max: 10_000,
            concurrent_streams_max: 8,
            stream_pause_ms: 30_000,
            rate_limit: Some(RateLimit { per_second: 100, burst: 200 }),
            rate_limit_loopback: false,
            tokens: Vec::new(),
            strict_sites: Vec::new(),
            anonymous: Anonymous::Loopback,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            idempotency: IdempotencySettings::default(),
            cursor_key: [0; 32],
            layout: None,
            influx: InfluxSettings::default(),
        }
    }
}
