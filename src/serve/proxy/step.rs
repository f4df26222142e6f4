//! What the versions have in common: what a header says, or what is wrong with it.

use std::{error, fmt, io, net::SocketAddr};

/// What a header says of the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::serve) enum Announced {
    /// It has this address.
    Client(SocketAddr),
    /// It has an address that is none of IP, such as a Unix socket.
    Elsewhere,
    /// Nothing: the connection is the proxy's own, as for a look whether the server is well.
    Nothing,
}

/// How far a header has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// It has so many more bytes at least.
    More(usize),
    /// It is complete, but for so many bytes behind it that are passed over.
    Done(Announced, usize),
}

/// What is wrong with the PROXY header that a connection has to begin with.
///
/// It is the content of [`ConnectionEnd::Proxy`](crate::serve::ConnectionEnd::Proxy).
///
/// ```
/// use tower_websocket::serve::{ConnectionEnd, ProxyError};
///
/// fn advice(end: &ConnectionEnd) -> Option<&'static str> {
///     match end {
///         ConnectionEnd::Proxy(ProxyError::Missing) => Some("is the port open to others than the proxy?"),
///         ConnectionEnd::Proxy(ProxyError::Malformed) => Some("does the proxy send version 1 or 2?"),
///         _ => None,
///     }
/// }
///
/// assert!(advice(&ConnectionEnd::Proxy(ProxyError::Missing)).is_some());
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyError {
    /// It begins with something else: the client is not a proxy, or the proxy is not configured to send the header.
    Missing,
    /// It does not follow the specification.
    Malformed,
    /// The connection failed, or ended before the header was complete.
    Io(io::Error),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the connection does not begin with a PROXY header",
            Self::Malformed => "the PROXY header is malformed",
            Self::Io(_) => "the connection ended before its PROXY header was complete",
        })
    }
}

impl error::Error for ProxyError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Missing | Self::Malformed => None,
        }
    }
}
