//! Conversations without a socket, for the tests of an application.
//!
//! ```
//! use axum::{Router, routing::any};
//! use tower_websocket::{Error, WebSocket, WebSocketLayer, handler, testing::{self, WebSocketExt}};
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
//! assert_eq!(client.recv_text().await?, "hi");
//! # Ok(())
//! # }
//! ```
//!
//! The client's end is a [`WebSocket`] like any other. With [`WebSocketExt`] it has `recv_text`, `recv_binary` and
//! `recv_close`, whose errors say what came instead.
//!
//! Everything runs in memory, also with tokio's clock paused (`#[tokio::test(start_paused = true)]`):
//! then deadlines pass at once.
//!
//! A client that does not receive is a slow one: some 64 KiB are on the way, and the client reads as much ahead. What
//! is sent beyond that stays in the server's queue ([`Sender::queued_bytes`](crate::Sender::queued_bytes)). If
//! messages are compressed, use data that does not get shorter.

mod error;
mod receive;
mod request;

pub use error::ConnectError;
pub use receive::{ReceiveError, WebSocketExt};
pub use request::{Empty, TestRequest, request};

use std::{future::ready, io, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version, header};
use http_body::Body;
use tokio::{
    io::{DuplexStream, duplex},
    sync::oneshot,
};
use tower::{BoxError, Service, ServiceExt};

use crate::{
    config::Config,
    handshake::{
        client::{Accepted, Offer},
        deflate, extensions,
    },
    refused::collect,
    service::OnUpgrade,
    session::{Agreed, Opened, Session, Setup, Transport, WebSocket},
};

/// Sends a handshake to a service, and returns the client's end of the connection if it accepts.
///
/// It checks the response as a client does: 101 with the right `Sec-WebSocket-Accept`, or 200 on HTTP/2.
///
/// # Errors
///
/// The service failed or refused. A refusal is in the error, with its body.
pub async fn connect<S, B, ResBody>(
    service: S,
    request: impl Into<TestRequest<B>>,
) -> Result<(Response<()>, WebSocket), ConnectError>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    ResBody: Body,
{
    let (request, config) = request.into().offering();
    let version = request.version();
    let multiplexed = version >= Version::HTTP_2;
    let (mut head, body) = request.into_parts();
    let offer = Offer::of(&head, &config).map_err(ConnectError::Request)?;
    let (hand_over, stream) = oneshot::channel::<DuplexStream>();
    head.extensions.insert(OnUpgrade::from_future(async {
        stream.await.map_err(|_| io::ErrorKind::NotConnected.into())
    }));
    let response = service.oneshot(Request::from_parts(head, body)).await;
    let mut response = response.map_err(|error| ConnectError::Service(error.into()))?;
    if multiplexed {
        // As a client over HTTP/2 sees it, whatever the service has set.
        *response.version_mut() = version;
    }
    if !offer.is_accepted(response.status()) {
        return Err(ConnectError::Rejected(Box::new(
            collect(response, None).await,
        )));
    }
    let (head, body) = response.into_parts();
    let accepted = offer.check(&head).map_err(ConnectError::Response)?;
    // An HTTP server asks this of the body it sends.
    let _sent = body.is_end_stream();
    let (ours, theirs) = duplex(PIPE);
    // The session may be gone already; then the client's end finds out.
    let _gone = hand_over.send(theirs);
    let client = open_client(ours, multiplexed, config, accepted);
    Ok((Response::from_parts(head, ()), client))
}

/// Makes a request upgradable, so that a plain `oneshot` returns the response to a handshake.
///
/// The layer never gets the stream, and the route service is not called.
///
/// ```
/// use http::StatusCode;
/// use tower::ServiceExt;
/// use tower_websocket::{WebSocket, WebSocketLayer, handler, testing};
///
/// # async fn chat(_: WebSocket) {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = WebSocketLayer::new(handler(chat)).endpoint();
/// let request = testing::upgradable(testing::request("/chat").into_request());
/// let response = app.oneshot(request).await?;
/// assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
/// # Ok(())
/// # }
/// ```
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
/// Both have the same configuration, and agree on compression if that is set.
///
/// ```
/// use tower_websocket::{Config, Message, testing};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_websocket::Error> {
/// let (client, mut server) = testing::pair(Config::default());
/// client.send("hello").await?;
/// assert_eq!(server.recv().await?, Some(Message::text("hello")));
/// # Ok(())
/// # }
/// ```
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

/// Starts a client's session, after its handshake.
fn open_client(
    stream: DuplexStream,
    multiplexed: bool,
    config: Config,
    mut accepted: Accepted,
) -> WebSocket {
    let deflate = accepted.take_deflate();
    let setup = Setup {
        config,
        ..Setup::client()
    };
    let agreed = Agreed::default()
        .subprotocol(accepted.subprotocol())
        .deflate(&setup, deflate);
    open(stream, multiplexed, setup, agreed)
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

/// What the in-memory stream holds in each direction.
const PIPE: usize = 64 << 10;
