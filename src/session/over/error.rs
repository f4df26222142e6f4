//! Why a stream does not become a connection.

use std::{error::Error, fmt};

use crate::protocol::Role;

/// The errors of a [`SessionBuilder`](super::SessionBuilder) whose settings contradict the opening handshake.
///
/// They are a mistake in the program, not the peer's. The stream is dropped, and nothing was read or written.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_websocket::{WebSocket, protocol::Role};
/// # let (here, there) = tokio::io::duplex(4096);
/// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
/// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
/// use tower_websocket::session::OpenError;
///
/// let (here, _there) = tokio::io::duplex(4096);
/// let refused = WebSocket::over(here, Role::Client).subprotocol("no token").spawn();
/// assert!(matches!(refused, Err(OpenError::Subprotocol)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OpenError {
    /// The handshake was that of the other endpoint: a server's for the session of a client, or the reverse.
    ///
    /// The field is the role that the handshake was made in.
    Role(Role),
    /// Compression was agreed on, and [`Config::compression`](crate::Config::compression) is not set.
    CompressionOff,
    /// A window of so many bits was agreed on, and the [`Compression`](crate::Compression) of the session allows less.
    WindowTooLarge {
        /// The base-2 logarithm of the window agreed on.
        bits: u8,
        /// The largest one that is set.
        limit: u8,
    },
    /// Context takeover was agreed on, and the session's [`Compression`](crate::Compression) is
    /// [`shared`](crate::Compression).
    ContextTakeover,
    /// The subprotocol is not a token (RFC 6455 §4.1).
    Subprotocol,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(Role::Client) => f.write_str(
                "the session is to be a server's, and what was agreed on is a client's view",
            ),
            Self::Role(Role::Server) => f.write_str(
                "the session is to be a client's, and what was agreed on is a server's view",
            ),
            Self::CompressionOff => f.write_str(
                "compression was agreed on, and the session's configuration has none: use the one of the handshake",
            ),
            Self::WindowTooLarge { bits, limit } => write!(
                f,
                "a window of {bits} bits was agreed on, and the session's configuration allows {limit}",
            ),
            Self::ContextTakeover => f.write_str(
                "context takeover was agreed on, and the session's configuration has shared compression",
            ),
            Self::Subprotocol => f.write_str("the subprotocol is not a token"),
        }
    }
}

impl Error for OpenError {}
