//! The configuration: one typed [`Config`], from defaults, then a TOML file, then the environment.
//!
//! A table in `schema` declares each key once — type, default, range, meaning — and everything else follows from
//! it: reading, checking, the report, the example file, the documentation. Unknown keys and variables are refused;
//! every fault is reported at once with the key, the value, what is allowed and where it came from. The environment
//! is passed in by the program, which alone reads it. Files named here are opened only to read secrets.

mod check;
mod document;
mod items;
mod layer;
mod schema;
mod setting;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub use document::{env_example, example_toml, markdown};
pub use items::{BridgeTo, ExternalBroker, MqttAclRule, MqttListener, TemplateRetention};
pub use schema::{
    BackupConfig, Config, DataConfig, HistoryConfig, HttpConfig, InfluxdbConfig, IngestConfig, JournalConfig,
    LayoutConfig, LogConfig, MqttConfig, SiteConfig, TemplatesConfig, TwinConfig,
};
pub use setting::{
    Anonymous, ClientCertificates, Durability, InfluxApi, LogFormat, MqttAction, MqttProtocol, MqttTransport,
    Permission, Secret, UnknownDevices,
};

use schema::KEYS;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The program.
    Default,
    /// A line of the file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable { name } => f.write_str(name),
        }
    }
}

/// One fault of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where the value comes from.
    pub origin: Origin,
    /// The key as `section.key`, or what stands in its place.
    pub key: String,
    /// The value as written, if there is one to show.
    pub value: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, " {}; allowed: {}", self.problem, self.allowed)
    }
}

/// The configuration cannot be used; every fault is listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The faults, never empty: the file's by line, then the environment's, then those between keys.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len();
        write!(f, "the configuration has {count} {}", if count == 1 { "fault" } else { "faults" })?;
        self.errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// Something that the operator should know although the configuration can be used. The program logs it at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The variable or key.
    pub name: String,
    /// What about it.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.text)
    }
}

/// A configuration that can be used, with the origin of each value.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// What the operator should know.
    pub notices: Vec<Notice>,
    origins: Origins,
}

impl Loaded {
    /// Where a key's value comes from; `key` is `section.key`, or `section.list[number].key` as in
    /// `mqtt.listeners[0].address`.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        let known = KEYS.iter().find(|known| known.path == key);
        known.map(|known| origin_of(&self.origins, known.path)).or_else(|| self.origins.get(key))
    }

    /// A fault found where a value was put to use; `key` is as for [`Loaded::origin`].
    pub fn fault(&self, key: &str, value: String, problem: String, allowed: String) -> ConfigError {
        let origin = self.origin(key).cloned().unwrap_or(Origin::Default);
        ConfigError { origin, key: key.to_owned(), value: Some(value), problem, allowed }
    }

    /// The effective values as TOML, each with its origin, then the notices; for `openegiz config check`. Secrets
    /// are not part of it, only the paths of their files.
    pub fn check_report(&self) -> String {
        document::report(&self.config, &self.origins, &self.notices)
    }
}

/// Where each value that is not the default comes from.
type Origins = BTreeMap<String, Origin>;

fn origin_of<'a>(origins: &'a Origins, path: &str) -> &'a Origin {
    origins.get(path).unwrap_or(&Origin::Default)
}

/// Reads the configuration: defaults, then `file` if there is one, then the variables.
///
/// # Errors
/// Every fault at once, a file that cannot be read included.
pub fn load<N, V>(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (N, V)>,
) -> Result<Loaded, ConfigErrors>
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let mut read = layer::Read::default();
    if let Some(path) = file {
        match std::fs::read_to_string(path) {
            Ok(text) => read.file(path, &text),
            Err(error) => read.errors.push(ConfigError {
                origin: Origin::File { path: path.to_owned(), line: 1 },
                key: "the file".to_owned(),
                value: None,
                problem: format!("cannot be read: {error}"),
                allowed: "a readable TOML file".to_owned(),
            }),
        }
    }
    for (name, value) in variables {
        read.variable(name.into(), value.into());
    }
    read.finish()
}

#[cfg(test)]
mod tests;
