//! The two ends of a connection.

/// The end of a connection that an endpoint is.
///
/// Clients mask what they send; servers never do (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a connection has two ends")]
pub enum Role {
    /// The endpoint that sent the opening handshake.
    Client,
    /// The endpoint that answered it.
    Server,
}
