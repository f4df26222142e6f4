//! What a peer and an application see of the crate.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[cfg(feature = "blocking")]
mod blocking;
mod bytes;
mod callbacks;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "cluster")]
mod cluster;
mod compression;
mod connections;
#[cfg(all(feature = "client", feature = "json"))]
mod cookbook;
mod crowd;
mod draining;
mod events;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "axum")]
mod extract_stack;
#[cfg(feature = "client")]
mod forward;
mod groups;
mod hooks;
mod identity;
#[cfg(feature = "json")]
mod json;
mod many_waiters;
mod memory_budget;
mod mounts;
mod origins;
mod panics;
mod per_address;
mod raw;
#[cfg(feature = "client")]
mod raw_http2;
mod readiness;
mod receiving;
mod refusals;
#[cfg(feature = "serve")]
mod serve;
mod session;
#[cfg(all(feature = "client", feature = "serve"))]
mod settings;
mod smuggling;
mod spans;
mod stack;
mod standing_still;
mod stream_ends;
mod streams;
mod support;
mod symptoms;
mod upgrade;
