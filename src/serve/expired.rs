//! What a client may take too long for.

use std::fmt;

/// What the client of a connection took too long for.
///
/// It is the content of [`ConnectionEnd::Timeout`](super::ConnectionEnd::Timeout).
///
/// ```
/// use tower_websocket::serve::{ConnectionEnd, Expired};
///
/// /// Reports whether a client may be an attacker that holds connections open.
/// fn is_suspicious(end: &ConnectionEnd) -> bool {
///     match end {
///         ConnectionEnd::Timeout(Expired::TlsHandshake | Expired::NoRequest | Expired::Head) => true,
///         // A browser may just have left, or lost its network.
///         ConnectionEnd::Timeout(Expired::Idle | Expired::Silent) => false,
///         _ => false,
///     }
/// }
///
/// assert!(is_suspicious(&ConnectionEnd::Timeout(Expired::Head)));
/// assert!(!is_suspicious(&ConnectionEnd::Closed));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Expired {
    /// The header of [`Serve::proxy_protocol`](super::Serve::proxy_protocol).
    ProxyHeader,
    /// The TLS handshake.
    TlsHandshake,
    /// Its first request: none has begun.
    NoRequest,
    /// The rest of the head of a request.
    Head,
    /// The next request.
    Idle,
    /// Any sign of life.
    Silent,
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProxyHeader => "the PROXY header did not come in time",
            Self::TlsHandshake => "the TLS handshake took too long",
            Self::NoRequest => "no request came in time",
            Self::Head => "the head of a request was not complete in time",
            Self::Idle => "no other request came in time",
            Self::Silent => "the client gave no sign of life",
        })
    }
}
