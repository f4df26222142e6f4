//! What a client may take too long for.

use std::fmt;

/// What the client of a connection took too long for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Expired {
    /// The header of [`Serve::proxy_protocol`](super::Serve::proxy_protocol).
    ProxyHeader,
    /// The TLS handshake.
    TlsHandshake,
    /// Its first request: it has brought none.
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
