//! The sending half of a connection.

use std::{
    fmt,
    future::Future,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    futures::{Begin, Closed, Flush, SendFuture},
    ping::PingAndWait,
    writer::MessageWriter,
};
use crate::{
    error::{Error, TrySendError},
    protocol::{CloseFrame, MessageKind, Outbound, PreparedMessage, Rtt, State},
    session::{
        id::ConnectionId,
        shared::{Asleep, Plain, Shared, Ticket},
    },
};

/// The sending half of a connection: cheap to clone, usable from any task.
///
/// It keeps nothing open: once the connection is closed, sending fails with [`Error::Closed`]. Dropping it has no effect.
/// To send the same to many connections, prepare the message once:
///
/// ```
/// use tower_websocket::{CloseCode, PreparedMessage, Sender};
///
/// fn broadcast(members: &[Sender], message: &PreparedMessage) {
///     for member in members {
///         if member.try_send(message).is_err() {
///             member.close((CloseCode::TRY_AGAIN_LATER, "too slow"));
///         }
///     }
/// }
/// ```
///
/// Several senders may be of one connection:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_websocket::{WebSocket, protocol::Role};
/// # let (here, there) = tokio::io::duplex(4096);
/// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
/// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
/// use tower_websocket::{CloseCode, Error};
///
/// let sender = server.sender();
/// assert!(sender.same_connection(&sender.clone()));
/// assert!(!sender.same_connection(&client.sender()));
///
/// sender.send("last words").await?;
/// sender.flush().await?;
/// assert_eq!(sender.queued_bytes(), 0);
/// sender.close(CloseCode::NORMAL);
/// assert!(!sender.is_open());
/// assert!(matches!(sender.send("too late").await, Err(Error::Closed)));
///
/// assert_eq!(client.recv().await?, Some("last words".into()));
/// assert_eq!(client.recv().await?, None);
/// sender.closed().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    pub(in crate::session) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Sends a message; as [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn send(&self, message: impl Into<Outbound>) -> SendFuture<'_> {
        SendFuture::new(&self.shared, message.into())
    }

    /// Sends a message piece by piece; as [`WebSocket::send_writer`](crate::WebSocket::send_writer).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn send_writer(
        &self,
        kind: MessageKind,
    ) -> impl Future<Output = Result<MessageWriter<'_>, Error>> + Send {
        Begin::new(&self.shared, kind)
    }

    /// Queues a message if there is room; as [`WebSocket::try_send`](crate::WebSocket::try_send).
    ///
    /// # Errors
    ///
    /// Returns the message if the queue is full or the connection is closed.
    pub fn try_send(&self, message: impl Into<Outbound>) -> Result<(), TrySendError> {
        let sent = self.try_send_again(message);
        if matches!(sent, Err(TrySendError::Full(_))) {
            self.shared.count_full();
        }
        sent
    }

    /// Waits until the transport has all that was sent; as [`WebSocket::flush`](crate::WebSocket::flush).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the connection ends before.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send {
        Flush::new(&self.shared)
    }

    /// Sends a ping; as [`WebSocket::ping`](crate::WebSocket::ping).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn ping(&self, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        self.shared.ping(payload.as_ref())
    }

    /// Sends a ping and waits for its pong; as
    /// [`WebSocket::ping_and_wait`](crate::WebSocket::ping_and_wait).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun, or when the connection ends before.
    pub fn ping_and_wait(&self) -> impl Future<Output = Result<Duration, Error>> + Send {
        PingAndWait::new(&self.shared)
    }

    /// Returns the round-trip time; as [`WebSocket::rtt`](crate::WebSocket::rtt).
    #[must_use]
    pub fn rtt(&self) -> Option<Rtt> {
        self.shared.rtt()
    }

    /// Sends a pong; as [`WebSocket::pong`](crate::WebSocket::pong).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn pong(&self, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        self.shared.pong(payload.as_ref())
    }

    /// Starts the closing handshake; as [`WebSocket::close`](crate::WebSocket::close).
    pub fn close(&self, frame: impl Into<CloseFrame>) {
        self.shared.close(Some(&frame.into()));
    }

    /// Ends the connection at once, without a Close frame; as [`WebSocket::abort`](crate::WebSocket::abort).
    ///
    /// What is queued is discarded, and the handler is dropped where it waits. Use it as a last resort: the peer is not told
    /// why the connection ends.
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Waits until the connection is over: closed by both sides, failed or timed out.
    pub fn closed(&self) -> impl Future<Output = ()> + Send {
        Closed::new(&self.shared)
    }

    /// Returns the number of bytes that are queued and that the transport does not have yet.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.shared.queued_in_all()
    }

    /// Returns the state of the connection: open, closing or closed.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// Reports whether messages can still be sent: the closing handshake has not begun on either side.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state() == State::Open
    }

    /// Returns the peer's Close frame, if one with a code has come.
    #[must_use]
    pub fn received_close(&self) -> Option<CloseFrame> {
        self.shared.received_close()
    }

    /// Returns the connection's number, if it is registered in [`Connections`](crate::Connections).
    #[must_use]
    pub fn id(&self) -> Option<ConnectionId> {
        self.shared.id()
    }

    /// Returns the subprotocol that both sides agreed on, if any.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared.subprotocol()
    }

    pub(in crate::session) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reports whether both senders are of the same connection.
    #[must_use]
    pub fn same_connection(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Queues a message if there is room, as it may have been tried before: what is not counted.
    pub(crate) fn try_send_again(&self, message: impl Into<Outbound>) -> Result<(), TrySendError> {
        self.shared.try_send(message.into())
    }

    /// Counts a message that a group did not send, because the queue was full.
    pub(crate) fn count_full(&self) {
        self.shared.count_full();
    }

    /// Encodes a message for many connections, unless this one would compress or mask it.
    pub(crate) fn prepare(&self, message: &PreparedMessage) {
        self.shared.prepare(message);
    }

    /// Queues a message where that takes nothing but a place in the queue; reports whether it has. As
    /// [`try_queue`](Self::try_queue), and nothing is encoded, woken or dropped.
    #[inline(always)]
    pub(crate) fn try_queue_plain(
        &self,
        plain: &mut Plain<'_>,
        asleep: impl FnOnce(Option<&Handle>),
    ) -> bool {
        self.shared.try_queue_plain(plain, asleep)
    }

    /// Queues a message if there is room. Where it gives the session, nobody but the caller will write it: it has to
    /// [write](Self::flush_now) itself, or to [wake](Self::wake_promised) the session.
    pub(crate) fn try_queue(
        &self,
        message: &PreparedMessage,
    ) -> Result<Option<Asleep>, TrySendError> {
        self.shared.try_queue_prepared(message)
    }

    /// Writes what was queued for an idle session, or wakes it where it has to write itself.
    pub(crate) fn flush_now(&self) {
        self.shared.flush_now();
    }

    /// Wakes a session for which something was queued.
    pub(crate) fn wake_promised(&self) {
        self.shared.wake_promised();
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

    /// Reports whether the transport is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.is_over()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
