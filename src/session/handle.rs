//! What an application holds of a connection.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use bytes::Bytes;

use super::{report::EndedBy, shared::Shared};
use crate::{CloseFrame, Error, Event, Message, TrySendError, protocol::State};

/// An open WebSocket connection.
///
/// ```
/// use tower_websocket::{Error, WebSocket};
///
/// async fn echo(mut socket: WebSocket) -> Result<(), Error> {
///     while let Some(message) = socket.recv().await? {
///         socket.send(message).await?;
///     }
///     Ok(())
/// }
/// ```
///
/// The connection itself is driven by its own task: pings are answered, deadlines kept and
/// messages written whether or not anything here is being awaited, until
/// [`Config::max_read_ahead`](crate::Config::max_read_ahead) of messages wait to be received; then
/// reading stops.
///
/// Everything sent before the task waits again leaves in one write.
///
/// Dropping it starts the closing handshake with code 1000, or 1011 where the handler fails or a
/// panic drops it. [`split`](Self::split) it to send from elsewhere.
pub struct WebSocket {
    receiver: Receiver,
}

impl WebSocket {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            receiver: Receiver {
                shared: shared.clone(),
                whole: true,
            },
        }
    }

    /// Receives the next message; `None` after a clean end.
    ///
    /// Whatever was received whole comes before the end or the error. After an error it is `None`.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol, vanished, or a deadline passed: see [`Error`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> + Send {
        self.receiver.recv()
    }

    /// Receives the next message or control frame; `None` after the peer's Close or a clean end.
    ///
    /// Control frames are reported from the first call on. Those who ask for them have to keep
    /// receiving: they count towards
    /// [`Config::max_read_ahead`](crate::Config::max_read_ahead).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv_event(&mut self) -> impl Future<Output = Result<Option<Event>, Error>> + Send {
        self.receiver.recv_event()
    }

    /// Sends a message: queues it, waiting while more than
    /// [`Config::max_send_queue`](crate::Config::max_send_queue) is queued.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    ///
    /// # Cancel safety
    ///
    /// The message is queued whole or, where the future is dropped before it is ready, not at all.
    pub fn send(&self, message: impl Into<Message>) -> Sending<'_> {
        Sending::new(&self.receiver.shared, message.into())
    }

    /// Queues a message if there is room.
    ///
    /// What a full queue means is the application's to say: wait with [`send`](Self::send), drop the
    /// message, or [`close`](Self::close) a connection that is too slow.
    ///
    /// # Errors
    ///
    /// Gives the message back when more than
    /// [`Config::max_send_queue`](crate::Config::max_send_queue) is queued, or the connection closed.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.receiver.shared.try_send(message.into())
    }

    /// Waits until all that was sent has been given to the transport.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the connection ended before.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send {
        flush(&self.receiver.shared)
    }

    /// Sends a ping with at most 125 bytes of payload, of which more is cut off.
    ///
    /// For liveness there is [`Config::ping_interval`](crate::Config::ping_interval).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn ping(&self, payload: impl Into<Bytes>) -> Result<(), Error> {
        ping(&self.receiver.shared, &payload.into())
    }

    /// Sends a pong with at most 125 bytes of payload, of which more is cut off.
    ///
    /// Pings are answered without it, unless [`Config::auto_pong`](crate::Config::auto_pong) is off.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn pong(&self, payload: impl Into<Bytes>) -> Result<(), Error> {
        pong(&self.receiver.shared, &payload.into())
    }

    /// Starts the closing handshake (RFC 6455 §7.1.2). Nothing needs to be awaited.
    ///
    /// Messages sent before still leave, and the Close frame after them: a peer that reads nothing
    /// sees neither before [`Config::write_timeout`](crate::Config::write_timeout) ends it. Messages
    /// not received yet are discarded, and receiving waits for the end. The first Close counts:
    /// later ones are without effect.
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
        close(&self.receiver.shared, &frame.into());
    }

    /// Waits until the connection is over: closed by both sides, failed or timed out.
    pub fn closed(&self) -> impl Future<Output = ()> + Send {
        Closed::new(&self.receiver.shared)
    }

    /// The peer's Close frame, once it came and where it had a code.
    #[must_use]
    pub fn close_frame(&self) -> Option<CloseFrame> {
        close_frame(&self.receiver.shared)
    }

    /// How far the connection is.
    #[must_use]
    pub fn state(&self) -> State {
        state(&self.receiver.shared)
    }

    /// The subprotocol both sides agreed on (RFC 6455 §1.9).
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.receiver.shared.protocol()
    }

    /// A handle to send from elsewhere.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender {
            shared: self.receiver.shared.clone(),
        }
    }

    /// Splits into a sending and a receiving half, for use in different tasks.
    ///
    /// The connection stays open as long as the receiving half is alive, also after the handler
    /// has returned.
    #[must_use]
    pub fn split(mut self) -> (Sender, Receiver) {
        let shared = self.receiver.shared.clone();
        self.receiver.whole = false;
        (Sender { shared }, self.receiver)
    }

    /// Asks for control frames.
    pub(crate) fn observe(&self) {
        self.receiver.observe();
    }

    pub(super) fn receiver_mut(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.receiver.shared
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.receiver.shared.fmt(f)
    }
}

/// The sending half of a connection: cheap to clone, usable from any task.
///
/// It keeps nothing open: once the connection is closed, sending says [`Error::Closed`]. To send the
/// same to many, make the message once and clone it, which shares its bytes:
///
/// ```
/// use tower_websocket::{CloseCode, Message, Sender};
///
/// fn broadcast(members: &[Sender], message: Message) {
///     for member in members {
///         if member.try_send(message.clone()).is_err() {
///             member.close((CloseCode::TRY_AGAIN_LATER, "too slow"));
///         }
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    /// Sends a message; as [`WebSocket::send`].
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn send(&self, message: impl Into<Message>) -> Sending<'_> {
        Sending::new(&self.shared, message.into())
    }

    /// Queues a message if there is room; as [`WebSocket::try_send`].
    ///
    /// # Errors
    ///
    /// Gives the message back when the queue is full or the connection closed.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.shared.try_send(message.into())
    }

    /// Waits until all that was sent has been given to the transport.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the connection ended before.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send {
        flush(&self.shared)
    }

    /// Sends a ping; as [`WebSocket::ping`].
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn ping(&self, payload: impl Into<Bytes>) -> Result<(), Error> {
        ping(&self.shared, &payload.into())
    }

    /// Sends a pong; as [`WebSocket::pong`].
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn pong(&self, payload: impl Into<Bytes>) -> Result<(), Error> {
        pong(&self.shared, &payload.into())
    }

    /// Starts the closing handshake; as [`WebSocket::close`].
    pub fn close(&self, frame: impl Into<CloseFrame>) {
        close(&self.shared, &frame.into());
    }

    /// Waits until the connection is over: closed by both sides, failed or timed out.
    pub fn closed(&self) -> impl Future<Output = ()> + Send {
        Closed::new(&self.shared)
    }

    /// The bytes that wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.lock().outgoing.queued()
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

    /// The subprotocol both sides agreed on.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.shared.protocol()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
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
    shared: Arc<Shared>,
    /// This is still a whole `WebSocket`.
    whole: bool,
}

impl Receiver {
    /// Receives the next message; as [`WebSocket::recv`].
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

    /// Receives the next message or control frame; as [`WebSocket::recv_event`].
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
    fn observe(&self) {
        self.shared.lock().observed = true;
    }

    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, Error>> {
        loop {
            match self.shared.poll_event(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(Event::Message(message)))) => {
                    return Poll::Ready(Ok(Some(message)));
                }
                Poll::Ready(Ok(Some(_control))) => {}
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
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

/// The future of [`WebSocket::send`].
#[must_use = "futures do nothing unless polled"]
pub struct Sending<'a> {
    shared: &'a Shared,
    /// Taken once it is queued.
    message: Option<Message>,
}

impl<'a> Sending<'a> {
    fn new(shared: &'a Shared, message: Message) -> Self {
        Self {
            shared,
            message: Some(message),
        }
    }
}

impl Future for Sending<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.shared.poll_send(cx, &mut this.message)
    }
}

impl fmt::Debug for Sending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

fn flush(shared: &Shared) -> impl Future<Output = Result<(), Error>> + Send {
    poll_fn(|cx| shared.poll_flush(cx))
}

/// Waits for the end, and leaves nothing behind when it is dropped before.
struct Closed<'a> {
    shared: &'a Shared,
    number: Option<u64>,
}

impl<'a> Closed<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            number: None,
        }
    }
}

impl Future for Closed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.poll_closed(cx, &mut this.number)
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.forget_closed(number);
        }
    }
}

fn ping(shared: &Shared, payload: &Bytes) -> Result<(), Error> {
    shared.update(|inner| inner.ping(&shared.hooks, payload))
}

fn pong(shared: &Shared, payload: &Bytes) -> Result<(), Error> {
    shared.update(|inner| inner.pong(&shared.hooks, payload))
}

fn close(shared: &Shared, frame: &CloseFrame) {
    let discarded = shared.update(|inner| {
        let first = inner.close(&shared.hooks, EndedBy::Local, frame);
        first.then(|| inner.discard_inbox())
    });
    drop(discarded);
}

fn close_frame(shared: &Shared) -> Option<CloseFrame> {
    shared.lock().peer_close()
}

fn state(shared: &Shared) -> State {
    shared.lock().outgoing.state()
}
