//! The services, futures and bodies of [`WebSocketLayer`](crate::WebSocketLayer), and the types of its hooks.
//!
//! - [`WebSocketService`], [`ResponseFuture`], [`ResponseBody`]: what the layer makes of a service.
//!   [`UpgradeRequired`] is the service inside an [`endpoint`](crate::endpoint).
//! - [`RouteService`]: what a layer hands connections to.
//! - [`HandlerService`], [`HandlerFuture`], [`HandlerOutput`]: what [`handler`](crate::handler) makes of
//!   a function.
//! - [`EventHandler`]: a connection by callbacks. [`event_handler`] and [`event_handler_with`] make a route
//!   service of one, [`EventHandlerService`] or [`EventHandlerFactory`]; [`handle_events`] is for sockets of a
//!   client.
//! - [`Decision`], [`RejectResponse`]: what the hook returns that sees a [`Handshake`](crate::Handshake).
//! - [`PathParams`], [`PeerAddr`], [`OnUpgrade`]: what the extensions of a request carry.
//! - [`PerAddress`]: a limit of the connections of each address.

// The tower layer and what goes with it.
//
// `layer` holds the settings. A request takes this way:
//
// 1. `service`: asks whether the request is a WebSocket handshake for this mount. Otherwise the
//    inner service has it.
// 2. [`handshake`](crate::handshake): the checks of RFC 6455 §4.2 and RFC 8441. A `refusal` is a
//    response.
// 3. `accepting`: the route service has to be ready, the `hook` may look, then the answer leaves
//    and the session's task is spawned.
// 4. `upgrading`: waits until the HTTP server hands the stream over (`on_upgrade`), calls the route
//    service with a `Request<WebSocket>`, and is the session from then on.

mod accepting;
mod admission;
#[cfg(feature = "axum")]
mod axum_head;
#[cfg(not(feature = "axum"))]
#[path = "axum_head_off.rs"]
mod axum_head;
mod body;
pub(crate) mod endpoint;
mod events;
pub(crate) mod extended_connect;
mod filter;
mod future;
pub(crate) mod handler;
pub(crate) mod hook;
pub(crate) mod layer;
mod on_upgrade;
mod open_hook;
mod peer_addr;
mod per_address;
mod permits;
mod refusal;
pub(crate) mod refused_origin;
mod registries;
mod reroute;
mod route;
#[expect(clippy::module_inception, reason = "the service is the layer's")]
mod service;
mod take_over;
mod upgrading;

pub use body::ResponseBody;
pub use endpoint::UpgradeRequired;
pub use events::{
    EventHandler, EventHandlerFactory, EventHandlerService, event_handler, event_handler_with,
    handle_events,
};
pub use future::ResponseFuture;
pub use handler::{HandlerFuture, HandlerOutput, HandlerService};
pub use hook::Decision;
pub use on_upgrade::OnUpgrade;
pub use peer_addr::PeerAddr;
pub use per_address::PerAddress;
pub use refusal::RejectResponse;
pub use route::RouteService;
pub use service::WebSocketService;

pub use crate::session::params::PathParams;

#[cfg(feature = "client")]
pub(crate) use reroute::{Reroute, TakeOver, TakenOver};
#[cfg(feature = "axum")]
pub(crate) use {
    accepting::open, on_upgrade::Upgrade, open_hook::OpenHook, permits::Permits, refusal::refuse,
    registries::registry, upgrading::Opening,
};
#[cfg(feature = "serve")]
pub(crate) use {permits::ServerPermit, registries::Registries};
