//! The tower layer and what goes with it.
//!
//! A request takes this way:
//!
//! 1. `service`: not a WebSocket handshake, or not for this mount: the inner service has it.
//! 2. [`handshake`](crate::handshake): the checks of RFC 6455 §4.2 and RFC 8441; a refusal is a
//!    response.
//! 3. `future`: the route service has to be ready, the hook may look, then the answer leaves and
//!    the session is spawned with it.
//! 4. `upgrade`: once the HTTP server has handed the stream over, the route service is called with
//!    a `Request<WebSocket>`.

mod body;
mod events;
pub(crate) mod extended_connect;
mod filter;
mod future;
mod handler;
mod hook;
mod layer;
mod on_upgrade;
mod registries;

pub use body::ResponseBody;
#[cfg(any(feature = "client", feature = "testing"))]
pub(crate) use body::collect;
#[cfg(feature = "client")]
pub(crate) use body::{MAX_REFUSAL, in_time};
pub use events::{Events, EventsService, events};
pub use filter::PathParams;
pub use future::ResponseFuture;
pub use handler::{Handler, HandlerFuture, HandlerOutput, handler};
pub use hook::{Answer, Handshake, Refusal};
pub use layer::{Endpoint, WebSocketLayer, WebSocketService, endpoint};
pub use on_upgrade::{OnUpgrade, PeerAddr};

#[cfg(feature = "serve")]
pub(crate) use registries::Registries;
#[cfg(feature = "axum")]
pub(crate) use {future::open, layer::refuse, on_upgrade::Upgrade, registries::registry};

/// Whether this build serves WebSocket over HTTP/2 (the feature `http2`).
pub const SUPPORTS_HTTP2: bool = extended_connect::SUPPORTED;
