//! Lays the file and the variables over the defaults, collecting faults instead of stopping.

use std::ffi::OsString;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::check;
use super::items::{ExternalBroker, LISTS, List, MAX_ITEMS};
use super::schema::{Config, KEYS, Key, SECTIONS};
use super::setting::Raw;
use super::{ConfigError, ConfigErrors, Loaded, Notice, Origin, Origins};

const PREFIX: &str = "EGIZ__";

/// The well-known name of the variable for an external MQTT broker: one more `[[mqtt.external]]`.
const MQTT_BROKER: &str = "MQTT_BROKER";
/// The name that the broker of that variable gets.
const MQTT_BROKER_NAME: &str = "env";

/// Well-known names of variables for servers that this version does not use: accepted, because installations set
/// them for all their services, but not silently.
const NOT_USED: [(&str, &str); 1] = [(
    "INFLUXDB_URL",
    "is set, but this version does not write to InfluxDB: history stays in the program's own journal",
)];

/// What has been read so far.
#[derive(Default)]
pub(super) struct Read {
    pub(super) errors: Vec<ConfigError>,
    config: Config,
    origins: Origins,
    notices: Vec<Notice>,
}

impl Read {
    /// Takes the file's values.
    pub(super) fn file(&mut self, path: &Path, text: &str) {
        let origin = |span: std::ops::Range<usize>| Origin::File {
            path: path.to_owned(),
            line: 1 + text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count(),
        };
        let (document, mut faults) = DeTable::parse_recoverable(text);
        faults.sort_by_key(|fault| fault.span().unwrap_or_default().start);
        if !faults.is_empty() {
            // What could be read of a broken file would only add misleading faults.
            self.errors.extend(faults.iter().map(|fault| ConfigError {
                origin: origin(fault.span().unwrap_or_default()),
                key: "the file".to_owned(),
                value: None,
                problem: format!("is not TOML here: {}", fault.message()),
                allowed: "TOML 1.0".to_owned(),
            }));
            return;
        }
        let mut entries: Vec<_> = document.get_ref().iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (section, value) in entries {
            let at = origin(section.span());
            if !SECTIONS.iter().any(|known| known.name == section.get_ref()) {
                self.unknown(at, section.get_ref(), SECTIONS.iter().map(|known| known.name));
                continue;
            }
            let DeValue::Table(table) = value.get_ref() else {
                self.errors.push(ConfigError {
                    origin: at,
                    key: section.get_ref().to_string(),
                    value: Some(Raw::Toml(value.get_ref()).shown()),
                    problem: "is not a section".to_owned(),
                    allowed: format!("a table of keys, [{}]", section.get_ref()),
                });
                continue;
            };
            self.section(section.get_ref(), table, &origin);
        }
    }

    fn section(
        &mut self,
        section: &str,
        table: &DeTable<'_>,
        origin: &impl Fn(std::ops::Range<usize>) -> Origin,
    ) {
        let mut entries: Vec<(&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let at = origin(name.span());
            if let Some(list) =
                LISTS.iter().find(|list| list.section == section && list.name == name.get_ref())
            {
                self.list(list, value, origin);
                continue;
            }
            let known = KEYS.iter().find(|key| key.section == section && key.name == name.get_ref());
            match known {
                Some(key) => self.value(key, &Raw::Toml(value.get_ref()), at),
                None => {
                    let keys = KEYS.iter().filter(|key| key.section == section).map(|key| key.path);
                    let lists = LISTS.iter().filter(|list| list.section == section).map(|list| list.path);
                    self.unknown(at, &format!("{section}.{}", name.get_ref()), keys.chain(lists));
                }
            }
        }
    }

    /// Takes the items of one list, in their order.
    fn list(
        &mut self,
        list: &'static List,
        value: &Spanned<DeValue<'_>>,
        origin: &impl Fn(std::ops::Range<usize>) -> Origin,
    ) {
        let tables = value.get_ref().as_array().and_then(|items| {
            let tables = items.iter().map(|item| Some((item.span(), item.get_ref().as_table()?)));
            tables.collect::<Option<Vec<_>>>().filter(|tables| tables.len() <= MAX_ITEMS)
        });
        let Some(tables) = tables else {
            self.errors.push(ConfigError {
                origin: origin(value.span()),
                key: list.path.to_owned(),
                value: Some(Raw::Toml(value.get_ref()).shown()),
                problem: "is no list of tables".to_owned(),
                allowed: format!("up to {MAX_ITEMS} tables, each under [[{}]]", list.path),
            });
            return;
        };
        for (at, (span, table)) in tables.into_iter().enumerate() {
            (list.push)(&mut self.config);
            let path = |key: &str| format!("{}[{at}].{key}", list.path);
            self.origins.insert(format!("{}[{at}]", list.path), origin(span.clone()));
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(name, _)| name.span().start);
            for (name, value) in entries {
                let from = origin(name.span());
                let Some(key) = list.keys.iter().find(|key| key.name == name.get_ref()) else {
                    let names: Vec<_> = list.keys.iter().map(|key| path(key.name)).collect();
                    self.unknown(from, &path(name.get_ref()), names.iter().map(String::as_str));
                    continue;
                };
                let raw = Raw::Toml(value.get_ref());
                if key.kind.check(&raw).is_some_and(|checked| (key.set)(&mut self.config, at, checked)) {
                    self.origins.insert(path(key.name), from);
                } else {
                    let (problem, allowed) = ("is not allowed".to_owned(), key.kind.allowed());
                    let value = Some(raw.shown());
                    self.errors.push(ConfigError {
                        origin: from,
                        key: path(key.name),
                        value,
                        problem,
                        allowed,
                    });
                }
            }
            for key in list.keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
                let (problem, allowed) = ("is missing".to_owned(), key.kind.allowed());
                let from = origin(span.clone());
                self.errors.push(ConfigError {
                    origin: from,
                    key: path(key.name),
                    value: None,
                    problem,
                    allowed,
                });
            }
        }
    }

    /// Takes one variable; those without the prefix are other programs', but for the known names.
    pub(super) fn variable(&mut self, name: OsString, value: OsString) {
        let Ok(name) = name.into_string() else { return };
        if name == MQTT_BROKER {
            return self.external_broker(&value.to_string_lossy());
        }
        if let Some((name, text)) = NOT_USED.iter().find(|(known, _)| *known == name) {
            if !value.is_empty() {
                self.notices.push(Notice { name: (*name).to_owned(), text: (*text).to_owned() });
            }
            return;
        }
        if !name.starts_with(PREFIX) {
            return;
        }
        let origin = Origin::Variable { name: name.clone() };
        let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
            let known: Vec<_> = KEYS.iter().map(Key::variable).collect();
            self.unknown(origin, &name, known.iter().map(String::as_str));
            return;
        };
        match value.into_string() {
            Ok(text) => self.value(key, &Raw::Text(&text), origin),
            Err(bytes) => self.refuse(key, bytes.to_string_lossy().into_owned(), origin),
        }
    }

    /// Adds the broker that [`MQTT_BROKER`] names; what the text means is seen where it is put to use.
    fn external_broker(&mut self, url: &str) {
        if url.is_empty() {
            return;
        }
        let at = self.config.mqtt_external.len();
        let origin = Origin::Variable { name: MQTT_BROKER.to_owned() };
        self.config.mqtt_external.push(ExternalBroker {
            name: MQTT_BROKER_NAME.to_owned(),
            url: url.to_owned(),
            ..ExternalBroker::default()
        });
        for key in ["name", "url"] {
            self.origins.insert(format!("mqtt.external[{at}].{key}"), origin.clone());
        }
    }

    fn value(&mut self, key: &'static Key, raw: &Raw<'_>, origin: Origin) {
        if key.kind.check(raw).is_some_and(|checked| (key.set)(&mut self.config, checked)) {
            self.origins.insert(key.path.to_owned(), origin);
        } else {
            self.refuse(key, raw.shown(), origin);
        }
    }

    fn refuse(&mut self, key: &Key, value: String, origin: Origin) {
        self.errors.push(ConfigError {
            origin,
            key: key.path.to_owned(),
            value: Some(value),
            problem: "is not allowed".to_owned(),
            allowed: key.kind.allowed(),
        });
    }

    fn unknown<'a>(&mut self, origin: Origin, name: &str, known: impl Iterator<Item = &'a str> + Clone) {
        let nearest = known
            .clone()
            .map(|candidate| (distance(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
            .min()
            .filter(|(distance, _)| *distance <= 3);
        let allowed = match nearest {
            Some((_, candidate)) => format!("did you mean {candidate}?"),
            None if known.clone().count() > 30 => "EGIZ__SECTION__KEY of a known key".to_owned(),
            None => known.collect::<Vec<_>>().join(", "),
        };
        let problem = "is unknown".to_owned();
        self.errors.push(ConfigError { origin, key: name.to_owned(), value: None, problem, allowed });
    }

    /// Checks what lies between keys, reads the secrets and gives the result.
    pub(super) fn finish(mut self) -> Result<Loaded, ConfigErrors> {
        check::unsaid(&mut self.config, &self.origins);
        check::between_keys(&self.config, &self.origins, &mut self.errors);
        check::notices(&self.config, &mut self.notices);
        self.config.api_token = check::api_token(&self.config, &self.origins, &mut self.errors);
        if self.errors.is_empty() {
            return Ok(Loaded { config: self.config, notices: self.notices, origins: self.origins });
        }
        Err(ConfigErrors { errors: self.errors })
    }
}

/// How many letters must be inserted, deleted or replaced to turn one name into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().take(128).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
