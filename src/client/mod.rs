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
//! of its own; see [`IntoRequest`].
//!
//! | | returns | |
//! | --- | --- | --- |
//! | [`connect`], [`Client::connect`] | the socket | |
//! | [`Client::request`] | the socket as the body of the response | for its headers |
//! | [`connect_over`], [`Client::connect_over`] | the socket | over a stream that is there: a proxy's, a Unix socket |
//! | [`Client::request_over`] | the socket as the body of the response | the same with settings; TLS is the caller's |
//! | [`Client::connect_http2`], [`Client::connect_http2_over`] | a [`Http2Connection`] | for many sockets over one connection |
//!
//! A socket runs in a task of its own, as on a server. The task answers pings and keeps deadlines even
//! if the application does not receive; dropping the socket closes the connection. See also
//! [the crate's front page](crate#what-holds-everywhere).
//!
//! # Proxies
//!
//! A proxy is a stream that leads to the server. Connect to the proxy, do its handshake, and hand the
//! stream to [`connect_over`], or, with settings, to `Client::request_over(..).await?.into_body()`. For
//! `wss` do TLS over it first. The example `client` supports HTTP proxies (`CONNECT`) and SOCKS5.
//!
//! # Connecting again
//!
//! Nothing connects again by itself, and a [`Client`] keeps no connections: each call opens a new one.
//! Replace a [`Http2Connection`] that [is closed](Http2Connection::is_closed) by a new one of
//! [`Client::connect_http2`]. When receiving returns `None` or an error, wait before you connect again, longer
//! each time, and not equally long in all clients.
//! [`WebSocket::received_close`](crate::WebSocket::received_close) (1001, 1012 and 1013 ask for it),
//! [`ConnectError::is_temporary`] and [`ConnectError::retry_after`] help to decide whether it makes sense, and when.

mod connect;
mod deadline;
mod error;
mod hint;
mod http1;
mod http2;
mod keep_alive;
mod phase;
mod request;
mod retry_after;
mod settings;
mod tls;
mod version;

pub use error::ConnectError;
pub use http2::Http2Connection;
pub use phase::Phase;
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

/// Connects over a stream that leads to the server, with the default settings.
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
