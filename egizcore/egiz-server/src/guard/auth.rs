//! Tokens and roles: who asks, and what a route needs. Deny by default: a route that no line names needs the highest role.
//!
//! A token comes as `Authorization: Bearer <token>`; a browser, which cannot set that on a WebSocket, offers the
//! subprotocol `openegiz.bearer.<token>` beside `openegiz.v1`. Only hashes are configured, and all are compared in
//! constant time. Source: RFC 6750.

use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, Method};
use egiz_api::Code;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::error::ApiError;
use crate::settings::{ApiToken, Role};

/// The subprotocol's prefix before a token.
const SUBPROTOCOL: &str = "openegiz.bearer.";

/// What a route needs of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: probes, and files that hold no data.
    Nothing,
    /// To read.
    Read,
    /// To change Things.
    Write,
    /// To manage devices, templates and the registry.
    Manage,
}

/// What a request with this method to this path needs.
pub(crate) fn need(method: &Method, path: &str) -> Need {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let is =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if *method == Method::OPTIONS {
        return Need::Nothing;
    }
    if matches!(
        path,
        "/health/live"
            | "/health/ready"
            | "/api/v1/health/live"
            | "/api/v1/health/ready"
            | "/api/v1/openapi.json"
    ) || is("/api/docs")
    {
        return Need::Nothing;
    }
    if is("/api/v1/registry") {
        return Need::Manage;
    }
    if reads && (is("/api") || is("/health") || is("/metrics")) {
        return Need::Read;
    }
    if reads {
        // EgizVision's files; they hold no data.
        return Need::Nothing;
    }
    if is("/api/v1/query") {
        return Need::Read;
    }
    if is("/api/v1/things/import") || is("/api/v1/things/bulk") {
        return Need::Manage;
    }
    if is("/api/v1/things") {
        return Need::Write;
    }
    Need::Manage
}

/// Refuses a role that does not suffice.
///
/// # Errors
/// `forbidden`.
pub(crate) fn check_role(role: Role, need: Need) -> Result<(), ApiError> {
    let suffices = match need {
        Need::Nothing | Need::Read => true,
        Need::Write => !matches!(role, Role::Viewer),
        Need::Manage => matches!(role, Role::Admin),
    };
    if suffices {
        return Ok(());
    }
    let wanted = if need == Need::Write { "operator" } else { "admin" };
    Err(ApiError::new(Code::Forbidden, format!("this needs the role {wanted}")))
}

/// The configured tokens.
pub(crate) struct Tokens {
    tokens: Vec<ApiToken>,
    names: Vec<Arc<str>>,
    anonymous: Arc<str>,
}

impl Tokens {
    pub(crate) fn new(tokens: Vec<ApiToken>) -> Self {
        let names = tokens.iter().map(|token| token.name.as_str().into()).collect();
        Self { tokens, names, anonymous: "anonymous".into() }
    }

    /// Whether everybody may do everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Says who asks.
    ///
    /// # Errors
    /// `unauthenticated` where a token is needed and none, or an unknown one, is there.
    pub(crate) fn identify(&self, headers: &HeaderMap, need: Need) -> Result<(Arc<str>, Role), ApiError> {
        if self.tokens.is_empty() {
            return Ok((self.anonymous.clone(), Role::Admin));
        }
        match presented(headers).and_then(|token| self.find(token)) {
            Some(index) => Ok((self.names[index].clone(), self.tokens[index].role)),
            None if need == Need::Nothing => Ok((self.anonymous.clone(), Role::Viewer)),
            None => {
                Err(ApiError::new(Code::Unauthenticated, "send a valid token as `Authorization: Bearer …`"))
            }
        }
    }

    /// Looks at every token whatever comes, so that time tells nothing.
    fn find(&self, presented: &str) -> Option<usize> {
        let digest: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let mut found = u64::MAX;
        for (index, token) in self.tokens.iter().enumerate() {
            let same: Choice = token.sha256.ct_eq(&digest);
            found.conditional_assign(&(index as u64), same);
        }
        usize::try_from(found).ok().filter(|index| *index < self.tokens.len())
    }
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    }
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(SUBPROTOCOL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn every_route_needs_its_role() {
        let table = [
            ("GET", "/", Need::Nothing),
            ("GET", "/assets/main-abc.js", Need::Nothing),
            ("GET", "/health/live", Need::Nothing),
            ("GET", "/health/ready", Need::Nothing),
            ("GET", "/api/docs/", Need::Nothing),
            ("GET", "/health", Need::Read),
            ("GET", "/metrics", Need::Read),
            ("GET", "/api/v1/things", Need::Read),
            ("HEAD", "/api/v1/things/a:b", Need::Read),
            ("GET", "/api/v1/ws", Need::Read),
            ("GET", "/api/v1/things/events", Need::Read),
            ("GET", "/api/v1/unknown", Need::Read),
            ("POST", "/api/v1/query", Need::Read),
            ("POST", "/api/v1/query/count", Need::Read),
            ("POST", "/api/v1/query/aggregate", Need::Read),
            ("POST", "/api/v1/queryx", Need::Manage),
            ("POST", "/api/v1/things", Need::Write),
            ("PUT", "/api/v1/things/a:b", Need::Write),
            ("PATCH", "/api/v1/things/a:b/attributes", Need::Write),
            ("DELETE", "/api/v1/things/a:b", Need::Write),
            ("POST", "/api/v1/things/import", Need::Manage),
            ("POST", "/api/v1/things/bulk", Need::Manage),
            ("GET", "/api/v1/devices/discovered", Need::Read),
            ("POST", "/api/v1/devices/discovered/a:b/accept", Need::Manage),
            ("DELETE", "/api/v1/devices/a:b", Need::Manage),
            ("PUT", "/api/v1/templates/oven", Need::Manage),
            ("GET", "/api/v1/registry/export", Need::Manage),
            ("POST", "/api/v1/registry/import", Need::Manage),
            ("POST", "/anything", Need::Manage),
        ];
        for (method, path, wanted) in table {
            assert_eq!(need(&method.parse().expect("a method"), path), wanted, "{method} {path}");
        }
    }

    #[test]
    fn a_role_may_what_its_level_says() {
        let table = [
            (Role::Viewer, [true, true, false, false]),
            (Role::Operator, [true, true, true, false]),
            (Role::Service, [true, true, true, false]),
            (Role::Admin, [true, true, true, true]),
        ];
        for (role, wanted) in table {
            let got = [Need::Nothing, Need::Read, Need::Write, Need::Manage]
                .map(|need| check_role(role, need).is_ok());
            assert_eq!(got, wanted, "{role:?}");
        }
    }

    #[test]
    fn a_token_is_found_by_its_hash() {
        let token = |name: &str, role| ApiToken {
            name: name.to_owned(),
            sha256: Sha256::digest(format!("secret of {name}")).into(),
            role,
        };
        let tokens = Tokens::new(vec![token("ml", Role::Service), token("ada", Role::Admin)]);
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).expect("a value"));
            tokens.identify(&headers, Need::Read).map(|(name, _)| name.to_string()).ok()
        };
        assert_eq!(with("authorization", "Bearer secret of ada").as_deref(), Some("ada"));
        assert_eq!(with("authorization", "bearer secret of ml").as_deref(), Some("ml"));
        assert_eq!(with("authorization", "Bearer secret of eve"), None);
        assert_eq!(with("authorization", "Basic secret of ada"), None);
        assert_eq!(with("authorization", "Bearer"), None);
        assert_eq!(with("x", "y"), None);
        let tokens = Tokens::new(vec![ApiToken {
            name: "b".into(),
            sha256: Sha256::digest("t").into(),
            role: Role::Viewer,
        }]);
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("openegiz.v1, openegiz.bearer.t"));
        assert!(tokens.identify(&headers, Need::Read).is_ok());
        assert!(tokens.identify(&HeaderMap::new(), Need::Nothing).is_ok());
    }
}
