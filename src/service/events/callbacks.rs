//! Calls back for everything that happens to a connection.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use http::{Request, request::Parts};

use super::event_handler::EventHandler;
use crate::{
    protocol::{CloseCode, Event, Message},
    session::{Sender, WebSocket},
};

/// Calls an [`EventHandler`] back for everything that happens to a connection, until its end.
///
/// It is what [`event_handler`](super::event_handler) does with a connection of a layer, for connections that
/// come in another way: of a client, of [`extract::WebSocketUpgrade`](crate::extract::WebSocketUpgrade), of
/// [`serve::accept`](crate::serve::accept), or in a route service of the application. The socket is the body of a
/// request, whose head is passed to [`on_open`](EventHandler::on_open).
///
/// ```no_run
/// # #[cfg(feature = "client")]
/// # {
/// use http::Request;
/// use tower_websocket::{
///     client, service::{EventHandler, handle_events}, Sender, Utf8Bytes,
/// };
///
/// struct Ticker;
///
/// impl EventHandler for Ticker {
///     async fn on_text(&mut self, _: &Sender, text: Utf8Bytes) {
///         println!("{text}");
///     }
///
///     fn on_end(&mut self, _: &Sender) {
///         println!("that was all");
///     }
/// }
///
/// # async fn example() -> Result<(), client::ConnectError> {
/// let socket = client::connect("wss://example.com/ticker").await?;
/// handle_events(Request::new(socket), Ticker).await;
/// # Ok(())
/// # }
/// # }
/// ```
///
/// The callbacks are those of a layer's connections, with two differences if this does not run within a route
/// service, since the task is the caller's. An [`abort`](Sender::abort) drops no callback that waits, and
/// [`on_error`](EventHandler::on_error) with [`Error::Io`](crate::Error::Io) comes next. A panic of a
/// callback goes on to the caller, behind [`on_end`](EventHandler::on_end), once the peer was sent code 1011.
///
/// # Cancel safety
///
/// Dropping the future closes the connection with code 1000, with `on_end` as its last callback, even
/// if it was never polled.
pub fn handle_events<E: EventHandler>(
    request: Request<WebSocket>,
    handler: E,
) -> impl Future<Output = ()> + Send + use<E> {
    let (head, socket) = request.into_parts();
    call_back(socket, head, handler)
}

/// Calls back for everything that happens, from now on.
pub(super) fn call_back<E: EventHandler>(
    socket: WebSocket,
    head: Parts,
    handler: E,
) -> impl Future<Output = ()> + Send + use<E> {
    socket.observe();
    let mut callbacks = Callbacks {
        told: UntilEnd {
            socket: socket.sender(),
            handler,
        },
        socket,
    };
    let head = Box::new(head);
    async move {
        let callbacks = &mut callbacks;
        let UntilEnd { socket, handler } = &mut callbacks.told;
        handler.on_open(socket, &head).await;
        drop(head);
        while callbacks.next().await {}
    }
}

/// A connection and who is told of it.
struct Callbacks<E: EventHandler> {
    socket: WebSocket,
    told: UntilEnd<E>,
}

impl<E: EventHandler> Callbacks<E> {
    /// Calls back for what happens next; `false` if that was the end.
    async fn next(&mut self) -> bool {
        let event = self.socket.recv_event().await;
        let UntilEnd { socket, handler } = &mut self.told;
        match event {
            Ok(Some(Event::Message(Message::Text(text)))) => handler.on_text(socket, text).await,
            Ok(Some(Event::Message(Message::Binary(payload)))) => {
                handler.on_binary(socket, payload).await;
            }
            Ok(Some(Event::Ping(payload))) => handler.on_ping(socket, payload).await,
            Ok(Some(Event::Pong(payload))) => handler.on_pong(socket, payload).await,
            Ok(Some(Event::Close(frame))) => {
                handler.on_close(socket, frame).await;
                return false;
            }
            Ok(None) => {
                handler.on_close(socket, self.socket.received_close()).await;
                return false;
            }
            Err(error) => {
                handler.on_error(socket, error).await;
                return false;
            }
        }
        true
    }
}

/// An implementation that is told of the end when it is dropped, whoever drops it.
struct UntilEnd<E: EventHandler> {
    socket: Sender,
    handler: E,
}

impl<E: EventHandler> Drop for UntilEnd<E> {
    fn drop(&mut self) {
        // Where a callback panicked, or its future was dropped, the connection is still open.
        self.socket.close(if thread::panicking() {
            CloseCode::INTERNAL_ERROR
        } else {
            CloseCode::NORMAL
        });
        // During a panic a second one would end the process.
        let end = AssertUnwindSafe(|| self.handler.on_end(&self.socket));
        if catch_unwind(end).is_err() {
            tracing::error!("websocket callback on_end panicked");
        }
    }
}
