//! Conversations without a socket, for the tests of an application.
//!
//! ```
//! use axum::{Router, routing::any};
//! use tower_websocket::{Error, WebSocket, WebSocketLayer, handler, testing};
//!
//! async fn echo(mut socket: WebSocket) -> Result<(), Error> {
//!     while let Some(message) = socket.recv().await? {
//!         socket.send(message).await?;
//!     }
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app: Router = Router::new()
//!     .route("/echo", any(async || "a page").layer(WebSocketLayer::new(handler(echo))));
//!
//! let (response, mut client) = testing::connect(app, testing::request("/echo").http2()).await?;
//! assert_eq!(response.status(), 200);
//! client.send("hi").await?;
//! assert_eq!(client.recv().await?, Some("hi".into()));
//! # Ok(())
//! # }
//! ```
//!
//! Everything runs in memory and under tokio's paused clock (`#[tokio::test(start_paused = true)]`),
//! where deadlines pass at once.

use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt,
    future::ready,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{DuplexStream, duplex},
    sync::oneshot,
};
use tower::{BoxError, Service, ServiceExt};

use crate::{
    config::Config,
    handshake::{
        client::{self, Offer},
        deflate, extensions, target,
    },
    service::{OnUpgrade, collect, extended_connect},
    session::{Agreed, Opened, Session, Setup, Transport, WebSocket},
};

/// Starts a handshake for `path`, as a client sends it over HTTP/1.1.
///
/// As a client does, it escapes spaces and what is beyond ASCII, puts a slash before a query alone, and
/// drops a fragment.
///
/// # Panics
///
/// Panics when `path` is not a path of a URI.
#[must_use]
pub fn request(path: &str) -> TestRequest<Empty> {
    let mut request = Request::new(Empty::default());
    *request.uri_mut() = target(path).expect("the path of a handshake is that of a URI");
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static(HOST));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static(KEY));
    headers.insert(
        header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static("13"),
    );
    TestRequest {
        request,
        config: Config::default(),
    }
}

/// A handshake of a test, made by [`request`] or from any `http::Request`.
#[derive(Debug)]
pub struct TestRequest<B> {
    request: Request<B>,
    config: Config,
}

impl<B> TestRequest<B> {
    /// Sends it over HTTP/2, as an Extended CONNECT (RFC 8441).
    ///
    /// # Panics
    ///
    /// Panics when the request is for no path, but for the asterisk; those of [`request`] are for one.
    #[must_use]
    pub fn http2(mut self) -> Self {
        let headers = self.request.headers_mut();
        for name in [
            header::HOST,
            header::CONNECTION,
            header::UPGRADE,
            header::SEC_WEBSOCKET_KEY,
        ] {
            headers.remove(name);
        }
        let path = target::path(self.request.uri().path_and_query());
        let uri = Uri::builder().scheme("https").authority(HOST);
        let uri = uri.path_and_query(path.expect("a handshake is for a path"));
        *self.request.uri_mut() = uri.build().expect("a path is part of a URI");
        *self.request.method_mut() = Method::CONNECT;
        *self.request.version_mut() = Version::HTTP_2;
        extended_connect::insert_websocket(self.request.extensions_mut());
        self
    }

    /// Sets a header.
    ///
    /// # Panics
    ///
    /// Panics when name or value are no header's.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        let value: HeaderValue = value.parse().expect("a header's value");
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Puts a value among the request's extensions.
    #[must_use]
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.request.extensions_mut().insert(value);
        self
    }

    /// Sets the body, for services that want a certain type.
    #[must_use]
    pub fn body<T>(self, body: T) -> TestRequest<T> {
        TestRequest {
            request: self.request.map(|_| body),
            config: self.config,
        }
    }

    /// Sets the configuration of the client's end. With
    /// [`Config::compression`] the client offers permessage-deflate.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The request as it is, for a `oneshot` of one's own; see [`upgradable`].
    #[must_use]
    pub fn into_request(self) -> Request<B> {
        self.request
    }
}

impl<B> From<Request<B>> for TestRequest<B> {
    fn from(request: Request<B>) -> Self {
        Self {
            request,
            config: Config::default(),
        }
    }
}

/// Sends a handshake to a service and, where it is accepted, gives the client's end of the
/// connection.
///
/// The response is checked as a client would: 101 with the right `Sec-WebSocket-Accept`, or 200 on
/// HTTP/2.
///
/// # Errors
///
/// The service failed, or refused: the response is in the error then, with its body.
pub async fn connect<S, B, ResBody>(
    service: S,
    request: impl Into<TestRequest<B>>,
) -> Result<(Response<()>, WebSocket), ConnectError>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    ResBody: Body,
{
    let TestRequest {
        mut request,
        config,
    } = request.into();
    if let Some(settings) = &config.compression {
        let offer = deflate::offer(settings);
        request
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_EXTENSIONS, offer);
    }
    let multiplexed = request.version() >= Version::HTTP_2;
    let (mut head, body) = request.into_parts();
    let offer = Offer::of(&head, &config).map_err(ConnectError::Request)?;
    let (hand_over, stream) = oneshot::channel::<DuplexStream>();
    head.extensions.insert(OnUpgrade::from_future(async {
        stream.await.map_err(|_| io::ErrorKind::NotConnected.into())
    }));
    let response = service.oneshot(Request::from_parts(head, body)).await;
    let response = response.map_err(|error| ConnectError::Service(error.into()))?;
    if !offer.is_accepted(response.status()) {
        return Err(ConnectError::Refused(Box::new(
            collect(response, None).await,
        )));
    }
    let (head, body) = response.into_parts();
    let mut accepted = offer.check(&head).map_err(ConnectError::Answer)?;
    // The question that an HTTP server asks.
    let _sent = body.is_end_stream();
    let (ours, theirs) = duplex(PIPE);
    // The session may be gone already; then the client's end finds out.
    let _gone = hand_over.send(theirs);
    let deflate = accepted.take_deflate();
    let setup = Setup {
        config,
        ..Setup::client()
    };
    let agreed = Agreed::default()
        .protocol(accepted.protocol())
        .deflate(&setup, deflate);
    let client = open(ours, multiplexed, setup, agreed);
    Ok((Response::from_parts(head, ()), client))
}

/// Makes any request one that can be upgraded, so that a plain `oneshot` shows the answer.
///
/// The stream itself is never handed over, and the route service not called.
#[must_use]
pub fn upgradable<B>(mut request: Request<B>) -> Request<B> {
    let never = ready(Err::<DuplexStream, _>(io::ErrorKind::NotConnected.into()));
    request
        .extensions_mut()
        .insert(OnUpgrade::from_future(never));
    request
}

/// Makes the two ends of a connection, the client's first, without a handshake.
///
/// Both have the same configuration, and agree on compression where that is set.
///
/// # Panics
///
/// Panics outside a tokio runtime.
#[must_use]
pub fn pair(config: Config) -> (WebSocket, WebSocket) {
    let (client, server) = duplex(PIPE);
    let ends = [Setup::client(), Setup::server()].map(|setup| Setup {
        config: config.clone(),
        ..setup
    });
    let [for_client, for_server] = agree(&config);
    let [client_setup, server_setup] = ends;
    let client_agreed = Agreed::default().deflate(&client_setup, for_client);
    let server_agreed = Agreed::default().deflate(&server_setup, for_server);
    let client = open(client, false, client_setup, client_agreed);
    (client, open(server, false, server_setup, server_agreed))
}

/// Agrees on compression, for a client and a server with the same settings.
fn agree(config: &Config) -> [Option<deflate::Agreement>; 2] {
    let Some(settings) = &config.compression else {
        return [None, None];
    };
    let accept = |headers: &HeaderMap| {
        let offers = extensions::parse(headers).unwrap_or_default();
        deflate::accept(&offers, settings)
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, deflate::offer(settings));
    let server = accept(&headers);
    if let Some(server) = &server {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, server.header_value());
    }
    let answer = extensions::parse(&headers).unwrap_or_default();
    let client = deflate::agree(&answer, Some(settings)).unwrap_or_default();
    [client, server]
}

/// Why [`connect`] did not.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The service answered something else; of the body there is what comes within a second, up to
    /// 64 KiB.
    Refused(Box<Response<Bytes>>),
    /// The service failed.
    Service(BoxError),
    /// The request's subprotocols are not a list of tokens.
    Request(client::InvalidRequest),
    /// The answer accepts, but not what was asked for.
    Answer(client::InvalidAnswer),
}

impl ConnectError {
    /// The status of the refusal.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.response().map(Response::status)
    }

    /// The refusal.
    #[must_use]
    pub fn response(&self) -> Option<&Response<Bytes>> {
        match self {
            Self::Refused(response) => Some(response),
            _ => None,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(response) => {
                let body = String::from_utf8_lossy(response.body());
                write!(
                    f,
                    "the handshake was answered with {}: {body}",
                    response.status()
                )
            }
            Self::Service(_) => f.write_str("the service failed"),
            Self::Request(_) => f.write_str("the request is no handshake"),
            Self::Answer(_) => f.write_str("the answer is not one to what was asked"),
        }
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Refused(_) => None,
            Self::Service(error) => Some(&**error),
            Self::Request(error) => Some(error),
            Self::Answer(error) => Some(error),
        }
    }
}

/// The body of a test's request: none.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Empty;

impl Body for Empty {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}

/// Starts a session whose socket is held by the caller.
fn open(stream: DuplexStream, multiplexed: bool, setup: Setup, agreed: Agreed) -> WebSocket {
    Session::spawn(Opened {
        transport: Transport::other(stream).multiplexed(multiplexed),
        read: Bytes::new(),
        setup: Arc::new(setup),
        agreed,
        place: None,
    })
}

/// The target of a handshake; that of a whole URI keeps what is before the path.
fn target(text: &str) -> Option<Uri> {
    let text = target::escape(text);
    let absolute: Option<Uri> = text.parse().ok();
    let absolute = absolute.filter(|uri| uri.scheme().is_some());
    let mut parts = absolute.unwrap_or_default().into_parts();
    if parts.scheme.is_none() {
        parts.path_and_query = Some(text.parse().ok()?);
    }
    let path = target::path(parts.path_and_query.as_ref()).ok()?;
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}

/// The key of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

const HOST: &str = "localhost";

/// What the in-memory stream holds in each direction.
const PIPE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// As a client makes it (RFC 9113 §8.3.1).
    #[test]
    fn target_of_a_request_is_a_path() {
        for (text, target) in [
            ("/", "/"),
            ("/chat?x", "/chat?x"),
            ("?x", "/?x"),
            ("#f", "/"),
            ("/#f", "/"),
            ("/a b", "/a%20b"),
            ("/\u{e4}", "/%C3%A4"),
        ] {
            let http1 = request(text).into_request();
            assert_eq!(http1.uri().to_string(), target, "{text}");
            let http2 = request(text).http2().into_request();
            let path = http2.uri().path_and_query().map(|path| path.as_str());
            assert_eq!(path, Some(target), "{text}");
        }
        let whole = request("ws://a?x").into_request();
        assert_eq!(whole.uri().to_string(), "ws://a/?x");
        let mut given = Request::new(());
        *given.uri_mut() = Uri::from_static("ws://a?x");
        let http2 = TestRequest::from(given).http2().into_request();
        let path = http2.uri().path_and_query().map(|path| path.as_str());
        assert_eq!(path, Some("/?x"));
    }
}
