//! One request of lines to an InfluxDB: packed, with the password that is in force now, and what came of it.
//!
//! It refuses to try again, and to know what is in the lines. Nothing that it says holds a password or a token.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use egiz_influx::answer::{Verdict, verdict};
use egiz_ingest::{TlsRoots, tls_client};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most that is read of an answer: an error's text is shorter.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The longest pause that a server may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(300);
const SECRET_BYTES_MAX: usize = 1024;

/// Where and how to write.
#[derive(Debug, Clone)]
pub(super) struct ClientSettings {
    /// With the path and the parameters.
    pub(super) uri: Uri,
    pub(super) sign_in: SignIn,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) timeout: Duration,
}

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SignIn {
    Nobody,
    Token(PathBuf),
    User { name: String, password_file: Option<PathBuf> },
}

/// Writes lines.
pub(super) struct Client {
    settings: ClientSettings,
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer, or why there is none.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    /// How long the server asks to be left alone.
    pub(super) pause: Option<Duration>,
}

impl Client {
    /// Makes one; connects when there is something to write.
    ///
    /// # Errors
    /// Where there are no authorities to trust.
    pub(super) fn new(settings: ClientSettings) -> anyhow::Result<Self> {
        let roots = settings.ca_file.as_deref().map_or(TlsRoots::System, TlsRoots::File);
        let is_secure = settings.uri.scheme_str() == Some("https");
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let tls = if is_secure { Arc::unwrap_or_clone(tls_client(roots)?) } else { without_authorities()? };
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls);
        let connector = connector.https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self { settings, http: HttpClient::builder(TokioExecutor::new()).build(connector) })
    }

    /// Writes lines.
    ///
    /// # Cancel safety
    /// Dropping the future may leave lines written; to write them again changes nothing.
    pub(super) async fn write(&self, lines: String) -> Answer {
        let unavailable = |why: String| Answer { verdict: Verdict::Unavailable(why), pause: None };
        let authorization = match self.settings.sign_in.header() {
            Ok(header) => header,
            Err(why) => return Answer { verdict: Verdict::Refused(why), pause: None },
        };
        let packed = match tokio::task::spawn_blocking(move || pack(&lines)).await {
            Ok(Ok(packed)) => packed,
            Ok(Err(error)) => return unavailable(format!("the lines cannot be packed: {error}")),
            Err(error) => return unavailable(format!("the lines cannot be packed: {error}")),
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.settings.uri.clone())
            .header(USER_AGENT, concat!("openegiz/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .header(CONTENT_ENCODING, "gzip");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = match request.body(Full::new(Bytes::from(packed))) {
            Ok(request) => request,
            Err(error) => return unavailable(format!("the request cannot be made: {error}")),
        };
        match tokio::time::timeout(self.settings.timeout, self.exchange(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => unavailable(egiz_service::supervisor::error_chain(&error)),
            Err(_) => unavailable(format!(
                "no answer within influxdb.timeout_s = {}",
                self.settings.timeout.as_secs()
            )),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, hyper_util::client::legacy::Error> {
        let response = self.http.request(request).await?;
        let status = response.status().as_u16();
        let pause =
            response.headers().get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let pause = pause.map(|seconds| Duration::from_secs(seconds).min(PAUSE_MAX));
        // The status says what matters; a body that is cut off or too long only has no words for it.
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(Answer { verdict: verdict(status, &body), pause })
    }
}

impl SignIn {
    /// The header, read from its file now.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, String> {
        let text = match self {
            Self::Nobody => return Ok(None),
            Self::Token(path) => format!("Token {}", secret("influxdb.token_file", path)?),
            Self::User { name, password_file } => {
                let password = match password_file {
                    Some(path) => secret("influxdb.password_file", path)?,
                    None => String::new(),
                };
                format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
            }
        };
        let mut header = HeaderValue::from_str(&text)
            .map_err(|_| "influxdb.token_file holds characters that cannot be part of a token".to_owned())?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

fn secret(key: &str, path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{key} {} cannot be read: {error}", path.display()))?;
    let text = text.trim();
    if !(1..=SECRET_BYTES_MAX).contains(&text.len()) {
        return Err(format!(
            "{key} {} holds {} bytes; allowed: 1 to {SECRET_BYTES_MAX}",
            path.display(),
            text.len()
        ));
    }
    Ok(text.to_owned())
}

fn pack(lines: &str) -> std::io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::with_capacity(lines.len() / 8), Compression::fast());
    packed.write_all(lines.as_bytes())?;
    packed.finish()
}

/// For addresses without TLS: nothing is trusted, and nothing asked.
fn without_authorities() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_is_read_from_the_files_and_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        assert_eq!(SignIn::Nobody.header(), Ok(None));
        let token = SignIn::Token(path.clone());
        assert!(token.header().expect_err("no file").starts_with("influxdb.token_file "));
        std::fs::write(&path, " s3cret\n").expect("written");
        let header = token.header().expect("a file").expect("a header");
        assert_eq!(header.to_str().expect("text"), "Token s3cret");
        assert!(!format!("{header:?}").contains("s3cret"));
        let user = SignIn::User { name: "writer".to_owned(), password_file: Some(path.clone()) };
        let header = user.header().expect("a file").expect("a header");
        assert_eq!(header.to_str().expect("text"), "Basic d3JpdGVyOnMzY3JldA==");
        std::fs::write(&path, "\n").expect("written");
        let error = user.header().expect_err("no password");
        assert!(error.contains("holds 0 bytes; allowed: 1 to 1024"), "{error}");
        std::fs::write(&path, "a\nb").expect("written");
        assert!(token.header().is_err());
    }
}
