//! TLS on the client's side.

use std::{io, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        AlertDescription, Error, SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey,
    },
};

use super::{error::ConnectError, version::HttpVersion};
use crate::trust::{self, Trust};

/// Performs the handshake, which announces `version` and nothing else.
pub(super) async fn connect<T>(
    trust: &Trust,
    stream: T,
    host: &str,
    version: HttpVersion,
) -> io::Result<TlsStream<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let connector = trust.connector(version.alpn()).await?;
    connector.connect(trust::name(host)?, stream).await
}

/// Performs the handshake with a proxy, which is not told who this side is: its certificate is for the server.
pub(super) async fn connect_to_proxy<T>(
    trust: &Trust,
    stream: T,
    host: &str,
) -> io::Result<TlsStream<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let config = trust.config(HttpVersion::Http1.alpn()).await?;
    let mut config = Arc::unwrap_or_clone(config);
    config.client_auth_cert_resolver = Arc::new(Nobody);
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(trust::name(host)?, stream).await
}

/// Has no certificate.
#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
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
