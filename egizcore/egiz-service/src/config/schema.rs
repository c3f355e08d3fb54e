//! The table of all keys: the one place where a key is declared. Its documentation here is its documentation in
//! the example file and in `docs/configuration.md`. Long because it is one table.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::items::{BridgeTo, ExternalBroker, MqttAclRule, MqttListener, TemplateRetention};
use super::setting::{
    Anonymous, Checked, Durability, InfluxApi, Item, Kind, LogFormat, Secret, Setting, UnknownDevices, whole,
    whole_or_zero,
};

/// One key of the table.
pub(super) struct Key {
    /// `section.key`.
    pub(super) path: &'static str,
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) kind: Kind,
    /// Shows the value as TOML.
    pub(super) show: fn(&Config) -> String,
    /// Sets a checked value; false if the kind does not fit the type, which a test excludes.
    pub(super) set: fn(&mut Config, Checked) -> bool,
}

impl Key {
    /// The environment variable of the key: `EGIZ__SECTION__KEY`.
    pub(super) fn variable(&self) -> String {
        format!("EGIZ__{}__{}", self.section.to_uppercase(), self.name.to_uppercase())
    }
}

/// One section of the table.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
}

macro_rules! table {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $type:ident {
            $($(#[doc = $doc:literal])* $key:ident: $value:ty = $default:expr, $kind:expr;)*
        }
    )*) => {
        /// All settings of the program.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Config {
            $($(#[doc = $section_doc])* pub $section: $type,)*
            /// The HTTP side's token, read from `http.api_token_file`.
            pub api_token: Option<Secret>,
            /// Where the broker listens besides `mqtt.listen`: `[[mqtt.listeners]]`.
            pub mqtt_listeners: Vec<MqttListener>,
            /// Who may publish and subscribe to what: `[[mqtt.acl]]`.
            pub mqtt_acl: Vec<MqttAclRule>,
            /// The brokers elsewhere whose messages are taken in.
            pub mqtt_external: Vec<ExternalBroker>,
            /// The central brokers that topics are forwarded to.
            pub mqtt_bridges: Vec<BridgeTo>,
            /// How long samples of Things of some templates are kept: `[[history.retention]]`.
            pub history_retention: Vec<TemplateRetention>,
        }

        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $type {
                $($(#[doc = $doc])* pub $key: $value,)*
            }

            impl Default for $type {
                fn default() -> $type {
                    $type { $($key: $default,)* }
                }
            }
        )*

        pub(super) static SECTIONS: &[Section] =
            &[$(Section { name: stringify!($section), doc: &[$($section_doc),*] }),*];

        pub(super) static KEYS: &[Key] = &[$($(Key {
            path: concat!(stringify!($section), ".", stringify!($key)),
            section: stringify!($section),
            name: stringify!($key),
            doc: &[$($doc),*],
            kind: $kind,
            show: |config| Setting::show(&config.$section.$key),
            set: |config, checked| match Setting::take(checked) {
                Some(value) => {
                    config.$section.$key = value;
                    true
                }
                None => false,
            },
        },)*)*];
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY_S: u64 = 86_400;

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

table! {
    /// The site that this program runs for.
    site: SiteConfig {
        /// The site's name: the first part of Thing ids (`factory:oven-001`) and the second level of topic names
        /// (`sensors/factory/oven-001/telemetry`).
        name: String = "factory".to_owned(), Kind::Name;
        /// The time zone of the plant's clocks, for times of day in this file.
        time_zone: String = "UTC".to_owned(), Kind::TimeZone;
    }

    /// Backups of journal, history, registry and models. docs/backup.md says more.
    backup: BackupConfig {
        /// Where backups go: a folder, file:///folder, or s3://bucket/prefix; "" makes none. Credentials and endpoint of S3
        /// come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT, AWS_ALLOW_HTTP.
        to: Option<String> = None, Kind::OptionalText;
        /// When one is made each day, by the plant's clocks (site.time_zone). One that was missed while the program was away
        /// is made at once.
        daily_at: Option<String> = Some("02:30".to_owned()), Kind::OptionalTimeOfDay;
        /// Every how many hours one is made, where daily_at is "".
        every_hours: u32 = 0, whole_or_zero(168, "hours", "none");
        /// Of how many days the newest backup is kept, besides all of the last two days. 0 here and in keep_weekly keeps all.
        keep_daily: usize = 14, whole_or_zero(3_650, "days", "none");
        /// Of how many weeks the newest backup is kept besides.
        keep_weekly: usize = 8, whole_or_zero(520, "weeks", "none");
        /// A file with the key to encrypt backups with, 16 to 1024 bytes of text; white space around it is ignored. Without
        /// the file no backup can be restored: keep a copy elsewhere. The variable EGIZ_BACKUP_KEY may hold the key itself.
        key_file: Option<PathBuf> = None, Kind::Path { optional: true };
    }

    /// Where the program keeps its files.
    data: DataConfig {
        /// The directory of journal, snapshots and registry; created if missing. One program at a time.
        dir: PathBuf = "data".into(), Kind::Path { optional: false };
    }

    /// The HTTP side: REST, WebSocket, server-sent events and the web client.
    http: HttpConfig {
        /// Where the API listens.
        listen: SocketAddr = loopback(8080), Kind::Address { optional: false };
        /// A second address that serves the web client and the same API.
        vision_listen: Option<SocketAddr> = Some(loopback(8081)), Kind::Address { optional: true };
        /// Who may come in without a token, and then do everything. "loopback" goes by the address of the
        /// connection, and takes one with `Forwarded`, `X-Forwarded-For` or `X-Real-IP` for another machine's; behind
        /// a proxy that sends none of them everybody seems to be on this machine, so use "never" there. "always" on an
        /// address that others reach lets anybody on that network change everything. Where api_token_file is set and
        /// nothing is said here, it is "never".
        allow_anonymous: Anonymous = Anonymous::Loopback, Kind::OneOf(Anonymous::WORDS);
        /// A file with the administrator's bearer token, 16 to 512 printable ASCII characters; white space around
        /// it is ignored. Its name in records and in the audit trail is `api`. More tokens, with other roles, are made
        /// with POST /api/v1/tokens and kept in the registry; a wrong one is refused whatever allow_anonymous says.
        api_token_file: Option<PathBuf> = None, Kind::Path { optional: true };
        /// Origins besides the program's own whose pages may use the API, as `https://example.org`.
        allowed_origins: Vec<String> = Vec::new(), Kind::List(Item::Origin { or_all: false });
        /// Host names besides addresses, localhost and names that public DNS cannot hold that those may use who bring
        /// no token.
        allowed_hosts: Vec<String> = Vec::new(), Kind::List(Item::Host);
        /// Sites whose Things are changed over REST and WebSocket only under a condition, such as If-Match; other writes
        /// of what exists are answered 428. "*" stands for all sites.
        strict_sites: Vec<String> = Vec::new(), Kind::List(Item::Site);
        /// Connections at once; more wait to be accepted.
        max_connections: usize = 10_000, whole(10, 100_000, "");
        /// Requests under way at once; more are answered 503 with Retry-After.
        max_concurrent_requests: usize = 512, whole(1, 10_000, "");
        /// The largest request body; a larger one is answered 413.
        max_body_bytes: u64 = MIB, whole(KIB, 64 * MIB, "bytes");
        /// The deepest nesting of JSON in a request; deeper is answered 400.
        max_json_depth: usize = 32, whole(1, 32, "levels");
        /// How long a request may take before it is answered 503.
        request_timeout_s: u64 = 10, whole(1, 300, "seconds");
        /// Requests a second from one token, or from one address without a token; more are answered 429.
        rate_limit_per_s: u32 = 100, whole_or_zero(100_000, "a second", "no limit");
        /// Requests that may come at once before the rate counts.
        rate_limit_burst: u32 = 200, whole(1, 1_000_000, "");
        /// Whether clients on this machine are free of the rate limit.
        rate_limit_exempt_loopback: bool = true, Kind::Boolean;
        /// WebSocket and event-stream clients at once; more are answered 503.
        websocket_max_clients: usize = 5_000, whole(1, 100_000, "");
        /// Events waiting for one client; beyond it a conflating subscription keeps only the newest of each Thing
        /// and feature, and a lossless one is closed with code 1013.
        websocket_queue_events: usize = 1_024, whole(16, 1_000_000, "events");
        /// Subscriptions of one client; more are refused.
        websocket_max_subscriptions: usize = 100, whole(1, 10_000, "");
        /// How often a client is pinged; two answers missed close the connection.
        websocket_ping_interval_s: u64 = 30, whole(1, 3_600, "seconds");
    }

    /// The MQTT broker (versions 3.1.1 and 5).
    mqtt: MqttConfig {
        /// Where the broker listens without TLS; [[mqtt.listeners]] are others beside it.
        listen: Option<SocketAddr> = Some(loopback(1883)), Kind::Address { optional: true };
        /// Who may connect without user name and password. Others need a device's credential and publish only
        /// under the device's own topic.
        allow_anonymous: Anonymous = Anonymous::Loopback, Kind::OneOf(Anonymous::WORDS);
        /// The largest packet; a larger one ends the connection (MQTT 5 reason 0x95).
        max_packet_bytes: u64 = 256 * KIB, whole(KIB, 16 * MIB, "bytes");
        /// Connections at once; more are refused.
        max_connections: usize = 10_000, whole(1, 100_000, "");
        /// Connections at once from one address; more are refused. Lower it where devices have addresses of
        /// their own.
        max_connections_per_address: usize = 10_000, whole(1, 100_000, "");
        /// How long a connection may take to send CONNECT.
        connect_timeout_s: u64 = 10, whole(1, 120, "seconds");
        /// The largest CONNECT; a larger one ends the connection before it is read.
        max_connect_packet_bytes: u64 = 16 * KIB, whole(64, MIB, "bytes");
        /// The longest keep-alive. MQTT 5 clients that ask for a longer one are told this one; others are taken as
        /// gone after one and a half of it in silence.
        keep_alive_max_s: u16 = 3_600, whole(5, 65_535, "seconds");
        /// Sessions, those of clients that are away included; a client beyond them is refused (MQTT 5 reason 0x97).
        max_sessions: usize = 100_000, whole(1, 10_000_000, "");
        /// The longest time that a session is kept after its connection. A client that asks for more is told this one;
        /// one of 3.1.1, which cannot say how long, has it.
        session_expiry_max_s: u32 = 2_592_000, whole(0, 4_294_967_295, "seconds");
        /// Messages of QoS 1 and 2 that an MQTT 5 client may have under way; one more ends the connection (0x93).
        receive_maximum: u16 = 8_192, whole(1, 65_535, "");
        /// How often the broker says on $SYS topics how it stands.
        sys_interval_s: u64 = 10, whole_or_zero(3_600, "seconds", "never");
        /// Retained messages; beyond it new topics are not retained, and counted.
        max_retained_messages: usize = 100_000, whole_or_zero(10_000_000, "", "none are kept");
        /// Bytes of retained messages in all; beyond it likewise.
        max_retained_bytes: u64 = 64 * MIB, whole(MIB, 16 * GIB, "bytes");
    }

    /// The journal: every write enters it before it is acknowledged.
    journal: JournalConfig {
        /// When a record counts as safe and is acknowledged: "fsync" survives a power cut, "os" the end of the
        /// program only, "memory" nothing.
        durability: Durability = Durability::Fsync, Kind::OneOf(Durability::WORDS);
        /// How long a commit waits for more records to share its fsync, beyond the time that the disk is busy with
        /// the one before.
        linger_micros: u64 = 0, whole(0, 2_000, "microseconds");
        /// When a segment file is full and the next begins.
        segment_bytes: u64 = 64 * MIB, whole(MIB, 4 * GIB, "bytes");
        /// All segments together: beyond it the oldest go that nothing needs any more; one segment beyond it writes
        /// are refused. At least two segments.
        max_total_bytes: u64 = 2 * GIB, whole(2 * MIB, 1 << 50, "bytes");
        /// Records waiting for the disk; beyond it publishers are slowed and HTTP writes answered 503.
        queue_bytes: u64 = 16 * MIB, whole(MIB, 4 * GIB, "bytes");
    }

    /// From messages to records.
    ingest: IngestConfig {
        /// What happens to telemetry of devices that nobody has accepted: "accept" makes them Things at once,
        /// "discover" lists them for a person to accept, "ignore" counts and drops it.
        unknown_devices: UnknownDevices = UnknownDevices::Accept, Kind::OneOf(UnknownDevices::WORDS);
        /// Discovered devices kept in the list; beyond it new ones are counted and not listed.
        max_discovered: usize = 10_000, whole(1, 1_000_000, "");
        /// Messages that were not understood, kept with the reason for inspection; the oldest goes first.
        rejected_kept: usize = 200, whole_or_zero(100_000, "", "none");
        /// How far in the future a device's time may lie before the time of receipt is used instead.
        max_future_s: u64 = 300, whole(0, DAY_S, "seconds");
        /// The deepest nesting of arrays and objects below a property.
        max_payload_depth: usize = 16, whole(1, 32, "levels");
        /// Properties in one message; a message with more is rejected.
        max_payload_properties: usize = 1_000, whole(1, 100_000, "");
    }

    /// The twin engine and its live state.
    twin: TwinConfig {
        /// Things; beyond it new ones are refused and counted. A Thing of ten properties takes about 1.4 kB of memory,
        /// so these take up to 140 MB; the bound keeps senders of made-up device names from filling the machine.
        max_things: usize = 100_000, whole(1, 100_000_000, "");
        /// Different feature and property names in all; beyond it new ones are refused and counted.
        max_names: usize = 100_000, whole(100, 10_000_000, "");
        /// The longest time between snapshots of the live state; they shorten the replay at start.
        snapshot_interval_s: u64 = 300, whole(1, DAY_S, "seconds");
        /// A snapshot is due after this many records in any case.
        snapshot_every_records: u64 = 1_000_000, whole(1_000, 1_000_000_000, "records");
        /// After how long without a message a Thing is stale, where its template says nothing.
        stale_after_s: u64 = 60, whole(1, 7 * DAY_S, "seconds");
        /// Events kept in memory so that clients can resume from an offset; older offsets get a new snapshot.
        resume_events: usize = 100_000, whole_or_zero(10_000_000, "events", "every resume gets a snapshot");
    }

    /// History: every sample of every Thing, in Parquet files below the data folder.
    history: HistoryConfig {
        /// Whether history is kept. While it is not, nothing is written to it, and what came is missing later.
        enabled: bool = true, Kind::Boolean;
        /// How long samples are kept; whole days go after that. [[history.retention]] says other numbers for some
        /// templates.
        retention_days: u32 = 30, whole(1, 3_650, "days");
        /// How long rollups of quarter hours are kept. They are made of each day when it is over.
        rollup_15m_days: u32 = 400, whole(1, 36_500, "days");
        /// How long rollups of hours are kept. They are made of each month when it is over.
        rollup_1h_days: u32 = 3_660, whole(1, 36_500, "days");
        /// What the files of history may take on the disk. Where they take more, the oldest whole days go before their
        /// time, never today, and rollups after all of them; from nine tenths on /health says so.
        disk_budget_bytes: u64 = 0, whole_or_zero(1 << 50, "bytes", "no bound");
        /// Samples in memory that are written to files at the latest when they take this much; with every snapshot they
        /// are anyway. At four times this, where the disk does not take them, nothing more is taken in until it does.
        seal_bytes: u64 = 64 * MIB, whole(MIB, 4 * GIB, "bytes");
    }

    /// InfluxDB's protocols, over HTTP: lines in (/write, /api/v2/write), InfluxQL out (/query).
    influx: InfluxConfig {
        /// The name that SHOW DATABASES gives. In requests every name of a database or bucket is taken: there is one store.
        database: String = "openegiz".to_owned(), Kind::Text;
        /// Tags that name the device of a line; the first that a line has counts. In `thing_id` a whole Thing id may stand,
        /// in the others the name of a device of this site. The other tags of a line belong to its feature.
        device_tags: Vec<String> = ["thing_id", "device_id", "host"].map(str::to_owned).to_vec(), Kind::List(Item::Text);
        /// A tag that names the feature in place of the measurement.
        feature_tag: Option<String> = Some("feature".to_owned()), Kind::OptionalText;
        /// The largest body of lines as it is sent; a larger one is answered 413.
        max_body_bytes: u64 = 8 * MIB, whole(KIB, 64 * MIB, "bytes");
        /// The largest body of lines unpacked; a larger one is answered 413.
        max_unpacked_bytes: u64 = 32 * MIB, whole(KIB, 256 * MIB, "bytes");
    }

    /// An InfluxDB elsewhere, or what speaks like one, to which every sample of history is written besides. docs/influxdb.md
    /// says more.
    influxdb: InfluxdbConfig {
        /// Its address, such as `http://influxdb.plant.lan:8086` or `https://…`; "" writes to none.
        url: Option<String> = None, Kind::OptionalText;
        /// How it is written to: "v1" with /write (InfluxDB 1, VictoriaMetrics), "v2" with /api/v2/write (InfluxDB 2, 3).
        api: InfluxApi = InfluxApi::One, Kind::OneOf(InfluxApi::WORDS);
        /// With "v1" the database. It is not made: whoever may write need not be allowed to.
        database: String = "openegiz".to_owned(), Kind::Text;
        /// With "v1" the retention policy; "" for the database's own.
        retention_policy: Option<String> = None, Kind::OptionalText;
        /// With "v2" the organisation.
        org: Option<String> = None, Kind::OptionalText;
        /// With "v2" the bucket.
        bucket: Option<String> = None, Kind::OptionalText;
        /// A file with a token, 1 to 1024 printable ASCII characters; white space around it is ignored. It is read for each
        /// request, as the password is: a new one needs no restart.
        token_file: Option<PathBuf> = None, Kind::Path { optional: true };
        /// The user, where it asks for one instead of a token.
        username: Option<String> = None, Kind::OptionalText;
        /// A file with the user's password, 1 to 1024 bytes; white space around it is ignored.
        password_file: Option<PathBuf> = None, Kind::Path { optional: true };
        /// A file with the authorities to trust, in PEM; "" for those of the operating system.
        ca_file: Option<PathBuf> = None, Kind::Path { optional: true };
        /// Lines sent at once, at the most.
        batch_lines: usize = 5_000, whole(1, 100_000, "lines");
        /// How long lines wait for others to go with them.
        flush_interval_ms: u64 = 1_000, whole(10, 60_000, "milliseconds");
        /// How long a request may take before it counts as failed.
        timeout_s: u64 = 30, whole(1, 600, "seconds");
        /// How much of the journal is kept for an InfluxDB that is away. Beyond it the oldest records go without having
        /// been written there, counted and said in /health. At most three quarters of journal.max_total_bytes.
        max_behind_bytes: u64 = 0, whole_or_zero(1 << 50, "bytes", "three quarters of journal.max_total_bytes");
    }

    /// Log lines, written to standard error.
    log: LogConfig {
        /// "human", or "json": one object a line with ts, level, target, msg, fields and correlation_id.
        format: LogFormat = LogFormat::Human, Kind::OneOf(LogFormat::WORDS);
        /// The least level that is written, for all or by part.
        level: String = "info".to_owned(), Kind::LogLevel;
    }

    /// Templates: types of Things.
    templates: TemplatesConfig {
        /// A JSON file of templates for the first start; without one, those that come with the program.
        file: Option<PathBuf> = None, Kind::Path { optional: true };
    }

    /// The factory's floor plan.
    layout: LayoutConfig {
        /// A JSON file with the layout for the 3D scene; without one, machines stand in rows, with --demo as in the
        /// demonstration factory.
        file: Option<PathBuf> = None, Kind::Path { optional: true };
    }
}
