//! Where a broker is: `mqtt://host:port`, `mqtts://host:port`, or `host:port`.

use std::fmt;
use std::str::FromStr;

/// A broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Name or address; IPv6 in brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether by TLS.
    pub tls: bool,
}

/// The text is no broker's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(&'static str);

impl AddressError {
    /// What is allowed, in words.
    pub const ALLOWED: &'static str =
        "mqtt://host, mqtts://host for TLS, or host alone, each with an optional :port (1883, by TLS 8883)";
}

impl FromStr for BrokerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("mqtt" | "tcp", rest)) => (false, rest),
            Some(("mqtts" | "ssl", rest)) => (true, rest),
            Some(_) => return Err(AddressError("has a scheme that is not MQTT's")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err(AddressError("holds a credential, which belongs into username and password_file"));
        }
        let after_brackets = rest.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match rest[after_brackets..].rfind(':') {
            None => (rest, if tls { 8883 } else { 1883 }),
            Some(colon) => {
                let (host, port) = rest.split_at(after_brackets + colon);
                (
                    host,
                    port[1..]
                        .parse()
                        .map_err(|_| AddressError("has a port that is no number up to 65535"))?,
                )
            }
        };
        let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let bracketed = name.len() != host.len();
        let plausible =
            !name.is_empty() && name.bytes().all(|b| allowed(b) || (bracketed && matches!(b, b':' | b'%')));
        if !plausible || port == 0 {
            return Err(AddressError("names no host and port"));
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(formatter, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let read = text.parse::<BrokerAddress>().ok().map(|address| address.to_string());
        assert_eq!(read.as_deref(), expected, "{text}");
    }

    #[test]
    fn addresses_have_many_forms() {
        check("mosquitto:1883", Some("mqtt://mosquitto:1883"));
        check("mosquitto", Some("mqtt://mosquitto:1883"));
        check("mqtt://10.0.0.7", Some("mqtt://10.0.0.7:1883"));
        check("tcp://broker.example:2000/", Some("mqtt://broker.example:2000"));
        check("mqtts://broker.example", Some("mqtts://broker.example:8883"));
        check("ssl://broker:9", Some("mqtts://broker:9"));
        check("[::1]:1884", Some("mqtt://[::1]:1884"));
        check("mqtt://[fe80::1%2]", Some("mqtt://[fe80::1%2]:1883"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "http://x", "host:", "host:70000", "host:0", "a b", "mqtt://u:p@host", "::1", "mqtt://"]
        {
            check(text, None);
        }
    }
}
