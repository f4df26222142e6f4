//! What a layer hands connections to.

use http::Request;
use tower::Service;

use crate::session::WebSocket;

/// A service that handles a connection once it is open: every `tower::Service<Request<WebSocket>, Response = ()>`.
///
/// It is implemented for all of them, and for nothing else. [`WebSocketLayer::new`](crate::WebSocketLayer::new)
/// requires it, so that the compiler refuses there what is no such service. Functions become one by
/// [`WebSocketLayer::from_fn`](crate::WebSocketLayer::from_fn), [`handler`](crate::handler) or
/// `tower::service_fn`.
///
/// A plain function does not compile, and the compiler names what to use:
///
/// ```compile_fail,E0277
/// # use tower_websocket::{WebSocket, WebSocketLayer};
/// # async fn echo(_: WebSocket) {}
/// let layer = WebSocketLayer::new(echo); // `from_fn(echo)`, or `new(handler(echo))`
/// ```
///
/// Nor does a function whose future is not [`Send`]; the error shows the place where it waits:
///
/// ```compile_fail
/// # use std::rc::Rc;
/// # use axum::Router;
/// # use tower_websocket::{WebSocket, endpoint, handler};
/// # async fn work(_: Rc<str>) {}
/// async fn echo(mut socket: WebSocket) {
///     let name: Rc<str> = "ann".into(); // an `Arc` might go to another thread
///     while let Ok(Some(_)) = socket.recv().await {
///         work(name.clone()).await;
///     }
/// }
///
/// let app: Router = Router::new().route_service("/echo", endpoint(handler(echo)));
/// ```
///
/// A function that returns a layer has to name what axum requires:
///
/// ```
/// use tower::BoxError;
/// use tower_websocket::{WebSocket, WebSocketLayer, service::RouteService};
///
/// # #[derive(Clone)]
/// # struct Desk;
/// # async fn talk(_: Desk, _: WebSocket) {}
/// fn layer(
///     desk: Desk,
/// ) -> WebSocketLayer<impl RouteService<Error = BoxError, Future: Send> + Clone> {
///     WebSocketLayer::from_fn(move |socket| talk(desk.clone(), socket))
/// }
/// # let app: axum::Router = axum::Router::new()
/// #     .route("/desk", axum::routing::any(async || "a page").layer(layer(Desk)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no service for WebSocket connections",
    label = "not a `tower::Service<Request<WebSocket>, Response = ()>`",
    note = "a function of a `WebSocket` goes through `WebSocketLayer::from_fn(function)` or `handler(function)`",
    note = "a function of a `Request<WebSocket>` goes through `tower::service_fn(function)`",
    note = "a `forward::Forward` is made a layer by `forward.layer()`",
    note = "an `EventHandler` goes through `service::event_handler(handler)`"
)]
pub trait RouteService: Service<Request<WebSocket>, Response = ()> {}

#[diagnostic::do_not_recommend]
impl<S: Service<Request<WebSocket>, Response = ()>> RouteService for S {}
