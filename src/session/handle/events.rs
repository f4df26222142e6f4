//! A connection as a `Stream` and a `Sink` of all that RFC 6455 has: for libraries that bring no transport of their own.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;

use super::{receiver::Receiver, sender::Sender, socket::WebSocket};
use crate::{
    error::Error,
    protocol::{CloseCode, Event},
    session::shared::Shared,
};

/// A connection as a `Stream` and a `Sink` of [`Event`]s: messages, pings, pongs and the Close.
///
/// [`WebSocket::into_events`] makes it; for messages alone, a [`WebSocket`] is a `Stream` and a `Sink` itself.
///
/// # Receiving
///
/// The stream yields what [`recv_event`](WebSocket::recv_event) returns: all messages and control frames in their
/// order, the peer's Close at the end, and `None` after it. If the connection fails, the last item is the
/// [`Error`]. Pings are reported after they were answered, unless [`Config::auto_pong`](crate::Config::auto_pong)
/// is disabled. What is not received counts towards [`Config::max_read_ahead`](crate::Config::max_read_ahead). Polling
/// the stream may stop at any time without a loss.
///
/// # Sending
///
/// | event | what is sent |
/// | --- | --- |
/// | [`Message`](Event::Message) | the message, compressed if that was agreed on and makes it shorter |
/// | [`Ping`](Event::Ping), [`Pong`](Event::Pong) | the payload, truncated to 125 bytes (RFC 6455 §5.5) |
/// | [`Close`](Event::Close) | a Close frame, as by [`close`](WebSocket::close): what was not received is discarded, and the stream goes on to the peer's Close; `None` is an empty frame |
///
/// Anything that becomes a [`Message`](crate::Message), a [`CloseFrame`](crate::CloseFrame) or a [`CloseCode`] becomes
/// an event by `into`.
///
/// - The sink is ready while no more is queued than [`Config::max_send_queue`](crate::Config::max_send_queue), for
///   control frames as well, and flushed when the transport has all of it.
/// - Once the closing handshake has begun on either side, a message, ping or pong fails with [`Error::Closed`]. A Close
///   does not fail: the first one counts, later ones have no effect. So the peer's Close may be sent back to it, as
///   `forward` does, or with the events of another connection.
/// - Closing the *sink* (`poll_close`) sends a Close with code 1000, unless one was sent, and waits until the
///   connection is over. The stream has to be received meanwhile only if the peer's Close is wanted.
/// - A bridge that passes on all events of two connections answers pings twice, here and at the other end, unless
///   [`Config::auto_pong`](crate::Config::auto_pong) is disabled on both.
///
/// A dropped sink closes nothing, and a dropped `EventSocket` starts the closing handshake with code 1000, as a
/// [`WebSocket`] does.
///
/// ```
/// use futures_util::{SinkExt, StreamExt};
/// use tower_websocket::{CloseCode, Error, Event, WebSocket};
///
/// async fn talk(socket: WebSocket) -> Result<(), Error> {
///     let mut events = socket.into_events();
///     events.send("hello".into()).await?;
///     events.send(Event::Ping("are you there?".into())).await?;
///     while let Some(event) = events.next().await.transpose()? {
///         match event {
///             Event::Message(message) => println!("{} bytes", message.len()),
///             Event::Pong(_) => events.send(CloseCode::NORMAL.into()).await?,
///             Event::Ping(_) => {}
///             Event::Close(frame) => println!("{frame:?}"),
///         }
///     }
///     Ok(())
/// }
/// ```
pub struct EventSocket {
    socket: WebSocket,
}

impl EventSocket {
    /// Splits the socket into a half that sends and a half that receives, for use in different tasks.
    ///
    /// As with [`WebSocket::split`], the connection stays open as long as the stream is alive. Unlike those of
    /// `StreamExt::split`, the halves share no lock, and the sink may be cloned.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// use futures_util::{SinkExt, StreamExt};
    /// use tower_websocket::{CloseCode, Event};
    ///
    /// let (mut sink, mut stream) = server.into_events().split();
    /// client.send("hello").await?;
    /// assert_eq!(stream.next().await.transpose()?, Some("hello".into()));
    ///
    /// sink.send("hello, too".into()).await?;
    /// assert_eq!(client.recv().await?, Some("hello, too".into()));
    ///
    /// client.close(CloseCode::GOING_AWAY);
    /// let last = stream.next().await.transpose()?;
    /// assert!(matches!(last, Some(Event::Close(Some(frame))) if frame.code() == CloseCode::GOING_AWAY));
    /// assert!(stream.next().await.is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn split(self) -> (EventSink, EventStream) {
        let (sender, receiver) = self.socket.split();
        (sender.into_events(), receiver.into_events())
    }

    /// Returns the connection, to ask for its state or to close it.
    #[must_use]
    pub fn get_ref(&self) -> &WebSocket {
        &self.socket
    }

    /// Returns the connection, with all that was not received.
    ///
    /// Control frames that [`recv`](WebSocket::recv) passes over still count as received ahead.
    #[must_use]
    pub fn into_inner(self) -> WebSocket {
        self.socket
    }
}

/// The sending half of an [`EventSocket`]: cheap to clone, as a [`Sender`].
///
/// Its `Sink` is the one of [`EventSocket`]. Dropping it closes nothing.
#[derive(Clone)]
pub struct EventSink {
    sender: Sender,
}

impl EventSink {
    /// Returns the sender that the sink is made of.
    #[must_use]
    pub fn get_ref(&self) -> &Sender {
        &self.sender
    }

    /// Turns the sink into the sender that it was made of.
    #[must_use]
    pub fn into_inner(self) -> Sender {
        self.sender
    }
}

/// The receiving half of an [`EventSocket`].
///
/// Its `Stream` is the one of [`EventSocket`]. Dropping it has the effect of dropping a [`Receiver`]: messages still to
/// come are discarded, and the connection is closed once the handler has returned as well.
pub struct EventStream {
    receiver: Receiver,
}

impl EventStream {
    /// Returns the receiver that the stream is made of.
    #[must_use]
    pub fn get_ref(&self) -> &Receiver {
        &self.receiver
    }

    /// Turns the stream into the receiver that it was made of, with all that was not received.
    #[must_use]
    pub fn into_inner(self) -> Receiver {
        self.receiver
    }
}

/// As a stream and a sink of events.
impl WebSocket {
    /// Turns the connection into a `Stream` and a `Sink` of [`Event`]s, for libraries that want one.
    ///
    /// Messages that have arrived before are received first; control frames are reported from now on. A ping that has arrived
    /// before is not reported, and so not answered if [`Config::auto_pong`](crate::Config::auto_pong) is disabled: call it
    /// before anything is awaited. See [`EventSocket`].
    #[must_use]
    pub fn into_events(self) -> EventSocket {
        self.observe();
        EventSocket { socket: self }
    }
}

/// As a sink of events.
impl Sender {
    /// Turns the sender into a `Sink` of [`Event`]s; see [`EventSocket`].
    #[must_use]
    pub fn into_events(self) -> EventSink {
        EventSink { sender: self }
    }
}

/// As a stream of events.
impl Receiver {
    /// Turns the receiver into a `Stream` of [`Event`]s; see [`EventSocket`].
    ///
    /// As with [`WebSocket::into_events`], messages that have arrived before are received first, and control frames are
    /// reported from now on.
    #[must_use]
    pub fn into_events(self) -> EventStream {
        self.observe();
        EventStream { receiver: self }
    }
}

impl Stream for EventSocket {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let receiver = self.get_mut().socket.receiver_mut();
        receiver.poll_event(cx).map(Result::transpose)
    }
}

impl Stream for EventStream {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let receiver = &mut self.get_mut().receiver;
        receiver.poll_event(cx).map(Result::transpose)
    }
}

impl Sink<Event> for EventSink {
    type Error = Error;

    /// Waits for room; never fails, as a Close may always be sent.
    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        poll_ready(self.sender.shared(), cx)
    }

    fn start_send(self: Pin<&mut Self>, event: Event) -> Result<(), Error> {
        send(self.sender.shared(), event)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.sender.shared().poll_sink_flush(cx)
    }

    /// Closes with code 1000, unless a Close was sent, and waits until the connection is over.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        poll_close(self.sender.shared(), cx)
    }
}

/// As that of its [`EventSink`].
impl Sink<Event> for EventSocket {
    type Error = Error;

    /// Waits for room; never fails, as a Close may always be sent.
    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        poll_ready(self.socket.sending().shared(), cx)
    }

    fn start_send(self: Pin<&mut Self>, event: Event) -> Result<(), Error> {
        send(self.socket.sending().shared(), event)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.socket.sending().shared().poll_sink_flush(cx)
    }

    /// Closes with code 1000, unless a Close was sent, and waits until the connection is over.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        poll_close(self.socket.sending().shared(), cx)
    }
}

impl fmt::Debug for EventSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventSocket").field(&self.socket).finish()
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventSink").field(&self.sender).finish()
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventStream").field(&self.receiver).finish()
    }
}

/// Waits for room. On a connection that is closing a Close may follow, so that only sending can tell.
fn poll_ready(shared: &Shared, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
    shared.poll_sink_room(cx).map(|_open| Ok(()))
}

fn send(shared: &Shared, event: Event) -> Result<(), Error> {
    match event {
        Event::Message(message) => shared.queue(message.into()),
        Event::Ping(payload) => shared.ping(&payload),
        Event::Pong(payload) => shared.pong(&payload),
        Event::Close(frame) => {
            shared.close(frame.as_ref());
            Ok(())
        }
    }
}

fn poll_close(shared: &Shared, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
    shared.close(Some(&CloseCode::NORMAL.into()));
    shared.poll_sink_closed(cx).map(Ok)
}
