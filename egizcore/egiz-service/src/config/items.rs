//! The tables that may be given any number of times, as `[[mqtt.listeners]]`: their keys, declared as those of
//! `schema` are, and reading them. They have no environment variables.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::schema::Config;
use super::setting::{
    Checked, ClientCertificates, Item, Kind, MqttAction, MqttProtocol, MqttTransport, Permission, Setting,
    whole,
};

/// One key of an item, seen from outside: `at` says which item.
pub(super) struct ItemKey {
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) kind: Kind,
    /// Whether an item must have it; otherwise it has a default.
    pub(super) required: bool,
    pub(super) show: fn(&Config, usize) -> String,
    pub(super) set: fn(&mut Config, usize, Checked) -> bool,
}

/// One list of items.
pub(super) struct List {
    /// `section.name`.
    pub(super) path: &'static str,
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) keys: &'static [ItemKey],
    pub(super) len: fn(&Config) -> usize,
    /// Appends an item of defaults.
    pub(super) push: fn(&mut Config),
}

/// How many items a list may have.
pub(super) const MAX_ITEMS: usize = 256;

macro_rules! lists {
    ($(
        $(#[doc = $list_doc:literal])*
        $section:ident.$name:ident, $field:ident: $type:ident {
            $($(#[doc = $doc:literal])* $key:ident: $value:ty = $default:expr, $kind:expr, $required:expr;)*
        }
    )*) => {
        $(
            $(#[doc = $list_doc])*
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

        pub(super) static LISTS: &[List] = &[$(List {
            path: concat!(stringify!($section), ".", stringify!($name)),
            section: stringify!($section),
            name: stringify!($name),
            doc: &[$($list_doc),*],
            keys: &[$(ItemKey {
                name: stringify!($key),
                doc: &[$($doc),*],
                kind: $kind,
                required: $required,
                show: |config, at| config.$field.get(at).map_or_else(
                    || Setting::show(&$type::default().$key),
                    |item| Setting::show(&item.$key),
                ),
                set: |config, at, checked| match (config.$field.get_mut(at), Setting::take(checked)) {
                    (Some(item), Some(value)) => {
                        item.$key = value;
                        true
                    }
                    _ => false,
                },
            }),*],
            len: |config| config.$field.len(),
            push: |config| config.$field.push($type::default()),
        }),*];
    };
}

const REQUIRED: bool = true;
const OPTIONAL: bool = false;

lists! {
    /// One more place where the broker listens, beside mqtt.listen: with TLS, over WebSocket, or both.
    mqtt.listeners, mqtt_listeners: MqttListener {
        /// Where it listens.
        address: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8883),
            Kind::Address { optional: false }, REQUIRED;
        /// How packets are carried: "tcp", or "websocket" for browsers.
        transport: MqttTransport = MqttTransport::Tcp, Kind::OneOf(MqttTransport::WORDS), OPTIONAL;
        /// The server's certificate in PEM, then those between it and its authority; without it there is no TLS.
        /// A new file is used for new connections within ten seconds, or at once on SIGHUP.
        certificate_file: Option<PathBuf> = None, Kind::Path { optional: true }, OPTIONAL;
        /// The certificate's private key in PEM, not encrypted.
        key_file: Option<PathBuf> = None, Kind::Path { optional: true }, OPTIONAL;
        /// Certificates in PEM of the authorities whose clients are let in; without it clients are asked for none.
        client_ca_file: Option<PathBuf> = None, Kind::Path { optional: true }, OPTIONAL;
        /// With client_ca_file: whether clients must show a certificate, or may log in without one.
        client_certificates: ClientCertificates = ClientCertificates::Required,
            Kind::OneOf(ClientCertificates::WORDS), OPTIONAL;
        /// Whether TLS 1.2 is spoken besides 1.3, for devices that know nothing newer.
        tls_1_2: bool = false, Kind::Boolean, OPTIONAL;
        /// Over WebSocket: origins whose pages may connect, as `https://example.org`, or "*" for all. Clients that
        /// are no browsers need none.
        allowed_origins: Vec<String> = Vec::new(), Kind::List(Item::Origin { or_all: true }), OPTIONAL;
        /// How long handshakes and CONNECT may take together.
        connect_timeout_s: u64 = 10, whole(1, 120, "seconds"), OPTIONAL;
        /// The largest CONNECT; a larger one ends the connection before it is read.
        max_connect_packet_bytes: u64 = 16 << 10, whole(64, 1 << 20, "bytes"), OPTIONAL;
        /// Connections at once on this listener; more are refused. mqtt.max_connections counts all of them.
        max_connections: usize = 10_000, whole(1, 100_000, ""), OPTIONAL;
        /// Connections at once from one address on this listener; more are refused.
        max_connections_per_address: usize = 10_000, whole(1, 100_000, ""), OPTIONAL;
    }

    /// A rule of who may publish and subscribe to what. The first rule that fits decides; where none fits, the rule of
    /// the login does: devices have their own topics, API tokens what their role says, anonymous clients everything.
    mqtt.acl, mqtt_acl: MqttAclRule {
        /// For whom: the name that the client logged in as, where `*` stands for any part of it. A device is
        /// `<site>:<device>`, an API token its name.
        principal: String = "*".to_owned(), Kind::Text, OPTIONAL;
        /// For which client ids, likewise.
        client_id: String = "*".to_owned(), Kind::Text, OPTIONAL;
        /// For what.
        action: MqttAction = MqttAction::All, Kind::OneOf(MqttAction::WORDS), OPTIONAL;
        /// For which topics: a topic filter, where a level may be `{client_id}`, `{username}` or `{device}` (without
        /// its site). A client whose value is not one level never fits.
        filter: String = "#".to_owned(), Kind::Text, REQUIRED;
        /// What the rule says.
        permission: Permission = Permission::Deny, Kind::OneOf(Permission::WORDS), REQUIRED;
        /// Where it denies: whether an MQTT 5 client is told that it is not authorized (0x87). If not, the answer is 0x80,
        /// which says nothing of why.
        tell_reason: bool = true, Kind::Boolean, OPTIONAL;
    }

    /// A broker elsewhere whose messages are taken in as those of the program's own broker are: Mosquitto, EMQX, HiveMQ.
    /// A message is acknowledged to it after the journal's commit. The environment variable MQTT_BROKER adds one named
    /// "env" with that url. docs/external-brokers.md says more.
    mqtt.external, mqtt_external: ExternalBroker {
        /// Its name in /health, logs and metrics, and the principal of its messages.
        name: String = "external".to_owned(), Kind::Name, REQUIRED;
        /// Where it is: mqtt://host, mqtts://host for TLS, or host alone, each with an optional :port.
        url: String = "mqtt://127.0.0.1:1883".to_owned(), Kind::Text, REQUIRED;
        /// The version of MQTT. With "3.1.1" there is no receive_maximum: the broker's own limit holds.
        protocol: MqttProtocol = MqttProtocol::Five, Kind::OneOf(MqttProtocol::WORDS), OPTIONAL;
        /// The user name to sign in with.
        username: Option<String> = None, Kind::OptionalText, OPTIONAL;
        /// A file with the password; white space around it is ignored. Read again for each connection.
        password_file: Option<PathBuf> = None, Kind::Path { optional: true }, OPTIONAL;
        /// With mqtts: certificates in PEM of the authorities to trust, in place of the system's. Read again for each
        /// connection.
        ca_file: Option<PathBuf> = None, Kind::Path { optional: true }, OPTIONAL;
        /// The name of the session at the broker, which must be another for each program; "" makes one from the
        /// installation's own key and the name above.
        client_id: Option<String> = None, Kind::OptionalText, OPTIONAL;
        /// Topic filters to subscribe to, with QoS 1.
        topics: Vec<String> = vec!["sensors/#".to_owned()], Kind::List(Item::Text), OPTIONAL;
        /// A group of programs that share the messages among them, each message going to one of them.
        group: Option<String> = None, Kind::OptionalText, OPTIONAL;
        /// Messages that the broker may send before the first of them is committed and acknowledged: the back-pressure.
        /// Times mqtt.max_packet_bytes it bounds the memory.
        receive_maximum: u16 = 2_000, whole(1, 65_535, "messages"), OPTIONAL;
        /// How long the broker is asked to keep messages while this program is away. With "3.1.1" the broker decides.
        session_expiry_s: u32 = 604_800, whole(60, 4_294_967_294, "seconds"), OPTIONAL;
    }

    /// A central broker that selected topics are forwarded to. While it is away they wait in the journal, as long as
    /// journal.max_total_bytes lets them. docs/external-brokers.md says more.
    mqtt.bridge, mqtt_bridges: BridgeTo {
        /// Its name in /health, logs and metrics, and of its session at the program's own broker.
        name: String = "bridge".to_owned(), Kind::Name, REQUIRED;
        /// Where the central broker is, as in [[mqtt.external]].
        url: String = "mqtts://central.example".to_owned(), Kind::Text, REQUIRED;
        /// The version of MQTT. With "3.1.1" user properties are not forwarded, and so loops are not recognised.
        protocol: MqttProtocol = MqttProtocol::Five, Kind::OneOf(MqttProtocol::WORDS), OPTIONAL;
        /// The user name to sign in with.
        username: Option<String> = None, Kind::OptionalText, OPTIONAL;
        /// A file with the password, as in [[mqtt.external]].
        password_file: Option<PathBuf> = None, Kind::Path { optional: true }, OPTIONAL;
        /// With mqtts: certificates in PEM of the authorities to trust, as in [[mqtt.external]].
        ca_file: Option<PathBuf> = None, Kind::Path { optional: true }, OPTIONAL;
        /// The client id at the central broker, as in [[mqtt.external]].
        client_id: Option<String> = None, Kind::OptionalText, OPTIONAL;
        /// Topic filters to forward, below local_prefix.
        topics: Vec<String> = vec!["sensors/#".to_owned()], Kind::List(Item::Text), OPTIONAL;
        /// What the topics begin with here; it is taken off.
        local_prefix: Option<String> = None, Kind::OptionalText, OPTIONAL;
        /// What the topics begin with at the central broker; it is put before the rest.
        remote_prefix: Option<String> = None, Kind::OptionalText, OPTIONAL;
        /// Messages under way at once.
        window: u16 = 500, whole(1, 10_000, "messages"), OPTIONAL;
    }

    /// How long samples of the Things of one template are kept, where history.retention_days is not right for them.
    history.retention, history_retention: TemplateRetention {
        /// The template's id.
        template: String = "openegiz:oven:1.0.0".to_owned(), Kind::Text, REQUIRED;
        /// How long their samples are kept; whole days go after that.
        days: u32 = 90, whole(1, 3_650, "days"), REQUIRED;
    }
}
