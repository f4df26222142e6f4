//! What a peer and an application see of the crate.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]
// Without HTTP/2 there is one module alone, so that it is soon built.
#![cfg_attr(
    not(feature = "http2"),
    expect(dead_code, reason = "the others use the rest")
)]

#[cfg(feature = "blocking")]
mod blocking;
#[cfg(feature = "http2")]
mod bytes;
#[cfg(feature = "http2")]
mod callbacks;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "http2")]
mod compression;
#[cfg(feature = "http2")]
mod connections;
#[cfg(all(feature = "client", feature = "json"))]
mod cookbook;
#[cfg(feature = "http2")]
mod crowd;
#[cfg(feature = "http2")]
mod draining;
#[cfg(feature = "http2")]
mod events;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "axum")]
mod extract_stack;
#[cfg(feature = "client")]
mod forward;
#[cfg(feature = "http2")]
mod groups;
#[cfg(feature = "http2")]
mod hooks;
#[cfg(feature = "http2")]
mod identity;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "http2")]
mod many_waiters;
#[cfg(feature = "http2")]
mod memory_budget;
#[cfg(feature = "http2")]
mod mounts;
#[cfg(feature = "http2")]
mod origins;
#[cfg(feature = "http2")]
mod panics;
#[cfg(feature = "http2")]
mod per_address;
#[cfg(feature = "http2")]
mod raw;
#[cfg(feature = "client")]
mod raw_http2;
#[cfg(feature = "http2")]
mod readiness;
#[cfg(feature = "http2")]
mod receiving;
#[cfg(feature = "http2")]
mod refusals;
#[cfg(feature = "serve")]
mod serve;
mod session;
#[cfg(all(feature = "client", feature = "serve"))]
mod settings;
#[cfg(feature = "http2")]
mod smuggling;
#[cfg(feature = "http2")]
mod spans;
#[cfg(feature = "http2")]
mod stack;
#[cfg(feature = "http2")]
mod standing_still;
#[cfg(feature = "http2")]
mod stream_ends;
#[cfg(feature = "http2")]
mod streams;
mod support;
#[cfg(feature = "http2")]
mod symptoms;
#[cfg(feature = "http2")]
mod upgrade;
