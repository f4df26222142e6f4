//! The address of a client.

use std::net::SocketAddr;

/// The address of the client, among the extensions of a request.
///
/// The connection's `tracing` span shows it. The servers of the feature `serve` put it there over
/// TCP; with others it is for a layer outside, or for the hook before the answer. A handler of axum
/// takes `Extension<PeerAddr>`, a route service finds it in the request, the hook in
/// [`Handshake::extensions`](crate::Handshake::extensions).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "it is the address and nothing else"
)]
pub struct PeerAddr(pub SocketAddr);
