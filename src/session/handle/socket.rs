//! What an application holds of a connection, in one piece.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use super::{
    futures::SendFuture, reader::MessageReader, receiver::Receiver, sender::Sender,
    writer::MessageWriter,
};
use crate::{
    error::{Error, TrySendError},
    protocol::{Event, Message, MessageKind, Outbound},
    session::shared::Shared,
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
/// A task of its own drives the connection: it answers pings, keeps deadlines and writes messages whether or not the
/// application awaits anything here. It reads until [`Config::max_read_ahead`](crate::Config::max_read_ahead) of
/// messages wait to be received; then reading stops.
///
/// Everything that is sent before the task waits again leaves in one write.
///
/// Dropping the socket starts the closing handshake with code 1000. The code is 1011 if the handler fails or if a panic
/// drops the socket. [`split`](Self::split) it to send from another task.
///
/// Over a stream in memory, with both ends in one task:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_websocket::{WebSocket, protocol::Role};
/// # let (here, there) = tokio::io::duplex(4096);
/// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
/// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
/// client.send("hello").await?;
/// assert_eq!(server.recv().await?, Some("hello".into()));
///
/// client.close((tower_websocket::CloseCode::NORMAL, "that is all"));
/// assert_eq!(server.recv().await?, None); // a clean end
/// let frame = server.received_close().expect("it had a code");
/// assert_eq!((frame.code().as_u16(), frame.reason()), (1000, "that is all"));
/// assert!(!server.is_open());
/// client.closed().await;
/// # Ok(())
/// # }
/// ```
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
    /// Every message that was received whole comes before the end or the error. After an error the result is `None`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// client.send("one").await?;
    /// client.send(vec![2, 2]).await?;
    /// assert_eq!(server.recv().await?, Some("one".into()));
    /// assert_eq!(server.recv().await?, Some(vec![2, 2].into()));
    ///
    /// client.abort(); // the peer vanishes, without a Close
    /// assert!(server.recv().await.is_err_and(|error| error.is_disconnect()));
    /// assert_eq!(server.recv().await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The peer broke the protocol or vanished, or a deadline passed: see [`Error`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> + Send {
        self.receiver.recv()
    }

    /// Receives the next message or control frame; `None` after the peer's Close or a clean end.
    ///
    /// Control frames are reported from the first call on. They count towards
    /// [`Config::max_read_ahead`](crate::Config::max_read_ahead), so an application that asks for them has to keep
    /// receiving.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// use tower_websocket::Event;
    ///
    /// // Asked for once, so that control frames are reported from now on.
    /// assert!(futures_util::FutureExt::now_or_never(server.recv_event()).is_none());
    ///
    /// client.ping("are you there?")?;
    /// let event = server.recv_event().await?;
    /// assert!(matches!(event, Some(Event::Ping(payload)) if payload == "are you there?"));
    /// # Ok(())
    /// # }
    /// ```
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
    /// If [`Config::streaming`](crate::Config::streaming) is enabled, a message may be larger than memory. Otherwise it is
    /// read once all of it has arrived. The reader borrows the socket, in a `while let` to the end of the loop's body: answer
    /// through a [`sender`](Self::sender) taken before.
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

    /// Sends a message: queues it, and waits while more than
    /// [`Config::max_send_queue`](crate::Config::max_send_queue) is queued.
    ///
    /// The connection's task writes the message as soon as it runs. A program that ends now may lose it:
    /// [`flush`](Self::flush) waits until the transport has all messages, and [`closed`](Self::closed), after
    /// [`close`](Self::close), until the connection is over. For what is certain without them, see
    /// [`client`](crate::client#before-a-program-ends).
    ///
    /// Calls that wait are served in the order in which they began. A future whose turn has come, and which is neither
    /// polled nor dropped, holds up those behind it until something else has left.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side.
    ///
    /// # Cancel safety
    ///
    /// The message is queued whole or, if the future is dropped before it is ready, not at all.
    pub fn send(&self, message: impl Into<Outbound>) -> SendFuture<'_> {
        self.receiver.sender().send(message)
    }

    /// Queues a message if there is room.
    ///
    /// What a full queue means is for the application to decide: wait with [`send`](Self::send), drop the
    /// message, or [`close`](Self::close) a connection that is too slow.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// use tower_websocket::{CloseCode, TrySendError};
    ///
    /// server.try_send("news")?;
    /// assert_eq!(client.recv().await?, Some("news".into()));
    ///
    /// server.close(CloseCode::NORMAL);
    /// let Err(TrySendError::Closed(message)) = server.try_send("too late") else {
    ///     panic!("it is closing");
    /// };
    /// assert_eq!(message.into_message(), "too late".into());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the message if more than [`Config::max_send_queue`](crate::Config::max_send_queue) is queued, or if the
    /// connection is closed.
    pub fn try_send(&self, message: impl Into<Outbound>) -> Result<(), TrySendError> {
        self.receiver.sender().try_send(message)
    }

    /// Waits until the transport has all that was sent.
    ///
    /// Over HTTP/2 the transport is the HTTP connection, which has a task of its own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// server.send("news").await?;
    /// server.flush().await?;
    /// assert_eq!(server.queued_bytes(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the connection ends before.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send {
        self.receiver.sender().flush()
    }

    /// Returns a handle that sends from another task.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// let sender = server.sender();
    /// tokio::spawn(async move { sender.send("from another task").await });
    /// assert_eq!(client.recv().await?, Some("from another task".into()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.receiver.sender().clone()
    }

    /// Splits the socket into a sending and a receiving half, for use in different tasks.
    ///
    /// The connection stays open as long as the receiving half is alive, also after the handler has returned.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// let (sender, mut receiver) = server.split();
    /// let echo = tokio::spawn(async move {
    ///     while let Some(message) = receiver.recv().await? {
    ///         sender.send(message).await?;
    ///     }
    ///     Ok::<_, tower_websocket::Error>(())
    /// });
    /// client.send("hello").await?;
    /// assert_eq!(client.recv().await?, Some("hello".into()));
    /// drop(client); // closes the connection with code 1000
    /// echo.await??;
    /// # Ok(())
    /// # }
    /// ```
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
