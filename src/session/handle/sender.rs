//! The two halves of a connection.

use std::{
    fmt,
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{
    futures::{Closed, Flush, Sending, close, close_frame, ping, pong, state},
    reader::MessageReader,
    writer::{Begin, MessageWriter},
};
use crate::{
    CloseFrame, Error, Event, Message, MessageKind, Outbound, Prepared, TrySendError,
    protocol::State,
    session::{
        ConnectionId,
        shared::{Shared, wait_list::Ticket, waiters::Asleep},
    },
};

/// The sending half of a connection: cheap to clone, usable from any task.
///
/// It keeps nothing open: once the connection is closed, sending says [`Error::Closed`]. To send the
/// same to many, prepare the message once:
///
/// ```
/// use tower_websocket::{CloseCode, Prepared, Sender};
///
/// fn broadcast(members: &[Sender], message: &Prepared) {
///     for member in members {
///         if member.try_send(message).is_err() {
///             member.close((CloseCode::TRY_AGAIN_LATER, "too slow"));
///         }
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Sender {
    pub(crate) shared: Arc<Shared>,
}

impl Sender {
    /// Sends a message; as [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn send(&self, message: impl Into<Outbound>) -> Sending<'_> {
        Sending::new(&self.shared, message.into())
    }

    /// Sends a message piece by piece; as [`WebSocket::send_stream`](crate::WebSocket::send_stream).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn send_stream(
        &self,
        kind: MessageKind,
    ) -> impl Future<Output = Result<MessageWriter<'_>, Error>> + Send {
        Begin::new(&self.shared, kind)
    }

    /// Queues a message if there is room; as [`WebSocket::try_send`](crate::WebSocket::try_send).
    ///
    /// # Errors
    ///
    /// Gives the message back when the queue is full or the connection closed.
    pub fn try_send(&self, message: impl Into<Outbound>) -> Result<(), TrySendError> {
        self.shared.try_send(message.into())
    }

    /// Waits until all that was sent has been given to the transport.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the connection ended before.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send {
        Flush::new(&self.shared)
    }

    /// Sends a ping; as [`WebSocket::ping`](crate::WebSocket::ping).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn ping(&self, payload: impl Into<Bytes>) -> Result<(), Error> {
        ping(&self.shared, &payload.into())
    }

    /// Sends a pong; as [`WebSocket::pong`](crate::WebSocket::pong).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn pong(&self, payload: impl Into<Bytes>) -> Result<(), Error> {
        pong(&self.shared, &payload.into())
    }

    /// Starts the closing handshake; as [`WebSocket::close`](crate::WebSocket::close).
    pub fn close(&self, frame: impl Into<CloseFrame>) {
        close(&self.shared, &frame.into());
    }

    /// Ends the connection at once: no Close frame is sent, what is queued is thrown away, and the
    /// handler is dropped where it waits.
    ///
    /// For what does not end in another way; the peer is told nothing.
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Waits until the connection is over: closed by both sides, failed or timed out.
    pub fn closed(&self) -> impl Future<Output = ()> + Send {
        Closed::new(&self.shared)
    }

    /// The bytes that wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        let inner = self.shared.lock();
        inner.outgoing.queued() + inner.outgoing.queued_behind()
    }

    /// How far the connection is.
    #[must_use]
    pub fn state(&self) -> State {
        state(&self.shared)
    }

    /// Whether messages can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state() == State::Open
    }

    /// Its number, where it is in [`Connections`](crate::Connections).
    #[must_use]
    pub fn id(&self) -> Option<ConnectionId> {
        self.shared.id()
    }

    /// The subprotocol both sides agreed on.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.shared.protocol()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether both send over the same connection.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Queues a message if there is room, and leaves it to the caller to wake the session, which
    /// nobody else will do before.
    pub(crate) fn try_queue(&self, message: &Prepared) -> Result<Option<Asleep>, TrySendError> {
        self.shared.try_queue_prepared(message)
    }

    /// Where the session runs, as far as that is known.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        self.shared.lock().runtime().cloned()
    }

    /// What tells the connection from all others that are alive.
    pub(crate) fn key(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }

    /// Waits for room to send `len` bytes; a ticket has to be [given back](Self::forget_room), unless
    /// the room is used.
    pub(crate) fn poll_room(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        len: usize,
    ) -> Poll<Result<(), Error>> {
        self.shared.poll_room(cx, ticket, len)
    }

    /// Waits for room no more: it was used.
    pub(crate) fn leave_room(&self, ticket: Ticket) {
        self.shared.leave_room(ticket);
    }

    /// Waits for room no more: others may use it.
    pub(crate) fn forget_room(&self, ticket: Ticket) {
        self.shared.forget_room(ticket);
    }

    /// Waits for the end; a ticket has to be [given back](Self::forget_closed).
    pub(crate) fn poll_closed(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<()> {
        self.shared.poll_closed(cx, ticket)
    }

    /// Waits for the end no more.
    pub(crate) fn forget_closed(&self, ticket: Ticket) {
        self.shared.forget_closed(ticket);
    }

    /// Whether the transport is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.is_over()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

/// The receiving half of a connection.
///
/// Dropping it discards the messages still to come; control frames are handled as before. The
/// connection is closed once the handler has returned as well.
pub struct Receiver {
    pub(super) shared: Arc<Shared>,
    /// This is still a whole `WebSocket`.
    pub(super) whole: bool,
}

impl Receiver {
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
    /// [`WebSocket::recv_stream`](crate::WebSocket::recv_stream).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv_stream(
        &mut self,
    ) -> impl Future<Output = Result<Option<MessageReader<'_>>, Error>> + Send {
        let shared: &Shared = &self.shared;
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
        poll_fn(|cx| self.shared.poll_event(cx))
    }

    /// The peer's Close frame, once it came and where it had a code.
    #[must_use]
    pub fn close_frame(&self) -> Option<CloseFrame> {
        close_frame(&self.shared)
    }

    /// How far the connection is.
    #[must_use]
    pub fn state(&self) -> State {
        state(&self.shared)
    }

    /// The subprotocol both sides agreed on.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.shared.protocol()
    }

    /// Asks for control frames.
    pub(super) fn observe(&self) {
        self.shared.lock().observed = true;
    }

    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, Error>> {
        self.shared.poll_message(cx)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let (whole, panicked) = (self.whole, thread::panicking());
        let discarded = self
            .shared
            .update(|inner| inner.drop_receiver(whole, panicked));
        drop(discarded);
    }
}
