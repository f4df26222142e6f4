//! Connecting to a server, over HTTP/1.1 and over HTTP/2.
//!
//! ```no_run
//! use tower_websocket::client;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut socket = client::connect("wss://example.com/chat").await?;
//! socket.send("hello").await?;
//! while let Some(message) = socket.recv().await? {
//!     println!("{message:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] has settings: headers, TLS, deadlines, the version of HTTP, and the same
//! [`Config`](crate::Config) as a server. It connects to a URI, or to that of a request with headers
//! of its own: see [`IntoRequest`].
//!
//! | | returns | |
//! | --- | --- | --- |
//! | [`connect`], [`Client::connect`] | the socket | |
//! | [`Client::request`] | the socket as the body of the response | for its headers |
//! | [`connect_over`], [`Client::connect_over`] | the socket | over an open stream: a tunnel, a Unix socket |
//! | [`Client::request_over`] | the socket as the body of the response | the same, for its headers |
//! | [`reconnect`], [`Client::reconnect`] | one socket after the other | a new one when a connection is lost |
//! | [`Client::connect_http2`], [`Client::connect_http2_over`] | a [`Http2Connection`] | for many sockets over one connection |
//!
//! A socket runs in a task of its own, as on a server. The task answers pings and keeps deadlines even
//! if the application does not receive; dropping the socket closes the connection. See also
//! [the crate's front page](crate#what-holds-everywhere).
//!
//! # Before a program ends
//!
//! [`send`](crate::WebSocket::send) hands a message to the socket's task, which ends with its runtime. So before `main`
//! returns, or `std::process::exit` is called, close the socket and await its end: then everything sent has left, and the
//! server has answered. Or await [`flush`](crate::WebSocket::flush), after which the kernel has everything:
//!
//! ```no_run
//! # use tower_websocket::{CloseCode, Error, WebSocket};
//! # async fn example(socket: WebSocket) -> Result<(), Error> {
//! socket.send("the last word").await?;
//! socket.close(CloseCode::NORMAL);
//! socket.closed().await; // at most `Config::close_timeout`, unless much is on its way
//! # Ok(())
//! # }
//! ```
//!
//! If a program just returns from `main`, the last messages are written all the same if the socket takes them at
//! once, with TLS or without, and so is a Close if the socket was dropped before: a message or two get through. Over
//! HTTP/2 they do not, nor does anything after `std::process::exit`. Neither end learns what has arrived.
//!
//! # Proxies, and other ways to a server
//!
//! No proxy is used by default. [`Client::proxy`] takes one of HTTP (`CONNECT`) or SOCKS5, with user and
//! password, and [`Client::proxy_from_env`] those that the environment names, as curl does. They serve `ws` and `wss`,
//! HTTP/1.1 and HTTP/2, and reconnecting.
//!
//! ```no_run
//! use tower_websocket::client::Client;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new().proxy("socks5h://127.0.0.1:1080")?;
//! let socket = client.connect("wss://example.com/chat").await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Client::connector`] replaces TCP by a tower service that makes streams, such as one of hyper's connectors.
//! [`connect_over`] takes an open stream of any kind, and does TLS over it for `wss`.
//! If a stream has TLS already, [say so](Client::secured).
//!
//! # Cryptography
//!
//! TLS is rustls'. Its cryptography is what the process has chosen with `CryptoProvider::install_default`, or
//! ring (feature `ring`, one of the default ones). For another one, such as aws-lc-rs, leave out `ring`: take this crate
//! with `default-features = false` and the features you need, and install that provider before the first connection.
//! With neither, `wss` fails with [`ConnectError::Tls`], which says so.
//!
//! # Coming back
//!
//! A socket does not connect again by itself: only the application knows what was lost with it.
//! [`reconnect`] and [`Client::reconnect`] return a new socket for each one that was lost, after a pause; see
//! [`Reconnect`] for how long that is, and when they give up.
//!
//! ```no_run
//! use tower_websocket::{WebSocket, client::{self, ReconnectError}};
//!
//! # async fn run(_: WebSocket) -> bool { true }
//! # async fn example() -> Result<(), ReconnectError> {
//! let mut sessions = client::reconnect("wss://example.com/chat");
//! while let Some(session) = sessions.next().await? {
//!     // Say again who we are and what was seen last: for the server this is another client.
//!     let goes_on = run(session.socket).await;
//!     if !goes_on {
//!         break; // otherwise a session that was closed on this side is followed by another one, too
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! To do it by hand, wait before connecting again, longer each time, and not equally long in all clients:
//! [`ConnectError::is_temporary`] and [`ConnectError::retry_after`] help to decide. A [`Client`] keeps no
//! connections: replace a [`Http2Connection`] that [is closed](Http2Connection::is_closed) by a new one of
//! [`Client::connect_http2`].

mod beside;
mod connect;
mod connector;
mod deadline;
mod error;
mod hint;
mod http1;
mod http2;
mod keep_alive;
mod phase;
mod proxy;
mod proxy_error;
mod reach;
mod reconnect;
mod request;
mod retry_after;
mod settings;
mod tls;
mod version;
mod way;

pub use error::ConnectError;
pub use http2::Http2Connection;
pub use phase::Phase;
pub use proxy::InvalidProxy;
pub use proxy_error::ProxyError;
pub use reconnect::{Connected, Pause, Reconnect, ReconnectError, Setback};
pub use request::IntoRequest;
pub use settings::Client;
pub use version::HttpVersion;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::session::WebSocket;

/// Connects with the default settings.
///
/// Dropping the future gives up and closes the stream.
///
/// # Errors
///
/// See [`ConnectError`].
///
/// # Panics
///
/// Panics outside a tokio runtime with I/O and time enabled.
pub async fn connect(request: impl IntoRequest) -> Result<WebSocket, ConnectError> {
    Client::new().connect(request).await
}

/// Connects over a stream that leads to the server, with the default settings: as [`Client::connect_over`].
///
/// For `wss` TLS is done over the stream.
///
/// ```no_run
/// use tokio::net::UnixStream;
/// use tower_websocket::client;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let stream = UnixStream::connect("/run/chat").await?;
/// let socket = client::connect_over(stream, "ws://localhost/chat").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// See [`ConnectError`].
///
/// # Panics
///
/// As [`connect`].
pub async fn connect_over<T>(
    stream: T,
    request: impl IntoRequest,
) -> Result<WebSocket, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Client::new().connect_over(stream, request).await
}

/// Connects again and again, with the default settings: as [`Client::reconnect`].
pub fn reconnect(request: impl IntoRequest) -> Reconnect {
    Client::new().reconnect(request)
}
