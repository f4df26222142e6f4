//! A service for a route that is nothing but a WebSocket.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode};
use tower::Service;

use super::{
    extended_connect, layer::WebSocketLayer, route::RouteService, service::WebSocketService,
};
use crate::handshake::{Rejection, server};

/// Creates a service for a route that is nothing but a WebSocket.
///
/// Every other request gets 426 (400 on HTTP/2, which has no `Upgrade`), and an Extended CONNECT
/// for another `:protocol` 501. For other settings than the default configuration, use
/// [`WebSocketLayer::endpoint`].
///
/// ```
/// use axum::Router;
/// use tower_websocket::{WebSocket, endpoint, handler};
///
/// async fn chat(socket: WebSocket) { /* … */ }
///
/// let app: Router = Router::new().route_service("/chat", endpoint(handler(chat)));
/// ```
///
/// What another request gets:
///
/// ```
/// use tower::ServiceExt;
/// use tower_websocket::{WebSocket, endpoint, handler};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # async fn chat(_: WebSocket) {}
/// let plain = http::Request::get("/chat").body(())?;
/// let response = endpoint(handler(chat)).oneshot(plain).await?;
/// assert_eq!(response.status(), 426);
/// # Ok(())
/// # }
/// ```
pub fn endpoint<H: RouteService>(route: H) -> WebSocketService<UpgradeRequired, H> {
    WebSocketLayer::new(route).endpoint()
}

impl<H> WebSocketLayer<H> {
    /// Creates a service for a route that is nothing but a WebSocket; as [`endpoint`].
    #[must_use]
    pub fn endpoint(self) -> WebSocketService<UpgradeRequired, H> {
        WebSocketService {
            inner: UpgradeRequired,
            layer: self,
        }
    }
}

/// The inner service of [`endpoint`], which answers every request that is no WebSocket handshake.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UpgradeRequired;

impl<ReqBody> Service<Request<ReqBody>> for UpgradeRequired {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (head, _) = request.into_parts();
        let protocol = extended_connect::protocol(&head);
        if server::is_handshake(&head, protocol) {
            // The layer left it out: its path, or its predicate.
            let mut response = Response::new("nothing here".to_owned());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return ready(Ok(response));
        }
        let rejection = match (&head.method, protocol) {
            (&Method::CONNECT, Some(_)) => Rejection::UnsupportedProtocol,
            _ => Rejection::UpgradeRequired,
        };
        let response = rejection.response(head.version);
        ready(Ok(
            response.map(|text| String::from_utf8_lossy(&text).into_owned())
        ))
    }
}
