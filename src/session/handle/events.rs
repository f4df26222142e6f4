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
/// Made by [`WebSocket::into_events`]; for messages alone a [`WebSocket`] is a `Stream` and a `Sink` itself.
///
/// # Receiving
///
/// The stream gives what [`recv_event`](WebSocket::recv_event) does: all messages and control frames in their
/// order, the peer's Close at the end, and `None` after it. Where the connection fails, its last item is the
/// [`Error`]. Pings are shown when they are answered already, unless [`Config::auto_pong`](crate::Config::auto_pong)
/// is off. What is not received counts towards [`Config::max_read_ahead`](crate::Config::max_read_ahead), and polling
/// the stream may be given up at any time without a loss.
///
/// # Sending
///
/// | event | what is sent |
/// | --- | --- |
/// | [`Message`](Event::Message) | the message, compressed where that was agreed on and pays |
/// | [`Ping`](Event::Ping), [`Pong`](Event::Pong) | at most 125 bytes of the payload (RFC 6455 §5.5): more is cut off |
/// | [`Close`](Event::Close) | a Close frame, as by [`close`](WebSocket::close): what was not received is discarded, and the stream goes on to the peer's Close; `None` is an empty frame |
///
/// Anything that becomes a [`Message`](crate::Message), a [`CloseFrame`](crate::CloseFrame) or a [`CloseCode`] becomes
/// an event by `into`.
///
/// - The sink is ready while no more is queued than [`Config::max_send_queue`](crate::Config::max_send_queue), for
///   control frames as well, and flushed when the transport has all of it.
/// - Once the closing handshake has begun on either side, a message, ping or pong fails with [`Error::Closed`]. A Close
///   does not: the first one counts, later ones are without effect. So the peer's Close may be sent back to it, as
///   `forward` does, or with the events of another connection.
/// - Closing the *sink* (`poll_close`) sends a Close with code 1000, unless one was sent, and waits until the
///   connection is over. The stream has to be received meanwhile only where the peer's Close is wanted.
/// - A bridge that passes all events of two connections on answers pings twice, here and at the other end, unless
///   [`Config::auto_pong`](crate::Config::auto_pong) is off on both.
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
    /// Splits into the half that sends and the half that receives, for use in different tasks.
    ///
    /// As [`WebSocket::split`]: the connection stays open as long as the stream is alive. Unlike those of
    /// `StreamExt::split` the halves share no lock, and the sink may be cloned.
    #[must_use]
    pub fn split(self) -> (EventSink, EventStream) {
        let (sender, receiver) = self.socket.split();
        (sender.into_events(), receiver.into_events())
    }

    /// The connection, to be asked or closed.
    #[must_use]
    pub fn get_ref(&self) -> &WebSocket {
        &self.socket
    }

    /// Gives the connection back, with all that was not received.
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
    /// The sender that it is made of.
    #[must_use]
    pub fn get_ref(&self) -> &Sender {
        &self.sender
    }

    /// Gives the sender back.
    #[must_use]
    pub fn into_inner(self) -> Sender {
        self.sender
    }
}

/// The receiving half of an [`EventSocket`].
///
/// Its `Stream` is the one of [`EventSocket`]. Dropping it is dropping a [`Receiver`]: messages still to come are
/// discarded, and the connection is closed once the handler has returned as well.
pub struct EventStream {
    receiver: Receiver,
}

impl EventStream {
    /// The receiver that it is made of.
    #[must_use]
    pub fn get_ref(&self) -> &Receiver {
        &self.receiver
    }

    /// Gives the receiver back, with all that was not received.
    #[must_use]
    pub fn into_inner(self) -> Receiver {
        self.receiver
    }
}

/// As a stream and a sink of events.
impl WebSocket {
    /// Makes it a `Stream` and a `Sink` of [`Event`]s, for libraries that want one; see [`EventSocket`].
    ///
    /// Messages that have come before are received first; control frames are shown from now on. A ping that has come
    /// before is not shown, and so not answered where [`Config::auto_pong`](crate::Config::auto_pong) is off: call it
    /// before anything is awaited.
    #[must_use]
    pub fn into_events(self) -> EventSocket {
        self.observe();
        EventSocket { socket: self }
    }
}

/// As a sink of events.
impl Sender {
    /// Makes it a `Sink` of [`Event`]s; see [`EventSocket`].
    #[must_use]
    pub fn into_events(self) -> EventSink {
        EventSink { sender: self }
    }
}

/// As a stream of events.
impl Receiver {
    /// Makes it a `Stream` of [`Event`]s; see [`EventSocket`].
    ///
    /// As [`WebSocket::into_events`]: messages that have come before are received first; control frames are shown from
    /// now on.
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
