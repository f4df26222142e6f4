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
//! [`Client`] has the settings: headers, TLS, deadlines, the version of HTTP, and the
//! [`Config`](crate::Config) that servers have, too. What it connects to is a URI, or a request with headers of its own; see
//! [`IntoRequest`].
//!
//! | | gives | |
//! | --- | --- | --- |
//! | [`connect`], [`Client::connect`] | the socket | |
//! | [`Client::open`] | the socket as the body of the response | for its headers |
//! | [`connect_over`] | the socket | over a stream that is there: a proxy's, a Unix socket |
//! | [`Client::open_over`] | the socket as the body of the response | the same with settings; TLS is the caller's |
//! | [`Client::http2`], [`Client::http2_over`] | a [`Connection`] | for many sockets over one connection |
//!
//! A socket runs in a task of its own, as on a server: pings are answered and deadlines kept while
//! nobody receives, and dropping it closes the connection. What is written under
//! [the crate's front page](crate#what-holds-everywhere) holds here, too.
//!
//! # Proxies
//!
//! A proxy is a stream that leads to the server: connect to the proxy, ask it in its own words,
//! and hand over the stream with [`connect_over`], or with settings
//! `Client::open_over(..).await?.into_body()`. For `wss` do TLS on it before. The example `client` does
//! so for HTTP proxies (`CONNECT`) and for SOCKS5.
//!
//! # Connecting again
//!
//! Nothing connects again by itself, and a [`Client`] keeps no connections: each call opens a new one. A
//! [`Connection`] that [is closed](Connection::is_closed) is replaced by a new one of
//! [`Client::http2`]. When receiving says `None` or an error, do so after a pause that
//! grows and is not the same for all; [`WebSocket::close_frame`] (1001, 1012 and 1013 ask for it) and
//! [`ConnectError::status`] (401 and 403 do not) tell whether it makes sense.

mod connect;
mod deadline;
mod error;
mod http1;
mod http2;
mod keep_alive;
mod request;
mod settings;
mod tls;
mod version;

pub use error::{ConnectError, Phase};
pub use http2::Connection;
pub use request::IntoRequest;
pub use settings::Client;
pub use version::HttpVersion;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::session::WebSocket;

/// Connects with the default settings.
///
/// Dropping the future gives up and closes what was open.
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
    let response = Client::new().open_over(stream, request).await?;
    Ok(response.into_body())
}
