//! An authority made for one run, and a server's files of its making.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};

/// An authority. Its certificate is put beside those that it makes.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key in files.
#[derive(Debug, Clone)]
pub struct ServerFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// The authority's certificate.
    pub authority: PathBuf,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate whose issuer has its own name for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, "An authority for one run");
        let certificate = params.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Makes a certificate for `localhost` and puts it into a folder, over the one that is there.
    ///
    /// # Errors
    /// Where the folder cannot be written to.
    pub fn server(&self, folder: &Path) -> anyhow::Result<ServerFiles> {
        let key = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "A broker for one run");
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = ServerFiles {
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
            authority: folder.join("authority.pem"),
        };
        std::fs::write(&files.certificate, certificate.pem())?;
        std::fs::write(&files.key, key.serialize_pem())?;
        std::fs::write(&files.authority, self.certificate.pem())?;
        Ok(files)
    }

    /// A client that trusts this authority, and remembers one session.
    ///
    /// # Errors
    /// Where the provider of cryptography cannot be used.
    pub fn client(&self) -> anyhow::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().context("no TLS versions")?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(2);
        Ok(config)
    }
}
