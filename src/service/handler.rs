//! Functions as route services.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Request;
use pin_project_lite::pin_project;
use tower::{BoxError, Service};

use crate::session::WebSocket;

/// Creates a route service of a function that takes a [`WebSocket`].
///
/// The future may end in `()` or in `Result<(), E>`; an error closes the connection with code 1011,
/// or with the [`CloseFrame`](crate::CloseFrame) that it is. State is captured by a closure:
///
/// ```
/// use std::sync::Arc;
/// use tower_websocket::{Error, WebSocket, WebSocketLayer, handler};
///
/// async fn greet(socket: WebSocket, name: Arc<str>) -> Result<(), Error> {
///     socket.send(format!("hello from {name}")).await
/// }
///
/// let name: Arc<str> = "the server".into();
/// let layer = WebSocketLayer::new(handler(move |socket| greet(socket, name.clone())));
/// ```
///
/// If the head of the request matters, `tower::service_fn` takes the whole `Request<WebSocket>`; its
/// future ends in a `Result`. A plain function that takes what it needs and
/// returns `async move { … }` keeps the connection's task smaller than an `async fn`, whose future
/// holds the head:
///
/// ```
/// use http::{Request, header};
/// use tower::{BoxError, service_fn};
/// use tower_websocket::{WebSocket, WebSocketLayer};
///
/// fn greet(request: Request<WebSocket>) -> impl Future<Output = Result<(), BoxError>> + Send {
///     let (head, socket) = request.into_parts();
///     let agent = head.headers.get(header::USER_AGENT).map(|agent| format!("{agent:?}"));
///     async move { Ok(socket.send(agent.unwrap_or_default()).await?) }
/// }
///
/// let layer = WebSocketLayer::new(service_fn(greet));
/// ```
///
/// A handler that fails with a [`CloseFrame`](crate::CloseFrame) closes the connection with its code and reason. It may
/// come through `?` and [`BoxError`], and be a source of the error. Any other error closes with 1011.
/// The error is logged by `tracing` at WARN, or at DEBUG if it only says that the connection has ended.
///
/// If the connection ends before the handler does, the handler
/// is not dropped: receiving ends, sending fails, and it may finish what it does.
pub fn handler<F, Fut>(function: F) -> HandlerService<F>
where
    F: FnMut(WebSocket) -> Fut,
    Fut: Future,
    Fut::Output: HandlerOutput,
{
    HandlerService { function }
}

/// The route service made by [`handler`].
#[derive(Clone, Copy, Debug)]
pub struct HandlerService<F> {
    function: F,
}

impl<F, Fut> Service<Request<WebSocket>> for HandlerService<F>
where
    F: FnMut(WebSocket) -> Fut,
    Fut: Future,
    Fut::Output: HandlerOutput,
{
    type Response = ();
    type Error = BoxError;
    type Future = HandlerFuture<Fut>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<WebSocket>) -> Self::Future {
        HandlerFuture::new((self.function)(request.into_body()))
    }
}

pin_project! {
    /// The future of a [`HandlerService`].
    #[derive(Debug)]
    pub struct HandlerFuture<Fut> {
        // `None` once it is ready: a future that keeps its socket would keep the connection.
        #[pin]
        future: Option<Fut>,
    }
}

impl<Fut> HandlerFuture<Fut> {
    pub(super) fn new(future: Fut) -> Self {
        Self {
            future: Some(future),
        }
    }
}

impl<Fut> Future for HandlerFuture<Fut>
where
    Fut: Future,
    Fut::Output: HandlerOutput,
{
    type Output = Result<(), BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            // A session does not poll a handler again that is ready.
            return Poll::Ready(Ok(()));
        };
        let output = ready!(future.poll(cx));
        this.future.set(None);
        Poll::Ready(output.into_result())
    }
}

/// The results that the function of a [`handler`] may end in: `()`, `Result<(), E>`, or never.
#[diagnostic::on_unimplemented(
    message = "a handler of connections cannot end in `{Self}`",
    label = "neither `()` nor `Result<(), E>`",
    note = "what is to be sent goes through the socket, before the handler returns",
    note = "`E` is anything that becomes a `tower::BoxError`: an error, a `CloseFrame`, a text"
)]
pub trait HandlerOutput {
    /// Turns the value into the result of a route service.
    ///
    /// # Errors
    ///
    /// That of the function.
    fn into_result(self) -> Result<(), BoxError>;
}

impl HandlerOutput for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> HandlerOutput for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// A closure that loops until it is dropped, or panics, ends in `!` since the edition of 2024.
impl HandlerOutput for <fn() -> ! as Returns>::Output {
    fn into_result(self) -> Result<(), BoxError> {
        self
    }
}

/// Names `!`, for which Rust has no name outside a function's signature.
#[expect(unnameable_types, reason = "no other code needs it")]
pub trait Returns {
    /// What the function returns.
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}
