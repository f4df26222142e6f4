//! What an application holds of a connection, in one piece.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{
    futures::SendFuture, reader::MessageReader, receiver::Receiver, sender::Sender,
    writer::MessageWriter,
};
use crate::{
    error::{Error, TrySendError},
    protocol::{CloseFrame, Event, Message, MessageKind, Outbound, Rtt, State},
    session::{id::ConnectionId, shared::Shared},
};

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
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            receiver: Receiver::new(shared),
        }
    }

    #[cfg(feature = "json")]
    pub(crate) fn is_server(&self) -> bool {
        self.receiver.is_server()
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

    /// Receives the next message as it arrives; `None` after a clean end.
    ///
    /// Where [`Config::streaming`](crate::Config::streaming) is on, a message may be larger than
    /// memory; else it is read when all of it has come. The reader borrows the socket, in a
    /// `while let` to the end of its body: answer through a [`sender`](Self::sender) taken before.
    ///
    /// ```
    /// use tokio::io::{AsyncWriteExt, copy};
    /// use tower_websocket::{Error, WebSocket};
    ///
    /// async fn upload(mut socket: WebSocket) -> Result<(), Error> {
    ///     let sender = socket.sender();
    ///     while let Some(mut message) = socket.recv_reader().await? {
    ///         let mut file = tokio::fs::File::create("upload").await?;
    ///         copy(&mut message, &mut file).await?;
    ///         file.flush().await?;
    ///         sender.send("stored").await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
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
        self.receiver.recv_reader()
    }

    /// Sends a message whose length is not known, or that is larger than memory.
    ///
    /// Waits while another such message is being sent. See [`MessageWriter`] for what happens to
    /// other messages meanwhile, and to one that is not finished.
    ///
    /// ```
    /// use tokio::io::{AsyncRead, copy};
    /// use tower_websocket::{Error, MessageKind, WebSocket};
    ///
    /// async fn download(socket: WebSocket, mut file: impl AsyncRead + Unpin) -> Result<(), Error> {
    ///     let mut message = socket.send_writer(MessageKind::Binary).await?;
    ///     copy(&mut file, &mut message).await?;
    ///     message.finish().await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn send_writer(
        &self,
        kind: MessageKind,
    ) -> impl Future<Output = Result<MessageWriter<'_>, Error>> + Send {
        self.receiver.sender().send_writer(kind)
    }

    /// Sends a message: queues it, waiting while more than
    /// [`Config::max_send_queue`](crate::Config::max_send_queue) is queued.
    ///
    /// The connection's task writes it, as soon as that runs. A program that ends now may lose it:
    /// [`flush`](Self::flush) tells that the transport has it, and [`closed`](Self::closed), after
    /// [`close`](Self::close), that all has ended. For what is certain without, see
    /// [`client`](crate::client#before-a-program-ends).
    ///
    /// Those who wait are served in the order they came. One whose turn has come, and which is neither
    /// polled nor dropped, holds up those behind it until something else has left.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    ///
    /// # Cancel safety
    ///
    /// The message is queued whole or, where the future is dropped before it is ready, not at all.
    pub fn send(&self, message: impl Into<Outbound>) -> SendFuture<'_> {
        self.receiver.sender().send(message)
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
    pub fn try_send(&self, message: impl Into<Outbound>) -> Result<(), TrySendError> {
        self.receiver.sender().try_send(message)
    }

    /// Waits until all that was sent has been given to the transport.
    ///
    /// Over HTTP/2 that is the HTTP connection, which has a task of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the connection ended before.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send {
        self.receiver.sender().flush()
    }

    /// Sends a ping with at most 125 bytes of payload, of which more is cut off.
    ///
    /// Takes text and bytes of any kind, borrowed or not: they are copied. For liveness there is
    /// [`Config::ping_interval`](crate::Config::ping_interval), and to time the answer
    /// [`ping_and_wait`](Self::ping_and_wait).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn ping(&self, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        self.receiver.sender().ping(payload)
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
        self.receiver.sender().ping_and_wait()
    }

    /// Returns the round-trip time: the last one, and a smoothed one. `None` before a ping that is timed was
    /// answered; the first leaves after [`Config::ping_interval`](crate::Config::ping_interval).
    #[must_use]
    pub fn rtt(&self) -> Option<Rtt> {
        self.receiver.sender().rtt()
    }

    /// Sends a pong with at most 125 bytes of payload, of which more is cut off.
    ///
    /// Pings are answered without it, unless [`Config::auto_pong`](crate::Config::auto_pong) is off.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    pub fn pong(&self, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        self.receiver.sender().pong(payload)
    }

    /// Starts the closing handshake (RFC 6455 §7.1.2). Nothing needs to be awaited.
    ///
    /// Messages sent before still leave, unless they wait behind a [`MessageWriter`], and the Close
    /// frame after them: a peer that reads nothing
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
        self.receiver.sender().close(frame);
    }

    /// Ends the connection at once: sends no Close frame, discards what is queued, and drops the
    /// handler where it waits.
    ///
    /// Use it as a last resort: the peer is told nothing.
    pub fn abort(&self) {
        self.receiver.sender().abort();
    }

    /// Waits until the connection is over: closed by both sides, failed or timed out.
    pub fn closed(&self) -> impl Future<Output = ()> + Send {
        self.receiver.sender().closed()
    }

    /// The peer's Close frame, once it came and where it had a code.
    #[must_use]
    pub fn received_close(&self) -> Option<CloseFrame> {
        self.receiver.received_close()
    }

    /// How far the connection is.
    #[must_use]
    pub fn state(&self) -> State {
        self.receiver.sender().state()
    }

    /// Reports whether messages can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.receiver.sender().is_open()
    }

    /// Returns how many bytes are queued and not yet given to the transport.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.receiver.sender().queued_bytes()
    }

    /// Its number, where it is in [`Connections`](crate::Connections).
    #[must_use]
    pub fn id(&self) -> Option<ConnectionId> {
        self.receiver.sender().id()
    }

    /// The subprotocol both sides agreed on (RFC 6455 §1.9).
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.receiver.sender().subprotocol()
    }

    /// A handle to send from elsewhere.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.receiver.sender().clone()
    }

    /// Splits into a sending and a receiving half, for use in different tasks.
    ///
    /// The connection stays open as long as the receiving half is alive, also after the handler
    /// has returned.
    #[must_use]
    pub fn split(mut self) -> (Sender, Receiver) {
        let sender = self.receiver.split_off();
        (sender, self.receiver)
    }

    /// Asks for control frames.
    pub(crate) fn observe(&self) {
        self.receiver.observe();
    }

    pub(super) fn receiver_mut(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    pub(super) fn sending(&self) -> &Sender {
        self.receiver.sender()
    }

    pub(super) fn sender_pin(&mut self) -> Pin<&mut Sender> {
        Pin::new(self.receiver.sender_mut())
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.receiver.fmt(f)
    }
}
