//! TLS on the client's side.

use std::{io, sync::Arc};

use tokio::{net::TcpStream, sync::OnceCell, task::spawn_blocking};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        AlertDescription, ClientConfig, Error, RootCertStore,
        crypto::{CryptoProvider, ring},
        pki_types::ServerName,
    },
};

use rustls_platform_verifier::BuilderVerifierExt;

use super::{error::ConnectError, version::HttpVersion};

/// Which certificates a client trusts.
#[derive(Clone, Debug, Default)]
pub(super) enum Trust {
    /// Those that the platform trusts.
    #[default]
    Platform,
    /// Those of a configuration that was given.
    Given(Arc<ClientConfig>),
}

impl Trust {
    pub(super) fn roots(roots: impl Into<Arc<RootCertStore>>) -> Self {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            // Every provider has them.
            .expect("TLS 1.2 and 1.3 are supported")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::Given(Arc::new(config))
    }

    /// Returns the settings, which announce `version` and nothing else.
    async fn config(&self, version: HttpVersion) -> io::Result<Arc<ClientConfig>> {
        let config = match self {
            Self::Platform => PLATFORM.get_or_try_init(platform).await?,
            Self::Given(config) => config,
        };
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = version.alpn();
        Ok(Arc::new(config))
    }

    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
        version: HttpVersion,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = self.config(version).await?;
        let connector = TlsConnector::from(config);
        connector.connect(name(host)?, stream).await
    }
}

/// Returns the name in the certificate; a URI has IPv6 addresses in brackets (RFC 3986 §3.2.2).
fn name(host: &str) -> io::Result<ServerName<'static>> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    Ok(name.to_owned())
}

/// Makes the error of a failed handshake. A server may refuse for lack of a common version of HTTP
/// (RFC 7301 §3.2).
pub(super) fn failure(error: io::Error, version: HttpVersion) -> ConnectError {
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    match inner {
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol))
            if version == HttpVersion::Http2 =>
        {
            ConnectError::NoHttp2
        }
        _ => ConnectError::Tls(error),
    }
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
mod tests;
