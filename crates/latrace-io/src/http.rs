//! What all HTTP clients of this program share.

use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// The name of this program in requests.
pub const USER_AGENT: &str = concat!("latrace/", env!("CARGO_PKG_VERSION"));

/// TLS with the certificates of the system.
pub fn tls() -> TlsConfig {
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
        .build()
}
