//! The version of HTTP that a connection is opened with.

/// The version of HTTP that a connection is opened with.
///
/// ```
/// use tower_websocket::client::{Client, HttpVersion};
///
/// assert_eq!(HttpVersion::default(), HttpVersion::Http1);
/// let client = Client::new().http_version(HttpVersion::Negotiated); // HTTP/2 if the server offers it
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.1: a TCP connection for each socket, understood by every server.
    #[default]
    Http1,
    /// HTTP/2: announced over TLS, by prior knowledge over TCP.
    ///
    /// [`Client::connect_http2`](super::Client::connect_http2) opens many sockets over one connection.
    Http2,
    /// The server's choice in the TLS handshake (ALPN).
    ///
    /// If it chooses HTTP/2 without supporting
    /// WebSocket over it, or requires HTTP/1.1 (RFC 9113 §7), the client connects again with
    /// HTTP/1.1. Without TLS it is HTTP/1.1.
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
