//! How far a connection is.

/// How far a connection is.
///
/// Before [`Open`](Self::Open) it is the HTTP server's.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the states of RFC 6455 §7.1")]
pub enum State {
    /// Messages go both ways.
    Open,
    /// A Close frame was sent or received.
    Closing,
    /// Nothing is sent or received any more.
    Closed,
}
