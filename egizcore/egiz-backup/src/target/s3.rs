//! S3-compatible storage, with the program's one TLS stack: rustls over ring, and the system's authorities.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use rustls::{ClientConfig, RootCertStore};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that nothing may come; a request as a whole may take as long as it moves.
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
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(!self.allow_http)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(|error| failed(error.into()))?;
        Ok(HttpClient::new(client))
    }
}
