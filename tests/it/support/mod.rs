//! What the tests share: both HTTP versions, route services and what they saw.

pub(crate) mod http;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use ::http::{Request, Response, StatusCode, Version};
use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};
use tower::{BoxError, Service, ServiceExt, util::BoxCloneSyncService};
use tower_websocket::{
    Error, WebSocket, WebSocketLayer,
    service::HandlerOutput,
    testing::{self, ConnectError, Empty, TestRequest},
};

use crate::session::support::Failure;
pub(crate) use crate::session::support::echo;

/// The way by which a connection is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Http {
    /// HTTP/1.1: an `Upgrade` (RFC 6455 §4.2).
    One,
    /// HTTP/2: an Extended CONNECT (RFC 8441).
    Two,
}

impl Http {
    /// One of two values.
    pub(crate) fn pick<T>(self, one: T, two: T) -> T {
        match self {
            Self::One => one,
            Self::Two => two,
        }
    }

    /// The version of requests and responses.
    pub(crate) fn version(self) -> Version {
        self.pick(Version::HTTP_11, Version::HTTP_2)
    }

    /// The status that opens a connection.
    pub(crate) fn accepted(self) -> StatusCode {
        self.pick(StatusCode::SWITCHING_PROTOCOLS, StatusCode::OK)
    }

    /// A handshake in memory.
    pub(crate) fn request(self, path: &str) -> TestRequest<Empty> {
        match self {
            Self::One => testing::request(path),
            Self::Two => testing::request(path).http2(),
        }
    }

    /// A plain request in memory.
    pub(crate) fn plain(self, path: &str) -> Request<Empty> {
        let mut request = Request::new(Empty::default());
        *request.version_mut() = self.version();
        *request.uri_mut() = format!("http://localhost{path}").parse().unwrap();
        request
    }
}

/// Runs a test over both HTTP versions, each with a guard against hanging.
pub(crate) async fn on_both(mut test: impl AsyncFnMut(Http)) {
    for http in [Http::One, Http::Two] {
        // Told only of a test that fails.
        println!("over {http:?}");
        within(test(http)).await;
    }
}

/// Waits for what should happen at once. Where it does not, the test fails instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    let guarded = timeout(Duration::from_secs(60), future).await;
    guarded.expect("what the test waits for does not happen")
}

/// Polls a future so many times, each time when it is woken, and gives up then.
pub(crate) async fn poll_times<F: Future>(
    mut future: Pin<&mut F>,
    times: usize,
) -> Option<F::Output> {
    let mut polled = 0;
    poll_fn(|cx| {
        polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polled >= times => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Sends a message back and forth through an echo.
pub(crate) async fn echoes(client: &mut WebSocket, text: &str) {
    client.send(text).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(text.into()));
}

/// Closes the client's end of a connection, and waits for its end.
pub(crate) async fn close(mut client: WebSocket) {
    client.close(tower_websocket::CloseCode::NORMAL);
    while let Ok(Some(_)) = client.recv().await {}
    client.closed().await;
}

/// The crate's [`handler`](tower_websocket::handler), of one type for all tests: each would be compiled with a
/// service and a session of its own.
pub(crate) fn handler<F, Fut>(function: F) -> Boxed
where
    F: FnMut(WebSocket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: HandlerOutput,
{
    BoxCloneSyncService::new(tower_websocket::handler(function).map_err(Failure::new))
}

/// See [`handler`].
pub(crate) type Boxed = BoxCloneSyncService<Request<WebSocket>, (), Failure>;

/// Opens a connection in memory.
pub(crate) async fn open<S, B>(service: S, http: Http, path: &str) -> WebSocket
where
    S: Service<Request<Empty>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    let (response, client) = testing::connect(service, http.request(path)).await.unwrap();
    assert_eq!(response.status(), http.accepted());
    client
}

/// Asks for a connection that is not given.
pub(crate) async fn refused<S, B>(
    service: S,
    request: impl Into<TestRequest<Empty>>,
) -> Response<Bytes>
where
    S: Service<Request<Empty>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    match testing::connect(service, request).await {
        Err(ConnectError::Rejected(response)) => *response,
        other => panic!("no refusal: {other:?}"),
    }
}

/// Calls a service once, and reads the whole response.
pub(crate) async fn oneshot<S, R, B>(service: S, request: Request<R>) -> Response<String>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: Body,
    B::Error: std::fmt::Debug,
{
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, String::from_utf8(body.into()).unwrap())
}

/// Events that a test waits for.
#[derive(Debug)]
pub(crate) struct Log<T> {
    receiver: UnboundedReceiver<T>,
}

/// Where events are written.
#[derive(Debug)]
pub(crate) struct Pen<T>(UnboundedSender<T>);

impl<T> Clone for Pen<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Pen<T> {
    pub(crate) fn write(&self, event: T) {
        // A test that is over reads no more.
        let _over = self.0.send(event);
    }
}

impl<T> Log<T> {
    pub(crate) fn new() -> (Pen<T>, Self) {
        let (sender, receiver) = unbounded_channel();
        (Pen(sender), Self { receiver })
    }

    /// Waits for the next event.
    pub(crate) async fn next(&mut self) -> T {
        within(self.receiver.recv()).await.expect("no pen is left")
    }

    /// What is there already.
    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

/// What happens to the connections of a [`watched`] layer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    /// The route service was called.
    Called,
    /// The upgrade failed; what the hook was told.
    Failed(String),
    /// The session ended, with this close code.
    Ended(u16),
}

/// Reports all that happens to the connections of an echo.
pub(crate) fn watched() -> (WebSocketLayer<Watched>, Log<Seen>) {
    let (pen, log) = Log::new();
    let (failed, ended) = (pen.clone(), pen.clone());
    let layer = WebSocketLayer::new(Watched { pen })
        .on_failed_upgrade(move |error| failed.write(Seen::Failed(error.to_string())))
        .on_end(move |report| ended.write(Seen::Ended(report.close_code)));
    (layer, log)
}

/// An echo that tells when it is called.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pen: Pen<Seen>,
}

impl Service<Request<WebSocket>> for Watched {
    type Response = ();
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<WebSocket>) -> Self::Future {
        self.pen.write(Seen::Called);
        Box::pin(echo(request.into_body()))
    }
}

/// What the hook for failed upgrades is told.
pub(crate) const REPLACED: &str = "another layer replaced or hid the answer to the handshake";
pub(crate) const NOT_HANDED_OVER: &str = "the server did not hand the stream over";

/// Ends the connection of HTTP/1.1 with a response: where none asks for it, hyper waits for the
/// next request, and hands nothing over before the client has left.
pub(crate) fn close_after<B>(response: &mut Response<B>) {
    let close = ::http::HeaderValue::from_static("close");
    response
        .headers_mut()
        .insert(::http::header::CONNECTION, close);
}
