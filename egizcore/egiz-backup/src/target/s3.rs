//! S3-compatible storage, with the program's one TLS stack: rustls over ring, and the system's authorities.
//!
//! The driver is given its way of making requests. Its own choice, reqwest with TLS, would make every other client of the
//! workspace ask for a provider of cryptography at run time.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::TokioExecutor;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use rustls::{ClientConfig, RootCertStore};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request may take until its answer begins: its body has at most one part, 8 MiB.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// The longest that nothing may come of an answer; the whole may take as long as it moves.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request that fails is tried again before the backup fails.
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);
const RETRIES: usize = 8;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Opens a bucket.
pub(super) fn open(url: &Url, settings: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, Failure> {
    let mut builder = AmazonS3Builder::new().with_bucket_name(url.host_str().unwrap_or_default());
    let mut allow_http = false;
    for (name, value) in settings {
        let name = name.to_ascii_lowercase();
        if name == "aws_allow_http" {
            allow_http = match value.as_str() {
                "true" => true,
                "false" | "" => false,
                other => return Err(format!("AWS_ALLOW_HTTP = {other:?}; allowed: true, false").into()),
            };
        } else if name.starts_with("aws_")
            && let Ok(key) = AmazonS3ConfigKey::from_str(&name)
        {
            builder = builder.with_config(key, value);
        }
    }
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let store = builder
        .with_allow_http(allow_http)
        .with_retry(retry)
        .with_http_connector(Connector { allow_http })
        .build()?;
    Ok(Arc::new(store))
}

#[derive(Debug)]
struct Connector {
    allow_http: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |source: Failure| object_store::Error::Generic { store: "S3", source };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls);
        let https = if self.allow_http { https.https_or_http() } else { https.https_only() };
        let https = https.enable_http1().wrap_connector(tcp);
        Ok(HttpClient::new(Service(Client::builder(TokioExecutor::new()).build(https))))
    }
}

/// Takes requests over HTTP/1.1.
#[derive(Debug)]
struct Service(Client<HttpsConnector<TcpConnector>, HttpRequestBody>);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = match tokio::time::timeout(ANSWER_TIMEOUT, self.0.request(request)).await {
            Ok(response) => response.map_err(|error| {
                let kind =
                    if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
                HttpError::new(kind, error)
            })?,
            Err(elapsed) => return Err(HttpError::new(HttpErrorKind::Timeout, elapsed)),
        };
        let (parts, body) = response.into_parts();
        let frames = futures::stream::try_unfold(body, |mut body| async move {
            match tokio::time::timeout(READ_TIMEOUT, body.frame()).await {
                Ok(None) => Ok(None),
                Ok(Some(Ok(frame))) => Ok(Some((frame, body))),
                Ok(Some(Err(error))) => Err(HttpError::new(HttpErrorKind::Interrupted, error)),
                Err(elapsed) => Err(HttpError::new(HttpErrorKind::Timeout, elapsed)),
            }
        });
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(StreamBody::new(frames))))
    }
}
