//! TLS: the server's certificate and key, who must show a certificate, and renewing both while connections go on.
//!
//! Version 1.3; 1.2 only where it is asked for, for devices that know nothing newer. Sessions are resumed by stateless
//! tickets, so that a plant that comes back at once costs a fraction of its first handshakes. Where clients show
//! certificates there are no tickets: a certificate is verified for each connection, and one that has expired or whose
//! authority was removed is refused at the next.
//!
//! When to look at the files again is the program's business. Revocation lists and OCSP are not read.

mod subject;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::gate::ClientCertificate;

/// Where the keys are, and what is asked of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate in PEM, then those between it and its authority.
    pub certificate: PathBuf,
    /// The certificate's private key in PEM: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// Certificates in PEM of the authorities whose clients are let in; without it clients are asked for none.
    pub client_authorities: Option<PathBuf>,
    /// Whether a client without a certificate is let in to log in otherwise.
    pub client_certificate_optional: bool,
    /// Whether TLS 1.2 is spoken besides 1.3.
    pub tls_1_2: bool,
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {error}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is no PEM, or holds nothing of the kind.
    #[error("{path} holds no usable {what}: {error}", path = path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Why.
        error: String,
    },
    /// What was read does not fit together.
    #[error("{path} cannot be used: {error}", path = path.display())]
    Unusable {
        /// The file at fault, as far as can be told.
        path: PathBuf,
        /// Why.
        error: String,
    },
}

/// What looking at the files again has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// They are as they were.
    Unchanged,
    /// New connections get what they hold now; those under way go on with what they began with.
    Renewed,
}

/// A server's side of TLS.
pub struct Tls {
    files: TlsFiles,
    tickets: Option<Arc<dyn ProducesTickets>>,
    loaded: RwLock<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    /// Of the files' contents; a key is not kept twice.
    fingerprint: u64,
    expires_s: i64,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let tickets = if files.client_authorities.is_none() {
            let tickets = ring::Ticketer::new();
            Some(tickets.map_err(|error| unusable(&files.key, &error))?)
        } else {
            None
        };
        let loaded = load(&files, tickets.as_ref(), None)?;
        // Without a fingerprint to compare with there is always something.
        let loaded = loaded.ok_or_else(|| unusable(&files.certificate, &"it was not read"))?;
        Ok(Self { files, tickets, loaded: RwLock::new(loaded) })
    }

    /// Reads the files again and, where they have changed, uses them from the next connection on.
    ///
    /// # Errors
    /// [`TlsError`]; what was loaded before stays in use.
    pub fn reload(&self) -> Result<Reload, TlsError> {
        let before = self.loaded.read().fingerprint;
        match load(&self.files, self.tickets.as_ref(), Some(before))? {
            None => Ok(Reload::Unchanged),
            Some(loaded) => {
                *self.loaded.write() = loaded;
                Ok(Reload::Renewed)
            }
        }
    }

    /// Where the keys are.
    #[must_use]
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// When the server's certificate in use expires, in seconds since 1970 in UTC.
    #[must_use]
    pub fn expires_s(&self) -> i64 {
        self.loaded.read().expires_s
    }

    /// Shakes hands; the certificate that the client proved to own, if it showed one.
    ///
    /// # Errors
    /// The reason, as counted.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Option<Arc<ClientCertificate>>), &'static str> {
        let config = Arc::clone(&self.loaded.read().config);
        let stream = TlsAcceptor::from(config).accept(stream).await.map_err(|error| {
            tracing::debug!(%error, "a TLS handshake failed");
            reason(&error)
        })?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = match certificates.first() {
            None => None,
            Some(certificate) => Some(Arc::new(subject::of(certificate).ok_or("tls-client-certificate")?)),
        };
        Ok((stream, certificate))
    }
}

/// Reads the files; `None` where they are as `before`.
fn load(
    files: &TlsFiles,
    tickets: Option<&Arc<dyn ProducesTickets>>,
    before: Option<u64>,
) -> Result<Option<Loaded>, TlsError> {
    let certificate_pem = read(&files.certificate)?;
    let key_pem = read(&files.key)?;
    let authorities_pem = files.client_authorities.as_deref().map(read).transpose()?;
    let mut hasher = DefaultHasher::new();
    (&certificate_pem, &key_pem, &authorities_pem).hash(&mut hasher);
    let fingerprint = hasher.finish();
    if before == Some(fingerprint) {
        return Ok(None);
    }

    let certificates = certificates(&files.certificate, &certificate_pem)?;
    let expires_s = certificates
        .first()
        .and_then(subject::expires_s)
        .ok_or_else(|| unusable(&files.certificate, &"its first certificate is no X.509 certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|error| not_pem(&files.key, "private key that is not encrypted", &error))?;
    let versions: &[_] = if files.tls_1_2 { rustls::ALL_VERSIONS } else { &[&rustls::version::TLS13] };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| unusable(&files.certificate, &error))?;
    let builder = match (&files.client_authorities, authorities_pem) {
        (Some(path), Some(pem)) => {
            let mut roots = RootCertStore::empty();
            for authority in self::certificates(path, &pem)? {
                roots.add(authority).map_err(|error| unusable(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier =
                if files.client_certificate_optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(path, &error))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            unusable(&files.key, &format!("it is not the key of {}", files.certificate.display()))
        }
        rustls::Error::InvalidCertificate(_) => unusable(&files.certificate, &error),
        _ => unusable(&files.key, &error),
    })?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match tickets {
        Some(tickets) => {
            config.ticketer = Arc::clone(tickets);
            // One is enough: a device has one connection.
            config.send_tls13_tickets = 1;
        }
        None => config.send_tls13_tickets = 0,
    }
    Ok(Some(Loaded { config: Arc::new(config), fingerprint, expires_s }))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable { path: path.to_owned(), error })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(not_pem(path, "certificate", &PemError::NoItemsFound))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(not_pem(path, "certificate", &error)),
    }
}

fn not_pem(path: &Path, what: &'static str, error: &PemError) -> TlsError {
    TlsError::NotPem { path: path.to_owned(), what, error: error.to_string() }
}

fn unusable(path: &Path, error: &impl ToString) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), error: error.to_string() }
}

/// Why a handshake failed, as counted.
fn reason(error: &io::Error) -> &'static str {
    use rustls::Error;
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::NoCertificatesPresented) => "tls-no-client-certificate",
        Some(Error::InvalidCertificate(_)) => "tls-client-certificate",
        // Mostly a client that does not trust the server's certificate.
        Some(Error::AlertReceived(_)) => "tls-refused-by-client",
        Some(Error::PeerIncompatible(_)) => "tls-incompatible",
        Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => "tls-malformed",
        Some(_) => "tls-failed",
        None => "tls-broken-off",
    }
}
