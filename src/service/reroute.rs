//! What the hook has chosen in the place of the layer's route service.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderName, HeaderValue, Request};
use tower::{BoxError, Service};

use super::on_upgrade::HandedOver;
use crate::session::{Place, Setup, WebSocket};

type Handling = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
type Handler = Box<dyn FnOnce(Request<WebSocket>) -> Handling + Send>;

/// A handler for one connection, as a route service. Dropped uncalled it drops what the handler has.
pub(crate) struct Reroute {
    handler: Option<Handler>,
}

impl Reroute {
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "gateways do"))]
    pub(crate) fn new<F, Fut>(handler: F) -> Self
    where
        F: FnOnce(Request<WebSocket>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self {
            handler: Some(Box::new(move |request| Box::pin(handler(request)))),
        }
    }

    /// Keeps something until the connection has ended, such as a service that holds a permit.
    pub(super) fn holding(mut self, held: impl Send + 'static) -> Self {
        self.handler = self.handler.map(|handler| -> Handler {
            Box::new(move |request| {
                let handling = handler(request);
                Box::pin(Holding {
                    handling,
                    _held: held,
                })
            })
        });
        self
    }
}

impl Service<Request<WebSocket>> for Reroute {
    type Response = ();
    type Error = BoxError;
    type Future = Handling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<WebSocket>) -> Handling {
        // There is one connection, and it is called once.
        let handler = self.handler.take().expect("a connection opens once");
        handler(request)
    }
}

/// A handler, and what lives as long as its future: longer than it runs.
struct Holding<T> {
    handling: Handling,
    _held: T,
}

impl<T> Unpin for Holding<T> {}

impl<T> Future for Holding<T> {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.handling.as_mut().poll(cx)
    }
}

/// A stream that was handed over, its place in the registry, and the settings of its layer.
pub(crate) type TakenOver = (HandedOver, Option<Place>, Arc<Setup>);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What takes a stream, and what the answer to its handshake has beside the rest. Dropped it drops what the taker has.
pub(crate) struct TakeOver {
    pub(super) taker: Box<dyn FnOnce(TakenOver) -> Task + Send>,
    pub(super) answer: Vec<(HeaderName, HeaderValue)>,
}

impl TakeOver {
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "gateways do"))]
    pub(crate) fn new<F, Fut>(taker: F, answer: Vec<(HeaderName, HeaderValue)>) -> Self
    where
        F: FnOnce(TakenOver) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self {
            taker: Box::new(move |taken| Box::pin(taker(taken))),
            answer,
        }
    }
}
