//! Checks that concern more than one key, and the secrets that keys point to.

mod brokers;
mod influxdb;

use std::net::SocketAddr;

use super::items::LISTS;
use super::schema::{Config, KEYS};
use super::setting::{Anonymous, MqttTransport, Secret};
use super::{ConfigError, Notice, Origins, origin_of};

/// Collects the faults between keys.
pub(super) fn between_keys(config: &Config, origins: &Origins, errors: &mut Vec<ConfigError>) {
    let mut fault =
        |path: &str, problem: String, allowed: &str| errors.push(at(config, origins, path, problem, allowed));
    let http = &config.http;
    let mut listeners = vec![
        ("http.listen".to_owned(), Some(http.listen)),
        ("http.vision_listen".to_owned(), http.vision_listen),
        ("mqtt.listen".to_owned(), config.mqtt.listen),
    ];
    let more = config.mqtt_listeners.iter().enumerate();
    listeners
        .extend(more.map(|(at, listener)| (format!("mqtt.listeners[{at}].address"), Some(listener.address))));
    for (index, (path, address)) in listeners.iter().enumerate() {
        let Some(address) = address.filter(|address| address.port() != 0) else { continue };
        if let Some((other, _)) = listeners[..index].iter().find(|(_, earlier)| *earlier == Some(address)) {
            fault(path, format!("is the address of {other}, too"), "an address of its own");
        }
    }
    if config.mqtt.listen.is_none() && config.mqtt_listeners.is_empty() {
        let problem = "leaves the broker without a listener".to_owned();
        fault("mqtt.listen", problem, "an address, or at least one [[mqtt.listeners]]");
    }
    for (at, listener) in config.mqtt_listeners.iter().enumerate() {
        let path = |key: &str| format!("mqtt.listeners[{at}].{key}");
        match (&listener.certificate_file, &listener.key_file) {
            (Some(_), None) => fault(&path("key_file"), "is missing".to_owned(), "the certificate's key"),
            (None, Some(_)) => {
                fault(&path("certificate_file"), "is missing".to_owned(), "the key's certificate");
            }
            (None, None) if listener.client_ca_file.is_some() => {
                fault(&path("client_ca_file"), "needs TLS".to_owned(), "\"\", or a certificate_file, too");
            }
            (None, None) if listener.tls_1_2 => {
                fault(&path("tls_1_2"), "needs TLS".to_owned(), "false, or a certificate_file, too");
            }
            _ => {}
        }
        if listener.transport == MqttTransport::Tcp && !listener.allowed_origins.is_empty() {
            let problem = "is for browsers".to_owned();
            fault(&path("allowed_origins"), problem, "[], or transport = \"websocket\"");
        }
    }
    brokers::between_keys(config, &mut fault);
    influxdb::between_keys(config, &mut fault);
    if config.influx.device_tags.is_empty() {
        fault("influx.device_tags", "names no tag".to_owned(), "at least one tag");
    }
    for (at, retention) in config.history_retention.iter().enumerate() {
        let mut earlier = config.history_retention[..at].iter();
        if let Some(other) = earlier.position(|other| other.template == retention.template) {
            let problem = format!("is the template of history.retention[{other}], too");
            fault(&format!("history.retention[{at}].template"), problem, "each template once");
        }
    }
    let backup = &config.backup;
    if backup.daily_at.is_some() && backup.every_hours > 0 {
        let problem = "goes together with no backup.daily_at".to_owned();
        fault("backup.every_hours", problem, "0, or backup.daily_at = \"\"");
    }
    let journal = &config.journal;
    if journal.max_total_bytes < journal.segment_bytes.saturating_mul(2) {
        let problem =
            format!("is less than two segments of journal.segment_bytes = {}", journal.segment_bytes);
        fault("journal.max_total_bytes", problem, "at least twice journal.segment_bytes");
    }
    if config.mqtt.max_packet_bytes > journal.queue_bytes {
        let problem = format!("does not fit into journal.queue_bytes = {}", journal.queue_bytes);
        fault("mqtt.max_packet_bytes", problem, "at most journal.queue_bytes");
    }
    if http.max_body_bytes > journal.queue_bytes {
        let problem = format!("does not fit into journal.queue_bytes = {}", journal.queue_bytes);
        fault("http.max_body_bytes", problem, "at most journal.queue_bytes");
    }
    if config.mqtt.max_packet_bytes > journal.segment_bytes {
        let problem = format!("does not fit into journal.segment_bytes = {}", journal.segment_bytes);
        fault("mqtt.max_packet_bytes", problem, "at most journal.segment_bytes");
    }
}

/// What follows where nothing was said. Who comes in without a token: with a token file, nobody. Whoever sets one wants it asked for,
/// also behind a proxy, from where everybody seems to be on this machine.
pub(super) fn unsaid(config: &mut Config, origins: &Origins) {
    if config.http.api_token_file.is_some() && !origins.contains_key("http.allow_anonymous") {
        config.http.allow_anonymous = Anonymous::Never;
    }
    if config.backup.every_hours > 0 && !origins.contains_key("backup.daily_at") {
        config.backup.daily_at = None;
    }
}

/// What can be used, but is perhaps not what was meant.
pub(super) fn notices(config: &Config, notices: &mut Vec<Notice>) {
    let http = &config.http;
    for (path, address) in [("http.listen", Some(http.listen)), ("http.vision_listen", http.vision_listen)] {
        if address.is_none_or(is_loopback) {
            continue;
        }
        let text = match (http.allow_anonymous, &http.api_token_file) {
            (Anonymous::Always, _) => {
                "lets other machines in, and http.allow_anonymous = \"always\" lets anybody there change everything"
            }
            (_, Some(_)) => continue,
            (Anonymous::Loopback, None) => {
                "lets other machines in, and each request from there needs a token: that of http.api_token_file, or one \
                 made on this machine with POST /api/v1/tokens"
            }
            (Anonymous::Never, None) => {
                "lets other machines in, and each request needs a token that was made before with POST /api/v1/tokens; \
                 without one nobody gets in: set http.api_token_file"
            }
        };
        notices.push(Notice { name: path.to_owned(), text: text.to_owned() });
    }
}

/// Reads the token from its file.
pub(super) fn api_token(config: &Config, origins: &Origins, errors: &mut Vec<ConfigError>) -> Option<Secret> {
    let path = config.http.api_token_file.as_ref()?;
    let mut fault = |problem: String| {
        let allowed = "a file with 16 to 512 printable ASCII characters";
        errors.push(at(config, origins, "http.api_token_file", problem, allowed));
        None
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return fault(format!("cannot be read: {error}")),
    };
    let token = text.trim();
    if !(16..=512).contains(&token.len()) {
        return fault(format!("holds {} characters", token.chars().count()));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return fault("holds characters that cannot be part of a token".to_owned());
    }
    Some(Secret::new(token.to_owned()))
}

fn at(config: &Config, origins: &Origins, path: &str, problem: String, allowed: &str) -> ConfigError {
    ConfigError {
        origin: origin_of(origins, path).clone(),
        key: path.to_owned(),
        value: shown(config, path),
        problem,
        allowed: allowed.to_owned(),
    }
}

fn shown(config: &Config, path: &str) -> Option<String> {
    if let Some(key) = KEYS.iter().find(|key| key.path == path) {
        return Some((key.show)(config));
    }
    let (list, rest) = path.split_once('[')?;
    let (at, name) = rest.split_once("].")?;
    let list = LISTS.iter().find(|known| known.path == list)?;
    let key = list.keys.iter().find(|key| key.name == name)?;
    Some((key.show)(config, at.parse().ok()?))
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
