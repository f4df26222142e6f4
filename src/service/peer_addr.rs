//! The address of a client.

use std::net::SocketAddr;

use http::Extensions;

use super::axum_head::connect_info;

/// The address of the client, among the extensions of a request.
///
/// The connection's `tracing` span shows it, and [`Handshake::peer_addr`](crate::Handshake::peer_addr) and
/// [`WebSocket::peer_addr`](crate::WebSocket::peer_addr) return it. A handler of axum
/// takes `Extension<PeerAddr>`, a route service finds it in the request, the hook in
/// [`Handshake::extensions`](crate::Handshake::extensions).
///
/// The servers of the feature `serve` put it there over TCP. With the feature `axum` the
/// `ConnectInfo<SocketAddr>` of `into_make_service_with_connect_info::<SocketAddr>()` counts as well, unless
/// there is a `PeerAddr`. In all other cases a layer of the application puts it there. So does a layer that knows the
/// client's address from a proxy that it trusts:
///
/// ```
/// use std::net::SocketAddr;
/// use axum::{
///     Router,
///     extract::{ConnectInfo, Request},
///     middleware::{Next, from_fn},
///     response::Response,
/// };
/// use tower_websocket::service::PeerAddr;
///
/// /// For the service of `into_make_service_with_connect_info`, without the feature `axum`.
/// async fn peer_addr(
///     ConnectInfo(address): ConnectInfo<SocketAddr>,
///     mut request: Request,
///     next: Next,
/// ) -> Response {
///     request.extensions_mut().insert(PeerAddr(address));
///     next.run(request).await
/// }
///
/// let app: Router = Router::new().layer(from_fn(peer_addr));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "it is the address and nothing else"
)]
pub struct PeerAddr(pub SocketAddr);

/// Returns the address of the client, where it is known.
pub(crate) fn peer_addr(extensions: &Extensions) -> Option<SocketAddr> {
    let told = extensions.get::<PeerAddr>();
    told.map(|PeerAddr(address)| *address)
        .or_else(|| connect_info(extensions))
}
