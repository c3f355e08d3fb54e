//! Tokens in the ways in which InfluxDB's clients bring them.
//!
//! | way | token |
//! |---|---|
//! | `Authorization: Token <token>`, or `Bearer` | the token; of `user:password`, as clients of the second version speak to a first one, the password |
//! | `Authorization: Basic <user:password>` | the password |
//! | the parameters `u` and `p` | `p` |
//!
//! The user's name is of no meaning: a token says who it is. Passwords of devices are for MQTT and are no tokens. What is of
//! another kind is a wrong token and not none, so that it never lets in as nobody.

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::params::Params;

/// The token of a request; `None` where it brings none.
pub(crate) fn presented(request: &Request) -> Option<String> {
    if let Some(value) = request.headers().get(AUTHORIZATION) {
        return Some(value.to_str().ok().and_then(of_field).unwrap_or_default());
    }
    let params = Params::of_query(request.uri().query());
    params.get("p").or(params.get("u").map(|_| "")).map(str::to_owned)
}

fn of_field(text: &str) -> Option<String> {
    let (scheme, rest) = text.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        return decoded.split_once(':').map(|(_, password)| password.to_owned());
    }
    let is_token = scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer");
    is_token.then(|| rest.split_once(':').map_or(rest, |(_, password)| password).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn check(uri: &str, field: Option<&str>, expected: Option<&str>) {
        let mut request = Request::builder().uri(uri);
        if let Some(field) = field {
            request = request.header(AUTHORIZATION, field);
        }
        let request = request.body(Body::empty()).expect("a request");
        assert_eq!(presented(&request).as_deref(), expected, "{uri} {field:?}");
    }

    #[test]
    fn a_token_comes_in_every_way_of_influxdb() {
        check("/write", None, None);
        check("/write?db=x", None, None);
        check("/write", Some("Token secret"), Some("secret"));
        check("/write", Some("token secret"), Some("secret"));
        check("/write", Some("Bearer secret"), Some("secret"));
        check("/write", Some("Token user:secret"), Some("secret"));
        check("/write", Some("Basic dXNlcjpzZWNyZXQ="), Some("secret"));
        check("/write?u=user&p=secret", None, Some("secret"));
        check("/write?u=&p=", None, None);
        check("/write?p=other", Some("Token secret"), Some("secret"));
    }

    #[test]
    fn credentials_of_another_kind_are_a_wrong_token() {
        check("/write?u=user", None, Some(""));
        for field in ["Digest x", "Basic !", "Basic dXNlcg==", "secret"] {
            check("/write", Some(field), Some(""));
        }
    }
}
