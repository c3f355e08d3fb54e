//! The kinds of values that keys have: how they are read from TOML and from text, checked and shown.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

/// A value as it stands in the file or in a variable.
pub(super) enum Raw<'a> {
    Toml(&'a DeValue<'a>),
    Text(&'a str),
}

impl Raw<'_> {
    /// The value as its author wrote it, cut to a readable length.
    pub(super) fn shown(&self) -> String {
        let text = match self {
            Raw::Text(text) => quoted(text),
            Raw::Toml(value) => match value {
                DeValue::String(text) => quoted(text),
                DeValue::Integer(number) => number.as_str().to_owned(),
                DeValue::Float(number) => number.as_str().to_owned(),
                DeValue::Boolean(value) => value.to_string(),
                DeValue::Datetime(value) => value.to_string(),
                DeValue::Array(items) => {
                    let items: Vec<String> =
                        items.iter().map(|item| Raw::Toml(item.get_ref()).shown()).collect();
                    format!("[{}]", items.join(", "))
                }
                DeValue::Table(_) => "{...}".to_owned(),
            },
        };
        if text.chars().count() > 80 { text.chars().take(77).chain("...".chars()).collect() } else { text }
    }
}

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Integer {
        min: u64,
        max: u64,
        unit: &'static str,
        zero: &'static str,
    },
    OneOf(&'static [&'static str]),
    Name,
    Address {
        optional: bool,
    },
    Path {
        optional: bool,
    },
    List(Item),
    LogLevel,
    /// The name of a time zone.
    TimeZone,
    /// Hours and minutes; empty for none.
    OptionalTimeOfDay,
    /// Any text that is not empty.
    Text,
    /// Any text; empty for none.
    OptionalText,
}

/// What the items of a list are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// Any text that is not empty.
    Text,
    /// The origin of a web page, as browsers send it; maybe `*` for all.
    Origin { or_all: bool },
    /// The name of a host.
    Host,
    /// The name of a site, or `*` for all.
    Site,
}

impl Item {
    fn words(self) -> &'static str {
        match self {
            Item::Text => "texts",
            Item::Origin { or_all: false } => {
                "origins as browsers send them, such as \"https://example.org\" or \"http://10.0.0.5:3000\", without a path"
            }
            Item::Origin { or_all: true } => {
                "origins as browsers send them, such as \"https://example.org\" or \"http://10.0.0.5:3000\", without a path; \"*\" = all"
            }
            Item::Host => "names of hosts, such as \"egiz.example.org\", without a port",
            Item::Site => "names of sites; \"*\" = all",
        }
    }

    fn allows(self, text: &str) -> bool {
        match self {
            Item::Text => !text.is_empty(),
            Item::Origin { or_all } => (or_all && text == "*") || is_origin(text),
            Item::Host => is_host(text),
            Item::Site => text == "*" || is_name(text),
        }
    }
}

/// Scheme, `://`, host and a port that is not the scheme's own: anything else no browser sends (RFC 6454 §6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let own_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => 0,
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number != own_port && number != 0);
    let is_address = || {
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok())
    };
    is_scheme && (is_host(host) || is_address()) && port.is_none_or(is_port)
}

/// Labels of letters, digits, `-` and `_` with dots between (RFC 1123 §2.1, and what people use besides).
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// `HH:MM`, from 00:00 to 23:59.
fn is_time_of_day(text: &str) -> bool {
    let Some((hour, minute)) = text.split_once(':') else { return false };
    let is_below = |text: &str, bound: u8| {
        text.len() == 2
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|number| number < bound)
    };
    is_below(hour, 24) && is_below(minute, 60)
}

/// A whole number from `min` to `max` of `unit`.
pub(super) const fn whole(min: u64, max: u64, unit: &'static str) -> Kind {
    Kind::Integer { min, max, unit, zero: "" }
}

/// A whole number up to `max` of `unit`, whose zero means something else.
pub(super) const fn whole_or_zero(max: u64, unit: &'static str, zero: &'static str) -> Kind {
    Kind::Integer { min: 0, max, unit, zero }
}

/// A value that has passed its kind's check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Checked {
    Boolean(bool),
    Integer(u64),
    Text(String),
    List(Vec<String>),
}

const MAX_LIST_ITEMS: usize = 64;

impl Kind {
    /// What is allowed, in words.
    pub(super) fn allowed(&self) -> String {
        match self {
            Kind::Boolean => "true or false".to_owned(),
            Kind::Integer { min, max, unit, zero } => {
                let mut text = format!("{min} to {max}");
                if !unit.is_empty() {
                    text = format!("{text} {unit}");
                }
                if zero.is_empty() { text } else { format!("{text}, 0 = {zero}") }
            }
            Kind::OneOf(words) => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "),
            Kind::Name => {
                "1 to 64 of a-z, A-Z, 0-9, '-', '_', '.', starting with a letter or digit".to_owned()
            }
            Kind::Address { optional } => {
                let text = "an IP address and a port, as in \"127.0.0.1:8080\" or \"[::1]:8080\"; port 0 takes a free one";
                if *optional { format!("{text}; \"\" = off") } else { text.to_owned() }
            }
            Kind::TimeZone => "the name of a time zone, such as \"Europe/Berlin\" or \"UTC\"".to_owned(),
            Kind::OptionalTimeOfDay => "a time of day as \"02:30\", or \"\" for none".to_owned(),
            Kind::Text => "a text that is not empty".to_owned(),
            Kind::OptionalText => "a text, or \"\" for none".to_owned(),
            Kind::Path { optional: true } => "a path, or \"\" for none".to_owned(),
            Kind::Path { optional: false } => "a path".to_owned(),
            Kind::List(item) => {
                format!("up to {MAX_LIST_ITEMS} {}; in a variable separated by commas", item.words())
            }
            Kind::LogLevel => {
                "off, error, warn, info, debug, trace, or a list such as \"info,egiz_broker=debug\""
                    .to_owned()
            }
        }
    }

    /// Reads and checks a value.
    pub(super) fn check(&self, raw: &Raw<'_>) -> Option<Checked> {
        match self {
            Kind::Boolean => boolean(raw).map(Checked::Boolean),
            Kind::Integer { min, max, .. } => {
                integer(raw).filter(|number| (min..=max).contains(&number)).map(Checked::Integer)
            }
            Kind::List(item) => {
                list(raw).filter(|items| items.iter().all(|text| item.allows(text))).map(Checked::List)
            }
            _ => text(raw).filter(|text| self.allows(text)).map(Checked::Text),
        }
    }

    fn allows(&self, text: &str) -> bool {
        match self {
            Kind::OneOf(words) => words.contains(&text),
            Kind::Name => is_name(text),
            Kind::Address { optional } => {
                (*optional && text.is_empty()) || text.parse::<SocketAddr>().is_ok()
            }
            Kind::Path { optional } => *optional || !text.is_empty(),
            Kind::LogLevel => crate::logging::is_level(text),
            Kind::TimeZone => jiff::tz::TimeZone::get(text).is_ok(),
            Kind::OptionalTimeOfDay => text.is_empty() || is_time_of_day(text),
            Kind::Text => !text.is_empty(),
            Kind::OptionalText => true,
            Kind::Boolean | Kind::Integer { .. } | Kind::List(_) => false,
        }
    }
}

fn boolean(raw: &Raw<'_>) -> Option<bool> {
    match raw {
        Raw::Toml(value) => value.as_bool(),
        Raw::Text(text) => text.parse().ok(),
    }
}

fn integer(raw: &Raw<'_>) -> Option<u64> {
    match raw {
        Raw::Toml(DeValue::Integer(number)) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        Raw::Toml(_) => None,
        Raw::Text(text) => text.replace('_', "").parse().ok(),
    }
}

fn text(raw: &Raw<'_>) -> Option<String> {
    match raw {
        Raw::Toml(value) => value.as_str().map(str::to_owned),
        Raw::Text(text) => Some((*text).to_owned()),
    }
}

fn list(raw: &Raw<'_>) -> Option<Vec<String>> {
    let items: Vec<String> = match raw {
        Raw::Toml(value) => value
            .as_array()?
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<_>>()?,
        Raw::Text(text) => {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        }
    };
    (items.len() <= MAX_LIST_ITEMS).then_some(items)
}

/// Writes a text as a TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A type that a key can have. A value that passed the key's [`Kind`] always has one of these forms.
pub(super) trait Setting: Sized {
    /// Takes a checked value; `None` if the table gives the key a kind that does not fit its type.
    fn take(checked: Checked) -> Option<Self>;
    /// Shows the value as TOML.
    fn show(&self) -> String;
}

impl Setting for bool {
    fn take(checked: Checked) -> Option<Self> {
        if let Checked::Boolean(value) = checked { Some(value) } else { None }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! integer_settings {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn take(checked: Checked) -> Option<Self> {
                if let Checked::Integer(value) = checked { value.try_into().ok() } else { None }
            }

            fn show(&self) -> String {
                grouped(&self.to_string())
            }
        }
    )*};
}
integer_settings!(u16, u32, u64, usize);

/// Groups digits by three, as TOML allows: `1_048_576`.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

macro_rules! text_settings {
    ($($type:ty: $parse:expr, $show:expr;)*) => {$(
        impl Setting for $type {
            fn take(checked: Checked) -> Option<Self> {
                let parse: fn(String) -> Option<$type> = $parse;
                if let Checked::Text(text) = checked { parse(text) } else { None }
            }

            fn show(&self) -> String {
                let show: fn(&$type) -> String = $show;
                quoted(&show(self))
            }
        }
    )*};
}
text_settings! {
    String: Some, String::clone;
    SocketAddr: |text| text.parse().ok(), SocketAddr::to_string;
    PathBuf: |text| Some(text.into()), |path| path.display().to_string();
    Option<SocketAddr>: |text| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) },
        |address| address.as_ref().map(SocketAddr::to_string).unwrap_or_default();
    Option<String>: |text| Some(Some(text).filter(|text| !text.is_empty())),
        |text| text.clone().unwrap_or_default();
    Option<PathBuf>: |text| Some(Some(text).filter(|text| !text.is_empty()).map(PathBuf::from)),
        |path| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
}

impl Setting for Vec<String> {
    fn take(checked: Checked) -> Option<Self> {
        if let Checked::List(items) = checked { Some(items) } else { None }
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
    }
}

macro_rules! word_settings {
    ($($(#[$meta:meta])* $type:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$variant_meta])* $variant),*
        }

        impl $type {
            pub(super) const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word in the configuration.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $word),*
                }
            }
        }

        impl Setting for $type {
            fn take(checked: Checked) -> Option<Self> {
                match checked {
                    $(Checked::Text(text) if text == $word => Some($type::$variant),)*
                    _ => None,
                }
            }

            fn show(&self) -> String {
                quoted(self.as_str())
            }
        }
    )*};
}
word_settings! {
    /// Who may come in without a credential.
    Anonymous {
        /// Nobody.
        Never = "never",
        /// Whoever connects from this machine.
        Loopback = "loopback",
        /// Anybody.
        Always = "always",
    }
    /// How an InfluxDB is written to.
    InfluxApi {
        /// `/write`, as the first version has it.
        One = "v1",
        /// `/api/v2/write`, as the second version has it.
        Two = "v2",
    }
    /// When a journal record counts as safe.
    Durability {
        /// After fsync: survives a power cut.
        Fsync = "fsync",
        /// In the operating system's cache: survives the end of the program, not that of the machine.
        Os = "os",
        /// In memory: for trials.
        Memory = "memory",
    }
    /// What happens to telemetry of devices that nobody has accepted.
    UnknownDevices {
        /// They become Things at once.
        Accept = "accept",
        /// They are listed, to be accepted by a person.
        Discover = "discover",
        /// Their telemetry is counted and dropped.
        Ignore = "ignore",
    }
    /// How MQTT packets are carried.
    MqttTransport {
        /// As they are.
        Tcp = "tcp",
        /// In WebSocket frames.
        WebSocket = "websocket",
    }
    /// The version of MQTT to speak with a broker elsewhere.
    MqttProtocol {
        /// 5.
        Five = "5",
        /// 3.1.1.
        Three = "3.1.1",
    }
    /// Whether clients must show a certificate.
    ClientCertificates {
        /// They must.
        Required = "required",
        /// They may.
        Optional = "optional",
    }
    /// What a rule is about.
    MqttAction {
        /// Publishing and subscribing.
        All = "all",
        /// Publishing.
        Publish = "publish",
        /// Subscribing.
        Subscribe = "subscribe",
    }
    /// What a rule says.
    Permission {
        /// Yes.
        Allow = "allow",
        /// No.
        Deny = "deny",
    }
    /// The form of log lines.
    LogFormat {
        /// For people.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}

/// A secret read from a file. Hidden in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Secret {
        Secret(text)
    }

    /// Gives the text, to compare or to hash.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}
