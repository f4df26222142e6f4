//! Which certificates are trusted where this side connects.

use std::{io, sync::Arc};

use rustls_platform_verifier::BuilderVerifierExt;
use tokio::{sync::OnceCell, task::spawn_blocking};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::{CryptoProvider, ring},
        pki_types::ServerName,
    },
};

/// Which certificates are trusted.
#[derive(Clone, Debug, Default)]
pub(crate) enum Trust {
    /// Those that the platform trusts.
    #[default]
    Platform,
    /// Those of a configuration that was given.
    Given(Arc<ClientConfig>),
}

impl Trust {
    pub(crate) fn roots(roots: impl Into<Arc<RootCertStore>>) -> Self {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            // Every provider has them.
            .expect("TLS 1.2 and 1.3 are supported")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::Given(Arc::new(config))
    }

    /// Returns what makes TLS of a stream; it announces these protocols and no others.
    #[cfg_attr(
        not(any(feature = "client", feature = "redis")),
        expect(dead_code, reason = "NATS' client makes its own")
    )]
    pub(crate) async fn connector(&self, protocols: Vec<Vec<u8>>) -> io::Result<TlsConnector> {
        self.config(protocols).await.map(TlsConnector::from)
    }

    /// Returns the settings, which announce these protocols and no others.
    pub(crate) async fn config(&self, protocols: Vec<Vec<u8>>) -> io::Result<Arc<ClientConfig>> {
        let config = match self {
            Self::Platform => PLATFORM.get_or_try_init(platform).await?,
            Self::Given(config) => config,
        };
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = protocols;
        Ok(Arc::new(config))
    }
}

/// Returns the name in a server's certificate; a URI has IPv6 addresses in brackets (RFC 3986 §3.2.2).
#[cfg_attr(
    not(any(feature = "client", feature = "redis", test)),
    expect(dead_code, reason = "NATS' client makes its own")
)]
pub(crate) fn name(host: &str) -> io::Result<ServerName<'static>> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    Ok(name.to_owned())
}

/// Reads which certificates the platform trusts, which may take a while.
async fn platform() -> io::Result<Arc<ClientConfig>> {
    let build = || {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_platform_verifier());
        let config = config.map_err(io::Error::other)?;
        Ok(Arc::new(config.with_no_client_auth()))
    };
    spawn_blocking(build).await.map_err(io::Error::other)?
}

/// Returns the cryptography that the process has chosen, or ring.
fn provider() -> Arc<CryptoProvider> {
    let chosen = CryptoProvider::get_default().cloned();
    chosen.unwrap_or_else(|| Arc::new(ring::default_provider()))
}

/// Read once; only a new process finds certificates that are installed later.
static PLATFORM: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    #[test]
    fn host_of_a_uri_is_the_name_in_a_certificate() {
        for (host, is_address) in [
            ("example.com", false),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("[2001:db8::1]", true),
        ] {
            let name = name(host).unwrap();
            let found = matches!(name, ServerName::IpAddress(_));
            assert_eq!(found, is_address, "{host}");
        }
        name("a b").unwrap_err();
    }
}
