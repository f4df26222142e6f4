//! The version of HTTP that a connection is opened with.

/// Which HTTP a connection is opened with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.1: a TCP connection for each socket, understood by every server.
    #[default]
    Http1,
    /// HTTP/2, over TLS announced as such, over TCP by prior knowledge. [`Client::http2`](super::Client::http2) has many
    /// sockets over one connection.
    Http2,
    /// What the server prefers, told in the TLS handshake (ALPN). A server that has HTTP/2 without
    /// WebSocket, or requires HTTP/1.1 for it (RFC 9113 §7), is connected to again, with HTTP/1.1.
    /// Without TLS it is HTTP/1.1.
    Negotiated,
}

impl HttpVersion {
    pub(super) fn alpn(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http1 => &[HTTP1],
            Self::Http2 => &[HTTP2],
            Self::Negotiated => &[HTTP2, HTTP1],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// As registered for ALPN (RFC 7301, RFC 9113 §3.2).
const HTTP1: &[u8] = b"http/1.1";
pub(super) const HTTP2: &[u8] = b"h2";
