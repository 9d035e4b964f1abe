//! What encrypts the connections of a listener.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use tokio_rustls::TlsAcceptor;

use super::secrets;
use crate::settings::Tls;

/// Reads the certificates and their private key. The process must have chosen its cryptography before.
///
/// # Errors
/// What is wrong with them, never the key.
pub fn acceptor(tls: &Tls) -> Result<TlsAcceptor, String> {
    let shown = tls.certificate.display();
    let chain: Result<Vec<_>, _> = std::fs::read(&tls.certificate)
        .map(|text| CertificateDer::pem_slice_iter(&text).collect())
        .map_err(|error| format!("its certificate `{shown}` cannot be read: {error}"))?;
    let chain = chain.map_err(|error| format!("its certificate `{shown}` cannot be read: {error}"))?;
    if chain.is_empty() {
        return Err(format!("its certificate `{shown}` holds none in PEM"));
    }
    let key = secrets::fetch_lines(&tls.key).map_err(|error| format!("its key cannot be had: {error}"))?;
    // What a parser says of a private key is kept to itself.
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
        .map_err(|_| format!("its key, {}, is no private key in PEM", tls.key))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let config =
        config.map_err(|error| format!("its certificate and its key do not go together: {error}"))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
