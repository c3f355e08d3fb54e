//! Checks between the keys of brokers elsewhere: `[[mqtt.external]]` and `[[mqtt.bridge]]`.

use std::path::PathBuf;

use super::super::schema::Config;

/// What both kinds have.
struct Broker<'a> {
    list: &'static str,
    at: usize,
    name: &'a str,
    url: &'a str,
    username: Option<&'a String>,
    password_file: Option<&'a PathBuf>,
    ca_file: Option<&'a PathBuf>,
    topics: &'a [String],
}

/// Collects the faults.
pub(super) fn between_keys(config: &Config, fault: &mut impl FnMut(&str, String, &str)) {
    let external = config.mqtt_external.iter().enumerate().map(|(at, broker)| Broker {
        list: "mqtt.external",
        at,
        name: &broker.name,
        url: &broker.url,
        username: broker.username.as_ref(),
        password_file: broker.password_file.as_ref(),
        ca_file: broker.ca_file.as_ref(),
        topics: &broker.topics,
    });
    let bridges = config.mqtt_bridges.iter().enumerate().map(|(at, broker)| Broker {
        list: "mqtt.bridge",
        at,
        name: &broker.name,
        url: &broker.url,
        username: broker.username.as_ref(),
        password_file: broker.password_file.as_ref(),
        ca_file: broker.ca_file.as_ref(),
        topics: &broker.topics,
    });
    for brokers in [external.collect::<Vec<_>>(), bridges.collect()] {
        for broker in &brokers {
            let path = |key: &str| format!("{}[{}].{key}", broker.list, broker.at);
            if let Some(other) = brokers[..broker.at].iter().find(|other| other.name == broker.name) {
                let problem = format!("is the name of {}[{}], too", other.list, other.at);
                fault(&path("name"), problem, "a name of its own");
            }
            if broker.password_file.is_some() && broker.username.is_none() {
                fault(&path("username"), "is missing".to_owned(), "the name that the password belongs to");
            }
            if broker.ca_file.is_some() && !broker.url.starts_with("mqtts://") {
                fault(&path("ca_file"), "needs TLS".to_owned(), "\"\", or a url with mqtts://");
            }
            if broker.topics.is_empty() {
                fault(&path("topics"), "asks for nothing".to_owned(), "at least one topic filter");
            }
        }
    }
}
