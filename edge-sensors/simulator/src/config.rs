//! What a user can set, with defaults that show a plant in production at once.
//!
//! Reads no file and no environment: the program deserialises and passes it in.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::fault::FaultKind;
use crate::plant::InjectError;

/// Configuration of the simulator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorConfig {
    /// Host name or address of the MQTT broker.
    pub broker_host: String,
    /// TCP port of the MQTT broker, 1 to 65535.
    pub broker_port: u16,
    /// MQTT version that the devices speak.
    pub protocol: Protocol,
    /// Site in the topic names: 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.`, starting with a letter or digit.
    pub site: String,
    /// Number of devices, each with its own connection, 1 to 20,000. The first 18 are the plant of
    /// `configs/factory-layout.json`; more are further lines with further numbers.
    pub devices: usize,
    /// Time between two samples of a device, ms, 10 to 3,600,000.
    pub interval_ms: u64,
    /// Same seed, same plant, same faults.
    pub seed: u64,
    /// Simulated seconds per real second, above 0 to 3,600. The interval stays real.
    pub speed: f64,
    /// Simulated time of day at the start, `HH:MM`.
    pub start_time_of_day: TimeOfDay,
    /// Start of production, `HH:MM`.
    pub production_from: TimeOfDay,
    /// End of production, `HH:MM`; the same as the start for production around the clock.
    pub production_to: TimeOfDay,
    /// Which time the payload's `timestamp` follows.
    pub timestamp_source: TimestampSource,
    /// Unit of the payload's `timestamp`.
    pub timestamp_unit: TimestampUnit,
    /// Adds a feature `device` with the running number of the message.
    pub include_sequence: bool,
    /// JSON or CSV file with user name and password per device; anonymous if not set.
    pub credentials_path: Option<PathBuf>,
    /// Messages that a device without a connection keeps, 1 to 100,000; then the oldest is dropped.
    pub buffer_messages: usize,
    /// Messages of a device that may wait for their acknowledgement at once, 1 to 1,000.
    pub in_flight: u16,
    /// MQTT keep-alive, s, 5 to 65,535.
    pub keep_alive_s: u16,
    /// New connections per second at the start, 1 to 100,000.
    pub connects_per_s: u32,
    /// How long a stopping device waits for outstanding acknowledgements, ms, at most 60,000.
    pub drain_ms: u64,
    /// File to which the truth about faults is appended as JSON lines; `-` is standard output.
    pub truth_path: Option<PathBuf>,
    /// Random faults per machine and simulated day, 0 to 1,000.
    pub faults_per_machine_per_day: f64,
    /// Shortest development of a random fault, simulated seconds, above 0.
    pub fault_develop_min_s: f64,
    /// Longest development of a random fault, simulated seconds.
    pub fault_develop_max_s: f64,
    /// Time from failure to repair, simulated seconds; random faults vary by half of it.
    pub fault_repair_s: f64,
    /// Faults at set times: `[[fault]]`.
    #[serde(rename = "fault")]
    pub faults: Vec<FaultConfig>,
    /// Keeps the id of every acknowledged message in memory for tests; grows without bound.
    pub ledger: bool,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        SimulatorConfig {
            broker_host: "127.0.0.1".to_owned(),
            broker_port: 1883,
            protocol: Protocol::V5,
            site: "factory".to_owned(),
            devices: crate::plant::PLANT_MACHINES,
            interval_ms: 1000,
            seed: 1,
            speed: 1.0,
            start_time_of_day: TimeOfDay::from_minutes(9 * 60 + 30),
            production_from: TimeOfDay::from_minutes(6 * 60),
            production_to: TimeOfDay::from_minutes(22 * 60),
            timestamp_source: TimestampSource::Wall,
            timestamp_unit: TimestampUnit::Milliseconds,
            include_sequence: false,
            credentials_path: None,
            buffer_messages: 100,
            in_flight: 10,
            keep_alive_s: 30,
            connects_per_s: 500,
            drain_ms: 2000,
            truth_path: None,
            faults_per_machine_per_day: 0.0,
            fault_develop_min_s: 1200.0,
            fault_develop_max_s: 14_400.0,
            fault_repair_s: 1800.0,
            faults: Vec::new(),
            ledger: false,
        }
    }
}

/// A fault at a set time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultConfig {
    /// Name of the device, such as `oven-001`.
    pub machine: String,
    /// Kind of the fault.
    pub kind: FaultKind,
    /// Onset, simulated seconds after the start.
    pub at_s: f64,
    /// Time from onset to failure, simulated seconds.
    pub develop_s: f64,
    /// Time from failure to repair, simulated seconds; `fault_repair_s` if not set.
    #[serde(default)]
    pub repair_s: Option<f64>,
    /// Zone or phase, from 0; the first if not set.
    #[serde(default)]
    pub element: Option<usize>,
}

/// Version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
    /// MQTT 5.
    #[serde(rename = "5")]
    V5,
}

/// Which time a payload carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimestampSource {
    /// The clock of the computer.
    Wall,
    /// The clock at the start plus the simulated time.
    Simulated,
}

/// Unit of the payload's `timestamp`, since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimestampUnit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
}

/// A time of day to the minute, written `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay {
    minutes: u16,
}

impl TimeOfDay {
    /// Makes a time of day from minutes since midnight; a day's worth wraps around.
    #[must_use]
    pub const fn from_minutes(minutes: u16) -> Self {
        TimeOfDay { minutes: minutes % 1440 }
    }

    /// Returns the seconds since midnight.
    #[must_use]
    pub fn seconds(self) -> f64 {
        f64::from(self.minutes) * 60.0
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

/// A text that is not a time of day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a time of day; allowed is HH:MM from 00:00 to 23:59")]
pub struct TimeOfDayError {
    text: String,
}

impl FromStr for TimeOfDay {
    type Err = TimeOfDayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |part: &str, below: u16| {
            let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u16>().ok().filter(|number| is_plain && *number < below)
        };
        text.split_once(':')
            .and_then(|(hours, minutes)| Some((number(hours, 24)?, number(minutes, 60)?)))
            .map(|(hours, minutes)| TimeOfDay { minutes: hours * 60 + minutes })
            .ok_or_else(|| TimeOfDayError { text: text.to_owned() })
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is outside of what is allowed.
    #[error("{key} is {value}; allowed is {allowed}")]
    Value {
        /// Name of the key.
        key: &'static str,
        /// Value that was given.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A `[[fault]]` does not fit the plant.
    #[error("fault number {} is refused", .index + 1)]
    Fault {
        /// Position in the list, from 0.
        index: usize,
        /// Why.
        #[source]
        source: InjectError,
    },
}

impl SimulatorConfig {
    /// Checks every value, but not yet that the planned faults fit the plant (see [`crate::Plant::new`]).
    ///
    /// # Errors
    /// Returns the first value that is not allowed, with its key and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check(is_host(&self.broker_host), "broker_host", &self.broker_host, "a host name or an IP address")?;
        check(self.broker_port > 0, "broker_port", self.broker_port, "1 to 65535")?;
        check(
            is_name(&self.site),
            "site",
            &self.site,
            "1 to 64 of a-z, A-Z, 0-9, '-', '_', '.', starting with a letter or digit",
        )?;
        check((1..=20_000).contains(&self.devices), "devices", self.devices, "1 to 20000")?;
        check(
            (10..=3_600_000).contains(&self.interval_ms),
            "interval_ms",
            self.interval_ms,
            "10 to 3600000",
        )?;
        check(self.speed > 0.0 && self.speed <= 3600.0, "speed", self.speed, "a number above 0, to 3600")?;
        check(
            (1..=100_000).contains(&self.buffer_messages),
            "buffer_messages",
            self.buffer_messages,
            "1 to 100000",
        )?;
        check((1..=1000).contains(&self.in_flight), "in_flight", self.in_flight, "1 to 1000")?;
        check(self.keep_alive_s >= 5, "keep_alive_s", self.keep_alive_s, "5 to 65535")?;
        check(
            (1..=100_000).contains(&self.connects_per_s),
            "connects_per_s",
            self.connects_per_s,
            "1 to 100000",
        )?;
        check(self.drain_ms <= 60_000, "drain_ms", self.drain_ms, "0 to 60000")?;
        check(
            (0.0..=1000.0).contains(&self.faults_per_machine_per_day),
            "faults_per_machine_per_day",
            self.faults_per_machine_per_day,
            "0 to 1000",
        )?;
        let year_s = 31_536_000.0;
        check(
            self.fault_develop_min_s > 0.0 && self.fault_develop_min_s <= year_s,
            "fault_develop_min_s",
            self.fault_develop_min_s,
            "a number above 0, to 31536000",
        )?;
        check(
            (self.fault_develop_min_s..=year_s).contains(&self.fault_develop_max_s),
            "fault_develop_max_s",
            self.fault_develop_max_s,
            "fault_develop_min_s to 31536000",
        )?;
        check(
            (0.0..=year_s).contains(&self.fault_repair_s),
            "fault_repair_s",
            self.fault_repair_s,
            "0 to 31536000",
        )?;
        for fault in &self.faults {
            check((0.0..=year_s).contains(&fault.at_s), "fault.at_s", fault.at_s, "0 to 31536000")?;
            let repair_s = fault.repair_s.unwrap_or(0.0);
            check((0.0..=year_s).contains(&repair_s), "fault.repair_s", repair_s, "0 to 31536000")?;
        }
        Ok(())
    }
}

fn check(
    is_allowed: bool,
    key: &'static str,
    value: impl fmt::Debug,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if is_allowed { Ok(()) } else { Err(ConfigError::Value { key, value: format!("{value:?}"), allowed }) }
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
