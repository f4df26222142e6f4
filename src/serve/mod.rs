//! A ready-to-run HTTP server for a tower service (feature `serve`).
//!
//! [`serve`](fn@crate::serve) takes an address or a listener, and a service: an axum `Router`,
//! [`endpoint`](crate::endpoint), or any other `tower::Service<http::Request<hyper::body::Incoming>>`. It speaks HTTP/1.1 and HTTP/2,
//! with or without TLS, defends itself against clients, and stops in good order:
//!
//! ```no_run
//! use axum::{Router, routing::any};
//! use tower_websocket::{Error, WebSocket, WebSocketLayer, handler, serve};
//!
//! async fn echo(mut socket: WebSocket) -> Result<(), Error> {
//!     while let Some(message) = socket.recv().await? {
//!         socket.send(message).await?;
//!     }
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let websocket = WebSocketLayer::new(handler(echo));
//!     let app = Router::new().route("/echo", any(async || "a page").layer(websocket));
//!     let stopped = serve("127.0.0.1:8080", app)
//!         .graceful_shutdown(async {
//!             let _failed = tokio::signal::ctrl_c().await;
//!         })
//!         .await?;
//!     println!("{stopped:?}");
//!     Ok(())
//! }
//! ```
//!
//! [`Serve::tls`] serves TLS, with the certificate of [`PemFiles`] for example. It needs a provider of cryptography of
//! yours: this feature brings none, and `ring` counts only together with `client`, `redis` or `nats`. See
//! [troubleshooting](crate::troubleshooting#rustls-panics-no-provider-or-two).
//!
//! [`accept`] opens a single WebSocket on a stream, with no service at all.
//!
//! # HTTP
//!
//! The first bytes of a connection show whether it is HTTP/1.1 or HTTP/2, which clients may speak by prior
//! knowledge or after ALPN. WebSocket over HTTP/2 (RFC 8441) is announced. Without the feature
//! `http2` only HTTP/1.1 is served, and HTTP/2 clients are refused.
//!
//! hyper's own limits apply: 200 streams per HTTP/2 connection, 16 KiB of headers per HTTP/2 request,
//! and those on resets and CONTINUATION frames.
//!
//! # Slow clients, and dead ones
//!
//! An HTTP/2 connection is pinged after 20 seconds, and ended if nothing arrives within 20 more. Any byte
//! is a sign of life. The answer to a ping waits behind what was sent before, so the deadline is prolonged for
//! that: by a second for each 14 KiB, at most 438 seconds. A client that reads nothing of what waits for it is
//! cut off after 40 seconds and the same allowance. HTTP/1.1 has no pings:
//! [`Serve::keep_alive_timeout`] limits the time there.
//!
//! Over TCP little waits in the kernel, where nothing can overtake it: see
//! [`Listener`](trait.Listener.html#impl-Listener-for-TcpListener), and set the same options in a
//! listener of your own. `axum::serve` sets none of them; with axum's `ListenerExt` it is
//! `listener.tap_io(|stream| …)`, with `set_nodelay` and `set_tcp_notsent_lowat`.
//!
//! # The client's address
//!
//! Over TCP every request has a [`PeerAddr`](crate::service::PeerAddr) among its extensions: axum's handlers
//! take `Extension(PeerAddr(address)): Extension<PeerAddr>`. For extractors
//! and layers that need axum's `ConnectInfo` use [`PerConnection`]. Behind a proxy that speaks the PROXY
//! protocol, [`Serve::proxy_protocol`] makes it the client's address. If the proxy only adds `X-Forwarded-For`, it
//! is the proxy's.
//!
//! # What happens to clients
//!
//! Connections are logged at DEBUG, when they end. [`Serve::on_connection_end`] reports how each of them ended,
//! also those that speak no TLS, no HTTP, or nothing in time.
//! [`WebSocketLayer::on_end`](crate::WebSocketLayer::on_end) reports WebSockets.
//!
//! A layer that traces requests, such as `tower_http::trace`, sees a WebSocket as a request that was answered
//! with 101, or 200 over HTTP/2, after a millisecond or two: its span ends there, and its latency is that of the
//! handshake. The session runs in the span `websocket` of this crate, at INFO, with id, peer, path, and at the end
//! `close_code`. That span has no parent: a session is a task of its own, and the request is over. To find the same
//! value in both, such as the id of a request, let a layer put it into the request's extensions, and log it in the
//! route service. To log WebSockets as a trace layer logs requests, use `on_end`:
//!
//! ```
//! use tower_websocket::{WebSocket, WebSocketLayer, handler};
//! # async fn chat(_: WebSocket) {}
//!
//! let layer = WebSocketLayer::new(handler(chat)).on_end(|report| {
//!     tracing::info!(
//!         id = ?report.id,
//!         ended_by = ?report.ended_by,
//!         close_code = report.close_code,
//!         lasted = ?report.duration,
//!         "websocket ended"
//!     );
//! });
//! ```

mod accept;
mod app;
pub(crate) mod builder;
mod capacity;
mod connection;
mod expired;
mod head;
mod head_timer;
mod http;
mod line;
mod listen;
mod listener;
mod pem;
mod proxy;
mod report;
mod run;
mod settings;
mod stop;
mod tcp;

pub use accept::{AcceptError, accept};
pub use app::{Application, PerConnection};
pub use builder::Serve;
pub use expired::Expired;
pub use listen::Listen;
pub use listener::Listener;
pub use pem::{PemError, PemFiles};
pub use proxy::ProxyError;
pub use report::{ConnectionEnd, ConnectionReport};
pub use run::ServeFuture;
pub use stop::Stopped;
