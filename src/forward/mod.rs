//! Passing WebSocket connections on to another server: a gateway, or reverse proxy.
//!
//! ```no_run
//! use axum::Router;
//! use tower_websocket::{client::ConnectError, forward::Forward};
//!
//! # fn example() -> Result<Router, ConnectError> {
//! let chat = Forward::to("ws://10.0.0.7:9000/")?;
//! let app: Router = Router::new().route_service("/chat", chat.layer().endpoint());
//! # Ok(app)
//! # }
//! ```
//!
//! The host of the request is the upstream's, and `Origin` the page's. So an upstream that compares the two, as this
//! crate's [default](crate::OriginPolicy::SameHost) does, refuses every page. Either enable
//! [`preserve_host`](Forward::preserve_host), or check the origin here, by
//! [`Config::origin`](crate::Config::origin) of the layer, and leave it out of the [headers](Forward::headers) that are
//! passed on.
//!
//! The gateway connects to the upstream before it answers the client. If the upstream refuses, so does the gateway,
//! and the subprotocol is the upstream's choice. Either side may speak HTTP/1.1 or HTTP/2:
//! [`Client::http_version`](crate::client::Client::http_version) sets the version for the upstream, and
//! [`Forward::sockets_per_connection`] shares a connection of HTTP/2 among many sockets.
//!
//! [`Forward::layer`] makes a [`WebSocketLayer`](crate::WebSocketLayer) like any other: the check of the origin,
//! [`Config`](crate::Config), [`Connections`](crate::Connections) and reports are those of the client's side, and
//! [`Forward::client`] has those of the upstream's. A hook of your own may
//! authenticate first, and choose the upstream: see [`Forward::accept`].
//!
//! # Messages
//!
//! There are two connections, unless they are joined [end to end](#end-to-end). A message is passed when all of it
//! has arrived. With [`Config::streaming`](crate::Config::streaming) on the side it comes from, its pieces are passed
//! as they arrive, and it may be larger than memory. Compression is agreed on with each side by its own `Config`,
//! pings are answered on each side, and limits apply to both. A side that does not read stops the other one's
//! sending, once about [`max_read_ahead`](crate::Config::max_read_ahead) and
//! [`max_send_queue`](crate::Config::max_send_queue) are full. It stops no other connection.
//!
//! # End to end
//!
//! With [`Forward::end_to_end`] the extensions that a client offers are passed on, and the upstream's answer is
//! passed back, unless it has one that was not offered. Then bytes are passed as they are, text, pings and all: what a
//! client masks is masked for the upstream, too. That takes less processor time and no memory for messages, and
//! the two may agree on compression.
//!
//! Only the headers of frames are looked at: a frame that is masked and should not be, or the reverse, or that is larger
//! than [`max_frame_size`](crate::Config::max_frame_size) of the side it comes from, or
//! [`max_message_size`](crate::Config::max_message_size) if that is not set, ends both connections. A Close goes
//! between two frames; if a side is gone in the middle of one, the other one's stream just ends. Of each `Config`
//! [`write_timeout`](crate::Config::write_timeout) also applies, and of the layer's
//! [`close_timeout`](crate::Config::close_timeout) and
//! [`idle_timeout`](crate::Config::idle_timeout), for the time in which no byte has passed. Only the two ends ping
//! each other: if neither does, set the last one.
//!
//! Such a connection has no [`Sender`](crate::Sender). [`Connections`](crate::Connections) counts it, but does not list
//! it; a drain closes it at once. Its messages and bytes are added to the counters when it ends. The hook of
//! [`on_open`](crate::WebSocketLayer::on_open) and that of [`Client::on_end`](crate::client::Client::on_end) are not
//! called; [`on_end`](crate::WebSocketLayer::on_end) of the layer is. Until the upgraded stream is there, a client that
//! is gone just ends the stream to the upstream.
//!
//! # The end
//!
//! | one side | the other side gets |
//! | --- | --- |
//! | sends a Close | the same code and reason, or none, behind all that came before |
//! | is closed by this program, with [`Sender::close`](crate::Sender::close) or a drain | the same |
//! | is the client, and goes without a Close, or is closed for a violation, a limit or a deadline | 1001 |
//! | is the upstream, and does so | 1014 |
//!
//! # What a client is answered where there is no upstream
//!
//! | | |
//! | --- | --- |
//! | the upstream refuses, with a status of 3xx, 4xx or 5xx | the same status and body, of at most 64 KiB, and [chosen headers](Forward::response_headers) |
//! | it cannot be reached, or takes no more requests (GOAWAY) | 503, `Retry-After: 5` |
//! | it does not answer in time | 504 |
//! | it answers anything else: 200, 407, 426, a 101 that does not fit | 502 |
//! | the request has passed this gateway before | 508 |
//! | the path leads out of that of the upstream, by `..` | 400 |

mod failure;
#[expect(clippy::module_inception, reason = "it is what the module is about")]
mod forward;
mod headers;
mod pool;
mod relay;
mod request;
mod route;
mod settings;

pub use forward::Forward;
pub use route::Forwarded;
