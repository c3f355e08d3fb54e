//! MQTT over WebSocket (MQTT 5 section 6, RFC 6455): the opening handshake.
//!
//! Any path is accepted; the subprotocol `mqtt` is required. A browser lets every page of the world open a WebSocket to a
//! machine that it reaches, so a handshake that names an origin is let in only from an origin that is listed, or from the
//! same authority where the name cannot have been pointed here by somebody else: an address, `localhost`, or any name
//! that TLS has verified. Compression is not offered. Frames are the business of `frames`.

mod frames;

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, Uri, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

pub(super) use frames::Frames;

const SUBPROTOCOL: &str = "mqtt";

/// Which pages may open a WebSocket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Origins as `https://example.org:8443`, or `*` for all.
    pub allowed: Vec<String>,
}

/// Shakes hands.
///
/// # Errors
/// The reason, as counted.
pub(super) async fn accept<S>(stream: S, origins: &Origins, is_tls: bool) -> Result<Frames<S>, &'static str>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut refused = None;
    #[expect(clippy::result_large_err, reason = "the crate's signature")]
    let check = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let (status, reason) = if !offers_mqtt(request) {
            (StatusCode::BAD_REQUEST, "websocket-subprotocol")
        } else if !origins.allow(request, is_tls) {
            (StatusCode::FORBIDDEN, "websocket-origin")
        } else {
            // The server names the subprotocol that it has chosen (MQTT-6.0.0-4).
            response
                .headers_mut()
                .insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
            return Ok(response);
        };
        refused = Some(reason);
        let mut response = ErrorResponse::new(None);
        *response.status_mut() = status;
        Err(response)
    };
    // Frames are read by ourselves; what the crate would keep for them is given back at once.
    let config = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0);
    let accepted = accept_hdr_async_with_config(stream, check, Some(config)).await;
    match accepted {
        Ok(stream) => Ok(Frames::new(stream.into_inner())),
        Err(error) => {
            tracing::debug!(%error, "a WebSocket handshake failed");
            Err(match (refused, error) {
                (Some(reason), _) => reason,
                (None, Error::Io(_)) => "websocket-broken-off",
                (None, _) => "websocket-malformed",
            })
        }
    }
}

/// Whether the client offers the subprotocol (MQTT-6.0.0-3).
fn offers_mqtt(request: &Request) -> bool {
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    offers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offer| offer.trim() == SUBPROTOCOL)
}

impl Origins {
    fn allow(&self, request: &Request, is_tls: bool) -> bool {
        let headers = request.headers();
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        if self.allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let Some(origin) = origin.parse::<Uri>().ok().and_then(|origin| origin.into_parts().authority) else {
            return false;
        };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        if !host.is_some_and(|host| host.eq_ignore_ascii_case(origin.as_str())) {
            return false;
        }
        let name = origin.host().trim_start_matches('[').trim_end_matches(']');
        is_tls || name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &str)]) -> Request {
        let mut request = Request::new(());
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_str(value).expect("printable"));
        }
        request
    }

    #[test]
    fn mqtt_6_0_0_3_the_subprotocol_is_one_of_those_offered() {
        let offers = |value| offers_mqtt(&request(&[("sec-websocket-protocol", value)]));
        assert!(offers("mqtt") && offers("mqttv3.1, mqtt"));
        assert!(!offers("mqttv3.1") && !offers("MQTT") && !offers(""));
        assert!(!offers_mqtt(&request(&[])));
        let in_two = request(&[("sec-websocket-protocol", "chat"), ("sec-websocket-protocol", "mqtt")]);
        assert!(offers_mqtt(&in_two));
    }

    #[test]
    fn a_page_of_elsewhere_is_not_let_in_unless_listed() {
        let origins = Origins { allowed: vec!["https://scada.example".to_owned()] };
        let allow = |origin: &str, host: &str, is_tls| {
            origins.allow(&request(&[("origin", origin), ("host", host)]), is_tls)
        };
        assert!(origins.allow(&request(&[("host", "broker.example:9001")]), false), "no browser");
        assert!(allow("https://scada.example", "broker.example:9001", false));
        assert!(!allow("https://evil.example", "127.0.0.1:9001", false));
        assert!(!allow("null", "127.0.0.1:9001", false) && !allow("file://", "127.0.0.1:9001", true));
        for own in ["127.0.0.1:9001", "localhost:9001", "[::1]:9001"] {
            assert!(allow(&format!("http://{own}"), own, false), "{own}");
        }
        assert!(!allow("http://127.0.0.1:8080", "127.0.0.1:9001", false), "another server of this machine");
        // A name can be pointed at this machine by its owner; a certificate for it cannot be had so.
        assert!(!allow("http://rebound.example:9001", "rebound.example:9001", false));
        assert!(allow("https://broker.example:9001", "broker.example:9001", true));
        let all = Origins { allowed: vec!["*".to_owned()] };
        assert!(all.allow(&request(&[("origin", "https://evil.example")]), false));
    }
}
