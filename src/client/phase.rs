//! The parts of the way to a connection.

/// A part of the way to a connection that has a deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// Resolving the name and connecting.
    Connect,
    /// Asking a proxy for a way to the server.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// From the first byte of HTTP to the answer.
    Handshake,
}
