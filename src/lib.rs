//! WebSockets for every tower, hyper and axum server, as a layer or as an axum extractor.
//!
//! [`WebSocketLayer`] answers the opening handshakes of HTTP/1.1 (RFC 6455) and HTTP/2 (RFC 8441), and hands the
//! open connection to a handler. Every other request goes to the inner service untouched.
//! [`extract::WebSocketUpgrade`] does the same in axum's handlers (feature `axum`).
//!
//! # Begin here
//!
//! The page [`tutorial`] builds a chat with login, tests and two nodes, from an empty folder. A server needs no more than
//! this:
//!
//! ```
//! # #[cfg(feature = "layer")]
//! # {
//! use axum::{Router, routing::any};
//! use tower_websocket::{Error, WebSocket, WebSocketLayer};
//!
//! async fn echo(mut socket: WebSocket) -> Result<(), Error> {
//!     while let Some(message) = socket.recv().await? {
//!         socket.send(message).await?;
//!     }
//!     Ok(())
//! }
//!
//! let websocket = WebSocketLayer::from_fn(echo);
//! let app: Router = Router::new().route("/echo", any(async || "a page").layer(websocket));
//! # }
//! ```
//!
//! # Pages
//!
//! They are modules of these docs, which have to be built with all features: on docs.rs, or by `cargo doc --all-features`.
//!
//! | page | what for |
//! | --- | --- |
//! | [`tutorial`] | a first application, step by step |
//! | [`cookbook`] | requests and answers, presence, uploads, GraphQL, rate limits and more, each as a program |
//! | [`authentication`] | origins, cookies, tokens and tickets, and how long they hold |
//! | [`deployment`] | behind nginx, HAProxy, Envoy and others, in containers, under systemd |
//! | [`troubleshooting`] | from a symptom to its cause, and what to do |
//! | [`security`] | what is limited and defended, by which setting, and what is left to the application |
//! | [`scaling`] | many cores, many nodes, deploys |
//! | [`tuning`] | what each setting costs, a server by hyper, HTTP/2, the kernel |
//! | [`migration`] | from axum's WebSocket, tokio-tungstenite, Socket.IO and others |
//! | [`comparison`] | feature by feature beside other libraries, and what this one does not do |
//!
//! # What to take
//!
//! | I need to | take |
//! | --- | --- |
//! | check a client during the handshake, and refuse others | [`WebSocketLayer::on_handshake`] |
//! | accept pages of another port or site | [`Config::origin`], [`OriginPolicy`]; see [`authentication`](authentication#a-page-on-another-port-or-site) |
//! | keep data with a connection, or its address and path | [`WebSocket::set_data`], [`WebSocketLayer::connection_info`] |
//! | send the same message to many | [`Groups::broadcast`], [`Connections::broadcast`] |
//! | list the members of a room, and announce that one has left | [`Groups::join_as`], [`presence`](Groups::presence), [`on_leave`](groups::Membership::on_leave) |
//! | send from elsewhere: a timer, a plain request | a clone of [`Sender`], or [`Connections::get`] |
//! | limit what a client may send, and how many clients there may be | [`Config`], [`service::PerAddress`] |
//! | know that a message has arrived | a reply of the application's own; for whether the peer is there, [`WebSocket::ping_and_wait`] |
//! | send and receive values | [`json`] |
//! | use callbacks, with state for each connection | [`service::event_handler_with`] |
//! | receive or send messages larger than memory | [`WebSocket::recv_reader`], [`WebSocket::send_writer`] |
//! | close every connection before the server stops | [`Connections::drain`], [`Serve::graceful_shutdown`](serve::Serve::graceful_shutdown) |
//! | export metrics to Prometheus | [`Counters::to_prometheus`](session::Counters::to_prometheus) |
//! | run several processes | [`GroupsBuilder::cluster`](groups::GroupsBuilder::cluster) |
//! | connect as a client that reconnects | [`client::reconnect`] |
//! | test all of it without a socket | [`testing`] |
//!
//! # Where to look
//!
//! - [`WebSocketLayer`], [`endpoint`]: how to mount it, and how it treats each request.
//! - [`extract::WebSocketUpgrade`]: for axum's handlers, like axum's own (feature `axum`).
//! - [`handler`], [`service::event_handler`]: the service that handles the connection; or any
//!   `tower::Service<http::Request<WebSocket>, Response = ()>`.
//! - [`WebSocket`], [`Sender`], [`Receiver`]: the connection; [`WebSocket::info`] and [`WebSocket::data`] describe
//!   its peer.
//! - [`WebSocket::send_writer`], [`WebSocket::recv_reader`]: messages larger than memory, by
//!   [`session::MessageWriter`] and [`session::MessageReader`].
//! - [`WebSocket::into_events`]: a `Stream` and a `Sink` of messages, pings, pongs and the Close, for other libraries.
//! - [`WebSocket::into_byte_stream`]: a connection as bytes, [`session::ByteStream`], for protocols made for TCP.
//! - [`Groups`], [`PreparedMessage`]: sending the same to many connections.
//! - [`Connections`]: finding and counting the open ones; [`Connections::drain`] before a server
//!   stops.
//! - [`Config`]: limits, deadlines, subprotocols, origins, with their defaults, also from a file
//!   (feature `serde`); [`Settings`], [`Compression`], [`MemoryBudget`].
//! - [`Error`]: how a connection ended, as its handles return it; [`session::SessionReport`]: as the layer reports it.
//! - [`Handshake`]: authentication and more before the handshake is answered.
//! - [`json`]: values as messages of JSON (feature `json`).
//! - [`client`]: connecting to servers (feature `client`).
//! - [`forward`]: passing connections on to another server, as a gateway does (feature `client`).
//! - [`WebSocket::over`]: a connection over a stream whose handshake was done elsewhere, by hyper, reqwest or you;
//!   [`session::Sessions`]: many of them.
//! - [`blocking`]: client and server over blocking streams, without a runtime (feature `blocking`).
//! - [`session::Http2Stream`]: for servers that run `h2` themselves.
//! - [`serve`](mod@serve): a ready-to-run server (feature `serve`).
//! - [`testing`]: conversations in memory (feature `testing`).
//! - [`service`], [`session`], [`groups`]: types that are named less often: futures, bodies, callbacks,
//!   reports, counters, draining, members.
//! - [`protocol`], [`handshake`]: the protocol without I/O; without default features the crate has nothing else.
//!
//! # What holds everywhere
//!
//! - **Cancel safety**: [`WebSocket::recv`] loses nothing when its future is dropped;
//!   [`WebSocket::send`] has queued the whole message or nothing.
//! - **Drops**: a dropped [`WebSocket`] closes the connection with 1000; a dropped [`Receiver`]
//!   discards messages; a dropped [`Sender`] does nothing. A handler that fails or panics closes
//!   with 1011. When the connection ends first, the handler is not dropped: receiving ends, sending
//!   returns [`Error::Closed`], and the handler may finish what it does.
//! - **The end**: after a clean close receiving returns `None`; after a vanished peer, a broken rule or
//!   a deadline it returns an [`Error`], once. Complete messages that had arrived are returned first.
//! - **Runtime**: sessions are tasks of tokio, whose I/O and time have to be enabled.
//! - **The HTTP server** has to allow upgrades: `with_upgrades` on hyper's HTTP/1.1 connections,
//!   `serve_connection_with_upgrades` on hyper-util's, and for HTTP/2 `enable_connect_protocol`.
//!   `axum::serve` (with axum's feature `http2`) and [`serve`](fn@serve) do all of it.
//! - **`TCP_NODELAY`** has to be set by the server. Without it an exchange may take 40 ms longer, over
//!   HTTP/2 every exchange. [`serve`](fn@serve) sets it. `axum::serve` does not: pass it
//!   `listener.tap_io(|stream| drop(stream.set_nodelay(true)))`.
//!
//! # A handler's shape and its memory
//!
//! A connection's task holds the future of its handler, so every idle connection pays for what lives
//! across an `.await` there. An `async fn(Request<WebSocket>)` keeps the request's head, 224 bytes and
//! the buffer its headers point into. Take out what you need instead:
//!
//! ```
//! # #[cfg(feature = "layer")]
//! # {
//! use http::Request;
//! use tower_websocket::{service::PathParams, Error, WebSocket};
//!
//! fn room(request: Request<WebSocket>) -> impl Future<Output = Result<(), Error>> + Send {
//!     let (head, mut socket) = request.into_parts();
//!     let params = head.extensions.get::<PathParams>();
//!     let room: Box<str> = params.and_then(|params| params.get("room")).unwrap_or_default().into();
//!     drop(head);
//!     async move {
//!         while let Some(message) = socket.recv().await? {
//!             println!("{room}: {message:?}");
//!         }
//!         Ok(())
//!     }
//! }
//!
//! // A route service by itself; `handler` is for functions of a `WebSocket` alone.
//! # use tower_websocket::WebSocketLayer;
//! let layer = WebSocketLayer::new(tower::service_fn(room));
//! # }
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(all(
    any(doc, doctest),
    feature = "axum",
    feature = "blocking",
    feature = "client",
    feature = "deflate",
    feature = "json",
    feature = "nats",
    feature = "redis",
    feature = "serve",
    feature = "testing"
))]
// Pages are no part of the API that a feature would bring.
#[cfg_attr(docsrs, doc(auto_cfg = false))]
mod book;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "cluster")]
pub mod cluster;
mod compression;
#[cfg(all(test, shuttle))]
mod concurrency;
mod config;
mod error;
#[cfg(feature = "axum")]
pub mod extract;
#[cfg(feature = "client")]
pub mod forward;
#[cfg(feature = "layer")]
pub mod groups;
pub mod handshake;
#[cfg(feature = "json")]
pub mod json;
#[cfg(feature = "layer")]
mod listeners;
mod lock;
mod memory;
mod pool;
pub mod protocol;
#[cfg(any(
    feature = "client",
    feature = "nats",
    feature = "redis",
    feature = "serve"
))]
mod provider;
#[cfg(any(feature = "client", feature = "testing"))]
mod refused;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "layer")]
pub mod service;
#[cfg(feature = "layer")]
pub mod session;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(any(feature = "client", feature = "nats", feature = "redis"))]
mod trust;

#[cfg(all(
    any(doc, doctest),
    feature = "axum",
    feature = "blocking",
    feature = "client",
    feature = "deflate",
    feature = "json",
    feature = "nats",
    feature = "redis",
    feature = "serve",
    feature = "testing"
))]
#[cfg_attr(docsrs, doc(auto_cfg = false))]
#[doc(inline)]
pub use book::{
    authentication, comparison, cookbook, deployment, migration, scaling, security,
    troubleshooting, tuning, tutorial,
};
pub use compression::{Compression, CompressionSettings};
pub use config::{Config, settings::Settings};
pub use error::{Error, TrySendError};
#[cfg(feature = "layer")]
pub use groups::handle::Groups;
pub use handshake::origin::OriginPolicy;
pub use memory::MemoryBudget;
pub use protocol::{
    close::{CloseCode, CloseFrame},
    error::ProtocolError,
    expiry::Deadline,
    message::{Event, Message, MessageKind},
    outbound::PreparedMessage,
    utf8::Utf8Bytes,
};
#[cfg(feature = "serve")]
pub use serve::builder::serve;
#[cfg(feature = "layer")]
pub use service::{endpoint::endpoint, handler::handler, hook::Handshake, layer::WebSocketLayer};
#[cfg(feature = "layer")]
pub use session::{
    handle::{Receiver, Sender, WebSocket},
    id::ConnectionId,
    registry::Connections,
};

#[cfg(all(
    doctest,
    feature = "axum",
    feature = "client",
    feature = "deflate",
    feature = "redis",
    feature = "serve",
    feature = "testing"
))]
#[doc = include_str!("../README.md")]
struct Readme;
