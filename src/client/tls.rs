//! TLS on the client's side.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    client::TlsStream,
    rustls::{AlertDescription, Error},
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
