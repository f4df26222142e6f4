//! Why there is no connection.

use std::{error, fmt, io, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};

use super::{hint, phase::Phase, proxy_error::ProxyError, retry_after};
use crate::handshake::client::{InvalidRequest, InvalidResponse};

/// The reason why a client got no connection.
///
/// Its text says what failed and, in parentheses, what is most likely wrong. The cause is in `source()`:
/// print the whole chain.
///
/// ```
/// use tower_websocket::{client::{self, ConnectError, Phase}, handshake::client::InvalidRequest};
///
/// /// What a command line tool tells its user.
/// fn advice(error: &ConnectError) -> &'static str {
///     match error {
///         ConnectError::Request(_) | ConnectError::Uri(_) => "check the address",
///         ConnectError::Connect(_) | ConnectError::Io(_) => "is the server there?",
///         ConnectError::Proxy(_) | ConnectError::Timeout(Phase::Proxy) => "check the proxy",
///         ConnectError::Tls(_) => "check the certificate",
///         ConnectError::Timeout(_) => "the server is too slow",
///         ConnectError::Rejected(response) if response.status() == 401 => "log in first",
///         ConnectError::Rejected(_) => "the server has refused",
///         ConnectError::NoHttp2 | ConnectError::NoExtendedConnect => "try HTTP/1.1",
///         _ => "the server does not keep to the standard",
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let error = client::connect("ftp://example.com/").await.unwrap_err();
/// assert!(matches!(error, ConnectError::Request(InvalidRequest::Scheme)));
/// assert_eq!(advice(&error), "check the address");
/// assert!(!error.is_temporary() && !error.is_timeout());
/// assert!(error.response().is_none() && error.status().is_none() && error.retry_after().is_none());
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The request cannot become a handshake.
    Request(InvalidRequest),
    /// The URI, or a header made of it, is malformed.
    Uri(http::Error),
    /// The name was not resolved, or no address accepted a TCP connection; or the
    /// [connector](super::Client::connector) failed.
    Connect(io::Error),
    /// The proxy of [`Client::proxy`](super::Client::proxy) did not connect to the server.
    Proxy(ProxyError),
    /// The TLS handshake failed, or there are no roots to trust.
    Tls(io::Error),
    /// The connection failed before the response, or the server does not speak HTTP.
    ///
    /// If an HTTP/2 [`Http2Connection`](super::Http2Connection) [is closed](super::Http2Connection::is_closed), the
    /// kind is `NotConnected` after a GOAWAY of the server, and `TimedOut` if it does not answer
    /// pings.
    Io(io::Error),
    /// A phase took too long.
    Timeout(Phase),
    /// The server does not speak HTTP/2, and no other version was allowed.
    NoHttp2,
    /// The server speaks HTTP/2 without WebSocket: it does not announce
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3).
    NoExtendedConnect,
    /// The server answered with a status that does not accept: any but 101, or 2xx over HTTP/2.
    ///
    /// This includes a page with 200, and redirections, which are not followed.
    ///
    /// The body is truncated to what arrived within a second after the head and within the
    /// handshake's time, and to 64 KiB. The connection is dropped then. Status and headers are always
    /// complete.
    Rejected(Box<Response<Bytes>>),
    /// The server accepted something that was not asked for.
    Response(InvalidResponse),
}

impl ConnectError {
    /// Returns the response that refused, if there is one.
    #[must_use]
    pub fn response(&self) -> Option<&Response<Bytes>> {
        match self {
            Self::Rejected(response) => Some(response),
            _ => None,
        }
    }

    /// Returns the status of the response that refused, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.response().map(Response::status)
    }

    /// Returns how long the server, or an HTTP proxy that refused, asks the client to wait.
    ///
    /// It is the `Retry-After` of the response (RFC 9110 §10.2.3). A date counts from that of the response. The time
    /// may be of any length: limit it before waiting.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let (Self::Rejected(response) | Self::Proxy(ProxyError::Rejected(response))) = self else {
            return None;
        };
        retry_after::read(response.headers())
    }

    /// Reports whether the same request may succeed later, without a change of the request or the server's settings.
    ///
    /// That is so after [`Connect`](Self::Connect), [`Timeout`](Self::Timeout) and a connection that broke
    /// off, also during TLS, and after a refusal with a status of 5xx, 408, 421, 425 or 429. It is not so
    /// after any other status, a certificate that is not trusted, or a response that is not HTTP; nor if the
    /// `reach` of [`Client::reconnect_over`](super::Client::reconnect_over) or a connector says that there is no way.
    /// For a proxy the same holds: it is not so after a 407 or another status of 4xx, credentials that SOCKS does not
    /// take, and the codes 2, 7 and 8 of SOCKS.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Connect(error) => !hint::is_no_way(error),
            Self::Proxy(error) => error.is_temporary(),
            Self::Timeout(_) => true,
            Self::Tls(error) => hint::is_broken_off(error),
            Self::Io(error) => hint::io(error).is_none() && !self.requires_http1(),
            Self::Rejected(response) => hint::is_temporary(response.status()),
            Self::Request(_) | Self::Uri(_) | Self::Response(_) => false,
            Self::NoHttp2 | Self::NoExtendedConnect => false,
        }
    }

    /// Returns what is most likely wrong, if that can be said.
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Request(error) => hint::request(*error),
            Self::Connect(error) => hint::connect(error),
            Self::Tls(error) => hint::tls(error),
            Self::Io(error) => hint::io(error),
            Self::Timeout(phase) => hint::timeout(*phase),
            Self::NoExtendedConnect => Some("HTTP/1.1 may do, or `HttpVersion::Negotiated`"),
            Self::Rejected(response) => return hint::rejected(response),
            Self::Proxy(_) | Self::Uri(_) | Self::NoHttp2 | Self::Response(_) => None,
        };
        hint.map(str::to_owned)
    }

    /// Wraps an error of HTTP/1.1. A `From` would make hyper's version part of the public API.
    pub(super) fn http1(error: hyper::Error) -> Self {
        Self::Io(io::Error::other(error))
    }

    /// Wraps an error of HTTP/2.
    pub(super) fn http2(error: h2::Error) -> Self {
        Self::Io(match error.get_io().map(io::Error::kind) {
            Some(kind) => io::Error::new(kind, error),
            None if error.is_go_away() && error.is_remote() => {
                io::Error::new(io::ErrorKind::NotConnected, GoAway(error))
            }
            None => io::Error::other(error),
        })
    }

    /// Reports whether the server speaks HTTP/2, but requires HTTP/1.1 for this (RFC 9113 §7).
    pub(super) fn requires_http1(&self) -> bool {
        let mut below: Option<&(dyn error::Error + 'static)> = Some(self);
        while let Some(error) = below {
            if let Some(error) = error.downcast_ref() {
                return is_http1_required(error);
            }
            // The error within one of I/O is not its source.
            below = match error.downcast_ref().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        false
    }

    /// Reports whether a phase took too long.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Request(_) => "the request cannot become a handshake",
            Self::Uri(_) => "the URI is malformed",
            Self::Connect(_) => "the server was not reached",
            Self::Proxy(error) => return error.fmt(f),
            Self::Tls(_) => "the TLS handshake failed",
            Self::Io(_) => "the connection failed before the handshake was answered",
            Self::Timeout(Phase::Connect) => "connecting took too long",
            Self::Timeout(Phase::Proxy) => "the proxy gave no way to the server in time",
            Self::Timeout(Phase::Tls) => "the TLS handshake took too long",
            Self::Timeout(Phase::Handshake) => "the handshake was not answered in time",
            Self::NoHttp2 => "the server does not speak HTTP/2",
            Self::NoExtendedConnect => "the server does not take WebSocket over HTTP/2",
            Self::Rejected(_) => "the handshake was answered with ",
            Self::Response(_) => "the server's answer is not one to what was asked",
        };
        f.write_str(what)?;
        if let Some(status) = self.status() {
            status.fmt(f)?;
        }
        match self.hint() {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Request(error) => Some(error),
            Self::Uri(error) => Some(error),
            Self::Connect(error) | Self::Tls(error) | Self::Io(error) => Some(error),
            Self::Response(error) => Some(error),
            // Its own text is that of the proxy's error.
            Self::Proxy(error) => error.source(),
            Self::Timeout(_) | Self::NoHttp2 | Self::NoExtendedConnect | Self::Rejected(_) => None,
        }
    }
}

impl From<InvalidRequest> for ConnectError {
    fn from(error: InvalidRequest) -> Self {
        Self::Request(error)
    }
}

impl From<InvalidResponse> for ConnectError {
    fn from(error: InvalidResponse) -> Self {
        Self::Response(error)
    }
}

impl From<http::Error> for ConnectError {
    fn from(error: http::Error) -> Self {
        Self::Uri(error)
    }
}

/// Reports whether the server has reset a stream, or closed the connection, with HTTP_1_1_REQUIRED.
pub(super) fn is_http1_required(error: &h2::Error) -> bool {
    error.is_remote() && error.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED)
}

/// The server accepts no more streams on a connection.
#[derive(Debug)]
struct GoAway(h2::Error);

impl fmt::Display for GoAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server takes no more requests over this HTTP/2 connection (GOAWAY)")
    }
}

impl error::Error for GoAway {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_that_the_system_ends_may_succeed_later() {
        // What reset, unreachable and timed out are here does not matter: any error of the system is none of TLS.
        for code in [5, 32, 100, 101, 104, 110, 113] {
            let error = io::Error::from_raw_os_error(code);
            assert!(ConnectError::Tls(error).is_temporary(), "{code}");
        }
        let end = io::ErrorKind::UnexpectedEof.into();
        assert!(ConnectError::Tls(end).is_temporary());
        let invalid = io::Error::new(io::ErrorKind::InvalidData, "a certificate");
        assert!(!ConnectError::Tls(invalid).is_temporary());
    }
}
