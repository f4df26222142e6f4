//! Closing a connection.

use std::future::Future;

use super::{sender::Sender, socket::WebSocket};
use crate::protocol::CloseFrame;

/// Closing it.
impl WebSocket {
    /// Starts the closing handshake (RFC 6455 §7.1.2).
    ///
    /// Nothing needs to be awaited. Messages sent before still leave, unless they wait behind a
    /// [`MessageWriter`](crate::session::MessageWriter), and the Close frame leaves after them. A peer that reads nothing
    /// sees neither, until
    /// [`Config::write_timeout`](crate::Config::write_timeout) ends the connection. Messages that were not received yet are
    /// discarded, and receiving waits for the end. Only the first Close counts: later ones have no effect.
    ///
    /// ```
    /// use tower_websocket::{CloseCode, WebSocket};
    ///
    /// const KICKED: CloseCode = CloseCode::new(4001).unwrap();
    ///
    /// # fn kick(socket: &WebSocket) {
    /// socket.close(CloseCode::NORMAL);
    /// socket.close((KICKED, "see you"));
    /// # }
    /// ```
    pub fn close(&self, frame: impl Into<CloseFrame>) {
        self.sending().close(frame);
    }

    /// Ends the connection at once, without a Close frame.
    ///
    /// What is queued is discarded, and the handler is dropped where it waits. Use it as a last resort: the peer is not told
    /// why the connection ends.
    pub fn abort(&self) {
        self.sending().abort();
    }

    /// Waits until the connection is over: closed by both sides, failed or timed out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// server.close(tower_websocket::CloseCode::NORMAL);
    /// assert_eq!(client.recv().await?, None); // the client answers the Close by itself
    /// server.closed().await;
    /// assert_eq!(server.state(), tower_websocket::protocol::State::Closed);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn closed(&self) -> impl Future<Output = ()> + Send {
        self.sending().closed()
    }

    /// Starts the closing handshake with an empty Close frame: no code and no reason (RFC 6455 §5.5.1).
    ///
    /// It is for an application that passes on how another connection ended. The peer sees code 1005 (§7.1.5), and so does
    /// the [`SessionReport`](crate::session::SessionReport). Otherwise it does what [`close`](Self::close) does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// server.close_without_code();
    /// assert_eq!(client.recv().await?, None);
    /// assert_eq!(client.received_close(), None); // a Close came, and had no code
    /// # Ok(())
    /// # }
    /// ```
    pub fn close_without_code(&self) {
        self.sending().close_without_code();
    }
}

/// Closing without a code.
impl Sender {
    /// Starts the closing handshake with an empty Close frame; as
    /// [`WebSocket::close_without_code`](crate::WebSocket::close_without_code).
    pub fn close_without_code(&self) {
        self.shared().close(None);
    }
}
