//! The parts of the way to a connection.

/// A part of connecting that has a deadline of its own.
///
/// ```no_run
/// use tower_websocket::client::{self, ConnectError, Phase};
///
/// # async fn example() {
/// match client::connect("wss://example.com/chat").await {
///     Err(ConnectError::Timeout(Phase::Connect)) => println!("the server was not reached"),
///     Err(ConnectError::Timeout(Phase::Tls | Phase::Handshake)) => println!("the server is busy"),
///     Err(error) => println!("{error}"),
///     Ok(socket) => println!("{:?}", socket.subprotocol()),
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// Resolving the name and connecting.
    Connect,
    /// Asking a proxy to connect to the server.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// From the first byte of HTTP to the response.
    Handshake,
}
