//! Whom a certificate names, and until when it holds. Whether it is to be believed was verified before.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::gate::ClientCertificate;

/// The names of a certificate; `None` where it is none.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common_name =
        certificate.subject().iter_common_name().find_map(|name| name.as_str().ok()).map(str::to_owned);
    let alternative_names = certificate.subject_alternative_name().ok()?;
    let alternative_names = alternative_names.iter().flat_map(|names| &names.value.general_names);
    let alternative_names = alternative_names.filter_map(|name| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some((*text).to_owned())
        }
        _ => None,
    });
    Some(ClientCertificate { common_name, alternative_names: alternative_names.collect() })
}

/// When a certificate expires, in seconds since 1970; `None` where it is none.
pub(super) fn expires_s(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
