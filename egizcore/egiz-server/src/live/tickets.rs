//! Tickets: what a browser sends instead of a token where it can send no header. `EventSource` and `WebSocket` only take an
//! address, and a token in an address would be kept by logs and histories for as long as it is good.
//!
//! A ticket is 256 random bits, good once, for half a minute, for live routes only, with the rights of the token that asked
//! for it; it dies with that token. Only its hash is kept, in memory.
//!
//! Bounds: for each principal [`PER_PRINCIPAL`], altogether [`ALTOGETHER`]; beyond, asking is answered 429 or 503 until
//! tickets are used or expire.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use egiz_api::live::Ticket;
use egiz_api::{Code, Problem};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::NoParams;
use crate::ports::Ports;
use crate::respond;
use crate::things::stream::Form;

/// How long a ticket is good, in seconds.
const GOOD_S: u32 = 30;
/// Tickets of one principal that are not used yet.
const PER_PRINCIPAL: usize = 256;
/// Tickets that are not used yet.
const ALTOGETHER: usize = 4096;

/// The tickets that are not used yet.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<HashMap<[u8; 32], Held>>);

#[derive(Debug)]
struct Held {
    caller: Caller,
    expires_micros: i64,
}

impl Tickets {
    fn issue(&self, text: &str, caller: Caller, now_micros: i64) -> Result<(), ApiError> {
        let mut held = self.0.lock();
        if held.len() >= PER_PRINCIPAL {
            held.retain(|_, held| held.expires_micros > now_micros);
        }
        if held.len() >= ALTOGETHER {
            return Err(Problem::new(Code::Overloaded, "there are as many unused tickets as allowed")
                .retry_after(GOOD_S)
                .into());
        }
        let own = held.values().filter(|held| held.caller.principal == caller.principal).count();
        if own >= PER_PRINCIPAL {
            return Err(Problem::new(Code::RateLimited, "more unused tickets than a token may have")
                .limit(PER_PRINCIPAL as u64)
                .retry_after(GOOD_S)
                .into());
        }
        let expires_micros = now_micros + i64::from(GOOD_S) * 1_000_000;
        held.insert(Sha256::digest(text).into(), Held { caller, expires_micros });
        Ok(())
    }

    fn redeem(&self, text: &str, now_micros: i64) -> Option<Caller> {
        let digest: [u8; 32] = Sha256::digest(text).into();
        let held = self.0.lock().remove(&digest)?;
        (held.expires_micros > now_micros && !held.caller.revoked.is_cancelled()).then_some(held.caller)
    }
}

/// A ticket for the caller.
#[utoipa::path(post, path = "/api/v1/tickets", tag = "live", responses(
    (status = 201, description = "Good once, for a live route, as the parameter `ticket`", body = Ticket),
    (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create(
    State(ports): State<Ports>,
    _: NoParams,
    caller: Caller,
) -> Result<Response, ApiError> {
    let mut bytes = [0; 32];
    (ports.random)(&mut bytes);
    let ticket = URL_SAFE_NO_PAD.encode(bytes);
    ports.hub.tickets().issue(&ticket, caller, (ports.clock)().as_micros())?;
    let mut response = respond::json(StatusCode::CREATED, &Ticket { ticket, expires_in_s: GOOD_S });
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Who asked for the ticket that a request brings, if it brings one where tickets count.
///
/// # Errors
/// `unauthenticated` where it is not good, or not any more.
pub(crate) fn redeem<B>(ports: &Ports, request: &Request<B>) -> Result<Option<Caller>, ApiError> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let is_of_a_thing = path
        .strip_prefix("/api/v1/things/")
        .is_some_and(|rest| rest.split_once('/').is_some_and(|(_, rest)| rest == "events"));
    let is_list_of_events =
        || path == "/api/v1/things" && Form::of(request.headers()).is_ok_and(|form| form == Form::Events);
    let takes_tickets =
        is_of_a_thing || matches!(path, "/api/v1/ws" | "/api/v1/events") || is_list_of_events();
    if *request.method() != Method::GET || !takes_tickets {
        return Ok(None);
    }
    let Some(text) = query.split('&').find_map(|pair| pair.strip_prefix("ticket=")) else { return Ok(None) };
    let caller = ports.hub.tickets().redeem(text, (ports.clock)().as_micros());
    let refused =
        || ApiError::new(Code::Unauthenticated, "this ticket is not known, was used, or has expired");
    caller.map(Some).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Role;

    fn caller(name: &str) -> Caller {
        let revoked = crate::Revocation(Some(tokio_util::sync::CancellationToken::new()));
        Caller { principal: name.into(), role: Role::Viewer, correlation: "c".into(), revoked }
    }

    #[test]
    fn a_ticket_is_good_once_and_not_for_long_and_dies_with_its_token() {
        let tickets = Tickets::default();
        let ada = caller("ada");
        for text in ["a", "b", "c"] {
            tickets.issue(text, ada.clone(), 0).expect("room");
        }
        assert_eq!(tickets.redeem("a", 1).map(|caller| caller.principal), Some("ada".into()));
        assert!(tickets.redeem("a", 1).is_none(), "used");
        assert!(tickets.redeem("b", i64::from(GOOD_S) * 1_000_000).is_none(), "expired");
        ada.revoked.0.as_ref().expect("it can be revoked").cancel();
        assert!(tickets.redeem("c", 1).is_none(), "revoked");
    }

    #[test]
    fn unused_tickets_are_bounded_for_each_principal_and_altogether() {
        let tickets = Tickets::default();
        let mut number = 0;
        let mut issue = |name: &str, now: i64| {
            number += 1;
            tickets.issue(&number.to_string(), caller(name), now)
        };
        for _ in 0..PER_PRINCIPAL {
            issue("ada", 0).expect("room");
        }
        assert_eq!(issue("ada", 0).expect_err("full").0.code, "rate-limited");
        for other in 1..ALTOGETHER / PER_PRINCIPAL {
            for _ in 0..PER_PRINCIPAL {
                issue(&format!("p{other}"), 0).expect("room");
            }
        }
        assert_eq!(issue("bob", 0).expect_err("full").0.code, "overloaded");
        issue("ada", i64::from(GOOD_S) * 1_000_000).expect("the others have expired");
    }
}
