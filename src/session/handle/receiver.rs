//! The receiving half of a connection.

use std::{
    fmt,
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use super::{reader::MessageReader, sender::Sender};
use crate::{
    error::Error,
    protocol::{CloseFrame, Event, Message, Rtt, State},
    session::{id::ConnectionId, shared::Shared},
};

/// The receiving half of a connection, made by [`WebSocket::split`](crate::WebSocket::split).
///
/// Dropping it discards the messages still to come; control frames are handled as before. The
/// connection is closed once the handler has returned as well.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_websocket::{WebSocket, protocol::Role};
/// # let (here, there) = tokio::io::duplex(4096);
/// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
/// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
/// let (sender, mut receiver) = server.split();
/// client.send("one").await?;
/// assert_eq!(receiver.recv().await?, Some("one".into()));
///
/// drop(client);
/// assert_eq!(receiver.recv().await?, None);
/// assert_eq!(receiver.received_close().map(|frame| frame.code().as_u16()), Some(1000));
/// assert_eq!(receiver.id(), None); // it is in no `Connections`
/// # Ok(())
/// # }
/// ```
pub struct Receiver {
    /// It can send, too, as a whole `WebSocket` does.
    sender: Sender,
    /// This is still a whole `WebSocket`.
    whole: bool,
}

impl Receiver {
    /// Makes the receiver of a whole `WebSocket`.
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            sender: Sender::new(shared.clone()),
            whole: true,
        }
    }

    #[cfg(feature = "json")]
    pub(crate) fn is_server(&self) -> bool {
        self.shared().setup().role == crate::protocol::Role::Server
    }

    /// Receives the next message; as [`WebSocket::recv`](crate::WebSocket::recv).
    ///
    /// # Errors
    ///
    /// The peer broke the protocol, vanished, or a deadline passed: see [`Error`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> + Send {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// Receives the next message as it arrives; as
    /// [`WebSocket::recv_reader`](crate::WebSocket::recv_reader).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv_reader(
        &mut self,
    ) -> impl Future<Output = Result<Option<MessageReader<'_>>, Error>> + Send {
        let shared: &Shared = self.shared();
        poll_fn(move |cx| MessageReader::poll_begin(shared, cx))
    }

    /// Receives the next message or control frame; as [`WebSocket::recv_event`](crate::WebSocket::recv_event).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv_event(&mut self) -> impl Future<Output = Result<Option<Event>, Error>> + Send {
        self.observe();
        poll_fn(|cx| self.poll_event(cx))
    }

    /// Returns the peer's Close frame, if one with a code has been received.
    #[must_use]
    pub fn received_close(&self) -> Option<CloseFrame> {
        self.shared().received_close()
    }

    /// Returns the state of the connection: open, closing or closed.
    #[must_use]
    pub fn state(&self) -> State {
        self.sender.state()
    }

    /// Returns the connection's number, if it is registered in [`Connections`](crate::Connections).
    #[must_use]
    pub fn id(&self) -> Option<ConnectionId> {
        self.sender.id()
    }

    /// Returns the round-trip time; as [`WebSocket::rtt`](crate::WebSocket::rtt).
    #[must_use]
    pub fn rtt(&self) -> Option<Rtt> {
        self.sender.rtt()
    }

    /// Returns the subprotocol that both sides agreed on, if any.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.sender.subprotocol()
    }

    /// Leaves only the receiving half, and gives the other one.
    pub(super) fn split_off(&mut self) -> Sender {
        self.whole = false;
        self.sender.clone()
    }

    pub(super) fn sender(&self) -> &Sender {
        &self.sender
    }

    pub(super) fn sender_mut(&mut self) -> &mut Sender {
        &mut self.sender
    }

    fn shared(&self) -> &Arc<Shared> {
        self.sender.shared()
    }

    /// Asks for control frames.
    pub(super) fn observe(&self) {
        self.shared().lock().observe();
    }

    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, Error>> {
        self.shared().poll_message(cx)
    }

    pub(super) fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Event>, Error>> {
        self.shared().poll_event(cx)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sender.fmt(f)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let (whole, panicked) = (self.whole, thread::panicking());
        let discarded = self
            .shared()
            .update(|locked| locked.drop_receiver(whole, panicked));
        drop(discarded);
    }
}
