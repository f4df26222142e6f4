//! Pings and pongs of a connection.

use std::{future::Future, time::Duration};

use super::socket::WebSocket;
use crate::{error::Error, protocol::Rtt};

/// Pings and pongs.
impl WebSocket {
    /// Sends a ping, whose payload is truncated to 125 bytes.
    ///
    /// It takes text and bytes of any kind, borrowed or not, and copies them. To notice a peer that has vanished, use
    /// [`Config::ping_interval`](crate::Config::ping_interval); to time the answer, use
    /// [`ping_and_wait`](Self::ping_and_wait).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn ping(&self, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        self.sending().ping(payload)
    }

    /// Sends a ping and waits for its pong; returns the time between them.
    ///
    /// The time begins when the ping is given to the transport, behind all that is queued. Its payload is eight
    /// random bytes. A peer may answer only the newest of several pings (RFC 6455 §5.5.3): so a pong to a later one
    /// of these, or of [`Config::ping_interval`](crate::Config::ping_interval), counts, too. Nothing else ends the
    /// wait for a peer that answers no pings: put a `timeout` around it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tokio::time::timeout;
    /// use tower_websocket::WebSocket;
    ///
    /// async fn is_near(socket: &WebSocket) -> bool {
    ///     let answered = timeout(Duration::from_secs(1), socket.ping_and_wait()).await;
    ///     matches!(answered, Ok(Ok(time)) if time < Duration::from_millis(50))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side, or when the connection ends before
    /// the pong comes.
    ///
    /// # Cancel safety
    ///
    /// The ping is sent when the future is polled first. Dropping it later leaves nothing behind.
    pub fn ping_and_wait(&self) -> impl Future<Output = Result<Duration, Error>> + Send {
        self.sending().ping_and_wait()
    }

    /// Returns the round-trip time: the last one measured, and a smoothed one.
    ///
    /// It is `None` until a timed ping was answered. The first one is sent after
    /// [`Config::ping_interval`](crate::Config::ping_interval), or by [`ping_and_wait`](Self::ping_and_wait).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// assert_eq!(server.rtt(), None);
    ///
    /// let time = server.ping_and_wait().await?;
    /// let rtt = server.rtt().expect("a ping was answered");
    /// assert!(rtt.last <= time + std::time::Duration::from_micros(1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn rtt(&self) -> Option<Rtt> {
        self.sending().rtt()
    }

    /// Sends a pong, whose payload is truncated to 125 bytes.
    ///
    /// Pings are answered without it, unless [`Config::auto_pong`](crate::Config::auto_pong) is disabled.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn pong(&self, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        self.sending().pong(payload)
    }
}
