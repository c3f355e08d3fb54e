//! How the certificates of brokers are checked. rustls with ring, as everywhere in the program.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Whom to trust.
#[derive(Debug, Clone, Copy)]
pub enum TlsRoots<'a> {
    /// The authorities that the operating system trusts.
    System,
    /// The authorities in a PEM file, and nobody else.
    File(&'a Path),
}

/// No broker could be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("the authorities in {path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// There is no authority.
    #[error("{0} holds no certificate of an authority")]
    None(String),
    /// The cryptography does not fit.
    #[error("TLS cannot be used")]
    Unusable(#[from] rustls::Error),
}

/// Makes what checks a broker's certificate: TLS 1.2 or 1.3.
///
/// # Errors
/// Where the authorities cannot be read or there are none.
pub fn tls_client(trusted: TlsRoots<'_>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    let from = match trusted {
        TlsRoots::System => {
            // What the system has and rustls cannot read is none of ours.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            "the operating system".to_owned()
        }
        TlsRoots::File(path) => {
            let unreadable = |source| TlsError::File { path: path.to_owned(), source };
            let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
            let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
            roots.add_parsable_certificates(certificates);
            path.display().to_string()
        }
    };
    if roots.is_empty() {
        return Err(TlsError::None(from));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
