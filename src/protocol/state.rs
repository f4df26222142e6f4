//! How far a connection is.

/// The state of a connection.
///
/// Before [`Open`](Self::Open) the HTTP server or client owns the connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the states of RFC 6455 §7.1")]
pub enum State {
    /// Messages are sent and received.
    Open,
    /// A Close frame was sent or received.
    Closing,
    /// Nothing is sent or received any longer.
    Closed,
}
