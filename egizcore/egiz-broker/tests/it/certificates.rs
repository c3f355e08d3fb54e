//! Certificates made for a test: authorities, servers, clients, and files to put them into.

use std::path::PathBuf;
use std::sync::Arc;

use egiz_broker::TlsFiles;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key.
pub(crate) struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("it signs itself");
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for `localhost` with a common name of its own.
    pub(crate) fn identity(&self, common_name: &str) -> Identity {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        Identity { certificate, key }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("it is a certificate");
        roots
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("they go together");
        builder.with_root_certificates(self.roots()).with_no_client_auth()
    }

    /// The same, which speaks TLS 1.2 only.
    pub(crate) fn old_client(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]);
        let builder = builder.expect("they go together");
        builder.with_root_certificates(self.roots()).with_no_client_auth()
    }

    /// The same, which shows a certificate when asked.
    pub(crate) fn client_with(&self, identity: &Identity) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("they go together");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
        let chain: Vec<CertificateDer<'static>> = vec![identity.certificate.der().clone()];
        let config = builder.with_root_certificates(self.roots()).with_client_auth_cert(chain, key);
        config.expect("the key is the certificate's")
    }
}

impl Identity {
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }
}

/// A folder with a server's files.
pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    pub(crate) fn new(server: &Identity) -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder can be made") };
        files.put(server);
        files
    }

    /// Replaces certificate and key.
    pub(crate) fn put(&self, server: &Identity) {
        self.write("server.pem", &server.pem());
        self.write("server.key", &server.key.serialize_pem());
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the folder is writable");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn options(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_authorities: None,
            client_certificate_optional: false,
            tls_1_2: false,
        }
    }

    /// Asks clients for a certificate of this authority.
    pub(crate) fn options_for_clients_of(&self, authority: &Authority) -> TlsFiles {
        self.write("clients.pem", &authority.pem());
        TlsFiles { client_authorities: Some(self.path("clients.pem")), ..self.options() }
    }
}
