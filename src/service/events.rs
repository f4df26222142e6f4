//! Callbacks as a route service.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, request::Parts};
use tower::{BoxError, Service};

use crate::{
    error::Error,
    protocol::{CloseCode, CloseFrame, Event, Message, Utf8Bytes},
    session::{Sender, WebSocket},
};

/// A connection's life as callbacks, each with a default.
///
/// The defaults do nothing, except those of [`on_text`](Self::on_text) and
/// [`on_binary`](Self::on_binary): a kind of data without a callback closes the connection with code
/// 1003. Implementations may write callbacks as `async fn`.
///
/// # Order
///
/// Callbacks of one connection run one after the other, in the order of what happened:
/// [`on_open`](Self::on_open) first, and each when the one before it has returned. What came before
/// the end is reported before the end. After a [`close`](Sender::close) of this endpoint that is not so:
/// what has come and was not reported is discarded, and of what comes later only control frames are
/// reported.
///
/// # The end
///
/// The last callback is `on_close` or `on_error`, never both:
///
/// | the connection ends by | last callback |
/// |---|---|
/// | a Close of the peer | `on_close` with its frame, once its Close was answered |
/// | a Close of this endpoint, also of [`Connections::drain`](crate::Connections::drain) or one for [`idle_timeout`](crate::Config::idle_timeout), [`first_message_timeout`](crate::Config::first_message_timeout) or [`max_lifetime`](crate::Config::max_lifetime) | `on_close` with the frame that the peer answers; `None` if it disconnects instead |
/// | the same, and the peer does neither within [`close_timeout`](crate::Config::close_timeout) | `on_error` with [`Error::Timeout`] |
/// | data without a callback | as a Close of this endpoint |
/// | a violation of the protocol or of a limit | `on_error` with [`Error::Protocol`] |
/// | any other deadline | `on_error` with [`Error::Timeout`] |
/// | the peer's disconnect, without a Close | `on_error` with [`Error::Io`] |
/// | [`Sender::abort`], also at the deadline of a drain | none: a callback that runs is dropped while it waits |
/// | a panic of a callback | none: the peer gets code 1011 |
/// | the end of the runtime | none |
///
/// To release something however a connection ends, drop it with the implementation: each connection
/// has its own clone, which is dropped at the end in every case. To be told of every end, use
/// [`WebSocketLayer::on_end`](crate::WebSocketLayer::on_end).
///
/// ```
/// use tower_websocket::{
///     service::{event_handler, EventHandler}, Sender, Utf8Bytes, WebSocketLayer,
/// };
///
/// #[derive(Clone, Default)]
/// struct Shout {
///     count: usize,
/// }
///
/// impl EventHandler for Shout {
///     async fn on_text(&mut self, socket: &Sender, text: Utf8Bytes) {
///         self.count += 1;
///         let _gone = socket.send(format!("{}: {}", self.count, text.to_uppercase())).await;
///     }
/// }
///
/// let layer = WebSocketLayer::new(event_handler(Shout::default()));
/// ```
pub trait EventHandler: Send {
    /// Runs when the connection is open; `head` is that of the request that opened it.
    fn on_open(&mut self, socket: &Sender, head: &Parts) -> impl Future<Output = ()> + Send {
        let _ = (socket, head);
        async {}
    }

    /// Runs when text was received.
    fn on_text(&mut self, socket: &Sender, text: Utf8Bytes) -> impl Future<Output = ()> + Send {
        let _ = text;
        close_unsupported(socket)
    }

    /// Runs when binary data was received.
    fn on_binary(&mut self, socket: &Sender, payload: Bytes) -> impl Future<Output = ()> + Send {
        let _ = payload;
        close_unsupported(socket)
    }

    /// Runs when a ping was received. It is answered already, unless
    /// [`Config::auto_pong`](crate::Config::auto_pong) is off.
    fn on_ping(&mut self, socket: &Sender, payload: Bytes) -> impl Future<Output = ()> + Send {
        let _ = (socket, payload);
        async {}
    }

    /// Runs when a pong was received.
    fn on_pong(&mut self, socket: &Sender, payload: Bytes) -> impl Future<Output = ()> + Send {
        let _ = (socket, payload);
        async {}
    }

    /// Runs when the connection was closed by either side, as its last callback; see
    /// [the end](Self#the-end).
    ///
    /// `frame` is the peer's: its Close, or its answer to that of this endpoint. It is `None` if it
    /// had no code, or if the peer disconnected instead of answering. Nothing can be sent any longer.
    fn on_close(
        &mut self,
        socket: &Sender,
        frame: Option<CloseFrame>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (socket, frame);
        async {}
    }

    /// Runs when the connection failed, as its last callback; see [the end](Self#the-end).
    ///
    /// Nothing can be sent any longer.
    fn on_error(&mut self, socket: &Sender, error: Error) -> impl Future<Output = ()> + Send {
        let _ = (socket, error);
        async {}
    }
}

/// Makes a route service of an [`EventHandler`] implementation, of which each connection gets a clone.
pub fn event_handler<E: EventHandler + Clone>(handler: E) -> EventHandlerService<E> {
    EventHandlerService { events: handler }
}

/// The route service made by [`event_handler`].
#[derive(Clone, Debug)]
pub struct EventHandlerService<E> {
    events: E,
}

impl<E: EventHandler + Clone + 'static> Service<Request<WebSocket>> for EventHandlerService<E> {
    type Response = ();
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<WebSocket>) -> Self::Future {
        let (head, socket) = request.into_parts();
        socket.observe();
        let mut events = self.events.clone();
        let head = Box::new(head);
        Box::pin(async move {
            events.on_open(&socket.sender(), &head).await;
            drop(head);
            run(events, socket).await;
            Ok(())
        })
    }
}

/// Calls back for everything that happens until the connection ends.
async fn run(mut events: impl EventHandler, mut socket: WebSocket) {
    let sender = socket.sender();
    loop {
        match socket.recv_event().await {
            Ok(Some(Event::Message(Message::Text(text)))) => events.on_text(&sender, text).await,
            Ok(Some(Event::Message(Message::Binary(payload)))) => {
                events.on_binary(&sender, payload).await;
            }
            Ok(Some(Event::Ping(payload))) => events.on_ping(&sender, payload).await,
            Ok(Some(Event::Pong(payload))) => events.on_pong(&sender, payload).await,
            Ok(Some(Event::Close(frame))) => return events.on_close(&sender, frame).await,
            Ok(None) => return events.on_close(&sender, socket.received_close()).await,
            Err(error) => return events.on_error(&sender, error).await,
        }
    }
}

/// Closes on a kind of data that has no callback.
fn close_unsupported(socket: &Sender) -> impl Future<Output = ()> + Send + use<> {
    socket.close(CloseCode::UNSUPPORTED_DATA);
    async {}
}
