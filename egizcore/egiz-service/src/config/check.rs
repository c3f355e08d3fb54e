//! Checks that concern more than one key, and the secrets that keys point to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::schema::{Config, KEYS};
use super::setting::{Anonymous, Secret};
use super::{ConfigError, Origin};

/// Collects the faults between keys.
pub(super) fn between_keys(
    config: &Config,
    origins: &BTreeMap<&'static str, Origin>,
    errors: &mut Vec<ConfigError>,
) {
    let mut fault =
        |path: &str, problem: String, allowed: &str| errors.push(at(config, origins, path, problem, allowed));
    let http = &config.http;
    let protected = http.api_token_file.is_some() || http.allow_anonymous == Anonymous::Always;
    for (path, address) in [("http.listen", Some(http.listen)), ("http.vision_listen", http.vision_listen)] {
        if address.is_some_and(|address| !is_loopback(address)) && !protected {
            let problem = "lets other machines in, but they have no way to sign in".to_owned();
            fault(
                path,
                problem,
                "a loopback address; or any with http.api_token_file set; or with http.allow_anonymous = \"always\", which lets anybody change everything",
            );
        }
    }
    let listeners = [
        ("http.listen", Some(http.listen)),
        ("http.vision_listen", http.vision_listen),
        ("mqtt.listen", Some(config.mqtt.listen)),
    ];
    for (index, (path, address)) in listeners.iter().enumerate() {
        let Some(address) = address.filter(|address| address.port() != 0) else { continue };
        if let Some((other, _)) = listeners[..index].iter().find(|(_, earlier)| *earlier == Some(address)) {
            fault(path, format!("is the address of {other}, too"), "an address of its own");
        }
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

/// Reads the token from its file.
pub(super) fn api_token(
    config: &Config,
    origins: &BTreeMap<&'static str, Origin>,
    errors: &mut Vec<ConfigError>,
) -> Option<Secret> {
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

fn at(
    config: &Config,
    origins: &BTreeMap<&'static str, Origin>,
    path: &str,
    problem: String,
    allowed: &str,
) -> ConfigError {
    ConfigError {
        origin: origins.get(path).cloned().unwrap_or(Origin::Default),
        key: path.to_owned(),
        value: KEYS.iter().find(|key| key.path == path).map(|key| (key.show)(config)),
        problem,
        allowed: allowed.to_owned(),
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
