//! The tower layer and what goes with it.
//!
//! `layer` holds the settings. A request takes this way:
//!
//! 1. `service`: asks whether the request is a WebSocket handshake for this mount. Otherwise the
//!    inner service has it.
//! 2. [`handshake`](crate::handshake): the checks of RFC 6455 §4.2 and RFC 8441. A `refusal` is a
//!    response.
//! 3. `accepting`: the route service has to be ready, the `hook` may look, then the answer leaves
//!    and the session's task is spawned.
//! 4. `upgrading`: waits until the HTTP server hands the stream over (`on_upgrade`), calls the route
//!    service with a `Request<WebSocket>`, and is the session from then on.

mod accepting;
mod body;
mod endpoint;
mod events;
pub(crate) mod extended_connect;
mod filter;
mod future;
mod handler;
mod hook;
mod layer;
mod on_upgrade;
mod peer_addr;
mod refusal;
mod registries;
#[expect(clippy::module_inception, reason = "the service is the layer's")]
mod service;
mod upgrading;

pub use body::ResponseBody;
pub use endpoint::{Endpoint, endpoint};
pub use events::{Events, EventsService, events};
pub use filter::PathParams;
pub use future::ResponseFuture;
pub use handler::{Handler, HandlerFuture, HandlerOutput, handler};
pub use hook::{Answer, Handshake};
pub use layer::WebSocketLayer;
pub use on_upgrade::OnUpgrade;
pub use peer_addr::PeerAddr;
pub use refusal::Refusal;
pub use service::WebSocketService;

#[cfg(feature = "serve")]
pub(crate) use registries::Registries;
#[cfg(feature = "axum")]
pub(crate) use {accepting::open, on_upgrade::Upgrade, refusal::refuse, registries::registry};

/// Whether this build serves WebSocket over HTTP/2 (the feature `http2`).
pub const SUPPORTS_HTTP2: bool = extended_connect::SUPPORTED;
