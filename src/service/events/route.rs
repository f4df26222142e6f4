//! Callbacks as route services.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, request::Parts};
use tower::{BoxError, Service};

use super::{callbacks::call_back, event_handler::EventHandler};
use crate::{
    service::handler::HandlerFuture,
    session::{Sender, WebSocket},
};

/// Creates a route service of an [`EventHandler`] implementation, of which each connection gets a clone.
///
/// If an implementation holds what cannot be cloned, create it by [`event_handler_with`].
///
/// ```
/// use tower_websocket::{Sender, Utf8Bytes, WebSocketLayer, service::{EventHandler, event_handler}};
///
/// #[derive(Clone)]
/// struct Echo;
///
/// impl EventHandler for Echo {
///     async fn on_text(&mut self, socket: &Sender, text: Utf8Bytes) {
///         let _gone = socket.send(text).await;
///     }
/// }
///
/// let layer = WebSocketLayer::new(event_handler(Echo));
/// ```
pub fn event_handler<E: EventHandler + Clone>(handler: E) -> EventHandlerService<E> {
    EventHandlerService { handler }
}

/// Makes a route service of a function that makes an [`EventHandler`] implementation for each connection.
///
/// The function runs when the connection is open, right before [`on_open`](EventHandler::on_open), with
/// the head of the request that opened it. What it makes need not be cloned, and is there until the connection
/// ends: here each member leaves the room with its connection.
///
/// ```
/// use tower_websocket::{
///     groups::{JoinError, Membership},
///     service::{EventHandler, PathParams, event_handler_with},
///     Groups, Sender, Utf8Bytes, WebSocketLayer,
/// };
///
/// struct Member {
///     rooms: Groups,
///     room: String,
///     membership: Result<Membership, JoinError>,
/// }
///
/// impl EventHandler for Member {
///     async fn on_text(&mut self, _: &Sender, text: Utf8Bytes) {
///         self.rooms.broadcast(&self.room, text).await;
///     }
/// }
///
/// let rooms = Groups::new();
/// let members = event_handler_with(move |socket, head| {
///     let params = head.extensions.get::<PathParams>();
///     let room = params.and_then(|params| params.get("room")).unwrap_or_default().to_owned();
///     let membership = rooms.join(room.clone(), socket);
///     Member { rooms: rooms.clone(), room, membership }
/// });
/// let layer = WebSocketLayer::new(members).path("/rooms/{room}");
/// ```
///
/// It cannot wait or refuse: what has to, such as looking a user up, goes into
/// [`on_handshake`](crate::WebSocketLayer::on_handshake), which puts what it finds into the extensions of the
/// head. To end the connection, [`close`](Sender::close) it. A panic of the function closes it with code
/// 1011, without any callback.
pub fn event_handler_with<F, E>(make: F) -> EventHandlerFactory<F>
where
    F: Fn(&Sender, &Parts) -> E,
    E: EventHandler,
{
    EventHandlerFactory { make }
}

/// The route service made by [`event_handler`].
#[derive(Clone, Debug)]
pub struct EventHandlerService<E> {
    handler: E,
}

impl<E: EventHandler + Clone + 'static> Service<Request<WebSocket>> for EventHandlerService<E> {
    type Response = ();
    type Error = BoxError;
    type Future = Calling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<WebSocket>) -> Self::Future {
        let (head, socket) = request.into_parts();
        calling(socket, head, self.handler.clone())
    }
}

/// The route service made by [`event_handler_with`].
#[derive(Clone)]
pub struct EventHandlerFactory<F> {
    make: F,
}

impl<F, E> Service<Request<WebSocket>> for EventHandlerFactory<F>
where
    F: Fn(&Sender, &Parts) -> E,
    E: EventHandler + 'static,
{
    type Response = ();
    type Error = BoxError;
    type Future = Calling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<WebSocket>) -> Self::Future {
        let (head, socket) = request.into_parts();
        let handler = (self.make)(&socket.sender(), &head);
        calling(socket, head, handler)
    }
}

impl<F> fmt::Debug for EventHandlerFactory<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventHandlerFactory")
            .finish_non_exhaustive()
    }
}

type Calling = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// Calls back until the end.
fn calling(socket: WebSocket, head: Parts, handler: impl EventHandler + 'static) -> Calling {
    Box::pin(HandlerFuture::new(call_back(socket, head, handler)))
}
