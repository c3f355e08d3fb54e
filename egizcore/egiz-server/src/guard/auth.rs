//! Tokens and roles: who asks, and what a route needs. Deny by default: a route that no line names needs the highest role.
//!
//! A token comes as `Authorization: Bearer <token>`; a browser, which cannot set that on a WebSocket, offers the
//! subprotocol `openegiz.bearer.<token>` beside `openegiz.v1`. Known are the tokens of the configuration and those of the
//! registry, both as hashes in memory and compared in constant time: a request costs a hash, and a revoked token is refused
//! from the next request on. Who brings no token is let in as far as [`Anonymous`] says; a wrong token never is.
//! Source: RFC 6750.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, Method};
use egiz_api::Code;
use egiz_store::Store;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::caller::Revocation;
use crate::error::ApiError;
use crate::settings::{Anonymous, ApiToken, Role, ServerSettings};

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
    match path {
        "/query" => return Need::Read,
        "/write" | "/api/v2/write" => return Need::Write,
        _ => {}
    }
    if matches!(
        path,
        "/ping"
            | "/health/live"
            | "/health/ready"
            | "/api/v1/health/live"
            | "/api/v1/health/ready"
            | "/api/v1/openapi.json"
    ) || is("/api/docs")
    {
        return Need::Nothing;
    }
    if is("/api/v1/registry") || is("/api/v1/tokens") || is("/api/v1/audit") || is("/api/v1/backups") {
        return Need::Manage;
    }
    if reads && (is("/api") || is("/health") || is("/metrics")) {
        return Need::Read;
    }
    if reads {
        // EgizVision's files; they hold no data.
        return Need::Nothing;
    }
    if is("/api/v1/query") || is("/api/v1/history") || path == "/api/v1/tickets" {
        return Need::Read;
    }
    if is("/api/v1/things/import") || is("/api/v1/things/bulk") {
        return Need::Manage;
    }
    if is("/api/v1/things") || is("/api/v1/annotations") {
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

/// Who asks.
pub(crate) struct Identity {
    /// The token's name, or `anonymous`.
    pub(crate) principal: Arc<str>,
    /// What they may do.
    pub(crate) role: Role,
    /// Whether they brought no token and were let in all the same.
    pub(crate) is_anonymous: bool,
    /// Comes when the token stops to be good.
    pub(crate) revoked: Revocation,
}

/// The known tokens, and the rule for those who bring none.
pub(crate) struct Tokens {
    configured: Vec<(ApiToken, Arc<str>)>,
    store: Store,
    anonymous: Anonymous,
    nobody_name: Arc<str>,
}

impl Tokens {
    pub(crate) fn new(settings: &ServerSettings, store: Store) -> Self {
        let named = |token: &ApiToken| (token.clone(), token.name.as_str().into());
        Self {
            configured: settings.tokens.iter().map(named).collect(),
            store,
            anonymous: settings.anonymous,
            nobody_name: "anonymous".into(),
        }
    }

    /// Says who asks. `from` is where the connection comes from.
    ///
    /// # Errors
    /// `unauthenticated` where a token is needed and none is there, and where an unknown one is.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
        from: Option<IpAddr>,
        need: Need,
    ) -> Result<Identity, ApiError> {
        self.identify_by(presented(headers), headers, from, need)
    }

    /// The same with a token that was presented in another way.
    ///
    /// # Errors
    /// Those of [`Self::identify`].
    pub(crate) fn identify_by(
        &self,
        token: Option<&str>,
        headers: &HeaderMap,
        from: Option<IpAddr>,
        need: Need,
    ) -> Result<Identity, ApiError> {
        let Some(token) = token else { return self.without_token(headers, from, need) };
        if let Some((configured, name)) = self.find(token) {
            let (principal, role) = (name.clone(), configured.role);
            return Ok(Identity { principal, role, is_anonymous: false, revoked: Revocation::default() });
        }
        if let Some(known) = self.store.authenticate_api_token(token) {
            let (principal, role) = (known.name, known.role.into());
            return Ok(Identity {
                principal,
                role,
                is_anonymous: false,
                revoked: Revocation(Some(known.revoked)),
            });
        }
        match need {
            // An old token in a browser must not hide the page that asks for a new one.
            Need::Nothing => Ok(self.nobody(Role::Viewer)),
            _ => Err(ApiError::new(Code::Unauthenticated, "this token is not known, or was revoked")),
        }
    }

    fn without_token(
        &self,
        headers: &HeaderMap,
        from: Option<IpAddr>,
        need: Need,
    ) -> Result<Identity, ApiError> {
        let let_in = match self.anonymous {
            Anonymous::Never => false,
            Anonymous::Loopback => {
                from.is_some_and(|from| from.to_canonical().is_loopback()) && !was_forwarded(headers)
            }
            Anonymous::Always => true,
        };
        match (let_in, need) {
            (true, _) => Ok(Identity { is_anonymous: true, ..self.nobody(Role::Admin) }),
            (false, Need::Nothing) => Ok(self.nobody(Role::Viewer)),
            (false, _) => {
                Err(ApiError::new(Code::Unauthenticated, "send a valid token as `Authorization: Bearer …`"))
            }
        }
    }

    fn nobody(&self, role: Role) -> Identity {
        Identity {
            principal: self.nobody_name.clone(),
            role,
            is_anonymous: false,
            revoked: Revocation::default(),
        }
    }

    /// Looks at every token of the configuration whatever comes, so that time tells nothing.
    fn find(&self, presented: &str) -> Option<&(ApiToken, Arc<str>)> {
        if self.configured.is_empty() {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let mut found = u64::MAX;
        for (index, (token, _)) in self.configured.iter().enumerate() {
            let same: Choice = token.sha256.ct_eq(&digest);
            found.conditional_assign(&(index as u64), same);
        }
        self.configured.get(usize::try_from(found).ok()?)
    }
}

/// Whether a proxy says that it asks for somebody else: then the connection's address is not the client's.
fn was_forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| headers.contains_key(*name))
}

/// What is presented as a token, empty for credentials of another kind; `None` where there is nothing.
fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
        return Some(if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" });
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
            ("POST", "/api/v1/tickets", Need::Read),
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
            ("GET", "/api/v1/tokens", Need::Manage),
            ("GET", "/api/v1/tokens/grafana", Need::Manage),
            ("GET", "/api/v1/audit", Need::Manage),
            ("GET", "/api/v1/backups", Need::Manage),
            ("POST", "/api/v1/backups", Need::Manage),
            ("GET", "/api/v1/layout", Need::Read),
            ("PUT", "/api/v1/layout", Need::Manage),
            ("POST", "/api/v1/registry/import", Need::Manage),
            ("POST", "/anything", Need::Manage),
            ("GET", "/ping", Need::Nothing),
            ("GET", "/query", Need::Read),
            ("POST", "/query", Need::Read),
            ("POST", "/write", Need::Write),
            ("POST", "/api/v2/write", Need::Write),
            ("POST", "/api/v2/delete", Need::Manage),
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

    fn random() -> egiz_store::RandomSource {
        std::sync::Arc::new(|bytes: &mut [u8]| bytes.fill(7))
    }

    async fn tokens(anonymous: Anonymous) -> (Tokens, Store) {
        let store = Store::open_in_memory(egiz_store::StoreOptions::new(random())).await.expect("a registry");
        let token = |name: &str, role| ApiToken {
            name: name.to_owned(),
            sha256: Sha256::digest(format!("secret of {name}")).into(),
            role,
        };
        let configured = vec![token("ml", Role::Service), token("ada", Role::Admin)];
        let settings = ServerSettings { tokens: configured, anonymous, ..ServerSettings::default() };
        (Tokens::new(&settings, store.clone()), store)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).expect("a value");
        fields.iter().map(|(name, text)| (axum::http::HeaderName::from_static(name), value(text))).collect()
    }

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    const THERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)));

    #[tokio::test]
    async fn a_token_is_found_by_its_hash() {
        let (tokens, store) = tokens(Anonymous::Always).await;
        let author = egiz_store::Author::new("test", egiz_model::Timestamp::from_micros(0));
        let kept = store.create_api_token("grafana", egiz_store::Role::Viewer, &author).await.expect("made");
        let who = |fields: &[(&'static str, &str)]| {
            let identity = tokens.identify(&headers(fields), HERE, Need::Read).ok()?;
            Some((identity.principal.to_string(), identity.role))
        };
        let is = |name: &str, role| Some((name.to_owned(), role));
        assert_eq!(who(&[("authorization", "Bearer secret of ada")]), is("ada", Role::Admin));
        assert_eq!(who(&[("authorization", "bearer secret of ml")]), is("ml", Role::Service));
        let bearer = format!("Bearer {}", kept.expose());
        assert_eq!(who(&[("authorization", &bearer)]), is("grafana", Role::Viewer));
        let offered = format!("openegiz.v1, openegiz.bearer.{}", kept.expose());
        assert_eq!(who(&[("sec-websocket-protocol", &offered)]), is("grafana", Role::Viewer));
        assert_eq!(who(&[]), is("anonymous", Role::Admin), "where that is allowed");
        for wrong in ["Bearer secret of eve", "Basic secret of ada", "Bearer", "Bearer ", "x"] {
            assert_eq!(who(&[("authorization", wrong)]), None, "{wrong}");
        }
        store.delete_api_token("grafana", &author).await.expect("there");
        assert_eq!(who(&[("authorization", &bearer)]), None, "revoked");
        let old = tokens.identify(&headers(&[("authorization", &bearer)]), THERE, Need::Nothing);
        assert_eq!(old.map(|identity| identity.role).ok(), Some(Role::Viewer), "the page itself");
    }

    #[tokio::test]
    async fn who_brings_no_token_is_let_in_as_the_rule_says() {
        let proxied = [("x-forwarded-for", "192.0.2.7")];
        let table = [
            (Anonymous::Never, [false, false, false, false]),
            (Anonymous::Loopback, [true, false, false, false]),
            (Anonymous::Always, [true, true, true, true]),
        ];
        for (rule, wanted) in table {
            let (tokens, _store) = tokens(rule).await;
            let in_turn = [(HERE, &[][..]), (THERE, &[]), (None, &[]), (HERE, &proxied)];
            let got =
                in_turn.map(|(from, fields)| tokens.identify(&headers(fields), from, Need::Manage).is_ok());
            assert_eq!(got, wanted, "{rule:?}");
            let nothing = tokens.identify(&headers(&[]), THERE, Need::Nothing);
            assert!(nothing.is_ok(), "probes and files are for everybody");
        }
    }
}
