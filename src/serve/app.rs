//! What a server asks of an application.

use std::future::{Future, poll_fn, ready};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tower::{BoxError, Service};

/// What [`serve`](fn@crate::serve) serves: a service, or [`PerConnection`], which makes one for each connection.
///
/// Each connection has a clone of the service. It takes `http::Request<hyper::body::Incoming>`, as an axum `Router`
/// does. `A` is the address that the [`Listener`](super::Listener) returns for a client.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be served to clients whose address is `{A}`",
    label = "no service of requests",
    note = "a service takes `http::Request<hyper::body::Incoming>`, is `Clone + Send + 'static`, and its future is \
            `Send`; an axum `Router` is served as it is",
    note = "what makes a service for each connection, such as axum's \
            `into_make_service_with_connect_info::<SocketAddr>()`, is wrapped: `serve::PerConnection(..)`",
    note = "a WebSocket handler alone is served as `endpoint(handler(..))`"
)]
pub trait Application<A>: Clone + Send + 'static {
    /// The service of a connection.
    type Service: Service<
            Request<Incoming>,
            Response = Response<Self::Body>,
            Future: Send + 'static,
            Error: Into<BoxError>,
        > + Clone
        + Send
        + 'static;

    /// The body of its responses.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    /// Makes the service of a connection whose client has this address.
    ///
    /// # Errors
    ///
    /// There is no service for it: the connection is dropped.
    fn service(
        self,
        address: &A,
    ) -> impl Future<Output = Result<Self::Service, BoxError>> + Send + 'static;
}

impl<S, B, A> Application<A> for S
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Service = S;
    type Body = B;

    fn service(self, _: &A) -> impl Future<Output = Result<S, BoxError>> + Send + 'static {
        ready(Ok(self))
    }
}

/// Makes a service for each connection, from the client's address.
///
/// It wraps a `tower::Service` of the address whose response is the service of the connection.
/// So what axum makes of a `Router` can be served, and its extractor `ConnectInfo` works:
///
/// ```no_run
/// use std::net::SocketAddr;
/// use axum::{Router, extract::ConnectInfo, routing::get};
/// use tower_websocket::{serve, serve::PerConnection};
///
/// # async fn run() -> std::io::Result<()> {
/// let page = async |ConnectInfo(address): ConnectInfo<SocketAddr>| address.to_string();
/// let app: Router = Router::new().route("/", get(page));
/// let app = app.into_make_service_with_connect_info::<SocketAddr>();
/// serve("127.0.0.1:8080", PerConnection(app)).await?;
/// # Ok(())
/// # }
/// ```
///
/// It is called when the connection is accepted, and with TLS once the handshake is done. With
/// [`proxy_protocol`](super::Serve::proxy_protocol) a TCP connection has the address that the proxy announces. An error
/// ends the connection, as does a service that is not there within
/// [`header_timeout`](super::Serve::header_timeout): [`ConnectionEnd::Service`](super::ConnectionEnd::Service). A server
/// that stops does not wait for it.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it marks what is in it")]
pub struct PerConnection<M>(pub M);

impl<M, S, B, A> Application<A> for PerConnection<M>
where
    M: Service<A, Response = S> + Clone + Send + 'static,
    M::Future: Send + 'static,
    M::Error: Into<BoxError>,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    A: Clone + Send + 'static,
{
    type Service = S;
    type Body = B;

    fn service(self, address: &A) -> impl Future<Output = Result<S, BoxError>> + Send + 'static {
        let (mut make, address) = (self.0, address.clone());
        async move {
            poll_fn(|cx| make.poll_ready(cx))
                .await
                .map_err(Into::into)?;
            make.call(address).await.map_err(Into::into)
        }
    }
}

/// The service of one connection, as hyper calls it.
pub(super) trait HyperApp<B>:
    hyper::service::Service<
        Request<Incoming>,
        Response = Response<B>,
        Future: Send + 'static,
        Error: Into<BoxError>,
    >
{
}

impl<S, B> HyperApp<B> for S
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
}

/// The body of a response that can be sent.
pub(super) trait AppBody: Body<Data: Send, Error: Into<BoxError>> + Send + 'static {}

impl<B> AppBody for B
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
}
