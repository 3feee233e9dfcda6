//! The operator's certificates: those of authorities, and those of registries.
//!
//! A self-signed certificate made as in [distribution's
//! guide](https://distribution.github.io/distribution/about/insecure/) declares itself an
//! authority (`CA:TRUE`, openssl's default). Nodes accept it for the registry if it was given to
//! them; webpki accepts no authority as a server. This verifier therefore also accepts the exact
//! certificates that were given.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::BuildTransportError;

/// Creates a TLS configuration with the system's authorities and these; each text is one or more
/// certificates in PEM.
pub(super) fn config(pems: &[Vec<u8>]) -> Result<ClientConfig, BuildTransportError> {
    let mut given = Vec::new();
    for pem in pems {
        let before = given.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            given.push(certificate.map_err(BuildTransportError::new)?);
        }
        if given.len() == before {
            return Err(BuildTransportError { source: None });
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let inner = Verifier::new_with_extra_roots(given.iter().cloned(), Arc::clone(&provider))
        .map_err(BuildTransportError::new)?;
    let verifier = OrGiven { inner, given };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(BuildTransportError::new)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A verifier that accepts the certificates that the system's verifier accepts, and also the given
/// certificates themselves.
struct OrGiven {
    inner: Verifier,
    given: Vec<CertificateDer<'static>>,
}

impl OrGiven {
    /// Returns whether a given certificate is rejected only because it declares itself an
    /// authority. Its validity period has been checked before.
    fn is_given(&self, end_entity: &CertificateDer<'_>, error: &Error) -> bool {
        let Error::InvalidCertificate(CertificateError::Other(other)) = error else {
            return false;
        };
        // webpki's type is not accessible here, so its name is compared.
        format!("{:?}", other.0) == "CaUsedAsEndEntity" && self.given.contains(end_entity)
    }
}

impl fmt::Debug for OrGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrGiven").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for OrGiven {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Err(error) if self.is_given(end_entity, &error) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Two self-signed certificates for registry.example.com, made by `openssl req -x509` on
    /// 2026-11-27 for ten years; their keys were deleted.
    const GIVEN: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBlDCCATqgAwIBAgIUU2u63OBnux/qtgHjQ5hTKAoTc7kwCgYIKoZIzj0EAwIw\n\
        DzENMAsGA1UEAwwEc2VsZjAeFw0yNjExMjcwMDQ3MTJaFw0zNjExMjQwMDQ3MTJa\n\
        MA8xDTALBgNVBAMMBHNlbGYwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQaVodO\n\
        UdukJSLRVDsADvWNVl7ZTfG+Zi5ogpXFvH4YRqtJBD+ic2a2AGYhIy3DXlQCVfR3\n\
        RGDNLwBl2jjzhrnVo3QwcjAdBgNVHQ4EFgQU5RnxgfcW9UaX1IT7tWBf3jI67/kw\n\
        HwYDVR0jBBgwFoAU5RnxgfcW9UaX1IT7tWBf3jI67/kwDwYDVR0TAQH/BAUwAwEB\n\
        /zAfBgNVHREEGDAWghRyZWdpc3RyeS5leGFtcGxlLmNvbTAKBggqhkjOPQQDAgNI\n\
        ADBFAiEArZFAqlObuBTmk/ZSQzhVOojnZEbSEQQLfrdybdPJ0GoCIH1AxW/DBHaA\n\
        ZsgAQfo4BW59G0oRbpOVsk1MuSPeD+NM\n\
        -----END CERTIFICATE-----\n";
    const OTHER: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBkzCCATqgAwIBAgIUVErrdFT6QCUc5fxBnIrG5LGYge0wCgYIKoZIzj0EAwIw\n\
        DzENMAsGA1UEAwwEc2VsZjAeFw0yNjExMjcwMDQ3MTJaFw0zNjExMjQwMDQ3MTJa\n\
        MA8xDTALBgNVBAMMBHNlbGYwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQg8XiL\n\
        B4Yn0dHEQjSeGp97CQBl4qL+cZ//5u46HQSOZzwBRUC12WxPtxVEv+Q6uwre3/Ie\n\
        mx3ls4gvjrySDZPeo3QwcjAdBgNVHQ4EFgQUgj2nsVxVkhbgRLsOkqKwMye/Um4w\n\
        HwYDVR0jBBgwFoAUgj2nsVxVkhbgRLsOkqKwMye/Um4wDwYDVR0TAQH/BAUwAwEB\n\
        /zAfBgNVHREEGDAWghRyZWdpc3RyeS5leGFtcGxlLmNvbTAKBggqhkjOPQQDAgNH\n\
        ADBEAiABGm21zzXSyzOxHUOClSZ2zKQIXiLkNpQcNQ+xoPUlIAIgUTplIK1La+MX\n\
        CrpTEa6IgwTVH3lJAaGmD4pWeqRpnYA=\n\
        -----END CERTIFICATE-----\n";

    /// Returns whether a server with this certificate is accepted if `GIVEN` was given.
    fn takes(shown: &str, name: &str, day: &str) -> bool {
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let given = vec![der(GIVEN)];
        let inner = Verifier::new_with_extra_roots(given.iter().cloned(), provider).unwrap();
        let day: jiff::Timestamp = format!("{day}T12:00:00Z").parse().unwrap();
        let day = Duration::from_secs(day.as_second().try_into().unwrap());
        let day = UnixTime::since_unix_epoch(day);
        let name = ServerName::try_from(name).unwrap();
        let verifier = OrGiven { inner, given };
        let verified = verifier.verify_server_cert(&der(shown), &[], &name, &[], day);
        verified.is_ok()
    }

    #[test]
    fn exactly_a_given_certificate_is_taken_within_its_time_and_for_its_names() {
        let name = "registry.example.com";
        assert!(takes(GIVEN, name, "2030-01-01"));
        assert!(!takes(OTHER, name, "2030-01-01"), "not the one");
        assert!(!takes(GIVEN, "evil.example", "2030-01-01"), "another name");
        assert!(!takes(GIVEN, name, "2040-01-01"), "expired");
        assert!(!takes(GIVEN, name, "2020-01-01"), "not valid yet");
    }
}
